//! Understands the fields of dates, times and timestamps one after the other, each in the light of what is known already.

use crate::calendar::{EPOCH_JULIAN_DAY, MICROS_PER_DAY, days_from_date, days_of_month};
use crate::settings::{DateOrder, DisplaySettings};
use crate::text::date_time_fields::{Field, FieldKind, abbreviation, is_day_of_week, month, split};
use crate::text::integer::trim;
use crate::time_zone::TimeZone;

/// A date or timestamp before it becomes a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    Infinity,
    MinusInfinity,
    Epoch,
    Local(Local),
}

/// A local date and time of day, with the zone that was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Local {
    /// Days since 1970-01-01; `None` if only a time was given.
    pub(crate) days: Option<i64>,
    /// Microseconds since midnight; a whole day is 24:00.
    pub(crate) time: i64,
    pub(crate) has_time: bool,
    pub(crate) zone: Option<Zone>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Zone {
    /// Seconds east of Greenwich.
    Offset(i32),
    Named(TimeZone),
}

/// What can be wrong; the value and its type make the message.
#[derive(Debug, PartialEq)]
pub(crate) enum Problem {
    Syntax,
    Field,
    Displacement,
    UnknownZone(String),
}

/// Reads a date or timestamp.
pub(crate) fn decode(text: &str, settings: &DisplaySettings) -> Result<Moment, Problem> {
    decode_as(text, settings, false)
}

/// Reads a date or timestamp, or a time of day if `time_only`.
pub(crate) fn decode_as(text: &str, settings: &DisplaySettings, time_only: bool) -> Result<Moment, Problem> {
    let fields = split(trim(text)).ok_or(Problem::Syntax)?;
    let mut decoder = Decoder { settings, time_only, ..Decoder::new(settings) };
    if let Some(special) = decoder.special(&fields) {
        return Ok(special);
    }
    // Where only a time is wanted, a date is taken in two places only.
    decoder.leading_date =
        fields.len() >= 2 && (fields[1].kind == FieldKind::Time || fields[fields.len() - 1].kind == FieldKind::Date);
    for (index, field) in fields.iter().enumerate() {
        decoder.field(field, fields.get(index + 1))?;
        decoder.leading_date = false;
    }
    decoder.finish().map(Moment::Local)
}

/// What a number without a name stands for, because of the word before it.
#[derive(Clone, Copy, PartialEq)]
enum Prefix {
    Julian,
    Time,
}

struct Decoder<'a> {
    settings: &'a DisplaySettings,
    time_only: bool,
    /// Whether the field at hand may be a date although a time is wanted.
    leading_date: bool,
    year: Option<i64>,
    day_of_year: Option<i64>,
    impossible_time: bool,
    month: Option<u32>,
    day: Option<u32>,
    two_digit_year: bool,
    text_month: bool,
    bc: Option<bool>,
    /// A day that was not spelled as year, month and day.
    days: Option<i64>,
    time: Option<i64>,
    hour: i64,
    pm: Option<bool>,
    zone: Option<Zone>,
    prefix: Option<Prefix>,
}

impl<'a> Decoder<'a> {
    fn new(settings: &'a DisplaySettings) -> Decoder<'a> {
        Decoder {
            settings,
            time_only: false,
            leading_date: false,
            year: None,
            day_of_year: None,
            impossible_time: false,
            month: None,
            day: None,
            two_digit_year: false,
            text_month: false,
            bc: None,
            days: None,
            time: None,
            hour: 0,
            pm: None,
            zone: None,
            prefix: None,
        }
    }

    /// Words that stand alone.
    fn special(&self, fields: &[Field]) -> Option<Moment> {
        let [field] = fields else { return None };
        match field.text.as_str() {
            "infinity" | "+infinity" => Some(Moment::Infinity),
            "-infinity" => Some(Moment::MinusInfinity),
            "epoch" => Some(Moment::Epoch),
            _ => None,
        }
    }

    fn has_date(&self) -> bool {
        self.days.is_some()
            || self.year.is_some() && (self.day_of_year.is_some() || self.month.is_some() && self.day.is_some())
    }

    fn has_date_part(&self) -> bool {
        self.days.is_some() || self.year.is_some() || self.month.is_some() || self.day.is_some()
    }

    fn field(&mut self, field: &Field, next: Option<&Field>) -> Result<(), Problem> {
        let text = field.text.as_str();
        match field.kind {
            FieldKind::Date => self.date_field(text),
            FieldKind::Time => self.set_time(text),
            FieldKind::Zone => match self.prefix {
                Some(_) => Err(Problem::Syntax),
                None if self.zone.is_some() => Err(Problem::Syntax),
                None => {
                    self.zone = Some(Zone::Offset(parse_offset(text)?));
                    Ok(())
                }
            },
            FieldKind::Number => self.number_field(text),
            FieldKind::Word => self.word(text, next),
            FieldKind::Special => Err(Problem::Syntax),
        }
    }

    fn date_field(&mut self, text: &str) -> Result<(), Problem> {
        if self.has_date() || self.time.is_some() || self.time_only && !self.leading_date {
            // A name of the zone database, or time and zone without a blank: 040506.789-07.
            self.prefix = self.prefix.filter(|prefix| *prefix != Prefix::Time);
            if text.starts_with(|c: char| c.is_ascii_digit()) {
                if self.time.is_some() || self.prefix.is_some() {
                    return Err(Problem::Syntax);
                }
                let (time, zone) = text.split_at(text.find('-').ok_or(Problem::Syntax)?);
                self.set_zone(Zone::Offset(parse_offset(zone)?))?;
                return self.concatenated_time(time);
            }
            if self.time.is_some() && !self.has_date() && starts_with_month(text) {
                return Err(Problem::Syntax);
            }
            return self.zone_name(text);
        }
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) && !starts_with_month(text) {
            return self.zone_name(text);
        }
        self.three_parts(text)
    }

    fn zone_name(&mut self, text: &str) -> Result<(), Problem> {
        let zone = TimeZone::named(text)
            .or_else(|| TimeZone::parse(text).filter(|_| text.starts_with(|c: char| c.is_ascii_alphabetic())))
            .ok_or_else(|| Problem::UnknownZone(text.to_owned()))?;
        self.set_zone(Zone::Named(zone))
    }

    fn set_zone(&mut self, zone: Zone) -> Result<(), Problem> {
        if self.zone.replace(zone).is_some() { Err(Problem::Syntax) } else { Ok(()) }
    }

    /// `1999-01-08`, `1/8/1999`, `8-jan-1999`.
    fn three_parts(&mut self, text: &str) -> Result<(), Problem> {
        let mut parts = Vec::with_capacity(3);
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let same = |c: char| {
                if first.is_ascii_digit() { c.is_ascii_digit() } else { c.is_ascii_alphabetic() }
            };
            if !first.is_ascii_alphanumeric() {
                rest = &rest[1..];
                continue;
            }
            let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
            parts.push(&rest[..end]);
            rest = &rest[end..];
        }
        if let Some(at) = parts.iter().position(|part| part.starts_with(|c: char| c.is_ascii_alphabetic())) {
            let name = parts.remove(at);
            self.set_month_name(name)?;
        }
        for part in parts {
            if part.starts_with(|c: char| c.is_ascii_alphabetic()) || self.has_date() {
                return Err(Problem::Syntax);
            }
            self.date_number(part)?;
        }
        if self.has_date() { Ok(()) } else { Err(Problem::Syntax) }
    }

    fn set_month_name(&mut self, name: &str) -> Result<(), Problem> {
        let number = month(name).ok_or(Problem::Syntax)?;
        // "01 jan 1999": what was taken for a month was the day.
        if let Some(old) = self.month {
            if self.text_month || self.day.is_some() {
                return Err(Problem::Syntax);
            }
            self.day = Some(old);
        }
        self.month = Some(number);
        self.text_month = true;
        Ok(())
    }

    /// Decides by the number's place and length, and the session's order, whether it is a year, a month or a day.
    fn date_number(&mut self, text: &str) -> Result<(), Problem> {
        let value: i64 = text.parse().map_err(|_| Problem::Field)?;
        let small = u32::try_from(value).map_err(|_| Problem::Field)?;
        let order = self.settings.date_style.order;
        if text.len() == 3 && self.year.is_some() && self.month.is_none() && (1..=366).contains(&value) {
            self.day_of_year = Some(value);
            return Ok(());
        }
        match (self.year.is_some(), self.month.is_some(), self.day.is_some()) {
            (false, false, false) => {
                if text.len() >= 3 || order == DateOrder::Ymd {
                    self.set_year(text, value);
                } else if order == DateOrder::Dmy {
                    self.day = Some(small);
                } else {
                    self.month = Some(small);
                }
            }
            (true, false, false) | (false, false, true) => self.month = Some(small),
            (true, false, true) => self.month = Some(small),
            (false, true, false) => {
                if self.text_month && (text.len() >= 3 || order == DateOrder::Ymd) {
                    self.set_year(text, value);
                } else {
                    self.day = Some(small);
                }
            }
            (true, true, false) => {
                if self.text_month && text.len() >= 3 && self.two_digit_year {
                    // What was taken for a year of two digits was the day.
                    self.day = self.year.and_then(|day| u32::try_from(day).ok());
                    self.set_year(text, value);
                } else {
                    self.day = Some(small);
                }
            }
            (false, true, true) => self.set_year(text, value),
            (true, true, true) => return self.concatenated(text),
        }
        Ok(())
    }

    fn set_year(&mut self, text: &str, value: i64) {
        self.year = Some(value);
        self.two_digit_year = text.len() <= 2;
    }

    fn number_field(&mut self, text: &str) -> Result<(), Problem> {
        match self.prefix.take() {
            Some(Prefix::Julian) => return self.julian(text),
            Some(Prefix::Time) => {
                let (whole, _) = text.split_once('.').unwrap_or((text, ""));
                if !matches!(whole.len(), 4 | 6) {
                    return Err(Problem::Syntax);
                }
                return self.concatenated_time(text);
            }
            None => {}
        }
        if self.time_only {
            return self.concatenated_time(text);
        }
        if text.contains('.') {
            if self.has_date() {
                return self.concatenated_time(text);
            }
            // A year and a day of it, 1997.041.
            let short = text.find('.').is_some_and(|at| at < 6);
            return if short && !self.has_date_part() { self.three_parts(text) } else { Err(Problem::Syntax) };
        }
        if text.len() >= 6 && !(self.has_date_part() && self.time.is_some()) {
            self.concatenated(text)
        } else {
            self.date_number_or_time(text)
        }
    }

    fn date_number_or_time(&mut self, text: &str) -> Result<(), Problem> {
        if self.has_date() { self.concatenated(text) } else { self.date_number(text) }
    }

    fn julian(&mut self, text: &str) -> Result<(), Problem> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let day: i64 = whole.parse().map_err(|_| Problem::Field)?;
        if self.has_date_part() {
            return Err(Problem::Syntax);
        }
        self.days =
            Some(day.checked_sub(EPOCH_JULIAN_DAY).filter(|_| day <= i64::from(i32::MAX)).ok_or(Problem::Field)?);
        if !fraction.is_empty() {
            let part: f64 = format!("0.{fraction}").parse().map_err(|_| Problem::Syntax)?;
            self.put_time((part * MICROS_PER_DAY as f64).round() as i64)?;
        }
        Ok(())
    }

    /// `19990108`, `990108`, then `040506`, `0405`.
    fn concatenated(&mut self, text: &str) -> Result<(), Problem> {
        if text.contains('.') || self.has_date() {
            return self.concatenated_time(text);
        }
        if text.len() < 6 || self.has_date_part() {
            return Err(Problem::Syntax);
        }
        let (year, rest) = text.split_at(text.len() - 4);
        self.set_year(year, year.parse().map_err(|_| Problem::Field)?);
        self.month = rest[..2].parse().ok();
        self.day = rest[2..].parse().ok();
        Ok(())
    }

    fn concatenated_time(&mut self, text: &str) -> Result<(), Problem> {
        let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
        if self.time.is_some() || fraction.is_some_and(|fraction| !fraction.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(Problem::Syntax);
        }
        let part = |range: std::ops::Range<usize>| -> i64 { whole[range].parse().unwrap_or(0) };
        let (hour, minute, second) = match whole.len() {
            6 => (part(0..2), part(2..4), part(4..6)),
            4 => (part(0..2), part(2..4), 0),
            _ => return Err(Problem::Syntax),
        };
        match self.put_clock(hour, minute, second, fraction_micros(fraction.unwrap_or_default())) {
            // What follows may show that these digits were no time at all.
            Err(Problem::Field) => {
                self.impossible_time = true;
                self.put_time(0)
            }
            done => done,
        }
    }

    fn set_time(&mut self, text: &str) -> Result<(), Problem> {
        self.prefix = self.prefix.filter(|prefix| *prefix != Prefix::Time);
        if self.prefix.is_some() || self.time.is_some() {
            return Err(Problem::Syntax);
        }
        let clock = parse_clock(text)?;
        self.put_clock(clock.hour, clock.minute, clock.second, clock.micros)
    }

    fn put_clock(&mut self, hour: i64, minute: i64, second: i64, micros: i64) -> Result<(), Problem> {
        if minute > 59 || second > 60 || hour > 24 {
            return Err(Problem::Field);
        }
        let total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
        if total > MICROS_PER_DAY {
            return Err(Problem::Field);
        }
        self.hour = hour;
        self.put_time(total)
    }

    fn put_time(&mut self, micros: i64) -> Result<(), Problem> {
        if self.time.replace(micros).is_some() { Err(Problem::Syntax) } else { Ok(()) }
    }

    fn word(&mut self, word: &str, next: Option<&Field>) -> Result<(), Problem> {
        let next_is_number =
            next.is_some_and(|next| matches!(next.kind, FieldKind::Number | FieldKind::Time | FieldKind::Date));
        match word {
            "now" | "today" | "tomorrow" | "yesterday" => return self.relative(word),
            "allballs" => {
                self.put_time(0)?;
                return self.set_zone(Zone::Offset(0));
            }
            "am" | "pm" => {
                self.pm = Some(word == "pm");
                return Ok(());
            }
            "bc" | "ad" => {
                self.bc = Some(word == "bc");
                return Ok(());
            }
            "t" if next_is_number && (self.has_date() || self.time_only) => {
                self.prefix = Some(Prefix::Time);
                return Ok(());
            }
            "j" | "jd" | "julian" if next_is_number => {
                self.prefix = Some(Prefix::Julian);
                return Ok(());
            }
            "at" | "on" => return Ok(()),
            _ => {}
        }
        if month(word).is_some() {
            return if self.time_only { Err(Problem::Syntax) } else { self.set_month_name(word) };
        }
        if is_day_of_week(word) {
            return Ok(());
        }
        match (word, &mut self.zone) {
            ("dst", Some(Zone::Offset(seconds))) => {
                *seconds += 3600;
                return Ok(());
            }
            (_, Some(_)) => return Err(Problem::Syntax),
            (_, None) => {}
        }
        let zone = match abbreviation(word) {
            Some(seconds) => Zone::Offset(seconds),
            None => Zone::Named(TimeZone::named(word).ok_or(Problem::Syntax)?),
        };
        self.set_zone(zone)
    }

    fn relative(&mut self, word: &str) -> Result<(), Problem> {
        if self.has_date_part() {
            return Err(Problem::Syntax);
        }
        let now = self.settings.now_micros;
        let offset = self.settings.time_zone.offset_at(now);
        let local = now + i64::from(offset) * 1_000_000;
        let today = local.div_euclid(MICROS_PER_DAY);
        self.days = Some(match word {
            "tomorrow" => today + 1,
            "yesterday" => today - 1,
            _ => today,
        });
        if word == "now" {
            self.put_time(local.rem_euclid(MICROS_PER_DAY))?;
            self.set_zone(Zone::Offset(offset))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Local, Problem> {
        if self.prefix.is_some() {
            return Err(Problem::Syntax);
        }
        let days = self.day_number()?;
        if days.is_none() && !self.time_only {
            return Err(Problem::Syntax);
        }
        if self.impossible_time {
            return Err(Problem::Field);
        }
        let mut time = self.time.unwrap_or(0);
        if let Some(pm) = self.pm {
            if self.time.is_none() {
                return Err(Problem::Syntax);
            }
            if self.hour > 12 {
                return Err(Problem::Field);
            }
            let half_day = MICROS_PER_DAY / 2;
            time += match (pm, self.hour == 12) {
                (true, false) => half_day,
                (false, true) => -half_day,
                _ => 0,
            };
        }
        Ok(Local { days, time, has_time: self.time.is_some(), zone: self.zone })
    }

    fn day_number(&mut self) -> Result<Option<i64>, Problem> {
        if self.days.is_some() {
            return Ok(self.days);
        }
        let (mut year, month, day) = match (self.year, self.month, self.day, self.day_of_year) {
            (Some(year), Some(month), Some(day), None) => (year, month, day),
            (Some(year), None, None, Some(_)) => (year, 1, 1),
            _ => return if self.has_date_part() { Err(Problem::Syntax) } else { Ok(None) },
        };
        if self.bc == Some(true) {
            if year <= 0 {
                return Err(Problem::Field);
            }
            year = 1 - year;
        } else if self.two_digit_year {
            year += match year {
                0..70 => 2000,
                70..100 => 1900,
                _ => 0,
            };
        } else if year <= 0 {
            return Err(Problem::Field);
        }
        let possible = (1..=12).contains(&month) && (1..=31).contains(&day) && day <= days_of_month(year, month);
        if !possible || year > 10_000_000 {
            return Err(Problem::Field);
        }
        Ok(Some(days_from_date(year, month, day) + self.day_of_year.map_or(0, |day| day - 1)))
    }
}

/// Hours, minutes, seconds and microseconds of a clock time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clock {
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) micros: i64,
    /// `4:05` and `4:05.5` leave open which units are meant; intervals ask.
    pub(crate) parts: usize,
}

fn parse_clock(text: &str) -> Result<Clock, Problem> {
    read_clock(text).ok_or(Problem::Syntax)
}

/// Reads `hh:mm`, `hh:mm:ss`, `hh:mm:ss.f` and `mm:ss.f`.
pub(crate) fn read_clock(text: &str) -> Option<Clock> {
    let (clock, fraction) = text.split_once('.').map_or((text, None), |(clock, fraction)| (clock, Some(fraction)));
    if fraction.is_some_and(|fraction| !fraction.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let mut numbers = [0i64; 3];
    let mut parts = 0;
    for part in clock.split(':') {
        *numbers.get_mut(parts)? = if part.is_empty() && parts == 2 { 0 } else { part.parse().ok()? };
        parts += 1;
    }
    let micros = fraction_micros(fraction.unwrap_or_default());
    let [a, b, c] = numbers;
    match (parts, fraction.is_some()) {
        (2, true) => Some(Clock { hour: 0, minute: a, second: b, micros, parts }),
        (2, false) => Some(Clock { hour: a, minute: b, second: 0, micros: 0, parts }),
        (3, _) => Some(Clock { hour: a, minute: b, second: c, micros, parts }),
        _ => None,
    }
}

/// The microseconds of a fraction of a second, rounded to the nearest.
pub(crate) fn fraction_micros(digits: &str) -> i64 {
    if digits.len() <= 6 {
        let value = digits.bytes().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        return value * 10i64.pow(6 - digits.len() as u32);
    }
    format!("0.{digits}").parse::<f64>().map_or(0, |fraction| (fraction * 1e6).round_ties_even() as i64)
}

/// `+2`, `-0330`, `+05:30`, `+00:53:28` as seconds east of Greenwich.
fn parse_offset(text: &str) -> Result<i32, Problem> {
    let digits = text.get(1..).ok_or(Problem::Syntax)?;
    let mut parts = digits.split(':');
    let first = parts.next().unwrap_or_default();
    let number = |part: &str| -> Result<i32, Problem> {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Problem::Syntax);
        }
        part.parse().map_err(|_| Problem::Displacement)
    };
    let mut hours = number(first)?;
    let mut minutes = 0;
    let mut seconds = 0;
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) if first.len() > 2 => (hours, minutes) = (hours / 100, hours % 100),
        (None, ..) => {}
        (Some(part), None, _) => minutes = number(part)?,
        (Some(part), Some(last), None) => (minutes, seconds) = (number(part)?, number(last)?),
        _ => return Err(Problem::Syntax),
    }
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(Problem::Displacement);
    }
    let total = hours * 3600 + minutes * 60 + seconds;
    Ok(if text.starts_with('-') { -total } else { total })
}

fn starts_with_month(text: &str) -> bool {
    month(text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default()).is_some()
}
