//! The output buffer and what is written to it.
//!
//! Invariant: the buffer holds whole messages whenever control leaves this module, so an error message can follow at any time.

use bytes::BytesMut;
use colonnade_execution::{ResultSchema, TransactionStatus};
use colonnade_types::{Format, SqlType};
use pgwire::messages::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

/// Bytes at which the buffer is written out although more is to come.
pub(super) const FLUSH_BYTES: usize = 64 << 10;
/// Capacity above which an emptied buffer is given back.
const KEPT_BYTES: usize = 1 << 20;

/// Buffers messages to the client.
pub(super) struct Output {
    half: OwnedWriteHalf,
    /// Whole messages that are not yet written.
    pub(super) buffer: Vec<u8>,
    scratch: BytesMut,
}

impl Output {
    pub(super) fn new(half: OwnedWriteHalf) -> Output {
        Output { half, buffer: Vec::with_capacity(8 << 10), scratch: BytesMut::new() }
    }

    /// Writes everything out, waiting as long as the client is slow.
    pub(super) async fn flush(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = self.half.write_all(&self.buffer).await;
        self.buffer.clear();
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::with_capacity(FLUSH_BYTES);
        }
        result
    }

    /// Writes out what the socket takes at once; true if that was everything.
    pub(super) fn flush_now(&mut self) -> std::io::Result<bool> {
        if self.buffer.is_empty() {
            return Ok(true);
        }
        match self.half.try_write(&self.buffer) {
            Ok(written) if written == self.buffer.len() => {
                self.buffer.clear();
                Ok(true)
            }
            Ok(written) => {
                self.buffer.drain(..written);
                Ok(false)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the buffer should be written out.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= FLUSH_BYTES
    }

    /// One of pgwire's messages.
    pub(super) fn message(&mut self, message: &impl Message) {
        self.scratch.clear();
        match message.encode(&mut self.scratch) {
            Ok(()) => self.buffer.extend_from_slice(&self.scratch),
            // Only a message beyond the protocol's own limits cannot be encoded.
            Err(error) => tracing::warn!(%error, "a message could not be sent"),
        }
    }

    /// A single byte outside of any message: the answer to an encryption request.
    pub(super) fn byte(&mut self, byte: u8) {
        self.buffer.push(byte);
    }

    /// A message whose body is nothing.
    pub(super) fn empty(&mut self, kind: u8) {
        self.buffer.extend_from_slice(&[kind, 0, 0, 0, 4]);
    }

    /// A message whose body `write` appends.
    pub(super) fn body(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len() + 1;
        self.buffer.extend_from_slice(&[kind, 0, 0, 0, 0]);
        write(&mut self.buffer);
        let length = i32::try_from(self.buffer.len() - start).unwrap_or(i32::MAX);
        self.buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// RowDescription. `formats` has one entry per column.
    pub(super) fn row_description(&mut self, schema: &ResultSchema, formats: &[Format]) {
        self.body(b'T', |out| {
            put_u16(out, schema.columns.len());
            for (column, format) in schema.columns.iter().zip(formats) {
                put_text(out, &column.name);
                out.extend_from_slice(&column.table_oid.to_be_bytes());
                out.extend_from_slice(&column.column_id.to_be_bytes());
                // An untyped literal is text by the time that it is a result.
                let sql_type = if column.sql_type == SqlType::Unknown { &SqlType::Text } else { &column.sql_type };
                out.extend_from_slice(&sql_type.oid().0.to_be_bytes());
                out.extend_from_slice(&sql_type.type_length().to_be_bytes());
                out.extend_from_slice(&sql_type.type_modifier().to_be_bytes());
                out.extend_from_slice(&format_code(*format).to_be_bytes());
            }
        });
    }

    /// ParameterDescription.
    pub(super) fn parameter_description(&mut self, types: &[SqlType]) {
        self.body(b't', |out| {
            put_u16(out, types.len());
            for sql_type in types {
                out.extend_from_slice(&sql_type.oid().0.to_be_bytes());
            }
        });
    }

    /// CommandComplete.
    pub(super) fn command_complete(&mut self, tag: &str) {
        self.body(b'C', |out| put_text(out, tag));
    }

    /// ParameterStatus.
    pub(super) fn parameter_status(&mut self, name: &str, value: &str) {
        self.body(b'S', |out| {
            put_text(out, name);
            put_text(out, value);
        });
    }

    /// ReadyForQuery.
    pub(super) fn ready(&mut self, status: TransactionStatus) {
        let status = match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        };
        self.buffer.extend_from_slice(&[b'Z', 0, 0, 0, 5, status]);
    }

    /// CopyInResponse (`G`) or CopyOutResponse (`H`).
    pub(super) fn copy_response(&mut self, kind: u8, format: Format, column_count: usize) {
        let code = format_code(format);
        self.body(kind, |out| {
            out.push(u8::from(format == Format::Binary));
            put_u16(out, column_count);
            for _ in 0..column_count {
                out.extend_from_slice(&code.to_be_bytes());
            }
        });
    }
}

/// The protocol's number of a format.
fn format_code(format: Format) -> i16 {
    i16::from(format == Format::Binary)
}

/// A count of two bytes. Statements have at most 1,664 columns and 65,535 parameters.
pub(super) fn put_u16(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
}

/// A text with its zero byte; zero bytes inside are left out, because nothing could follow them.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}
