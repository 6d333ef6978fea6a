//! A segment in use: its file, its deletes, its key indexes.
//!
//! The file is opened when its first column is read. Who created the rows matters only until the transaction that loaded them ends: the segments of a published
//! version are seen whole by every snapshot that holds the version.
//!
//! A segment that was compacted stays for the snapshots that still read it, and knows where its rows are now.
//!
//! **Invariant.** A file lives as long as a [`Segment`] of it. One that has been marked obsolete puts its file in the trash when its last owner drops it; the mark is set only
//! when no later start will ask for the file: the record that drops it is durable, or the record that would add it will never be written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use colonnade_columnar::{ColumnReader, Dictionary, SegmentReader};
pub(crate) use colonnade_columnar::{GRANULE_ROWS, ROW_GROUP_ROWS};
use colonnade_types::{ColumnId, Lsn, SegmentId};
use parking_lot::{Mutex, RwLock};

use crate::deletes::Deletes;
use crate::dictionary_cache::DictionaryCache;
use crate::disk::Disk;
use crate::error::ReadError;
use crate::granule_cache::GranuleCache;
use crate::manifest::{CreatedLsn, SegmentEntry};
use crate::options::StorageOptions;
use crate::segment_keys::SegmentKeys;
use crate::stamp::{Stamp, StampState, View};

/// Granules of a full row group.
pub(crate) const ROW_GROUP_GRANULES: usize = ROW_GROUP_ROWS / GRANULE_ROWS;
/// The hidden column of commit LSNs, which a flush writes; change feeds will read it.
pub(crate) const LSN_COLUMN: ColumnId = ColumnId(u32::MAX);

const _: () = assert!(GRANULE_ROWS == crate::tail::CHUNK_ROWS, "a chunk of the tail is a granule");

/// The directory of segment files.
pub const SEGMENT_DIR: &str = "segments";

/// The path of a segment's file.
#[must_use]
pub fn segment_path(id: SegmentId) -> String {
    format!("{SEGMENT_DIR}/{:016x}.seg", id.0)
}

/// The segment whose file has this name.
#[must_use]
pub(crate) fn segment_of_name(name: &str) -> Option<SegmentId> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().map(SegmentId)
}

/// Bytes at the end of a file that its manifest entry's checksum covers: they tell it from another file of the same name.
const CHECKSUM_BYTES: usize = 256;

/// The checksum of a file that a manifest entry holds.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(&bytes[bytes.len().saturating_sub(CHECKSUM_BYTES)..])
}

/// Where segments' files are, and what all segments share.
#[derive(Debug)]
pub(crate) struct SegmentStore {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dictionaries: DictionaryCache,
    granules: GranuleCache,
    trash: Mutex<Vec<SegmentId>>,
}

impl SegmentStore {
    /// The store on `disk`.
    pub(crate) fn new(disk: Arc<dyn Disk>, options: &StorageOptions) -> SegmentStore {
        SegmentStore {
            disk,
            dictionaries: DictionaryCache::new(options.dictionary_cache_bytes),
            granules: GranuleCache::new(options.granule_cache_bytes),
            trash: Mutex::default(),
        }
    }

    /// Files that nobody needs any more.
    pub(crate) fn take_trash(&self) -> Vec<SegmentId> {
        std::mem::take(&mut self.trash.lock())
    }

    /// Puts a file in the trash.
    pub(crate) fn discard(&self, id: SegmentId) {
        self.trash.lock().push(id);
    }

    /// Whether there is something to remove.
    pub(crate) fn has_trash(&self) -> bool {
        !self.trash.lock().is_empty()
    }
}

/// A column and its bounds in a segment, as bytes that compare like the values.
type SortRange = (ColumnId, Option<(Vec<u8>, Vec<u8>)>);

/// A segment in use.
pub(crate) struct Segment {
    /// What the manifest says of it.
    pub(crate) info: SegmentEntry,
    store: Arc<SegmentStore>,
    /// The load that made it, until that ends; the stamp of the commit after.
    created: AtomicU64,
    reader: OnceLock<SegmentReader>,
    pub(crate) deletes: RwLock<Deletes>,
    pub(crate) keys: Mutex<Vec<Arc<SegmentKeys>>>,
    obsolete: AtomicBool,
    /// Least and greatest value of the column by which the table is sorted, once compaction has asked for them.
    pub(crate) sort_range: Mutex<Option<SortRange>>,
    /// Where a compaction has put the rows. Set once, under the table's `moves` lock held exclusively.
    pub(crate) moved_to: OnceLock<Relocated>,
}

/// Where a compacted segment's rows are now.
#[derive(Debug)]
pub(crate) struct Relocated {
    /// The segments that came of the compaction. All but the last have `segment_rows` rows.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) segment_rows: u32,
    /// For every row of the old segment, its place in the new ones, counted through; [`Relocated::GONE`] for rows that were left out.
    pub(crate) positions: Box<[u32]>,
}

impl Relocated {
    /// The position of a row that was left out.
    pub(crate) const GONE: u32 = u32::MAX;

    /// Segment and offset of a row; `None` if it was left out.
    pub(crate) fn place(&self, offset: u32) -> Option<(&Arc<Segment>, u32)> {
        let position = *self.positions.get(offset as usize)?;
        let segment = self.segments.get((position / self.segment_rows) as usize)?;
        (position != Relocated::GONE).then_some((segment, position % self.segment_rows))
    }
}

/// A row's places, from this one on to where compactions have put it since. Stays as it is while the table's `moves` or the log latch is held.
pub(crate) fn trail(segment: &Arc<Segment>, offset: u32) -> impl Iterator<Item = (&Arc<Segment>, u32)> {
    std::iter::successors(Some((segment, offset)), |(segment, offset)| segment.moved_to.get()?.place(*offset))
}

impl Segment {
    /// A segment whose file is on the store's disk.
    pub(crate) fn new(store: Arc<SegmentStore>, info: SegmentEntry, created: Stamp, deletes: Deletes) -> Segment {
        Segment {
            info,
            store,
            created: AtomicU64::new(created.0),
            reader: OnceLock::new(),
            deletes: RwLock::new(deletes),
            keys: Mutex::default(),
            obsolete: AtomicBool::new(false),
            sort_range: Mutex::default(),
            moved_to: OnceLock::new(),
        }
    }

    /// Who made it.
    pub(crate) fn created(&self) -> Stamp {
        Stamp(self.created.load(Ordering::Acquire))
    }

    /// Sets who made it.
    pub(crate) fn set_created(&self, stamp: Stamp) {
        self.created.store(stamp.0, Ordering::Release);
    }

    /// Lets the file go when nobody holds the segment any more.
    pub(crate) fn set_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    /// Rows, deleted ones included.
    pub(crate) fn rows(&self) -> usize {
        self.info.rows as usize
    }

    /// Granules.
    pub(crate) fn granules(&self) -> usize {
        self.rows().div_ceil(GRANULE_ROWS)
    }

    /// Rows of a granule.
    pub(crate) fn granule_rows(&self, granule: usize) -> usize {
        (self.rows() - granule * GRANULE_ROWS).min(GRANULE_ROWS)
    }

    /// Where its files are.
    pub(crate) fn disk(&self) -> &dyn Disk {
        self.store.disk.as_ref()
    }

    /// The opened file.
    pub(crate) fn reader(&self) -> Result<&SegmentReader, ReadError> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let name = segment_path(self.info.id);
        let bytes = self.store.disk.map(&name).map_err(|error| ReadError::Corrupt(format!("{name}: {error}")))?;
        if bytes.len() as u64 != self.info.size_bytes {
            let (expected, found) = (self.info.size_bytes, bytes.len());
            return Err(ReadError::Corrupt(format!("{name}: expected {expected} bytes, found {found}")));
        }
        let found = checksum(&bytes);
        if found != self.info.checksum {
            let expected = self.info.checksum;
            let at = bytes.len().saturating_sub(CHECKSUM_BYTES);
            return Err(ReadError::Corrupt(format!(
                "{name}: checksum of the bytes from offset {at} is {found:#010x}, expected {expected:#010x}"
            )));
        }
        let reader = SegmentReader::open(bytes).map_err(|error| ReadError::Corrupt(format!("{name}: {error}")))?;
        if reader.rows() as u64 != u64::from(self.info.rows) {
            let (expected, found) = (self.info.rows, reader.rows());
            return Err(ReadError::Corrupt(format!("{name}: footer: expected {expected} rows, found {found}")));
        }
        Ok(self.reader.get_or_init(|| reader))
    }

    /// A column, if the rows were stored with it.
    pub(crate) fn column(&self, id: ColumnId) -> Result<Option<ColumnReader>, ReadError> {
        Ok(self.reader()?.column(id.0))
    }

    /// All values of a granule in a column, if the rows were stored with it.
    pub(crate) fn read(&self, id: ColumnId, granule: usize) -> Result<Option<ArrayRef>, ReadError> {
        let Some(column) = self.column(id)? else { return Ok(None) };
        let dictionary = if column.uses_dictionary() { Some(self.dictionary(&column)?) } else { None };
        column.read(granule, dictionary.as_ref()).map(Some).map_err(|error| self.damaged(&error))
    }

    /// The value of one row in a column, as an array of one, if the rows were stored with it.
    ///
    /// Costs some 100 ns where the encoding has a way to single rows; a granule is decoded, and kept for a while, where it has not.
    pub(crate) fn value(&self, id: ColumnId, offset: u32) -> Result<Option<ArrayRef>, ReadError> {
        let Some(column) = self.column(id)? else { return Ok(None) };
        let (granule, index) = (offset as usize / GRANULE_ROWS, offset as usize % GRANULE_ROWS);
        let place = (self.info.id, column.id(), granule as u32);
        let dictionary = if column.uses_dictionary() { Some(self.dictionary(&column)?) } else { None };
        let value = column.value(granule, index, dictionary.as_ref()).map_err(|error| self.damaged(&error))?;
        if value.is_some() {
            return Ok(value);
        }
        let values = match self.store.granules.get(&place) {
            Some(values) => values,
            None => {
                let values = column.read(granule, dictionary.as_ref()).map_err(|error| self.damaged(&error))?;
                self.store.granules.put(place, &values);
                values
            }
        };
        Ok(Some(values.slice(index, 1)))
    }

    /// The values of one row in some columns, each as [`value`](Self::value) gives it.
    pub(crate) fn row(
        &self,
        offset: u32,
        columns: impl Iterator<Item = ColumnId>,
    ) -> Result<Vec<Option<ArrayRef>>, ReadError> {
        columns.map(|id| self.value(id, offset)).collect()
    }

    /// Whether `view` sees that the row at `offset` was made.
    pub(crate) fn sees_created(&self, offset: u32, view: &View) -> Result<bool, ReadError> {
        if view.sees(self.created()) {
            return Ok(true);
        }
        match self.info.created {
            CreatedLsn::Column(_) => Ok(view.sees(Stamp::committed(self.created_lsn(offset)?))),
            _ => Ok(false),
        }
    }

    /// The LSN of the commit that made a row. While the load that made the segment runs, it is 0.
    pub(crate) fn created_lsn(&self, offset: u32) -> Result<Lsn, ReadError> {
        match self.info.created {
            CreatedLsn::Constant(lsn) => Ok(lsn),
            CreatedLsn::Commit => match self.created().state() {
                StampState::Committed(lsn) => Ok(lsn),
                _ => Ok(Lsn(0)),
            },
            CreatedLsn::Column(_) => {
                let value = self.value(LSN_COLUMN, offset)?;
                let lsn = value.as_ref().and_then(|value| value.as_primitive_opt::<Int64Type>());
                let lsn = lsn.ok_or_else(|| self.damaged(&"no column of commit LSNs"))?;
                Ok(Lsn(lsn.value(0).cast_unsigned()))
            }
        }
    }

    fn dictionary(&self, column: &ColumnReader) -> Result<Arc<Dictionary>, ReadError> {
        if let Some(dictionary) = self.store.dictionaries.get(self.info.id, column.id()) {
            return Ok(dictionary);
        }
        let dictionary = column.dictionary().map_err(|error| self.damaged(&error))?;
        self.store.dictionaries.put(self.info.id, column.id(), &dictionary, dictionary.size_bytes());
        Ok(dictionary)
    }

    /// Encoded bytes of a granule in a column; 0 if the rows were stored without it.
    pub(crate) fn page_bytes(&self, id: ColumnId, granule: usize) -> Result<u64, ReadError> {
        match self.column(id)? {
            Some(column) => column.page_bytes(granule).map_err(|error| self.damaged(&error)),
            None => Ok(0),
        }
    }

    /// An error about this file.
    pub(crate) fn damaged(&self, error: &dyn std::fmt::Display) -> ReadError {
        ReadError::Corrupt(format!("{}: {error}", segment_path(self.info.id)))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.store.dictionaries.forget(self.info.id);
        self.store.granules.forget(self.info.id);
        if *self.obsolete.get_mut() {
            self.store.discard(self.info.id);
        }
        // An old snapshot may hold the first of a long line: it is dropped in a loop, not by recursion.
        let mut next = self.moved_to.take().map_or_else(Vec::new, |moved| moved.segments);
        while let Some(segment) = next.pop() {
            if let Some(mut segment) = Arc::into_inner(segment) {
                next.extend(segment.moved_to.take().into_iter().flat_map(|moved| moved.segments));
            }
        }
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("info", &self.info).field("created", &self.created()).finish_non_exhaustive()
    }
}
