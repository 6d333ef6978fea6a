//! A transaction: a write set, its locks, and its place in time.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use colonnade_types::{KeyConstraint, Lsn, Oid, TableDefinition, TxnId};

use crate::bulk::BulkWriter;
use crate::catalog::{Catalog, CatalogEdit, CatalogError};
use crate::error::{CommitError, WriteError};
use crate::scan::RowAddress;
use crate::snapshot::Snapshot;

/// What a transaction's statements see of others' commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each snapshot sees what was committed when it was taken.
    ReadCommitted,
    /// All snapshots see what was committed when the transaction took its first one.
    RepeatableRead,
}

/// What is locked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LockTarget {
    /// A relation, by oid.
    Relation(Oid),
    /// A name in a schema, taken or not, so that no two transactions create it.
    Name(Oid, String),
    /// The name of a schema.
    Schema(String),
}

/// How it is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Many may hold it: writers of rows.
    Shared,
    /// One alone: DDL.
    Exclusive,
}

/// A running transaction. Dropping it rolls back.
#[derive(Debug)]
pub struct Transaction;

/// A place in a transaction to which it can be rolled back.
#[derive(Clone, Debug)]
pub struct Savepoint;

/// The promise that a commit becomes durable: a future, or [`CommitTicket::wait`].
#[derive(Debug)]
pub struct CommitTicket;

impl CommitTicket {
    /// Blocks until the commit is durable and visible.
    ///
    /// # Errors
    /// [`CommitError`] if it will never be.
    pub fn wait(self) -> Result<Lsn, CommitError> {
        unimplemented!()
    }
}

impl std::future::Future for CommitTicket {
    type Output = Result<Lsn, CommitError>;
    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        unimplemented!()
    }
}

impl Transaction {
    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> TxnId {
        unimplemented!()
    }
    /// The latest committed catalog (REPEATABLE READ: the snapshot's) with the transaction's own edits.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        unimplemented!()
    }
    /// Begins the next command: the snapshot sees what earlier commands of this transaction did, not what is done after it.
    pub fn snapshot(&mut self) -> Snapshot {
        unimplemented!()
    }
    /// Locks `target` until the transaction ends. A lock that is held already is strengthened if need be.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] with one of the transactions that hold it.
    pub fn lock(&mut self, _target: LockTarget, _mode: LockMode) -> Result<(), WriteError> {
        unimplemented!()
    }
    /// Edits the catalog, for this transaction now and for others at commit. The caller holds the exclusive locks.
    ///
    /// # Errors
    /// [`CatalogError`] if the edit does not fit the catalog.
    pub fn edit_catalog(&mut self, _edit: CatalogEdit) -> Result<(), CatalogError> {
        unimplemented!()
    }
    /// Appends rows, columns in definition order, and checks keys.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was appended.
    pub fn append(&mut self, _table: &TableDefinition, _rows: &RecordBatch) -> Result<(), WriteError> {
        unimplemented!()
    }
    /// Starts a load that writes segments directly and logs only their names.
    ///
    /// # Errors
    /// [`WriteError`] if the table is gone.
    pub fn bulk(&mut self, _table: &TableDefinition) -> Result<BulkWriter, WriteError> {
        unimplemented!()
    }
    /// Deletes the rows at `rows`, which `snapshot` of this transaction gave. An address that comes twice counts once.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] or [`WriteError::Conflict`]; nothing was deleted.
    pub fn delete(
        &mut self,
        _snapshot: &Snapshot,
        _table: &TableDefinition,
        _rows: &[RowAddress],
    ) -> Result<(), WriteError> {
        unimplemented!()
    }
    /// Checks that the rows that the transaction sees now satisfy `key` of `table`, for a key that is added to rows that exist. The caller
    /// holds the table's exclusive lock.
    ///
    /// # Errors
    /// [`WriteError::DuplicateKey`] with the first key found twice.
    pub fn validate_key(&mut self, _table: &TableDefinition, _key: &KeyConstraint) -> Result<(), WriteError> {
        unimplemented!()
    }
    /// Marks the present place.
    pub fn savepoint(&mut self) -> Savepoint {
        unimplemented!()
    }
    /// Undoes everything after `savepoint`, which stays valid. Locks are kept.
    pub fn rollback_to(&mut self, _savepoint: &Savepoint) {
        unimplemented!()
    }
    /// Whether it has written nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        unimplemented!()
    }
    /// Commits: on return the order is decided; the ticket says when it is durable and visible.
    ///
    /// # Errors
    /// [`CommitError`]; the transaction is rolled back.
    pub fn commit(self) -> Result<CommitTicket, CommitError> {
        unimplemented!()
    }
    /// Undoes everything.
    pub fn rollback(self) {}
}
