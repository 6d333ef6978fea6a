//! DataFusion's failures in PostgreSQL's words.
//!
//! Our own errors come back out of `External` unchanged. The rest is told apart by kind, and where DataFusion has only text, by its text.

use arrow::error::ArrowError;
use colonnade_types::SqlState;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use sqlparser::tokenizer::Location;

use crate::error::{Error, Result};

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Error {
        translate(error)
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Error {
        translate_arrow(error)
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Error {
        Error::new(SqlState::BAD_COPY_FILE_FORMAT, format!("could not read Parquet data: {error}"))
    }
}

/// A place in a statement's text, kept in an error until the text is at hand ([`place`]).
const LINE: usize = 1 << 40;

fn translate(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(error) => translate(*error),
                Err(inner) => match inner.downcast::<ArrowError>() {
                    Ok(error) => translate_arrow(*error),
                    Err(inner) => Error::internal(inner.to_string()),
                },
            },
        },
        DataFusionError::Shared(inner) => translate_shared(&inner),
        DataFusionError::Context(_, inner) => translate(*inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => translate(errors.swap_remove(0)),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let mut error = translate(*inner);
            if let Some(span) = diagnostic.span
                && error.position.is_none()
                && span.start.line > 0
            {
                error.position = Some(packed(Location { line: span.start.line, column: span.start.column }));
            }
            error
        }
        DataFusionError::ArrowError(error, _) => translate_arrow(*error),
        DataFusionError::ParquetError(error) => (*error).into(),
        DataFusionError::SchemaError(error, _) => schema_error(&error),
        DataFusionError::NotImplemented(message) => Error::new(SqlState::FEATURE_NOT_SUPPORTED, first_line(&message)),
        DataFusionError::Plan(message) => plan_error(&message),
        DataFusionError::ResourcesExhausted(message) => {
            Error::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(first_line(&message))
        }
        DataFusionError::IoError(error) => crate::locks::disk_error("could not access a file", &error),
        DataFusionError::ObjectStore(error) => {
            Error::new(SqlState::UNDEFINED_FILE, format!("could not open file: {error}"))
        }
        DataFusionError::Execution(message) => execution_error(&message),
        DataFusionError::SQL(error, _) => Error::new(SqlState::SYNTAX_ERROR, error.to_string()),
        other => Error::internal(first_line(&other.strip_backtrace())),
    }
}

fn translate_shared(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(error) => error.clone(),
            None => Error::internal(inner.to_string()),
        },
        DataFusionError::Shared(inner) => translate_shared(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translate_shared(inner),
        DataFusionError::ResourcesExhausted(message) => translate(DataFusionError::ResourcesExhausted(message.clone())),
        DataFusionError::Execution(message) => execution_error(message),
        DataFusionError::Plan(message) => plan_error(message),
        DataFusionError::NotImplemented(message) => translate(DataFusionError::NotImplemented(message.clone())),
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => translate_arrow(ArrowError::DivideByZero),
            ArrowError::ArithmeticOverflow(message) => translate_arrow(ArrowError::ArithmeticOverflow(message.clone())),
            ArrowError::CastError(message) => translate_arrow(ArrowError::CastError(message.clone())),
            ArrowError::ComputeError(message) => translate_arrow(ArrowError::ComputeError(message.clone())),
            other => Error::internal(other.to_string()),
        },
        other => Error::internal(first_line(&other.to_string())),
    }
}

fn translate_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => translate(DataFusionError::External(inner)),
        ArrowError::DivideByZero => Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(message) => overflow(&message),
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            if message.contains("overflow") || message.contains("too large") || message.contains("out of range") {
                return overflow(&message);
            }
            Error::new(SqlState::INVALID_TEXT_REPRESENTATION, lowercase_first(&message))
        }
        ArrowError::ComputeError(message) | ArrowError::InvalidArgumentError(message)
            if message.to_ascii_lowercase().contains("overflow") =>
        {
            overflow(&message)
        }
        ArrowError::NotYetImplemented(message) => Error::new(SqlState::FEATURE_NOT_SUPPORTED, message),
        ArrowError::IoError(_, error) => crate::locks::disk_error("could not access a file", &error),
        other => Error::internal(other.to_string()),
    }
}

fn overflow(message: &str) -> Error {
    let text = if message.contains("ecimal") || message.contains("precision") {
        "numeric field overflow"
    } else {
        "value out of range: overflow"
    };
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, text)
}

fn first_line(message: &str) -> String {
    lowercase_first(message.lines().next().unwrap_or_default())
}

fn lowercase_first(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut chars = message.chars();
    match (chars.next(), message.chars().nth(1)) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => message.to_owned(),
    }
}

fn column_name(column: &Column) -> String {
    match &column.relation {
        Some(relation) => format!("column {}.{} does not exist", relation.table(), column.name),
        None => format!("column \"{}\" does not exist", column.name),
    }
}

fn schema_error(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            if let Some(relation) = &field.relation {
                let known = valid_fields
                    .iter()
                    .any(|valid| valid.relation.as_ref().is_some_and(|r| r.table() == relation.table()));
                if !known {
                    return Error::new(
                        SqlState::UNDEFINED_TABLE,
                        format!("missing FROM-clause entry for table \"{}\"", relation.table()),
                    );
                }
            }
            Error::new(SqlState::UNDEFINED_COLUMN, column_name(field))
        }
        SchemaError::AmbiguousReference { field } => {
            Error::new(SqlState::AMBIGUOUS_COLUMN, format!("column reference \"{}\" is ambiguous", field.name))
        }
        SchemaError::DuplicateQualifiedField { qualifier, name } => {
            if name.is_empty() {
                return Error::new(
                    SqlState("42712"),
                    format!("table name \"{}\" specified more than once", qualifier.table()),
                );
            }
            Error::new(SqlState("42712"), format!("table name \"{}\" specified more than once", qualifier.table()))
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(SqlState::AMBIGUOUS_COLUMN, format!("column reference \"{name}\" is ambiguous"))
        }
    }
}

/// The text between the first pair of single quotes.
fn quoted(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once('\'')?;
    rest.split_once('\'').map(|(inner, _)| inner)
}

fn plan_error(message: &str) -> Error {
    let line = message.lines().next().unwrap_or_default();
    let undefined_function = |name: &str, arguments: Option<&str>| {
        let arguments = arguments.unwrap_or_default();
        Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}({arguments}) does not exist")).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )
    };
    if line.starts_with("Invalid function") {
        return undefined_function(quoted(line).unwrap_or_default(), Some(""));
    }
    if (line.contains("Failed to coerce arguments to satisfy a call to") || line.contains("does not support"))
        && let Some(name) = quoted(line)
    {
        return undefined_function(name, argument_types(line).as_deref());
    }
    if line.contains("No function matches the given name and argument types")
        && let Some((_, call)) = line.split_once("argument types '")
    {
        let call = call.split('\'').next().unwrap_or_default();
        let name = call.split('(').next().unwrap_or_default().to_lowercase();
        return undefined_function(&name, argument_types(call).as_deref());
    }
    if line.contains("must appear in the GROUP BY clause") || line.contains("must be in GROUP BY") {
        let column = line.split('"').nth(1).or_else(|| line.rsplit(": ").next()).unwrap_or_default();
        return Error::new(
            SqlState::GROUPING_ERROR,
            format!(
                "column \"{}\" must appear in the GROUP BY clause or be used in an aggregate function",
                column.replace("public.", "")
            ),
        );
    }
    if line.contains("table function") && line.contains("not found") {
        return undefined_function(quoted(line).unwrap_or_default(), Some(""));
    }
    if line.contains("not valid for placeholder") || line.contains("Placeholder") {
        return Error::new(SqlState::INDETERMINATE_DATATYPE, lowercase_first(line));
    }
    if line.contains("Cannot infer common argument type")
        || line.contains("Cannot coerce arithmetic expression")
        || line.contains("cannot be coerced")
        || line.contains("Cannot get result type")
    {
        return operator_error(line);
    }
    if line.contains("Aggregate functions are not allowed")
        || line.contains("aggregate function") && line.contains("WHERE")
    {
        return Error::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in WHERE");
    }
    if line.contains("must have the same number of columns")
        || line.contains("queries have different number of columns")
    {
        return Error::new(SqlState::SYNTAX_ERROR, "each UNION query must have the same number of columns");
    }
    if line.contains("Inconsistent data length across values list") {
        return Error::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length");
    }
    if line.contains("Cannot create filter with non-boolean predicate") {
        return Error::new(SqlState::DATATYPE_MISMATCH, "argument of WHERE must be type boolean");
    }
    if line.contains("should only return one column") || line.contains("should return one column") {
        return Error::new(SqlState::SYNTAX_ERROR, "subquery must return only one column");
    }
    if line.contains("columns but only") && line.contains("names given as column alias") {
        return Error::new(SqlState::INVALID_COLUMN_REFERENCE, lowercase_first(line));
    }
    if line.contains("Order by column out of bounds") || line.contains("Group by column out of bounds") {
        return Error::new(SqlState::INVALID_COLUMN_REFERENCE, lowercase_first(line));
    }
    if line.contains("Projections require unique expression names") {
        return Error::new(SqlState::DUPLICATE_COLUMN, lowercase_first(line));
    }
    Error::new(SqlState::SYNTAX_ERROR, lowercase_first(line))
}

/// Types of the arguments in a call that DataFusion's message shows, in SQL's names where they can be told.
fn argument_types(line: &str) -> Option<String> {
    let open = line.find('(')?;
    let close = line.rfind(')')?;
    let inner = line.get(open + 1..close)?;
    let names: Vec<String> = split_types(inner).iter().map(|name| sql_name(name.trim()).to_owned()).collect();
    Some(names.join(", "))
}

fn split_types(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

fn sql_name(arrow: &str) -> &str {
    match arrow {
        "Boolean" => "boolean",
        "Int8" | "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Utf8" | "Null" => "unknown",
        "Utf8View" | "LargeUtf8" => "text",
        "Date32" => "date",
        "BinaryView" | "Binary" => "bytea",
        "FixedSizeBinary(16)" => "uuid",
        other if other.starts_with("Decimal") => "numeric",
        other if other.starts_with("Timestamp") && other.contains("None") => "timestamp without time zone",
        other if other.starts_with("Timestamp") => "timestamp with time zone",
        other if other.starts_with("Time64") => "time without time zone",
        other if other.starts_with("Interval") => "interval",
        other => other,
    }
}

/// `operator does not exist: integer = text`, from DataFusion's sentence about two Arrow types.
fn operator_error(line: &str) -> Error {
    let text = match line.rsplit_once("expression ") {
        Some((_, expression)) => expression.split(' ').map(sql_name).collect::<Vec<_>>().join(" "),
        None => {
            let text = line.rsplit_once("operation ").map_or(line, |(_, rest)| rest);
            text.split(' ').map(sql_name).collect::<Vec<_>>().join(" ")
        }
    };
    Error::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {text}"))
        .with_hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

fn execution_error(message: &str) -> Error {
    let lower = message.to_ascii_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return Error::new(SqlState::DIVISION_BY_ZERO, "division by zero");
    }
    if lower.contains("overflow") {
        return overflow(message);
    }
    if lower.contains("scalar subquery") && lower.contains("more than one row")
        || lower.contains("more than one row returned")
    {
        return Error::new(
            SqlState::CARDINALITY_VIOLATION,
            "more than one row returned by a subquery used as an expression",
        );
    }
    if lower.contains("regular expression") || lower.contains("regex") {
        return Error::new(
            SqlState::INVALID_REGULAR_EXPRESSION,
            format!("invalid regular expression: {}", first_line(message)),
        );
    }
    Error::new(SqlState::INVALID_PARAMETER_VALUE, first_line(message))
}

/// A place by line and column, as an error's position, until [`place`] has the text.
pub(crate) fn packed(location: Location) -> usize {
    let line = usize::try_from(location.line).unwrap_or(0);
    let column = usize::try_from(location.column).unwrap_or(0);
    LINE + (line << 20) + column.min((1 << 20) - 1)
}

/// Turns a place by line and column, left by [`translate`], into characters of `source`.
pub(crate) fn place<T>(result: Result<T>, source: &str) -> Result<T> {
    result.map_err(|mut error| {
        if let Some(position) = error.position.filter(|position| *position >= LINE) {
            let packed = position - LINE;
            error.position = offset(source, packed >> 20, packed & ((1 << 20) - 1));
        }
        error
    })
}

fn offset(source: &str, line: usize, column: usize) -> Option<usize> {
    let before: usize = source.split_inclusive('\n').take(line.checked_sub(1)?).map(|text| text.chars().count()).sum();
    Some(before + column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_errors_come_back_unchanged() {
        let error = Error::new(SqlState::CHECK_VIOLATION, "no").with_detail("because");
        let wrapped = DataFusionError::Context("x".to_owned(), Box::new(error.clone().into_datafusion()));
        assert_eq!(Error::from(wrapped), error);
        let through_arrow = ArrowError::ExternalError(Box::new(error.clone()));
        assert_eq!(Error::from(DataFusionError::from(through_arrow)), error);
    }

    #[test]
    fn arithmetic_failures_have_their_states() {
        assert_eq!(Error::from(ArrowError::DivideByZero).sql_state, SqlState::DIVISION_BY_ZERO);
        let overflow = Error::from(ArrowError::ArithmeticOverflow("Overflow happened".to_owned()));
        assert_eq!(overflow.sql_state, SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    }
}
