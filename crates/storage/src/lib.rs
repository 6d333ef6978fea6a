//! Makes writes durable and visible in one order, and moves rows into columns.
#![allow(clippy::unimplemented)]

pub mod bulk;
pub mod catalog;
pub mod checkpoint;
pub mod clock;
pub mod codec;
pub mod database;
pub mod disk;
pub mod error;
pub mod manifest;
pub mod options;
pub mod record;
pub mod scan;
pub mod sequence;
pub mod snapshot;
pub mod stamp;
pub mod transaction;
pub mod wal;

pub use bulk::BulkWriter;
pub use catalog::{Catalog, CatalogEdit, CatalogError};
pub use clock::Clock;
pub use database::{Database, MaintenanceReport, SequenceState, TableStatus, WalStatus};
pub use disk::Disk;
pub use error::{CommitError, Deadlock, MaintenanceError, OpenError, ReadError, SequenceError, WriteError};
pub use options::StorageOptions;
pub use scan::{RowAddress, Scan, ScanUnit, UnitKind, Visibility};
pub use snapshot::Snapshot;
pub use transaction::{CommitTicket, Isolation, LockMode, LockTarget, Savepoint, Transaction};
