//! `pg_database` and `pg_tablespace`: there is one database, under two names.

use colonnade_types::Oid;

use super::view::{Rows, SystemView, row};
use crate::functions::names::ROLES;
use crate::functions::value::Value;

/// The database's oid; the second is the alias `postgres`.
pub(super) const DATABASES: [(Oid, &str); 2] = [(DATABASE_OID, "colonnade"), (Oid(5), "postgres")];
/// The oid under its own name.
pub(crate) const DATABASE_OID: Oid = Oid(16_000);

pub(super) const PG_DATABASE: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(1262),
    name: "pg_database",
    kind: "r",
    columns: r#"oid oid, datname name, datdba oid, encoding int4, datlocprovider "char", datistemplate bool,
        datallowconn bool, datconnlimit int4, datfrozenxid oid, datminmxid oid, dattablespace oid, datcollate text,
        datctype text, daticulocale text, daticurules text, datcollversion text, datacl text[]"#,
    rows: Some(|_| {
        let mut rows = Rows::new();
        for (oid, name) in DATABASES {
            rows.push(row![
                oid,
                name,
                ROLES[0].0,
                6i32,
                "c",
                false,
                true,
                -1i32,
                Oid(0),
                Oid(0),
                Oid(1663),
                "C",
                "C",
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null
            ]);
        }
        Ok(rows)
    }),
};

pub(super) const PG_TABLESPACE: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(1213),
    name: "pg_tablespace",
    kind: "r",
    columns: "oid oid, spcname name, spcowner oid, spcacl text[], spcoptions text[]",
    rows: Some(|_| {
        Ok(vec![
            row![Oid(1663), "pg_default", ROLES[0].0, Value::Null, Value::Null],
            row![Oid(1664), "pg_global", ROLES[0].0, Value::Null, Value::Null],
        ])
    }),
};
