//! What a transaction has done, so that it can be committed or undone.
//!
//! A delete is marked at every place that a snapshot may read the row: in its chunk, and in the segment if the chunk has moved. Places are found anew each time, because
//! a flush may have moved a chunk in between; the flush itself carries the marks over.

use std::collections::BTreeMap;
use std::sync::Arc;

use colonnade_types::{SegmentId, StorageId};

use crate::catalog::CatalogEdit;
use crate::row_codec::Rows;
use crate::row_locks::LockedRows;
use crate::segment::Segment;
use crate::stamp::Stamp;
use crate::table::{Span, TableData};
use crate::tail::Chunk;

/// One write.
#[derive(Debug)]
pub(crate) enum Write {
    Append {
        data: Arc<TableData>,
        spans: Vec<Span>,
        first_row_id: u64,
        rows: Rows,
    },
    /// `before` is the own lock that the marks have replaced.
    Delete {
        data: Arc<TableData>,
        marks: Marks,
        before: Stamp,
    },
    Lock(LockedRows),
    Bulk {
        data: Arc<TableData>,
        segments: Vec<Arc<Segment>>,
    },
    Catalog(CatalogEdit),
}

/// Rows that are marked as deleted or locked.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Rows that were in the tail.
    pub(crate) tail: Vec<(Arc<Chunk>, usize)>,
    /// Rows that were in segments.
    pub(crate) segments: Vec<(Arc<Segment>, Vec<u32>)>,
}

impl Marks {
    /// Sets the stamp of every mark. The caller holds the table's `moves`.
    pub(crate) fn stamp(&self, stamp: Stamp) {
        for (chunk, index) in &self.tail {
            chunk.set_deleted(*index, stamp);
            if let Some((segment, offset)) = chunk.moved_to.get().and_then(|moved| moved.place(*index)) {
                segment.deletes.write().put(offset, stamp);
            }
        }
        for (segment, offsets) in &self.segments {
            let mut deletes = segment.deletes.write();
            offsets.iter().for_each(|offset| deletes.put(*offset, stamp));
        }
    }

    /// Takes every mark away. The caller holds the table's `moves`.
    pub(crate) fn clear(&self) {
        for (chunk, index) in &self.tail {
            chunk.set_deleted(*index, Stamp::NEVER);
            if let Some((segment, offset)) = chunk.moved_to.get().and_then(|moved| moved.place(*index)) {
                segment.deletes.write().clear(offset);
            }
        }
        for (segment, offsets) in &self.segments {
            let mut deletes = segment.deletes.write();
            offsets.iter().for_each(|offset| deletes.clear(*offset));
        }
    }

    /// Puts the stamp back that stood there before the marks. The caller holds the table's `moves`.
    pub(crate) fn restore(&self, before: Stamp) {
        if before == Stamp::NEVER { self.clear() } else { self.stamp(before) }
    }

    /// Takes marks away that still are `from`. The caller holds the table's `moves`.
    pub(crate) fn clear_if(&self, from: Stamp) {
        for (chunk, index) in &self.tail {
            // Whatever else stands there has come after the mark, and stays.
            let _ = chunk.replace_deleted(*index, from, Stamp::NEVER);
            if let Some((segment, offset)) = chunk.moved_to.get().and_then(|moved| moved.place(*index)) {
                let _ = segment.deletes.write().replace(offset, from, Stamp::NEVER);
            }
        }
        for (segment, offsets) in &self.segments {
            let mut deletes = segment.deletes.write();
            for offset in offsets {
                let _ = deletes.replace(*offset, from, Stamp::NEVER);
            }
        }
    }

    /// Where the rows are now, for the log: row ids, and segments with offsets. The caller holds the log latch, so that no
    /// flush moves rows until the record is in the log.
    pub(crate) fn resolve(&self) -> (Vec<u64>, BTreeMap<SegmentId, Vec<u32>>) {
        let mut row_ids = Vec::new();
        let mut segments: BTreeMap<SegmentId, Vec<u32>> = BTreeMap::new();
        for (chunk, index) in &self.tail {
            match chunk.moved_to.get() {
                None => row_ids.push(chunk.row_id(*index)),
                Some(moved) => {
                    if let Some((segment, offset)) = moved.place(*index) {
                        segments.entry(segment.info.id).or_default().push(offset);
                    }
                }
            }
        }
        for (segment, offsets) in &self.segments {
            segments.entry(segment.info.id).or_default().extend(offsets);
        }
        row_ids.sort_unstable();
        segments.values_mut().for_each(|offsets| offsets.sort_unstable());
        (row_ids, segments)
    }
}

impl Write {
    /// The body of rows that it changed.
    pub(crate) fn storage(&self) -> Option<StorageId> {
        match self {
            Write::Append { data, .. } | Write::Delete { data, .. } | Write::Bulk { data, .. } => Some(data.storage),
            Write::Catalog(_) | Write::Lock(_) => None,
        }
    }

    /// Makes it committed.
    pub(crate) fn commit(&self, stamp: Stamp) {
        match self {
            Write::Append { spans, .. } => spans.iter().for_each(|span| span.commit(stamp)),
            Write::Delete { data, marks, .. } => {
                let _moves = data.moves.read();
                marks.stamp(stamp);
            }
            Write::Lock(rows) => rows.release(),
            Write::Bulk { segments, .. } => segments.iter().for_each(|segment| segment.set_created(stamp)),
            Write::Catalog(_) => {}
        }
    }

    /// Undoes it.
    pub(crate) fn undo(&self) {
        match self {
            Write::Append { spans, .. } => spans.iter().for_each(Span::abort),
            Write::Delete { data, marks, before } => {
                let _moves = data.moves.read();
                marks.restore(*before);
            }
            Write::Lock(rows) => rows.undo(),
            Write::Bulk { data, segments } => {
                for segment in segments {
                    segment.set_created(Stamp::ABORTED);
                    segment.set_obsolete();
                }
                data.detach(segments);
            }
            Write::Catalog(_) => {}
        }
    }
}
