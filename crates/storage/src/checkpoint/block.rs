//! Blocks: the checked pieces that a checkpoint consists of.
//!
//! ```text
//! file header            offset bytes
//!                             0     8  "COLNCKP\n"
//!                             8     4  format version, 1
//!                            12     4  crc32c of bytes 0 .. 12
//! block                       0     4  crc32c of bytes 4 .. 16 + length
//!                             4     4  length of the payload
//!                             8     4  number of the block, from 0
//!                            12     1  kind
//!                            13     3  zero
//!                            16        payload
//! ```

/// Bytes before the first block.
pub(super) const FILE_HEADER_BYTES: usize = 16;
/// Bytes of a block before its payload.
pub(super) const BLOCK_HEADER_BYTES: usize = 16;
/// First bytes of every checkpoint.
pub(super) const MAGIC: &[u8; 8] = b"COLNCKP\n";

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    Header = 1,
    Catalog = 2,
    Sequences = 3,
    Storage = 4,
    Segments = 5,
    DeleteVector = 6,
    TailRows = 7,
    End = 8,
}

impl BlockKind {
    pub(super) fn from_byte(byte: u8) -> Option<BlockKind> {
        [
            BlockKind::Header,
            BlockKind::Catalog,
            BlockKind::Sequences,
            BlockKind::Storage,
            BlockKind::Segments,
            BlockKind::DeleteVector,
            BlockKind::TailRows,
            BlockKind::End,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// The file's first bytes.
pub(super) fn file_header(version: u32) -> [u8; FILE_HEADER_BYTES] {
    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A block's first bytes.
pub(super) fn block_header(kind: BlockKind, number: u32, payload: &[u8]) -> [u8; BLOCK_HEADER_BYTES] {
    let length = u32::try_from(payload.len()).expect("a block is smaller than 4 GiB");
    let mut bytes = [0; BLOCK_HEADER_BYTES];
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..12].copy_from_slice(&number.to_le_bytes());
    bytes[12] = kind as u8;
    let crc = checksum(&bytes, payload);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The checksum that belongs to a block's first bytes and payload.
pub(super) fn checksum(header: &[u8; BLOCK_HEADER_BYTES], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[4..]), payload)
}

/// Takes a block's checksum into the checksum over all of them.
pub(super) fn chain(all: u32, block: u32) -> u32 {
    crc32c::crc32c_append(all, &block.to_le_bytes())
}
