//! `pg_tables` and `pg_views`.

use colonnade_types::{Oid, Relation};

use super::view::{SystemView, row};
use crate::functions::names::ROLES;
use crate::functions::value::Value;

pub(super) const PG_TABLES: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(12_020),
    name: "pg_tables",
    kind: "v",
    columns: "schemaname name, tablename name, tableowner name, tablespace name, hasindexes bool, hasrules bool,
        hastriggers bool, rowsecurity bool",
    rows: Some(|source| {
        let catalog = &source.statement.catalog;
        let schema = |oid: Oid| catalog.schema(oid).map(|schema| schema.name.clone());
        let mut rows = Vec::new();
        for relation in catalog.relations() {
            if let Relation::Table(table) = relation {
                rows.push(row![
                    schema(table.schema),
                    &table.name,
                    &table.owner,
                    Value::Null,
                    !table.keys.is_empty(),
                    false,
                    false,
                    false
                ]);
            }
        }
        for view in super::views().filter(|view| view.kind == "r") {
            rows.push(row![schema(view.schema), view.name, ROLES[0].1, Value::Null, false, false, false, false]);
        }
        Ok(rows)
    }),
};

pub(super) const PG_VIEWS: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(12_015),
    name: "pg_views",
    kind: "v",
    columns: "schemaname name, viewname name, viewowner name, definition text",
    rows: Some(|source| {
        let catalog = &source.statement.catalog;
        let schema = |oid: Oid| catalog.schema(oid).map(|schema| schema.name.clone());
        let mut rows = Vec::new();
        for relation in catalog.relations() {
            if let Relation::View(view) = relation {
                rows.push(row![schema(view.schema), &view.name, &view.owner, format!("{};", view.query)]);
            }
        }
        for view in super::views().filter(|view| view.kind == "v") {
            rows.push(row![schema(view.schema), view.name, ROLES[0].1, Value::Null]);
        }
        Ok(rows)
    }),
};
