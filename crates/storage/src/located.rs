//! One row, where it is now.

use std::sync::Arc;

use arrow::array::ArrayRef;
use colonnade_types::ColumnDefinition;

use crate::error::ReadError;
use crate::fill;
use crate::segment::{Segment, trail};
use crate::stamp::Stamp;
use crate::tail::Chunk;

/// The place of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Located<'a> {
    /// A chunk that is or was in the tail, and the row's index.
    Tail(&'a Arc<Chunk>, usize),
    /// A segment, and the row's offset.
    Segment(&'a Arc<Segment>, u32),
}

impl Located<'_> {
    /// The row's value in a column, as an array of one.
    pub(crate) fn value(&self, column: &ColumnDefinition) -> Result<ArrayRef, ReadError> {
        let stored = match self {
            Located::Tail(chunk, index) => match chunk.layout.index_of(column.id) {
                Some(place) => Some(chunk.column_range(place, *index, index + 1)?),
                None => None,
            },
            Located::Segment(segment, offset) => segment.value(column.id, *offset)?,
        };
        stored.map_or_else(|| fill::missing_value(column), Ok)
    }

    /// Who created it.
    pub(crate) fn created(&self) -> Stamp {
        match self {
            Located::Tail(chunk, index) => chunk.created(*index),
            Located::Segment(segment, _) => segment.created(),
        }
    }

    /// Who deleted or locked it. The caller holds the table's `moves`, so that the row stays where it is.
    pub(crate) fn deleted(&self) -> Stamp {
        let newest = |segment, offset| {
            let last = trail(segment, offset).last();
            last.map_or(Stamp::NEVER, |(segment, offset)| segment.deletes.read().stamp(offset))
        };
        match self {
            Located::Tail(chunk, index) => match chunk.moved_to.get().and_then(|moved| moved.place(*index)) {
                Some((segment, offset)) => newest(segment, offset),
                None => chunk.deleted(*index),
            },
            Located::Segment(segment, offset) => newest(segment, *offset),
        }
    }
}
