//! `columns`.

use colonnade_types::{ColumnDefinition, IdentityKind, Oid, Relation, SqlType};

use super::view;
use crate::error::Error;
use crate::functions::value::Value;
use crate::pg_catalog::definitions;
use crate::pg_catalog::view::{Rows, Source, SystemView, row};

pub(super) const COLUMNS: SystemView = view(
    10,
    "columns",
    "table_catalog name, table_schema name, table_name name, column_name name, ordinal_position int4,
        column_default text, is_nullable text, data_type text, character_maximum_length int4,
        character_octet_length int4, numeric_precision int4, numeric_precision_radix int4, numeric_scale int4,
        datetime_precision int4, interval_type text, interval_precision int4, character_set_catalog name,
        character_set_schema name, character_set_name name, collation_catalog name, collation_schema name,
        collation_name name, domain_catalog name, domain_schema name, domain_name name, udt_catalog name,
        udt_schema name, udt_name name, scope_catalog name, scope_schema name, scope_name name,
        maximum_cardinality int4, dtd_identifier name, is_self_referencing text, is_identity text,
        identity_generation text, identity_start text, identity_increment text, identity_maximum text,
        identity_minimum text, identity_cycle text, is_generated text, generation_expression text, is_updatable text",
    rows,
);

/// Where a column is.
struct Place<'a> {
    schema: Oid,
    relation: &'a str,
    position: u32,
    updatable: bool,
}

fn rows(source: &Source<'_>) -> Result<Rows, Error> {
    let mut rows = Vec::new();
    for relation in source.statement.catalog.relations() {
        match relation {
            Relation::Table(table) => {
                for column in &table.columns {
                    let place =
                        Place { schema: table.schema, relation: &table.name, position: column.id.0, updatable: true };
                    rows.push(column_row(source, &place, &column.name, &column.sql_type, Some(column)));
                }
            }
            Relation::View(view) => {
                for (position, column) in (1..).zip(&view.columns) {
                    let place = Place { schema: view.schema, relation: &view.name, position, updatable: false };
                    rows.push(column_row(source, &place, &column.name, &column.sql_type, None));
                }
            }
            Relation::Sequence(_) => {}
        }
    }
    for system in crate::pg_catalog::views() {
        for (position, (name, sql_type)) in (1..).zip(system.column_types()) {
            let place = Place { schema: system.schema, relation: system.name, position, updatable: false };
            rows.push(column_row(source, &place, &name, &sql_type, None));
        }
    }
    Ok(rows)
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "YES" } else { "NO" }
}

fn column_row(
    source: &Source<'_>,
    place: &Place<'_>,
    name: &str,
    sql_type: &SqlType,
    column: Option<&ColumnDefinition>,
) -> Vec<Value> {
    let database = source.info.database_name();
    let catalog = &source.statement.catalog;
    let length = match sql_type {
        SqlType::Varchar(length) => *length,
        SqlType::Char(length) => Some(*length),
        _ => None,
    };
    let octets = match sql_type {
        SqlType::Text | SqlType::Varchar(None) => Some(1 << 30),
        _ => length.map(|length| length.saturating_mul(4)),
    };
    let (precision, radix, scale) = match sql_type {
        SqlType::SmallInt => (Some(16i32), Some(2i32), Some(0i32)),
        SqlType::Integer => (Some(32), Some(2), Some(0)),
        SqlType::BigInt => (Some(64), Some(2), Some(0)),
        SqlType::Real => (Some(24), Some(2), None),
        SqlType::DoublePrecision => (Some(53), Some(2), None),
        SqlType::Numeric(Some((precision, scale))) => (Some(i32::from(*precision)), Some(10), Some(i32::from(*scale))),
        SqlType::Numeric(None) => (None, Some(10), None),
        _ => (None, None, None),
    };
    let fraction = match sql_type {
        SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz | SqlType::Interval => Some(6i32),
        SqlType::Date => Some(0),
        _ => None,
    };
    let identity = column.and_then(|column| column.identity.as_ref());
    let generator = identity.and_then(|identity| match catalog.relation(identity.sequence) {
        Some(Relation::Sequence(sequence)) => Some(sequence),
        _ => None,
    });
    row![
        database,
        catalog.schema(place.schema).map(|schema| schema.name.clone()),
        place.relation,
        name,
        place.position,
        column
            .and_then(|column| column.default.as_ref())
            .map(|default| definitions::expression(source.statement, default)),
        yes_no(!column.is_some_and(|column| column.not_null)),
        if matches!(sql_type, SqlType::Array(_)) { "ARRAY".to_owned() } else { sql_type.base_name() },
        length,
        octets,
        precision,
        radix,
        scale,
        fraction,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        database,
        "pg_catalog",
        sql_type.typname(),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        place.position.to_string(),
        "NO",
        yes_no(identity.is_some()),
        identity.map(|identity| match identity.kind {
            IdentityKind::Always => "ALWAYS",
            IdentityKind::ByDefault => "BY DEFAULT",
        }),
        generator.map(|sequence| sequence.start.to_string()),
        generator.map(|sequence| sequence.increment.to_string()),
        generator.map(|sequence| sequence.max.to_string()),
        generator.map(|sequence| sequence.min.to_string()),
        yes_no(generator.is_some_and(|sequence| sequence.cycle)),
        "NEVER",
        Value::Null,
        yes_no(place.updatable),
    ]
}
