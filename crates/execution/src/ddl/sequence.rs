//! CREATE and ALTER SEQUENCE, and the sequences behind serial and identity columns.

use std::sync::Arc;

use colonnade_storage::{CatalogEdit, LockMode, LockTarget};
use colonnade_types::{ColumnId, Oid, Relation, SequenceDefinition, SqlState, SqlType};
use sqlparser::ast::{DataType, Expr, ObjectName, SequenceOptions, UnaryOperator, Value};

use super::{column, naming, skipping};
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::names::{ObjectPath, find_relation, fold, undefined_relation};

/// The clauses of a sequence, as they stand.
pub(super) struct Parts<'a> {
    pub(super) data_type: Option<&'a DataType>,
    pub(super) options: &'a [SequenceOptions],
    pub(super) owned_by: Option<&'a ObjectName>,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// Reads a number that may have a sign.
pub(super) fn integer(expr: &Expr) -> Result<i64> {
    let out_of_range = |text: &str| {
        Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type bigint"))
    };
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.to_string().parse().map_err(|_| out_of_range(&number.to_string())),
            other => Err(Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{other}\""))),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            // The smallest number has no positive twin.
            let text = format!("-{expr}");
            text.parse().map_err(|_| out_of_range(&text))
        }
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } | Expr::Nested(expr) => integer(expr),
        other => Err(Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{other}\""))),
    }
}

fn bounds(sql_type: &SqlType) -> Result<(i64, i64)> {
    match sql_type {
        SqlType::SmallInt => Ok((i16::MIN.into(), i16::MAX.into())),
        SqlType::Integer => Ok((i32::MIN.into(), i32::MAX.into())),
        SqlType::BigInt => Ok((i64::MIN, i64::MAX)),
        _ => Err(invalid("sequence type must be smallint, integer, or bigint")),
    }
}

/// A sequence with all defaults.
pub(super) fn plain(oid: Oid, schema: Oid, name: String, owner: &str, sql_type: SqlType) -> Result<SequenceDefinition> {
    let (_, max) = bounds(&sql_type)?;
    Ok(SequenceDefinition {
        oid,
        schema,
        name,
        owner: owner.to_owned(),
        sql_type,
        start: 1,
        increment: 1,
        min: 1,
        max,
        cycle: false,
        cache: 1,
        owned_by: None,
    })
}

/// Applies options to a sequence. `fresh` says that bounds and start which are not given take their defaults.
pub(super) fn apply(sequence: &mut SequenceDefinition, options: &[SequenceOptions], fresh: bool) -> Result<()> {
    let (type_min, type_max) = bounds(&sequence.sql_type)?;
    let (mut min, mut max, mut start) = (None, None, None);
    for option in options {
        match option {
            SequenceOptions::IncrementBy(value, _) => {
                sequence.increment = integer(value)?;
                if sequence.increment == 0 {
                    return Err(invalid("INCREMENT must not be zero"));
                }
            }
            SequenceOptions::MinValue(value) => min = Some(value.as_ref().map(integer).transpose()?),
            SequenceOptions::MaxValue(value) => max = Some(value.as_ref().map(integer).transpose()?),
            SequenceOptions::StartWith(value, _) => start = Some(integer(value)?),
            SequenceOptions::Cache(value) => {
                sequence.cache = integer(value)?;
                if sequence.cache < 1 {
                    return Err(invalid(format!("CACHE ({}) must be greater than zero", sequence.cache)));
                }
            }
            // The parser's flag says NO CYCLE.
            SequenceOptions::Cycle(no) => sequence.cycle = !no,
        }
    }
    let ascending = sequence.increment > 0;
    match max {
        Some(Some(value)) => sequence.max = value,
        Some(None) => sequence.max = if ascending { type_max } else { -1 },
        None if fresh => sequence.max = if ascending { type_max } else { -1 },
        None => {}
    }
    match min {
        Some(Some(value)) => sequence.min = value,
        Some(None) => sequence.min = if ascending { 1 } else { type_min },
        None if fresh => sequence.min = if ascending { 1 } else { type_min },
        None => {}
    }
    let name = sequence.sql_type.base_name();
    if sequence.max < type_min || sequence.max > type_max {
        return Err(invalid(format!("MAXVALUE ({}) is out of range for sequence data type {name}", sequence.max)));
    }
    if sequence.min < type_min || sequence.min > type_max {
        return Err(invalid(format!("MINVALUE ({}) is out of range for sequence data type {name}", sequence.min)));
    }
    if sequence.min >= sequence.max {
        return Err(invalid(format!("MINVALUE ({}) must be less than MAXVALUE ({})", sequence.min, sequence.max)));
    }
    match start {
        Some(value) => sequence.start = value,
        None if fresh => sequence.start = if ascending { sequence.min } else { sequence.max },
        None => {}
    }
    if sequence.start < sequence.min {
        return Err(invalid(format!(
            "START value ({}) cannot be less than MINVALUE ({})",
            sequence.start, sequence.min
        )));
    }
    if sequence.start > sequence.max {
        return Err(invalid(format!(
            "START value ({}) cannot be greater than MAXVALUE ({})",
            sequence.start, sequence.max
        )));
    }
    Ok(())
}

/// CREATE SEQUENCE.
pub(super) async fn create(
    context: &mut DdlContext<'_>,
    name: &ObjectName,
    if_not_exists: bool,
    parts: &Parts<'_>,
) -> Result<()> {
    let path = ObjectPath::from_ast(name)?;
    let Some((schema, name)) = super::table::claim(context, &path, if_not_exists).await? else {
        return Ok(());
    };
    let sql_type = parts.data_type.map_or(Ok(SqlType::BigInt), column::data_type)?;
    let oid = context.database.allocate_oid();
    let mut sequence = plain(oid, schema, name, context.user, sql_type)?;
    apply(&mut sequence, parts.options, true)?;
    if let Some(owner) = parts.owned_by {
        sequence.owned_by = owned_by(context, owner)?;
    }
    put(context, sequence)
}

/// Stores a sequence, and sets where it starts.
pub(super) fn put(context: &mut DdlContext<'_>, sequence: SequenceDefinition) -> Result<()> {
    let (oid, start) = (sequence.oid, sequence.start);
    context.transaction.edit_catalog(CatalogEdit::PutRelation(Relation::Sequence(Arc::new(sequence))))?;
    context.database.sequence_set(oid, start, false)?;
    Ok(())
}

/// Reads OWNED BY: `NONE`, or a column.
pub(super) fn owned_by(context: &DdlContext<'_>, name: &ObjectName) -> Result<Option<(Oid, ColumnId)>> {
    let mut parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    let Some(column) = parts.pop() else {
        return Ok(None);
    };
    let Some(table) = parts.pop() else {
        if column == "none" {
            return Ok(None);
        }
        return Err(Error::new(SqlState::SYNTAX_ERROR, "invalid OWNED BY option")
            .with_hint("Specify OWNED BY table.column or OWNED BY NONE."));
    };
    let path = ObjectPath { schema: parts.pop(), name: table };
    let catalog = context.transaction.catalog();
    let Some(Relation::Table(table)) = find_relation(&catalog, context.search_path, &path) else {
        return Err(undefined_relation(&path));
    };
    let found = table.column(&column).ok_or_else(|| column::missing(&column, &table.name))?;
    Ok(Some((table.oid, found.id)))
}

/// What ALTER SEQUENCE may do besides the options of CREATE.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// AS type
    pub(crate) data_type: Option<SqlType>,
    /// INCREMENT, MINVALUE, ...
    pub(crate) options: Vec<SequenceOptions>,
    /// RESTART [WITH n]
    pub(crate) restart: Option<Option<i64>>,
    /// OWNED BY
    pub(crate) owned_by: Option<ObjectName>,
}

/// ALTER SEQUENCE with options.
pub(super) async fn alter(
    context: &mut DdlContext<'_>,
    path: &ObjectPath,
    if_exists: bool,
    change: &Change,
) -> Result<()> {
    let Some(relation) = super::drop::find_and_lock(context, path).await? else {
        let error = undefined_relation(path);
        if if_exists {
            skipping(context, SqlState::SUCCESSFUL_COMPLETION, format!("{}, skipping", error.message));
            return Ok(());
        }
        return Err(error);
    };
    let Relation::Sequence(sequence) = relation else {
        let message = format!("\"{}\" is not a sequence", path.name);
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
    };
    let mut sequence = sequence.as_ref().clone();
    if let Some(sql_type) = &change.data_type {
        let (old_min, old_max) = bounds(&sequence.sql_type)?;
        let (min, max) = bounds(sql_type)?;
        if sequence.max == old_max {
            sequence.max = max;
        }
        if sequence.min == old_min {
            sequence.min = min;
        }
        sequence.sql_type = sql_type.clone();
    }
    apply(&mut sequence, &change.options, false)?;
    if let Some(owner) = &change.owned_by {
        sequence.owned_by = owned_by(context, owner)?;
    }
    let (oid, min, max) = (sequence.oid, sequence.min, sequence.max);
    let restart = change.restart.map(|value| value.unwrap_or(sequence.start));
    if let Some(value) = restart {
        if value < min {
            return Err(invalid(format!("RESTART value ({value}) cannot be less than MINVALUE ({min})")));
        }
        if value > max {
            return Err(invalid(format!("RESTART value ({value}) cannot be greater than MAXVALUE ({max})")));
        }
    }
    context.transaction.edit_catalog(CatalogEdit::PutRelation(Relation::Sequence(Arc::new(sequence))))?;
    if let Some(value) = restart {
        context.database.sequence_set(oid, value, false)?;
    }
    Ok(())
}

/// Makes the sequence behind a serial or identity column; its name is `table_column_seq` or a variation of it.
pub(super) async fn for_column(
    context: &mut DdlContext<'_>,
    place: &ColumnPlace<'_>,
    sql_type: SqlType,
    options: &[SequenceOptions],
) -> Result<Oid> {
    let name = loop {
        let catalog = context.transaction.catalog();
        let name = naming::choose(place.table_name, place.column, "seq", |name| {
            naming::relation_exists(&catalog, place.schema, name) || name == place.table_name
        });
        context.lock(LockTarget::Name(place.schema, name.clone()), LockMode::AccessExclusive).await?;
        if !naming::relation_exists(&context.transaction.catalog(), place.schema, &name) {
            break name;
        }
    };
    let oid = context.database.allocate_oid();
    let mut sequence = plain(oid, place.schema, name, context.user, sql_type)?;
    apply(&mut sequence, options, true)?;
    sequence.owned_by = Some((place.table, place.id));
    put(context, sequence)?;
    Ok(oid)
}

/// The column that a sequence is made for.
pub(super) struct ColumnPlace<'a> {
    pub(super) schema: Oid,
    pub(super) table: Oid,
    pub(super) table_name: &'a str,
    pub(super) column: &'a str,
    pub(super) id: ColumnId,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(sql_type: SqlType, options: &[SequenceOptions]) -> Result<SequenceDefinition> {
        let mut sequence = plain(Oid(1), Oid(2), "s".to_owned(), "colonnade", sql_type)?;
        apply(&mut sequence, options, true)?;
        Ok(sequence)
    }

    fn number(value: i64) -> Expr {
        let number = Expr::Value(Value::Number(value.unsigned_abs().to_string(), false).into());
        if value < 0 { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number) } } else { number }
    }

    #[test]
    fn a_descending_sequence_counts_from_minus_one() {
        let sequence = fresh(SqlType::SmallInt, &[SequenceOptions::IncrementBy(number(-1), true)]).unwrap();
        assert_eq!((sequence.start, sequence.min, sequence.max), (-1, -32_768, -1));
    }

    #[test]
    fn bounds_that_contradict_are_refused_as_in_postgresql() {
        let message = |options: &[SequenceOptions]| fresh(SqlType::Integer, options).unwrap_err().message.clone();
        assert_eq!(message(&[SequenceOptions::IncrementBy(number(0), true)]), "INCREMENT must not be zero");
        assert_eq!(
            message(&[SequenceOptions::MinValue(Some(number(5))), SequenceOptions::MaxValue(Some(number(4)))]),
            "MINVALUE (5) must be less than MAXVALUE (4)"
        );
        assert_eq!(
            message(&[SequenceOptions::StartWith(number(-3), true)]),
            "START value (-3) cannot be less than MINVALUE (1)"
        );
        assert_eq!(
            message(&[SequenceOptions::MaxValue(Some(number(3_000_000_000)))]),
            "MAXVALUE (3000000000) is out of range for sequence data type integer"
        );
    }
}
