//! Takes the values of one column as text or binary and builds an Arrow array.

use arrow::array::ArrayRef;

use crate::error::ValueError;
use crate::settings::DisplaySettings;
use crate::sql_state::SqlState;
use crate::sql_type::SqlType;

/// Builds an array of exactly [`SqlType::arrow_type`]; a failed append leaves it unchanged.
#[derive(Debug)]
pub struct ColumnBuilder {
    sql_type: SqlType,
    len: usize,
}

impl ColumnBuilder {
    /// An empty column with room for `capacity` values.
    #[must_use]
    pub fn new(sql_type: &SqlType, _capacity: usize) -> ColumnBuilder {
        ColumnBuilder { sql_type: sql_type.clone(), len: 0 }
    }

    /// Appends NULL.
    pub fn append_null(&mut self) {
        self.len += 1;
    }

    /// Appends a value in text form.
    pub fn append_text(&mut self, _text: &str, _settings: &DisplaySettings) -> Result<(), ValueError> {
        Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, "text input is not there yet"))
    }

    /// Appends a value in binary form.
    pub fn append_binary(&mut self, _bytes: &[u8]) -> Result<(), ValueError> {
        Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, "binary input is not there yet"))
    }

    /// Values so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the array out; the builder is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        arrow::array::new_null_array(&self.sql_type.arrow_type(), std::mem::take(&mut self.len))
    }
}
