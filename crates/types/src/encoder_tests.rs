//! Foreign Arrow types, and the forms that need settings.

use arrow::array::*;
use arrow::datatypes::*;

use super::*;
use crate::{ByteaOutput, IntervalStyle, TimeZone};

fn encoded(sql_type: &SqlType, array: ArrayRef, settings: &DisplaySettings) -> Vec<Option<String>> {
    let encoder = ColumnEncoder::new(sql_type, &array, Format::Text, settings).unwrap();
    let binary = ColumnEncoder::new(sql_type, &array, Format::Binary, settings).unwrap();
    (0..array.len())
        .map(|row| {
            assert_eq!(encoder.is_null(row), binary.is_null(row));
            let mut out = Vec::new();
            (!encoder.is_null(row)).then(|| {
                binary.write(row, &mut out);
                out.clear();
                encoder.write(row, &mut out);
                String::from_utf8(out).unwrap()
            })
        })
        .collect()
}

#[test]
fn foreign_arrow_types_print_like_their_sql_type() {
    let interval = |array: ArrayRef| array;
    let cases: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(Int8Array::from(vec![-5])), "-5"),
        (Arc::new(UInt8Array::from(vec![200])), "200"),
        (Arc::new(UInt16Array::from(vec![65_535])), "65535"),
        (Arc::new(UInt32Array::from(vec![u32::MAX])), "4294967295"),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), "18446744073709551615"),
        (Arc::new(Decimal128Array::from(vec![-150]).with_precision_and_scale(10, 2).unwrap()), "-1.50"),
        (Arc::new(Decimal128Array::from(vec![15]).with_precision_and_scale(10, -2).unwrap()), "1500"),
        (Arc::new(Decimal64Array::from(vec![5]).with_precision_and_scale(10, 3).unwrap()), "0.005"),
        (Arc::new(Decimal32Array::from(vec![5]).with_precision_and_scale(5, 1).unwrap()), "0.5"),
        (Arc::new(StringArray::from(vec!["a"])), "a"),
        (Arc::new(LargeStringArray::from(vec!["a long enough string"])), "a long enough string"),
        (Arc::new(BinaryArray::from(vec![&b"\x01"[..]])), "\\x01"),
        (Arc::new(LargeBinaryArray::from(vec![&b"\x01"[..]])), "\\x01"),
        (Arc::new(DictionaryArray::<Int32Type>::from_iter(["x"])), "x"),
        (Arc::new(TimestampSecondArray::from(vec![1])), "1970-01-01 00:00:01"),
        (Arc::new(TimestampMillisecondArray::from(vec![-1])), "1969-12-31 23:59:59.999"),
        (Arc::new(TimestampNanosecondArray::from(vec![1_500])), "1970-01-01 00:00:00.000001"),
        (Arc::new(TimestampNanosecondArray::from(vec![0]).with_timezone("+02:00")), "1970-01-01 00:00:00+00"),
        (Arc::new(Date64Array::from(vec![86_400_000])), "1970-01-02"),
        (Arc::new(Time32SecondArray::from(vec![61])), "00:01:01"),
        (Arc::new(Time64NanosecondArray::from(vec![1_000])), "00:00:00.000001"),
        (interval(Arc::new(IntervalYearMonthArray::from(vec![14]))), "1 year 2 mons"),
        (interval(Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, 1_500)]))), "1 day 00:00:01.5"),
        (Arc::new(DurationSecondArray::from(vec![90])), "00:01:30"),
        (Arc::new(DurationNanosecondArray::from(vec![1_000])), "00:00:00.000001"),
        (Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])])), "{1,NULL}"),
        (Arc::new(LargeListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])])), "{1,NULL}"),
        (Arc::new(FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])], 2)), "{1,NULL}"),
    ];
    for (array, text) in cases {
        let sql_type = SqlType::from_arrow(array.data_type()).unwrap();
        let label = array.data_type().to_string();
        assert_eq!(encoded(&sql_type, array, &DisplaySettings::default()), [Some(text.to_owned())], "{label}");
    }
    let nulls: ArrayRef = Arc::new(NullArray::new(2));
    for sql_type in [SqlType::Unknown, SqlType::Integer, SqlType::Array(Box::new(SqlType::Text))] {
        assert_eq!(encoded(&sql_type, nulls.clone(), &DisplaySettings::default()), [None, None]);
    }
}

#[test]
fn nulls_inside_a_dictionary_are_null() {
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let keys = Int32Array::from(vec![Some(0), Some(1), None]);
    let array: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
    assert_eq!(encoded(&SqlType::Text, array, &DisplaySettings::default()), [Some("a".to_owned()), None, None]);
}

#[test]
fn sliced_arrays_start_where_they_start() {
    let array: ArrayRef =
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None, Some(vec![Some(2)])]));
    let sql_type = SqlType::Array(Box::new(SqlType::Integer));
    assert_eq!(encoded(&sql_type, array.slice(1, 2), &DisplaySettings::default()), [None, Some("{2}".to_owned())]);
}

#[test]
fn settings_reach_the_values() {
    let settings = DisplaySettings {
        time_zone: TimeZone::parse("Asia/Kolkata").unwrap(),
        interval_style: IntervalStyle::Iso8601,
        bytea_output: ByteaOutput::Escape,
        extra_float_digits: 0,
        ..DisplaySettings::default()
    };
    let zoned: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC"));
    assert_eq!(encoded(&SqlType::TimestampTz, zoned, &settings), [Some("1970-01-01 05:30:00+05:30".to_owned())]);
    let interval: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 3_000)]));
    assert_eq!(encoded(&SqlType::Interval, interval, &settings), [Some("P1M2DT0.000003S".to_owned())]);
    let bytes: ArrayRef = Arc::new(BinaryViewArray::from(vec![&b"a\x00"[..]]));
    assert_eq!(encoded(&SqlType::Bytea, bytes, &settings), [Some("a\\000".to_owned())]);
    let float: ArrayRef = Arc::new(Float64Array::from(vec![0.1 + 0.2]));
    assert_eq!(encoded(&SqlType::DoublePrecision, float, &settings), [Some("0.3".to_owned())]);
}

#[test]
fn binary_array_header() {
    let array: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(7), None])]));
    let sql_type = SqlType::Array(Box::new(SqlType::Integer));
    let encoder = ColumnEncoder::new(&sql_type, &array, Format::Binary, &DisplaySettings::default()).unwrap();
    let mut out = Vec::new();
    encoder.write(0, &mut out);
    let expected: Vec<u8> = [1, 1, 23, 2, 1, 4, 7, -1i32].iter().flat_map(|value| value.to_be_bytes()).collect();
    assert_eq!(out, expected);
}
