//! SQL text of constraints, indexes and defaults, as `pg_get_constraintdef` and its like give it.

use colonnade_storage::Catalog;
use colonnade_types::{CheckConstraint, ColumnId, KeyConstraint, Relation, TableDefinition};

use crate::functions::names::{self, quote_identifier};
use crate::session_info::StatementInfo;

fn column_list(table: &TableDefinition, columns: &[ColumnId]) -> String {
    let names: Vec<String> =
        columns.iter().filter_map(|id| table.column_by_id(*id)).map(|column| quote_identifier(&column.name)).collect();
    names.join(", ")
}

/// `PRIMARY KEY (a, b)` or `UNIQUE (a)`.
#[must_use]
pub fn key(table: &TableDefinition, key: &KeyConstraint) -> String {
    let word = match (key.primary, key.nulls_not_distinct) {
        (true, _) => "PRIMARY KEY",
        (false, false) => "UNIQUE",
        (false, true) => "UNIQUE NULLS NOT DISTINCT",
    };
    format!("{word} ({})", column_list(table, &key.columns))
}

/// `CHECK ((a > 0))`; with one pair of parentheses if it is to be pretty.
#[must_use]
pub fn check(statement: &StatementInfo, check: &CheckConstraint, pretty: bool) -> String {
    let text = expression(statement, &check.expression);
    if pretty { format!("CHECK ({text})") } else { format!("CHECK (({text}))") }
}

/// `CREATE UNIQUE INDEX t_pkey ON public.t USING btree (a)`.
#[must_use]
pub fn index(catalog: &Catalog, table: &TableDefinition, key: &KeyConstraint) -> String {
    let schema = catalog.schema(table.schema).map_or("", |schema| schema.name.as_str());
    let nulls = if key.nulls_not_distinct { " NULLS NOT DISTINCT" } else { "" };
    format!(
        "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({}){nulls}",
        quote_identifier(&key.name),
        quote_identifier(schema),
        quote_identifier(&table.name),
        column_list(table, &key.columns)
    )
}

/// A stored expression as users shall read it: relations that it keeps by oid are named.
#[must_use]
pub fn expression(statement: &StatementInfo, stored: &str) -> String {
    let mut text = String::with_capacity(stored.len());
    let mut rest = stored;
    while let Some(end) = rest.find("'::regclass") {
        let start = rest[..end].rfind('\'').map_or(0, |quote| quote + 1);
        text.push_str(&rest[..start]);
        let name = rest[start..end].parse().ok().and_then(|oid| {
            let relation = names::relation_of(statement, colonnade_types::Oid(oid))?;
            Some(names::relation_text(statement, &relation))
        });
        text.push_str(&name.map_or_else(|| rest[start..end].to_owned(), |name| name.replace('\'', "''")));
        text.push_str("'::regclass");
        rest = &rest[end + "'::regclass".len()..];
    }
    text.push_str(rest);
    text
}

/// Finds a table by an oid of one of its constraints, with that constraint's definition.
#[must_use]
pub fn constraint(statement: &StatementInfo, oid: colonnade_types::Oid, pretty: bool) -> Option<String> {
    for relation in statement.catalog.relations() {
        let Relation::Table(table) = relation else { continue };
        if let Some(found) = table.checks.iter().find(|check| check.oid == oid) {
            return Some(check(statement, found, pretty));
        }
        if let Some(found) = table.keys.iter().find(|key| key.oid == oid) {
            return Some(key(table, found));
        }
    }
    None
}

/// Finds the table and key behind an index.
#[must_use]
pub fn index_key(catalog: &Catalog, index: colonnade_types::Oid) -> Option<(&TableDefinition, &KeyConstraint)> {
    catalog.relations().find_map(|relation| match relation {
        Relation::Table(table) => table.keys.iter().find(|key| key.index == index).map(|key| (table.as_ref(), key)),
        _ => None,
    })
}
