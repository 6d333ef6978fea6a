//! The database: what is open, and the work that the server's threads do for it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use colonnade_types::{Lsn, Oid, SequenceDefinition, StorageId, TxnId};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::{Deadlock, MaintenanceError, OpenError, SequenceError};
use crate::options::StorageOptions;
use crate::snapshot::Snapshot;
use crate::transaction::{Isolation, Transaction};

/// An open database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database;

/// What a step of maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Rows moved from a tail to a segment.
    pub flushed_rows: u64,
    /// Whether a checkpoint was taken.
    pub checkpoint: bool,
    /// Files removed.
    pub removed_files: u64,
    /// Whether more work is due now: call again without waiting.
    pub more: bool,
}

/// Sizes of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableStatus {
    /// Segments.
    pub segments: u64,
    /// Rows in segments, deleted ones included.
    pub segment_rows: u64,
    /// Bytes of segment files.
    pub segment_bytes: u64,
    /// Bytes of the same rows in memory form, before encoding.
    pub raw_bytes: u64,
    /// Rows in the tail, dead ones included.
    pub tail_rows: u64,
    /// Bytes of the tail.
    pub tail_bytes: u64,
    /// Rows in segments that are deleted.
    pub deleted_rows: u64,
}

/// Sizes of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalStatus {
    /// Where the next record goes.
    pub end: Lsn,
    /// Up to where the log is durable.
    pub durable: Lsn,
    /// Up to where commits are visible.
    pub visible: Lsn,
    /// Where the last checkpoint is.
    pub checkpoint: Lsn,
}

/// State of a sequence, as PostgreSQL shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceState {
    /// The last value given, or the first to be given.
    pub last_value: i64,
    /// Whether `last_value` has been given.
    pub is_called: bool,
}

impl Database {
    /// Opens the database on `disk`: last checkpoint, then the log. An empty disk becomes an empty database.
    ///
    /// # Errors
    /// [`OpenError`] names the file that is damaged or cannot be accessed.
    pub fn open(_disk: Arc<dyn Disk>, _clock: Arc<dyn Clock>, _options: StorageOptions) -> Result<Database, OpenError> {
        unimplemented!()
    }
    /// Writes the log until [`Database::close`]; blocks. Call it on a thread of its own.
    pub fn run_log_writer(&self) {
        unimplemented!()
    }
    /// Does one round of the log writer's work by hand; returns whether there was any.
    pub fn step_log(&self) -> bool {
        unimplemented!()
    }
    /// Does one bounded step of flush, checkpoint or garbage collection.
    ///
    /// # Errors
    /// [`MaintenanceError`]; the step will be tried again.
    pub fn maintain(&self) -> Result<MaintenanceReport, MaintenanceError> {
        unimplemented!()
    }
    /// Sleeps until maintenance is due, `timeout` has passed, or the database is closed.
    pub fn wait_for_work(&self, _timeout: Duration) {
        unimplemented!()
    }
    /// Flushes what can be flushed of a tail now; returns the rows moved.
    ///
    /// # Errors
    /// [`MaintenanceError`].
    pub fn flush_table(&self, _storage: StorageId) -> Result<u64, MaintenanceError> {
        unimplemented!()
    }
    /// Takes a checkpoint now.
    ///
    /// # Errors
    /// [`MaintenanceError`].
    pub fn checkpoint(&self) -> Result<(), MaintenanceError> {
        unimplemented!()
    }
    /// Takes a checkpoint and stops the log writer. Later commits fail.
    ///
    /// # Errors
    /// [`MaintenanceError`] if the checkpoint failed; the log has everything.
    pub fn close(&self) -> Result<(), MaintenanceError> {
        unimplemented!()
    }
    /// The latest committed state.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!()
    }
    /// Begins a transaction.
    #[must_use]
    pub fn begin(&self, _isolation: Isolation) -> Transaction {
        unimplemented!()
    }
    /// Waits until `holder` has ended. Dropping the future ends the wait.
    pub fn wait_for(
        &self,
        _waiter: TxnId,
        _holder: TxnId,
    ) -> impl Future<Output = Result<(), Deadlock>> + Send + use<> {
        std::future::ready(Ok(()))
    }
    /// A new object identifier, never used before.
    #[must_use]
    pub fn allocate_oid(&self) -> Oid {
        unimplemented!()
    }
    /// A new identifier for a body of rows.
    #[must_use]
    pub fn allocate_storage(&self) -> StorageId {
        unimplemented!()
    }
    /// Takes the next value of a sequence. Not transactional; durable with the next commit that is.
    ///
    /// # Errors
    /// [`SequenceError`].
    pub fn sequence_next(&self, _sequence: &SequenceDefinition) -> Result<i64, SequenceError> {
        unimplemented!()
    }
    /// Sets a sequence's state. Not transactional.
    ///
    /// # Errors
    /// [`SequenceError::Failed`].
    pub fn sequence_set(&self, _sequence: Oid, _value: i64, _is_called: bool) -> Result<(), SequenceError> {
        unimplemented!()
    }
    /// A sequence's state.
    #[must_use]
    pub fn sequence_state(&self, _sequence: &SequenceDefinition) -> SequenceState {
        unimplemented!()
    }
    /// Sizes of one table.
    #[must_use]
    pub fn table_status(&self, _storage: StorageId) -> TableStatus {
        unimplemented!()
    }
    /// Sizes of the log.
    #[must_use]
    pub fn wal_status(&self) -> WalStatus {
        unimplemented!()
    }
}
