//! The SQL standard's `information_schema`, computed from the durable catalog when it is read.
//!
//! System views are listed in it too, as in PostgreSQL.

use colonnade_types::Oid;

use crate::pg_catalog::view::SystemView;

mod columns;
mod constraints;
mod empty;
mod schemata;
mod sequences;
mod tables;

/// The views, in the order of their files.
pub(crate) const VIEWS: &[SystemView] = &[
    columns::COLUMNS,
    constraints::CHECK_CONSTRAINTS,
    constraints::CONSTRAINT_COLUMN_USAGE,
    constraints::KEY_COLUMN_USAGE,
    constraints::TABLE_CONSTRAINTS,
    empty::APPLICABLE_ROLES,
    empty::CHARACTER_SETS,
    empty::COLUMN_PRIVILEGES,
    empty::DOMAINS,
    empty::ELEMENT_TYPES,
    empty::ENABLED_ROLES,
    empty::PARAMETERS,
    empty::REFERENTIAL_CONSTRAINTS,
    empty::ROUTINES,
    empty::TABLE_PRIVILEGES,
    empty::TRIGGERS,
    schemata::CATALOG_NAME,
    schemata::SCHEMATA,
    sequences::SEQUENCES,
    tables::TABLES,
    tables::VIEWS_VIEW,
    tables::VIEW_TABLE_USAGE,
];

/// A view of this schema. PostgreSQL gives these no fixed oids.
const fn view(
    number: u32,
    name: &'static str,
    columns: &'static str,
    rows: fn(&crate::pg_catalog::view::Source<'_>) -> Result<crate::pg_catalog::view::Rows, crate::error::Error>,
) -> SystemView {
    SystemView {
        schema: Oid::INFORMATION_SCHEMA,
        oid: Oid(13_100 + number),
        name,
        kind: "v",
        columns,
        rows: Some(rows),
    }
}
