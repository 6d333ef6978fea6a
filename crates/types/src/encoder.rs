//! Writes the values of an Arrow array in PostgreSQL's text or binary form.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray as _, BinaryViewArray, BooleanArray, FixedSizeBinaryArray,
    PrimitiveArray, StringViewArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, i256,
};

use crate::binary;
use crate::error::ValueError;
use crate::ids::Oid;
use crate::settings::{DisplaySettings, Format};
use crate::sql_state::SqlState;
use crate::sql_type::{RegKind, SqlType};
use crate::text::numeric::Printed;
use crate::text::{array, bytea, date_time_print, float, integer, interval, string, uuid};

/// Writes the values of one array.
#[derive(Debug)]
pub struct ColumnEncoder {
    values: Values,
    nulls: Option<NullBuffer>,
    all_null: bool,
    format: Format,
    settings: DisplaySettings,
}

enum Values {
    Boolean(BooleanArray),
    SmallInt(ScalarBuffer<i16>),
    Integer(ScalarBuffer<i32>),
    BigInt(ScalarBuffer<i64>),
    Real(ScalarBuffer<f32>),
    Double(ScalarBuffer<f64>),
    /// With scale, and whether trailing zeros are dropped.
    Numeric128(ScalarBuffer<i128>, i8, bool),
    Numeric256(ScalarBuffer<i256>, i8, bool),
    String(StringViewArray),
    /// `char(n)`
    Padded(StringViewArray, u32),
    /// `"char"`
    Single(StringViewArray),
    Jsonb(StringViewArray),
    Bytea(BinaryViewArray),
    Date(ScalarBuffer<i32>),
    Time(ScalarBuffer<i64>),
    Timestamp(ScalarBuffer<i64>),
    TimestampTz(ScalarBuffer<i64>),
    Interval(ScalarBuffer<IntervalMonthDayNano>),
    Uuid(FixedSizeBinaryArray),
    Oid(ScalarBuffer<u32>),
    RegType(ScalarBuffer<u32>),
    /// Nothing to write: `void`, and arrays of nothing but NULL.
    Empty,
    List {
        offsets: OffsetBuffer<i32>,
        elements: Box<ColumnEncoder>,
        element_oid: u32,
    },
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Values")
    }
}

/// The array in the one Arrow type that the SQL type has; converts foreign types. A value that does not fit is an error.
pub(crate) fn normalized(sql_type: &SqlType, array: &ArrayRef) -> Result<ArrayRef, ValueError> {
    let target = sql_type.arrow_type();
    if *array.data_type() == target || matches!(sql_type, SqlType::Void) {
        return Ok(array.clone());
    }
    // Another scale is not a reason to round what is only printed.
    if let (SqlType::Numeric(Some(_)), DataType::Decimal128(..) | DataType::Decimal256(..)) =
        (sql_type, array.data_type())
    {
        return Ok(array.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let source = match array.data_type() {
        // Arrow has no way from half floats or narrow integers to everything; take them one step up first.
        DataType::Dictionary(_, value) => cast_with_options(array, value, &options),
        DataType::Duration(_) => {
            cast_with_options(array, &DataType::Duration(arrow::datatypes::TimeUnit::Microsecond), &options)
        }
        _ => Ok(array.clone()),
    };
    source.and_then(|source| cast_with_options(&source, &target, &options)).map_err(|error| {
        ValueError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("a value of type {} does not fit type {sql_type}: {error}", array.data_type()),
        )
    })
}

fn scalars<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<ScalarBuffer<T::Native>, ValueError> {
    array.as_primitive_opt::<T>().map(|array: &PrimitiveArray<T>| array.values().clone()).ok_or_else(|| mismatch(array))
}

fn mismatch(array: &ArrayRef) -> ValueError {
    ValueError::internal(format!("unexpected Arrow type {}", array.data_type()))
}

impl Values {
    fn new(
        sql_type: &SqlType,
        array: &ArrayRef,
        format: Format,
        settings: &DisplaySettings,
    ) -> Result<Values, ValueError> {
        let strings = || array.as_string_view_opt().cloned().ok_or_else(|| mismatch(array));
        Ok(match sql_type {
            SqlType::Boolean => Values::Boolean(array.as_boolean_opt().cloned().ok_or_else(|| mismatch(array))?),
            SqlType::SmallInt => Values::SmallInt(scalars::<Int16Type>(array)?),
            SqlType::Integer => Values::Integer(scalars::<Int32Type>(array)?),
            SqlType::BigInt => Values::BigInt(scalars::<Int64Type>(array)?),
            SqlType::Real => Values::Real(scalars::<Float32Type>(array)?),
            SqlType::DoublePrecision => Values::Double(scalars::<Float64Type>(array)?),
            SqlType::Numeric(modifiers) => match array.data_type() {
                DataType::Decimal128(_, scale) => {
                    Values::Numeric128(scalars::<Decimal128Type>(array)?, *scale, modifiers.is_none())
                }
                DataType::Decimal256(_, scale) => {
                    Values::Numeric256(scalars::<Decimal256Type>(array)?, *scale, modifiers.is_none())
                }
                _ => return Err(mismatch(array)),
            },
            SqlType::Text | SqlType::Varchar(_) | SqlType::Name | SqlType::Unknown | SqlType::Json => {
                Values::String(strings()?)
            }
            SqlType::Char(length) => Values::Padded(strings()?, *length),
            SqlType::InternalChar => Values::Single(strings()?),
            SqlType::Jsonb => Values::Jsonb(strings()?),
            SqlType::Bytea => Values::Bytea(array.as_binary_view_opt().cloned().ok_or_else(|| mismatch(array))?),
            SqlType::Date => Values::Date(scalars::<Date32Type>(array)?),
            SqlType::Time => Values::Time(scalars::<Time64MicrosecondType>(array)?),
            SqlType::Timestamp => Values::Timestamp(scalars::<TimestampMicrosecondType>(array)?),
            SqlType::TimestampTz => Values::TimestampTz(scalars::<TimestampMicrosecondType>(array)?),
            SqlType::Interval => Values::Interval(scalars::<IntervalMonthDayNanoType>(array)?),
            SqlType::Uuid => Values::Uuid(array.as_fixed_size_binary_opt().cloned().ok_or_else(|| mismatch(array))?),
            SqlType::Reg(RegKind::Type) => Values::RegType(scalars::<UInt32Type>(array)?),
            SqlType::Oid | SqlType::Reg(_) => Values::Oid(scalars::<UInt32Type>(array)?),
            SqlType::Void => Values::Empty,
            SqlType::Array(element) => {
                let list = array.as_list_opt::<i32>().ok_or_else(|| mismatch(array))?;
                Values::List {
                    offsets: list.offsets().clone(),
                    elements: Box::new(ColumnEncoder::new(element, list.values(), format, settings)?),
                    element_oid: element.oid().0,
                }
            }
        })
    }
}

impl ColumnEncoder {
    /// An encoder over `array`, whose values are of `sql_type`; foreign Arrow types are converted once, here.
    pub fn new(
        sql_type: &SqlType,
        array: &ArrayRef,
        format: Format,
        settings: &DisplaySettings,
    ) -> Result<ColumnEncoder, ValueError> {
        let all_null = *array.data_type() == DataType::Null && *sql_type != SqlType::Void;
        let (values, nulls) = if all_null {
            (Values::Empty, None)
        } else {
            let array = normalized(sql_type, array)?;
            (Values::new(sql_type, &array, format, settings)?, array.logical_nulls())
        };
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0 && *sql_type != SqlType::Void);
        Ok(ColumnEncoder { values, nulls, all_null, format, settings: settings.clone() })
    }

    /// Whether a row is NULL.
    #[must_use]
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.all_null || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the bytes of a row's value, which is not NULL, without a length.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self.format {
            Format::Text => self.write_text(row, out),
            Format::Binary => self.write_binary(row, out),
        }
    }

    fn write_text(&self, row: usize, out: &mut Vec<u8>) {
        let settings = &self.settings;
        match &self.values {
            Values::Boolean(values) => out.push(if values.value(row) { b't' } else { b'f' }),
            Values::SmallInt(values) => integer::write(out, values[row]),
            Values::Integer(values) => integer::write(out, values[row]),
            Values::BigInt(values) => integer::write(out, values[row]),
            Values::Real(values) => float::write_f32(out, values[row], settings.extra_float_digits),
            Values::Double(values) => float::write_f64(out, values[row], settings.extra_float_digits),
            Values::Numeric128(values, scale, trim) => Printed::from_i128(values[row]).write_text(out, *scale, *trim),
            Values::Numeric256(values, scale, trim) => Printed::new(values[row]).write_text(out, *scale, *trim),
            Values::String(values) | Values::Jsonb(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Values::Padded(values, length) => string::write_padded(out, values.value(row), *length),
            Values::Single(values) => match string::single_to_byte(values.value(row)) {
                0 => {}
                byte @ 0x80.. => out.extend_from_slice(&bytea::octal(byte)),
                byte => out.push(byte),
            },
            Values::Bytea(values) => bytea::write(out, values.value(row), settings.bytea_output),
            Values::Date(values) => date_time_print::write_date(out, values[row], settings.date_style),
            Values::Time(values) => date_time_print::write_time(out, values[row]),
            Values::Timestamp(values) => date_time_print::write_timestamp(out, values[row], settings.date_style),
            Values::TimestampTz(values) => date_time_print::write_timestamptz(out, values[row], settings),
            Values::Interval(values) => {
                interval::write(out, interval::Parts::from_arrow(values[row]), settings.interval_style);
            }
            Values::Uuid(values) => uuid::write(out, values.value(row)),
            Values::Oid(values) => integer::write(out, values[row]),
            Values::RegType(values) => match SqlType::from_oid(Oid(values[row]), -1) {
                Some(named) => out.extend_from_slice(named.base_name().as_bytes()),
                None => integer::write(out, values[row]),
            },
            Values::Empty => {}
            Values::List { offsets, elements, .. } => {
                out.push(b'{');
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                for index in start..end {
                    if index > start {
                        out.push(b',');
                    }
                    if elements.is_null(index) {
                        out.extend_from_slice(b"NULL");
                        continue;
                    }
                    let from = out.len();
                    elements.write_text(index, out);
                    array::quote_element(out, from);
                }
                out.push(b'}');
            }
        }
    }

    fn write_binary(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Boolean(values) => out.push(u8::from(values.value(row))),
            Values::SmallInt(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Values::Integer(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Values::BigInt(values) | Values::Time(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Values::Real(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Values::Double(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Values::Numeric128(values, scale, trim) => {
                Printed::from_i128(values[row]).write_binary(out, *scale, *trim);
            }
            Values::Numeric256(values, scale, trim) => Printed::new(values[row]).write_binary(out, *scale, *trim),
            Values::String(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Values::Padded(values, length) => string::write_padded(out, values.value(row), *length),
            Values::Single(values) => out.push(string::single_to_byte(values.value(row))),
            Values::Jsonb(values) => {
                out.push(binary::JSONB_VERSION);
                out.extend_from_slice(values.value(row).as_bytes());
            }
            Values::Bytea(values) => out.extend_from_slice(values.value(row)),
            Values::Date(values) => binary::write_date(out, values[row]),
            Values::Timestamp(values) | Values::TimestampTz(values) => binary::write_timestamp(out, values[row]),
            Values::Interval(values) => binary::write_interval(out, interval::Parts::from_arrow(values[row])),
            Values::Uuid(values) => out.extend_from_slice(values.value(row)),
            Values::Oid(values) | Values::RegType(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Values::Empty => {}
            Values::List { offsets, elements, element_oid } => {
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                let mut int = |value: u32| out.extend_from_slice(&value.to_be_bytes());
                int(u32::from(end > start));
                int(u32::from((start..end).any(|index| elements.is_null(index))));
                int(*element_oid);
                if end == start {
                    return;
                }
                int((end - start) as u32);
                int(1);
                for index in start..end {
                    let at = out.len();
                    out.extend_from_slice(&(-1i32).to_be_bytes());
                    if !elements.is_null(index) {
                        elements.write_binary(index, out);
                        let length = (out.len() - at - 4) as u32;
                        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
                    }
                }
            }
        }
    }
}

/// The values of an array as a text array, NULL for NULL.
pub(crate) fn to_text(
    sql_type: &SqlType,
    array: &ArrayRef,
    settings: &DisplaySettings,
) -> Result<ArrayRef, ValueError> {
    let encoder = ColumnEncoder::new(sql_type, array, Format::Text, settings)?;
    let mut builder = arrow::array::StringViewBuilder::with_capacity(array.len());
    let mut text = Vec::new();
    for row in 0..array.len() {
        if encoder.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        encoder.write(row, &mut text);
        builder.append_value(std::str::from_utf8(&text).map_err(|_| ValueError::internal("text form is not UTF-8"))?);
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
#[path = "encoder_tests.rs"]
mod tests;
