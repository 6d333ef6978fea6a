//! What can go wrong, one enum per family of operations; variants are named for what the caller can do.

use colonnade_types::TxnId;

use crate::disk::DiskError;
use crate::waits::WaitEdge;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] std::io::Error),
    /// A file is missing, short or damaged; the text names file, offset, expected and found.
    #[error("{0}")]
    Corrupt(String),
}

/// Errors of the disk are passed on as `io::Error`s of the same kind, whose source is the [`DiskError`] with operation and path.
macro_rules! from_disk {
    ($($error:ident)*) => {$(
        impl From<DiskError> for $error {
            fn from(error: DiskError) -> $error {
                $error::Disk(error.into())
            }
        }
    )*};
}

from_disk!(OpenError WriteError MaintenanceError);

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The running transaction named here stands in the way. Nothing was changed: wait for it with
    /// [`Database::wait_for`](crate::Database::wait_for), take a new snapshot where the isolation level has one, and try again.
    #[error("blocked by transaction {0}")]
    Blocked(TxnId),
    /// A row, or the table, was changed by a transaction that committed after the snapshot. Nothing was changed. READ COMMITTED runs
    /// the statement again on a new snapshot; REPEATABLE READ fails with SQLSTATE 40001.
    #[error("could not serialize access due to concurrent update")]
    Conflict,
    /// A row with this key exists, or comes twice in the same call. SQLSTATE 23505. Nothing was changed.
    #[error("duplicate key value violates unique constraint \"{constraint}\"")]
    DuplicateKey {
        /// The constraint's name.
        constraint: String,
        /// The names of its columns.
        columns: Vec<String>,
        /// The key's values in PostgreSQL's text form; `null` for NULL.
        values: Vec<String>,
    },
    /// A limit of the program was exceeded (SQLSTATE 54000); the text says which.
    #[error("{0}")]
    TooLarge(String),
    /// Rows do not have the columns that the definition says: a fault of the caller.
    #[error("rows do not fit the table: {0}")]
    Mismatch(String),
    /// Stored data could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] std::io::Error),
    /// The log has failed: nothing is written any more until a restart.
    #[error("the write-ahead log has failed: {0}")]
    Failed(String),
}

/// Why stored data could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// A file is missing, short or damaged; the text names file, offset, expected and found.
    #[error("{0}")]
    Corrupt(String),
    /// A column's stored type is not the one that the definition says, or its missing value is no value of its type.
    #[error("{0}")]
    Mismatch(String),
}

/// Why a commit is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The log has failed, now or earlier. The transaction is rolled back here; whether a restart finds it committed is
    /// unknown if the failure came while it was being written.
    #[error("the write-ahead log has failed: {0}")]
    Failed(String),
    /// The transaction's log record would be larger than the log can hold; it is rolled back.
    #[error("transaction is too large: {0}")]
    TooLarge(String),
}

/// Waiting would never end, because the holder waits for the waiter, directly or through others. SQLSTATE 40P01.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deadlock detected")]
pub struct Deadlock {
    /// Who would wait for whom, from the waiter that is refused, each for the next and the last for the first.
    pub cycle: Vec<WaitEdge>,
}

/// Why a sequence gave no value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SequenceError {
    /// It does not cycle and has given its last value. SQLSTATE 2200H.
    #[error("nextval: reached {bound} value of sequence \"{name}\" ({value})")]
    Exhausted {
        /// `maximum` or `minimum`.
        bound: &'static str,
        /// The sequence's name.
        name: String,
        /// The bound.
        value: i64,
    },
    /// The log has failed.
    #[error("the write-ahead log has failed: {0}")]
    Failed(String),
}

/// Why a step of maintenance was not done. It is tried again; reads and writes go on.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] std::io::Error),
    /// Stored data could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log has failed.
    #[error("the write-ahead log has failed: {0}")]
    Failed(String),
}
