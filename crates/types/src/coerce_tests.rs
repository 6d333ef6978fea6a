//! Casts, as text in and text out, against what PostgreSQL answers.

use super::*;
use crate::TimeZone;

fn settings() -> DisplaySettings {
    DisplaySettings { time_zone: TimeZone::parse("Europe/Berlin").unwrap(), ..DisplaySettings::default() }
}

/// `text::from::to` as text.
fn cast(text: &str, from: &str, to: &str, explicit: bool) -> Result<String, ValueError> {
    let (from, to) = (SqlType::parse(from).unwrap(), SqlType::parse(to).unwrap());
    let array = parse_value(&from, text, &settings())?;
    let out = coerce(&array, &from, &to, explicit, &settings())?;
    assert_eq!(*out.data_type(), to.arrow_type(), "{from} to {to}");
    let shown = to_text(&to, &out, &settings())?;
    Ok(shown.as_string_view().value(0).to_owned())
}

#[test]
fn values_change_as_in_postgresql() {
    for (text, from, to, expected) in [
        ("5", "bigint", "smallint", "5"),
        ("2.5", "double precision", "integer", "2"),
        ("3.5", "real", "bigint", "4"),
        ("-2.5", "double precision", "integer", "-2"),
        ("2.5", "numeric", "integer", "3"),
        ("-2.5", "numeric(5,1)", "bigint", "-3"),
        ("1.005", "numeric", "numeric(5,2)", "1.01"),
        ("1.50", "numeric(5,2)", "numeric", "1.5"),
        ("7", "integer", "numeric(5,2)", "7.00"),
        ("0.1", "double precision", "numeric", "0.1"),
        ("1.1", "real", "numeric", "1.1"),
        ("1e10", "double precision", "numeric(12,1)", "10000000000.0"),
        ("0.30", "numeric(5,2)", "double precision", "0.3"),
        ("16777217", "integer", "real", "1.6777216e+07"),
        ("12", "text", "integer", "12"),
        ("12", "integer", "text", "12"),
        ("t", "boolean", "text", "true"),
        ("ab ", "char(5)", "text", "ab"),
        ("abc", "text", "char(5)", "abc  "),
        ("2024-07-01", "date", "timestamp", "2024-07-01 00:00:00"),
        ("2024-07-01", "date", "timestamptz", "2024-07-01 00:00:00+02"),
        ("2024-07-01 12:00", "timestamp", "timestamptz", "2024-07-01 12:00:00+02"),
        ("2024-07-01 12:00+00", "timestamptz", "timestamp", "2024-07-01 14:00:00"),
        ("2024-07-01 23:00+00", "timestamptz", "date", "2024-07-02"),
        ("2024-07-01 23:00", "timestamp", "date", "2024-07-01"),
        ("2024-07-01 23:00:01.5", "timestamp", "time", "23:00:01.5"),
        ("infinity", "date", "timestamp", "infinity"),
        ("04:05", "time", "interval", "04:05:00"),
        ("{\"b\":1,\"a\":2}", "json", "jsonb", "{\"a\": 2, \"b\": 1}"),
        ("{1,2.5}", "numeric[]", "integer[]", "{1,3}"),
        ("{1,2}", "text", "integer[]", "{1,2}"),
        ("{1,NULL}", "integer[]", "text", "{1,NULL}"),
        ("7", "bigint", "oid", "7"),
        ("r", "\"char\"", "text", "r"),
    ] {
        assert_eq!(cast(text, from, to, false).as_deref(), Ok(expected), "{text}::{from}::{to}");
    }
    for (text, from, to, expected) in [
        ("abcdef", "text", "varchar(3)", "abc"),
        ("abcdef", "text", "char(3)", "abc"),
        ("12345", "integer", "varchar(3)", "123"),
        ("t", "boolean", "integer", "1"),
        ("0", "integer", "boolean", "f"),
        ("1.5", "jsonb", "integer", "2"),
        ("true", "jsonb", "boolean", "t"),
        ("r", "\"char\"", "integer", "114"),
    ] {
        assert_eq!(cast(text, from, to, true).as_deref(), Ok(expected), "{text}::{from}::{to}");
    }
}

#[test]
fn what_postgresql_refuses() {
    for (text, from, to, explicit, code, message) in [
        ("40000", "integer", "smallint", true, "22003", "smallint out of range"),
        ("3000000000", "bigint", "integer", true, "22003", "integer out of range"),
        ("1e10", "double precision", "integer", true, "22003", "integer out of range"),
        ("NaN", "double precision", "bigint", true, "22003", "bigint out of range"),
        ("9999999999", "numeric", "integer", true, "22003", "integer out of range"),
        ("1000", "integer", "numeric(5,2)", true, "22003", "numeric field overflow"),
        ("-1", "bigint", "oid", true, "22003", "OID out of range"),
        ("1e39", "double precision", "real", true, "22003", "value out of range: overflow"),
        ("abcdef", "text", "varchar(3)", false, "22001", "value too long for type character varying(3)"),
        ("x", "text", "integer", true, "22P02", "invalid input syntax for type integer: \"x\""),
        ("2024-01-01", "date", "integer", true, "42846", "cannot cast type date to integer"),
        ("t", "boolean", "integer", false, "42846", "cannot cast type boolean to integer"),
        ("t", "boolean", "bigint", true, "42846", "cannot cast type boolean to bigint"),
        ("1", "jsonb", "integer", false, "42846", "cannot cast type jsonb to integer"),
        ("\"x\"", "jsonb", "integer", true, "22023", "cannot cast jsonb string to type integer"),
        ("{1}", "integer[]", "integer", true, "42846", "cannot cast type integer[] to integer"),
        (
            "04:05",
            "time",
            "timestamp",
            true,
            "42846",
            "cannot cast type time without time zone to timestamp without time zone",
        ),
        ("5000000-01-01", "date", "timestamp", true, "22008", "date out of range for timestamp"),
    ] {
        let error = cast(text, from, to, explicit).unwrap_err();
        assert_eq!((error.sql_state.code(), error.message.as_str()), (code, message), "{text}::{from}::{to}");
    }
}

#[test]
fn a_decimal_of_another_shape_becomes_its_declared_one() {
    let array: ArrayRef =
        Arc::new(Decimal128Array::from(vec![Some(12_345), None]).with_precision_and_scale(20, 3).unwrap());
    let to = SqlType::Numeric(Some((10, 2)));
    let out = coerce(&array, &to, &to, false, &settings()).unwrap();
    assert_eq!(*out.data_type(), to.arrow_type());
    assert_eq!(out.as_primitive::<Decimal128Type>().value(0), 1_235);
    assert!(out.is_null(1));
}

#[test]
fn nulls_stay_null_everywhere() {
    for (from, _) in crate::builder::tests::samples() {
        for (to, _) in crate::builder::tests::samples() {
            let nulls = new_null_array(&from.arrow_type(), 2);
            if let Ok(out) = coerce(&nulls, &from, &to, true, &settings()) {
                assert_eq!(*out.data_type(), to.arrow_type(), "{from} to {to}");
                assert_eq!(out.logical_null_count(), 2);
            }
        }
    }
}
