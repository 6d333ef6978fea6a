//! Bit packing: `count` integers of `bits` bits each, one after the other in a stream whose first bit is the lowest of
//! the first byte.
//!
//! ```text
//! bits = 3:   byte 0   b b a a a . .   value 0 = bits 0..3, value 1 = bits 3..6, value 2 = bits 6..9, ...
//! ```
//!
//! The stream is `ceil(count * bits / 8)` bytes long; unused bits of the last byte are zero.

/// Bits needed for `value`; 0 for 0.
pub(crate) fn bits_for(value: u64) -> u8 {
    (64 - value.leading_zeros()) as u8
}

/// Length of the packed stream.
pub(crate) fn packed_bytes(count: usize, bits: u8) -> usize {
    (count * usize::from(bits)).div_ceil(8)
}

/// Appends the packed form of `values`, each below 2^`bits`.
pub(crate) fn pack(values: impl Iterator<Item = u64>, bits: u8, out: &mut Vec<u8>) {
    if bits == 0 {
        return;
    }
    let bits = u32::from(bits);
    let mut word = 0_u64;
    let mut filled = 0_u32;
    for value in values {
        debug_assert!(bits == 64 || value >> bits == 0);
        word |= value << filled;
        filled += bits;
        if filled >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            word = if filled == 0 { 0 } else { value >> (bits - filled) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// Unpacks `count` values of `bits` bits and hands each to `push`.
///
/// `bytes` must have [`packed_bytes`] bytes and `bits` must be at most 64; missing bytes read as zero.
pub(crate) fn unpack(bytes: &[u8], bits: u8, count: usize, mut push: impl FnMut(u64)) {
    let block_bytes = usize::from(bits) * 8;
    let mut block = [0_u64; 64];
    let mut done = 0;
    while done < count {
        let start = done / 64 * block_bytes;
        match bytes.get(start..start + block_bytes) {
            Some(full) => unpack_block(full, bits, &mut block),
            None => {
                let mut padded = [0_u8; 512];
                let rest = bytes.get(start..).unwrap_or_default();
                padded[..rest.len()].copy_from_slice(rest);
                unpack_block(&padded[..block_bytes], bits, &mut block);
            }
        }
        let take = (count - done).min(64);
        block[..take].iter().for_each(|&value| push(value));
        done += take;
    }
}

/// The value at `index` in a stream of at least `index + 1` values of `bits` bits, at most 64; missing bytes read as zero.
pub(crate) fn unpack_one(bytes: &[u8], bits: u8, index: usize) -> u64 {
    let bit = index * usize::from(bits);
    let (start, shift) = (bit / 8, bit % 8);
    // 64 bits at a shift of up to 7 lie in nine bytes.
    let mut window = [0_u8; 16];
    let rest = bytes.get(start..).unwrap_or_default();
    let length = rest.len().min(9);
    window[..length].copy_from_slice(&rest[..length]);
    let value = (u128::from_le_bytes(window) >> shift) as u64;
    if bits >= 64 { value } else { value & ((1 << bits) - 1) }
}

/// Unpacks 64 values of a width known when compiled, so that every shift is a constant.
fn unpack_width<const BITS: usize>(bytes: &[u8], out: &mut [u64; 64]) {
    let mut words = [0_u64; 65];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut le = [0; 8];
        le.copy_from_slice(chunk);
        *word = u64::from_le_bytes(le);
    }
    let mask = if BITS == 64 { u64::MAX } else { (1_u64 << (BITS % 64)) - 1 };
    for (index, value) in out.iter_mut().enumerate() {
        let bit = index * BITS;
        let (word, shift) = (bit / 64, bit % 64);
        let low = words[word] >> shift;
        let high = if shift + BITS > 64 { words[word + 1] << (64 - shift) } else { 0 };
        *value = (low | high) & mask;
    }
}

macro_rules! dispatch {
    ($bits:expr, $bytes:expr, $out:expr, $($width:literal)*) => {
        match $bits {
            $($width => unpack_width::<$width>($bytes, $out),)*
            _ => $out.fill(0),
        }
    };
}

fn unpack_block(bytes: &[u8], bits: u8, out: &mut [u64; 64]) {
    dispatch!(bits, bytes, out,
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_round_trips() {
        for bits in 0..=64_u8 {
            for count in [0, 1, 63, 64, 65, 200] {
                let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
                let values: Vec<u64> =
                    (0..count as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) & mask).collect();
                let mut bytes = Vec::new();
                pack(values.iter().copied(), bits, &mut bytes);
                assert_eq!(bytes.len(), packed_bytes(count, bits));
                let mut back = Vec::new();
                unpack(&bytes, bits, count, |value| back.push(value));
                assert_eq!(back, values, "{count} values of {bits} bits");
                let one = |index| unpack_one(&bytes, bits, index);
                assert!((0..count).map(one).eq(values), "{count} values of {bits} bits, one by one");
            }
        }
    }

    #[test]
    fn layout_is_lowest_bit_first() {
        let mut bytes = Vec::new();
        pack([0b101, 0b011, 0b110].into_iter(), 3, &mut bytes);
        assert_eq!(bytes, [0b1001_1101, 0b1]);
    }
}
