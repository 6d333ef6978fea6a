//! A transaction: a write set, its locks, and its place in time.
//!
//! Writes go to the tables at once, stamped with the transaction's id and command, so that nobody else sees them. Ending it is either one record in the log
//! ([`Transaction::commit`]), or going through the write set backwards.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use colonnade_types::{KeyConstraint, Relation, TableDefinition, TxnId};
use parking_lot::Mutex;

use crate::address::{Place, RowAddress, place};
use crate::bulk::BulkWriter;
use crate::catalog::{Catalog, CatalogEdit, CatalogError};
use crate::commit::Ending;
use crate::database::Inner;
use crate::error::{CommitError, WriteError};
use crate::key_index::{self, KeySpec};
use crate::located::Located;
use crate::locks::{LockMode, LockTarget};
use crate::point::{Found, TableAccess};
use crate::row_codec::{self, RowError};
use crate::row_locks::{Claim, Claimed, LockedBy, LockedRows, RowLockMode};
use crate::scan::Visibility;
use crate::segment::Segment;
use crate::segment_keys;
use crate::snapshot::{LiveVersion, OwnTable, OwnTables, Snapshot};
use crate::stamp::{COMMAND_MAX, Stamp, View};
use crate::table::{NewRows, TableData};
use crate::tail::{self, Chunk};
use crate::ticket::{CommitTicket, TicketState};
use crate::write_set::Write;

/// What a transaction's statements see of others' commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each snapshot sees what was committed when it was taken.
    ReadCommitted,
    /// All snapshots see what was committed when the transaction took its first one.
    RepeatableRead,
}

/// A running transaction. Dropping it rolls back.
#[derive(Debug)]
pub struct Transaction {
    inner: Arc<Inner>,
    id: TxnId,
    isolation: Isolation,
    /// The number that writes carry now.
    command: u32,
    /// Whether something was written under it.
    command_used: bool,
    /// The version that all snapshots read, under REPEATABLE READ.
    fixed: Option<Arc<LiveVersion>>,
    writes: Vec<Write>,
    /// How many of them edit the catalog.
    catalog_edits: usize,
    own: Arc<OwnTables>,
    /// In the order in which they were taken.
    locks: Vec<(LockTarget, LockMode)>,
    /// Locks that were refused once, where others may be waiting behind the wish.
    wished: HashSet<LockTarget>,
    catalog: Mutex<Option<OwnCatalog>>,
    ended: bool,
}

/// The catalog with own edits, and what it was made of.
#[derive(Clone, Debug)]
struct OwnCatalog {
    base: Arc<Catalog>,
    edits: usize,
    catalog: Arc<Catalog>,
}

/// A place in a transaction to which it can be rolled back.
#[derive(Clone, Debug)]
pub struct Savepoint {
    txn: TxnId,
    writes: usize,
    locks: usize,
}

impl Transaction {
    pub(crate) fn new(inner: Arc<Inner>, id: TxnId, isolation: Isolation) -> Transaction {
        inner.waits.begin(id);
        Transaction {
            inner,
            id,
            isolation,
            command: 0,
            command_used: false,
            fixed: None,
            writes: Vec::new(),
            catalog_edits: 0,
            own: Arc::default(),
            locks: Vec::new(),
            wished: HashSet::new(),
            catalog: Mutex::new(None),
            ended: false,
        }
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> TxnId {
        self.id
    }

    /// Its isolation level.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// The latest committed catalog (REPEATABLE READ: the snapshot's) with the transaction's own edits.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        match &self.fixed {
            Some(fixed) => self.own_catalog(&fixed.version.catalog),
            None => self.own_catalog(&self.inner.version.load().catalog),
        }
    }

    /// Whether [`catalog`](Self::catalog) would give this very one.
    #[must_use]
    pub fn sees_catalog(&self, catalog: &Arc<Catalog>) -> bool {
        if self.catalog_edits > 0 {
            return Arc::ptr_eq(&self.catalog(), catalog);
        }
        match &self.fixed {
            Some(fixed) => Arc::ptr_eq(&fixed.version.catalog, catalog),
            None => Arc::ptr_eq(&self.inner.version.load().catalog, catalog),
        }
    }

    fn own_catalog(&self, base: &Arc<Catalog>) -> Arc<Catalog> {
        let edits = self.catalog_edits;
        if edits == 0 {
            return Arc::clone(base);
        }
        let mut cached = self.catalog.lock();
        if let Some(own) = &*cached
            && Arc::ptr_eq(&own.base, base)
            && own.edits == edits
        {
            return Arc::clone(&own.catalog);
        }
        let mut catalog = Catalog::clone(base);
        for write in &self.writes {
            if let Write::Catalog(edit) = write {
                // An edit that another transaction's commit has made impossible: the caller did not hold the lock. The rest still shows.
                let _ = catalog.apply(edit);
            }
        }
        let catalog = Arc::new(catalog);
        *cached = Some(OwnCatalog { base: Arc::clone(base), edits, catalog: Arc::clone(&catalog) });
        catalog
    }

    /// Begins the next command: the snapshot sees what earlier commands of this transaction did, not what is done after it.
    pub fn snapshot(&mut self) -> Snapshot {
        if self.command_used && self.command < COMMAND_MAX {
            self.command += 1;
            self.command_used = false;
        }
        let base = match &self.fixed {
            Some(fixed) => Arc::clone(fixed),
            None => self.inner.live_version(),
        };
        if self.isolation == Isolation::RepeatableRead && self.fixed.is_none() {
            self.fixed = Some(Arc::clone(&base));
        }
        let catalog = self.own_catalog(&base.version.catalog);
        let view = View::own(base.version.lsn, self.id, self.command);
        Snapshot::new(base, catalog, view, Arc::clone(&self.own))
    }

    /// Locks `target` until the transaction ends, or is rolled back to a savepoint from before. Modes that are held already are kept.
    ///
    /// Whoever writes rows of a table locks the relation [`RowExclusive`](LockMode::RowExclusive) first, and then looks it up in a catalog read after that.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] with one of the transactions that hold it.
    pub fn lock(&mut self, target: LockTarget, mode: LockMode) -> Result<(), WriteError> {
        self.lock_queued(target, mode, true)
    }

    /// Locks `target` as [`lock`](Self::lock) does, for a caller that will not wait: a refusal is in nobody's way.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] with one of the transactions that hold it.
    pub fn try_lock(&mut self, target: LockTarget, mode: LockMode) -> Result<(), WriteError> {
        self.lock_queued(target, mode, false)
    }

    fn lock_queued(&mut self, target: LockTarget, mode: LockMode, queue: bool) -> Result<(), WriteError> {
        if self.locks.iter().any(|(held, modes)| *held == target && *modes == mode) {
            return Ok(());
        }
        match self.inner.locks.acquire(self.id, &target, mode, queue) {
            Ok(()) => {
                self.locks.push((target, mode));
                Ok(())
            }
            Err(holder) => {
                if queue {
                    self.wished.insert(target);
                }
                Err(WriteError::Blocked(holder))
            }
        }
    }

    /// Edits the catalog, for this transaction now and for others at commit. The caller holds the exclusive locks.
    ///
    /// # Errors
    /// [`CatalogError`] if the edit does not fit the catalog; nothing was changed.
    pub fn edit_catalog(&mut self, edit: CatalogEdit) -> Result<(), CatalogError> {
        let mut catalog = Catalog::clone(&self.catalog());
        catalog.apply(&edit)?;
        self.write(Write::Catalog(edit));
        let base = match &self.fixed {
            Some(fixed) => Arc::clone(&fixed.version.catalog),
            None => Arc::clone(&self.inner.version.load().catalog),
        };
        let edits = self.catalog_edits;
        *self.catalog.lock() = Some(OwnCatalog { base, edits, catalog: Arc::new(catalog) });
        Ok(())
    }

    pub(crate) fn write(&mut self, write: Write) {
        self.catalog_edits += usize::from(matches!(write, Write::Catalog(_)));
        self.writes.push(write);
        self.command_used = true;
    }

    /// The stamp of what is written now.
    pub(crate) fn stamp(&self) -> Result<Stamp, WriteError> {
        if self.command >= COMMAND_MAX {
            let text = format!("cannot have more than {COMMAND_MAX} commands in a transaction");
            return Err(WriteError::TooLarge(text));
        }
        Ok(Stamp::running(self.id, self.command))
    }

    /// The rows of a table that others may write too, or that this transaction made.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the table has been dropped, or given other rows, by another transaction.
    pub(crate) fn table(&mut self, table: &TableDefinition) -> Result<Arc<TableData>, WriteError> {
        let storage = table.storage;
        if let Some(version) = self.inner.version.load().tables.get(&storage) {
            return Ok(Arc::clone(&version.data));
        }
        if let Some(own) = self.own.get(&storage) {
            return Ok(Arc::clone(&own.data));
        }
        let made_here = self.writes.iter().any(|write| match write {
            Write::Catalog(CatalogEdit::PutRelation(Relation::Table(made))) => made.storage == storage,
            _ => false,
        });
        if !made_here {
            return Err(WriteError::Conflict);
        }
        let data = Arc::new(TableData::empty(storage));
        let head = Some(data.version().head);
        let own = OwnTable { data: Arc::clone(&data), head, segments: Vec::new() };
        Arc::make_mut(&mut self.own).insert(storage, own);
        Ok(data)
    }

    fn check_failed(&self) -> Result<(), WriteError> {
        match &self.inner.log.lock().failed {
            Some(reason) => Err(WriteError::Failed(reason.clone())),
            None => Ok(()),
        }
    }

    /// Appends rows, columns in definition order, and checks keys. At most some 100,000 rows at a time: they are encoded as a whole, and kept in memory until commit.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was appended.
    pub fn append(&mut self, table: &TableDefinition, rows: &RecordBatch) -> Result<(), WriteError> {
        let access = TableAccess::new(Arc::new(table.clone()))?;
        self.append_rows(&access, rows.columns(), rows.num_rows(), &[])
    }

    /// Appends `rows` rows, given as `columns` in definition order, and checks keys: as [`append`](Transaction::append), with what a statement has prepared.
    ///
    /// `kept_keys` has an entry for each of the table's keys, or is empty: `true` says that each new row replaces one with the same key that this transaction
    /// has just deleted, so that there is nothing to check.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was appended.
    pub fn append_rows(
        &mut self,
        access: &TableAccess,
        columns: &[ArrayRef],
        rows: usize,
        kept_keys: &[bool],
    ) -> Result<(), WriteError> {
        if rows == 0 {
            return Ok(());
        }
        if columns.len() != access.table.columns.len() {
            let (found, expected) = (columns.len(), access.table.columns.len());
            return Err(WriteError::Mismatch(format!("{found} columns, expected {expected}")));
        }
        let data = self.table(&access.table)?;
        self.inner.push_back(&data);
        let stamp = self.stamp()?;
        let encoded = row_codec::encode(&access.layout, columns, rows).map_err(refused)?;
        let new = NewRows { access, columns, rows: &encoded, kept_keys };
        let (first_row_id, spans) = data.append(&new, stamp, self.id, self.inner.oldest_snapshot())?;
        data.touch(self.inner.now_ms());
        let closed: Vec<Arc<Chunk>> =
            spans.iter().filter(|span| span.chunk.is_closed()).map(|span| Arc::clone(&span.chunk)).collect();
        self.write(Write::Append { data, spans, first_row_id, rows: encoded });
        for chunk in closed {
            // Off the latch. If it fails the rows stay as they are, and reading them will say why.
            let _ = chunk.seal();
        }
        Ok(())
    }

    /// Deletes a row that a snapshot of this transaction has found; with `keeps_keys` as [`delete_keeping_keys`](Self::delete_keeping_keys) does.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] or [`WriteError::Conflict`]; nothing was deleted.
    pub fn delete_found(&mut self, access: &TableAccess, found: &Found, keeps_keys: bool) -> Result<(), WriteError> {
        let stamp = if keeps_keys { self.stamp()?.keeping_key() } else { self.stamp()? };
        let data = self.table(&access.table)?;
        if !Arc::ptr_eq(&data, &found.data) {
            return Err(WriteError::Conflict);
        }
        let claim = Claim::delete(self.id, stamp, &access.table, &data);
        let mut claimed = Claimed::default();
        {
            // After an error nothing is claimed: it is one row.
            let _moves = data.moves.read();
            claim.row(found.place.located(), &mut claimed)?;
        }
        self.note_deletes(&data, claimed);
        Ok(())
    }

    /// Starts a load that writes segments directly and logs only their names.
    ///
    /// # Errors
    /// [`WriteError`] if nothing can be written any more.
    pub fn bulk(&mut self, table: &TableDefinition) -> Result<BulkWriter, WriteError> {
        self.check_failed()?;
        let data = self.table(table)?;
        BulkWriter::new(Arc::clone(&self.inner), data, table, self.id)
    }

    /// Makes a load's segments part of this transaction.
    pub(crate) fn attach(
        &mut self,
        table: &TableDefinition,
        data: Arc<TableData>,
        segments: Vec<Arc<Segment>>,
    ) -> Result<(), WriteError> {
        let stamp = self.stamp()?;
        segments.iter().for_each(|segment| segment.set_created(stamp));
        data.attach(table, &segments, self.id)?;
        let own = Arc::make_mut(&mut self.own).entry(table.storage).or_insert_with(|| OwnTable {
            data: Arc::clone(&data),
            head: None,
            segments: Vec::new(),
        });
        own.segments.extend(segments.iter().map(Arc::clone));
        self.write(Write::Bulk { data, segments });
        Ok(())
    }

    /// Deletes the rows at `rows`, which `snapshot` of this transaction gave. An address that comes twice counts once.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] or [`WriteError::Conflict`]; nothing was deleted.
    pub fn delete(
        &mut self,
        snapshot: &Snapshot,
        table: &TableDefinition,
        rows: &[RowAddress],
    ) -> Result<(), WriteError> {
        self.delete_with(self.stamp()?, snapshot, table, rows)
    }

    /// Deletes rows as [`delete`](Self::delete) does, for an update that appends each of them again with the same values in all columns of
    /// keys. It does not meet others' [`RowLockMode::KeyShare`].
    ///
    /// # Errors
    /// [`WriteError::Blocked`] or [`WriteError::Conflict`]; nothing was deleted.
    pub fn delete_keeping_keys(
        &mut self,
        snapshot: &Snapshot,
        table: &TableDefinition,
        rows: &[RowAddress],
    ) -> Result<(), WriteError> {
        self.delete_with(self.stamp()?.keeping_key(), snapshot, table, rows)
    }

    fn delete_with(
        &mut self,
        stamp: Stamp,
        snapshot: &Snapshot,
        table: &TableDefinition,
        rows: &[RowAddress],
    ) -> Result<(), WriteError> {
        if rows.is_empty() {
            return Ok(());
        }
        let data = self.table(table)?;
        let claim = Claim::delete(self.id, stamp, table, &data);
        let (claimed, _) = claim_rows(&claim, &data, snapshot, rows)?;
        self.note_deletes(&data, claimed);
        Ok(())
    }

    pub(crate) fn note_deletes(&mut self, data: &Arc<TableData>, claimed: Claimed) {
        for (marks, before) in claimed.into_deletes() {
            self.write(Write::Delete { data: Arc::clone(data), marks, before });
        }
    }

    /// Locks the rows at `rows`, which `snapshot` of this transaction gave, until the transaction ends or is rolled back to a savepoint from before. Rows that it
    /// has locked as strongly, or has deleted, are left as they are. Returns the rows that were left out because others hold them, ascending; `others` says
    /// whether there may be any.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] or [`WriteError::Conflict`]; nothing was locked.
    pub fn lock_rows(
        &mut self,
        snapshot: &Snapshot,
        table: &TableDefinition,
        rows: &[RowAddress],
        mode: RowLockMode,
        others: LockedBy,
    ) -> Result<Vec<RowAddress>, WriteError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let data = self.table(table)?;
        let claim = Claim::lock(self.id, mode, others, table, &data);
        let (claimed, skipped) = claim_rows(&claim, &data, snapshot, rows)?;
        self.note_locks(claimed.into_locks(&claim));
        Ok(skipped)
    }

    /// Keeps locks until the end. They are no writes of the command: no later snapshot has to tell them from others.
    pub(crate) fn note_locks(&mut self, locks: Vec<LockedRows>) {
        self.writes.extend(locks.into_iter().map(Write::Lock));
    }

    /// Checks that the rows that the transaction sees now satisfy `key` of `table`, for a key that is added to rows that exist, and writes the key files of the
    /// segments. The caller holds the table's exclusive lock.
    ///
    /// # Errors
    /// [`WriteError::DuplicateKey`] with the first key found twice.
    pub fn validate_key(&mut self, table: &TableDefinition, key: &KeyConstraint) -> Result<(), WriteError> {
        let spec = KeySpec::new(table, key)?;
        let snapshot = self.snapshot();
        let scan = snapshot.scan(table, &key.columns)?;
        let columns = |unit: usize, granule: usize| -> Result<Vec<ArrayRef>, WriteError> {
            (0..key.columns.len()).map(|column| scan.column(unit, granule, column).map_err(WriteError::from)).collect()
        };
        // Hash, unit, granule, row.
        let mut entries: Vec<(u64, u32, u16, u16)> = Vec::new();
        for (unit, of) in scan.units().iter().enumerate() {
            for granule in 0..of.granules {
                let visible = scan.visibility(unit, granule);
                if visible == Visibility::None {
                    continue;
                }
                let keys = spec.keys(&columns(unit, granule)?, scan.granule_rows(unit, granule))?;
                for (row, hash) in keys.hashes.iter().enumerate() {
                    let shown = match &visible {
                        Visibility::Some(bits) => bits.value(row),
                        _ => true,
                    };
                    if let Some(hash) = hash.filter(|_| shown) {
                        // A granule has 8,192 rows, a row group 16 granules.
                        entries.push((hash, unit as u32, granule as u16, row as u16));
                    }
                }
            }
        }
        entries.sort_unstable();
        for same in entries.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            let mut seen: HashSet<Vec<u8>> = HashSet::new();
            for (_, unit, granule, row) in same {
                let values: Vec<ArrayRef> = columns(*unit as usize, usize::from(*granule))?
                    .iter()
                    .map(|column| column.slice(usize::from(*row), 1))
                    .collect();
                if !seen.insert(spec.keys(&values, 1)?.rows.row(0).to_vec()) {
                    return Err(key_index::duplicate(table, key, &values, 0));
                }
            }
        }
        let (segments, _) = snapshot.places(table.storage);
        segment_keys::write_key(&spec, &segments)?;
        Ok(())
    }

    /// Marks the present place.
    pub fn savepoint(&mut self) -> Savepoint {
        Savepoint { txn: self.id, writes: self.writes.len(), locks: self.locks.len() }
    }

    /// Undoes everything after `savepoint`, which stays valid. Locks taken since are given back. Snapshots and loads taken since must not be used any more.
    ///
    /// # Panics
    /// If the savepoint is another transaction's.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) {
        assert_eq!(savepoint.txn, self.id, "a savepoint belongs to its transaction");
        let unchanged = self.writes.len() <= savepoint.writes && self.locks.len() <= savepoint.locks;
        if unchanged && self.wished.is_empty() {
            return;
        }
        self.undo_after(savepoint.writes);
        for (target, mode) in self.locks.drain(savepoint.locks.min(self.locks.len())..).rev() {
            self.inner.locks.release_mode(self.id, &target, mode);
        }
        let wished = std::mem::take(&mut self.wished);
        self.inner.locks.forget_wishes(self.id, wished.iter());
        self.inner.waits.wake(self.id);
    }

    fn undo_after(&mut self, writes: usize) {
        while self.writes.len() > writes {
            if let Some(write) = self.writes.pop() {
                write.undo();
                if let Write::Catalog(_) = write {
                    self.catalog_edits -= 1;
                    *self.catalog.lock() = None;
                }
                if let Write::Bulk { data, segments } = &write
                    && let Some(own) = Arc::make_mut(&mut self.own).get_mut(&data.storage)
                {
                    own.segments.retain(|segment| !segments.iter().any(|gone| Arc::ptr_eq(segment, gone)));
                }
            }
        }
    }

    /// Whether it has written nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.writes.iter().all(|write| matches!(write, Write::Lock(_)))
    }

    /// Commits: on return the order is decided; the ticket says when it is durable and visible. A transaction that has written nothing is done at once.
    ///
    /// # Errors
    /// [`CommitError`]; the transaction is rolled back.
    pub fn commit(mut self) -> Result<CommitTicket, CommitError> {
        let state = Arc::new(TicketState::default());
        if self.is_read_only() {
            state.complete(Ok(self.inner.version.load().lsn));
            return Ok(CommitTicket::new(state, Arc::clone(&self.inner)));
        }
        let catalog = self.catalog();
        let ending = Box::new(Ending {
            txn: self.id,
            writes: std::mem::take(&mut self.writes),
            own: Arc::clone(&self.own),
            locks: self.take_locks(),
            ticket: Arc::clone(&state),
        });
        match self.inner.commit(ending, &catalog) {
            Ok(()) => {
                self.ended = true;
                Ok(CommitTicket::new(state, Arc::clone(&self.inner)))
            }
            Err((error, ending)) => {
                self.writes = ending.writes;
                self.wished.extend(ending.locks);
                Err(error)
            }
        }
    }

    fn take_locks(&mut self) -> Vec<LockTarget> {
        let locks = std::mem::take(&mut self.locks);
        locks.into_iter().map(|(target, _)| target).chain(std::mem::take(&mut self.wished)).collect()
    }

    /// Undoes everything.
    pub fn rollback(self) {
        drop(self);
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.undo_after(0);
        let locks = self.take_locks();
        self.inner.locks.release(self.id, locks.iter());
        self.inner.waits.end(self.id);
    }
}

fn refused(error: RowError) -> WriteError {
    match error {
        RowError::TooLarge => WriteError::TooLarge(error.to_string()),
        error => WriteError::Mismatch(error.to_string()),
    }
}

/// Claims rows, all of them or none. Returns what it got, and the rows that were left out, ascending.
fn claim_rows(
    claim: &Claim<'_>,
    data: &TableData,
    snapshot: &Snapshot,
    rows: &[RowAddress],
) -> Result<(Claimed, Vec<RowAddress>), WriteError> {
    let (segments, head) = snapshot.places(data.storage);
    let mut claimed = Claimed::default();
    let mut skipped = Vec::new();
    let _moves = data.moves.read();
    match claim_all(claim, rows, &segments, head.as_ref(), &mut claimed, &mut skipped) {
        Ok(()) => Ok((claimed, skipped)),
        Err(error) => {
            claimed.give_back(claim);
            Err(error)
        }
    }
}

/// Claims rows; what it got is in `claimed`, also after an error. The caller holds the table's `moves`.
fn claim_all(
    claim: &Claim<'_>,
    rows: &[RowAddress],
    segments: &[Arc<Segment>],
    head: Option<&Arc<Chunk>>,
    claimed: &mut Claimed,
    skipped: &mut Vec<RowAddress>,
) -> Result<(), WriteError> {
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    rows.dedup();
    let chunks: Vec<&Arc<Chunk>> = if matches!(rows.first().map(|row| place(*row)), Some(Place::Tail(_))) {
        head.into_iter().flat_map(tail::chunks).collect()
    } else {
        Vec::new()
    };
    for row in rows {
        let located = locate(place(row), segments, &chunks).ok_or(WriteError::Conflict)?;
        match claim.row(located, claimed) {
            Err(WriteError::Blocked(_)) if claim.others == LockedBy::Skipped => skipped.push(row),
            done => done?,
        }
    }
    Ok(())
}

/// Finds a row among a snapshot's segments and chunks.
fn locate<'a>(place: Place, segments: &'a [Arc<Segment>], chunks: &[&'a Arc<Chunk>]) -> Option<Located<'a>> {
    match place {
        Place::Tail(row_id) => {
            let end = chunks.partition_point(|chunk| chunk.first_row_id <= row_id);
            // Empty chunks share their first row id with the chunk after them.
            let chunk = *chunks[..end].iter().rev().find(|chunk| chunk.len() > 0)?;
            chunk.index_of(row_id).map(|index| Located::Tail(chunk, index))
        }
        Place::Segment(position, offset) => {
            let segment = segments.get(position).filter(|segment| offset < segment.info.rows)?;
            Some(Located::Segment(segment, offset))
        }
    }
}
