//! What is written is what is read: every type, NULLs, sizes around the granule, damage and arbitrary bytes.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, StringViewArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Int32Type};
use colonnade_columnar::{
    ColumnSpec, GRANULE_ROWS, Level, ROW_GROUP_ROWS, SEGMENT_ROWS_MAX, SegmentReader, WriteError, WriteOptions,
    write_segment, write_segment_columns,
};
use common::{assert_holds, batch, columns, read_column, segment, specs};
use proptest::prelude::*;

#[test]
fn every_type_round_trips() {
    for (rows, null_every) in [(0, 0), (1, 0), (1, 1), (63, 3), (GRANULE_ROWS, 0), (GRANULE_ROWS + 1, 5), (20_001, 2)] {
        let columns = columns(rows, null_every);
        assert_holds(segment(&columns, &WriteOptions::default()), &columns);
    }
}

#[test]
fn options_do_not_change_what_is_read() {
    let columns = columns(10_000, 7);
    let plain = WriteOptions { dictionary_distinct_max: 0.0, ..WriteOptions::default() };
    assert_holds(segment(&columns, &plain), &columns);
    let threads = WriteOptions { threads: 4, ..WriteOptions::default() };
    assert_eq!(segment(&columns, &threads), segment(&columns, &WriteOptions::default()));
}

#[test]
fn slices_are_written_as_themselves() {
    let sliced: Vec<ArrayRef> = columns(9_000, 4).iter().map(|column| column.slice(13, 8_500)).collect();
    assert_holds(segment(&sliced, &WriteOptions::default()), &sliced);
}

#[test]
fn zone_maps_bound_every_zone() {
    let rows = ROW_GROUP_ROWS + 10_000;
    let values: ArrayRef = Arc::new((0..rows as i32).map(|row| (row % 3 != 0).then_some(row)).collect::<Int32Array>());
    let reader = SegmentReader::open(Buffer::from_vec(segment(&[values], &WriteOptions::default()))).unwrap();
    assert_eq!((reader.rows(), reader.granules(), reader.row_groups()), (rows, 18, 2));
    let column = reader.column(100).unwrap();
    let granules = column.zone_maps(Level::Granule).unwrap();
    assert_eq!(granules.len(), 18);
    for granule in 0..18 {
        let values = column.read(granule, None).unwrap();
        let values = values.as_primitive::<Int32Type>();
        assert_eq!(granules.row_count.value(granule), values.len() as u64);
        assert_eq!(granules.null_count.value(granule), values.null_count() as u64);
        assert_eq!(Some(granules.min.as_primitive::<Int32Type>().value(granule)), arrow::compute::min(values));
        assert_eq!(Some(granules.max.as_primitive::<Int32Type>().value(granule)), arrow::compute::max(values));
        assert!(granules.exact.value(granule));
    }
    let groups = column.zone_maps(Level::RowGroup).unwrap();
    assert_eq!(groups.row_count.values().to_vec(), [ROW_GROUP_ROWS as u64, 10_000]);
    assert_eq!(groups.min.as_primitive::<Int32Type>().value(1), ROW_GROUP_ROWS as i32);
    let whole = column.zone_maps(Level::Segment).unwrap();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole.max.as_primitive::<Int32Type>().value(0), rows as i32 - 1);
}

#[test]
fn strings_share_the_dictionary() {
    let values: ArrayRef = Arc::new(
        (0..20_000)
            .map(|row| (row % 10 != 9).then(|| format!("a value of some length, {}", row % 50)))
            .collect::<StringViewArray>(),
    );
    let reader = SegmentReader::open(Buffer::from_vec(segment(&[values], &WriteOptions::default()))).unwrap();
    let column = reader.column(100).unwrap();
    assert!(column.uses_dictionary());
    assert_eq!(column.distinct_count(), Some(45));
    assert!(column.encoding().contains("dictionary"), "{}", column.encoding());
    let dictionary = column.dictionary().unwrap();
    assert!(dictionary.sorted() && dictionary.len() == 45 && dictionary.size_bytes() >= 45 * 25);
    let read = column.read(1, Some(&dictionary)).unwrap();
    let address = |array: &ArrayRef| array.as_string_view().data_buffers()[0].as_ptr();
    assert_eq!(address(&read), address(dictionary.values()));
    let codes = column.read_codes(1).unwrap().unwrap();
    for row in 0..codes.len() {
        assert_eq!(codes.is_null(row), read.is_null(row));
        if codes.is_valid(row) {
            let entry = dictionary.values().as_string_view().value(codes.value(row) as usize);
            assert_eq!(entry, read.as_string_view().value(row));
        }
    }
    // Another column's dictionary is refused where it cannot be right.
    let other: ArrayRef = Arc::new((0..100).map(|row| Some(["x", "y"][row % 2])).collect::<StringViewArray>());
    let other = SegmentReader::open(Buffer::from_vec(segment(&[other], &WriteOptions::default()))).unwrap();
    let foreign = other.column(100).unwrap().dictionary().unwrap();
    assert!(column.read(0, Some(&foreign)).is_err());
    assert!(column.read(99, Some(&dictionary)).is_err());
    assert!(reader.column(1).is_none());
}

#[test]
fn wrong_input_is_refused() {
    let int: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let spec = |id, data_type| ColumnSpec { id, data_type };
    let write = |columns: &[ColumnSpec], arrays: Vec<ArrayRef>| {
        let rows = arrays[0].len();
        write_segment(columns, &[batch(arrays, rows)], &WriteOptions::default(), &mut Vec::new()).unwrap_err()
    };
    let error = write(&[spec(1, DataType::Int64)], vec![Arc::clone(&int)]);
    assert!(matches!(error, WriteError::ColumnType { id: 1, .. }));
    let two = vec![Arc::clone(&int), Arc::clone(&int)];
    let error = write(&[spec(1, DataType::Int32)], two.clone());
    assert!(matches!(error, WriteError::ColumnCount { expected: 1, found: 2 }));
    let error = write(&[spec(1, DataType::Int32), spec(1, DataType::Int32)], two);
    assert!(matches!(error, WriteError::DuplicateColumn { id: 1 }));
    let error = write(&[spec(1, DataType::Int8)], vec![arrow::array::new_null_array(&DataType::Int8, 1)]);
    assert!(matches!(error, WriteError::UnsupportedType { .. }));
    let error =
        write(&[spec(1, DataType::Null)], vec![arrow::array::new_null_array(&DataType::Null, SEGMENT_ROWS_MAX + 1)]);
    assert!(matches!(error, WriteError::TooManyRows { .. }));
}

#[test]
fn a_failing_output_ends_the_threads() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if bytes.len() == 32 { Ok(32) } else { Err(std::io::ErrorKind::StorageFull.into()) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let columns = columns(1000, 0);
    let options = WriteOptions { threads: 3, ..WriteOptions::default() };
    let result = write_segment(&specs(&columns), &[batch(columns, 1000)], &options, &mut Full);
    assert!(matches!(result, Err(WriteError::Output(_))));
}

#[test]
fn columns_that_are_asked_for_one_by_one_give_the_same_segment() {
    let columns = columns(20_000, 5);
    let expected = segment(&columns, &WriteOptions::default());
    let asked: Vec<AtomicUsize> = columns.iter().map(|_| AtomicUsize::new(0)).collect();
    for (threads, pieces) in [(1, 1), (1, 3), (3, 7)] {
        let source = |index: usize| {
            asked[index].fetch_add(1, Ordering::Relaxed);
            let size = 20_000usize.div_ceil(pieces);
            let piece = |from: usize| columns[index].slice(from, size.min(20_000 - from));
            Ok((0..20_000).step_by(size).map(piece).collect())
        };
        let options = WriteOptions { threads, ..WriteOptions::default() };
        let mut bytes = Vec::new();
        write_segment_columns(&specs(&columns), 20_000, &source, &options, &mut bytes).unwrap();
        assert!(bytes == expected, "{threads} threads, {pieces} pieces");
    }
    assert!(asked.iter().all(|count| count.load(Ordering::Relaxed) == 3), "each is asked for once");
    let short = |index: usize| Ok(vec![columns[index].slice(0, 19_999)]);
    let error = write_segment_columns(&specs(&columns), 20_000, &short, &WriteOptions::default(), &mut Vec::new());
    assert!(matches!(error, Err(WriteError::RowCount { expected: 20_000, found: 19_999, .. })));
    let failing = |_: usize| Err(WriteError::Source("the dog ate it".into()));
    let error = write_segment_columns(&specs(&columns), 20_000, &failing, &WriteOptions::default(), &mut Vec::new());
    assert!(matches!(error, Err(WriteError::Source(_))));
}

#[test]
fn a_segment_may_have_no_columns() {
    assert_holds(segment(&[], &WriteOptions::default()), &[]);
}

/// Opens and reads everything; an error is fine, other data is not.
fn read_damaged(bytes: Vec<u8>, written: &[ArrayRef]) {
    let Ok(reader) = SegmentReader::open(Buffer::from_vec(bytes)) else { return };
    common::read_single_rows(&reader);
    if reader.verify().is_ok() {
        for (spec, written) in specs(written).iter().zip(written) {
            let pieces = read_column(&reader, spec.id).unwrap();
            assert_eq!(pieces.iter().map(Array::len).sum::<usize>(), written.len());
        }
        panic!("damage went unnoticed");
    }
}

#[test]
fn every_damaged_byte_is_noticed() {
    let columns = columns(300, 5);
    let bytes = segment(&columns, &WriteOptions::default());
    for position in (0..bytes.len()).step_by(7).chain(0..64).chain(bytes.len() - 64..bytes.len()) {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1 << (position % 8);
        read_damaged(damaged, &columns);
    }
    for length in (0..bytes.len()).step_by(11).chain(bytes.len() - 40..bytes.len()) {
        read_damaged(bytes[..length].to_vec(), &columns);
    }
    let mut longer = bytes.clone();
    longer.push(0);
    read_damaged(longer, &columns);
}

/// Damage that no checksum shows: the reader must still neither panic nor allocate out of proportion.
#[test]
fn resealed_damage_never_panics() {
    let columns = columns(80, 5);
    for (index, column) in columns.iter().enumerate() {
        let bytes = segment(std::slice::from_ref(column), &WriteOptions::default());
        let mut intact = bytes.clone();
        common::reseal(&mut intact);
        assert!(intact == bytes, "resealing follows the format");
        for position in 32..bytes.len() - 32 {
            for value in [0, 0xff, bytes[position] ^ 4] {
                let mut damaged = bytes.clone();
                damaged[position] = value;
                common::reseal(&mut damaged);
                if let Ok(reader) = SegmentReader::open(Buffer::from_vec(damaged)) {
                    let _ = std::hint::black_box((index, reader.verify()));
                    common::read_single_rows(&reader);
                }
            }
        }
    }
}

#[test]
fn single_rows_are_read_without_their_page_where_it_can_be() {
    let words: Vec<String> =
        (0..20_000).map(|row| format!("{:x}", (row as u64 + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let arrays: Vec<(bool, ArrayRef)> = vec![
        (true, Arc::new(Int64Array::from_iter_values(0..20_000))),
        (true, Arc::new(Int32Array::from_iter((0..20_000).map(|row| (row % 3 > 0).then_some(row * 7_919 % 1_009))))),
        (true, Arc::new(Int64Array::from_iter_values((0..20_000).map(|row| row / 700)))),
        (true, Arc::new(StringViewArray::from_iter_values((0..20_000).map(|row| format!("word {}", row % 11))))),
        (
            false,
            Arc::new(StringViewArray::from_iter_values(words.iter().map(|word| format!("http://example.com/{word}")))),
        ),
    ];
    for (addressable, array) in arrays {
        let bytes = segment(std::slice::from_ref(&array), &WriteOptions::default());
        let reader = SegmentReader::open(Buffer::from_vec(bytes.clone())).unwrap();
        let column = reader.columns().next().unwrap();
        let found = column.value(1, 5, None).unwrap();
        assert_eq!(found.is_some(), addressable, "{} {}", column.encoding(), array.data_type());
        assert_holds(bytes, &[array]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(reader) = SegmentReader::open(Buffer::from_vec(bytes)) {
            let _ = reader.verify();
        }
    }

    #[test]
    fn arbitrary_integers_round_trip(values in proptest::collection::vec(any::<Option<i64>>(), 0..300), narrow in 0..60_u32) {
        let values = values.into_iter().map(|value| value.map(|value| value >> narrow));
        let column: ArrayRef = Arc::new(values.collect::<Int64Array>());
        assert_holds(segment(std::slice::from_ref(&column), &WriteOptions::default()), &[column]);
    }

    #[test]
    fn arbitrary_strings_round_trip(values in proptest::collection::vec(any::<Option<String>>(), 0..100), copies in 1..4_usize) {
        let values = values.iter().cycle().take(values.len() * copies);
        let column: ArrayRef = Arc::new(values.cloned().collect::<StringViewArray>());
        assert_holds(segment(std::slice::from_ref(&column), &WriteOptions::default()), &[column]);
    }
}
