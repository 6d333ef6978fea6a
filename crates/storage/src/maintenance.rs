//! Maintenance: the work that nobody waits for.
//!
//! One step does the most pressing of: sealing chunks, flushing a tail, taking a checkpoint, folding deletes, removing files, and, when nothing else is to be done,
//! compacting some segments. It is bounded by one segment, one checkpoint or one job of compaction, so that the thread that was lent comes back soon.
//!
//! # Back-pressure
//!
//! A writer that is faster than maintenance is slowed down, never refused:
//!
//! | the tail holds, times its limit | small segments | an append |
//! |--:|--:|---|
//! | 1 | | wakes maintenance |
//! | 2 | 64 | waits until a flush ends, but no longer than 10 ms, if somebody does maintenance |
//! | 4 | 256 | flushes, or compacts, itself |

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use colonnade_types::SegmentId;

use crate::database::Inner;
use crate::disk::{Disk, join};
use crate::error::MaintenanceError;
use crate::flush::Extent;
use crate::key_file::key_file_of_name;
use crate::segment::{SEGMENT_DIR, segment_of_name};
use crate::table::{DatabaseVersion, TableData, TableVersion};
use crate::tail::{self, CHUNK_ROWS};

/// A tail so many times over its limit delays those who append.
const DELAY_TIMES: u64 = 2;
/// A tail so many times over its limit is flushed by those who append.
const BLOCK_TIMES: u64 = 4;
/// So many small segments delay those who append.
const SMALL_SEGMENTS_DELAY: u64 = 64;
/// So many small segments are compacted by those who append.
const SMALL_SEGMENTS_BLOCK: u64 = 256;
/// For how long an append is delayed at most.
const DELAY: Duration = Duration::from_millis(10);
/// Maintenance that has not been seen for so many milliseconds is not waited for.
const SERVED_MS: u64 = 10_000;

/// What a step of maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Rows that left a tail: moved to a segment, or dead and dropped.
    pub flushed_rows: u64,
    /// Whether a checkpoint was taken.
    pub checkpoint: bool,
    /// Rows of segments that were merged.
    pub compacted_rows: u64,
    /// Files removed.
    pub removed_files: u64,
    /// Whether more work is due now: call again without waiting.
    pub more: bool,
}

impl Inner {
    /// Does one bounded step.
    pub(crate) fn maintain(self: &Arc<Self>) -> Result<MaintenanceReport, MaintenanceError> {
        let mut report = MaintenanceReport { removed_files: self.remove_trash()?, ..MaintenanceReport::default() };
        let failed = self.log.lock().failed.clone();
        if let Some(reason) = failed {
            return if self.closing.load(Ordering::Acquire) {
                Ok(report)
            } else {
                Err(MaintenanceError::Failed(reason))
            };
        }
        self.maintained_ms.store(self.now_ms().max(1), Ordering::Relaxed);
        // The log writer makes the file itself if this fails, and fails for good if that fails too.
        let _ = self.wal.prepare_next();
        let version = self.version.load_full();
        for table in version.tables.values() {
            seal_closed(table)?;
        }
        for table in version.tables.values() {
            if let Some(extent) = self.flush_due(table) {
                report.flushed_rows += self.flush(&table.data, extent)?;
                // Dropping dead chunks costs next to nothing.
                if report.flushed_rows > 0 && extent != Extent::Dead {
                    report.more = true;
                    return Ok(report);
                }
            }
        }
        if self.is_checkpoint_due() {
            self.checkpoint(false)?;
            report.checkpoint = true;
            report.more = true;
            return Ok(report);
        }
        self.fold_deletes(&version);
        drop(version);
        report.compacted_rows = self.compact_due()?;
        report.more = report.compacted_rows > 0 || self.store.has_trash();
        Ok(report)
    }

    /// Whether and how far a tail is to be flushed.
    fn flush_due(&self, table: &TableVersion) -> Option<Extent> {
        let options = &self.options;
        let (rows, bytes) = table.data.tail_size();
        if rows == 0 {
            return None;
        }
        if bytes >= options.tail_bytes_max {
            // The open chunk too if most of it is there.
            let open = table.data.open_bytes();
            return Some(if open * 2 >= bytes { Extent::All } else { Extent::Closed });
        }
        if rows >= options.tail_rows_max {
            return Some(Extent::Closed);
        }
        let idle = self.now_ms().saturating_sub(table.data.last_write_ms()) >= options.flush_idle_ms;
        if idle && rows >= options.flush_idle_rows_min {
            return Some(Extent::All);
        }
        // Rows that are updated again and again leave nothing but dead versions behind.
        (rows >= CHUNK_ROWS as u64).then_some(Extent::Dead)
    }

    /// Flushes a tail that is over its limit.
    pub(crate) fn flush_pressing(&self, table: &TableVersion) -> Result<u64, MaintenanceError> {
        let (rows, bytes) = table.data.tail_size();
        let is_over = rows >= self.options.tail_rows_max || bytes >= self.options.tail_bytes_max;
        match self.flush_due(table).filter(|_| is_over) {
            Some(extent) => self.flush(&table.data, extent),
            None => Ok(0),
        }
    }

    /// Slows an append down where maintenance has fallen behind: see the module's documentation.
    pub(crate) fn push_back(self: &Arc<Self>, data: &Arc<TableData>) {
        let over = |times: u64| {
            let (rows, bytes) = data.tail_size();
            rows >= times * self.options.tail_rows_max || bytes >= times * self.options.tail_bytes_max
        };
        let small = data.compaction.small_segments();
        if over(BLOCK_TIMES) {
            // Behind the flush that runs, if any: it may have been enough.
            if let Err(error) = self.flush_next(data, Extent::Closed) {
                tracing::warn!(%error, storage = data.storage.0, "flush failed; the tail grows on");
            }
        } else if over(1) || small >= SMALL_SEGMENTS_DELAY {
            self.request_maintenance();
        }
        if small >= SMALL_SEGMENTS_BLOCK {
            if let Err(error) = self.compact_best() {
                tracing::warn!(%error, storage = data.storage.0, "compaction failed; segments grow in number");
            }
        } else if over(DELAY_TIMES) || small >= SMALL_SEGMENTS_DELAY {
            let maintained = self.maintained_ms.load(Ordering::Relaxed);
            if maintained != 0 && self.now_ms().saturating_sub(maintained) < SERVED_MS {
                self.wait_for_progress(DELAY);
            }
        }
    }

    /// Folds what every snapshot sees deleted.
    fn fold_deletes(&self, version: &DatabaseVersion) {
        let oldest = self.oldest_snapshot();
        for segment in version.tables.values().flat_map(|table| &table.segments) {
            segment.deletes.write().fold(oldest);
        }
    }

    /// Removes files that nobody needs. After the log has failed none is removed: which of the last records are in it is unknown.
    fn remove_trash(&self) -> Result<u64, MaintenanceError> {
        if self.log.lock().failed.is_some() {
            return Ok(0);
        }
        let trash = self.store.take_trash();
        if trash.is_empty() {
            return Ok(0);
        }
        let removed = remove_files(self.store.disk.as_ref(), &trash);
        if removed.is_err() {
            trash.into_iter().for_each(|id| self.store.discard(id));
        }
        removed
    }
}

/// Removes the files of segments and of their keys; those that are gone already are no error.
fn remove_files(disk: &dyn Disk, segments: &[SegmentId]) -> Result<u64, MaintenanceError> {
    let mut removed = 0;
    for name in disk.list(SEGMENT_DIR)? {
        let of = segment_of_name(&name).or_else(|| key_file_of_name(&name).map(|(segment, _)| segment));
        if of.is_some_and(|id| segments.contains(&id)) {
            disk.remove(&join(SEGMENT_DIR, &name))?;
            removed += 1;
        }
    }
    if removed > 0 {
        disk.sync_dir(SEGMENT_DIR)?;
    }
    Ok(removed)
}

/// Seals the chunks that no appender sealed: after recovery, and those that were closed early.
fn seal_closed(table: &TableVersion) -> Result<(), MaintenanceError> {
    for chunk in tail::chunks(&table.head).filter(|chunk| chunk.is_closed() && chunk.len() > 0) {
        chunk.seal()?;
    }
    Ok(())
}
