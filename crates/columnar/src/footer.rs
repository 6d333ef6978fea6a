//! The footer of a segment and the metadata of its columns.
//!
//! ```text
//! | header | column 0 | column 1 | ... | footer | tail |
//!            \- dictionary | pages | metadata
//! ```
//!
//! Invariants, checked when a segment is opened: columns lie one after the other between header and footer without a
//! gap, and the metadata of each is the end of its range. Checked when a column is first used: dictionary and pages fill
//! the rest of the range. So every byte of a file belongs to exactly one checksum.

use arrow::datatypes::DataType;

use crate::cursor::{Cursor, verify};
use crate::data_type;
use crate::dictionary::DictionaryLayout;
use crate::encoding::Encodings;
use crate::error::{FormatError, WriteError};
use crate::{FORMAT_VERSION, GRANULE_ROWS, ROW_GROUP_ROWS, SEGMENT_ROWS_MAX};

const HEADER_MAGIC: [u8; 8] = *b"COLNSEG\0";
const TAIL_MAGIC: [u8; 8] = *b"\0GESNLOC";
/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes of the tail.
pub(crate) const TAIL_BYTES: usize = 32;
/// Bytes of the tail that its checksum covers, after the footer.
const TAIL_CHECKED_BYTES: usize = 20;

const FLAG_DICTIONARY: u8 = 1;
const DISTINCT_UNKNOWN: u64 = u64::MAX;

/// What the footer says about one column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnEntry {
    pub(crate) id: u32,
    pub(crate) data_type: DataType,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) metadata_bytes: u32,
    pub(crate) metadata_crc: u32,
    pub(crate) encodings: Encodings,
    pub(crate) has_dictionary: bool,
    pub(crate) distinct: Option<u64>,
    pub(crate) plain_bytes: u64,
}

/// The footer: rows and columns of a segment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Footer {
    pub(crate) rows: usize,
    pub(crate) columns: Vec<ColumnEntry>,
}

/// The header, which is the same for all segments of a version but for the row count.
pub(crate) fn write_header(rows: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&HEADER_MAGIC);
    for field in [FORMAT_VERSION, rows as u32, GRANULE_ROWS as u32, ROW_GROUP_ROWS as u32, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    let crc = crc32c::crc32c(out);
    out.extend_from_slice(&crc.to_le_bytes());
}

impl Footer {
    /// Appends footer and tail; `offset` is where they start.
    pub(crate) fn write(&self, offset: u64, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let start = out.len();
        out.extend_from_slice(&(self.columns.len() as u32).to_le_bytes());
        for column in &self.columns {
            out.extend_from_slice(&column.id.to_le_bytes());
            out.extend_from_slice(&column.offset.to_le_bytes());
            out.extend_from_slice(&column.bytes.to_le_bytes());
            out.extend_from_slice(&column.metadata_bytes.to_le_bytes());
            out.extend_from_slice(&column.metadata_crc.to_le_bytes());
            out.extend_from_slice(&column.encodings.bits().to_le_bytes());
            out.push(if column.has_dictionary { FLAG_DICTIONARY } else { 0 });
            out.extend_from_slice(&column.distinct.unwrap_or(DISTINCT_UNKNOWN).to_le_bytes());
            out.extend_from_slice(&column.plain_bytes.to_le_bytes());
            data_type::write(&column.data_type, out)?;
        }
        let footer_bytes = u32::try_from(out.len() - start).map_err(|_| WriteError::TooLarge {
            what: "size of the footer",
            found: (out.len() - start) as u64,
            limit: u64::from(u32::MAX),
        })?;
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&footer_bytes.to_le_bytes());
        out.extend_from_slice(&(self.rows as u32).to_le_bytes());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&TAIL_MAGIC);
        Ok(())
    }

    /// Reads header, footer and tail of a whole segment and checks them against its size.
    pub(crate) fn read(segment: &[u8]) -> Result<Footer, FormatError> {
        let size = segment.len();
        let least = HEADER_BYTES + TAIL_BYTES;
        if size < least {
            let (expected, found) = (least as u64, size as u64);
            return Err(FormatError::Truncated { offset: 0, what: "segment", expected, found });
        }
        let rows = read_header(&segment[..HEADER_BYTES])?;
        let tail_start = size - TAIL_BYTES;
        let mut tail = Cursor::new(&segment[tail_start..], tail_start as u64);
        let offset = tail.u64("footer offset")?;
        let bytes = tail.u32("footer size")?;
        let tail_rows = tail.u32("row count")?;
        let version = tail.u32("format version")?;
        let crc = tail.u32("footer checksum")?;
        let magic = tail.take(8, "end mark")?;
        if magic != TAIL_MAGIC {
            return Err(tail.invalid("end mark", escape(&TAIL_MAGIC), escape(magic)));
        }
        let end = offset.checked_add(u64::from(bytes));
        if offset < HEADER_BYTES as u64 || end != Some(tail_start as u64) {
            return Err(tail.invalid("end of the footer", tail_start, format!("{offset} + {bytes}")));
        }
        // The sum above is the tail's place in memory, so the offset fits a usize.
        let start = offset as usize;
        verify(&segment[start..tail_start + TAIL_CHECKED_BYTES], offset, crc, "footer")?;
        if version != FORMAT_VERSION || tail_rows as usize != rows {
            return Err(tail.invalid(
                "version and rows of the tail",
                "those of the header",
                format!("{version}, {tail_rows}"),
            ));
        }
        let mut cursor = Cursor::new(&segment[start..tail_start], offset);
        let columns = read_columns(&mut cursor, offset)?;
        cursor.finish("footer")?;
        Ok(Footer { rows, columns })
    }
}

fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn read_header(bytes: &[u8]) -> Result<usize, FormatError> {
    let mut cursor = Cursor::new(bytes, 0);
    let magic = cursor.take(8, "start mark")?;
    if magic != HEADER_MAGIC {
        return Err(FormatError::Invalid {
            offset: 0,
            what: "start mark",
            expected: escape(&HEADER_MAGIC),
            found: escape(magic),
        });
    }
    let version = cursor.u32("format version")?;
    if version != FORMAT_VERSION {
        return Err(FormatError::Version { offset: 8, expected: FORMAT_VERSION, found: version });
    }
    let rows = cursor.u32("row count")? as usize;
    let granule = cursor.u32("granule rows")? as usize;
    let group = cursor.u32("row group rows")? as usize;
    let reserved = cursor.u32("reserved field")?;
    let crc = cursor.u32("header checksum")?;
    verify(&bytes[..HEADER_BYTES - 4], 0, crc, "header")?;
    if rows > SEGMENT_ROWS_MAX {
        return Err(cursor.invalid("row count", format!("at most {SEGMENT_ROWS_MAX}"), rows));
    }
    if (granule, group, reserved) != (GRANULE_ROWS, ROW_GROUP_ROWS, 0) {
        let expected = format!("{GRANULE_ROWS}, {ROW_GROUP_ROWS}, 0");
        return Err(cursor.invalid(
            "granule rows, row group rows, reserved",
            expected,
            format!("{granule}, {group}, {reserved}"),
        ));
    }
    Ok(rows)
}

fn read_columns(cursor: &mut Cursor<'_>, footer_offset: u64) -> Result<Vec<ColumnEntry>, FormatError> {
    let count = cursor.u32("column count")?;
    let mut columns: Vec<ColumnEntry> = Vec::new();
    let mut next_offset = HEADER_BYTES as u64;
    for _ in 0..count {
        let id = cursor.u32("column id")?;
        let offset = cursor.u64("column offset")?;
        let bytes = cursor.u64("column size")?;
        let metadata_bytes = cursor.u32("metadata size")?;
        let metadata_crc = cursor.u32("metadata checksum")?;
        let encodings = cursor.u16("encodings")?;
        let encodings =
            Encodings::from_bits(encodings).ok_or_else(|| cursor.invalid("encodings", "known ones", encodings))?;
        let flags = cursor.u8("column flags")?;
        if flags & !FLAG_DICTIONARY != 0 {
            return Err(cursor.invalid("column flags", "0 or 1", flags));
        }
        let distinct = Some(cursor.u64("distinct count")?).filter(|&distinct| distinct != DISTINCT_UNKNOWN);
        let plain_bytes = cursor.u64("plain size")?;
        let data_type = data_type::read(cursor)?;
        if offset != next_offset {
            return Err(cursor.invalid("column offset", next_offset, offset));
        }
        next_offset = offset
            .checked_add(bytes)
            .filter(|&end| end <= footer_offset && u64::from(metadata_bytes) <= bytes)
            .ok_or_else(|| cursor.invalid("column size", "a range before the footer, metadata included", bytes))?;
        columns.push(ColumnEntry {
            id,
            data_type,
            offset,
            bytes,
            metadata_bytes,
            metadata_crc,
            encodings,
            has_dictionary: flags & FLAG_DICTIONARY != 0,
            distinct,
            plain_bytes,
        });
    }
    if next_offset != footer_offset {
        return Err(cursor.invalid("end of the last column", footer_offset, next_offset));
    }
    let mut ids: Vec<u32> = columns.iter().map(|column| column.id).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(cursor.invalid("column id", "one that is not taken", pair[0]));
    }
    Ok(columns)
}

/// One page's entry in the metadata of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageEntry {
    /// Offset of the page: in the segment when read; not stored, because pages follow one another.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) crc: u32,
    pub(crate) encodings: Encodings,
}

/// The metadata of a column but for its zone maps, which follow it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnMetadata {
    pub(crate) dictionary: Option<DictionaryLayout>,
    pub(crate) pages: Vec<PageEntry>,
}

impl ColumnMetadata {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Some(dictionary) = &self.dictionary {
            dictionary.write(out);
        }
        for page in &self.pages {
            out.extend_from_slice(&page.bytes.to_le_bytes());
            out.extend_from_slice(&page.crc.to_le_bytes());
            out.extend_from_slice(&page.encodings.bits().to_le_bytes());
        }
    }

    /// Reads the metadata; the zone maps follow at the cursor. `granules` is the number of pages.
    pub(crate) fn read(
        cursor: &mut Cursor<'_>,
        column: &ColumnEntry,
        granules: usize,
    ) -> Result<ColumnMetadata, FormatError> {
        let dictionary = if column.has_dictionary { Some(DictionaryLayout::read(cursor)?) } else { None };
        let mut offset = column.offset + dictionary.as_ref().map_or(0, DictionaryLayout::stored_bytes);
        // Opening has checked that the metadata is not larger than the column.
        let end = column.offset + column.bytes - u64::from(column.metadata_bytes);
        let mut pages = Vec::with_capacity(granules);
        for _ in 0..granules {
            let bytes = cursor.u64("page size")?;
            let crc = cursor.u32("page checksum")?;
            let encodings = cursor.u16("page encodings")?;
            let encodings =
                Encodings::from_bits(encodings).ok_or_else(|| cursor.invalid("encodings", "known ones", encodings))?;
            pages.push(PageEntry { offset, bytes, crc, encodings });
            offset = offset
                .checked_add(bytes)
                .filter(|&page_end| page_end <= end)
                .ok_or_else(|| cursor.invalid("page size", format!("a page that ends by {end}"), bytes))?;
        }
        if offset != end {
            return Err(cursor.invalid("end of the last page", end, offset));
        }
        Ok(ColumnMetadata { dictionary, pages })
    }
}
