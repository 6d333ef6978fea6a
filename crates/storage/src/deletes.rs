//! The deleted and the locked rows of a segment.
//!
//! Recent deletes, and locks, carry the stamp of who deleted or locked; deletes that every snapshot sees are folded into one bitmap.
//!
//! **Invariants.** An offset is in `base` or in `recent`, never in both. What is in `base` was committed at or before the read LSN of every snapshot
//! that exists or will.

use std::collections::BTreeMap;

use arrow::buffer::BooleanBuffer;
use colonnade_types::Lsn;
use roaring::RoaringBitmap;

use crate::scan::Visibility;
use crate::stamp::{Stamp, StampState, View};

/// Deleted offsets with their stamps.
#[derive(Debug, Default)]
pub(crate) struct Deletes {
    base: RoaringBitmap,
    recent: BTreeMap<u32, u64>,
}

impl Deletes {
    /// Starts from recovered deletes: a bitmap, and offsets with commit LSNs.
    pub(crate) fn recovered(base: RoaringBitmap, recent: impl IntoIterator<Item = (u32, Lsn)>) -> Deletes {
        let mut deletes = Deletes { base, recent: BTreeMap::new() };
        for (offset, lsn) in recent {
            deletes.put(offset, Stamp::committed(lsn));
        }
        deletes
    }

    /// Who deleted a row. One that every snapshot sees deleted has the smallest LSN there is.
    pub(crate) fn stamp(&self, offset: u32) -> Stamp {
        match self.recent.get(&offset) {
            Some(stamp) => Stamp(*stamp),
            None if self.base.contains(offset) => Stamp::committed(Lsn(1)),
            None => Stamp::NEVER,
        }
    }

    /// Sets who deleted or locked a row if that is `from` now; else returns who it is.
    pub(crate) fn replace(&mut self, offset: u32, from: Stamp, to: Stamp) -> Result<(), Stamp> {
        match self.stamp(offset) {
            found if found != from => Err(found),
            _ if to == Stamp::NEVER => {
                self.clear(offset);
                Ok(())
            }
            _ => {
                self.put(offset, to);
                Ok(())
            }
        }
    }

    /// Sets who deleted a row.
    pub(crate) fn put(&mut self, offset: u32, stamp: Stamp) {
        if !self.base.contains(offset) {
            self.recent.insert(offset, stamp.0);
        }
    }

    /// Undoes a delete that was not committed, or takes a lock away.
    pub(crate) fn clear(&mut self, offset: u32) {
        self.recent.remove(&offset);
    }

    /// Which of rows `from..to` are visible, as far as deletes say.
    pub(crate) fn visibility(&self, from: u32, to: u32, view: &View) -> Visibility {
        let folded = self.base.range_cardinality(from..to);
        if folded == 0 && self.recent.range(from..to).next().is_none() {
            return Visibility::All;
        }
        let mut visible = vec![true; (to - from) as usize];
        let mut gone = 0usize;
        if folded > 0 {
            for offset in self.base.range(from..to) {
                visible[(offset - from) as usize] = false;
                gone += 1;
            }
        }
        for (offset, stamp) in self.recent.range(from..to) {
            if view.sees(Stamp(*stamp)) {
                visible[(offset - from) as usize] = false;
                gone += 1;
            }
        }
        match gone {
            0 => Visibility::All,
            gone if gone == visible.len() => Visibility::None,
            _ => Visibility::Some(BooleanBuffer::from(visible)),
        }
    }

    /// Rows that `view` sees deleted.
    pub(crate) fn count(&self, view: &View) -> u64 {
        self.base.len() + self.recent.values().filter(|stamp| view.sees(Stamp(**stamp))).count() as u64
    }

    /// Rows deleted by anyone, running transactions included.
    pub(crate) fn len(&self) -> u64 {
        self.base.len() + self.recent.values().filter(|stamp| !Stamp(**stamp).is_lock()).count() as u64
    }

    /// Rows whose delete was committed by `horizon`.
    pub(crate) fn committed_by(&self, horizon: Lsn) -> RoaringBitmap {
        let mut rows = self.base.clone();
        rows.extend(self.recent.iter().filter_map(|(offset, stamp)| match Stamp(*stamp).state() {
            StampState::Committed(lsn) if lsn <= horizon => Some(*offset),
            _ => None,
        }));
        rows
    }

    /// Every row that has a stamp, with the stamp; folded deletes have the smallest LSN there is.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Stamp)> {
        let folded = self.base.iter().map(|offset| (offset, Stamp::committed(Lsn(1))));
        folded.chain(self.recent.iter().map(|(offset, stamp)| (*offset, Stamp(*stamp))))
    }

    /// Folds the deletes that were committed at or before `oldest`, the read LSN of the oldest snapshot.
    pub(crate) fn fold(&mut self, oldest: Lsn) {
        if self.recent.is_empty() {
            return;
        }
        let base = &mut self.base;
        self.recent.retain(|offset, stamp| match Stamp(*stamp).state() {
            StampState::Committed(lsn) if lsn <= oldest => {
                base.insert(*offset);
                false
            }
            _ => true,
        });
    }

    /// What was committed by `lsn`: the folded bitmap, and the rest with LSNs.
    pub(crate) fn dump(&self, lsn: Lsn) -> (RoaringBitmap, Vec<(u32, Lsn)>) {
        let committed = self.recent.iter().filter_map(|(offset, stamp)| match Stamp(*stamp).state() {
            StampState::Committed(at) if at <= lsn => Some((*offset, at)),
            _ => None,
        });
        (self.base.clone(), committed.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use colonnade_types::TxnId;

    #[test]
    fn folding_changes_nothing_that_a_snapshot_sees() {
        let mut deletes = Deletes::default();
        deletes.put(3, Stamp::committed(Lsn(5)));
        deletes.put(4, Stamp::committed(Lsn(9)));
        deletes.put(5, Stamp::running(TxnId(1), 0));
        deletes.put(6, Stamp::locked(TxnId(1), true));
        let views = [View::committed(Lsn(7)), View::committed(Lsn(9)), View::own(Lsn(7), TxnId(1), 1)];
        let seen = |deletes: &Deletes| views.map(|view| (deletes.visibility(0, 8, &view), deletes.count(&view)));
        let before = seen(&deletes);
        assert_eq!(before.clone().map(|(_, count)| count), [1, 2, 2]);
        deletes.fold(Lsn(7));
        assert_eq!(seen(&deletes), before);
        let other = Stamp::running(TxnId(2), 0);
        assert_eq!(deletes.replace(3, Stamp::NEVER, other), Err(Stamp::committed(Lsn(1))));
        deletes.clear(5);
        assert_eq!(deletes.replace(5, Stamp::NEVER, other), Ok(()));
        assert_eq!(deletes.len(), 3, "a locked row is not deleted");
        assert_eq!(deletes.visibility(8, 16, &views[1]), Visibility::All);
        let (base, recent) = deletes.dump(Lsn(9));
        assert_eq!((base.iter().collect::<Vec<_>>(), recent), (vec![3], vec![(4, Lsn(9))]));
    }
}
