//! Zone maps: what is known about the values of a zone (a granule, a row group, a segment) without reading them.
//!
//! Invariants, which make pruning safe:
//! - every value of the zone that is not NULL lies between `min` and `max`, bounds included;
//! - a bound is NULL if it is unknown: the zone is all NULL, or the type has no order here (lists, intervals);
//! - `exact` is set only if both bounds are themselves values of the zone, bit for bit.
//!
//! Floats order as in PostgreSQL: NaN is greater than everything, so `max` is NaN if any value is, and `min` only if all
//! are. Zeros are widened (`min` to -0.0, `max` to 0.0), because the two compare equal in SQL but not bit by bit. Strings
//! are cut to [`TEXT_BYTES_MAX`] bytes, the upper bound rounded up, as valid UTF-8.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray,
    StringViewArray, UInt64Array, new_empty_array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;

/// Length to which string bounds are cut. An upper bound may be up to three bytes longer, where rounding its last
/// character up makes that character longer.
pub const TEXT_BYTES_MAX: usize = 64;

/// Bounds and counts of zones, one entry per zone. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ZoneMaps {
    /// A lower bound of the zone's values; NULL if unknown.
    pub min: ArrayRef,
    /// An upper bound of the zone's values; NULL if unknown.
    pub max: ArrayRef,
    /// Whether both bounds are values of the zone. `false` proves nothing.
    pub exact: BooleanBuffer,
    /// NULLs in the zone.
    pub null_count: UInt64Array,
    /// Rows in the zone, NULLs included.
    pub row_count: UInt64Array,
}

impl ZoneMaps {
    /// Computes the one entry of an array in memory.
    #[must_use]
    pub fn of(array: &ArrayRef) -> ZoneMaps {
        let nulls = array.logical_null_count();
        match Bounds::of(array) {
            Some(bounds) => ZoneMaps::one(bounds, array.len(), nulls),
            None => ZoneMaps::unknown(array.data_type(), array.len(), nulls),
        }
    }

    /// An entry that knows its counts only.
    #[must_use]
    pub fn unknown(data_type: &DataType, rows: usize, nulls: usize) -> ZoneMaps {
        let bounds = Bounds { min: new_null_array(data_type, 1), max: new_null_array(data_type, 1), exact: false };
        ZoneMaps::one(bounds, rows, nulls)
    }

    /// No entry.
    #[must_use]
    pub fn empty(data_type: &DataType) -> ZoneMaps {
        ZoneMaps {
            min: new_empty_array(data_type),
            max: new_empty_array(data_type),
            exact: BooleanBuffer::new_unset(0),
            null_count: UInt64Array::from(Vec::<u64>::new()),
            row_count: UInt64Array::from(Vec::<u64>::new()),
        }
    }

    /// Puts the entries of several maps of one type after one another.
    ///
    /// # Errors
    /// If a map is of another type than `data_type`.
    pub fn concat(data_type: &DataType, maps: &[ZoneMaps]) -> Result<ZoneMaps, ArrowError> {
        if maps.is_empty() {
            return Ok(ZoneMaps::empty(data_type));
        }
        let concat = |column: &dyn Fn(&ZoneMaps) -> ArrayRef| {
            let arrays: Vec<ArrayRef> = maps.iter().map(column).collect();
            let arrays: Vec<&dyn Array> = arrays.iter().map(|array| &**array).collect();
            arrow::compute::concat(&arrays)
        };
        let counts = |column: &dyn Fn(&ZoneMaps) -> &UInt64Array| {
            UInt64Array::from_iter_values(maps.iter().flat_map(|map| column(map).values().iter().copied()))
        };
        let (min, max) = (concat(&|map| Arc::clone(&map.min))?, concat(&|map| Arc::clone(&map.max))?);
        if min.data_type() != data_type {
            let found = min.data_type();
            return Err(ArrowError::InvalidArgumentError(format!("zone maps are of {found}, expected {data_type}")));
        }
        Ok(ZoneMaps {
            min,
            max,
            exact: maps.iter().flat_map(|map| map.exact.iter()).collect(),
            null_count: counts(&|map| &map.null_count),
            row_count: counts(&|map| &map.row_count),
        })
    }

    /// The entries `offset .. offset + length`.
    ///
    /// # Panics
    /// If there are not that many.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> ZoneMaps {
        ZoneMaps {
            min: self.min.slice(offset, length),
            max: self.max.slice(offset, length),
            exact: self.exact.slice(offset, length),
            null_count: self.null_count.slice(offset, length),
            row_count: self.row_count.slice(offset, length),
        }
    }

    /// One entry that holds for all the zones in `zones` together.
    ///
    /// # Panics
    /// If `zones` reaches beyond the last entry.
    #[must_use]
    pub fn merged(&self, zones: Range<usize>) -> ZoneMaps {
        let part = self.slice(zones.start, zones.len());
        let rows: u64 = part.row_count.values().iter().sum();
        let nulls: u64 = part.null_count.values().iter().sum();
        let (rows, nulls) = (rows as usize, nulls as usize);
        let all_null = |zone: usize| part.null_count.value(zone) >= part.row_count.value(zone);
        let known = |bound: &ArrayRef, zone: usize| bound.is_valid(zone) || all_null(zone);
        if !(0..part.len()).all(|zone| known(&part.min, zone) && known(&part.max, zone)) {
            return ZoneMaps::unknown(self.min.data_type(), rows, nulls);
        }
        match (Bounds::of(&part.min), Bounds::of(&part.max)) {
            (Some(low), Some(high)) => {
                let exact =
                    low.exact && high.exact && (0..part.len()).all(|zone| all_null(zone) || part.exact.value(zone));
                ZoneMaps::one(Bounds { min: low.min, max: high.max, exact }, rows, nulls)
            }
            _ => ZoneMaps::unknown(self.min.data_type(), rows, nulls),
        }
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.row_count.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the entries hold.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.min.get_array_memory_size() + self.max.get_array_memory_size() + self.len() * 17
    }

    fn one(bounds: Bounds, rows: usize, nulls: usize) -> ZoneMaps {
        ZoneMaps {
            min: bounds.min,
            max: bounds.max,
            exact: BooleanBuffer::collect_bool(1, |_| bounds.exact),
            null_count: UInt64Array::from(vec![nulls as u64]),
            row_count: UInt64Array::from(vec![rows as u64]),
        }
    }

    /// An entry whose least and greatest string are known.
    pub(crate) fn of_bytes(data_type: &DataType, min: &[u8], max: &[u8], rows: usize, nulls: usize) -> ZoneMaps {
        ZoneMaps::one(Bounds::of_bytes(data_type, min, max), rows, nulls)
    }
}

/// The bounds of one zone, as arrays of one entry.
struct Bounds {
    min: ArrayRef,
    max: ArrayRef,
    exact: bool,
}

impl Bounds {
    /// `None` if there are no values or they have no order.
    fn of(array: &ArrayRef) -> Option<Bounds> {
        match array.data_type() {
            DataType::Boolean => {
                let array = array.as_boolean();
                let (trues, valid) = (array.true_count(), array.len() - array.null_count());
                let entry = |value: bool| Arc::new(BooleanArray::from(vec![value])) as ArrayRef;
                (valid > 0).then(|| Bounds { min: entry(trues == valid), max: entry(trues > 0), exact: true })
            }
            DataType::Int16 => Bounds::of_ordered::<Int16Type>(array),
            DataType::Int32 => Bounds::of_ordered::<Int32Type>(array),
            DataType::Int64 => Bounds::of_ordered::<Int64Type>(array),
            DataType::UInt32 => Bounds::of_ordered::<UInt32Type>(array),
            DataType::UInt64 => Bounds::of_ordered::<UInt64Type>(array),
            DataType::Date32 => Bounds::of_ordered::<Date32Type>(array),
            DataType::Time64(TimeUnit::Microsecond) => Bounds::of_ordered::<Time64MicrosecondType>(array),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Bounds::of_ordered::<TimestampMicrosecondType>(array),
            DataType::Decimal128(..) => Bounds::of_ordered::<Decimal128Type>(array),
            DataType::Decimal256(..) => Bounds::of_ordered::<Decimal256Type>(array),
            DataType::Float32 => Bounds::of_floats::<Float32Type>(array, f32::NAN, -0.0, 0.0, f32::to_bits),
            DataType::Float64 => Bounds::of_floats::<Float64Type>(array, f64::NAN, -0.0, 0.0, f64::to_bits),
            DataType::Utf8View => {
                let (min, max) = least_and_greatest(array.as_string_view().iter().flatten())?;
                Some(Bounds::of_bytes(array.data_type(), min.as_bytes(), max.as_bytes()))
            }
            DataType::BinaryView => {
                let (min, max) = least_and_greatest(array.as_binary_view().iter().flatten())?;
                Some(Bounds::of_bytes(array.data_type(), min, max))
            }
            DataType::FixedSizeBinary(width) => {
                let (min, max) = least_and_greatest(array.as_fixed_size_binary().iter().flatten())?;
                let entry = |value: &[u8]| FixedSizeBinaryArray::try_new(*width, value.to_vec().into(), None).ok();
                Some(Bounds { min: Arc::new(entry(min)?), max: Arc::new(entry(max)?), exact: true })
            }
            _ => None,
        }
    }

    fn of_ordered<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<Bounds> {
        let typed = array.as_primitive::<T>();
        let widen = |(min, max): (T::Native, T::Native), value: T::Native| {
            (if value.is_lt(min) { value } else { min }, if value.is_gt(max) { value } else { max })
        };
        let (min, max) = match typed.nulls() {
            None => {
                let first = *typed.values().first()?;
                typed.values().iter().copied().fold((first, first), widen)
            }
            Some(nulls) => {
                let first = typed.value(nulls.valid_indices().next()?);
                nulls.valid_indices().map(|row| typed.value(row)).fold((first, first), widen)
            }
        };
        Some(Bounds { min: entry::<T>(min, array), max: entry::<T>(max, array), exact: true })
    }

    fn of_floats<T>(
        array: &ArrayRef,
        nan: T::Native,
        low_zero: T::Native,
        high_zero: T::Native,
        bits: impl Fn(T::Native) -> <T as FloatBits>::Bits,
    ) -> Option<Bounds>
    where
        T: FloatBits,
        T::Native: PartialOrd,
    {
        let is_nan = |value: T::Native| value.partial_cmp(&value).is_none();
        let (mut any, mut nans) = (false, false);
        let mut bounds: Option<(T::Native, T::Native)> = None;
        for value in array.as_primitive::<T>().iter().flatten() {
            any = true;
            if is_nan(value) {
                nans = true;
            } else {
                bounds = Some(match bounds {
                    None => (value, value),
                    Some((min, max)) => (if value < min { value } else { min }, if value > max { value } else { max }),
                });
            }
        }
        if !any {
            return None;
        }
        let (found_min, found_max) = bounds.unwrap_or((nan, nan));
        let min = if found_min == low_zero { low_zero } else { found_min };
        let max = match (nans, found_max == high_zero) {
            (true, _) => nan,
            (false, true) => high_zero,
            (false, false) => found_max,
        };
        // With NaN the bits of the bound may differ from those stored.
        let exact = !nans && bits(min) == bits(found_min) && bits(max) == bits(found_max);
        Some(Bounds { min: entry::<T>(min, array), max: entry::<T>(max, array), exact })
    }

    /// The bounds of strings or binary values, cut.
    fn of_bytes(data_type: &DataType, min: &[u8], max: &[u8]) -> Bounds {
        let exact = min.len() <= TEXT_BYTES_MAX && max.len() <= TEXT_BYTES_MAX;
        let (min, max): (ArrayRef, ArrayRef) = if *data_type == DataType::Utf8View {
            // The inputs are UTF-8; if they were not, no bound is a right bound.
            let (min, max) = (std::str::from_utf8(min).ok(), std::str::from_utf8(max).ok());
            (
                Arc::new(StringViewArray::from(vec![min.map(lower_text)])),
                Arc::new(StringViewArray::from(vec![max.and_then(upper_text)])),
            )
        } else {
            (
                Arc::new(BinaryViewArray::from(vec![Some(&min[..min.len().min(TEXT_BYTES_MAX)])])),
                Arc::new(BinaryViewArray::from(vec![upper_bytes(max).as_deref()])),
            )
        };
        Bounds { exact: exact && min.is_valid(0) && max.is_valid(0), min, max }
    }
}

/// Float types with their bit patterns.
trait FloatBits: ArrowPrimitiveType {
    type Bits: PartialEq;
}
impl FloatBits for Float32Type {
    type Bits = u32;
}
impl FloatBits for Float64Type {
    type Bits = u64;
}

fn entry<T: ArrowPrimitiveType>(value: T::Native, like: &ArrayRef) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_value(value, 1).with_data_type(like.data_type().clone()))
}

fn least_and_greatest<'a, V: ?Sized + Ord>(mut values: impl Iterator<Item = &'a V>) -> Option<(&'a V, &'a V)> {
    let first = values.next()?;
    Some(values.fold((first, first), |(min, max), value| (min.min(value), max.max(value))))
}

/// The longest prefix within the limit: never greater than `text`.
fn lower_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// A short text that is not less than `text`; `None` if there is none.
fn upper_text(text: &str) -> Option<String> {
    if text.len() <= TEXT_BYTES_MAX {
        return Some(text.to_owned());
    }
    let mut prefix = lower_text(text).to_owned();
    while let Some(last) = prefix.pop() {
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}

/// A short value that is not less than `bytes`; `None` if there is none.
fn upper_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() <= TEXT_BYTES_MAX {
        return Some(bytes.to_vec());
    }
    let mut prefix = bytes[..TEXT_BYTES_MAX].to_vec();
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array, IntervalMonthDayNanoArray};

    fn array(array: impl Array + 'static) -> ArrayRef {
        Arc::new(array)
    }

    #[test]
    fn integers_and_nulls() {
        let zone = ZoneMaps::of(&array(Int32Array::from(vec![Some(5), None, Some(-3)])));
        assert_eq!(zone.min.as_primitive::<Int32Type>().value(0), -3);
        assert_eq!(zone.max.as_primitive::<Int32Type>().value(0), 5);
        assert_eq!((zone.null_count.value(0), zone.row_count.value(0), zone.exact.value(0)), (1, 3, true));
        let zone = ZoneMaps::of(&array(Int32Array::from(vec![None, None])));
        assert!(zone.min.is_null(0) && zone.max.is_null(0));
    }

    fn float_bounds(values: Vec<f64>) -> (f64, f64, bool) {
        let zone = ZoneMaps::of(&array(Float64Array::from(values)));
        let bound = |array: &ArrayRef| array.as_primitive::<Float64Type>().value(0);
        (bound(&zone.min), bound(&zone.max), zone.exact.value(0))
    }

    #[test]
    fn nan_is_greatest_and_zeros_are_widened() {
        assert_eq!(float_bounds(vec![1.0, 2.0]), (1.0, 2.0, true));
        let (min, max, exact) = float_bounds(vec![1.0, -f64::NAN, 2.0]);
        assert!(min == 1.0 && max.is_nan() && max.is_sign_positive() && !exact);
        let (min, max, _) = float_bounds(vec![f64::NAN]);
        assert!(min.is_nan() && max.is_nan());
        let (min, max, exact) = float_bounds(vec![-0.0]);
        assert!(min.is_sign_negative() && max.is_sign_positive() && !exact);
        let (min, _, exact) = float_bounds(vec![0.0, 1.0]);
        assert!(min.is_sign_negative() && !exact);
    }

    #[test]
    fn long_strings_are_cut_outward() {
        let long = "ж".repeat(50);
        let zone = ZoneMaps::of(&array(StringViewArray::from(vec![long.as_str()])));
        let (min, max) = (zone.min.as_string_view().value(0), zone.max.as_string_view().value(0));
        assert!(min <= long.as_str() && long.as_str() <= max && !zone.exact.value(0));
        assert!(min.len() <= TEXT_BYTES_MAX && max.len() <= TEXT_BYTES_MAX + 3);
        // The last character before the surrogates is followed by the first one after them.
        let edge = "\u{d7ff}".repeat(30);
        assert!(upper_text(&edge).unwrap().ends_with('\u{e000}'));
        // Nothing is greater than the greatest character for ever.
        assert_eq!(upper_text(&"\u{10ffff}".repeat(20)), None);
        assert_eq!(upper_bytes(&[255; 65]), None);
        assert!(upper_bytes(&[7; 65]).unwrap().as_slice() > &[7; 65][..]);
        let zone = ZoneMaps::of(&array(StringViewArray::from(vec!["\u{10ffff}".repeat(20)])));
        assert!(zone.max.is_null(0) && zone.min.is_valid(0) && !zone.exact.value(0));
    }

    #[test]
    fn merging_keeps_what_is_known() {
        let int = |values: Vec<Option<i32>>| ZoneMaps::of(&array(Int32Array::from(values)));
        let maps = [int(vec![Some(4), None]), int(vec![None]), int(vec![Some(-2), Some(9)])];
        let zones = ZoneMaps::concat(&DataType::Int32, &maps).unwrap();
        let merged = zones.merged(0..3);
        assert_eq!(merged.min.as_primitive::<Int32Type>().value(0), -2);
        assert_eq!(merged.max.as_primitive::<Int32Type>().value(0), 9);
        assert_eq!((merged.null_count.value(0), merged.row_count.value(0), merged.exact.value(0)), (2, 5, true));
        assert!(zones.merged(1..2).min.is_null(0));
        // One zone of unknown bounds makes the whole unknown.
        let maps = [int(vec![Some(4)]), ZoneMaps::unknown(&DataType::Int32, 3, 0)];
        let merged = ZoneMaps::concat(&DataType::Int32, &maps).unwrap().merged(0..2);
        assert!(merged.min.is_null(0) && merged.row_count.value(0) == 4);
        assert!(ZoneMaps::concat(&DataType::Int64, &maps).is_err());
    }

    #[test]
    fn types_without_order_have_no_bounds() {
        let zone = ZoneMaps::of(&array(IntervalMonthDayNanoArray::from(vec![None, Some(Default::default())])));
        assert!(zone.min.is_null(0) && zone.null_count.value(0) == 1 && zone.row_count.value(0) == 2);
    }
}
