//! The rows of one table: what writers share, and what a version of the database holds.
//!
//! ```text
//! TableData    one per StorageId    latch: end of the tail, all live segments, key indexes     moves: who moves rows
//! TableVersion one per change       first chunk of the tail, committed segments                published with the database's version
//! ```
//!
//! Lock order: a table's running compaction, `flushing`, `latch`, `moves`, the log latch, a segment's deletes. `moves` is held shared by whoever sets a stamp of existing rows, and exclusively while
//! a flush or a compaction carries stamps over to a segment: so no stamp is set at a place that has just been left.
//!
//! **Invariants.** Rows are appended under the latch only. The latch's segments are every segment that may hold a live row, also of a load
//! that is not committed and of a flush that is not yet visible.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::ArrayRef;
use colonnade_types::{Lsn, StorageId, TableDefinition, TxnId};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::catalog::Catalog;
use crate::compaction::CompactionState;
use crate::error::{ReadError, WriteError};
use crate::key_index::{self, KeySpec, Occupancy};
use crate::load_check::LoadCheck;
use crate::located::Located;
use crate::point::TableAccess;
use crate::row_codec::{RowError, RowLayout, Rows};
use crate::row_locks::RowLocks;
use crate::segment::Segment;
use crate::segment_keys::{self, SegmentKeys};
use crate::stamp::{Stamp, StampState, View};
use crate::tail::{self, CHUNK_BYTES_MAX, CHUNK_ROWS, CHUNK_ROWS_FIRST, Chunk};
use crate::tail_keys::TailKeys;

/// The committed state of everything at one LSN.
#[derive(Debug)]
pub(crate) struct DatabaseVersion {
    pub(crate) lsn: Lsn,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tables: Arc<HashMap<StorageId, Arc<TableVersion>>>,
}

/// The places where a table's committed rows are.
#[derive(Clone, Debug)]
pub(crate) struct TableVersion {
    pub(crate) data: Arc<TableData>,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The first chunk of the tail.
    pub(crate) head: Arc<Chunk>,
}

/// What the writers of a table share.
#[derive(Debug)]
pub(crate) struct TableData {
    pub(crate) storage: StorageId,
    pub(crate) latch: Mutex<Latched>,
    pub(crate) moves: RwLock<()>,
    pub(crate) row_locks: RowLocks,
    /// Held by the one flush that runs.
    pub(crate) flushing: Mutex<()>,
    pub(crate) compaction: CompactionState,
    tail_rows: AtomicU64,
    tail_bytes: AtomicU64,
    last_write_ms: AtomicU64,
}

/// What the latch guards.
#[derive(Debug)]
pub(crate) struct Latched {
    /// The chunks of the tail that have not been flushed, in order; never empty.
    pub(crate) chunks: Vec<Arc<Chunk>>,
    pub(crate) segments: Vec<Arc<Segment>>,
    keys: Vec<TailKeys>,
    next_row_id: u64,
}

/// Where a row version is, for as long as it is held: a flush may give the row another place, which the chunk knows then.
#[derive(Clone, Debug)]
pub(crate) enum RowPlace {
    Tail(Arc<Chunk>, usize),
    Segment(Arc<Segment>, u32),
}

impl RowPlace {
    /// The place, borrowed.
    pub(crate) fn located(&self) -> Located<'_> {
        match self {
            RowPlace::Tail(chunk, index) => Located::Tail(chunk, *index),
            RowPlace::Segment(segment, offset) => Located::Segment(segment, *offset),
        }
    }
}

/// Rows of a chunk, consecutive.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// Why new rows are not appended, or not yet.
enum CheckError {
    /// Key files have to be loaded first, which is not done under the latch.
    Unready,
    Refused(WriteError),
}

impl<E: Into<WriteError>> From<E> for CheckError {
    fn from(error: E) -> CheckError {
        CheckError::Refused(error.into())
    }
}

/// Rows about to be appended.
pub(crate) struct NewRows<'a> {
    pub(crate) access: &'a TableAccess,
    /// Columns in definition order.
    pub(crate) columns: &'a [ArrayRef],
    pub(crate) rows: &'a Rows,
    /// Keys, by place in the definition, that need no check: the row that had the key is deleted by this command.
    pub(crate) kept_keys: &'a [bool],
}

impl TableData {
    /// A table without rows.
    pub(crate) fn empty(storage: StorageId) -> TableData {
        let none =
            Arc::new(RowLayout::new(Vec::new()).unwrap_or_else(|_| unreachable!("no column, no unsupported type")));
        TableData::recovered(storage, vec![Arc::new(Chunk::new(0, none, 0))], Vec::new(), 0)
    }

    /// A table as recovery found it. `chunks` are linked and closed.
    pub(crate) fn recovered(
        storage: StorageId,
        chunks: Vec<Arc<Chunk>>,
        segments: Vec<Arc<Segment>>,
        next_row_id: u64,
    ) -> TableData {
        assert!(!chunks.is_empty(), "a tail has a first chunk");
        let rows = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let bytes = chunks.iter().map(|chunk| chunk.bytes() as u64).sum();
        TableData {
            storage,
            latch: Mutex::new(Latched { chunks, segments, keys: Vec::new(), next_row_id }),
            moves: RwLock::new(()),
            row_locks: RowLocks::default(),
            flushing: Mutex::new(()),
            compaction: CompactionState::default(),
            tail_rows: AtomicU64::new(rows),
            tail_bytes: AtomicU64::new(bytes),
            last_write_ms: AtomicU64::new(0),
        }
    }

    /// Continues an empty tail whose rows had ids, with these segments.
    pub(crate) fn restart(&mut self, segments: Vec<Arc<Segment>>, next_row_id: u64) {
        let latched = self.latch.get_mut();
        latched.segments = segments;
        latched.next_row_id = next_row_id;
    }

    /// A version of this table as it stands, for a table that nobody else has.
    pub(crate) fn version(self: &Arc<Self>) -> TableVersion {
        let latched = self.latch.lock();
        TableVersion {
            data: Arc::clone(self),
            segments: latched.segments.clone(),
            head: Arc::clone(&latched.chunks[0]),
        }
    }

    /// Rows and bytes of the tail.
    pub(crate) fn tail_size(&self) -> (u64, u64) {
        (self.tail_rows.load(Ordering::Relaxed), self.tail_bytes.load(Ordering::Relaxed))
    }

    /// Bytes of the chunk that still gets rows.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.latch.lock().last().bytes() as u64
    }

    /// When the last row was appended, in the clock's milliseconds.
    pub(crate) fn last_write_ms(&self) -> u64 {
        self.last_write_ms.load(Ordering::Relaxed)
    }

    /// Notes the time of a write.
    pub(crate) fn touch(&self, now_ms: u64) {
        self.last_write_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Checks keys and appends; returns the first row id and where the rows are. Nothing has changed after an error.
    pub(crate) fn append(
        &self,
        new: &NewRows<'_>,
        created: Stamp,
        me: TxnId,
        oldest: Lsn,
    ) -> Result<(u64, Vec<Span>), WriteError> {
        let TableAccess { table, specs, layout, .. } = new.access;
        let mut keys = Vec::with_capacity(specs.len());
        for spec in specs {
            let columns: Option<Vec<_>> =
                spec.ids().map(|id| table.column_index(id).map(|index| Arc::clone(&new.columns[index]))).collect();
            let columns = columns.ok_or_else(|| WriteError::Mismatch("key column".to_owned()))?;
            keys.push((spec.keys(&columns, new.rows.len())?, columns));
        }
        let (mut latched, indexes) = loop {
            let mut latched = self.latch.lock();
            let indexes = latched.prepare_keys(specs)?;
            let unkept = keys.iter().enumerate().filter(|(key, _)| !new.kept_keys.get(*key).is_some_and(|kept| *kept));
            let result = unkept.clone().try_for_each(|(position, (key, columns))| {
                let violated = |row| key_index::duplicate(table, &table.keys[position], columns, row);
                latched.check(indexes[position], key, me, violated)
            });
            match result {
                Ok(()) => break (latched, indexes),
                Err(CheckError::Refused(error)) => return Err(error),
                Err(CheckError::Unready) => {}
            }
            // Key files are read, and if need be made, while others go on.
            let segments = latched.segments.clone();
            drop(latched);
            for (position, (key, _)) in unkept {
                segment_keys::load_admitting(&segments, &specs[position], key)?;
            }
        };
        let first_row_id = latched.next_row_id;
        let mut spans = Vec::new();
        let mut done = 0;
        while done < new.rows.len() {
            let chunk = latched.room_for(layout);
            let count = chunk.room().min(new.rows.len() - done);
            let too_large = |error: RowError| WriteError::TooLarge(error.to_string());
            let appended = chunk.append(new.rows, done, done + count, created);
            match appended {
                Ok(from) => spans.push(Span { chunk, from, to: from + count }),
                Err(error) => {
                    spans.iter().for_each(Span::abort);
                    return Err(too_large(error));
                }
            }
            latched.next_row_id += count as u64;
            done += count;
        }
        let Latched { chunks, keys: tails, .. } = &mut *latched;
        let is_dead = |row_id: u64| match find(chunks, row_id) {
            None => true,
            Some((chunk, index)) => {
                let (created, deleted) = (chunk.created(index), chunk.deleted(index));
                created == Stamp::ABORTED || matches!(deleted.state(), StampState::Committed(lsn) if lsn <= oldest)
            }
        };
        for (position, (key, _)) in keys.iter().enumerate() {
            for (row, hash) in key.hashes.iter().enumerate() {
                if let Some(hash) = hash {
                    tails[indexes[position]].insert(*hash, first_row_id + row as u64, is_dead);
                }
            }
        }
        drop(latched);
        self.tail_rows.fetch_add(new.rows.len() as u64, Ordering::Relaxed);
        self.tail_bytes.fetch_add(new.rows.bytes.len() as u64, Ordering::Relaxed);
        Ok((first_row_id, spans))
    }

    /// Finds the row version of the tail with a key that `view` sees; `keys` holds that one key, and `head` is the first chunk that the snapshot reads.
    pub(crate) fn find_in_tail(
        &self,
        access: &TableAccess,
        key: usize,
        keys: &key_index::Keys,
        view: &View,
        head: &Arc<Chunk>,
    ) -> Result<Option<RowPlace>, ReadError> {
        let Some(hash) = keys.hashes[0] else { return Ok(None) };
        let spec = &access.specs[key];
        let mut latched = self.latch.lock();
        let index = latched.prepare_keys(&access.specs)?[key];
        for row_id in latched.keys[index].find(hash) {
            let Some((chunk, at)) = latched.find(row_id) else { continue };
            if chunk.shows(at, view) && spec.tail_keys(chunk, at, at + 1)?.rows.row(0) == keys.rows.row(0) {
                return Ok(Some(RowPlace::Tail(Arc::clone(chunk), at)));
            }
        }
        let first = Arc::clone(&latched.chunks[0]);
        drop(latched);
        // A snapshot that is older than the last flush reads chunks that the index has forgotten.
        let left = tail::chunks(head).take_while(|chunk| !Arc::ptr_eq(chunk, &first));
        for chunk in left.filter(|chunk| chunk.len() > 0) {
            let theirs = spec.tail_keys(chunk, 0, chunk.len())?;
            let same = |at: &usize| theirs.hashes[*at] == Some(hash) && theirs.rows.row(*at) == keys.rows.row(0);
            if let Some(at) = (0..theirs.hashes.len()).filter(same).find(|at| chunk.shows(*at, view)) {
                return Ok(Some(RowPlace::Tail(Arc::clone(chunk), at)));
            }
        }
        Ok(None)
    }

    /// Notes that rows have left the tail.
    pub(crate) fn left_tail(&self, rows: u64, bytes: u64) {
        self.tail_rows.fetch_sub(rows, Ordering::Relaxed);
        self.tail_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Checks the keys of a load's segments against everything and each other, and makes them known to other writers.
    pub(crate) fn attach(
        &self,
        table: &TableDefinition,
        segments: &[Arc<Segment>],
        me: TxnId,
    ) -> Result<(), WriteError> {
        let check = LoadCheck::new(table, segments, me)?;
        check.against_itself()?;
        // The long part before the latch: a row that is no obstacle to this transaction does not become one.
        let mut compared: Vec<Arc<Segment>> = Vec::new();
        let mut latched = loop {
            let latched = self.latch.lock();
            let is_new = |own: &&Arc<Segment>| !compared.iter().any(|other| Arc::ptr_eq(own, other));
            let others: Vec<Arc<Segment>> = latched.segments.iter().filter(is_new).map(Arc::clone).collect();
            if others.is_empty() {
                break latched;
            }
            drop(latched);
            check.against(&others)?;
            compared.extend(others);
        };
        let indexes = latched.prepare_keys(check.specs())?;
        let place = |row_id| latched.find(row_id).map(|(chunk, index)| (Arc::clone(chunk), index));
        check.against_tail(|key| &latched.keys[indexes[key]], place)?;
        latched.segments.extend(segments.iter().map(Arc::clone));
        Ok(())
    }

    /// Takes a load's segments away from other writers.
    pub(crate) fn detach(&self, segments: &[Arc<Segment>]) {
        let mut latched = self.latch.lock();
        latched.segments.retain(|own| !segments.iter().any(|gone| Arc::ptr_eq(own, gone)));
    }
}

impl Latched {
    fn last(&self) -> &Arc<Chunk> {
        &self.chunks[self.chunks.len() - 1]
    }

    /// The open chunk, or a new one if that has no room or another layout.
    fn room_for(&mut self, layout: &Arc<RowLayout>) -> Arc<Chunk> {
        let last = self.last();
        let full = last.room() == 0 || last.bytes() >= CHUNK_BYTES_MAX;
        if full || (!Arc::ptr_eq(&last.layout, layout) && last.layout != *layout) {
            let capacity = match last.len() {
                0 => CHUNK_ROWS_FIRST,
                len => (len * 8).clamp(CHUNK_ROWS_FIRST, CHUNK_ROWS),
            };
            self.start_chunk(layout, capacity);
        }
        Arc::clone(self.last())
    }

    /// Closes the last chunk and starts another.
    pub(crate) fn start_chunk(&mut self, layout: &Arc<RowLayout>, capacity: usize) {
        let chunk = Arc::new(Chunk::new(self.next_row_id, Arc::clone(layout), capacity));
        self.last().close();
        self.last().next.set(Arc::clone(&chunk)).unwrap_or_else(|_| unreachable!("the last chunk has no next"));
        self.chunks.push(chunk);
    }

    /// The row with this id, in the tail.
    pub(crate) fn find(&self, row_id: u64) -> Option<(&Arc<Chunk>, usize)> {
        find(&self.chunks, row_id)
    }

    /// Sees to it that there is an up-to-date index for each of `specs`, and no other; returns their positions.
    pub(crate) fn prepare_keys(&mut self, specs: &[KeySpec]) -> Result<Vec<usize>, ReadError> {
        if self.keys.len() == specs.len() && self.keys.iter().zip(specs).all(|(keys, spec)| keys.spec.same(spec)) {
            return Ok((0..specs.len()).collect());
        }
        // Rows appended under a definition without some key would be missing in that key's index.
        self.keys.retain(|keys| specs.iter().any(|spec| spec.same(&keys.spec)));
        let mut positions = Vec::with_capacity(specs.len());
        for spec in specs {
            positions.push(match self.keys.iter().position(|keys| keys.spec.same(spec)) {
                Some(position) => position,
                None => {
                    self.keys.push(TailKeys::build(spec, self.chunks.iter())?);
                    self.keys.len() - 1
                }
            });
        }
        Ok(positions)
    }

    /// The index of the tail at a position that [`prepare_keys`](Self::prepare_keys) has given.
    pub(crate) fn tail_keys(&self, position: usize) -> &TailKeys {
        &self.keys[position]
    }

    /// Checks that no row in the table, nor two of the new ones, have the same key.
    fn check(
        &self,
        index: usize,
        keys: &key_index::Keys,
        me: TxnId,
        violated: impl Fn(usize) -> WriteError,
    ) -> Result<(), CheckError> {
        let mut new: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut segments = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            if segment.created() != Stamp::ABORTED {
                segments.push((segment, SegmentKeys::of(segment, &self.keys[index].spec)?));
            }
        }
        for row in 0..keys.hashes.len() {
            let Some(hash) = keys.hashes[row] else { continue };
            if keys.hashes.len() > 1 {
                let same = new.entry(hash).or_default();
                if same.iter().any(|other| keys.rows.row(*other) == keys.rows.row(row)) {
                    return Err(violated(row).into());
                }
                same.push(row);
            }
            match self.tail_occupancy(index, hash, keys.rows.row(row), me)? {
                Some(Occupancy::Taken) => return Err(violated(row).into()),
                Some(Occupancy::Unsure(other)) => return Err(WriteError::Blocked(other).into()),
                Some(Occupancy::Free | Occupancy::Dead) | None => {}
            }
            for (segment, index) in &segments {
                match index.probe(segment, keys, row, me)? {
                    None => return Err(CheckError::Unready),
                    Some(Occupancy::Taken) => return Err(violated(row).into()),
                    Some(Occupancy::Unsure(other)) => return Err(WriteError::Blocked(other).into()),
                    Some(Occupancy::Free | Occupancy::Dead) => {}
                }
            }
        }
        Ok(())
    }

    /// What the newest row version of the tail with this key says, aborted ones aside; `None` if the tail has none. Older ones were gone
    /// before it came.
    fn tail_occupancy(&self, index: usize, hash: u64, key: &[u8], me: TxnId) -> Result<Option<Occupancy>, ReadError> {
        let keys = &self.keys[index];
        for row_id in keys.find(hash) {
            let Some((chunk, at)) = self.find(row_id) else { continue };
            let created = chunk.created(at);
            if created != Stamp::ABORTED && keys.spec.tail_keys(chunk, at, at + 1)?.rows.row(0) == key {
                return Ok(Some(Occupancy::of(created, chunk.deleted(at), me)));
            }
        }
        Ok(None)
    }

    /// Takes the first `count` chunks out of the tail, as a flush has moved their rows.
    pub(crate) fn forget_chunks(&mut self, count: usize) {
        self.chunks.drain(..count);
        let first = self.chunks[0].first_row_id;
        self.keys.iter_mut().for_each(|keys| keys.forget_before(first));
    }

    /// The id that the next row gets.
    pub(crate) fn next_row_id(&self) -> u64 {
        self.next_row_id
    }
}

/// The row with this id among the chunks of a tail.
fn find(chunks: &[Arc<Chunk>], row_id: u64) -> Option<(&Arc<Chunk>, usize)> {
    let position = chunks.partition_point(|chunk| chunk.first_row_id <= row_id);
    // Empty chunks share their first row id with the chunk after them.
    let chunk = chunks[..position].iter().rev().find(|chunk| chunk.len() > 0)?;
    chunk.index_of(row_id).map(|index| (chunk, index))
}

impl Span {
    /// Marks the rows as never committed.
    pub(crate) fn abort(&self) {
        (self.from..self.to).for_each(|index| self.chunk.set_created(index, Stamp::ABORTED));
    }

    /// Marks the rows as committed.
    pub(crate) fn commit(&self, stamp: Stamp) {
        (self.from..self.to).for_each(|index| self.chunk.set_created(index, stamp));
    }
}

/// The latch, held.
pub(crate) type LatchGuard<'a> = MutexGuard<'a, Latched>;
