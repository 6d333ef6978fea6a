//! Writing segment files: rows, sorted, become a durable file.

use std::io;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, concat, lexsort_to_indices, take};
use arrow::datatypes::{DataType, Field, Schema};
use colonnade_columnar::{ColumnSource, ColumnSpec, WriteOptions, write_segment_columns};
use colonnade_types::{ColumnId, SegmentId, TableDefinition};

use crate::disk::{Disk, DiskError, DiskFile};
use crate::error::{MaintenanceError, ReadError, WriteError};
use crate::manifest::{CreatedLsn, SegmentEntry};
use crate::segment::{SEGMENT_DIR, checksum, segment_path};

/// Why a segment file could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentFileError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{0}")]
    Rows(String),
    #[error(transparent)]
    Read(ReadError),
    #[error("stopped")]
    Stopped,
}

/// Why the source of a column gave none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ColumnError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("stopped")]
    Stopped,
}

impl From<ColumnError> for colonnade_columnar::WriteError {
    fn from(error: ColumnError) -> Self {
        colonnade_columnar::WriteError::Source(Box::new(error))
    }
}

impl From<colonnade_columnar::WriteError> for SegmentFileError {
    fn from(error: colonnade_columnar::WriteError) -> SegmentFileError {
        let colonnade_columnar::WriteError::Source(source) = error else {
            return SegmentFileError::Rows(error.to_string());
        };
        match source.downcast::<ColumnError>() {
            Ok(error) => match *error {
                ColumnError::Read(error) => SegmentFileError::Read(error),
                ColumnError::Stopped => SegmentFileError::Stopped,
            },
            Err(other) => SegmentFileError::Rows(other.to_string()),
        }
    }
}

impl From<SegmentFileError> for WriteError {
    fn from(error: SegmentFileError) -> WriteError {
        match error {
            SegmentFileError::Disk(error) => error.into(),
            SegmentFileError::Rows(text) => WriteError::Mismatch(text),
            SegmentFileError::Read(error) => error.into(),
            SegmentFileError::Stopped => WriteError::Failed(error.to_string()),
        }
    }
}

impl From<SegmentFileError> for MaintenanceError {
    fn from(error: SegmentFileError) -> MaintenanceError {
        match error {
            SegmentFileError::Disk(error) => error.into(),
            SegmentFileError::Rows(text) => MaintenanceError::Read(ReadError::Mismatch(text)),
            SegmentFileError::Read(error) => error.into(),
            SegmentFileError::Stopped => MaintenanceError::Failed(error.to_string()),
        }
    }
}

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// A file being written from its start.
struct FileWriter<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
    buffer: Vec<u8>,
    /// The last bytes, for the checksum.
    end: Vec<u8>,
    /// What the disk said, which `io::Error` would only carry as text.
    failed: Option<DiskError>,
}

impl FileWriter<'_> {
    fn write_out(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(self.offset, &self.buffer) {
            self.failed = Some(error.clone());
            return Err(error.into());
        }
        self.offset += self.buffer.len() as u64;
        self.end.extend_from_slice(&self.buffer);
        let surplus = self.end.len().saturating_sub(1 << 10);
        self.end.drain(..surplus);
        self.buffer.clear();
        Ok(())
    }
}

impl io::Write for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out()
    }
}

/// Writes rows as the segment `id`; durable on return, name included. A file that could not be finished is removed.
pub(crate) fn write(
    disk: &dyn Disk,
    id: SegmentId,
    columns: &[ColumnSpec],
    data: &[RecordBatch],
    options: &WriteOptions,
    created: CreatedLsn,
) -> Result<SegmentEntry, SegmentFileError> {
    assert!(data.iter().all(|batch| batch.num_columns() == columns.len()), "batches have the columns that are written");
    let rows = data.iter().map(RecordBatch::num_rows).sum();
    let source = |index: usize| Ok(data.iter().map(|batch| Arc::clone(batch.column(index))).collect());
    write_columns(disk, id, columns, rows, &source, options, created)
}

/// The same for rows whose columns are asked for one by one.
pub(crate) fn write_columns(
    disk: &dyn Disk,
    id: SegmentId,
    columns: &[ColumnSpec],
    rows: usize,
    source: &ColumnSource<'_>,
    options: &WriteOptions,
    created: CreatedLsn,
) -> Result<SegmentEntry, SegmentFileError> {
    let path = segment_path(id);
    let file = disk.create(&path)?;
    let result = write_file(file.as_ref(), id, columns, rows, source, options, created).and_then(|entry| {
        disk.sync_dir(SEGMENT_DIR)?;
        Ok(entry)
    });
    if result.is_err() {
        // If it cannot be removed now, the next start does it.
        let _ = disk.remove(&path);
    }
    result
}

fn write_file(
    file: &dyn DiskFile,
    id: SegmentId,
    columns: &[ColumnSpec],
    rows: usize,
    source: &ColumnSource<'_>,
    options: &WriteOptions,
    created: CreatedLsn,
) -> Result<SegmentEntry, SegmentFileError> {
    let mut out = FileWriter { file, offset: 0, buffer: Vec::new(), end: Vec::new(), failed: None };
    let written = write_segment_columns(columns, rows, source, options, &mut out);
    let flushed = written.map_err(SegmentFileError::from).and_then(|summary| {
        io::Write::flush(&mut out).map_err(|error| SegmentFileError::Rows(error.to_string()))?;
        Ok(summary)
    });
    let summary = match (flushed, out.failed) {
        (Ok(summary), _) => summary,
        (Err(_), Some(error)) => return Err(SegmentFileError::Disk(error)),
        (Err(error), None) => return Err(error),
    };
    file.sync_data()?;
    assert_eq!(out.offset, summary.bytes, "the file is as long as its segment");
    Ok(SegmentEntry {
        id,
        rows: u32::try_from(summary.rows).map_err(|_| SegmentFileError::Rows("too many rows".to_owned()))?,
        size_bytes: summary.bytes,
        raw_bytes: summary.columns.iter().map(|column| column.plain_bytes).sum(),
        checksum: checksum(&out.end),
        created,
    })
}

/// What columnar needs to know of columns.
pub(crate) fn specs(columns: impl Iterator<Item = (ColumnId, DataType)>) -> Vec<ColumnSpec> {
    columns.map(|(id, data_type)| ColumnSpec { id: id.0, data_type }).collect()
}

/// The columns by which a table's segments are ordered: its sort key, or else its primary key.
pub(crate) fn sort_columns(table: &TableDefinition) -> &[ColumnId] {
    match table.primary_key() {
        Some(key) if table.sort_key.is_empty() => &key.columns,
        _ => &table.sort_key,
    }
}

/// The order of rows by `keys`; `None` if they are in order already, or the types have none.
pub(crate) fn order(keys: &[ArrayRef]) -> Option<UInt32Array> {
    if keys.is_empty() {
        return None;
    }
    let options = Some(SortOptions { descending: false, nulls_first: false });
    let columns: Vec<SortColumn> =
        keys.iter().map(|values| SortColumn { values: Arc::clone(values), options }).collect();
    let indices = lexsort_to_indices(&columns, None).ok()?;
    let sorted = indices.values().windows(2).all(|pair| pair[0] < pair[1]);
    (!sorted).then_some(indices)
}

/// A batch from columns, whatever they are called.
pub(crate) fn batch(columns: Vec<ArrayRef>) -> Result<RecordBatch, SegmentFileError> {
    let fields: Vec<Field> =
        columns.iter().enumerate().map(|(i, c)| Field::new(i.to_string(), c.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| SegmentFileError::Rows(error.to_string()))
}

/// Puts arrays after one another.
pub(crate) fn joined(arrays: &[ArrayRef]) -> Result<ArrayRef, SegmentFileError> {
    let arrays: Vec<&dyn Array> = arrays.iter().map(|array| &**array).collect();
    concat(&arrays).map_err(|error| SegmentFileError::Rows(error.to_string()))
}

/// Picks rows.
pub(crate) fn picked(array: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef, SegmentFileError> {
    take(array, rows, None).map_err(|error| SegmentFileError::Rows(error.to_string()))
}
