//! Waiting for other transactions, and what storage's refusals mean to a client.

use std::sync::Arc;
use std::time::Duration;

use colonnade_storage::{
    Awaited, CommitError, Database, Deadlock, LockTarget, ReadError, SequenceError, WaitEdge, WriteError,
};
use colonnade_types::{SqlState, TxnId, ValueError};

use crate::cancel::CancelGuard;
use crate::engine::{SessionEntry, SessionList};
use crate::error::{Error, Result};

/// How long and under which guard a statement waits for others.
#[derive(Clone)]
pub(crate) struct LockWaiter {
    pub(crate) guard: CancelGuard,
    pub(crate) timeout: Option<Duration>,
    /// Whose transactions take part in a deadlock.
    pub(crate) sessions: SessionList,
    /// Where others see that the session waits.
    pub(crate) entry: Arc<SessionEntry>,
}

impl LockWaiter {
    /// Waits until `holder` has ended, because of a row or a key.
    pub(crate) async fn wait(&self, database: &Database, waiter: TxnId, holder: TxnId) -> Result<()> {
        self.wait_for(database, waiter, holder, Awaited::Transaction).await
    }

    /// Waits until `holder` has ended.
    pub(crate) async fn wait_for(
        &self,
        database: &Database,
        waiter: TxnId,
        holder: TxnId,
        awaited: Awaited,
    ) -> Result<()> {
        let _shown = self.entry.show_wait(holder);
        let waiting = database.wait_for_it(waiter, holder, awaited);
        let outcome = match self.timeout {
            None => self.guard.run(waiting).await?,
            Some(timeout) => match self.guard.run(tokio::time::timeout(timeout, waiting)).await? {
                Ok(outcome) => outcome,
                Err(_) => {
                    return Err(Error::new(SqlState::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout"));
                }
            },
        };
        outcome.map_err(|deadlock| self.deadlock(&deadlock))
    }

    /// PostgreSQL's report of a deadlock: a line for each that waits.
    fn deadlock(&self, deadlock: &Deadlock) -> Error {
        let process = |txn| self.sessions.process_of(txn).unwrap_or_default();
        let line = |edge: &WaitEdge| {
            let what = match &edge.awaited {
                Awaited::Transaction => format!("ShareLock on transaction {}", edge.holder),
                Awaited::Lock(LockTarget::Relation(oid) | LockTarget::Readers(oid), mode) => {
                    format!(
                        "{} on relation {oid} of database {}",
                        mode.name(),
                        crate::pg_catalog::pg_database::DATABASE_OID
                    )
                }
                Awaited::Lock(LockTarget::Name(_, name) | LockTarget::Schema(name), mode) => {
                    format!("{} on name \"{name}\"", mode.name())
                }
            };
            format!("Process {} waits for {what}; blocked by process {}.", process(edge.waiter), process(edge.holder))
        };
        let lines: Vec<String> = deadlock.cycle.iter().map(line).collect();
        tracing::info!(detail = lines.join(" "), "deadlock detected");
        Error::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
            .with_detail(lines.join("\n"))
            .with_hint("See server log for query details.")
    }
}

/// Translates storage's refusal of a write; `table` is named in errors about rows.
pub(crate) fn write_error(error: WriteError, table: Option<&str>) -> Error {
    let named = |error: Error| match table {
        Some(table) => error.with_table(table),
        None => error,
    };
    match error {
        WriteError::Blocked(holder) => {
            Error::new(SqlState::LOCK_NOT_AVAILABLE, format!("could not wait for transaction {holder}"))
        }
        WriteError::Conflict => {
            Error::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
        }
        WriteError::DuplicateKey { constraint, columns, values } => named(
            Error::new(
                SqlState::UNIQUE_VIOLATION,
                format!("duplicate key value violates unique constraint \"{constraint}\""),
            )
            .with_detail(format!("Key ({})=({}) already exists.", columns.join(", "), values.join(", ")))
            .with_constraint(constraint),
        ),
        WriteError::TooLarge(message) => Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message),
        WriteError::Mismatch(message) => Error::internal(message),
        WriteError::Read(error) => error.into(),
        WriteError::Disk(error) => disk_error("could not write a segment", &error),
        WriteError::Failed(message) => {
            Error::new(SqlState::IO_ERROR, format!("the write-ahead log has failed: {message}"))
        }
    }
}

/// A failure of the disk, told apart into a full one (53100) and others (58030).
pub(crate) fn disk_error(what: &str, error: &std::io::Error) -> Error {
    let state = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => SqlState::DISK_FULL,
        _ => SqlState::IO_ERROR,
    };
    Error::new(state, format!("{what}: {error}"))
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        match error {
            ReadError::Corrupt(message) => Error::new(SqlState::DATA_CORRUPTED, message),
            other => Error::internal(other.to_string()),
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Error {
        match error {
            CommitError::TooLarge(message) => Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message),
            other => Error::new(SqlState::IO_ERROR, other.to_string()),
        }
    }
}

impl From<SequenceError> for Error {
    fn from(error: SequenceError) -> Error {
        match &error {
            SequenceError::Exhausted { .. } => {
                Error::new(SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED, error.to_string())
            }
            SequenceError::Failed(_) => Error::new(SqlState::IO_ERROR, error.to_string()),
        }
    }
}

impl From<ValueError> for Error {
    fn from(error: ValueError) -> Error {
        let mut out = Error::new(error.sql_state, error.message);
        out.detail = error.detail;
        out
    }
}
