//! `to_char`, `to_date` and `to_timestamp` with PostgreSQL's patterns.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use colonnade_types::SqlState;

use super::datetime::{calendar, local};
use super::function::{Call, Function};
use super::value::Value;
use crate::error::{Error, Result};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::stable("to_char(timestamp, text) -> text", |call, arguments| {
            Ok(format_time(call, &arguments[0], None, arguments[1].text())?.into())
        }),
        Function::stable("to_char(timestamptz, text) -> text", |call, arguments| {
            let Value::Timestamp(instant) = arguments[0] else { return Ok(Value::Null) };
            Ok(format_time(call, &local(call, &arguments[0]), Some(instant), arguments[1].text())?.into())
        }),
        Function::immutable("to_char(bigint, text) -> text", |_, arguments| {
            Ok(format_number(&arguments[0].int().to_string(), arguments[1].text()).into())
        }),
        Function::immutable("to_char(double precision, text) -> text", |_, arguments| {
            Ok(format_number(&format!("{:.15}", arguments[0].float()), arguments[1].text()).into())
        }),
        Function::immutable("to_char(numeric, text) -> text", |_, arguments| {
            let Value::Decimal(digits, scale) = &arguments[0] else { return Ok(Value::Null) };
            Ok(format_number(&decimal_text(&digits.to_string(), *scale), arguments[1].text()).into())
        }),
        Function::immutable("to_date(text, text) -> date", |_, arguments| {
            let time = parse_time(arguments[0].text(), arguments[1].text())?;
            let epoch = NaiveDate::default();
            Ok(Value::Date(i32::try_from((time.date() - epoch).num_days()).unwrap_or(0)))
        }),
        Function::stable("to_timestamp(text, text) -> timestamptz", |call, arguments| {
            let time = parse_time(arguments[0].text(), arguments[1].text())?;
            let local = time.and_utc().timestamp_micros();
            let zone = &call.statement.settings.display().time_zone;
            Ok(Value::Timestamp(local - i64::from(zone.offset_of_local(local)) * 1_000_000))
        }),
        Function::immutable("to_timestamp(double precision) -> timestamptz", |_, arguments| {
            let seconds = arguments[0].float();
            if seconds.is_nan() || seconds.abs() > 9.2e12 {
                return Err(Error::new(
                    SqlState::DATETIME_FIELD_OVERFLOW,
                    format!("timestamp out of range: \"{seconds}\""),
                ));
            }
            #[expect(clippy::cast_possible_truncation, reason = "checked above")]
            let micros = (seconds * 1e6).round() as i64;
            Ok(Value::Timestamp(micros))
        }),
    ]
}

/// Puts the point into unscaled digits.
fn decimal_text(digits: &str, scale: i8) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let scale = usize::try_from(scale).unwrap_or(0);
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The patterns, longer ones before their beginnings.
const PATTERNS: &[&str] = &[
    "HH24", "HH12", "IYYY", "MONTH", "Month", "month", "YYYY", "A.M.", "P.M.", "a.m.", "p.m.", "SSSS", "DAY", "Day",
    "day", "DDD", "MON", "Mon", "mon", "TZH", "TZM", "YYY", "IW", "ID", "AM", "PM", "am", "pm", "CC", "DD", "DY", "Dy",
    "dy", "HH", "MI", "MM", "MS", "OF", "SS", "TZ", "tz", "US", "WW", "YY", "D", "J", "Q", "W", "Y",
];

/// A pattern, or text between patterns.
enum Part<'a> {
    Pattern { name: &'static str, fill: bool, ordinal: Option<&'a str> },
    Literal(char),
}

fn parts(format: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = format;
    let mut fill = true;
    'next: while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            parts.extend(quoted[..end].chars().map(Part::Literal));
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            fill = false;
            rest = after;
            continue;
        }
        for name in PATTERNS {
            let matches = rest.get(..name.len()).is_some_and(|head| {
                // Numbers may be written in either case; the case of words shows in the output.
                head == *name
                    || name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) && {
                        let words = ["MONTH", "MON", "DAY", "DY", "AM", "PM", "TZ"];
                        !words.contains(name) && head.eq_ignore_ascii_case(name)
                    }
            });
            if matches {
                rest = &rest[name.len()..];
                let ordinal = ["TH", "th"].into_iter().find(|suffix| rest.starts_with(suffix));
                if let Some(suffix) = ordinal {
                    rest = &rest[suffix.len()..];
                }
                parts.push(Part::Pattern { name, fill, ordinal });
                fill = true;
                continue 'next;
            }
        }
        let mut characters = rest.chars();
        if let Some(character) = characters.next() {
            parts.push(Part::Literal(character));
        }
        rest = characters.as_str();
    }
    parts
}

fn ordinal_suffix(number: i64) -> &'static str {
    match (number.abs() % 10, number.abs() % 100 / 10) {
        (1, tens) if tens != 1 => "st",
        (2, tens) if tens != 1 => "nd",
        (3, tens) if tens != 1 => "rd",
        _ => "th",
    }
}

fn format_time(call: &Call<'_>, value: &Value, instant: Option<i64>, format: &str) -> Result<String> {
    if matches!(value, Value::Timestamp(i64::MAX)) {
        return Ok("infinity".to_owned());
    }
    let time = calendar(value)?;
    let zone = &call.statement.settings.display().time_zone;
    let offset = instant.map_or(0, |instant| zone.offset_at(instant));
    let mut out = String::new();
    for part in parts(format) {
        let (name, fill, ordinal) = match part {
            Part::Literal(character) => {
                out.push(character);
                continue;
            }
            Part::Pattern { name, fill, ordinal } => (name, fill, ordinal),
        };
        let word = |text: &str, width: usize| if fill { format!("{text:<width$}") } else { text.to_owned() };
        let month = MONTHS[time.month0() as usize];
        let day = DAYS[time.weekday().num_days_from_sunday() as usize];
        let hour12 = (time.hour() + 11) % 12 + 1;
        let micros = time.nanosecond() / 1_000;
        let afternoon = time.hour() >= 12;
        let number: (i64, usize) = match name {
            "YYYY" => (time.year().into(), 4),
            "YYY" => ((time.year() % 1000).into(), 3),
            "YY" => ((time.year() % 100).into(), 2),
            "Y" => ((time.year() % 10).into(), 1),
            "IYYY" => (time.iso_week().year().into(), 4),
            "CC" => (((time.year() + 99) / 100).into(), 2),
            "Q" => ((time.month0() / 3 + 1).into(), 1),
            "MM" => (time.month().into(), 2),
            "DD" => (time.day().into(), 2),
            "DDD" => (time.ordinal().into(), 3),
            "D" => ((time.weekday().num_days_from_sunday() + 1).into(), 1),
            "ID" => (time.weekday().number_from_monday().into(), 1),
            "W" => (((time.day() - 1) / 7 + 1).into(), 1),
            "WW" => (((time.ordinal() - 1) / 7 + 1).into(), 2),
            "IW" => (time.iso_week().week().into(), 2),
            "J" => (i64::from(time.num_days_from_ce()) + 1_721_425, 1),
            "HH24" => (time.hour().into(), 2),
            "HH" | "HH12" => (hour12.into(), 2),
            "MI" => (time.minute().into(), 2),
            "SS" => (time.second().into(), 2),
            "MS" => ((micros / 1_000).into(), 3),
            "US" => (micros.into(), 6),
            "SSSS" => (time.num_seconds_from_midnight().into(), 1),
            _ => {
                let text = match name {
                    "MONTH" => word(&month.to_uppercase(), 9),
                    "Month" => word(month, 9),
                    "month" => word(&month.to_lowercase(), 9),
                    "MON" => month[..3].to_uppercase(),
                    "Mon" => month[..3].to_owned(),
                    "mon" => month[..3].to_lowercase(),
                    "DAY" => word(&day.to_uppercase(), 9),
                    "Day" => word(day, 9),
                    "day" => word(&day.to_lowercase(), 9),
                    "DY" => day[..3].to_uppercase(),
                    "Dy" => day[..3].to_owned(),
                    "dy" => day[..3].to_lowercase(),
                    "AM" | "PM" => if afternoon { "PM" } else { "AM" }.to_owned(),
                    "am" | "pm" => if afternoon { "pm" } else { "am" }.to_owned(),
                    "A.M." | "P.M." => if afternoon { "P.M." } else { "A.M." }.to_owned(),
                    "a.m." | "p.m." => if afternoon { "p.m." } else { "a.m." }.to_owned(),
                    "TZ" => instant.map(|instant| zone.abbreviation_at(instant)).unwrap_or_default(),
                    "tz" => instant.map(|instant| zone.abbreviation_at(instant).to_lowercase()).unwrap_or_default(),
                    "TZH" => format!("{}{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 3600),
                    "TZM" => format!("{:02}", offset.abs() / 60 % 60),
                    "OF" => {
                        let minutes = offset.abs() / 60 % 60;
                        let hours = format!("{}{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 3600);
                        if minutes == 0 { hours } else { format!("{hours}:{minutes:02}") }
                    }
                    other => other.to_owned(),
                };
                out.push_str(&text);
                continue;
            }
        };
        let (value, width) = number;
        out.push_str(&if fill { format!("{value:0width$}") } else { value.to_string() });
        if let Some(suffix) = ordinal {
            let text = ordinal_suffix(value);
            out.push_str(&if suffix == "TH" { text.to_uppercase() } else { text.to_owned() });
        }
    }
    Ok(out)
}

/// Reads a date and time by a pattern.
fn parse_time(text: &str, format: &str) -> Result<NaiveDateTime> {
    let invalid =
        |what: &str| Error::new(SqlState::INVALID_DATETIME_FORMAT, format!("invalid value \"{text}\" for \"{what}\""));
    let (mut year, mut month, mut day, mut ordinal) = (1i32, 1u32, 1u32, None);
    let (mut hour, mut minute, mut second, mut micros) = (0u32, 0u32, 0u32, 0u32);
    let mut afternoon = None;
    let mut rest = text.trim_start();
    for part in parts(format) {
        let name = match part {
            Part::Literal(character) => {
                if character.is_alphanumeric() {
                    rest = rest.strip_prefix(character).unwrap_or(rest);
                } else {
                    let mut characters = rest.chars();
                    if characters.next().is_some_and(|c| !c.is_alphanumeric()) {
                        rest = characters.as_str();
                    }
                }
                continue;
            }
            Part::Pattern { name, .. } => name,
        };
        rest = rest.trim_start();
        let width = match name {
            "YYYY" => 4,
            "DDD" | "MS" | "YYY" => 3,
            "US" => 6,
            _ => 2,
        };
        let upper = name.to_uppercase();
        if upper.starts_with("MON") {
            let found = MONTHS
                .iter()
                .position(|month| rest.get(..3).is_some_and(|head| head.eq_ignore_ascii_case(&month[..3])));
            month = u32::try_from(found.ok_or_else(|| invalid(name))?).unwrap_or(0) + 1;
            rest = rest.trim_start_matches(char::is_alphabetic);
            continue;
        }
        if matches!(upper.as_str(), "AM" | "PM" | "A.M." | "P.M.") {
            let head = rest.chars().next().map(|c| c.to_ascii_lowercase());
            afternoon = Some(head == Some('p'));
            rest = rest.get(name.len()..).unwrap_or("");
            continue;
        }
        if matches!(upper.as_str(), "DAY" | "DY" | "TZ") {
            rest = rest.trim_start_matches(char::is_alphabetic);
            continue;
        }
        let length = rest.bytes().take(width).take_while(u8::is_ascii_digit).count();
        let digits = &rest[..length];
        let number: u32 = digits.parse().map_err(|_| invalid(name))?;
        rest = &rest[length..];
        let signed = i32::try_from(number).unwrap_or(0);
        match name {
            "YYYY" | "IYYY" => year = signed,
            "YYY" => year = 2000 + signed,
            "YY" => year = if number < 70 { 2000 + signed } else { 1900 + signed },
            "Y" => year = 2020 + signed,
            "MM" => month = number,
            "DD" => day = number,
            "DDD" => ordinal = Some(number),
            "HH24" | "HH" | "HH12" => hour = number,
            "MI" => minute = number,
            "SS" => second = number,
            "MS" => micros = number * 10u32.pow(3 - u32::try_from(length).unwrap_or(3)) * 1_000,
            "US" => micros = number * 10u32.pow(6 - u32::try_from(length).unwrap_or(6)),
            _ => {}
        }
    }
    if let Some(afternoon) = afternoon {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    let out_of_range =
        || Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""));
    let date = match ordinal {
        Some(ordinal) => NaiveDate::from_yo_opt(year, ordinal),
        None => NaiveDate::from_ymd_opt(year, month, day),
    };
    let time = NaiveTime::from_hms_micro_opt(hour, minute, second, micros);
    Ok(date.ok_or_else(out_of_range)?.and_time(time.ok_or_else(out_of_range)?))
}

/// Writes a number by a pattern of `9`, `0`, `.`, `,` and sign marks.
fn format_number(number: &str, format: &str) -> String {
    let fill = !format.to_uppercase().contains("FM");
    let pattern: Vec<char> = format.to_uppercase().replace("FM", "").chars().collect();
    let point = pattern.iter().position(|c| matches!(c, '.' | 'D'));
    let is_digit = |c: &&char| matches!(**c, '9' | '0');
    let whole_places = pattern[..point.unwrap_or(pattern.len())].iter().filter(is_digit).count();
    let fraction_places = point.map_or(0, |point| pattern[point..].iter().filter(is_digit).count());

    let (negative, magnitude) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (whole, fraction) = round(magnitude, fraction_places);
    let negative = negative && (whole.bytes().chain(fraction.bytes()).any(|b| b != b'0'));
    if whole.trim_start_matches('0').len() > whole_places {
        // What does not fit is shown as hash marks.
        return pattern.iter().map(|c| if matches!(c, '9' | '0') { '#' } else { *c }).collect();
    }
    let whole: Vec<char> = format!("{:0>whole_places$}", whole.trim_start_matches('0')).chars().collect();
    let fraction: Vec<char> = fraction.chars().collect();
    let first_zero = pattern.iter().filter(is_digit).position(|c| *c == '0').unwrap_or(usize::MAX);
    let first_significant = whole.iter().position(|c| *c != '0').unwrap_or(whole.len());
    let explicit_sign = pattern.iter().any(|c| matches!(c, 'S'))
        || format.to_uppercase().contains("MI")
        || format.to_uppercase().contains("PR");

    let mut body = String::new();
    let (mut digit, mut place) = (0usize, 0usize);
    let mut started = false;
    let mut at = 0;
    let mut after_point = false;
    while at < pattern.len() {
        let character = pattern[at];
        let pair: String = pattern[at..pattern.len().min(at + 2)].iter().collect();
        at += 1;
        match character {
            '9' | '0' if after_point => {
                body.push(fraction.get(place).copied().unwrap_or('0'));
                place += 1;
            }
            '9' | '0' => {
                let last = digit + 1 == whole_places && point.is_none();
                if digit >= first_significant || digit >= first_zero || last {
                    if !started && !explicit_sign {
                        body.push(if negative { '-' } else { ' ' });
                    }
                    started = true;
                    body.push(whole.get(digit).copied().unwrap_or('0'));
                } else {
                    body.push(' ');
                }
                digit += 1;
            }
            '.' | 'D' => {
                if !started && !explicit_sign {
                    body.push(if negative { '-' } else { ' ' });
                    started = true;
                }
                after_point = true;
                body.push('.');
            }
            ',' | 'G' => body.push(if started { ',' } else { ' ' }),
            'S' => body.push(if negative { '-' } else { '+' }),
            'M' if pair == "MI" => {
                body.push(if negative { '-' } else { ' ' });
                at += 1;
            }
            'P' if pair == "PR" => {
                at += 1;
                let trimmed = body.trim_start().to_owned();
                body = if negative { format!("<{trimmed}>") } else { format!(" {trimmed} ") };
            }
            'L' => body.push('$'),
            other => body.push(other),
        }
    }
    if fill {
        return body;
    }
    let mut trimmed: String = body.chars().filter(|c| *c != ' ').collect();
    if point.is_some() {
        let zeros_kept = pattern[point.unwrap_or(0)..].iter().filter(|c| **c == '0').count();
        let keep = trimmed.find('.').map_or(trimmed.len(), |dot| dot + 1 + zeros_kept);
        while trimmed.len() > keep && trimmed.ends_with('0') {
            trimmed.pop();
        }
    }
    trimmed
}

/// Rounds decimal digits half away from zero.
fn round(magnitude: &str, places: usize) -> (String, String) {
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let mut digits: Vec<u8> =
        whole.bytes().chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(places)).collect();
    let up = fraction.as_bytes().get(places).is_some_and(|digit| *digit >= b'5');
    let mut carry = up;
    for digit in digits.iter_mut().rev() {
        if !carry {
            break;
        }
        carry = *digit == b'9';
        *digit = if carry { b'0' } else { *digit + 1 };
    }
    if carry {
        digits.insert(0, b'1');
    }
    let text = String::from_utf8_lossy(&digits).into_owned();
    let (whole, fraction) = text.split_at(text.len() - places);
    (whole.to_owned(), fraction.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_their_patterns() {
        for (number, format, text) in [
            ("1234.567", "9999.99", " 1234.57"),
            ("-12.3", "999.9", " -12.3"),
            ("485", "999", " 485"),
            ("485", "0999", " 0485"),
            ("1485", "9,999", " 1,485"),
            ("1234567.891", "FM9,999,999.00", "1,234,567.89"),
            ("0.1", "FM9.99", ".1"),
            ("12345", "999", "###"),
            ("-485", "999S", "485-"),
        ] {
            assert_eq!(format_number(number, format), text, "{number} {format}");
        }
    }

    #[test]
    fn dates_are_read_by_pattern() {
        let time = parse_time("05 Dec 2000 14:03:09", "DD Mon YYYY HH24:MI:SS").unwrap();
        assert_eq!(time.to_string(), "2000-12-05 14:03:09");
        assert_eq!(parse_time("20240229", "YYYYMMDD").unwrap().date().to_string(), "2024-02-29");
        assert!(parse_time("2023-02-29", "YYYY-MM-DD").is_err());
    }
}
