//! `pg_depend`: what would have to go with what.

use colonnade_types::{Oid, Relation};

use super::pg_attrdef::default_oid;
use super::view::{Rows, Source, SystemView, row};
use crate::error::Error;

pub(super) const PG_DEPEND: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2608),
    name: "pg_depend",
    kind: "r",
    columns: r#"classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, refobjsubid int4, deptype "char""#,
    rows: Some(rows),
};

const CLASS: Oid = Oid(1259);
const CONSTRAINT: Oid = Oid(2606);
const NAMESPACE: Oid = Oid(2615);
const ATTRDEF: Oid = Oid(2604);

fn rows(source: &Source<'_>) -> Result<Rows, Error> {
    let mut rows = Vec::new();
    let catalog = &source.statement.catalog;
    for relation in catalog.relations() {
        rows.push(row![CLASS, relation.oid(), 0i32, NAMESPACE, relation.schema(), 0i32, "n"]);
        match relation {
            Relation::Table(table) => {
                for column in table.columns.iter().filter(|column| column.default.is_some()) {
                    let default = default_oid(table.oid, column.id);
                    rows.push(row![ATTRDEF, default, 0i32, CLASS, table.oid, column.id.0, "a"]);
                    for sequence in crate::ddl::expression::sequences_of(column.default.as_deref().unwrap_or("")) {
                        rows.push(row![ATTRDEF, default, 0i32, CLASS, sequence, 0i32, "n"]);
                    }
                }
                for check in &table.checks {
                    for column in crate::ddl::expression::columns_of(table, &check.expression) {
                        rows.push(row![CONSTRAINT, check.oid, 0i32, CLASS, table.oid, column.0, "a"]);
                    }
                }
                for key in &table.keys {
                    rows.push(row![CLASS, key.index, 0i32, CONSTRAINT, key.oid, 0i32, "i"]);
                    for column in &key.columns {
                        rows.push(row![CONSTRAINT, key.oid, 0i32, CLASS, table.oid, column.0, "a"]);
                    }
                }
            }
            Relation::View(view) => {
                for referenced in &view.depends_on {
                    rows.push(row![CLASS, view.oid, 0i32, CLASS, *referenced, 0i32, "n"]);
                }
            }
            Relation::Sequence(sequence) => {
                if let Some((table, column)) = sequence.owned_by {
                    let identity = catalog.relation(table).is_some_and(|relation| match relation {
                        Relation::Table(table) => table.column_by_id(column).is_some_and(|c| c.identity.is_some()),
                        _ => false,
                    });
                    let kind = if identity { "i" } else { "a" };
                    rows.push(row![CLASS, sequence.oid, 0i32, CLASS, table, column.0, kind]);
                }
            }
        }
    }
    Ok(rows)
}
