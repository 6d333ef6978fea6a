//! COPY TO: rows into bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use colonnade_types::{ColumnEncoder, DisplaySettings, Format};
use futures::StreamExt as _;

use crate::copy::options::{CopyOptions, Header};
use crate::error::Result;
use crate::outcome::{CopyFormat, CopyOut, ResultSchema};
use crate::planner::Batches;

/// Writes rows in one of COPY's formats.
pub(super) struct Writer {
    pub(super) options: CopyOptions,
    pub(super) schema: Arc<ResultSchema>,
    pub(super) settings: DisplaySettings,
    scratch: Vec<u8>,
}

impl Writer {
    pub(super) fn new(options: CopyOptions, schema: Arc<ResultSchema>, settings: DisplaySettings) -> Writer {
        Writer { options, schema, settings, scratch: Vec::new() }
    }

    /// What comes before the first row.
    pub(super) fn begin(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        } else if self.options.header != Header::Absent {
            let names: Vec<Vec<u8>> = self.schema.columns.iter().map(|c| c.name.clone().into_bytes()).collect();
            for (index, name) in names.iter().enumerate() {
                self.separate(index, &mut out);
                match self.options.format {
                    CopyFormat::Csv => self.csv_value(name, false, &mut out),
                    _ => self.text_value(name, &mut out),
                }
            }
            out.push(b'\n');
        }
        out
    }

    /// What comes after the last row.
    pub(super) fn end(&self) -> Vec<u8> {
        if self.options.format == CopyFormat::Binary { (-1_i16).to_be_bytes().to_vec() } else { Vec::new() }
    }

    /// The rows of a batch.
    pub(super) fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let binary = self.options.format == CopyFormat::Binary;
        let format = if binary { Format::Binary } else { Format::Text };
        let schema = Arc::clone(&self.schema);
        let encoders = schema
            .columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| ColumnEncoder::new(&column.sql_type, array, format, &self.settings))
            .collect::<Result<Vec<_>, _>>()?;
        let forced: Vec<bool> = schema.columns.iter().map(|c| self.options.force_quote.has(&c.name)).collect();
        let mut out = Vec::with_capacity(batch.num_rows() * schema.columns.len() * 8);
        let count = i16::try_from(schema.columns.len()).unwrap_or(i16::MAX);
        for row in 0..batch.num_rows() {
            if binary {
                out.extend_from_slice(&count.to_be_bytes());
            }
            for (index, encoder) in encoders.iter().enumerate() {
                if binary {
                    binary_value(encoder, row, &mut out);
                    continue;
                }
                self.separate(index, &mut out);
                if encoder.is_null(row) {
                    out.extend_from_slice(self.options.null.as_bytes());
                    continue;
                }
                let mut value = std::mem::take(&mut self.scratch);
                value.clear();
                encoder.write(row, &mut value);
                match self.options.format {
                    CopyFormat::Csv => self.csv_value(&value, forced[index], &mut out),
                    _ => self.text_value(&value, &mut out),
                }
                self.scratch = value;
            }
            if !binary {
                out.push(b'\n');
            }
        }
        Ok(out)
    }

    fn separate(&self, index: usize, out: &mut Vec<u8>) {
        if index > 0 {
            out.push(self.options.delimiter);
        }
    }

    fn text_value(&self, value: &[u8], out: &mut Vec<u8>) {
        for &byte in value {
            let escape = match byte {
                8 => b'b',
                12 => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                11 => b'v',
                b'\\' => b'\\',
                other if other == self.options.delimiter => other,
                other => {
                    out.push(other);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', escape]);
        }
    }

    fn csv_value(&self, value: &[u8], forced: bool, out: &mut Vec<u8>) {
        let options = &self.options;
        let needs = forced
            || value == options.null.as_bytes()
            || (options.format == CopyFormat::Csv && self.schema.columns.len() == 1 && value == b"\\.")
            || value.iter().any(|b| *b == options.delimiter || *b == options.quote || matches!(*b, b'\n' | b'\r'));
        if !needs {
            out.extend_from_slice(value);
            return;
        }
        out.push(options.quote);
        for &byte in value {
            if byte == options.quote || byte == options.escape {
                out.push(options.escape);
            }
            out.push(byte);
        }
        out.push(options.quote);
    }
}

fn binary_value(encoder: &ColumnEncoder, row: usize, out: &mut Vec<u8>) {
    if encoder.is_null(row) {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return;
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    encoder.write(row, out);
    let length = i32::try_from(out.len() - at - 4).unwrap_or(i32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Rows as the chunks of a COPY TO STDOUT.
pub(super) fn stream(mut writer: Writer, batches: Batches) -> CopyOut {
    let rows = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&rows);
    let (format, column_count) = (writer.options.format, writer.schema.columns.len());
    let begin = writer.begin();
    let end = writer.end();
    let body = batches.map(move |batch| {
        let batch = batch?;
        counted.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        Ok(Bytes::from(writer.rows(&batch)?))
    });
    let edge = |bytes: Vec<u8>| futures::stream::iter((!bytes.is_empty()).then(|| Ok(Bytes::from(bytes))));
    CopyOut { format, column_count, chunks: Box::pin(edge(begin).chain(body).chain(edge(end))), rows }
}
