//! `pg_attrdef`: column defaults.

use colonnade_types::{ColumnId, Oid, Relation};

use super::view::{SystemView, row};

/// The identifier under which a column's default is shown. Made from the column's, because defaults have none of their own.
pub(super) fn default_oid(table: Oid, column: ColumnId) -> Oid {
    Oid(0x8000_0000 | table.0.wrapping_mul(1600).wrapping_add(column.0))
}

pub(super) const PG_ATTRDEF: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2604),
    name: "pg_attrdef",
    kind: "r",
    columns: "oid oid, adrelid oid, adnum int2, adbin text",
    rows: Some(|source| {
        let mut rows = Vec::new();
        for relation in source.statement.catalog.relations() {
            let Relation::Table(table) = relation else { continue };
            for column in &table.columns {
                if let Some(default) = &column.default {
                    rows.push(row![default_oid(table.oid, column.id), table.oid, column.id.0, default]);
                }
            }
        }
        Ok(rows)
    }),
};
