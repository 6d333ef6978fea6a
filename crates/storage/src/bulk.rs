//! The direct path: rows become segments without passing through the tail or the log.

use arrow::record_batch::RecordBatch;

use crate::error::WriteError;
use crate::transaction::Transaction;

/// A load in progress. Dropping it removes what it wrote.
#[derive(Debug)]
pub struct BulkWriter;

impl BulkWriter {
    /// Adds rows, columns in definition order. Writes a segment whenever enough have come.
    ///
    /// # Errors
    /// [`WriteError`]; the load cannot go on.
    pub fn write(&mut self, _rows: &RecordBatch) -> Result<(), WriteError> {
        unimplemented!()
    }
    /// Writes the rest, checks keys and attaches the segments to the transaction; returns the number of rows.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was attached. After [`WriteError::Blocked`] the load is lost: it has to be run again.
    pub fn finish(self, _transaction: &mut Transaction) -> Result<u64, WriteError> {
        unimplemented!()
    }
}
