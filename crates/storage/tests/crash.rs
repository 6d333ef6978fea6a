//! The power goes, or the disk fails, at every call of a scripted workload that does everything a database does. What is left opens to a prefix of the commit
//! order that holds every acknowledged commit and no half transaction.
//!
//! `COLONNADE_CRASH_SEEDS` (default 2) says how many surviving images are tried for every call, `COLONNADE_CRASH_STRIDE` (default 1) tries every n-th call only.

mod history;

use colonnade_storage::Thoroughness;
use colonnade_storage::disk::Disk;
use colonnade_testkit::{Fault, Random, SimDisk, Survival};
use history::{Model, Outcome, World, digest, sequence_of};

/// One thing that happens, and its name.
type Step = (&'static str, fn(&mut World) -> Outcome);

/// Everything that changes what is durable. Steps look at what is there, so that the script makes sense after any of them has failed.
const SCRIPT: &[Step] = &[
    ("create tables and a sequence", |world| {
        world.transact(true, |txn| {
            txn.create_table("t")?;
            txn.create_sequence()
        })?;
        world.transact(true, |txn| txn.create_table("u"))
    }),
    ("commits that share a sync", |world| {
        for value in 0..3 {
            let mut txn = world.begin();
            let ids = world.sequence_ids(&mut txn, 20)?;
            txn.insert("t", &ids, value)?;
            world.commit(txn, false)?;
        }
        world.settle()
    }),
    ("update and delete in the tail, over two tables", |world| {
        let ids = world.ids(10);
        world.transact(true, |txn| {
            let some = txn.pick("t", 1, 3);
            txn.update("t", &some, 10)?;
            let others = txn.pick("t", 2, 7);
            txn.delete("t", &others)?;
            txn.insert("u", &ids, 11)
        })
    }),
    ("a rollback", |world| {
        let ids = world.ids(10);
        let mut txn = world.begin();
        let gone = txn.pick("t", 0, 4);
        txn.delete("t", &gone)?;
        txn.insert("t", &ids, 12)?;
        txn.bulk("u", &world.ids(50), 12)?;
        txn.drop_table("u")?;
        txn.txn.rollback();
        Ok(())
    }),
    ("flush", |world| {
        world.flush("t")?;
        world.step_log();
        Ok(())
    }),
    ("update and delete in segment and tail at once", |world| {
        let ids = world.ids(15);
        world.transact(true, |txn| txn.insert("t", &ids, 20))?;
        world.transact(true, |txn| {
            let some = txn.pick("t", 0, 4);
            txn.update("t", &some, 21)?;
            let others = txn.pick("t", 1, 9);
            txn.delete("t", &others)
        })
    }),
    ("compaction, while a delete is running, one in the log and one rolled back", |world| {
        let ids = world.ids(30);
        world.transact(true, |txn| txn.insert("t", &ids, 25))?;
        world.flush("t")?;
        let mut running = world.begin();
        let some = running.pick("t", 2, 6);
        running.delete("t", &some)?;
        let mut undone = world.begin();
        let others = undone.pick("t", 4, 6);
        undone.delete("t", &others)?;
        world.compact("t", Thoroughness::Full)?;
        undone.txn.rollback();
        world.commit(running, false)?;
        world.settle()
    }),
    ("bulk load of several segments", |world| {
        let (ids, more) = (world.ids(100), world.ids(5));
        world.transact(true, |txn| {
            txn.bulk("u", &ids, 30)?;
            txn.insert("t", &more, 30)
        })
    }),
    ("checkpoint", World::checkpoint),
    ("a delete that a flush overtakes", |world| {
        let ids = world.ids(30);
        world.transact(true, |txn| txn.insert("t", &ids, 40))?;
        let mut txn = world.begin();
        let some = txn.pick("t", 0, 5);
        txn.delete("t", &some)?;
        world.flush("t")?;
        world.commit(txn, false)?;
        world.flush("t")?;
        world.settle()
    }),
    ("a column is added, rows before and after", |world| {
        let (before, after) = (world.ids(8), world.ids(8));
        world.transact(true, |txn| txn.insert("t", &before, 50))?;
        world.transact(true, |txn| {
            txn.add_column("t")?;
            txn.insert("t", &after, 51)?;
            let some = txn.pick("t", 3, 11);
            txn.update("t", &some, 52)
        })
    }),
    ("a key is added to rows in segments and tail", |world| {
        let ids = world.ids(9);
        world.transact(true, |txn| txn.add_key("t"))?;
        world.transact(true, |txn| {
            txn.insert("t", &ids, 55)?;
            let some = txn.pick("t", 2, 9);
            txn.update("t", &some, 56)
        })
    }),
    ("checkpoint with rows of two layouts", World::checkpoint),
    ("rows from the sequence, made, loaded, changed and dropped in one transaction", |world| {
        let ids = world.ids(90);
        let mut txn = world.begin();
        let taken = world.sequence_ids(&mut txn, 40)?;
        txn.create_table("v")?;
        txn.bulk("v", &ids, 60)?;
        let some = txn.pick("v", 0, 3);
        txn.update("v", &some, 61)?;
        txn.insert("t", &taken, 62)?;
        txn.drop_table("u")?;
        world.commit(txn, true)
    }),
    ("a delete that a compaction overtakes", |world| {
        let ids = world.ids(40);
        world.transact(true, |txn| txn.bulk("t", &ids, 65))?;
        let mut txn = world.begin();
        let some = txn.pick("t", 1, 5);
        txn.update("t", &some, 66)?;
        world.commit(txn, false)?;
        world.maintain_unapplied()?;
        let mut txn = world.begin();
        let ids = txn.pick("t", 0, 7);
        world.maintain_unapplied()?;
        let free: Vec<i64> = ids.into_iter().filter(|id| !some.contains(id)).collect();
        txn.delete("t", &free)?;
        world.maintain_unapplied()?;
        world.commit(txn, false)?;
        world.settle()
    }),
    ("maintenance", World::maintain),
    ("deleted rows leave their segments", |world| {
        world.transact(true, |txn| {
            let most: Vec<i64> = txn.pick("v", 0, 1).into_iter().filter(|id| id % 3 > 0).collect();
            txn.delete("v", &most)
        })?;
        world.compact("v", Thoroughness::Deleted)?;
        world.compact("t", Thoroughness::Full)
    }),
    ("truncate and fill again, rename", |world| {
        let (ids, more) = (world.ids(70), world.ids(12));
        world.transact(false, |txn| {
            txn.truncate("t")?;
            txn.insert("t", &ids, 70)
        })?;
        world.transact(true, |txn| {
            txn.rename_table("v", "w")?;
            txn.insert("w", &more, 71)
        })
    }),
    ("flush everything", |world| {
        for table in ["t", "w"] {
            world.flush(table)?;
        }
        world.step_log();
        Ok(())
    }),
    ("maintenance and a last checkpoint", |world| {
        world.maintain()?;
        world.checkpoint()
    }),
    ("a large transaction over several log files", |world| {
        let ids = world.ids(400);
        world.transact(true, |txn| {
            let all = txn.pick("t", 0, 2);
            txn.update("t", &all, 80)?;
            txn.insert("w", &ids, 81)
        })
    }),
    ("close", |world| world.db.close().map_err(|error| error.to_string())),
];

/// Runs the script until the power is gone or the log has failed; whatever fails otherwise is left out.
fn run(world: &mut World) -> Vec<String> {
    let mut failures = Vec::new();
    for (name, step) in SCRIPT {
        if let Err(error) = step(world) {
            failures.push(format!("{name}: {error}"));
            if world.disk.crashed() || world.db.failure().is_some() {
                break;
            }
            world.disk.clear_faults();
        }
    }
    failures
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn opened(disk: &SimDisk, model: Model, context: &str) -> World {
    World::open_with(disk, model).unwrap_or_else(|error| panic!("{context}: {error}"))
}

/// Which of the states at or after `acknowledged` the database is in.
fn state_of(world: &World, states: &[Model], acknowledged: usize, context: &str) -> Model {
    let found = history::contents(&world.db.snapshot());
    let has_sequence = sequence_of(&world.db).is_some();
    let fits = |model: &&Model| model.tables == found && model.sequence.is_some() == has_sequence;
    let state = states[acknowledged..].iter().find(fits).unwrap_or_else(|| {
        panic!(
            "{context}: no state from {acknowledged} to {} fits; found {}, expected e.g. {}",
            states.len() - 1,
            digest(&found),
            digest(&states[acknowledged].tables)
        )
    });
    if let (Some(taken), Some(sequence)) = (state.sequence, sequence_of(&world.db)) {
        let next = world.db.sequence_next(&sequence).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(next > taken, "{context}: sequence gives {next} again, {taken} is committed");
    }
    state.clone()
}

/// The reopened database takes a write, and shows it after another restart.
fn goes_on(disk: &SimDisk, world: World, context: &str) {
    let mut world = world;
    let ids = world.ids(3);
    let outcome = world.transact(true, |txn| {
        if txn.table("t").is_none() {
            txn.create_table("t")?;
        }
        let some = txn.pick("t", 0, 2);
        txn.delete("t", &some)?;
        txn.insert("t", &ids, 99)
    });
    outcome.unwrap_or_else(|error| panic!("{context}: {error}"));
    world.flush("t").unwrap_or_else(|error| panic!("{context}: {error}"));
    let model = world.model().clone();
    drop(world);
    let image = disk.surviving(Survival::Nothing, 0);
    let again = opened(&image, model.clone(), context);
    again.check(&model, &format!("{context}, after another restart"));
    again.check_keys(false, &format!("{context}, after another restart"));
}

fn calls_of_a_whole_run() -> u64 {
    let disk = SimDisk::new();
    let mut world = World::open(&disk).unwrap();
    let failures = run(&mut world);
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(world.acknowledged, world.states.len() - 1);
    world.check(world.model(), "a run without failures");
    disk.calls()
}

#[test]
fn a_crash_at_every_call_leaves_a_prefix_with_every_acknowledged_commit() {
    let (seeds, stride) = (number("COLONNADE_CRASH_SEEDS", 2), number("COLONNADE_CRASH_STRIDE", 1));
    let calls = calls_of_a_whole_run();
    assert!(calls > 150, "{calls}");
    let (mut images, mut again) = (0, 0);
    for call in (0..calls).step_by(usize::try_from(stride.max(1)).unwrap()) {
        let disk = SimDisk::new();
        disk.crash_at(call);
        let (states, acknowledged) = match World::open(&disk) {
            Ok(mut world) => {
                let failures = run(&mut world);
                assert!(!failures.is_empty() || disk.crashed(), "call {call}: the power is cut");
                (std::mem::take(&mut world.states), world.acknowledged)
            }
            Err(_) => (vec![Model::default()], 0),
        };
        for seed in 0..seeds {
            // Different calls see different fates, so that few seeds go through all of them.
            let seed = call + seed * 7_919;
            let context = format!("crash at call {call}, image of seed {seed} ({:?})", Survival::of_seed(seed));
            let mut image = disk.durable_image(seed);
            let mut random = Random::new(seed);
            if random.chance(30) {
                // Power fails while recovering, too.
                image.crash_at(random.below(25));
                if World::open(&image).is_err() {
                    assert!(image.crashed(), "{context}: recovery fails");
                    image = image.durable_image(random.bits());
                    again += 1;
                }
                image.crash_at(u64::MAX);
            }
            let mut world = opened(&image, Model::default(), &context);
            world.states = vec![state_of(&world, &states, acknowledged, &context)];
            world.check_keys(false, &context);
            goes_on(&image, world, &context);
            images += 1;
        }
    }
    println!("{calls} calls, {images} images, {again} crashes while recovering");
}

#[test]
fn a_failure_at_every_call_is_an_error_and_loses_nothing_acknowledged() {
    let stride = number("COLONNADE_CRASH_STRIDE", 1);
    let calls = calls_of_a_whole_run();
    for call in (0..calls).step_by(usize::try_from(stride.max(1)).unwrap()) {
        for fault in [Fault::Io, Fault::Full] {
            let context = format!("{fault:?} at call {call}");
            let disk = SimDisk::new();
            disk.fail_at(call, fault);
            let (states, acknowledged) = match World::open(&disk) {
                Ok(mut world) => {
                    let _ = run(&mut world);
                    (std::mem::take(&mut world.states), world.acknowledged)
                }
                Err(_) => (vec![Model::default()], 0),
            };
            disk.clear_faults();
            disk.fail_at(u64::MAX, fault);
            // Once as a new process finds it, once after a power cut as well.
            let image = disk.surviving(Survival::Nothing, 0);
            for (disk, context) in [(disk, context.clone()), (image, format!("{context}, then a power cut"))] {
                let mut world = opened(&disk, Model::default(), &context);
                world.states = vec![state_of(&world, &states, acknowledged, &context)];
                goes_on(&disk, world, &context);
            }
        }
    }
}

#[test]
fn a_log_without_its_checkpoint_is_an_error() {
    let disk = SimDisk::new();
    let mut world = World::open(&disk).unwrap();
    world.transact(true, |txn| txn.create_table("t")).unwrap();
    drop(world);
    for name in disk.list("checkpoints").unwrap() {
        disk.lose(&format!("checkpoints/{name}"));
    }
    let error = World::open(&disk).err().expect("commits are not thrown away");
    assert!(error.contains("checkpoint"), "{error}");
}

#[test]
fn damage_to_any_file_is_detected_or_harmless() {
    let disk = SimDisk::new();
    let mut world = World::open(&disk).unwrap();
    for (name, step) in &SCRIPT[..13] {
        step(&mut world).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let model = world.model().clone();
    drop(world);
    let disk = disk.surviving(Survival::Everything, 0);
    let mut random = Random::new(3);
    let (mut detected, mut harmless) = (0, 0);
    for path in disk.files() {
        let len = usize::try_from(disk.len(&path).unwrap()).unwrap();
        for _ in 0..number("COLONNADE_CRASH_SEEDS", 2) * 20 {
            if len == 0 {
                continue;
            }
            let image = disk.surviving(Survival::Everything, 0);
            let (offset, bit) = (random.index(len), random.below(8) as u8);
            image.corrupt(&path, offset, bit);
            let context = format!("bit {bit} of byte {offset} of {path}");
            match World::open(&image) {
                // The text names the file, or the LSN of the record.
                Err(error) => {
                    detected += 1;
                    let file = path.rsplit('/').next().unwrap_or(&path);
                    assert!(error.contains(file), "{context}: {error}");
                }
                // Segments are read when they are needed: damage is found by the scan.
                Ok(world) => match history::try_contents(&world.db.snapshot()) {
                    Ok(found) => {
                        assert!(found == model.tables, "{context}: {}", digest(&found));
                        // A damaged key file is made anew.
                        world.check_keys(false, &context);
                        harmless += 1;
                    }
                    Err(error) => {
                        assert!(error.contains(&path), "{context}: {error}");
                        detected += 1;
                    }
                },
            }
        }
    }
    assert!(detected > 50, "{detected} detected, {harmless} harmless");
}
