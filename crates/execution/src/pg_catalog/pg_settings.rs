//! `pg_settings`: what SHOW ALL shows, with more columns.

use colonnade_types::Oid;

use super::view::{SystemView, row};
use crate::functions::value::Value;

pub(super) const PG_SETTINGS: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(12_050),
    name: "pg_settings",
    kind: "v",
    columns: "name text, setting text, unit text, category text, short_desc text, extra_desc text, context text,
        vartype text, source text, min_val text, max_val text, enumvals text[], boot_val text, reset_val text,
        sourcefile text, sourceline int4, pending_restart bool",
    rows: Some(|source| {
        let mut rows = Vec::new();
        for setting in source.statement.settings.all() {
            let changed = setting.value != setting.reset_value;
            rows.push(row![
                setting.name,
                setting.value,
                Value::Null,
                "Session",
                setting.description,
                Value::Null,
                if setting.kind == "internal" { "internal" } else { "user" },
                setting.kind,
                if changed { "session" } else { "default" },
                Value::Null,
                Value::Null,
                Value::Null,
                setting.reset_value.clone(),
                setting.reset_value,
                Value::Null,
                Value::Null,
                false
            ]);
        }
        Ok(rows)
    }),
};
