//! What one statement sees.

use std::collections::HashMap;
use std::sync::Arc;

use colonnade_types::{ColumnId, Lsn, StorageId, TableDefinition};

use crate::catalog::Catalog;
use crate::database::Inner;
use crate::error::ReadError;
use crate::key_index::Keys;
use crate::point::TableAccess;
use crate::scan::Scan;
use crate::segment::Segment;
use crate::segment_keys::SegmentKeys;
use crate::stamp::View;
use crate::table::{DatabaseVersion, RowPlace, TableData};
use crate::tail::Chunk;

/// The database as one statement sees it. Cheap to clone; keeps alive what it sees.
///
/// A transaction's own snapshot is for the statement that took it: after the transaction was rolled back, to a savepoint or whole, it must not be read.
#[derive(Clone, Debug)]
pub struct Snapshot {
    body: Arc<Body>,
}

#[derive(Debug)]
struct Body {
    base: Arc<LiveVersion>,
    catalog: Arc<Catalog>,
    view: View,
    own: Arc<OwnTables>,
}

/// A version that is in use: garbage collection keeps what it sees.
pub(crate) struct LiveVersion {
    pub(crate) version: Arc<DatabaseVersion>,
    pub(crate) inner: Arc<Inner>,
}

impl Drop for LiveVersion {
    fn drop(&mut self) {
        self.inner.forget_snapshot(self.version.lsn);
    }
}

impl std::fmt::Debug for LiveVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LiveVersion").field(&self.version.lsn).finish()
    }
}

/// What a transaction has done to tables that the committed version does not show: bodies of rows that it made, segments that it loaded.
pub(crate) type OwnTables = HashMap<StorageId, OwnTable>;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct OwnTable {
    pub(crate) data: Arc<TableData>,
    /// The first chunk, for a body of rows that the transaction made.
    pub(crate) head: Option<Arc<Chunk>>,
    /// Segments that the transaction loaded.
    pub(crate) segments: Vec<Arc<Segment>>,
}

impl Snapshot {
    pub(crate) fn new(base: Arc<LiveVersion>, catalog: Arc<Catalog>, view: View, own: Arc<OwnTables>) -> Snapshot {
        Snapshot { body: Arc::new(Body { base, catalog, view, own }) }
    }

    /// Everything committed at or before it is seen.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.body.view.lsn()
    }

    /// The catalog at this snapshot, with the transaction's own edits.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.body.catalog
    }

    /// Opens the rows of `table`, which comes from this snapshot's catalog, for reading `columns` of it.
    ///
    /// # Errors
    /// [`ReadError`] if the table has no such column or a segment cannot be opened.
    pub fn scan(&self, table: &TableDefinition, columns: &[ColumnId]) -> Result<Scan, ReadError> {
        Scan::open(self.clone(), table, columns)
    }

    pub(crate) fn view(&self) -> &View {
        &self.body.view
    }

    /// Finds a row by the one key of `keys`, in the places that the snapshot reads: what has been moved or compacted since is found where it was.
    pub(crate) fn find_place(
        &self,
        access: &TableAccess,
        key: usize,
        keys: &Keys,
    ) -> Result<Option<(Arc<TableData>, RowPlace)>, ReadError> {
        let storage = access.table.storage;
        let committed = self.body.base.version.tables.get(&storage);
        let own = self.body.own.get(&storage);
        let Some(data) = committed.map(|table| &table.data).or(own.map(|own| &own.data)) else { return Ok(None) };
        let view = &self.body.view;
        let head = committed.map(|table| &table.head).or(own.and_then(|own| own.head.as_ref()));
        if let Some(head) = head
            && let Some(place) = data.find_in_tail(access, key, keys, view, head)?
        {
            return Ok(Some((Arc::clone(data), place)));
        }
        let loaded = own.into_iter().flat_map(|own| &own.segments).filter(|segment| view.sees(segment.created()));
        for segment in committed.into_iter().flat_map(|table| &table.segments).chain(loaded) {
            if let Some(offset) = SegmentKeys::of(segment, &access.specs[key])?.find_visible(segment, keys, view)? {
                return Ok(Some((Arc::clone(data), RowPlace::Segment(Arc::clone(segment), offset))));
            }
        }
        Ok(None)
    }

    /// The segments and the first chunk of a body of rows; always the same for the same snapshot, so that positions are addresses.
    pub(crate) fn places(&self, storage: StorageId) -> (Vec<Arc<Segment>>, Option<Arc<Chunk>>) {
        let committed = self.body.base.version.tables.get(&storage);
        let own = self.body.own.get(&storage);
        let mut segments = committed.map(|table| table.segments.clone()).unwrap_or_default();
        if let Some(own) = own {
            segments.extend(own.segments.iter().filter(|s| self.body.view.sees(s.created())).map(Arc::clone));
        }
        let head = committed.map(|table| &table.head).or(own.and_then(|own| own.head.as_ref()));
        (segments, head.map(Arc::clone))
    }
}
