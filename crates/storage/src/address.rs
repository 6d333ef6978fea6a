//! Row addresses: how a scan names rows to a delete.
//!
//! ```text
//!  63 62               32 31        0
//! +--+-------------------+-----------+
//! | 0|             row id            |   a row of the tail
//! | 1| segment's position | offset   |   a row of a segment: its place among the snapshot's segments
//! +--+-------------------+-----------+
//! ```

/// Names a row to the [`Snapshot`](crate::Snapshot) that gave it, and to no other.
pub type RowAddress = u64;

const SEGMENT: u64 = 1 << 63;

/// An address, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A row of the tail, by row id.
    Tail(u64),
    /// A row of a segment: the segment's position and the row's offset.
    Segment(usize, u32),
}

/// The address of the first row of a granule of a segment; the others follow.
pub(crate) fn segment_address(position: usize, offset: usize) -> RowAddress {
    assert!(position < 1 << 31, "a table has fewer than 2^31 segments");
    assert!(offset < 1 << 32, "a segment has fewer than 2^32 rows");
    SEGMENT | (position as u64) << 32 | offset as u64
}

/// Unpacks an address.
pub(crate) fn place(address: RowAddress) -> Place {
    if address & SEGMENT == 0 {
        return Place::Tail(address);
    }
    // Both fit: they are 31 and 32 bits.
    Place::Segment(((address & !SEGMENT) >> 32) as usize, address as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_packing() {
        assert_eq!(place(7), Place::Tail(7));
        assert_eq!(place(segment_address(3, 9)), Place::Segment(3, 9));
        assert_eq!(place(segment_address((1 << 31) - 1, u32::MAX as usize)), Place::Segment((1 << 31) - 1, u32::MAX));
    }
}
