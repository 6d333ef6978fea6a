//! `pg_index`, `pg_indexes` and `pg_opclass`: the indexes that PRIMARY KEY and UNIQUE stand for.

use colonnade_types::{Oid, Relation};

use super::view::{Rows, Source, SystemView, row};
use super::{definitions, types};
use crate::error::Error;
use crate::functions::value::Value;

pub(super) const PG_INDEX: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2610),
    name: "pg_index",
    kind: "r",
    columns: "indexrelid oid, indrelid oid, indnatts int2, indnkeyatts int2, indisunique bool,
        indnullsnotdistinct bool, indisprimary bool, indisexclusion bool, indimmediate bool, indisclustered bool,
        indisvalid bool, indcheckxmin bool, indisready bool, indislive bool, indisreplident bool, indkey int2[],
        indcollation oid[], indclass oid[], indoption int2[], indexprs text, indpred text",
    rows: Some(rows),
};

pub(super) const PG_INDEXES: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(12_025),
    name: "pg_indexes",
    kind: "v",
    columns: "schemaname name, tablename name, indexname name, tablespace name, indexdef text",
    rows: Some(|source| {
        let mut rows = Vec::new();
        for relation in source.statement.catalog.relations() {
            let Relation::Table(table) = relation else { continue };
            let schema = source.statement.catalog.schema(table.schema).map(|schema| schema.name.clone());
            for key in &table.keys {
                let definition = definitions::index(&source.statement.catalog, table, key);
                rows.push(row![schema.clone(), &table.name, &key.name, Value::Null, definition]);
            }
        }
        Ok(rows)
    }),
};

/// The operator class that every key column shows.
const DEFAULT_OPCLASS: Oid = Oid(1978);

pub(super) const PG_OPCLASS: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2616),
    name: "pg_opclass",
    kind: "r",
    columns: "oid oid, opcmethod oid, opcname name, opcnamespace oid, opcowner oid, opcfamily oid, opcintype oid,
        opcdefault bool, opckeytype oid",
    rows: Some(|_| {
        let owner = crate::functions::names::ROLES[0].0;
        Ok(vec![row![
            DEFAULT_OPCLASS,
            super::pg_am::BTREE,
            "int4_ops",
            Oid::PG_CATALOG,
            owner,
            Oid(1976),
            Oid(23),
            true,
            Oid(0)
        ]])
    }),
};

fn rows(source: &Source<'_>) -> Result<Rows, Error> {
    let mut rows = Vec::new();
    for relation in source.statement.catalog.relations() {
        let Relation::Table(table) = relation else { continue };
        for key in &table.keys {
            let columns: Vec<u32> = key.columns.iter().map(|id| id.0).collect();
            let collations: Vec<Oid> = key
                .columns
                .iter()
                .map(|id| {
                    table
                        .column_by_id(*id)
                        .and_then(|column| types::by_oid(column.sql_type.oid()))
                        .map_or(Oid(0), |listed| listed.collation)
                })
                .collect();
            let count = columns.len();
            rows.push(row![
                key.index,
                table.oid,
                count,
                count,
                true,
                key.nulls_not_distinct,
                key.primary,
                false,
                true,
                false,
                true,
                false,
                true,
                true,
                false,
                columns,
                collations,
                vec![DEFAULT_OPCLASS; count],
                vec![0i16; count],
                Value::Null,
                Value::Null,
            ]);
        }
    }
    Ok(rows)
}
