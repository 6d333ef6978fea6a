//! Decoded dictionaries, shared by all readers: least recently used go first when their bytes exceed a limit.

use std::collections::HashMap;
use std::sync::Arc;

use colonnade_columnar::Dictionary;
use colonnade_types::SegmentId;
use parking_lot::Mutex;

#[derive(Debug)]
struct Entry {
    dictionary: Arc<Dictionary>,
    bytes: usize,
    used: u64,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<(SegmentId, u32), Entry>,
    bytes: usize,
    clock: u64,
}

/// The dictionaries.
#[derive(Debug)]
pub(crate) struct DictionaryCache {
    bytes_max: usize,
    state: Mutex<State>,
}

impl DictionaryCache {
    /// An empty cache for at most `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> DictionaryCache {
        DictionaryCache { bytes_max, state: Mutex::default() }
    }

    /// The dictionary of a column, if it is here.
    pub(crate) fn get(&self, segment: SegmentId, column: u32) -> Option<Arc<Dictionary>> {
        let mut state = self.state.lock();
        state.clock += 1;
        let clock = state.clock;
        let entry = state.entries.get_mut(&(segment, column))?;
        entry.used = clock;
        Some(Arc::clone(&entry.dictionary))
    }

    /// Keeps a dictionary; others may go for it.
    pub(crate) fn put(&self, segment: SegmentId, column: u32, dictionary: &Arc<Dictionary>, bytes: usize) {
        if bytes > self.bytes_max {
            return;
        }
        let mut state = self.state.lock();
        state.clock += 1;
        let entry = Entry { dictionary: Arc::clone(dictionary), bytes, used: state.clock };
        state.bytes += bytes;
        if let Some(old) = state.entries.insert((segment, column), entry) {
            state.bytes -= old.bytes;
        }
        while state.bytes > self.bytes_max {
            let oldest = state.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            let Some(old) = oldest.and_then(|key| state.entries.remove(&key)) else { break };
            state.bytes -= old.bytes;
        }
    }

    /// Forgets a segment's dictionaries.
    pub(crate) fn forget(&self, segment: SegmentId) {
        let mut state = self.state.lock();
        let mut freed = 0;
        state.entries.retain(|(of, _), entry| {
            let keep = *of != segment;
            freed += if keep { 0 } else { entry.bytes };
            keep
        });
        state.bytes -= freed;
    }
}
