//! A small table, a temporary directory, and words for what the tests do.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use colonnade_storage::{
    CatalogEdit, Database, FileDisk, Isolation, RowAddress, Snapshot, StorageOptions, SystemClock, Transaction,
    Visibility, WriteError,
};
use colonnade_types::{
    ColumnDefinition, ColumnId, KeyConstraint, Lsn, Oid, Relation, SegmentId, SqlType, TableDefinition,
};

/// A database in a temporary directory, which goes with it.
pub struct Fixture {
    pub db: Database,
    dir: tempfile::TempDir,
    options: StorageOptions,
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture::with(StorageOptions::default())
    }

    pub fn with(options: StorageOptions) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path(), &options);
        Fixture { db, dir, options }
    }

    /// Ends without closing, as a killed process does, and opens again.
    pub fn crash(self) -> Fixture {
        let Fixture { db, dir, options } = self;
        drop(db);
        let db = open(dir.path(), &options);
        Fixture { db, dir, options }
    }

    /// Closes and opens again.
    pub fn restart(self) -> Fixture {
        self.db.close().unwrap();
        self.crash()
    }

    pub fn segment_files(&self) -> usize {
        self.names().iter().filter(|name| name.ends_with(".seg")).count()
    }

    pub fn key_files(&self) -> Vec<PathBuf> {
        let keys = self.names().into_iter().filter(|name| name.ends_with(".key"));
        keys.map(|name| self.dir.path().join("segments").join(name)).collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("segments")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Bytes of all segment files, the files of their keys not counted.
    pub fn segment_bytes(&self) -> u64 {
        let segments = self.names().into_iter().filter(|name| name.ends_with(".seg"));
        segments.map(|name| self.dir.path().join("segments").join(name).metadata().unwrap().len()).sum()
    }

    /// Flips bits in the first page of a segment's file.
    pub fn damage(&self, segment: SegmentId) {
        let path = self.dir.path().join(colonnade_storage::segment_path(segment));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40..60].iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(&path, bytes).unwrap();
    }

    pub fn begin(&self) -> Transaction {
        self.db.begin(Isolation::ReadCommitted)
    }

    /// Creates a table `name` with columns id, value, text and, if wanted, a primary key on id.
    pub fn create(&self, name: &str, primary_key: bool) -> Arc<TableDefinition> {
        let table = Arc::new(definition(&self.db, name, primary_key));
        let mut txn = self.begin();
        txn.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::clone(&table)))).unwrap();
        commit(txn);
        table
    }

    /// Inserts rows in a transaction of its own.
    pub fn insert(&self, table: &TableDefinition, rows: impl IntoIterator<Item = (i64, i64)>) -> Lsn {
        let mut txn = self.begin();
        txn.append(table, &batch(rows)).unwrap();
        commit(txn)
    }

    pub fn rows(&self, table: &TableDefinition) -> BTreeMap<i64, i64> {
        rows(&self.db.snapshot(), table)
    }

    /// The table as the catalog knows it now.
    pub fn table(&self, name: &str) -> Arc<TableDefinition> {
        match self.db.snapshot().catalog().relation_by_name(Oid::PUBLIC, name) {
            Some(Relation::Table(table)) => Arc::clone(table),
            other => panic!("table {name}: {other:?}"),
        }
    }

    pub fn flush(&self, table: &TableDefinition) -> u64 {
        let moved = self.db.flush_table(table.storage).unwrap();
        while self.db.step_log() {}
        moved
    }
}

fn open(dir: &std::path::Path, options: &StorageOptions) -> Database {
    let disk = Arc::new(FileDisk::open(dir).unwrap());
    Database::open(disk, Arc::new(SystemClock::new()), options.clone()).unwrap()
}

pub fn column(id: u32, name: &str, sql_type: SqlType) -> ColumnDefinition {
    ColumnDefinition {
        id: ColumnId(id),
        name: name.to_owned(),
        sql_type,
        not_null: false,
        default: None,
        identity: None,
        missing: None,
    }
}

pub fn key(db: &Database, name: &str, columns: &[u32], primary: bool) -> KeyConstraint {
    KeyConstraint {
        oid: db.allocate_oid(),
        index: db.allocate_oid(),
        name: name.to_owned(),
        columns: columns.iter().map(|id| ColumnId(*id)).collect(),
        primary,
        nulls_not_distinct: false,
    }
}

pub fn definition(db: &Database, name: &str, primary_key: bool) -> TableDefinition {
    TableDefinition {
        oid: db.allocate_oid(),
        schema: Oid::PUBLIC,
        name: name.to_owned(),
        owner: "colonnade".to_owned(),
        columns: vec![
            column(1, "id", SqlType::BigInt),
            column(2, "value", SqlType::BigInt),
            column(3, "note", SqlType::Text),
        ],
        next_column: ColumnId(4),
        checks: Vec::new(),
        keys: if primary_key { vec![key(db, &format!("{name}_pkey"), &[1], true)] } else { Vec::new() },
        sort_key: Vec::new(),
        storage: db.allocate_storage(),
    }
}

pub fn batch(rows: impl IntoIterator<Item = (i64, i64)>) -> RecordBatch {
    let (ids, values): (Vec<i64>, Vec<i64>) = rows.into_iter().unzip();
    let notes: Vec<String> = ids.iter().map(|id| format!("a note of some length about {id}")).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(ids))),
        ("value", Arc::new(Int64Array::from(values))),
        ("note", Arc::new(StringViewArray::from_iter_values(notes))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

pub fn commit(txn: Transaction) -> Lsn {
    txn.commit().unwrap().wait().unwrap()
}

/// Visible rows with their addresses; checks what the scan says of itself on the way.
pub fn scan(snapshot: &Snapshot, table: &TableDefinition) -> Vec<(i64, i64, RowAddress)> {
    let scan = snapshot.scan(table, &[ColumnId(1), ColumnId(2), ColumnId(3)]).unwrap();
    let zones = scan.zone_maps(0).unwrap();
    let unit_zones = scan.unit_zone_maps(0).unwrap();
    assert_eq!(unit_zones.len(), scan.units().len());
    let mut rows = Vec::new();
    for (unit, of) in scan.units().iter().enumerate() {
        for granule in 0..of.granules {
            let count = scan.granule_rows(unit, granule);
            let columns: Vec<ArrayRef> = (0..3).map(|column| scan.column(unit, granule, column).unwrap()).collect();
            let addresses = scan.addresses(unit, granule);
            let visibility = scan.visibility(unit, granule);
            let zone = of.first_granule + granule;
            assert_eq!(zones.row_count.value(zone), count as u64);
            assert_eq!(zones.null_count.value(zone), columns[0].null_count() as u64);
            for row in 0..count {
                let (id, value) = (
                    columns[0].as_primitive::<Int64Type>().value(row),
                    columns[1].as_primitive::<Int64Type>().value(row),
                );
                if zones.min.is_valid(zone) {
                    let bounds = [&zones.min, &zones.max].map(|bound| bound.as_primitive::<Int64Type>().value(zone));
                    assert!((bounds[0]..=bounds[1]).contains(&id));
                }
                let shown = match &visibility {
                    Visibility::All => true,
                    Visibility::None => false,
                    Visibility::Some(bits) => bits.value(row),
                };
                if shown {
                    let note = columns[2].as_string_view().value(row);
                    assert_eq!(note, format!("a note of some length about {id}"));
                    rows.push((id, value, addresses.value(row)));
                }
            }
        }
    }
    assert_eq!(scan.exact_rows(), rows.len() as u64);
    rows
}

/// Visible rows by id, which must be unique.
pub fn rows(snapshot: &Snapshot, table: &TableDefinition) -> BTreeMap<i64, i64> {
    let found = scan(snapshot, table);
    let rows: BTreeMap<i64, i64> = found.iter().map(|(id, value, _)| (*id, *value)).collect();
    assert_eq!(rows.len(), found.len(), "a row version is visible from one place");
    rows
}

/// Sets the value of the row `id`, as UPDATE does: a delete and an insert.
pub fn update(txn: &mut Transaction, table: &TableDefinition, id: i64, value: i64) -> Result<(), WriteError> {
    let snapshot = txn.snapshot();
    let found = scan(&snapshot, table).into_iter().find(|(row, _, _)| *row == id).unwrap_or_else(|| panic!("row {id}"));
    txn.delete(&snapshot, table, &[found.2])?;
    txn.append(table, &batch([(id, value)]))
}

/// Deletes the row `id`.
pub fn delete(txn: &mut Transaction, table: &TableDefinition, id: i64) -> Result<(), WriteError> {
    let snapshot = txn.snapshot();
    let found = scan(&snapshot, table).into_iter().find(|(row, _, _)| *row == id).unwrap_or_else(|| panic!("row {id}"));
    txn.delete(&snapshot, table, &[found.2])
}
