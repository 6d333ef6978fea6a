//! Encoding and decoding of one column of 131,072 rows, kind by kind.
//!
//! `cargo bench -p colonnade-benches --bench columnar`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, StringViewArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use colonnade_columnar::{ColumnSpec, SegmentReader, WriteOptions, write_segment};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const ROWS: usize = 131_072;

/// The kinds of columns that decide the size and speed of real tables.
fn columns() -> Vec<(&'static str, ArrayRef)> {
    let mut random = SmallRng::seed_from_u64(7);
    let integers = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let words: Vec<String> = (0..5_000).map(|word| format!("http://example.com/page/{word}/index.html")).collect();
    let repeated: Vec<&str> = (0..ROWS).map(|_| words[random.random_range(0..words.len())].as_str()).collect();
    let distinct: Vec<String> = (0..ROWS).map(|row| format!("http://example.com/{row}?from={}", row * 7919)).collect();
    let money: Vec<i128> = (0..ROWS).map(|_| i128::from(random.random_range(100_i64..10_000_000))).collect();
    vec![
        ("constant", integers(vec![42; ROWS])),
        ("sorted", integers((0..ROWS as i64).map(|row| 1_700_000_000_000_000 + row * 1000).collect())),
        ("runs", integers((0..ROWS as i64).map(|row| row / 500).collect())),
        ("small", Arc::new(Int32Array::from_iter_values((0..ROWS).map(|_| random.random_range(0..100))))),
        ("wide", integers((0..ROWS).map(|_| random.random()).collect())),
        ("money", Arc::new(Decimal128Array::from(money).with_precision_and_scale(15, 2).expect("a decimal type"))),
        (
            "prices",
            Arc::new(Float64Array::from_iter_values(
                (0..ROWS).map(|_| f64::from(random.random_range(1..100_000)) / 100.0),
            )),
        ),
        ("repeated_text", Arc::new(StringViewArray::from_iter_values(repeated))),
        ("distinct_text", Arc::new(StringViewArray::from_iter_values(distinct))),
    ]
}

fn write(array: &ArrayRef) -> Vec<u8> {
    let spec = ColumnSpec { id: 1, data_type: array.data_type().clone() };
    let schema = Arc::new(Schema::new(vec![Field::new("c", array.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema, vec![Arc::clone(array)]).expect("a batch");
    let mut bytes = Vec::new();
    write_segment(&[spec], &[batch], &WriteOptions::default(), &mut bytes).expect("a segment in memory");
    bytes
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, array) in columns() {
        group.bench_function(name, |bencher| bencher.iter(|| black_box(write(&array)).len()));
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, array) in columns() {
        let bytes = write(&array);
        eprintln!("{name}: {} bytes, {:.2} bits a row", bytes.len(), bytes.len() as f64 * 8.0 / ROWS as f64);
        let segment = SegmentReader::open(Buffer::from_vec(bytes)).expect("the segment just written");
        let column = segment.column(1).expect("its only column");
        let dictionary = column.uses_dictionary().then(|| column.dictionary().expect("its dictionary"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for granule in 0..segment.granules() {
                    black_box(column.read(granule, dictionary.as_ref()).expect("a page"));
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = columnar;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    targets = encode, decode
}
criterion_main!(columnar);
