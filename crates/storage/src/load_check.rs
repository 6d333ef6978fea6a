//! What a load's segments are checked for before others see them: no key twice, among themselves and with everything else.

use std::sync::Arc;

use colonnade_types::{TableDefinition, TxnId};

use crate::error::{ReadError, WriteError};
use crate::key_index::{self, KeySpec, Occupancy};
use crate::segment::Segment;
use crate::segment_keys::SegmentKeys;
use crate::stamp::Stamp;
use crate::tail::Chunk;
use crate::tail_keys::TailKeys;

/// The segments of a load, and the keys they must not violate.
pub(crate) struct LoadCheck<'a> {
    table: &'a TableDefinition,
    specs: Vec<KeySpec>,
    segments: &'a [Arc<Segment>],
    me: TxnId,
}

/// A row of a load's segment and what stands at another row with its key.
type Met = Option<(u32, Occupancy)>;

impl<'a> LoadCheck<'a> {
    /// Checks `segments`, which transaction `me` has made.
    pub(crate) fn new(
        table: &'a TableDefinition,
        segments: &'a [Arc<Segment>],
        me: TxnId,
    ) -> Result<LoadCheck<'a>, WriteError> {
        let specs = table.keys.iter().map(|key| KeySpec::new(table, key)).collect::<Result<_, _>>()?;
        Ok(LoadCheck { table, specs, segments, me })
    }

    /// The keys, in the table's order.
    pub(crate) fn specs(&self) -> &[KeySpec] {
        &self.specs
    }

    /// Checks the rows against each other.
    pub(crate) fn against_itself(&self) -> Result<(), WriteError> {
        self.check(|_, position, keys| {
            let segment = &self.segments[position];
            if let Some(offset) = keys.duplicate_within(segment)? {
                return Ok(Some((offset, Occupancy::Taken)));
            }
            self.first_met(segment, keys, &self.segments[..position])
        })
    }

    /// Checks the rows against those of other segments. Holds for as long as this transaction undoes nothing: what is dead stays so, what this transaction has
    /// deleted too, and what depends on another transaction is [`WriteError::Blocked`].
    pub(crate) fn against(&self, others: &[Arc<Segment>]) -> Result<(), WriteError> {
        self.check(|_, position, keys| self.first_met(&self.segments[position], keys, others))
    }

    /// Checks the rows against a tail, whose latch the caller holds. `index` gives the index of a key by its position.
    pub(crate) fn against_tail<'t>(
        &self,
        index: impl Fn(usize) -> &'t TailKeys,
        chunk_of: impl Fn(u64) -> Option<(Arc<Chunk>, usize)>,
    ) -> Result<(), WriteError> {
        self.check(|key, position, keys| {
            keys.duplicate_in_tail(&self.segments[position], index(key), self.me, &chunk_of)
        })
    }

    fn first_met(&self, segment: &Segment, keys: &SegmentKeys, others: &[Arc<Segment>]) -> Result<Met, ReadError> {
        for other in others.iter().filter(|other| other.created() != Stamp::ABORTED) {
            if let Some(met) = keys.duplicate_between(segment, other, self.me)? {
                return Ok(Some(met));
            }
        }
        Ok(None)
    }

    /// Calls `find` for every key and segment; what it finds is the error.
    fn check(&self, find: impl Fn(usize, usize, &SegmentKeys) -> Result<Met, ReadError>) -> Result<(), WriteError> {
        for (key, spec) in self.specs.iter().enumerate() {
            for (position, segment) in self.segments.iter().enumerate() {
                let keys = SegmentKeys::of(segment, spec)?;
                match find(key, position, &keys)? {
                    None => {}
                    Some((_, Occupancy::Unsure(other))) => return Err(WriteError::Blocked(other)),
                    Some((offset, _)) => {
                        let values = keys.values(segment, offset)?;
                        return Err(key_index::duplicate(self.table, &self.table.keys[key], &values, 0));
                    }
                }
            }
        }
        Ok(())
    }
}
