//! Intervals: months, days and a time that do not mix.
//!
//! PostgreSQL counts the time in microseconds, Arrow in nanoseconds; what does not fit the latter is out of range.

use arrow::datatypes::IntervalMonthDayNano;

use crate::error::ValueError;
use crate::settings::IntervalStyle;
use crate::sql_state::SqlState;
use crate::text::date_time_decoder::read_clock;
use crate::text::date_time_fields::{Field, FieldKind, split};
use crate::text::date_time_print::{fraction, two};
use crate::text::integer::{self, trim};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The three independent parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) micros: i64,
}

impl Parts {
    /// From Arrow's form, to the nearest microsecond.
    pub(crate) fn from_arrow(value: IntervalMonthDayNano) -> Parts {
        let (quotient, rest) = (value.nanoseconds / 1_000, value.nanoseconds % 1_000);
        let micros = quotient + i64::from(rest >= 500) - i64::from(rest <= -500);
        Parts { months: value.months, days: value.days, micros }
    }

    /// To Arrow's form.
    pub(crate) fn to_arrow(self) -> Result<IntervalMonthDayNano, ValueError> {
        let nanoseconds = self.micros.checked_mul(1_000).ok_or_else(|| ValueError::date_time_range("interval"))?;
        Ok(IntervalMonthDayNano::new(self.months, self.days, nanoseconds))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    /// Years, by how many.
    Years(i32),
}

impl Unit {
    fn parse(word: &str) -> Option<Unit> {
        Some(match word {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" | "microsecond" | "microseconds" => {
                Unit::Microsecond
            }
            "ms" | "msec" | "msecs" | "mseconds" | "msecond" | "millisecon" | "millisecond" | "milliseconds" => {
                Unit::Millisecond
            }
            "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
            "d" | "day" | "days" => Unit::Day,
            "w" | "week" | "weeks" => Unit::Week,
            "mon" | "mons" | "month" | "months" => Unit::Month,
            "y" | "yr" | "yrs" | "year" | "years" => Unit::Years(1),
            "dec" | "decs" | "decade" | "decades" => Unit::Years(10),
            "c" | "cent" | "century" | "centuries" => Unit::Years(100),
            "mil" | "mils" | "millennia" | "millennium" => Unit::Years(1_000),
            _ => return None,
        })
    }
}

/// Sums the parts; every step is checked.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
    /// Units that were given; PostgreSQL takes each once.
    seen: Vec<Unit>,
}

enum Problem {
    Syntax,
    /// One of the fields is too large.
    Range,
    /// The fields together are.
    Total,
}

impl Sum {
    fn parts(&self) -> Result<Parts, Problem> {
        Ok(Parts {
            months: i32::try_from(self.months).map_err(|_| Problem::Total)?,
            days: i32::try_from(self.days).map_err(|_| Problem::Range)?,
            micros: self.micros,
        })
    }

    fn add_micros(&mut self, whole: i64, fraction: f64, unit: i64) -> Result<(), Problem> {
        let exact = fraction * unit as f64;
        let mut extra = exact as i64;
        let rest = exact - extra as f64;
        extra += i64::from(rest > 0.5) - i64::from(rest < -0.5);
        self.micros = whole
            .checked_mul(unit)
            .and_then(|micros| micros.checked_add(extra))
            .and_then(|micros| self.micros.checked_add(micros))
            .ok_or(Problem::Range)?;
        Ok(())
    }

    fn add_days(&mut self, whole: i64, fraction: f64, unit: i64) -> Result<(), Problem> {
        let exact = fraction * unit as f64;
        let extra = exact as i64;
        self.days = whole
            .checked_mul(unit)
            .and_then(|days| days.checked_add(extra))
            .and_then(|days| self.days.checked_add(days))
            .filter(|days| i32::try_from(*days).is_ok())
            .ok_or(Problem::Range)?;
        self.add_micros(0, exact - extra as f64, DAY)
    }

    fn add_months(&mut self, months: i64) -> Result<(), Problem> {
        self.months = self.months.checked_add(months).ok_or(Problem::Range)?;
        Ok(())
    }

    fn add(&mut self, unit: Unit, whole: i64, fraction: f64) -> Result<(), Problem> {
        match unit {
            Unit::Microsecond => self.add_micros(whole, fraction, 1),
            Unit::Millisecond => self.add_micros(whole, fraction, 1_000),
            Unit::Second => self.add_micros(whole, fraction, SECOND),
            Unit::Minute => self.add_micros(whole, fraction, MINUTE),
            Unit::Hour => self.add_micros(whole, fraction, HOUR),
            Unit::Day => self.add_days(whole, fraction, 1),
            Unit::Week => self.add_days(whole, fraction, 7),
            Unit::Month => {
                self.add_months(whole)?;
                self.add_days(0, fraction, 30)
            }
            Unit::Years(scale) => {
                let months = whole.checked_mul(i64::from(scale) * 12).ok_or(Problem::Range)?;
                self.add_months(months)?;
                self.add_months((fraction * f64::from(scale) * 12.0).round_ties_even() as i64)
            }
        }
    }

    fn once(&mut self, unit: Unit) -> Result<(), Problem> {
        if self.seen.contains(&unit) {
            return Err(Problem::Syntax);
        }
        self.seen.push(unit);
        Ok(())
    }

    fn negate(&mut self) -> Result<(), Problem> {
        (self.months, self.days) = (-self.months, -self.days);
        self.micros = self.micros.checked_neg().ok_or(Problem::Range)?;
        Ok(())
    }
}

/// Reads an interval in any of PostgreSQL's spellings.
pub(crate) fn parse(text: &str, style: IntervalStyle) -> Result<Parts, ValueError> {
    let trimmed = trim(text);
    let sum = match trimmed.as_bytes() {
        [b'P', ..] => iso(trimmed),
        _ => words(trimmed, style),
    };
    sum.and_then(|sum| sum.parts()).map_err(|problem| match problem {
        Problem::Syntax => ValueError::date_time_syntax("interval", text),
        Problem::Total => ValueError::date_time_range("interval"),
        Problem::Range => {
            ValueError::new(SqlState::INTERVAL_FIELD_OVERFLOW, format!("interval field value out of range: \"{text}\""))
        }
    })
}

/// `1 year 2 mons -3 days 04:05:06`, read from its end, so that a unit is known when its number comes.
fn words(text: &str, style: IntervalStyle) -> Result<Sum, Problem> {
    let fields = split(text).ok_or(Problem::Syntax)?;
    let mut sum = Sum::default();
    let mut unit: Option<Unit> = None;
    let mut ago = false;
    for field in fields.iter().rev() {
        match field.kind {
            FieldKind::Time => {
                clock(&mut sum, &field.text, false)?;
                unit = Some(Unit::Day);
            }
            FieldKind::Zone if field.text.contains(':') => {
                clock(&mut sum, &field.text[1..], field.text.starts_with('-'))?;
                unit = Some(Unit::Day);
            }
            FieldKind::Zone | FieldKind::Number | FieldKind::Date => number(&mut sum, field, &mut unit)?,
            FieldKind::Word | FieldKind::Special => match field.text.as_str() {
                "ago" if unit.is_none() && sum.seen.is_empty() && !ago => ago = true,
                word => unit = Some(Unit::parse(word).ok_or(Problem::Syntax)?),
            },
        }
    }
    if sum.seen.is_empty() {
        return Err(Problem::Syntax);
    }
    let all_negative = style == IntervalStyle::SqlStandard
        && fields[0].text.starts_with('-')
        && !fields[1..].iter().any(|field| field.text.starts_with(['+', '-']));
    if all_negative {
        let magnitude = |value: i64| if value > 0 { -value } else { value };
        (sum.months, sum.days, sum.micros) = (magnitude(sum.months), magnitude(sum.days), magnitude(sum.micros));
    }
    if ago {
        sum.negate()?;
    }
    Ok(sum)
}

fn clock(sum: &mut Sum, text: &str, negative: bool) -> Result<(), Problem> {
    let clock = read_clock(text).ok_or(Problem::Syntax)?;
    if clock.minute > 59 || clock.second > 60 {
        return Err(Problem::Range);
    }
    for unit in [Unit::Hour, Unit::Minute, Unit::Second, Unit::Millisecond, Unit::Microsecond] {
        sum.once(unit)?;
    }
    let sign = if negative { -1 } else { 1 };
    sum.add_micros(sign * clock.hour, 0.0, HOUR)?;
    sum.add_micros(sign * clock.minute, 0.0, MINUTE)?;
    sum.add_micros(sign * clock.second, 0.0, SECOND)?;
    sum.add_micros(sign * clock.micros, 0.0, 1)
}

fn number(sum: &mut Sum, field: &Field, unit: &mut Option<Unit>) -> Result<(), Problem> {
    let text = field.text.as_str();
    let negative = text.starts_with('-');
    let digits = text.trim_start_matches(['+', '-']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let magnitude: i64 = if end == 0 { 0 } else { digits[..end].parse().map_err(|_| Problem::Range)? };
    let whole = if negative { -magnitude } else { magnitude };
    let rest = &digits[end..];
    if let Some(months) = rest.strip_prefix('-') {
        // SQL's years-months.
        let months: i64 = months.parse().map_err(|_| Problem::Syntax)?;
        if months > 11 {
            return Err(Problem::Range);
        }
        sum.once(Unit::Month)?;
        let total = magnitude.checked_mul(12).and_then(|total| total.checked_add(months)).ok_or(Problem::Range)?;
        *unit = Some(Unit::Month);
        return sum.add_months(if negative { -total } else { total });
    }
    let fraction = fraction_of(rest, negative)?;
    let unit = unit.get_or_insert(Unit::Second);
    sum.once(*unit)?;
    if *unit == Unit::Second && fraction != 0.0 {
        // A fraction has said everything about the smaller units.
        sum.once(Unit::Millisecond)?;
        sum.once(Unit::Microsecond)?;
    }
    sum.add(*unit, whole, fraction)
}

fn fraction_of(text: &str, negative: bool) -> Result<f64, Problem> {
    if text.is_empty() {
        return Ok(0.0);
    }
    let digits = text.strip_prefix('.').ok_or(Problem::Syntax)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::Syntax);
    }
    let value: f64 = format!("0.{digits}0").parse().map_err(|_| Problem::Syntax)?;
    Ok(if negative { -value } else { value })
}

/// `P1Y2M3DT4H5M6S` and `P0001-02-03T04:05:06`.
fn iso(text: &str) -> Result<Sum, Problem> {
    let mut sum = Sum::default();
    let (date, time) = text[1..].split_once('T').map_or((&text[1..], None), |(date, time)| (date, Some(time)));
    if date.is_empty() && time.is_none() {
        return Err(Problem::Syntax);
    }
    iso_half(&mut sum, date, |letter| match letter {
        'Y' => Some(Unit::Years(1)),
        'M' => Some(Unit::Month),
        'W' => Some(Unit::Week),
        'D' => Some(Unit::Day),
        _ => None,
    })?;
    if let Some(time) = time {
        iso_half(&mut sum, time, |letter| match letter {
            'H' => Some(Unit::Hour),
            'M' => Some(Unit::Minute),
            'S' => Some(Unit::Second),
            _ => None,
        })?;
    }
    Ok(sum)
}

fn iso_half(sum: &mut Sum, text: &str, unit: impl Fn(char) -> Option<Unit>) -> Result<(), Problem> {
    if !text.is_empty() && !text.contains(|c: char| c.is_ascii_alphabetic()) {
        return iso_alternative(sum, text);
    }
    let mut rest = text;
    while !rest.is_empty() {
        let (negative, whole, fraction, after) = iso_number(rest)?;
        let letter = after.chars().next().ok_or(Problem::Syntax)?;
        let unit = unit(letter).ok_or(Problem::Syntax)?;
        sum.add(unit, if negative { -whole } else { whole }, fraction)?;
        rest = &after[1..];
    }
    Ok(())
}

fn iso_number(text: &str) -> Result<(bool, i64, f64, &str), Problem> {
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (number, after) = digits.split_at(end);
    if !number.contains('.') {
        return Ok((negative, number.parse().map_err(|_| Problem::Syntax)?, 0.0, after));
    }
    // PostgreSQL takes the fraction from the binary number, with its error: 17.9 is 17 and 0.8999999999999986.
    let value: f64 = number.parse().map_err(|_| Problem::Syntax)?;
    if value >= 9e18 {
        return Err(Problem::Range);
    }
    let fraction = value - value.trunc();
    Ok((negative, value.trunc() as i64, if negative { -fraction } else { fraction }, after))
}

/// The alternative form: `0001-02-03` or `04:05:06`.
fn iso_alternative(sum: &mut Sum, text: &str) -> Result<(), Problem> {
    if text.contains(':') {
        return clock(sum, text, false);
    }
    let mut parts = text.split('-');
    for unit in [Unit::Years(1), Unit::Month, Unit::Day] {
        if let Some(part) = parts.next() {
            sum.add(unit, part.parse().map_err(|_| Problem::Syntax)?, 0.0)?;
        }
    }
    if parts.next().is_some() { Err(Problem::Syntax) } else { Ok(()) }
}

/// The parts as people count them; all have the sign of what they were divided from.
struct Fields {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    micros: i64,
}

impl Fields {
    fn new(parts: Parts) -> Fields {
        Fields {
            years: i64::from(parts.months / 12),
            months: i64::from(parts.months % 12),
            days: i64::from(parts.days),
            hours: parts.micros / HOUR,
            minutes: parts.micros / MINUTE % 60,
            seconds: parts.micros / SECOND % 60,
            micros: parts.micros % SECOND,
        }
    }

    /// Appends `05.5`, with or without the leading zero, unsigned.
    fn write_seconds(&self, out: &mut Vec<u8>, padded: bool) {
        let seconds = self.seconds.unsigned_abs() as u32;
        if padded {
            two(out, seconds);
        } else {
            integer::write(out, seconds);
        }
        fraction(out, self.micros.unsigned_abs() as u32);
    }
}

/// Appends an interval in the session's style.
pub(crate) fn write(out: &mut Vec<u8>, parts: Parts, style: IntervalStyle) {
    let fields = Fields::new(parts);
    match style {
        IntervalStyle::Postgres => write_postgres(out, parts, &fields),
        IntervalStyle::PostgresVerbose => write_verbose(out, parts, &fields),
        IntervalStyle::Iso8601 => write_iso(out, parts, &fields),
        IntervalStyle::SqlStandard => write_sql(out, parts, &fields),
    }
}

fn write_postgres(out: &mut Vec<u8>, parts: Parts, fields: &Fields) {
    let start = out.len();
    // After a negative part a positive one shows its sign.
    let mut after_negative = false;
    for (value, unit) in [(fields.years, &b" year"[..]), (fields.months, b" mon"), (fields.days, b" day")] {
        if value == 0 {
            continue;
        }
        if out.len() > start {
            out.push(b' ');
        }
        if after_negative && value > 0 {
            out.push(b'+');
        }
        integer::write(out, value);
        out.extend_from_slice(unit);
        if value != 1 {
            out.push(b's');
        }
        after_negative = value < 0;
    }
    let empty = out.len() == start;
    if !empty && parts.micros == 0 {
        return;
    }
    if !empty {
        out.push(b' ');
    }
    if parts.micros < 0 {
        out.push(b'-');
    } else if after_negative {
        out.push(b'+');
    }
    write_clock(out, fields, true);
}

fn write_clock(out: &mut Vec<u8>, fields: &Fields, padded: bool) {
    let hours = fields.hours.unsigned_abs();
    if padded && hours < 10 {
        out.push(b'0');
    }
    integer::write(out, hours);
    out.push(b':');
    two(out, fields.minutes.unsigned_abs() as u32);
    out.push(b':');
    fields.write_seconds(out, true);
}

fn write_verbose(out: &mut Vec<u8>, parts: Parts, fields: &Fields) {
    out.push(b'@');
    let mut zero = true;
    let mut before = false;
    for (value, unit) in [
        (fields.years, &b" year"[..]),
        (fields.months, b" mon"),
        (fields.days, b" day"),
        (fields.hours, b" hour"),
        (fields.minutes, b" min"),
    ] {
        if value == 0 {
            continue;
        }
        // The first part decides whether the whole is "ago".
        if zero {
            before = value < 0;
        }
        let value = if before { -value } else { value };
        out.push(b' ');
        integer::write(out, value);
        out.extend_from_slice(unit);
        if value != 1 {
            out.push(b's');
        }
        zero = false;
    }
    if parts.micros % MINUTE != 0 {
        let negative = parts.micros < 0;
        out.push(b' ');
        if negative && zero {
            before = true;
        } else if negative != before {
            out.push(b'-');
        }
        fields.write_seconds(out, false);
        out.extend_from_slice(b" sec");
        if fields.seconds.abs() != 1 || fields.micros != 0 {
            out.push(b's');
        }
        zero = false;
    }
    if zero {
        out.extend_from_slice(b" 0");
    }
    if before {
        out.extend_from_slice(b" ago");
    }
}

fn write_iso(out: &mut Vec<u8>, parts: Parts, fields: &Fields) {
    if parts == Parts::default() {
        return out.extend_from_slice(b"PT0S");
    }
    let part = |out: &mut Vec<u8>, value: i64, letter: u8| {
        if value != 0 {
            integer::write(out, value);
            out.push(letter);
        }
    };
    out.push(b'P');
    part(out, fields.years, b'Y');
    part(out, fields.months, b'M');
    part(out, fields.days, b'D');
    if parts.micros != 0 {
        out.push(b'T');
    }
    part(out, fields.hours, b'H');
    part(out, fields.minutes, b'M');
    if fields.seconds != 0 || fields.micros != 0 {
        if parts.micros < 0 {
            out.push(b'-');
        }
        fields.write_seconds(out, false);
        out.push(b'S');
    }
}

fn write_sql(out: &mut Vec<u8>, parts: Parts, fields: &Fields) {
    let negative = parts.months < 0 || parts.days < 0 || parts.micros < 0;
    let positive = parts.months > 0 || parts.days > 0 || parts.micros > 0;
    if !negative && !positive {
        return out.push(b'0');
    }
    let both_halves = parts.months != 0 && (parts.days != 0 || parts.micros != 0);
    if negative && positive || both_halves {
        let sign = |negative: bool| if negative { b'-' } else { b'+' };
        out.push(sign(parts.months < 0));
        integer::write(out, fields.years.abs());
        out.push(b'-');
        integer::write(out, fields.months.abs());
        out.extend_from_slice(&[b' ', sign(parts.days < 0)]);
        integer::write(out, fields.days.abs());
        out.extend_from_slice(&[b' ', sign(parts.micros < 0)]);
        return write_clock(out, fields, false);
    }
    if negative {
        out.push(b'-');
    }
    if parts.months != 0 {
        integer::write(out, fields.years.abs());
        out.push(b'-');
        return integer::write(out, fields.months.abs());
    }
    if parts.days != 0 {
        integer::write(out, fields.days.abs());
        out.push(b' ');
    }
    write_clock(out, fields, false);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, style: IntervalStyle) -> Result<String, ValueError> {
        let mut out = Vec::new();
        write(&mut out, parse(text, style)?, style);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn spellings() {
        for (text, expected) in [
            ("1 day 2:03:04", "1 day 02:03:04"),
            ("1 year 2 mons -3 days", "1 year 2 mons -3 days"),
            ("-1 year 2 days", "-1 years +2 days"),
            ("-1 day 1 hour", "-1 days +01:00:00"),
            ("P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("PT-6.5S", "-00:00:06.5"),
            ("P1.5D", "1 day 12:00:00"),
            ("1-2", "1 year 2 mons"),
            ("-1-2", "-1 years -2 mons"),
            ("1-2 3 4:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("@ 1 day ago", "-1 days"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 years", "1 year 6 mons"),
            ("1.5 weeks", "10 days 12:00:00"),
            ("1.5 days", "1 day 12:00:00"),
            ("0.5 hours", "00:30:00"),
            ("1.5", "00:00:01.5"),
            ("1000 ms", "00:00:01"),
            ("1h30m", "01:30:00"),
            ("100:00:00", "100:00:00"),
            ("-4:05", "-04:05:00"),
            ("1 decade 1 century", "110 years"),
            ("0", "00:00:00"),
        ] {
            assert_eq!(shown(text, IntervalStyle::Postgres).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "x", "1 day 1 day", "1 fortnight", "P", "PX", "ago"] {
            let error = shown(text, IntervalStyle::Postgres).unwrap_err();
            assert_eq!(error.message, format!("invalid input syntax for type interval: \"{text}\""));
        }
        assert!(shown("3000000000 days", IntervalStyle::Postgres).is_err());
    }

    #[test]
    fn styles() {
        let text = "1 year 2 mons 3 days 04:05:06.7";
        for (style, expected) in [
            (IntervalStyle::PostgresVerbose, "@ 1 year 2 mons 3 days 4 hours 5 mins 6.7 secs"),
            (IntervalStyle::Iso8601, "P1Y2M3DT4H5M6.7S"),
            (IntervalStyle::SqlStandard, "+1-2 +3 +4:05:06.7"),
        ] {
            assert_eq!(shown(text, style).as_deref(), Ok(expected));
        }
        assert_eq!(shown("-1 day", IntervalStyle::PostgresVerbose).as_deref(), Ok("@ 1 day ago"));
        assert_eq!(shown("0", IntervalStyle::PostgresVerbose).as_deref(), Ok("@ 0"));
        assert_eq!(shown("0", IntervalStyle::Iso8601).as_deref(), Ok("PT0S"));
        assert_eq!(shown("0", IntervalStyle::SqlStandard).as_deref(), Ok("0"));
        assert_eq!(shown("-1 2:00", IntervalStyle::SqlStandard).as_deref(), Ok("-1 2:00:00"));
    }
}
