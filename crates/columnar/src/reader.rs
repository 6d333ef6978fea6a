//! Reading a segment from bytes in memory, usually a mapped file.
//!
//! Opening reads header, footer and tail. The metadata of a column (page table, zone maps) is read and verified on first
//! use and kept; pages and dictionaries are verified and decoded at every call, and nothing of them is kept but, for reads
//! of single values, that a page has been verified.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use crate::cursor::{Cursor, verify};
use crate::dictionary::Dictionary;
use crate::encoding::Encodings;
use crate::error::FormatError;
use crate::footer::{ColumnEntry, ColumnMetadata, Footer, PageEntry};
use crate::page::{self, Page, PageRow};
use crate::zone_map::ZoneMaps;
use crate::zones::{Level, Zones};
use crate::{GRANULE_ROWS, ROW_GROUP_ROWS};

/// An open segment. Cheap to clone; safe to share between threads.
#[derive(Clone, Debug)]
pub struct SegmentReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes: Buffer,
    rows: usize,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    entry: ColumnEntry,
    encoding: String,
    metadata: OnceLock<Result<Loaded, FormatError>>,
}

/// What is kept of a column that has been used.
#[derive(Debug)]
struct Loaded {
    metadata: ColumnMetadata,
    zones: Zones,
    /// A bit for every page: its checksum has been found right.
    verified: Box<[AtomicU64]>,
}

impl Loaded {
    fn is_verified(&self, granule: usize) -> bool {
        self.verified.get(granule / 64).is_some_and(|bits| bits.load(Ordering::Relaxed) >> (granule % 64) & 1 == 1)
    }

    fn set_verified(&self, granule: usize) {
        if let Some(bits) = self.verified.get(granule / 64) {
            bits.fetch_or(1 << (granule % 64), Ordering::Relaxed);
        }
    }
}

impl SegmentReader {
    /// Opens the segment that `bytes` hold from first to last. Reads no column.
    ///
    /// # Errors
    /// If the bytes are not a segment of a known version, if header or footer are damaged, or if what the footer says
    /// does not fit the size of `bytes`. Damage elsewhere shows when it is read.
    pub fn open(bytes: Buffer) -> Result<SegmentReader, FormatError> {
        let footer = Footer::read(&bytes)?;
        let columns = footer.columns.into_iter().map(|entry| Column {
            encoding: entry.encodings.to_string(),
            entry,
            metadata: OnceLock::new(),
        });
        let columns = columns.collect();
        Ok(SegmentReader { shared: Arc::new(Shared { bytes, rows: footer.rows, columns }) })
    }

    /// Rows of the segment.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shared.rows
    }

    /// Number of granules: zones of 8,192 rows, the last one shorter.
    #[must_use]
    pub fn granules(&self) -> usize {
        self.shared.rows.div_ceil(GRANULE_ROWS)
    }

    /// Number of row groups: zones of 131,072 rows, the last one shorter.
    #[must_use]
    pub fn row_groups(&self) -> usize {
        self.shared.rows.div_ceil(ROW_GROUP_ROWS)
    }

    /// Rows of a granule; 0 beyond the last.
    #[must_use]
    pub fn granule_rows(&self, granule: usize) -> usize {
        self.shared.rows.saturating_sub(granule.saturating_mul(GRANULE_ROWS)).min(GRANULE_ROWS)
    }

    /// Bytes of the segment.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.bytes.len() as u64
    }

    /// All columns, in the order in which they were written.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = ColumnReader> + '_ {
        (0..self.shared.columns.len()).map(|index| ColumnReader { segment: self.clone(), index })
    }

    /// The column with this id, if the segment has it.
    #[must_use]
    pub fn column(&self, id: u32) -> Option<ColumnReader> {
        let index = self.shared.columns.iter().position(|column| column.entry.id == id)?;
        Some(ColumnReader { segment: self.clone(), index })
    }

    /// Reads every byte of the segment and checks it against its checksum, and that all of it decodes.
    ///
    /// # Errors
    /// The first damage found.
    pub fn verify(&self) -> Result<(), FormatError> {
        for column in self.columns() {
            column.zone_maps(Level::Segment)?;
            let dictionary = if column.uses_dictionary() { Some(column.dictionary()?) } else { None };
            for granule in 0..self.granules() {
                column.read(granule, dictionary.as_ref())?;
            }
        }
        Ok(())
    }
}

/// One column of an open segment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ColumnReader {
    segment: SegmentReader,
    index: usize,
}

impl ColumnReader {
    fn column(&self) -> &Column {
        &self.segment.shared.columns[self.index]
    }

    fn entry(&self) -> &ColumnEntry {
        &self.column().entry
    }

    fn loaded(&self) -> Result<&Loaded, FormatError> {
        let loaded = self.column().metadata.get_or_init(|| self.load());
        loaded.as_ref().map_err(Clone::clone)
    }

    fn load(&self) -> Result<Loaded, FormatError> {
        let entry = self.entry();
        let offset = entry.offset + entry.bytes - u64::from(entry.metadata_bytes);
        let bytes = self.bytes(offset, u64::from(entry.metadata_bytes), "column metadata")?;
        verify(bytes, offset, entry.metadata_crc, "column metadata")?;
        let mut cursor = Cursor::new(bytes, offset);
        let metadata = ColumnMetadata::read(&mut cursor, entry, self.segment.granules())?;
        let zones = Zones::read(&mut cursor, &entry.data_type, self.segment.rows())?;
        cursor.finish("column metadata")?;
        let verified = (0..metadata.pages.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Loaded { metadata, zones, verified })
    }

    fn bytes(&self, offset: u64, length: u64, what: &'static str) -> Result<&[u8], FormatError> {
        let bytes = self.segment.shared.bytes.as_slice();
        let range =
            usize::try_from(offset).ok().zip(offset.checked_add(length).and_then(|end| usize::try_from(end).ok()));
        range.and_then(|(start, end)| bytes.get(start..end)).ok_or_else(|| FormatError::Truncated {
            offset,
            what,
            expected: length,
            found: (bytes.len() as u64).saturating_sub(offset),
        })
    }

    /// Id of the column.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.entry().id
    }

    /// Arrow type of the column, as it was given to the writer.
    #[must_use]
    pub fn data_type(&self) -> &DataType {
        &self.entry().data_type
    }

    /// Names of the encodings that the column's pages use, separated by commas.
    #[must_use]
    pub fn encoding(&self) -> &str {
        &self.column().encoding
    }

    /// Names of the encodings that the pages of one row group use; empty beyond the last.
    ///
    /// # Errors
    /// If the metadata of the column is damaged.
    pub fn row_group_encoding(&self, row_group: usize) -> Result<String, FormatError> {
        let per_group = ROW_GROUP_ROWS / GRANULE_ROWS;
        let pages = self.loaded()?.metadata.pages.iter().skip(row_group.saturating_mul(per_group)).take(per_group);
        Ok(pages.fold(Encodings::default(), |all, page| all.union(page.encodings)).to_string())
    }

    /// Bytes of the column in the segment: dictionary, pages and metadata.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.entry().bytes
    }

    /// Bytes of the values without encoding.
    #[must_use]
    pub fn plain_bytes(&self) -> u64 {
        self.entry().plain_bytes
    }

    /// Bytes of the page of one granule; 0 beyond the last.
    ///
    /// # Errors
    /// If the metadata of the column is damaged.
    pub fn page_bytes(&self, granule: usize) -> Result<u64, FormatError> {
        Ok(self.loaded()?.metadata.pages.get(granule).map_or(0, |page| page.bytes))
    }

    /// Number of distinct values other than NULL, where the writer knew it.
    #[must_use]
    pub fn distinct_count(&self) -> Option<u64> {
        self.entry().distinct
    }

    /// Whether pages hold codes into a dictionary of the segment.
    #[must_use]
    pub fn uses_dictionary(&self) -> bool {
        self.entry().has_dictionary
    }

    /// The zone maps at a level. Read once, then kept.
    ///
    /// # Errors
    /// If the metadata of the column is damaged.
    pub fn zone_maps(&self, level: Level) -> Result<&ZoneMaps, FormatError> {
        Ok(self.loaded()?.zones.level(level))
    }

    /// Decodes the dictionary. Costs a pass over all its bytes: keep the result and give it to [`read`](Self::read).
    ///
    /// # Errors
    /// If the dictionary is damaged, or the column has none.
    pub fn dictionary(&self) -> Result<Arc<Dictionary>, FormatError> {
        let offset = self.entry().offset;
        let layout = self.loaded()?.metadata.dictionary.as_ref().ok_or_else(|| FormatError::Invalid {
            offset,
            what: "column",
            expected: "one with a dictionary".to_owned(),
            found: "one without".to_owned(),
        })?;
        let bytes = self.bytes(offset, layout.stored_bytes(), "dictionary")?;
        Ok(Arc::new(layout.decode(bytes, offset, self.data_type())?))
    }

    /// Decodes all rows of a granule, in the column's type.
    ///
    /// For a column with a dictionary, `dictionary` must be the column's own, as [`dictionary`](Self::dictionary) gave
    /// it; the result then shares its bytes. With `None` the dictionary is decoded for this call alone, which is slow.
    ///
    /// # Errors
    /// If there is no such granule, or its page or the dictionary is damaged.
    pub fn read(&self, granule: usize, dictionary: Option<&Arc<Dictionary>>) -> Result<ArrayRef, FormatError> {
        match self.page(granule)? {
            Page::Values(values) => Ok(values),
            Page::Codes(codes) if codes.null_count() == codes.len() => {
                Ok(arrow::array::new_null_array(self.data_type(), codes.len()))
            }
            Page::Codes(codes) => {
                let dictionary = self.own_dictionary(dictionary)?;
                // Every code is below the entry count, so taking cannot fail.
                arrow::compute::take(dictionary.values(), &codes, None).map_err(|error| self.refused(error.to_string()))
            }
        }
    }

    /// Decodes the dictionary codes of a granule, NULL where the row is; `None` for a column without a dictionary.
    ///
    /// # Errors
    /// If there is no such granule, or its page is damaged.
    pub fn read_codes(&self, granule: usize) -> Result<Option<UInt32Array>, FormatError> {
        if !self.uses_dictionary() {
            return Ok(None);
        }
        match self.page(granule)? {
            Page::Codes(codes) => Ok(Some(codes)),
            Page::Values(_) => Ok(None),
        }
    }

    /// Decodes one row of a granule, as an array of one, without decoding the others. `None` where the page's encoding gives no way to
    /// a single row (lists, compressed strings): [`read`](Self::read) the granule then, and keep it if more rows of it will be asked for.
    ///
    /// The page's checksum is verified at the first call for any of its rows only, so that this costs no pass over the page: bytes that change
    /// in memory after that are not noticed. `dictionary` is as in [`read`](Self::read).
    ///
    /// # Errors
    /// If there is no such granule or row, or its page or the dictionary is damaged.
    pub fn value(
        &self,
        granule: usize,
        row: usize,
        dictionary: Option<&Arc<Dictionary>>,
    ) -> Result<Option<ArrayRef>, FormatError> {
        let loaded = self.loaded()?;
        let entry = self.page_entry(granule)?;
        let bytes = self.bytes(entry.offset, entry.bytes, "page")?;
        if !loaded.is_verified(granule) {
            verify(bytes, entry.offset, entry.crc, "page")?;
            loaded.set_verified(granule);
        }
        let rows = self.segment.granule_rows(granule);
        let mut cursor = Cursor::new(bytes, entry.offset);
        if row >= rows {
            return Err(cursor.invalid("row of the page", format!("below {rows}"), row));
        }
        match page::decode_one(&mut cursor, self.data_type(), rows, row, self.dictionary_entries()?)? {
            PageRow::Value(value) => Ok(Some(value)),
            PageRow::Code(None) => Ok(Some(arrow::array::new_null_array(self.data_type(), 1))),
            PageRow::Code(Some(code)) => {
                let dictionary = self.own_dictionary(dictionary)?;
                // The code is below the entry count.
                Ok(Some(dictionary.values().slice(code as usize, 1)))
            }
            PageRow::Whole => Ok(None),
        }
    }

    fn dictionary_entries(&self) -> Result<u32, FormatError> {
        Ok(self.loaded()?.metadata.dictionary.as_ref().map_or(0, |layout| layout.entries))
    }

    /// The dictionary that was given, if it is the column's, or else the column's.
    fn own_dictionary(&self, given: Option<&Arc<Dictionary>>) -> Result<Arc<Dictionary>, FormatError> {
        let dictionary = match given {
            Some(given) => Arc::clone(given),
            None => self.dictionary()?,
        };
        let entries = self.dictionary_entries()? as usize;
        if dictionary.len() != entries || dictionary.values().data_type() != self.data_type() {
            return Err(self.refused(format!("one of {} entries", dictionary.len())));
        }
        Ok(dictionary)
    }

    fn refused(&self, found: String) -> FormatError {
        FormatError::Invalid {
            offset: self.entry().offset,
            what: "dictionary given for the column",
            expected: "its own".to_owned(),
            found,
        }
    }

    fn page_entry(&self, granule: usize) -> Result<&PageEntry, FormatError> {
        let pages = &self.loaded()?.metadata.pages;
        pages.get(granule).ok_or(FormatError::NoSuchGranule { granule, granules: self.segment.granules() })
    }

    fn page(&self, granule: usize) -> Result<Page, FormatError> {
        let entry = self.page_entry(granule)?;
        let bytes = self.bytes(entry.offset, entry.bytes, "page")?;
        verify(bytes, entry.offset, entry.crc, "page")?;
        let rows = self.segment.granule_rows(granule);
        page::decode(&mut Cursor::new(bytes, entry.offset), self.data_type(), rows, self.dictionary_entries()?)
    }
}
