//! Data of every type, and comparison of what was read with what was written.

// Each test binary uses its part.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray,
    ListArray, NullArray, RecordBatch, RecordBatchOptions, StringViewArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, IntervalMonthDayNano, Schema, SchemaRef, i256};
use colonnade_columnar::{ColumnSpec, SegmentReader, WriteOptions, write_segment};

/// A number that looks random, the same everywhere and for ever: fixtures depend on it.
pub fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Columns of every type in every shape that an encoding is meant for. `null_every` of 0 means no NULL.
pub fn columns(rows: usize, null_every: usize) -> Vec<ArrayRef> {
    let is_null = |row: usize| null_every > 0 && scramble(row as u64 ^ 0xabc).is_multiple_of(null_every as u64);
    macro_rules! column {
        ($array:ty, $value:expr) => {{
            let value = $value;
            let values = (0..rows).map(|row| (!is_null(row)).then(|| value(row as i64)));
            Arc::new(<$array>::from(values.collect::<Vec<_>>())) as ArrayRef
        }};
    }
    let random = |row: i64| scramble(row as u64) as i64;
    let text = |row: i64| format!("http://example.com/{}/страница?id={}", row % 7, random(row % 101) % 1000);
    let texts: Vec<String> = (0..rows as i64).map(text).collect();
    let unique: Vec<String> = (0..rows as i64).map(|row| format!("{:x}", random(row))).collect();
    let strings = |values: &[String]| -> ArrayRef {
        let values = values.iter().enumerate().map(|(row, value)| (!is_null(row)).then_some(value.as_str()));
        Arc::new(values.collect::<StringViewArray>())
    };
    let binary: BinaryViewArray = (0..rows)
        .map(|row| (!is_null(row)).then(|| scramble(row as u64).to_le_bytes()[..row % 9 % 8].to_vec()))
        .collect();
    let fixed = |value: &dyn Fn(usize) -> [u8; 16]| -> ArrayRef {
        let bytes: Vec<u8> = (0..rows).flat_map(value).collect();
        let nulls = (null_every > 0).then(|| (0..rows).map(|row| !is_null(row)).collect::<NullBuffer>());
        Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(bytes), nulls))
    };
    let lists = |items: &dyn Fn(usize) -> ArrayRef| -> ArrayRef {
        let lengths: Vec<usize> = (0..rows).map(|row| row % 4 * usize::from(!is_null(row))).collect();
        let items = items(lengths.iter().sum());
        let nulls = (null_every > 0).then(|| (0..rows).map(|row| !is_null(row)).collect::<NullBuffer>());
        let field = Arc::new(Field::new("item", items.data_type().clone(), true));
        Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), items, nulls))
    };
    let exotic = |row: i64| match row % 6 {
        0 => f64::NAN,
        1 => -0.0,
        2 => f64::NEG_INFINITY,
        3 => 1.0 / (1 + row) as f64,
        4 => 5e-324,
        _ => -f64::NAN,
    };
    vec![
        column!(BooleanArray, |row| random(row) % 3 == 0),
        column!(BooleanArray, |_| true),
        column!(Int16Array, |row| random(row) as i16),
        column!(Int16Array, |row: i64| (row / 1000) as i16),
        column!(Int32Array, |row| 1_000_000 + (random(row) % 100) as i32),
        column!(Int32Array, |_| 42),
        column!(Int64Array, random),
        column!(Int64Array, |row: i64| row * 1_000_003 + random(row) % 5),
        column!(Int64Array, |row| random(random(row) % 11)),
        column!(Int64Array, |row: i64| [i64::MIN, i64::MAX][row as usize % 2]),
        column!(UInt32Array, |row| random(row) as u32),
        column!(UInt64Array, |row| random(row) as u64),
        column!(UInt64Array, |_| u64::MAX),
        column!(Float32Array, |row| (random(row) % 10_000) as f32 / 100.0),
        column!(Float32Array, |row| f32::from_bits(random(row) as u32)),
        column!(Float64Array, |row| (random(row) % 1_000_000) as f64 / 1000.0),
        column!(Float64Array, exotic),
        column!(Decimal128Array, |row| i128::from(random(row) % 1_000_000)),
        column!(Decimal128Array, |row| i128::from(random(row)) * i128::from(i64::MAX)),
        column!(Decimal256Array, |row| i256::from_i128(i128::from(random(row) % 10_000) * 10_i128.pow(16))),
        column!(Decimal256Array, |row| i256::from_parts(random(row) as u128, i128::from(random(row)))),
        column!(Date32Array, |row: i64| [19_000 + (row % 30) as i32, i32::MAX][usize::from(row % 50 == 0)]),
        column!(Time64MicrosecondArray, |row| random(row).rem_euclid(86_400_000_000)),
        column!(TimestampMicrosecondArray, |row| 1_700_000_000_000_000 + random(row) % 10_000 * 1_000_000),
        with_type(
            &column!(TimestampMicrosecondArray, |row: i64| [i64::MAX, row, i64::MIN][row as usize % 3]),
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
        ),
        column!(IntervalMonthDayNanoArray, |row: i64| IntervalMonthDayNano::new(
            row as i32 % 12,
            -(row as i32),
            random(row)
        )),
        fixed(&|row| u128::from(scramble(row as u64)).to_be_bytes()),
        fixed(&|_| [7; 16]),
        strings(&texts),
        strings(&unique),
        strings(&vec!["one and the same, longer than twelve bytes".to_owned(); rows]),
        strings(&(0..rows).map(|row| "long ж ".repeat(row % 40)).collect::<Vec<_>>()),
        Arc::new(binary),
        lists(&|items| Arc::new((0..items as i32).map(|i| (i % 5 != 0).then_some(i % 100)).collect::<Int32Array>())),
        lists(&|items| {
            Arc::new((0..items).map(|i| (i % 3 != 0).then(|| format!("item {i}"))).collect::<StringViewArray>())
        }),
        column!(StringViewArray, |_| ""),
        arrow::array::new_null_array(&DataType::Int64, rows),
        arrow::array::new_null_array(&DataType::Utf8View, rows),
        Arc::new(NullArray::new(rows)),
    ]
}

fn with_type(array: &ArrayRef, data_type: DataType) -> ArrayRef {
    let array = array.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().clone();
    Arc::new(array.with_data_type(data_type))
}

/// Specification of the columns, with ids that are not positions.
pub fn specs(columns: &[ArrayRef]) -> Vec<ColumnSpec> {
    (0..).zip(columns).map(|(i, array)| ColumnSpec { id: 100 + i, data_type: array.data_type().clone() }).collect()
}

pub fn batch(columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let field = |(i, array): (usize, &ArrayRef)| Field::new(format!("c{i}"), array.data_type().clone(), true);
    let schema: SchemaRef = Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()));
    RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows))).unwrap()
}

/// Writes columns as a segment in memory, in batches of odd sizes.
pub fn segment(columns: &[ArrayRef], options: &WriteOptions) -> Vec<u8> {
    let rows = columns.first().map_or(0, Array::len);
    let whole = batch(columns.to_vec(), rows);
    let batches: Vec<RecordBatch> =
        (0..rows).step_by(5000).map(|first| whole.slice(first, 5000.min(rows - first))).collect();
    let mut bytes = Vec::new();
    let summary = write_segment(&specs(columns), &batches, options, &mut bytes).unwrap();
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(summary.rows, rows);
    bytes
}

/// Reads one column whole; `Err` says what was wrong with the bytes.
pub fn read_column(reader: &SegmentReader, id: u32) -> Result<Vec<ArrayRef>, colonnade_columnar::FormatError> {
    let column = reader.column(id).expect("a column of this id");
    let dictionary = if column.uses_dictionary() { Some(column.dictionary()?) } else { None };
    (0..reader.granules()).map(|granule| column.read(granule, dictionary.as_ref())).collect()
}

/// Asserts that two arrays are equal, floats by their bits.
pub fn assert_same(read: &ArrayRef, written: &ArrayRef, what: &str) {
    assert_eq!(read.data_type(), written.data_type(), "{what}");
    assert_eq!(read.len(), written.len(), "{what}");
    match read.data_type() {
        DataType::Float64 => {
            let bits = |array: &ArrayRef| -> Vec<Option<u64>> {
                array.as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_bits)).collect()
            };
            assert_eq!(bits(read), bits(written), "{what}");
        }
        DataType::Float32 => {
            let bits = |array: &ArrayRef| -> Vec<Option<u32>> {
                array.as_primitive::<Float32Type>().iter().map(|value| value.map(f32::to_bits)).collect()
            };
            assert_eq!(bits(read), bits(written), "{what}");
        }
        _ => assert_eq!(read, written, "{what}"),
    }
}

/// Asserts that a segment holds exactly these columns.
pub fn assert_holds(bytes: Vec<u8>, columns: &[ArrayRef]) {
    let reader = SegmentReader::open(Buffer::from_vec(bytes)).unwrap();
    reader.verify().unwrap();
    assert_eq!(reader.columns().len(), columns.len());
    for (spec, written) in specs(columns).iter().zip(columns) {
        let pieces = read_column(&reader, spec.id).unwrap();
        let mut first = 0;
        for piece in &pieces {
            let what = format!("column {} ({}) row {first}", spec.id, spec.data_type);
            assert_same(piece, &written.slice(first, piece.len()), &what);
            first += piece.len();
        }
        assert_eq!(first, written.len());
        assert_single_rows(&reader, spec.id, &pieces);
    }
}

/// Asserts that rows read one by one are those of the decoded granules: all of the first rows, some of the others.
fn assert_single_rows(reader: &SegmentReader, id: u32, pieces: &[ArrayRef]) {
    let column = reader.column(id).unwrap();
    let dictionary = column.uses_dictionary().then(|| column.dictionary().unwrap());
    for (granule, piece) in pieces.iter().enumerate() {
        for row in (0..piece.len()).filter(|row| row % 61 == 0 || row + 3 > piece.len() || *row < 300) {
            if let Some(value) = column.value(granule, row, dictionary.as_ref()).unwrap() {
                let what = format!("column {id} ({}) granule {granule} row {row} alone", column.data_type());
                assert_same(&value, &piece.slice(row, 1), &what);
            }
        }
        assert!(column.value(granule, piece.len(), dictionary.as_ref()).is_err(), "one row too far");
    }
}

/// Reads single rows of a column of damaged bytes, for what it does rather than for what it says.
pub fn read_single_rows(reader: &SegmentReader) {
    for column in reader.columns() {
        let dictionary = column.dictionary().ok();
        for row in (0..reader.granule_rows(0)).step_by(13) {
            let _ = std::hint::black_box(column.value(0, row, dictionary.as_ref()));
        }
    }
}

/// Makes the checksums of a damaged one-column segment right again, as far as its structure can still be followed, so
/// that a test reaches the checks behind them. The layout is that of `docs/storage-format.md`.
pub fn reseal(bytes: &mut [u8]) {
    let u32_at = |bytes: &[u8], at: usize| -> Option<usize> {
        Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
    };
    let put = |bytes: &mut [u8], at: usize, crc: u32| bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    let size = bytes.len();
    let Some(footer) = u32_at(bytes, size - 32).filter(|&footer| footer < size - 32) else { return };
    let rows = u32_at(bytes, 12).unwrap_or(0);
    // The entry of the one column follows the column count: id, offset, size, metadata size.
    if let (Some(column_bytes), Some(metadata_bytes)) = (u32_at(bytes, footer + 16), u32_at(bytes, footer + 24)) {
        let end = 32 + column_bytes;
        if metadata_bytes <= column_bytes && end <= footer {
            let metadata = end - metadata_bytes;
            let mut at = metadata;
            let mut offset = 32;
            if bytes.get(footer + 34) == Some(&1) {
                let (lengths, blocks) = (u32_at(bytes, at + 5).unwrap_or(0), u32_at(bytes, at + 13).unwrap_or(0));
                let lengths_crc = at + 9;
                at += 17;
                for _ in 0..blocks.min(100) {
                    let stored = u32_at(bytes, at + 8).unwrap_or(0);
                    if let Some(block) = bytes.get(offset..offset + stored).filter(|_| at + 17 <= size) {
                        let crc = crc32c::crc32c(block);
                        put(bytes, at + 13, crc);
                    }
                    offset += stored;
                    at += 17;
                }
                if let Some(block) = bytes.get(offset..offset + lengths) {
                    let crc = crc32c::crc32c(block);
                    put(bytes, lengths_crc, crc);
                }
                offset += lengths;
            }
            for _ in 0..rows.div_ceil(8192).min(100) {
                let page_bytes = u32_at(bytes, at).unwrap_or(0);
                if let Some(page) = bytes.get(offset..offset + page_bytes).filter(|_| at + 14 <= size) {
                    let crc = crc32c::crc32c(page);
                    put(bytes, at + 8, crc);
                }
                offset += page_bytes;
                at += 14;
            }
            let crc = crc32c::crc32c(&bytes[metadata..end]);
            put(bytes, footer + 28, crc);
        }
    }
    let crc = crc32c::crc32c(&bytes[..28]);
    put(bytes, 28, crc);
    let crc = crc32c::crc32c(&bytes[footer..size - 12]);
    put(bytes, size - 12, crc);
}
