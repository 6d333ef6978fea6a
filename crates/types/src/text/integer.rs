//! Integers and object identifiers.

use crate::error::ValueError;

/// The bounds of an integer type and its name in errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntegerKind {
    pub(crate) name: &'static str,
    min: i64,
    max: i64,
}

/// `smallint`
pub(crate) const SMALLINT: IntegerKind = IntegerKind { name: "smallint", min: i16::MIN as i64, max: i16::MAX as i64 };
/// `integer`
pub(crate) const INTEGER: IntegerKind = IntegerKind { name: "integer", min: i32::MIN as i64, max: i32::MAX as i64 };
/// `bigint`
pub(crate) const BIGINT: IntegerKind = IntegerKind { name: "bigint", min: i64::MIN, max: i64::MAX };

/// What C's `isspace` takes off both ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| matches!(c, ' ' | '\t'..='\r'))
}

/// Reads an integer; decimal, or `0x`, `0o`, `0b` with that radix, underscores between digits.
pub(crate) fn parse(text: &str, kind: IntegerKind) -> Result<i64, ValueError> {
    let bytes = text.as_bytes();
    // Up to 18 digits without anything around them cannot overflow.
    let (negative, digits) = match bytes.first() {
        Some(b'-') => (true, &bytes[1..]),
        _ => (false, bytes),
    };
    if !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit) {
        let magnitude = digits.iter().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        let value = if negative { -magnitude } else { magnitude };
        return in_range(value, text, kind);
    }
    match parse_slowly(trim(text)) {
        Some(Some(value)) => in_range(value, text, kind),
        Some(None) => Err(ValueError::out_of_range(kind.name, text)),
        None => Err(ValueError::syntax(kind.name, text)),
    }
}

fn in_range(value: i64, text: &str, kind: IntegerKind) -> Result<i64, ValueError> {
    if value < kind.min || value > kind.max { Err(ValueError::out_of_range(kind.name, text)) } else { Ok(value) }
}

/// `None` for bad syntax, `Some(None)` for a number beyond 64 bits.
fn parse_slowly(text: &str) -> Option<Option<i64>> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = split_radix(rest);
    let mut value: Option<i128> = Some(0);
    let mut last_was_digit = radix != 10;
    let mut any = false;
    for byte in digits.bytes() {
        if byte == b'_' {
            if !last_was_digit {
                return None;
            }
            last_was_digit = false;
            continue;
        }
        let digit = char::from(byte).to_digit(radix)?;
        value = value.map(|v| v * i128::from(radix) + i128::from(digit)).filter(|v| *v <= 1 << 64);
        last_was_digit = true;
        any = true;
    }
    if !any || !last_was_digit {
        return None;
    }
    Some(value.and_then(|v| i64::try_from(if negative { -v } else { v }).ok()))
}

/// The radix that a prefix names, and the digits after it.
pub(crate) fn split_radix(text: &str) -> (u32, &str) {
    match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'o' | b'O', ..] => (8, &text[2..]),
        [b'0', b'b' | b'B', ..] => (2, &text[2..]),
        _ => (10, text),
    }
}

/// Reads an object identifier; a negative one counts from the top, as in PostgreSQL.
pub(crate) fn parse_oid(text: &str, type_name: &str) -> Result<u32, ValueError> {
    let trimmed = trim(text);
    let (negative, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::syntax(type_name, text));
    }
    let value: i128 = digits.parse().map_err(|_| ValueError::out_of_range(type_name, text))?;
    let value = if negative { -value } else { value };
    if value < 0 {
        return i32::try_from(value).map(i32::cast_unsigned).map_err(|_| ValueError::out_of_range(type_name, text));
    }
    u32::try_from(value).map_err(|_| ValueError::out_of_range(type_name, text))
}

/// Appends an integer in decimal.
pub(crate) fn write(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqlState;

    #[test]
    fn what_integers_look_like() {
        for (text, value) in [
            ("0", 0),
            ("-32768", -32_768),
            (" +12\n", 12),
            ("0x1F", 31),
            ("-0b101", -5),
            ("0o17", 15),
            ("1_000", 1_000),
            ("0x_ff", 255),
            ("000000000000000000000000012", 12),
        ] {
            assert_eq!(parse(text, SMALLINT), Ok(value), "{text}");
        }
        assert_eq!(parse("-9223372036854775808", BIGINT), Ok(i64::MIN));
    }

    #[test]
    fn errors_in_postgresqls_words() {
        for (text, kind, message) in [
            ("abc", INTEGER, "invalid input syntax for type integer: \"abc\""),
            ("", BIGINT, "invalid input syntax for type bigint: \"\""),
            ("1 2", INTEGER, "invalid input syntax for type integer: \"1 2\""),
            ("1.5", INTEGER, "invalid input syntax for type integer: \"1.5\""),
            ("_1", INTEGER, "invalid input syntax for type integer: \"_1\""),
            ("1_", INTEGER, "invalid input syntax for type integer: \"1_\""),
            ("1__0", INTEGER, "invalid input syntax for type integer: \"1__0\""),
            ("99999", SMALLINT, "value \"99999\" is out of range for type smallint"),
            ("2147483648", INTEGER, "value \"2147483648\" is out of range for type integer"),
            ("9223372036854775808", BIGINT, "value \"9223372036854775808\" is out of range for type bigint"),
        ] {
            assert_eq!(parse(text, kind).unwrap_err().message, message);
        }
        assert_eq!(parse("99999", SMALLINT).unwrap_err().sql_state, SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
        assert_eq!(parse_oid("-1", "oid"), Ok(u32::MAX));
        assert!(parse_oid("4294967296", "oid").is_err());
    }
}
