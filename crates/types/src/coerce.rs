//! Casts between SQL types, on arrays, with PostgreSQL's checks.
//!
//! | from | to | how |
//! |---|---|---|
//! | number | number | range-checked; floats round half to even, numerics half away from zero |
//! | boolean | integer | and back; assignment refuses, as in PostgreSQL |
//! | date, timestamp, timestamptz | each other | through the session's time zone |
//! | anything | character types | its text form; too long is an error, or cut if the cast is explicit |
//! | character types | anything | as input of the target's text form |
//! | json, jsonb | each other | through text |
//! | jsonb | number, boolean | the scalar inside |
//! | array | array | element by element |

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, ArrowPrimitiveType, AsArray as _, BooleanArray, Decimal128Array, Decimal256Array,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListArray, PrimitiveArray, StringViewArray,
    StringViewBuilder, UInt32Array, new_null_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, i256,
};

use crate::builder::ColumnBuilder;
use crate::calendar::MICROS_PER_DAY;
use crate::encoder::{normalized, to_text};
use crate::error::ValueError;
use crate::settings::DisplaySettings;
use crate::sql_type::SqlType;
use crate::text::date_time::{check_date, check_timestamp};
use crate::text::numeric::{self, Printed, Shape};
use crate::text::string::StringKind;
use crate::text::{float, interval::Parts};

/// Converts `array` from one SQL type to another as PostgreSQL's assignment (`explicit` false) or explicit cast does.
///
/// The result has exactly `to.arrow_type()`. `array` may be of any Arrow type that [`SqlType::from_arrow`] knows. A pair that
/// PostgreSQL has no cast for is error 42846; one that it takes only explicitly is so unless `explicit` is set.
pub fn coerce(
    array: &ArrayRef,
    from: &SqlType,
    to: &SqlType,
    explicit: bool,
    settings: &DisplaySettings,
) -> Result<ArrayRef, ValueError> {
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(&to.arrow_type(), array.len()));
    }
    if let (SqlType::Oid, DataType::Int64 | DataType::Int32) = (from, array.data_type()) {
        return coerce(array, &SqlType::BigInt, to, explicit, settings);
    }
    let array = normalized(from, array)?;
    let decimal_of_another_shape =
        matches!(to, SqlType::Numeric(_)) && *array.data_type() != to.arrow_type() && from == to;
    if from == to && !decimal_of_another_shape {
        return Ok(array);
    }
    if let Some(kind) = StringKind::new(to) {
        return to_string(&array, from, kind, explicit, settings);
    }
    if from.is_string() {
        return from_string(&array, from, to, settings);
    }
    let refused = || ValueError::cannot_cast(&from.base_name(), &to.base_name());
    match (from, to) {
        (SqlType::Array(from), SqlType::Array(element)) => {
            let list = array.as_list_opt::<i32>().ok_or_else(refused)?;
            let elements = coerce(list.values(), from, element, explicit, settings)?;
            let DataType::List(field) = to.arrow_type() else { return Err(refused()) };
            Ok(Arc::new(ListArray::new(field, list.offsets().clone(), elements, list.nulls().cloned())))
        }
        (SqlType::Json, SqlType::Jsonb) | (SqlType::Jsonb, SqlType::Json) => from_string(&array, from, to, settings),
        (SqlType::Jsonb, _) if explicit => from_jsonb(&array, to, settings),
        (SqlType::Boolean, SqlType::Integer) | (SqlType::Integer, SqlType::Boolean) if !explicit => Err(refused()),
        (SqlType::Boolean, SqlType::Integer) => {
            Ok(Arc::new(unary_from_boolean(array.as_boolean(), i32::from)) as ArrayRef)
        }
        (SqlType::Integer, SqlType::Boolean) => {
            let values = array.as_primitive::<Int32Type>();
            Ok(Arc::new(BooleanArray::from_unary(values, |value| value != 0)))
        }
        (SqlType::Uuid, SqlType::Bytea) | (SqlType::Bytea, SqlType::Uuid) => Err(refused()),
        _ if is_number(from) && is_number(to) => number(&array, from, to).unwrap_or_else(|| Err(refused())),
        _ => date_time(&array, from, to, settings).unwrap_or_else(|| Err(refused())),
    }
}

/// Reads one value in text form to an array of one row.
pub fn parse_value(sql_type: &SqlType, text: &str, settings: &DisplaySettings) -> Result<ArrayRef, ValueError> {
    let mut builder = ColumnBuilder::new(sql_type, 1);
    builder.append_text(text, settings)?;
    Ok(builder.finish())
}

fn unary_from_boolean(array: &BooleanArray, value: impl Fn(bool) -> i32) -> Int32Array {
    array.iter().map(|item| item.map(&value)).collect()
}

fn to_string(
    array: &ArrayRef,
    from: &SqlType,
    kind: StringKind,
    explicit: bool,
    settings: &DisplaySettings,
) -> Result<ArrayRef, ValueError> {
    // A char(n) loses its padding on the way, a boolean is spelled out.
    let text: ArrayRef = match from {
        SqlType::Boolean => Arc::new(
            array
                .as_boolean()
                .iter()
                .map(|value| value.map(|value| if value { "true" } else { "false" }))
                .collect::<StringViewArray>(),
        ),
        _ if from.is_string() && !matches!(from, SqlType::InternalChar) => array.clone(),
        _ => to_text(from, array, settings)?,
    };
    if kind == StringKind::Any {
        return Ok(text);
    }
    let mut out = StringViewBuilder::with_capacity(text.len());
    for value in text.as_string_view() {
        match value {
            // Only the character types are cut; a number that does not fit its text is an error in any cast.
            Some(value) => out.append_value(kind.stored(value, explicit)?),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn from_string(
    array: &ArrayRef,
    from: &SqlType,
    to: &SqlType,
    settings: &DisplaySettings,
) -> Result<ArrayRef, ValueError> {
    if matches!(from, SqlType::InternalChar) && *to == SqlType::Integer {
        let values = array.as_string_view();
        let byte = |text: &str| i32::from(crate::text::string::single_to_byte(text).cast_signed());
        return Ok(Arc::new(values.iter().map(|value| value.map(byte)).collect::<Int32Array>()));
    }
    let mut builder = ColumnBuilder::new(to, array.len());
    for value in array.as_string_view() {
        match value {
            Some(value) => builder.append_text(value, settings)?,
            None => builder.append_null(),
        }
    }
    Ok(builder.finish())
}

/// The scalar inside a jsonb.
fn from_jsonb(array: &ArrayRef, to: &SqlType, settings: &DisplaySettings) -> Result<ArrayRef, ValueError> {
    if !is_number(to) && *to != SqlType::Boolean || matches!(to, SqlType::Oid | SqlType::Reg(_)) {
        return Err(ValueError::cannot_cast("jsonb", &to.base_name()));
    }
    let mismatch = |text: &str| {
        let kind = match text.as_bytes().first() {
            Some(b'{') => "object",
            Some(b'[') => "array",
            Some(b'"') => "string",
            Some(b't' | b'f') => "boolean",
            Some(b'n') => "null",
            _ => "numeric",
        };
        ValueError::new(
            crate::SqlState::INVALID_PARAMETER_VALUE,
            format!("cannot cast jsonb {kind} to type {}", to.base_name()),
        )
    };
    let wanted = |text: &str| match to {
        SqlType::Boolean => matches!(text, "true" | "false"),
        _ => text.starts_with(|c: char| c == '-' || c.is_ascii_digit()),
    };
    // Through numeric, so that 1.5 rounds as PostgreSQL rounds it.
    let through = if *to == SqlType::Boolean { SqlType::Boolean } else { SqlType::Numeric(None) };
    let mut builder = ColumnBuilder::new(&through, array.len());
    for value in array.as_string_view() {
        match value {
            Some(text) if wanted(text) => builder.append_text(text, settings)?,
            Some(text) => return Err(mismatch(text)),
            None => builder.append_null(),
        }
    }
    coerce(&builder.finish(), &through, to, true, settings)
}

fn is_number(sql_type: &SqlType) -> bool {
    is_integer(sql_type)
        || matches!(
            sql_type,
            SqlType::Real | SqlType::DoublePrecision | SqlType::Numeric(_) | SqlType::Oid | SqlType::Reg(_)
        )
}

fn is_integer(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt)
}

fn is_oid(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Oid | SqlType::Reg(_))
}

/// Between numbers; `None` if PostgreSQL has no such cast.
fn number(array: &ArrayRef, from: &SqlType, to: &SqlType) -> Option<Result<ArrayRef, ValueError>> {
    if is_oid(from) && !is_integer(to) && !is_oid(to) || is_oid(to) && !is_integer(from) && !is_oid(from) {
        return None;
    }
    if is_oid(from) && is_oid(to) {
        return Some(Ok(array.clone()));
    }
    Some(match from {
        SqlType::SmallInt => from_integers(array.as_primitive::<Int16Type>(), to),
        SqlType::Integer => from_integers(array.as_primitive::<Int32Type>(), to),
        SqlType::BigInt => from_integers(array.as_primitive::<Int64Type>(), to),
        SqlType::Oid | SqlType::Reg(_) if *to == SqlType::Integer => {
            Ok(Arc::new(array.as_primitive::<UInt32Type>().unary::<_, Int32Type>(u32::cast_signed)))
        }
        SqlType::Oid | SqlType::Reg(_) => from_integers(array.as_primitive::<UInt32Type>(), to),
        SqlType::Real => from_floats(array.as_primitive::<Float32Type>(), to, 6),
        SqlType::DoublePrecision => from_floats(array.as_primitive::<Float64Type>(), to, 15),
        SqlType::Numeric(_) => from_numerics(array, to),
        _ => return None,
    })
}

/// Applies a checked function to every value that is not NULL.
fn checked<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    array: &PrimitiveArray<A>,
    convert: impl Fn(A::Native) -> Result<B::Native, ValueError>,
) -> Result<PrimitiveArray<B>, ValueError> {
    let mut values = Vec::with_capacity(array.len());
    for (row, value) in array.values().iter().enumerate() {
        values.push(if array.is_null(row) { B::Native::default() } else { convert(*value)? });
    }
    Ok(PrimitiveArray::new(values.into(), array.nulls().cloned()))
}

fn narrow<T: TryFrom<i64>>(value: i64, type_name: &str) -> Result<T, ValueError> {
    T::try_from(value).map_err(|_| ValueError::number_range(type_name))
}

fn from_integers<A>(array: &PrimitiveArray<A>, to: &SqlType) -> Result<ArrayRef, ValueError>
where
    A: ArrowPrimitiveType,
    A::Native: Into<i64>,
{
    Ok(match to {
        SqlType::SmallInt => {
            let out: Int16Array = checked(array, |value| narrow(value.into(), "smallint"))?;
            Arc::new(out) as ArrayRef
        }
        SqlType::Integer => {
            let out: Int32Array = checked(array, |value| narrow(value.into(), "integer"))?;
            Arc::new(out)
        }
        SqlType::BigInt => Arc::new(array.unary::<_, Int64Type>(Into::into)),
        SqlType::Real => Arc::new(array.unary::<_, Float32Type>(|value| value.into() as f32)),
        SqlType::DoublePrecision => Arc::new(array.unary::<_, Float64Type>(|value| value.into() as f64)),
        SqlType::Oid | SqlType::Reg(_) => {
            let wide = A::DATA_TYPE == DataType::Int64;
            let out: UInt32Array = checked(array, |value| {
                let value: i64 = value.into();
                if wide { u32::try_from(value) } else { Ok(value as u32) }.map_err(|_| ValueError::number_range("OID"))
            })?;
            Arc::new(out)
        }
        SqlType::Numeric(modifiers) => {
            let shape = Shape::new(*modifiers);
            let values = array
                .iter()
                .map(|value| value.map(|value| numeric::rescale(i256::from(value.into()), 0, shape)).transpose());
            numerics(values, shape, to)?
        }
        _ => return Err(ValueError::internal("not a number type")),
    })
}

/// Collects units into the Arrow form of a numeric type.
fn numerics(
    values: impl Iterator<Item = Result<Option<i256>, ValueError>>,
    shape: Shape,
    to: &SqlType,
) -> Result<ArrayRef, ValueError> {
    if shape.precision <= 38 {
        let array: Decimal128Array =
            values.map(|value| Ok(value?.map(i256::as_i128))).collect::<Result<_, ValueError>>()?;
        return Ok(Arc::new(array.with_data_type(to.arrow_type())));
    }
    let array: Decimal256Array = values.collect::<Result<_, ValueError>>()?;
    Ok(Arc::new(array.with_data_type(to.arrow_type())))
}

fn from_floats<A>(array: &PrimitiveArray<A>, to: &SqlType, digits: usize) -> Result<ArrayRef, ValueError>
where
    A: ArrowPrimitiveType,
    A::Native: Into<f64>,
{
    // Bounds are exact powers of two in floats; the upper one is the first value that does not fit.
    let integer = |value: A::Native, bound: f64, type_name: &str| {
        let rounded = Into::<f64>::into(value).round_ties_even();
        if rounded >= -bound && rounded < bound { Ok(rounded as i64) } else { Err(ValueError::number_range(type_name)) }
    };
    Ok(match to {
        SqlType::SmallInt => {
            let out: Int16Array =
                checked(array, |value| integer(value, 32_768.0, "smallint").map(|value| value as i16))?;
            Arc::new(out) as ArrayRef
        }
        SqlType::Integer => {
            let out: Int32Array =
                checked(array, |value| integer(value, 2_147_483_648.0, "integer").map(|value| value as i32))?;
            Arc::new(out)
        }
        SqlType::BigInt => {
            let out: Int64Array = checked(array, |value| integer(value, 9_223_372_036_854_775_808.0, "bigint"))?;
            Arc::new(out)
        }
        SqlType::Real => {
            let out: Float32Array = checked(array, |value| {
                let wide: f64 = value.into();
                let narrow = wide as f32;
                let lost = |what: &str| {
                    ValueError::new(crate::SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value out of range: {what}"))
                };
                if narrow.is_infinite() && !wide.is_infinite() {
                    return Err(lost("overflow"));
                }
                if narrow == 0.0 && wide != 0.0 {
                    return Err(lost("underflow"));
                }
                Ok(narrow)
            })?;
            Arc::new(out)
        }
        SqlType::DoublePrecision => {
            let out: Float64Array = array.unary::<_, Float64Type>(Into::into);
            Arc::new(out)
        }
        SqlType::Numeric(modifiers) => {
            let shape = Shape::new(*modifiers);
            // PostgreSQL goes through the text of so many digits.
            let convert = |value: A::Native| {
                let value: f64 = value.into();
                if value.is_finite() {
                    numeric::parse(&format!("{value:.*e}", digits - 1), shape)
                } else {
                    Err(numeric::special_value(if value.is_nan() { "NaN" } else { "Infinity" }))
                }
            };
            numerics(array.iter().map(|value| value.map(convert).transpose()), shape, to)?
        }
        _ => return Err(ValueError::internal("not a number type")),
    })
}

fn from_numerics(array: &ArrayRef, to: &SqlType) -> Result<ArrayRef, ValueError> {
    let (scale, values): (i8, Box<dyn Iterator<Item = Option<i256>> + '_>) = match array.data_type() {
        DataType::Decimal128(_, scale) => {
            let values = array.as_primitive::<Decimal128Type>();
            (*scale, Box::new(values.iter().map(|value| value.map(i256::from_i128))))
        }
        DataType::Decimal256(_, scale) => (*scale, Box::new(array.as_primitive::<Decimal256Type>().iter())),
        other => return Err(ValueError::internal(format!("unexpected Arrow type {other}"))),
    };
    let whole = Shape { precision: 76, scale: 0, declared: true };
    let integer = |value: i256, type_name: &str| -> Result<i64, ValueError> {
        numeric::rescale(value, scale, whole)
            .ok()
            .and_then(i256::to_i128)
            .and_then(|value| i64::try_from(value).ok())
            .ok_or_else(|| ValueError::number_range(type_name))
    };
    let text = |value: i256| {
        let mut out = Vec::new();
        Printed::new(value).write_text(&mut out, scale, false);
        String::from_utf8(out).unwrap_or_default()
    };
    Ok(match to {
        SqlType::SmallInt => Arc::new(
            values
                .map(|value| value.map(|value| narrow(integer(value, "smallint")?, "smallint")).transpose())
                .collect::<Result<Int16Array, ValueError>>()?,
        ) as ArrayRef,
        SqlType::Integer => Arc::new(
            values
                .map(|value| value.map(|value| narrow(integer(value, "integer")?, "integer")).transpose())
                .collect::<Result<Int32Array, ValueError>>()?,
        ),
        SqlType::BigInt => Arc::new(
            values
                .map(|value| value.map(|value| integer(value, "bigint")).transpose())
                .collect::<Result<Int64Array, ValueError>>()?,
        ),
        SqlType::Real => Arc::new(
            values
                .map(|value| value.map(|value| float::parse_f32(&text(value))).transpose())
                .collect::<Result<Float32Array, ValueError>>()?,
        ),
        SqlType::DoublePrecision => Arc::new(
            values
                .map(|value| value.map(|value| float::parse_f64(&text(value))).transpose())
                .collect::<Result<Float64Array, ValueError>>()?,
        ),
        SqlType::Numeric(modifiers) => {
            let shape = Shape::new(*modifiers);
            numerics(
                values.map(|value| value.map(|value| numeric::rescale(value, scale, shape)).transpose()),
                shape,
                to,
            )?
        }
        _ => return Err(ValueError::internal("not a number type")),
    })
}

/// Between dates, times and timestamps; `None` if PostgreSQL has no such cast.
fn date_time(
    array: &ArrayRef,
    from: &SqlType,
    to: &SqlType,
    settings: &DisplaySettings,
) -> Option<Result<ArrayRef, ValueError>> {
    let zone = settings.time_zone;
    let out_of_range = || ValueError::date_time_range("timestamp");
    let to_utc = |local: i64| match local {
        i64::MIN | i64::MAX => Ok(local),
        _ => local
            .checked_sub(i64::from(zone.offset_of_local(local)) * 1_000_000)
            .and_then(check_timestamp)
            .ok_or_else(out_of_range),
    };
    let to_local = |instant: i64| match instant {
        i64::MIN | i64::MAX => Ok(instant),
        _ => instant
            .checked_add(i64::from(zone.offset_at(instant)) * 1_000_000)
            .and_then(check_timestamp)
            .ok_or_else(out_of_range),
    };
    let midnight = |days: i32| match days {
        i32::MIN => Ok(i64::MIN),
        i32::MAX => Ok(i64::MAX),
        _ => i64::from(days).checked_mul(MICROS_PER_DAY).and_then(check_timestamp).ok_or_else(|| {
            ValueError::new(crate::SqlState::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")
        }),
    };
    let day = |micros: i64| match micros {
        i64::MIN => Ok(i32::MIN),
        i64::MAX => Ok(i32::MAX),
        _ => check_date(micros.div_euclid(MICROS_PER_DAY)).ok_or_else(|| ValueError::date_time_range("date")),
    };
    let dates = || array.as_primitive::<Date32Type>();
    let timestamps = || array.as_primitive::<TimestampMicrosecondType>();
    let timestamp =
        |out: PrimitiveArray<TimestampMicrosecondType>| Arc::new(out.with_data_type(to.arrow_type())) as ArrayRef;
    let date = |out: PrimitiveArray<Date32Type>| Arc::new(out) as ArrayRef;
    let time = |out: PrimitiveArray<Time64MicrosecondType>| Arc::new(out) as ArrayRef;
    let time_of_day = |micros: i64| micros.rem_euclid(MICROS_PER_DAY);
    Some(match (from, to) {
        (SqlType::Date, SqlType::Timestamp) => checked(dates(), midnight).map(timestamp),
        (SqlType::Date, SqlType::TimestampTz) => checked(dates(), |days| to_utc(midnight(days)?)).map(timestamp),
        (SqlType::Timestamp, SqlType::Date) => checked(timestamps(), day).map(date),
        (SqlType::TimestampTz, SqlType::Date) => checked(timestamps(), |micros| day(to_local(micros)?)).map(date),
        (SqlType::Timestamp, SqlType::TimestampTz) => checked(timestamps(), to_utc).map(timestamp),
        (SqlType::TimestampTz, SqlType::Timestamp) => checked(timestamps(), to_local).map(timestamp),
        (SqlType::Timestamp, SqlType::Time) => checked(timestamps(), |micros| Ok(time_of_day(micros))).map(time),
        (SqlType::TimestampTz, SqlType::Time) => {
            checked(timestamps(), |micros| Ok(time_of_day(to_local(micros)?))).map(time)
        }
        (SqlType::Interval, SqlType::Time) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            checked(values, |value| Ok(time_of_day(Parts::from_arrow(value).micros))).map(time)
        }
        (SqlType::Time, SqlType::Interval) => {
            let values = array.as_primitive::<Time64MicrosecondType>();
            checked::<_, IntervalMonthDayNanoType>(values, |micros| Parts { micros, ..Parts::default() }.to_arrow())
                .map(|out| Arc::new(out) as ArrayRef)
        }
        _ => return None,
    })
}

#[cfg(test)]
#[path = "coerce_tests.rs"]
mod tests;
