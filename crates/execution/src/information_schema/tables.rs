//! `tables`, `views` and `view_table_usage`.

use colonnade_types::{Oid, Relation};

use super::view;
use crate::functions::value::Value;
use crate::pg_catalog::view::{SystemView, row};

pub(super) const TABLES: SystemView = view(
    2,
    "tables",
    "table_catalog name, table_schema name, table_name name, table_type text, self_referencing_column_name name,
        reference_generation text, user_defined_type_catalog name, user_defined_type_schema name,
        user_defined_type_name name, is_insertable_into text, is_typed text, commit_action text",
    |source| {
        let database = source.info.database_name();
        let catalog = &source.statement.catalog;
        let table = |schema: Oid, name: &str, kind: &str, insertable: &str| {
            row![
                database,
                catalog.schema(schema).map(|schema| schema.name.clone()),
                name,
                kind,
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
                insertable,
                "NO",
                Value::Null
            ]
        };
        let mut rows = Vec::new();
        for relation in catalog.relations() {
            match relation {
                Relation::Table(definition) => {
                    rows.push(table(definition.schema, &definition.name, "BASE TABLE", "YES"));
                }
                Relation::View(definition) => rows.push(table(definition.schema, &definition.name, "VIEW", "NO")),
                Relation::Sequence(_) => {}
            }
        }
        for system in crate::pg_catalog::views() {
            let kind = if system.kind == "r" { "BASE TABLE" } else { "VIEW" };
            rows.push(table(system.schema, system.name, kind, "NO"));
        }
        Ok(rows)
    },
);

pub(super) const VIEWS_VIEW: SystemView = view(
    3,
    "views",
    "table_catalog name, table_schema name, table_name name, view_definition text, check_option text,
        is_updatable text, is_insertable_into text, is_trigger_updatable text, is_trigger_deletable text,
        is_trigger_insertable_into text",
    |source| {
        let catalog = &source.statement.catalog;
        let mut rows = Vec::new();
        for relation in catalog.relations() {
            if let Relation::View(definition) = relation {
                rows.push(row![
                    source.info.database_name(),
                    catalog.schema(definition.schema).map(|schema| schema.name.clone()),
                    &definition.name,
                    format!("{};", definition.query),
                    "NONE",
                    "NO",
                    "NO",
                    "NO",
                    "NO",
                    "NO"
                ]);
            }
        }
        Ok(rows)
    },
);

pub(super) const VIEW_TABLE_USAGE: SystemView = view(
    4,
    "view_table_usage",
    "view_catalog name, view_schema name, view_name name, table_catalog name, table_schema name, table_name name",
    |source| {
        let database = source.info.database_name();
        let catalog = &source.statement.catalog;
        let schema = |oid: Oid| catalog.schema(oid).map(|schema| schema.name.clone());
        let mut rows = Vec::new();
        for relation in catalog.relations() {
            let Relation::View(definition) = relation else { continue };
            for used in definition.depends_on.iter().filter_map(|oid| catalog.relation(*oid)) {
                rows.push(row![
                    database,
                    schema(definition.schema),
                    &definition.name,
                    database,
                    schema(used.schema()),
                    used.name()
                ]);
            }
        }
        Ok(rows)
    },
);
