//! `pg_type`: the list in [`types`](super::types).

use colonnade_types::Oid;

use super::pg_proc;
use super::types::{self, TypeRow};
use super::view::{SystemView, row};
use crate::functions::names::ROLES;
use crate::functions::value::Value;

pub(super) const PG_TYPE: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(1247),
    name: "pg_type",
    kind: "r",
    columns: r#"oid oid, typname name, typnamespace oid, typowner oid, typlen int2, typbyval bool, typtype "char",
        typcategory "char", typispreferred bool, typisdefined bool, typdelim "char", typrelid oid, typsubscript regproc,
        typelem oid, typarray oid, typinput regproc, typoutput regproc, typreceive regproc, typsend regproc,
        typmodin regproc, typmodout regproc, typanalyze regproc, typalign "char", typstorage "char", typnotnull bool,
        typbasetype oid, typtypmod int4, typndims int4, typcollation oid, typdefaultbin text, typdefault text,
        typacl text[]"#,
    rows: Some(|_| Ok(types::all().iter().map(type_row).collect())),
};

fn type_row(listed: &TypeRow) -> Vec<Value> {
    let separator = if listed.underscore { "_" } else { "" };
    let function = |suffix: &str| pg_proc::oid_of(&format!("{}{separator}{suffix}", listed.io)).unwrap_or(Oid(0));
    row![
        listed.oid,
        &listed.name,
        Oid::PG_CATALOG,
        ROLES[0].0,
        listed.length,
        (1..=8).contains(&listed.length),
        listed.kind,
        listed.category,
        listed.preferred,
        true,
        ",",
        Oid(0),
        Oid(0),
        listed.element,
        listed.array,
        function("in"),
        function("out"),
        function("recv"),
        function("send"),
        Oid(0),
        Oid(0),
        Oid(0),
        listed.align,
        listed.storage,
        false,
        Oid(0),
        -1i32,
        0i32,
        listed.collation,
        Value::Null,
        Value::Null,
        Value::Null,
    ]
}
