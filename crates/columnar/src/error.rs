//! What can go wrong when a segment is written or read.

use arrow::datatypes::DataType;

/// Why bytes are not a readable segment. Every variant says where, what was expected and what was found.
///
/// Offsets count from the start of the segment. The caller knows the file's name and adds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The segment ends before a structure does.
    #[error("segment is too short at offset {offset}: {what} needs {expected} bytes, found {found}")]
    Truncated {
        /// Offset at which the structure starts.
        offset: u64,
        /// The structure.
        what: &'static str,
        /// Bytes it needs.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The format version is newer than this program, or never existed.
    #[error("segment format version at offset {offset} is {found}, expected at most {expected}")]
    Version {
        /// Offset of the version field.
        offset: u64,
        /// The newest version that can be read.
        expected: u32,
        /// The version in the file.
        found: u32,
    },
    /// Stored bytes do not match their checksum.
    #[error("checksum of {what} at offset {offset} is {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// Offset of the first byte covered.
        offset: u64,
        /// The structure.
        what: &'static str,
        /// The stored checksum.
        expected: u32,
        /// The checksum of the bytes as they are.
        found: u32,
    },
    /// A field holds a value that the format forbids.
    #[error("{what} at offset {offset} is {found}, expected {expected}")]
    Invalid {
        /// Offset of the field or its structure.
        offset: u64,
        /// The field.
        what: &'static str,
        /// The rule that it breaks.
        expected: String,
        /// The value found.
        found: String,
    },
    /// The caller asked for a granule that the segment does not have. Nothing is wrong with the bytes.
    #[error("segment has {granules} granules, granule {granule} was asked for")]
    NoSuchGranule {
        /// The granule asked for.
        granule: usize,
        /// How many there are.
        granules: usize,
    },
}

/// Why a segment could not be written. Bytes already given to the output are worthless then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// More than [`SEGMENT_ROWS_MAX`](crate::SEGMENT_ROWS_MAX) rows.
    #[error("segment would have {rows} rows, the limit is {limit}")]
    TooManyRows {
        /// Rows given.
        rows: usize,
        /// Rows allowed.
        limit: usize,
    },
    /// A batch has another number of columns than the specification.
    #[error("batch has {found} columns, expected {expected}")]
    ColumnCount {
        /// Columns specified.
        expected: usize,
        /// Columns of the batch.
        found: usize,
    },
    /// A batch's column has another type than the specification.
    #[error("column {id} is {found}, expected {expected}")]
    ColumnType {
        /// Id of the column.
        id: u32,
        /// Type specified.
        expected: DataType,
        /// Type of the array.
        found: DataType,
    },
    /// A column has another number of values than the segment has rows.
    #[error("column {id} has {found} values, expected {expected}")]
    RowCount {
        /// Id of the column.
        id: u32,
        /// Rows of the segment.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// The values of a column could not be had.
    #[error("could not get the values of a column")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Two columns have the same id.
    #[error("column id {id} is given twice")]
    DuplicateColumn {
        /// The id.
        id: u32,
    },
    /// The format has no form for this Arrow type.
    #[error("column type {data_type} cannot be stored")]
    UnsupportedType {
        /// The type.
        data_type: DataType,
    },
    /// One value, or the values of one granule, exceed a limit of the format.
    #[error("{what} is {found}, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Arrow refused to slice or concatenate the input.
    #[error("could not prepare input arrays")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The output failed.
    #[error("could not write segment bytes")]
    Output(#[from] std::io::Error),
}
