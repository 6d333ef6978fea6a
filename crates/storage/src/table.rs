//! The rows of one table: what writers share, and what a version of the database holds.
//!
//! ```text
//! TableData    one per StorageId    latch: end of the tail, all live segments, key indexes     moves: who moves rows
//! TableVersion one per change       first chunk of the tail, committed segments                published with the database's version
//! ```
//!
//! Lock order: `flushing`, `latch`, `moves`, the log latch, a segment's deletes. `moves` is held shared by whoever sets a stamp of existing rows, and exclusively while
//! a flush carries stamps over to a segment: so no stamp is set at a place that has just been left.
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
use crate::error::WriteError;
use crate::key_index::{self, KeySpec, Occupancy, SegmentKeys, TailKeys};
use crate::row_codec::{RowError, RowLayout, Rows};
use crate::row_locks::RowLocks;
use crate::segment::Segment;
use crate::stamp::Stamp;
use crate::tail::{CHUNK_ROWS, CHUNK_ROWS_FIRST, Chunk};

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

/// Rows of a chunk, consecutive.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// Rows about to be appended.
pub(crate) struct NewRows<'a> {
    pub(crate) table: &'a TableDefinition,
    /// Columns in definition order.
    pub(crate) columns: &'a [ArrayRef],
    pub(crate) layout: &'a Arc<RowLayout>,
    pub(crate) rows: &'a Rows,
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

    /// When the last row was appended, in the clock's milliseconds.
    pub(crate) fn last_write_ms(&self) -> u64 {
        self.last_write_ms.load(Ordering::Relaxed)
    }

    /// Notes the time of a write.
    pub(crate) fn touch(&self, now_ms: u64) {
        self.last_write_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The layout in which rows of `table` are to be encoded.
    pub(crate) fn layout(&self, table: &TableDefinition) -> Result<Arc<RowLayout>, RowError> {
        let latched = self.latch.lock();
        let last = &latched.last().layout;
        if last.fits(table) {
            return Ok(Arc::clone(last));
        }
        drop(latched);
        RowLayout::of_table(table).map(Arc::new)
    }

    /// Checks keys and appends; returns the first row id and where the rows are. Nothing has changed after an error.
    pub(crate) fn append(
        &self,
        new: &NewRows<'_>,
        created: Stamp,
        me: TxnId,
        oldest: Lsn,
    ) -> Result<(u64, Vec<Span>), WriteError> {
        let specs: Vec<KeySpec> =
            new.table.keys.iter().map(|key| KeySpec::new(new.table, key)).collect::<Result<_, _>>()?;
        let mut keys = Vec::with_capacity(specs.len());
        for spec in &specs {
            let columns: Option<Vec<_>> =
                spec.ids().map(|id| new.table.column_index(id).map(|index| Arc::clone(&new.columns[index]))).collect();
            let columns = columns.ok_or_else(|| WriteError::Mismatch("key column".to_owned()))?;
            keys.push((spec.keys(&columns, new.rows.len())?, columns));
        }
        let mut latched = self.latch.lock();
        let indexes = latched.prepare_keys(&specs)?;
        for (position, (key, columns)) in keys.iter().enumerate() {
            let violated = |row| key_index::duplicate(new.table, &new.table.keys[position], columns, row);
            latched.check(indexes[position], key, me, oldest, violated)?;
        }
        let first_row_id = latched.next_row_id;
        let mut spans = Vec::new();
        let mut done = 0;
        while done < new.rows.len() {
            let chunk = latched.room_for(new.layout);
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
        for (position, (key, _)) in keys.iter().enumerate() {
            for (row, hash) in key.hashes.iter().enumerate() {
                if let Some(hash) = hash {
                    latched.keys[indexes[position]].insert(*hash, first_row_id + row as u64);
                }
            }
        }
        drop(latched);
        self.tail_rows.fetch_add(new.rows.len() as u64, Ordering::Relaxed);
        self.tail_bytes.fetch_add(new.rows.bytes.len() as u64, Ordering::Relaxed);
        Ok((first_row_id, spans))
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
        let specs: Vec<KeySpec> = table.keys.iter().map(|key| KeySpec::new(table, key)).collect::<Result<_, _>>()?;
        // The long part, sorting, before the latch.
        for spec in &specs {
            for segment in segments {
                SegmentKeys::of(segment, spec)?.warm(segment)?;
            }
        }
        let mut latched = self.latch.lock();
        let indexes = latched.prepare_keys(&specs)?;
        for (index, key) in indexes.iter().zip(&table.keys) {
            for (position, segment) in segments.iter().enumerate() {
                latched.check_segment(*index, segment, &segments[..position], table, key, me)?;
            }
        }
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
        if last.room() == 0 || (!Arc::ptr_eq(&last.layout, layout) && last.layout != *layout) {
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
        let position = self.chunks.partition_point(|chunk| chunk.first_row_id <= row_id);
        // Empty chunks share their first row id with the chunk after them.
        let chunk = self.chunks[..position].iter().rev().find(|chunk| chunk.len() > 0)?;
        chunk.index_of(row_id).map(|index| (chunk, index))
    }

    /// Sees to it that there is an up-to-date index for each of `specs`, and no other; returns their positions.
    pub(crate) fn prepare_keys(&mut self, specs: &[KeySpec]) -> Result<Vec<usize>, WriteError> {
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
        &mut self,
        index: usize,
        keys: &key_index::Keys,
        me: TxnId,
        oldest: Lsn,
        violated: impl Fn(usize) -> WriteError,
    ) -> Result<(), WriteError> {
        let mut new: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut dead = Vec::new();
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
                    return Err(violated(row));
                }
                same.push(row);
            }
            for row_id in self.keys[index].find(hash) {
                let Some((chunk, at)) = self.find(row_id) else {
                    dead.push((hash, row_id));
                    continue;
                };
                let (created, deleted) = (chunk.created(at), chunk.deleted(at));
                let occupancy = Occupancy::of(created, deleted, me);
                if occupancy == Occupancy::Dead && (created == Stamp::ABORTED || deleted.0 <= oldest.0) {
                    dead.push((hash, row_id));
                }
                let met = matches!(occupancy, Occupancy::Taken | Occupancy::Unsure(_))
                    && self.keys[index].spec.tail_keys(chunk, at, at + 1)?.rows.row(0) == keys.rows.row(row);
                match occupancy {
                    Occupancy::Taken if met => return Err(violated(row)),
                    Occupancy::Unsure(other) if met => return Err(WriteError::Blocked(other)),
                    _ => {}
                }
            }
            for (segment, index) in &segments {
                match index.probe(segment, keys, row, me)? {
                    Occupancy::Taken => return Err(violated(row)),
                    Occupancy::Unsure(other) => return Err(WriteError::Blocked(other)),
                    Occupancy::Free | Occupancy::Dead => {}
                }
            }
        }
        for (hash, row_id) in dead {
            self.keys[index].remove(hash, row_id);
        }
        Ok(())
    }

    /// Checks that no row of a load's segment has the key of another row.
    fn check_segment(
        &self,
        index: usize,
        segment: &Arc<Segment>,
        before: &[Arc<Segment>],
        table: &TableDefinition,
        key: &colonnade_types::KeyConstraint,
        me: TxnId,
    ) -> Result<(), WriteError> {
        let keys = SegmentKeys::of(segment, &self.keys[index].spec)?;
        let violated = |offset: u32| match keys.values(segment, offset) {
            Ok(values) => key_index::duplicate(table, key, &values, 0),
            Err(error) => error.into(),
        };
        if let Some(offset) = keys.duplicate_within(segment)? {
            return Err(violated(offset));
        }
        let met = |found: Option<(u32, Occupancy)>| match found {
            Some((_, Occupancy::Unsure(other))) => Err(WriteError::Blocked(other)),
            Some((offset, _)) => Err(violated(offset)),
            None => Ok(()),
        };
        for other in self.segments.iter().chain(before).filter(|other| other.created() != Stamp::ABORTED) {
            met(keys.duplicate_between(segment, other, me)?)?;
        }
        let place = |row_id| self.find(row_id).map(|(chunk, index)| (Arc::clone(chunk), index));
        met(keys.duplicate_in_tail(segment, &self.keys[index], me, place)?)
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
