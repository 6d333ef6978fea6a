//! One frame of the log: a whole record or a piece of one.
//!
//! ```text
//! offset bytes
//!      0     4  crc32c of bytes 4 .. 32 + length
//!      4     4  length of the payload
//!      8     8  position: the LSN of this frame's first byte
//!     16     8  durable: an LSN known to be durable when the frame was made
//!     24     1  kind: 1 whole, 2 first, 3 middle, 4 last, 5 mark
//!     25     1  version, 1
//!     26     6  zero
//!     32        payload, then zeros up to a multiple of 8
//! ```
//!
//! The position makes a frame valid in one place only, so whatever a recycled file holds from its earlier life can never pass.
//! `durable` is what tells damage from a torn tail: a valid frame proves that everything before its `durable` was once
//! synced.

use colonnade_types::Lsn;

/// Bytes before the payload.
pub const FRAME_HEADER_BYTES: usize = 32;
/// Frames start at multiples of this.
pub(super) const FRAME_ALIGNMENT: usize = 8;
/// Where fewer bytes are left in a file, no frame is put; the rest is zeros.
pub(super) const FRAME_ROOM_MIN: u64 = 40;
/// Version of the frame that is written.
pub const FRAME_VERSION: u8 = 1;

/// Which piece of a record a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A record in one piece.
    Whole = 1,
    /// The first of several pieces.
    First = 2,
    /// Neither first nor last.
    Middle = 3,
    /// The last of several pieces.
    Last = 4,
    /// No record: it only carries `durable`.
    Mark = 5,
}

/// A valid frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Which piece it is.
    pub kind: FrameKind,
    /// LSN of its first byte.
    pub position: Lsn,
    /// An LSN known to be durable when it was made.
    pub durable: Lsn,
    /// Its bytes.
    pub payload: &'a [u8],
    /// LSN behind its last byte, padding included.
    pub end: Lsn,
}

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Never written, torn or damaged.
    Invalid {
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Written by a newer program: checksum and position are right.
    Unsupported {
        /// `frame version` or `frame kind`.
        what: &'static str,
        /// What was found.
        found: u64,
        /// The greatest that is known.
        known: u64,
    },
}

/// Appends a frame whose payload are the next `len` bytes of `parts`, taking them away from it.
///
/// # Panics
/// If `parts` hold fewer bytes or `len` exceeds 32 bits: a fault of the caller.
pub(super) fn encode(
    out: &mut Vec<u8>,
    kind: FrameKind,
    position: u64,
    durable: u64,
    parts: &mut &[&[u8]],
    taken: &mut usize,
    len: usize,
) {
    let length = u32::try_from(len).expect("a frame is smaller than 4 GiB");
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&durable.to_le_bytes());
    out.extend_from_slice(&[kind as u8, FRAME_VERSION, 0, 0, 0, 0, 0, 0]);
    let mut left = len;
    while left > 0 {
        let part = parts.first().expect("parts hold the payload");
        let step = left.min(part.len() - *taken);
        out.extend_from_slice(&part[*taken..*taken + step]);
        *taken += step;
        left -= step;
        if *taken == part.len() {
            *parts = &parts[1..];
            *taken = 0;
        }
    }
    let crc = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    out.resize(start + frame_bytes(len), 0);
}

/// Size of a frame with a payload of `len` bytes.
#[must_use]
pub(super) fn frame_bytes(len: usize) -> usize {
    (FRAME_HEADER_BYTES + len).next_multiple_of(FRAME_ALIGNMENT)
}

/// Reads the frame at the start of `bytes`, which go to the end of the file, if it is a valid one of this position.
///
/// # Errors
/// [`FrameError`]; an [`Invalid`](FrameError::Invalid) one does not tell whether there ever was a frame.
pub fn decode(bytes: &[u8], position: Lsn) -> Result<Frame<'_>, FrameError> {
    let invalid = |expected: String, found: String| Err(FrameError::Invalid { expected, found });
    let Some(header) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else {
        return invalid(format!("{FRAME_HEADER_BYTES} bytes of frame header"), format!("{} bytes", bytes.len()));
    };
    let found_position = u64_at(header, 8);
    if found_position != position.0 {
        return invalid(format!("a frame of position {position}"), format!("position {found_position}"));
    }
    let length = u32_at(header, 4) as usize;
    let Some(payload) = bytes[FRAME_HEADER_BYTES..].get(..length) else {
        let room = bytes.len() - FRAME_HEADER_BYTES;
        return invalid(format!("a payload of at most {room} bytes"), format!("length {length}"));
    };
    let crc = crc32c::crc32c(&bytes[4..FRAME_HEADER_BYTES + length]);
    let found_crc = u32_at(header, 0);
    if found_crc != crc {
        return invalid(format!("checksum {crc:#010x}"), format!("{found_crc:#010x}"));
    }
    if header[25] != FRAME_VERSION {
        let (found, known) = (u64::from(header[25]), u64::from(FRAME_VERSION));
        return Err(FrameError::Unsupported { what: "frame version", found, known });
    }
    let kind = match header[24] {
        1 => FrameKind::Whole,
        2 => FrameKind::First,
        3 => FrameKind::Middle,
        4 => FrameKind::Last,
        5 => FrameKind::Mark,
        other => {
            return Err(FrameError::Unsupported { what: "frame kind", found: u64::from(other), known: 5 });
        }
    };
    let end = Lsn(position.0 + frame_bytes(length) as u64);
    Ok(Frame { kind, position, durable: Lsn(u64_at(header, 16)), payload, end })
}

/// Offsets in `bytes` from `from` on at which a valid frame starts, in ascending order; `base` is the LSN of `bytes[0]`. A frame of a newer
/// version counts, with an unknown end.
pub(super) fn find_valid(bytes: &[u8], base: u64, from: usize) -> Vec<(usize, Lsn)> {
    let mut found = Vec::new();
    let mut offset = from.next_multiple_of(FRAME_ALIGNMENT);
    while offset + FRAME_HEADER_BYTES <= bytes.len() {
        let position = base + offset as u64;
        // The position alone rules out nearly every place, zeros above all.
        if u64_at(&bytes[offset..], 8) == position {
            match decode(&bytes[offset..], Lsn(position)) {
                Ok(frame) => {
                    found.push((offset, frame.durable));
                    offset += frame_bytes(frame.payload.len());
                    continue;
                }
                Err(FrameError::Unsupported { .. }) => found.push((offset, Lsn(u64_at(&bytes[offset..], 16)))),
                Err(FrameError::Invalid { .. }) => {}
            }
        }
        offset += FRAME_ALIGNMENT;
    }
    found
}

/// Offsets in `bytes` from `from` on at which a frame starts or once started, valid or not: those whose position is where it is.
pub(super) fn find_headers(bytes: &[u8], base: u64, from: usize) -> impl Iterator<Item = usize> {
    (from.next_multiple_of(FRAME_ALIGNMENT)..bytes.len().saturating_sub(FRAME_HEADER_BYTES - 1))
        .step_by(FRAME_ALIGNMENT)
        .filter(move |offset| u64_at(&bytes[*offset..], 8) == base + *offset as u64)
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..offset + 4).and_then(|slice| slice.try_into().ok()).map_or(0, u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..offset + 8).and_then(|slice| slice.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: FrameKind, position: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let parts = [payload];
        encode(&mut out, kind, position, 16, &mut &parts[..], &mut 0, payload.len());
        out
    }

    #[test]
    fn a_frame_is_gathered_from_parts_and_read_back() {
        let mut out = Vec::new();
        let parts: [&[u8]; 4] = [b"ab", b"", b"cdefg", b"hi"];
        let (mut rest, mut taken) = (&parts[..], 0);
        encode(&mut out, FrameKind::First, 64, 8, &mut rest, &mut taken, 5);
        let second = out.len();
        encode(&mut out, FrameKind::Last, 64 + second as u64, 8, &mut rest, &mut taken, 4);
        let first = decode(&out, Lsn(64)).unwrap();
        assert_eq!((first.kind, first.payload, first.durable), (FrameKind::First, &b"abcde"[..], Lsn(8)));
        assert_eq!(first.end, Lsn(64 + second as u64));
        assert_eq!(decode(&out[second..], first.end).unwrap().payload, b"fghi");
        assert_eq!(find_valid(&out, 64, 0), [(0, Lsn(8)), (second, Lsn(8))]);
        assert_eq!(find_valid(&out, 64, 8), [(second, Lsn(8))]);
        out[FRAME_HEADER_BYTES] ^= 1;
        assert_eq!(find_valid(&out, 64, 0), [(second, Lsn(8))]);
        assert_eq!(find_headers(&out, 64, 0).collect::<Vec<_>>(), [0, second]);
    }

    #[test]
    fn every_flipped_bit_and_every_other_position_is_noticed() {
        let good = frame(FrameKind::Whole, 4096, b"payload");
        assert!(decode(&good, Lsn(4104)).is_err());
        for bit in 0..(FRAME_HEADER_BYTES + 7) * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad, Lsn(4096)).is_err(), "bit {bit}");
        }
        for len in 0..good.len() - 1 {
            assert!(decode(&good[..len], Lsn(4096)).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = frame(FrameKind::Whole, 64, b"x");
        bytes[25] = 2;
        let crc = crc32c::crc32c(&bytes[4..33]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(decode(&bytes, Lsn(64)), Err(FrameError::Unsupported { found: 2, .. })));
        assert_eq!(find_valid(&bytes, 64, 0).len(), 1);
    }
}
