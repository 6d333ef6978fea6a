//! The disk keeps its promises, and only those.

use std::collections::BTreeSet;

use super::*;

fn written() -> SimDisk {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    file.write_all_at(0, &[1; 2_048]).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir("").unwrap();
    file.write_all_at(0, &[2; 2_048]).unwrap();
    disk.create("b").unwrap();
    disk
}

#[test]
fn what_was_synced_survives_and_the_rest_may() {
    let disk = written();
    let nothing = disk.surviving(Survival::Nothing, 1);
    assert_eq!(nothing.files(), ["a"]);
    assert_eq!(nothing.read("a").unwrap(), [1; 2_048]);
    let everything = disk.surviving(Survival::Everything, 1);
    assert_eq!(everything.files(), ["a", "b"]);
    assert_eq!(everything.read("a").unwrap(), [2; 2_048]);
    let images: BTreeSet<Vec<u8>> =
        (0..200).map(|seed| disk.surviving(Survival::Torn, seed).read("a").unwrap()).collect();
    // Four sectors, each old or new.
    assert_eq!(images.len(), 16);
    for image in images {
        assert!(image.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
    }
    assert_eq!(
        disk.durable_image(7).read("a").unwrap(),
        disk.durable_image(7).read("a").unwrap(),
        "a seed gives one image"
    );
}

const SECTOR: usize = colonnade_storage::disk::SECTOR_BYTES;

#[test]
fn a_lost_sync_is_a_lost_write() {
    let disk = written();
    let file = disk.open("a").unwrap();
    disk.fail_at(disk.calls(), Fault::Io);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(disk.read("a").unwrap(), [2; 2_048]);
    assert_eq!(disk.surviving(Survival::Everything, 0).read("a").unwrap(), [1; 2_048]);
}

#[test]
fn after_a_crash_nothing_works() {
    let disk = written();
    disk.crash_at(disk.calls() + 1);
    let file = disk.open("a").unwrap();
    file.write_all_at(0, &[3]).unwrap();
    assert!(file.write_all_at(0, &[4]).is_err());
    assert!(disk.crashed());
    assert!(file.read_at(0, &mut [0]).is_err());
    assert!(disk.read("a").is_err());
    assert!(disk.sync_dir("").is_err());
    // The write during which the power went may be on disk.
    assert_eq!(disk.surviving(Survival::Everything, 0).read("a").unwrap()[0], 4);
    assert_eq!(disk.surviving(Survival::Nothing, 0).read("a").unwrap()[0], 1);
}

#[test]
fn a_rename_is_atomic() {
    let disk = SimDisk::new();
    for (name, byte) in [("old", 1), ("new.tmp", 2)] {
        let file = disk.create(name).unwrap();
        file.write_all_at(0, &[byte]).unwrap();
        file.sync_all().unwrap();
    }
    disk.sync_dir("").unwrap();
    disk.rename("new.tmp", "old").unwrap();
    assert_eq!(disk.read("old").unwrap(), [2]);
    for seed in 0..20 {
        let image = disk.durable_image(seed);
        let read = image.read("old").unwrap();
        assert_eq!(image.exists("new.tmp").unwrap(), read == [1]);
    }
}

#[test]
fn a_full_disk_stays_full_until_told() {
    let disk = written();
    disk.fail_at(disk.calls(), Fault::Full);
    assert!(disk.create("c").err().is_some_and(|error| error.is_full()));
    assert!(disk.create("d").err().is_some_and(|error| error.is_full()));
    disk.remove("b").unwrap();
    disk.clear_faults();
    disk.create("c").unwrap();
}

#[test]
fn a_lock_is_held_once() {
    let disk = SimDisk::new();
    let lock = disk.lock("LOCK").unwrap();
    assert!(matches!(disk.lock("LOCK").unwrap_err().kind, DiskErrorKind::Locked { .. }));
    drop(lock);
    disk.lock("LOCK").unwrap();
}
