//! What an option is, and how its text becomes a value.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::Config;

/// One thing the operator may choose.
pub struct OptionSpec {
    /// Key in the configuration file; flag and variable are spelled from it.
    pub key: &'static str,
    /// Heading in the reference page.
    pub section: &'static str,
    /// Kind and range of the value.
    pub kind: Kind,
    /// Default, as a user would write it.
    pub default: &'static str,
    /// One to three sentences: what it does, what happens at the bound.
    pub about: &'static str,
    /// Whether it is never taken from the command line, where others can read it.
    pub secret: bool,
    /// Puts a checked value in its place.
    pub set: fn(&mut Config, Value),
}

/// Kind and range of an option's value.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A number of bytes; the suffixes kB, MB, GB, KiB, MiB, GiB are understood.
    Bytes(u64, u64),
    /// A plain number.
    Count(u64, u64),
    /// A duration; the suffixes ms, s, min, h are understood, none is milliseconds.
    Milliseconds(u64, u64),
    /// A positive number with a fraction.
    Factor(f64, f64),
    /// An address with a port, or `off`.
    Address,
    /// A file or directory; empty is none.
    Path,
    /// Any text; empty is none.
    Text,
    /// One of these.
    Choice(&'static [&'static str]),
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Bytes, counts and milliseconds.
    Number(u64),
    /// `auto`: what the machine offers decides.
    Auto,
    /// A factor.
    Factor(f64),
    /// `None` is `off`.
    Address(Option<SocketAddr>),
    /// `None` where the text is empty.
    Path(Option<PathBuf>),
    /// A text or choice.
    Text(String),
}

impl OptionSpec {
    /// Name of the environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("COLONNADE_{}", self.key.to_ascii_uppercase())
    }

    /// Name of the flag, without its dashes.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// Checks `text` and sets it.
    ///
    /// # Errors
    /// Says what was expected, without saying where.
    pub fn apply(&self, config: &mut Config, text: &str) -> Result<(), String> {
        (self.set)(config, self.parse(text)?);
        Ok(())
    }

    fn parse(&self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        if text == "auto" && self.default == "auto" {
            return Ok(Value::Auto);
        }
        match self.kind {
            Kind::Bytes(min, max) => number(text, BYTE_UNITS)
                .filter(|n| (min..=max).contains(n))
                .map(Value::Number)
                .ok_or_else(|| self.expected(text)),
            Kind::Count(min, max) => text
                .replace('_', "")
                .parse()
                .ok()
                .filter(|n| (min..=max).contains(n))
                .map(Value::Number)
                .ok_or_else(|| self.expected(text)),
            Kind::Milliseconds(min, max) => number(text, TIME_UNITS)
                .filter(|n| (min..=max).contains(n))
                .map(Value::Number)
                .ok_or_else(|| self.expected(text)),
            Kind::Factor(min, max) => text
                .parse()
                .ok()
                .filter(|f| (min..=max).contains(f))
                .map(Value::Factor)
                .ok_or_else(|| self.expected(text)),
            Kind::Address if text == "off" => Ok(Value::Address(None)),
            Kind::Address => text
                .to_socket_addrs()
                .ok()
                .and_then(|mut addresses| addresses.next())
                .map(|address| Value::Address(Some(address)))
                .ok_or_else(|| self.expected(text)),
            Kind::Path => Ok(Value::Path((!text.is_empty()).then(|| PathBuf::from(text)))),
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Choice(choices) if choices.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::Choice(_) => Err(self.expected(text)),
        }
    }

    fn expected(&self, found: &str) -> String {
        format!("`{}` must be {}, not `{found}`", self.key, self.range())
    }

    /// The values that are allowed, in words.
    #[must_use]
    pub fn range(&self) -> String {
        let words = match self.kind {
            Kind::Bytes(min, max) => format!("a size from {} to {}", bytes_text(min), bytes_text(max)),
            Kind::Count(min, max) => format!("a number from {min} to {max}"),
            Kind::Milliseconds(min, max) => format!("a duration from {min} ms to {max} ms"),
            Kind::Factor(min, max) => format!("a factor from {min} to {max}"),
            Kind::Address => "`address:port` or `off`".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::Text => "a text".to_owned(),
            Kind::Choice(choices) => {
                choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(" or ")
            }
        };
        if self.default == "auto" { format!("{words}, or `auto`") } else { words }
    }

    /// Unit of the value, for the reference page.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Bytes(..) => "bytes (suffixes kB, MB, GB, KiB, MiB, GiB)",
            Kind::Milliseconds(..) => "milliseconds (suffixes ms, s, min, h)",
            Kind::Count(..) => "count",
            Kind::Factor(..) => "factor",
            Kind::Address => "address",
            Kind::Path => "path",
            Kind::Text | Kind::Choice(_) => "text",
        }
    }

    /// Whether the configuration file writes the value without quotes.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.default.parse::<f64>().is_ok()
    }
}

const BYTE_UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];
const TIME_UNITS: &[(&str, u64)] = &[("", 1), ("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000)];

fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?.1;
    digits.replace('_', "").parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a number of bytes with the largest binary unit that keeps it whole.
#[must_use]
pub fn bytes_text(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{} {unit}", bytes / factor);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_units_and_refuse_overflow() {
        assert_eq!(number("64MiB", BYTE_UNITS), Some(64 << 20));
        assert_eq!(number("64 mib", BYTE_UNITS), Some(64 << 20));
        assert_eq!(number("1_000", BYTE_UNITS), Some(1000));
        assert_eq!(number("5s", TIME_UNITS), Some(5000));
        for bad in ["", "x", "5 parsecs", "-1", "99999999999GiB"] {
            assert_eq!(number(bad, BYTE_UNITS), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_written_short() {
        assert_eq!(bytes_text(64 << 20), "64 MiB");
        assert_eq!(bytes_text(1000), "1000 bytes");
    }
}
