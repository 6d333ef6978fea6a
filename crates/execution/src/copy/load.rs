//! COPY FROM: bytes into rows into the table.

use std::sync::Arc;

use arrow::array::ArrayRef;
use bytes::Bytes;
use colonnade_types::{ColumnBuilder, DisplaySettings, SqlState, TableDefinition, text_from_bytes};

use crate::copy::lines::{Fields, Record, Splitter};
use crate::copy::options::{CopyOptions, Header};
use crate::dml::Attempt;
use crate::dml::defaults::DefaultValue;
use crate::dml::insert::assemble;
use crate::dml::sink::Sink;
use crate::error::{Error, Result};
use crate::outcome::CopyFormat;
use crate::planner::BATCH_ROWS;

/// Bytes of input after which a batch goes to the table even if it has few rows.
const BATCH_BYTES: usize = 8 << 20;
/// Bytes of a value that an error's context shows.
const SHOWN_MAX: usize = 100;

const BINARY_SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// A load in progress.
pub(super) struct Loader {
    pub(super) table: Arc<TableDefinition>,
    /// For each column of the data its place in the table.
    pub(super) places: Vec<usize>,
    missing: Vec<(usize, DefaultValue)>,
    options: CopyOptions,
    settings: DisplaySettings,
    sink: Sink,
    builders: Vec<ColumnBuilder>,
    rows: usize,
    bytes: usize,
    splitter: Splitter,
    fields: Fields,
    header_read: bool,
    /// Unread input of the binary format.
    binary: Vec<u8>,
    binary_started: bool,
    binary_ended: bool,
    row_number: u64,
}

impl Loader {
    pub(super) fn new(
        table: Arc<TableDefinition>,
        places: Vec<usize>,
        missing: Vec<(usize, DefaultValue)>,
        options: CopyOptions,
        settings: DisplaySettings,
        sink: Sink,
    ) -> Loader {
        let builders =
            places.iter().map(|place| ColumnBuilder::new(&table.columns[*place].sql_type, BATCH_ROWS)).collect();
        Loader {
            header_read: options.header == Header::Absent,
            splitter: Splitter::new(&options),
            table,
            places,
            missing,
            options,
            settings,
            sink,
            builders,
            rows: 0,
            bytes: 0,
            fields: Fields::default(),
            binary: Vec::new(),
            binary_started: false,
            binary_ended: false,
            row_number: 0,
        }
    }

    /// Takes more input.
    pub(super) async fn write(&mut self, data: &Bytes) -> Result<()> {
        if self.options.format == CopyFormat::Binary {
            self.binary.extend_from_slice(data);
            return self.read_binary().await;
        }
        self.splitter.feed(data)?;
        while let Some(record) = self.splitter.next() {
            self.take(record)?;
            if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Ends the input; returns the number of rows.
    pub(super) async fn finish(mut self) -> Result<u64> {
        if self.options.format == CopyFormat::Binary {
            if !self.binary_ended {
                return Err(bad_format("unexpected EOF in COPY data").with_context(self.row_context()));
            }
        } else {
            let last = self.splitter.last().map_err(|error| {
                let line = error.context.clone().unwrap_or_default();
                error.with_context(format!("COPY {}, {line}", self.table.name))
            })?;
            if let Some(record) = last {
                self.take(record)?;
            }
        }
        self.flush().await?;
        self.sink.finish().await.map_err(|attempt| match attempt {
            Attempt::Failed(error) => error,
            Attempt::Conflict => {
                Error::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
            }
        })
    }

    /// Adds a batch that came from elsewhere, columns in the order of the data.
    pub(super) async fn push(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<()> {
        let given = self.places.iter().copied().zip(columns).collect();
        let batch = assemble(&self.table, given, &self.missing, rows)?;
        self.sink.push(batch).await.map_err(|error| self.in_copy(error))
    }

    fn in_copy(&self, error: Error) -> Error {
        if error.context.is_some() { error } else { error.with_context(format!("COPY {}", self.table.name)) }
    }

    async fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let columns = self.builders.iter_mut().map(ColumnBuilder::finish).collect();
        self.push(columns, rows).await
    }

    fn take(&mut self, record: Record) -> Result<()> {
        let bytes = self.splitter.bytes(record);
        self.bytes += bytes.len();
        let whole = |error: Error| {
            error.with_context(format!(
                "COPY {}, line {}: \"{}\"",
                self.table.name,
                record.line,
                shown(self.splitter.bytes(record))
            ))
        };
        self.fields.read(bytes, &self.options).map_err(whole)?;
        if !self.header_read {
            self.header_read = true;
            return self.check_header().map_err(whole);
        }
        if self.fields.len() < self.places.len() {
            let missing = &self.table.columns[self.places[self.fields.len()]].name;
            return Err(whole(bad_format(format!("missing data for column \"{missing}\""))));
        }
        // An empty line is one empty field, which is right for a table with one column only.
        if self.fields.len() > self.places.len() {
            return Err(whole(bad_format("extra data after last expected column")));
        }
        let csv = self.options.format == CopyFormat::Csv;
        for (index, builder) in self.builders.iter_mut().enumerate() {
            let column = &self.table.columns[self.places[index]];
            let (bytes, spelled_null, quoted) = self.fields.get(index);
            let null = spelled_null
                && if csv {
                    if quoted {
                        self.options.force_null.has(&column.name)
                    } else {
                        !self.options.force_not_null.has(&column.name)
                    }
                } else {
                    true
                };
            if null {
                builder.append_null();
                continue;
            }
            let appended = text_from_bytes(bytes).and_then(|text| builder.append_text(text, &self.settings));
            if let Err(error) = appended {
                return Err(Error::from(error).with_context(format!(
                    "COPY {}, line {}, column {}: \"{}\"",
                    self.table.name,
                    record.line,
                    column.name,
                    shown(bytes)
                )));
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn check_header(&self) -> Result<()> {
        if self.options.header != Header::Match {
            return Ok(());
        }
        if self.fields.len() != self.places.len() {
            return Err(bad_format(format!(
                "wrong number of fields in header line: got {}, expected {}",
                self.fields.len(),
                self.places.len()
            )));
        }
        for (index, place) in self.places.iter().enumerate() {
            let expected = &self.table.columns[*place].name;
            let (bytes, ..) = self.fields.get(index);
            if bytes != expected.as_bytes() {
                return Err(bad_format(format!(
                    "column name mismatch in header line field {}: got \"{}\", expected \"{expected}\"",
                    index + 1,
                    shown(bytes)
                )));
            }
        }
        Ok(())
    }

    fn row_context(&self) -> String {
        format!("COPY {}, row {}", self.table.name, self.row_number)
    }

    async fn read_binary(&mut self) -> Result<()> {
        let mut at = 0;
        if !self.binary_started {
            let Some(header) = self.binary.get(..BINARY_SIGNATURE.len() + 8) else { return Ok(()) };
            if !header.starts_with(BINARY_SIGNATURE) {
                return Err(bad_format("COPY file signature not recognized"));
            }
            let extension = integer(&header[BINARY_SIGNATURE.len() + 4..]);
            let extension =
                usize::try_from(extension).map_err(|_| bad_format("invalid COPY file header (wrong length)"))?;
            if self.binary.len() < header.len() + extension {
                return Ok(());
            }
            at = header.len() + extension;
            self.binary_started = true;
        }
        while !self.binary_ended {
            match self.binary_row(at)? {
                Some(next) => at = next,
                None => break,
            }
            if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.flush().await?;
            }
        }
        self.binary.drain(..at);
        Ok(())
    }

    /// Reads the row at `at`, if all of it is there; returns where the next one starts.
    fn binary_row(&mut self, at: usize) -> Result<Option<usize>> {
        let Some(count) = self.binary.get(at..at + 2) else { return Ok(None) };
        let count = i16::from_be_bytes([count[0], count[1]]);
        if count == -1 {
            self.binary_ended = true;
            return Ok(Some(at + 2));
        }
        self.row_number += 1;
        let context = self.row_context();
        if usize::try_from(count) != Ok(self.places.len()) {
            return Err(
                bad_format(format!("row field count is {count}, expected {}", self.places.len())).with_context(context)
            );
        }
        // Looked over first, so that a row is appended whole or not at all.
        let mut spans = Vec::with_capacity(self.places.len());
        let mut cursor = at + 2;
        for _ in 0..self.places.len() {
            let Some(length) = self.binary.get(cursor..cursor + 4) else {
                self.row_number -= 1;
                return Ok(None);
            };
            let length = integer(length);
            cursor += 4;
            if length == -1 {
                spans.push(None);
                continue;
            }
            let length =
                usize::try_from(length).map_err(|_| bad_format("invalid field size").with_context(context.clone()))?;
            if self.binary.len() < cursor + length {
                self.row_number -= 1;
                return Ok(None);
            }
            spans.push(Some((cursor, cursor + length)));
            cursor += length;
        }
        for ((builder, span), place) in self.builders.iter_mut().zip(spans).zip(&self.places) {
            match span {
                None => builder.append_null(),
                Some((from, to)) => builder.append_binary(&self.binary[from..to]).map_err(|error| {
                    Error::from(error).with_context(format!("{context}, column {}", self.table.columns[*place].name))
                })?,
            }
        }
        self.bytes += cursor - at;
        self.rows += 1;
        Ok(Some(cursor))
    }
}

fn integer(bytes: &[u8]) -> i32 {
    match bytes {
        [a, b, c, d, ..] => i32::from_be_bytes([*a, *b, *c, *d]),
        _ => -1,
    }
}

fn bad_format(message: impl Into<String>) -> Error {
    Error::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

/// A value or line as an error shows it.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.chars().count() > SHOWN_MAX {
        format!("{}...", text.chars().take(SHOWN_MAX).collect::<String>())
    } else {
        text.into_owned()
    }
}
