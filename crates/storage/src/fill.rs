//! Columns that rows were stored without.

use arrow::array::{ArrayRef, UInt32Array, new_null_array};
use arrow::compute::take;
use colonnade_types::{ColumnDefinition, DisplaySettings, parse_value};

use crate::error::ReadError;

/// The value, as an array of one, that rows have which were stored before `column` was added.
pub(crate) fn missing_value(column: &ColumnDefinition) -> Result<ArrayRef, ReadError> {
    match &column.missing {
        None => Ok(new_null_array(&column.sql_type.arrow_type(), 1)),
        Some(text) => parse_value(&column.sql_type, text, &DisplaySettings::default()).map_err(|error| {
            ReadError::Mismatch(format!("missing value of column \"{}\" is no value of its type: {error}", column.name))
        }),
    }
}

/// Repeats an array of one value.
pub(crate) fn repeat(value: &ArrayRef, rows: usize) -> Result<ArrayRef, ReadError> {
    if value.is_null(0) {
        return Ok(new_null_array(value.data_type(), rows));
    }
    take(value, &UInt32Array::from(vec![0; rows]), None).map_err(|error| ReadError::Mismatch(error.to_string()))
}
