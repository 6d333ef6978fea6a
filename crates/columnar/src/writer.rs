//! Writing a segment.
//!
//! Columns are encoded one by one, on several threads if asked, and written in their order: memory holds the input and
//! a few encoded columns, never the whole segment.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use crate::column_queue::{ColumnQueue, StopOnPanic};
use crate::dictionary::{self, BuiltDictionary};
use crate::encoding::Encodings;
use crate::error::WriteError;
use crate::footer::{ColumnEntry, ColumnMetadata, Footer, PageEntry, write_header};
use crate::page;
use crate::zone_map::ZoneMaps;
use crate::{GRANULE_ROWS, ROW_GROUP_ROWS, SEGMENT_ROWS_MAX, zones};

/// A column to write: what it is called in the segment, and its type.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSpec {
    /// Id by which readers find the column; unique within the segment.
    pub id: u32,
    /// Arrow type: one of `SqlType::arrow_type`, `UInt64`, or lists of those.
    pub data_type: DataType,
}

/// How to write a segment. None of it changes what is read back.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Threads that encode columns; 1 encodes on the calling thread. Default 1; 0 counts as 1. Each thread holds at
    /// most two encoded columns.
    pub threads: usize,
    /// Greatest share of distinct values among a string column's values with which it gets a dictionary, from 0 (never)
    /// to 1. Default 0.6: building costs much more than plain storage and stops paying there.
    pub dictionary_distinct_max: f64,
}

impl Default for WriteOptions {
    fn default() -> Self {
        WriteOptions { threads: 1, dictionary_distinct_max: 0.6 }
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub struct SegmentSummary {
    /// Rows of the segment.
    pub rows: usize,
    /// Bytes of the segment.
    pub bytes: u64,
    /// One entry a column, in order.
    pub columns: Vec<ColumnSummary>,
}

/// What was written for one column.
#[derive(Clone, Debug)]
pub struct ColumnSummary {
    /// Id of the column.
    pub id: u32,
    /// Names of the encodings used, separated by commas.
    pub encoding: String,
    /// Bytes in the segment, metadata and zone maps included.
    pub encoded_bytes: u64,
    /// Bytes of the values without encoding: their widths, or lengths plus four bytes a string.
    pub plain_bytes: u64,
    /// Number of distinct values other than NULL, where the writer came to know it.
    pub distinct: Option<u64>,
}

/// Writes the rows of all batches, in order, as one segment.
///
/// Columns go by position: column `i` of every batch is `columns[i]`.
///
/// # Errors
/// See [`WriteError`]; `out` may hold a part of the segment then.
pub fn write_segment(
    columns: &[ColumnSpec],
    data: &[RecordBatch],
    options: &WriteOptions,
    out: &mut dyn Write,
) -> Result<SegmentSummary, WriteError> {
    let rows = data.iter().map(RecordBatch::num_rows).sum();
    if let Some(batch) = data.iter().find(|batch| batch.num_columns() != columns.len()) {
        return Err(WriteError::ColumnCount { expected: columns.len(), found: batch.num_columns() });
    }
    let source = |index: usize| Ok(data.iter().map(|batch| Arc::clone(batch.column(index))).collect());
    write_segment_columns(columns, rows, &source, options, out)
}

/// Writes a segment of `rows` rows whose columns are asked for one by one: `source` gives all values of a column (index in `columns`), in one
/// array or several. Each is asked for once, by up to [`WriteOptions::threads`] threads at a time, and let go when it is encoded: so memory holds
/// that many decoded columns, however many there are.
///
/// # Errors
/// See [`WriteError`], whatever `source` returns included; `out` may hold a part of the segment then.
pub fn write_segment_columns(
    columns: &[ColumnSpec],
    rows: usize,
    source: &ColumnSource<'_>,
    options: &WriteOptions,
    out: &mut dyn Write,
) -> Result<SegmentSummary, WriteError> {
    check_columns(columns, rows)?;
    let mut header = Vec::new();
    write_header(rows, &mut header);
    out.write_all(&header)?;
    let mut offset = header.len() as u64;
    let mut footer = Footer { rows, columns: Vec::with_capacity(columns.len()) };
    encode_in_order(columns, rows, source, options, &mut |mut encoded: EncodedColumn| {
        encoded.entry.offset = offset;
        offset += encoded.entry.bytes;
        out.write_all(&encoded.bytes)?;
        footer.columns.push(encoded.entry);
        Ok(())
    })?;
    let mut end = Vec::new();
    footer.write(offset, &mut end)?;
    out.write_all(&end)?;
    let summaries = footer.columns.iter().map(|column| ColumnSummary {
        id: column.id,
        encoding: column.encodings.to_string(),
        encoded_bytes: column.bytes,
        plain_bytes: column.plain_bytes,
        distinct: column.distinct,
    });
    Ok(SegmentSummary { rows, bytes: offset + end.len() as u64, columns: summaries.collect() })
}

/// Gives the values of one column, by index: see [`write_segment_columns`].
pub type ColumnSource<'a> = dyn Fn(usize) -> Result<Vec<ArrayRef>, WriteError> + Sync + 'a;

fn check_columns(columns: &[ColumnSpec], rows: usize) -> Result<(), WriteError> {
    if rows > SEGMENT_ROWS_MAX {
        return Err(WriteError::TooManyRows { rows, limit: SEGMENT_ROWS_MAX });
    }
    let mut ids: Vec<u32> = columns.iter().map(|column| column.id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(WriteError::DuplicateColumn { id: pair[0] }),
        None => Ok(()),
    }
}

fn check_values(spec: &ColumnSpec, rows: usize, values: &[ArrayRef]) -> Result<(), WriteError> {
    for array in values {
        // Names and metadata of list items may differ; the segment keeps those of the specification.
        if !spec.data_type.equals_datatype(array.data_type()) {
            return Err(WriteError::ColumnType {
                id: spec.id,
                expected: spec.data_type.clone(),
                found: array.data_type().clone(),
            });
        }
    }
    let found = values.iter().map(Array::len).sum();
    if found == rows { Ok(()) } else { Err(WriteError::RowCount { id: spec.id, expected: rows, found }) }
}

/// A column's bytes, and its entry but for the offset.
struct EncodedColumn {
    bytes: Vec<u8>,
    entry: ColumnEntry,
}

/// Encodes all columns and hands them to `emit` in their order.
fn encode_in_order(
    columns: &[ColumnSpec],
    rows: usize,
    source: &ColumnSource<'_>,
    options: &WriteOptions,
    emit: &mut dyn FnMut(EncodedColumn) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let encode = |index: usize| {
        let chunks = source(index)?;
        check_values(&columns[index], rows, &chunks)?;
        encode_column(&columns[index], &chunks, options)
    };
    let threads = options.threads.min(columns.len());
    if threads <= 1 {
        return (0..columns.len()).try_for_each(|index| emit(encode(index)?));
    }
    let queue = ColumnQueue::new(columns.len(), 2 * threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(index) = queue.claim() {
                    let _stop = StopOnPanic(&queue);
                    queue.put(index, encode(index));
                }
            });
        }
        let result = (0..columns.len()).try_for_each(|index| match queue.take(index) {
            Some(encoded) => emit(encoded?),
            // Leaving the scope passes the encoding thread's panic on.
            None => Ok(()),
        });
        queue.stop();
        result
    })
}

fn encode_column(spec: &ColumnSpec, chunks: &[ArrayRef], options: &WriteOptions) -> Result<EncodedColumn, WriteError> {
    let rows: usize = chunks.iter().map(Array::len).sum();
    let mut bytes = Vec::new();
    let dictionary = match spec.data_type {
        DataType::Utf8View | DataType::BinaryView => dictionary::build(chunks, options.dictionary_distinct_max),
        _ => None,
    };
    let layout = dictionary.as_ref().map(|dictionary| dictionary.write(&mut bytes)).transpose()?;
    let mut slicer = Slicer::new(chunks);
    let mut metadata = ColumnMetadata { dictionary: layout, pages: Vec::new() };
    let mut used = Encodings::default();
    let mut granule_zones = Vec::new();
    let mut plain_bytes = 0;
    for first_row in (0..rows).step_by(GRANULE_ROWS) {
        let array = slicer.next(GRANULE_ROWS.min(rows - first_row))?;
        plain_bytes += plain_size(&array);
        let start = bytes.len();
        let encodings = match &dictionary {
            Some(dictionary) => {
                let codes = &dictionary.codes[first_row..first_row + array.len()];
                granule_zones.push(dictionary_zone(dictionary, codes, &array));
                page::encode_codes(&array, codes, &mut bytes)
            }
            None => {
                granule_zones.push(ZoneMaps::of(&array));
                page::encode(&array, &mut bytes)?
            }
        };
        used = used.union(encodings);
        let page = &bytes[start..];
        let (page_bytes, crc) = (page.len() as u64, crc32c::crc32c(page));
        metadata.pages.push(PageEntry { offset: 0, bytes: page_bytes, crc, encodings });
    }
    let metadata_start = bytes.len();
    metadata.write(&mut bytes);
    let granule_zones = typed_zones(spec, &granule_zones)?;
    let zones = zones::Zones::of_granules(granule_zones, ROW_GROUP_ROWS / GRANULE_ROWS)?;
    zones.write(&mut bytes)?;
    let stored = &bytes[metadata_start..];
    let metadata_bytes = u32::try_from(stored.len()).map_err(|_| WriteError::TooLarge {
        what: "size of a column's metadata",
        found: stored.len() as u64,
        limit: u64::from(u32::MAX),
    })?;
    let entry = ColumnEntry {
        id: spec.id,
        data_type: spec.data_type.clone(),
        offset: 0,
        bytes: bytes.len() as u64,
        metadata_bytes,
        metadata_crc: crc32c::crc32c(stored),
        encodings: used,
        has_dictionary: dictionary.is_some(),
        distinct: dictionary.as_ref().map(|dictionary| dictionary.entries.len() as u64),
        plain_bytes,
    };
    Ok(EncodedColumn { bytes, entry })
}

/// The zones with the specification's type: arrays may have named list items otherwise.
fn typed_zones(spec: &ColumnSpec, zones: &[ZoneMaps]) -> Result<ZoneMaps, WriteError> {
    if matches!(spec.data_type, DataType::List(_)) {
        let count = |zone: &ZoneMaps| (zone.row_count.value(0) as usize, zone.null_count.value(0) as usize);
        let zones: Vec<ZoneMaps> =
            zones.iter().map(|zone| ZoneMaps::unknown(&spec.data_type, count(zone).0, count(zone).1)).collect();
        return Ok(ZoneMaps::concat(&spec.data_type, &zones)?);
    }
    Ok(ZoneMaps::concat(&spec.data_type, zones)?)
}

/// The zone of a granule by its codes: the dictionary is sorted, so no string is compared.
fn dictionary_zone(dictionary: &BuiltDictionary<'_>, codes: &[u32], array: &ArrayRef) -> ZoneMaps {
    let (rows, nulls) = (array.len(), array.null_count());
    let valid = codes.iter().enumerate().filter(|(row, _)| array.is_valid(*row)).map(|(_, &code)| code);
    let bounds = valid.fold(None, |bounds: Option<(u32, u32)>, code| match bounds {
        None => Some((code, code)),
        Some((min, max)) => Some((min.min(code), max.max(code))),
    });
    match bounds {
        None => ZoneMaps::unknown(array.data_type(), rows, nulls),
        Some((min, max)) => {
            let entry = |code: u32| dictionary.entries[code as usize];
            ZoneMaps::of_bytes(array.data_type(), entry(min), entry(max), rows, nulls)
        }
    }
}

fn plain_size(array: &ArrayRef) -> u64 {
    let rows = array.len() as u64;
    match array.data_type() {
        DataType::Utf8View => lengths(array.as_string_view().lengths()) + rows * 4,
        DataType::BinaryView => lengths(array.as_binary_view().lengths()) + rows * 4,
        DataType::Boolean => rows.div_ceil(8),
        DataType::FixedSizeBinary(width) => rows * u64::from(width.unsigned_abs()),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets.first().map_or(0, |&o| o as usize), offsets.last().map_or(0, |&o| o as usize));
            rows * 4 + plain_size(&list.values().slice(first, last - first))
        }
        other => rows * other.primitive_width().unwrap_or(0) as u64,
    }
}

fn lengths(lengths: impl Iterator<Item = u32>) -> u64 {
    lengths.map(u64::from).sum()
}

/// Cuts the rows of several arrays into pieces of any length, from the first to the last.
struct Slicer<'a> {
    chunks: &'a [ArrayRef],
    chunk: usize,
    row: usize,
}

impl<'a> Slicer<'a> {
    fn new(chunks: &'a [ArrayRef]) -> Slicer<'a> {
        Slicer { chunks, chunk: 0, row: 0 }
    }

    /// The next `rows` rows, which must exist. Copies only where a piece crosses arrays.
    fn next(&mut self, rows: usize) -> Result<ArrayRef, WriteError> {
        let mut pieces: Vec<ArrayRef> = Vec::new();
        let mut missing = rows;
        while missing > 0 {
            let chunk = &self.chunks[self.chunk];
            let take = missing.min(chunk.len() - self.row);
            if take > 0 {
                pieces.push(chunk.slice(self.row, take));
            }
            missing -= take;
            self.row += take;
            if self.row == chunk.len() {
                self.chunk += 1;
                self.row = 0;
            }
        }
        if let [piece] = pieces.as_slice() {
            return Ok(Arc::clone(piece));
        }
        let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| &**piece).collect();
        Ok(arrow::compute::concat(&pieces)?)
    }
}
