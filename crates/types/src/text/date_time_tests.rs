//! Spellings of dates, times and timestamps, with what PostgreSQL 16 makes of them.

use super::*;
use crate::settings::DateStyle;
use crate::text::date_time_print;
use crate::time_zone::TimeZone;

fn settings(style: &str, zone: &str) -> DisplaySettings {
    DisplaySettings {
        date_style: DateStyle::parse(style, DateStyle::default()).unwrap(),
        time_zone: TimeZone::parse(zone).unwrap(),
        // 2024-05-06 22:30:00 UTC
        now_micros: 1_715_034_600_000_000,
        ..DisplaySettings::default()
    }
}

fn printed(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn date(text: &str, settings: &DisplaySettings) -> Result<String, ValueError> {
    parse_date(text, settings).map(|days| printed(|out| date_time_print::write_date(out, days, DateStyle::default())))
}

fn timestamp(text: &str, settings: &DisplaySettings) -> Result<String, ValueError> {
    parse_timestamp(text, false, settings)
        .map(|micros| printed(|out| date_time_print::write_timestamp(out, micros, DateStyle::default())))
}

fn timestamptz(text: &str, settings: &DisplaySettings) -> Result<String, ValueError> {
    parse_timestamp(text, true, settings)
        .map(|micros| printed(|out| date_time_print::write_timestamptz(out, micros, &DisplaySettings::default())))
}

#[test]
fn dates() {
    let mdy = settings("ISO, MDY", "UTC");
    for (text, shown) in [
        ("1999-01-08", "1999-01-08"),
        ("January 8, 1999", "1999-01-08"),
        ("1/8/1999", "1999-01-08"),
        ("1/18/1999", "1999-01-18"),
        ("01/02/03", "2003-01-02"),
        ("1999-Jan-08", "1999-01-08"),
        ("Jan-08-1999", "1999-01-08"),
        ("08-Jan-1999", "1999-01-08"),
        ("08-Jan-99", "1999-01-08"),
        ("Jan-08-99", "1999-01-08"),
        ("19990108", "1999-01-08"),
        ("990108", "1999-01-08"),
        ("J2451187", "1999-01-08"),
        ("January 8, 99 BC", "0099-01-08 BC"),
        ("0001-01-01 BC", "0001-01-01 BC"),
        ("8 Jan 1999", "1999-01-08"),
        ("Fri Jan 08 1999", "1999-01-08"),
        ("1999.01.08", "1999-01-08"),
        ("1999-1-8", "1999-01-08"),
        ("2024-02-29", "2024-02-29"),
        ("5874897-12-31", "5874897-12-31"),
        ("4714-11-24 BC", "4714-11-24 BC"),
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        ("epoch", "1970-01-01"),
        ("today", "2024-05-06"),
        ("now", "2024-05-06"),
        ("tomorrow", "2024-05-07"),
        ("yesterday", "2024-05-05"),
        ("1999-01-08 04:05:06", "1999-01-08"),
        ("1999-01-08T04:05:06Z", "1999-01-08"),
    ] {
        assert_eq!(date(text, &mdy).as_deref(), Ok(shown), "{text}");
    }
    assert_eq!(date("1/8/1999", &settings("ISO, DMY", "UTC")).as_deref(), Ok("1999-08-01"));
    assert_eq!(date("99-01-08", &settings("ISO, YMD", "UTC")).as_deref(), Ok("1999-01-08"));
    assert_eq!(date("today", &settings("ISO, MDY", "Europe/Berlin")).as_deref(), Ok("2024-05-07"));
}

#[test]
fn dates_that_are_none() {
    let mdy = settings("ISO, MDY", "UTC");
    for (text, message) in [
        ("x", "invalid input syntax for type date: \"x\""),
        ("", "invalid input syntax for type date: \"\""),
        ("2024-13-01", "date/time field value out of range: \"2024-13-01\""),
        ("2023-02-29", "date/time field value out of range: \"2023-02-29\""),
        ("0000-01-01", "date/time field value out of range: \"0000-01-01\""),
        ("13/13/1999", "date/time field value out of range: \"13/13/1999\""),
        ("5874898-01-01", "date out of range: \"5874898-01-01\""),
        ("4714-11-23 BC", "date out of range: \"4714-11-23 BC\""),
        ("12:00", "invalid input syntax for type date: \"12:00\""),
        ("2024-01", "invalid input syntax for type date: \"2024-01\""),
    ] {
        assert_eq!(date(text, &mdy).unwrap_err().message, message);
    }
}

#[test]
fn timestamps() {
    let utc = settings("ISO, MDY", "UTC");
    for (text, shown) in [
        ("1999-01-08 04:05:06", "1999-01-08 04:05:06"),
        ("1999-01-08T04:05:06.789", "1999-01-08 04:05:06.789"),
        ("1999-01-08 04:05", "1999-01-08 04:05:00"),
        ("1999-01-08", "1999-01-08 00:00:00"),
        ("1999-01-08 04:05:06.1234567", "1999-01-08 04:05:06.123457"),
        ("1999-01-08 04:05:06.9999999", "1999-01-08 04:05:07"),
        ("1999-01-08 23:59:60", "1999-01-09 00:00:00"),
        ("1999-01-08 24:00:00", "1999-01-09 00:00:00"),
        ("1999-01-08 04:05 PM", "1999-01-08 16:05:00"),
        ("1999-01-08 12:05 AM", "1999-01-08 00:05:00"),
        ("1999-01-08 04:05:06+02", "1999-01-08 04:05:06"),
        ("Jan 8 04:05:06 1999 PST", "1999-01-08 04:05:06"),
        ("19990108 040506", "1999-01-08 04:05:06"),
        ("19990108T040506", "1999-01-08 04:05:06"),
        ("19990108T040506.5", "1999-01-08 04:05:06.5"),
        ("0044-03-15 12:00:00 BC", "0044-03-15 12:00:00 BC"),
        ("epoch", "1970-01-01 00:00:00"),
        ("infinity", "infinity"),
        ("now", "2024-05-06 22:30:00"),
        ("today", "2024-05-06 00:00:00"),
        ("tomorrow 10:00", "2024-05-07 10:00:00"),
    ] {
        assert_eq!(timestamp(text, &utc).as_deref(), Ok(shown), "{text}");
    }
    for (text, message) in [
        ("1999-01-08 25:00", "date/time field value out of range: \"1999-01-08 25:00\""),
        ("1999-01-08 04:60", "date/time field value out of range: \"1999-01-08 04:60\""),
        ("1999-01-08 04:05 what", "invalid input syntax for type timestamp: \"1999-01-08 04:05 what\""),
        ("294300-01-01 00:00", "timestamp out of range: \"294300-01-01 00:00\""),
        ("1999-01-08 04:05 Mars/Olympus", "time zone \"mars/olympus\" not recognized"),
        ("1999-01-08 04:05+99", "time zone displacement out of range: \"1999-01-08 04:05+99\""),
    ] {
        assert_eq!(timestamp(text, &utc).unwrap_err().message, message);
    }
}

#[test]
fn timestamps_with_zones() {
    let berlin = settings("ISO, MDY", "Europe/Berlin");
    for (text, shown) in [
        ("2024-07-01 12:00:00", "2024-07-01 10:00:00+00"),
        ("2024-01-01 12:00:00", "2024-01-01 11:00:00+00"),
        ("2024-07-01 12:00:00+00", "2024-07-01 12:00:00+00"),
        ("2024-07-01T12:00:00Z", "2024-07-01 12:00:00+00"),
        ("2024-07-01 12:00:00 +0530", "2024-07-01 06:30:00+00"),
        ("2024-07-01 12:00:00-02:30", "2024-07-01 14:30:00+00"),
        ("2024-07-01 12:00:00+02:00:01", "2024-07-01 09:59:59+00"),
        ("2024-07-01 12:00:00 America/New_York", "2024-07-01 16:00:00+00"),
        ("2024-07-01 12:00:00 EST", "2024-07-01 17:00:00+00"),
        ("2024-07-01 12:00:00 CEST", "2024-07-01 10:00:00+00"),
        ("2024-03-31 02:30:00", "2024-03-31 01:30:00+00"),
        ("now", "2024-05-06 22:30:00+00"),
        ("today", "2024-05-06 22:00:00+00"),
        ("epoch", "1970-01-01 00:00:00+00"),
        ("-infinity", "-infinity"),
    ] {
        assert_eq!(timestamptz(text, &berlin).as_deref(), Ok(shown), "{text}");
    }
}

#[test]
fn times() {
    let utc = settings("ISO, MDY", "UTC");
    for (text, shown) in [
        ("04:05:06.789", "04:05:06.789"),
        ("04:05", "04:05:00"),
        ("040506", "04:05:06"),
        ("0405", "04:05:00"),
        ("04:05 AM", "04:05:00"),
        ("04:05 PM", "16:05:00"),
        ("24:00:00", "24:00:00"),
        ("23:59:60", "24:00:00"),
        ("04:05:06-08", "04:05:06"),
        ("2003-04-12 04:05:06 America/New_York", "04:05:06"),
        ("allballs", "00:00:00"),
        ("now", "22:30:00"),
    ] {
        let found = parse_time(text, &utc).map(|micros| printed(|out| date_time_print::write_time(out, micros)));
        assert_eq!(found.as_deref(), Ok(shown), "{text}");
    }
    for (text, message) in [
        ("25:00", "date/time field value out of range: \"25:00\""),
        ("24:00:01", "date/time field value out of range: \"24:00:01\""),
        ("noon", "invalid input syntax for type time: \"noon\""),
        ("", "invalid input syntax for type time: \"\""),
    ] {
        assert_eq!(parse_time(text, &utc).unwrap_err().message, message);
    }
}
