//! A simple query's text with its literals lifted out, so that statements that differ in their values alone share one plan.
//!
//! ```text
//! UPDATE t SET a = a + -5, b = 'x''y' WHERE k = 7;   ─►   UPDATE t SET a = a + -$1, b = $2 WHERE k = $3    [int4 5] [text x'y] [int4 7]
//! ```
//!
//! Normalising the text and looking it up costs a fraction of parsing it. Whatever is not quite plain (comments, dollar quotes, other kinds of strings, parameters,
//! several statements) is left to the parser: the answer `None` is always right.

use bytes::Bytes;
use colonnade_types::{Format, Oid};

use crate::session::ScalarParameter;

/// Longest text that is looked at, in bytes.
const BYTES_MAX: usize = 8 << 10;
/// Most literals that are lifted.
const LITERALS_MAX: usize = 256;

/// A text without its literals.
pub(crate) struct Lifted {
    /// The text with `$1`, `$2`, ... for literals; each literal's kind is part of it, behind the text proper, so that kinds do not share a plan.
    pub(crate) key: String,
    /// Bytes of `key` that are the text.
    pub(crate) text: usize,
    pub(crate) literals: Vec<ScalarParameter>,
}

const INT4: Oid = Oid(23);
const INT8: Oid = Oid(20);

impl Lifted {
    /// The text with parameters in place of its literals.
    pub(crate) fn text(&self) -> &str {
        &self.key[..self.text]
    }

    /// The parameters' types; 0 where the place decides, as for a literal string.
    pub(crate) fn types(&self) -> Vec<Oid> {
        let kinds = &self.key.as_bytes()[self.text + 1..];
        kinds
            .iter()
            .map(|kind| match kind {
                b'4' => INT4,
                b'8' => INT8,
                _ => Oid(0),
            })
            .collect()
    }

    /// Which are numbers with a fraction.
    pub(crate) fn bare(&self) -> Vec<bool> {
        self.key.as_bytes()[self.text + 1..].iter().map(|kind| *kind == b'.').collect()
    }
}

/// Lifts the literals out of a text; `None` if it is not one plain statement that reads or writes rows.
pub(crate) fn lift(sql: &str) -> Option<Lifted> {
    let bytes = sql.as_bytes();
    if bytes.len() > BYTES_MAX || !starts_plainly(bytes) {
        return None;
    }
    let mut key = String::with_capacity(bytes.len() + 16);
    let mut kinds = String::new();
    let mut literals = Vec::new();
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'\'' => {
                at = string_end(bytes, at)?;
                let body = &sql[start + 1..at - 1];
                kinds.push('s');
                literals.push(parameter(&body.replace("''", "'")));
            }
            b'0'..=b'9' => {
                let (end, kind) = number_end(bytes, at)?;
                at = end;
                let text = &sql[start..at];
                kinds.push(match kind {
                    Number::Integer if text.parse::<i32>().is_ok() => '4',
                    Number::Integer if text.parse::<i64>().is_ok() => '8',
                    Number::Integer => return None,
                    Number::Fraction => '.',
                });
                literals.push(parameter(text));
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
                // E'..', B'..', X'..', U&'..', N'..'
                if matches!(bytes.get(at), Some(b'\'' | b'&')) {
                    return None;
                }
                continue;
            }
            b'"' => {
                at = 1 + at + bytes[at + 1..].iter().position(|b| *b == b'"')? + 1;
                continue;
            }
            b';' => {
                if bytes[at + 1..].iter().any(|b| !b.is_ascii_whitespace()) {
                    return None;
                }
                break;
            }
            b'$' | b'\\' | 0 => return None,
            b'-' if bytes.get(at + 1) == Some(&b'-') => return None,
            b'/' if bytes.get(at + 1) == Some(&b'*') => return None,
            // `.5`
            b'.' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => return None,
            _ => {
                at += 1;
                continue;
            }
        }
        if literals.len() > LITERALS_MAX {
            return None;
        }
        key.push_str(&sql[copied..start]);
        key.push('$');
        key.push_str(&literals.len().to_string());
        copied = at;
    }
    key.push_str(&sql[copied..at]);
    let text = key.len();
    key.push('\0');
    key.push_str(&kinds);
    Some(Lifted { key, text, literals })
}

fn starts_plainly(bytes: &[u8]) -> bool {
    let start = bytes.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(bytes.len());
    let Some(word) = bytes[start..].first_chunk::<6>() else { return false };
    [b"select", b"insert", b"update", b"delete"].iter().any(|known| word.eq_ignore_ascii_case(*known))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Behind the closing quote of the string that starts at `at`.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at + 1;
    loop {
        match (bytes.get(end)?, bytes.get(end + 1)) {
            (b'\'', Some(b'\'')) => end += 2,
            (b'\'', _) => return Some(end + 1),
            (0, _) => return None,
            _ => end += 1,
        }
    }
}

enum Number {
    Integer,
    Fraction,
}

fn number_end(bytes: &[u8], at: usize) -> Option<(usize, Number)> {
    let digits = |mut end: usize| {
        while bytes.get(end).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
        end
    };
    let mut end = digits(at);
    let mut kind = Number::Integer;
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1);
        kind = Number::Fraction;
    }
    // Exponents, 0x1f, 1_000 and 12abc are the parser's.
    match bytes.get(end) {
        Some(next) if is_word(*next) || *next == b'.' => None,
        _ => Some((end, kind)),
    }
}

fn parameter(text: &str) -> ScalarParameter {
    ScalarParameter { format: Format::Text, value: Some(Bytes::copy_from_slice(text.as_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifted(sql: &str) -> Option<(String, String, Vec<String>)> {
        let lifted = lift(sql)?;
        let values =
            lifted.literals.iter().map(|p| String::from_utf8(p.value.clone().unwrap().to_vec()).unwrap()).collect();
        Some((lifted.text().to_owned(), lifted.key[lifted.text + 1..].to_owned(), values))
    }

    #[test]
    fn literals_are_lifted_by_kind() {
        let (text, kinds, values) =
            lifted("UPDATE t1 SET a = a + -5, \"b2\" = 'x''y', c = 1.50 WHERE k7 = 3000000000;  ").unwrap();
        assert_eq!(text, "UPDATE t1 SET a = a + -$1, \"b2\" = $2, c = $3 WHERE k7 = $4");
        assert_eq!(kinds, "4s.8");
        assert_eq!(values, ["5", "x'y", "1.50", "3000000000"]);
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        for sql in [
            "BEGIN",
            "select 1; select 2",
            "select $1",
            "select $$a$$",
            "select e'a'",
            "select U&'a'",
            "select 1 -- one",
            "select /* */ 1",
            "select 1e5",
            "select .5",
            "select 12abc",
            "select 'open",
            "select \"open",
            "select 99999999999999999999",
        ] {
            assert!(lifted(sql).is_none(), "{sql}");
        }
        assert_eq!(lifted("select 'ä' || \"Ü1\"").unwrap().0, "select $1 || \"Ü1\"");
    }
}
