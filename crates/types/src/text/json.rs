//! JSON: validation with PostgreSQL's complaints, and the normal form of jsonb.
//!
//! `json` keeps its text. `jsonb` is stored as the text that PostgreSQL prints for it: keys sorted by length and then bytes,
//! of equal keys the last one, numbers as exact decimals without exponent, one blank after `:` and `,`.

use std::borrow::Cow;

use crate::error::ValueError;
use crate::sql_state::SqlState;
use crate::text::numeric::Digits;

/// Levels of nesting that are followed; the stack of the smallest thread holds them.
const DEPTH_MAX: usize = 1_500;
/// Digits that PostgreSQL's numeric holds before the point, and after it.
const NUMBER_DIGITS_MAX: i64 = 131_072;
const NUMBER_SCALE_MAX: i64 = 16_383;

/// Checks that a text is JSON.
pub(crate) fn validate(text: &str) -> Result<(), ValueError> {
    let mut parser = Parser::new(text, false)?;
    parser.value(0)?;
    parser.end()
}

/// The normal form of a JSON text.
pub(crate) fn normalize(text: &str) -> Result<String, ValueError> {
    let mut parser = Parser::new(text, true)?;
    let value = parser.value(0)?;
    parser.end()?;
    let mut out = String::with_capacity(text.len() + 16);
    print(&mut out, &value)?;
    Ok(out)
}

enum Value<'a> {
    /// `null`, `true`, `false`.
    Word(&'a str),
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Token {
    String,
    Number,
    Word,
    /// One of `{ } [ ] , :`.
    Mark(u8),
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// Whether values are kept and escapes are decoded.
    keep: bool,
    token: Token,
    start: usize,
    end: usize,
}

fn error(detail: String) -> ValueError {
    ValueError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json").with_detail(detail)
}

/// What PostgreSQL takes as part of one bad token.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, keep: bool) -> Result<Parser<'a>, ValueError> {
        let mut parser = Parser { text, keep, token: Token::End, start: 0, end: 0 };
        parser.advance()?;
        Ok(parser)
    }

    fn lexeme(&self) -> &'a str {
        &self.text[self.start..self.end]
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn word_end(&self, from: usize) -> usize {
        let rest = &self.text.as_bytes()[from..];
        from + rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len())
    }

    fn invalid_token(&self, end: usize) -> ValueError {
        error(format!("Token \"{}\" is invalid.", &self.text[self.start..end]))
    }

    fn advance(&mut self) -> Result<(), ValueError> {
        let mut at = self.end;
        while matches!(self.byte(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        self.start = at;
        let Some(first) = self.byte(at) else {
            (self.token, self.end) = (Token::End, at);
            return Ok(());
        };
        (self.token, self.end) = match first {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => (Token::Mark(first), at + 1),
            b'"' => (Token::String, self.string_end(at + 1)?),
            b'-' | b'0'..=b'9' => (Token::Number, self.number_end(at)?),
            _ => {
                let end = self.word_end(at);
                if end == at {
                    return Err(self.invalid_token(at + 1));
                }
                if !matches!(&self.text[at..end], "true" | "false" | "null") {
                    return Err(self.invalid_token(end));
                }
                (Token::Word, end)
            }
        };
        Ok(())
    }

    fn number_end(&self, start: usize) -> Result<usize, ValueError> {
        let mut at = start + usize::from(self.byte(start) == Some(b'-'));
        let mut bad = false;
        let digits = |from: usize| {
            let mut to = from;
            while self.byte(to).is_some_and(|byte| byte.is_ascii_digit()) {
                to += 1;
            }
            to
        };
        match self.byte(at) {
            Some(b'0') => at += 1,
            Some(b'1'..=b'9') => at = digits(at),
            _ => bad = true,
        }
        if self.byte(at) == Some(b'.') {
            let end = digits(at + 1);
            bad |= end == at + 1;
            at = end;
        }
        if matches!(self.byte(at), Some(b'e' | b'E')) {
            let from = at + 1 + usize::from(matches!(self.byte(at + 1), Some(b'+' | b'-')));
            let end = digits(from);
            bad |= end == from;
            at = end;
        }
        let end = self.word_end(at);
        if bad || end > at { Err(self.invalid_token(end)) } else { Ok(end) }
    }

    /// The end of a string whose first character stands at `at`.
    fn string_end(&self, mut at: usize) -> Result<usize, ValueError> {
        let mut high_surrogate = false;
        loop {
            let Some(byte) = self.byte(at) else { return Err(self.invalid_token(at)) };
            if byte < b' ' {
                return Err(error(format!("Character with value 0x{byte:02x} must be escaped.")));
            }
            let unicode = byte == b'\\' && self.byte(at + 1) == Some(b'u');
            if high_surrogate && !unicode {
                return Err(low_surrogate_missing());
            }
            match byte {
                b'"' => return Ok(at + 1),
                b'\\' => match self.byte(at + 1) {
                    None => return Err(self.invalid_token(at + 1)),
                    Some(b'u') => {
                        let digits =
                            self.text.as_bytes().get(at + 2..at + 6).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
                        if digits.is_none() {
                            return Err(error("\"\\u\" must be followed by four hexadecimal digits.".to_owned()));
                        }
                        if self.keep {
                            high_surrogate = self.check_unit(at, high_surrogate)?;
                        }
                        at += 6;
                    }
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                    Some(_) => {
                        let bad = self.text[at + 1..].chars().next().unwrap_or_default();
                        return Err(error(format!("Escape sequence \"\\{bad}\" is invalid.")));
                    }
                },
                _ => at += 1,
            }
        }
    }

    /// Checks a `\uXXXX` in its place; true if it begins a pair.
    fn check_unit(&self, at: usize, after_high: bool) -> Result<bool, ValueError> {
        match (self.unit(at), after_high) {
            (0, _) => Err(ValueError::new(SqlState::UNTRANSLATABLE_CHARACTER, "unsupported Unicode escape sequence")
                .with_detail("\\u0000 cannot be converted to text.")),
            (0xd800..=0xdbff, true) => {
                Err(error("Unicode high surrogate must not follow a high surrogate.".to_owned()))
            }
            (0xd800..=0xdbff, false) => Ok(true),
            (0xdc00..=0xdfff, false) => Err(low_surrogate_missing()),
            (0xdc00..=0xdfff, true) => Ok(false),
            (_, true) => Err(low_surrogate_missing()),
            (_, false) => Ok(false),
        }
    }

    fn unit(&self, at: usize) -> u32 {
        u32::from_str_radix(&self.text[at + 2..at + 6], 16).unwrap_or(0)
    }

    fn decoded(&self) -> Cow<'a, str> {
        let inner = &self.text[self.start + 1..self.end - 1];
        if !self.keep || !inner.contains('\\') {
            return Cow::Borrowed(inner);
        }
        let mut out = String::with_capacity(inner.len());
        let mut rest = inner;
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            let escape = rest.as_bytes()[at + 1];
            let mut length = 2;
            out.push(match escape {
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    let unit = |from: usize| u32::from_str_radix(&rest[from + 2..from + 6], 16).unwrap_or(0);
                    let mut code = unit(at);
                    length = 6;
                    if (0xd800..0xdc00).contains(&code) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (unit(at + 6) - 0xdc00);
                        length = 12;
                    }
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                other => char::from(other),
            });
            rest = &rest[at + length..];
        }
        out.push_str(rest);
        Cow::Owned(out)
    }

    fn expected(&self, what: &str) -> ValueError {
        if self.token == Token::End {
            return error("The input string ended unexpectedly.".to_owned());
        }
        error(format!("Expected {what}, but found \"{}\".", self.lexeme()))
    }

    fn end(&self) -> Result<(), ValueError> {
        if self.token == Token::End { Ok(()) } else { Err(self.expected("end of input")) }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, ValueError> {
        if depth > DEPTH_MAX {
            return Err(ValueError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded"));
        }
        let value = match self.token {
            Token::Word => Value::Word(self.lexeme()),
            Token::Number => Value::Number(self.lexeme()),
            Token::String => Value::String(self.decoded()),
            Token::Mark(b'[') => return self.array(depth),
            Token::Mark(b'{') => return self.object(depth),
            _ => return Err(self.expected("JSON value")),
        };
        self.advance()?;
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, ValueError> {
        let mut items = Vec::new();
        self.advance()?;
        if self.token != Token::Mark(b']') {
            loop {
                let item = self.value(depth + 1)?;
                if self.keep {
                    items.push(item);
                }
                match self.token {
                    Token::Mark(b',') => self.advance()?,
                    Token::Mark(b']') => break,
                    _ => return Err(self.expected("\",\" or \"]\"")),
                }
            }
        }
        self.advance()?;
        Ok(Value::Array(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, ValueError> {
        let mut entries = Vec::new();
        self.advance()?;
        match self.token {
            Token::String => loop {
                if self.token != Token::String {
                    return Err(self.expected("string"));
                }
                let key = self.decoded();
                self.advance()?;
                if self.token != Token::Mark(b':') {
                    return Err(self.expected("\":\""));
                }
                self.advance()?;
                let value = self.value(depth + 1)?;
                if self.keep {
                    entries.push((key, value));
                }
                match self.token {
                    Token::Mark(b',') => self.advance()?,
                    Token::Mark(b'}') => break,
                    _ => return Err(self.expected("\",\" or \"}\"")),
                }
            },
            Token::Mark(b'}') => {}
            _ => return Err(self.expected("string or \"}\"")),
        }
        self.advance()?;
        Ok(Value::Object(entries))
    }
}

fn low_surrogate_missing() -> ValueError {
    error("Unicode low surrogate must follow a high surrogate.".to_owned())
}

fn print(out: &mut String, value: &Value<'_>) -> Result<(), ValueError> {
    match value {
        Value::Word(word) => out.push_str(word),
        Value::Number(number) => print_number(out, number)?,
        Value::String(text) => print_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                print(out, item)?;
            }
            out.push(']');
        }
        Value::Object(entries) => {
            let mut sorted: Vec<&(Cow<'_, str>, Value<'_>)> = entries.iter().collect();
            // Stable: of equal keys the last one stays last, and is the one to keep.
            sorted.sort_by(|a, b| a.0.len().cmp(&b.0.len()).then_with(|| a.0.cmp(&b.0)));
            out.push('{');
            let mut first = true;
            for (index, (key, value)) in sorted.iter().enumerate() {
                if sorted.get(index + 1).is_some_and(|next| next.0 == *key) {
                    continue;
                }
                if !first {
                    out.push_str(", ");
                }
                first = false;
                print_string(out, key);
                out.push_str(": ");
                print(out, value)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// Appends a JSON string with the escapes that PostgreSQL writes.
fn print_string(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a number without exponent, all its digits kept.
fn print_number(out: &mut String, number: &str) -> Result<(), ValueError> {
    let overflow = || ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format");
    let (negative, unsigned) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    if !unsigned.contains(['e', 'E', '.']) && unsigned.len() <= 1_000 {
        if negative && unsigned != "0" {
            out.push('-');
        }
        out.push_str(unsigned);
        return Ok(());
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent: i64 = exponent.parse().map_err(|_| overflow())?;
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
    let scale = fraction.saturating_sub(exponent).max(0);
    let digits = Digits::parse(mantissa).ok_or_else(overflow)?;
    let zero = digits.digits.is_empty();
    let point = if zero { 0 } else { digits.point.saturating_add(exponent) };
    if point > NUMBER_DIGITS_MAX || scale > NUMBER_SCALE_MAX {
        return Err(overflow());
    }
    if negative && !zero {
        out.push('-');
    }
    let digit = |index: i64| {
        usize::try_from(index).ok().and_then(|index| digits.digits.get(index)).map_or('0', |digit| char::from(*digit))
    };
    if point <= 0 {
        out.push('0');
    }
    out.extend((0..point).map(digit));
    if scale > 0 {
        out.push('.');
        out.extend((point..point + scale).map(digit));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jsonb_normal_form() {
        for (text, normal) in [
            (r#"{"b":1,"a":2,"aa":3,"b":4}"#, r#"{"a": 2, "b": 4, "aa": 3}"#),
            (" [1 ,2,\n{} , [] ] ", "[1, 2, {}, []]"),
            (r#""a\u00e4\ud83d\ude00\/\n\u0001""#, r#""aä😀/\n\u0001""#),
            ("1.10", "1.10"),
            ("1e5", "100000"),
            ("1.5e3", "1500"),
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("1E-3", "0.001"),
            ("12345.678e-2", "123.45678"),
            ("0e10", "0"),
            ("123456789012345678901234567890.5", "123456789012345678901234567890.5"),
            ("null", "null"),
        ] {
            assert_eq!(normalize(text).as_deref(), Ok(normal), "{text}");
        }
    }

    #[test]
    fn details_of_errors() {
        for (text, detail) in [
            ("", "The input string ended unexpectedly."),
            ("abc", "Token \"abc\" is invalid."),
            ("{a:1}", "Token \"a\" is invalid."),
            ("'", "Token \"'\" is invalid."),
            ("\"abc", "Token \"\"abc\" is invalid."),
            ("01", "Token \"01\" is invalid."),
            ("1.x", "Token \"1.x\" is invalid."),
            ("-", "Token \"-\" is invalid."),
            ("[1,]", "Expected JSON value, but found \"]\"."),
            ("[1 2]", "Expected \",\" or \"]\", but found \"2\"."),
            ("{1:2}", "Expected string or \"}\", but found \"1\"."),
            ("{\"a\" 1}", "Expected \":\", but found \"1\"."),
            ("{\"a\":1 \"b\"}", "Expected \",\" or \"}\", but found \"\"b\"\"."),
            ("{\"a\":1,}", "Expected string, but found \"}\"."),
            ("{\"a\":}", "Expected JSON value, but found \"}\"."),
            ("1 2", "Expected end of input, but found \"2\"."),
            ("[1", "The input string ended unexpectedly."),
            ("\"a\nb\"", "Character with value 0x0a must be escaped."),
            (r#""\q""#, "Escape sequence \"\\q\" is invalid."),
            (r#""\u12g4""#, "\"\\u\" must be followed by four hexadecimal digits."),
        ] {
            let error = validate(text).unwrap_err();
            assert_eq!(error.message, "invalid input syntax for type json");
            assert_eq!(error.detail.as_deref(), Some(detail), "{text}");
        }
        assert_eq!(validate(r#""\u0000\ud800""#), Ok(()));
        for text in [r#""\u0000""#, r#""\ud800x""#, r#""\ude00""#, r#""\ud800\ud800""#, r#""\ud800""#] {
            assert!(normalize(text).is_err(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_crashed_on() {
        assert!(validate(&format!("{}{}", "[".repeat(1_000), "]".repeat(1_000))).is_ok());
        let error = normalize(&"[".repeat(1_000_000)).unwrap_err();
        assert_eq!(error.sql_state, SqlState::STATEMENT_TOO_COMPLEX);
    }
}
