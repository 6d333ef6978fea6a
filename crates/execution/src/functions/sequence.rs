//! `nextval` and its like. Values are taken at once and never given back: sequences are not transactional.

use std::sync::Arc;

use colonnade_types::{Relation, SequenceDefinition, SqlState};

use super::function::{Call, Function};
use super::names;
use super::value::Value;
use crate::error::{Error, Result};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::volatile("nextval(regclass) -> bigint", |call, arguments| {
            let sequence = sequence(call, &arguments[0])?;
            let value = call.info.database().sequence_next(&sequence)?;
            call.info.remember_draw(sequence.oid, value);
            Ok(value.into())
        }),
        Function::volatile("currval(regclass) -> bigint", |call, arguments| {
            let sequence = sequence(call, &arguments[0])?;
            let not_yet = || {
                Error::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("currval of sequence \"{}\" is not yet defined in this session", sequence.name),
                )
            };
            call.info.drawn(sequence.oid).map(Value::Int).ok_or_else(not_yet)
        }),
        Function::volatile("lastval() -> bigint", |call, _| {
            let last = call.info.last_drawn().filter(|(oid, _)| call.statement.catalog.relation(*oid).is_some());
            last.map(|(_, value)| Value::Int(value)).ok_or_else(|| {
                Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "lastval is not yet defined in this session")
            })
        }),
        Function::volatile("setval(regclass, bigint) -> bigint", |call, arguments| {
            set(call, &arguments[0], arguments[1].int(), true)
        }),
        Function::volatile("setval(regclass, bigint, boolean) -> bigint", |call, arguments| {
            set(call, &arguments[0], arguments[1].int(), arguments[2].is_true())
        }),
        Function::stable("pg_sequence_last_value(regclass) -> bigint", |call, arguments| {
            let state = call.info.database().sequence_state(sequence(call, &arguments[0])?.as_ref());
            Ok(if state.is_called { Value::Int(state.last_value) } else { Value::Null })
        }),
        Function::stable("pg_get_serial_sequence(text, text) -> text", serial_sequence),
    ]
}

fn sequence(call: &Call<'_>, oid: &Value) -> Result<Arc<SequenceDefinition>> {
    match call.statement.catalog.relation(oid.oid()) {
        Some(Relation::Sequence(sequence)) => Ok(Arc::clone(sequence)),
        Some(other) => Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a sequence", other.name()))),
        None => Err(Error::new(SqlState::UNDEFINED_TABLE, format!("relation with OID {} does not exist", oid.oid()))),
    }
}

fn set(call: &Call<'_>, oid: &Value, value: i64, is_called: bool) -> Result<Value> {
    let sequence = sequence(call, oid)?;
    if value < sequence.min || value > sequence.max {
        return Err(Error::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!(
                "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                sequence.name, sequence.min, sequence.max
            ),
        ));
    }
    call.info.database().sequence_set(sequence.oid, value, is_called)?;
    if is_called {
        call.info.remember_draw(sequence.oid, value);
    }
    Ok(value.into())
}

fn serial_sequence(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let text = arguments[0].text();
    let missing = || Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{text}\" does not exist"));
    let found = names::find_relation(call.statement, text)?.ok_or_else(missing)?;
    let Some(Relation::Table(table)) = call.statement.catalog.relation(found.oid) else {
        return Ok(Value::Null);
    };
    let name = arguments[1].text();
    let Some(column) = table.column(name) else {
        return Err(Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        ));
    };
    for relation in call.statement.catalog.relations() {
        if let Relation::Sequence(sequence) = relation
            && sequence.owned_by == Some((table.oid, column.id))
        {
            let found = names::relation_of(call.statement, sequence.oid);
            return Ok(found.map(|found| names::qualified(call.statement, &found)).into());
        }
    }
    Ok(Value::Null)
}
