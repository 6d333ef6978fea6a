//! The log on a real disk; crashes and failures are in `tests/wal_crash.rs`.

use super::file::NEXT_NAME;
use super::*;
use crate::disk::FileDisk;

fn options() -> WalOptions {
    WalOptions { file_bytes: 8_192, buffer_bytes: 4_096, spare_files: 1 }
}

fn fresh() -> (tempfile::TempDir, Arc<dyn Disk>, Wal) {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(dir.path()).unwrap());
    disk.create_dir("wal").unwrap();
    let wal = Wal::create(Arc::clone(&disk), "wal", Lsn(0), options()).unwrap();
    (dir, disk, wal)
}

fn replay(disk: &Arc<dyn Disk>, start: Lsn) -> (Vec<(Lsn, Vec<u8>)>, Wal) {
    let mut replay = Wal::open(Arc::clone(disk), "wal", start, options()).unwrap();
    let mut records = Vec::new();
    while let Some(record) = replay.next().unwrap() {
        records.push(record);
    }
    (records, replay.finish().unwrap())
}

#[test]
fn records_of_every_size_come_back_in_order() {
    let (_dir, disk, wal) = fresh();
    let sizes = [0, 1, 7, 8, 100, 4_095, 4_096, 8_000, 8_096, 8_192, 30_000, 3];
    let mut written = Vec::new();
    for (i, size) in sizes.iter().enumerate() {
        let payload = vec![i as u8 + 1; *size];
        let lsn = wal.append_parts(&[&payload[..size / 2], &payload[size / 2..]]).unwrap();
        assert_eq!(wal.end_lsn(), lsn);
        written.push((lsn, payload));
        if i % 3 == 0 {
            assert_eq!(wal.flush_round().unwrap(), Some(lsn));
            assert_eq!(wal.durable_lsn(), lsn);
        }
    }
    assert!(wal.wait_for_append(Duration::ZERO));
    wal.flush_round().unwrap();
    assert_eq!(wal.flush_round().unwrap(), None);
    assert!(!wal.wait_for_append(Duration::ZERO));
    assert_eq!(wal.stats().group_records_max, 3);
    drop(wal);
    for skip in 0..=written.len() {
        let start = if skip == 0 { Lsn(0) } else { written[skip - 1].0 };
        let (records, wal) = replay(&disk, start);
        assert_eq!(records, written[skip..], "from {start}");
        assert!(wal.end_lsn() >= written[written.len() - 1].0);
    }
}

#[test]
fn the_log_goes_on_after_a_restart_and_old_files_go() {
    let (_dir, disk, mut wal) = fresh();
    let mut written = Vec::new();
    for round in 0..20u8 {
        for size in [10usize, 700, 2_500] {
            let payload = vec![round; size];
            written.push((wal.append(&payload).unwrap(), payload));
        }
        wal.flush_round().unwrap();
        wal.prepare_next().unwrap();
        let (records, reopened) = {
            drop(wal);
            replay(&disk, Lsn(0))
        };
        assert_eq!(records, written);
        wal = reopened;
    }
    let checkpoint = written[40].0;
    assert!(wal.remove_before(checkpoint).unwrap() > 3);
    assert!(disk.list("wal").unwrap().iter().any(|name| name.starts_with(SPARE_PREFIX)));
    // The spare one is used again, and what it held before does not come back.
    for _ in 0..4 {
        let payload = vec![99; 3_000];
        written.push((wal.append(&payload).unwrap(), payload));
        wal.flush_round().unwrap();
    }
    assert!(!disk.list("wal").unwrap().iter().any(|name| name.starts_with(SPARE_PREFIX)));
    drop(wal);
    assert_eq!(replay(&disk, checkpoint).0, written[41..]);
    let error = Wal::open(Arc::clone(&disk), "wal", Lsn(0), options()).unwrap_err();
    assert!(matches!(error, WalError::Missing { .. }), "{error}");
    assert!(!disk.exists(&join("wal", NEXT_NAME)).unwrap());
}

#[test]
fn appends_from_many_threads_share_syncs() {
    let (_dir, disk, wal) = fresh();
    let wal = Arc::new(wal);
    let writer = {
        let wal = Arc::clone(&wal);
        std::thread::spawn(move || {
            while wal.stats().groups.iter().sum::<u64>() == 0 || wal.end_lsn() != wal.durable_lsn() {
                wal.wait_for_append(Duration::from_millis(20));
                wal.flush_round().unwrap();
            }
        })
    };
    let appenders: Vec<_> = (0..4u8)
        .map(|thread| {
            let wal = Arc::clone(&wal);
            std::thread::spawn(move || {
                (0..50usize).map(|i| (wal.append(&vec![thread; i * 97 % 9_000]).unwrap(), i)).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut lsns: Vec<_> = appenders.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    wal.wake();
    writer.join().unwrap();
    wal.flush_round().unwrap();
    lsns.sort_unstable();
    let records = replay(&disk, Lsn(0)).0;
    assert_eq!(records.len(), 200);
    for ((lsn, payload), (expected, i)) in records.iter().zip(lsns) {
        assert_eq!((*lsn, payload.len()), (expected, i * 97 % 9_000));
        assert!(payload.windows(2).all(|pair| pair[0] == pair[1]), "pieces of two records are mixed");
    }
}

#[test]
fn a_log_without_records_is_told_from_one_with_records() {
    let (_dir, disk, wal) = fresh();
    assert!(!holds_records(disk.as_ref(), "wal").unwrap());
    assert!(!holds_records(disk.as_ref(), "nowhere").unwrap());
    wal.append(b"x").unwrap();
    wal.flush_round().unwrap();
    assert!(holds_records(disk.as_ref(), "wal").unwrap());
}
