//! PostgreSQL's protocol, version 3: a connection loop of our own on pgwire's message types.
//!
//! ```text
//! bytes -> reader (frames) -> decode (messages) -> connection (simple, extended, copy) -> Session
//!                                                       |
//! bytes <- output (one buffer, one flush) <- rows (column-wise) <- batches
//! ```
//!
//! - [`reader`]: whole frames from a socket, with limits.
//! - [`decode`]: a frame's body as one of pgwire's messages, every byte checked.
//! - [`output`]: the output buffer and what is written to it.
//! - [`rows`]: batches as DataRow messages.
//! - [`report`]: errors and notices as messages.
//! - [`startup`]: everything before the first ReadyForQuery, [`authentication`] included.
//! - [`connection`]: the loop, with [`simple`], [`extended`] and [`copy`] beside it.
//! - [`watch`]: running a statement while the client may vanish and the process may end.
//! - [`cancel`]: who may stop whom.
//!
//! Invariants: no byte from a client can end the process; a result is never held in memory as a whole; a reply is flushed when there is
//! nothing more to read, or when the buffer is full; a commit is acknowledged after it is durable.

pub(crate) mod authentication;
pub(crate) mod cancel;
pub(crate) mod connection;
mod copy;
mod decode;
mod extended;
pub(crate) mod listener;
mod output;
mod reader;
mod report;
mod rows;
mod simple;
mod startup;
mod watch;
