//! Byte strings: hex and escape forms.

use crate::error::ValueError;
use crate::settings::ByteaOutput;
use crate::sql_state::SqlState;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Reads either form.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, ValueError> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escape(text.as_bytes()).ok_or_else(|| {
            ValueError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea")
        }),
    }
}

fn parse_hex(hex: &str) -> Result<Vec<u8>, ValueError> {
    let mut out = Vec::with_capacity(hex.len() / 2);
    let mut chars = hex.chars().peekable();
    while let Some(first) = chars.next() {
        if matches!(first, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let high = hex_digit(first)?;
        let second = chars.next().ok_or_else(|| {
            ValueError::new(SqlState::INVALID_PARAMETER_VALUE, "invalid hexadecimal data: odd number of digits")
        })?;
        out.push(high << 4 | hex_digit(second)?);
    }
    Ok(out)
}

fn hex_digit(digit: char) -> Result<u8, ValueError> {
    digit.to_digit(16).map(|value| value as u8).ok_or_else(|| {
        ValueError::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid hexadecimal digit: \"{digit}\""))
    })
}

fn parse_escape(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match *tail {
            [b'\\', ..] => {
                out.push(b'\\');
                rest = &tail[1..];
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = &tail[3..];
            }
            _ => return None,
        }
    }
    Some(out)
}

/// Appends a byte string.
pub(crate) fn write(out: &mut Vec<u8>, value: &[u8], form: ByteaOutput) {
    match form {
        ByteaOutput::Hex => {
            out.reserve(2 + value.len() * 2);
            out.extend_from_slice(b"\\x");
            for byte in value {
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        ByteaOutput::Escape => {
            for &byte in value {
                match byte {
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    b' '..=b'~' => out.push(byte),
                    _ => out.extend_from_slice(&octal(byte)),
                }
            }
        }
    }
}

/// `\ooo`
pub(crate) fn octal(byte: u8) -> [u8; 4] {
    [b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_read_and_print() {
        for (text, bytes) in [
            ("\\x", &b""[..]),
            ("\\xDEad be\nef", b"\xde\xad\xbe\xef"),
            ("abc", b"abc"),
            ("a\\\\b\\001\\377", b"a\\b\x01\xff"),
            ("ä", "ä".as_bytes()),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(bytes), "{text}");
        }
        let mut out = Vec::new();
        write(&mut out, b"a\\\x00\xff~", ByteaOutput::Escape);
        assert_eq!(out, b"a\\\\\\000\\377~");
        out.clear();
        write(&mut out, b"a\xff", ByteaOutput::Hex);
        assert_eq!(out, b"\\x61ff");
    }

    #[test]
    fn errors() {
        for (text, message) in [
            ("\\x1", "invalid hexadecimal data: odd number of digits"),
            ("\\x1g", "invalid hexadecimal digit: \"g\""),
            ("\\x1 2", "invalid hexadecimal digit: \" \""),
            ("a\\", "invalid input syntax for type bytea"),
            ("a\\400", "invalid input syntax for type bytea"),
        ] {
            assert_eq!(parse(text).unwrap_err().message, message);
        }
    }
}
