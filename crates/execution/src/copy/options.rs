//! The options of COPY, checked.

use colonnade_types::SqlState;

use crate::copy::{CopyOptionValue, CopyStatement};
use crate::error::{Error, Result};
use crate::outcome::CopyFormat;

/// What a header line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Absent,
    Present,
    /// It must name the columns.
    Match,
}

/// Some columns, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ColumnSet {
    #[default]
    None,
    All,
    Named(Vec<String>),
}

impl ColumnSet {
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            ColumnSet::None => false,
            ColumnSet::All => true,
            ColumnSet::Named(names) => names.iter().any(|n| n == name),
        }
    }
}

/// How COPY's data look.
#[derive(Clone, Debug)]
pub(crate) struct CopyOptions {
    pub(crate) format: CopyFormat,
    pub(crate) delimiter: u8,
    pub(crate) null: String,
    pub(crate) header: Header,
    pub(crate) quote: u8,
    pub(crate) escape: u8,
    pub(crate) force_quote: ColumnSet,
    pub(crate) force_not_null: ColumnSet,
    pub(crate) force_null: ColumnSet,
}

fn syntax(message: impl Into<String>) -> Error {
    Error::new(SqlState::SYNTAX_ERROR, message)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn word(name: &str, value: &CopyOptionValue) -> Result<String> {
    match value {
        CopyOptionValue::Word(word) => Ok(word.clone()),
        _ => Err(syntax(format!("{name} requires a parameter"))),
    }
}

fn flag(name: &str, value: &CopyOptionValue) -> Result<bool> {
    match value {
        CopyOptionValue::None => Ok(true),
        CopyOptionValue::Word(word) => {
            colonnade_types::parse_boolean(word).ok_or_else(|| syntax(format!("{name} requires a Boolean value")))
        }
        _ => Err(syntax(format!("{name} requires a Boolean value"))),
    }
}

fn columns(name: &str, value: &CopyOptionValue) -> Result<ColumnSet> {
    match value {
        CopyOptionValue::All => Ok(ColumnSet::All),
        CopyOptionValue::List(names) => Ok(ColumnSet::Named(names.clone())),
        _ => Err(invalid(format!("argument to option \"{name}\" must be a list of column names"))),
    }
}

fn one_byte(what: &str, text: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => {
            Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("COPY {what} must be a single one-byte character")))
        }
    }
}

impl CopyOptions {
    /// Reads the options of a statement.
    ///
    /// # Errors
    /// As PostgreSQL refuses them: 42601, 22023, 0A000.
    pub(crate) fn of(copy: &CopyStatement) -> Result<CopyOptions> {
        let mut format = CopyFormat::Text;
        let (mut delimiter, mut null, mut quote, mut escape) = (None, None, None, None);
        let mut header = Header::Absent;
        let (mut force_quote, mut force_not_null, mut force_null) = Default::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in &copy.options {
            if seen.contains(&name.as_str()) {
                return Err(syntax("conflicting or redundant options"));
            }
            seen.push(name);
            match name.as_str() {
                "format" => {
                    format = match word(name, value)?.to_ascii_lowercase().as_str() {
                        "text" => CopyFormat::Text,
                        "csv" => CopyFormat::Csv,
                        "binary" => CopyFormat::Binary,
                        "parquet" => CopyFormat::Parquet,
                        other => return Err(invalid(format!("COPY format \"{other}\" not recognized"))),
                    };
                }
                "delimiter" => delimiter = Some(one_byte("delimiter", &word(name, value)?)?),
                "null" => null = Some(word(name, value)?),
                "header" => {
                    header = match value {
                        CopyOptionValue::Word(word) if word.eq_ignore_ascii_case("match") => Header::Match,
                        other if flag(name, other)? => Header::Present,
                        _ => Header::Absent,
                    };
                }
                "quote" => quote = Some(one_byte("quote", &word(name, value)?)?),
                "escape" => escape = Some(one_byte("escape", &word(name, value)?)?),
                "force_quote" => force_quote = columns(name, value)?,
                "force_not_null" => force_not_null = columns(name, value)?,
                "force_null" => force_null = columns(name, value)?,
                "encoding" => {
                    let encoding = word(name, value)?;
                    if !matches!(
                        encoding.to_ascii_lowercase().replace(['-', '_'], "").as_str(),
                        "utf8" | "unicode" | "sqlascii"
                    ) {
                        return Err(invalid("argument to option \"encoding\" must be a valid encoding name")
                            .with_detail("Only UTF8 is supported."));
                    }
                }
                // Rows are never frozen; the word promises nothing that we do not keep.
                "freeze" => {
                    flag(name, value)?;
                }
                other => return Err(syntax(format!("option \"{other}\" not recognized"))),
            }
        }
        let csv = format == CopyFormat::Csv;
        for (given, name) in [(quote.is_some(), "QUOTE"), (escape.is_some(), "ESCAPE")] {
            if given && !csv {
                return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("COPY {name} requires CSV mode")));
            }
        }
        if format == CopyFormat::Binary && (delimiter.is_some() || null.is_some() || header != Header::Absent) {
            return Err(syntax("cannot specify DELIMITER, NULL or HEADER in BINARY mode"));
        }
        let quote = quote.unwrap_or(b'"');
        let options = CopyOptions {
            format,
            delimiter: delimiter.unwrap_or(if csv { b',' } else { b'\t' }),
            null: null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() }),
            header,
            quote,
            escape: escape.unwrap_or(quote),
            force_quote,
            force_not_null,
            force_null,
        };
        options.check()
    }

    fn check(self) -> Result<CopyOptions> {
        if matches!(self.delimiter, b'\n' | b'\r') {
            return Err(invalid("COPY delimiter cannot be newline or carriage return"));
        }
        if self.null.contains(['\n', '\r']) {
            return Err(invalid("COPY null representation cannot use newline or carriage return"));
        }
        if self.format == CopyFormat::Csv && self.quote == self.delimiter {
            return Err(invalid("COPY delimiter and quote must be different"));
        }
        if self.format == CopyFormat::Text && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&self.delimiter) {
            return Err(invalid(format!("COPY delimiter cannot be \"{}\"", char::from(self.delimiter))));
        }
        if self.null.as_bytes().contains(&self.delimiter) {
            return Err(invalid("COPY delimiter must not appear in the NULL specification"));
        }
        Ok(self)
    }
}
