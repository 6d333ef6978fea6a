//! Encodings of 128-bit and 256-bit decimals.
//!
//! | tag | encoding |
//! |--:|---|
//! | 0 | narrow: a power of ten and an integer node; the value is `integer * 10^power` |
//! | 1 | plain, 16 bytes a value, two's complement |
//! | 2 | plain, 32 bytes a value, two's complement |
//!
//! Unconstrained numeric is stored with 18 fractional digits, most of them zero: taking out the common power of ten is
//! what makes such a column fit 64 bits.

use arrow::datatypes::i256;

use crate::cursor::Cursor;
use crate::encoding::Encodings;
use crate::error::FormatError;
use crate::integers;

const TAG_NARROW: u8 = 0;
const TAG_PLAIN_16: u8 = 1;
const TAG_PLAIN_32: u8 = 2;

/// Greatest power of ten taken out: an `i64` times this still fits an `i128`.
const POWER_MAX: u8 = 18;

/// Appends the decimal node of `values`.
pub(crate) fn encode_128(values: &[i128], out: &mut Vec<u8>) -> Encodings {
    match narrow(values) {
        Some((power, integers)) => {
            out.extend([TAG_NARROW, power]);
            integers::encode(&integers, out)
        }
        None => {
            out.push(TAG_PLAIN_16);
            values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
            Encodings::PLAIN
        }
    }
}

/// Appends the decimal node of `values`.
pub(crate) fn encode_256(values: &[i256], out: &mut Vec<u8>) -> Encodings {
    let as_128: Option<Vec<i128>> = values.iter().map(|value| value.to_i128()).collect();
    match as_128 {
        Some(values) => encode_128(&values, out),
        None => {
            out.push(TAG_PLAIN_32);
            values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
            Encodings::PLAIN
        }
    }
}

/// The values as 64-bit integers times a power of ten, if there is one that makes them fit.
fn narrow(values: &[i128]) -> Option<(u8, Vec<i64>)> {
    let direct: Option<Vec<i64>> = values.iter().map(|&value| i64::try_from(value).ok()).collect();
    if let Some(integers) = direct {
        return Some((0, integers));
    }
    let mut power = POWER_MAX;
    for &value in values {
        while power > 0 && value % 10_i128.pow(u32::from(power)) != 0 {
            power -= 1;
        }
        if power == 0 {
            return None;
        }
    }
    let divisor = 10_i128.pow(u32::from(power));
    let integers: Option<Vec<i64>> = values.iter().map(|&value| i64::try_from(value / divisor).ok()).collect();
    Some((power, integers?))
}

/// Reads a decimal node of `count` values that must fit 128 bits.
pub(crate) fn decode_128(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<i128>, FormatError> {
    match cursor.u8("decimal encoding")? {
        TAG_NARROW => decode_narrow(cursor, count),
        TAG_PLAIN_16 => decode_plain_16(cursor, count),
        tag => Err(cursor.invalid("decimal encoding", "0 or 1", tag)),
    }
}

/// Reads a decimal node of `count` values.
pub(crate) fn decode_256(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<i256>, FormatError> {
    let widen = |values: Vec<i128>| values.into_iter().map(i256::from_i128).collect();
    match cursor.u8("decimal encoding")? {
        TAG_NARROW => decode_narrow(cursor, count).map(widen),
        TAG_PLAIN_16 => decode_plain_16(cursor, count).map(widen),
        TAG_PLAIN_32 => Ok(chunks::<32>(cursor, count)?.map(i256::from_le_bytes).collect()),
        tag => Err(cursor.invalid("decimal encoding", "0, 1 or 2", tag)),
    }
}

/// Reads the value at `index` of a decimal node of `count` values that must fit 128 bits, and passes the node.
pub(crate) fn decode_128_one(cursor: &mut Cursor<'_>, count: usize, index: usize) -> Result<i128, FormatError> {
    match cursor.u8("decimal encoding")? {
        TAG_NARROW => decode_narrow_one(cursor, count, index),
        TAG_PLAIN_16 => chunk::<16>(cursor, count, index).map(i128::from_le_bytes),
        tag => Err(cursor.invalid("decimal encoding", "0 or 1", tag)),
    }
}

/// Reads the value at `index` of a decimal node of `count` values, and passes the node.
pub(crate) fn decode_256_one(cursor: &mut Cursor<'_>, count: usize, index: usize) -> Result<i256, FormatError> {
    match cursor.u8("decimal encoding")? {
        TAG_NARROW => decode_narrow_one(cursor, count, index).map(i256::from_i128),
        TAG_PLAIN_16 => chunk::<16>(cursor, count, index).map(|bytes| i256::from_i128(i128::from_le_bytes(bytes))),
        TAG_PLAIN_32 => chunk::<32>(cursor, count, index).map(i256::from_le_bytes),
        tag => Err(cursor.invalid("decimal encoding", "0, 1 or 2", tag)),
    }
}

fn decode_narrow_one(cursor: &mut Cursor<'_>, count: usize, index: usize) -> Result<i128, FormatError> {
    let factor = factor(cursor)?;
    Ok(i128::from(integers::decode_one(cursor, count, index)?) * factor)
}

fn chunk<const N: usize>(cursor: &mut Cursor<'_>, count: usize, index: usize) -> Result<[u8; N], FormatError> {
    let found = chunks::<N>(cursor, count)?.nth(index);
    found.ok_or_else(|| cursor.invalid("plain decimals", format!("more than {index} values"), count))
}

fn factor(cursor: &mut Cursor<'_>) -> Result<i128, FormatError> {
    let power = cursor.u8("decimal power")?;
    if power > POWER_MAX {
        return Err(cursor.invalid("decimal power", format!("at most {POWER_MAX}"), power));
    }
    Ok(10_i128.pow(u32::from(power)))
}

fn decode_narrow(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<i128>, FormatError> {
    let factor = factor(cursor)?;
    Ok(integers::decode(cursor, count)?.into_iter().map(|integer| i128::from(integer) * factor).collect())
}

fn decode_plain_16(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<i128>, FormatError> {
    Ok(chunks::<16>(cursor, count)?.map(i128::from_le_bytes).collect())
}

fn chunks<'a, const N: usize>(
    cursor: &mut Cursor<'a>,
    count: usize,
) -> Result<impl Iterator<Item = [u8; N]> + use<'a, N>, FormatError> {
    let bytes = cursor.take(count.saturating_mul(N), "plain decimals")?;
    Ok(bytes.chunks_exact(N).map(|chunk| {
        let mut value = [0; N];
        value.copy_from_slice(chunk);
        value
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(values: &[i256]) -> usize {
        let mut bytes = Vec::new();
        encode_256(values, &mut bytes);
        let mut cursor = Cursor::new(&bytes, 0);
        assert_eq!(decode_256(&mut cursor, values.len()).unwrap(), values);
        cursor.finish("node").unwrap();
        bytes.len()
    }

    #[test]
    fn whole_numerics_are_narrow() {
        let one = 10_i128.pow(18);
        let values: Vec<i256> = (0..1000).map(|i| i256::from_i128(one * (i - 500))).collect();
        assert!(round_trip(&values) < 1000 * 10 / 8 + 40);
        let cents: Vec<i256> = (0..1000).map(|i| i256::from_i128(one / 100 * (i * 7919 % 100_003))).collect();
        assert!(round_trip(&cents) < 1000 * 17 / 8 + 40);
    }

    #[test]
    fn extremes_round_trip() {
        round_trip(&[i256::MIN, i256::MAX, i256::ZERO]);
        round_trip(&[i256::from_i128(i128::MIN), i256::from_i128(i128::MAX)]);
        round_trip(&[i256::from_i128(i128::MIN), i256::from_i128(i128::from(i64::MAX) * 10 + 1)]);
        let mut bytes = Vec::new();
        encode_128(&[i128::MIN, i128::MAX], &mut bytes);
        assert_eq!(decode_128(&mut Cursor::new(&bytes, 0), 2).unwrap(), [i128::MIN, i128::MAX]);
        // 128-bit columns never hold 32-byte values.
        assert!(decode_128(&mut Cursor::new(&[TAG_PLAIN_32; 100], 0), 2).is_err());
    }
}
