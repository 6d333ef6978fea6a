//! Transactions: what is seen when, who gets in whose way, and what is left after a restart.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use colonnade_storage::{CatalogEdit, Isolation, LockMode, LockTarget, WriteError};
use colonnade_types::{ColumnId, Oid, Relation, SqlType, TableDefinition};
use futures::FutureExt;
use support::{Fixture, batch, commit, delete, rows, scan, update};

fn pairs(pairs: impl IntoIterator<Item = (i64, i64)>) -> BTreeMap<i64, i64> {
    pairs.into_iter().collect()
}

#[test]
fn a_commit_is_seen_by_later_snapshots_only_and_survives() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    let before = fixture.db.snapshot();
    let mut txn = fixture.begin();
    txn.append(&table, &batch([(1, 10), (2, 20)])).unwrap();
    assert_eq!(fixture.rows(&table), pairs([]), "not committed");
    let lsn = commit(txn);
    assert_eq!(rows(&before, &table), pairs([]));
    assert_eq!(fixture.db.snapshot().lsn(), lsn);
    assert_eq!(fixture.rows(&table), pairs([(1, 10), (2, 20)]));
    drop(before);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&fixture.table("t")), pairs([(1, 10), (2, 20)]));
    let fixture = fixture.restart();
    assert_eq!(fixture.rows(&fixture.table("t")), pairs([(1, 10), (2, 20)]));
}

#[test]
fn nothing_is_visible_before_it_is_durable() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    let mut txn = fixture.begin();
    txn.append(&table, &batch([(1, 1)])).unwrap();
    let mut ticket = txn.commit().unwrap();
    assert!((&mut ticket).now_or_never().is_none());
    assert_eq!(fixture.rows(&table), pairs([]));
    assert!(fixture.db.step_log());
    assert!(ticket.now_or_never().unwrap().is_ok());
    assert_eq!(fixture.rows(&table), pairs([(1, 1)]));
}

#[test]
fn a_command_sees_earlier_commands_but_not_itself() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    let mut txn = fixture.begin();
    txn.append(&table, &batch([(1, 1)])).unwrap();
    let second = txn.snapshot();
    txn.append(&table, &batch([(2, 2)])).unwrap();
    assert_eq!(rows(&second, &table), pairs([(1, 1)]), "its own insert is later");
    let third = txn.snapshot();
    assert_eq!(rows(&third, &table), pairs([(1, 1), (2, 2)]));
    let first = scan(&third, &table).into_iter().find(|row| row.0 == 1).unwrap();
    txn.delete(&third, &table, &[first.2, first.2]).unwrap();
    assert_eq!(rows(&third, &table), pairs([(1, 1), (2, 2)]), "its own delete is later");
    assert_eq!(rows(&txn.snapshot(), &table), pairs([(2, 2)]));
    drop((second, third));
    txn.rollback();
    assert_eq!(fixture.rows(&table), pairs([]));
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&fixture.table("t")), pairs([]));
}

#[test]
fn isolation_levels_differ_in_what_later_snapshots_see() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, [(1, 1)]);
    let mut read_committed = fixture.db.begin(Isolation::ReadCommitted);
    let mut repeatable = fixture.db.begin(Isolation::RepeatableRead);
    let (_, _) = (read_committed.snapshot(), repeatable.snapshot());
    fixture.insert(&table, [(2, 2)]);
    assert_eq!(rows(&read_committed.snapshot(), &table), pairs([(1, 1), (2, 2)]));
    assert_eq!(rows(&repeatable.snapshot(), &table), pairs([(1, 1)]));
}

#[test]
fn of_two_writers_of_a_row_one_waits_and_then_conflicts() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, [(1, 1), (2, 2)]);
    for flushed in [false, true] {
        if flushed {
            assert!(fixture.flush(&table) > 0);
        }
        let mut first = fixture.begin();
        let mut second = fixture.begin();
        let stale = second.snapshot();
        let row = scan(&stale, &table).into_iter().find(|row| row.0 == 1).unwrap();
        let other = scan(&stale, &table).into_iter().find(|row| row.0 == 2).unwrap();
        update(&mut first, &table, 1, 100 + i64::from(flushed)).unwrap();
        let blocked = second.delete(&stale, &table, &[other.2, row.2]);
        assert!(matches!(blocked, Err(WriteError::Blocked(txn)) if txn == first.id()), "{blocked:?}");
        let mut third = fixture.begin();
        delete(&mut third, &table, 2).expect("a blocked delete leaves no mark");
        third.rollback();
        let mut wait = fixture.db.wait_for(second.id(), first.id());
        assert!((&mut wait).now_or_never().is_none());
        commit(first);
        assert_eq!(wait.now_or_never(), Some(Ok(())));
        assert!(matches!(second.delete(&stale, &table, &[row.2]), Err(WriteError::Conflict)));
        update(&mut second, &table, 1, 7).expect("a new snapshot sees the new version");
        commit(second);
        assert_eq!(fixture.rows(&table)[&1], 7);
    }
}

#[test]
fn after_a_rollback_the_row_is_free_again() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, [(1, 1)]);
    let mut first = fixture.begin();
    let mut second = fixture.begin();
    delete(&mut first, &table, 1).unwrap();
    assert!(matches!(delete(&mut second, &table, 1), Err(WriteError::Blocked(_))));
    drop(first);
    delete(&mut second, &table, 1).unwrap();
    commit(second);
    assert_eq!(fixture.rows(&table), pairs([]));
}

#[test]
fn the_wait_that_closes_a_cycle_is_refused() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, [(1, 1), (2, 2)]);
    let (mut a, mut b) = (fixture.begin(), fixture.begin());
    update(&mut a, &table, 1, 10).unwrap();
    update(&mut b, &table, 2, 20).unwrap();
    assert!(matches!(update(&mut a, &table, 2, 11), Err(WriteError::Blocked(txn)) if txn == b.id()));
    let wait = fixture.db.wait_for(a.id(), b.id());
    assert!(matches!(update(&mut b, &table, 1, 21), Err(WriteError::Blocked(txn)) if txn == a.id()));
    let deadlock = fixture.db.wait_for(b.id(), a.id()).now_or_never().unwrap().unwrap_err();
    let cycle: Vec<_> = deadlock.cycle.iter().map(|edge| (edge.waiter, edge.holder)).collect();
    assert_eq!(cycle, [(b.id(), a.id()), (a.id(), b.id())]);
    b.rollback();
    assert_eq!(wait.now_or_never(), Some(Ok(())));
    update(&mut a, &table, 2, 11).unwrap();
    commit(a);
    assert_eq!(fixture.rows(&table), pairs([(1, 10), (2, 11)]));
}

#[test]
fn a_savepoint_takes_back_rows_deletes_and_ddl() {
    let fixture = Fixture::new();
    let table = fixture.create("t", true);
    fixture.insert(&table, [(1, 1), (2, 2)]);
    let mut txn = fixture.begin();
    update(&mut txn, &table, 1, 10).unwrap();
    let savepoint = txn.savepoint();
    for _ in 0..2 {
        update(&mut txn, &table, 2, 20).unwrap();
        update(&mut txn, &table, 1, 11).unwrap();
        txn.append(&table, &batch([(3, 3)])).unwrap();
        txn.edit_catalog(CatalogEdit::DropRelation(table.oid)).unwrap();
        assert!(txn.catalog().relation(table.oid).is_none());
        txn.rollback_to(&savepoint);
        assert!(txn.catalog().relation(table.oid).is_some());
        assert_eq!(rows(&txn.snapshot(), &table), pairs([(1, 10), (2, 2)]));
    }
    commit(txn);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), pairs([(1, 10), (2, 2)]));
}

#[test]
fn ddl_is_transactional() {
    let fixture = Fixture::new();
    let table = Arc::new(support::definition(&fixture.db, "t", false));
    let mut txn = fixture.begin();
    txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::clone(&table)))).unwrap();
    txn.append(&table, &batch([(1, 1)])).unwrap();
    assert!(txn.snapshot().catalog().relation(table.oid).is_some());
    assert_eq!(rows(&txn.snapshot(), &table), pairs([(1, 1)]));
    assert!(fixture.db.snapshot().catalog().relation(table.oid).is_none());
    txn.rollback();
    assert!(fixture.db.snapshot().catalog().relation(table.oid).is_none());
    let mut txn = fixture.begin();
    txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::clone(&table)))).unwrap();
    txn.append(&table, &batch([(2, 2)])).unwrap();
    commit(txn);
    assert_eq!(fixture.rows(&table), pairs([(2, 2)]));
    let mut txn = fixture.begin();
    txn.edit_catalog(CatalogEdit::DropRelation(table.oid)).unwrap();
    let old = fixture.db.snapshot();
    commit(txn);
    assert_eq!(rows(&old, &table), pairs([(2, 2)]), "an old snapshot still reads it");
    assert!(fixture.db.snapshot().catalog().relation(table.oid).is_none());
    let mut late = fixture.begin();
    assert!(matches!(late.append(&table, &batch([(3, 3)])), Err(WriteError::Conflict)));
    drop((late, old));
    let fixture = fixture.crash();
    assert!(fixture.db.snapshot().catalog().relation_by_name(Oid::PUBLIC, "t").is_none());
    assert!(fixture.db.allocate_oid() > table.oid, "an oid is never used again");
    assert!(fixture.db.allocate_storage() > table.storage);
}

#[test]
fn truncate_and_load_in_one_transaction() {
    let fixture = Fixture::new();
    let table = fixture.create("t", true);
    fixture.insert(&table, [(1, 1), (2, 2)]);
    fixture.flush(&table);
    fixture.insert(&table, [(3, 3)]);
    assert_eq!(fixture.segment_files(), 1);
    for end in ["rollback", "commit"] {
        let emptied = TableDefinition { storage: fixture.db.allocate_storage(), ..(*table).clone() };
        let mut txn = fixture.begin();
        delete(&mut txn, &table, 2).unwrap();
        txn.append(&table, &batch([(9, 9)])).unwrap();
        txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::new(emptied.clone())))).unwrap();
        assert_eq!(rows(&txn.snapshot(), &emptied), pairs([]));
        let mut bulk = txn.bulk(&emptied).unwrap();
        bulk.write(&batch([(5, 5), (4, 4)])).unwrap();
        assert_eq!(bulk.finish(&mut txn).unwrap(), 2);
        txn.append(&emptied, &batch([(6, 6)])).unwrap();
        assert_eq!(rows(&txn.snapshot(), &emptied), pairs([(4, 4), (5, 5), (6, 6)]));
        if end == "rollback" {
            txn.rollback();
            assert_eq!(fixture.rows(&table), pairs([(1, 1), (2, 2), (3, 3)]));
        } else {
            commit(txn);
        }
    }
    assert_eq!(fixture.rows(&fixture.table("t")), pairs([(4, 4), (5, 5), (6, 6)]));
    fixture.db.maintain().unwrap();
    assert_eq!(fixture.segment_files(), 1, "the old table's segment and the rolled back load's are gone");
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&fixture.table("t")), pairs([(4, 4), (5, 5), (6, 6)]));
    let fixture = fixture.restart();
    assert_eq!(fixture.rows(&fixture.table("t")), pairs([(4, 4), (5, 5), (6, 6)]));
}

#[test]
fn columns_come_and_go() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, [(1, 1)]);
    fixture.flush(&table);
    fixture.insert(&table, [(2, 2)]);
    let mut wider = (*table).clone();
    let mut added = support::column(4, "added", SqlType::Integer);
    added.missing = Some("42".to_owned());
    wider.columns.push(added);
    wider.columns.push(support::column(5, "empty", SqlType::Array(Box::new(SqlType::Text))));
    let mut txn = fixture.begin();
    txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::new(wider.clone())))).unwrap();
    commit(txn);
    let check = |fixture: &Fixture| {
        let scan = fixture.db.snapshot().scan(&wider, &[ColumnId(4), ColumnId(5)]).unwrap();
        for unit in 0..scan.units().len() {
            let added = scan.column(unit, 0, 0).unwrap();
            assert_eq!(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int32Type>(&added).value(0), 42);
            assert!(scan.column(unit, 0, 1).unwrap().is_null(0));
            assert_eq!(scan.zone_maps(1).unwrap().null_count.value(unit), 1);
        }
        scan.units().len()
    };
    assert_eq!(check(&fixture), 2);
    fixture.flush(&wider);
    assert_eq!(check(&fixture), 2);
    let fixture = fixture.crash();
    assert_eq!(check(&fixture), 2);
    assert_eq!(fixture.rows(&wider), pairs([(1, 1), (2, 2)]));
}

#[test]
fn locks_keep_others_away_until_the_end() {
    let fixture = Fixture::new();
    let target = || LockTarget::Relation(Oid(20_000));
    let (mut a, mut b) = (fixture.begin(), fixture.begin());
    a.lock(target(), LockMode::RowExclusive).unwrap();
    b.lock(target(), LockMode::RowExclusive).unwrap();
    assert!(matches!(a.lock(target(), LockMode::AccessExclusive), Err(WriteError::Blocked(txn)) if txn == b.id()));
    assert!(b.commit().is_ok());
    a.lock(target(), LockMode::AccessExclusive).unwrap();
    let mut c = fixture.begin();
    assert!(matches!(c.lock(target(), LockMode::RowExclusive), Err(WriteError::Blocked(txn)) if txn == a.id()));
    drop(a);
    c.lock(target(), LockMode::RowExclusive).unwrap();
}
