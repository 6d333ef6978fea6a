//! Text, arrays and identifiers.

use colonnade_types::{ColumnEncoder, Format, SqlState, SqlType};

use super::function::{Call, Function};
use super::names::{quote_identifier, quote_literal};
use super::value::{Value, to_array};
use crate::error::{Error, Result};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::immutable("quote_ident(text) -> text", |_, arguments| {
            Ok(quote_identifier(arguments[0].text()).into())
        }),
        Function::stable("quote_literal(any) -> text", |call, arguments| {
            Ok(quote_literal(&to_text(call, 0, &arguments[0])?).into())
        }),
        Function::stable("quote_nullable(any) -> text", |call, arguments| {
            if arguments[0].is_null() {
                return Ok("NULL".into());
            }
            Ok(quote_literal(&to_text(call, 0, &arguments[0])?).into())
        })
        .null_call(),
        Function::stable("format(text, variadic any) -> text", format).null_call(),
        Function::immutable("array_upper(anyarray, integer) -> integer", |_, arguments| {
            Ok(match &arguments[0] {
                Value::List(items) if !items.is_empty() && arguments[1].int() == 1 => items.len().into(),
                _ => Value::Null,
            })
        }),
        Function::immutable("array_lower(anyarray, integer) -> integer", |_, arguments| {
            Ok(match &arguments[0] {
                Value::List(items) if !items.is_empty() && arguments[1].int() == 1 => 1i32.into(),
                _ => Value::Null,
            })
        }),
        Function::stable("array_to_string(anyarray, text) -> text", |call, arguments| {
            join(call, &arguments[0], arguments[1].text(), None)
        }),
        Function::stable("array_to_string(anyarray, text, text) -> text", |call, arguments| {
            if arguments[0].is_null() || arguments[1].is_null() {
                return Ok(Value::Null);
            }
            let null = if arguments[2].is_null() { None } else { Some(arguments[2].text()) };
            join(call, &arguments[0], arguments[1].text(), null)
        })
        .null_call(),
        Function::volatile("gen_random_uuid() -> uuid", |_, _| Ok(Value::Uuid(uuid::Uuid::new_v4().into_bytes()))),
        Function::immutable("regexp_split_to_array(text, text) -> text[]", |_, arguments| {
            let pattern = regex::Regex::new(arguments[1].text()).map_err(|error| {
                Error::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {error}"))
            })?;
            Ok(pattern.split(arguments[0].text()).collect::<Vec<_>>().into())
        }),
        Function::immutable("parse_ident(text) -> text[]", |_, arguments| {
            let path = crate::names::ObjectPath::parse(arguments[0].text())?;
            Ok(path.schema.into_iter().chain([path.name]).collect::<Vec<_>>().into())
        }),
    ]
}

/// A value in PostgreSQL's text form.
fn text_of(sql_type: &SqlType, call: &Call<'_>, value: &Value) -> Result<String> {
    if let Value::Text(text) = value {
        return Ok(text.clone());
    }
    let out_of_type = |error: arrow::error::ArrowError| Error::internal(error.to_string());
    let array = to_array(sql_type, std::slice::from_ref(value)).map_err(out_of_type)?;
    let encoder = ColumnEncoder::new(sql_type, &array, Format::Text, call.statement.settings.display())?;
    let mut bytes = Vec::new();
    encoder.write(0, &mut bytes);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn to_text(call: &Call<'_>, index: usize, value: &Value) -> Result<String> {
    text_of(call.argument_types.get(index).unwrap_or(&SqlType::Text), call, value)
}

fn join(call: &Call<'_>, list: &Value, separator: &str, null: Option<&str>) -> Result<Value> {
    let Value::List(items) = list else {
        return Ok(Value::Null);
    };
    let element = match call.argument_types.first() {
        Some(SqlType::Array(element)) => element.as_ref(),
        _ => &SqlType::Text,
    };
    let mut parts = Vec::with_capacity(items.len());
    for item in items {
        if item.is_null() {
            parts.extend(null.map(str::to_owned));
        } else {
            parts.push(text_of(element, call, item)?);
        }
    }
    Ok(parts.join(separator).into())
}

/// `format('%s %I %L %1$s %-10s', ...)`.
fn format(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let invalid = |message: &str| Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
    if arguments[0].is_null() {
        return Ok(Value::Null);
    }
    let pattern: Vec<char> = arguments[0].text().chars().collect();
    let mut out = String::new();
    let mut next = 1;
    let mut at = 0;
    let number = |at: &mut usize| {
        let start = *at;
        while pattern.get(*at).is_some_and(char::is_ascii_digit) {
            *at += 1;
        }
        pattern[start..*at].iter().collect::<String>().parse::<usize>().ok()
    };
    while at < pattern.len() {
        if pattern[at] != '%' {
            out.push(pattern[at]);
            at += 1;
            continue;
        }
        at += 1;
        if pattern.get(at) == Some(&'%') {
            out.push('%');
            at += 1;
            continue;
        }
        let before = at;
        let mut position = number(&mut at);
        if pattern.get(at) == Some(&'$') {
            at += 1;
            if position == Some(0) {
                return Err(invalid("format specifies argument 0, but arguments are numbered from 1"));
            }
        } else {
            position = None;
            at = before;
        }
        let left = pattern.get(at) == Some(&'-');
        at += usize::from(left);
        let width = number(&mut at).unwrap_or(0);
        let kind = *pattern.get(at).ok_or_else(|| invalid("unterminated format() type specifier"))?;
        at += 1;
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(invalid(&format!("unrecognized format() type specifier \"{kind}\""))
                .with_hint("For a single \"%\" use \"%%\"."));
        }
        let index = position.unwrap_or(next);
        next = index + 1;
        let value = arguments.get(index).ok_or_else(|| invalid("too few arguments for format()"))?;
        let text = match (kind, value.is_null()) {
            ('s', true) => String::new(),
            ('I', true) => {
                let message = "null values cannot be formatted as an SQL identifier";
                return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
            }
            ('L', true) => "NULL".to_owned(),
            ('I', false) => quote_identifier(&to_text(call, index, value)?),
            ('L', false) => quote_literal(&to_text(call, index, value)?),
            _ => to_text(call, index, value)?,
        };
        let padding = " ".repeat(width.saturating_sub(text.chars().count()).min(1 << 20));
        if left {
            out.push_str(&text);
            out.push_str(&padding);
        } else {
            out.push_str(&padding);
            out.push_str(&text);
        }
    }
    Ok(out.into())
}
