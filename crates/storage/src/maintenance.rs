//! Maintenance: the work that nobody waits for.
//!
//! One step does the most pressing of: sealing chunks, flushing a tail, taking a checkpoint, folding deletes, removing files. It is bounded by one
//! segment or one checkpoint, so that the thread that was lent comes back soon.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use colonnade_types::SegmentId;

use crate::database::Inner;
use crate::disk::{Disk, join};
use crate::error::MaintenanceError;
use crate::flush::Extent;
use crate::key_file::key_file_of_name;
use crate::segment::{SEGMENT_DIR, segment_of_name};
use crate::table::{DatabaseVersion, TableVersion};
use crate::tail::{self, CHUNK_ROWS};

/// What a step of maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Rows that left a tail: moved to a segment, or dead and dropped.
    pub flushed_rows: u64,
    /// Whether a checkpoint was taken.
    pub checkpoint: bool,
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
        report.more = self.store.has_trash();
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
            return Some(Extent::All);
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
