//! Casts between SQL types, on arrays, with PostgreSQL's checks.

use arrow::array::ArrayRef;

use crate::builder::ColumnBuilder;
use crate::error::ValueError;
use crate::settings::DisplaySettings;
use crate::sql_type::SqlType;

/// Converts `array` from one SQL type to another as PostgreSQL's assignment (`explicit` false) or explicit cast does.
pub fn coerce(
    array: &ArrayRef,
    from: &SqlType,
    to: &SqlType,
    _explicit: bool,
    _settings: &DisplaySettings,
) -> Result<ArrayRef, ValueError> {
    if from == to {
        return Ok(array.clone());
    }
    Err(ValueError::cannot_cast(&from.base_name(), &to.base_name()))
}

/// Reads one value in text form to an array of one row.
pub fn parse_value(sql_type: &SqlType, text: &str, settings: &DisplaySettings) -> Result<ArrayRef, ValueError> {
    let mut builder = ColumnBuilder::new(sql_type, 1);
    builder.append_text(text, settings)?;
    Ok(builder.finish())
}
