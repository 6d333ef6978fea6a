//! `pg_roles`, `pg_authid` and `pg_user`: the two superusers.

use colonnade_types::Oid;

use super::view::{SystemView, row};
use crate::functions::names::ROLES;
use crate::functions::value::Value;

pub(super) const PG_AUTHID: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(1260),
    name: "pg_authid",
    kind: "r",
    columns: "oid oid, rolname name, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool,
        rolcanlogin bool, rolreplication bool, rolbypassrls bool, rolconnlimit int4, rolpassword text,
        rolvaliduntil timestamptz",
    rows: Some(|_| {
        let roles = ROLES.iter();
        Ok(roles
            .map(|(oid, name)| {
                row![*oid, *name, true, true, true, true, true, false, true, -1i32, Value::Null, Value::Null]
            })
            .collect())
    }),
};

pub(super) const PG_ROLES: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(12_001),
    name: "pg_roles",
    kind: "v",
    columns: "rolname name, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool, rolcanlogin bool,
        rolreplication bool, rolconnlimit int4, rolpassword text, rolvaliduntil timestamptz, rolbypassrls bool,
        rolconfig text[], oid oid",
    rows: Some(|_| {
        let roles = ROLES.iter();
        Ok(roles
            .map(|(oid, name)| {
                row![
                    *name,
                    true,
                    true,
                    true,
                    true,
                    true,
                    false,
                    -1i32,
                    "********",
                    Value::Null,
                    true,
                    Value::Null,
                    *oid
                ]
            })
            .collect())
    }),
};

pub(super) const PG_USER: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(12_013),
    name: "pg_user",
    kind: "v",
    columns: "usename name, usesysid oid, usecreatedb bool, usesuper bool, userepl bool, usebypassrls bool,
        passwd text, valuntil timestamptz, useconfig text[]",
    rows: Some(|_| {
        let roles = ROLES.iter();
        Ok(roles
            .map(|(oid, name)| row![*name, *oid, true, true, false, true, "********", Value::Null, Value::Null])
            .collect())
    }),
};
