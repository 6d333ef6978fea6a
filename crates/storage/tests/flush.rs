//! Flush, bulk loads, checkpoints: rows move, and nobody sees a difference.

mod support;

use std::collections::BTreeMap;

use colonnade_storage::{Isolation, StorageOptions, UnitKind, WriteError};
use colonnade_types::{ColumnId, TableDefinition};
use support::{Fixture, batch, commit, delete, rows, scan, update};

fn squares(ids: std::ops::Range<i64>) -> impl Iterator<Item = (i64, i64)> {
    ids.map(|id| (id, id * id))
}

#[test]
fn a_flush_changes_nothing_that_anyone_sees() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, squares(0..20_000));
    let mut txn = fixture.begin();
    delete(&mut txn, &table, 7).unwrap();
    commit(txn);
    let old = fixture.db.snapshot();
    let mut deleter = fixture.begin();
    delete(&mut deleter, &table, 8).unwrap();
    let mut undone = fixture.begin();
    delete(&mut undone, &table, 9).unwrap();
    let before = fixture.rows(&table);
    assert_eq!(fixture.flush(&table), 20_000);
    assert_eq!(fixture.db.table_status(table.storage).tail_rows, 0);
    assert_eq!(fixture.rows(&table), before);
    assert_eq!(rows(&old, &table), before);
    commit(deleter);
    undone.rollback();
    let mut expected = before.clone();
    expected.remove(&8);
    assert_eq!(fixture.rows(&table), expected);
    assert_eq!(rows(&old, &table), before, "an old snapshot reads the old place");
    drop(old);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
    let fixture = fixture.restart();
    assert_eq!(fixture.rows(&table), expected);
}

#[test]
fn a_transaction_with_an_old_version_deletes_what_has_moved() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, squares(0..100));
    let mut repeatable = fixture.db.begin(Isolation::RepeatableRead);
    let snapshot = repeatable.snapshot();
    let addresses: BTreeMap<i64, u64> = scan(&snapshot, &table).into_iter().map(|(id, _, at)| (id, at)).collect();
    fixture.flush(&table);
    repeatable.delete(&snapshot, &table, &[addresses[&5]]).unwrap();
    let again = repeatable.snapshot();
    assert!(!rows(&again, &table).contains_key(&5), "it sees its own delete at the old place");
    assert_eq!(scan(&again, &table).len(), 99);
    let savepoint = repeatable.savepoint();
    repeatable.delete(&again, &table, &[addresses[&6]]).unwrap();
    repeatable.rollback_to(&savepoint);
    let mut other = fixture.begin();
    assert!(matches!(delete(&mut other, &table, 5), Err(WriteError::Blocked(_))), "others meet it at the new place");
    delete(&mut other, &table, 6).unwrap();
    commit(other);
    let third = repeatable.snapshot();
    let conflict = repeatable.delete(&third, &table, &[addresses[&6]]);
    assert!(matches!(conflict, Err(WriteError::Conflict)), "{conflict:?}");
    commit(repeatable);
    drop((snapshot, again, third));
    let expected: BTreeMap<i64, i64> = squares(0..100).filter(|(id, _)| *id != 5 && *id != 6).collect();
    assert_eq!(fixture.rows(&table), expected);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
}

#[test]
fn a_delete_that_is_logged_before_the_flush_and_applied_after_it_is_carried() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, squares(0..10));
    let mut txn = fixture.begin();
    delete(&mut txn, &table, 3).unwrap();
    let ticket = txn.commit().unwrap();
    // The commit is in the log, not durable, not applied. The flush comes behind it.
    assert!(fixture.db.flush_table(table.storage).unwrap() > 0);
    assert_eq!(fixture.rows(&table)[&3], 9);
    ticket.wait().unwrap();
    while fixture.db.step_log() {}
    assert!(!fixture.rows(&table).contains_key(&3));
    let expected = fixture.rows(&table);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
}

#[test]
fn dead_rows_leave_without_a_segment() {
    let fixture = Fixture::new();
    let table = fixture.create("t", true);
    fixture.insert(&table, [(1, 0)]);
    for value in 1..=900 {
        let mut txn = fixture.begin();
        let snapshot = txn.snapshot();
        let row = scan(&snapshot, &table)[0].2;
        txn.delete(&snapshot, &table, &[row]).unwrap();
        txn.append(&table, &batch([(1, value)])).unwrap();
        commit(txn);
        drop(snapshot);
        if value % 300 == 0 {
            fixture.db.flush_table(table.storage).unwrap();
            while fixture.db.step_log() {}
        }
    }
    let status = fixture.db.table_status(table.storage);
    assert!(status.segment_rows <= 3, "{status:?}");
    assert_eq!(fixture.rows(&table), BTreeMap::from([(1, 900)]));
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), BTreeMap::from([(1, 900)]));
}

#[test]
fn maintenance_flushes_what_is_large_and_checkpoints_what_is_long() {
    let options = StorageOptions {
        tail_rows_max: 10_000,
        checkpoint_wal_bytes: 1 << 16,
        wal_file_bytes: 1 << 18,
        flush_idle_ms: 1_000_000,
        ..StorageOptions::default()
    };
    let fixture = Fixture::with(options);
    let table = fixture.create("t", false);
    for start in 0..10 {
        fixture.insert(&table, squares(start * 3_000..(start + 1) * 3_000));
    }
    let (mut flushed, mut checkpoints) = (0, 0);
    loop {
        let report = fixture.db.maintain().unwrap();
        while fixture.db.step_log() {}
        flushed += report.flushed_rows;
        checkpoints += u64::from(report.checkpoint);
        if !report.more {
            break;
        }
    }
    assert!(flushed >= 20_000, "{flushed}");
    assert!(checkpoints >= 1);
    let wal = fixture.db.wal_status();
    assert!(wal.checkpoint > colonnade_types::Lsn(1 << 16));
    let expected: BTreeMap<i64, i64> = squares(0..30_000).collect();
    assert_eq!(fixture.rows(&table), expected);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
    let mut txn = fixture.begin();
    update(&mut txn, &table, 29_999, 0).unwrap();
    update(&mut txn, &table, 1, 0).unwrap();
    commit(txn);
    let fixture = fixture.restart().crash();
    assert_eq!(fixture.rows(&table).values().filter(|value| **value == 0).count(), 3);
}

#[test]
fn a_checkpoint_between_log_and_replay_doubles_nothing() {
    let fixture = Fixture::new();
    let table = fixture.create("t", true);
    fixture.insert(&table, squares(0..1_000));
    fixture.flush(&table);
    fixture.insert(&table, squares(1_000..2_000));
    let mut txn = fixture.begin();
    update(&mut txn, &table, 5, -5).unwrap();
    update(&mut txn, &table, 1_005, -5).unwrap();
    commit(txn);
    fixture.db.checkpoint().unwrap();
    let mut txn = fixture.begin();
    update(&mut txn, &table, 6, -6).unwrap();
    update(&mut txn, &table, 1_006, -6).unwrap();
    commit(txn);
    let expected = fixture.rows(&table);
    assert_eq!(expected.len(), 2_000);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
    fixture.flush(&table);
    assert_eq!(fixture.rows(&table), expected);
    fixture.db.checkpoint().unwrap();
    let fixture = fixture.crash().restart();
    assert_eq!(fixture.rows(&table), expected);
}

#[test]
fn bulk_loads_sort_split_and_roll_back() {
    let options = StorageOptions { bulk_segment_rows: 10_000, ..StorageOptions::default() };
    let fixture = Fixture::with(options);
    let plain = fixture.create("t", false);
    let table = TableDefinition { sort_key: vec![ColumnId(1)], ..(*plain).clone() };
    let mut txn = fixture.begin();
    let mut bulk = txn.bulk(&table).unwrap();
    for part in 0..5 {
        bulk.write(&batch((0..5_000).map(|i| ((i * 7_919) % 25_000 / 5 * 5 + part, i)))).unwrap();
    }
    assert_eq!(bulk.finish(&mut txn).unwrap(), 25_000);
    assert_eq!(fixture.rows(&table), BTreeMap::new());
    let own = txn.snapshot();
    let scanned = own.scan(&table, &[ColumnId(1)]).unwrap();
    assert_eq!(scanned.units().len(), 3);
    assert!(scanned.units().iter().all(|unit| matches!(unit.kind, UnitKind::Segment { .. })));
    assert_eq!(scanned.exact_rows(), 25_000);
    let first = scan(&own, &table)[0];
    txn.delete(&own, &table, &[first.2]).unwrap();
    drop(scanned);
    drop(own);
    let savepoint = txn.savepoint();
    let mut undone = txn.bulk(&table).unwrap();
    undone.write(&batch(squares(0..10))).unwrap();
    undone.finish(&mut txn).unwrap();
    txn.rollback_to(&savepoint);
    let mut dropped = txn.bulk(&table).unwrap();
    dropped.write(&batch(squares(0..10_000))).unwrap();
    drop(dropped);
    commit(txn);
    assert_eq!(scan(&fixture.db.snapshot(), &table).len(), 24_999);
    fixture.db.maintain().unwrap();
    assert_eq!(fixture.segment_files(), 3);
    let mut txn = fixture.begin();
    let mut rolled_back = txn.bulk(&table).unwrap();
    rolled_back.write(&batch(squares(0..10))).unwrap();
    rolled_back.finish(&mut txn).unwrap();
    assert_eq!(fixture.segment_files(), 4);
    let held = txn.snapshot();
    txn.rollback();
    fixture.db.maintain().unwrap();
    assert_eq!(fixture.segment_files(), 4, "a snapshot still holds it");
    drop(held);
    fixture.db.maintain().unwrap();
    assert_eq!(fixture.segment_files(), 3);
}

#[test]
fn strays_go_and_missing_files_are_told_at_the_start() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, squares(0..10));
    fixture.flush(&table);
    let mut txn = fixture.begin();
    let mut bulk = txn.bulk(&table).unwrap();
    bulk.write(&batch(squares(10..20))).unwrap();
    bulk.finish(&mut txn).unwrap();
    assert_eq!(fixture.segment_files(), 2);
    drop(txn);
    let fixture = fixture.crash();
    assert_eq!(fixture.segment_files(), 1, "the load was never committed");
    assert_eq!(fixture.rows(&table).len(), 10);
}
