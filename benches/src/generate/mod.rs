//! Data sets as Parquet files.

pub mod hits;
mod hits_schema;
pub mod tpch;
mod words;

use std::fs::File;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::BenchError;

/// Rows of a row group: small enough that readers need little memory.
const ROW_GROUP_ROWS: usize = 250_000;

fn parquet_writer(path: &Path, schema: SchemaRef) -> Result<ArrowWriter<File>, BenchError> {
    let file = File::create(path).map_err(BenchError::file(path))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    Ok(ArrowWriter::try_new(file, schema, Some(properties))?)
}
