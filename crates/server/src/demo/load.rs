//! From generators to segments, with progress.

use std::sync::Arc;
use std::time::Instant;

use arrow::record_batch::RecordBatch;
use colonnade_execution::bulk_load::{BulkLoad, BulkLoadWriter};
use colonnade_execution::{Engine, Error, Outcome, Session};
use colonnade_types::{Oid, Relation, SqlState, TableDefinition};
use futures::StreamExt;

use super::progress::Progress;
use super::tables::{DemoTable, Generator, TABLES};
use crate::config::option::bytes_text;

/// How far a table has come.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Missing,
    Partial,
    Complete,
}

/// Loads the tables that are not there at this scale.
pub(super) async fn load(session: &mut Session, scale: f64) -> Result<(), Error> {
    let engine = session.engine().clone();
    let mut missing = Vec::new();
    for table in TABLES {
        let state = state(&engine, table, scale)?;
        if state != State::Complete {
            missing.push((table, state));
        }
    }
    if missing.is_empty() {
        eprintln!("The TPC-H data of scale {scale} is already there.");
        return Ok(());
    }
    let total = missing.iter().map(|(table, _)| table.expected_rows(scale)).sum();
    eprintln!("Generating and loading TPC-H data of scale {scale}: about {total} rows.");
    let started = Instant::now();
    let progress = Arc::new(Progress::new(total));
    let mut rows = 0;
    for (table, state) in missing {
        progress.begin(table.name);
        if state == State::Partial {
            run(session, &format!("drop table {}", table.name)).await?;
        }
        run(session, &format!("create table {} {}", table.name, table.definition)).await?;
        mark(session, table, &loading(scale)).await?;
        rows += load_table(&engine, table, scale, &progress).await?;
        mark(session, table, &complete(scale)).await?;
    }
    progress.finish();
    let seconds = started.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss)]
    let rate = rows as f64 / seconds;
    eprintln!("Loaded {rows} rows in {seconds:.1} s ({rate:.0} rows a second).");
    Ok(())
}

/// Runs statements whose result does not matter, and commits.
pub(super) async fn run(session: &mut Session, sql: &str) -> Result<(), Error> {
    for statement in session.parse(sql)? {
        if let Outcome::Rows(mut rows) = session.execute(&statement).await? {
            while rows.batches.next().await.transpose()?.is_some() {}
        }
    }
    session.finish(true).await
}

async fn load_table(
    engine: &Engine,
    table: &'static DemoTable,
    scale: f64,
    progress: &Arc<Progress>,
) -> Result<u64, Error> {
    let mut load = BulkLoad::begin(engine, Oid::PUBLIC, table.name)?;
    let parts = table.parts(scale, engine.options().threads);
    let definition = Arc::new(load.table().clone());
    let mut threads = Vec::new();
    for part in 1..=parts {
        let writer = load.writer()?;
        let (definition, progress) = (Arc::clone(&definition), Arc::clone(progress));
        threads.push(tokio::task::spawn_blocking(move || {
            write_part((table.generate)(scale, part, parts), writer, &definition, &progress)
        }));
    }
    let mut writers = Vec::new();
    for thread in threads {
        writers.push(thread.await.map_err(|panic| Error::internal(panic.to_string()))??);
    }
    tokio::task::spawn_blocking(move || load.finish(writers))
        .await
        .map_err(|panic| Error::internal(panic.to_string()))?
}

fn write_part(
    generator: Generator,
    mut writer: BulkLoadWriter,
    definition: &TableDefinition,
    progress: &Progress,
) -> Result<BulkLoadWriter, Error> {
    let fields: Vec<_> = definition.columns.iter().map(|column| column.sql_type.field(&column.name, true)).collect();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    for batch in generator {
        let batch = batch.map_err(|error| Error::internal(error.to_string()))?;
        // The same columns under the table's own schema, which names the SQL types.
        let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec())
            .map_err(|error| Error::internal(error.to_string()))?;
        writer.write(&batch)?;
        progress.add(batch.num_rows() as u64);
    }
    Ok(writer)
}

fn state(engine: &Engine, table: &DemoTable, scale: f64) -> Result<State, Error> {
    let snapshot = engine.database().snapshot();
    let catalog = snapshot.catalog();
    let Some(relation) = catalog.relation_by_name(Oid::PUBLIC, table.name) else { return Ok(State::Missing) };
    let comment = catalog.comment(relation.oid(), 0).unwrap_or_default();
    if comment == complete(scale) {
        return Ok(State::Complete);
    }
    if comment.starts_with(MARK) {
        return Ok(State::Partial);
    }
    let message = format!("a table \"{}\" is there already, and it is not the demo's", table.name);
    Err(Error::new(SqlState::DUPLICATE_TABLE, message).with_hint("Choose another directory with --data-dir."))
}

/// How comments of the demo's tables begin.
const MARK: &str = "TPC-H data of scale ";

fn loading(scale: f64) -> String {
    format!("{MARK}{scale}, being loaded")
}

fn complete(scale: f64) -> String {
    format!("{MARK}{scale}")
}

async fn mark(session: &mut Session, table: &DemoTable, comment: &str) -> Result<(), Error> {
    run(session, &format!("comment on table {} is '{comment}'", table.name)).await
}

/// Prints rows, bytes and compression of each table.
pub(super) fn print_sizes(engine: &Engine) {
    let snapshot = engine.database().snapshot();
    println!();
    println!("{:<10} {:>12} {:>14} {:>14} {:>8}", "table", "rows", "in memory", "on disk", "ratio");
    for table in TABLES {
        let Some(Relation::Table(definition)) = snapshot.catalog().relation_by_name(Oid::PUBLIC, table.name) else {
            continue;
        };
        let status = engine.database().table_status(definition.storage);
        #[allow(clippy::cast_precision_loss)]
        let ratio = status.raw_bytes as f64 / status.segment_bytes.max(1) as f64;
        println!(
            "{:<10} {:>12} {:>14} {:>14} {:>7.1}x",
            table.name,
            status.segment_rows + status.tail_rows,
            short_bytes(status.raw_bytes),
            short_bytes(status.segment_bytes),
            ratio
        );
    }
}

/// Bytes in the largest unit that leaves a number of two or more digits.
fn short_bytes(bytes: u64) -> String {
    let unit = [1_u64 << 30, 1 << 20, 1 << 10].into_iter().find(|unit| bytes / unit >= 10).unwrap_or(1);
    bytes_text(bytes / unit * unit)
}
