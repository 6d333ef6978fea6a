//! Row locks: who admits whom, wherever the row is and whatever moves it, and when they end.

mod support;

use std::sync::Arc;

use colonnade_storage::{Isolation, LockedBy, RowLockMode, Thoroughness, Transaction, WriteError};
use colonnade_types::TableDefinition;
use futures::FutureExt;
use support::{Fixture, batch, commit, scan};

use RowLockMode::{KeyShare, NoKeyUpdate, Share, Update};

const MODES: [RowLockMode; 4] = [KeyShare, Share, NoKeyUpdate, Update];

/// What is done to a row.
#[derive(Clone, Copy, Debug)]
enum Act {
    Lock(RowLockMode),
    /// An UPDATE that keeps the key.
    Update,
    Delete,
}

const ACTS: [Act; 6] =
    [Act::Lock(KeyShare), Act::Lock(Share), Act::Lock(NoKeyUpdate), Act::Lock(Update), Act::Update, Act::Delete];

impl Act {
    /// The lock that it is.
    fn mode(self) -> RowLockMode {
        match self {
            Act::Lock(mode) => mode,
            Act::Update => NoKeyUpdate,
            Act::Delete => Update,
        }
    }

    fn run(self, txn: &mut Transaction, table: &TableDefinition, id: i64) -> Result<(), WriteError> {
        let snapshot = txn.snapshot();
        let found = scan(&snapshot, table).into_iter().find(|(row, _, _)| *row == id).unwrap();
        match self {
            Act::Lock(mode) => {
                let skipped = txn.lock_rows(&snapshot, table, &[found.2], mode, LockedBy::Blocks)?;
                assert!(skipped.is_empty());
            }
            Act::Update => {
                txn.delete_keeping_keys(&snapshot, table, &[found.2])?;
                txn.append(table, &batch([(id, found.1 + 1)]))?;
            }
            Act::Delete => txn.delete(&snapshot, table, &[found.2])?,
        }
        Ok(())
    }
}

fn lock(txn: &mut Transaction, table: &TableDefinition, id: i64, mode: RowLockMode) -> Result<(), WriteError> {
    Act::Lock(mode).run(txn, table, id)
}

/// The table of PostgreSQL's manual, "Conflicting Row-Level Locks", written out.
fn conflict(held: RowLockMode, wanted: RowLockMode) -> bool {
    let held = MODES.iter().position(|mode| *mode == held).unwrap();
    let wanted = MODES.iter().position(|mode| *mode == wanted).unwrap();
    [[false, false, false, true], [false, false, true, true], [false, true, true, true], [true, true, true, true]][held]
        [wanted]
}

fn blocked(outcome: &Result<(), WriteError>, by: &Transaction) -> bool {
    matches!(outcome, Err(WriteError::Blocked(other)) if *other == by.id())
}

/// Places a row may be in: the tail; a segment; a chunk that moved after the first act.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Site {
    Tail,
    Segment,
    Moved,
    /// A segment that was merged with another after the first act.
    Compacted,
}

const SITES: [Site; 4] = [Site::Tail, Site::Segment, Site::Moved, Site::Compacted];

fn filled(site: Site) -> (Fixture, Arc<TableDefinition>) {
    let fixture = Fixture::new();
    let table = fixture.create("t", true);
    fixture.insert(&table, (0..6).map(|id| (id, 0)));
    if site == Site::Compacted {
        assert_eq!(fixture.flush(&table), 6);
    }
    fixture.insert(&table, (6..10).map(|id| (id, 0)));
    match site {
        Site::Segment => assert_eq!(fixture.flush(&table), 10),
        Site::Compacted => assert_eq!(fixture.flush(&table), 4),
        Site::Tail | Site::Moved => {}
    }
    (fixture, table)
}

/// Moves the rows, if it is the site's way that they move.
fn shift(fixture: &Fixture, table: &TableDefinition, site: Site) {
    match site {
        Site::Tail | Site::Segment => {}
        Site::Moved => {
            fixture.flush(table);
        }
        Site::Compacted => {
            let segments = fixture.db.table_status(table.storage).segments;
            fixture.db.compact_table(table.storage, Thoroughness::Full, &|| true).unwrap();
            while fixture.db.step_log() {}
            assert!(segments > 1 && fixture.db.table_status(table.storage).segments < segments, "merged");
        }
    }
}

#[test]
fn every_pair_meets_as_in_postgresql() {
    for site in SITES {
        for held in ACTS {
            for wanted in ACTS {
                let (fixture, table) = filled(site);
                let (mut one, mut two) = (fixture.begin(), fixture.begin());
                held.run(&mut one, &table, 5).unwrap();
                shift(&fixture, &table, site);
                let met = wanted.run(&mut two, &table, 5);
                let expected = conflict(held.mode(), wanted.mode());
                assert_eq!(blocked(&met, &one), expected, "{site:?}: {held:?}, then {wanted:?}: {met:?}");
                assert_eq!(met.is_ok(), !expected, "{site:?}: {held:?}, then {wanted:?}: {met:?}");
                // Another row is nobody's business.
                Act::Delete.run(&mut two, &table, 6).unwrap();
                one.rollback();
                if expected {
                    wanted.run(&mut two, &table, 5).unwrap_or_else(|error| panic!("{held:?} is gone: {error}"));
                }
                two.rollback();
                assert_eq!(fixture.rows(&table).len(), 10);
                let mut three = fixture.begin();
                Act::Delete.run(&mut three, &table, 5).unwrap();
                commit(three);
                assert_eq!(fixture.rows(&table).len(), 9);
            }
        }
    }
}

#[test]
fn what_one_holds_is_no_obstacle_to_it() {
    for site in SITES {
        for held in ACTS {
            for wanted in ACTS {
                if matches!(held, Act::Update | Act::Delete) {
                    // The row that a later snapshot sees is another one, or none.
                    continue;
                }
                let (fixture, table) = filled(site);
                let (mut one, mut two) = (fixture.begin(), fixture.begin());
                held.run(&mut one, &table, 5).unwrap();
                shift(&fixture, &table, site);
                let savepoint = one.savepoint();
                wanted.run(&mut one, &table, 5).unwrap();
                let strongest = held.mode().max(wanted.mode());
                for other in MODES {
                    let before = two.savepoint();
                    let met = lock(&mut two, &table, 5, other);
                    two.rollback_to(&before);
                    assert_eq!(met.is_err(), conflict(strongest, other), "{held:?} and {wanted:?}, then {other:?}");
                }
                one.rollback_to(&savepoint);
                for other in MODES {
                    let before = two.savepoint();
                    let met = lock(&mut two, &table, 5, other);
                    two.rollback_to(&before);
                    assert_eq!(met.is_err(), conflict(held.mode(), other), "{held:?} is left, then {other:?}");
                }
                commit(one);
                lock(&mut two, &table, 5, Update).unwrap();
                assert_eq!(fixture.rows(&table).len(), 10);
            }
        }
    }
}

#[test]
fn many_share_and_the_last_one_opens() {
    for site in SITES {
        for mode in [KeyShare, Share] {
            let (fixture, table) = filled(site);
            let mut sharers: Vec<Transaction> = (0..4).map(|_| fixture.begin()).collect();
            for sharer in &mut sharers {
                lock(sharer, &table, 3, mode).unwrap();
                lock(sharer, &table, 3, mode).unwrap();
            }
            shift(&fixture, &table, site);
            let mut other = fixture.begin();
            while let Some(mut sharer) = sharers.pop() {
                assert!(lock(&mut other, &table, 3, Update).is_err());
                // While others share, none of them gets more; the last one does.
                assert_eq!(lock(&mut sharer, &table, 3, Update).is_ok(), sharers.is_empty());
                if sharers.len().is_multiple_of(2) {
                    commit(sharer);
                }
            }
            lock(&mut other, &table, 3, Update).unwrap();
        }
    }
}

#[test]
fn a_key_share_holds_for_the_versions_that_keep_the_key() {
    for site in SITES {
        let (fixture, table) = filled(site);
        let mut child = fixture.begin();
        lock(&mut child, &table, 7, KeyShare).unwrap();
        shift(&fixture, &table, site);
        for _ in 0..3 {
            let mut parent = fixture.begin();
            Act::Update.run(&mut parent, &table, 7).unwrap();
            assert!(blocked(&Act::Delete.run(&mut parent, &table, 7), &child), "its own new version, still shared");
            commit(parent);
        }
        let mut remover = fixture.begin();
        assert!(blocked(&Act::Delete.run(&mut remover, &table, 7), &child));
        commit(child);
        Act::Delete.run(&mut remover, &table, 7).unwrap();
        commit(remover);
        assert_eq!(fixture.rows(&table).len(), 9);
    }
}

#[test]
fn a_row_without_a_key_is_shared_as_a_whole() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, [(1, 1)]);
    let (mut one, mut two) = (fixture.begin(), fixture.begin());
    lock(&mut one, &table, 1, KeyShare).unwrap();
    lock(&mut two, &table, 1, KeyShare).unwrap();
    assert!(blocked(&Act::Delete.run(&mut two, &table, 1), &one));
    one.rollback();
    Act::Delete.run(&mut two, &table, 1).unwrap();
}

#[test]
fn locked_rows_are_skipped_and_the_others_locked() {
    for site in SITES {
        for held in ACTS {
            let (fixture, table) = filled(site);
            let (mut one, mut two) = (fixture.begin(), fixture.begin());
            for id in [2, 5, 7] {
                held.run(&mut one, &table, id).unwrap();
            }
            shift(&fixture, &table, site);
            let snapshot = two.snapshot();
            let found = scan(&snapshot, &table);
            let addresses: Vec<_> = found.iter().map(|row| row.2).collect();
            for mode in MODES {
                let savepoint = two.savepoint();
                let skipped = two.lock_rows(&snapshot, &table, &addresses, mode, LockedBy::Skipped).unwrap();
                let mut ids: Vec<i64> = found.iter().filter(|r| skipped.contains(&r.2)).map(|r| r.0).collect();
                ids.sort_unstable();
                let expected: &[i64] = if conflict(held.mode(), mode) { &[2, 5, 7] } else { &[] };
                assert_eq!(ids, expected, "{site:?} {held:?} {mode:?}");
                two.rollback_to(&savepoint);
            }
        }
    }
}

#[test]
fn a_call_that_cannot_lock_all_locks_none() {
    let (fixture, table) = filled(Site::Tail);
    let (mut one, mut two, mut three) = (fixture.begin(), fixture.begin(), fixture.begin());
    lock(&mut one, &table, 5, Update).unwrap();
    let snapshot = two.snapshot();
    let addresses: Vec<_> = scan(&snapshot, &table).iter().map(|row| row.2).collect();
    for mode in MODES {
        let met = two.lock_rows(&snapshot, &table, &addresses, mode, LockedBy::Blocks);
        assert!(matches!(met, Err(WriteError::Blocked(other)) if other == one.id()));
        lock(&mut three, &table, 4, Update).unwrap();
        lock(&mut three, &table, 6, Update).unwrap();
        three.rollback();
        three = fixture.begin();
    }
}

#[test]
fn a_changed_row_is_a_conflict_for_an_older_snapshot() {
    for site in SITES {
        for mode in MODES {
            let (fixture, table) = filled(site);
            let mut old = fixture.db.begin(Isolation::RepeatableRead);
            let snapshot = old.snapshot();
            let address = scan(&snapshot, &table).into_iter().find(|row| row.0 == 5).unwrap().2;
            let mut writer = fixture.begin();
            Act::Update.run(&mut writer, &table, 5).unwrap();
            commit(writer);
            shift(&fixture, &table, site);
            let met = old.lock_rows(&snapshot, &table, &[address], mode, LockedBy::Blocks);
            assert!(matches!(met, Err(WriteError::Conflict)), "{site:?} {mode:?} {met:?}");
        }
    }
}

#[test]
fn locks_alone_write_nothing_and_do_not_survive() {
    for site in SITES {
        let (fixture, table) = filled(site);
        let end = fixture.db.wal_status().end;
        let mut txn = fixture.begin();
        for (id, mode) in (0..).zip(MODES) {
            lock(&mut txn, &table, id, mode).unwrap();
        }
        assert!(txn.is_read_only());
        assert!(txn.commit().unwrap().now_or_never().unwrap().is_ok());
        assert_eq!(fixture.db.wal_status().end, end);
        // Held while the process dies, with a record of other rows in the log, a flush and a checkpoint around.
        let mut txn = fixture.begin();
        for (id, mode) in (0..).zip(MODES) {
            lock(&mut txn, &table, id, mode).unwrap();
        }
        shift(&fixture, &table, site);
        fixture.db.checkpoint().unwrap();
        let mut ending = fixture.begin();
        lock(&mut ending, &table, 8, Update).unwrap();
        ending.append(&table, &batch([(20, 0)])).unwrap();
        let ticket = ending.commit().unwrap();
        // Its record is in the log, the lock still stands: the flush must not take it for a delete.
        fixture.db.flush_table(table.storage).unwrap();
        ticket.wait().unwrap();
        drop(txn);
        let fixture = fixture.crash();
        let table = fixture.table("t");
        assert_eq!(fixture.rows(&table).len(), 11);
        let mut txn = fixture.begin();
        for id in 0..10 {
            Act::Delete.run(&mut txn, &table, id).unwrap();
        }
        commit(txn);
        assert_eq!(fixture.rows(&table).len(), 1);
    }
}

#[test]
fn deleted_rows_are_counted_without_locked_ones() {
    let (fixture, table) = filled(Site::Segment);
    let mut txn = fixture.begin();
    lock(&mut txn, &table, 1, Update).unwrap();
    lock(&mut txn, &table, 2, Share).unwrap();
    assert_eq!(fixture.db.table_status(table.storage).deleted_rows, 0);
    Act::Delete.run(&mut txn, &table, 1).unwrap();
    commit(txn);
    assert_eq!(fixture.db.table_status(table.storage).deleted_rows, 1);
    assert_eq!(fixture.rows(&table).len(), 9);
}

#[test]
fn a_rollback_to_a_savepoint_wakes_those_who_wait() {
    let (fixture, table) = filled(Site::Tail);
    let (mut one, two) = (fixture.begin(), fixture.begin());
    let savepoint = one.savepoint();
    lock(&mut one, &table, 1, Update).unwrap();
    let mut wait = fixture.db.wait_for(two.id(), one.id());
    assert!((&mut wait).now_or_never().is_none());
    one.rollback_to(&savepoint);
    assert!(wait.now_or_never().unwrap().is_ok());
}
