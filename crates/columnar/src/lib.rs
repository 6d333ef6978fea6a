//! Turns Arrow arrays into checked segment bytes and back, and answers what can be answered on encoded data.
//!
//! A *segment* holds up to 1,048,576 rows of one table, column by column. This crate makes its bytes and reads them; it
//! opens no file and knows no transaction. `docs/storage-format.md` describes every byte.
//!
//! ```text
//! | header | column 0 | column 1 | ... | footer | tail |
//!            \- dictionary? | page per granule | page table, zone maps
//! ```
//!
//! # Life of a column
//!
//! [`write_segment`] slices a column into granules of 8,192 rows. A string column may first get a dictionary for the
//! whole segment (`dictionary`). Each granule becomes one page (`page`): an array node (`array_node`: validity, then
//! values), where values boil down to integer nodes (`integers`), floats, decimals or string blocks. Each page chooses
//! its encoding for itself, by exact size. Zone maps (`zone_map`, `zones`) of all levels go into the column's metadata,
//! and what finds the columns into the footer (`footer`).
//!
//! [`SegmentReader::open`] reads the footer; [`ColumnReader::read`] one page.
//!
//! # Invariants
//!
//! - Every byte of a segment is covered by a checksum that is verified before the byte is believed.
//! - Arbitrary bytes give an error or data, never a panic, an endless loop or an allocation out of proportion.
//! - What is read is what was written: type, values, NULLs, and bit patterns of floats.

mod array_node;
mod bit_pack;
mod blocks;
mod column_queue;
mod cursor;
mod data_type;
mod decimals;
mod dictionary;
mod encoding;
mod error;
mod floats;
mod footer;
mod integers;
mod page;
mod reader;
mod strings;
mod writer;
mod zone_map;
mod zones;

pub use dictionary::Dictionary;
pub use error::{FormatError, WriteError};
pub use reader::{ColumnReader, SegmentReader};
pub use writer::{
    ColumnSource, ColumnSpec, ColumnSummary, SegmentSummary, WriteOptions, write_segment, write_segment_columns,
};
pub use zone_map::{TEXT_BYTES_MAX, ZoneMaps};
pub use zones::Level;

/// Version of the segment format that is written, and the newest that can be read.
pub const FORMAT_VERSION: u32 = 1;
/// Rows of a granule, the smallest zone and the unit of decoding.
pub const GRANULE_ROWS: usize = 8_192;
/// Rows of a row group.
pub const ROW_GROUP_ROWS: usize = 131_072;
/// Most rows of a segment.
pub const SEGMENT_ROWS_MAX: usize = 1_048_576;

const _: () = assert!(ROW_GROUP_ROWS.is_multiple_of(GRANULE_ROWS));
const _: () = assert!(SEGMENT_ROWS_MAX.is_multiple_of(ROW_GROUP_ROWS));
