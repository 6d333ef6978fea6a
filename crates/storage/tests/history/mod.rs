//! A database on a simulated disk beside a model of it: every attempted commit leaves a state, and what a reopened database holds must be one of them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use colonnade_storage::{
    CatalogEdit, CommitTicket, Database, Isolation, LockedBy, RowAddress, RowLockMode, Snapshot, StorageOptions,
    Thoroughness, Transaction, Visibility, WriteError,
};
use colonnade_testkit::{ManualClock, Random, SimDisk};
use colonnade_types::{
    ColumnDefinition, ColumnId, KeyConstraint, Oid, Relation, SequenceDefinition, SqlType, TableDefinition,
};

/// A table's rows by id: all other columns, as text.
pub type Rows = BTreeMap<i64, String>;

/// What a database should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub tables: BTreeMap<String, Rows>,
    /// The greatest value that a committed row took from the sequence; `None` before the sequence was made.
    pub sequence: Option<i64>,
}

/// Small enough that a short history crosses every limit.
pub fn options() -> StorageOptions {
    StorageOptions {
        wal_file_bytes: 16 << 10,
        bulk_segment_rows: 40,
        compaction_segment_rows: 150,
        compaction_bytes_per_second: 0,
        encode_threads: 1,
        checkpoint_wal_bytes: 64 << 10,
        flush_idle_ms: 0,
        flush_idle_rows_min: 64,
        ..StorageOptions::default()
    }
}

/// A database, its disk, and what it should hold.
pub struct World {
    pub disk: SimDisk,
    pub clock: Arc<ManualClock>,
    pub db: Database,
    /// After every attempted commit, in commit order; the first is what it began with.
    pub states: Vec<Model>,
    /// Index in `states` of the last commit that was acknowledged.
    pub acknowledged: usize,
    waiting: Vec<(usize, CommitTicket)>,
    next_id: i64,
}

/// A transaction and what it makes of the model.
pub struct Txn {
    pub txn: Transaction,
    pub model: Model,
    db: Database,
}

pub type Outcome = Result<(), String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl World {
    pub fn open(disk: &SimDisk) -> Result<World, String> {
        World::open_with(disk, Model::default())
    }

    pub fn open_with(disk: &SimDisk, model: Model) -> Result<World, String> {
        let clock = Arc::new(ManualClock::default());
        let db = Database::open(disk.shared(), Arc::clone(&clock) as _, options()).map_err(text)?;
        let last = model.tables.values().filter_map(|rows| rows.keys().next_back()).max().copied();
        let next_id = last.map_or(1, |id| id + 1).max(1_000_000);
        Ok(World { disk: disk.clone(), clock, db, states: vec![model], acknowledged: 0, waiting: Vec::new(), next_id })
    }

    pub fn model(&self) -> &Model {
        &self.states[self.states.len() - 1]
    }

    pub fn begin(&self) -> Txn {
        Txn { txn: self.db.begin(Isolation::ReadCommitted), model: self.model().clone(), db: self.db.clone() }
    }

    /// A transaction that reads the state of now to its end.
    pub fn begin_repeatable(&self) -> Txn {
        Txn { txn: self.db.begin(Isolation::RepeatableRead), model: self.model().clone(), db: self.db.clone() }
    }

    /// Commits; with `wait`, until it is acknowledged.
    pub fn commit(&mut self, txn: Txn, wait: bool) -> Outcome {
        let Txn { txn, model, .. } = txn;
        match txn.commit() {
            Ok(ticket) => {
                self.states.push(model);
                self.waiting.push((self.states.len() - 1, ticket));
                if wait { self.settle() } else { Ok(()) }
            }
            // Refused before or after its record went to the log: after a restart it may be there.
            Err(error) => {
                self.states.push(model);
                Err(error.to_string())
            }
        }
    }

    /// Waits for all commits.
    pub fn settle(&mut self) -> Outcome {
        let mut result = Ok(());
        for (state, ticket) in std::mem::take(&mut self.waiting) {
            match ticket.wait() {
                Ok(_) => self.acknowledged = state,
                Err(error) => result = Err(error.to_string()),
            }
        }
        result
    }

    pub fn transact(&mut self, wait: bool, work: impl FnOnce(&mut Txn) -> Outcome) -> Outcome {
        let mut txn = self.begin();
        work(&mut txn)?;
        self.commit(txn, wait)
    }

    pub fn step_log(&self) {
        while self.db.step_log() {}
    }

    pub fn table(&self, name: &str) -> Option<Arc<TableDefinition>> {
        table_of(self.db.snapshot().catalog().relation_by_name(Oid::PUBLIC, name))
    }

    pub fn flush(&mut self, name: &str) -> Outcome {
        // Commits that wait are applied first; a flush leaves out what is not.
        let Some(table) = self.table(name) else { return Ok(()) };
        self.db.flush_table(table.storage).map_err(text)?;
        Ok(())
    }

    /// Compacts a table, and waits until that is visible.
    pub fn compact(&mut self, name: &str, thoroughness: Thoroughness) -> Outcome {
        let Some(table) = self.table(name) else { return Ok(()) };
        self.db.compact_table(table.storage, thoroughness, &|| true).map_err(text)?;
        Ok(())
    }

    /// One step of maintenance whose record, if it makes one, is in the log and not yet applied.
    pub fn maintain_unapplied(&mut self) -> Outcome {
        self.clock.advance(10_000_000);
        self.db.maintain().map_err(text)?;
        Ok(())
    }

    pub fn checkpoint(&mut self) -> Outcome {
        self.db.checkpoint().map_err(text)
    }

    pub fn maintain(&mut self) -> Outcome {
        self.clock.advance(10_000_000);
        for _ in 0..20 {
            let report = self.db.maintain().map_err(text)?;
            self.step_log();
            if !report.more {
                break;
            }
        }
        Ok(())
    }

    /// That many ids that were never used.
    pub fn ids(&mut self, count: i64) -> Vec<i64> {
        self.next_id += count;
        (self.next_id - count..self.next_id).collect()
    }

    /// Gives only ids beyond `id` from now on.
    pub fn skip_ids(&mut self, id: i64) {
        self.next_id = self.next_id.max(id + 1);
    }

    /// The ids that the sequence gives, and notes in the model of `txn` that they were taken.
    pub fn sequence_ids(&mut self, txn: &mut Txn, count: usize) -> Result<Vec<i64>, String> {
        let Some(sequence) = sequence_of(&self.db) else { return Ok(Vec::new()) };
        let mut ids = Vec::new();
        for _ in 0..count {
            let id = self.db.sequence_next(&sequence).map_err(text)?;
            txn.model.sequence = Some(txn.model.sequence.unwrap_or(0).max(id));
            ids.push(id);
        }
        Ok(ids)
    }

    /// Checks that every table's keys refuse ids that are there, one by one and in a load, and let others pass. With `blocked`, other transactions run that may
    /// have deleted some.
    pub fn check_keys(&self, blocked: bool, context: &str) {
        // A commit that was not waited for counts as running.
        let blocked = blocked || !self.waiting.is_empty();
        let snapshot = self.db.snapshot();
        for relation in snapshot.catalog().relations() {
            let Relation::Table(table) = relation else { continue };
            if table.keys.is_empty() {
                continue;
            }
            let mut txn = self.db.begin(Isolation::ReadCommitted);
            let refused = |result: Result<(), WriteError>, id: i64| match result {
                Err(WriteError::DuplicateKey { values, .. }) => assert_eq!(values[0], id.to_string(), "{context}"),
                Err(WriteError::Blocked(_)) if blocked => {}
                other => panic!("{context}: table {} takes id {id} twice: {other:?}", table.name),
            };
            for (index, id) in sample(&snapshot, table).into_iter().enumerate() {
                let rows = batch(table, &[id], -1);
                refused(txn.append(table, &rows), id);
                if index % 4 == 0 {
                    let mut load = txn.bulk(table).unwrap();
                    load.write(&rows).unwrap();
                    refused(load.finish(&mut txn).map(|_| ()), id);
                }
            }
            txn.append(table, &batch(table, &[-40, -80], -1)).unwrap_or_else(|error| panic!("{context}: {error}"));
        }
    }

    /// Checks that the database shows what `model` says.
    pub fn check(&self, model: &Model, context: &str) {
        let found = contents(&self.db.snapshot());
        assert!(found == model.tables, "{context}: found {}, expected {}", digest(&found), digest(&model.tables));
    }
}

/// Some of the ids that a table holds.
fn sample(snapshot: &Snapshot, table: &TableDefinition) -> Vec<i64> {
    let mut ids: Vec<i64> =
        scan(snapshot, table).unwrap_or_else(|error| panic!("{error}")).iter().map(|row| row.id).collect();
    ids.sort_unstable();
    let step = (ids.len() / 12).max(1);
    ids.into_iter().step_by(step).collect()
}

/// Sizes and sums of tables, for messages.
pub fn digest(tables: &BTreeMap<String, Rows>) -> String {
    let table = |(name, rows): (&String, &Rows)| {
        let first: Vec<_> = rows.iter().take(3).collect();
        format!("{name}: {} rows, ids to {:?}, {first:?}", rows.len(), rows.keys().next_back())
    };
    tables.iter().map(table).collect::<Vec<_>>().join("; ")
}

fn table_of(relation: Option<&Relation>) -> Option<Arc<TableDefinition>> {
    match relation {
        Some(Relation::Table(table)) => Some(Arc::clone(table)),
        _ => None,
    }
}

pub fn sequence_of(db: &Database) -> Option<Arc<SequenceDefinition>> {
    match db.snapshot().catalog().relation_by_name(Oid::PUBLIC, "s") {
        Some(Relation::Sequence(sequence)) => Some(Arc::clone(sequence)),
        _ => None,
    }
}

fn column(id: u32, name: &str, sql_type: SqlType, missing: Option<&str>) -> ColumnDefinition {
    ColumnDefinition {
        id: ColumnId(id),
        name: name.to_owned(),
        sql_type,
        not_null: false,
        default: None,
        identity: None,
        missing: missing.map(str::to_owned),
    }
}

impl Txn {
    pub fn table(&self, name: &str) -> Option<Arc<TableDefinition>> {
        table_of(self.txn.catalog().relation_by_name(Oid::PUBLIC, name))
    }

    fn edit(&mut self, edit: CatalogEdit) -> Outcome {
        self.txn.edit_catalog(edit).map_err(text)
    }

    fn put(&mut self, table: TableDefinition) -> Outcome {
        self.edit(CatalogEdit::PutRelation(Relation::Table(Arc::new(table))))
    }

    /// Creates a table; all but `t` and `c` have keys.
    pub fn create_table(&mut self, name: &str) -> Outcome {
        let keys = if matches!(name, "t" | "c") {
            Vec::new()
        } else {
            vec![self.key("primary", &[1], true), self.key("unique", &[3, 1], false)]
        };
        let table = TableDefinition {
            oid: self.db.allocate_oid(),
            schema: Oid::PUBLIC,
            name: name.to_owned(),
            owner: "colonnade".to_owned(),
            columns: vec![
                column(1, "id", SqlType::BigInt, None),
                column(2, "value", SqlType::BigInt, None),
                column(3, "note", SqlType::Text, None),
            ],
            next_column: ColumnId(4),
            checks: Vec::new(),
            keys,
            sort_key: vec![ColumnId(2)],
            storage: self.db.allocate_storage(),
        };
        self.put(table)?;
        self.model.tables.insert(name.to_owned(), Rows::new());
        Ok(())
    }

    fn key(&self, name: &str, columns: &[u32], primary: bool) -> KeyConstraint {
        let oid = self.db.allocate_oid();
        KeyConstraint {
            oid,
            index: self.db.allocate_oid(),
            name: format!("{name}{oid}"),
            columns: columns.iter().map(|id| ColumnId(*id)).collect(),
            primary,
            nulls_not_distinct: false,
        }
    }

    /// ALTER TABLE ADD PRIMARY KEY (id), if there is no key.
    pub fn add_key(&mut self, name: &str) -> Outcome {
        let Some(table) = self.table(name).filter(|table| table.keys.is_empty()) else { return Ok(()) };
        let key = self.key("primary", &[1], true);
        let table = TableDefinition { keys: vec![key.clone()], ..TableDefinition::clone(&table) };
        self.txn.validate_key(&table, &key).map_err(text)?;
        self.put(table)
    }

    pub fn create_sequence(&mut self) -> Outcome {
        let sequence = SequenceDefinition {
            oid: self.db.allocate_oid(),
            schema: Oid::PUBLIC,
            name: "s".to_owned(),
            owner: "colonnade".to_owned(),
            sql_type: SqlType::BigInt,
            start: 1,
            increment: 1,
            min: 1,
            max: i64::MAX,
            cycle: false,
            cache: 1,
            owned_by: None,
        };
        self.edit(CatalogEdit::PutRelation(Relation::Sequence(Arc::new(sequence))))?;
        self.model.sequence = Some(0);
        Ok(())
    }

    pub fn drop_table(&mut self, name: &str) -> Outcome {
        let Some(table) = self.table(name) else { return Ok(()) };
        self.edit(CatalogEdit::DropRelation(table.oid))?;
        self.model.tables.remove(name);
        Ok(())
    }

    pub fn rename_table(&mut self, name: &str, to: &str) -> Outcome {
        let Some(table) = self.table(name) else { return Ok(()) };
        self.put(TableDefinition { name: to.to_owned(), ..TableDefinition::clone(&table) })?;
        if let Some(rows) = self.model.tables.remove(name) {
            self.model.tables.insert(to.to_owned(), rows);
        }
        Ok(())
    }

    /// TRUNCATE: the table gets another body of rows.
    pub fn truncate(&mut self, name: &str) -> Outcome {
        let Some(table) = self.table(name) else { return Ok(()) };
        let storage = self.db.allocate_storage();
        self.put(TableDefinition { storage, ..TableDefinition::clone(&table) })?;
        self.model.tables.insert(name.to_owned(), Rows::new());
        Ok(())
    }

    /// Adds a column whose value is 7 in the rows that are there.
    pub fn add_column(&mut self, name: &str) -> Outcome {
        let Some(table) = self.table(name) else { return Ok(()) };
        let mut table = TableDefinition::clone(&table);
        let id = table.next_column;
        table.columns.push(column(id.0, &format!("extra{id}"), SqlType::BigInt, Some("7")));
        table.next_column = ColumnId(id.0 + 1);
        self.put(table)?;
        for row in self.model.tables.entry(name.to_owned()).or_default().values_mut() {
            row.push_str("|7");
        }
        Ok(())
    }

    pub fn insert(&mut self, name: &str, ids: &[i64], value: i64) -> Outcome {
        let Some(table) = self.table(name).filter(|_| !ids.is_empty()) else { return Ok(()) };
        self.txn.append(&table, &batch(&table, ids, value)).map_err(text)?;
        self.note(name, &table, ids, value);
        Ok(())
    }

    pub fn bulk(&mut self, name: &str, ids: &[i64], value: i64) -> Outcome {
        let Some(table) = self.table(name).filter(|_| !ids.is_empty()) else { return Ok(()) };
        let mut writer = self.txn.bulk(&table).map_err(text)?;
        for ids in ids.chunks(30) {
            writer.write(&batch(&table, ids, value)).map_err(text)?;
        }
        let rows = writer.finish(&mut self.txn).map_err(text)?;
        assert_eq!(rows, ids.len() as u64);
        self.note(name, &table, ids, value);
        Ok(())
    }

    fn note(&mut self, name: &str, table: &TableDefinition, ids: &[i64], value: i64) {
        let rows = self.model.tables.entry(name.to_owned()).or_default();
        for id in ids {
            assert!(rows.insert(*id, expected(table, *id, value)).is_none(), "id {id} is new");
        }
    }

    /// Deletes rows by id.
    pub fn delete(&mut self, name: &str, ids: &[i64]) -> Outcome {
        let Some(table) = self.table(name) else { return Ok(()) };
        let snapshot = self.txn.snapshot();
        let wanted: BTreeSet<i64> = ids.iter().copied().collect();
        let found = scan(&snapshot, &table)?;
        let addresses: Vec<RowAddress> =
            found.iter().filter(|row| wanted.contains(&row.id)).map(|row| row.address).collect();
        assert_eq!(addresses.len(), wanted.len(), "every row is visible once");
        self.txn.delete(&snapshot, &table, &addresses).map_err(text)?;
        let rows = self.model.tables.entry(name.to_owned()).or_default();
        wanted.iter().for_each(|id| {
            rows.remove(id);
        });
        Ok(())
    }

    /// Locks rows by id.
    pub fn lock(&mut self, name: &str, ids: &[i64], mode: RowLockMode) -> Outcome {
        let Some(table) = self.table(name) else { return Ok(()) };
        let snapshot = self.txn.snapshot();
        let wanted: BTreeSet<i64> = ids.iter().copied().collect();
        let found = scan(&snapshot, &table)?;
        let addresses: Vec<RowAddress> =
            found.iter().filter(|row| wanted.contains(&row.id)).map(|row| row.address).collect();
        assert_eq!(addresses.len(), wanted.len(), "every row is visible once");
        self.txn.lock_rows(&snapshot, &table, &addresses, mode, LockedBy::Blocks).map(|_| ()).map_err(text)
    }

    /// UPDATE: deletes the rows and inserts them with another value.
    pub fn update(&mut self, name: &str, ids: &[i64], value: i64) -> Outcome {
        self.delete(name, ids)?;
        self.insert(name, ids, value)
    }

    /// Addresses of all rows that a snapshot of this transaction shows, by id.
    pub fn addresses(&self, snapshot: &Snapshot, name: &str) -> Result<BTreeMap<i64, RowAddress>, String> {
        let Some(table) = self.table(name) else { return Ok(BTreeMap::new()) };
        Ok(scan(snapshot, &table)?.into_iter().map(|row| (row.id, row.address)).collect())
    }

    /// Some ids of a table: each `step`-th from `first` on.
    pub fn pick(&self, name: &str, first: usize, step: usize) -> Vec<i64> {
        let rows = self.model.tables.get(name);
        rows.into_iter().flat_map(|rows| rows.keys().copied()).skip(first).step_by(step).collect()
    }

    /// Some ids of a table by chance.
    pub fn pick_random(&self, name: &str, random: &mut Random, percent: u64) -> Vec<i64> {
        self.pick(name, 0, 1).into_iter().filter(|_| random.chance(percent)).collect()
    }
}

fn note(id: i64) -> Option<String> {
    (id % 5 != 0).then(|| format!("note {id} {}", "x".repeat((id % 40) as usize)))
}

/// What a row of that definition holds besides its id.
fn expected(table: &TableDefinition, id: i64, value: i64) -> String {
    let note = note(id).unwrap_or_else(|| "null".to_owned());
    let mut row = format!("{value}|{note}");
    for column in &table.columns[3..] {
        row.push_str(&format!("|{}", id * i64::from(column.id.0)));
    }
    row
}

fn batch(table: &TableDefinition, ids: &[i64], value: i64) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(Int64Array::from(vec![value; ids.len()])),
        Arc::new(StringViewArray::from_iter(ids.iter().map(|id| note(*id)))),
    ];
    for column in &table.columns[3..] {
        columns.push(Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| id * i64::from(column.id.0)))));
    }
    RecordBatch::try_new(table.arrow_schema(), columns).unwrap()
}

/// A visible row.
pub struct Row {
    pub id: i64,
    pub text: String,
    pub address: RowAddress,
}

/// All visible rows of a table; checks what the scan says of itself on the way.
pub fn scan(snapshot: &Snapshot, table: &TableDefinition) -> Result<Vec<Row>, String> {
    let ids: Vec<ColumnId> = table.columns.iter().map(|column| column.id).collect();
    let scan = snapshot.scan(table, &ids).map_err(text)?;
    let mut rows = Vec::new();
    for (unit, of) in scan.units().iter().enumerate() {
        for granule in 0..of.granules {
            let visibility = scan.visibility(unit, granule);
            if visibility == Visibility::None {
                continue;
            }
            let read = |column| scan.column(unit, granule, column).map_err(text);
            let columns = (0..ids.len()).map(read).collect::<Result<Vec<ArrayRef>, _>>()?;
            let addresses = scan.addresses(unit, granule);
            for row in 0..scan.granule_rows(unit, granule) {
                if matches!(&visibility, Visibility::Some(bits) if !bits.value(row)) {
                    continue;
                }
                let id = columns[0].as_primitive::<Int64Type>().value(row);
                let text = columns[1..].iter().map(|column| value(column, row)).collect::<Vec<_>>().join("|");
                rows.push(Row { id, text, address: addresses.value(row) });
            }
        }
    }
    assert_eq!(scan.exact_rows(), rows.len() as u64, "the count agrees with the rows");
    Ok(rows)
}

fn value(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    match column.as_primitive_opt::<Int64Type>() {
        Some(numbers) => numbers.value(row).to_string(),
        None => column.as_string_view().value(row).to_owned(),
    }
}

/// All tables of a snapshot.
pub fn contents(snapshot: &Snapshot) -> BTreeMap<String, Rows> {
    try_contents(snapshot).unwrap_or_else(|error| panic!("{error}"))
}

/// All tables of a snapshot, or why one cannot be read.
pub fn try_contents(snapshot: &Snapshot) -> Result<BTreeMap<String, Rows>, String> {
    let mut tables = BTreeMap::new();
    for relation in snapshot.catalog().relations() {
        if let Relation::Table(table) = relation {
            let found = scan(snapshot, table)?;
            let count = found.len();
            let rows: Rows = found.into_iter().map(|row| (row.id, row.text)).collect();
            assert_eq!(rows.len(), count, "a row version is visible from exactly one place");
            tables.insert(table.name.clone(), rows);
        }
    }
    Ok(tables)
}
