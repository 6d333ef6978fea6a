//! CHECK, PRIMARY KEY and UNIQUE: checking them, naming them, putting them into a definition.

use colonnade_storage::{LockMode, LockTarget};
use colonnade_types::{CheckConstraint, ColumnId, KeyConstraint, SqlState, SqlType, TableDefinition};
use sqlparser::ast::{Expr, IndexColumn, NullsDistinctOption, TableConstraint};

use super::{column, expression, naming};
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::names::fold;

fn duplicate(name: &str, table: &str) -> Error {
    Error::new(SqlState::DUPLICATE_OBJECT, format!("constraint \"{name}\" for relation \"{table}\" already exists"))
}

/// Adds a CHECK; existing rows are not looked at here.
pub(super) fn add_check(
    context: &mut DdlContext<'_>,
    table: &mut TableDefinition,
    name: Option<&str>,
    expr: &Expr,
) -> Result<()> {
    let text = expression::stored(expr, |path| Err(crate::names::undefined_relation(path)))?;
    let bound = context.bind_expression(&text, table)?;
    if !matches!(bound.sql_type, SqlType::Boolean | SqlType::Unknown) {
        return Err(Error::new(
            SqlState::DATATYPE_MISMATCH,
            format!("argument of CHECK must be type boolean, not type {}", bound.sql_type.base_name()),
        ));
    }
    let name = match name {
        Some(name) => {
            let name = naming::truncate(name);
            if naming::constraint_exists(table, name) {
                return Err(duplicate(name, &table.name));
            }
            name.to_owned()
        }
        None => {
            let column = match bound.columns.as_slice() {
                [only] => only.as_str(),
                _ => "",
            };
            naming::choose(&table.name, column, "check", |name| naming::constraint_exists(table, name))
        }
    };
    let oid = context.database.allocate_oid();
    table.checks.push(CheckConstraint { oid, name, expression: text });
    Ok(())
}

/// What PRIMARY KEY or UNIQUE said.
pub(super) struct Key {
    pub(super) name: Option<String>,
    pub(super) columns: Vec<String>,
    pub(super) primary: bool,
    pub(super) nulls_not_distinct: bool,
}

/// Adds a key; existing rows are not looked at here. A primary key's columns become NOT NULL.
pub(super) async fn add_key(context: &mut DdlContext<'_>, table: &mut TableDefinition, key: &Key) -> Result<()> {
    if key.primary && table.primary_key().is_some() {
        return Err(Error::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("multiple primary keys for table \"{}\" are not allowed", table.name),
        ));
    }
    let mut columns: Vec<ColumnId> = Vec::new();
    for name in &key.columns {
        let Some(column) = table.column(name) else {
            return Err(Error::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" named in key does not exist"),
            ));
        };
        if columns.contains(&column.id) {
            let kind = if key.primary { "primary key" } else { "unique" };
            return Err(Error::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" appears twice in {kind} constraint"),
            ));
        }
        if matches!(column.sql_type, SqlType::Json) {
            return Err(Error::new(
                SqlState::UNDEFINED_OBJECT,
                "data type json has no default operator class for access method \"btree\"",
            )
            .with_hint("You must specify an operator class for the index or define a default operator class for the data type."));
        }
        columns.push(column.id);
    }
    let name = match &key.name {
        Some(name) => {
            let name = naming::truncate(name).to_owned();
            if naming::constraint_exists(table, &name) {
                return Err(duplicate(&name, &table.name));
            }
            context.lock(LockTarget::Name(table.schema, name.clone()), LockMode::AccessExclusive).await?;
            if naming::relation_exists(&context.transaction.catalog(), table.schema, &name) || name == table.name {
                return Err(Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists")));
            }
            name
        }
        None => {
            let (second, label) = if key.primary { (String::new(), "pkey") } else { (key.columns.join("_"), "key") };
            loop {
                let catalog = context.transaction.catalog();
                let taken = |name: &str| {
                    naming::relation_exists(&catalog, table.schema, name)
                        || naming::constraint_exists(table, name)
                        || name == table.name
                };
                let name = naming::choose(&table.name, &second, label, taken);
                context.lock(LockTarget::Name(table.schema, name.clone()), LockMode::AccessExclusive).await?;
                if !naming::relation_exists(&context.transaction.catalog(), table.schema, &name) {
                    break name;
                }
            }
        }
    };
    if key.primary {
        for column in table.columns.iter_mut().filter(|column| columns.contains(&column.id)) {
            column.not_null = true;
        }
    }
    let oid = context.database.allocate_oid();
    let index = context.database.allocate_oid();
    table.keys.push(KeyConstraint {
        oid,
        index,
        name,
        columns,
        primary: key.primary,
        nulls_not_distinct: key.nulls_not_distinct,
    });
    Ok(())
}

/// A table constraint as it was written.
pub(super) enum Written {
    Check { name: Option<String>, expr: Box<Expr> },
    Key(Key),
}

/// Reads a table constraint.
pub(super) fn read(constraint: &TableConstraint) -> Result<Written> {
    let deferred = |characteristics: &Option<sqlparser::ast::ConstraintCharacteristics>| {
        if characteristics.as_ref().is_some_and(|c| c.deferrable == Some(true)) {
            return Err(Error::unsupported("a DEFERRABLE constraint"));
        }
        Ok(())
    };
    match constraint {
        TableConstraint::Check(check) => {
            Ok(Written::Check { name: check.name.as_ref().map(fold), expr: check.expr.clone() })
        }
        TableConstraint::PrimaryKey(key) => {
            deferred(&key.characteristics)?;
            Ok(Written::Key(Key {
                name: key.name.as_ref().map(fold),
                columns: column_names(&key.columns)?,
                primary: true,
                nulls_not_distinct: false,
            }))
        }
        TableConstraint::Unique(key) => {
            deferred(&key.characteristics)?;
            Ok(Written::Key(Key {
                name: key.name.as_ref().map(fold),
                columns: column_names(&key.columns)?,
                primary: false,
                nulls_not_distinct: key.nulls_distinct == NullsDistinctOption::NotDistinct,
            }))
        }
        TableConstraint::ForeignKey(_) => Err(column::foreign_key()),
        other => Err(Error::unsupported(format!("constraint {other}"))),
    }
}

fn column_names(columns: &[IndexColumn]) -> Result<Vec<String>> {
    columns
        .iter()
        .map(|column| match &column.column.expr {
            Expr::Identifier(ident) => Ok(fold(ident)),
            other => Err(Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{other}\""))),
        })
        .collect()
}
