//! The index of a tail for one key: from a key's hash to the row versions that have it, newest first.
//!
//! ```text
//! hash ─► newest row id ─► older, ascending: [ 17, 98, 240 ]
//! ```
//!
//! A row that is updated again and again leaves versions that all have its key. A fresh snapshot sees the newest, so that is found without a look at the
//! others, however many an old snapshot keeps alive; versions that nobody can see any more leave the old end of the list when new ones come.
//!
//! **Invariant.** Every row of the tail that some snapshot sees, or may see when a running transaction ends, is in the index (while the index exists), in the order of row ids.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use crate::error::ReadError;
use crate::key_index::KeySpec;
use crate::stamp::Stamp;
use crate::tail::Chunk;

/// Older versions from which on an insert looks for dead ones.
const PRUNE_FROM: usize = 4;

/// The row versions of one hash.
#[derive(Debug)]
struct Versions {
    hash: u64,
    newest: u64,
    /// Ascending; `None` while there are none.
    older: Option<Box<VecDeque<u64>>>,
}

/// The index of a tail for one key.
#[derive(Debug)]
pub(crate) struct TailKeys {
    pub(crate) spec: KeySpec,
    entries: HashTable<Versions>,
}

impl TailKeys {
    /// Indexes the rows of `chunks`, which are in the order of row ids.
    pub(crate) fn build<'a>(
        spec: &KeySpec,
        chunks: impl Iterator<Item = &'a Arc<Chunk>>,
    ) -> Result<TailKeys, ReadError> {
        let mut index = TailKeys { spec: spec.clone(), entries: HashTable::new() };
        for chunk in chunks {
            let len = chunk.len();
            if len == 0 {
                continue;
            }
            let keys = spec.tail_keys(chunk, 0, len)?;
            for (row, hash) in keys.hashes.iter().enumerate() {
                if chunk.created(row) != Stamp::ABORTED
                    && let Some(hash) = hash
                {
                    index.insert(*hash, chunk.row_id(row), |_| false);
                }
            }
        }
        Ok(index)
    }

    /// Adds a row version, newer than all that are there. `is_dead` says of an older one whether no snapshot sees it, now or ever.
    pub(crate) fn insert(&mut self, hash: u64, row_id: u64, is_dead: impl Fn(u64) -> bool) {
        match self.entries.entry(hash, |entry| entry.hash == hash, |entry| entry.hash) {
            Slot::Vacant(slot) => {
                slot.insert(Versions { hash, newest: row_id, older: None });
            }
            Slot::Occupied(mut slot) => {
                let entry = slot.get_mut();
                assert!(entry.newest < row_id, "versions come in the order of row ids");
                let older = entry.older.get_or_insert_default();
                older.push_back(entry.newest);
                entry.newest = row_id;
                // Two a round, so that a list that an old snapshot has made long shrinks again.
                if older.len() > PRUNE_FROM {
                    for _ in 0..2 {
                        if older.front().is_some_and(|first| is_dead(*first)) {
                            older.pop_front();
                        }
                    }
                }
            }
        }
    }

    /// Row ids whose key may have this hash, newest first.
    pub(crate) fn find(&self, hash: u64) -> impl Iterator<Item = u64> {
        let entry = self.entries.find(hash, |entry| entry.hash == hash);
        entry.into_iter().flat_map(|entry| {
            let older = entry.older.iter().flat_map(|older| older.iter().rev().copied());
            std::iter::once(entry.newest).chain(older)
        })
    }

    /// Takes out the rows before `row_id`.
    pub(crate) fn forget_before(&mut self, row_id: u64) {
        self.entries.retain(|entry| {
            if let Some(older) = &mut entry.older {
                while older.front().is_some_and(|first| *first < row_id) {
                    older.pop_front();
                }
                if older.is_empty() {
                    entry.older = None;
                }
            }
            entry.newest >= row_id
        });
    }

    /// All hashes with their row ids, newest first for each hash.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.entries.iter().flat_map(|entry| {
            let older = entry.older.iter().flat_map(|older| older.iter().rev().copied());
            std::iter::once(entry.newest).chain(older).map(|row_id| (entry.hash, row_id))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;
    use colonnade_types::ColumnId;

    fn index() -> TailKeys {
        let spec = KeySpec::of_columns(vec![(ColumnId(1), DataType::Int32)]);
        TailKeys { spec, entries: HashTable::new() }
    }

    #[test]
    fn versions_are_found_newest_first_and_dead_ones_leave() {
        let mut keys = index();
        for row_id in 0..10 {
            keys.insert(7, row_id, |_| false);
        }
        keys.insert(8, 10, |_| false);
        assert_eq!(keys.find(7).collect::<Vec<_>>(), (0..10).rev().collect::<Vec<_>>());
        keys.insert(7, 11, |row_id| row_id < 3);
        assert_eq!(keys.find(7).last(), Some(2));
        keys.insert(7, 12, |row_id| row_id < 3);
        assert_eq!(keys.find(7).last(), Some(3));
        keys.forget_before(9);
        assert_eq!(keys.find(7).collect::<Vec<_>>(), [12, 11, 9]);
        assert_eq!(keys.iter().count(), 4);
        keys.forget_before(11);
        assert_eq!((keys.find(8).count(), keys.find(7).count()), (0, 2));
    }
}
