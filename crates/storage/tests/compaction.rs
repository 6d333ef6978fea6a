//! Compaction: segments become better ones, space comes back, and nobody sees a difference.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use colonnade_storage::{
    CatalogEdit, Isolation, MaintenanceError, ReadError, Snapshot, StorageOptions, Thoroughness, Transaction,
    WriteError,
};
use colonnade_types::{ColumnId, Relation, TableDefinition};
use parking_lot::Mutex;
use support::{Fixture, batch, column, commit, delete, rows, scan, update};

/// Segments of a thousand rows, so that few rows make many.
fn small_segments() -> StorageOptions {
    StorageOptions {
        compaction_segment_rows: 1_000,
        compaction_bytes_per_second: 0,
        bulk_segment_rows: 1_000,
        flush_idle_ms: 0,
        flush_idle_rows_min: 100,
        ..StorageOptions::default()
    }
}

fn squares(ids: std::ops::Range<i64>) -> impl Iterator<Item = (i64, i64)> {
    ids.map(|id| (id, id * id))
}

/// Rows `0..rows` in as many segments as there are flushes of `step` rows.
fn flushed(fixture: &Fixture, table: &TableDefinition, rows: i64, step: usize) {
    for from in (0..rows).step_by(step) {
        fixture.insert(table, squares(from..rows.min(from + step as i64)));
        fixture.flush(table);
    }
}

fn compact(fixture: &Fixture, table: &TableDefinition, thoroughness: Thoroughness) -> u64 {
    fixture.db.compact_table(table.storage, thoroughness, &|| true).unwrap()
}

fn addresses(snapshot: &Snapshot, table: &TableDefinition) -> BTreeMap<i64, u64> {
    scan(snapshot, table).into_iter().map(|(id, _, at)| (id, at)).collect()
}

/// Does maintenance until nothing is due.
fn settle(fixture: &Fixture) {
    for _ in 0..500 {
        let report = fixture.db.maintain().unwrap();
        while fixture.db.step_log() {}
        if !report.more {
            return;
        }
    }
    panic!("maintenance never ends");
}

#[test]
fn small_segments_become_one_and_nobody_sees_it() {
    let fixture = Fixture::with(small_segments());
    let table = fixture.create("t", true);
    flushed(&fixture, &table, 500, 50);
    for id in [7, 8, 205] {
        let mut txn = fixture.begin();
        delete(&mut txn, &table, id).unwrap();
        commit(txn);
    }
    let old = fixture.db.snapshot();
    let (mut committed, mut undone) = (fixture.begin(), fixture.begin());
    delete(&mut committed, &table, 9).unwrap();
    delete(&mut undone, &table, 10).unwrap();
    let before = fixture.rows(&table);
    assert_eq!(fixture.db.segments(table.storage).unwrap().len(), 10);
    assert_eq!(compact(&fixture, &table, Thoroughness::Full), 500);
    let segments = fixture.db.segments(table.storage).unwrap();
    assert_eq!(segments.iter().map(|segment| segment.rows).collect::<Vec<_>>(), [497], "deleted rows are left out");
    assert_eq!(segments[0].deleted_rows, 2, "what running transactions deleted is kept, marks and all");
    assert!(segments[0].min_lsn < segments[0].max_lsn, "every row keeps its LSN: {segments:?}");
    assert_eq!(fixture.rows(&table), before);
    assert_eq!(rows(&old, &table), before);
    commit(committed);
    undone.rollback();
    let mut expected = before.clone();
    expected.remove(&9);
    assert_eq!(fixture.rows(&table), expected);
    assert_eq!(rows(&old, &table), before, "an old snapshot reads the old segments");
    assert_eq!(fixture.segment_files(), 11);
    drop(old);
    fixture.db.maintain().unwrap();
    assert_eq!(fixture.segment_files(), 1);
    // The row whose delete was undone can be deleted again, and its key is still taken.
    let mut again = fixture.begin();
    assert!(matches!(again.append(&table, &batch([(10, 0)])), Err(WriteError::DuplicateKey { .. })));
    update(&mut again, &table, 10, 0).unwrap();
    again.append(&table, &batch([(9, 99)])).unwrap();
    commit(again);
    expected.extend([(9, 99), (10, 0)]);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
    let fixture = fixture.restart();
    assert_eq!(fixture.rows(&table), expected);
}

/// What is done to rows while they are merged: after the rows to keep were chosen, before the new segments are installed.
#[test]
fn deletes_that_come_during_the_merge_are_carried() {
    let fixture = Fixture::with(small_segments());
    let table = fixture.create("t", true);
    flushed(&fixture, &table, 300, 100);
    let (running, undone) = (Mutex::new(None), Mutex::new(None));
    let once = AtomicBool::new(false);
    let meanwhile = || {
        if !once.swap(true, Ordering::Relaxed) {
            let mut txn = fixture.begin();
            delete(&mut txn, &table, 1).unwrap();
            commit(txn);
            // In the log, and neither durable nor visible when the merge is installed.
            let mut txn = fixture.begin();
            update(&mut txn, &table, 101, -1).unwrap();
            drop(txn.commit().unwrap());
            let mut txn = fixture.begin();
            delete(&mut txn, &table, 2).unwrap();
            *running.lock() = Some(txn);
            let mut txn = fixture.begin();
            delete(&mut txn, &table, 202).unwrap();
            *undone.lock() = Some(txn);
            let mut txn = fixture.begin();
            delete(&mut txn, &table, 3).unwrap();
            txn.rollback();
        }
        true
    };
    assert_eq!(fixture.db.compact_table(table.storage, Thoroughness::Full, &meanwhile).unwrap(), 300);
    assert_eq!(fixture.db.segments(table.storage).unwrap().len(), 1);
    let mut expected: BTreeMap<i64, i64> = squares(0..300).filter(|(id, _)| *id != 1).collect();
    expected.insert(101, -1);
    assert_eq!(fixture.rows(&table), expected);
    let mut blocked = fixture.begin();
    for id in [2, 202] {
        assert!(matches!(delete(&mut blocked, &table, id), Err(WriteError::Blocked(_))));
    }
    drop(blocked);
    let running: Transaction = running.lock().take().unwrap();
    commit(running);
    drop(undone.lock().take());
    expected.remove(&2);
    assert_eq!(fixture.rows(&table), expected);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
}

#[test]
fn a_transaction_with_an_old_version_deletes_what_has_moved_twice() {
    let fixture = Fixture::with(small_segments());
    let table = fixture.create("t", false);
    fixture.insert(&table, squares(0..100));
    let mut repeatable = fixture.db.begin(Isolation::RepeatableRead);
    let snapshot = repeatable.snapshot();
    let at = addresses(&snapshot, &table);
    repeatable.delete(&snapshot, &table, &[at[&4]]).unwrap();
    // From the tail to a segment, to a second, to a third.
    for round in 1..4 {
        fixture.insert(&table, squares(round * 100..(round + 1) * 100));
        fixture.flush(&table);
        compact(&fixture, &table, Thoroughness::Full);
    }
    assert_eq!(fixture.db.segments(table.storage).unwrap().len(), 1);
    let again = repeatable.snapshot();
    repeatable.delete(&again, &table, &[at[&5]]).unwrap();
    let later = repeatable.snapshot();
    assert_eq!(scan(&later, &table).len(), 98, "it sees its own deletes at the old place");
    let savepoint = repeatable.savepoint();
    repeatable.delete(&later, &table, &[at[&6], at[&7]]).unwrap();
    repeatable.rollback_to(&savepoint);
    assert_eq!(scan(&repeatable.snapshot(), &table).len(), 98);
    let mut other = fixture.begin();
    for id in [4, 5] {
        assert!(matches!(delete(&mut other, &table, id), Err(WriteError::Blocked(_))), "met at the new place");
    }
    delete(&mut other, &table, 6).unwrap();
    commit(other);
    let conflict = repeatable.delete(&later, &table, &[at[&6]]);
    assert!(matches!(conflict, Err(WriteError::Conflict)), "{conflict:?}");
    // A row that was left out of the merge is a conflict, too.
    compact(&fixture, &table, Thoroughness::Deleted);
    let conflict = repeatable.delete(&later, &table, &[at[&6]]);
    assert!(matches!(conflict, Err(WriteError::Conflict)), "{conflict:?}");
    commit(repeatable);
    drop((snapshot, again, later));
    let expected: BTreeMap<i64, i64> = squares(0..400).filter(|(id, _)| ![4, 5, 6].contains(id)).collect();
    assert_eq!(fixture.rows(&table), expected);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
    fixture.db.checkpoint().unwrap();
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
}

#[test]
fn a_merge_that_is_logged_and_not_applied_is_met_by_everyone() {
    let fixture = Fixture::with(small_segments());
    let table = fixture.create("t", true);
    flushed(&fixture, &table, 200, 20);
    assert!(fixture.db.maintain().unwrap().compacted_rows > 0);
    // The log writer has not run: snapshots still read the old segments, writers decide at the new one.
    assert_eq!(fixture.db.segments(table.storage).unwrap().len(), 10);
    let mut first = fixture.begin();
    delete(&mut first, &table, 17).unwrap();
    let mut second = fixture.begin();
    assert!(matches!(delete(&mut second, &table, 17), Err(WriteError::Blocked(_))));
    assert!(matches!(second.append(&table, &batch([(17, 0)])), Err(WriteError::Blocked(_))));
    assert!(matches!(second.append(&table, &batch([(18, 0)])), Err(WriteError::DuplicateKey { .. })));
    // Nothing is merged again before it is applied.
    assert_eq!(fixture.db.maintain().unwrap().compacted_rows, 0);
    let seen = first.snapshot();
    assert!(!rows(&seen, &table).contains_key(&17));
    drop(seen);
    let ticket = first.commit().unwrap();
    ticket.wait().unwrap();
    drop(second);
    while fixture.db.step_log() {}
    let expected: BTreeMap<i64, i64> = squares(0..200).filter(|(id, _)| *id != 17).collect();
    assert_eq!(fixture.rows(&table), expected);
    assert!(fixture.db.segments(table.storage).unwrap().len() < 10);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
}

#[test]
fn a_table_that_goes_during_the_merge_is_gone() {
    for wait in [true, false] {
        let fixture = Fixture::with(small_segments());
        let table = fixture.create("t", false);
        flushed(&fixture, &table, 300, 100);
        let once = AtomicBool::new(false);
        let dropped = || {
            if !once.swap(true, Ordering::Relaxed) {
                let mut txn = fixture.begin();
                txn.edit_catalog(CatalogEdit::DropRelation(table.oid)).unwrap();
                let ticket = txn.commit().unwrap();
                if wait {
                    ticket.wait().unwrap();
                }
            }
            true
        };
        let compacted = fixture.db.compact_table(table.storage, Thoroughness::Full, &dropped).unwrap();
        assert_eq!(
            compacted == 0,
            wait,
            "a drop that is visible stops it, one that is only in the log comes before it"
        );
        while fixture.db.step_log() {}
        settle(&fixture);
        assert_eq!(fixture.segment_files(), 0);
        let fixture = fixture.crash();
        assert_eq!(fixture.segment_files(), 0);
    }
}

#[test]
fn truncate_behind_a_merge_that_is_not_applied() {
    let fixture = Fixture::with(small_segments());
    let table = fixture.create("t", false);
    flushed(&fixture, &table, 300, 100);
    assert!(fixture.db.maintain().unwrap().compacted_rows > 0);
    let mut txn = fixture.begin();
    let truncated = TableDefinition { storage: fixture.db.allocate_storage(), ..(*table).clone() };
    txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(truncated.clone().into()))).unwrap();
    txn.append(&truncated, &batch(squares(0..3))).unwrap();
    commit(txn);
    while fixture.db.step_log() {}
    settle(&fixture);
    assert_eq!(fixture.rows(&truncated).len(), 3);
    assert_eq!(fixture.segment_files(), 0);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&truncated).len(), 3);
}

#[test]
fn a_merge_that_is_stopped_leaves_nothing() {
    let fixture = Fixture::with(small_segments());
    let table = fixture.create("t", false);
    flushed(&fixture, &table, 300, 100);
    let calls = Mutex::new(0);
    let stop = || {
        let mut calls = calls.lock();
        *calls += 1;
        *calls < 3
    };
    assert_eq!(fixture.db.compact_table(table.storage, Thoroughness::Full, &stop).unwrap(), 0);
    assert_eq!(*calls.lock(), 3);
    assert_eq!(fixture.segment_files(), 3);
    assert_eq!(fixture.rows(&table).len(), 300);
}

#[test]
fn segments_are_sorted_and_set_apart_and_as_large_as_they_should_be() {
    let fixture = Fixture::with(small_segments());
    let plain = fixture.create("t", false);
    let table = TableDefinition { sort_key: vec![ColumnId(1)], ..(*plain).clone() };
    let mut txn = fixture.begin();
    txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(table.clone().into()))).unwrap();
    commit(txn);
    for part in 0..4 {
        fixture.insert(&table, (0..875).map(|i| (i * 4 + part, i)));
        fixture.flush(&table);
    }
    compact(&fixture, &table, Thoroughness::Full);
    let sizes: Vec<u64> = fixture.db.segments(table.storage).unwrap().iter().map(|segment| segment.rows).collect();
    assert_eq!(sizes, [875; 4], "cut evenly, none over the limit");
    let snapshot = fixture.db.snapshot();
    let ids: Vec<i64> = scan(&snapshot, &table).iter().map(|row| row.0).collect();
    assert_eq!(ids, (0..3_500).collect::<Vec<_>>());
    let before = fixture.db.metrics().compactions;
    compact(&fixture, &table, Thoroughness::Full);
    settle(&fixture);
    assert_eq!(fixture.db.metrics().compactions, before, "there is nothing left to do");
}

#[test]
fn a_load_keeps_its_one_lsn_and_columns_that_came_later_their_value() {
    let fixture = Fixture::with(small_segments());
    let table = fixture.create("t", false);
    let mut txn = fixture.begin();
    let mut bulk = txn.bulk(&table).unwrap();
    bulk.write(&batch(squares(0..2_500))).unwrap();
    bulk.finish(&mut txn).unwrap();
    let loaded = commit(txn);
    let mut txn = fixture.begin();
    let snapshot = txn.snapshot();
    let gone: Vec<u64> = scan(&snapshot, &table).iter().filter(|row| row.0 % 2 == 0).map(|row| row.2).collect();
    txn.delete(&snapshot, &table, &gone).unwrap();
    commit(txn);
    drop(snapshot);
    settle(&fixture);
    let segments = fixture.db.segments(table.storage).unwrap();
    assert_eq!(segments.iter().map(|segment| segment.rows).sum::<u64>(), 1_250, "{segments:?}");
    assert!(segments.iter().all(|segment| (segment.min_lsn, segment.max_lsn) == (loaded, loaded)), "{segments:?}");
    // A column is added; rows with and without it are merged.
    let mut wide = (*table).clone();
    wide.columns.push(column(4, "extra", colonnade_types::SqlType::BigInt));
    wide.columns[3].missing = Some("7".to_owned());
    wide.next_column = ColumnId(5);
    let mut txn = fixture.begin();
    txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(wide.clone().into()))).unwrap();
    commit(txn);
    compact(&fixture, &wide, Thoroughness::Full);
    let fixture = fixture.restart();
    let scanned = fixture.db.snapshot().scan(&wide, &[ColumnId(4)]).unwrap();
    for unit in 0..scanned.units().len() {
        let values = scanned.column(unit, 0, 0).unwrap();
        let values = values.as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
        assert!(values.iter().all(|value| value == Some(7)));
    }
    assert_eq!(scanned.exact_rows(), 1_250);
}

/// Inserts one by one, an update of every row, a delete of every other: what is left takes at most 1.3 times the space that it takes freshly loaded, without a
/// command, and with a reader that holds an old snapshot for a while.
#[test]
fn space_comes_back_by_itself() {
    const ROWS: i64 = 40_000;
    let options = StorageOptions {
        compaction_segment_rows: 16_384,
        compaction_bytes_per_second: 0,
        bulk_segment_rows: 16_384,
        tail_rows_max: 4_096,
        flush_idle_ms: 0,
        flush_idle_rows_min: 1,
        checkpoint_wal_bytes: 1 << 20,
        wal_file_bytes: 1 << 18,
        ..StorageOptions::default()
    };
    let fixture = Fixture::with(options.clone());
    let table = fixture.create("t", true);
    let mut held = None;
    for from in (0..ROWS).step_by(500) {
        for id in from..from + 500 {
            let mut txn = fixture.begin();
            txn.append(&table, &batch([(id, id)])).unwrap();
            // The log writer's round comes below, for all of them.
            drop(txn.commit().unwrap());
        }
        while fixture.db.step_log() {}
        fixture.db.maintain().unwrap();
    }
    for from in (0..ROWS).step_by(500) {
        let mut txn = fixture.begin();
        let snapshot = txn.snapshot();
        let at = addresses(&snapshot, &table);
        let chosen: Vec<u64> = (from..from + 500).map(|id| at[&id]).collect();
        txn.delete(&snapshot, &table, &chosen).unwrap();
        txn.append(&table, &batch((from..from + 500).map(|id| (id, id + 1)))).unwrap();
        commit(txn);
        if from == ROWS / 2 {
            held = Some((fixture.db.snapshot(), fixture.rows(&table)));
        }
        fixture.db.maintain().unwrap();
    }
    let mut txn = fixture.begin();
    let snapshot = txn.snapshot();
    let gone: Vec<u64> = scan(&snapshot, &table).iter().filter(|row| row.0 % 2 == 0).map(|row| row.2).collect();
    txn.delete(&snapshot, &table, &gone).unwrap();
    commit(txn);
    drop(snapshot);
    settle(&fixture);
    let (old, seen) = held.take().unwrap();
    assert_eq!(rows(&old, &table), seen);
    drop(old);
    settle(&fixture);
    let expected: BTreeMap<i64, i64> = (0..ROWS).filter(|id| id % 2 == 1).map(|id| (id, id + 1)).collect();
    assert_eq!(fixture.rows(&table), expected);

    let fresh = Fixture::with(options);
    let same = fresh.create("t", true);
    let mut txn = fresh.begin();
    let mut bulk = txn.bulk(&same).unwrap();
    bulk.write(&batch(expected)).unwrap();
    bulk.finish(&mut txn).unwrap();
    commit(txn);
    let (used, loaded) = (fixture.segment_bytes(), fresh.segment_bytes());
    let status = fixture.db.table_status(table.storage);
    assert_eq!(used, status.segment_bytes, "no file is left that nobody needs");
    assert_eq!(fixture.key_files().len() as u64, status.segments, "no more than one key file a segment");
    assert!(
        used + status.tail_bytes <= loaded * 13 / 10,
        "{used} bytes and a tail, {loaded} freshly loaded; {status:?}"
    );
}

/// A hundred rows are updated again and again beside one that never is. Neither memory nor segments grow with the updates.
#[test]
fn hot_rows_stay_in_the_row_store_and_their_dead_versions_go() {
    const HOT: i64 = 100;
    const ROUNDS: i64 = 600;
    let options = StorageOptions {
        tail_rows_max: 16_384,
        compaction_bytes_per_second: 0,
        flush_idle_ms: 1_000_000,
        checkpoint_wal_bytes: 1 << 20,
        wal_file_bytes: 1 << 18,
        ..StorageOptions::default()
    };
    let fixture = Fixture::with(options);
    let table = fixture.create("t", true);
    fixture.insert(&table, (0..=HOT).map(|id| (id, 0)));
    let mut most = 0;
    for round in 1..=ROUNDS {
        let mut txn = fixture.begin();
        let snapshot = txn.snapshot();
        // The hot rows are the last ones: their addresses are those of the latest versions.
        let at = hot_addresses(&snapshot, &table);
        txn.delete(&snapshot, &table, &at).unwrap();
        txn.append(&table, &batch((1..=HOT).map(|id| (id, round)))).unwrap();
        drop(txn.commit().unwrap());
        drop(snapshot);
        while fixture.db.step_log() {}
        if round % 10 == 0 {
            fixture.db.maintain().unwrap();
            while fixture.db.step_log() {}
            most = most.max(fixture.db.table_status(table.storage).tail_rows);
        }
    }
    assert!(most < 20_000, "the tail held {most} versions");
    settle(&fixture);
    let status = fixture.db.table_status(table.storage);
    assert!(status.segment_rows <= 101, "{status:?}");
    assert!(fixture.db.metrics().flushed_rows >= 40_000);
    let mut expected: BTreeMap<i64, i64> = (1..=HOT).map(|id| (id, ROUNDS)).collect();
    expected.insert(0, 0);
    assert_eq!(fixture.rows(&table), expected);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
}

/// Addresses of the visible rows with ids from 1 on: they are in the last chunks of the tail.
fn hot_addresses(snapshot: &Snapshot, table: &TableDefinition) -> Vec<u64> {
    let scan = snapshot.scan(table, &[ColumnId(1)]).unwrap();
    let mut found = Vec::new();
    for unit in (0..scan.units().len()).rev() {
        let rows = scan.granule_rows(unit, 0);
        let visible = match scan.visibility(unit, 0) {
            colonnade_storage::Visibility::All => (0..rows).collect::<Vec<_>>(),
            colonnade_storage::Visibility::None => continue,
            colonnade_storage::Visibility::Some(bits) => bits.set_indices().collect(),
        };
        let ids = scan.column(unit, 0, 0).unwrap();
        let ids = ids.as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
        let addresses = scan.addresses(unit, 0);
        found.extend(visible.iter().filter(|row| ids.value(**row) > 0).map(|row| addresses.value(*row)));
        if found.len() == 100 {
            break;
        }
    }
    assert_eq!(found.len(), 100);
    found
}

#[test]
fn a_damaged_segment_stops_its_own_table_only() {
    let fixture = Fixture::with(small_segments());
    let (bad, good) = (fixture.create("bad", false), fixture.create("good", false));
    flushed(&fixture, &bad, 300, 100);
    flushed(&fixture, &good, 300, 100);
    let first = fixture.db.segments(bad.storage).unwrap()[0].id;
    let fixture = fixture.restart();
    fixture.damage(first);
    let mut failures = 0;
    for _ in 0..10 {
        match fixture.db.maintain() {
            Ok(_) => {}
            Err(MaintenanceError::Read(ReadError::Corrupt(_))) => failures += 1,
            Err(other) => panic!("{other}"),
        }
        while fixture.db.step_log() {}
    }
    assert_eq!(failures, 1, "it is not tried again at once");
    assert_eq!(fixture.db.segments(good.storage).unwrap().len(), 1);
    assert_eq!(fixture.db.segments(bad.storage).unwrap().len(), 3);
    assert_eq!(fixture.rows(&good).len(), 300);
    let error = fixture.db.compact_table(bad.storage, Thoroughness::Full, &|| true).unwrap_err();
    assert!(error.to_string().contains(".seg"), "{error}");
}

#[test]
fn status_says_what_is_due() {
    let fixture = Fixture::with(StorageOptions { flush_idle_ms: 1_000_000, ..small_segments() });
    let table = fixture.create("t", false);
    flushed(&fixture, &table, 300, 100);
    let status = fixture.db.compaction_status(table.storage).unwrap();
    assert_eq!((status.segments_due, status.next_segments, status.runs), (3, 0, 0), "three small ones are too few");
    flushed(&fixture, &table, 100, 100);
    let status = fixture.db.compaction_status(table.storage).unwrap();
    assert_eq!((status.segments_due, status.next_segments), (4, 4));
    assert!(status.score > 0.0 && status.last_run_micros.is_none());
    settle(&fixture);
    let status = fixture.db.compaction_status(table.storage).unwrap();
    assert_eq!((status.segments_due, status.runs, status.rows_read, status.rows_written), (0, 1, 400, 400));
    assert!(status.last_run_micros.is_some() && status.bytes_read > status.bytes_written);
    let held = fixture.db.snapshot();
    assert_eq!(fixture.db.metrics().oldest_snapshot, held.lsn());
    let mut txn = fixture.begin();
    delete(&mut txn, &table, 250).unwrap();
    txn.append(&table, &batch(squares(300..310))).unwrap();
    commit(txn);
    let mut txn = fixture.begin();
    delete(&mut txn, &table, 305).unwrap();
    commit(txn);
    let delta = fixture.db.delta_status(table.storage);
    assert_eq!((delta.rows, delta.dead_rows, delta.chunks), (10, 1, 1));
    assert!(delta.oldest_lsn.is_some());
}
