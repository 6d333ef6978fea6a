//! Values as JSON.
//!
//! | SQL | JSON |
//! |---|---|
//! | smallint, integer, bigint, oid, real, double precision, numeric | number, every digit kept; `NaN` and the infinities are strings |
//! | boolean | `true`, `false` |
//! | json, jsonb | the value itself |
//! | arrays | array |
//! | everything else | string: PostgreSQL's text form |
//! | NULL | `null` |
//!
//! bigint and numeric may exceed what a JSON parser keeps in a double; such clients cast to text in SQL.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::OffsetBuffer;
use arrow::record_batch::RecordBatch;
use colonnade_execution::{Error, Result, ResultSchema};
use colonnade_types::{ColumnEncoder, DisplaySettings, Format, SqlType};

/// Writes the rows of one batch.
pub(super) struct JsonRows {
    columns: Vec<JsonColumn>,
}

struct JsonColumn {
    array: ArrayRef,
    form: Form,
}

enum Form {
    Number(ColumnEncoder),
    Boolean,
    /// JSON text, copied.
    Raw(ColumnEncoder),
    Text(ColumnEncoder),
    Array {
        offsets: OffsetBuffer<i32>,
        items: Box<JsonColumn>,
    },
}

impl JsonRows {
    pub(super) fn new(schema: &ResultSchema, batch: &RecordBatch, display: &DisplaySettings) -> Result<JsonRows> {
        if batch.num_columns() != schema.columns.len() {
            return Err(Error::internal("a batch does not have the columns of its result"));
        }
        let columns = schema
            .columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| JsonColumn::new(&column.sql_type, array, display))
            .collect::<Result<_>>()?;
        Ok(JsonRows { columns })
    }

    /// Appends a row as a JSON array, without a line end inside.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            column.write(row, out);
        }
        out.push(b']');
    }
}

impl JsonColumn {
    fn new(sql_type: &SqlType, array: &ArrayRef, display: &DisplaySettings) -> Result<JsonColumn> {
        let encoder = || ColumnEncoder::new(sql_type, array, Format::Text, display).map_err(Error::from);
        let form = match sql_type {
            SqlType::SmallInt
            | SqlType::Integer
            | SqlType::BigInt
            | SqlType::Oid
            | SqlType::Real
            | SqlType::DoublePrecision
            | SqlType::Numeric(_) => Form::Number(encoder()?),
            SqlType::Boolean => Form::Boolean,
            SqlType::Json | SqlType::Jsonb => Form::Raw(encoder()?),
            SqlType::Array(element) => match array.as_list_opt::<i32>() {
                Some(list) => Form::Array {
                    offsets: list.offsets().clone(),
                    items: Box::new(JsonColumn::new(element, list.values(), display)?),
                },
                None => Form::Text(encoder()?),
            },
            _ => Form::Text(encoder()?),
        };
        Ok(JsonColumn { array: ArrayRef::clone(array), form })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.array.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        let start = out.len();
        match &self.form {
            Form::Number(encoder) => {
                encoder.write(row, out);
                // NaN and the infinities are no JSON numbers.
                if out[start..].iter().any(|byte| matches!(byte, b'N' | b'I')) {
                    out.insert(start, b'"');
                    out.push(b'"');
                }
            }
            Form::Boolean => {
                let truth = self.array.as_boolean_opt().is_some_and(|array| array.value(row));
                out.extend_from_slice(if truth { b"true" } else { b"false" });
            }
            Form::Raw(encoder) => {
                encoder.write(row, out);
                // A line end can only be white space in JSON, and would end a line of NDJSON.
                for byte in &mut out[start..] {
                    if matches!(*byte, b'\n' | b'\r') {
                        *byte = b' ';
                    }
                }
            }
            Form::Text(encoder) => {
                let mut text = Vec::new();
                encoder.write(row, &mut text);
                write_string(&String::from_utf8_lossy(&text), out);
            }
            Form::Array { offsets, items } => {
                out.push(b'[');
                let (Some(first), Some(last)) = (offsets.get(row), offsets.get(row + 1)) else { return };
                for item in *first..*last {
                    if item > *first {
                        out.push(b',');
                    }
                    items.write(usize::try_from(item).unwrap_or(0), out);
                }
                out.push(b']');
            }
        }
    }
}

/// Appends a JSON string.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::Int64Type;
    use colonnade_execution::ResultColumn;

    use super::*;

    fn write(columns: Vec<(SqlType, ArrayRef)>) -> String {
        let schema = ResultSchema {
            columns: columns
                .iter()
                .map(|(sql_type, _)| ResultColumn {
                    name: "c".to_owned(),
                    sql_type: sql_type.clone(),
                    table_oid: 0,
                    column_id: 0,
                })
                .collect(),
        };
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatch::try_new(schema.arrow_schema(), arrays).unwrap();
        let rows = JsonRows::new(&schema, &batch, &DisplaySettings::default()).unwrap();
        let mut out = Vec::new();
        for row in 0..batch.num_rows() {
            rows.write(row, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_json_of_their_kind() {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None]), None]);
        let text = write(vec![
            (SqlType::BigInt, Arc::new(Int64Array::from(vec![Some(i64::MAX), None]))),
            (SqlType::Boolean, Arc::new(BooleanArray::from(vec![true, false]))),
            (SqlType::DoublePrecision, Arc::new(Float64Array::from(vec![f64::NAN, 1.5]))),
            (SqlType::Text, Arc::new(StringViewArray::from(vec!["a\"\n", ""]))),
            (SqlType::Jsonb, Arc::new(StringViewArray::from(vec!["{\"k\":\n1}", "null"]))),
            (SqlType::Array(Box::new(SqlType::BigInt)), Arc::new(list)),
        ]);
        assert_eq!(
            text,
            "[9223372036854775807,true,\"NaN\",\"a\\\"\\n\",{\"k\": 1},[1,null]][null,false,1.5,\"\",null,null]"
        );
    }
}
