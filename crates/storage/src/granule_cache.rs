//! Decoded granules, kept for reads of single rows whose encoding gives no way to one row.
//!
//! Sixteen shards, each with its part of the limit and a queue of its own. A granule that was used since it was last at the head of the queue goes to its end; one that
//! was not, goes (second chance). A scan does not come here: it would only wash the cache out.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef};
use colonnade_types::SegmentId;
use hashbrown::DefaultHashBuilder;
use parking_lot::Mutex;

const SHARDS: usize = 16;

/// A granule of a column of a segment.
pub(crate) type GranulePlace = (SegmentId, u32, u32);

#[derive(Debug)]
struct Entry {
    values: ArrayRef,
    bytes: usize,
    used: bool,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<GranulePlace, Entry>,
    /// Every entry once.
    queue: VecDeque<GranulePlace>,
    bytes: usize,
}

/// The granules.
#[derive(Debug)]
pub(crate) struct GranuleCache {
    /// Of a shard.
    bytes_max: usize,
    hasher: DefaultHashBuilder,
    shards: [Mutex<Shard>; SHARDS],
}

impl GranuleCache {
    /// An empty cache for at most `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> GranuleCache {
        let shards = std::array::from_fn(|_| Mutex::default());
        GranuleCache { bytes_max: bytes_max / SHARDS, hasher: DefaultHashBuilder::default(), shards }
    }

    fn shard(&self, place: &GranulePlace) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(place) as usize % SHARDS]
    }

    /// The values of a granule, if they are here.
    pub(crate) fn get(&self, place: &GranulePlace) -> Option<ArrayRef> {
        let mut shard = self.shard(place).lock();
        let entry = shard.entries.get_mut(place)?;
        entry.used = true;
        Some(ArrayRef::clone(&entry.values))
    }

    /// Keeps the values of a granule; others may go for it. Values that take more than a sixteenth of the limit are not kept.
    pub(crate) fn put(&self, place: GranulePlace, values: &ArrayRef) {
        let bytes = values.get_array_memory_size();
        if bytes > self.bytes_max {
            return;
        }
        let mut shard = self.shard(&place).lock();
        shard.bytes += bytes;
        let entry = Entry { values: ArrayRef::clone(values), bytes, used: false };
        match shard.entries.insert(place, entry) {
            Some(old) => shard.bytes -= old.bytes,
            None => shard.queue.push_back(place),
        }
        while shard.bytes > self.bytes_max {
            let Some(oldest) = shard.queue.pop_front() else { break };
            match shard.entries.get_mut(&oldest) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    shard.queue.push_back(oldest);
                }
                _ => {
                    let freed = shard.entries.remove(&oldest).map_or(0, |entry| entry.bytes);
                    shard.bytes -= freed;
                }
            }
        }
    }

    /// Forgets a segment's granules.
    pub(crate) fn forget(&self, segment: SegmentId) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            if shard.entries.is_empty() {
                continue;
            }
            let mut freed = 0;
            shard.entries.retain(|(of, _, _), entry| {
                let keep = *of != segment;
                freed += if keep { 0 } else { entry.bytes };
                keep
            });
            shard.bytes -= freed;
            shard.queue.retain(|(of, _, _)| *of != segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    fn granule(value: i64) -> ArrayRef {
        Arc::new(Int64Array::from(vec![value; 1_000]))
    }

    fn total(cache: &GranuleCache) -> (usize, usize) {
        let shards = cache.shards.iter().map(|shard| {
            let shard = shard.lock();
            assert_eq!(shard.queue.len(), shard.entries.len(), "the queue has every entry once");
            assert_eq!(shard.bytes, shard.entries.values().map(|entry| entry.bytes).sum::<usize>());
            assert!(shard.bytes <= cache.bytes_max);
            (shard.bytes, shard.entries.len())
        });
        shards.fold((0, 0), |(bytes, entries), shard| (bytes + shard.0, entries + shard.1))
    }

    #[test]
    fn the_limit_holds_and_what_is_used_stays() {
        let cache = GranuleCache::new(16 * 100_000);
        let favourite = (SegmentId(1), 1, 0);
        cache.put(favourite, &granule(-1));
        for i in 0..2_000 {
            cache.put((SegmentId(2), 1, i), &granule(i64::from(i)));
            assert!(cache.get(&favourite).is_some(), "after {i}");
            total(&cache);
        }
        let (bytes, entries) = total(&cache);
        assert!(bytes > 16 * 80_000 && entries > 100, "{bytes} bytes, {entries} entries");
        cache.put(favourite, &granule(-1));
        cache.forget(SegmentId(2));
        assert_eq!(total(&cache).1, 1);
        cache.forget(SegmentId(1));
        assert_eq!(total(&cache), (0, 0));
    }

    #[test]
    fn nothing_is_kept_without_room() {
        let cache = GranuleCache::new(0);
        cache.put((SegmentId(1), 1, 0), &granule(0));
        assert!(cache.get(&(SegmentId(1), 1, 0)).is_none());
    }
}
