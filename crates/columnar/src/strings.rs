//! The plain encoding of strings and binary values.
//!
//! ```text
//! lengths: integer node | block count u32 | block table | blocks
//! ```
//!
//! Invariant: the lengths of the values of a block add up to the block's raw bytes.

use arrow::array::make_view;
use arrow::buffer::{Buffer, ScalarBuffer};

use crate::blocks::{self, BlockEntry};
use crate::cursor::Cursor;
use crate::encoding::Encodings;
use crate::error::{FormatError, WriteError};
use crate::integers;

/// Appends the plain string node of `values`.
pub(crate) fn encode(values: &[&[u8]], out: &mut Vec<u8>) -> Result<Encodings, WriteError> {
    let lengths: Vec<i64> = values.iter().map(|value| value.len() as i64).collect();
    integers::encode(&lengths, out);
    let mut bytes = Vec::new();
    let entries = blocks::encode(values.iter().copied(), true, &mut bytes)?;
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    entries.iter().for_each(|entry| entry.write(out));
    out.extend_from_slice(&bytes);
    let compressed = entries.iter().any(BlockEntry::is_compressed);
    Ok(if compressed { Encodings::PLAIN.union(Encodings::LZ4) } else { Encodings::PLAIN })
}

/// Reads a plain string node: a view of each value, and one buffer a block that the longer views point into.
pub(crate) fn decode(cursor: &mut Cursor<'_>, count: usize) -> Result<(ScalarBuffer<u128>, Vec<Buffer>), FormatError> {
    let lengths = integers::decode(cursor, count)?;
    let block_count = cursor.u32("block count")? as usize;
    if block_count > count || block_count > cursor.remaining() / blocks::ENTRY_BYTES {
        return Err(cursor.invalid("block count", format!("at most {count} values in the page's bytes"), block_count));
    }
    let entries: Vec<BlockEntry> = (0..block_count).map(|_| BlockEntry::read(cursor)).collect::<Result<_, _>>()?;
    let mut views = Vec::with_capacity(count);
    let mut buffers = Vec::with_capacity(entries.len());
    let mut rest = lengths.as_slice();
    for (index, entry) in entries.iter().enumerate() {
        let offset = cursor.offset();
        let stored = cursor.take(entry.stored_bytes as usize, "string block")?;
        let mut raw = Vec::with_capacity(entry.raw_bytes as usize);
        entry.decode(stored, offset, &mut raw)?;
        let (block_lengths, others) = rest
            .split_at_checked(entry.values as usize)
            .ok_or_else(|| cursor.invalid("block value count", format!("at most {}", rest.len()), entry.values))?;
        rest = others;
        push_views(&raw, block_lengths, index as u32, &mut views)
            .ok_or_else(|| cursor.invalid("string lengths", format!("a sum of {}", raw.len()), "another sum"))?;
        buffers.push(Buffer::from_vec(raw));
    }
    if !rest.is_empty() {
        return Err(cursor.invalid("values in string blocks", count, count - rest.len()));
    }
    Ok((ScalarBuffer::from(views), buffers))
}

/// Reads the value at `index` of a plain string node of `count` values. `None` if its block is compressed: decoding the page costs hardly more then.
pub(crate) fn decode_one<'a>(
    cursor: &mut Cursor<'a>,
    count: usize,
    index: usize,
) -> Result<Option<&'a [u8]>, FormatError> {
    let lengths = cursor.clone();
    integers::skip(cursor, count)?;
    let block_count = cursor.u32("block count")? as usize;
    if block_count > count || block_count > cursor.remaining() / blocks::ENTRY_BYTES {
        return Err(cursor.invalid("block count", format!("at most {count} values in the page's bytes"), block_count));
    }
    // The value's block: how many values and stored bytes are before it.
    let (mut first, mut before, mut found) = (0_usize, 0_usize, None);
    for _ in 0..block_count {
        let entry = BlockEntry::read(cursor)?;
        if found.is_none() {
            let end = first + entry.values as usize;
            if index < end {
                found = Some(entry);
            } else {
                first = end;
                before += entry.stored_bytes as usize;
            }
        }
    }
    let Some(block) = found else {
        return Err(cursor.invalid("values in string blocks", format!("more than {index}"), first));
    };
    if block.is_compressed() {
        return Ok(None);
    }
    let sum = |terms| integers::sum(&mut lengths.clone(), count, terms);
    let start = usize::try_from(sum(index)?.wrapping_sub(sum(first)?)).ok();
    let length = usize::try_from(integers::decode_one(&mut lengths.clone(), count, index)?).ok();
    cursor.take(before, "string block")?;
    let raw = cursor.take(block.raw_bytes as usize, "string block")?;
    let value = start.zip(length).and_then(|(start, length)| raw.get(start..start.checked_add(length)?));
    value.map(Some).ok_or_else(|| cursor.invalid("string lengths", format!("a sum of {}", raw.len()), "another sum"))
}

/// Appends one view for each length; `None` unless the lengths are exactly the bytes of `raw`.
pub(crate) fn push_views(raw: &[u8], lengths: &[i64], buffer: u32, views: &mut Vec<u128>) -> Option<()> {
    let mut position = 0_usize;
    for &length in lengths {
        let end = position.checked_add(usize::try_from(length).ok()?)?;
        views.push(make_view(raw.get(position..end)?, buffer, u32::try_from(position).ok()?));
        position = end;
    }
    (position == raw.len()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringViewArray;

    #[test]
    fn strings_round_trip() {
        let owned: Vec<String> = (0..5000).map(|i| "säule ".repeat(i % 40)).collect();
        let values: Vec<&[u8]> = owned.iter().map(String::as_bytes).collect();
        let mut bytes = Vec::new();
        assert_eq!(encode(&values, &mut bytes).unwrap(), Encodings::PLAIN.union(Encodings::LZ4));
        let mut cursor = Cursor::new(&bytes, 0);
        let (views, buffers) = decode(&mut cursor, values.len()).unwrap();
        cursor.finish("node").unwrap();
        assert!(buffers.len() > 1);
        let array = StringViewArray::try_new(views, buffers, None).unwrap();
        assert!(array.iter().flatten().eq(owned.iter().map(String::as_str)));
        // Values that do not compress are read one by one.
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 56) as u8
        };
        let owned: Vec<Vec<u8>> = (0..5000).map(|i| (0..i % 40).map(|_| next()).collect()).collect();
        let values: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
        let mut plain = Vec::new();
        assert_eq!(encode(&values, &mut plain).unwrap(), Encodings::PLAIN);
        for (index, value) in values.iter().enumerate() {
            let found = decode_one(&mut Cursor::new(&plain, 0), values.len(), index).unwrap();
            assert_eq!(found, Some(*value), "value {index}");
        }
        assert_eq!(decode_one(&mut Cursor::new(&bytes, 0), 5000, 7).unwrap(), None, "a compressed block");
    }

    #[test]
    fn lengths_must_fit_the_bytes() {
        assert!(push_views(b"abc", &[1, 2], 0, &mut Vec::new()).is_some());
        for lengths in [&[1, 1][..], &[4], &[-1, 4], &[i64::MAX, i64::MAX]] {
            assert!(push_views(b"abc", lengths, 0, &mut Vec::new()).is_none());
        }
    }
}
