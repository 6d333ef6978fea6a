//! One SQL value, for the functions and catalog views that work row by row.
//!
//! Speed does not matter here: catalogs are small and these functions are called once or a few thousand times a statement. What
//! matters is that a function body reads like PostgreSQL's documentation.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanBuilder, Decimal128Array, Decimal256Array,
    FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, ListArray,
    NullArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StringViewBuilder, UInt32Builder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, SchemaRef, Time64MicrosecondType, TimestampMicrosecondType,
    UInt32Type, i256,
};
use arrow::error::ArrowError;
use colonnade_types::{Oid, SqlType};

/// A SQL value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// `boolean`
    Bool(bool),
    /// `smallint`, `integer`, `bigint`, `oid` and the reg* types.
    Int(i64),
    /// `real` and `double precision`.
    Float(f64),
    /// `numeric`: unscaled digits and scale.
    Decimal(i256, i8),
    /// Every character type, `json` included.
    Text(String),
    /// `bytea`
    Bytes(Vec<u8>),
    /// `date`, in days since 1970-01-01.
    Date(i32),
    /// `time`, in microseconds since midnight.
    Time(i64),
    /// `timestamp` and `timestamptz`, in microseconds since 1970-01-01 (UTC).
    Timestamp(i64),
    /// `interval`
    Interval(IntervalMonthDayNano),
    /// `uuid`
    Uuid([u8; 16]),
    /// A one-dimensional array.
    List(Vec<Value>),
}

impl Value {
    /// Reads row `row` of an array of any type that [`SqlType`] knows; other types read as NULL.
    #[must_use]
    pub fn from_array(array: &dyn Array, row: usize) -> Value {
        if array.is_null(row) {
            return Value::Null;
        }
        match array.data_type() {
            DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
            DataType::Int16 => Value::Int(array.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
            DataType::UInt32 => Value::Int(array.as_primitive::<UInt32Type>().value(row).into()),
            DataType::Float32 => Value::Float(array.as_primitive::<Float32Type>().value(row).into()),
            DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal128(_, scale) => {
                Value::Decimal(i256::from_i128(array.as_primitive::<Decimal128Type>().value(row)), *scale)
            }
            DataType::Decimal256(_, scale) => Value::Decimal(array.as_primitive::<Decimal256Type>().value(row), *scale),
            DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
            DataType::LargeUtf8 => Value::Text(array.as_string::<i64>().value(row).to_owned()),
            DataType::Utf8View => Value::Text(array.as_string_view().value(row).to_owned()),
            DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
            DataType::LargeBinary => Value::Bytes(array.as_binary::<i64>().value(row).to_vec()),
            DataType::BinaryView => Value::Bytes(array.as_binary_view().value(row).to_vec()),
            DataType::FixedSizeBinary(_) => {
                let bytes = array.as_fixed_size_binary().value(row);
                bytes.try_into().map_or_else(|_| Value::Bytes(bytes.to_vec()), Value::Uuid)
            }
            DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
            DataType::Time64(_) => Value::Time(array.as_primitive::<Time64MicrosecondType>().value(row)),
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => {
                Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            DataType::Timestamp(..) => match arrow::compute::cast(
                &array.slice(row, 1),
                &DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
            ) {
                Ok(micros) => Value::from_array(&micros, 0),
                Err(_) => Value::Null,
            },
            DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano) => {
                Value::Interval(array.as_primitive::<IntervalMonthDayNanoType>().value(row))
            }
            DataType::List(_) => {
                let items = array.as_list::<i32>().value(row);
                Value::List((0..items.len()).map(|item| Value::from_array(&items, item)).collect())
            }
            DataType::LargeList(_) => {
                let items = array.as_list::<i64>().value(row);
                Value::List((0..items.len()).map(|item| Value::from_array(&items, item)).collect())
            }
            DataType::FixedSizeList(..) => {
                let items = array.as_fixed_size_list().value(row);
                Value::List((0..items.len()).map(|item| Value::from_array(&items, item)).collect())
            }
            DataType::Int8 | DataType::UInt8 | DataType::UInt16 => {
                match arrow::compute::cast(&array.slice(row, 1), &DataType::Int64) {
                    Ok(widened) => Value::from_array(&widened, 0),
                    Err(_) => Value::Null,
                }
            }
            DataType::UInt64 => match arrow::compute::cast(&array.slice(row, 1), &DataType::Decimal256(20, 0)) {
                Ok(widened) => Value::from_array(&widened, 0),
                Err(_) => Value::Null,
            },
            DataType::Dictionary(_, inner) => match arrow::compute::cast(&array.slice(row, 1), inner) {
                Ok(plain) => Value::from_array(&plain, 0),
                Err(_) => Value::Null,
            },
            _ => Value::Null,
        }
    }

    /// Whether it is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The text of a character value; empty for anything else.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            _ => "",
        }
    }

    /// The integer; other numbers are truncated, and anything else is 0.
    #[must_use]
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(value) => *value,
            #[expect(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted here")]
            Value::Float(value) => *value as i64,
            Value::Bool(value) => i64::from(*value),
            _ => 0,
        }
    }

    /// The integer as an object identifier; 0 when it is none.
    #[must_use]
    pub fn oid(&self) -> Oid {
        Oid(u32::try_from(self.int()).unwrap_or(0))
    }

    /// The floating-point number; 0 for what is no number.
    #[must_use]
    pub fn float(&self) -> f64 {
        match self {
            Value::Float(value) => *value,
            #[expect(clippy::cast_precision_loss, reason = "what a cast to double precision does")]
            Value::Int(value) => *value as f64,
            Value::Decimal(digits, scale) => {
                digits.to_string().parse::<f64>().unwrap_or(0.0) / 10f64.powi(i32::from(*scale))
            }
            _ => 0.0,
        }
    }

    /// Whether it is true.
    #[must_use]
    pub fn is_true(&self) -> bool {
        matches!(self, Value::Bool(true))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

macro_rules! from_int {
    ($($t:ty),*) => { $(impl From<$t> for Value { fn from(value: $t) -> Value { Value::Int(i64::from(value)) } })* };
}
from_int!(i16, i32, i64, u8, u16, u32);

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}
impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}
impl From<&String> for Value {
    fn from(value: &String) -> Value {
        Value::Text(value.clone())
    }
}
impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}
impl From<Oid> for Value {
    fn from(value: Oid) -> Value {
        Value::Int(value.0.into())
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}
impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Value {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

macro_rules! primitive {
    ($builder:ty, $values:expr, $convert:expr) => {{
        let mut builder = <$builder>::with_capacity($values.len());
        for value in $values {
            match value {
                Value::Null => builder.append_null(),
                other => builder.append_option($convert(other)),
            }
        }
        Arc::new(builder.finish()) as ArrayRef
    }};
}

/// Builds the Arrow array of a SQL type. A value that the type cannot hold is an error.
///
/// # Errors
/// `InvalidArgumentError` names the type and the value.
pub fn to_array(sql_type: &SqlType, values: &[Value]) -> Result<ArrayRef, ArrowError> {
    for value in values {
        if !fits(sql_type, value) {
            return Err(ArrowError::InvalidArgumentError(format!("{value:?} is no value of type {sql_type}")));
        }
    }
    let scaled = |value: &Value, scale: i8| match value {
        Value::Decimal(digits, from) => rescale(*digits, *from, scale),
        Value::Int(int) => rescale(i256::from_i128((*int).into()), 0, scale),
        _ => None,
    };
    Ok(match sql_type.arrow_type() {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(values.len());
            for value in values {
                builder.append_option(match value {
                    Value::Bool(flag) => Some(*flag),
                    _ => None,
                });
            }
            Arc::new(builder.finish())
        }
        DataType::Int16 => primitive!(Int16Builder, values, |v: &Value| i16::try_from(v.int()).ok()),
        DataType::Int32 => primitive!(Int32Builder, values, |v: &Value| i32::try_from(v.int()).ok()),
        DataType::Int64 => primitive!(Int64Builder, values, |v: &Value| Some(v.int())),
        DataType::UInt32 => primitive!(UInt32Builder, values, |v: &Value| u32::try_from(v.int()).ok()),
        #[expect(clippy::cast_possible_truncation, reason = "real is what was asked for")]
        DataType::Float32 => primitive!(Float32Builder, values, |v: &Value| Some(v.float() as f32)),
        DataType::Float64 => primitive!(Float64Builder, values, |v: &Value| Some(v.float())),
        DataType::Decimal128(precision, scale) => Arc::new(
            values
                .iter()
                .map(|value| scaled(value, scale).and_then(i256::to_i128))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(precision, scale)?,
        ),
        DataType::Decimal256(precision, scale) => Arc::new(
            values
                .iter()
                .map(|value| scaled(value, scale))
                .collect::<Decimal256Array>()
                .with_precision_and_scale(precision, scale)?,
        ),
        DataType::BinaryView => {
            let mut builder = BinaryViewBuilder::new();
            for value in values {
                match value {
                    Value::Bytes(bytes) => builder.append_value(bytes),
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        DataType::Date32 => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    Value::Date(days) => Some(*days),
                    _ => None,
                })
                .collect::<PrimitiveArray<Date32Type>>(),
        ),
        DataType::Time64(_) => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    Value::Time(micros) => Some(*micros),
                    _ => None,
                })
                .collect::<PrimitiveArray<Time64MicrosecondType>>(),
        ),
        DataType::Timestamp(_, zone) => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    Value::Timestamp(micros) => Some(*micros),
                    _ => None,
                })
                .collect::<PrimitiveArray<TimestampMicrosecondType>>()
                .with_timezone_opt(zone),
        ),
        DataType::Interval(_) => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    Value::Interval(interval) => Some(*interval),
                    _ => None,
                })
                .collect::<PrimitiveArray<IntervalMonthDayNanoType>>(),
        ),
        DataType::FixedSizeBinary(_) => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), 16);
            for value in values {
                match value {
                    Value::Uuid(bytes) => builder.append_value(bytes)?,
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        DataType::Null => Arc::new(NullArray::new(values.len())),
        DataType::List(item) => {
            let SqlType::Array(element) = sql_type else {
                return Err(ArrowError::InvalidArgumentError("a list type that is no array".to_owned()));
            };
            let mut items = Vec::new();
            let mut lengths = Vec::with_capacity(values.len());
            for value in values {
                let before = items.len();
                if let Value::List(list) = value {
                    items.extend(list.iter().cloned());
                }
                lengths.push(items.len() - before);
            }
            let nulls: NullBuffer = values.iter().map(|value| !value.is_null()).collect::<Vec<bool>>().into();
            Arc::new(ListArray::try_new(
                item,
                OffsetBuffer::from_lengths(lengths),
                to_array(element, &items)?,
                Some(nulls),
            )?)
        }
        _ => {
            let mut builder = StringViewBuilder::with_capacity(values.len());
            for value in values {
                match value {
                    Value::Text(text) => builder.append_value(text),
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
    })
}

/// Changes the scale of a decimal; `None` when digits would be lost or overflow.
fn rescale(digits: i256, from: i8, to: i8) -> Option<i256> {
    let ten = i256::from_i128(10);
    match u32::try_from(i16::from(to) - i16::from(from)) {
        Ok(more) => digits.checked_mul(ten.checked_pow(more)?),
        Err(_) => {
            let divisor = ten.checked_pow(u32::try_from(i16::from(from) - i16::from(to)).ok()?)?;
            (digits.checked_rem(divisor)? == i256::ZERO).then(|| digits.checked_div(divisor)).flatten()
        }
    }
}

fn fits(sql_type: &SqlType, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) => matches!(sql_type, SqlType::Boolean),
        Value::Int(int) => match sql_type {
            SqlType::SmallInt => i16::try_from(*int).is_ok(),
            SqlType::Integer => i32::try_from(*int).is_ok(),
            SqlType::Oid | SqlType::Reg(_) => u32::try_from(*int).is_ok(),
            SqlType::BigInt | SqlType::Real | SqlType::DoublePrecision | SqlType::Numeric(_) => true,
            _ => false,
        },
        Value::Float(_) => matches!(sql_type, SqlType::Real | SqlType::DoublePrecision),
        Value::Decimal(digits, scale) => match sql_type.arrow_type() {
            DataType::Decimal128(_, to) | DataType::Decimal256(_, to) => rescale(*digits, *scale, to).is_some(),
            _ => false,
        },
        Value::Text(_) => sql_type.is_string() || matches!(sql_type, SqlType::Json | SqlType::Jsonb),
        Value::Bytes(_) => matches!(sql_type, SqlType::Bytea),
        Value::Date(_) => matches!(sql_type, SqlType::Date),
        Value::Time(_) => matches!(sql_type, SqlType::Time),
        Value::Timestamp(_) => matches!(sql_type, SqlType::Timestamp | SqlType::TimestampTz),
        Value::Interval(_) => matches!(sql_type, SqlType::Interval),
        Value::Uuid(_) => matches!(sql_type, SqlType::Uuid),
        Value::List(items) => match sql_type {
            SqlType::Array(element) => items.iter().all(|item| fits(element, item)),
            _ => false,
        },
    }
}

/// Builds a batch from rows; each row has one value per column.
///
/// # Errors
/// A row of another length, or a value that its column cannot hold.
pub fn to_batch(schema: SchemaRef, types: &[SqlType], rows: &[Vec<Value>]) -> Result<RecordBatch, ArrowError> {
    let mut columns = Vec::with_capacity(types.len());
    for (index, sql_type) in types.iter().enumerate() {
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            if row.len() != types.len() {
                let message = format!("a row of {} values for {} columns: {row:?}", row.len(), types.len());
                return Err(ArrowError::InvalidArgumentError(message));
            }
            values.push(row[index].clone());
        }
        let name = schema.field(index).name().clone();
        columns.push(
            to_array(sql_type, &values)
                .map_err(|error| ArrowError::InvalidArgumentError(format!("column {name}: {error}")))?,
        );
    }
    RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_give_back_the_values_they_were_built_from() {
        let cases = [
            (SqlType::Integer, vec![Value::Int(7), Value::Null]),
            (SqlType::Oid, vec![Value::Int(4_000_000_000)]),
            (SqlType::Array(Box::new(SqlType::Name)), vec![Value::from(vec!["a", "b"]), Value::Null]),
            (SqlType::Numeric(Some((5, 2))), vec![Value::Decimal(i256::from_i128(1234), 2)]),
            (SqlType::Boolean, vec![Value::Bool(true)]),
            (SqlType::TimestampTz, vec![Value::Timestamp(5)]),
        ];
        for (sql_type, values) in cases {
            let array = to_array(&sql_type, &values).expect("values fit");
            assert_eq!(array.data_type(), &sql_type.arrow_type());
            let back: Vec<_> = (0..array.len()).map(|row| Value::from_array(&array, row)).collect();
            assert_eq!(back, values);
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused() {
        assert!(to_array(&SqlType::SmallInt, &[Value::Int(40_000)]).is_err());
        assert!(to_array(&SqlType::Oid, &[Value::Int(-1)]).is_err());
        assert!(to_array(&SqlType::Boolean, &[Value::Int(1)]).is_err());
    }
}
