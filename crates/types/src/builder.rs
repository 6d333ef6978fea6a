//! Takes the values of one column as text or binary and builds an Arrow array.

use std::sync::Arc;

use arrow::array::NullBufferBuilder;
use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, ListArray, NullArray, PrimitiveArray, StringViewArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, i256,
};

use crate::binary;
use crate::error::{ValueError, text_from_bytes};
use crate::settings::DisplaySettings;
use crate::sql_state::SqlState;
use crate::sql_type::SqlType;
use crate::text::numeric::{self, Shape};
use crate::text::string::{self, StringKind};
use crate::text::{array, bytea, date_time, float, integer, interval, json, parse_boolean, uuid};
use crate::views::Views;

/// Builds an array of exactly [`SqlType::arrow_type`]; a failed append leaves it unchanged.
///
/// Values are checked as PostgreSQL checks an assignment to a column of the type: `varchar(n)` refuses what is too long,
/// `char(n)` is kept without trailing blanks, `numeric(p, s)` rounds and refuses what is too large.
#[derive(Debug)]
pub struct ColumnBuilder {
    values: Values,
    nulls: NullBufferBuilder,
    data_type: DataType,
}

/// The values so far; a NULL has a default in its place.
enum Values {
    Boolean(BooleanBufferBuilder),
    SmallInt(Vec<i16>),
    Integer(Vec<i32>),
    BigInt(Vec<i64>),
    Real(Vec<f32>),
    Double(Vec<f64>),
    Numeric128(Vec<i128>, Shape),
    Numeric256(Vec<i256>, Shape),
    String(Views, StringKind),
    Json(Views),
    Jsonb(Views),
    Bytea(Views),
    Date(Vec<i32>),
    Time(Vec<i64>),
    /// Whether with time zone.
    Timestamp(Vec<i64>, bool),
    Interval(Vec<IntervalMonthDayNano>),
    Uuid(Vec<u8>),
    /// With the type's name.
    Oid(Vec<u32>, String),
    Void,
    List(Box<ListValues>),
}

struct ListValues {
    offsets: Vec<i32>,
    elements: ColumnBuilder,
    element_oid: u32,
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Values")
    }
}

impl Values {
    fn new(sql_type: &SqlType, capacity: usize) -> Values {
        if let Some(kind) = StringKind::new(sql_type) {
            return Values::String(Views::new(capacity), kind);
        }
        match sql_type {
            SqlType::Boolean => Values::Boolean(BooleanBufferBuilder::new(capacity)),
            SqlType::SmallInt => Values::SmallInt(Vec::with_capacity(capacity)),
            SqlType::Integer => Values::Integer(Vec::with_capacity(capacity)),
            SqlType::BigInt => Values::BigInt(Vec::with_capacity(capacity)),
            SqlType::Real => Values::Real(Vec::with_capacity(capacity)),
            SqlType::DoublePrecision => Values::Double(Vec::with_capacity(capacity)),
            SqlType::Numeric(modifiers) => {
                let shape = Shape::new(*modifiers);
                if shape.precision <= 38 {
                    Values::Numeric128(Vec::with_capacity(capacity), shape)
                } else {
                    Values::Numeric256(Vec::with_capacity(capacity), shape)
                }
            }
            SqlType::Json => Values::Json(Views::new(capacity)),
            SqlType::Jsonb => Values::Jsonb(Views::new(capacity)),
            SqlType::Bytea => Values::Bytea(Views::new(capacity)),
            SqlType::Date => Values::Date(Vec::with_capacity(capacity)),
            SqlType::Time => Values::Time(Vec::with_capacity(capacity)),
            SqlType::Timestamp => Values::Timestamp(Vec::with_capacity(capacity), false),
            SqlType::TimestampTz => Values::Timestamp(Vec::with_capacity(capacity), true),
            SqlType::Interval => Values::Interval(Vec::with_capacity(capacity)),
            SqlType::Uuid => Values::Uuid(Vec::with_capacity(capacity.saturating_mul(16))),
            SqlType::Oid | SqlType::Reg(_) => Values::Oid(Vec::with_capacity(capacity), sql_type.base_name()),
            SqlType::Array(element) => Values::List(Box::new(ListValues {
                offsets: vec![0],
                elements: ColumnBuilder::new(element, capacity),
                element_oid: element.oid().0,
            })),
            // The character types are above.
            _ => Values::Void,
        }
    }

    fn push_null(&mut self) {
        match self {
            Values::Boolean(values) => values.append(false),
            Values::SmallInt(values) => values.push(0),
            Values::Integer(values) | Values::Date(values) => values.push(0),
            Values::BigInt(values) | Values::Time(values) | Values::Timestamp(values, _) => values.push(0),
            Values::Real(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Numeric128(values, _) => values.push(0),
            Values::Numeric256(values, _) => values.push(i256::ZERO),
            Values::String(values, _) | Values::Json(values) | Values::Jsonb(values) | Values::Bytea(values) => {
                values.push_null();
            }
            Values::Interval(values) => values.push(IntervalMonthDayNano::default()),
            Values::Uuid(values) => values.extend_from_slice(&[0; 16]),
            Values::Oid(values, _) => values.push(0),
            Values::Void => {}
            Values::List(list) => {
                let end = list.offsets[list.offsets.len() - 1];
                list.offsets.push(end);
            }
        }
    }

    fn push_text(&mut self, text: &str, settings: &DisplaySettings) -> Result<(), ValueError> {
        match self {
            Values::Boolean(values) => {
                values.append(parse_boolean(text).ok_or_else(|| ValueError::syntax("boolean", text))?);
            }
            Values::SmallInt(values) => values.push(integer::parse(text, integer::SMALLINT)? as i16),
            Values::Integer(values) => values.push(integer::parse(text, integer::INTEGER)? as i32),
            Values::BigInt(values) => values.push(integer::parse(text, integer::BIGINT)?),
            Values::Real(values) => values.push(float::parse_f32(text)?),
            Values::Double(values) => values.push(float::parse_f64(text)?),
            Values::Numeric128(values, shape) => values.push(numeric::parse(text, *shape)?.as_i128()),
            Values::Numeric256(values, shape) => values.push(numeric::parse(text, *shape)?),
            Values::String(values, kind) => values.push(kind.stored(text, false)?.as_bytes())?,
            Values::Json(values) => {
                crate::error::check_nul(text)?;
                json::validate(text)?;
                values.push(text.as_bytes())?;
            }
            Values::Jsonb(values) => {
                crate::error::check_nul(text)?;
                values.push(json::normalize(text)?.as_bytes())?;
            }
            Values::Bytea(values) => values.push(&bytea::parse(text)?)?,
            Values::Date(values) => values.push(date_time::parse_date(text, settings)?),
            Values::Time(values) => values.push(date_time::parse_time(text, settings)?),
            Values::Timestamp(values, zoned) => values.push(date_time::parse_timestamp(text, *zoned, settings)?),
            Values::Interval(values) => values.push(interval::parse(text, settings.interval_style)?.to_arrow()?),
            Values::Uuid(values) => values.extend_from_slice(&uuid::parse(text)?),
            Values::Oid(values, name) => values.push(integer::parse_oid(text, name)?),
            Values::Void => {}
            Values::List(list) => list.push_text(text, settings)?,
        }
        Ok(())
    }

    fn push_binary(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        match self {
            Values::Boolean(values) => values.append(binary::fixed::<1>(bytes)?[0] != 0),
            Values::SmallInt(values) => values.push(i16::from_be_bytes(binary::fixed(bytes)?)),
            Values::Integer(values) => values.push(i32::from_be_bytes(binary::fixed(bytes)?)),
            Values::BigInt(values) => values.push(i64::from_be_bytes(binary::fixed(bytes)?)),
            Values::Real(values) => values.push(f32::from_be_bytes(binary::fixed(bytes)?)),
            Values::Double(values) => values.push(f64::from_be_bytes(binary::fixed(bytes)?)),
            Values::Numeric128(values, shape) => values.push(numeric::parse_binary(bytes, *shape)?.as_i128()),
            Values::Numeric256(values, shape) => values.push(numeric::parse_binary(bytes, *shape)?),
            Values::String(values, StringKind::Single) => {
                values.push(string::single_from_byte(binary::fixed::<1>(bytes)?[0]).as_bytes())?;
            }
            Values::String(values, kind) => {
                values.push(kind.stored(text_from_bytes(bytes)?, false)?.as_bytes())?;
            }
            Values::Json(values) => {
                json::validate(text_from_bytes(bytes)?)?;
                values.push(bytes)?;
            }
            Values::Jsonb(values) => {
                let text = binary::jsonb_text(bytes)?;
                values.push(json::normalize(text_from_bytes(text)?)?.as_bytes())?;
            }
            Values::Bytea(values) => values.push(bytes)?,
            Values::Date(values) => values.push(binary::read_date(bytes)?),
            Values::Time(values) => values.push(binary::read_time(bytes)?),
            Values::Timestamp(values, _) => values.push(binary::read_timestamp(bytes)?),
            Values::Interval(values) => values.push(binary::read_interval(bytes)?.to_arrow()?),
            Values::Uuid(values) => values.extend_from_slice(&binary::fixed::<16>(bytes)?),
            Values::Oid(values, _) => values.push(u32::from_be_bytes(binary::fixed(bytes)?)),
            Values::Void if bytes.is_empty() => {}
            Values::Void => return Err(ValueError::binary()),
            Values::List(list) => list.push_binary(bytes)?,
        }
        Ok(())
    }

    /// Takes off everything from a row on.
    fn truncate(&mut self, len: usize) {
        match self {
            Values::Boolean(values) => values.truncate(len),
            Values::SmallInt(values) => values.truncate(len),
            Values::Integer(values) | Values::Date(values) => values.truncate(len),
            Values::BigInt(values) | Values::Time(values) | Values::Timestamp(values, _) => values.truncate(len),
            Values::Real(values) => values.truncate(len),
            Values::Double(values) => values.truncate(len),
            Values::Numeric128(values, _) => values.truncate(len),
            Values::Numeric256(values, _) => values.truncate(len),
            Values::String(values, _) | Values::Json(values) | Values::Jsonb(values) | Values::Bytea(values) => {
                values.truncate(len);
            }
            Values::Interval(values) => values.truncate(len),
            Values::Uuid(values) => values.truncate(len * 16),
            Values::Oid(values, _) => values.truncate(len),
            Values::Void => {}
            Values::List(list) => {
                list.offsets.truncate(len + 1);
                list.elements.truncate(list.offsets[len] as usize);
            }
        }
    }
}

impl ListValues {
    fn push_text(&mut self, text: &str, settings: &DisplaySettings) -> Result<(), ValueError> {
        let elements = array::split(text)?;
        let start = self.elements.len();
        for element in &elements {
            let pushed = match element {
                Some(element) => self.elements.append_text(element, settings),
                None => {
                    self.elements.append_null();
                    Ok(())
                }
            };
            if let Err(error) = pushed {
                self.elements.truncate(start);
                return Err(error);
            }
        }
        self.end(start)
    }

    fn push_binary(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let start = self.elements.len();
        for element in binary::ArrayElements::new(bytes, self.element_oid)? {
            let pushed = match element {
                Ok(Some(element)) => self.elements.append_binary(element),
                Ok(None) => {
                    self.elements.append_null();
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = pushed {
                self.elements.truncate(start);
                return Err(error);
            }
        }
        self.end(start)
    }

    fn end(&mut self, start: usize) -> Result<(), ValueError> {
        match i32::try_from(self.elements.len()) {
            Ok(end) => self.offsets.push(end),
            Err(_) => {
                self.elements.truncate(start);
                return Err(ValueError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many array elements in one batch"));
            }
        }
        Ok(())
    }
}

impl ColumnBuilder {
    /// An empty column with room for `capacity` values.
    #[must_use]
    pub fn new(sql_type: &SqlType, capacity: usize) -> ColumnBuilder {
        ColumnBuilder {
            values: Values::new(sql_type, capacity),
            nulls: NullBufferBuilder::new(capacity),
            data_type: sql_type.arrow_type(),
        }
    }

    /// Appends NULL.
    pub fn append_null(&mut self) {
        self.values.push_null();
        self.nulls.append_null();
    }

    /// Appends a value in text form.
    pub fn append_text(&mut self, text: &str, settings: &DisplaySettings) -> Result<(), ValueError> {
        self.values.push_text(text, settings)?;
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends a value in binary form.
    pub fn append_binary(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.values.push_binary(bytes)?;
        self.nulls.append_non_null();
        Ok(())
    }

    /// Values so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Whether there is no value yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes off the values from row `len` on, as if they had never been appended; nothing if there are fewer. It lets a
    /// caller undo the columns of a row whose later column failed.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.values.truncate(len);
            self.nulls.truncate(len);
        }
    }

    /// Takes the array out; the builder is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        let len = self.nulls.len();
        let nulls = self.nulls.finish();
        match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::SmallInt(values) => primitive::<Int16Type>(values, nulls),
            Values::Integer(values) => primitive::<Int32Type>(values, nulls),
            Values::BigInt(values) => primitive::<Int64Type>(values, nulls),
            Values::Real(values) => primitive::<Float32Type>(values, nulls),
            Values::Double(values) => primitive::<Float64Type>(values, nulls),
            Values::Numeric128(values, _) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                Arc::new(Decimal128Array::new(values, nulls).with_data_type(self.data_type.clone()))
            }
            Values::Numeric256(values, _) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                Arc::new(Decimal256Array::new(values, nulls).with_data_type(self.data_type.clone()))
            }
            Values::String(values, _) | Values::Json(values) | Values::Jsonb(values) => {
                let (views, buffers) = values.finish();
                // SAFETY: `Views` made the views over its own buffers, and only bytes of `str` or checked UTF-8 went in.
                Arc::new(unsafe { StringViewArray::new_unchecked(views, buffers, nulls) })
            }
            Values::Bytea(values) => {
                let (views, buffers) = values.finish();
                // SAFETY: `Views` made the views over its own buffers.
                Arc::new(unsafe { BinaryViewArray::new_unchecked(views, buffers, nulls) })
            }
            Values::Date(values) => primitive::<Date32Type>(values, nulls),
            Values::Time(values) => primitive::<Time64MicrosecondType>(values, nulls),
            Values::Timestamp(values, _) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                let array = PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls);
                Arc::new(array.with_data_type(self.data_type.clone()))
            }
            Values::Interval(values) => primitive::<IntervalMonthDayNanoType>(values, nulls),
            Values::Uuid(values) => {
                let values = Buffer::from_vec(std::mem::take(values));
                Arc::new(FixedSizeBinaryArray::new(16, values, nulls))
            }
            Values::Oid(values, _) => primitive::<UInt32Type>(values, nulls),
            Values::Void => Arc::new(NullArray::new(len)),
            Values::List(list) => {
                let offsets = std::mem::replace(&mut list.offsets, vec![0]);
                let elements = list.elements.finish();
                let DataType::List(field) = &self.data_type else {
                    unreachable!("the Arrow type of an array type is List")
                };
                // Offsets start at 0, never fall, and end at the number of elements.
                Arc::new(ListArray::new(field.clone(), OffsetBuffer::new(offsets.into()), elements, nulls))
            }
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(std::mem::take(values)), nulls))
}

#[cfg(test)]
#[path = "builder_tests.rs"]
pub(crate) mod tests;
