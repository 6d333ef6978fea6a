//! `pg_constraint`: CHECK, PRIMARY KEY and UNIQUE.

use colonnade_types::{ColumnId, Oid, Relation};

use super::view::{Rows, Source, SystemView, row};
use crate::error::Error;
use crate::functions::value::Value;

pub(super) const PG_CONSTRAINT: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2606),
    name: "pg_constraint",
    kind: "r",
    columns: r#"oid oid, conname name, connamespace oid, contype "char", condeferrable bool, condeferred bool,
        convalidated bool, conrelid oid, contypid oid, conindid oid, conparentid oid, confrelid oid,
        confupdtype "char", confdeltype "char", confmatchtype "char", conislocal bool, coninhcount int2,
        connoinherit bool, conkey int2[], confkey int2[], conpfeqop oid[], conppeqop oid[], conffeqop oid[],
        confdelsetcols int2[], conexclop oid[], conbin text"#,
    rows: Some(rows),
};

fn rows(source: &Source<'_>) -> Result<Rows, Error> {
    let mut rows = Vec::new();
    for relation in source.statement.catalog.relations() {
        let Relation::Table(table) = relation else { continue };
        let mut push = |oid: Oid, name: &str, kind: &str, index: Oid, columns: Vec<ColumnId>, text: Option<&str>| {
            let columns: Vec<u32> = columns.iter().map(|id| id.0).collect();
            rows.push(row![
                oid,
                name,
                table.schema,
                kind,
                false,
                false,
                true,
                table.oid,
                Oid(0),
                index,
                Oid(0),
                Oid(0),
                " ",
                " ",
                " ",
                true,
                0i16,
                kind == "p",
                if columns.is_empty() { Value::Null } else { Value::from(columns) },
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
                text,
            ]);
        };
        for check in &table.checks {
            let columns = crate::ddl::expression::columns_of(table, &check.expression);
            push(check.oid, &check.name, "c", Oid(0), columns, Some(&check.expression));
        }
        for key in &table.keys {
            push(key.oid, &key.name, if key.primary { "p" } else { "u" }, key.index, key.columns.clone(), None);
        }
    }
    Ok(rows)
}
