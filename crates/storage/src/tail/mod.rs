//! The tail: the row store of one table, a linked list of chunks.
//!
//! ```text
//! TableVersion.head ─► chunk ─► chunk ─► chunk (open)
//!                      sealed   sealed   ▲ appends
//! ```
//!
//! A version of the table holds the first chunk that is its own; later chunks hang on it. A flush publishes a version that starts further on, and
//! whoever holds an older version keeps the older chunks alive.
//!
//! **Invariant.** Row ids ascend along the list and are never given twice, also not after an abort.

pub(crate) mod chunk;

use std::sync::Arc;

pub(crate) use chunk::{CHUNK_BYTES_MAX, CHUNK_ROWS, CHUNK_ROWS_FIRST, Chunk, Moved};

/// The chunks from `head` on, in order.
pub(crate) fn chunks(head: &Arc<Chunk>) -> impl Iterator<Item = &Arc<Chunk>> {
    std::iter::successors(Some(head), |chunk| chunk.next.get())
}
