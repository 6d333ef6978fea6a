//! What one statement sees.

use std::sync::Arc;

use colonnade_types::{ColumnId, Lsn, TableDefinition};

use crate::catalog::Catalog;
use crate::error::ReadError;
use crate::scan::Scan;

/// The database as one statement sees it. Cheap to clone; keeps alive what it sees.
#[derive(Clone, Debug)]
pub struct Snapshot;

impl Snapshot {
    /// Everything committed at or before it is seen.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        unimplemented!()
    }
    /// The catalog at this snapshot, with the transaction's own edits.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        unimplemented!()
    }
    /// Opens the rows of `table`, which comes from this snapshot's catalog, for reading `columns` of it.
    ///
    /// # Errors
    /// [`ReadError`] if the table has no such column or a segment cannot be opened.
    pub fn scan(&self, _table: &TableDefinition, _columns: &[ColumnId]) -> Result<Scan, ReadError> {
        unimplemented!()
    }
}
