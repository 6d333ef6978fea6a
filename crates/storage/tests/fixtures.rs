//! Data directories that earlier versions wrote stay readable for ever. `tests/fixtures/v1` was written by `write` below with format version 1 of everything, and is
//! never written again: a new version gets a directory and a script of its own (`COLONNADE_WRITE_FIXTURE=DIR` writes one).

mod history;

use std::path::{Path, PathBuf};

use colonnade_storage::disk::Disk;
use colonnade_testkit::SimDisk;
use history::{Model, Outcome, World, sequence_of};

/// A checkpoint with everything in it, and log records of every kind behind it.
fn write(world: &mut World) -> Outcome {
    world.transact(true, |txn| {
        txn.create_table("t")?;
        txn.create_table("u")?;
        txn.create_sequence()
    })?;
    let ids = world.ids(40);
    world.transact(true, |txn| txn.insert("t", &ids, 1))?;
    world.flush("t")?;
    world.transact(true, |txn| {
        let some = txn.pick("t", 0, 3);
        txn.update("t", &some, 2)?;
        txn.add_column("t")
    })?;
    let more = world.ids(5);
    world.transact(true, |txn| txn.insert("t", &more, 3))?;
    world.checkpoint()?;
    let mut txn = world.begin();
    let taken = world.sequence_ids(&mut txn, 3)?;
    txn.insert("u", &taken, 4)?;
    let some = txn.pick("t", 1, 4);
    txn.update("t", &some, 5)?;
    world.commit(txn, true)?;
    let loaded = world.ids(20);
    world.transact(true, |txn| {
        txn.bulk("u", &loaded, 6)?;
        txn.rename_table("u", "v")
    })?;
    world.flush("t")?;
    world.step_log();
    let last = world.ids(2);
    world.transact(true, |txn| txn.insert("v", &last, 7))
}

fn written() -> (SimDisk, Model) {
    let disk = SimDisk::new();
    let mut world = World::open(&disk).unwrap();
    write(&mut world).unwrap();
    (disk, world.model().clone())
}

const DIRS: [&str; 3] = ["wal", "checkpoints", "segments"];

fn read(dir: &Path) -> SimDisk {
    let disk = SimDisk::new();
    for sub in DIRS {
        disk.create_dir(sub).unwrap();
        for entry in std::fs::read_dir(dir.join(sub)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            disk.put(&format!("{sub}/{name}"), std::fs::read(entry.path()).unwrap());
        }
    }
    disk
}

#[test]
fn a_data_directory_of_version_1_opens_and_goes_on() {
    let (disk, model) = written();
    if let Ok(dir) = std::env::var("COLONNADE_WRITE_FIXTURE") {
        for path in disk.files().iter().filter(|path| path.contains('/')) {
            let to = PathBuf::from(&dir).join(path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, disk.read(path).unwrap()).unwrap();
        }
    }
    let disk = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1"));
    let mut world = World::open_with(&disk, model.clone()).unwrap();
    world.check(&model, "version 1");
    let next = world.db.sequence_next(&sequence_of(&world.db).unwrap()).unwrap();
    assert!(next > 3, "{next}");
    world
        .transact(true, |txn| {
            let some = txn.pick("v", 0, 2);
            txn.delete("v", &some)
        })
        .unwrap();
    world.checkpoint().unwrap();
    let model = world.model().clone();
    drop(world);
    World::open_with(&disk, model.clone()).unwrap().check(&model, "version 1, written to");
}
