//! The database: what is open, and the work that the server's threads do for it.
//!
//! Storage starts no thread. The server lends one to [`Database::run_log_writer`], which makes commits durable and visible, and one to
//! [`Database::maintain`], which flushes, checkpoints and removes files. A test calls [`Database::step_log`] and `maintain` itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use colonnade_columnar::SEGMENT_ROWS_MAX;
use colonnade_types::{Lsn, Oid, SegmentId, SequenceDefinition, StorageId, TxnId};
use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::commit::LogState;
use crate::compaction::{CompactionStatus, Thoroughness};
use crate::disk::{Disk, DiskLock};
use crate::error::{MaintenanceError, OpenError, ReadError, SequenceError};
use crate::flush::Extent;
use crate::locks::Locks;
use crate::maintenance::MaintenanceReport;
use crate::options::StorageOptions;
use crate::record;
use crate::recovery;
use crate::segment::SegmentStore;
use crate::sequence::SequenceState;
use crate::sequences::Sequences;
use crate::snapshot::{LiveVersion, Snapshot};
use crate::stamp::{TXN_MAX, View};
use crate::table::DatabaseVersion;
use crate::transaction::{Isolation, Transaction};
use crate::waits::{Awaited, TransactionEnd, Waits};
use crate::wal::{Wal, WalStats};

/// An open database. Cheap to clone; [`Database::close`] it before the last clone goes, or the next start replays the log.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) inner: Arc<Inner>,
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
    /// Bytes of the same rows before encoding.
    pub raw_bytes: u64,
    /// Rows in the tail, dead ones included.
    pub tail_rows: u64,
    /// Bytes of the tail, as encoded rows.
    pub tail_bytes: u64,
    /// Rows in segments that are deleted, also by running transactions.
    pub deleted_rows: u64,
}

/// Sizes of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalStatus {
    /// The LSN of the last record.
    pub end: Lsn,
    /// Up to where the log is durable.
    pub durable: Lsn,
    /// Up to where commits are visible.
    pub visible: Lsn,
    /// Where the last checkpoint is.
    pub checkpoint: Lsn,
}

/// Counters since the database was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorageMetrics {
    /// The log's counters.
    pub wal: WalStats,
    /// Transactions that run now.
    pub running_transactions: u64,
    /// Transactions that wait for another now.
    pub waiting_transactions: u64,
    /// Read LSN of the oldest snapshot in use, or the visible LSN.
    pub oldest_snapshot: Lsn,
    /// For how many milliseconds there have been snapshots of that LSN without a break; 0 if none is in use.
    pub oldest_snapshot_age_ms: u64,
    /// Flushes that moved rows or dropped dead ones.
    pub flushes: u64,
    /// Rows moved from tails to segments.
    pub flushed_rows: u64,
    /// Checkpoints taken.
    pub checkpoints: u64,
    /// Compactions.
    pub compactions: u64,
    /// Rows that they read.
    pub compacted_rows: u64,
    /// Bytes of the files that they read and wrote.
    pub compacted_bytes: u64,
}

/// Snapshots of one LSN.
#[derive(Debug)]
struct InUse {
    count: usize,
    /// When the first of them was taken, in the clock's milliseconds.
    since_ms: u64,
}

/// Everything that a database is.
pub(crate) struct Inner {
    pub(crate) options: StorageOptions,
    clock: Arc<dyn Clock>,
    pub(crate) store: Arc<SegmentStore>,
    pub(crate) wal: Wal,
    /// What is committed, durable and visible.
    pub(crate) version: ArcSwap<DatabaseVersion>,
    /// Read LSNs of the snapshots in use.
    live: Mutex<BTreeMap<Lsn, InUse>>,
    /// The log latch.
    pub(crate) log: Mutex<LogState>,
    /// Held by the one thread that applies.
    pub(crate) applying: Mutex<()>,
    pub(crate) waits: Arc<Waits>,
    pub(crate) locks: Locks,
    pub(crate) sequences: Sequences,
    next_txn: AtomicU64,
    pub(crate) next_oid: AtomicU32,
    pub(crate) next_storage: AtomicU64,
    pub(crate) next_segment: AtomicU64,
    log_writers: AtomicUsize,
    pub(crate) closing: AtomicBool,
    work: Mutex<bool>,
    work_due: Condvar,
    /// Held by the one thread that takes a checkpoint; the LSN of the last one.
    pub(crate) checkpointing: Mutex<Lsn>,
    pub(crate) checkpoint_lsn: AtomicU64,
    pub(crate) counters: Counters,
    /// Compaction's budget is used up until then, in the clock's milliseconds.
    pub(crate) compaction_not_before_ms: AtomicU64,
    /// When maintenance was last done, in the clock's milliseconds; 0 for never.
    pub(crate) maintained_ms: AtomicU64,
    progress: (Mutex<()>, Condvar),
    _lock: DiskLock,
}

/// Counters for [`StorageMetrics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) flushes: AtomicU64,
    pub(crate) flushed_rows: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) compacted_rows: AtomicU64,
    pub(crate) compacted_bytes: AtomicU64,
}

/// What recovery found.
pub(crate) struct Recovered {
    pub(crate) lock: DiskLock,
    pub(crate) store: Arc<SegmentStore>,
    pub(crate) wal: Wal,
    pub(crate) version: DatabaseVersion,
    pub(crate) checkpoint: Lsn,
    pub(crate) sequences: Sequences,
    pub(crate) next_oid: u32,
    pub(crate) next_storage: u64,
    pub(crate) next_segment: u64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("lsn", &self.version.load().lsn).finish_non_exhaustive()
    }
}

impl Inner {
    fn new(recovered: Recovered, clock: Arc<dyn Clock>, options: StorageOptions) -> Inner {
        Inner {
            options,
            clock,
            store: recovered.store,
            wal: recovered.wal,
            version: ArcSwap::from_pointee(recovered.version),
            live: Mutex::default(),
            log: Mutex::default(),
            applying: Mutex::default(),
            waits: Arc::default(),
            locks: Locks::default(),
            sequences: recovered.sequences,
            next_txn: AtomicU64::new(1),
            next_oid: AtomicU32::new(recovered.next_oid),
            next_storage: AtomicU64::new(recovered.next_storage),
            next_segment: AtomicU64::new(recovered.next_segment),
            log_writers: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            work: Mutex::new(false),
            work_due: Condvar::new(),
            checkpointing: Mutex::new(recovered.checkpoint),
            checkpoint_lsn: AtomicU64::new(recovered.checkpoint.0),
            counters: Counters::default(),
            compaction_not_before_ms: AtomicU64::new(0),
            maintained_ms: AtomicU64::new(0),
            progress: Default::default(),
            _lock: recovered.lock,
        }
    }

    /// The latest version, registered as in use.
    pub(crate) fn live_version(self: &Arc<Self>) -> Arc<LiveVersion> {
        // The version is read under the lock, so that nothing it sees is let go in between.
        let mut live = self.live.lock();
        let version = self.version.load_full();
        live.entry(version.lsn).or_insert_with(|| InUse { count: 0, since_ms: self.now_ms() }).count += 1;
        drop(live);
        Arc::new(LiveVersion { version, inner: Arc::clone(self) })
    }

    /// Takes back a registration.
    pub(crate) fn forget_snapshot(&self, lsn: Lsn) {
        let mut live = self.live.lock();
        if let Some(in_use) = live.get_mut(&lsn) {
            in_use.count -= 1;
            if in_use.count == 0 {
                live.remove(&lsn);
            }
        }
    }

    /// The read LSN of the oldest snapshot that exists or will.
    pub(crate) fn oldest_snapshot(&self) -> Lsn {
        let live = self.live.lock();
        live.keys().next().copied().unwrap_or_else(|| self.version.load().lsn)
    }

    /// For how long there have been snapshots of the oldest LSN, in milliseconds.
    fn oldest_snapshot_age_ms(&self) -> u64 {
        let since = self.live.lock().values().next().map(|in_use| in_use.since_ms);
        since.map_or(0, |since| self.now_ms().saturating_sub(since))
    }

    /// Whether a thread writes the log.
    pub(crate) fn has_log_writer(&self) -> bool {
        self.log_writers.load(Ordering::Acquire) > 0
    }

    /// Microseconds since 1970.
    pub(crate) fn now_micros(&self) -> i64 {
        self.clock.now_micros()
    }

    /// Milliseconds of the monotonic clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.monotonic_micros() / 1_000
    }

    /// A new segment's identifier.
    pub(crate) fn allocate_segment(&self) -> SegmentId {
        SegmentId(self.next_segment.fetch_add(1, Ordering::Relaxed))
    }

    /// Wakes the maintenance thread.
    pub(crate) fn request_maintenance(&self) {
        *self.work.lock() = true;
        self.work_due.notify_all();
    }

    /// Wakes the maintenance thread if the log has grown enough for a checkpoint.
    pub(crate) fn request_maintenance_if_due(&self) {
        if self.is_checkpoint_due() {
            self.request_maintenance();
        }
    }

    /// Whether the log has grown enough for a checkpoint.
    pub(crate) fn is_checkpoint_due(&self) -> bool {
        let since = self.version.load().lsn.0.saturating_sub(self.checkpoint_lsn.load(Ordering::Relaxed));
        since >= self.options.checkpoint_wal_bytes
    }

    /// Waits until a tail has become shorter, or `timeout` has passed.
    pub(crate) fn wait_for_progress(&self, timeout: Duration) {
        self.progress.1.wait_for(&mut self.progress.0.lock(), timeout);
    }

    /// Wakes those who wait for a tail to become shorter.
    pub(crate) fn note_progress(&self) {
        self.progress.1.notify_all();
    }

    fn log_sequence(&self, oid: Oid, state: SequenceState) -> Result<(), String> {
        self.wal.append(&record::encode_sequence_advance(oid, state)).map(|_| ()).map_err(|error| error.to_string())
    }
}

impl Database {
    /// Opens the database on `disk`: last checkpoint, then the log. An empty disk becomes an empty database. Holds the lock on the directory until the last clone is dropped.
    ///
    /// # Errors
    /// [`OpenError`] names the file that is damaged or cannot be accessed.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, options: StorageOptions) -> Result<Database, OpenError> {
        let recovered = recovery::recover(disk, &options)?;
        Ok(Database { inner: Arc::new(Inner::new(recovered, clock, options)) })
    }

    /// Whether [`catalog`](Self::catalog) would give this very one.
    #[must_use]
    pub fn has_catalog(&self, catalog: &Arc<crate::catalog::Catalog>) -> bool {
        Arc::ptr_eq(&self.inner.version.load().catalog, catalog)
    }

    /// The latest committed catalog.
    #[must_use]
    pub fn catalog(&self) -> Arc<crate::catalog::Catalog> {
        Arc::clone(&self.inner.version.load().catalog)
    }

    /// Writes the log until [`Database::close`]; blocks. Call it on a thread of its own.
    pub fn run_log_writer(&self) {
        self.inner.log_writers.fetch_add(1, Ordering::AcqRel);
        loop {
            let worked = self.inner.step_log();
            if worked {
                continue;
            }
            if self.inner.closing.load(Ordering::Acquire) {
                break;
            }
            // After a failure there is nothing to write, but commits that are refused meanwhile must not spin here.
            if self.inner.log.lock().failed.is_some() {
                std::thread::park_timeout(Duration::from_millis(50));
            } else {
                self.inner.wal.wait_for_append(Duration::from_secs(1));
            }
        }
        self.inner.log_writers.fetch_sub(1, Ordering::AcqRel);
        self.inner.step_log();
    }

    /// Does one round of the log writer's work by hand; returns whether there was any.
    pub fn step_log(&self) -> bool {
        self.inner.step_log()
    }

    /// Does one bounded step of flush, checkpoint or garbage collection.
    ///
    /// # Errors
    /// [`MaintenanceError`]; the step will be tried again.
    pub fn maintain(&self) -> Result<MaintenanceReport, MaintenanceError> {
        self.inner.maintain()
    }

    /// Sleeps until maintenance is due, `timeout` has passed, or the database is closed.
    pub fn wait_for_work(&self, timeout: Duration) {
        let mut work = self.inner.work.lock();
        if !*work && !self.inner.closing.load(Ordering::Acquire) {
            self.inner.work_due.wait_for(&mut work, timeout);
        }
        *work = false;
    }

    /// Flushes what can be flushed of a tail now, small or not; returns the rows moved. It is durable when the log is, and visible then.
    ///
    /// # Errors
    /// [`MaintenanceError`].
    pub fn flush_table(&self, storage: StorageId) -> Result<u64, MaintenanceError> {
        let data = self.inner.version.load().tables.get(&storage).map(|version| Arc::clone(&version.data));
        data.map_or(Ok(0), |data| self.inner.flush_next(&data, Extent::All))
    }

    /// Flushes a table and compacts it, and waits until that is durable and visible; returns the rows that compaction has read. `go_on` is asked from time to time: once it says
    /// no, what is done stays, and the rest is left.
    ///
    /// # Errors
    /// [`MaintenanceError`]; what was done before stays.
    pub fn compact_table(
        &self,
        storage: StorageId,
        thoroughness: Thoroughness,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<u64, MaintenanceError> {
        // A flush writes one segment; what comes meanwhile is not waited for.
        while self.flush_table(storage)? >= SEGMENT_ROWS_MAX as u64 / 2 {}
        self.inner.compact_table(storage, thoroughness, go_on)
    }

    /// Where compaction stands with a table.
    ///
    /// # Errors
    /// [`ReadError`] if a segment's footer is damaged.
    pub fn compaction_status(&self, storage: StorageId) -> Result<CompactionStatus, ReadError> {
        self.inner.compaction_status(storage)
    }

    /// Takes a checkpoint now.
    ///
    /// # Errors
    /// [`MaintenanceError`].
    pub fn checkpoint(&self) -> Result<(), MaintenanceError> {
        self.inner.checkpoint(false)
    }

    /// Takes a checkpoint and stops the log writer. Later commits fail. Transactions that still run are lost.
    ///
    /// # Errors
    /// [`MaintenanceError`] if the checkpoint failed; the log has everything.
    pub fn close(&self) -> Result<(), MaintenanceError> {
        while self.inner.step_log() {}
        let failed = {
            let mut log = self.inner.log.lock();
            let failed = log.failed.clone();
            log.failed.get_or_insert_with(|| "the database is closed".to_owned());
            failed
        };
        // What was queued before the door closed.
        self.inner.step_log();
        self.inner.closing.store(true, Ordering::Release);
        self.inner.wal.wake();
        self.inner.request_maintenance();
        match failed {
            Some(reason) => Err(MaintenanceError::Failed(reason)),
            None => self.inner.checkpoint(true),
        }
    }

    /// The latest committed state.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let base = self.inner.live_version();
        let (catalog, view) = (Arc::clone(&base.version.catalog), View::committed(base.version.lsn));
        Snapshot::new(base, catalog, view, Arc::default())
    }

    /// Begins a transaction.
    ///
    /// # Panics
    /// After 2^40 transactions in one process.
    #[must_use]
    pub fn begin(&self, isolation: Isolation) -> Transaction {
        let id = self.inner.next_txn.fetch_add(1, Ordering::Relaxed);
        assert!(id <= TXN_MAX, "transaction ids are used up");
        Transaction::new(Arc::clone(&self.inner), TxnId(id), isolation)
    }

    /// Waits until `holder` has ended, or has given something back. Dropping the future ends the wait.
    pub fn wait_for(&self, waiter: TxnId, holder: TxnId) -> TransactionEnd {
        self.wait_for_it(waiter, holder, Awaited::Transaction)
    }

    /// Waits as [`wait_for`](Self::wait_for) does, and says for what, should it be a deadlock.
    pub fn wait_for_it(&self, waiter: TxnId, holder: TxnId, awaited: Awaited) -> TransactionEnd {
        self.inner.waits.wait_for(waiter, holder, awaited)
    }

    /// Whether some transaction holds, or waits for, the lock of a relation's readers, so that readers have to ask for theirs.
    #[must_use]
    pub fn are_readers_kept_out(&self) -> bool {
        self.inner.locks.are_readers_locked()
    }

    /// Whether a transaction is running: from its begin until its writes are visible or undone, which is before its commit is acknowledged.
    #[must_use]
    pub fn is_running(&self, txn: TxnId) -> bool {
        self.inner.waits.is_running(txn)
    }

    /// A new object identifier, never used before.
    ///
    /// # Panics
    /// After four thousand million objects.
    #[must_use]
    pub fn allocate_oid(&self) -> Oid {
        let oid = self.inner.next_oid.fetch_add(1, Ordering::Relaxed);
        assert!(oid != u32::MAX, "object identifiers are used up");
        Oid(oid)
    }

    /// A new identifier for a body of rows.
    #[must_use]
    pub fn allocate_storage(&self) -> StorageId {
        StorageId(self.inner.next_storage.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes the next value of a sequence. Not transactional; durable with the next commit that is.
    ///
    /// # Errors
    /// [`SequenceError`].
    pub fn sequence_next(&self, sequence: &SequenceDefinition) -> Result<i64, SequenceError> {
        self.inner.sequences.next(sequence, |state| self.inner.log_sequence(sequence.oid, state))
    }

    /// Sets a sequence's state. Not transactional.
    ///
    /// # Errors
    /// [`SequenceError::Failed`].
    pub fn sequence_set(&self, sequence: Oid, value: i64, is_called: bool) -> Result<(), SequenceError> {
        let state = SequenceState { last_value: value, is_called };
        self.inner.sequences.set(sequence, state, |state| self.inner.log_sequence(sequence, state))
    }

    /// A sequence's state.
    #[must_use]
    pub fn sequence_state(&self, sequence: &SequenceDefinition) -> SequenceState {
        self.inner.sequences.state(sequence)
    }

    /// Sizes of one table.
    #[must_use]
    pub fn table_status(&self, storage: StorageId) -> TableStatus {
        let version = self.inner.version.load();
        let Some(table) = version.tables.get(&storage) else { return TableStatus::default() };
        let (tail_rows, tail_bytes) = table.data.tail_size();
        let mut status = TableStatus { tail_rows, tail_bytes, ..TableStatus::default() };
        for segment in &table.segments {
            status.segments += 1;
            status.segment_rows += segment.rows() as u64;
            status.segment_bytes += segment.info.size_bytes;
            status.raw_bytes += segment.info.raw_bytes;
            status.deleted_rows += segment.deletes.read().len();
        }
        status
    }

    /// Sizes of the log.
    #[must_use]
    pub fn wal_status(&self) -> WalStatus {
        WalStatus {
            end: self.inner.wal.end_lsn(),
            durable: self.inner.wal.durable_lsn(),
            visible: self.inner.version.load().lsn,
            checkpoint: Lsn(self.inner.checkpoint_lsn.load(Ordering::Relaxed)),
        }
    }

    /// Counters since the database was opened.
    #[must_use]
    pub fn metrics(&self) -> StorageMetrics {
        let counters = &self.inner.counters;
        StorageMetrics {
            wal: self.inner.wal.stats(),
            running_transactions: self.inner.waits.running() as u64,
            waiting_transactions: self.inner.waits.waiting() as u64,
            oldest_snapshot: self.inner.oldest_snapshot(),
            oldest_snapshot_age_ms: self.inner.oldest_snapshot_age_ms(),
            flushes: counters.flushes.load(Ordering::Relaxed),
            flushed_rows: counters.flushed_rows.load(Ordering::Relaxed),
            checkpoints: counters.checkpoints.load(Ordering::Relaxed),
            compactions: counters.compactions.load(Ordering::Relaxed),
            compacted_rows: counters.compacted_rows.load(Ordering::Relaxed),
            compacted_bytes: counters.compacted_bytes.load(Ordering::Relaxed),
        }
    }

    /// Why nothing is committed any more, if the log has failed.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.inner.log.lock().failed.clone()
    }
}
