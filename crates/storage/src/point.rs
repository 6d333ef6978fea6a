//! Single rows by key: found, read, updated and deleted without a scan.
//!
//! ```text
//! TableAccess   once per table definition and statement      layout, key columns
//! Snapshot::find(access, key, values) -> Found               tail first, then the segments whose zone maps admit the key
//! Found::read(columns)                                       one array of one value a column
//! Transaction::delete_found, append_rows                     as a scan's delete and append would, with the same refusals
//! ```
//!
//! **Invariant.** What a snapshot finds by a key is what its scan would show: the same row version, or none.

use std::sync::Arc;

use arrow::array::ArrayRef;
use colonnade_types::{ColumnDefinition, TableDefinition};

use crate::error::{ReadError, WriteError};
use crate::key_index::KeySpec;
use crate::row_codec::RowLayout;
use crate::snapshot::Snapshot;
use crate::table::{RowPlace, TableData};

/// What reading and writing single rows of a table needs, prepared once for a table definition.
#[derive(Debug)]
pub struct TableAccess {
    pub(crate) table: Arc<TableDefinition>,
    /// One for each of the table's keys, in their order.
    pub(crate) specs: Vec<KeySpec>,
    pub(crate) layout: Arc<RowLayout>,
}

/// A row version that a snapshot sees. Keeps alive what it is in.
#[derive(Clone, Debug)]
pub struct Found {
    pub(crate) data: Arc<TableData>,
    pub(crate) place: RowPlace,
}

impl TableAccess {
    /// Prepares access to `table`.
    ///
    /// # Errors
    /// [`WriteError::Mismatch`] if a key names no column or a column's type cannot be stored: a fault of the definition.
    pub fn new(table: Arc<TableDefinition>) -> Result<TableAccess, WriteError> {
        let specs = table.keys.iter().map(|key| KeySpec::new(&table, key)).collect::<Result<_, _>>()?;
        let layout = RowLayout::of_table(&table).map_err(|error| WriteError::Mismatch(error.to_string()))?;
        Ok(TableAccess { table, specs, layout: Arc::new(layout) })
    }

    /// The table's definition.
    #[must_use]
    pub fn table(&self) -> &Arc<TableDefinition> {
        &self.table
    }
}

impl Snapshot {
    /// Finds the row whose key with index `key` among the table's keys has `values`: one array of one value for each of the key's columns, in its
    /// order, of the columns' Arrow types. A NULL finds nothing, unless the key says NULLS NOT DISTINCT. Never waits for a transaction.
    ///
    /// # Errors
    /// [`ReadError`] if a segment is damaged or the values are not of the columns' types.
    pub fn find(&self, access: &TableAccess, key: usize, values: &[ArrayRef]) -> Result<Option<Found>, ReadError> {
        let keys = access.specs[key].keys(values, 1)?;
        Ok(self.find_place(access, key, &keys)?.map(|(data, place)| Found { data, place }))
    }
}

impl Found {
    /// The row's values in `columns` of its table, each as an array of one.
    ///
    /// # Errors
    /// [`ReadError`] if its segment is damaged.
    pub fn read<'a>(&self, columns: impl Iterator<Item = &'a ColumnDefinition>) -> Result<Vec<ArrayRef>, ReadError> {
        columns.map(|column| self.place.located().value(column)).collect()
    }
}
