//! `pg_description` and `pg_shdescription`: what COMMENT ON said.

use colonnade_types::{Oid, Relation};

use super::pg_database::DATABASES;
use super::view::{Rows, Source, SystemView, row};
use crate::error::Error;

pub(super) const PG_DESCRIPTION: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2609),
    name: "pg_description",
    kind: "r",
    columns: "objoid oid, classoid oid, objsubid int4, description text",
    rows: Some(rows),
};

pub(super) const PG_SHDESCRIPTION: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2396),
    name: "pg_shdescription",
    kind: "r",
    columns: "objoid oid, classoid oid, description text",
    rows: Some(|source| {
        let catalog = &source.statement.catalog;
        let commented = |(oid, _): &(Oid, &str)| Some((*oid, catalog.comment(*oid, 0)?.to_owned()));
        Ok(DATABASES.iter().filter_map(commented).map(|(oid, comment)| row![oid, Oid(1262), comment]).collect())
    }),
};

fn rows(source: &Source<'_>) -> Result<Rows, Error> {
    let catalog = &source.statement.catalog;
    let mut rows = Vec::new();
    let mut push = |object: Oid, class: u32, sub: u32| {
        if let Some(comment) = catalog.comment(object, sub) {
            rows.push(row![object, Oid(class), sub, comment]);
        }
    };
    for schema in catalog.schemas() {
        push(schema.oid, 2615, 0);
    }
    for relation in catalog.relations() {
        push(relation.oid(), 1259, 0);
        match relation {
            Relation::Table(table) => {
                for column in &table.columns {
                    push(table.oid, 1259, column.id.0);
                }
                for check in &table.checks {
                    push(check.oid, 2606, 0);
                }
                for key in &table.keys {
                    push(key.oid, 2606, 0);
                    push(key.index, 1259, 0);
                }
            }
            Relation::View(view) => {
                for number in 1..=u32::try_from(view.columns.len()).unwrap_or(0) {
                    push(view.oid, 1259, number);
                }
            }
            Relation::Sequence(_) => {}
        }
    }
    for listed in super::types::all() {
        push(listed.oid, 1247, 0);
    }
    Ok(rows)
}
