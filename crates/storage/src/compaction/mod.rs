//! Compaction: segments become better segments, and deleted rows leave.
//!
//! ```text
//! choose    segments of the published version: small ones, half-deleted ones, too many over the same keys       `choice`
//! merge     the rows that somebody may still see, in the order of the table, column after column; sync          `merge`, no lock held
//! install   carry deletes over, log the edit, leave `moved_to` behind                                       latch, moves, log latch
//! apply     publish the version with the new segments in the place of the old                               the log writer, in order
//! ```
//!
//! **What is left out.** A version that has the new segments has an LSN beyond the one that was visible when the merge was planned, and so have all snapshots that read
//! them. Hence whatever was committed as deleted by then is left out, also if an older snapshot still sees it: that one reads the old segments, which stay until its
//! version goes. Rows with any other stamp are kept, whatever the stamp means.
//!
//! **Why nothing is lost.** As for a flush. A mark that comes before the install is in the old segment's deletes, which the install carries over; one that comes after finds
//! `moved_to` and is decided at the new place. Setting, committing and undoing a mark go along all places of a row; `moves`, held exclusively by the install, keeps them from
//! seeing half of it. A delete whose record is in the log before the edit names the old segment, and the edit's list of carried deletes holds it; one whose record comes
//! after names the new one, as records are resolved under the log latch. So the log reads right in its own order.
//!
//! **DDL wins.** A table that was dropped, truncated or rewritten has another body of rows or none: the merge stops when it notices, and an edit that is in the log
//! behind the drop finds no table, here as in recovery, and its files go.
//!
//! **A step is bounded** by [`JOB_SEGMENTS`] full segments. Between two columns it stops if the database is closing, flushes tails that have grown over their limit and takes a
//! checkpoint that is due, so that nobody waits for a long merge.

mod choice;
mod merge;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use colonnade_columnar::{Level, SEGMENT_ROWS_MAX, WriteOptions};
use colonnade_types::{ColumnId, Lsn, StorageId, TableDefinition};
use parking_lot::Mutex;

use crate::commit::{Carry, Compacted, Work};
use crate::database::Inner;
use crate::deletes::Deletes;
use crate::error::{CommitError, MaintenanceError, ReadError};
use crate::flush::table_of;
use crate::manifest::{CarriedDelete, CreatedLsn};
use crate::record::{ManifestEdit, TransactionEncoder};
use crate::segment::{LSN_COLUMN, Relocated, Segment};
use crate::segment_file::{self, ColumnError, SegmentFileError};
use crate::segment_keys;
use crate::stamp::Stamp;
use crate::table::{TableData, TableVersion};
use crate::ticket::{CommitTicket, TicketState};
use choice::{Candidate, Effort};
pub(crate) use merge::created;
use merge::{Gather, Merge, MergeColumn};

/// Full segments that one step of maintenance writes at most.
const JOB_SEGMENTS: u64 = 4;
/// The same for a command, which does nothing else meanwhile.
const COMMAND_SEGMENTS: u64 = 8;
/// Milliseconds for which a table is left alone after its compaction has failed.
const RETRY_MS: u64 = 30_000;

/// How far a command compacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughness {
    /// Segments that have deleted rows are rewritten without them.
    Deleted,
    /// Small segments are merged too, and overlapping ones set apart.
    Full,
}

/// What compaction has done to a table since the database was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) runs: u64,
    pub(crate) rows_read: u64,
    pub(crate) rows_written: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    /// When the last one ended, in microseconds since 1970; 0 for never.
    pub(crate) last_micros: i64,
    /// After a failure: not before this time of the monotonic clock, in milliseconds.
    not_before_ms: u64,
}

/// Compaction's part of a table's shared state.
#[derive(Debug, Default)]
pub(crate) struct CompactionState {
    /// Held by the one compaction of the table that runs.
    running: Mutex<()>,
    done: Mutex<Done>,
    /// Small segments, when maintenance last looked.
    small: AtomicU64,
}

impl CompactionState {
    fn note_due(&self, candidates: &[Candidate], target: u64) {
        self.small.store(choice::small_count(candidates, target), Ordering::Relaxed);
    }

    /// Small segments, as of late.
    pub(crate) fn small_segments(&self) -> u64 {
        self.small.load(Ordering::Relaxed)
    }
}

/// Where a table stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompactionStatus {
    /// Segments that are small, if there is more than one, or have many deleted rows.
    pub segments_due: u64,
    /// Deleted rows that are still stored.
    pub deleted_rows: u64,
    /// Rows that the next job gains for every row it writes; 0 if none is due.
    pub score: f64,
    /// Segments that the next job merges.
    pub next_segments: u64,
    /// Compactions since the database was opened.
    pub runs: u64,
    /// Rows that they read.
    pub rows_read: u64,
    /// Rows that they wrote.
    pub rows_written: u64,
    /// Bytes of the files that they read.
    pub bytes_read: u64,
    /// Bytes of the files that they wrote.
    pub bytes_written: u64,
    /// When the last one ended, in microseconds since 1970; `None` for never.
    pub last_run_micros: Option<i64>,
}

/// New segments that nobody knows yet; their files go with it.
struct Written(Vec<Arc<Segment>>);

impl Drop for Written {
    fn drop(&mut self) {
        self.0.iter().for_each(|segment| segment.set_obsolete());
    }
}

/// Segments of one version that are to be merged.
struct Selection {
    table: Arc<TableDefinition>,
    inputs: Vec<Arc<Segment>>,
    /// The LSN of the version.
    horizon: Lsn,
    /// Rows of a full segment. It is that of the choice, or what is full for one would be small for the other.
    target: u64,
}

/// How a merge was ended.
enum Ended {
    /// It is in the log.
    Installed { rows_read: u64, bytes: u64, ticket: Arc<TicketState> },
    /// The table is gone, or the database is closing.
    Stopped,
}

impl Inner {
    /// Does the most profitable job of all tables, if one is due and the budget allows it; returns the rows read.
    pub(crate) fn compact_due(self: &Arc<Self>) -> Result<u64, MaintenanceError> {
        if self.now_ms() < self.compaction_not_before_ms.load(Ordering::Relaxed) {
            return Ok(0);
        }
        self.compact_best()
    }

    /// The same whatever the budget says.
    pub(crate) fn compact_best(self: &Arc<Self>) -> Result<u64, MaintenanceError> {
        let now = self.now_ms();
        let version = self.version.load_full();
        let horizon = version.lsn;
        let mut best: Option<(f64, Arc<TableData>, Selection)> = None;
        for (storage, table) in version.tables.iter() {
            if table.segments.is_empty() || now < table.data.compaction.done.lock().not_before_ms {
                continue;
            }
            let Some(definition) = table_of(&version.catalog, *storage) else { continue };
            let Some((segments, candidates)) = self.candidates(table, &definition, horizon)? else { continue };
            let target = self.segment_rows(&segments);
            table.data.compaction.note_due(&candidates, target);
            let job = choice::choose(&candidates, target, JOB_SEGMENTS * target, self.effort(&table.data));
            if let Some(job) = job
                && best.as_ref().is_none_or(|(score, _, _)| *score < job.score)
            {
                let inputs = job.inputs.iter().map(|index| Arc::clone(&segments[*index])).collect();
                let selection = Selection { table: definition, inputs, horizon, target };
                best = Some((job.score, Arc::clone(&table.data), selection));
            }
        }
        // The chunks that the version holds may go during the merge.
        drop(version);
        let Some((_, data, selection)) = best else { return Ok(0) };
        let Some(_one) = data.compaction.running.try_lock() else { return Ok(0) };
        match self.compact(&data, selection, &|| self.relieve(&data)) {
            Ok(Ended::Installed { rows_read, bytes, .. }) => {
                if let Some(pause) = (bytes * 1_000).checked_div(self.options.compaction_bytes_per_second) {
                    self.compaction_not_before_ms.store(self.now_ms() + pause, Ordering::Relaxed);
                }
                Ok(rows_read)
            }
            Ok(Ended::Stopped) => Ok(0),
            Err(error) => {
                data.compaction.done.lock().not_before_ms = self.now_ms() + RETRY_MS;
                Err(error)
            }
        }
    }

    /// Compacts a table as a command does; waits for the compaction that runs.
    pub(crate) fn compact_table(
        self: &Arc<Self>,
        storage: StorageId,
        thoroughness: Thoroughness,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<u64, MaintenanceError> {
        let Some(data) = self.table_data(storage) else { return Ok(0) };
        let _one = data.compaction.running.lock();
        // What the one that ran before has installed is visible only when it is applied.
        self.wait_applied().map_err(log_failed)?;
        let version = self.version.load_full();
        let (Some(table), Some(definition)) = (version.tables.get(&storage), table_of(&version.catalog, storage))
        else {
            return Ok(0);
        };
        let horizon = version.lsn;
        let Some((segments, candidates)) = self.candidates(table, &definition, horizon)? else { return Ok(0) };
        drop(version);
        let target = self.segment_rows(&segments);
        data.compaction.note_due(&candidates, target);
        let deleted_only = thoroughness == Thoroughness::Deleted;
        let mut rows = 0;
        for job in choice::choose_all(&candidates, target, COMMAND_SEGMENTS * target, deleted_only) {
            let inputs = job.iter().map(|index| Arc::clone(&segments[*index])).collect();
            let is_going_on = || go_on() && self.is_live(&data);
            let selection = Selection { table: Arc::clone(&definition), inputs, horizon, target };
            match self.compact(&data, selection, &is_going_on)? {
                Ended::Installed { rows_read, ticket, .. } => {
                    rows += rows_read;
                    CommitTicket::new(ticket, Arc::clone(self)).wait().map_err(log_failed)?;
                }
                Ended::Stopped => break,
            }
        }
        Ok(rows)
    }

    fn table_data(&self, storage: StorageId) -> Option<Arc<TableData>> {
        self.version.load().tables.get(&storage).map(|table| Arc::clone(&table.data))
    }

    /// Whether a merge of this table still makes sense.
    fn is_live(&self, data: &TableData) -> bool {
        !self.closing.load(Ordering::Acquire) && self.version.load().tables.contains_key(&data.storage)
    }

    /// Between two columns of a merge: does what is pressing; returns whether the merge goes on.
    fn relieve(self: &Arc<Self>, data: &TableData) -> bool {
        for table in self.version.load_full().tables.values() {
            if let Err(error) = self.flush_pressing(table) {
                tracing::warn!(%error, storage = table.data.storage.0, "flush failed, and will be tried again");
            }
        }
        if self.is_checkpoint_due()
            && let Err(error) = self.checkpoint(false)
        {
            tracing::warn!(%error, "checkpoint failed, and will be tried again");
        }
        self.is_live(data)
    }

    fn effort(&self, data: &TableData) -> Effort {
        let idle_ms = self.now_ms().saturating_sub(data.last_write_ms());
        if idle_ms >= self.options.flush_idle_ms { Effort::Idle } else { Effort::Due }
    }

    /// The segments of a version that may be merged, and what the choice knows of them; `None` while an earlier compaction is not applied yet.
    fn candidates(
        &self,
        table: &TableVersion,
        definition: &TableDefinition,
        horizon: Lsn,
    ) -> Result<Option<(Vec<Arc<Segment>>, Vec<Candidate>)>, ReadError> {
        if table.segments.iter().any(|segment| segment.moved_to.get().is_some()) {
            return Ok(None);
        }
        let sort_column = segment_file::sort_columns(definition).first();
        let candidate = |segment: &Arc<Segment>| -> Result<Candidate, ReadError> {
            let range = match sort_column {
                // Opening all files is not worth it while there is too little to set apart.
                Some(column) if table.segments.len() > 1 => sort_range(segment, *column)?,
                _ => None,
            };
            let deleted = segment.deletes.read().committed_by(horizon).len();
            Ok(Candidate { rows: u64::from(segment.info.rows), deleted, range })
        };
        let candidates = table.segments.iter().map(candidate).collect::<Result<Vec<_>, _>>()?;
        Ok(Some((table.segments.clone(), candidates)))
    }

    /// Rows of a full segment, for rows as wide as these are.
    fn segment_rows(&self, segments: &[Arc<Segment>]) -> u64 {
        let rows: u64 = segments.iter().map(|segment| u64::from(segment.info.rows)).sum();
        let bytes: u64 = segments.iter().map(|segment| segment.info.raw_bytes).sum();
        let width = bytes.checked_div(rows).unwrap_or(0).max(1);
        let options = &self.options;
        let rows_max = options.compaction_segment_rows.clamp(1, SEGMENT_ROWS_MAX) as u64;
        (options.bulk_segment_bytes as u64 / width).clamp(1, rows_max)
    }

    /// Where a table stands.
    pub(crate) fn compaction_status(&self, storage: StorageId) -> Result<CompactionStatus, ReadError> {
        let version = self.version.load_full();
        let (Some(table), Some(definition)) = (version.tables.get(&storage), table_of(&version.catalog, storage))
        else {
            return Ok(CompactionStatus::default());
        };
        let done = *table.data.compaction.done.lock();
        let mut status = CompactionStatus {
            runs: done.runs,
            rows_read: done.rows_read,
            rows_written: done.rows_written,
            bytes_read: done.bytes_read,
            bytes_written: done.bytes_written,
            last_run_micros: (done.last_micros != 0).then_some(done.last_micros),
            ..CompactionStatus::default()
        };
        if let Some((segments, candidates)) = self.candidates(table, &definition, version.lsn)? {
            let target = self.segment_rows(&segments);
            (status.segments_due, status.deleted_rows) = choice::debt(&candidates, target);
            let job = choice::choose(&candidates, target, JOB_SEGMENTS * target, self.effort(&table.data));
            if let Some(job) = job {
                status.next_segments = job.inputs.len() as u64;
                status.score = job.score;
            }
        }
        Ok(status)
    }

    /// Merges segments of one version. `go_on` is asked between columns.
    fn compact(
        &self,
        data: &Arc<TableData>,
        selection: Selection,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Ended, MaintenanceError> {
        let Selection { table, inputs, horizon, target } = selection;
        let merge = Merge::plan(&table, inputs, horizon)?;
        let target = usize::try_from(target).unwrap_or(SEGMENT_ROWS_MAX);
        // Evenly, so that no sliver is left at the end.
        let outputs = merge.rows().div_ceil(target);
        let output_rows = merge.rows().div_ceil(outputs.max(1)).max(1);
        let mut written = Written(Vec::with_capacity(outputs));
        for from in (0..merge.rows()).step_by(output_rows) {
            let to = merge.rows().min(from + output_rows);
            match self.write_output(&table, &merge, &merge.gather(from..to), to - from, go_on) {
                Ok(segment) => written.0.push(segment),
                Err(SegmentFileError::Stopped) => return Ok(Ended::Stopped),
                Err(error) => return Err(error.into()),
            }
        }
        for segment in &written.0 {
            segment_keys::write_all(&table, segment)?;
        }
        self.install_merge(data, &merge, written, output_rows)
    }

    fn write_output(
        &self,
        table: &TableDefinition,
        merge: &Merge,
        gather: &Gather,
        rows: usize,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Arc<Segment>, SegmentFileError> {
        let mut columns: Vec<MergeColumn<'_>> = table.columns.iter().map(MergeColumn::Stored).collect();
        let mut ids: Vec<_> = table.columns.iter().map(|column| (column.id, column.sql_type.arrow_type())).collect();
        let constant = merge.constant_lsn().filter(|_| !columns.is_empty());
        let created = match constant {
            Some(lsn) => CreatedLsn::Constant(lsn),
            None => {
                columns.push(MergeColumn::Lsn);
                ids.push((LSN_COLUMN, DataType::Int64));
                CreatedLsn::Column(merge.newest())
            }
        };
        let source = |index: usize| -> Result<Vec<ArrayRef>, colonnade_columnar::WriteError> {
            if !go_on() {
                return Err(ColumnError::Stopped.into());
            }
            Ok(merge.column(columns[index], gather).map_err(ColumnError::from)?)
        };
        let entry = segment_file::write_columns(
            self.store.disk.as_ref(),
            self.allocate_segment(),
            &segment_file::specs(ids.into_iter()),
            rows,
            &source,
            // One column at a time: nobody waits for it, and memory holds one.
            &WriteOptions::default(),
            created,
        )?;
        let newest = Stamp::committed(merge.newest().max(Lsn(1)));
        Ok(Arc::new(Segment::new(Arc::clone(&self.store), entry, newest, Deletes::default())))
    }

    fn install_merge(
        &self,
        data: &Arc<TableData>,
        merge: &Merge,
        mut written: Written,
        output_rows: usize,
    ) -> Result<Ended, MaintenanceError> {
        let mut positions = merge.positions();
        // At most 2^20 rows.
        let segment_rows = output_rows as u32;
        let relocated = |positions: Box<[u32]>, segments: &[Arc<Segment>]| Relocated {
            segments: segments.to_vec(),
            segment_rows,
            positions,
        };
        let mut latched = data.latch.lock();
        let moves = data.moves.write();
        let mut log = self.log.lock();
        if !self.is_live(data) {
            return Ok(Ended::Stopped);
        }
        if let Some(reason) = &log.failed {
            return Err(MaintenanceError::Failed(reason.clone()));
        }
        let moved: Vec<Relocated> = positions.drain(..).map(|positions| relocated(positions, &written.0)).collect();
        let mut carried = Vec::new();
        for (input, moved) in merge.inputs().iter().zip(&moved) {
            for (offset, stamp) in input.deletes.read().iter() {
                let Some((segment, offset)) = moved.place(offset) else { continue };
                let carry = log.carry(stamp);
                if carry != Carry::Nothing {
                    segment.deletes.write().put(offset, stamp);
                }
                if let Carry::Logged(lsn) = carry {
                    carried.push(CarriedDelete { segment: segment.info.id, offset, lsn });
                }
            }
        }
        let mut encoder = TransactionEncoder::new(self.now_micros());
        encoder.manifest(&ManifestEdit {
            storage: data.storage,
            add: written.0.iter().map(|segment| segment.info.clone()).collect(),
            remove: merge.inputs().iter().map(|segment| segment.info.id).collect(),
            tail_removed_before: 0,
            carried,
        });
        // From here on the log decides whether the files are needed.
        let added = std::mem::take(&mut written.0);
        let lsn = match self.wal.append(&encoder.finish()) {
            Ok(lsn) => lsn,
            Err(error) => {
                let reason = error.to_string();
                drop(log);
                self.fail(&reason);
                return Err(MaintenanceError::Failed(reason));
            }
        };
        let ticket = Arc::new(TicketState::default());
        let removed = merge.inputs().to_vec();
        log.push(
            lsn,
            Work::Compaction(Compacted {
                storage: data.storage,
                removed: removed.clone(),
                added: added.clone(),
                ticket: Arc::clone(&ticket),
            }),
        );
        for (input, moved) in merge.inputs().iter().zip(moved) {
            let set = input.moved_to.set(moved);
            set.unwrap_or_else(|_| unreachable!("a segment moves once: compactions of a table exclude each other"));
        }
        drop(log);
        drop(moves);
        crate::commit::replace_segments(&mut latched.segments, &removed, &added);
        drop(latched);
        Ok(self.note_compaction(data, &removed, &added, ticket))
    }

    fn note_compaction(
        &self,
        data: &TableData,
        removed: &[Arc<Segment>],
        added: &[Arc<Segment>],
        ticket: Arc<TicketState>,
    ) -> Ended {
        let sizes = |segments: &[Arc<Segment>]| {
            segments.iter().fold((0, 0), |(rows, bytes), segment| {
                (rows + u64::from(segment.info.rows), bytes + segment.info.size_bytes)
            })
        };
        let ((rows_read, bytes_read), (rows_written, bytes_written)) = (sizes(removed), sizes(added));
        let mut done = data.compaction.done.lock();
        done.runs += 1;
        done.rows_read += rows_read;
        done.rows_written += rows_written;
        done.bytes_read += bytes_read;
        done.bytes_written += bytes_written;
        done.last_micros = self.now_micros();
        let counters = &self.counters;
        counters.compactions.fetch_add(1, Ordering::Relaxed);
        counters.compacted_rows.fetch_add(rows_read, Ordering::Relaxed);
        counters.compacted_bytes.fetch_add(bytes_read + bytes_written, Ordering::Relaxed);
        Ended::Installed { rows_read, bytes: bytes_read + bytes_written, ticket }
    }
}

fn log_failed(error: CommitError) -> MaintenanceError {
    MaintenanceError::Failed(error.to_string())
}

/// Least and greatest value of a column in a segment, as bytes that compare like it, NULLs apart.
fn sort_range(segment: &Segment, column: ColumnId) -> Result<Option<(Vec<u8>, Vec<u8>)>, ReadError> {
    if let Some((of, range)) = &*segment.sort_range.lock()
        && *of == column
    {
        return Ok(range.clone());
    }
    let range = match segment.column(column)? {
        Some(reader) => {
            let zone = reader.zone_maps(Level::Segment).map_err(|error| segment.damaged(&error))?;
            bytes_of(&zone.min).zip(bytes_of(&zone.max))
        }
        None => None,
    };
    *segment.sort_range.lock() = Some((column, range.clone()));
    Ok(range)
}

/// The one value as bytes; `None` if it is NULL or its type has no such form.
fn bytes_of(value: &ArrayRef) -> Option<Vec<u8>> {
    if value.len() != 1 || value.is_null(0) {
        return None;
    }
    let converter = RowConverter::new(vec![SortField::new(value.data_type().clone())]).ok()?;
    let rows = converter.convert_columns(&[Arc::clone(value)]).ok()?;
    Some(rows.row(0).as_ref().to_vec())
}
