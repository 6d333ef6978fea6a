//! Reads dates, times and timestamps in all the spellings that PostgreSQL takes.
//!
//! The spelling that machines write (`2024-05-06 07:08:09.123456+02`) is read directly; everything else goes through
//! fields, which are understood one after the other, each in the light of what is known already.

use crate::calendar::{EPOCH_JULIAN_DAY, MICROS_PER_DAY, days_from_date, days_of_month};
use crate::error::ValueError;
use crate::settings::DisplaySettings;
use crate::sql_state::SqlState;
use crate::text::date_time_decoder::{Local, Moment, Problem, Zone, decode, decode_as};

/// Days that PostgreSQL's date reaches: 4714-11-24 BC to 5874897-12-31.
const DATE_MIN: i64 = -EPOCH_JULIAN_DAY;
const DATE_MAX: i64 = 2_145_042_905;
/// Microseconds of 4714-11-24 00:00:00 BC, the first timestamp.
const TIMESTAMP_MIN: i64 = -EPOCH_JULIAN_DAY * MICROS_PER_DAY;

impl Problem {
    fn error(self, type_name: &str, text: &str) -> ValueError {
        match self {
            Problem::Syntax => ValueError::date_time_syntax(type_name, text),
            Problem::Field => ValueError::date_time_field(text),
            Problem::Displacement => ValueError::new(
                SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
                format!("time zone displacement out of range: \"{text}\""),
            ),
            Problem::UnknownZone(zone) => {
                ValueError::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{zone}\" not recognized"))
            }
        }
    }
}

/// Reads a `date` as days since 1970-01-01.
pub(crate) fn parse_date(text: &str, settings: &DisplaySettings) -> Result<i32, ValueError> {
    if let Some((days, 10)) = iso_date(text.as_bytes()).filter(|_| text.len() == 10) {
        return Ok(days as i32);
    }
    let out_of_range = || ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date out of range: \"{text}\""));
    match decode(text, settings).map_err(|problem| problem.error("date", text))? {
        Moment::Infinity => Ok(i32::MAX),
        Moment::MinusInfinity => Ok(i32::MIN),
        Moment::Epoch => Ok(0),
        Moment::Local(local) => {
            let days = local.days.ok_or_else(|| ValueError::date_time_syntax("date", text))?;
            check_date(days).ok_or_else(out_of_range)
        }
    }
}

/// A day that PostgreSQL's date holds.
pub(crate) fn check_date(days: i64) -> Option<i32> {
    i32::try_from(days).ok().filter(|_| (DATE_MIN..=DATE_MAX).contains(&days))
}

/// A microsecond that a timestamp holds; the largest and smallest integers mean infinity.
pub(crate) fn check_timestamp(micros: i64) -> Option<i64> {
    (TIMESTAMP_MIN..i64::MAX).contains(&micros).then_some(micros)
}

/// Reads a `timestamp` (`zoned` false) or `timestamptz` as microseconds since 1970-01-01.
pub(crate) fn parse_timestamp(text: &str, zoned: bool, settings: &DisplaySettings) -> Result<i64, ValueError> {
    let type_name = if zoned { "timestamp with time zone" } else { "timestamp" };
    let moment = match iso_timestamp(text.as_bytes()) {
        Some(local) => Moment::Local(local),
        None => decode(text, settings).map_err(|problem| problem.error(type_name, text))?,
    };
    let local = match moment {
        Moment::Infinity => return Ok(i64::MAX),
        Moment::MinusInfinity => return Ok(i64::MIN),
        Moment::Epoch => return Ok(0),
        Moment::Local(local) => local,
    };
    let out_of_range =
        || ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("timestamp out of range: \"{text}\""));
    let days = local.days.ok_or_else(|| ValueError::date_time_syntax(type_name, text))?;
    let micros =
        days.checked_mul(MICROS_PER_DAY).and_then(|day| day.checked_add(local.time)).ok_or_else(out_of_range)?;
    if !zoned {
        return check_timestamp(micros).ok_or_else(out_of_range);
    }
    let offset = match local.zone {
        Some(Zone::Offset(seconds)) => seconds,
        Some(Zone::Named(zone)) => zone.offset_of_local(micros),
        None => settings.time_zone.offset_of_local(micros),
    };
    micros.checked_sub(i64::from(offset) * 1_000_000).and_then(check_timestamp).ok_or_else(out_of_range)
}

/// Reads a `time` as microseconds since midnight.
pub(crate) fn parse_time(text: &str, settings: &DisplaySettings) -> Result<i64, ValueError> {
    if let Some((micros, used)) = iso_time(text.as_bytes())
        && used == text.len()
    {
        return Ok(micros);
    }
    match decode_as(text, settings, true).map_err(|problem| problem.error("time", text))? {
        Moment::Local(local) if local.has_time => {
            // A zone's name says nothing without a day.
            if local.days.is_none() && matches!(local.zone, Some(Zone::Named(zone)) if !zone.is_fixed()) {
                return Err(ValueError::date_time_syntax("time", text));
            }
            Ok(local.time)
        }
        _ => Err(ValueError::date_time_syntax("time", text)),
    }
}

fn two_digits(bytes: &[u8], at: usize) -> Option<u32> {
    match bytes.get(at..at + 2)? {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u32::from(a - b'0') * 10 + u32::from(b - b'0')),
        _ => None,
    }
}

/// `YYYY-MM-DD` at the start: days and bytes used.
fn iso_date(bytes: &[u8]) -> Option<(i64, usize)> {
    let year = i64::from(two_digits(bytes, 0)? * 100 + two_digits(bytes, 2)?);
    if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    let (month, day) = (two_digits(bytes, 5)?, two_digits(bytes, 8)?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    Some((days_from_date(year, month, day), 10))
}

/// `HH:MM:SS` with at most six digits of fraction: microseconds and bytes used. Leaves odd values to the full reader.
fn iso_time(bytes: &[u8]) -> Option<(i64, usize)> {
    let (hour, minute, second) = (two_digits(bytes, 0)?, two_digits(bytes, 3)?, two_digits(bytes, 6)?);
    if bytes[2] != b':' || bytes[5] != b':' || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = (i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)) * 1_000_000;
    let mut used = 8;
    if bytes.get(8) == Some(&b'.') {
        let digits = bytes[9..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 6 {
            return None;
        }
        let fraction = bytes[9..9 + digits].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        micros += fraction * 10i64.pow(6 - digits as u32);
        used += 1 + digits;
    }
    Some((micros, used))
}

/// A whole ISO 8601 timestamp with a numeric offset, `Z` or neither.
fn iso_timestamp(bytes: &[u8]) -> Option<Local> {
    let (days, _) = iso_date(bytes)?;
    let local = |time, has_time, zone| Some(Local { days: Some(days), time, has_time, zone });
    let rest = match &bytes[10..] {
        [] => return local(0, false, None),
        [b' ' | b'T', rest @ ..] => rest,
        _ => return None,
    };
    let (time, used) = iso_time(rest)?;
    let zone = match &rest[used..] {
        [] => None,
        [b'Z'] => Some(Zone::Offset(0)),
        [sign @ (b'+' | b'-'), offset @ ..] => {
            let hours = two_digits(offset, 0)?;
            let minutes = match offset.len() {
                2 => 0,
                5 if offset[2] == b':' => two_digits(offset, 3)?,
                _ => return None,
            };
            if hours > 15 || minutes > 59 {
                return None;
            }
            let seconds = (hours * 3600 + minutes * 60).cast_signed();
            Some(Zone::Offset(if *sign == b'-' { -seconds } else { seconds }))
        }
        _ => return None,
    };
    local(time, true, zone)
}

#[cfg(test)]
#[path = "date_time_tests.rs"]
mod tests;
