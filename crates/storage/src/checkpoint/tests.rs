//! Round trips, damage, and names, on a real disk; crashes are in `tests/checkpoint_crash.rs`.

use std::sync::Arc;

use super::*;
use crate::catalog::{Catalog, CatalogEdit};
use crate::disk::FileDisk;
use crate::manifest::CreatedLsn;

fn fresh() -> (tempfile::TempDir, Arc<dyn Disk>) {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(dir.path()).unwrap());
    (dir, disk)
}

fn header(lsn: u64) -> CheckpointHeader {
    CheckpointHeader {
        lsn: Lsn(lsn),
        time_micros: 1_700_000_000_000_000,
        next_oid: Oid(16_400),
        next_storage: StorageId(3),
        next_segment: SegmentId(9),
    }
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::initial();
    let comment = CatalogEdit::PutComment { object: Oid::PUBLIC, sub: 0, text: Some("standard schema".into()) };
    catalog.apply(&comment).unwrap();
    catalog
}

fn segment(id: u64) -> SegmentEntry {
    SegmentEntry {
        id: SegmentId(id),
        rows: 100,
        size_bytes: 5_000,
        raw_bytes: 9_000,
        checksum: 7,
        created: CreatedLsn::Constant(Lsn(800)),
    }
}

fn row(i: u64) -> (u64, Lsn, Vec<u8>) {
    (i * 2, Lsn(100_000 - i), vec![i as u8; (i % 50) as usize])
}

fn write(disk: &Arc<dyn Disk>, lsn: u64, rows: u64) -> CheckpointSummary {
    let state = SequenceState { last_value: 33, is_called: true };
    let mut writer =
        CheckpointWriter::create(Arc::clone(disk), "", &header(lsn), &catalog(), &[(Oid(16_390), state)]).unwrap();
    writer.storage(&StorageSection { storage: StorageId(1), layout: b"abc".to_vec(), next_row: 77 }).unwrap();
    writer.segments(&[segment(4), segment(5)]).unwrap();
    let deletes = vec![(3, Lsn(900)), (4, Lsn(850)), (99, Lsn(901))];
    writer.delete_vector(&DeleteVectorEntry { segment: SegmentId(5), deletes }).unwrap();
    for i in 0..rows {
        let (id, created, bytes) = row(i);
        writer.tail_row(id, created, &bytes).unwrap();
    }
    writer.storage(&StorageSection { storage: StorageId(2), ..StorageSection::default() }).unwrap();
    writer.finish().unwrap()
}

fn read(disk: &Arc<dyn Disk>, lsn: u64) -> Result<Vec<CheckpointItem>, CheckpointError> {
    let mut reader = CheckpointReader::open(disk.as_ref(), "", Lsn(lsn))?;
    assert_eq!(reader.header(), &header(lsn));
    assert_eq!(reader.catalog(), &catalog());
    let mut items = Vec::new();
    while let Some(item) = reader.next()? {
        items.push(item);
    }
    Ok(items)
}

#[test]
fn everything_comes_back() {
    let (_dir, disk) = fresh();
    let summary = write(&disk, 1_024, 50_000);
    assert_eq!(summary.size_bytes, disk.len(&checkpoint_name(Lsn(1_024))).unwrap());
    let items = read(&disk, 1_024).unwrap();
    let state = SequenceState { last_value: 33, is_called: true };
    assert_eq!(items[0], CheckpointItem::Sequences(vec![(Oid(16_390), state)]));
    let section = StorageSection { storage: StorageId(1), layout: b"abc".to_vec(), next_row: 77 };
    assert_eq!(items[1], CheckpointItem::Storage(section));
    assert_eq!(items[2], CheckpointItem::Segments(vec![segment(4), segment(5)]));
    let deletes = vec![(3, Lsn(900)), (4, Lsn(850)), (99, Lsn(901))];
    assert_eq!(items[3], CheckpointItem::DeleteVector(DeleteVectorEntry { segment: SegmentId(5), deletes }));
    let blocks = &items[4..items.len() - 1];
    assert!(blocks.len() > 1);
    let rows: Vec<_> = blocks
        .iter()
        .flat_map(|item| match item {
            CheckpointItem::TailRows(rows) => {
                rows.iter().map(|(id, lsn, bytes)| (id, lsn, bytes.to_vec())).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(rows, (0..50_000).map(row).collect::<Vec<_>>());
    assert!(matches!(items.last(), Some(CheckpointItem::Storage(section)) if section.storage == StorageId(2)));
}

#[test]
fn every_flipped_bit_and_every_length_is_noticed() {
    let (dir, disk) = fresh();
    write(&disk, 1_024, 20);
    let path = dir.path().join(checkpoint_name(Lsn(1_024)));
    let good = std::fs::read(&path).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bad).unwrap();
        let error = read(&disk, 1_024).expect_err("a flipped bit is noticed").to_string();
        assert!(error.contains("checkpoint-0000000000000400"), "{error}");
    }
    for len in 0..good.len() {
        std::fs::write(&path, &good[..len]).unwrap();
        assert!(read(&disk, 1_024).is_err(), "{len} bytes");
    }
    let mut longer = good.clone();
    longer.push(0);
    std::fs::write(&path, &longer).unwrap();
    assert!(read(&disk, 1_024).is_err());
    // Under another name it is another checkpoint's file.
    std::fs::write(dir.path().join(checkpoint_name(Lsn(2_048))), &good).unwrap();
    assert!(read(&disk, 2_048).is_err());
}

#[test]
fn the_newest_counts_and_older_ones_go() {
    let (_dir, disk) = fresh();
    assert_eq!(newest(disk.as_ref(), "").unwrap(), None);
    for lsn in [512, 4_096, 1_024] {
        write(&disk, lsn, 3);
    }
    disk.create(TEMPORARY_NAME).unwrap();
    assert_eq!(newest(disk.as_ref(), "").unwrap(), Some(Lsn(4_096)));
    assert_eq!(remove_older(disk.as_ref(), "", Lsn(4_096)).unwrap(), 3);
    assert_eq!(disk.list("").unwrap(), [checkpoint_name(Lsn(4_096))]);
    assert_eq!(remove_older(disk.as_ref(), "", Lsn(4_096)).unwrap(), 0);
    read(&disk, 4_096).unwrap();
}
