//! Finding rows by key: what makes PRIMARY KEY and UNIQUE hold.
//!
//! Keys are found by a 64-bit hash of their encoded values and then compared for real. The tail has a hash table from hash to row ids, kept up with every append
//! under the table's latch. A segment has a sorted list of hashes with offsets, built when a key is first looked for between the segment's least and greatest,
//! and kept with the segment.
//!
//! **Invariants.** Every row of the tail that is alive, or may be again when a running transaction ends, is in each index of the tail (while the index exists). An index answers
//! "maybe": what it finds counts only after the comparison of values, what it does not find is not there.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, StringViewArray};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt32Type,
};
use colonnade_columnar::Level;
use colonnade_types::{
    ColumnDefinition, ColumnEncoder, ColumnId, DisplaySettings, Format, KeyConstraint, TableDefinition, TxnId,
};
use hashbrown::HashTable;

use crate::error::{ReadError, WriteError};
use crate::fill;
use crate::row_codec::{self, RowLayout, Rows};
use crate::segment::{GRANULE_ROWS, Segment};
use crate::stamp::{Stamp, StampState};
use crate::tail::Chunk;

/// A key's columns and how they compare.
#[derive(Clone, Debug)]
pub(crate) struct KeySpec {
    columns: Vec<ColumnDefinition>,
    layout: RowLayout,
    nulls_distinct: bool,
}

/// Keys of some rows.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The values, encoded so that equal keys have equal bytes.
    pub(crate) rows: Rows,
    /// Hash of each; `None` where a NULL makes the key equal to no other.
    pub(crate) hashes: Vec<Option<u64>>,
    /// Values of the first column, for comparison with bounds.
    probe: Probe,
}

impl KeySpec {
    /// The columns of `key`.
    pub(crate) fn new(table: &TableDefinition, key: &KeyConstraint) -> Result<KeySpec, WriteError> {
        let columns: Option<Vec<_>> = key.columns.iter().map(|id| table.column_by_id(*id).cloned()).collect();
        let columns = columns.ok_or_else(|| WriteError::Mismatch(format!("key \"{}\" names no column", key.name)))?;
        let layout = RowLayout::new(columns.iter().map(|c| (c.id, c.sql_type.arrow_type())).collect())
            .map_err(|error| WriteError::Mismatch(error.to_string()))?;
        Ok(KeySpec { columns, layout, nulls_distinct: !key.nulls_not_distinct })
    }

    /// Whether an index made for `self` serves `other`.
    pub(crate) fn same(&self, other: &KeySpec) -> bool {
        self.layout == other.layout && self.nulls_distinct == other.nulls_distinct
    }

    /// The columns' ids in the key's order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ColumnId> {
        self.columns.iter().map(|column| column.id)
    }

    /// Encodes and hashes the keys of rows, given the key's columns.
    pub(crate) fn keys(&self, arrays: &[ArrayRef], rows: usize) -> Result<Keys, ReadError> {
        let arrays: Vec<ArrayRef> = arrays.iter().map(normalise).collect();
        let encoded =
            row_codec::encode(&self.layout, &arrays, rows).map_err(|error| ReadError::Mismatch(error.to_string()))?;
        let hashes = (0..rows)
            .map(|row| {
                let distinct = self.nulls_distinct && arrays.iter().any(|array| array.is_null(row));
                (!distinct).then(|| hash(encoded.row(row)))
            })
            .collect();
        Ok(Keys { probe: Probe::of(&arrays[0]), rows: encoded, hashes })
    }

    /// The key's columns of rows `from..to` of a chunk.
    fn tail_columns(&self, chunk: &Chunk, from: usize, to: usize) -> Result<Vec<ArrayRef>, ReadError> {
        let column = |definition: &ColumnDefinition| match chunk.layout.index_of(definition.id) {
            Some(index) => chunk.column_range(index, from, to),
            None => fill::repeat(&fill::missing_value(definition)?, to - from),
        };
        self.columns.iter().map(column).collect()
    }

    /// The keys of rows `from..to` of a chunk.
    pub(crate) fn tail_keys(&self, chunk: &Chunk, from: usize, to: usize) -> Result<Keys, ReadError> {
        self.keys(&self.tail_columns(chunk, from, to)?, to - from)
    }

    /// The key's columns of a granule of a segment.
    fn segment_columns(&self, segment: &Segment, granule: usize) -> Result<Vec<ArrayRef>, ReadError> {
        let column = |definition: &ColumnDefinition| match segment.read(definition.id, granule)? {
            Some(values) => Ok(values),
            None => fill::repeat(&fill::missing_value(definition)?, segment.granule_rows(granule)),
        };
        self.columns.iter().map(column).collect()
    }

    /// The key of one row of a segment, encoded.
    fn segment_key(&self, segment: &Segment, offset: u32) -> Result<Vec<u8>, ReadError> {
        let (granule, index) = (offset as usize / GRANULE_ROWS, offset as usize % GRANULE_ROWS);
        let columns: Vec<_> = self.segment_columns(segment, granule)?.iter().map(|c| c.slice(index, 1)).collect();
        Ok(self.keys(&columns, 1)?.rows.row(0).to_vec())
    }
}

/// Says which constraint a key violates: `values` are the key's columns of the one row.
pub(crate) fn duplicate(table: &TableDefinition, key: &KeyConstraint, values: &[ArrayRef], row: usize) -> WriteError {
    let settings = DisplaySettings::default();
    let names = key.columns.iter().filter_map(|id| table.column_by_id(*id));
    let text = |(definition, values): (&ColumnDefinition, &ArrayRef)| {
        if values.is_null(row) {
            return "null".to_owned();
        }
        let mut out = Vec::new();
        if let Ok(encoder) = ColumnEncoder::new(&definition.sql_type, values, Format::Text, &settings) {
            encoder.write(row, &mut out);
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    WriteError::DuplicateKey {
        constraint: key.name.clone(),
        columns: names.clone().map(|column| column.name.clone()).collect(),
        values: names.zip(values).map(text).collect(),
    }
}

/// Makes equal values equal bytes: one zero and one NaN.
fn normalise(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let one = |x: f32| {
                if x == 0.0 {
                    0.0
                } else if x.is_nan() {
                    f32::NAN
                } else {
                    x
                }
            };
            Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(one)) as Arc<Float32Array>
        }
        DataType::Float64 => {
            let one = |x: f64| {
                if x == 0.0 {
                    0.0
                } else if x.is_nan() {
                    f64::NAN
                } else {
                    x
                }
            };
            Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(one)) as Arc<Float64Array>
        }
        _ => Arc::clone(array),
    }
}

/// A 64-bit hash of bytes: eight at a time, folded by a 128-bit product.
fn hash(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
    const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;
    let fold = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * u128::from(FACTOR);
        (product as u64) ^ ((product >> 64) as u64)
    };
    let mut state = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state = fold(state, u64::from_le_bytes(word)).wrapping_add(SEED);
    }
    let mut word = [0; 8];
    word[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    fold(fold(state, u64::from_le_bytes(word)), SEED)
}

/// What stands at a place where a key was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occupancy {
    /// Nothing, as far as transaction `me` is concerned.
    Free,
    /// Nothing, for ever.
    Dead,
    /// A row.
    Taken,
    /// A row, or none, depending on how this transaction ends.
    Unsure(TxnId),
}

impl Occupancy {
    /// Reads it from a row's stamps.
    pub(crate) fn of(created: Stamp, deleted: Stamp, me: TxnId) -> Occupancy {
        match created.state() {
            StampState::Aborted | StampState::Never => return Occupancy::Dead,
            StampState::Running(other, _) if other != me => return Occupancy::Unsure(other),
            StampState::Running(..) | StampState::Committed(_) | StampState::Locked(_) | StampState::Shared(_) => {}
        }
        match deleted.state() {
            StampState::Never | StampState::Aborted | StampState::Locked(_) | StampState::Shared(_) => Occupancy::Taken,
            StampState::Committed(_) => Occupancy::Dead,
            StampState::Running(other, _) if other == me => Occupancy::Free,
            StampState::Running(other, _) => Occupancy::Unsure(other),
        }
    }
}

/// The index of a tail for one key.
#[derive(Debug)]
pub(crate) struct TailKeys {
    pub(crate) spec: KeySpec,
    entries: HashTable<(u64, u64)>,
}

impl TailKeys {
    /// Indexes the rows of `chunks`.
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
                    index.insert(*hash, chunk.row_id(row));
                }
            }
        }
        Ok(index)
    }

    /// Adds a row.
    pub(crate) fn insert(&mut self, hash: u64, row_id: u64) {
        self.entries.insert_unique(hash, (hash, row_id), |(hash, _)| *hash);
    }

    /// Row ids whose key may have this hash.
    pub(crate) fn find(&self, hash: u64) -> impl Iterator<Item = u64> {
        self.entries.iter_hash(hash).filter(move |(own, _)| *own == hash).map(|(_, row_id)| *row_id)
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, hash: u64, row_id: u64) {
        if let Ok(entry) = self.entries.find_entry(hash, |entry| *entry == (hash, row_id)) {
            entry.remove();
        }
    }

    /// Takes out the rows before `row_id`.
    pub(crate) fn forget_before(&mut self, row_id: u64) {
        self.entries.retain(|(_, own)| *own >= row_id);
    }

    /// All hashes with their row ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.entries.iter().copied()
    }
}

/// The first key column's values as something with an order.
#[derive(Debug)]
enum Probe {
    Integers(Vec<Option<i64>>),
    Texts(StringViewArray),
    Unknown,
}

fn integers(array: &ArrayRef) -> Option<Vec<Option<i64>>> {
    macro_rules! widen {
        ($type:ty) => {
            array.as_primitive::<$type>().iter().map(|value| value.map(i64::from)).collect()
        };
    }
    Some(match array.data_type() {
        DataType::Int16 => widen!(Int16Type),
        DataType::Int32 => widen!(Int32Type),
        DataType::Int64 => widen!(Int64Type),
        DataType::UInt32 => widen!(UInt32Type),
        DataType::Date32 => widen!(Date32Type),
        DataType::Time64(TimeUnit::Microsecond) => widen!(Time64MicrosecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => widen!(TimestampMicrosecondType),
        _ => return None,
    })
}

impl Probe {
    fn of(array: &ArrayRef) -> Probe {
        match array.data_type() {
            DataType::Utf8View => Probe::Texts(array.as_string_view().clone()),
            _ => integers(array).map_or(Probe::Unknown, Probe::Integers),
        }
    }
}

/// Between which values of the first key column a segment's rows are.
#[derive(Debug, PartialEq, Eq)]
enum Bounds {
    Integers(i64, i64),
    Texts(Vec<u8>, Vec<u8>),
    Unknown,
}

impl Bounds {
    fn of(segment: &Segment, spec: &KeySpec) -> Result<Bounds, ReadError> {
        let Some(column) = segment.column(spec.columns[0].id)? else { return Ok(Bounds::Unknown) };
        let zone = column.zone_maps(Level::Segment).map_err(|error| segment.damaged(&error))?;
        // NULLs are outside the bounds but may be part of a key.
        if zone.min.len() != 1 || zone.min.is_null(0) || zone.max.is_null(0) || !spec.nulls_distinct {
            return Ok(Bounds::Unknown);
        }
        if zone.min.data_type() == &DataType::Utf8View {
            let bytes = |array: &ArrayRef| array.as_string_view().value(0).as_bytes().to_vec();
            return Ok(Bounds::Texts(bytes(&zone.min), bytes(&zone.max)));
        }
        Ok(match (integers(&zone.min).as_deref(), integers(&zone.max).as_deref()) {
            (Some([Some(min)]), Some([Some(max)])) => Bounds::Integers(*min, *max),
            _ => Bounds::Unknown,
        })
    }

    /// Whether a row of `probe` may be in the segment.
    fn admit(&self, probe: &Probe, row: usize) -> bool {
        match (self, probe) {
            (Bounds::Integers(min, max), Probe::Integers(values)) => {
                values[row].is_none_or(|v| (*min..=*max).contains(&v))
            }
            (Bounds::Texts(min, max), Probe::Texts(values)) => {
                values.is_null(row) || {
                    let value = values.value(row).as_bytes();
                    min.as_slice() <= value && value <= max.as_slice()
                }
            }
            _ => true,
        }
    }

    /// Whether two segments may have a key in common.
    fn overlap(&self, other: &Bounds) -> bool {
        match (self, other) {
            (Bounds::Integers(min, max), Bounds::Integers(other_min, other_max)) => {
                min <= other_max && other_min <= max
            }
            (Bounds::Texts(min, max), Bounds::Texts(other_min, other_max)) => min <= other_max && other_min <= max,
            _ => true,
        }
    }
}

/// Hashes of a segment's keys in ascending order, with the rows' offsets.
#[derive(Debug, Default)]
struct SortedHashes {
    hashes: Vec<u64>,
    offsets: Vec<u32>,
}

impl SortedHashes {
    fn build(segment: &Segment, spec: &KeySpec) -> Result<SortedHashes, ReadError> {
        let mut entries: Vec<(u64, u32)> = Vec::with_capacity(segment.rows());
        for granule in 0..segment.granules() {
            let keys = spec.keys(&spec.segment_columns(segment, granule)?, segment.granule_rows(granule))?;
            // A segment has at most 2^20 rows.
            let first = (granule * GRANULE_ROWS) as u32;
            entries.extend((first..).zip(&keys.hashes).filter_map(|(offset, hash)| Some(((*hash)?, offset))));
        }
        entries.sort_unstable();
        Ok(SortedHashes {
            hashes: entries.iter().map(|(hash, _)| *hash).collect(),
            offsets: entries.iter().map(|(_, offset)| *offset).collect(),
        })
    }

    fn find(&self, hash: u64) -> &[u32] {
        let start = self.hashes.partition_point(|own| *own < hash);
        let count = self.hashes[start..].iter().take_while(|own| **own == hash).count();
        &self.offsets[start..start + count]
    }
}

/// The index of a segment for one key.
#[derive(Debug)]
pub(crate) struct SegmentKeys {
    spec: KeySpec,
    bounds: Bounds,
    hashes: OnceLock<SortedHashes>,
}

impl SegmentKeys {
    /// The index of `segment` for `spec`; the expensive part of it is made when it is needed.
    pub(crate) fn of(segment: &Segment, spec: &KeySpec) -> Result<Arc<SegmentKeys>, ReadError> {
        let mut all = segment.keys.lock();
        if let Some(keys) = all.iter().find(|keys| keys.spec.same(spec)) {
            return Ok(Arc::clone(keys));
        }
        let keys =
            Arc::new(SegmentKeys { spec: spec.clone(), bounds: Bounds::of(segment, spec)?, hashes: OnceLock::new() });
        all.push(Arc::clone(&keys));
        Ok(keys)
    }

    /// Makes the expensive part now.
    pub(crate) fn warm(&self, segment: &Segment) -> Result<(), ReadError> {
        self.hashes(segment).map(|_| ())
    }

    fn hashes(&self, segment: &Segment) -> Result<&SortedHashes, ReadError> {
        match self.hashes.get() {
            Some(hashes) => Ok(hashes),
            None => {
                let hashes = SortedHashes::build(segment, &self.spec)?;
                Ok(self.hashes.get_or_init(|| hashes))
            }
        }
    }

    /// Looks for the key of `row` among `keys`: what stands where a row of the segment has it.
    pub(crate) fn probe(&self, segment: &Segment, keys: &Keys, row: usize, me: TxnId) -> Result<Occupancy, ReadError> {
        Ok(self.find(segment, keys, row, me)?.map_or(Occupancy::Free, |(_, occupancy)| occupancy))
    }

    /// Looks for the key of `row` among `keys`: the offset of the row of the segment that has it and is not free, and what stands there.
    pub(crate) fn find(
        &self,
        segment: &Segment,
        keys: &Keys,
        row: usize,
        me: TxnId,
    ) -> Result<Option<(u32, Occupancy)>, ReadError> {
        let Some(hash) = keys.hashes[row] else { return Ok(None) };
        if !self.bounds.admit(&keys.probe, row) {
            return Ok(None);
        }
        for offset in self.hashes(segment)?.find(hash) {
            let deleted = segment.deletes.read().stamp(*offset);
            match Occupancy::of(segment.created(), deleted, me) {
                Occupancy::Free | Occupancy::Dead => {}
                occupancy => {
                    if self.spec.segment_key(segment, *offset)? == keys.rows.row(row) {
                        return Ok(Some((*offset, occupancy)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Looks for two rows of one segment with the same key; returns the offset of the second.
    pub(crate) fn duplicate_within(&self, segment: &Segment) -> Result<Option<u32>, ReadError> {
        let sorted = self.hashes(segment)?;
        let mut start = 0;
        for end in 1..=sorted.hashes.len() {
            if end < sorted.hashes.len() && sorted.hashes[end] == sorted.hashes[start] {
                continue;
            }
            if end - start > 1 {
                let mut seen = Vec::with_capacity(end - start);
                for offset in &sorted.offsets[start..end] {
                    let key = self.spec.segment_key(segment, *offset)?;
                    if seen.contains(&key) {
                        return Ok(Some(*offset));
                    }
                    seen.push(key);
                }
            }
            start = end;
        }
        Ok(None)
    }

    /// Looks for rows of `segment`, a new one, whose key `other` holds too. Returns the offset in the new segment and what stands at the other.
    pub(crate) fn duplicate_between(
        &self,
        segment: &Segment,
        other: &Segment,
        me: TxnId,
    ) -> Result<Option<(u32, Occupancy)>, ReadError> {
        let theirs = SegmentKeys::of(other, &self.spec)?;
        if !self.bounds.overlap(&theirs.bounds) {
            return Ok(None);
        }
        let (own, theirs) = (self.hashes(segment)?, theirs.hashes(other)?);
        let (mut i, mut j) = (0, 0);
        while i < own.hashes.len() && j < theirs.hashes.len() {
            match own.hashes[i].cmp(&theirs.hashes[j]) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => {
                    for offset in theirs.find(own.hashes[i]) {
                        let deleted = other.deletes.read().stamp(*offset);
                        let occupancy = Occupancy::of(other.created(), deleted, me);
                        if matches!(occupancy, Occupancy::Taken | Occupancy::Unsure(_))
                            && self.spec.segment_key(segment, own.offsets[i])?
                                == self.spec.segment_key(other, *offset)?
                        {
                            return Ok(Some((own.offsets[i], occupancy)));
                        }
                    }
                    i += 1;
                }
            }
        }
        Ok(None)
    }

    /// Looks for the rows of a tail that have a key of this segment.
    pub(crate) fn duplicate_in_tail(
        &self,
        segment: &Segment,
        tail: &TailKeys,
        me: TxnId,
        chunk_of: impl Fn(u64) -> Option<(Arc<Chunk>, usize)>,
    ) -> Result<Option<(u32, Occupancy)>, ReadError> {
        let own = self.hashes(segment)?;
        for (hash, row_id) in tail.iter() {
            for offset in own.find(hash) {
                let Some((chunk, index)) = chunk_of(row_id) else { continue };
                let occupancy = Occupancy::of(chunk.created(index), chunk.deleted(index), me);
                if matches!(occupancy, Occupancy::Taken | Occupancy::Unsure(_))
                    && self.spec.segment_key(segment, *offset)?
                        == self.spec.tail_keys(&chunk, index, index + 1)?.rows.row(0)
                {
                    return Ok(Some((*offset, occupancy)));
                }
            }
        }
        Ok(None)
    }

    /// The key's columns of one row of the segment, for an error.
    pub(crate) fn values(&self, segment: &Segment, offset: u32) -> Result<Vec<ArrayRef>, ReadError> {
        let (granule, index) = (offset as usize / GRANULE_ROWS, offset as usize % GRANULE_ROWS);
        Ok(self.spec.segment_columns(segment, granule)?.iter().map(|column| column.slice(index, 1)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;
    use colonnade_types::Lsn;

    #[test]
    fn what_stands_at_a_place_follows_from_the_stamps() {
        let (me, other) = (TxnId(1), TxnId(2));
        let (mine, others, done) = (Stamp::running(me, 3), Stamp::running(other, 0), Stamp::committed(Lsn(9)));
        let cases = [
            (done, Stamp::NEVER, Occupancy::Taken),
            (done, mine, Occupancy::Free),
            (done, others, Occupancy::Unsure(other)),
            (done, done, Occupancy::Dead),
            (mine, Stamp::NEVER, Occupancy::Taken),
            (mine, mine, Occupancy::Free),
            (others, Stamp::NEVER, Occupancy::Unsure(other)),
            (others, others, Occupancy::Unsure(other)),
            (done, Stamp::locked(other, false), Occupancy::Taken),
            (mine, Stamp::shared(crate::stamp::ShareSet(7)), Occupancy::Taken),
            (Stamp::ABORTED, Stamp::NEVER, Occupancy::Dead),
        ];
        for (created, deleted, expected) in cases {
            assert_eq!(Occupancy::of(created, deleted, me), expected, "{created:?} {deleted:?}");
        }
    }

    #[test]
    fn hashes_of_neighbours_differ() {
        let mut seen = std::collections::HashSet::new();
        for i in 0..100_000u64 {
            assert!(seen.insert(hash(&i.to_le_bytes())));
        }
        assert_ne!(hash(&[0]), hash(&[0, 0]));
    }

    #[test]
    fn bounds_admit_what_is_between_and_what_is_unknown() {
        let probe = Probe::of(&(Arc::new(Int32Array::from(vec![Some(5), Some(11), None])) as ArrayRef));
        let bounds = Bounds::Integers(0, 10);
        assert_eq!([0, 1, 2].map(|row| bounds.admit(&probe, row)), [true, false, true]);
        assert!(Bounds::Unknown.admit(&probe, 1));
        assert!(!bounds.overlap(&Bounds::Integers(11, 12)));
        let text = Probe::of(&(Arc::new(StringViewArray::from(vec!["b", "d"])) as ArrayRef));
        let bounds = Bounds::Texts(b"a".to_vec(), b"c".to_vec());
        assert_eq!([0, 1].map(|row| bounds.admit(&text, row)), [true, false]);
    }
}
