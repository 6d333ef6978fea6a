//! Taking checkpoints: everything at the visible LSN goes into one file, while writers go on.
//!
//! A registered snapshot holds what is written: the versions of the tables, their chunks, and every delete with its LSN. Rows are those that the snapshot sees; of what
//! a segment's deletes hold, what was committed by its LSN. Whatever is appended to the log meanwhile has a greater LSN and is replayed on top.
//!
//! **Why the rest fits.** Sequences and the next identifiers are read after the snapshot was taken, so they are at or past what the log says up to its LSN; records
//! behind it set sequences anew, in order, and identifiers only have to be large enough.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use colonnade_types::{Lsn, Oid, SegmentId, StorageId};

use crate::checkpoint::{
    CheckpointError, CheckpointHeader, CheckpointWriter, DeleteVectorEntry, StorageSection, remove_older,
};
use crate::database::Inner;
use crate::error::{MaintenanceError, ReadError};
use crate::manifest::{CreatedLsn, SegmentEntry};
use crate::recovery::{CHECKPOINT_DIR, is_sequence};
use crate::row_codec::RowLayout;
use crate::segment::Segment;
use crate::stamp::{StampState, View};
use crate::table::TableVersion;
use crate::tail;
use crate::wal::WalError;

/// The LSN that the checkpoint of a folded delete has: that every snapshot sees it is all that is known.
const FOLDED: Lsn = Lsn(1);

impl From<CheckpointError> for MaintenanceError {
    fn from(error: CheckpointError) -> MaintenanceError {
        match error {
            CheckpointError::Disk(error) => error.into(),
            other => MaintenanceError::Read(ReadError::Corrupt(other.to_string())),
        }
    }
}

impl Inner {
    /// Writes everything at the visible LSN into one file and lets the log before it go. Writers go on. With `last`, nothing is written any more.
    pub(crate) fn checkpoint(self: &Arc<Self>, last: bool) -> Result<(), MaintenanceError> {
        let mut newest = self.checkpointing.lock();
        let live = self.live_version();
        let version = &live.version;
        if version.lsn == *newest && !last {
            return Ok(());
        }
        let sequences = if last { self.sequences.dump_exact() } else { self.sequences.dump() };
        let sequences: Vec<_> = sequences.into_iter().filter(|(oid, _)| is_sequence(&version.catalog, *oid)).collect();
        let header = CheckpointHeader {
            lsn: version.lsn,
            time_micros: self.now_micros(),
            next_oid: Oid(self.next_oid.load(Ordering::Relaxed)),
            next_storage: StorageId(self.next_storage.load(Ordering::Relaxed)),
            next_segment: SegmentId(self.next_segment.load(Ordering::Relaxed)),
        };
        let disk = Arc::clone(&self.store.disk);
        let mut writer = CheckpointWriter::create(disk, CHECKPOINT_DIR, &header, &version.catalog, &sequences)?;
        let mut tables: Vec<_> = version.tables.iter().collect();
        tables.sort_unstable_by_key(|(storage, _)| **storage);
        for (storage, table) in tables {
            write_table(&mut writer, *storage, table, version.lsn)?;
        }
        writer.finish()?;
        *newest = version.lsn;
        self.checkpoint_lsn.store(version.lsn.0, Ordering::Relaxed);
        self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        remove_older(self.store.disk.as_ref(), CHECKPOINT_DIR, version.lsn)?;
        match self.wal.remove_before(version.lsn) {
            Ok(_) => Ok(()),
            Err(WalError::Disk(error)) => Err(error.into()),
            Err(error) => Err(MaintenanceError::Failed(error.to_string())),
        }
    }
}

fn write_table(
    writer: &mut CheckpointWriter,
    storage: StorageId,
    table: &TableVersion,
    lsn: Lsn,
) -> Result<(), MaintenanceError> {
    // Rows of the snapshot have smaller ids than this; those that come later are in the log.
    let next_row = table.data.latch.lock().next_row_id();
    let section = |layout: Option<&RowLayout>| StorageSection {
        storage,
        layout: layout.map(RowLayout::to_bytes).unwrap_or_default(),
        next_row,
    };
    let view = View::committed(lsn);
    let mut layout: Option<Arc<RowLayout>> = None;
    writer.storage(&section(None))?;
    let entries: Vec<SegmentEntry> = table.segments.iter().map(|segment| entry(segment)).collect();
    if !entries.is_empty() {
        writer.segments(&entries)?;
    }
    for segment in &table.segments {
        let (folded, recent) = segment.deletes.read().dump(lsn);
        let mut deletes: Vec<(u32, Lsn)> = folded.iter().map(|offset| (offset, FOLDED)).chain(recent).collect();
        if !deletes.is_empty() {
            deletes.sort_unstable();
            writer.delete_vector(&DeleteVectorEntry { segment: segment.info.id, deletes })?;
        }
    }
    for chunk in tail::chunks(&table.head) {
        let seen: Vec<usize> = (0..chunk.len()).filter(|index| chunk.shows(*index, &view)).collect();
        if seen.is_empty() {
            continue;
        }
        // Rows of one layout follow the section that names it.
        if layout.as_ref().is_none_or(|layout| *layout != chunk.layout) {
            writer.storage(&section(Some(&chunk.layout)))?;
            layout = Some(Arc::clone(&chunk.layout));
        }
        let rows = chunk.encode_kept(&seen)?;
        for (position, index) in seen.iter().enumerate() {
            let created = match chunk.created(*index).state() {
                StampState::Committed(lsn) => lsn,
                state => unreachable!("a row that is seen is committed, not {state:?}"),
            };
            writer.tail_row(chunk.row_id(*index), created, rows.row(position))?;
        }
    }
    Ok(())
}

fn entry(segment: &Segment) -> SegmentEntry {
    let created = match segment.info.created {
        CreatedLsn::Commit => match segment.created().state() {
            StampState::Committed(lsn) => CreatedLsn::Constant(lsn),
            state => unreachable!("a segment of a version is committed, not {state:?}"),
        },
        known => known,
    };
    SegmentEntry { created, ..segment.info.clone() }
}
