//! Reading one table at one snapshot, granule by granule.

use arrow::array::{ArrayRef, UInt64Array};
use arrow::buffer::BooleanBuffer;
use colonnade_types::SegmentId;

use crate::error::ReadError;

/// Zone maps (interface; the columnar crate's type takes its place).
#[derive(Clone, Debug)]
pub struct ZoneMaps {
    /// Least values.
    pub min: ArrayRef,
    /// Greatest values.
    pub max: ArrayRef,
    /// Whether both bounds are values that occur.
    pub exact: BooleanBuffer,
    /// NULLs.
    pub null_count: UInt64Array,
    /// Rows.
    pub row_count: UInt64Array,
}

/// Names a row to the [`Snapshot`](crate::Snapshot) that gave it, and to no other.
pub type RowAddress = u64;

/// Rows of a table at a snapshot. `Send + Sync` and cheap to clone; reading never blocks.
#[derive(Clone, Debug)]
pub struct Scan;

/// A piece of work: a row group of a segment, or a chunk of the tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanUnit {
    /// Its granules, each of at most 8,192 rows.
    pub granules: usize,
    /// Its rows, visible or not.
    pub rows: usize,
    /// Place of its first granule among those of all units: the index into [`Scan::zone_maps`].
    pub first_granule: usize,
    /// Where the rows are.
    pub kind: UnitKind,
}

/// Where the rows of a unit are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// In a segment.
    Segment {
        /// The segment.
        segment: SegmentId,
        /// Index of the row group in it.
        row_group: usize,
    },
    /// In the tail.
    Tail {
        /// Whether it is in columns already, with zone maps.
        sealed: bool,
    },
}

/// Which rows of a granule a snapshot sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Visibility {
    /// All of them.
    All,
    /// None of them.
    None,
    /// Those whose bit is set; there is one bit for every row of the granule.
    Some(BooleanBuffer),
}

impl Scan {
    /// The units in order: segments first, then the tail.
    #[must_use]
    pub fn units(&self) -> &[ScanUnit] {
        unimplemented!()
    }
    /// Zone maps of a column (index in the scan's columns): one entry per granule over all units, in order. Bounds are NULL where unknown.
    ///
    /// # Errors
    /// [`ReadError`] if a segment is damaged.
    pub fn zone_maps(&self, _column: usize) -> Result<ZoneMaps, ReadError> {
        unimplemented!()
    }
    /// Zone maps of a column, coarser: one entry per unit.
    ///
    /// # Errors
    /// [`ReadError`] if a segment is damaged.
    pub fn unit_zone_maps(&self, _column: usize) -> Result<ZoneMaps, ReadError> {
        unimplemented!()
    }
    /// Counts the rows that the snapshot sees, exactly.
    #[must_use]
    pub fn exact_rows(&self) -> u64 {
        unimplemented!()
    }
    /// Which rows of a granule the snapshot sees.
    #[must_use]
    pub fn visibility(&self, _unit: usize, _granule: usize) -> Visibility {
        unimplemented!()
    }
    /// Rows of a granule, visible or not.
    #[must_use]
    pub fn granule_rows(&self, _unit: usize, _granule: usize) -> usize {
        unimplemented!()
    }
    /// All values of a granule in a column (index in the scan's columns), visible or not, in the Arrow type of the column's definition. A column
    /// that the rows were stored without has its missing value.
    ///
    /// # Errors
    /// [`ReadError`] if a segment is damaged.
    pub fn column(&self, _unit: usize, _granule: usize, _column: usize) -> Result<ArrayRef, ReadError> {
        unimplemented!()
    }
    /// The address of every row of a granule.
    #[must_use]
    pub fn addresses(&self, _unit: usize, _granule: usize) -> UInt64Array {
        unimplemented!()
    }
    /// Stored bytes that this scan and its clones have read so far: encoded bytes of segments, row bytes of the tail.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        unimplemented!()
    }
}
