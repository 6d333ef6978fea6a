//! COPY with files of the server: text, csv and binary by chunks, Parquet by row groups.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use bytes::Bytes;
use colonnade_types::{DisplaySettings, SqlState, SqlType, TableDefinition};
use futures::StreamExt as _;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ProjectionMask, arrow_reader::ArrowReaderOptions};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::binder::cast::cast_array;
use crate::cancel::CancelGuard;
use crate::copy::load::Loader;
use crate::copy::unload::Writer;
use crate::error::{Error, Result};
use crate::locks::disk_error;
use crate::outcome::ResultSchema;
use crate::planner::{BATCH_ROWS, Batches};

/// Bytes of a file read at once.
const CHUNK: usize = 1 << 20;

/// PostgreSQL's words for a file that cannot be opened.
pub(crate) fn open_error(path: &str, error: &std::io::Error) -> Error {
    let state = match error.kind() {
        std::io::ErrorKind::NotFound => SqlState::UNDEFINED_FILE,
        std::io::ErrorKind::PermissionDenied => SqlState::INSUFFICIENT_PRIVILEGE,
        _ => SqlState::IO_ERROR,
    };
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "Permission denied".to_owned(),
        _ => error.to_string(),
    };
    Error::new(state, format!("could not open file \"{path}\" for reading: {reason}"))
}

/// Loads a file of bytes.
pub(super) async fn load_bytes(path: &str, mut loader: Loader, guard: &CancelGuard) -> Result<u64> {
    let mut file = tokio::fs::File::open(path).await.map_err(|error| open_error(path, &error))?;
    loop {
        guard.check()?;
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = (&mut file).take(CHUNK as u64).read_to_end(&mut chunk).await;
        let read = read.map_err(|error| disk_error(&format!("could not read from file \"{path}\""), &error))?;
        if read == 0 {
            return loader.finish().await;
        }
        loader.write(&Bytes::from(chunk)).await?;
    }
}

/// Writes rows into a file.
pub(super) async fn unload_bytes(path: &str, mut writer: Writer, mut batches: Batches) -> Result<u64> {
    use tokio::io::AsyncWriteExt as _;
    if !Path::new(path).is_absolute() {
        return Err(Error::new(SqlState::INVALID_NAME, "relative path not allowed for COPY to file"));
    }
    let failed = |error: std::io::Error| disk_error(&format!("could not write to file \"{path}\""), &error);
    let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
    let mut rows = 0;
    file.write_all(&writer.begin()).await.map_err(failed)?;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        file.write_all(&writer.rows(&batch)?).await.map_err(failed)?;
    }
    file.write_all(&writer.end()).await.map_err(failed)?;
    file.flush().await.map_err(failed)?;
    Ok(rows)
}

/// Writes rows into a Parquet file.
pub(super) async fn unload_parquet(path: &str, schema: &ResultSchema, mut batches: Batches) -> Result<u64> {
    if !Path::new(path).is_absolute() {
        return Err(Error::new(SqlState::INVALID_NAME, "relative path not allowed for COPY to file"));
    }
    let failed = |error: std::io::Error| disk_error(&format!("could not write to file \"{path}\""), &error);
    let file = File::create(path).map_err(failed)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let arrow_schema = schema.arrow_schema();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&arrow_schema), Some(properties))?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?.with_schema(Arc::clone(&arrow_schema))?;
        rows += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(rows)
}

/// One column of the data: where it is in the file, and of which type it is to become.
#[derive(Clone)]
struct Mapping {
    index: usize,
    name: String,
    to: SqlType,
}

/// The footer of a Parquet file.
pub(crate) fn open_parquet(path: &str) -> Result<(File, ArrowReaderMetadata)> {
    let file = File::open(path).map_err(|error| open_error(path, &error))?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| {
        Error::new(SqlState::BAD_COPY_FILE_FORMAT, format!("could not read Parquet file \"{path}\": {error}"))
    })?;
    Ok((file, metadata))
}

/// Finds the file's column of a name: exactly, or else regardless of case if that is unambiguous.
fn find_column(schema: &SchemaRef, name: &str) -> Option<usize> {
    if let Ok(index) = schema.index_of(name) {
        return Some(index);
    }
    let mut matches = schema.fields().iter().enumerate().filter(|(_, f)| f.name().eq_ignore_ascii_case(name));
    match (matches.next(), matches.next()) {
        (Some((index, _)), None) => Some(index),
        _ => None,
    }
}

fn mappings(path: &str, schema: &SchemaRef, table: &TableDefinition, places: &[usize]) -> Result<Vec<Mapping>> {
    places
        .iter()
        .map(|place| {
            let column = &table.columns[*place];
            let index = find_column(schema, &column.name).ok_or_else(|| {
                Error::new(
                    SqlState::UNDEFINED_COLUMN,
                    format!("column \"{}\" is not in Parquet file \"{path}\"", column.name),
                )
                .with_hint("Name the columns to load: COPY t (a, b) FROM ...")
            })?;
            Ok(Mapping { index, name: column.name.clone(), to: column.sql_type.clone() })
        })
        .collect()
}

/// Loads a Parquet file: threads take row groups from one counter, decode them batch by batch and hand the batches over.
pub(super) async fn load_parquet(
    path: &str,
    mut loader: Loader,
    settings: &DisplaySettings,
    threads: usize,
    guard: &CancelGuard,
) -> Result<u64> {
    let (_, metadata) = open_parquet(path)?;
    let mappings = mappings(path, metadata.schema(), &loader.table, &loader.places)?;
    let groups = metadata.metadata().num_row_groups();
    let next = Arc::new(AtomicUsize::new(0));
    let threads = threads.min(groups).max(1);
    let (sender, mut receiver) = mpsc::channel::<Result<(Vec<ArrayRef>, usize)>>(threads * 2);
    for _ in 0..threads {
        let (sender, next, metadata) = (sender.clone(), Arc::clone(&next), metadata.clone());
        let (path, mappings, settings, guard) = (path.to_owned(), mappings.clone(), settings.clone(), guard.clone());
        tokio::task::spawn_blocking(move || {
            let work = || -> Result<()> {
                loop {
                    let group = next.fetch_add(1, Ordering::Relaxed);
                    if group >= groups {
                        return Ok(());
                    }
                    read_group(&path, &metadata, group, &mappings, &settings, &guard, &sender)?;
                }
            };
            if let Err(error) = work() {
                // If nobody listens any more, the load has failed already.
                let _ = sender.blocking_send(Err(error));
            }
        });
    }
    drop(sender);
    while let Some(batch) = guard.run(receiver.recv()).await? {
        let (columns, rows) = batch?;
        loader.push(columns, rows).await?;
    }
    loader.finish().await
}

fn read_group(
    path: &str,
    metadata: &ArrowReaderMetadata,
    group: usize,
    mappings: &[Mapping],
    settings: &DisplaySettings,
    guard: &CancelGuard,
    sender: &mpsc::Sender<Result<(Vec<ArrayRef>, usize)>>,
) -> Result<()> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::new(SqlState::BAD_COPY_FILE_FORMAT, format!("could not read Parquet file \"{path}\": {error}"))
    };
    let file = File::open(path).map_err(|error| open_error(path, &error))?;
    let wanted: Vec<usize> = mappings.iter().map(|mapping| mapping.index).collect();
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
    let reader = builder
        .with_projection(mask)
        .with_row_groups(vec![group])
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| damaged(&error))?;
    // The reader gives columns in the file's order.
    let mut order = wanted.clone();
    order.sort_unstable();
    order.dedup();
    for batch in reader {
        guard.check()?;
        let batch: RecordBatch = batch.map_err(|error| damaged(&error))?;
        let columns = mappings
            .iter()
            .map(|mapping| {
                let place = order.binary_search(&mapping.index).unwrap_or(0);
                convert(batch.column(place), &mapping.to, settings)
                    .map_err(|error| error.with_context(format!("Parquet column \"{}\"", mapping.name)))
            })
            .collect::<Result<Vec<_>>>()?;
        if sender.blocking_send(Ok((columns, batch.num_rows()))).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Brings a file's column to the type of the table's, checked. Files without type annotations keep text as bytes, dates as days and times as seconds.
fn convert(array: &ArrayRef, to: &SqlType, settings: &DisplaySettings) -> Result<ArrayRef> {
    let from_type = array.data_type();
    if to.is_string() && matches!(from_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView) {
        let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
        let text = arrow::compute::cast_with_options(array, &DataType::Utf8View, &options).map_err(|_| {
            Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"")
        })?;
        return cast_array(&text, &SqlType::Text, to, false, settings);
    }
    if from_type.is_integer() && matches!(to, SqlType::Date | SqlType::Timestamp | SqlType::TimestampTz) {
        let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
        let number = arrow::compute::cast_with_options(array, &DataType::Int64, &options)?;
        if *to == SqlType::Date {
            let days = arrow::compute::cast_with_options(&number, &DataType::Int32, &options)?;
            return Ok(arrow::compute::cast(&days, &DataType::Date32)?);
        }
        let micros: arrow::array::Int64Array = number.as_primitive::<Int64Type>().try_unary(|seconds| {
            seconds
                .checked_mul(1_000_000)
                .ok_or_else(|| arrow::error::ArrowError::ArithmeticOverflow("timestamp".to_owned()))
        })?;
        return Ok(arrow::compute::cast(&micros, &to.arrow_type())?);
    }
    let from = SqlType::from_arrow(from_type)
        .ok_or_else(|| Error::unsupported(format!("a Parquet column of type {from_type}")))?;
    if !crate::binder::assignable(&from, to) {
        return Err(Error::new(
            SqlState::DATATYPE_MISMATCH,
            format!("column is of type {} but the file's is of type {}", to.base_name(), from.base_name()),
        ));
    }
    cast_array(array, &from, to, false, settings)
}
