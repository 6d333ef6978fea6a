//! Reading one table at one snapshot, granule by granule.
//!
//! ```text
//! units      segment 0, row group 0 │ row group 1 │ segment 1, row group 0 │ chunk │ chunk │ open chunk
//! granules   0 1 2 ... 15             0 1 2 ...     0 1                      0       0       0
//! ```
//!
//! A scan is fixed when it is opened: which segments, which chunks, how many rows of each. What is appended later is not in it; what is committed or deleted
//! later carries stamps that the snapshot does not see.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use colonnade_columnar::{Level, ZoneMaps};
use colonnade_types::{ColumnDefinition, ColumnId, SegmentId, TableDefinition};

pub use crate::address::RowAddress;
use crate::address::segment_address;
use crate::error::ReadError;
use crate::fill;
use crate::segment::{GRANULE_ROWS, ROW_GROUP_GRANULES, ROW_GROUP_ROWS, Segment};
use crate::snapshot::Snapshot;
use crate::tail::{self, Chunk};

/// Rows of a table at a snapshot. `Send + Sync` and cheap to clone; reading never waits for a writer's transaction.
#[derive(Clone, Debug)]
pub struct Scan {
    body: Arc<Body>,
}

#[derive(Debug)]
struct Body {
    snapshot: Snapshot,
    columns: Vec<Column>,
    units: Vec<ScanUnit>,
    sources: Vec<Source>,
    bytes_read: AtomicU64,
}

#[derive(Debug)]
struct Column {
    definition: ColumnDefinition,
    data_type: DataType,
    /// The value of rows that were stored without it, as an array of one.
    missing: ArrayRef,
}

#[derive(Debug)]
enum Source {
    Segment { segment: Arc<Segment>, position: usize, row_group: usize },
    Tail { chunk: Arc<Chunk>, len: usize, sealed: bool },
}

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
    pub(crate) fn open(snapshot: Snapshot, table: &TableDefinition, columns: &[ColumnId]) -> Result<Scan, ReadError> {
        let column = |id: &ColumnId| {
            let definition = table.column_by_id(*id).cloned().ok_or_else(|| {
                ReadError::Mismatch(format!("table \"{}\" has no column with number {id}", table.name))
            })?;
            let missing = fill::missing_value(&definition)?;
            Ok(Column { data_type: definition.sql_type.arrow_type(), definition, missing })
        };
        let columns = columns.iter().map(column).collect::<Result<Vec<_>, ReadError>>()?;
        let (segments, head) = snapshot.places(table.storage);
        let (mut units, mut sources) = (Vec::new(), Vec::new());
        let mut granules = 0;
        let mut add = |rows: usize, kind: UnitKind, source: Source| {
            let unit = ScanUnit { granules: rows.div_ceil(GRANULE_ROWS), rows, first_granule: granules, kind };
            granules += unit.granules;
            units.push(unit);
            sources.push(source);
        };
        for (position, segment) in segments.iter().enumerate() {
            for row_group in 0..segment.rows().div_ceil(ROW_GROUP_ROWS) {
                let rows = (segment.rows() - row_group * ROW_GROUP_ROWS).min(ROW_GROUP_ROWS);
                let source = Source::Segment { segment: Arc::clone(segment), position, row_group };
                add(rows, UnitKind::Segment { segment: segment.info.id, row_group }, source);
            }
        }
        for chunk in head.iter().flat_map(tail::chunks) {
            // A chunk that is seen sealed has all its rows.
            let sealed = chunk.sealed().is_some();
            let len = chunk.len();
            if len > 0 {
                add(len, UnitKind::Tail { sealed }, Source::Tail { chunk: Arc::clone(chunk), len, sealed });
            }
        }
        let bytes_read = AtomicU64::new(0);
        Ok(Scan { body: Arc::new(Body { snapshot, columns, units, sources, bytes_read }) })
    }

    /// The snapshot that is read.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.body.snapshot
    }

    /// The units in order: segments first, then the tail.
    #[must_use]
    pub fn units(&self) -> &[ScanUnit] {
        &self.body.units
    }

    /// Zone maps of a column (index in the scan's columns): one entry per granule over all units, in order. Bounds are NULL where unknown, as they are for what
    /// is not sealed; counts are exact, and count rows that are not visible too.
    ///
    /// # Errors
    /// [`ReadError`] if a segment is damaged.
    pub fn zone_maps(&self, column: usize) -> Result<ZoneMaps, ReadError> {
        let maps =
            (0..self.body.units.len()).map(|unit| self.unit_granules(unit, column)).collect::<Result<Vec<_>, _>>()?;
        self.concat(column, &maps)
    }

    /// Zone maps of a column, coarser: one entry per unit.
    ///
    /// # Errors
    /// [`ReadError`] if a segment is damaged.
    pub fn unit_zone_maps(&self, column: usize) -> Result<ZoneMaps, ReadError> {
        let one = |unit: usize| match &self.body.sources[unit] {
            Source::Segment { segment, row_group, .. } => {
                match segment.column(self.body.columns[column].definition.id)? {
                    Some(reader) => {
                        let maps = reader.zone_maps(Level::RowGroup).map_err(|error| segment.damaged(&error))?;
                        Ok(maps.slice(*row_group, 1))
                    }
                    None => self.missing_zone(column, self.body.units[unit].rows),
                }
            }
            Source::Tail { .. } => self.unit_granules(unit, column),
        };
        let maps = (0..self.body.units.len()).map(one).collect::<Result<Vec<_>, _>>()?;
        self.concat(column, &maps)
    }

    fn concat(&self, column: usize, maps: &[ZoneMaps]) -> Result<ZoneMaps, ReadError> {
        let column = &self.body.columns[column];
        ZoneMaps::concat(&column.data_type, maps)
            .map_err(|error| ReadError::Mismatch(format!("column \"{}\": {error}", column.definition.name)))
    }

    fn missing_zone(&self, column: usize, rows: usize) -> Result<ZoneMaps, ReadError> {
        let column = &self.body.columns[column];
        let mut zone = ZoneMaps::of(&column.missing);
        let nulls = if column.missing.is_null(0) { rows } else { 0 };
        zone.null_count = UInt64Array::from(vec![nulls as u64]);
        zone.row_count = UInt64Array::from(vec![rows as u64]);
        Ok(zone)
    }

    /// Zone maps of a unit's granules.
    fn unit_granules(&self, unit: usize, column: usize) -> Result<ZoneMaps, ReadError> {
        let Column { definition, data_type, .. } = &self.body.columns[column];
        match &self.body.sources[unit] {
            Source::Segment { segment, row_group, .. } => match segment.column(definition.id)? {
                Some(reader) => {
                    let maps = reader.zone_maps(Level::Granule).map_err(|error| segment.damaged(&error))?;
                    Ok(maps.slice(row_group * ROW_GROUP_GRANULES, self.body.units[unit].granules))
                }
                None => {
                    let zones = (0..self.body.units[unit].granules)
                        .map(|granule| self.missing_zone(column, self.granule_rows(unit, granule)))
                        .collect::<Result<Vec<_>, _>>()?;
                    self.concat(column, &zones)
                }
            },
            Source::Tail { chunk, len, sealed } => match chunk.layout.index_of(definition.id) {
                Some(index) => match chunk.sealed().filter(|_| *sealed) {
                    Some(sealed) => Ok(sealed.zone_maps[index].clone()),
                    None => Ok(ZoneMaps::unknown(data_type, *len, chunk.null_count(index, *len)?)),
                },
                None => self.missing_zone(column, *len),
            },
        }
    }

    /// Counts the rows that the snapshot sees, exactly. Reads stamps, not data.
    #[must_use]
    pub fn exact_rows(&self) -> u64 {
        let view = self.body.snapshot.view();
        let mut rows = 0;
        for source in &self.body.sources {
            rows += match source {
                // Deletes are counted once a segment.
                Source::Segment { segment, row_group: 0, .. } => {
                    segment.rows() as u64 - segment.deletes.read().count(view)
                }
                Source::Segment { .. } => 0,
                Source::Tail { chunk, len, .. } => (0..*len).filter(|index| chunk.shows(*index, view)).count() as u64,
            };
        }
        rows
    }

    /// Which rows of a granule the snapshot sees.
    #[must_use]
    pub fn visibility(&self, unit: usize, granule: usize) -> Visibility {
        let view = self.body.snapshot.view();
        match &self.body.sources[unit] {
            Source::Segment { segment, .. } => {
                let rows = self.segment_rows(unit, granule);
                // Offsets of a segment have 32 bits.
                segment.deletes.read().visibility(rows.start as u32, rows.end as u32, view)
            }
            Source::Tail { chunk, len, .. } => {
                let visible = BooleanBuffer::collect_bool(*len, |index| chunk.shows(index, view));
                match visible.count_set_bits() {
                    0 => Visibility::None,
                    count if count == *len => Visibility::All,
                    _ => Visibility::Some(visible),
                }
            }
        }
    }

    /// Rows of a granule, visible or not.
    #[must_use]
    pub fn granule_rows(&self, unit: usize, granule: usize) -> usize {
        (self.body.units[unit].rows - granule * GRANULE_ROWS).min(GRANULE_ROWS)
    }

    /// The rows of a granule as offsets in their segment.
    fn segment_rows(&self, unit: usize, granule: usize) -> Range<usize> {
        let Source::Segment { row_group, .. } = &self.body.sources[unit] else {
            unreachable!("asked for segments only")
        };
        let first = row_group * ROW_GROUP_ROWS + granule * GRANULE_ROWS;
        first..first + self.granule_rows(unit, granule)
    }

    /// All values of a granule in a column (index in the scan's columns), visible or not, in the Arrow type of the column's definition. A column
    /// that the rows were stored without has its missing value.
    ///
    /// # Errors
    /// [`ReadError`] if a segment is damaged.
    pub fn column(&self, unit: usize, granule: usize, column: usize) -> Result<ArrayRef, ReadError> {
        let Column { definition, data_type, missing } = &self.body.columns[column];
        let (values, bytes) = match &self.body.sources[unit] {
            Source::Segment { segment, row_group, .. } => {
                let granule = row_group * ROW_GROUP_GRANULES + granule;
                (segment.read(definition.id, granule)?, segment.page_bytes(definition.id, granule)?)
            }
            Source::Tail { chunk, len, .. } => match chunk.layout.index_of(definition.id) {
                Some(index) => {
                    assert_eq!(granule, 0, "a chunk is one granule");
                    let values = chunk.column(index, *len)?;
                    let bytes = values.get_array_memory_size() as u64;
                    (Some(values), bytes)
                }
                None => (None, 0),
            },
        };
        self.body.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        let Some(values) = values else { return fill::repeat(missing, self.granule_rows(unit, granule)) };
        if values.data_type() != data_type {
            return Err(ReadError::Mismatch(format!(
                "column \"{}\" is stored as {}, expected {data_type}",
                definition.name,
                values.data_type()
            )));
        }
        Ok(values)
    }

    /// The address of every row of a granule.
    #[must_use]
    pub fn addresses(&self, unit: usize, granule: usize) -> UInt64Array {
        match &self.body.sources[unit] {
            Source::Segment { position, .. } => {
                let rows = self.segment_rows(unit, granule);
                let first = segment_address(*position, rows.start);
                UInt64Array::from_iter_values(first..first + rows.len() as u64)
            }
            Source::Tail { chunk, len, .. } => {
                UInt64Array::from_iter_values((0..*len).map(|index| chunk.row_id(index)))
            }
        }
    }

    /// Stored bytes that this scan and its clones have read so far: encoded pages of segments, columns of the tail.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.body.bytes_read.load(Ordering::Relaxed)
    }
}
