//! Segment-wide dictionaries of strings and binary values.
//!
//! ```text
//! entries, sorted by bytes, in LZ4 blocks of about 64 KiB   | lengths: integer node
//! "" | "http://a.ru/1" | "http://a.ru/2" | ...
//! ```
//!
//! A page then holds one code a row, the entry's position. Filters and groupings work on codes; a decoded dictionary is
//! one contiguous buffer, so that a substring search runs over it in one go.
//!
//! Invariants: entries are distinct; if the sorted flag is set, they ascend by bytes, so codes compare as values do.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, StringViewArray};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::DataType;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::bit_pack::bits_for;
use crate::blocks::{self, BlockEntry};
use crate::cursor::{Cursor, verify};
use crate::error::{FormatError, WriteError};
use crate::{SEGMENT_ROWS_MAX, integers, strings};

/// Bytes of entries beyond which a column is stored plain: a decoded dictionary is one Arrow buffer.
const DICTIONARY_BYTES_MAX: usize = 1 << 30;

/// The values of one column, not yet written: distinct entries, and the code of each row.
pub(crate) struct BuiltDictionary<'a> {
    /// Distinct values, ascending.
    pub(crate) entries: Vec<&'a [u8]>,
    /// One code a row; a NULL repeats a neighbour.
    pub(crate) codes: Vec<u32>,
}

/// Builds the dictionary of `chunks`; `None` if plain storage is the better choice.
///
/// `distinct_max` is the greatest share of distinct values among all valid ones.
pub(crate) fn build<'a>(chunks: &'a [ArrayRef], distinct_max: f64) -> Option<BuiltDictionary<'a>> {
    let rows: usize = chunks.iter().map(Array::len).sum();
    let nulls: usize = chunks.iter().map(Array::null_count).sum();
    let limit = ((rows - nulls) as f64 * distinct_max) as usize;
    let mut builder = Builder::new(limit, rows);
    for chunk in chunks {
        match chunk.data_type() {
            DataType::Utf8View => {
                builder.extend(chunk.as_string_view().iter().map(|value| value.map(str::as_bytes)))?;
            }
            _ => builder.extend(chunk.as_binary_view().iter())?,
        }
    }
    builder.finish()
}

struct Builder<'a> {
    table: HashTable<(u32, u32)>,
    hasher: DefaultHashBuilder,
    entries: Vec<&'a [u8]>,
    codes: Vec<u32>,
    limit: usize,
    entry_bytes: usize,
    value_bytes: usize,
    length_max: usize,
}

impl<'a> Builder<'a> {
    fn new(limit: usize, rows: usize) -> Self {
        Builder {
            table: HashTable::with_capacity(1024),
            hasher: DefaultHashBuilder::default(),
            entries: Vec::new(),
            codes: Vec::with_capacity(rows),
            limit,
            entry_bytes: 0,
            value_bytes: 0,
            length_max: 0,
        }
    }

    /// Takes the next rows; `None` once there are too many distinct values.
    fn extend(&mut self, values: impl Iterator<Item = Option<&'a [u8]>>) -> Option<()> {
        let mut previous: Option<(&'a [u8], u32)> = None;
        for value in values {
            let code = match (value, previous) {
                (None, _) => self.codes.last().copied().unwrap_or(0),
                (Some(value), Some((last, code))) if value == last => {
                    self.value_bytes += value.len();
                    code
                }
                (Some(value), _) => {
                    let code = self.code_of(value)?;
                    previous = Some((value, code));
                    code
                }
            };
            self.codes.push(code);
        }
        Some(())
    }

    fn code_of(&mut self, value: &'a [u8]) -> Option<u32> {
        self.value_bytes += value.len();
        let hash = self.hasher.hash_one(value);
        // The table keeps half of the hash, so that growing it and most mismatches do not touch the entries.
        let tag = (hash >> 32) as u32;
        let entries = &self.entries;
        if let Some(&(_, code)) =
            self.table.find(hash, |&(other, code)| other == tag && entries[code as usize] == value)
        {
            return Some(code);
        }
        let code = self.entries.len() as u32;
        self.entry_bytes += value.len();
        if self.entries.len() >= self.limit || self.entry_bytes > DICTIONARY_BYTES_MAX {
            return None;
        }
        self.length_max = self.length_max.max(value.len());
        self.entries.push(value);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.table.insert_unique(hash, (tag, code), |&(_, code)| hasher.hash_one(entries[code as usize]));
        Some(code)
    }

    fn finish(mut self) -> Option<BuiltDictionary<'a>> {
        if self.entries.is_empty() || !(self.is_smaller() || self.is_small()) {
            return None;
        }
        let order = sorted_order(&self.entries);
        let mut rank = vec![0_u32; order.len()];
        for (position, &code) in order.iter().enumerate() {
            rank[code as usize] = position as u32;
        }
        self.codes.iter_mut().for_each(|code| *code = rank[*code as usize]);
        let entries = order.iter().map(|&code| self.entries[code as usize]).collect();
        Some(BuiltDictionary { entries, codes: self.codes })
    }

    /// Whether there are so few entries that codes are worth having even where short values would take fewer bytes:
    /// filters and groupings work on codes.
    fn is_small(&self) -> bool {
        self.entries.len() * 16 <= self.codes.len()
    }

    /// Whether codes and entries take fewer bytes than the values, compression aside.
    fn is_smaller(&self) -> bool {
        let bits = |count: usize, width: u8| count * usize::from(width) / 8;
        let length_bits = bits_for(self.length_max as u64);
        let code_bits = bits_for(self.entries.len() as u64 - 1);
        let encoded = self.entry_bytes + bits(self.entries.len(), length_bits) + bits(self.codes.len(), code_bits);
        encoded < self.value_bytes + bits(self.codes.len(), length_bits) + 1
    }
}

/// Positions of `entries` in ascending order of their bytes.
///
/// Most comparisons are decided by the eight bytes after the prefix that all entries but the empty one share.
fn sorted_order(entries: &[&[u8]]) -> Vec<u32> {
    let shared = shared_prefix_bytes(entries);
    let mut keyed: Vec<(u64, u32)> = entries
        .iter()
        .enumerate()
        .map(|(position, entry)| {
            let mut key = [0; 8];
            let tail = entry.get(shared..).unwrap_or_default();
            let length = tail.len().min(8);
            key[..length].copy_from_slice(&tail[..length]);
            (u64::from_be_bytes(key), position as u32)
        })
        .collect();
    keyed.sort_unstable_by(|(left_key, left), (right_key, right)| {
        left_key.cmp(right_key).then_with(|| entries[*left as usize].cmp(entries[*right as usize]))
    });
    keyed.into_iter().map(|(_, position)| position).collect()
}

fn shared_prefix_bytes(entries: &[&[u8]]) -> usize {
    let mut filled = entries.iter().filter(|entry| !entry.is_empty());
    let Some(first) = filled.next() else { return 0 };
    filled.fold(first.len(), |shared, entry| {
        first[..shared].iter().zip(entry.iter()).take_while(|(left, right)| left == right).count()
    })
}

/// Where a dictionary's bytes lie; stored in the metadata of its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DictionaryLayout {
    /// Number of entries.
    pub(crate) entries: u32,
    /// Whether the entries ascend.
    pub(crate) sorted: bool,
    /// Each block and its checksum.
    blocks: Vec<(BlockEntry, u32)>,
    lengths_bytes: u32,
    lengths_crc: u32,
}

impl BuiltDictionary<'_> {
    /// Appends the dictionary's bytes to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<DictionaryLayout, WriteError> {
        let mut position = out.len();
        let entries = blocks::encode(self.entries.iter().copied(), true, out)?;
        let blocks = entries
            .into_iter()
            .map(|entry| {
                let end = position + entry.stored_bytes as usize;
                let crc = crc32c::crc32c(&out[position..end]);
                position = end;
                (entry, crc)
            })
            .collect();
        let lengths: Vec<i64> = self.entries.iter().map(|entry| entry.len() as i64).collect();
        integers::encode(&lengths, out);
        let lengths = &out[position..];
        Ok(DictionaryLayout {
            entries: self.entries.len() as u32,
            sorted: true,
            blocks,
            lengths_bytes: lengths.len() as u32,
            lengths_crc: crc32c::crc32c(lengths),
        })
    }
}

impl DictionaryLayout {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.push(u8::from(self.sorted));
        out.extend_from_slice(&self.lengths_bytes.to_le_bytes());
        out.extend_from_slice(&self.lengths_crc.to_le_bytes());
        out.extend_from_slice(&(self.blocks.len() as u32).to_le_bytes());
        for (entry, crc) in &self.blocks {
            entry.write(out);
            out.extend_from_slice(&crc.to_le_bytes());
        }
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<DictionaryLayout, FormatError> {
        let entries = cursor.u32("dictionary entry count")?;
        if entries as usize > SEGMENT_ROWS_MAX {
            return Err(cursor.invalid("dictionary entry count", format!("at most {SEGMENT_ROWS_MAX}"), entries));
        }
        let sorted = match cursor.u8("dictionary sorted flag")? {
            0 => false,
            1 => true,
            other => return Err(cursor.invalid("dictionary sorted flag", "0 or 1", other)),
        };
        let lengths_bytes = cursor.u32("dictionary lengths bytes")?;
        let lengths_crc = cursor.u32("dictionary lengths checksum")?;
        let count = cursor.u32("dictionary block count")?;
        if count > entries || count as usize > cursor.remaining() / blocks::ENTRY_BYTES {
            return Err(cursor.invalid("dictionary block count", format!("at most {entries}"), count));
        }
        let mut layout_blocks = Vec::with_capacity(count as usize);
        for _ in 0..count {
            layout_blocks.push((BlockEntry::read(cursor)?, cursor.u32("dictionary block checksum")?));
        }
        let layout = DictionaryLayout { entries, sorted, blocks: layout_blocks, lengths_bytes, lengths_crc };
        let (values, raw) = layout.blocks.iter().fold((0_u64, 0_u64), |(values, raw), (entry, _)| {
            (values + u64::from(entry.values), raw + u64::from(entry.raw_bytes))
        });
        if values != u64::from(entries) {
            return Err(cursor.invalid("entries in dictionary blocks", entries, values));
        }
        if raw > (DICTIONARY_BYTES_MAX + blocks::BLOCK_BYTES_MAX) as u64 || raw > i32::MAX as u64 {
            return Err(cursor.invalid("dictionary raw bytes", "below 2^31", raw));
        }
        Ok(layout)
    }

    /// Bytes of the dictionary in the segment.
    pub(crate) fn stored_bytes(&self) -> u64 {
        u64::from(self.lengths_bytes) + self.blocks.iter().map(|(entry, _)| u64::from(entry.stored_bytes)).sum::<u64>()
    }

    /// Bytes of the entries once decoded, without their views.
    fn raw_bytes(&self) -> usize {
        self.blocks.iter().map(|(entry, _)| entry.raw_bytes as usize).sum()
    }

    /// Decodes the dictionary from its bytes, which start at `offset` of the segment.
    pub(crate) fn decode(&self, bytes: &[u8], offset: u64, data_type: &DataType) -> Result<Dictionary, FormatError> {
        let mut cursor = Cursor::new(bytes, offset);
        let mut raw = Vec::new();
        for (entry, crc) in &self.blocks {
            let start = cursor.offset();
            let stored = cursor.take(entry.stored_bytes as usize, "dictionary block")?;
            verify(stored, start, *crc, "dictionary block")?;
            if raw.is_empty() {
                raw.reserve_exact(self.raw_bytes());
            }
            entry.decode(stored, start, &mut raw)?;
        }
        let start = cursor.offset();
        let lengths = cursor.take(self.lengths_bytes as usize, "dictionary lengths")?;
        cursor.finish("dictionary")?;
        verify(lengths, start, self.lengths_crc, "dictionary lengths")?;
        let mut cursor = Cursor::new(lengths, start);
        let lengths = integers::decode(&mut cursor, self.entries as usize)?;
        cursor.finish("dictionary lengths")?;
        let mut views = Vec::with_capacity(lengths.len());
        strings::push_views(&raw, &lengths, 0, &mut views)
            .ok_or_else(|| cursor.invalid("dictionary lengths", format!("a sum of {}", raw.len()), "another sum"))?;
        let size_bytes = raw.len() + views.len() * size_of::<u128>();
        let (views, buffers) = (ScalarBuffer::from(views), vec![Buffer::from_vec(raw)]);
        let values: Result<ArrayRef, _> = match data_type {
            DataType::Utf8View => StringViewArray::try_new(views, buffers, None).map(|array| Arc::new(array) as _),
            _ => BinaryViewArray::try_new(views, buffers, None).map(|array| Arc::new(array) as _),
        };
        let values = values.map_err(|error| cursor.invalid("dictionary entries", "valid values", error))?;
        Ok(Dictionary { values, sorted: self.sorted, size_bytes })
    }
}

/// A decoded dictionary: the distinct values of one column of one segment.
#[derive(Clone, Debug)]
pub struct Dictionary {
    values: ArrayRef,
    sorted: bool,
    size_bytes: usize,
}

impl Dictionary {
    /// The entries in order of their codes, without NULL: a `StringViewArray` or a `BinaryViewArray`, as the column's
    /// type is. All long views point into one buffer, in which the entries follow one another in order of their codes.
    #[must_use]
    pub fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether the entries ascend by bytes, so that codes compare as values do. `false` proves nothing about the order.
    #[must_use]
    pub fn sorted(&self) -> bool {
        self.sorted
    }

    /// All entries' bytes one after the other.
    #[must_use]
    pub fn contiguous_bytes(&self) -> &[u8] {
        let buffers = match self.values.data_type() {
            DataType::Utf8View => self.values.as_string_view().data_buffers(),
            _ => self.values.as_binary_view().data_buffers(),
        };
        buffers.first().map(Buffer::as_slice).unwrap_or_default()
    }

    /// Bytes of memory that the dictionary holds.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(values: Vec<Option<&str>>) -> ArrayRef {
        Arc::new(StringViewArray::from(values))
    }

    #[test]
    fn codes_compare_as_values() {
        let chunks = [
            strings(vec![None, Some("http://b.example/long/enough"), Some("http://a.example/long/enough")]),
            strings(vec![Some("http://b.example/long/enough"), None, Some(""), Some(""), Some("")]),
        ];
        let built = build(&chunks, 0.6).unwrap();
        assert_eq!(built.entries, [&b""[..], b"http://a.example/long/enough", b"http://b.example/long/enough"]);
        assert_eq!(built.codes, [2, 2, 1, 2, 2, 0, 0, 0]);
        let mut bytes = Vec::new();
        let layout = built.write(&mut bytes).unwrap();
        let mut meta = Vec::new();
        layout.write(&mut meta);
        assert_eq!(DictionaryLayout::read(&mut Cursor::new(&meta, 0)).unwrap(), layout);
        assert_eq!(layout.stored_bytes(), bytes.len() as u64);
        let dictionary = layout.decode(&bytes, 0, &DataType::Utf8View).unwrap();
        assert_eq!(dictionary.values().as_string_view().value(1), "http://a.example/long/enough");
        assert!(dictionary.sorted());
        bytes[3] ^= 1;
        assert!(matches!(layout.decode(&bytes, 0, &DataType::Utf8View), Err(FormatError::Checksum { .. })));
    }

    #[test]
    fn mostly_distinct_values_stay_plain() {
        let owned: Vec<String> = (0..1000).map(|i| format!("value {i}")).collect();
        let chunks = [strings(owned.iter().map(|value| Some(value.as_str())).collect())];
        assert!(build(&chunks, 0.6).is_none());
        assert!(build(&[strings(vec![None, None])], 0.6).is_none());
        // Short values, but few of them.
        let owned: Vec<String> =
            (0..1000).map(|i| if i % 20 == 0 { format!("{}", i % 50) } else { String::new() }).collect();
        let chunks = [strings(owned.iter().map(|value| Some(value.as_str())).collect())];
        assert!(build(&chunks, 0.6).is_some());
    }

    #[test]
    fn order_is_by_bytes() {
        let entries: Vec<&[u8]> = vec![b"ab\0", b"ab", b"abcdefghijk", b"abcdefghijj", b"ab\xff", b"ab\0\0"];
        let sorted: Vec<&[u8]> =
            sorted_order(&entries).into_iter().map(|position| entries[position as usize]).collect();
        let mut expected = entries.clone();
        expected.sort_unstable();
        assert_eq!(sorted, expected);
    }
}
