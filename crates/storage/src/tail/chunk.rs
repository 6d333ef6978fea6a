//! A chunk: up to 8,192 row versions of a tail, with their stamps.
//!
//! ```text
//!            open                       sealed                     moved
//! rows    bytes, growing        one Arrow array a column       (as sealed, until no version holds the chunk)
//! stamps  created, deleted      created, deleted               `moved_to` names segment and offsets
//! ```
//!
//! **Invariants.** Rows are appended by one thread at a time (the table's latch). `len` is published after the row's bytes and its created stamp, so
//! a reader that sees a row sees its stamp. A sealed chunk gets no more rows. `moved_to` is set once, under the table's `moves` lock held exclusively.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::ArrayRef;
use colonnade_columnar::ZoneMaps;
use parking_lot::RwLock;

use crate::error::ReadError;
use crate::row_codec::{self, RowLayout, Rows};
use crate::segment::Segment;
use crate::stamp::{Stamp, View};

/// Rows of a full chunk, which is a granule.
pub(crate) const CHUNK_ROWS: usize = 8_192;
/// Bytes of rows from which on a chunk gets no more, so that a tail of wide rows has several.
pub(crate) const CHUNK_BYTES_MAX: usize = 4 << 20;
/// Rows of the first chunk of a tail: most tables are small.
pub(crate) const CHUNK_ROWS_FIRST: usize = 128;

/// A sealed chunk's rows.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// One array for each column of the layout.
    pub(crate) columns: Vec<ArrayRef>,
    /// One entry each.
    pub(crate) zone_maps: Vec<ZoneMaps>,
}

/// Where a flushed chunk's rows are now.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) segment: Option<Arc<Segment>>,
    /// For every row, its offset in the segment; [`Moved::GONE`] for rows that were dead and left out.
    pub(crate) offsets: Box<[u32]>,
}

impl Moved {
    /// The offset of a row that was left out.
    pub(crate) const GONE: u32 = u32::MAX;

    /// Segment and offset of a row; `None` if it was left out.
    pub(crate) fn place(&self, index: usize) -> Option<(&Arc<Segment>, u32)> {
        let offset = self.offsets[index];
        self.segment.as_ref().filter(|_| offset != Moved::GONE).map(|segment| (segment, offset))
    }
}

/// Row versions that were appended one after another.
pub(crate) struct Chunk {
    /// Row id of the first row.
    pub(crate) first_row_id: u64,
    /// Row ids, where they are not consecutive: after recovery only.
    row_ids: Option<Box<[u64]>>,
    /// What the rows were written with.
    pub(crate) layout: Arc<RowLayout>,
    capacity: usize,
    rows: RwLock<Rows>,
    created: Box<[AtomicU64]>,
    deleted: OnceLock<Box<[AtomicU64]>>,
    len: AtomicUsize,
    bytes: AtomicUsize,
    /// No more rows will come.
    closed: AtomicBool,
    sealed: OnceLock<Sealed>,
    /// The chunk that follows.
    pub(crate) next: OnceLock<Arc<Chunk>>,
    /// Where the rows went.
    pub(crate) moved_to: OnceLock<Moved>,
}

fn zeroed(count: usize) -> Box<[AtomicU64]> {
    std::iter::repeat_with(|| AtomicU64::new(0)).take(count).collect()
}

impl Chunk {
    /// An empty chunk for rows of `layout`.
    pub(crate) fn new(first_row_id: u64, layout: Arc<RowLayout>, capacity: usize) -> Chunk {
        assert!(capacity <= CHUNK_ROWS, "a chunk is at most a granule");
        Chunk {
            first_row_id,
            row_ids: None,
            layout,
            capacity,
            rows: RwLock::default(),
            created: zeroed(capacity),
            deleted: OnceLock::new(),
            len: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(capacity == 0),
            sealed: OnceLock::new(),
            next: OnceLock::new(),
            moved_to: OnceLock::new(),
        }
    }

    /// A closed chunk of recovered rows: their ids ascend, and all are committed.
    pub(crate) fn recovered(layout: Arc<RowLayout>, row_ids: Vec<u64>, created: &[u64], rows: Rows) -> Chunk {
        assert_eq!(row_ids.len(), rows.len(), "every row has an id");
        let mut chunk = Chunk::new(row_ids[0], layout, row_ids.len());
        chunk.created = created.iter().map(|stamp| AtomicU64::new(*stamp)).collect();
        let consecutive = row_ids.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        chunk.row_ids = (!consecutive).then(|| row_ids.into_boxed_slice());
        *chunk.len.get_mut() = rows.len();
        *chunk.bytes.get_mut() = rows.bytes.len();
        *chunk.closed.get_mut() = true;
        *chunk.rows.get_mut() = rows;
        chunk
    }

    /// Rows so far.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Bytes of its rows, encoded.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Rows that still fit.
    pub(crate) fn room(&self) -> usize {
        if self.is_closed() { 0 } else { self.capacity - self.len.load(Ordering::Relaxed) }
    }

    /// Whether no more rows will come.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Lets no more rows come. The caller holds the table's latch.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The id of a row.
    pub(crate) fn row_id(&self, index: usize) -> u64 {
        match &self.row_ids {
            Some(ids) => ids[index],
            None => self.first_row_id + index as u64,
        }
    }

    /// The row with this id.
    pub(crate) fn index_of(&self, row_id: u64) -> Option<usize> {
        match &self.row_ids {
            Some(ids) => ids.binary_search(&row_id).ok(),
            None => {
                let index = usize::try_from(row_id.checked_sub(self.first_row_id)?).ok()?;
                (index < self.len()).then_some(index)
            }
        }
    }

    /// Appends rows `from..to` of `rows`; returns the index of the first. The caller holds the table's latch and has seen that there is room.
    pub(crate) fn append(
        &self,
        rows: &Rows,
        from: usize,
        to: usize,
        created: Stamp,
    ) -> Result<usize, row_codec::RowError> {
        assert!(to - from <= self.room(), "the chunk has room");
        let first = self.len.load(Ordering::Relaxed);
        {
            let mut own = self.rows.write();
            own.extend(rows, from, to)?;
            self.bytes.store(own.bytes.len(), Ordering::Relaxed);
        }
        for slot in &self.created[first..first + (to - from)] {
            slot.store(created.0, Ordering::Relaxed);
        }
        self.len.store(first + (to - from), Ordering::Release);
        if first + (to - from) == self.capacity {
            self.close();
        }
        Ok(first)
    }

    /// Who created a row.
    #[inline]
    pub(crate) fn created(&self, index: usize) -> Stamp {
        Stamp(self.created[index].load(Ordering::Acquire))
    }

    /// Sets who created a row.
    pub(crate) fn set_created(&self, index: usize, stamp: Stamp) {
        self.created[index].store(stamp.0, Ordering::Release);
    }

    /// Who deleted a row.
    #[inline]
    pub(crate) fn deleted(&self, index: usize) -> Stamp {
        self.deleted.get().map_or(Stamp::NEVER, |deleted| Stamp(deleted[index].load(Ordering::Acquire)))
    }

    /// Sets who deleted a row.
    pub(crate) fn set_deleted(&self, index: usize, stamp: Stamp) {
        self.deleted_slots()[index].store(stamp.0, Ordering::Release);
    }

    /// Sets who deleted or locked a row if that is `from` now; else returns who it is.
    pub(crate) fn replace_deleted(&self, index: usize, from: Stamp, to: Stamp) -> Result<(), Stamp> {
        self.deleted_slots()[index]
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(Stamp)
    }

    fn deleted_slots(&self) -> &[AtomicU64] {
        self.deleted.get_or_init(|| zeroed(self.capacity))
    }

    /// Whether a row is visible from `view`.
    #[inline]
    pub(crate) fn shows(&self, index: usize, view: &View) -> bool {
        view.shows(self.created(index), self.deleted(index))
    }

    /// Its rows in columns, if it is sealed.
    pub(crate) fn sealed(&self) -> Option<&Sealed> {
        self.sealed.get()
    }

    /// One column of the first `len` rows.
    pub(crate) fn column(&self, column: usize, len: usize) -> Result<ArrayRef, ReadError> {
        self.column_range(column, 0, len)
    }

    /// One column of rows `from..to`.
    pub(crate) fn column_range(&self, column: usize, from: usize, to: usize) -> Result<ArrayRef, ReadError> {
        if self.sealed.get().is_none() {
            let rows = self.rows.read();
            // The bytes go only after the columns are there, under the same lock.
            if self.sealed.get().is_none() {
                return row_codec::decode(&self.layout, &rows, from, to, column).map_err(damaged);
            }
        }
        let sealed = self.sealed.get().unwrap_or_else(|| unreachable!("checked above, and it is never unset"));
        Ok(sealed.columns[column].slice(from, to - from))
    }

    /// NULLs in one column of the first `len` rows.
    pub(crate) fn null_count(&self, column: usize, len: usize) -> Result<usize, ReadError> {
        if self.sealed.get().is_none() {
            let rows = self.rows.read();
            if self.sealed.get().is_none() {
                return row_codec::null_count(&rows, len, column).map_err(damaged);
            }
        }
        Ok(self.column(column, len)?.null_count())
    }

    /// Turns a closed chunk into columns with zone maps and drops the row bytes.
    pub(crate) fn seal(&self) -> Result<&Sealed, ReadError> {
        assert!(self.is_closed(), "only a closed chunk is sealed");
        if let Some(sealed) = self.sealed.get() {
            return Ok(sealed);
        }
        let sealed = {
            let rows = self.rows.read();
            if let Some(sealed) = self.sealed.get() {
                return Ok(sealed);
            }
            let columns = (0..self.layout.columns().len())
                .map(|column| row_codec::decode(&self.layout, &rows, 0, rows.len(), column))
                .collect::<Result<Vec<_>, _>>()
                .map_err(damaged)?;
            let zone_maps = columns.iter().map(ZoneMaps::of).collect();
            Sealed { columns, zone_maps }
        };
        let mut rows = self.rows.write();
        let sealed = self.sealed.get_or_init(|| sealed);
        *rows = Rows::default();
        Ok(sealed)
    }

    /// Its rows as bytes, for a checkpoint: rows whose `keep` is true.
    pub(crate) fn encode_kept(&self, keep: &[usize]) -> Result<Rows, ReadError> {
        let mut kept = Rows::default();
        if self.sealed.get().is_none() {
            let rows = self.rows.read();
            if self.sealed.get().is_none() {
                for index in keep {
                    kept.push(rows.row(*index)).map_err(damaged)?;
                }
                return Ok(kept);
            }
        }
        let sealed = self.seal()?;
        row_codec::encode(&self.layout, &sealed.columns, self.len())
            .and_then(|all| keep.iter().try_for_each(|index| kept.push(all.row(*index))))
            .map_err(damaged)?;
        Ok(kept)
    }
}

fn damaged(error: row_codec::RowError) -> ReadError {
    ReadError::Corrupt(format!("tail: {error}"))
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunk")
            .field("first_row_id", &self.first_row_id)
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .field("sealed", &self.sealed.get().is_some())
            .field("moved", &self.moved_to.get().is_some())
            .finish_non_exhaustive()
    }
}

/// A long chain is dropped in a loop, not by recursion.
impl Drop for Chunk {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(chunk) = next {
            next = Arc::into_inner(chunk).and_then(|mut chunk| chunk.next.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::{DataType, Int32Type};
    use colonnade_types::{ColumnId, Lsn, TxnId};

    fn layout() -> Arc<RowLayout> {
        Arc::new(RowLayout::new(vec![(ColumnId(1), DataType::Int32)]).unwrap())
    }

    fn rows(values: std::ops::Range<i32>) -> Rows {
        let array: ArrayRef = Arc::new(Int32Array::from_iter_values(values.clone()));
        row_codec::encode(&layout(), &[array], values.len()).unwrap()
    }

    #[test]
    fn rows_read_the_same_before_and_after_sealing() {
        let chunk = Chunk::new(100, layout(), 8);
        assert_eq!(chunk.append(&rows(0..5), 1, 4, Stamp::running(TxnId(1), 0)).unwrap(), 0);
        assert_eq!(chunk.append(&rows(0..5), 0, 2, Stamp::committed(Lsn(9))).unwrap(), 3);
        let open = chunk.column(0, 5).unwrap();
        assert_eq!(open.as_primitive::<Int32Type>().values(), &[1, 2, 3, 0, 1]);
        assert_eq!((chunk.row_id(4), chunk.index_of(103), chunk.index_of(105)), (104, Some(3), None));
        let before = chunk.encode_kept(&[0, 4]).unwrap();
        chunk.close();
        chunk.seal().unwrap();
        assert_eq!(&chunk.column(0, 5).unwrap(), &open);
        assert_eq!(chunk.encode_kept(&[0, 4]).unwrap(), before);
        assert_eq!(chunk.room(), 0);
    }

    #[test]
    fn a_row_is_deleted_by_one() {
        let chunk = Chunk::new(0, layout(), 2);
        chunk.append(&rows(0..1), 0, 1, Stamp::committed(Lsn(1))).unwrap();
        let first = Stamp::running(TxnId(1), 0);
        assert_eq!(chunk.replace_deleted(0, Stamp::NEVER, first), Ok(()));
        assert_eq!(chunk.replace_deleted(0, Stamp::NEVER, Stamp::running(TxnId(2), 0)), Err(first));
        chunk.set_deleted(0, Stamp::NEVER);
        assert!(chunk.shows(0, &View::committed(Lsn(1))));
    }

    #[test]
    fn a_chain_of_many_chunks_is_dropped_without_a_deep_stack() {
        let first = Arc::new(Chunk::new(0, layout(), 0));
        let mut last = Arc::clone(&first);
        for _ in 0..200_000 {
            let next = Arc::new(Chunk::new(0, layout(), 0));
            last.next.set(Arc::clone(&next)).unwrap();
            last = next;
        }
        drop(last);
        drop(first);
    }

    #[test]
    fn recovered_rows_keep_their_ids() {
        let chunk = Chunk::recovered(layout(), vec![3, 4, 9], &[1, 1, 2], rows(0..3));
        assert_eq!((chunk.index_of(9), chunk.index_of(5), chunk.row_id(2)), (Some(2), None, 9));
    }
}
