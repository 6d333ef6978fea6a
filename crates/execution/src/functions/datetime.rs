//! Dates, times and intervals: what DataFusion lacks.

use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use colonnade_types::SqlState;

use super::function::{Call, Function};
use super::value::Value;
use crate::error::{Error, Result};

const MICROS_PER_DAY: i64 = 86_400_000_000;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::immutable("age(timestamp, timestamp) -> interval", |_, arguments| age(&arguments[0], &arguments[1])),
        Function::stable("age(timestamptz, timestamptz) -> interval", |call, arguments| {
            age(&local(call, &arguments[0]), &local(call, &arguments[1]))
        }),
        Function::stable("age(timestamptz) -> interval", |call, arguments| {
            age(&today(call), &local(call, &arguments[0]))
        }),
        Function::stable("age(timestamp) -> interval", |call, arguments| age(&today(call), &arguments[0])),
        // Every xid is a row's distance from nothing: there is no wrap-around to grow old towards.
        Function::immutable("justify_days(interval) -> interval", |_, arguments| justify(&arguments[0], false, true)),
        Function::immutable("justify_hours(interval) -> interval", |_, arguments| justify(&arguments[0], true, false)),
        Function::immutable("justify_interval(interval) -> interval", |_, arguments| {
            justify(&arguments[0], true, true)
        }),
        Function::immutable("isfinite(timestamp) -> boolean", |_, arguments| Ok(finite(&arguments[0]).into())),
        Function::immutable("isfinite(timestamptz) -> boolean", |_, arguments| Ok(finite(&arguments[0]).into())),
        Function::immutable("isfinite(date) -> boolean", |_, arguments| {
            Ok((!matches!(arguments[0], Value::Date(i32::MAX | i32::MIN))).into())
        }),
        Function::immutable(
            "make_timestamp(integer, integer, integer, integer, integer, double precision) -> timestamp",
            |_, arguments| make_timestamp(arguments),
        ),
        Function::immutable("timezone(text, timestamptz) -> timestamp", |_, arguments| {
            let zone = zone(arguments[0].text())?;
            let Value::Timestamp(instant) = arguments[1] else { return Ok(Value::Null) };
            Ok(Value::Timestamp(instant + i64::from(zone.offset_at(instant)) * 1_000_000))
        }),
        Function::immutable("timezone(text, timestamp) -> timestamptz", |_, arguments| {
            let zone = zone(arguments[0].text())?;
            let Value::Timestamp(local) = arguments[1] else { return Ok(Value::Null) };
            Ok(Value::Timestamp(local - i64::from(zone.offset_of_local(local)) * 1_000_000))
        }),
    ]
}

fn zone(name: &str) -> Result<colonnade_types::TimeZone> {
    colonnade_types::TimeZone::parse(name)
        .ok_or_else(|| Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized")))
}

/// The local time of an instant in the session's time zone.
pub(super) fn local(call: &Call<'_>, value: &Value) -> Value {
    match value {
        Value::Timestamp(instant) if finite(value) => {
            let offset = call.statement.settings.display().time_zone.offset_at(*instant);
            Value::Timestamp(instant + i64::from(offset) * 1_000_000)
        }
        other => other.clone(),
    }
}

fn today(call: &Call<'_>) -> Value {
    match local(call, &Value::Timestamp(call.statement.transaction_start)) {
        Value::Timestamp(micros) => Value::Timestamp(micros - micros.rem_euclid(MICROS_PER_DAY)),
        other => other,
    }
}

fn finite(value: &Value) -> bool {
    !matches!(value, Value::Timestamp(i64::MAX | i64::MIN))
}

/// The calendar time of a local timestamp.
pub(super) fn calendar(value: &Value) -> Result<NaiveDateTime> {
    let Value::Timestamp(micros) = value else {
        return Err(Error::internal("not a timestamp"));
    };
    DateTime::from_timestamp_micros(*micros)
        .map(|time| time.naive_utc())
        .ok_or_else(|| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range"))
}

/// The difference in years, months and days as people count it.
fn age(later: &Value, earlier: &Value) -> Result<Value> {
    if !finite(later) || !finite(earlier) {
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"));
    }
    let (a, b) = (calendar(later)?, calendar(earlier)?);
    let (from, to, sign) = if a >= b { (b, a, 1) } else { (a, b, -1) };
    let mut months = (to.year() - from.year()) * 12 + i32::try_from(to.month()).unwrap_or(0)
        - i32::try_from(from.month()).unwrap_or(0);
    let mut days = i64::from(to.day()) - i64::from(from.day());
    let micros = |time: NaiveDateTime| {
        i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000)
    };
    let mut time = micros(to) - micros(from);
    if time < 0 {
        time += MICROS_PER_DAY;
        days -= 1;
    }
    while days < 0 {
        // The days of the month that the earlier time is in, as PostgreSQL takes them.
        days += i64::from(days_in_month(if sign > 0 { from } else { to }));
        months -= 1;
    }
    Ok(Value::Interval(IntervalMonthDayNano::new(
        months * sign,
        i32::try_from(days).unwrap_or(0) * sign,
        time * 1_000 * i64::from(sign),
    )))
}

fn days_in_month(time: NaiveDateTime) -> u32 {
    let (year, month) = (time.year(), time.month());
    let next =
        if month == 12 { NaiveDate::from_ymd_opt(year + 1, 1, 1) } else { NaiveDate::from_ymd_opt(year, month + 1, 1) };
    next.and_then(|day| day.pred_opt()).map_or(30, |day| day.day())
}

/// Moves whole days out of the hours, and whole months out of the days, so that all signs agree.
fn justify(value: &Value, hours: bool, days: bool) -> Result<Value> {
    const NANOS_PER_DAY: i64 = MICROS_PER_DAY * 1_000;
    let Value::Interval(interval) = value else {
        return Ok(Value::Null);
    };
    let overflow = || Error::new(SqlState::INTERVAL_FIELD_OVERFLOW, "interval out of range");
    let (mut month, mut day, mut nanos) = (i64::from(interval.months), i64::from(interval.days), interval.nanoseconds);
    if hours {
        day += nanos / NANOS_PER_DAY;
        nanos %= NANOS_PER_DAY;
    }
    if days {
        month += day / 30;
        day %= 30;
    }
    if days && month > 0 && (day < 0 || day == 0 && hours && nanos < 0) {
        day += 30;
        month -= 1;
    } else if days && month < 0 && (day > 0 || day == 0 && hours && nanos > 0) {
        day -= 30;
        month += 1;
    }
    if hours && day > 0 && nanos < 0 {
        nanos += NANOS_PER_DAY;
        day -= 1;
    } else if hours && day < 0 && nanos > 0 {
        nanos -= NANOS_PER_DAY;
        day += 1;
    }
    Ok(Value::Interval(IntervalMonthDayNano::new(
        i32::try_from(month).map_err(|_| overflow())?,
        i32::try_from(day).map_err(|_| overflow())?,
        nanos,
    )))
}

fn make_timestamp(arguments: &[Value]) -> Result<Value> {
    let invalid = || Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date/time field value out of range");
    let field = |index: usize| u32::try_from(arguments[index].int()).map_err(|_| invalid());
    let year = i32::try_from(arguments[0].int()).map_err(|_| invalid())?;
    let date = NaiveDate::from_ymd_opt(year, field(1)?, field(2)?).ok_or_else(invalid)?;
    let seconds = arguments[5].float();
    if !(0.0..=60.0).contains(&seconds) {
        return Err(invalid());
    }
    let time = date.and_hms_opt(field(3)?, field(4)?, 0).ok_or_else(invalid)?;
    #[expect(clippy::cast_possible_truncation, reason = "at most sixty million")]
    let micros = (seconds * 1e6).round() as i64;
    Ok(Value::Timestamp(time.and_utc().timestamp_micros() + micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(text: &str) -> Value {
        let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").expect(text);
        Value::Timestamp(time.and_utc().timestamp_micros())
    }

    #[test]
    fn age_counts_years_months_and_days() {
        let cases = [
            ("2001-04-10 00:00:00", "1957-06-13 00:00:00", (525, 27, 0)),
            ("2024-03-01 00:00:00", "2024-02-01 12:00:00", (0, 28, 43_200_000_000_000)),
            ("1957-06-13 00:00:00", "2001-04-10 00:00:00", (-525, -27, 0)),
        ];
        for (later, earlier, (months, days, nanos)) in cases {
            let expected = Value::Interval(IntervalMonthDayNano::new(months, days, nanos));
            assert_eq!(age(&timestamp(later), &timestamp(earlier)).unwrap(), expected, "{later} {earlier}");
        }
    }

    #[test]
    fn justify_interval_agrees_on_signs() {
        let value = Value::Interval(IntervalMonthDayNano::new(1, 0, -3_600_000_000_000));
        let expected = Value::Interval(IntervalMonthDayNano::new(0, 29, 82_800_000_000_000));
        assert_eq!(justify(&value, true, true).unwrap(), expected);
    }
}
