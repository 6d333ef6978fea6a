//! The views of a string or binary column while it grows: short values inside the view, longer ones in blocks.

use arrow::array::{MAX_INLINE_VIEW_LEN, make_view};
use arrow::buffer::{Buffer, ScalarBuffer};

use crate::error::ValueError;
use crate::sql_state::SqlState;

/// Size of the first block; each further one doubles, up to the last.
const BLOCK_MIN: usize = 8 * 1024;
const BLOCK_MAX: usize = 2 * 1024 * 1024;

/// Views over blocks. Every view points into a block that holds its bytes; blocks never exceed what a view can address.
pub(crate) struct Views {
    views: Vec<u128>,
    full: Vec<Buffer>,
    block: Vec<u8>,
    next_block: usize,
}

impl Views {
    pub(crate) fn new(capacity: usize) -> Views {
        Views { views: Vec::with_capacity(capacity), full: Vec::new(), block: Vec::new(), next_block: BLOCK_MIN }
    }

    pub(crate) fn push_null(&mut self) {
        self.views.push(0);
    }

    pub(crate) fn push(&mut self, value: &[u8]) -> Result<(), ValueError> {
        if value.len() <= MAX_INLINE_VIEW_LEN as usize {
            self.views.push(make_view(value, 0, 0));
            return Ok(());
        }
        // PostgreSQL's own limit of a value is 1 GB.
        if value.len() > i32::MAX as usize / 2 {
            return Err(ValueError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "value is too long"));
        }
        if self.block.capacity() - self.block.len() < value.len() {
            self.seal();
            self.block.reserve_exact(self.next_block.max(value.len()));
            self.next_block = (self.next_block * 2).min(BLOCK_MAX);
        }
        let offset = self.block.len() as u32;
        self.block.extend_from_slice(value);
        self.views.push(make_view(value, self.full.len() as u32, offset));
        Ok(())
    }

    fn seal(&mut self) {
        if !self.block.is_empty() {
            self.full.push(Buffer::from_vec(std::mem::take(&mut self.block)));
        }
    }

    /// Forgets views; their bytes stay in the blocks.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.views.truncate(len);
    }

    /// Takes views and blocks out.
    pub(crate) fn finish(&mut self) -> (ScalarBuffer<u128>, Vec<Buffer>) {
        self.seal();
        self.next_block = BLOCK_MIN;
        (ScalarBuffer::from(std::mem::take(&mut self.views)), std::mem::take(&mut self.full))
    }
}
