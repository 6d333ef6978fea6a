//! Commits of one row by several threads at once: what group commit makes of one sync after another.
//!
//! `cargo bench -p colonnade-benches --bench commit`. Needs a real disk under the temporary directory (`TMPDIR`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use arrow::record_batch::RecordBatch;
use colonnade_storage::{CatalogEdit, Database, FileDisk, Isolation, StorageOptions, SystemClock};
use colonnade_types::{ColumnDefinition, ColumnId, Oid, Relation, SqlType, TableDefinition};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn column(id: u32, name: &str, sql_type: SqlType) -> ColumnDefinition {
    ColumnDefinition {
        id: ColumnId(id),
        name: name.to_owned(),
        sql_type,
        not_null: true,
        default: None,
        identity: None,
        missing: None,
    }
}

fn create(database: &Database) -> Arc<TableDefinition> {
    let table = Arc::new(TableDefinition {
        oid: database.allocate_oid(),
        schema: Oid::PUBLIC,
        name: "bench".to_owned(),
        owner: "colonnade".to_owned(),
        columns: vec![column(1, "id", SqlType::BigInt), column(2, "note", SqlType::Text)],
        next_column: ColumnId(3),
        checks: Vec::new(),
        keys: Vec::new(),
        sort_key: Vec::new(),
        storage: database.allocate_storage(),
    });
    let mut transaction = database.begin(Isolation::ReadCommitted);
    transaction.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::clone(&table)))).expect("a new table");
    transaction.commit().expect("a commit").wait().expect("a durable commit");
    table
}

fn insert(database: &Database, table: &TableDefinition, id: i64) {
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![id])), Arc::new(StringViewArray::from(vec!["a note of usual length"]))];
    let row = RecordBatch::try_new(table.arrow_schema(), columns).expect("a row");
    let mut transaction = database.begin(Isolation::ReadCommitted);
    transaction.append(table, &row).expect("an insert");
    transaction.commit().expect("a commit").wait().expect("a durable commit");
}

fn commits(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = FileDisk::open(directory.path()).expect("a disk");
    let database =
        Database::open(Arc::new(disk), Arc::new(SystemClock::new()), StorageOptions::default()).expect("a database");
    let writer = std::thread::spawn({
        let database = database.clone();
        move || database.run_log_writer()
    });
    let table = create(&database);
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(1));
    for threads in [1_u64, 8, 32] {
        group.bench_function(format!("{threads}_threads"), |bencher| {
            bencher.iter_custom(|commits| {
                let began = Instant::now();
                std::thread::scope(|scope| {
                    for thread in 0..threads {
                        let (database, table) = (&database, &table);
                        scope.spawn(move || {
                            for id in (thread..commits).step_by(threads as usize) {
                                insert(database, table, id as i64);
                            }
                        });
                    }
                });
                began.elapsed()
            });
        });
    }
    group.finish();
    database.close().expect("a clean end");
    writer.join().expect("the log writer ends");
}

criterion_group! {
    name = commit;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(3));
    targets = commits
}
criterion_main!(commit);
