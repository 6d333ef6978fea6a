//! What can go wrong with the log.

use crate::disk::DiskError;

/// Why the log could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WalError {
    /// The disk refused. While writing, this is final: see [`Failed`](WalError::Failed).
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An earlier write or sync failed. What it left on disk is unknown, so nothing is written any more until the log is
    /// opened again.
    #[error("an earlier write failed: {0}")]
    Failed(DiskError),
    /// Bytes that were durable are not what they were.
    #[error("log file \"{file}\" is damaged at offset {offset}: expected {expected}, found {found}")]
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
    /// A file that holds durable records is gone.
    #[error("log file \"{file}\" is missing: {why}")]
    Missing {
        /// Path of the file.
        file: String,
        /// How that is known.
        why: String,
    },
    /// The log was written by a newer program.
    #[error("log file \"{file}\" has {what} {found} at offset {offset}, this program reads up to {known}")]
    Unsupported {
        /// Path of the file.
        file: String,
        /// Byte from the file's start.
        offset: u64,
        /// What is too new: `format version`, `frame version`, `frame kind`.
        what: &'static str,
        /// What was found.
        found: u64,
        /// The greatest that is known.
        known: u64,
    },
}
