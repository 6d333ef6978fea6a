//! Encodings of floating-point sequences.
//!
//! | tag | encoding |
//! |--:|---|
//! | 0 | the bit patterns as an integer node: constant, run-length, page dictionary or plain 64 bits |
//! | 1 | decimals: an exponent `e` and an integer node; the value is `integer / 10^e` |
//!
//! Decimals are used only if every value comes back with the same bits, so NaN, negative zero and values with many
//! digits keep their bit patterns. Division and conversion are exactly rounded by IEEE 754, hence the same everywhere.

use crate::cursor::Cursor;
use crate::encoding::Encodings;
use crate::error::FormatError;
use crate::integers;

const TAG_BITS: u8 = 0;
const TAG_DECIMAL: u8 = 1;

/// Powers of ten that a double holds exactly and that are worth trying.
const POWERS: [f64; 11] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];
/// Integers beyond this lose digits as doubles.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;
/// Values tried before the whole page is.
const SAMPLE: usize = 32;

/// A float type that can be stored.
pub(crate) trait Float: Copy {
    /// The bit pattern, extended with zeros.
    fn to_stored(self) -> i64;
    /// The value of a bit pattern; `None` if it is too wide.
    fn from_stored(bits: i64) -> Option<Self>;
    fn widen(self) -> f64;
    fn narrow(value: f64) -> Self;
}

impl Float for f64 {
    fn to_stored(self) -> i64 {
        self.to_bits() as i64
    }
    fn from_stored(bits: i64) -> Option<Self> {
        Some(f64::from_bits(bits as u64))
    }
    fn widen(self) -> f64 {
        self
    }
    fn narrow(value: f64) -> Self {
        value
    }
}

impl Float for f32 {
    fn to_stored(self) -> i64 {
        i64::from(self.to_bits())
    }
    fn from_stored(bits: i64) -> Option<Self> {
        u32::try_from(bits).ok().map(f32::from_bits)
    }
    fn widen(self) -> f64 {
        f64::from(self)
    }
    fn narrow(value: f64) -> Self {
        value as f32
    }
}

/// Appends the float node of `values`.
pub(crate) fn encode<T: Float>(values: &[T], out: &mut Vec<u8>) -> Encodings {
    let bits: Vec<i64> = values.iter().map(|value| value.to_stored()).collect();
    let start = out.len();
    out.push(TAG_BITS);
    let used = integers::encode(&bits, out);
    let Some((exponent, decimals)) = decimals_of(values) else { return used };
    let mut node = vec![TAG_DECIMAL, exponent];
    let decimal_used = integers::encode(&decimals, &mut node);
    if node.len() < out.len() - start {
        out.truncate(start);
        out.extend_from_slice(&node);
        return decimal_used.union(Encodings::DECIMAL_FLOAT);
    }
    used
}

/// The least exponent under which all values are integers, and those integers.
fn decimals_of<T: Float>(values: &[T]) -> Option<(u8, Vec<i64>)> {
    let step = (values.len() / SAMPLE).max(1);
    let exponent =
        (0..POWERS.len()).find(|&e| values.iter().step_by(step).all(|value| decimal_of(*value, e).is_some()))?;
    // The sample may have missed longer fractions: go on from there with all values.
    (exponent..POWERS.len()).find_map(|e| {
        let decimals: Option<Vec<i64>> = values.iter().map(|value| decimal_of(*value, e)).collect();
        Some((e as u8, decimals?))
    })
}

fn decimal_of<T: Float>(value: T, exponent: usize) -> Option<i64> {
    let scaled = (value.widen() * POWERS[exponent]).round();
    if scaled.is_nan() || scaled.abs() >= INTEGER_MAX {
        return None;
    }
    let integer = scaled as i64;
    let back = T::narrow(integer as f64 / POWERS[exponent]);
    (back.to_stored() == value.to_stored()).then_some(integer)
}

/// Reads a float node of `count` values.
pub(crate) fn decode<T: Float>(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<T>, FormatError> {
    match cursor.u8("float encoding")? {
        TAG_BITS => integers::decode(cursor, count)?
            .into_iter()
            .map(|bits| T::from_stored(bits).ok_or_else(|| cursor.invalid("float bits", "at most 32 bits", bits)))
            .collect(),
        TAG_DECIMAL => {
            let power = power(cursor)?;
            let decimals = integers::decode(cursor, count)?;
            Ok(decimals.into_iter().map(|integer| T::narrow(integer as f64 / power)).collect())
        }
        tag => Err(cursor.invalid("float encoding", "0 or 1", tag)),
    }
}

/// Reads the value at `index` of a float node of `count` values, and passes the node.
pub(crate) fn decode_one<T: Float>(cursor: &mut Cursor<'_>, count: usize, index: usize) -> Result<T, FormatError> {
    match cursor.u8("float encoding")? {
        TAG_BITS => {
            let bits = integers::decode_one(cursor, count, index)?;
            T::from_stored(bits).ok_or_else(|| cursor.invalid("float bits", "at most 32 bits", bits))
        }
        TAG_DECIMAL => {
            let power = power(cursor)?;
            Ok(T::narrow(integers::decode_one(cursor, count, index)? as f64 / power))
        }
        tag => Err(cursor.invalid("float encoding", "0 or 1", tag)),
    }
}

fn power(cursor: &mut Cursor<'_>) -> Result<f64, FormatError> {
    let exponent = cursor.u8("float exponent")?;
    POWERS.get(usize::from(exponent)).copied().ok_or_else(|| cursor.invalid("float exponent", "at most 10", exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Float>(values: &[T]) -> (Encodings, usize) {
        let mut bytes = Vec::new();
        let used = encode(values, &mut bytes);
        let mut cursor = Cursor::new(&bytes, 0);
        let back: Vec<T> = decode(&mut cursor, values.len()).unwrap();
        cursor.finish("node").unwrap();
        let stored = |values: &[T]| values.iter().map(|value| value.to_stored()).collect::<Vec<_>>();
        assert_eq!(stored(&back), stored(values));
        (used, bytes.len())
    }

    #[test]
    fn special_values_keep_their_bits() {
        let specials = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 5e-324];
        round_trip(&specials);
        round_trip(&specials.map(|value| value as f32));
        round_trip(&[f64::MAX, f64::MIN, 1.0 / 3.0]);
    }

    #[test]
    fn prices_become_decimals() {
        let prices: Vec<f64> = (0..1000).map(|i| f64::from(i * 7919 % 100_000) / 100.0).collect();
        let (used, bytes) = round_trip(&prices);
        assert_eq!(used, Encodings::DECIMAL_FLOAT.union(Encodings::FRAME_OF_REFERENCE));
        assert!(bytes < 1000 * 17 / 8 + 40);
        let prices: Vec<f32> = prices.into_iter().map(|price| price as f32).collect();
        assert!(round_trip(&prices).1 < 1000 * 17 / 8 + 40);
    }

    #[test]
    fn one_long_fraction_is_found_late() {
        let mut values: Vec<f64> = (0..1000).map(f64::from).collect();
        values[501] = 0.123_456;
        round_trip(&values);
        values[502] = 1.0 / 3.0;
        round_trip(&values);
    }
}
