//! Finding rows by key: what makes PRIMARY KEY and UNIQUE hold.
//!
//! Keys are found by a 64-bit hash of their encoded values and then compared for real. The tail has `TailKeys`, kept up with every append
//! under the table's latch. A segment has a key file (`segment_keys`, `key_file`), which is asked when a key is between the segment's least and greatest.
//!
//! **Invariant.** An index answers "maybe": what it finds counts only after the comparison of values, what it does not find is not there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, StringViewArray};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt32Type,
};
use colonnade_columnar::Level;
use colonnade_types::{
    ColumnDefinition, ColumnEncoder, ColumnId, DisplaySettings, Format, KeyConstraint, TableDefinition, TxnId,
};

use crate::codec::Encoder;
use crate::error::{ReadError, WriteError};
use crate::fill;
use crate::row_codec::{self, RowLayout, Rows};
use crate::segment::Segment;
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
    pub(crate) probe: Probe,
}

/// Version of the encoding and the hash of keys, which key files rely on: a change of either needs the next number here.
const HASH_VERSION: u8 = 1;

impl KeySpec {
    /// The columns of `key`.
    pub(crate) fn new(table: &TableDefinition, key: &KeyConstraint) -> Result<KeySpec, WriteError> {
        let columns: Option<Vec<_>> = key.columns.iter().map(|id| table.column_by_id(*id).cloned()).collect();
        let columns = columns.ok_or_else(|| WriteError::Mismatch(format!("key \"{}\" names no column", key.name)))?;
        let layout = RowLayout::new(columns.iter().map(|c| (c.id, c.sql_type.arrow_type())).collect())
            .map_err(|error| WriteError::Mismatch(error.to_string()))?;
        Ok(KeySpec { columns, layout, nulls_distinct: !key.nulls_not_distinct })
    }

    /// A key over columns of which only ids and types matter.
    #[cfg(test)]
    pub(crate) fn of_columns(columns: Vec<(ColumnId, DataType)>) -> KeySpec {
        KeySpec { columns: Vec::new(), layout: RowLayout::new(columns).unwrap(), nulls_distinct: true }
    }

    /// Whether an index made for `self` serves `other`.
    pub(crate) fn same(&self, other: &KeySpec) -> bool {
        self.layout == other.layout && self.nulls_distinct == other.nulls_distinct
    }

    /// What a key file made for `self` is known by: the columns with their types, whether NULLs are equal, what rows have that were stored before a column was
    /// added, and how keys are encoded and hashed.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut out = Encoder::new();
        out.u8(HASH_VERSION);
        out.bool(self.nulls_distinct);
        out.bytes(&self.layout.to_bytes());
        for column in &self.columns {
            out.option(column.missing.as_deref(), Encoder::str);
        }
        hash(&out.into_vec())
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
    pub(crate) fn segment_columns(&self, segment: &Segment, granule: usize) -> Result<Vec<ArrayRef>, ReadError> {
        let column = |definition: &ColumnDefinition| match segment.read(definition.id, granule)? {
            Some(values) => Ok(values),
            None => fill::repeat(&fill::missing_value(definition)?, segment.granule_rows(granule)),
        };
        self.columns.iter().map(column).collect()
    }

    /// The key of one row of a segment, encoded.
    pub(crate) fn segment_key(&self, segment: &Segment, offset: u32) -> Result<Vec<u8>, ReadError> {
        Ok(self.keys(&self.segment_row(segment, offset)?, 1)?.rows.row(0).to_vec())
    }

    /// Whether a row of a segment has the first key of `keys`.
    pub(crate) fn has_key(&self, segment: &Segment, offset: u32, keys: &Keys) -> Result<bool, ReadError> {
        // One integer needs no encoding to be compared.
        if let ([column], Probe::Integers(values)) = (self.columns.as_slice(), &keys.probe)
            && let Some(stored) = segment.row(offset, std::iter::once(column.id))?.pop().flatten()
            && let (Some([stored]), [Some(value)]) = (integers(&stored).as_deref(), values.as_slice())
        {
            return Ok(*stored == Some(*value));
        }
        Ok(self.segment_key(segment, offset)? == keys.rows.row(0))
    }

    /// The key's columns of one row of a segment.
    pub(crate) fn segment_row(&self, segment: &Segment, offset: u32) -> Result<Vec<ArrayRef>, ReadError> {
        let stored = segment.row(offset, self.layout.columns().iter().map(|(id, _)| *id))?;
        let value = |(stored, definition): (Option<ArrayRef>, &ColumnDefinition)| match stored {
            Some(value) => Ok(value),
            None => fill::missing_value(definition),
        };
        stored.into_iter().zip(&self.columns).map(value).collect()
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

/// The first key column's values as something with an order.
#[derive(Debug)]
pub(crate) enum Probe {
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
pub(crate) enum Bounds {
    Integers(i64, i64),
    Texts(Vec<u8>, Vec<u8>),
    Unknown,
}

impl Bounds {
    pub(crate) fn of(segment: &Segment, spec: &KeySpec) -> Result<Bounds, ReadError> {
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
    pub(crate) fn admit(&self, probe: &Probe, row: usize) -> bool {
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
    pub(crate) fn overlap(&self, other: &Bounds) -> bool {
        match (self, other) {
            (Bounds::Integers(min, max), Bounds::Integers(other_min, other_max)) => {
                min <= other_max && other_min <= max
            }
            (Bounds::Texts(min, max), Bounds::Texts(other_min, other_max)) => min <= other_max && other_min <= max,
            _ => true,
        }
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

    const HASHES: [u64; 3] = [5_706_795_948_885_657_404, 12_793_024_361_747_961_406, 13_716_546_393_125_833_043];

    #[test]
    fn hashes_of_neighbours_differ() {
        let mut seen = std::collections::HashSet::new();
        for i in 0..100_000u64 {
            assert!(seen.insert(hash(&i.to_le_bytes())));
        }
        assert_ne!(hash(&[0]), hash(&[0, 0]));
        // Key files hold hashes: they stay as they are, or HASH_VERSION changes.
        assert_eq!([hash(b""), hash(b"colonnade"), hash(b"eight by")], HASHES);
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
