//! `pg_collation`: text compares by its bytes, whichever of these names it is given.

use colonnade_types::Oid;

use super::types::{C_COLLATION, DEFAULT_COLLATION};
use super::view::{SystemView, row};
use crate::functions::names::ROLES;
use crate::functions::value::Value;

pub(super) const PG_COLLATION: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(3456),
    name: "pg_collation",
    kind: "r",
    columns: r#"oid oid, collname name, collnamespace oid, collowner oid, collprovider "char",
        collisdeterministic bool, collencoding int4, collcollate text, collctype text, colliculocale text,
        collicurules text, collversion text"#,
    rows: Some(|_| {
        let collation = |oid: Oid, name: &str, provider: &str, locale: Option<&str>| {
            row![
                oid,
                name,
                Oid::PG_CATALOG,
                ROLES[0].0,
                provider,
                true,
                -1i32,
                locale,
                locale,
                Value::Null,
                Value::Null,
                Value::Null
            ]
        };
        Ok(vec![
            collation(DEFAULT_COLLATION, "default", "d", None),
            collation(C_COLLATION, "C", "c", Some("C")),
            collation(Oid(951), "POSIX", "c", Some("POSIX")),
        ])
    }),
};
