//! PRIMARY KEY and UNIQUE: no two live rows with one key, wherever they are.

mod support;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use colonnade_storage::{CatalogEdit, WriteError};
use colonnade_types::{KeyConstraint, Relation, TableDefinition};
use support::{Fixture, batch, commit, delete, key, update};

fn duplicate(result: Result<(), WriteError>) -> (String, Vec<String>, Vec<String>) {
    match result {
        Err(WriteError::DuplicateKey { constraint, columns, values }) => (constraint, columns, values),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_unique_in_tail_segment_batch_and_load() {
    let fixture = Fixture::new();
    let table = fixture.create("t", true);
    fixture.insert(&table, (0..10_000).map(|id| (id, 0)));
    for place in ["tail", "segment", "restarted"] {
        let mut txn = fixture.begin();
        let (constraint, columns, values) = duplicate(txn.append(&table, &batch([(20_000, 0), (77, 0)])));
        assert_eq!(
            (constraint.as_str(), columns, values),
            ("t_pkey", vec!["id".to_owned()], vec!["77".to_owned()]),
            "{place}"
        );
        assert!(txn.is_read_only(), "nothing was appended");
        duplicate(txn.append(&table, &batch([(30_000, 0), (30_000, 1)])));
        let mut bulk = txn.bulk(&table).unwrap();
        bulk.write(&batch([(30_000, 0), (9_999, 0)])).unwrap();
        assert_eq!(duplicate(bulk.finish(&mut txn).map(|_| ())).2, ["9999"]);
        let mut bulk = txn.bulk(&table).unwrap();
        bulk.write(&batch([(30_000, 0), (30_001, 0), (30_000, 1)])).unwrap();
        duplicate(bulk.finish(&mut txn).map(|_| ()));
        update(&mut txn, &table, 77, 7).expect("an update keeps the key");
        txn.append(&table, &batch([(20_000, 0)])).unwrap();
        drop(txn);
        match place {
            "tail" => assert_eq!(fixture.flush(&table), 10_000 + 2),
            _ => assert_eq!(fixture.rows(&table).len(), 10_000),
        }
    }
    let fixture = fixture.crash();
    let mut txn = fixture.begin();
    duplicate(txn.append(&table, &batch([(77, 0)])));
    delete(&mut txn, &table, 77).unwrap();
    txn.append(&table, &batch([(77, 1)])).unwrap();
    commit(txn);
    assert_eq!(fixture.rows(&table)[&77], 1);
}

#[test]
fn whoever_meets_an_uncommitted_key_waits() {
    let fixture = Fixture::new();
    let table = fixture.create("t", true);
    fixture.insert(&table, [(1, 0)]);
    let (mut inserter, mut deleter, mut loader, mut other) =
        (fixture.begin(), fixture.begin(), fixture.begin(), fixture.begin());
    inserter.append(&table, &batch([(2, 0)])).unwrap();
    delete(&mut deleter, &table, 1).unwrap();
    let mut bulk = loader.bulk(&table).unwrap();
    bulk.write(&batch([(3, 0)])).unwrap();
    bulk.finish(&mut loader).unwrap();
    for (id, holder) in [(2, inserter.id()), (1, deleter.id()), (3, loader.id())] {
        let result = other.append(&table, &batch([(id, 9)]));
        assert!(matches!(result, Err(WriteError::Blocked(txn)) if txn == holder), "{id} {result:?}");
    }
    let mut bulk = other.bulk(&table).unwrap();
    bulk.write(&batch([(3, 0)])).unwrap();
    assert!(matches!(bulk.finish(&mut other), Err(WriteError::Blocked(txn)) if txn == loader.id()));
    inserter.rollback();
    commit(deleter);
    loader.rollback();
    other.append(&table, &batch([(1, 9), (2, 9), (3, 9)])).unwrap();
    commit(other);
    assert_eq!(fixture.rows(&table), [(1, 9), (2, 9), (3, 9)].into());
}

fn unique(fixture: &Fixture, nulls_not_distinct: bool) -> Arc<TableDefinition> {
    let plain = fixture.create(if nulls_not_distinct { "a" } else { "b" }, false);
    let unique = KeyConstraint { nulls_not_distinct, ..key(&fixture.db, "u", &[2, 3], false) };
    Arc::new(TableDefinition { keys: vec![unique], ..(*plain).clone() })
}

fn row(value: Option<i64>, note: &str) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1]))),
        ("value", Arc::new(Int64Array::from(vec![value]))),
        ("note", Arc::new(StringViewArray::from(vec![note]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn nulls_are_distinct_unless_told_otherwise() {
    let fixture = Fixture::new();
    for flush in [false, true] {
        let (distinct, same) = (unique(&fixture, false), unique(&fixture, true));
        for table in [&distinct, &same] {
            let mut txn = fixture.begin();
            txn.append(table, &row(None, "x")).unwrap();
            txn.append(table, &row(Some(1), "x")).unwrap();
            txn.append(table, &row(Some(1), "y")).unwrap();
            commit(txn);
            if flush {
                fixture.flush(table);
            }
        }
        let mut txn = fixture.begin();
        txn.append(&distinct, &row(None, "x")).unwrap();
        assert_eq!(duplicate(txn.append(&distinct, &row(Some(1), "y"))).2, ["1", "y"]);
        assert_eq!(duplicate(txn.append(&same, &row(None, "x"))).2, ["null", "x"]);
        drop(txn);
        let mut drop_both = fixture.begin();
        drop_both.edit_catalog(CatalogEdit::DropRelation(distinct.oid)).unwrap();
        drop_both.edit_catalog(CatalogEdit::DropRelation(same.oid)).unwrap();
        commit(drop_both);
    }
}

#[test]
fn a_key_can_be_added_to_rows_that_have_it() {
    let fixture = Fixture::new();
    let table = fixture.create("t", false);
    fixture.insert(&table, (0..20_000).map(|id| (id, id)));
    fixture.flush(&table);
    fixture.insert(&table, [(20_000, 5)]);
    let mut txn = fixture.begin();
    let by_value = key(&fixture.db, "by_value", &[2], false);
    let (_, _, values) = duplicate(txn.validate_key(&table, &by_value));
    assert_eq!(values, ["5"]);
    let primary = key(&fixture.db, "t_pkey", &[1], true);
    txn.validate_key(&table, &primary).unwrap();
    let keyed = Arc::new(TableDefinition { keys: vec![primary], ..(*table).clone() });
    txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::clone(&keyed)))).unwrap();
    commit(txn);
    let mut txn = fixture.begin();
    duplicate(txn.append(&keyed, &batch([(7, 7)])));
    duplicate(txn.append(&keyed, &batch([(20_000, 7)])));
    txn.append(&keyed, &batch([(20_001, 7)])).unwrap();
}

#[test]
fn key_files_come_and_go_with_their_segments_and_keys() {
    let fixture = Fixture::new();
    let table = fixture.create("t", true);
    fixture.insert(&table, (0..1_000).map(|id| (id, id)));
    fixture.flush(&table);
    let mut txn = fixture.begin();
    let mut load = txn.bulk(&table).unwrap();
    load.write(&batch((1_000..2_000).map(|id| (id, id)))).unwrap();
    load.finish(&mut txn).unwrap();
    commit(txn);
    assert_eq!((fixture.segment_files(), fixture.key_files().len()), (2, 2));
    // A load that is refused takes its files along.
    let mut txn = fixture.begin();
    let mut load = txn.bulk(&table).unwrap();
    load.write(&batch([(5_000, 0), (1_500, 0)])).unwrap();
    duplicate(load.finish(&mut txn).map(|_| ()));
    drop(txn);
    maintain(&fixture);
    assert_eq!((fixture.segment_files(), fixture.key_files().len()), (2, 2));
    // A key that never comes to be leaves files until the next start.
    let mut txn = fixture.begin();
    txn.validate_key(&table, &key(&fixture.db, "by_value", &[2], false)).unwrap();
    txn.rollback();
    assert_eq!(fixture.key_files().len(), 4);
    let stray = fixture.key_files()[0].with_file_name("00000000000000ff.0000000000000001.key");
    std::fs::write(&stray, b"nobody's").unwrap();
    let fixture = fixture.restart();
    assert_eq!(fixture.key_files().len(), 2);
    // Nothing is made at a start, all when it is needed; a key that no row can have needs nothing.
    fixture.key_files().iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let fixture = fixture.crash();
    let mut txn = fixture.begin();
    txn.append(&table, &batch([(9_999, 0)])).unwrap();
    assert_eq!(fixture.key_files().len(), 0);
    duplicate(txn.append(&table, &batch([(1_234, 0)])));
    assert_eq!(fixture.key_files().len(), 1);
    duplicate(txn.append(&table, &batch([(9_998, 0), (7, 0)])));
    assert_eq!(fixture.key_files().len(), 2);
    drop(txn);
    let mut txn = fixture.begin();
    let keyless = TableDefinition { keys: Vec::new(), ..(*table).clone() };
    txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::new(keyless)))).unwrap();
    commit(txn);
    let fixture = fixture.restart();
    assert_eq!((fixture.segment_files(), fixture.key_files().len()), (2, 0));
    let mut txn = fixture.begin();
    txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::clone(&table)))).unwrap();
    txn.validate_key(&table, &table.keys[0]).unwrap();
    commit(txn);
    assert_eq!(fixture.key_files().len(), 2);
    let mut txn = fixture.begin();
    txn.edit_catalog(CatalogEdit::DropRelation(table.oid)).unwrap();
    commit(txn);
    maintain(&fixture);
    assert_eq!((fixture.segment_files(), fixture.key_files().len()), (0, 0));
}

fn maintain(fixture: &Fixture) {
    for _ in 0..20 {
        if !fixture.db.maintain().unwrap().more {
            break;
        }
    }
}

#[test]
fn a_load_meets_what_came_while_it_was_compared() {
    let fixture = Fixture::new();
    let table = fixture.create("t", true);
    // Loads with many segments and inserts of the same keys, at once: every key comes to be once.
    std::thread::scope(|scope| {
        for worker in 0..2_i64 {
            let (fixture, table) = (&fixture, &table);
            scope.spawn(move || {
                for round in 0..15 {
                    let ids = (0..200).map(|id| (round * 100 + id, worker));
                    let mut txn = fixture.begin();
                    let mut load = txn.bulk(table).unwrap();
                    load.write(&batch(ids)).unwrap();
                    if load.finish(&mut txn).is_ok() {
                        commit(txn);
                    }
                    let mut txn = fixture.begin();
                    if txn.append(table, &batch([(round * 100 + 150 + worker, worker)])).is_ok() {
                        commit(txn);
                    }
                    fixture.db.flush_table(table.storage).unwrap();
                }
            });
        }
    });
    let mut txn = fixture.begin();
    let rows = fixture.rows(&table);
    assert!(rows.len() >= 200);
    let primary = key(&fixture.db, "again", &[1], false);
    txn.validate_key(&table, &primary).unwrap();
    for id in rows.keys() {
        duplicate(txn.append(&table, &batch([(*id, 0)])));
    }
}
