//! Nodes of any type: validity, then the values as the type asks.
//!
//! ```text
//! validity u8:  0 no NULL                | values
//!               1 bitmap, ceil(rows / 8) | values, with a repeated neighbour in the place of a NULL
//!               2 all NULL               |
//! ```
//!
//! Invariants: a node decodes to exactly the row count and type asked for or fails; list items come in blocks of
//! [`ITEM_BLOCK_ROWS`], so that no small node claims a large allocation.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, ListArray,
    NullArray, PrimitiveArray, StringViewArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;

use crate::cursor::Cursor;
use crate::encoding::Encodings;
use crate::error::{FormatError, WriteError};
use crate::floats::{self, Float};
use crate::{decimals, integers, strings};

const VALID_ALL: u8 = 0;
const VALID_BITMAP: u8 = 1;
const VALID_NONE: u8 = 2;

const TAG_CONSTANT: u8 = 0;
const TAG_PLAIN: u8 = 1;

/// Items of a list column that are encoded together.
const ITEM_BLOCK_ROWS: usize = 65_536;

/// Appends the node of `array` and returns what was used.
pub(crate) fn encode(array: &ArrayRef, out: &mut Vec<u8>) -> Result<Encodings, WriteError> {
    if !encode_validity(array.len(), array.logical_nulls().as_ref(), out) {
        return Ok(Encodings::CONSTANT);
    }
    encode_values(array, out)
}

/// Appends the validity; `false` if no value follows.
pub(crate) fn encode_validity(rows: usize, nulls: Option<&NullBuffer>, out: &mut Vec<u8>) -> bool {
    match nulls {
        Some(nulls) if nulls.null_count() == rows => {
            out.push(VALID_NONE);
            return false;
        }
        Some(nulls) if nulls.null_count() > 0 => {
            out.push(VALID_BITMAP);
            put_bitmap(nulls.inner(), out);
        }
        _ => out.push(VALID_ALL),
    }
    true
}

/// What the validity of a node says.
pub(crate) enum Validity {
    /// No value follows.
    AllNull,
    /// Values follow; these of them are NULL.
    Some(Option<NullBuffer>),
}

/// Reads what [`encode_validity`] wrote.
pub(crate) fn decode_validity(cursor: &mut Cursor<'_>, rows: usize) -> Result<Validity, FormatError> {
    match cursor.u8("validity")? {
        VALID_ALL => Ok(Validity::Some(None)),
        VALID_BITMAP => Ok(Validity::Some(Some(NullBuffer::new(take_bitmap(cursor, rows)?)))),
        VALID_NONE => Ok(Validity::AllNull),
        tag => Err(cursor.invalid("validity", "0, 1 or 2", tag)),
    }
}

/// Appends the bits, lowest first, the rest of the last byte zero.
pub(crate) fn put_bitmap(bits: &BooleanBuffer, out: &mut Vec<u8>) {
    let sliced = bits.sliced();
    let bytes = bits.len().div_ceil(8);
    out.extend_from_slice(&sliced.as_slice()[..bytes]);
    if let (Some(last), used @ 1..) = (out.last_mut(), bits.len() % 8) {
        *last &= (1 << used) - 1;
    }
}

pub(crate) fn take_bitmap(cursor: &mut Cursor<'_>, rows: usize) -> Result<BooleanBuffer, FormatError> {
    let bytes = cursor.take(rows.div_ceil(8), "bitmap")?;
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes.to_vec()), 0, rows))
}

/// An integer type that can be stored as `i64`.
trait Stored: Copy {
    fn to_stored(self) -> i64;
    fn from_stored(stored: i64) -> Option<Self>;
}

macro_rules! stored {
    ($($native:ty)*) => {
        $(impl Stored for $native {
            fn to_stored(self) -> i64 {
                i64::from(self)
            }
            fn from_stored(stored: i64) -> Option<Self> {
                Self::try_from(stored).ok()
            }
        })*
    };
}
stored!(i16 i32 i64 u32);

impl Stored for u64 {
    fn to_stored(self) -> i64 {
        self as i64
    }
    fn from_stored(stored: i64) -> Option<Self> {
        Some(stored as u64)
    }
}

/// Calls a generic function with the primitive type of a data type that is stored as integers.
macro_rules! with_integer_type {
    ($data_type:expr, $function:ident($($argument:expr),*), $otherwise:expr) => {
        match $data_type {
            DataType::Int16 => $function::<Int16Type>($($argument),*),
            DataType::Int32 => $function::<Int32Type>($($argument),*),
            DataType::Int64 => $function::<Int64Type>($($argument),*),
            DataType::UInt32 => $function::<UInt32Type>($($argument),*),
            DataType::UInt64 => $function::<UInt64Type>($($argument),*),
            DataType::Date32 => $function::<Date32Type>($($argument),*),
            DataType::Time64(TimeUnit::Microsecond) => $function::<Time64MicrosecondType>($($argument),*),
            DataType::Timestamp(TimeUnit::Microsecond, _) => $function::<TimestampMicrosecondType>($($argument),*),
            _ => $otherwise,
        }
    };
}

fn encode_values(array: &ArrayRef, out: &mut Vec<u8>) -> Result<Encodings, WriteError> {
    with_integer_type!(array.data_type(), encode_integers(array, out), encode_others(array, out))
}

fn encode_integers<T: ArrowPrimitiveType>(array: &ArrayRef, out: &mut Vec<u8>) -> Result<Encodings, WriteError>
where
    T::Native: Stored,
{
    let array = array.as_primitive::<T>();
    Ok(integers::encode(&filled(array.values(), array.nulls(), Stored::to_stored), out))
}

fn encode_floats<T: ArrowPrimitiveType>(array: &ArrayRef, out: &mut Vec<u8>) -> Encodings
where
    T::Native: Float,
{
    let array = array.as_primitive::<T>();
    floats::encode(&filled(array.values(), array.nulls(), |value| value), out)
}

fn encode_others(array: &ArrayRef, out: &mut Vec<u8>) -> Result<Encodings, WriteError> {
    let nulls = array.nulls();
    Ok(match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            let count = values.true_count();
            // A NULL counts as whatever makes the page constant.
            if count == 0 || count == array.len() - array.null_count() {
                out.extend([TAG_CONSTANT, u8::from(count > 0)]);
                Encodings::CONSTANT
            } else {
                out.push(TAG_PLAIN);
                put_bitmap(values.values(), out);
                Encodings::BITMAP
            }
        }
        DataType::Float32 => encode_floats::<Float32Type>(array, out),
        DataType::Float64 => encode_floats::<Float64Type>(array, out),
        DataType::Decimal128(..) => {
            let array = array.as_primitive::<Decimal128Type>();
            decimals::encode_128(&filled(array.values(), nulls, |value| value), out)
        }
        DataType::Decimal256(..) => {
            let array = array.as_primitive::<Decimal256Type>();
            decimals::encode_256(&filled(array.values(), nulls, |value| value), out)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>().values();
            let months = integers::encode(&filled(values, nulls, |value| i64::from(value.months)), out);
            let days = integers::encode(&filled(values, nulls, |value| i64::from(value.days)), out);
            months.union(days).union(integers::encode(&filled(values, nulls, |value| value.nanoseconds), out))
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            let values: Vec<&[u8]> = (0..array.len()).map(|row| array.value(row)).collect();
            let values = filled(&values, nulls, |value| value);
            if values.windows(2).all(|pair| pair[0] == pair[1]) {
                out.push(TAG_CONSTANT);
                values.first().iter().for_each(|value| out.extend_from_slice(value));
                Encodings::CONSTANT
            } else {
                out.push(TAG_PLAIN);
                values.iter().for_each(|value| out.extend_from_slice(value));
                Encodings::PLAIN
            }
        }
        DataType::Utf8View | DataType::BinaryView => strings::encode(&byte_values(array), out)?,
        DataType::List(_) => encode_list(array.as_list::<i32>(), out)?,
        DataType::Null => Encodings::CONSTANT,
        other => return Err(WriteError::UnsupportedType { data_type: other.clone() }),
    })
}

/// Values with every NULL replaced by the valid value before it, or else the first valid one.
fn filled<T: Copy, S: Copy>(values: &[T], nulls: Option<&NullBuffer>, convert: impl Fn(T) -> S) -> Vec<S> {
    let Some(nulls) = nulls else { return values.iter().map(|&value| convert(value)).collect() };
    let Some(first) = nulls.valid_indices().next() else { return Vec::new() };
    let mut last = convert(values[first]);
    values
        .iter()
        .enumerate()
        .map(|(row, &value)| {
            if nulls.is_valid(row) {
                last = convert(value);
            }
            last
        })
        .collect()
}

/// The bytes of a string or binary array's values; empty for NULL.
pub(crate) fn byte_values(array: &ArrayRef) -> Vec<&[u8]> {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().iter().map(|value| value.unwrap_or_default().as_bytes()).collect(),
        _ => array.as_binary_view().iter().map(Option::unwrap_or_default).collect(),
    }
}

fn encode_list(array: &ListArray, out: &mut Vec<u8>) -> Result<Encodings, WriteError> {
    // Bytes under a NULL list are nobody's: its length is stored as 0.
    let lengths: Vec<i64> =
        (0..array.len()).map(|row| if array.is_null(row) { 0 } else { i64::from(array.value_length(row)) }).collect();
    integers::encode(&lengths, out);
    let contiguous = (0..array.len()).all(|row| array.is_valid(row) || array.value_length(row) == 0);
    let items = if contiguous {
        let first = array.value_offsets().first().map_or(0, |&offset| offset as usize);
        let last = array.value_offsets().last().map_or(0, |&offset| offset as usize);
        array.values().slice(first, last - first)
    } else {
        let parts: Vec<ArrayRef> =
            (0..array.len()).filter(|&row| array.is_valid(row)).map(|row| array.value(row)).collect();
        let parts: Vec<&dyn Array> = parts.iter().map(|part| &**part).collect();
        arrow::compute::concat(&parts)?
    };
    let mut used = Encodings::LIST;
    for start in (0..items.len()).step_by(ITEM_BLOCK_ROWS) {
        let block = items.slice(start, ITEM_BLOCK_ROWS.min(items.len() - start));
        used = used.union(encode(&block, out)?);
    }
    Ok(used)
}

/// Reads a node of `rows` values of `data_type`. The caller bounds `rows`.
pub(crate) fn decode(cursor: &mut Cursor<'_>, data_type: &DataType, rows: usize) -> Result<ArrayRef, FormatError> {
    match decode_validity(cursor, rows)? {
        Validity::AllNull => Ok(new_null_array(data_type, rows)),
        Validity::Some(nulls) => decode_values(cursor, data_type, rows, nulls),
    }
}

/// Reads the values of a node whose validity has been read.
pub(crate) fn decode_values(
    cursor: &mut Cursor<'_>,
    data_type: &DataType,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, FormatError> {
    with_integer_type!(
        data_type,
        decode_integers(cursor, data_type, rows, nulls),
        decode_others(cursor, data_type, rows, nulls)
    )
}

fn narrowed<T: Stored>(cursor: &mut Cursor<'_>, rows: usize) -> Result<Vec<T>, FormatError> {
    integers::decode(cursor, rows)?
        .into_iter()
        .map(|stored| T::from_stored(stored).ok_or_else(|| cursor.invalid("integer", "a value of the type", stored)))
        .collect()
}

fn decode_integers<T: ArrowPrimitiveType>(
    cursor: &mut Cursor<'_>,
    data_type: &DataType,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, FormatError>
where
    T::Native: Stored,
{
    let values = narrowed::<T::Native>(cursor, rows)?;
    primitive::<T>(cursor, data_type, values, nulls)
}

fn primitive<T: ArrowPrimitiveType>(
    cursor: &Cursor<'_>,
    data_type: &DataType,
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, FormatError> {
    let array = PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls).map_err(|e| refused(cursor, &e))?;
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

fn refused(cursor: &Cursor<'_>, error: &ArrowError) -> FormatError {
    cursor.invalid("array", "a valid one", error)
}

fn decode_others(
    cursor: &mut Cursor<'_>,
    data_type: &DataType,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, FormatError> {
    match data_type {
        DataType::Boolean => {
            let values = match cursor.u8("boolean encoding")? {
                TAG_CONSTANT => match cursor.u8("boolean constant")? {
                    0 => BooleanBuffer::new_unset(rows),
                    1 => BooleanBuffer::new_set(rows),
                    other => return Err(cursor.invalid("boolean constant", "0 or 1", other)),
                },
                TAG_PLAIN => take_bitmap(cursor, rows)?,
                tag => return Err(cursor.invalid("boolean encoding", "0 or 1", tag)),
            };
            Ok(Arc::new(BooleanArray::new(values, nulls)))
        }
        DataType::Float32 => {
            let values = floats::decode(cursor, rows)?;
            primitive::<Float32Type>(cursor, data_type, values, nulls)
        }
        DataType::Float64 => {
            let values = floats::decode(cursor, rows)?;
            primitive::<Float64Type>(cursor, data_type, values, nulls)
        }
        DataType::Decimal128(..) => {
            let values = decimals::decode_128(cursor, rows)?;
            primitive::<Decimal128Type>(cursor, data_type, values, nulls)
        }
        DataType::Decimal256(..) => {
            let values = decimals::decode_256(cursor, rows)?;
            primitive::<Decimal256Type>(cursor, data_type, values, nulls)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let months: Vec<i32> = narrowed(cursor, rows)?;
            let days: Vec<i32> = narrowed(cursor, rows)?;
            let nanos: Vec<i64> = narrowed(cursor, rows)?;
            let values = months.into_iter().zip(days).zip(nanos);
            let values = values.map(|((months, days), nanos)| IntervalMonthDayNano::new(months, days, nanos)).collect();
            primitive::<IntervalMonthDayNanoType>(cursor, data_type, values, nulls)
        }
        DataType::FixedSizeBinary(width) => {
            let value_bytes = usize::try_from(*width).unwrap_or(0);
            let bytes = match cursor.u8("fixed binary encoding")? {
                TAG_CONSTANT => cursor.take(value_bytes, "fixed binary constant")?.repeat(rows),
                TAG_PLAIN => cursor.take(value_bytes.saturating_mul(rows), "fixed binary values")?.to_vec(),
                tag => return Err(cursor.invalid("fixed binary encoding", "0 or 1", tag)),
            };
            let array = FixedSizeBinaryArray::try_new(*width, Buffer::from_vec(bytes), nulls);
            Ok(Arc::new(array.map_err(|error| refused(cursor, &error))?))
        }
        DataType::Utf8View => {
            let (views, buffers) = strings::decode(cursor, rows)?;
            let array = StringViewArray::try_new(views, buffers, nulls);
            Ok(Arc::new(array.map_err(|error| refused(cursor, &error))?))
        }
        DataType::BinaryView => {
            let (views, buffers) = strings::decode(cursor, rows)?;
            let array = BinaryViewArray::try_new(views, buffers, nulls);
            Ok(Arc::new(array.map_err(|error| refused(cursor, &error))?))
        }
        DataType::List(item) => decode_list(cursor, item, rows, nulls),
        DataType::Null => Ok(Arc::new(NullArray::new(rows))),
        other => Err(cursor.invalid("column type", "a type of the format", other)),
    }
}

/// Reads whether row `row` of `rows` has a value, and passes the validity.
pub(crate) fn decode_validity_one(cursor: &mut Cursor<'_>, rows: usize, row: usize) -> Result<bool, FormatError> {
    match cursor.u8("validity")? {
        VALID_ALL => Ok(true),
        VALID_BITMAP => bit(cursor, rows, row),
        VALID_NONE => Ok(false),
        tag => Err(cursor.invalid("validity", "0, 1 or 2", tag)),
    }
}

fn bit(cursor: &mut Cursor<'_>, rows: usize, row: usize) -> Result<bool, FormatError> {
    Ok(cursor.take(rows.div_ceil(8), "bitmap")?[row / 8] >> (row % 8) & 1 == 1)
}

/// Reads the value of row `row` of a node of `rows` values, as an array of one. `None` if only the whole node can be decoded: for lists and compressed strings.
pub(crate) fn decode_one(
    cursor: &mut Cursor<'_>,
    data_type: &DataType,
    rows: usize,
    row: usize,
) -> Result<Option<ArrayRef>, FormatError> {
    if !decode_validity_one(cursor, rows, row)? {
        return Ok(Some(new_null_array(data_type, 1)));
    }
    with_integer_type!(
        data_type,
        decode_integer(cursor, data_type, rows, row),
        decode_other(cursor, data_type, rows, row)
    )
}

fn decode_integer<T: ArrowPrimitiveType>(
    cursor: &mut Cursor<'_>,
    data_type: &DataType,
    rows: usize,
    row: usize,
) -> Result<Option<ArrayRef>, FormatError>
where
    T::Native: Stored,
{
    let value = narrowed_one::<T::Native>(cursor, rows, row)?;
    primitive::<T>(cursor, data_type, vec![value], None).map(Some)
}

fn narrowed_one<T: Stored>(cursor: &mut Cursor<'_>, rows: usize, row: usize) -> Result<T, FormatError> {
    let stored = integers::decode_one(cursor, rows, row)?;
    T::from_stored(stored).ok_or_else(|| cursor.invalid("integer", "a value of the type", stored))
}

fn decode_other(
    cursor: &mut Cursor<'_>,
    data_type: &DataType,
    rows: usize,
    row: usize,
) -> Result<Option<ArrayRef>, FormatError> {
    let array: ArrayRef = match data_type {
        DataType::Boolean => {
            let value = match cursor.u8("boolean encoding")? {
                TAG_CONSTANT => match cursor.u8("boolean constant")? {
                    0 => false,
                    1 => true,
                    other => return Err(cursor.invalid("boolean constant", "0 or 1", other)),
                },
                TAG_PLAIN => bit(cursor, rows, row)?,
                tag => return Err(cursor.invalid("boolean encoding", "0 or 1", tag)),
            };
            Arc::new(BooleanArray::from(vec![value]))
        }
        DataType::Float32 => {
            let value = floats::decode_one(cursor, rows, row)?;
            primitive::<Float32Type>(cursor, data_type, vec![value], None)?
        }
        DataType::Float64 => {
            let value = floats::decode_one(cursor, rows, row)?;
            primitive::<Float64Type>(cursor, data_type, vec![value], None)?
        }
        DataType::Decimal128(..) => {
            let value = decimals::decode_128_one(cursor, rows, row)?;
            primitive::<Decimal128Type>(cursor, data_type, vec![value], None)?
        }
        DataType::Decimal256(..) => {
            let value = decimals::decode_256_one(cursor, rows, row)?;
            primitive::<Decimal256Type>(cursor, data_type, vec![value], None)?
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let months = narrowed_one(cursor, rows, row)?;
            let days = narrowed_one(cursor, rows, row)?;
            let value = IntervalMonthDayNano::new(months, days, narrowed_one(cursor, rows, row)?);
            primitive::<IntervalMonthDayNanoType>(cursor, data_type, vec![value], None)?
        }
        DataType::FixedSizeBinary(width) => {
            let value_bytes = usize::try_from(*width).unwrap_or(0);
            let before = match cursor.u8("fixed binary encoding")? {
                TAG_CONSTANT => 0,
                TAG_PLAIN => value_bytes.saturating_mul(row),
                tag => return Err(cursor.invalid("fixed binary encoding", "0 or 1", tag)),
            };
            cursor.take(before, "fixed binary values")?;
            let value = cursor.take(value_bytes, "fixed binary value")?;
            let array = FixedSizeBinaryArray::try_new(*width, Buffer::from(value), None);
            Arc::new(array.map_err(|error| refused(cursor, &error))?)
        }
        DataType::Utf8View => {
            let Some(value) = strings::decode_one(cursor, rows, row)? else { return Ok(None) };
            let text = std::str::from_utf8(value).map_err(|error| cursor.invalid("string", "UTF-8", error))?;
            Arc::new(StringViewArray::from(vec![text]))
        }
        DataType::BinaryView => {
            let Some(value) = strings::decode_one(cursor, rows, row)? else { return Ok(None) };
            Arc::new(BinaryViewArray::from(vec![value]))
        }
        DataType::List(_) => return Ok(None),
        DataType::Null => Arc::new(NullArray::new(1)),
        other => return Err(cursor.invalid("column type", "a type of the format", other)),
    };
    Ok(Some(array))
}

fn decode_list(
    cursor: &mut Cursor<'_>,
    item: &Arc<Field>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, FormatError> {
    let lengths = integers::decode(cursor, rows)?;
    let mut offsets = Vec::with_capacity(rows + 1);
    let mut end = 0_i32;
    offsets.push(end);
    for length in lengths {
        end = i32::try_from(length)
            .ok()
            .filter(|&length| length >= 0)
            .and_then(|length| end.checked_add(length))
            .ok_or_else(|| cursor.invalid("list length", "a sum below 2^31", length))?;
        offsets.push(end);
    }
    let total = end as usize;
    let mut blocks = Vec::new();
    for start in (0..total).step_by(ITEM_BLOCK_ROWS) {
        blocks.push(decode(cursor, item.data_type(), ITEM_BLOCK_ROWS.min(total - start))?);
    }
    let items = match blocks.as_slice() {
        [] => arrow::array::new_empty_array(item.data_type()),
        [one] => Arc::clone(one),
        many => {
            let many: Vec<&dyn Array> = many.iter().map(|block| &**block).collect();
            arrow::compute::concat(&many).map_err(|error| refused(cursor, &error))?
        }
    };
    let array = ListArray::try_new(Arc::clone(item), OffsetBuffer::new(ScalarBuffer::from(offsets)), items, nulls);
    Ok(Arc::new(array.map_err(|error| refused(cursor, &error))?))
}
