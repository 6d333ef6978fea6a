//! Prints dates, times and timestamps in the session's `DateStyle`.

use crate::calendar::{MICROS_PER_DAY, date_from_days};
use crate::settings::{DateFormat, DateOrder, DateStyle, DisplaySettings};
use crate::text::integer;
use crate::time_zone::{TimeZone, write_offset};

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
/// 1970-01-01 was a Thursday.
const WEEKDAYS: [&[u8]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];

/// Appends a number of two digits.
pub(crate) fn two(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&[b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]);
}

fn year(out: &mut Vec<u8>, year: i64) {
    let shown = if year > 0 { year } else { 1 - year };
    if shown >= 10_000 {
        return integer::write(out, shown);
    }
    two(out, (shown / 100) as u32);
    two(out, (shown % 100) as u32);
}

fn era(out: &mut Vec<u8>, year: i64) {
    if year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// Appends the digits after the seconds' point, trailing zeros dropped, nothing for a whole second.
pub(crate) fn fraction(out: &mut Vec<u8>, micros: u32) {
    if micros == 0 {
        return;
    }
    let mut digits = [b'0'; 7];
    digits[0] = b'.';
    let mut rest = micros;
    for digit in digits[1..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |at| at + 1);
    out.extend_from_slice(&digits[..end]);
}

/// Appends a time of day; 24:00:00 is possible.
pub(crate) fn write_time(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros.div_euclid(1_000_000);
    two(out, (seconds / 3600) as u32);
    out.push(b':');
    two(out, (seconds / 60 % 60) as u32);
    out.push(b':');
    two(out, (seconds % 60) as u32);
    fraction(out, micros.rem_euclid(1_000_000) as u32);
}

fn day_and_month(out: &mut Vec<u8>, style: DateStyle, month: u32, day: u32, delimiter: u8) {
    let (first, second) = if style.order == DateOrder::Dmy { (day, month) } else { (month, day) };
    two(out, first);
    out.push(delimiter);
    two(out, second);
    out.push(delimiter);
}

fn date_fields(out: &mut Vec<u8>, style: DateStyle, days: i64) {
    let (y, month, day) = date_from_days(days);
    match style.format {
        DateFormat::Iso => {
            year(out, y);
            out.push(b'-');
            two(out, month);
            out.push(b'-');
            two(out, day);
        }
        DateFormat::Sql => {
            day_and_month(out, style, month, day, b'/');
            year(out, y);
        }
        DateFormat::Postgres => {
            day_and_month(out, style, month, day, b'-');
            year(out, y);
        }
        DateFormat::German => {
            two(out, day);
            out.push(b'.');
            two(out, month);
            out.push(b'.');
            year(out, y);
        }
    }
}

/// Appends a date.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i32, style: DateStyle) {
    match days {
        i32::MAX => out.extend_from_slice(b"infinity"),
        i32::MIN => out.extend_from_slice(b"-infinity"),
        _ => {
            date_fields(out, style, i64::from(days));
            era(out, date_from_days(i64::from(days)).0);
        }
    }
}

/// Appends a timestamp without time zone.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, micros: i64, style: DateStyle) {
    if !write_infinity(out, micros) {
        local(out, micros, style, |_| {});
    }
}

/// Appends a timestamptz, in the session's zone.
pub(crate) fn write_timestamptz(out: &mut Vec<u8>, micros: i64, settings: &DisplaySettings) {
    if write_infinity(out, micros) {
        return;
    }
    let style = settings.date_style;
    let offset = settings.time_zone.offset_at(micros);
    let shown = micros.saturating_add(i64::from(offset) * 1_000_000);
    local(out, shown, style, |out| {
        if style.format == DateFormat::Iso {
            write_offset(out, offset);
        } else {
            zone_name(out, settings.time_zone, micros);
        }
    });
}

fn zone_name(out: &mut Vec<u8>, zone: TimeZone, micros: i64) {
    out.push(b' ');
    out.extend_from_slice(zone.abbreviation_at(micros).as_bytes());
}

fn write_infinity(out: &mut Vec<u8>, micros: i64) -> bool {
    match micros {
        i64::MAX => out.extend_from_slice(b"infinity"),
        i64::MIN => out.extend_from_slice(b"-infinity"),
        _ => return false,
    }
    true
}

fn local(out: &mut Vec<u8>, micros: i64, style: DateStyle, zone: impl Fn(&mut Vec<u8>)) {
    let days = micros.div_euclid(MICROS_PER_DAY);
    let time = micros.rem_euclid(MICROS_PER_DAY);
    let (y, month, day) = date_from_days(days);
    if style.format == DateFormat::Postgres {
        out.extend_from_slice(WEEKDAYS[days.rem_euclid(7) as usize]);
        out.push(b' ');
        let name = MONTHS[(month - 1) as usize];
        if style.order == DateOrder::Dmy {
            two(out, day);
            out.push(b' ');
            out.extend_from_slice(name);
        } else {
            out.extend_from_slice(name);
            out.push(b' ');
            two(out, day);
        }
        out.push(b' ');
        write_time(out, time);
        out.push(b' ');
        year(out, y);
        zone(out);
    } else {
        date_fields(out, style, days);
        out.push(b' ');
        write_time(out, time);
        zone(out);
    }
    era(out, y);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::days_from_date;
    use crate::settings::DateStyle;

    fn shown(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_of_all_ages() {
        for (y, month, day, text) in [
            (1999, 1, 8, "1999-01-08"),
            (1, 1, 1, "0001-01-01"),
            (0, 12, 31, "0001-12-31 BC"),
            (-4713, 11, 24, "4714-11-24 BC"),
            (5_874_897, 12, 31, "5874897-12-31"),
        ] {
            let days = days_from_date(y, month, day) as i32;
            assert_eq!(shown(|out| write_date(out, days, DateStyle::default())), text);
        }
        assert_eq!(shown(|out| write_date(out, i32::MAX, DateStyle::default())), "infinity");
    }

    #[test]
    fn the_four_styles() {
        let zone = TimeZone::parse("America/Los_Angeles").unwrap();
        let micros = days_from_date(1997, 12, 17) * MICROS_PER_DAY + (15 * 3600 + 37 * 60 + 16) * 1_000_000;
        for (style, text, date) in [
            ("ISO, MDY", "1997-12-17 07:37:16-08", "1997-12-17"),
            ("SQL, MDY", "12/17/1997 07:37:16 PST", "12/17/1997"),
            ("SQL, DMY", "17/12/1997 07:37:16 PST", "17/12/1997"),
            ("Postgres, MDY", "Wed Dec 17 07:37:16 1997 PST", "12-17-1997"),
            ("Postgres, DMY", "Wed 17 Dec 07:37:16 1997 PST", "17-12-1997"),
            ("German, DMY", "17.12.1997 07:37:16 PST", "17.12.1997"),
        ] {
            let date_style = DateStyle::parse(style, DateStyle::default()).unwrap();
            let settings = DisplaySettings { time_zone: zone, date_style, ..DisplaySettings::default() };
            assert_eq!(shown(|out| write_timestamptz(out, micros, &settings)), text);
            let days = days_from_date(1997, 12, 17) as i32;
            assert_eq!(shown(|out| write_date(out, days, date_style)), date);
        }
    }

    #[test]
    fn fractions_and_offsets() {
        let day = days_from_date(2024, 7, 1) * MICROS_PER_DAY;
        for (zone, micros, text) in [
            ("UTC", 0, "2024-07-01 00:00:00+00"),
            ("Asia/Kolkata", 1, "2024-07-01 05:30:00.000001+05:30"),
            ("Europe/Berlin", 500_000, "2024-07-01 02:00:00.5+02"),
            ("America/New_York", 0, "2024-06-30 20:00:00-04"),
        ] {
            let settings = DisplaySettings { time_zone: TimeZone::parse(zone).unwrap(), ..DisplaySettings::default() };
            assert_eq!(shown(|out| write_timestamptz(out, day + micros, &settings)), text);
        }
        assert_eq!(shown(|out| write_time(out, MICROS_PER_DAY)), "24:00:00");
    }
}
