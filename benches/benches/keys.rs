//! Looking for rows of segments by key: the key file alone, one row of a page, and the check of an append as a whole.
//!
//! `cargo bench -p colonnade-benches --bench keys`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use colonnade_columnar::{ColumnSpec, SegmentReader, WriteOptions, write_segment};
use colonnade_storage::key_file::{KeyFile, KeyFileId, build};
use colonnade_storage::{CatalogEdit, Database, FileDisk, Isolation, StorageOptions, SystemClock, WriteError};
use colonnade_types::{ColumnDefinition, ColumnId, KeyConstraint, Oid, Relation, SegmentId, SqlType, TableDefinition};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const ROWS: u32 = 1 << 20;
const ID: KeyFileId = KeyFileId { segment: SegmentId(1), segment_checksum: 1, segment_rows: ROWS, fingerprint: 1 };

fn mixed(i: u64) -> u64 {
    let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (mixed >> 32)
}

fn file(criterion: &mut Criterion) {
    let hashes: Vec<(u64, u32)> = (0..ROWS).map(|i| (mixed(u64::from(i)), i)).collect();
    let mut group = criterion.benchmark_group("key_file");
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    group.bench_function("build", |bencher| {
        bencher.iter_batched(|| hashes.clone(), |hashes| build(&ID, hashes), BatchSize::LargeInput);
    });
    let bytes = Buffer::from_vec(build(&ID, hashes));
    eprintln!("{:.2} bytes a row", bytes.len() as f64 / f64::from(ROWS));
    group.bench_function("open", |bencher| {
        bencher.iter(|| KeyFile::open(bytes.clone(), &ID).expect("the file just built"));
    });
    group.throughput(Throughput::Elements(1));
    let file = KeyFile::open(bytes, &ID).expect("the file just built");
    let mut next = 0_u64;
    group.bench_function("hit", |bencher| {
        bencher.iter(|| {
            next += 1;
            black_box(file.find(mixed(mixed(next) % u64::from(ROWS))).count())
        });
    });
    group.bench_function("miss", |bencher| {
        bencher.iter(|| {
            next += 1;
            black_box(file.find(mixed(u64::from(ROWS) + mixed(next) % (1 << 40))).count())
        });
    });
    group.finish();
}

/// Columns of 131,072 rows, by how a row is reached.
fn columns() -> Vec<(&'static str, ArrayRef)> {
    let rows = 131_072_i64;
    let scattered = |row: i64| mixed(row.cast_unsigned());
    let texts =
        |modulus: u64| (0..rows).map(move |row| format!("{:x} a text of some length", scattered(row) % modulus));
    vec![
        ("constant", Arc::new(Int64Array::from(vec![7; 131_072]))),
        ("bit_packed", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| (scattered(row) % 100_000) as i64)))),
        ("sequence", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("delta", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row * 1_000 + scattered(row) as i64 % 9)))),
        ("runs", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| (scattered(row / 100) % 1_000) as i64)))),
        ("dictionary", Arc::new(StringViewArray::from_iter_values(texts(1_000)))),
        ("compressed", Arc::new(StringViewArray::from_iter_values(texts(u64::MAX)))),
    ]
}

fn value(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("value");
    for (name, array) in columns() {
        let spec = ColumnSpec { id: 1, data_type: array.data_type().clone() };
        let schema = Arc::new(Schema::new(vec![Field::new("c", array.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(schema, vec![array]).expect("a batch");
        let mut bytes = Vec::new();
        write_segment(&[spec], &[batch], &WriteOptions::default(), &mut bytes).expect("a segment in memory");
        let segment = SegmentReader::open(Buffer::from_vec(bytes)).expect("the segment just written");
        let column = segment.column(1).expect("its only column");
        let dictionary = column.uses_dictionary().then(|| column.dictionary().expect("its dictionary"));
        eprintln!("{name}: {}", column.encoding());
        let mut next = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                next += 1;
                let row = (mixed(next) % 131_072) as usize;
                let (granule, row) = (row / 8_192, row % 8_192);
                let value = column.value(granule, row, dictionary.as_ref()).expect("a row");
                black_box(value.unwrap_or_else(|| column.read(granule, dictionary.as_ref()).expect("a page")))
            });
        });
    }
    group.finish();
}

fn definition(database: &Database) -> TableDefinition {
    let column = |id, name: &str, sql_type| ColumnDefinition {
        id: ColumnId(id),
        name: name.to_owned(),
        sql_type,
        not_null: true,
        default: None,
        identity: None,
        missing: None,
    };
    let key = KeyConstraint {
        oid: database.allocate_oid(),
        index: database.allocate_oid(),
        name: "bench_pkey".to_owned(),
        columns: vec![ColumnId(1)],
        primary: true,
        nulls_not_distinct: false,
    };
    TableDefinition {
        oid: database.allocate_oid(),
        schema: Oid::PUBLIC,
        name: "bench".to_owned(),
        owner: "colonnade".to_owned(),
        columns: vec![column(1, "id", SqlType::BigInt), column(2, "note", SqlType::Text)],
        next_column: ColumnId(3),
        checks: Vec::new(),
        keys: vec![key],
        sort_key: Vec::new(),
        storage: database.allocate_storage(),
    }
}

fn rows(ids: impl Iterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.collect();
    let notes = StringViewArray::from_iter_values(ids.iter().map(|id| format!("a note about {id}")));
    let columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(Int64Array::from(ids))), ("note", Arc::new(notes))];
    RecordBatch::try_from_iter(columns).expect("a batch")
}

/// A check against one segment of 2^20 rows: a key that is there is read and compared, one that is not is a matter of the filter.
fn append(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(FileDisk::open(directory.path()).expect("the directory just made"));
    let database =
        Database::open(disk, Arc::new(SystemClock::new()), StorageOptions::default()).expect("an empty database");
    let writer = database.clone();
    let log = std::thread::spawn(move || writer.run_log_writer());
    let table = definition(&database);
    let mut transaction = database.begin(Isolation::ReadCommitted);
    transaction.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::new(table.clone())))).expect("a new table");
    let mut load = transaction.bulk(&table).expect("a load");
    for first in (0..i64::from(ROWS)).step_by(1 << 16) {
        load.write(&rows((first..first + (1 << 16)).map(|id| 2 * id))).expect("rows");
    }
    load.finish(&mut transaction).expect("distinct keys");
    transaction.commit().expect("a commit").wait().expect("a durable one");
    let mut group = criterion.benchmark_group("append");
    let mut next = 0;
    for (name, odd) in [("key_that_is_there", 0), ("key_that_is_not", 1)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    next += 1;
                    rows(std::iter::once(2 * (mixed(next) % u64::from(ROWS)) as i64 + odd))
                },
                |rows| {
                    let mut transaction = database.begin(Isolation::ReadCommitted);
                    match transaction.append(&table, &rows) {
                        Err(WriteError::DuplicateKey { .. }) => assert_eq!(odd, 0),
                        Ok(()) => assert_eq!(odd, 1),
                        Err(error) => panic!("{error}"),
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    database.close().expect("a last checkpoint");
    log.join().expect("the log writer");
}

criterion_group! {
    name = keys;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    targets = file, value, append
}
criterion_main!(keys);
