//! Encodings of integer sequences, the ground that most other encodings stand on.
//!
//! A sequence of `i64` whose length the reader knows is one *integer node*: a tag and what the tag asks for.
//!
//! | tag | encoding | chosen when |
//! |--:|---|---|
//! | 0 | constant | all values are equal |
//! | 1 | frame of reference | otherwise: `base + gcd * packed`, bit-packed |
//! | 2 | run-length | runs are long |
//! | 3 | delta | differences are much narrower than values (sorted keys, times) |
//! | 4 | page dictionary | few distinct values far apart |
//!
//! The writer takes the smallest by exact size arithmetic on one pass of statistics, not by trying them all. Arithmetic
//! wraps, so `u64` values stored as their `i64` bits round-trip.
//!
//! Invariants: nodes nest at most [`DEPTH_MAX`] deep; a node decodes to exactly the count asked for or fails.

use hashbrown::HashTable;

use crate::bit_pack::{bits_for, pack, packed_bytes, unpack, unpack_one};
use crate::cursor::Cursor;
use crate::encoding::Encodings;
use crate::error::FormatError;

const TAG_CONSTANT: u8 = 0;
const TAG_FRAME: u8 = 1;
const TAG_RUNS: u8 = 2;
const TAG_DELTA: u8 = 3;
const TAG_DICTIONARY: u8 = 4;

/// Deepest nesting of integer nodes that a reader accepts.
const DEPTH_MAX: u8 = 4;
/// Bytes of a frame-of-reference node before the packed values: tag, base, gcd, bits.
const FRAME_HEADER_BYTES: usize = 18;
/// Most distinct values of a page dictionary.
const PAGE_DICTIONARY_MAX: usize = 4096;

/// Appends the integer node of `values` and returns what was used.
pub(crate) fn encode(values: &[i64], out: &mut Vec<u8>) -> Encodings {
    encode_nested(values, 0, out)
}

fn encode_nested(values: &[i64], depth: u8, out: &mut Vec<u8>) -> Encodings {
    let Some(statistics) = Statistics::of(values) else {
        out.push(TAG_CONSTANT);
        out.extend_from_slice(&0_i64.to_le_bytes());
        return Encodings::CONSTANT;
    };
    if statistics.min == statistics.max {
        out.push(TAG_CONSTANT);
        out.extend_from_slice(&statistics.min.to_le_bytes());
        return Encodings::CONSTANT;
    }
    let count = values.len();
    let gcd = statistics.gcd(values);
    let bits = bits_for(statistics.range() / gcd);
    let frame_bytes = FRAME_HEADER_BYTES + packed_bytes(count, bits);
    let mut best = (frame_bytes, TAG_FRAME);
    if depth < 2 {
        let run_bits = bits + bits_for(statistics.run_max as u64);
        let runs_bytes = 2 * FRAME_HEADER_BYTES + 5 + packed_bytes(statistics.runs, run_bits);
        if runs_bytes < best.0 {
            best = (runs_bytes, TAG_RUNS);
        }
        if let Some((delta_min, delta_max)) = statistics.delta {
            let delta_bits = bits_for(delta_max.wrapping_sub(delta_min) as u64);
            let delta_bytes = 9 + FRAME_HEADER_BYTES + packed_bytes(count - 1, delta_bits);
            // A delta node has to be summed up from its start, so it must be clearly smaller.
            if delta_bytes * 8 < best.0 * 7 {
                best = (delta_bytes, TAG_DELTA);
            }
        }
    }
    if depth == 0 && bits > 4 && count >= 64 {
        let distinct_max = page_dictionary_limit(count, bits, best.0 * 7 / 8);
        if let Some((distinct, codes)) = distinct_codes(values, distinct_max) {
            let code_bits = bits_for(distinct.len() as u64 - 1);
            let bytes =
                5 + 2 * FRAME_HEADER_BYTES + packed_bytes(distinct.len(), bits) + packed_bytes(count, code_bits);
            if bytes * 8 < best.0 * 7 {
                out.push(TAG_DICTIONARY);
                out.extend_from_slice(&(distinct.len() as u32).to_le_bytes());
                encode_nested(&distinct, depth + 1, out);
                encode_nested(&codes, depth + 1, out);
                return Encodings::PAGE_DICTIONARY;
            }
        }
    }
    out.push(best.1);
    match best.1 {
        TAG_RUNS => {
            encode_runs(values, statistics.runs, depth, out);
            Encodings::RUN_LENGTH
        }
        TAG_DELTA => {
            let deltas: Vec<i64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
            out.extend_from_slice(&values[0].to_le_bytes());
            encode_nested(&deltas, depth + 1, out);
            Encodings::DELTA
        }
        _ => {
            encode_frame(values, statistics.min, gcd, bits, out);
            Encodings::FRAME_OF_REFERENCE
        }
    }
}

fn encode_frame(values: &[i64], base: i64, gcd: u64, bits: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&base.to_le_bytes());
    out.extend_from_slice(&gcd.to_le_bytes());
    out.push(bits);
    let offsets = values.iter().map(|value| value.wrapping_sub(base) as u64);
    out.reserve(packed_bytes(values.len(), bits) + 8);
    if gcd == 1 { pack(offsets, bits, out) } else { pack(offsets.map(|offset| offset / gcd), bits, out) }
}

fn encode_runs(values: &[i64], runs: usize, depth: u8, out: &mut Vec<u8>) {
    let mut run_values = Vec::with_capacity(runs);
    let mut run_lengths = Vec::with_capacity(runs);
    for run in values.chunk_by(|left, right| left == right) {
        run_values.push(run[0]);
        run_lengths.push(run.len() as i64);
    }
    out.extend_from_slice(&(run_values.len() as u32).to_le_bytes());
    encode_nested(&run_values, depth + 1, out);
    encode_nested(&run_lengths, depth + 1, out);
}

/// What one pass over the values tells.
struct Statistics {
    min: i64,
    max: i64,
    runs: usize,
    run_max: usize,
    /// Least and greatest difference of neighbours; absent if one overflows.
    delta: Option<(i64, i64)>,
}

impl Statistics {
    fn of(values: &[i64]) -> Option<Statistics> {
        let first = *values.first()?;
        let (mut min, mut max) = (first, first);
        let (mut delta_min, mut delta_max) = (i64::MAX, i64::MIN);
        let (mut runs, mut run_max, mut run_start) = (1, 1, 0);
        let mut overflowed = false;
        let mut previous = first;
        for (index, &value) in values.iter().enumerate().skip(1) {
            min = min.min(value);
            max = max.max(value);
            let (delta, overflow) = value.overflowing_sub(previous);
            overflowed |= overflow;
            delta_min = delta_min.min(delta);
            delta_max = delta_max.max(delta);
            if value != previous {
                runs += 1;
                run_max = run_max.max(index - run_start);
                run_start = index;
            }
            previous = value;
        }
        run_max = run_max.max(values.len() - run_start);
        let delta = (!overflowed && values.len() >= 16).then_some((delta_min, delta_max));
        Some(Statistics { min, max, runs, run_max, delta })
    }

    fn range(&self) -> u64 {
        self.max.wrapping_sub(self.min) as u64
    }

    /// Greatest common divisor of all offsets from the minimum; at least 1.
    fn gcd(&self, values: &[i64]) -> u64 {
        let mut gcd = 0;
        for value in values {
            gcd = greatest_common_divisor(value.wrapping_sub(self.min) as u64, gcd);
            if gcd == 1 {
                break;
            }
        }
        gcd.max(1)
    }
}

fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// The most distinct values, as a power of two, with which `count` values of `bits` bits fit `bytes`; 0 if none.
fn page_dictionary_limit(count: usize, bits: u8, bytes: usize) -> usize {
    let fits = |code_bits: &u8| packed_bytes(1 << code_bits, bits) + packed_bytes(count, *code_bits) < bytes;
    (1..=12).rev().find(fits).map_or(0, |code_bits| (1_usize << code_bits).min(PAGE_DICTIONARY_MAX))
}

/// The sorted distinct values and each value's position among them; `None` above `limit` distinct values.
fn distinct_codes(values: &[i64], limit: usize) -> Option<(Vec<i64>, Vec<i64>)> {
    let hash = |value: i64| {
        let mixed = (value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let mut table: HashTable<u32> = HashTable::with_capacity(limit.min(1024));
    let mut distinct: Vec<i64> = Vec::new();
    let mut codes: Vec<i64> = Vec::with_capacity(values.len());
    for &value in values {
        let found = table.find(hash(value), |&code| distinct[code as usize] == value);
        let code = match found {
            Some(&code) => code,
            None => {
                // When most of the first values are distinct, so will be too many of the others.
                let hopeless = codes.len() == 1024 && distinct.len() > 920;
                if distinct.len() == limit || hopeless {
                    return None;
                }
                let code = distinct.len() as u32;
                distinct.push(value);
                table.insert_unique(hash(value), code, |&code| hash(distinct[code as usize]));
                code
            }
        };
        codes.push(i64::from(code));
    }
    let mut order: Vec<u32> = (0..distinct.len() as u32).collect();
    order.sort_unstable_by_key(|&code| distinct[code as usize]);
    let mut rank = vec![0_i64; distinct.len()];
    for (position, &code) in order.iter().enumerate() {
        rank[code as usize] = position as i64;
    }
    codes.iter_mut().for_each(|code| *code = rank[*code as usize]);
    distinct.sort_unstable();
    Some((distinct, codes))
}

/// Reads an integer node of `count` values. The caller bounds `count`.
pub(crate) fn decode(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<i64>, FormatError> {
    decode_nested(cursor, count, 0)
}

fn decode_nested(cursor: &mut Cursor<'_>, count: usize, depth: u8) -> Result<Vec<i64>, FormatError> {
    match tag_of(cursor, depth)? {
        TAG_CONSTANT => Ok(vec![cursor.i64("constant")?; count]),
        TAG_FRAME => {
            let frame = Frame::read(cursor, count)?;
            let mut values = Vec::with_capacity(count);
            frame.each(count, |value| values.push(value));
            Ok(values)
        }
        TAG_RUNS => {
            let runs = bounded_count(cursor, count, "run count")?;
            let run_values = decode_nested(cursor, runs, depth + 1)?;
            let run_lengths = decode_nested(cursor, runs, depth + 1)?;
            let mut values = Vec::with_capacity(count);
            for (value, length) in run_values.into_iter().zip(run_lengths) {
                let length = usize::try_from(length)
                    .ok()
                    .filter(|&length| length <= count - values.len())
                    .ok_or_else(|| cursor.invalid("run length", format!("at most {}", count - values.len()), length))?;
                values.resize(values.len() + length, value);
            }
            if values.len() != count {
                return Err(cursor.invalid("sum of run lengths", count, values.len()));
            }
            Ok(values)
        }
        TAG_DELTA => {
            let mut value = cursor.i64("first value")?;
            let deltas = decode_nested(cursor, count.saturating_sub(1), depth + 1)?;
            let mut values = Vec::with_capacity(count);
            if count > 0 {
                values.push(value);
            }
            for delta in deltas {
                value = value.wrapping_add(delta);
                values.push(value);
            }
            Ok(values)
        }
        TAG_DICTIONARY => {
            let distinct = bounded_count(cursor, count, "distinct count")?;
            let dictionary = decode_nested(cursor, distinct, depth + 1)?;
            let mut values = decode_nested(cursor, count, depth + 1)?;
            for value in &mut values {
                *value = usize::try_from(*value)
                    .ok()
                    .and_then(|code| dictionary.get(code).copied())
                    .ok_or_else(|| cursor.invalid("page dictionary code", format!("below {distinct}"), *value))?;
            }
            Ok(values)
        }
        tag => Err(cursor.invalid("integer encoding", "0 to 4", tag)),
    }
}

/// Reads the value at `index` of an integer node of `count` values, and passes the whole node. `index` is below `count`.
///
/// Constant and frame of reference cost a few instructions, run-length and delta a pass over what they store before the index.
pub(crate) fn decode_one(cursor: &mut Cursor<'_>, count: usize, index: usize) -> Result<i64, FormatError> {
    one_nested(cursor, count, index, 0)
}

fn one_nested(cursor: &mut Cursor<'_>, count: usize, index: usize, depth: u8) -> Result<i64, FormatError> {
    debug_assert!(index < count);
    match tag_of(cursor, depth)? {
        TAG_CONSTANT => cursor.i64("constant"),
        TAG_FRAME => Frame::read(cursor, count).map(|frame| frame.value(index)),
        TAG_RUNS => {
            let runs = bounded_count(cursor, count, "run count")?;
            let mut values = cursor.clone();
            skip_nested(cursor, runs, depth + 1)?;
            let (mut run, mut end) = (0, 0_i64);
            each_nested(cursor, runs, depth + 1, |length| {
                end = end.saturating_add(length.max(0));
                run += usize::from(end <= index as i64);
            })?;
            if run == runs {
                return Err(cursor.invalid("sum of run lengths", count, end));
            }
            one_nested(&mut values, runs, run, depth + 1)
        }
        TAG_DELTA => {
            let first = cursor.i64("first value")?;
            Ok(first.wrapping_add(sum_nested(cursor, count - 1, index, depth + 1)?))
        }
        TAG_DICTIONARY => {
            let distinct = bounded_count(cursor, count, "distinct count")?;
            let mut values = cursor.clone();
            skip_nested(cursor, distinct, depth + 1)?;
            let code = one_nested(cursor, count, index, depth + 1)?;
            match usize::try_from(code).ok().filter(|code| *code < distinct) {
                Some(code) => one_nested(&mut values, distinct, code, depth + 1),
                None => Err(cursor.invalid("page dictionary code", format!("below {distinct}"), code)),
            }
        }
        tag => Err(cursor.invalid("integer encoding", "0 to 4", tag)),
    }
}

/// Passes an integer node of `count` values.
pub(crate) fn skip(cursor: &mut Cursor<'_>, count: usize) -> Result<(), FormatError> {
    skip_nested(cursor, count, 0)
}

fn skip_nested(cursor: &mut Cursor<'_>, count: usize, depth: u8) -> Result<(), FormatError> {
    match tag_of(cursor, depth)? {
        TAG_CONSTANT => cursor.i64("constant").map(|_| ()),
        TAG_FRAME => Frame::read(cursor, count).map(|_| ()),
        TAG_RUNS => {
            let runs = bounded_count(cursor, count, "run count")?;
            skip_nested(cursor, runs, depth + 1)?;
            skip_nested(cursor, runs, depth + 1)
        }
        TAG_DELTA => {
            cursor.i64("first value")?;
            skip_nested(cursor, count.saturating_sub(1), depth + 1)
        }
        TAG_DICTIONARY => {
            let distinct = bounded_count(cursor, count, "distinct count")?;
            skip_nested(cursor, distinct, depth + 1)?;
            skip_nested(cursor, count, depth + 1)
        }
        tag => Err(cursor.invalid("integer encoding", "0 to 4", tag)),
    }
}

/// Reads the sum of the first `terms` values of an integer node of `count` values, and passes the whole node. `terms` is at most `count`; the sum wraps.
pub(crate) fn sum(cursor: &mut Cursor<'_>, count: usize, terms: usize) -> Result<i64, FormatError> {
    sum_nested(cursor, count, terms, 0)
}

fn sum_nested(cursor: &mut Cursor<'_>, count: usize, terms: usize, depth: u8) -> Result<i64, FormatError> {
    let start = cursor.clone();
    Ok(match tag_of(cursor, depth)? {
        TAG_CONSTANT => cursor.i64("constant")?.wrapping_mul(terms as i64),
        TAG_FRAME => Frame::read(cursor, count)?.sum(terms),
        _ => {
            *cursor = start;
            let values = decode_nested(cursor, count, depth)?;
            values.iter().take(terms).fold(0, |sum, value| sum.wrapping_add(*value))
        }
    })
}

/// Calls `visit` for every value of an integer node in order.
fn each_nested(
    cursor: &mut Cursor<'_>,
    count: usize,
    depth: u8,
    mut visit: impl FnMut(i64),
) -> Result<(), FormatError> {
    let start = cursor.clone();
    match tag_of(cursor, depth)? {
        TAG_CONSTANT => {
            let value = cursor.i64("constant")?;
            (0..count).for_each(|_| visit(value));
        }
        TAG_FRAME => Frame::read(cursor, count)?.each(count, visit),
        _ => {
            *cursor = start;
            decode_nested(cursor, count, depth)?.into_iter().for_each(visit);
        }
    }
    Ok(())
}

fn tag_of(cursor: &mut Cursor<'_>, depth: u8) -> Result<u8, FormatError> {
    if depth > DEPTH_MAX {
        return Err(cursor.invalid("integer node", format!("at most {DEPTH_MAX} nested nodes"), "more"));
    }
    cursor.u8("integer encoding")
}

/// A frame-of-reference node.
struct Frame<'a> {
    base: i64,
    gcd: u64,
    bits: u8,
    packed: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the node behind its tag.
    fn read(cursor: &mut Cursor<'a>, count: usize) -> Result<Frame<'a>, FormatError> {
        let base = cursor.i64("frame base")?;
        let gcd = cursor.u64("frame divisor")?;
        let bits = cursor.u8("frame bits")?;
        if bits > 64 {
            return Err(cursor.invalid("frame bits", "at most 64", bits));
        }
        let packed = cursor.take(packed_bytes(count, bits), "packed integers")?;
        Ok(Frame { base, gcd, bits, packed })
    }

    fn value(&self, index: usize) -> i64 {
        let packed = unpack_one(self.packed, self.bits, index);
        self.base.wrapping_add(packed.wrapping_mul(self.gcd) as i64)
    }

    /// The sum of the first `terms` values; it wraps.
    fn sum(&self, terms: usize) -> i64 {
        let mut packed = 0_u64;
        unpack(self.packed, self.bits, terms, |value| packed = packed.wrapping_add(value));
        self.base.wrapping_mul(terms as i64).wrapping_add(packed.wrapping_mul(self.gcd) as i64)
    }

    fn each(&self, count: usize, mut visit: impl FnMut(i64)) {
        if self.gcd == 1 {
            unpack(self.packed, self.bits, count, |value| visit(self.base.wrapping_add(value as i64)));
        } else {
            unpack(self.packed, self.bits, count, |value| {
                visit(self.base.wrapping_add(value.wrapping_mul(self.gcd) as i64));
            });
        }
    }
}

fn bounded_count(cursor: &mut Cursor<'_>, limit: usize, what: &'static str) -> Result<usize, FormatError> {
    let count = cursor.u32(what)? as usize;
    if count > limit {
        return Err(cursor.invalid(what, format!("at most {limit}"), count));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(values: &[i64]) -> (Encodings, usize) {
        let mut bytes = Vec::new();
        let used = encode(values, &mut bytes);
        let mut cursor = Cursor::new(&bytes, 0);
        assert_eq!(decode(&mut cursor, values.len()).unwrap(), values);
        cursor.finish("node").unwrap();
        for (index, value) in values.iter().enumerate() {
            let mut cursor = Cursor::new(&bytes, 0);
            assert_eq!(decode_one(&mut cursor, values.len(), index).unwrap(), *value, "value {index}");
            cursor.finish("node").unwrap();
        }
        let (mut cursor, mut one_by_one) = (Cursor::new(&bytes, 0), Vec::new());
        each_nested(&mut cursor, values.len(), 0, |value| one_by_one.push(value)).unwrap();
        assert_eq!(one_by_one, values);
        for terms in [0, values.len() / 2, values.len()] {
            let expected = values[..terms].iter().fold(0_i64, |sum, value| sum.wrapping_add(*value));
            assert_eq!(sum(&mut Cursor::new(&bytes, 0), values.len(), terms).unwrap(), expected, "{terms} terms");
        }
        let mut cursor = Cursor::new(&bytes, 0);
        skip(&mut cursor, values.len()).unwrap();
        cursor.finish("node").unwrap();
        (used, bytes.len())
    }

    #[test]
    fn each_shape_gets_its_encoding() {
        assert_eq!(round_trip(&[]).0, Encodings::CONSTANT);
        assert_eq!(round_trip(&[7; 100]), (Encodings::CONSTANT, 9));
        let random: Vec<i64> = (0..1000_i64).map(|i| i.wrapping_mul(0x5851_f42d_4c95_7f2d)).collect();
        assert_eq!(round_trip(&random).0, Encodings::FRAME_OF_REFERENCE);
        let runs: Vec<i64> = (0..1000).map(|i| (i / 100) * 7919 % 31).collect();
        assert_eq!(round_trip(&runs).0, Encodings::RUN_LENGTH);
        let sorted: Vec<i64> = (0..1000).map(|i| 1_000_000 * i + i % 3).collect();
        assert_eq!(round_trip(&sorted).0, Encodings::DELTA);
        let few: Vec<i64> = (0..1000_i64).map(|i| (i * i % 13).wrapping_mul(0x5851_f42d_4c95_7f2d)).collect();
        assert_eq!(round_trip(&few).0, Encodings::PAGE_DICTIONARY);
    }

    #[test]
    fn whole_seconds_are_divided_out() {
        let seconds: Vec<i64> = (0..1024_i64).map(|i| 1_372_636_800_000_000 + (i * 7919 % 4096) * 1_000_000).collect();
        let (used, bytes) = round_trip(&seconds);
        assert_eq!(used, Encodings::FRAME_OF_REFERENCE);
        assert_eq!(bytes, FRAME_HEADER_BYTES + 1024 * 12 / 8);
    }

    #[test]
    fn extremes_round_trip() {
        round_trip(&[i64::MIN, i64::MAX]);
        round_trip(&[i64::MIN, 0, i64::MAX, -1]);
        let alternating: Vec<i64> = (0..100).map(|i| if i % 2 == 0 { i64::MIN } else { i64::MAX }).collect();
        round_trip(&alternating);
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [&[9_u8][..], &[1; 18], &[2, 255, 255, 255, 255], &[], &[0, 1]] {
            assert!(decode(&mut Cursor::new(bytes, 0), 100).is_err());
            assert!(decode_one(&mut Cursor::new(bytes, 0), 100, 50).is_err());
            assert!(skip(&mut Cursor::new(bytes, 0), 100).is_err());
        }
        // Run lengths that do not add up.
        let mut bytes = vec![TAG_RUNS, 1, 0, 0, 0];
        bytes.extend([TAG_CONSTANT, 5, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([TAG_CONSTANT, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert!(decode(&mut Cursor::new(&bytes, 0), 100).is_err());
        assert_eq!(decode(&mut Cursor::new(&bytes, 0), 5).unwrap(), [5; 5]);
        // Nesting that would never end.
        assert!(decode(&mut Cursor::new(&[TAG_DELTA; 10_000], 0), 100).is_err());
        assert!(decode_one(&mut Cursor::new(&[TAG_DELTA; 10_000], 0), 100, 99).is_err());
    }
}
