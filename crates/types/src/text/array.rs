//! Array literals: `{1,NULL,"a b"}`. One dimension, lower bound 1.

use std::borrow::Cow;

use crate::error::ValueError;
use crate::sql_state::SqlState;
use crate::text::integer::trim;

/// Splits a literal into its elements; `None` is NULL.
pub(crate) fn split(text: &str) -> Result<Vec<Option<Cow<'_, str>>>, ValueError> {
    let malformed = |detail: &str| {
        ValueError::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{text}\""))
            .with_detail(detail)
    };
    let body = trim(skip_dimensions(text)?);
    let Some(inner) = body.strip_prefix('{') else {
        return Err(malformed(if body.len() == trim(text).len() {
            "Array value must start with \"{\" or dimension information."
        } else {
            "Array contents must start with \"{\"."
        }));
    };
    let mut scanner = Scanner { rest: inner };
    let mut elements = Vec::new();
    scanner.skip_blanks();
    if scanner.take(b'}') {
        return scanner.end(elements).ok_or_else(|| malformed("Junk after closing right brace."));
    }
    loop {
        scanner.skip_blanks();
        match scanner.rest.as_bytes().first() {
            None => return Err(malformed("Unexpected end of input.")),
            Some(b'{') => return Err(multidimensional()),
            Some(b'}') => return Err(malformed("Unexpected \"}\" character.")),
            Some(b',') => return Err(malformed("Unexpected \",\" character.")),
            Some(b'"') => {
                let element = scanner.quoted().ok_or_else(|| malformed("Unexpected end of input."))?;
                elements.push(Some(element));
                scanner.skip_blanks();
                match scanner.rest.as_bytes().first() {
                    Some(b',' | b'}') => {}
                    None => return Err(malformed("Unexpected end of input.")),
                    Some(_) => return Err(malformed("Unexpected array element.")),
                }
            }
            Some(_) => elements.push(scanner.bare().map_err(malformed)?),
        }
        if scanner.take(b'}') {
            return scanner.end(elements).ok_or_else(|| malformed("Junk after closing right brace."));
        }
        if !scanner.take(b',') {
            return Err(malformed("Unexpected end of input."));
        }
    }
}

fn multidimensional() -> ValueError {
    ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, "multidimensional arrays are not supported")
}

/// The text after `[1:3]=`.
fn skip_dimensions(text: &str) -> Result<&str, ValueError> {
    let trimmed = trim(text);
    let Some(rest) = trimmed.strip_prefix('[') else { return Ok(trimmed) };
    let bounds = rest.split_once(']').and_then(|(bounds, rest)| {
        let (lower, upper) = bounds.split_once(':').unwrap_or(("1", bounds));
        let rest = trim(rest);
        if rest.starts_with('[') {
            return Some((0, 0, rest));
        }
        Some((trim(lower).parse::<i32>().ok()?, trim(upper).parse::<i32>().ok()?, rest.strip_prefix('=')?))
    });
    match bounds {
        Some((1, _, rest)) => Ok(rest),
        Some((_, _, rest)) if rest.starts_with('[') => Err(multidimensional()),
        Some(_) => {
            Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, "array lower bounds other than 1 are not supported"))
        }
        None => {
            Err(ValueError::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{text}\""))
                .with_detail("\"[\" must introduce explicitly-specified array dimensions."))
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| matches!(c, ' ' | '\t'..='\r'));
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.as_bytes().first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn end<T>(&self, value: T) -> Option<T> {
        trim(self.rest).is_empty().then_some(value)
    }

    /// A quoted element; `None` if the quote does not end.
    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let body = &self.rest[1..];
        let plain = body.find(['"', '\\'])?;
        if body.as_bytes()[plain] == b'"' {
            self.rest = &body[plain + 1..];
            return Some(Cow::Borrowed(&body[..plain]));
        }
        let mut out = String::new();
        let mut chars = body.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &body[at + 1..];
                    return Some(Cow::Owned(out));
                }
                '\\' => out.push(chars.next()?.1),
                c => out.push(c),
            }
        }
        None
    }

    /// An element without quotes: up to a delimiter, outer blanks dropped, backslash escapes.
    fn bare(&mut self) -> Result<Option<Cow<'a, str>>, &'static str> {
        let end = self.rest.find([',', '}', '{', '"', '\\']).ok_or("Unexpected end of input.")?;
        if matches!(self.rest.as_bytes()[end], b',' | b'}') {
            let element = trim(&self.rest[..end]);
            self.rest = &self.rest[end..];
            return Ok((!element.eq_ignore_ascii_case("null")).then_some(Cow::Borrowed(element)));
        }
        let mut out = String::new();
        let mut significant = 0;
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                ',' | '}' => {
                    out.truncate(significant);
                    self.rest = &self.rest[at..];
                    return Ok(Some(Cow::Owned(out)));
                }
                '{' => return Err("Unexpected \"{\" character."),
                '"' => return Err("Unexpected array element."),
                '\\' => {
                    out.push(chars.next().ok_or("Unexpected end of input.")?.1);
                    significant = out.len();
                }
                c => {
                    out.push(c);
                    if !matches!(c, ' ' | '\t'..='\r') {
                        significant = out.len();
                    }
                }
            }
        }
        Err("Unexpected end of input.")
    }
}

/// Puts quotes around the element that was appended from `start` on, if it needs them.
pub(crate) fn quote_element(out: &mut Vec<u8>, start: usize) {
    let element = &out[start..];
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t'..=b'\r');
    if !element.is_empty() && !element.eq_ignore_ascii_case(b"null") && !element.iter().any(special) {
        return;
    }
    let element = out.split_off(start);
    out.push(b'"');
    for byte in element {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(text: &str) -> Vec<Option<String>> {
        split(text).unwrap().into_iter().map(|element| element.map(Cow::into_owned)).collect()
    }

    #[test]
    fn literals() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(elements(" { } "), vec![]);
        assert_eq!(elements("{1, 2 ,NULL,null}"), vec![some("1"), some("2"), None, None]);
        assert_eq!(
            elements(r#"{"a b","","nu\"ll\\","NULL"}"#),
            vec![some("a b"), some(""), some("nu\"ll\\"), some("NULL")]
        );
        assert_eq!(elements(r"{ a\ b , \,}"), vec![some("a b"), some(",")]);
        assert_eq!(elements("[1:2]={x,y}"), vec![some("x"), some("y")]);
    }

    #[test]
    fn errors() {
        for (text, detail) in [
            ("1,2", "Array value must start with \"{\" or dimension information."),
            ("", "Array value must start with \"{\" or dimension information."),
            ("{1,2", "Unexpected end of input."),
            ("{1,}", "Unexpected \"}\" character."),
            ("{,1}", "Unexpected \",\" character."),
            ("{1}x", "Junk after closing right brace."),
            ("{\"a\"b}", "Unexpected array element."),
            ("{a\"b\"}", "Unexpected array element."),
            ("{\"a", "Unexpected end of input."),
        ] {
            let error = split(text).unwrap_err();
            assert_eq!(error.message, format!("malformed array literal: \"{text}\""));
            assert_eq!(error.detail.as_deref(), Some(detail), "{text}");
        }
        for text in ["{{1},{2}}", "[0:1]={1,2}", "[1:1][1:1]={{1}}"] {
            assert_eq!(split(text).unwrap_err().sql_state, SqlState::FEATURE_NOT_SUPPORTED, "{text}");
        }
    }

    #[test]
    fn quoting() {
        for (element, shown) in [
            ("a", "a"),
            ("", "\"\""),
            ("NULL", "\"NULL\""),
            ("a b", "\"a b\""),
            ("a\"b\\", "\"a\\\"b\\\\\""),
            ("{", "\"{\""),
            ("ä", "ä"),
        ] {
            let mut out = b"{".to_vec();
            out.extend_from_slice(element.as_bytes());
            quote_element(&mut out, 1);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{{{shown}"));
        }
    }
}
