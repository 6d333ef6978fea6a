//! Runs of string bytes in blocks of about 64 KiB, each LZ4-compressed if that saves an eighth.
//!
//! ```text
//! table entry: value count u32 | raw bytes u32 | stored bytes u32 | codec u8 (0 raw, 1 LZ4)
//! ```
//!
//! Invariants: a value lies in one block; a block that was not worth compressing is stored raw.

use crate::cursor::Cursor;
use crate::error::{FormatError, WriteError};

/// Bytes of values after which a block is closed.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
/// Greatest size of one block, and so of one value: Arrow's views address 31 bits.
pub(crate) const BLOCK_BYTES_MAX: usize = i32::MAX as usize;
/// Bytes of a table entry.
pub(crate) const ENTRY_BYTES: usize = 13;

const CODEC_RAW: u8 = 0;
const CODEC_LZ4: u8 = 1;

/// One block's entry in the table of its page or dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    /// Values in the block.
    pub(crate) values: u32,
    /// Bytes of the values.
    pub(crate) raw_bytes: u32,
    /// Bytes in the segment.
    pub(crate) stored_bytes: u32,
    codec: u8,
}

impl BlockEntry {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.values.to_le_bytes());
        out.extend_from_slice(&self.raw_bytes.to_le_bytes());
        out.extend_from_slice(&self.stored_bytes.to_le_bytes());
        out.push(self.codec);
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<BlockEntry, FormatError> {
        let entry = BlockEntry {
            values: cursor.u32("block value count")?,
            raw_bytes: cursor.u32("block raw bytes")?,
            stored_bytes: cursor.u32("block stored bytes")?,
            codec: cursor.u8("block codec")?,
        };
        let (raw, stored) = (u64::from(entry.raw_bytes), u64::from(entry.stored_bytes));
        let fits = match entry.codec {
            CODEC_RAW => raw == stored,
            // LZ4 cannot shrink by more than 255; a larger claim would only make the reader allocate.
            CODEC_LZ4 => raw <= (stored + 1) * 255,
            _ => return Err(cursor.invalid("block codec", "0 or 1", entry.codec)),
        };
        if !fits || raw > BLOCK_BYTES_MAX as u64 {
            return Err(cursor.invalid("block raw bytes", format!("a size that {stored} bytes can hold"), raw));
        }
        Ok(entry)
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.codec == CODEC_LZ4
    }

    /// Appends the block's values to `out`. `stored` must be its stored bytes.
    pub(crate) fn decode(&self, stored: &[u8], offset: u64, out: &mut Vec<u8>) -> Result<(), FormatError> {
        if self.codec == CODEC_RAW {
            out.extend_from_slice(stored);
            return Ok(());
        }
        let start = out.len();
        let raw = self.raw_bytes as usize;
        out.resize(start + raw, 0);
        let invalid = |found: String| FormatError::Invalid {
            offset,
            what: "LZ4 block",
            expected: format!("{raw} bytes when decompressed"),
            found,
        };
        match lz4_flex::block::decompress_into(stored, &mut out[start..]) {
            Ok(length) if length == raw => Ok(()),
            Ok(length) => Err(invalid(format!("{length} bytes"))),
            Err(error) => Err(invalid(error.to_string())),
        }
    }
}

/// Cuts `values` into blocks: the table, and the stored bytes one after the other.
pub(crate) fn encode<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    compress: bool,
    out: &mut Vec<u8>,
) -> Result<Vec<BlockEntry>, WriteError> {
    let mut entries = Vec::new();
    let mut raw = Vec::with_capacity(BLOCK_BYTES * 2);
    let mut scratch = Vec::new();
    let mut count = 0;
    for value in values {
        if value.len() > BLOCK_BYTES_MAX {
            return Err(WriteError::TooLarge {
                what: "size of a value",
                found: value.len() as u64,
                limit: BLOCK_BYTES_MAX as u64,
            });
        }
        if raw.len() >= BLOCK_BYTES || raw.len() + value.len() > BLOCK_BYTES_MAX {
            entries.push(close(&raw, count, compress, &mut scratch, out));
            raw.clear();
            count = 0;
        }
        raw.extend_from_slice(value);
        count += 1;
    }
    if count > 0 {
        entries.push(close(&raw, count, compress, &mut scratch, out));
    }
    Ok(entries)
}

fn close(raw: &[u8], values: u32, compress: bool, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> BlockEntry {
    let raw_bytes = raw.len() as u32;
    if compress && raw.len() >= 64 {
        scratch.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
        let stored = lz4_flex::block::compress_into(raw, scratch).unwrap_or(usize::MAX);
        if stored <= raw.len() / 8 * 7 {
            out.extend_from_slice(&scratch[..stored]);
            return BlockEntry { values, raw_bytes, stored_bytes: stored as u32, codec: CODEC_LZ4 };
        }
    }
    out.extend_from_slice(raw);
    BlockEntry { values, raw_bytes, stored_bytes: raw_bytes, codec: CODEC_RAW }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_round_trip() {
        let values: Vec<Vec<u8>> =
            (0..20_000).map(|i| format!("http://example.com/{}", i % 977).into_bytes()).collect();
        let mut stored = Vec::new();
        let entries = encode(values.iter().map(Vec::as_slice), true, &mut stored).unwrap();
        assert!(entries.len() > 1 && entries.iter().all(BlockEntry::is_compressed));
        let (mut raw, mut position) = (Vec::new(), 0);
        for entry in &entries {
            let end = position + entry.stored_bytes as usize;
            entry.decode(&stored[position..end], 0, &mut raw).unwrap();
            position = end;
        }
        assert_eq!(position, stored.len());
        assert_eq!(raw, values.concat());
        assert!(entries[0].decode(&stored[1..entries[0].stored_bytes as usize], 0, &mut Vec::new()).is_err());
    }

    #[test]
    fn claims_beyond_lz4s_reach_are_refused() {
        let mut bytes = Vec::new();
        BlockEntry { values: 1, raw_bytes: 1 << 30, stored_bytes: 100, codec: CODEC_LZ4 }.write(&mut bytes);
        assert!(BlockEntry::read(&mut Cursor::new(&bytes, 0)).is_err());
    }
}
