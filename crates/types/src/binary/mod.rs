//! PostgreSQL's binary forms: big-endian, dates and timestamps counted from 2000-01-01.

use crate::calendar::{MICROS_PER_DAY, POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS};
use crate::error::ValueError;
use crate::sql_state::SqlState;
use crate::text::date_time::{check_date, check_timestamp};
use crate::text::interval::Parts;

/// Exactly `N` bytes.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| ValueError::binary())
}

/// A `date` as days since 1970-01-01.
pub(crate) fn read_date(bytes: &[u8]) -> Result<i32, ValueError> {
    match i32::from_be_bytes(fixed(bytes)?) {
        infinite @ (i32::MIN | i32::MAX) => Ok(infinite),
        days => check_date(i64::from(days) + i64::from(POSTGRES_EPOCH_DAYS))
            .ok_or_else(|| ValueError::date_time_range("date")),
    }
}

/// Appends a `date`.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i32) {
    let days = match days {
        i32::MIN | i32::MAX => days,
        _ => days.saturating_sub(POSTGRES_EPOCH_DAYS),
    };
    out.extend_from_slice(&days.to_be_bytes());
}

/// A timestamp as microseconds since 1970-01-01.
pub(crate) fn read_timestamp(bytes: &[u8]) -> Result<i64, ValueError> {
    match i64::from_be_bytes(fixed(bytes)?) {
        infinite @ (i64::MIN | i64::MAX) => Ok(infinite),
        micros => micros
            .checked_add(POSTGRES_EPOCH_MICROS)
            .and_then(check_timestamp)
            .ok_or_else(|| ValueError::date_time_range("timestamp")),
    }
}

/// Appends a timestamp.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, micros: i64) {
    let micros = match micros {
        i64::MIN | i64::MAX => micros,
        _ => micros.saturating_sub(POSTGRES_EPOCH_MICROS),
    };
    out.extend_from_slice(&micros.to_be_bytes());
}

/// A `time` as microseconds since midnight.
pub(crate) fn read_time(bytes: &[u8]) -> Result<i64, ValueError> {
    let micros = i64::from_be_bytes(fixed(bytes)?);
    if (0..=MICROS_PER_DAY).contains(&micros) { Ok(micros) } else { Err(ValueError::date_time_range("time")) }
}

/// An `interval`: microseconds, days, months.
pub(crate) fn read_interval(bytes: &[u8]) -> Result<Parts, ValueError> {
    let bytes: [u8; 16] = fixed(bytes)?;
    let (micros, rest) = bytes.split_at(8);
    let (days, months) = rest.split_at(4);
    Ok(Parts {
        months: i32::from_be_bytes(fixed(months)?),
        days: i32::from_be_bytes(fixed(days)?),
        micros: i64::from_be_bytes(fixed(micros)?),
    })
}

/// Appends an `interval`.
pub(crate) fn write_interval(out: &mut Vec<u8>, parts: Parts) {
    out.extend_from_slice(&parts.micros.to_be_bytes());
    out.extend_from_slice(&parts.days.to_be_bytes());
    out.extend_from_slice(&parts.months.to_be_bytes());
}

/// The version of jsonb's binary form.
pub(crate) const JSONB_VERSION: u8 = 1;

/// The text inside a binary `jsonb`.
pub(crate) fn jsonb_text(bytes: &[u8]) -> Result<&[u8], ValueError> {
    match bytes.split_first() {
        Some((&JSONB_VERSION, text)) => Ok(text),
        Some((version, _)) => {
            Err(ValueError::new(SqlState::INTERNAL_ERROR, format!("unsupported jsonb version number {version}")))
        }
        None => Err(ValueError::binary()),
    }
}

/// The elements of a binary array of one dimension.
pub(crate) struct ArrayElements<'a> {
    rest: &'a [u8],
    remaining: u32,
}

impl<'a> ArrayElements<'a> {
    /// Reads the header. `element_oid` is the type that the column has.
    pub(crate) fn new(bytes: &'a [u8], element_oid: u32) -> Result<ArrayElements<'a>, ValueError> {
        let mut elements = ArrayElements { rest: bytes, remaining: 0 };
        let dimensions = elements.int()?;
        let flags = elements.int()?;
        let oid = elements.int()?.cast_unsigned();
        if flags != 0 && flags != 1 {
            return Err(ValueError::new(SqlState::INVALID_BINARY_REPRESENTATION, "invalid array flags"));
        }
        if oid != element_oid {
            return Err(ValueError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("binary data has array element type {oid} instead of expected {element_oid}"),
            ));
        }
        match dimensions {
            0 => {}
            1 => {
                let length = elements.int()?;
                let lower = elements.int()?;
                elements.remaining = u32::try_from(length).map_err(|_| ValueError::binary())?;
                if lower != 1 && length != 0 {
                    return Err(ValueError::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        "array lower bounds other than 1 are not supported",
                    ));
                }
            }
            2..=6 => {
                return Err(ValueError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "multidimensional arrays are not supported",
                ));
            }
            _ => {
                return Err(ValueError::new(
                    SqlState::INVALID_BINARY_REPRESENTATION,
                    format!("invalid number of dimensions: {dimensions}"),
                ));
            }
        }
        if elements.remaining == 0 && !elements.rest.is_empty() {
            return Err(ValueError::binary());
        }
        Ok(elements)
    }

    fn int(&mut self) -> Result<i32, ValueError> {
        let (head, rest) = self.rest.split_first_chunk::<4>().ok_or_else(ValueError::binary)?;
        self.rest = rest;
        Ok(i32::from_be_bytes(*head))
    }

    fn element(&mut self) -> Result<Option<&'a [u8]>, ValueError> {
        let length = self.int()?;
        let element = if length == -1 {
            None
        } else {
            let length = usize::try_from(length).map_err(|_| ValueError::binary())?;
            let (element, rest) = self.rest.split_at_checked(length).ok_or_else(ValueError::binary)?;
            self.rest = rest;
            Some(element)
        };
        if self.remaining == 0 && !self.rest.is_empty() {
            return Err(ValueError::binary());
        }
        Ok(element)
    }
}

impl<'a> Iterator for ArrayElements<'a> {
    type Item = Result<Option<&'a [u8]>, ValueError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let element = self.element();
        if element.is_err() {
            self.remaining = 0;
        }
        Some(element)
    }
}
