//! Segments and deletes as the log and the checkpoint list them.

use colonnade_types::{Lsn, SegmentId};

use crate::codec::{CodecError, Decoder, Encoder};

/// A live segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    /// Names the file.
    pub id: SegmentId,
    /// Rows in it, deleted ones included.
    pub rows: u32,
    /// Length of the file in bytes.
    pub size_bytes: u64,
    /// Bytes of the same rows before encoding.
    pub raw_bytes: u64,
    /// crc32c of the file's footer or whatever the writer gives to tell this file from another of the same name.
    pub checksum: u32,
    /// When its rows were created.
    pub created: CreatedLsn,
}

/// Where the created LSN of a segment's rows is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatedLsn {
    /// All rows have this one.
    Constant(Lsn),
    /// Every row has its own, in the segment's hidden column; none is greater than this one.
    Column(Lsn),
    /// All rows have the LSN of the record that adds the segment. In log records only; a checkpoint has `Constant` instead.
    Commit,
}

impl CreatedLsn {
    /// The same with `commit`, the LSN of the record, filled in.
    #[must_use]
    pub fn resolve(self, commit: Lsn) -> CreatedLsn {
        match self {
            CreatedLsn::Commit => CreatedLsn::Constant(commit),
            other => other,
        }
    }
}

/// A deleted row of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedDelete {
    /// The segment.
    pub segment: SegmentId,
    /// The row's offset in it.
    pub offset: u32,
    /// When it was deleted.
    pub lsn: Lsn,
}

/// Appends an entry.
pub fn encode_entry(out: &mut Encoder, entry: &SegmentEntry) {
    out.varint(entry.id.0);
    out.varint(u64::from(entry.rows));
    out.varint(entry.size_bytes);
    out.varint(entry.raw_bytes);
    out.u32(entry.checksum);
    match entry.created {
        CreatedLsn::Constant(lsn) => {
            out.u8(1);
            out.varint(lsn.0);
        }
        CreatedLsn::Column(lsn) => {
            out.u8(2);
            out.varint(lsn.0);
        }
        CreatedLsn::Commit => out.u8(3),
    }
}

/// Reads what [`encode_entry`] wrote.
///
/// # Errors
/// [`CodecError`] if the bytes are no entry.
pub fn decode_entry(input: &mut Decoder<'_>) -> Result<SegmentEntry, CodecError> {
    Ok(SegmentEntry {
        id: SegmentId(input.varint()?),
        rows: input.varint_u32()?,
        size_bytes: input.varint()?,
        raw_bytes: input.varint()?,
        checksum: input.u32()?,
        created: match input.u8()? {
            1 => CreatedLsn::Constant(Lsn(input.varint()?)),
            2 => CreatedLsn::Column(Lsn(input.varint()?)),
            3 => CreatedLsn::Commit,
            other => return Err(input.error(format!("expected a kind of created LSN up to 3, found {other}"))),
        },
    })
}

/// Appends ascending offsets: count, then the distance of each from the one before.
pub fn encode_offsets(out: &mut Encoder, offsets: impl ExactSizeIterator<Item = u32>) {
    out.count(offsets.len());
    let mut before = 0;
    for offset in offsets {
        debug_assert!(offset >= before, "offsets ascend");
        out.varint(u64::from(offset - before));
        before = offset;
    }
}

/// Reads what [`encode_offsets`] wrote.
///
/// # Errors
/// [`CodecError`] if the bytes are no offsets.
pub fn decode_offsets(input: &mut Decoder<'_>) -> Result<Vec<u32>, CodecError> {
    let mut before = 0u32;
    input.list(1, |input| {
        let step = input.varint_u32()?;
        before = before.checked_add(step).ok_or_else(|| input.error("expected an offset of at most 32 bits"))?;
        Ok(before)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_offsets_survive() {
        for created in [CreatedLsn::Constant(Lsn(5)), CreatedLsn::Column(Lsn(u64::MAX)), CreatedLsn::Commit] {
            let entry = SegmentEntry {
                id: SegmentId(1 << 50),
                rows: 1_048_576,
                size_bytes: 1 << 33,
                raw_bytes: 1 << 34,
                checksum: 1,
                created,
            };
            let mut out = Encoder::new();
            encode_entry(&mut out, &entry);
            encode_offsets(&mut out, [1, 2, 1_000_000].into_iter());
            let bytes = out.into_vec();
            let mut input = Decoder::new(&bytes);
            assert_eq!(decode_entry(&mut input), Ok(entry));
            assert_eq!(decode_offsets(&mut input), Ok(vec![1, 2, 1_000_000]));
            input.finish().unwrap();
        }
        assert_eq!(CreatedLsn::Commit.resolve(Lsn(8)), CreatedLsn::Constant(Lsn(8)));
        assert_eq!(CreatedLsn::Column(Lsn(4)).resolve(Lsn(8)), CreatedLsn::Column(Lsn(4)));
    }
}
