//! Arbitrary bytes as a segment: opening, verifying and reading them must not panic, loop or allocate out of proportion.
//!
//! `cargo +nightly fuzz run read_segment` in `crates/columnar`; the fixtures in `tests/fixtures/v1` are a good corpus.
//! Checksums stop most mutations, so every input is tried again with the checksums of header and footer made right.
#![no_main]

use arrow::buffer::Buffer;
use colonnade_columnar::SegmentReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read(bytes.to_vec());
    let mut resealed = bytes.to_vec();
    reseal(&mut resealed);
    read(resealed);
});

fn read(bytes: Vec<u8>) {
    if let Ok(reader) = SegmentReader::open(Buffer::from_vec(bytes)) {
        let _ = reader.verify();
    }
}

fn reseal(bytes: &mut [u8]) {
    let size = bytes.len();
    if size < 64 {
        return;
    }
    let crc = crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    let mut footer = [0; 8];
    footer.copy_from_slice(&bytes[size - 32..size - 24]);
    let footer = u64::from_le_bytes(footer);
    if footer < (size - 32) as u64 {
        let crc = crc32c(&bytes[footer as usize..size - 12]);
        bytes[size - 12..size - 8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Bit by bit, so that the target needs no further dependency.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    !crc
}
