//! How results are written in the files, and when two are the same.

use sqllogictest::ColumnType;

/// What the files tell apart among column types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// `smallint`, `integer`, `bigint`, `oid`.
    Integer,
    /// `real`, `double precision`, `numeric`.
    Number,
    /// Everything else.
    Text,
    /// Not known here: the simple protocol's client library does not tell.
    Any,
}

impl Type {
    /// Whether the columns of a result have the types that the file says.
    #[expect(clippy::ptr_arg, reason = "the runner takes functions of this very type")]
    pub(crate) fn same(actual: &Vec<Type>, expected: &Vec<Type>) -> bool {
        let same = |(a, e): (&Type, &Type)| a == e || *a == Type::Any || *e == Type::Any;
        // A result without columns is written `query T`.
        actual.is_empty() || (actual.len() == expected.len() && actual.iter().zip(expected).all(same))
    }
}

impl ColumnType for Type {
    fn from_char(value: char) -> Option<Self> {
        Some(match value {
            'I' => Type::Integer,
            'R' => Type::Number,
            'T' => Type::Text,
            '?' => Type::Any,
            _ => return None,
        })
    }

    fn to_char(&self) -> char {
        match self {
            Type::Integer => 'I',
            Type::Number => 'R',
            Type::Text => 'T',
            Type::Any => '?',
        }
    }
}

/// One value as the files write it.
pub(crate) fn cell(text: Option<&str>) -> String {
    match text {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.replace('\n', "\\n"),
    }
}

/// Lines differ in what stands before their end only.
#[expect(clippy::ptr_arg, reason = "the runner takes functions of this very type")]
pub(crate) fn normalise(line: &String) -> String {
    line.trim_end().to_owned()
}

/// Stands for any text, line breaks included.
const ANYTHING: &str = "<slt:ignore>";

/// Row by row, columns separated by `|`. If the expectation holds [`ANYTHING`], what stands between has to be found in its order.
pub(crate) fn compare(_: sqllogictest::Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let lines: Vec<String> = actual.iter().map(|row| row.join("|").trim_end().to_owned()).collect();
    if expected.iter().any(|line| line.contains(ANYTHING)) {
        let text = lines.join("\n");
        let expected = expected.join("\n");
        let mut rest = text.as_str();
        return expected.split(ANYTHING).map(|part| part.trim_matches('\n')).all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        });
    }
    lines.len() == expected.len() && lines.iter().zip(expected).all(|(line, expected)| line == expected.trim_end())
}

/// A statement's failure, `SQLSTATE: message`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) sql_state: String,
    pub(crate) message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.sql_state, self.message)
    }
}

impl std::error::Error for Failure {}
