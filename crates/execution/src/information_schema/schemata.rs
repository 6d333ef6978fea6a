//! `schemata` and `information_schema_catalog_name`.

use super::view;
use crate::functions::value::Value;
use crate::pg_catalog::view::{SystemView, row};

pub(super) const SCHEMATA: SystemView = view(
    0,
    "schemata",
    "catalog_name name, schema_name name, schema_owner name, default_character_set_catalog name,
        default_character_set_schema name, default_character_set_name name, sql_path text",
    |source| {
        let database = source.info.database_name();
        let schemas = source.statement.catalog.schemas();
        Ok(schemas
            .map(|schema| {
                row![database, &schema.name, &schema.owner, Value::Null, Value::Null, Value::Null, Value::Null]
            })
            .collect())
    },
);

pub(super) const CATALOG_NAME: SystemView = view(1, "information_schema_catalog_name", "catalog_name name", |source| {
    Ok(vec![row![source.info.database_name()]])
});
