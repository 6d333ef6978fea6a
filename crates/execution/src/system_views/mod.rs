//! The schema `colonnade`: how our own storage is doing, as SQL.

use colonnade_types::{Oid, Relation, TableDefinition};

use crate::functions::value::Value;
use crate::pg_catalog::view::{Source, SystemView, row};

/// The views.
pub(crate) const VIEWS: &[SystemView] = &[SETTINGS, TABLES, WAL, SEGMENTS, DELTA, COMPACTION, STORAGE];

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
        let stats = source.info.database().metrics().wal;
        Ok(vec![row![
            status.end.0,
            status.durable.0,
            status.visible.0,
            status.checkpoint.0,
            stats.files,
            stats.files_bytes,
            stats.bytes_written,
            stats.syncs,
            stats.records
        ]])
    }),
    ..view(
        1,
        "wal",
        "end_lsn int8, durable_lsn int8, visible_lsn int8, checkpoint_lsn int8, file_count int8, file_bytes int8,
        written_bytes int8, sync_count int8, record_count int8",
    )
};

/// One row a segment.
const SEGMENTS: SystemView = SystemView {
    rows: Some(|source| {
        let mut rows = Vec::new();
        for (table, schema) in tables(source) {
            for segment in source.info.database().segments(table.storage)? {
                rows.push(row![
                    &schema,
                    &table.name,
                    table.oid,
                    segment.id.0,
                    segment.rows,
                    segment.deleted_rows,
                    segment.size_bytes,
                    segment.raw_bytes,
                    segment.min_lsn.0,
                    segment.max_lsn.0
                ]);
            }
        }
        Ok(rows)
    }),
    ..view(
        3,
        "segments",
        "schema_name name, table_name name, table_oid oid, segment_id int8, row_count int8, deleted_rows int8,
        size_bytes int8, raw_bytes int8, min_lsn int8, max_lsn int8",
    )
};

/// One row a table: what is in the row store.
const DELTA: SystemView = SystemView {
    rows: Some(|source| {
        let mut rows = Vec::new();
        for (table, schema) in tables(source) {
            let delta = source.info.database().delta_status(table.storage);
            rows.push(row![
                schema,
                &table.name,
                table.oid,
                delta.rows,
                delta.bytes,
                delta.chunks,
                delta.sealed_chunks,
                delta.dead_rows,
                delta.oldest_lsn.map(|lsn| lsn.0)
            ]);
        }
        Ok(rows)
    }),
    ..view(
        4,
        "delta",
        "schema_name name, table_name name, table_oid oid, row_count int8, size_bytes int8, chunk_count int8,
        sealed_chunk_count int8, dead_rows int8, oldest_lsn int8",
    )
};

/// One row a table: what compaction has done and what is next.
const COMPACTION: SystemView = SystemView {
    rows: Some(|source| {
        let mut rows = Vec::new();
        for (table, schema) in tables(source) {
            let status = source.info.database().compaction_status(table.storage)?;
            rows.push(row![
                schema,
                &table.name,
                table.oid,
                status.segments_due,
                status.deleted_rows,
                status.next_segments,
                status.score,
                status.runs,
                status.last_run_micros.map_or(Value::Null, Value::Timestamp),
                status.rows_read,
                status.rows_written,
                status.bytes_read,
                status.bytes_written
            ]);
        }
        Ok(rows)
    }),
    ..view(
        5,
        "compaction",
        "schema_name name, table_name name, table_oid oid, segments_due int8, deleted_rows int8, next_segments int8,
        score float8, run_count int8, last_run timestamptz, rows_read int8, rows_written int8, bytes_read int8, bytes_written int8",
    )
};

/// One row: what the storage has done since it was opened, and how old its oldest snapshot is.
const STORAGE: SystemView = SystemView {
    rows: Some(|source| {
        let metrics = source.info.database().metrics();
        Ok(vec![row![
            metrics.running_transactions,
            metrics.oldest_snapshot.0,
            metrics.oldest_snapshot_age_ms,
            metrics.flushes,
            metrics.flushed_rows,
            metrics.checkpoints,
            metrics.compactions,
            metrics.compacted_rows,
            metrics.compacted_bytes
        ]])
    }),
    ..view(
        6,
        "storage",
        "running_transactions int8, oldest_snapshot_lsn int8, oldest_snapshot_age_ms int8, flush_count int8,
        flushed_rows int8, checkpoint_count int8, compaction_count int8, compacted_rows int8, compacted_bytes int8",
    )
};

/// The session's settings.
const SETTINGS: SystemView = SystemView {
    rows: Some(|source| {
        let settings = source.statement.settings.all();
        Ok(settings.into_iter().map(|setting| row![setting.name, setting.value, setting.description]).collect())
    }),
    ..view(2, "settings", "name text, value text, description text")
};
