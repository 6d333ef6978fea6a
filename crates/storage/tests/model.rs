//! Random histories against a model that is obviously right: a map from id to row for every table.
//!
//! After every step all that the database shows is compared, and so is what a few old snapshots show. A failure prints its seed; `COLONNADE_MODEL_SEED` runs that one
//! alone, `COLONNADE_MODEL_SEEDS` (default 12) says how many are run.

mod history;

use std::collections::{BTreeMap, BTreeSet};

use colonnade_storage::{RowAddress, RowLockMode, Snapshot, Thoroughness, WriteError};
use colonnade_testkit::{Random, SimDisk};
use history::{Model, Outcome, Rows, Txn, World, contents, digest};

const STEPS: usize = 120;
const MODES: [RowLockMode; 4] =
    [RowLockMode::KeyShare, RowLockMode::Share, RowLockMode::NoKeyUpdate, RowLockMode::Update];
const TABLES: [&str; 3] = ["a", "b", "c"];

/// A transaction whose rows move between its snapshot and its delete.
struct Late {
    txn: Txn,
    snapshot: Snapshot,
    /// Address and content of the rows.
    rows: BTreeMap<i64, (RowAddress, String)>,
    /// `History::changes` when the snapshot was taken.
    changes: u64,
}

/// A history in the making.
struct History {
    world: World,
    random: Random,
    /// Snapshots that are held, and what they showed when they were taken.
    held: Vec<(Snapshot, BTreeMap<String, Rows>)>,
    /// A transaction that stays open over several steps, and the rows it has deleted and inserted in table `a`.
    open: Option<(Txn, BTreeSet<i64>, BTreeMap<i64, String>)>,
    /// Rows of table `a` that the open transaction has locked and not deleted.
    locked: BTreeSet<i64>,
    /// A transaction that will delete rows of table `a` by where its snapshot has found them.
    late: Option<Late>,
    /// How often rows were changed.
    changes: u64,
    log: Vec<String>,
}

impl History {
    fn new(seed: u64) -> History {
        let disk = SimDisk::new();
        let world = World::open(&disk).unwrap();
        let random = Random::new(seed);
        let mut history = History {
            world,
            random,
            held: Vec::new(),
            open: None,
            locked: BTreeSet::new(),
            late: None,
            changes: 0,
            log: Vec::new(),
        };
        for table in TABLES {
            history.world.transact(true, |txn| txn.create_table(table)).unwrap();
        }
        history
    }

    fn some_table(&mut self) -> &'static str {
        TABLES[self.random.index(TABLES.len())]
    }

    fn step(&mut self) -> Outcome {
        let (choice, value) = (self.random.below(100), self.random.below(1_000) as i64);
        let table = self.some_table();
        self.log.push(format!("{choice} {table} {value}"));
        match choice {
            0..20 => {
                let count = self.random.below(60) as i64 + 1;
                let ids = self.world.ids(count);
                let wait = self.random.chance(50);
                self.world.transact(wait, |txn| txn.insert(table, &ids, value))
            }
            20..45 => self.change(table, value),
            45..52 => {
                let count = self.random.below(150) as i64 + 1;
                let ids = self.world.ids(count);
                self.world.transact(true, |txn| txn.bulk(table, &ids, value))
            }
            52..58 => self.world.flush(table),
            58..61 => self.world.compact(table, Thoroughness::Full),
            61..62 => self.world.compact(table, Thoroughness::Deleted),
            62..64 => self.world.maintain_unapplied(),
            64..66 => self.world.checkpoint(),
            66..68 => self.delete_late(),
            68..74 => self.world.maintain(),
            74..78 => self.open_or_end(),
            78..81 => self.rolled_back(table, value),
            81..83 if self.open.is_none() && self.late.is_none() => {
                self.world.transact(true, |txn| if txn_is_wide(txn, table) { Ok(()) } else { txn.add_column(table) })
            }
            83..85 if self.open.is_none() && self.late.is_none() => {
                self.world.transact(true, |txn| txn.truncate(table))
            }
            85..90 => {
                self.hold();
                Ok(())
            }
            90..93 => {
                let held = self.held.len();
                if held > 0 {
                    self.held.remove(self.random.index(held));
                }
                Ok(())
            }
            93..96 => self.reopen(false),
            96..98 => self.reopen(true),
            98 if self.open.is_none() => self.world.transact(true, |txn| txn.add_key(table)),
            _ => self.crash(),
        }
    }

    /// Updates some rows and deletes others, in one transaction over one or two tables.
    fn change(&mut self, table: &'static str, value: i64) -> Outcome {
        let other = self.some_table();
        let percent = [2, 10, 50][self.random.index(3)];
        let wait = self.random.chance(60);
        // Rows that the open transaction has changed would make this one wait.
        let mut taken: BTreeSet<i64> = self.open.iter().flat_map(|(_, deleted, _)| deleted.iter().copied()).collect();
        taken.extend(&self.locked);
        if let Some(id) = self.locked.first() {
            let met = self.world.begin().delete("a", &[*id]);
            assert!(met.as_ref().is_err_and(|error| error.starts_with("blocked")), "row {id} is locked: {met:?}");
        }
        let mode = MODES[self.random.index(MODES.len())];
        let random = &mut self.random;
        let mut free = |txn: &Txn, table| -> Vec<i64> {
            txn.pick_random(table, random, percent).into_iter().filter(|id| !taken.contains(id)).collect()
        };
        self.world.settle()?;
        let mut txn = self.world.begin();
        let updated = free(&txn, table);
        if value % 2 == 0 {
            txn.lock(table, &updated, mode)?;
        }
        txn.update(table, &updated, value)?;
        let deleted = free(&txn, other);
        txn.delete(other, &deleted)?;
        self.changes += 1;
        self.world.commit(txn, wait)
    }

    /// Takes a snapshot, or deletes rows where an earlier one has found them, wherever flush and compaction have put them since.
    fn delete_late(&mut self) -> Outcome {
        self.world.settle()?;
        let Some(late) = self.late.take() else {
            let mut txn = self.world.begin_repeatable();
            let snapshot = txn.txn.snapshot();
            let content = txn.model.tables.get("a").cloned().unwrap_or_default();
            let addresses = txn.addresses(&snapshot, "a")?;
            let percent = [3, 30][self.random.index(2)];
            let mut rows = BTreeMap::new();
            for (id, address) in addresses {
                if self.random.chance(percent) {
                    rows.insert(id, (address, content[&id].clone()));
                }
            }
            self.late = Some(Late { txn, snapshot, rows, changes: self.changes });
            return Ok(());
        };
        let Late { mut txn, snapshot, rows, changes } = late;
        let Some(table) = txn.table("a") else { return Ok(()) };
        let addresses: Vec<RowAddress> = rows.values().map(|(address, _)| *address).collect();
        match txn.txn.delete(&snapshot, &table, &addresses) {
            Ok(()) => {
                let mut model = self.world.model().clone();
                let content = model.tables.entry("a".to_owned()).or_default();
                for (id, (_, row)) in &rows {
                    if content.remove(id).as_ref() != Some(row) {
                        return Err(format!("row {id} was deleted late and is not what the snapshot had"));
                    }
                }
                let own = txn.txn.snapshot();
                let seen = txn.addresses(&own, "a")?;
                if let Some(id) = rows.keys().find(|id| seen.contains_key(*id)) {
                    return Err(format!("row {id} is seen by the transaction that has deleted it"));
                }
                if self.random.chance(30) {
                    txn.txn.rollback();
                    return Ok(());
                }
                txn.model = model;
                self.changes += 1;
                self.world.commit(txn, true)
            }
            Err(WriteError::Conflict) if self.changes > changes => Ok(()),
            Err(WriteError::Blocked(_)) if self.open.is_some() => Ok(()),
            Err(error) => Err(format!("late delete: {error}")),
        }
    }

    fn rolled_back(&mut self, table: &'static str, value: i64) -> Outcome {
        self.world.settle()?;
        let ids = self.world.ids(70);
        let mut txn = self.world.begin();
        txn.insert(table, &ids[..20], value)?;
        let savepoint = txn.txn.savepoint();
        let before = txn.model.clone();
        txn.lock(table, &ids[10..20], RowLockMode::Update)?;
        txn.bulk(table, &ids[20..], value)?;
        txn.update(table, &ids[15..25], value + 1)?;
        if self.random.chance(50) {
            txn.txn.rollback();
            return Ok(());
        }
        txn.txn.rollback_to(&savepoint);
        txn.model = before;
        self.world.commit(txn, true)
    }

    /// Begins a transaction that stays open, or ends the one that does.
    fn open_or_end(&mut self) -> Outcome {
        self.world.settle()?;
        if let Some((mut txn, deleted, inserted)) = self.open.take() {
            self.locked.clear();
            if self.random.chance(30) {
                txn.txn.rollback();
                return Ok(());
            }
            // Others have committed meanwhile: its changes are made on the model as it is now.
            txn.model = self.world.model().clone();
            let rows = txn.model.tables.entry("a".to_owned()).or_default();
            deleted.iter().for_each(|id| {
                rows.remove(id);
            });
            let wide = self.world.table("a").map_or(0, |table| table.columns.len() - 3);
            for (id, row) in inserted {
                // Columns that were added since have their missing value.
                let columns = row.matches('|').count() - 1;
                rows.insert(id, row + &"|7".repeat(wide - columns));
            }
            self.changes += 1;
            return self.world.commit(txn, true);
        }
        let mut txn = self.world.begin();
        let ids = self.world.ids(25);
        let deleted: BTreeSet<i64> = txn.pick_random("a", &mut self.random, 20).into_iter().collect();
        txn.delete("a", &deleted.iter().copied().collect::<Vec<_>>())?;
        // Some locked before they are deleted, others only locked.
        let mode = MODES[self.random.index(MODES.len())];
        self.locked = txn.pick_random("a", &mut self.random, 20).into_iter().collect();
        txn.lock("a", &self.locked.iter().copied().collect::<Vec<_>>(), mode)?;
        txn.insert("a", &ids, 5)?;
        let inserted = ids.iter().map(|id| (*id, txn.model.tables["a"][id].clone())).collect();
        self.open = Some((txn, deleted, inserted));
        Ok(())
    }

    fn hold(&mut self) {
        if self.held.len() < 4 {
            let snapshot = self.world.db.snapshot();
            let shown = contents(&snapshot);
            self.held.push((snapshot, shown));
        }
    }

    /// Ends, with or without closing, and opens again.
    fn reopen(&mut self, close: bool) -> Outcome {
        self.world.settle()?;
        self.let_go();
        if close {
            self.world.db.close().map_err(|error| error.to_string())?;
        }
        let model = self.world.model().clone();
        let disk = self.world.disk.clone();
        self.replace(&disk, model)
    }

    /// Loses the power and opens what is left, which may lack commits that were not waited for.
    fn crash(&mut self) -> Outcome {
        let image = self.world.disk.durable_image(self.random.bits());
        self.let_go();
        let (states, acknowledged) = (self.world.states.clone(), self.world.acknowledged);
        self.replace(&image, Model::default())?;
        let found = contents(&self.world.db.snapshot());
        match states[acknowledged..].iter().find(|state| state.tables == found) {
            Some(state) => {
                self.world.states = vec![state.clone()];
                Ok(())
            }
            None => Err(format!("no state fits what survived: {}", digest(&found))),
        }
    }

    fn let_go(&mut self) {
        self.held.clear();
        self.open = None;
        self.locked.clear();
        self.late = None;
    }

    fn replace(&mut self, disk: &SimDisk, model: Model) -> Outcome {
        let ids = self.world.ids(1);
        // The lock goes with the last clone of the old database.
        let old = std::mem::replace(&mut self.world, World::open(&SimDisk::new())?);
        drop(old);
        self.world = World::open_with(disk, model)?;
        self.world.skip_ids(ids[0]);
        Ok(())
    }

    /// Everything shown is everything committed, now and in the snapshots that are held.
    fn check(&mut self) -> Outcome {
        let seen = contents(&self.world.db.snapshot());
        // Commits that were not waited for may be visible or not.
        let states = &self.world.states[self.world.acknowledged..];
        if !states.iter().any(|state| state.tables == seen) {
            let expected = digest(&self.world.model().tables);
            return Err(format!("found {}, expected {expected}", digest(&seen)));
        }
        if self.random.chance(10) {
            self.world.check_keys(self.open.is_some(), "keys");
        }
        for (index, (snapshot, shown)) in self.held.iter().enumerate() {
            let now = contents(snapshot);
            if now != *shown {
                return Err(format!("held snapshot {index}: found {}, expected {}", digest(&now), digest(shown)));
            }
        }
        Ok(())
    }
}

/// Whether the table has had two columns added already.
fn txn_is_wide(txn: &Txn, table: &str) -> bool {
    txn.table(table).is_none_or(|table| table.columns.len() >= 5)
}

fn run(seed: u64) {
    let mut history = History::new(seed);
    for step in 0..STEPS {
        let outcome = history.step().and_then(|()| history.check());
        if let Err(error) = outcome {
            panic!("seed {seed}, step {step}: {error}\nsteps:\n{}", history.log.join("\n"));
        }
    }
    history.world.settle().unwrap();
    history.check().unwrap_or_else(|error| panic!("seed {seed}, at the end: {error}"));
}

#[test]
fn random_histories_agree_with_the_model() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("COLONNADE_MODEL_SEED") {
        return run(seed);
    }
    for seed in 0..number("COLONNADE_MODEL_SEEDS").unwrap_or(12) {
        run(seed);
    }
}
