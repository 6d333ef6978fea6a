//! The schema `colonnade`: how our own storage is doing, as SQL.

use colonnade_types::{Oid, Relation, TableDefinition};

use crate::pg_catalog::view::{Source, SystemView, row};

/// The views.
pub(crate) const VIEWS: &[SystemView] = &[SETTINGS, TABLES, WAL];

const fn view(number: u32, name: &'static str, columns: &'static str) -> SystemView {
    SystemView { schema: Oid::COLONNADE, oid: Oid(13_300 + number), name, kind: "v", columns, rows: None }
}

fn tables<'a>(source: &'a Source<'_>) -> impl Iterator<Item = (&'a TableDefinition, String)> {
    let catalog = &source.statement.catalog;
    catalog.relations().filter_map(|relation| match relation {
        Relation::Table(table) => {
            let schema = catalog.schema(table.schema).map(|schema| schema.name.clone()).unwrap_or_default();
            Some((table.as_ref(), schema))
        }
        _ => None,
    })
}

/// One row a table: how much of it is in segments, and how much is still in the delta.
const TABLES: SystemView = SystemView {
    rows: Some(|source| {
        let mut rows = Vec::new();
        for (table, schema) in tables(source) {
            let status = source.info.database().table_status(table.storage);
            rows.push(row![
                schema,
                &table.name,
                table.oid,
                table.storage.0,
                status.segments,
                status.segment_rows,
                status.segment_bytes,
                status.raw_bytes,
                status.tail_rows,
                status.tail_bytes,
                status.deleted_rows
            ]);
        }
        Ok(rows)
    }),
    ..view(
        0,
        "tables",
        "schema_name name, table_name name, table_oid oid, storage_id int8, segment_count int8, segment_rows int8,
        segment_bytes int8, raw_bytes int8, delta_rows int8, delta_bytes int8, deleted_rows int8",
    )
};

/// One row: how far the log is.
const WAL: SystemView = SystemView {
    rows: Some(|source| {
        let status = source.info.database().wal_status();
        Ok(vec![row![status.end.0, status.durable.0, status.visible.0, status.checkpoint.0]])
    }),
    ..view(1, "wal", "end_lsn int8, durable_lsn int8, visible_lsn int8, checkpoint_lsn int8")
};

/// The session's settings.
const SETTINGS: SystemView = SystemView {
    rows: Some(|source| {
        let settings = source.statement.settings.all();
        Ok(settings.into_iter().map(|setting| row![setting.name, setting.value, setting.description]).collect())
    }),
    ..view(2, "settings", "name text, value text, description text")
};
