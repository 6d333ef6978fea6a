//! Flush: the beginning of a tail becomes a segment.
//!
//! ```text
//! choose    the chunks up to the first that holds a row of a running transaction
//! build     rows that some later snapshot may see, sorted, with the LSN of each; write and sync the file              no lock held
//! install   carry deletes over, log the edit, leave `moved_to` behind                                       latch, moves, log latch
//! apply     publish the version whose tail starts further on                                              the log writer, in order
//! ```
//!
//! **Why nothing is lost.** A delete that comes before the install is on the chunk's stamps, which the install carries over; one that comes after finds `moved_to`
//! and marks the segment. A delete whose record is in the log before the edit names a row id, and the edit's list of carried deletes holds it; one whose record
//! comes after names the segment. So the log reads right in its own order, whatever was applied when.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::datatypes::DataType;
use colonnade_columnar::{SEGMENT_ROWS_MAX, WriteOptions};
use colonnade_types::{Lsn, Relation, StorageId, TableDefinition};
use parking_lot::MutexGuard;

use crate::catalog::Catalog;
use crate::commit::{Carry, Flushed, Work};
use crate::database::Inner;
use crate::deletes::Deletes;
use crate::error::MaintenanceError;
use crate::fill;
use crate::manifest::{CarriedDelete, CreatedLsn, SegmentEntry};
use crate::record::{ManifestEdit, TransactionEncoder};
use crate::segment::{LSN_COLUMN, Segment};
use crate::segment_file;
use crate::segment_keys;
use crate::stamp::{Stamp, StampState};
use crate::table::{LatchGuard, TableData};
use crate::tail::{CHUNK_ROWS_FIRST, Chunk, Moved};

/// How much of a tail is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The chunks of which no later snapshot sees a row: they go without a segment.
    Dead,
    /// The closed chunks; where most of their rows are dead versions, the older half of them only, so that rows that are updated again and again stay.
    Closed,
    /// The open chunk too, which is closed for it.
    All,
}

/// Rows of dead chunks that are worth a record.
const DEAD_ROWS_MIN: usize = 8_192;

/// A tail of which less than one row in so many is alive is one whose rows are updated again and again.
const HOT_SHARE: usize = 4;

/// What a flush moves.
struct Plan {
    chunks: Vec<Arc<Chunk>>,
    /// For every chunk, the rows that are kept.
    kept: Vec<Vec<u32>>,
    rows: usize,
}

/// A written segment.
struct Built {
    entry: SegmentEntry,
    /// For every chunk, where its rows are in the segment.
    offsets: Vec<Box<[u32]>>,
    /// The greatest LSN among the rows.
    newest: Lsn,
}

impl Inner {
    /// Flushes the resolved beginning of a tail; returns the rows that left the tail. Does nothing while another flush of the table runs.
    pub(crate) fn flush(&self, data: &Arc<TableData>, extent: Extent) -> Result<u64, MaintenanceError> {
        match data.flushing.try_lock() {
            Some(one) => self.flush_alone(data, extent, &one),
            None => Ok(0),
        }
    }

    /// The same, after the flush that runs.
    pub(crate) fn flush_next(&self, data: &Arc<TableData>, extent: Extent) -> Result<u64, MaintenanceError> {
        self.flush_alone(data, extent, &data.flushing.lock())
    }

    fn flush_alone(
        &self,
        data: &Arc<TableData>,
        extent: Extent,
        _one: &MutexGuard<'_, ()>,
    ) -> Result<u64, MaintenanceError> {
        let version = self.version.load_full();
        let Some(table) = table_of(&version.catalog, data.storage) else { return Ok(0) };
        let plan = plan(data, extent, version.lsn);
        // The chunks that it holds may go meanwhile.
        drop(version);
        if plan.chunks.is_empty() {
            return Ok(0);
        }
        let built = if plan.rows == 0 { None } else { Some(self.build(&table, &plan)?) };
        let moved = self.install(data, &table, &plan, built)?;
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        self.counters.flushed_rows.fetch_add(moved, Ordering::Relaxed);
        self.note_progress();
        Ok(moved)
    }

    fn build(&self, table: &TableDefinition, plan: &Plan) -> Result<Built, MaintenanceError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(table.columns.len() + 1);
        for definition in &table.columns {
            let mut parts = Vec::new();
            for (chunk, kept) in plan.chunks.iter().zip(&plan.kept).filter(|(_, kept)| !kept.is_empty()) {
                parts.push(match chunk.layout.index_of(definition.id) {
                    Some(index) => {
                        let values = Arc::clone(&chunk.seal()?.columns[index]);
                        if kept.len() == chunk.len() {
                            values
                        } else {
                            segment_file::picked(&values, &UInt32Array::from(kept.clone()))?
                        }
                    }
                    None => fill::repeat(&fill::missing_value(definition)?, kept.len())?,
                });
            }
            columns.push(segment_file::joined(&parts)?);
        }
        let created = |chunk: &Chunk, row: &u32| match chunk.created(*row as usize).state() {
            StampState::Committed(lsn) => lsn,
            state => unreachable!("a kept row is committed, not {state:?}"),
        };
        let lsns: Vec<Lsn> = plan
            .chunks
            .iter()
            .zip(&plan.kept)
            .flat_map(|(chunk, kept)| kept.iter().map(move |row| created(chunk, row)))
            .collect();
        // A commit LSN has 63 bits.
        columns.push(Arc::new(Int64Array::from_iter_values(lsns.iter().map(|lsn| lsn.0.cast_signed()))));
        let keys: Vec<ArrayRef> = segment_file::sort_columns(table)
            .iter()
            .filter_map(|id| table.column_index(*id).map(|index| Arc::clone(&columns[index])))
            .collect();
        let order = segment_file::order(&keys);
        if let Some(order) = &order {
            columns = columns.iter().map(|column| segment_file::picked(column, order)).collect::<Result<_, _>>()?;
        }
        let offsets = offsets(plan, order.as_ref());
        let ids = table.columns.iter().map(|column| (column.id, column.sql_type.arrow_type()));
        let specs = segment_file::specs(ids.chain([(LSN_COLUMN, DataType::Int64)]));
        let newest = lsns.iter().copied().max().unwrap_or_default();
        let entry = segment_file::write(
            self.store.disk.as_ref(),
            self.allocate_segment(),
            &specs,
            &[segment_file::batch(columns)?],
            &WriteOptions { threads: self.options.encode_threads, ..WriteOptions::default() },
            CreatedLsn::Column(newest),
        )?;
        Ok(Built { entry, offsets, newest })
    }

    fn install(
        &self,
        data: &Arc<TableData>,
        table: &TableDefinition,
        plan: &Plan,
        built: Option<Built>,
    ) -> Result<u64, MaintenanceError> {
        let (entry, offsets, newest) = match built {
            Some(built) => (Some(built.entry), built.offsets, built.newest),
            None => {
                let gone = |chunk: &Arc<Chunk>| vec![Moved::GONE; chunk.len()].into_boxed_slice();
                (None, plan.chunks.iter().map(gone).collect(), Lsn(0))
            }
        };
        let segment = entry.map(|entry| {
            let created = Stamp::committed(newest);
            Arc::new(Segment::new(Arc::clone(&self.store), entry, created, Deletes::default()))
        });
        if let Some(segment) = &segment {
            segment_keys::write_all(table, segment).inspect_err(|_| segment.set_obsolete())?;
        }
        let mut latched = data.latch.lock();
        // The tail keeps a first chunk.
        if latched.chunks.len() == plan.chunks.len() {
            let layout = Arc::clone(&plan.chunks[plan.chunks.len() - 1].layout);
            latched.start_chunk(&layout, CHUNK_ROWS_FIRST);
        }
        let head = Arc::clone(&latched.chunks[plan.chunks.len()]);
        let moves = data.moves.write();
        let mut log = self.log.lock();
        let mut carried = Vec::new();
        if let Some(segment) = &segment {
            let mut deletes = segment.deletes.write();
            for (chunk, offsets) in plan.chunks.iter().zip(&offsets) {
                for (row, offset) in offsets.iter().enumerate().filter(|(_, offset)| **offset != Moved::GONE) {
                    let stamp = chunk.deleted(row);
                    let carry = log.carry(stamp);
                    if carry != Carry::Nothing {
                        deletes.put(*offset, stamp);
                    }
                    if let Carry::Logged(lsn) = carry {
                        carried.push(CarriedDelete { segment: segment.info.id, offset: *offset, lsn });
                    }
                }
            }
        }
        let mut encoder = TransactionEncoder::new(self.now_micros());
        encoder.manifest(&ManifestEdit {
            storage: data.storage,
            add: segment.iter().map(|segment| segment.info.clone()).collect(),
            remove: Vec::new(),
            tail_removed_before: head.first_row_id,
            carried,
        });
        let appended = match &log.failed {
            Some(reason) => Err(reason.clone()),
            None => self.wal.append(&encoder.finish()).map_err(|error| error.to_string()),
        };
        let lsn = match appended {
            Ok(lsn) => lsn,
            Err(reason) => {
                drop(log);
                self.fail(&reason);
                // Whether the edit is in the log is unknown now: the file stays, and the next start decides.
                return Err(MaintenanceError::Failed(reason));
            }
        };
        let flushed = Flushed { data: Arc::clone(data), segment: segment.clone(), head };
        log.push(lsn, Work::Flush(flushed));
        for (chunk, offsets) in plan.chunks.iter().zip(offsets) {
            let moved = Moved { segment: segment.clone(), offsets };
            chunk
                .moved_to
                .set(moved)
                .unwrap_or_else(|_| unreachable!("a chunk moves once: flushes exclude each other"));
        }
        drop(log);
        drop(moves);
        latched.segments.extend(segment);
        latched.forget_chunks(plan.chunks.len());
        drop(latched);
        let rows = plan.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        data.left_tail(rows, plan.chunks.iter().map(|chunk| chunk.bytes() as u64).sum());
        Ok(rows)
    }
}

/// Chooses what is flushed. Rows that were committed as deleted by `horizon`, a visible LSN, are left out: the segment is read by snapshots only whose LSN is
/// beyond it. Older ones, which may see such rows, go on reading the chunks.
fn plan(data: &TableData, extent: Extent, horizon: Lsn) -> Plan {
    let chunks = {
        let mut latched = data.latch.lock();
        if extent == Extent::All {
            close_last(&mut latched);
        }
        latched.chunks.clone()
    };
    let mut plan = Plan { chunks: Vec::new(), kept: Vec::new(), rows: 0 };
    for chunk in chunks {
        if !chunk.is_closed() || plan.rows + chunk.len() > SEGMENT_ROWS_MAX {
            break;
        }
        let Some(kept) = kept_rows(&chunk, horizon) else { break };
        if extent == Extent::Dead && !kept.is_empty() {
            break;
        }
        plan.rows += kept.len();
        plan.kept.push(kept);
        plan.chunks.push(chunk);
    }
    let mut rows: usize = plan.chunks.iter().map(|chunk| chunk.len()).sum();
    if extent == Extent::Closed && plan.chunks.len() > 1 && plan.rows * HOT_SHARE < rows {
        // What is updated again and again is younger than what has stayed alive in the older half.
        plan.shorten(rows / 2);
        rows = plan.chunks.iter().map(|chunk| chunk.len()).sum();
    }
    if rows == 0 || (extent == Extent::Dead && rows < DEAD_ROWS_MIN) {
        plan.chunks.clear();
    }
    plan
}

impl Plan {
    /// Keeps the first chunks, up to `rows` rows, but one at least.
    fn shorten(&mut self, rows: usize) {
        let mut sum = 0;
        let count = self.chunks.iter().take_while(|chunk| {
            sum += chunk.len();
            sum <= rows
        });
        let count = count.count().max(1);
        self.chunks.truncate(count);
        self.kept.truncate(count);
        self.rows = self.kept.iter().map(Vec::len).sum();
    }
}

/// Lets the open chunk get no more rows, so that it can be flushed.
fn close_last(latched: &mut LatchGuard<'_>) {
    let last = &latched.chunks[latched.chunks.len() - 1];
    if last.len() > 0 && !last.is_closed() {
        let layout = Arc::clone(&last.layout);
        latched.start_chunk(&layout, CHUNK_ROWS_FIRST);
    }
}

/// The rows of a chunk that some snapshot beyond `horizon` may see; `None` if a row's transaction still runs.
fn kept_rows(chunk: &Chunk, horizon: Lsn) -> Option<Vec<u32>> {
    let mut kept = Vec::with_capacity(chunk.len());
    // A chunk has at most 8,192 rows.
    for row in 0..chunk.len() as u32 {
        match chunk.created(row as usize).state() {
            StampState::Running(..) => return None,
            // Locks stand where deletes do, not here.
            StampState::Aborted | StampState::Never | StampState::Locked(_) | StampState::Shared(_) => continue,
            StampState::Committed(_) => {}
        }
        match chunk.deleted(row as usize).state() {
            StampState::Committed(lsn) if lsn <= horizon => {}
            _ => kept.push(row),
        }
    }
    Some(kept)
}

/// Where the rows of each chunk are once the kept ones, one after another, are put in `order`.
fn offsets(plan: &Plan, order: Option<&UInt32Array>) -> Vec<Box<[u32]>> {
    let mut place: Vec<u32> = (0..plan.rows as u32).collect();
    if let Some(order) = order {
        for (offset, row) in (0..).zip(order.values()) {
            place[*row as usize] = offset;
        }
    }
    let mut place = place.into_iter();
    plan.chunks
        .iter()
        .zip(&plan.kept)
        .map(|(chunk, kept)| {
            let mut offsets = vec![Moved::GONE; chunk.len()].into_boxed_slice();
            for (row, offset) in kept.iter().zip(&mut place) {
                offsets[*row as usize] = offset;
            }
            offsets
        })
        .collect()
}

/// The table that has this body of rows.
pub(crate) fn table_of(catalog: &Catalog, storage: StorageId) -> Option<Arc<TableDefinition>> {
    catalog.relations().find_map(|relation| match relation {
        Relation::Table(table) if table.storage == storage => Some(Arc::clone(table)),
        _ => None,
    })
}
