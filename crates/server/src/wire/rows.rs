//! Batches as DataRow messages, encoded by column and written by row straight into the output buffer.

use arrow::record_batch::RecordBatch;
use colonnade_execution::{Error, Result, ResultSchema};
use colonnade_types::{ColumnEncoder, DisplaySettings, Format, SqlState};

/// The rows of one batch that are still to be sent.
pub(super) struct BatchRows {
    encoders: Vec<ColumnEncoder>,
    next: usize,
    rows: usize,
}

impl BatchRows {
    /// Prepares the columns of a batch once.
    pub(super) fn new(
        schema: &ResultSchema,
        batch: &RecordBatch,
        formats: &[Format],
        display: &DisplaySettings,
    ) -> Result<BatchRows> {
        if batch.num_columns() != schema.columns.len() {
            return Err(Error::internal("a batch does not have the columns of its result"));
        }
        let encoders = schema
            .columns
            .iter()
            .zip(batch.columns())
            .zip(formats)
            .map(|((column, array), format)| ColumnEncoder::new(&column.sql_type, array, *format, display))
            .collect::<Result<_, _>>()
            .map_err(Error::from)?;
        Ok(BatchRows { encoders, next: 0, rows: batch.num_rows() })
    }

    /// Whether all rows are sent.
    pub(super) fn is_done(&self) -> bool {
        self.next == self.rows
    }

    /// Appends rows until `rows_max` are written, `out` holds `bytes_max`, or none is left; returns how many were written.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, rows_max: usize, bytes_max: usize) -> Result<usize> {
        let first = self.next;
        let last = self.rows.min(first.saturating_add(rows_max));
        while self.next < last && out.len() < bytes_max {
            self.write_row(out)?;
            self.next += 1;
        }
        Ok(self.next - first)
    }

    fn write_row(&self, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len() + 1;
        out.extend_from_slice(&[b'D', 0, 0, 0, 0]);
        super::output::put_u16(out, self.encoders.len());
        for encoder in &self.encoders {
            if encoder.is_null(self.next) {
                out.extend_from_slice(&(-1_i32).to_be_bytes());
                continue;
            }
            let length_at = out.len();
            out.extend_from_slice(&[0; 4]);
            encoder.write(self.next, out);
            patch_length(out, length_at, length_at + 4);
        }
        if i32::try_from(out.len() - start).is_err() {
            out.truncate(start - 1);
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a row is too long for the protocol (2 GB)"));
        }
        patch_length(out, start, start);
        Ok(())
    }
}

/// Writes at `at` the number of bytes from `from` to the end.
fn patch_length(out: &mut [u8], at: usize, from: usize) {
    let length = i32::try_from(out.len() - from).unwrap_or(i32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
