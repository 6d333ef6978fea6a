//! The session settings that decide how values read and print.

use std::fmt;

use crate::time_zone::TimeZone;

/// How a value is represented on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// What a person types and reads.
    Text,
    /// PostgreSQL's `typsend` / `typreceive` bytes.
    Binary,
}

/// What text input and output depend on besides the type; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplaySettings {
    /// `TimeZone`: zone of timestamptz without an offset, and of its output.
    pub time_zone: TimeZone,
    /// `DateStyle`.
    pub date_style: DateStyle,
    /// `IntervalStyle`.
    pub interval_style: IntervalStyle,
    /// `extra_float_digits`: above 0 (the default is 1) floats print their shortest exact form.
    pub extra_float_digits: i32,
    /// `bytea_output`.
    pub bytea_output: ByteaOutput,
    /// What `now` means: start of the transaction in microseconds since 1970-01-01 00:00:00 UTC. No clock is read here.
    pub now_micros: i64,
}

impl Default for DisplaySettings {
    fn default() -> Self {
        DisplaySettings {
            time_zone: TimeZone::UTC,
            date_style: DateStyle::default(),
            interval_style: IntervalStyle::Postgres,
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
            now_micros: 0,
        }
    }
}

/// `DateStyle`: how dates print, and which field comes first in ambiguous input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DateStyle {
    /// Shape of the output.
    pub format: DateFormat,
    /// Order of day, month and year in input such as `1/8/1999`, and in the output of some formats.
    pub order: DateOrder,
}

/// Shape of a printed date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DateFormat {
    /// `1997-12-17 07:37:16-08`
    #[default]
    Iso,
    /// `12/17/1997 07:37:16.00 PST`
    Sql,
    /// `Wed Dec 17 07:37:16 1997 PST`
    Postgres,
    /// `17.12.1997 07:37:16.00 PST`
    German,
}

/// Order of day, month and year.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DateOrder {
    /// Month, day, year.
    #[default]
    Mdy,
    /// Day, month, year.
    Dmy,
    /// Year, month, day.
    Ymd,
}

impl DateStyle {
    /// Reads a `DateStyle` setting such as `ISO, DMY`; a part that is not named stays as in `current`.
    #[must_use]
    pub fn parse(text: &str, current: DateStyle) -> Option<DateStyle> {
        let mut style = current;
        let (mut format, mut order) = (None, None);
        for part in text.split(',') {
            let part = part.trim().to_ascii_lowercase();
            let (new_format, new_order) = match part.as_str() {
                "iso" => (Some(DateFormat::Iso), None),
                "sql" => (Some(DateFormat::Sql), None),
                "german" => (Some(DateFormat::German), None),
                "default" => (Some(DateFormat::Iso), Some(DateOrder::Mdy)),
                "ymd" => (None, Some(DateOrder::Ymd)),
                "mdy" | "us" | "noneuro" | "noneuropean" => (None, Some(DateOrder::Mdy)),
                "dmy" | "euro" | "european" => (None, Some(DateOrder::Dmy)),
                other if other.starts_with("postgres") => (Some(DateFormat::Postgres), None),
                _ => return None,
            };
            if let Some(new) = new_format {
                if format.is_some_and(|old| old != new) {
                    return None;
                }
                format = Some(new);
            }
            if let Some(new) = new_order {
                if order.is_some_and(|old| old != new) {
                    return None;
                }
                order = Some(new);
            }
        }
        if format == Some(DateFormat::German) && order.is_none() {
            order = Some(DateOrder::Dmy);
        }
        style.format = format.unwrap_or(style.format);
        style.order = order.unwrap_or(style.order);
        Some(style)
    }
}

/// Writes the setting as SHOW does: `ISO, MDY`.
impl fmt::Display for DateStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            DateFormat::Iso => "ISO",
            DateFormat::Sql => "SQL",
            DateFormat::Postgres => "Postgres",
            DateFormat::German => "German",
        };
        let order = match self.order {
            DateOrder::Mdy => "MDY",
            DateOrder::Dmy => "DMY",
            DateOrder::Ymd => "YMD",
        };
        write!(f, "{format}, {order}")
    }
}

/// `IntervalStyle`: how intervals print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IntervalStyle {
    /// `1 year 2 mons 3 days 04:05:06`
    #[default]
    Postgres,
    /// `@ 1 year 2 mons 3 days 4 hours 5 mins 6 secs`
    PostgresVerbose,
    /// `P1Y2M3DT4H5M6S`
    Iso8601,
    /// `+1-2 +3 +4:05:06`
    SqlStandard,
}

impl IntervalStyle {
    /// Reads an `IntervalStyle` setting.
    #[must_use]
    pub fn parse(text: &str) -> Option<IntervalStyle> {
        Some(match text.to_ascii_lowercase().as_str() {
            "postgres" => IntervalStyle::Postgres,
            "postgres_verbose" => IntervalStyle::PostgresVerbose,
            "iso_8601" => IntervalStyle::Iso8601,
            "sql_standard" => IntervalStyle::SqlStandard,
            _ => return None,
        })
    }
}

/// Writes the setting as SHOW does.
impl fmt::Display for IntervalStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IntervalStyle::Postgres => "postgres",
            IntervalStyle::PostgresVerbose => "postgres_verbose",
            IntervalStyle::Iso8601 => "iso_8601",
            IntervalStyle::SqlStandard => "sql_standard",
        })
    }
}

/// `bytea_output`: how byte strings print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ByteaOutput {
    /// `\x616263`
    #[default]
    Hex,
    /// `abc\000`
    Escape,
}

impl ByteaOutput {
    /// Reads a `bytea_output` setting.
    #[must_use]
    pub fn parse(text: &str) -> Option<ByteaOutput> {
        match text.to_ascii_lowercase().as_str() {
            "hex" => Some(ByteaOutput::Hex),
            "escape" => Some(ByteaOutput::Escape),
            _ => None,
        }
    }
}

/// Writes the setting as SHOW does.
impl fmt::Display for ByteaOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ByteaOutput::Hex => "hex",
            ByteaOutput::Escape => "escape",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_style_names_both_parts_or_one() {
        let default = DateStyle::default();
        for (text, shown) in [
            ("ISO", "ISO, MDY"),
            ("sql, dmy", "SQL, DMY"),
            ("DMY", "ISO, DMY"),
            ("German", "German, DMY"),
            ("german, mdy", "German, MDY"),
            ("Postgres,European", "Postgres, DMY"),
        ] {
            assert_eq!(DateStyle::parse(text, default).map(|style| style.to_string()).as_deref(), Some(shown));
        }
        for text in ["", "isoo", "ISO, SQL", "dmy, mdy"] {
            assert_eq!(DateStyle::parse(text, default), None, "{text}");
        }
    }
}
