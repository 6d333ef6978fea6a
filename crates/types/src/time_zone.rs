//! Time zones: the IANA database and fixed offsets, without any clock.
//!
//! Instants and local times are microseconds, the former since 1970-01-01 00:00:00 UTC, the latter since that local time.
//! Beyond the last year for which the database lists transitions, a year with the same calendar stands in, because the
//! rules in force repeat for ever.

use std::fmt;

use chrono::{DateTime, Offset, TimeZone as _};
use chrono_tz::Tz;

use crate::calendar::{MICROS_PER_DAY, date_from_days, days_from_date};

/// A session's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeZone(Zone);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Zone {
    /// Seconds east of Greenwich.
    Fixed(i32),
    Named(Tz),
}

const MICROS: i64 = 1_000_000;
/// The year from which transitions are looked up in a stand-in year; the database goes on to 2100.
const FIRST_REPEATED_YEAR: i64 = 2090;
/// First of 28 years, after all known changes of rules and without a skipped leap year, that show every calendar.
const STAND_IN_YEAR: i64 = 2050;

impl TimeZone {
    /// Coordinated universal time.
    pub const UTC: TimeZone = TimeZone(Zone::Named(Tz::UTC));

    /// A zone at a fixed distance from Greenwich, in seconds to the east.
    #[must_use]
    pub fn fixed(seconds_east: i32) -> TimeZone {
        TimeZone(Zone::Fixed(seconds_east))
    }

    /// Reads a `TimeZone` setting: an IANA name (case matters not), a number of hours east of Greenwich (`+02`, `-3.5`), or
    /// a POSIX offset, whose sign is the other way round (`UTC+2`, `<+02>-02`).
    #[must_use]
    pub fn parse(text: &str) -> Option<TimeZone> {
        let text = text.trim();
        if let Some(tz) = TimeZone::named(text) {
            return Some(tz);
        }
        if let Some(hours) = parse_hours(text) {
            return (hours.abs() <= 167.0).then(|| TimeZone::fixed((hours * 3600.0).round() as i32));
        }
        posix(text)
    }

    /// An IANA zone by name.
    #[must_use]
    pub fn named(name: &str) -> Option<TimeZone> {
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        name.parse()
            .ok()
            .or_else(|| chrono_tz::TZ_VARIANTS.iter().find(|tz| tz.name().eq_ignore_ascii_case(name)).copied())
            .map(|tz| TimeZone(Zone::Named(tz)))
    }

    /// Whether local time is universal time, always.
    #[must_use]
    pub fn is_utc(&self) -> bool {
        matches!(self.0, Zone::Named(Tz::UTC | Tz::Etc__UTC | Tz::Zulu | Tz::UCT | Tz::Universal) | Zone::Fixed(0))
    }

    /// Whether the distance from Greenwich never changes.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self.0, Zone::Fixed(_)) || self.is_utc()
    }

    /// Seconds east of Greenwich at an instant.
    #[must_use]
    pub fn offset_at(&self, instant_micros: i64) -> i32 {
        match self.0 {
            Zone::Fixed(seconds) => seconds,
            Zone::Named(tz) => offset(tz, instant_micros).map_or(0, |offset| offset.fix().local_minus_utc()),
        }
    }

    /// The zone's abbreviation at an instant, such as `CEST`.
    #[must_use]
    pub fn abbreviation_at(&self, instant_micros: i64) -> String {
        match self.0 {
            Zone::Fixed(seconds) => short_offset(seconds),
            Zone::Named(tz) => offset(tz, instant_micros).map_or_else(String::new, |offset| offset.to_string()),
        }
    }

    /// The offset that holds at a local time, in seconds east of Greenwich. In the gap of a spring change it is the one
    /// from before; in the doubled hour of an autumn change the one from after, as in PostgreSQL.
    #[must_use]
    pub fn offset_of_local(&self, local_micros: i64) -> i32 {
        if let Zone::Fixed(seconds) = self.0 {
            return seconds;
        }
        let before = self.offset_at(local_micros.saturating_sub(MICROS_PER_DAY));
        let after = self.offset_at(local_micros.saturating_add(MICROS_PER_DAY));
        if before == after {
            return before;
        }
        let holds = |offset: i32| self.offset_at(local_micros.saturating_sub(i64::from(offset) * MICROS)) == offset;
        if holds(after) { after } else { before }
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        TimeZone::UTC
    }
}

/// Writes the zone as SHOW does.
impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Zone::Named(tz) => f.write_str(tz.name()),
            Zone::Fixed(seconds) => write!(f, "<{}>{}", short_offset(seconds), short_offset(-seconds)),
        }
    }
}

/// The database's entry for an instant.
fn offset(tz: Tz, instant_micros: i64) -> Option<<Tz as chrono::TimeZone>::Offset> {
    let instant = stand_in(instant_micros);
    let utc = DateTime::from_timestamp(instant.div_euclid(MICROS), 0)?.naive_utc();
    Some(tz.offset_from_utc_datetime(&utc))
}

/// Moves an instant that lies beyond the database into a year with the same calendar.
fn stand_in(instant_micros: i64) -> i64 {
    let days = instant_micros.div_euclid(MICROS_PER_DAY);
    // The first days that can need it; saves the calendar on every sensible date.
    if (-60_000_000..43_800).contains(&days) {
        return instant_micros;
    }
    let (year, _, _) = date_from_days(days);
    if year < 0 {
        // Long before any rule: any early year has the same local mean time.
        return -60_000 * MICROS_PER_DAY * 2;
    }
    if year < FIRST_REPEATED_YEAR {
        return instant_micros;
    }
    let first = days_from_date(year, 1, 1);
    let length = days_from_date(year + 1, 1, 1) - first;
    let same = (STAND_IN_YEAR..STAND_IN_YEAR + 28).map(|candidate| (candidate, days_from_date(candidate, 1, 1))).find(
        |&(candidate, start)| {
            (start - first).rem_euclid(7) == 0 && days_from_date(candidate + 1, 1, 1) - start == length
        },
    );
    match same {
        Some((_, start)) => instant_micros - (first - start) * MICROS_PER_DAY,
        None => instant_micros,
    }
}

/// `+02`, `-03:30`, `+00:53:28`.
pub(crate) fn short_offset(seconds_east: i32) -> String {
    let mut out = Vec::new();
    write_offset(&mut out, seconds_east);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends an offset as PostgreSQL prints it: minutes and seconds only where there are any.
pub(crate) fn write_offset(out: &mut Vec<u8>, seconds_east: i32) {
    let seconds = seconds_east.unsigned_abs();
    out.push(if seconds_east < 0 { b'-' } else { b'+' });
    let mut two = |n: u32| out.extend_from_slice(&[b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8]);
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    two(hours);
    if minutes != 0 || rest != 0 {
        out.push(b':');
        out.extend_from_slice(&[b'0' + (minutes / 10) as u8, b'0' + (minutes % 10) as u8]);
    }
    if rest != 0 {
        out.push(b':');
        out.extend_from_slice(&[b'0' + (rest / 10) as u8, b'0' + (rest % 10) as u8]);
    }
}

fn parse_hours(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    text.parse().ok()
}

/// A POSIX zone without rules: a name of letters (or anything between angle brackets, or nothing), then hours[:mm[:ss]] west.
fn posix(text: &str) -> Option<TimeZone> {
    let rest = match text.strip_prefix('<') {
        Some(quoted) => &quoted[quoted.find('>')? + 1..],
        None => text.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    let (sign, digits) = match rest.as_bytes().first()? {
        b'-' => (1, &rest[1..]),
        b'+' => (-1, &rest[1..]),
        b'0'..=b'9' => (-1, rest),
        _ => return None,
    };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in digits.split(':') {
        if part.is_empty() || part.len() > 3 || unit == 0 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let value: i32 = part.parse().ok()?;
        if value > if unit == 3600 { 167 } else { 59 } {
            return None;
        }
        seconds += value * unit;
        unit /= 60;
    }
    Some(TimeZone::fixed(sign * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(year: i64, month: u32, day: u32, hour: i64) -> i64 {
        days_from_date(year, month, day) * MICROS_PER_DAY + hour * 3600 * MICROS
    }

    #[test]
    fn names_numbers_and_posix_offsets() {
        for (text, shown) in [
            ("Europe/Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("utc", "UTC"),
            ("+02", "<+02>-02"),
            ("-3.5", "<-03:30>+03:30"),
            ("UTC+2", "<-02>+02"),
            ("+02:00", "<-02>+02"),
            ("<+02>-02", "<+02>-02"),
        ] {
            assert_eq!(TimeZone::parse(text).map(|zone| zone.to_string()).as_deref(), Some(shown), "{text}");
        }
        for text in ["", "Mars/Olympus", "+", "1:2:3:4", "200"] {
            assert_eq!(TimeZone::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_rules_repeat_for_ever() {
        let berlin = TimeZone::parse("Europe/Berlin").unwrap();
        for year in [2025, 2095, 2105, 2400, 9999, 290_000] {
            assert_eq!(berlin.offset_at(micros(year, 1, 15, 0)), 3600, "{year}");
            assert_eq!(berlin.offset_at(micros(year, 7, 15, 0)), 7200, "{year}");
        }
        assert_eq!(berlin.offset_at(micros(1800, 1, 1, 0)), 3208);
        assert_eq!(berlin.offset_at(micros(-4000, 1, 1, 0)), 3208);
        assert_eq!(berlin.offset_at(i64::MAX), berlin.offset_at(i64::MAX));
        assert_eq!(berlin.offset_at(i64::MIN), 3208);
    }

    #[test]
    fn local_times_around_a_change() {
        let berlin = TimeZone::parse("Europe/Berlin").unwrap();
        assert_eq!(berlin.offset_of_local(micros(2024, 3, 31, 1)), 3600);
        assert_eq!(berlin.offset_of_local(micros(2024, 3, 31, 2)), 3600, "in the gap the offset from before");
        assert_eq!(berlin.offset_of_local(micros(2024, 3, 31, 3)), 7200);
        assert_eq!(berlin.offset_of_local(micros(2024, 10, 27, 1)), 7200);
        assert_eq!(berlin.offset_of_local(micros(2024, 10, 27, 2)), 3600, "in the doubled hour the offset from after");
        assert_eq!(berlin.offset_of_local(micros(2024, 10, 27, 3)), 3600);
    }
}
