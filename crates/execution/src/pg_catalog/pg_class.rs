//! `pg_class`: tables, views, sequences, the indexes behind keys, and the system views themselves.

use colonnade_types::{Oid, Relation, TableDefinition};

use super::pg_am::{BTREE, HEAP};
use super::view::{Rows, Source, SystemView, row};
use crate::error::Error;
use crate::functions::names::{self, owner_oid};
use crate::functions::value::Value;

pub(super) const PG_CLASS: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(1259),
    name: "pg_class",
    kind: "r",
    columns: r#"oid oid, relname name, relnamespace oid, reltype oid, reloftype oid, relowner oid, relam oid,
        relfilenode oid, reltablespace oid, relpages int4, reltuples real, relallvisible int4, reltoastrelid oid,
        relhasindex bool, relisshared bool, relpersistence "char", relkind "char", relnatts int2, relchecks int2,
        relhasrules bool, relhastriggers bool, relhassubclass bool, relrowsecurity bool, relforcerowsecurity bool,
        relispopulated bool, relreplident "char", relispartition bool, relrewrite oid, relfrozenxid oid,
        relminmxid oid, relacl text[], reloptions text[], relpartbound text"#,
    rows: Some(rows),
};

/// What differs between relations.
struct Class<'a> {
    oid: Oid,
    name: &'a str,
    schema: Oid,
    owner: Oid,
    access_method: Oid,
    file: Oid,
    rows: f64,
    bytes: u64,
    has_index: bool,
    kind: &'a str,
    columns: usize,
    checks: usize,
    has_rules: bool,
    options: Option<Vec<String>>,
}

impl Class<'_> {
    fn row(self) -> Vec<Value> {
        let replica_identity = if self.kind == "r" { "d" } else { "n" };
        row![
            self.oid,
            self.name,
            self.schema,
            Oid(0),
            Oid(0),
            self.owner,
            self.access_method,
            self.file,
            Oid(0),
            self.bytes.div_ceil(8192).min(u64::from(i32::MAX.unsigned_abs())),
            self.rows,
            0i32,
            Oid(0),
            self.has_index,
            false,
            "p",
            self.kind,
            self.columns,
            self.checks,
            self.has_rules,
            false,
            false,
            false,
            false,
            true,
            replica_identity,
            false,
            Oid(0),
            Oid(0),
            Oid(0),
            Value::Null,
            self.options,
            Value::Null,
        ]
    }
}

/// The options that a table was given in WITH, as `reloptions` shows them.
pub(super) fn table_options(table: &TableDefinition) -> Option<Vec<String>> {
    if table.sort_key.is_empty() {
        return None;
    }
    let columns: Vec<String> = table
        .sort_key
        .iter()
        .filter_map(|id| table.column_by_id(*id))
        .map(|column| names::quote_identifier(&column.name))
        .collect();
    Some(vec![format!("sort_key={}", columns.join(", "))])
}

fn rows(source: &Source<'_>) -> Result<Rows, Error> {
    let mut rows = Vec::new();
    for relation in source.statement.catalog.relations() {
        let plain = Class {
            oid: relation.oid(),
            name: relation.name(),
            schema: relation.schema(),
            owner: Oid(0),
            access_method: Oid(0),
            file: Oid(0),
            rows: -1.0,
            bytes: 0,
            has_index: false,
            kind: "v",
            columns: 0,
            checks: 0,
            has_rules: false,
            options: None,
        };
        match relation {
            Relation::Table(table) => {
                let status = source.info.database().table_status(table.storage);
                #[expect(clippy::cast_precision_loss, reason = "an estimate, and real in PostgreSQL too")]
                let count = (status.segment_rows + status.tail_rows).saturating_sub(status.deleted_rows) as f64;
                let owner = owner_oid(&table.owner);
                rows.push(
                    Class {
                        owner,
                        access_method: HEAP,
                        file: Oid(u32::try_from(table.storage.0).unwrap_or(0)),
                        rows: count,
                        bytes: status.segment_bytes + status.tail_bytes,
                        has_index: !table.keys.is_empty(),
                        kind: "r",
                        columns: table.columns.len(),
                        checks: table.checks.len(),
                        options: table_options(table),
                        ..plain
                    }
                    .row(),
                );
                for key in &table.keys {
                    rows.push(
                        Class {
                            oid: key.index,
                            name: &key.name,
                            schema: table.schema,
                            owner,
                            access_method: BTREE,
                            file: key.index,
                            rows: count,
                            bytes: 0,
                            has_index: false,
                            kind: "i",
                            columns: key.columns.len(),
                            checks: 0,
                            has_rules: false,
                            options: None,
                        }
                        .row(),
                    );
                }
            }
            Relation::View(view) => rows.push(
                Class { owner: owner_oid(&view.owner), columns: view.columns.len(), has_rules: true, ..plain }.row(),
            ),
            Relation::Sequence(sequence) => rows.push(
                Class {
                    owner: owner_oid(&sequence.owner),
                    file: sequence.oid,
                    rows: 1.0,
                    bytes: 8192,
                    kind: "S",
                    columns: 3,
                    ..plain
                }
                .row(),
            ),
        }
    }
    for view in super::views() {
        rows.push(
            Class {
                oid: view.oid,
                name: view.name,
                schema: view.schema,
                owner: names::ROLES[0].0,
                access_method: if view.kind == "r" { HEAP } else { Oid(0) },
                file: Oid(0),
                rows: -1.0,
                bytes: 0,
                has_index: false,
                kind: view.kind,
                columns: view.column_types().len(),
                checks: 0,
                has_rules: view.kind == "v",
                options: None,
            }
            .row(),
        );
    }
    Ok(rows)
}
