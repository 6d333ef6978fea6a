//! `pg_attribute`: the columns of everything in `pg_class`.

use colonnade_types::{IdentityKind, Oid, Relation, SqlType};

use super::types;
use super::view::{Rows, Source, SystemView, row};
use crate::error::Error;
use crate::functions::value::Value;

pub(super) const PG_ATTRIBUTE: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(1249),
    name: "pg_attribute",
    kind: "r",
    columns: r#"attrelid oid, attname name, atttypid oid, attlen int2, attnum int2, attcacheoff int4, atttypmod int4,
        attndims int2, attbyval bool, attalign "char", attstorage "char", attcompression "char", attnotnull bool,
        atthasdef bool, atthasmissing bool, attidentity "char", attgenerated "char", attisdropped bool,
        attislocal bool, attinhcount int2, attstattarget int2, attcollation oid, attacl text[], attoptions text[],
        attfdwoptions text[], attmissingval text"#,
    rows: Some(rows),
};

/// What differs between columns.
struct Attribute<'a> {
    relation: Oid,
    number: u32,
    name: &'a str,
    sql_type: &'a SqlType,
    not_null: bool,
    has_default: bool,
    missing: Option<&'a String>,
    identity: &'static str,
}

impl<'a> Attribute<'a> {
    fn plain(relation: Oid, number: usize, name: &'a str, sql_type: &'a SqlType) -> Attribute<'a> {
        Attribute {
            relation,
            number: u32::try_from(number).unwrap_or(u32::MAX),
            name,
            sql_type,
            not_null: false,
            has_default: false,
            missing: None,
            identity: "",
        }
    }

    fn row(&self) -> Vec<Value> {
        let oid = self.sql_type.oid();
        let listed = types::by_oid(oid);
        let length = self.sql_type.type_length();
        let dimensions = i16::from(matches!(self.sql_type, SqlType::Array(_)));
        row![
            self.relation,
            self.name,
            oid,
            length,
            self.number,
            -1i32,
            self.sql_type.type_modifier(),
            dimensions,
            (1..=8).contains(&length),
            listed.map_or("i", |row| row.align),
            listed.map_or("x", |row| row.storage),
            "",
            self.not_null,
            self.has_default,
            self.missing.is_some(),
            self.identity,
            "",
            false,
            true,
            0i16,
            -1i16,
            listed.map_or(Oid(0), |row| row.collation),
            Value::Null,
            Value::Null,
            Value::Null,
            self.missing.map(|value| format!("{{{value}}}")),
        ]
    }
}

fn rows(source: &Source<'_>) -> Result<Rows, Error> {
    let mut rows = Vec::new();
    for relation in source.statement.catalog.relations() {
        match relation {
            Relation::Table(table) => {
                for column in &table.columns {
                    let identity = match column.identity.as_ref().map(|identity| identity.kind) {
                        Some(IdentityKind::Always) => "a",
                        Some(IdentityKind::ByDefault) => "d",
                        None => "",
                    };
                    let attribute = Attribute {
                        relation: table.oid,
                        number: column.id.0,
                        name: &column.name,
                        sql_type: &column.sql_type,
                        not_null: column.not_null,
                        has_default: column.default.is_some(),
                        missing: column.missing.as_ref(),
                        identity,
                    };
                    rows.push(attribute.row());
                }
                for key in &table.keys {
                    for (index, id) in key.columns.iter().enumerate() {
                        if let Some(column) = table.column_by_id(*id) {
                            rows.push(Attribute::plain(key.index, index + 1, &column.name, &column.sql_type).row());
                        }
                    }
                }
            }
            Relation::View(view) => {
                for (index, column) in view.columns.iter().enumerate() {
                    rows.push(Attribute::plain(view.oid, index + 1, &column.name, &column.sql_type).row());
                }
            }
            Relation::Sequence(sequence) => {
                for (index, (name, sql_type)) in
                    [("last_value", SqlType::BigInt), ("log_cnt", SqlType::BigInt), ("is_called", SqlType::Boolean)]
                        .iter()
                        .enumerate()
                {
                    let mut attribute = Attribute::plain(sequence.oid, index + 1, name, sql_type);
                    attribute.not_null = true;
                    rows.push(attribute.row());
                }
            }
        }
    }
    for view in super::views() {
        for (index, (name, sql_type)) in view.column_types().iter().enumerate() {
            rows.push(Attribute::plain(view.oid, index + 1, name, sql_type).row());
        }
    }
    Ok(rows)
}
