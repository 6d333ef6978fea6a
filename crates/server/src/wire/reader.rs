//! Whole frames from a socket, with limits.
//!
//! ```text
//! | kind u8 | length i32, itself included | body |        the first packet of a connection has no kind
//! ```
//!
//! Invariant: memory grows with the bytes that arrived, never with the length that a client announced.

use bytes::{Buf, Bytes, BytesMut};
use colonnade_execution::{Error, Severity};
use colonnade_types::SqlState;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

/// Largest packet before a client is authenticated, in bytes.
pub(super) const EARLY_BYTES_MAX: usize = 64 << 10;
/// Largest message of the kinds that carry neither statements nor data, in bytes; as in PostgreSQL.
const SMALL_BYTES_MAX: usize = 10_000;
/// Bytes that are read ahead while a statement runs.
const READ_AHEAD_BYTES: usize = 256 << 10;

/// One message, not yet decoded.
#[derive(Debug)]
pub(super) struct Frame {
    /// The type byte.
    pub(super) kind: u8,
    /// What follows the length.
    pub(super) body: Bytes,
}

/// Reads frames.
pub(super) struct Reader {
    half: OwnedReadHalf,
    buffer: BytesMut,
    /// Largest message in bytes; small until the client is authenticated.
    bytes_max: usize,
}

impl Reader {
    pub(super) fn new(half: OwnedReadHalf) -> Reader {
        Reader { half, buffer: BytesMut::with_capacity(8 << 10), bytes_max: EARLY_BYTES_MAX }
    }

    /// Admits messages of this size from now on.
    pub(super) fn admit(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Reads what has arrived, or waits for something; 0 is the end. Nothing is lost if the future is dropped.
    pub(super) async fn fill(&mut self) -> std::io::Result<usize> {
        self.buffer.reserve(8 << 10);
        self.half.read_buf(&mut self.buffer).await
    }

    /// Whether there is room to read ahead while a statement runs.
    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() < READ_AHEAD_BYTES
    }

    /// Takes the next frame if all of it has arrived.
    ///
    /// # Errors
    /// Fatal: a length that no message of the kind can have.
    pub(super) fn take(&mut self) -> Result<Option<Frame>, Error> {
        let Some(header) = self.buffer.first_chunk::<5>() else { return Ok(None) };
        let [kind, length @ ..] = *header;
        if !KINDS.contains(&kind) {
            return Err(fatal(format!("invalid frontend message type {kind}")));
        }
        let bytes_max = if matches!(kind, b'Q' | b'P' | b'B' | b'd' | b'F') {
            self.bytes_max
        } else {
            self.bytes_max.min(SMALL_BYTES_MAX)
        };
        let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| (4..=bytes_max).contains(length));
        let Some(length) = length else { return Err(fatal("invalid message length")) };
        if self.buffer.len() <= length {
            return Ok(None);
        }
        self.buffer.advance(5);
        Ok(Some(Frame { kind, body: self.buffer.split_to(length - 4).freeze() }))
    }

    /// Takes the first packet of a connection if all of it has arrived.
    ///
    /// # Errors
    /// A length that no such packet can have.
    pub(super) fn take_first(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let Some(length) = length.filter(|length| (8..=EARLY_BYTES_MAX).contains(length)) else {
            return Err(fatal("invalid length of startup packet"));
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length - 4).freeze()))
    }

    /// Whether bytes have arrived that nobody has taken.
    pub(super) fn has_input(&self) -> bool {
        !self.buffer.is_empty()
    }
}

/// The type bytes that a client may send.
const KINDS: &[u8] = b"QPBEDCSHXpFdcf";

fn fatal(message: impl Into<String>) -> Error {
    let mut error = Error::new(SqlState::PROTOCOL_VIOLATION, message);
    error.severity = Severity::Fatal;
    error
}
