//! The commit pipeline: one order for everything, decided by the log.
//!
//! ```text
//! committers ──► log latch: resolve, encode, append ──► queue, in LSN order
//!                                                          │
//! log writer:    write and sync ─► durable LSN ─► apply: stamp rows, publish version, complete tickets
//! ```
//!
//! **Invariants.** The queue is in LSN order. What is applied is durable. The published version's LSN only grows, and what it shows is exactly the records at
//! or before that LSN. A transaction is among `pending` from its record's append until it is applied: with its LSN, so that a flush in between can tell
//! a delete that is in the log from one that is not.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use colonnade_types::{Lsn, Relation, StorageId, TxnId};

use crate::catalog::{Catalog, CatalogEdit};
use crate::database::Inner;
use crate::error::CommitError;
use crate::locks::LockTarget;
use crate::record::{ManifestEdit, TransactionEncoder};
use crate::segment::Segment;
use crate::snapshot::OwnTables;
use crate::stamp::{Stamp, StampState};
use crate::table::{DatabaseVersion, TableData, TableVersion};
use crate::tail::Chunk;
use crate::ticket::TicketState;
use crate::write_set::Write;

/// What the log latch guards.
#[derive(Debug, Default)]
pub(crate) struct LogState {
    queue: VecDeque<(Lsn, Work)>,
    /// The LSN of the last work that was queued, applied or not.
    last: Lsn,
    pub(crate) pending: HashMap<TxnId, Lsn>,
    /// Why nothing is committed any more.
    pub(crate) failed: Option<String>,
}

/// What is done when a record is durable.
#[derive(Debug)]
pub(crate) enum Work {
    Commit(Box<Ending>),
    Flush(Flushed),
    Compaction(Compacted),
}

/// A transaction that is ending.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) txn: TxnId,
    pub(crate) writes: Vec<Write>,
    pub(crate) own: Arc<OwnTables>,
    pub(crate) locks: Vec<LockTarget>,
    pub(crate) ticket: Arc<TicketState>,
}

/// A flush whose record is in the log.
#[derive(Debug)]
pub(crate) struct Flushed {
    pub(crate) data: Arc<TableData>,
    pub(crate) segment: Option<Arc<Segment>>,
    pub(crate) head: Arc<Chunk>,
}

/// A compaction whose record is in the log.
#[derive(Debug)]
pub(crate) struct Compacted {
    pub(crate) storage: StorageId,
    pub(crate) removed: Vec<Arc<Segment>>,
    pub(crate) added: Vec<Arc<Segment>>,
    pub(crate) ticket: Arc<TicketState>,
}

/// What moves with a row of what is in its deleted slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carry {
    /// Nothing is there.
    Nothing,
    /// The stamp, in memory only: whatever it will be is logged by its transaction, or never.
    Stamp,
    /// The stamp, and in the record that moves the row a delete with this LSN: its own record comes before and names the old place.
    Logged(Lsn),
}

impl LogState {
    /// What of a deleted slot's stamp goes along with the row to a new place.
    pub(crate) fn carry(&self, stamp: Stamp) -> Carry {
        match stamp.state() {
            StampState::Never | StampState::Aborted => Carry::Nothing,
            StampState::Committed(lsn) => Carry::Logged(lsn),
            StampState::Running(txn, _) => self.pending.get(&txn).map_or(Carry::Stamp, |lsn| Carry::Logged(*lsn)),
            // A lock is no delete, whatever its transaction has in the log.
            StampState::Locked(_) | StampState::Shared(_) => Carry::Stamp,
        }
    }

    /// Adds work for the record with this LSN. The caller has held the latch since it appended the record.
    pub(crate) fn push(&mut self, lsn: Lsn, work: Work) {
        assert!(self.queue.back().is_none_or(|(last, _)| *last < lsn), "records are queued in the order of the log");
        if let Work::Commit(ending) = &work {
            self.pending.insert(ending.txn, lsn);
        }
        self.last = lsn;
        self.queue.push_back((lsn, work));
    }
}

impl Inner {
    /// Puts a transaction's record into the log and queues what follows.
    pub(crate) fn commit(&self, ending: Box<Ending>, catalog: &Catalog) -> Result<(), (CommitError, Box<Ending>)> {
        let live = live_storages(&ending.writes, catalog);
        let is_live = |write: &Write| {
            write.storage().is_none_or(|storage| live.as_ref().is_none_or(|live| live.contains(&storage)))
        };
        // Whatever needs no latch is encoded before it is taken.
        let mut encoder = TransactionEncoder::new(self.now_micros());
        for write in ending.writes.iter().filter(|write| is_live(write)) {
            match write {
                Write::Catalog(edit) => encoder.catalog(edit),
                Write::Append { data, spans, first_row_id, rows } => {
                    // An append has at most 2^32 rows: their bytes have 32-bit ends.
                    let runs = [(*first_row_id, rows.len() as u32)];
                    let layout = spans[0].chunk.layout.to_bytes();
                    encoder.append(data.storage, &layout, &runs, (0..rows.len()).map(|row| rows.row(row)));
                }
                Write::Bulk { data, segments } => {
                    let add = segments.iter().map(|segment| segment.info.clone()).collect();
                    encoder.manifest(&ManifestEdit { storage: data.storage, add, ..ManifestEdit::default() });
                }
                Write::Delete { .. } | Write::Lock(_) => {}
            }
        }
        let mut log = self.log.lock();
        if let Some(reason) = &log.failed {
            return Err((CommitError::Failed(reason.clone()), ending));
        }
        for write in ending.writes.iter().filter(|write| is_live(write)) {
            if let Write::Delete { data, marks, .. } = write {
                let (row_ids, segments) = marks.resolve();
                if !row_ids.is_empty() {
                    encoder.delete(data.storage, &row_ids);
                }
                for (segment, offsets) in &segments {
                    encoder.delete_segment(data.storage, *segment, offsets);
                }
            }
        }
        match self.wal.append(&encoder.finish()) {
            Ok(lsn) => {
                log.push(lsn, Work::Commit(ending));
                Ok(())
            }
            Err(error) => {
                let reason = error.to_string();
                drop(log);
                self.fail(&reason);
                Err((CommitError::Failed(reason), ending))
            }
        }
    }

    /// One round of the log writer: writes, syncs, applies. Returns whether there was anything to do.
    pub(crate) fn step_log(&self) -> bool {
        let _one = self.applying.lock();
        let flushed = match self.wal.flush_round() {
            Ok(flushed) => flushed,
            Err(error) => {
                self.fail(&error.to_string());
                None
            }
        };
        let durable = self.wal.durable_lsn();
        let ready: Vec<_> = {
            let mut log = self.log.lock();
            let count = log.queue.partition_point(|(lsn, _)| *lsn <= durable);
            log.queue.drain(..count).collect()
        };
        let worked = flushed.is_some() || !ready.is_empty();
        if !ready.is_empty() {
            self.apply(ready);
        }
        if self.wal.failure().is_some() {
            self.drop_queue();
        }
        worked
    }

    /// Waits until all that is queued now is visible. Does the log writer's work itself while no thread does it.
    pub(crate) fn wait_applied(&self) -> Result<(), CommitError> {
        let last = self.log.lock().last;
        while self.version.load().lsn < last {
            if let Some(reason) = self.log.lock().failed.clone() {
                return Err(CommitError::Failed(reason));
            }
            if self.has_log_writer() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            } else {
                self.step_log();
            }
        }
        Ok(())
    }

    /// Makes durable records visible. The caller holds `applying`.
    fn apply(&self, ready: Vec<(Lsn, Work)>) {
        let current = self.version.load_full();
        let mut next = DatabaseVersion {
            lsn: current.lsn,
            catalog: Arc::clone(&current.catalog),
            tables: Arc::clone(&current.tables),
        };
        drop(current);
        for (lsn, work) in &ready {
            assert!(*lsn > next.lsn, "records are applied in order");
            next.lsn = *lsn;
            match work {
                Work::Commit(ending) => apply_commit(&mut next, ending, Stamp::committed(*lsn)),
                Work::Flush(flushed) => apply_flush(&mut next, flushed),
                Work::Compaction(compacted) => apply_compaction(&mut next, compacted),
            }
        }
        self.version.store(Arc::new(next));
        for (lsn, work) in ready {
            match work {
                Work::Commit(ending) => self.end(&ending, Ok(lsn)),
                Work::Compaction(compacted) => compacted.ticket.complete(Ok(lsn)),
                Work::Flush(_) => {}
            }
        }
        self.request_maintenance_if_due();
    }

    /// Ends a transaction whose writes are applied or undone.
    fn end(&self, ending: &Ending, result: Result<Lsn, CommitError>) {
        self.log.lock().pending.remove(&ending.txn);
        self.locks.release(ending.txn, ending.locks.iter());
        self.waits.end(ending.txn);
        ending.ticket.complete(result);
    }

    /// Stops committing for ever.
    pub(crate) fn fail(&self, reason: &str) {
        let mut log = self.log.lock();
        if log.failed.is_none() {
            tracing::error!(reason, "the write-ahead log has failed; nothing is written any more until a restart");
            log.failed = Some(reason.to_owned());
        }
    }

    /// Gives up what waits in the queue of a failed log.
    fn drop_queue(&self) {
        let (queue, reason) = {
            let mut log = self.log.lock();
            (std::mem::take(&mut log.queue), log.failed.clone().unwrap_or_default())
        };
        // The latest first, so that what built on other writes is undone before them.
        for (_, work) in queue.into_iter().rev() {
            let failed = Err(CommitError::Failed(reason.clone()));
            match work {
                Work::Commit(ending) => {
                    ending.writes.iter().rev().for_each(Write::undo);
                    self.end(&ending, failed);
                }
                Work::Compaction(compacted) => compacted.ticket.complete(failed),
                Work::Flush(_) => {}
            }
        }
    }
}

/// The bodies of rows that the catalog knows, where edits may have dropped some; `None`: all that were written to.
fn live_storages(writes: &[Write], catalog: &Catalog) -> Option<HashSet<StorageId>> {
    writes.iter().any(|write| matches!(write, Write::Catalog(_))).then(|| {
        let storage = |relation: &Relation| match relation {
            Relation::Table(table) => Some(table.storage),
            Relation::View(_) | Relation::Sequence(_) => None,
        };
        catalog.relations().filter_map(storage).collect()
    })
}

fn apply_commit(next: &mut DatabaseVersion, ending: &Ending, stamp: Stamp) {
    for write in &ending.writes {
        write.commit(stamp);
    }
    for write in &ending.writes {
        if let Write::Catalog(edit) = write {
            apply_edit(next, edit, &ending.own);
        }
    }
    for write in &ending.writes {
        if let Write::Bulk { data, segments } = write {
            match Arc::make_mut(&mut next.tables).get_mut(&data.storage) {
                Some(version) => {
                    let version = Arc::make_mut(version);
                    let known: HashSet<u64> = version.segments.iter().map(|segment| segment.info.id.0).collect();
                    version.segments.extend(segments.iter().filter(|s| !known.contains(&s.info.id.0)).map(Arc::clone));
                }
                None => segments.iter().for_each(|segment| segment.set_obsolete()),
            }
        }
    }
}

fn apply_edit(next: &mut DatabaseVersion, edit: &CatalogEdit, own: &OwnTables) {
    let storage = |catalog: &Catalog, oid| match catalog.relation(oid) {
        Some(Relation::Table(table)) => Some(table.storage),
        _ => None,
    };
    let (before, after) = match edit {
        CatalogEdit::PutRelation(relation) => {
            let after = match relation {
                Relation::Table(table) => Some(table.storage),
                Relation::View(_) | Relation::Sequence(_) => None,
            };
            (storage(&next.catalog, relation.oid()), after)
        }
        CatalogEdit::DropRelation(oid) => (storage(&next.catalog, *oid), None),
        _ => (None, None),
    };
    if let Err(error) = Arc::make_mut(&mut next.catalog).apply(edit) {
        // It was applied to the transaction's own catalog; only a caller that held no lock comes here. Replay decides the same.
        tracing::error!(%error, "a committed catalog edit does not fit and is left out");
        return;
    }
    if before != after {
        let tables = Arc::make_mut(&mut next.tables);
        if let Some(version) = before.and_then(|storage| tables.remove(&storage)) {
            drop_table(&version);
        }
        if let Some(storage) = after {
            let data =
                own.get(&storage).map_or_else(|| Arc::new(TableData::empty(storage)), |own| Arc::clone(&own.data));
            tables.entry(storage).or_insert_with(|| Arc::new(data.version()));
        }
    }
}

/// Lets a dropped table's files go when the last snapshot that sees them is gone.
fn drop_table(version: &TableVersion) {
    let latched = version.data.latch.lock();
    // A segment of a flush that is in the log but not applied is in the latch only.
    latched.segments.iter().for_each(|segment| segment.set_obsolete());
}

fn apply_flush(next: &mut DatabaseVersion, flushed: &Flushed) {
    let tables = Arc::make_mut(&mut next.tables);
    let Some(version) = tables.get_mut(&flushed.data.storage) else {
        if let Some(segment) = &flushed.segment {
            segment.set_obsolete();
        }
        return;
    };
    let version = Arc::make_mut(version);
    version.segments.extend(flushed.segment.iter().map(Arc::clone));
    version.head = Arc::clone(&flushed.head);
}

fn apply_compaction(next: &mut DatabaseVersion, compacted: &Compacted) {
    // The record that drops them is durable.
    compacted.removed.iter().for_each(|segment| segment.set_obsolete());
    let Some(version) = Arc::make_mut(&mut next.tables).get_mut(&compacted.storage) else {
        // Dropped meanwhile.
        compacted.added.iter().for_each(|segment| segment.set_obsolete());
        return;
    };
    let segments = &mut Arc::make_mut(version).segments;
    replace_segments(segments, &compacted.removed, &compacted.added);
}

/// Puts `added` where the first of `removed` is.
pub(crate) fn replace_segments(segments: &mut Vec<Arc<Segment>>, removed: &[Arc<Segment>], added: &[Arc<Segment>]) {
    let is_removed = |segment: &Arc<Segment>| removed.iter().any(|gone| Arc::ptr_eq(gone, segment));
    let first = segments.iter().position(is_removed).unwrap_or(segments.len());
    segments.retain(|segment| !is_removed(segment));
    segments.splice(first..first, added.iter().map(Arc::clone));
}
