//! How things stand: what the system views and the metrics show.

use colonnade_columnar::Level;
use colonnade_types::{Lsn, SegmentId, StorageId};

use crate::compaction::created;
use crate::database::Database;
use crate::error::ReadError;
use crate::manifest::CreatedLsn;
use crate::segment::{LSN_COLUMN, Segment};
use crate::stamp::{Stamp, View};
use crate::tail;

/// A segment of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStatus {
    /// Names the file.
    pub id: SegmentId,
    /// Rows, deleted ones included.
    pub rows: u64,
    /// Deleted rows, those deleted by running transactions included.
    pub deleted_rows: u64,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes of the same rows before encoding.
    pub raw_bytes: u64,
    /// When the first of its rows was committed.
    pub min_lsn: Lsn,
    /// When the last of its rows was committed.
    pub max_lsn: Lsn,
}

/// The tail of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeltaStatus {
    /// Row versions, dead ones included.
    pub rows: u64,
    /// Bytes of them, as encoded rows.
    pub bytes: u64,
    /// Chunks in which they are.
    pub chunks: u64,
    /// Those of them that are in columns already.
    pub sealed_chunks: u64,
    /// Versions that no later snapshot sees: deleted, or never committed.
    pub dead_rows: u64,
    /// When the oldest row that is alive was committed.
    pub oldest_lsn: Option<Lsn>,
}

impl Database {
    /// The segments of a table, in the order in which they are read.
    ///
    /// # Errors
    /// [`ReadError`] if the footer of one is damaged.
    pub fn segments(&self, storage: StorageId) -> Result<Vec<SegmentStatus>, ReadError> {
        let version = self.inner.version.load_full();
        let Some(table) = version.tables.get(&storage) else { return Ok(Vec::new()) };
        table.segments.iter().map(|segment| segment_status(segment)).collect()
    }

    /// The tail of a table. Looks at the stamps of every row in it.
    #[must_use]
    pub fn delta_status(&self, storage: StorageId) -> DeltaStatus {
        let version = self.inner.version.load_full();
        let Some(table) = version.tables.get(&storage) else { return DeltaStatus::default() };
        let (rows, bytes) = table.data.tail_size();
        let mut status = DeltaStatus { rows, bytes, ..DeltaStatus::default() };
        let view = View::committed(version.lsn);
        for chunk in tail::chunks(&table.head).filter(|chunk| chunk.len() > 0) {
            status.chunks += 1;
            status.sealed_chunks += u64::from(chunk.sealed().is_some());
            for index in 0..chunk.len() {
                let created = chunk.created(index);
                if created == Stamp::ABORTED || view.sees(chunk.deleted(index)) {
                    status.dead_rows += 1;
                } else if view.sees(created) {
                    let lsn = Lsn(created.0);
                    status.oldest_lsn = Some(status.oldest_lsn.map_or(lsn, |oldest| oldest.min(lsn)));
                }
            }
        }
        status
    }
}

fn segment_status(segment: &Segment) -> Result<SegmentStatus, ReadError> {
    let (min_lsn, max_lsn) = match created(segment) {
        CreatedLsn::Constant(lsn) => (lsn, lsn),
        CreatedLsn::Commit => (Lsn(0), Lsn(0)),
        CreatedLsn::Column(newest) => match segment.column(LSN_COLUMN)? {
            Some(column) => {
                let zone = column.zone_maps(Level::Segment).map_err(|error| segment.damaged(&error))?;
                (lsn_of(&zone.min).unwrap_or(newest), lsn_of(&zone.max).unwrap_or(newest))
            }
            None => (newest, newest),
        },
    };
    Ok(SegmentStatus {
        id: segment.info.id,
        rows: segment.rows() as u64,
        deleted_rows: segment.deletes.read().len(),
        size_bytes: segment.info.size_bytes,
        raw_bytes: segment.info.raw_bytes,
        min_lsn,
        max_lsn,
    })
}

fn lsn_of(value: &arrow::array::ArrayRef) -> Option<Lsn> {
    let values = value.as_any().downcast_ref::<arrow::array::Int64Array>()?;
    values.iter().next().flatten().map(|lsn| Lsn(lsn.cast_unsigned()))
}
