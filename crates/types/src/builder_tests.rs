//! What every type takes, refuses and keeps; arbitrary input never panics and never changes a builder it fails on.

use arrow::array::{Array as _, AsArray as _};
use proptest::prelude::*;

use super::*;
use crate::encoder::ColumnEncoder;
use crate::settings::Format;

/// Every type that a column can have, with values that its output spells exactly so.
pub(crate) fn samples() -> Vec<(SqlType, Vec<&'static str>)> {
    [
        ("boolean", vec!["t", "f"]),
        ("smallint", vec!["0", "-32768", "32767"]),
        ("integer", vec!["0", "-2147483648", "2147483647"]),
        ("bigint", vec!["0", "-9223372036854775808", "9223372036854775807"]),
        ("real", vec!["0", "-0", "1.5", "1e+20", "1e-05", "NaN", "Infinity", "-Infinity", "3.4028235e+38"]),
        ("double precision", vec!["0", "-0", "0.1", "1e+15", "NaN", "Infinity", "5e-324", "123456789012345"]),
        ("numeric", vec!["0", "-1.5", "1000000", "0.000000000000000001", "123456789012345678901234567890.5"]),
        ("numeric(10,2)", vec!["0.00", "-0.01", "99999999.99", "10000.00"]),
        ("numeric(60,4)", vec!["0.0000", "-12345678901234567890123456789012345678901234567890.1234"]),
        ("text", vec!["", "abc", "longer than twelve bytes", "äöü😀"]),
        ("varchar", vec!["", "abc "]),
        ("varchar(3)", vec!["", "äöü"]),
        ("char(3)", vec!["   ", "a  ", "äöü"]),
        ("bytea", vec!["\\x", "\\x00ff", "\\x000102030405060708090a0b0c0d0e0f"]),
        ("date", vec!["2024-02-29", "0001-01-01 BC", "infinity", "-infinity", "5874897-12-31", "4714-11-24 BC"]),
        ("time", vec!["00:00:00", "23:59:59.999999", "24:00:00"]),
        ("timestamp", vec!["2024-02-29 12:00:00", "1969-12-31 23:59:59.999999", "infinity", "4714-11-24 00:00:00 BC"]),
        ("timestamptz", vec!["2024-02-29 12:00:00+00", "-infinity", "0044-03-15 00:00:00+00 BC"]),
        ("interval", vec!["00:00:00", "1 year 2 mons -3 days +04:05:06.7", "-100:00:00", "-1 days"]),
        ("uuid", vec!["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
        ("json", vec!["{\"b\":1,  \"a\":[]}", "null"]),
        ("jsonb", vec!["{\"a\": [1, 2.50], \"bb\": null}", "[]", "\"x\""]),
        ("oid", vec!["0", "4294967295"]),
        ("regclass", vec!["1259"]),
        ("name", vec!["pg_class"]),
        ("\"char\"", vec!["", "r", "\\303"]),
    ]
    .into_iter()
    .map(|(name, values)| (SqlType::parse(name).unwrap_or_else(|| panic!("{name}")), values))
    .collect()
}

fn text_of(sql_type: &SqlType, array: &ArrayRef, format: Format) -> Vec<Option<Vec<u8>>> {
    let encoder = ColumnEncoder::new(sql_type, array, format, &DisplaySettings::default()).unwrap();
    (0..array.len())
        .map(|row| {
            let mut out = Vec::new();
            (!encoder.is_null(row)).then(|| {
                encoder.write(row, &mut out);
                out
            })
        })
        .collect()
}

#[test]
fn every_value_survives_both_forms() {
    let settings = DisplaySettings::default();
    for (sql_type, values) in samples() {
        let mut builder = ColumnBuilder::new(&sql_type, values.len());
        builder.append_null();
        for value in &values {
            builder.append_text(value, &settings).unwrap_or_else(|error| panic!("{sql_type} {value}: {error}"));
        }
        let array = builder.finish();
        assert_eq!(*array.data_type(), sql_type.arrow_type(), "{sql_type}");
        assert_eq!(array.len(), values.len() + 1);
        let mut expected = vec![None];
        expected.extend(values.iter().map(|value| Some(value.as_bytes().to_vec())));
        assert_eq!(text_of(&sql_type, &array, Format::Text), expected, "{sql_type}");

        for value in text_of(&sql_type, &array, Format::Binary) {
            match value {
                Some(bytes) => builder.append_binary(&bytes).unwrap_or_else(|error| panic!("{sql_type}: {error}")),
                None => builder.append_null(),
            }
        }
        assert_eq!(&builder.finish(), &array, "{sql_type}");
        assert!(builder.is_empty());
    }
}

#[test]
fn arrays_of_every_type_survive_both_forms() {
    let settings = DisplaySettings::default();
    for (element, values) in samples() {
        let sql_type = SqlType::Array(Box::new(element));
        let quoted: Vec<String> =
            values.iter().map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))).collect();
        let mut builder = ColumnBuilder::new(&sql_type, 3);
        builder.append_text("{}", &settings).unwrap();
        builder.append_text(&format!("{{{},NULL}}", quoted.join(",")), &settings).unwrap();
        builder.append_null();
        let array = builder.finish();
        assert_eq!(*array.data_type(), sql_type.arrow_type());
        for (format, again) in [Format::Text, Format::Binary].map(|format| (format, text_of(&sql_type, &array, format)))
        {
            for value in again {
                match (value, format) {
                    (Some(bytes), Format::Text) => {
                        builder.append_text(std::str::from_utf8(&bytes).unwrap(), &settings).unwrap();
                    }
                    (Some(bytes), Format::Binary) => builder.append_binary(&bytes).unwrap(),
                    (None, _) => builder.append_null(),
                }
            }
            assert_eq!(&builder.finish(), &array, "{sql_type} {format:?}");
        }
    }
}

#[test]
fn a_failed_append_leaves_no_trace() {
    let settings = DisplaySettings::default();
    let sql_type = SqlType::parse("integer[]").unwrap();
    let mut builder = ColumnBuilder::new(&sql_type, 0);
    builder.append_text("{1,2}", &settings).unwrap();
    let error = builder.append_text("{3,x}", &settings).unwrap_err();
    assert_eq!(error.message, "invalid input syntax for type integer: \"x\"");
    assert!(builder.append_binary(b"junk").is_err());
    assert_eq!(builder.len(), 1);
    builder.append_text("{4}", &settings).unwrap();
    builder.append_null();
    builder.truncate(2);
    let array = builder.finish();
    assert_eq!(text_of(&sql_type, &array, Format::Text), [Some(b"{1,2}".to_vec()), Some(b"{4}".to_vec())]);
    assert_eq!(array.as_list::<i32>().values().len(), 3);
}

#[test]
fn long_strings_fill_many_blocks() {
    let settings = DisplaySettings::default();
    let mut builder = ColumnBuilder::new(&SqlType::Text, 0);
    let value = |index: usize| format!("value number {index} {}", "x".repeat(index % 500));
    for index in 0..3_000 {
        builder.append_text(&value(index), &settings).unwrap();
    }
    builder.truncate(2_500);
    let array = builder.finish();
    let strings = array.as_string_view();
    assert_eq!(strings.len(), 2_500);
    assert!(strings.iter().enumerate().all(|(index, found)| found == Some(value(index).as_str())));
}

#[test]
fn void_has_rows_without_values() {
    let mut builder = ColumnBuilder::new(&SqlType::Void, 0);
    builder.append_text("", &DisplaySettings::default()).unwrap();
    let array = builder.finish();
    assert_eq!(text_of(&SqlType::Void, &array, Format::Text), [Some(Vec::new())]);
}

#[test]
fn binary_errors() {
    let binary = |name: &str, bytes: &[u8]| {
        ColumnBuilder::new(&SqlType::parse(name).unwrap(), 0).append_binary(bytes).unwrap_err()
    };
    for (name, bytes) in [("integer", &b"abc"[..]), ("uuid", b""), ("boolean", b""), ("numeric", b"\0"), ("jsonb", b"")]
    {
        let error = binary(name, bytes);
        assert_eq!((error.sql_state.code(), error.message.as_str()), ("22P03", "incorrect binary data format"));
    }
    assert_eq!(binary("text", b"\xff").message, "invalid byte sequence for encoding \"UTF8\": 0xff");
    assert_eq!(binary("varchar(2)", b"abc").sql_state.code(), "22001");
    assert_eq!(binary("time", &(-1i64).to_be_bytes()).message, "time out of range");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), also in "[-+0-9a-zA-Z:./ {}\\[\\]\",eE\\\\]{0,40}") {
        let settings = DisplaySettings::default();
        for (element, _) in samples() {
            for sql_type in [element.clone(), SqlType::Array(Box::new(element))] {
                let mut builder = ColumnBuilder::new(&sql_type, 0);
                let mut taken = 0;
                for text in [&text, &also] {
                    taken += usize::from(builder.append_text(text, &settings).is_ok());
                }
                prop_assert_eq!(builder.len(), taken);
                let array = builder.finish();
                for format in [Format::Text, Format::Binary] {
                    text_of(&sql_type, &array, format);
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        for (element, _) in samples() {
            for sql_type in [element.clone(), SqlType::Array(Box::new(element))] {
                let mut builder = ColumnBuilder::new(&sql_type, 0);
                let taken = usize::from(builder.append_binary(&bytes).is_ok());
                prop_assert_eq!(builder.len(), taken);
                let array = builder.finish();
                text_of(&sql_type, &array, Format::Text);
            }
        }
    }

    #[test]
    fn numbers_and_times_round_trip(bits in any::<u64>(), small in any::<i32>(), fraction in 0i64..1_000_000) {
        let settings = DisplaySettings {
            time_zone: crate::TimeZone::parse("Europe/Berlin").unwrap(),
            ..DisplaySettings::default()
        };
        let micros = i64::from(small) * 1_000_000 * 60 + fraction;
        for (name, bytes) in [
            ("bigint", bits.to_be_bytes().to_vec()),
            ("double precision", bits.to_be_bytes().to_vec()),
            ("real", (bits as u32).to_be_bytes().to_vec()),
            ("timestamp", micros.to_be_bytes().to_vec()),
            ("timestamptz", micros.to_be_bytes().to_vec()),
            ("date", (small / 1000).to_be_bytes().to_vec()),
        ] {
            let sql_type = SqlType::parse(name).unwrap();
            let mut builder = ColumnBuilder::new(&sql_type, 1);
            if builder.append_binary(&bytes).is_err() {
                continue;
            }
            let array = builder.finish();
            let encoder = ColumnEncoder::new(&sql_type, &array, Format::Text, &settings).unwrap();
            let mut text = Vec::new();
            encoder.write(0, &mut text);
            let text = String::from_utf8(text).unwrap();
            builder.append_text(&text, &settings).unwrap();
            let again = builder.finish();
            if text != "NaN" {
                prop_assert_eq!(&again, &array, "{} {}", name, text);
            }
        }
    }
}
