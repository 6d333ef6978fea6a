//! Makes writes durable and visible in one order, and moves rows into columns.
//!
//! Synchronous: no thread is started here, no file is touched but through [`disk`], no clock read but [`clock`].
//!
//! # Life of a row
//!
//! ```text
//! Transaction::append ─► tail chunk, stamp = transaction      visible to its own later commands
//! Transaction::commit ─► record in the log, in LSN order
//! log writer          ─► durable; stamp = LSN; version published      visible to snapshots from then on
//! chunk full          ─► sealed: one Arrow array a column, zone maps
//! maintain            ─► flush: sorted, encoded, a segment file; the tail starts further on
//! Transaction::delete ─► stamp in the chunk, or in the segment's deletes
//! ```
//!
//! # The invariant that ties the halves
//!
//! At a snapshot, a row version is visible from exactly one place: the row store, or one segment unless a delete vector marks it.
//!
//! It holds because a version of a table names both its segments and where its tail begins, and a flush changes both in one published version; because a row's
//! stamps go with it when it moves; and because a delete marks every place from which some snapshot may still read the row.

mod address;
pub mod bulk;
pub mod catalog;
pub mod checkpoint;
mod checkpointing;
pub mod clock;
pub mod codec;
mod commit;
mod compaction;
pub mod conflicts;
pub mod database;
mod deletes;
mod dictionary_cache;
pub mod disk;
pub mod error;
mod fill;
mod flush;
mod granule_cache;
pub mod key_file;
mod key_index;
mod load_check;
mod located;
pub mod locks;
mod maintenance;
pub mod manifest;
pub mod options;
mod point;
pub mod record;
mod recovery;
pub mod row_codec;
pub mod row_locks;
pub mod scan;
mod segment;
mod segment_file;
mod segment_keys;
pub mod sequence;
mod sequences;
pub mod snapshot;
pub mod stamp;
mod status;
mod table;
mod tail;
mod tail_keys;
mod ticket;
pub mod transaction;
mod waits;
pub mod wal;
mod write_set;

pub use bulk::BulkWriter;
pub use catalog::{Catalog, CatalogEdit, CatalogError};
pub use clock::{Clock, SystemClock};
pub use compaction::{CompactionStatus, Thoroughness};
pub use conflicts::{Conflict, FoundRow, Obstacle};
pub use database::{Database, StorageMetrics, TableStatus, WalStatus};
pub use disk::{Disk, DiskError, FileDisk};
pub use error::{CommitError, Deadlock, MaintenanceError, OpenError, ReadError, SequenceError, WriteError};
pub use locks::{LOCK_MODES, LockMode, LockTarget};
pub use maintenance::MaintenanceReport;
pub use options::StorageOptions;
pub use point::{Found, TableAccess};
pub use row_locks::{LockedBy, RowLockMode};
pub use scan::{RowAddress, Scan, ScanUnit, UnitKind, Visibility};
pub use segment::{SEGMENT_DIR, segment_path};
pub use sequence::SequenceState;
pub use snapshot::Snapshot;
pub use status::{DeltaStatus, SegmentStatus};
pub use ticket::CommitTicket;
pub use transaction::{Isolation, Savepoint, Transaction};
pub use waits::{Awaited, TransactionEnd, WaitEdge};
