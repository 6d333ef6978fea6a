//! Checkpoints: everything at one LSN in one file, so that the log before it may go.
//!
//! ```text
//! checkpoint-<lsn>   header | block block block ... | end block
//!
//! blocks, in order:  ids and time    catalog    sequences
//!                    for every body of rows:  storage    segments    delete vectors    tail rows
//!                    end
//! ```
//!
//! The writer streams: it holds one block. The reader does too. Layout in `docs/storage-format.md`, section "Checkpoint".
//!
//! ## Which checkpoint counts
//!
//! The one with the greatest LSN in its name. There is no pointer to it, because none is needed: a file gets its name only after it was written
//! and synced under the name `checkpoint.tmp`, so whatever has the name is complete. An older checkpoint, and the log it needs, are removed only
//! after the directory with the new name was synced. A crash in between leaves the older one without the newer, or both; it never leaves neither.
//!
//! A damaged newest checkpoint is an error. The older one, should it still be there, is not used instead: that the log behind it is complete could not be
//! shown.
//!
//! ## Invariants
//!
//! - Every block carries its number and a checksum over it; the end block carries the number of blocks and a checksum over their checksums. So a block that is
//!   missing, doubled, moved or changed is noticed.
//! - [`CheckpointReader::next`] returns `None` only after the end block was checked; what it gave before counts only then.

mod block;
mod reader;
mod writer;

use colonnade_types::{Lsn, Oid, SegmentId, StorageId};

pub use reader::CheckpointReader;
pub use writer::{CheckpointSummary, CheckpointWriter};

use crate::disk::{Disk, DiskError, join};
use crate::manifest::SegmentEntry;
use crate::sequence::SequenceState;

/// Version of the file format that is written.
pub const CHECKPOINT_VERSION: u32 = 1;
/// The name under which a checkpoint is written.
const TEMPORARY_NAME: &str = "checkpoint.tmp";
const PREFIX: &str = "checkpoint-";

/// What stands at the front of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// The state is that after all records up to this LSN.
    pub lsn: Lsn,
    /// When it was taken, in microseconds since 1970.
    pub time_micros: i64,
    /// The next oid to give out.
    pub next_oid: Oid,
    /// The next body of rows to give out.
    pub next_storage: StorageId,
    /// The next segment to give out.
    pub next_segment: SegmentId,
}

/// Begins what is said of one body of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageSection {
    /// The body of rows.
    pub storage: StorageId,
    /// What reads the tail's row bytes; opaque here.
    pub layout: Vec<u8>,
    /// The id that the next row gets.
    pub next_row: u64,
}

/// The deleted rows of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteVectorEntry {
    /// The segment.
    pub segment: SegmentId,
    /// Offset and LSN of every delete, by ascending offset.
    pub deletes: Vec<(u32, Lsn)>,
}

/// A piece of a checkpoint, in the file's order.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckpointItem {
    /// States of sequences.
    Sequences(Vec<(Oid, SequenceState)>),
    /// A body of rows begins; all that follows up to the next one is its own.
    Storage(StorageSection),
    /// Its segments, in one piece or several.
    Segments(Vec<SegmentEntry>),
    /// Deleted rows of one of its segments.
    DeleteVector(DeleteVectorEntry),
    /// Rows of its tail, by ascending id, in pieces.
    TailRows(TailRows),
}

/// Rows of a tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailRows {
    bytes: Vec<u8>,
    rows: Vec<(u64, Lsn, std::ops::Range<usize>)>,
}

impl TailRows {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Id, created LSN and bytes of every row.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Lsn, &[u8])> {
        self.rows.iter().map(|(id, created, range)| (*id, *created, &self.bytes[range.clone()]))
    }
}

/// Why a checkpoint could not be written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is short or changed.
    #[error("checkpoint \"{file}\" is damaged at offset {offset}: expected {expected}, found {found}")]
    Damaged {
        /// Path of the file.
        file: String,
        /// Byte from the file's start.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The file was written by a newer program.
    #[error("checkpoint \"{file}\" has {what} {found}, this program reads up to {known}")]
    Unsupported {
        /// Path of the file.
        file: String,
        /// `format version` or `block kind`.
        what: &'static str,
        /// What was found.
        found: u64,
        /// The greatest that is known.
        known: u64,
    },
}

/// The name of the checkpoint at an LSN.
#[must_use]
pub fn checkpoint_name(lsn: Lsn) -> String {
    format!("{PREFIX}{:016x}", lsn.0)
}

fn parse_name(name: &str) -> Option<Lsn> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().map(Lsn).filter(|lsn| checkpoint_name(*lsn) == name)
}

/// The LSN of the checkpoint that counts; `None` if there is none. Its name is durable on return: whoever wrote it may have been stopped
/// before he made it so, and what is committed from now on builds on it.
///
/// # Errors
/// Any error of the disk.
pub fn newest(disk: &dyn Disk, dir: &str) -> Result<Option<Lsn>, DiskError> {
    let newest = disk.list(dir)?.iter().filter_map(|name| parse_name(name)).max();
    if newest.is_some() {
        disk.sync_dir(dir)?;
    }
    Ok(newest)
}

/// Removes checkpoints before `lsn`, and what an interrupted one left; returns how many files. `lsn` is a checkpoint whose writer has
/// returned, or that was opened.
///
/// # Errors
/// Any error of the disk; calling again later is safe.
pub fn remove_older(disk: &dyn Disk, dir: &str, lsn: Lsn) -> Result<usize, DiskError> {
    let mut count = 0;
    // The name of the checkpoint that stays must be durable before another one goes.
    disk.sync_dir(dir)?;
    for name in disk.list(dir)? {
        if name == TEMPORARY_NAME || parse_name(&name).is_some_and(|other| other < lsn) {
            disk.remove(&join(dir, &name))?;
            count += 1;
        }
    }
    if count > 0 {
        disk.sync_dir(dir)?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
