//! What a transaction has done, so that it can be committed or undone.
//!
//! A delete is marked at every place that a snapshot may read the row: in its chunk, in the segment if the chunk has moved, in the next segment if that was compacted.
//! Places are found anew each time, because a flush or a compaction may have moved the row in between; it carries the marks over itself. The last place of a row
//! is where others meet the mark: it is set there first, and taken away there last.

use std::collections::BTreeMap;
use std::sync::Arc;

use colonnade_types::{SegmentId, StorageId};

use crate::catalog::CatalogEdit;
use crate::deletes::Deletes;
use crate::row_codec::Rows;
use crate::row_locks::LockedRows;
use crate::segment::{Segment, trail};
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
        self.each(|chunk, index| chunk.set_deleted(index, stamp), |deletes, offset| deletes.put(offset, stamp));
    }

    /// Takes every mark away. The caller holds the table's `moves`.
    pub(crate) fn clear(&self) {
        self.each(|chunk, index| chunk.set_deleted(index, Stamp::NEVER), Deletes::clear);
    }

    /// Visits every place of every marked row, each row's newest place last. The caller holds the table's `moves`.
    fn each(&self, in_tail: impl Fn(&Chunk, usize), in_segment: impl Fn(&mut Deletes, u32)) {
        let later = |segment, offset| {
            trail(segment, offset).for_each(|(segment, offset)| in_segment(&mut segment.deletes.write(), offset));
        };
        for (chunk, index) in &self.tail {
            in_tail(chunk, *index);
            if let Some((segment, offset)) = chunk.moved_to.get().and_then(|moved| moved.place(*index)) {
                later(segment, offset);
            }
        }
        for (segment, offsets) in &self.segments {
            let mut deletes = segment.deletes.write();
            offsets.iter().for_each(|offset| in_segment(&mut deletes, *offset));
            drop(deletes);
            if let Some(moved) = segment.moved_to.get() {
                offsets.iter().filter_map(|offset| moved.place(*offset)).for_each(|(to, at)| later(to, at));
            }
        }
    }

    /// Puts the stamp back that stood there before the marks. The caller holds the table's `moves`.
    pub(crate) fn restore(&self, before: Stamp) {
        if before == Stamp::NEVER { self.clear() } else { self.stamp(before) }
    }

    /// Takes marks away that still are `from`; whatever else stands there has come after the mark, and stays. The caller holds the table's `moves`.
    pub(crate) fn clear_if(&self, from: Stamp) {
        self.each(
            |chunk, index| {
                let _ = chunk.replace_deleted(index, from, Stamp::NEVER);
            },
            |deletes, offset| {
                let _ = deletes.replace(offset, from, Stamp::NEVER);
            },
        );
    }

    /// Where the rows are now, for the log: row ids, and segments with offsets. The caller holds the log latch, so that neither a
    /// flush nor a compaction moves rows until the record is in the log.
    pub(crate) fn resolve(&self) -> (Vec<u64>, BTreeMap<SegmentId, Vec<u32>>) {
        let mut row_ids = Vec::new();
        let mut segments: BTreeMap<SegmentId, Vec<u32>> = BTreeMap::new();
        let mut put = |segment, offset| {
            if let Some((segment, offset)) = trail(segment, offset).last() {
                segments.entry(segment.info.id).or_default().push(offset);
            }
        };
        for (chunk, index) in &self.tail {
            match chunk.moved_to.get() {
                None => row_ids.push(chunk.row_id(*index)),
                Some(moved) => {
                    if let Some((segment, offset)) = moved.place(*index) {
                        put(segment, offset);
                    }
                }
            }
        }
        for (segment, offsets) in &self.segments {
            offsets.iter().for_each(|offset| put(segment, *offset));
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
