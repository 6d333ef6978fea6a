//! The byte form of the Arrow types that a segment can hold: a tag and the type's parameters.
//!
//! Invariant: reading nests at most as deep as [`DEPTH_MAX`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use crate::cursor::{Cursor, put_text};
use crate::error::{FormatError, WriteError};

/// Deepest nesting of lists.
const DEPTH_MAX: u8 = 8;

/// Types without parameters, and the tag of each.
const SIMPLE: [(u8, DataType); 14] = [
    (0, DataType::Null),
    (1, DataType::Boolean),
    (2, DataType::Int16),
    (3, DataType::Int32),
    (4, DataType::Int64),
    (5, DataType::UInt32),
    (6, DataType::UInt64),
    (7, DataType::Float32),
    (8, DataType::Float64),
    (9, DataType::Utf8View),
    (10, DataType::BinaryView),
    (11, DataType::Date32),
    (12, DataType::Time64(TimeUnit::Microsecond)),
    (13, DataType::Interval(IntervalUnit::MonthDayNano)),
];
const TAG_TIMESTAMP: u8 = 14;
const TAG_DECIMAL128: u8 = 15;
const TAG_DECIMAL256: u8 = 16;
const TAG_FIXED_BINARY: u8 = 17;
const TAG_LIST: u8 = 18;

/// Appends the byte form of `data_type`.
pub(crate) fn write(data_type: &DataType, out: &mut Vec<u8>) -> Result<(), WriteError> {
    write_nested(data_type, 0, out)
}

fn write_nested(data_type: &DataType, depth: u8, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let unsupported = || WriteError::UnsupportedType { data_type: data_type.clone() };
    if let Some((tag, _)) = SIMPLE.iter().find(|(_, simple)| simple == data_type) {
        out.push(*tag);
        return Ok(());
    }
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            out.extend([TAG_TIMESTAMP, u8::from(zone.is_some())]);
            if let Some(zone) = zone {
                check_text(zone)?;
                put_text(zone, out);
            }
        }
        DataType::Decimal128(precision, scale) => out.extend([TAG_DECIMAL128, *precision, scale.to_le_bytes()[0]]),
        DataType::Decimal256(precision, scale) => out.extend([TAG_DECIMAL256, *precision, scale.to_le_bytes()[0]]),
        DataType::FixedSizeBinary(width) => {
            let width = u8::try_from(*width).ok().filter(|&width| width > 0).ok_or_else(unsupported)?;
            out.extend([TAG_FIXED_BINARY, width]);
        }
        DataType::List(item) if depth < DEPTH_MAX => {
            out.extend([TAG_LIST, u8::from(item.is_nullable())]);
            check_text(item.name())?;
            put_text(item.name(), out);
            // In order of the keys, so that equal input gives equal bytes.
            let mut metadata: Vec<_> = item.metadata().iter().collect();
            metadata.sort();
            let count = u16::try_from(metadata.len()).map_err(|_| unsupported())?;
            out.extend_from_slice(&count.to_le_bytes());
            for (key, value) in metadata {
                check_text(key)?;
                check_text(value)?;
                put_text(key, out);
                put_text(value, out);
            }
            write_nested(item.data_type(), depth + 1, out)?;
        }
        _ => return Err(unsupported()),
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), WriteError> {
    let limit = u64::from(u16::MAX);
    if text.len() as u64 > limit {
        return Err(WriteError::TooLarge { what: "size of a name in a type", found: text.len() as u64, limit });
    }
    Ok(())
}

/// Reads what [`write`] wrote.
pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<DataType, FormatError> {
    read_nested(cursor, 0)
}

fn read_nested(cursor: &mut Cursor<'_>, depth: u8) -> Result<DataType, FormatError> {
    let tag = cursor.u8("type tag")?;
    if let Some((_, simple)) = SIMPLE.iter().find(|(simple_tag, _)| *simple_tag == tag) {
        return Ok(simple.clone());
    }
    match tag {
        TAG_TIMESTAMP => {
            let zone = match read_flag(cursor, "time zone flag")? {
                true => Some(cursor.text("time zone")?.into()),
                false => None,
            };
            Ok(DataType::Timestamp(TimeUnit::Microsecond, zone))
        }
        TAG_DECIMAL128 => {
            let (precision, scale) = read_decimal(cursor, 38)?;
            Ok(DataType::Decimal128(precision, scale))
        }
        TAG_DECIMAL256 => {
            let (precision, scale) = read_decimal(cursor, 76)?;
            Ok(DataType::Decimal256(precision, scale))
        }
        TAG_FIXED_BINARY => match cursor.u8("value width")? {
            0 => Err(cursor.invalid("value width", "at least 1", 0)),
            width => Ok(DataType::FixedSizeBinary(i32::from(width))),
        },
        TAG_LIST if depth < DEPTH_MAX => {
            let nullable = read_flag(cursor, "item nullable flag")?;
            let name = cursor.text("item name")?.to_owned();
            let mut metadata = HashMap::new();
            for _ in 0..cursor.u16("item metadata count")? {
                let key = cursor.text("item metadata key")?.to_owned();
                metadata.insert(key, cursor.text("item metadata value")?.to_owned());
            }
            let item = Field::new(name, read_nested(cursor, depth + 1)?, nullable).with_metadata(metadata);
            Ok(DataType::List(Arc::new(item)))
        }
        _ => Err(cursor.invalid("type tag", "0 to 18, nested at most eight deep", tag)),
    }
}

fn read_flag(cursor: &mut Cursor<'_>, what: &'static str) -> Result<bool, FormatError> {
    match cursor.u8(what)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(cursor.invalid(what, "0 or 1", other)),
    }
}

fn read_decimal(cursor: &mut Cursor<'_>, precision_max: u8) -> Result<(u8, i8), FormatError> {
    let precision = cursor.u8("decimal precision")?;
    let scale = i8::from_le_bytes([cursor.u8("decimal scale")?]);
    if precision == 0 || precision > precision_max {
        return Err(cursor.invalid("decimal precision", format!("1 to {precision_max}"), precision));
    }
    if i16::from(scale) > i16::from(precision_max) {
        return Err(cursor.invalid("decimal scale", format!("at most {precision_max}"), scale));
    }
    Ok((precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_round_trips() {
        let item = Field::new("item", DataType::Utf8View, true)
            .with_metadata(HashMap::from([("colonnade.type".to_owned(), "varchar(3)".to_owned())]));
        let mut types: Vec<DataType> = SIMPLE.iter().map(|(_, simple)| simple.clone()).collect();
        types.extend([
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Decimal128(38, -3),
            DataType::Decimal256(76, 18),
            DataType::FixedSizeBinary(16),
            DataType::List(Arc::new(item)),
        ]);
        for data_type in types {
            let mut bytes = Vec::new();
            write(&data_type, &mut bytes).unwrap();
            let mut cursor = Cursor::new(&bytes, 0);
            assert_eq!(read(&mut cursor).unwrap(), data_type);
            cursor.finish("type").unwrap();
        }
    }

    #[test]
    fn others_are_refused() {
        for data_type in [DataType::Utf8, DataType::Int8, DataType::FixedSizeBinary(-1)] {
            assert!(write(&data_type, &mut Vec::new()).is_err());
        }
        assert!(read(&mut Cursor::new(&[99], 0)).is_err());
    }
}
