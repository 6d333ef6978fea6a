//! Character types: length limits, blanks, and the odd ones `name` and `"char"`.

use std::borrow::Cow;

use crate::error::{ValueError, check_nul};
use crate::sql_type::SqlType;

/// Bytes that a `name` keeps.
const NAME_BYTES: usize = 63;

/// What a character type asks of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StringKind {
    /// Anything: `text`, `varchar`, `unknown`.
    Any,
    /// `varchar(n)`
    Varchar(u32),
    /// `char(n)`, kept without trailing blanks.
    Char(u32),
    /// `name`
    Name,
    /// `"char"`
    Single,
}

impl StringKind {
    /// The kind of a character type; `None` for other types.
    pub(crate) fn new(sql_type: &SqlType) -> Option<StringKind> {
        Some(match sql_type {
            SqlType::Text | SqlType::Varchar(None) | SqlType::Unknown => StringKind::Any,
            SqlType::Varchar(Some(length)) => StringKind::Varchar(*length),
            SqlType::Char(length) => StringKind::Char(*length),
            SqlType::Name => StringKind::Name,
            SqlType::InternalChar => StringKind::Single,
            _ => return None,
        })
    }

    /// The stored form of a text. Too long a text is an error unless only blanks are lost, or `truncate` says that the
    /// cast is explicit.
    pub(crate) fn stored<'a>(self, text: &'a str, truncate: bool) -> Result<Cow<'a, str>, ValueError> {
        check_nul(text)?;
        Ok(Cow::Borrowed(match self {
            StringKind::Any => text,
            StringKind::Varchar(length) => {
                limit(text, length, truncate).ok_or_else(|| ValueError::too_long(&SqlType::Varchar(Some(length))))?
            }
            StringKind::Char(length) => limit(text, length, truncate)
                .ok_or_else(|| ValueError::too_long(&SqlType::Char(length)))?
                .trim_end_matches(' '),
            StringKind::Name => &text[..text.floor_char_boundary(NAME_BYTES)],
            StringKind::Single => return Ok(single_from_text(text)),
        }))
    }
}

/// The first `length` characters, if nothing but blanks follows them or `truncate` is set.
fn limit(text: &str, length: u32, truncate: bool) -> Option<&str> {
    let length = length as usize;
    if text.len() <= length {
        return Some(text);
    }
    match text.char_indices().nth(length) {
        None => Some(text),
        Some((end, _)) if truncate || text[end..].bytes().all(|byte| byte == b' ') => Some(&text[..end]),
        Some(_) => None,
    }
}

/// The stored form of `"char"`: the character whose number is the byte; empty for byte 0.
fn single_from_text(text: &str) -> Cow<'_, str> {
    let byte = match *text.as_bytes() {
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'),
        [first, ..] => first,
        [] => 0,
    };
    single_from_byte(byte)
}

/// The stored form of `"char"` from its byte.
pub(crate) fn single_from_byte(byte: u8) -> Cow<'static, str> {
    if byte == 0 { Cow::Borrowed("") } else { Cow::Owned(char::from(byte).to_string()) }
}

/// The byte of a stored `"char"`.
pub(crate) fn single_to_byte(text: &str) -> u8 {
    text.chars().next().map_or(0, |c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
}

/// Appends a `char(n)`, padded with blanks.
pub(crate) fn write_padded(out: &mut Vec<u8>, text: &str, length: u32) {
    out.extend_from_slice(text.as_bytes());
    let characters = if text.is_ascii() { text.len() } else { text.chars().count() };
    out.extend(std::iter::repeat_n(b' ', (length as usize).saturating_sub(characters)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_count_characters_and_forgive_blanks() {
        let varchar = StringKind::Varchar(3);
        assert_eq!(varchar.stored("äöü", false).as_deref(), Ok("äöü"));
        assert_eq!(varchar.stored("abc  ", false).as_deref(), Ok("abc"));
        assert_eq!(varchar.stored("ab ", false).as_deref(), Ok("ab "));
        let error = varchar.stored("abcd", false).unwrap_err();
        assert_eq!(error.message, "value too long for type character varying(3)");
        assert_eq!(error.sql_state.code(), "22001");
        assert_eq!(varchar.stored("äöüx", true).as_deref(), Ok("äöü"));
        let fixed = StringKind::Char(3);
        assert_eq!(fixed.stored("a  ", false).as_deref(), Ok("a"));
        assert_eq!(fixed.stored("abcd", false).unwrap_err().message, "value too long for type character(3)");
        assert!(StringKind::Any.stored("a\0", false).is_err());
    }

    #[test]
    fn names_and_single_characters() {
        let long = "ä".repeat(40);
        assert_eq!(StringKind::Name.stored(&long, false).unwrap().len(), 62);
        for (text, byte) in [("abc", b'a'), ("", 0), ("\\303", 0o303), ("ä", 0xc3)] {
            assert_eq!(single_to_byte(&StringKind::Single.stored(text, false).unwrap()), byte, "{text}");
        }
    }
}
