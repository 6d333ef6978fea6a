//! `pg_namespace`: schemas.

use colonnade_types::Oid;

use super::view::{SystemView, row};
use crate::functions::names::owner_oid;
use crate::functions::value::Value;

pub(super) const PG_NAMESPACE: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2615),
    name: "pg_namespace",
    kind: "r",
    columns: "oid oid, nspname name, nspowner oid, nspacl text[]",
    rows: Some(|source| {
        let schemas = source.statement.catalog.schemas();
        Ok(schemas.map(|schema| row![schema.oid, &schema.name, owner_oid(&schema.owner), Value::Null]).collect())
    }),
};
