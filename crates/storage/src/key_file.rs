//! Key files: where the rows of a segment with a key of some hash are, in a file that is mapped and never changed.
//!
//! ```text
//! header 64 | filter: blocks of 32 bytes | directory: u32 a bucket and one more | entries {fragment u32, offset u32}
//!
//! hash      |-- bucket --|------- fragment, 32 bits -------|-- not kept --|        filter: a block by the upper half, eight bits of it by the lower
//! ```
//!
//! A split-block Bloom filter (Putze, Sanders, Singler 2007, in the form that Parquet uses) of 10 bits a row answers most probes of absent keys from one cache line.
//! The others go to the one bucket of some eight entries that the hash's upper bits name. All entries are in order of their hashes' upper bits, so two files
//! are joined by going through one of them. 8 bytes an entry, at most 1 of directory, 1.25 of filter. See `docs/storage-format.md`.
//!
//! A key file is derived from its segment: whoever meets a damaged one makes it anew. What [`KeyFile::find`] gives is "maybe"; what it does not give is not there.
//!
//! **Invariants.** [`KeyFile::open`] accepts only bytes whose every bit is as written, for that segment and key. Nothing is allocated by a look-up.

use arrow::buffer::Buffer;
use colonnade_columnar::SEGMENT_ROWS_MAX;
use colonnade_types::SegmentId;

use crate::segment::SEGMENT_DIR;

/// Version of the format.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"COLNKEY\n";
const HEADER_BYTES: usize = 64;
/// Bytes of the header that its checksum covers.
const HEADER_CHECKED_BYTES: usize = 60;
const FILTER_BLOCK_BYTES: usize = 32;
const FILTER_BITS_PER_ENTRY: usize = 10;
const ENTRY_BYTES: usize = 8;
/// Most entries a bucket has on average.
const BUCKET_ENTRIES: usize = 8;
/// Most upper bits of a hash that name a bucket.
const BUCKET_BITS_MAX: u32 = 20;

const _: () = assert!(SEGMENT_ROWS_MAX.div_ceil(BUCKET_ENTRIES) <= 1 << BUCKET_BITS_MAX);
const _: () = assert!(BUCKET_BITS_MAX <= 32, "the fragment of any file names the bucket of any other");

/// Which segment and which key a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFileId {
    /// The segment.
    pub segment: SegmentId,
    /// Checksum of the segment's file, as its manifest entry has it.
    pub segment_checksum: u32,
    /// Rows of the segment.
    pub segment_rows: u32,
    /// Of the key's columns, their types and what NULL means.
    pub fingerprint: u64,
}

/// The path of a key file.
#[must_use]
pub fn key_file_path(segment: SegmentId, fingerprint: u64) -> String {
    format!("{SEGMENT_DIR}/{:016x}.{fingerprint:016x}.key", segment.0)
}

/// The segment and the fingerprint of the key file that has this name.
#[must_use]
pub fn key_file_of_name(name: &str) -> Option<(SegmentId, u64)> {
    let (segment, fingerprint) = name.strip_suffix(".key")?.split_once('.')?;
    let number = |digits: &str| {
        (digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .then(|| u64::from_str_radix(digits, 16).ok())
            .flatten()
    };
    Some((SegmentId(number(segment)?), number(fingerprint)?))
}

/// Why bytes are not the key file that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at offset {offset} is {found}, expected {expected}")]
pub struct KeyFileError {
    offset: usize,
    what: &'static str,
    expected: String,
    found: String,
}

/// Where the parts of a file of so many entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    entries: usize,
    bucket_bits: u32,
    filter_blocks: usize,
}

impl Layout {
    fn of(entries: usize) -> Layout {
        let bucket_bits = entries.div_ceil(BUCKET_ENTRIES).next_power_of_two().trailing_zeros();
        Layout {
            entries,
            bucket_bits,
            filter_blocks: (entries * FILTER_BITS_PER_ENTRY).div_ceil(FILTER_BLOCK_BYTES * 8),
        }
    }

    fn directory_at(self) -> usize {
        HEADER_BYTES + self.filter_blocks * FILTER_BLOCK_BYTES
    }

    fn entries_at(self) -> usize {
        self.directory_at() + 4 * ((1 << self.bucket_bits) + 1)
    }

    fn bytes(self) -> usize {
        self.entries_at() + self.entries * ENTRY_BYTES
    }
}

/// The number of the bucket of a hash.
fn bucket_of(hash: u64, bucket_bits: u32) -> usize {
    (hash >> 32 >> (32 - bucket_bits)) as usize
}

/// The bits of a hash behind those that name its bucket.
fn fragment_of(hash: u64, bucket_bits: u32) -> u32 {
    ((hash << bucket_bits) >> 32) as u32
}

/// The filter block of a hash, and the bit in each of the block's words.
fn filter_bits(hash: u64, blocks: usize) -> (usize, [u32; 8]) {
    const SALTS: [u32; 8] =
        [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];
    // At most 2^16 blocks.
    let block = ((hash >> 32) * blocks as u64) >> 32;
    (block as usize, SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27)))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// Makes the bytes of a key file from hashes and offsets, in any order.
///
/// # Panics
/// If there are more entries than a segment has rows, or an offset beyond them.
#[must_use]
pub fn build(id: &KeyFileId, mut hashes: Vec<(u64, u32)>) -> Vec<u8> {
    assert!(hashes.len() <= id.segment_rows as usize, "a row has one key");
    assert!(hashes.iter().all(|(_, offset)| *offset < id.segment_rows), "an entry is of a row of the segment");
    let layout = Layout::of(hashes.len());
    assert!(layout.bucket_bits <= BUCKET_BITS_MAX, "a segment has so many rows at most");
    // By what is kept of the hash, then by offset, so that equal segments have equal files.
    let kept = u64::MAX << (32 - layout.bucket_bits);
    hashes.sort_unstable_by_key(|(hash, offset)| (hash & kept, *offset));
    let mut bytes = vec![0; layout.bytes()];
    for (hash, _) in &hashes {
        let (block, bits) = filter_bits(*hash, layout.filter_blocks);
        for (index, bit) in bits.iter().enumerate() {
            let at = HEADER_BYTES + block * FILTER_BLOCK_BYTES + 4 * index;
            let filled = word(&bytes, at) | bit;
            bytes[at..at + 4].copy_from_slice(&filled.to_le_bytes());
        }
    }
    let mut first = 0_usize;
    for bucket in 0..=1_usize << layout.bucket_bits {
        while first < hashes.len() && bucket_of(hashes[first].0, layout.bucket_bits) < bucket {
            first += 1;
        }
        let at = layout.directory_at() + 4 * bucket;
        bytes[at..at + 4].copy_from_slice(&(first as u32).to_le_bytes());
    }
    for ((hash, offset), entry) in hashes.iter().zip(bytes[layout.entries_at()..].chunks_exact_mut(ENTRY_BYTES)) {
        entry[..4].copy_from_slice(&fragment_of(*hash, layout.bucket_bits).to_le_bytes());
        entry[4..].copy_from_slice(&offset.to_le_bytes());
    }
    write_header(id, layout, &mut bytes);
    bytes
}

fn write_header(id: &KeyFileId, layout: Layout, bytes: &mut [u8]) {
    let content = crc32c::crc32c(&bytes[HEADER_BYTES..]);
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&id.segment_rows.to_le_bytes());
    header.extend_from_slice(&id.segment.0.to_le_bytes());
    header.extend_from_slice(&id.fingerprint.to_le_bytes());
    header.extend_from_slice(&id.segment_checksum.to_le_bytes());
    // Each fits 32 bits, as the rows of a segment do.
    for field in [layout.entries as u32, layout.bucket_bits, layout.filter_blocks as u32, content] {
        header.extend_from_slice(&field.to_le_bytes());
    }
    header.resize(HEADER_CHECKED_BYTES, 0);
    header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
    bytes[..HEADER_BYTES].copy_from_slice(&header);
}

/// A key file whose checksums have been verified.
#[derive(Debug)]
pub struct KeyFile {
    bytes: Buffer,
    layout: Layout,
}

impl KeyFile {
    /// Checks that `bytes` are the key file of `id`, all of them.
    ///
    /// # Errors
    /// [`KeyFileError`] if they are anything else: another file, a newer version, a damaged or a shorter one.
    pub fn open(bytes: Buffer, id: &KeyFileId) -> Result<KeyFile, KeyFileError> {
        let invalid = |offset: usize, what: &'static str, expected: &dyn ToString, found: &dyn ToString| KeyFileError {
            offset,
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        };
        if bytes.len() < HEADER_BYTES {
            return Err(invalid(0, "length", &format!("at least {HEADER_BYTES}"), &bytes.len()));
        }
        let found = word(&bytes, HEADER_CHECKED_BYTES);
        let expected = crc32c::crc32c(&bytes[..HEADER_CHECKED_BYTES]);
        if found != expected {
            return Err(invalid(0, "checksum of the header", &format!("{found:#010x}"), &format!("{expected:#010x}")));
        }
        if bytes[..8] != MAGIC {
            return Err(invalid(0, "start mark", &MAGIC.escape_ascii(), &bytes[..8].escape_ascii()));
        }
        let long = |at: usize| u64::from(word(&bytes, at)) | u64::from(word(&bytes, at + 4)) << 32;
        for (at, what, expected, found) in [
            (8, "format version", u64::from(VERSION), u64::from(word(&bytes, 8))),
            (12, "rows of the segment", u64::from(id.segment_rows), u64::from(word(&bytes, 12))),
            (16, "segment id", id.segment.0, long(16)),
            (24, "fingerprint of the key", id.fingerprint, long(24)),
            (32, "checksum of the segment", u64::from(id.segment_checksum), u64::from(word(&bytes, 32))),
        ] {
            if expected != found {
                return Err(invalid(at, what, &expected, &found));
            }
        }
        let entries = word(&bytes, 36);
        if entries > id.segment_rows {
            return Err(invalid(36, "number of entries", &format!("at most {}", id.segment_rows), &entries));
        }
        let layout = Layout::of(entries as usize);
        let found = (word(&bytes, 40), word(&bytes, 44));
        if found != (layout.bucket_bits, layout.filter_blocks as u32) {
            let expected = format!("{}, {}", layout.bucket_bits, layout.filter_blocks);
            return Err(invalid(40, "bucket bits and filter blocks", &expected, &format!("{}, {}", found.0, found.1)));
        }
        if bytes.len() != layout.bytes() {
            return Err(invalid(0, "length", &layout.bytes(), &bytes.len()));
        }
        let (expected, found) = (word(&bytes, 48), crc32c::crc32c(&bytes[HEADER_BYTES..]));
        if found != expected {
            let (expected, found) = (format!("{expected:#010x}"), format!("{found:#010x}"));
            return Err(invalid(HEADER_BYTES, "checksum of the content", &expected, &found));
        }
        Ok(KeyFile { bytes, layout })
    }

    /// Offsets of the rows whose key may have this hash, ascending.
    pub fn find(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        offsets(if self.admits(hash) { self.range(hash, u64::BITS) } else { &[] })
    }

    /// Offsets of the rows whose hash may begin with the first `known` bits of `prefix`, 32 at least.
    pub fn find_prefix(&self, prefix: u64, known: u32) -> impl Iterator<Item = u32> + '_ {
        offsets(self.range(prefix, known))
    }

    /// What is known of every hash, and the row's offset, in ascending order; see [`known_bits`](Self::known_bits).
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let bits = self.layout.bucket_bits;
        (0..1_usize << bits).flat_map(move |bucket| {
            let upper = (bucket as u64) << 32;
            let prefix = move |entry: &[u8; ENTRY_BYTES]| (upper | u64::from(word(entry, 0))) << (32 - bits);
            self.bucket(bucket).iter().map(move |entry| (prefix(entry), word(entry, 4)))
        })
    }

    /// How many upper bits of a hash [`iter`](Self::iter) gives; the others are zero there.
    #[must_use]
    pub fn known_bits(&self) -> u32 {
        32 + self.layout.bucket_bits
    }

    /// Whether the filter lets a hash pass. `false` is a proof that no row's key has it.
    fn admits(&self, hash: u64) -> bool {
        if self.layout.filter_blocks == 0 {
            return false;
        }
        let (block, bits) = filter_bits(hash, self.layout.filter_blocks);
        let at = HEADER_BYTES + block * FILTER_BLOCK_BYTES;
        let block = &self.bytes[at..at + FILTER_BLOCK_BYTES];
        bits.iter().enumerate().all(|(index, bit)| word(block, 4 * index) & bit != 0)
    }

    fn bucket(&self, bucket: usize) -> &[[u8; ENTRY_BYTES]] {
        let at = self.layout.directory_at() + 4 * bucket;
        let (from, to) = (word(&self.bytes, at) as usize, word(&self.bytes, at + 4) as usize);
        let (entries, _) = self.bytes[self.layout.entries_at()..].as_chunks();
        &entries[from..to]
    }

    fn range(&self, prefix: u64, known: u32) -> &[[u8; ENTRY_BYTES]] {
        let bits = self.layout.bucket_bits;
        assert!(known >= 32, "a bucket is known");
        let entries = self.bucket(bucket_of(prefix, bits));
        // The fragment's bits that are not known may be anything.
        let open = 32 - (known - bits).min(32);
        let least = fragment_of(prefix, bits);
        let greatest = least | u32::MAX.checked_shr(32 - open).unwrap_or(0);
        let from = entries.partition_point(|entry| word(entry, 0) < least);
        let count = entries[from..].partition_point(|entry| word(entry, 0) <= greatest);
        &entries[from..from + count]
    }
}

fn offsets(entries: &[[u8; ENTRY_BYTES]]) -> impl Iterator<Item = u32> + '_ {
    entries.iter().map(|entry| word(entry, 4))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const ID: KeyFileId =
        KeyFileId { segment: SegmentId(7), segment_checksum: 0xdead_beef, segment_rows: 1 << 20, fingerprint: 0x1234 };

    fn open(hashes: &[(u64, u32)]) -> KeyFile {
        KeyFile::open(Buffer::from_vec(build(&ID, hashes.to_vec())), &ID).unwrap()
    }

    fn mixed(i: u64) -> u64 {
        let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (mixed >> 32)
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let path = key_file_path(SegmentId(0x12ab), 0xff00);
        let name = path.strip_prefix("segments/").unwrap();
        assert_eq!(name, "00000000000012ab.000000000000ff00.key");
        assert_eq!(key_file_of_name(name), Some((SegmentId(0x12ab), 0xff00)));
        for other in
            ["00000000000012ab.seg", "12ab.ff00.key", "00000000000012ab.key", "+0000000000012ab.000000000000ff00.key"]
        {
            assert_eq!(key_file_of_name(other), None, "{other}");
        }
    }

    #[test]
    fn a_million_rows_take_at_most_fifteen_bytes_each() {
        for rows in [1_000, 8_192, 8_193, 131_072, 131_073, 1 << 20] {
            let bytes = Layout::of(rows).bytes();
            assert!(bytes <= 15 * rows && bytes <= HEADER_BYTES + 45 + rows * 41 / 4, "{rows}: {bytes}");
        }
        assert_eq!(Layout::of(1 << 20).bytes(), 64 + (1 << 20) * 10 / 8 + 4 * ((1 << 17) + 1) + 8 * (1 << 20));
    }

    #[test]
    fn what_was_put_in_is_found_and_most_else_is_filtered() {
        let hashes: Vec<(u64, u32)> = (0..100_000).map(|i| (mixed(u64::from(i)), i)).collect();
        let file = open(&hashes);
        for (hash, offset) in &hashes {
            assert!(file.find(*hash).any(|found| found == *offset));
        }
        let absent = (1_000_000..1_100_000).map(mixed);
        let passed = absent.clone().filter(|hash| file.admits(*hash)).count();
        assert!(passed < 2_000, "{passed} of 100,000 pass the filter");
        assert_eq!(absent.map(|hash| file.find(hash).count()).sum::<usize>(), 0);
        assert_eq!(file.iter().count(), 100_000);
        assert!(file.iter().is_sorted());
    }

    #[test]
    fn a_file_without_entries_finds_nothing() {
        let file = open(&[]);
        assert_eq!((file.layout.entries, file.find(0).count(), file.iter().count()), (0, 0, 0));
    }

    #[test]
    fn one_hash_may_have_many_rows() {
        let mut hashes: Vec<(u64, u32)> = (0..1_000).map(|i| (u64::MAX, i)).collect();
        hashes.extend((1_000..2_000).map(|i| (0, i)));
        let file = open(&hashes);
        assert!(file.find(u64::MAX).eq(0..1_000));
        assert!(file.find(0).eq(1_000..2_000));
        assert_eq!(file.find(1 << 63).count(), 0);
    }

    #[test]
    fn every_flipped_bit_and_every_length_is_noticed() {
        let hashes: Vec<(u64, u32)> = (0..40).map(|i| (mixed(u64::from(i)), i)).collect();
        let bytes = build(&ID, hashes);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(KeyFile::open(Buffer::from_vec(damaged), &ID).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(KeyFile::open(Buffer::from_vec(bytes[..len].to_vec()), &ID).is_err(), "length {len}");
        }
        assert!(KeyFile::open(Buffer::from_vec([bytes.as_slice(), &[0]].concat()), &ID).is_err());
        for other in [
            KeyFileId { segment: SegmentId(8), ..ID },
            KeyFileId { segment_checksum: 1, ..ID },
            KeyFileId { segment_rows: 41, ..ID },
            KeyFileId { fingerprint: 1, ..ID },
        ] {
            assert!(KeyFile::open(Buffer::from_vec(bytes.clone()), &other).is_err(), "{other:?}");
        }
    }

    proptest! {
        /// Against a map; hashes are drawn from few so that they collide, whole or in their upper bits.
        #[test]
        fn finds_what_a_map_finds(
            seeds in proptest::collection::vec((0_u64..200, 0_u64..3, any::<bool>()), 0..3_000),
            probes in proptest::collection::vec((0_u64..250, 0_u64..4), 0..200),
        ) {
            let hash = |(seed, low): (u64, u64)| (mixed(seed) & !0xff) | low;
            let mut map: HashMap<u64, Vec<u32>> = HashMap::new();
            let mut hashes = Vec::new();
            for (offset, (seed, low, has_key)) in (0..).zip(&seeds) {
                if *has_key {
                    hashes.push((hash((*seed, *low)), offset));
                    map.entry(hash((*seed, *low))).or_default().push(offset);
                }
            }
            let file = open(&hashes);
            prop_assert_eq!(file.layout.entries, hashes.len());
            for probe in probes {
                let found: Vec<u32> = file.find(hash(probe)).collect();
                let exact = map.get(&hash(probe)).cloned().unwrap_or_default();
                // Hashes that differ in their lowest bits only are found together; nothing is missed.
                prop_assert!(exact.iter().all(|offset| found.contains(offset)));
                let near: usize = (0..4).filter_map(|low| map.get(&hash((probe.0, low)))).map(Vec::len).sum();
                prop_assert!(found.len() <= near);
                let known = file.known_bits().min(40);
                let prefixed: Vec<u32> = file.find_prefix(hash(probe), known).collect();
                prop_assert_eq!(prefixed.len(), near);
            }
            prop_assert!(file.iter().is_sorted());
            let mask = u64::MAX << (64 - file.known_bits());
            let mut all: Vec<(u64, u32)> = hashes.iter().map(|(hash, offset)| (hash & mask, *offset)).collect();
            all.sort_unstable();
            prop_assert!(file.iter().eq(all));
        }
    }
}
