//! `table_constraints`, `check_constraints`, `key_column_usage` and `constraint_column_usage`.

use colonnade_types::{Relation, TableDefinition};

use super::view;
use crate::functions::value::Value;
use crate::pg_catalog::definitions;
use crate::pg_catalog::view::{Source, SystemView, row};

fn tables<'a>(source: &'a Source<'_>) -> impl Iterator<Item = (&'a TableDefinition, String)> {
    let catalog = &source.statement.catalog;
    catalog.relations().filter_map(|relation| match relation {
        Relation::Table(table) => {
            let schema = catalog.schema(table.schema).map(|schema| schema.name.clone()).unwrap_or_default();
            Some((table.as_ref(), schema))
        }
        _ => None,
    })
}

/// PostgreSQL shows NOT NULL as a CHECK of this name.
fn not_null_name(table: &TableDefinition, column: u32) -> String {
    format!("{}_{}_{column}_not_null", table.schema, table.oid)
}

pub(super) const TABLE_CONSTRAINTS: SystemView = view(
    20,
    "table_constraints",
    "constraint_catalog name, constraint_schema name, constraint_name name, table_catalog name, table_schema name,
        table_name name, constraint_type text, is_deferrable text, initially_deferred text, enforced text,
        nulls_distinct text",
    |source| {
        let database = source.info.database_name();
        let mut rows = Vec::new();
        for (table, schema) in tables(source) {
            let mut push = |name: &str, kind: &str, distinct: Option<&str>| {
                rows.push(row![
                    database,
                    &schema,
                    name,
                    database,
                    &schema,
                    &table.name,
                    kind,
                    "NO",
                    "NO",
                    "YES",
                    distinct
                ]);
            };
            for key in &table.keys {
                if key.primary {
                    push(&key.name, "PRIMARY KEY", None);
                } else {
                    push(&key.name, "UNIQUE", Some(if key.nulls_not_distinct { "NO" } else { "YES" }));
                }
            }
            for check in &table.checks {
                push(&check.name, "CHECK", None);
            }
            for column in table.columns.iter().filter(|column| column.not_null) {
                push(&not_null_name(table, column.id.0), "CHECK", None);
            }
        }
        Ok(rows)
    },
);

pub(super) const CHECK_CONSTRAINTS: SystemView = view(
    21,
    "check_constraints",
    "constraint_catalog name, constraint_schema name, constraint_name name, check_clause text",
    |source| {
        let database = source.info.database_name();
        let mut rows = Vec::new();
        for (table, schema) in tables(source) {
            for check in &table.checks {
                let text = definitions::expression(source.statement, &check.expression);
                rows.push(row![database, &schema, &check.name, format!("(({text}))")]);
            }
            for column in table.columns.iter().filter(|column| column.not_null) {
                let name = not_null_name(table, column.id.0);
                rows.push(row![database, &schema, name, format!("{} IS NOT NULL", column.name)]);
            }
        }
        Ok(rows)
    },
);

pub(super) const KEY_COLUMN_USAGE: SystemView = view(
    22,
    "key_column_usage",
    "constraint_catalog name, constraint_schema name, constraint_name name, table_catalog name, table_schema name,
        table_name name, column_name name, ordinal_position int4, position_in_unique_constraint int4",
    |source| {
        let database = source.info.database_name();
        let mut rows = Vec::new();
        for (table, schema) in tables(source) {
            for key in &table.keys {
                for (position, id) in (1i32..).zip(&key.columns) {
                    let column = table.column_by_id(*id).map(|column| column.name.clone());
                    rows.push(row![
                        database,
                        &schema,
                        &key.name,
                        database,
                        &schema,
                        &table.name,
                        column,
                        position,
                        Value::Null
                    ]);
                }
            }
        }
        Ok(rows)
    },
);

pub(super) const CONSTRAINT_COLUMN_USAGE: SystemView = view(
    23,
    "constraint_column_usage",
    "table_catalog name, table_schema name, table_name name, column_name name, constraint_catalog name,
        constraint_schema name, constraint_name name",
    |source| {
        let database = source.info.database_name();
        let mut rows = Vec::new();
        for (table, schema) in tables(source) {
            let mut push = |column: colonnade_types::ColumnId, constraint: &str| {
                let column = table.column_by_id(column).map(|column| column.name.clone());
                rows.push(row![database, &schema, &table.name, column, database, &schema, constraint]);
            };
            for key in &table.keys {
                for id in &key.columns {
                    push(*id, &key.name);
                }
            }
            for check in &table.checks {
                for id in crate::ddl::expression::columns_of(table, &check.expression) {
                    push(id, &check.name);
                }
            }
        }
        Ok(rows)
    },
);
