//! The keys of one segment: its key file, and the comparison of what the file finds with the segment's rows.
//!
//! ```text
//! flush, load, ALTER TABLE ADD KEY    write_all / write     hashes of all rows, sorted; the file synced before a record names the segment
//! first look-up                       load                  mapped, checked against its checksums once; made anew if it is not as it must be
//! every look-up                       probe                 bounds, filter, bucket; single rows of the segment are read and compared
//! ```
//!
//! **Invariants.** Only a file whose every bit has been verified answers. Nobody who holds a table's latch waits for a file to be read or made: what is not [loaded](SegmentKeys::load)
//! gives no answer, and is loaded after the latch was let go.

use std::sync::{Arc, OnceLock};

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use colonnade_types::{TableDefinition, TxnId};
use parking_lot::Mutex;

use crate::disk::{Disk, DiskError};
use crate::error::ReadError;
use crate::key_file::{self, KeyFile, KeyFileId, key_file_path};
use crate::key_index::{Bounds, KeySpec, Keys, Occupancy};
use crate::segment::{GRANULE_ROWS, SEGMENT_DIR, Segment};
use crate::segment_file::SegmentFileError;
use crate::stamp::View;
use crate::tail::Chunk;
use crate::tail_keys::TailKeys;

/// The keys of a segment for one key constraint.
#[derive(Debug)]
pub(crate) struct SegmentKeys {
    spec: KeySpec,
    fingerprint: u64,
    bounds: Bounds,
    file: OnceLock<KeyFile>,
    /// Held by whoever loads or makes the file.
    loading: Mutex<()>,
}

/// What a look-up finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// The keys have to be loaded first.
    Unready,
    /// No row that has the key and is not free.
    Nothing,
    /// The offset of such a row, and what stands there.
    Row(u32, Occupancy),
}

/// Writes and syncs the key files of a new segment, names included, one for each key of `table`; nothing if it has none. To be called before the record that adds
/// the segment is logged. After an error the segment is of no use: mark it obsolete, and its files go.
pub(crate) fn write_all(table: &TableDefinition, segment: &Segment) -> Result<(), SegmentFileError> {
    for key in &table.keys {
        let spec = KeySpec::new(table, key).map_err(|error| SegmentFileError::Rows(error.to_string()))?;
        SegmentKeys::of(segment, &spec)?.write(segment)?;
    }
    if !table.keys.is_empty() {
        segment.disk().sync_dir(SEGMENT_DIR)?;
    }
    Ok(())
}

/// Writes and syncs the key files of segments that get another key, names included.
pub(crate) fn write_key(spec: &KeySpec, segments: &[Arc<Segment>]) -> Result<(), SegmentFileError> {
    for segment in segments {
        SegmentKeys::of(segment, spec)?.write(segment)?;
    }
    if let Some(segment) = segments.first() {
        segment.disk().sync_dir(SEGMENT_DIR)?;
    }
    Ok(())
}

/// Loads the key files of the segments that may hold one of `keys`. The caller holds no latch.
pub(crate) fn load_admitting(segments: &[Arc<Segment>], spec: &KeySpec, keys: &Keys) -> Result<(), ReadError> {
    for segment in segments {
        let own = SegmentKeys::of(segment, spec)?;
        if own.admit_any(keys) {
            own.load(segment)?;
        }
    }
    Ok(())
}

impl SegmentKeys {
    /// The keys of `segment` for `spec`. Reads the segment's bounds at most.
    pub(crate) fn of(segment: &Segment, spec: &KeySpec) -> Result<Arc<SegmentKeys>, ReadError> {
        let mut all = segment.keys.lock();
        if let Some(keys) = all.iter().find(|keys| keys.spec.same(spec)) {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(SegmentKeys {
            spec: spec.clone(),
            fingerprint: spec.fingerprint(),
            bounds: Bounds::of(segment, spec)?,
            file: OnceLock::new(),
            loading: Mutex::new(()),
        });
        all.push(Arc::clone(&keys));
        Ok(keys)
    }

    /// Whether some of `keys` may be in the segment, as far as its bounds tell.
    fn admit_any(&self, keys: &Keys) -> bool {
        (0..keys.hashes.len()).any(|row| keys.hashes[row].is_some() && self.bounds.admit(&keys.probe, row))
    }

    /// Makes look-ups possible: maps the key file, and makes it anew if it is missing or not as it was written.
    pub(crate) fn load(&self, segment: &Segment) -> Result<&KeyFile, ReadError> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let _one = self.loading.lock();
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = match self.open(segment) {
            Ok(file) => file,
            Err(reason) => self.rebuild(segment, &reason)?,
        };
        Ok(self.file.get_or_init(|| file))
    }

    /// Writes the key file, synced but for its name, and loads it; nothing if it is loaded.
    pub(crate) fn write(&self, segment: &Segment) -> Result<(), SegmentFileError> {
        let _one = self.loading.lock();
        if self.file.get().is_some() {
            return Ok(());
        }
        write_file(segment.disk(), &self.path(segment), &self.build(segment)?)?;
        let file = self.open(segment).map_err(SegmentFileError::Rows)?;
        self.file.get_or_init(|| file);
        Ok(())
    }

    fn path(&self, segment: &Segment) -> String {
        key_file_path(segment.info.id, self.fingerprint)
    }

    fn id(&self, segment: &Segment) -> KeyFileId {
        KeyFileId {
            segment: segment.info.id,
            segment_checksum: segment.info.checksum,
            segment_rows: segment.info.rows,
            fingerprint: self.fingerprint,
        }
    }

    /// The file as it is on disk, or what is wrong with it.
    fn open(&self, segment: &Segment) -> Result<KeyFile, String> {
        let bytes = segment.disk().map(&self.path(segment)).map_err(|error| error.to_string())?;
        KeyFile::open(bytes, &self.id(segment)).map_err(|error| error.to_string())
    }

    /// Makes the file again. Where it cannot be written it is kept in memory, until the next start.
    fn rebuild(&self, segment: &Segment, reason: &str) -> Result<KeyFile, ReadError> {
        let path = self.path(segment);
        tracing::warn!(file = path, reason, "making a key file anew from its segment");
        let bytes = self.build(segment)?;
        let written = write_file(segment.disk(), &path, &bytes)
            .and_then(|()| segment.disk().sync_dir(SEGMENT_DIR))
            .map_err(|error| error.to_string())
            .and_then(|()| self.open(segment));
        written.or_else(|error| {
            tracing::warn!(file = path, error, "a key file stays in memory, as it could not be written");
            KeyFile::open(Buffer::from_vec(bytes), &self.id(segment))
                .map_err(|error| ReadError::Mismatch(format!("{path}: {error}")))
        })
    }

    fn build(&self, segment: &Segment) -> Result<Vec<u8>, ReadError> {
        let mut hashes: Vec<(u64, u32)> = Vec::with_capacity(segment.rows());
        for granule in 0..segment.granules() {
            let columns = self.spec.segment_columns(segment, granule)?;
            let keys = self.spec.keys(&columns, segment.granule_rows(granule))?;
            // A segment has at most 2^20 rows.
            let first = (granule * GRANULE_ROWS) as u32;
            hashes.extend((first..).zip(&keys.hashes).filter_map(|(offset, hash)| Some(((*hash)?, offset))));
        }
        Ok(key_file::build(&self.id(segment), hashes))
    }

    /// Looks for the key of `row` among `keys`: what stands at the first row of the segment that has it and is not free. `None` if the keys have to be
    /// [loaded](Self::load) first.
    pub(crate) fn probe(
        &self,
        segment: &Segment,
        keys: &Keys,
        row: usize,
        me: TxnId,
    ) -> Result<Option<Occupancy>, ReadError> {
        Ok(match self.find(segment, keys, row, me)? {
            Probed::Unready => None,
            Probed::Nothing => Some(Occupancy::Free),
            Probed::Row(_, occupancy) => Some(occupancy),
        })
    }

    /// Looks as [`probe`](Self::probe) does, and says which row it is.
    pub(crate) fn find(&self, segment: &Segment, keys: &Keys, row: usize, me: TxnId) -> Result<Probed, ReadError> {
        let Some(hash) = keys.hashes[row] else { return Ok(Probed::Nothing) };
        if !self.bounds.admit(&keys.probe, row) {
            return Ok(Probed::Nothing);
        }
        let Some(file) = self.file.get() else { return Ok(Probed::Unready) };
        for offset in file.find(hash) {
            let deleted = segment.deletes.read().stamp(offset);
            match Occupancy::of(segment.created(), deleted, me) {
                Occupancy::Free | Occupancy::Dead => {}
                occupancy => {
                    if self.spec.segment_key(segment, offset)? == keys.rows.row(row) {
                        return Ok(Probed::Row(offset, occupancy));
                    }
                }
            }
        }
        Ok(Probed::Nothing)
    }

    /// Looks for the one key of `keys`: the offset of the row that has it and that `view` sees. Loads the file.
    pub(crate) fn find_visible(&self, segment: &Segment, keys: &Keys, view: &View) -> Result<Option<u32>, ReadError> {
        let Some(hash) = keys.hashes[0] else { return Ok(None) };
        if !self.bounds.admit(&keys.probe, 0) {
            return Ok(None);
        }
        for offset in self.load(segment)?.find(hash) {
            let deleted = segment.deletes.read().stamp(offset);
            if !view.sees(deleted) && self.spec.has_key(segment, offset, keys)? && segment.sees_created(offset, view)? {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }

    /// Looks for two rows of one segment with the same key; returns the offset of the second. Loads the file.
    pub(crate) fn duplicate_within(&self, segment: &Segment) -> Result<Option<u32>, ReadError> {
        let mut entries = self.load(segment)?.iter().peekable();
        let mut same = Vec::new();
        while let Some((prefix, offset)) = entries.next() {
            same.clear();
            same.push(offset);
            while let Some((_, offset)) = entries.next_if(|(other, _)| *other == prefix) {
                same.push(offset);
            }
            if same.len() > 1 {
                let mut seen = hashbrown::HashSet::with_capacity(same.len());
                for offset in &same {
                    if !seen.insert(self.spec.segment_key(segment, *offset)?) {
                        return Ok(Some(*offset));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Looks for rows of `segment`, a new one, whose key `other` holds too. Returns the offset in the new segment and what stands at the other. Loads the files of both.
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
        let (own, theirs) = (self.load(segment)?, theirs.load(other)?);
        let known = own.known_bits();
        for (prefix, offset) in own.iter() {
            for met in theirs.find_prefix(prefix, known) {
                let deleted = other.deletes.read().stamp(met);
                let occupancy = Occupancy::of(other.created(), deleted, me);
                if matches!(occupancy, Occupancy::Taken | Occupancy::Unsure(_))
                    && self.spec.segment_key(segment, offset)? == self.spec.segment_key(other, met)?
                {
                    return Ok(Some((offset, occupancy)));
                }
            }
        }
        Ok(None)
    }

    /// Looks for the rows of a tail that have a key of this segment. Loads the file.
    pub(crate) fn duplicate_in_tail(
        &self,
        segment: &Segment,
        tail: &TailKeys,
        me: TxnId,
        chunk_of: impl Fn(u64) -> Option<(Arc<Chunk>, usize)>,
    ) -> Result<Option<(u32, Occupancy)>, ReadError> {
        let own = self.load(segment)?;
        for (hash, row_id) in tail.iter() {
            for offset in own.find(hash) {
                let Some((chunk, index)) = chunk_of(row_id) else { continue };
                let occupancy = Occupancy::of(chunk.created(index), chunk.deleted(index), me);
                if matches!(occupancy, Occupancy::Taken | Occupancy::Unsure(_))
                    && self.spec.segment_key(segment, offset)?
                        == self.spec.tail_keys(&chunk, index, index + 1)?.rows.row(0)
                {
                    return Ok(Some((offset, occupancy)));
                }
            }
        }
        Ok(None)
    }

    /// The key's columns of one row of the segment, for an error.
    pub(crate) fn values(&self, segment: &Segment, offset: u32) -> Result<Vec<ArrayRef>, ReadError> {
        self.spec.segment_row(segment, offset)
    }
}

impl From<ReadError> for SegmentFileError {
    fn from(error: ReadError) -> SegmentFileError {
        SegmentFileError::Read(error)
    }
}

/// Writes a file whole and syncs it, in the place of whatever has that name.
fn write_file(disk: &dyn Disk, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
    if disk.exists(path)? {
        disk.remove(path)?;
    }
    let file = disk.create(path)?;
    let written = file.write_all_at(0, bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        // If it stays, its checksum tells.
        let _ = disk.remove(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow::array::{AsArray, BooleanArray, Float64Array, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::Int64Type;
    use colonnade_columnar::WriteOptions;
    use colonnade_types::{
        ColumnDefinition, ColumnId, KeyConstraint, Lsn, Oid, SegmentId, SqlType, StorageId, TableDefinition,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::deletes::Deletes;
    use crate::disk::FileDisk;
    use crate::manifest::CreatedLsn;
    use crate::options::StorageOptions;
    use crate::segment::{LSN_COLUMN, SegmentStore};
    use crate::segment_file;
    use crate::stamp::Stamp;

    fn store(dir: &tempfile::TempDir) -> Arc<SegmentStore> {
        let disk = Arc::new(FileDisk::open(dir.path()).unwrap());
        disk.create_dir(SEGMENT_DIR).unwrap();
        Arc::new(SegmentStore::new(disk, &StorageOptions::default()))
    }

    /// A segment with columns 1, 2, ... and, where there is one more array than `columns`, commit LSNs.
    fn segment(store: &Arc<SegmentStore>, id: u64, arrays: Vec<ArrayRef>, with_lsns: bool) -> Arc<Segment> {
        let count = arrays.len() as u32;
        let ids = (1..=count).map(|id| if with_lsns && id == count { LSN_COLUMN } else { ColumnId(id) });
        let specs = segment_file::specs(ids.zip(arrays.iter().map(|array| array.data_type().clone())));
        let created = if with_lsns { CreatedLsn::Column(Lsn(99)) } else { CreatedLsn::Constant(Lsn(7)) };
        let batch = segment_file::batch(arrays).unwrap();
        let options = WriteOptions { threads: 1, ..WriteOptions::default() };
        let entry =
            segment_file::write(store.disk.as_ref(), SegmentId(id), &specs, &[batch], &options, created).unwrap();
        Arc::new(Segment::new(Arc::clone(store), entry, Stamp::committed(Lsn(7)), Deletes::default()))
    }

    fn table(nulls_not_distinct: bool) -> TableDefinition {
        let column = |id, sql_type| ColumnDefinition {
            id: ColumnId(id),
            name: format!("c{id}"),
            sql_type,
            not_null: false,
            default: None,
            identity: None,
            missing: (id == 3).then(|| "5".to_owned()),
        };
        let key = KeyConstraint {
            oid: Oid(2),
            index: Oid(3),
            name: "key".to_owned(),
            columns: vec![ColumnId(2), ColumnId(1), ColumnId(3)],
            primary: false,
            nulls_not_distinct,
        };
        TableDefinition {
            oid: Oid(1),
            schema: Oid::PUBLIC,
            name: "t".to_owned(),
            owner: "colonnade".to_owned(),
            // Segments of the tests were written before the third was added.
            columns: vec![column(1, SqlType::BigInt), column(2, SqlType::Text), column(3, SqlType::Integer)],
            next_column: ColumnId(4),
            checks: Vec::new(),
            keys: vec![key],
            sort_key: Vec::new(),
            storage: StorageId(1),
        }
    }

    #[test]
    fn single_rows_are_those_of_the_granule() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let rows = 20_000_i64;
        let words = (0..rows).map(|row| format!("http://example.com/{:x}", row.wrapping_mul(0x5851_f42d_4c95_7f2d)));
        let lists = (0..rows).map(|row| (row % 7 > 0).then(|| vec![Some(row), None]));
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter((0..rows).map(|row| (row % 5 > 0).then_some(row * 7_919 % 100_003)))),
            Arc::new(StringViewArray::from_iter_values(words)),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
            Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64 / 8.0))),
            Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 3 == 0)))),
            Arc::new(Int64Array::from_iter_values((0..rows).map(|row| 1_000 + row / 100 * 48))),
        ];
        let segment = segment(&store, 1, arrays.clone(), true);
        for offset in (0..rows as u32).step_by(97) {
            let found = segment.row(offset, (1..=6).map(ColumnId)).unwrap();
            for (column, array) in arrays[..5].iter().enumerate() {
                let expected = array.slice(offset as usize, 1);
                assert_eq!(found[column].as_ref(), Some(&expected), "column {column}, row {offset}");
            }
            assert_eq!(found[5], None, "a column that the rows were stored without");
            let lsn = arrays[5].as_primitive::<Int64Type>().value(offset as usize);
            assert_eq!(segment.created_lsn(offset).unwrap(), Lsn(lsn.cast_unsigned()));
        }
        assert!(segment.row(rows as u32, [ColumnId(1)].into_iter()).is_err(), "one row too far");
    }

    #[test]
    fn a_bad_key_file_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let arrays: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from_iter_values(0..9)), Arc::new(StringViewArray::from(vec!["x"; 9]))];
        let first = segment(&store, 1, arrays, false);
        let table = table(false);
        write_all(&table, &first).unwrap();
        let spec = KeySpec::new(&table, &table.keys[0]).unwrap();
        let path = key_file_path(SegmentId(1), spec.fingerprint());
        let good = store.disk.read(&path).unwrap();
        let probe: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from(vec!["x"; 10])),
            Arc::new(Int64Array::from_iter_values(0..10)),
            Arc::new(arrow::array::Int32Array::from(vec![5; 10])),
        ];
        let probe = spec.keys(&probe, 10).unwrap();
        let flipped = (0..good.len() * 8).map(|bit| {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            bad
        });
        let cut = (0..good.len()).map(|len| good[..len].to_vec());
        let mut made = 0;
        for bad in flipped.chain(cut) {
            std::fs::write(dir.path().join(&path), bad).unwrap();
            let again =
                Arc::new(Segment::new(Arc::clone(&store), first.info.clone(), first.created(), Deletes::default()));
            let keys = SegmentKeys::of(&again, &spec).unwrap();
            assert_eq!(keys.probe(&again, &probe, 0, TxnId(1)).unwrap(), None, "nothing is read by a look-up");
            load_admitting(&[Arc::clone(&again)], &spec, &probe).unwrap();
            for row in 0..10 {
                let expected = if row < 9 { Occupancy::Taken } else { Occupancy::Free };
                assert_eq!(keys.probe(&again, &probe, row, TxnId(1)).unwrap(), Some(expected), "row {row}");
            }
            assert_eq!(store.disk.read(&path).unwrap(), good);
            made += 1;
        }
        assert_eq!(made, good.len() * 9);
        store.disk.remove(&path).unwrap();
        let again = Arc::new(Segment::new(Arc::clone(&store), first.info.clone(), first.created(), Deletes::default()));
        SegmentKeys::of(&again, &spec).unwrap().load(&again).unwrap();
        assert_eq!(store.disk.read(&path).unwrap(), good);
    }

    #[test]
    fn a_view_finds_the_version_that_it_sees() {
        let dir = tempfile::tempdir().unwrap();
        let (store, table) = (store(&dir), table(false));
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2, 1, 1])),
            Arc::new(StringViewArray::from(vec!["x"; 4])),
            Arc::new(Int64Array::from(vec![10, 15, 20, 30])),
        ];
        let segment = segment(&store, 1, arrays, true);
        // A flush's segment is published when all its rows are visible.
        segment.set_created(Stamp::committed(Lsn(30)));
        segment.deletes.write().put(0, Stamp::committed(Lsn(20)));
        segment.deletes.write().put(2, Stamp::committed(Lsn(30)));
        let spec = KeySpec::new(&table, &table.keys[0]).unwrap();
        let key = |id: i64| {
            let values: Vec<ArrayRef> = vec![
                Arc::new(StringViewArray::from(vec!["x"])),
                Arc::new(Int64Array::from(vec![id])),
                Arc::new(arrow::array::Int32Array::from(vec![5])),
            ];
            spec.keys(&values, 1).unwrap()
        };
        let keys = SegmentKeys::of(&segment, &spec).unwrap();
        for (lsn, expected) in [(9, None), (10, Some(0)), (19, Some(0)), (20, Some(2)), (29, Some(2)), (30, Some(3))] {
            assert_eq!(keys.find_visible(&segment, &key(1), &View::committed(Lsn(lsn))).unwrap(), expected, "at {lsn}");
        }
        assert_eq!(keys.find_visible(&segment, &key(2), &View::committed(Lsn(30))).unwrap(), Some(1));
        assert_eq!(keys.find_visible(&segment, &key(3), &View::committed(Lsn(30))).unwrap(), None);
    }

    type Row = (Option<i64>, Option<u8>);

    fn arrays(rows: &[Row]) -> Vec<ArrayRef> {
        let text = |value: &Option<u8>| value.map(|value| format!("text {value}"));
        vec![
            Arc::new(rows.iter().map(|(number, _)| *number).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|(_, value)| text(value)).collect::<StringViewArray>()),
        ]
    }

    fn row() -> impl Strategy<Value = Row> {
        (proptest::option::weighted(0.9, 0..40_i64), proptest::option::weighted(0.9, 0..6_u8))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against sets of rows: what is there is found, what is deleted or has a NULL is not, in one segment and between two.
        #[test]
        fn keys_are_found_as_in_a_set(
            rows in proptest::collection::vec((row(), any::<bool>()), 1..150),
            others in proptest::collection::vec(row(), 1..20),
            probes in proptest::collection::vec(row(), 1..60),
            same in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (store, table) = (store(&dir), table(same));
            let spec = KeySpec::new(&table, &table.keys[0]).unwrap();
            let counts = |row: &Row| same || (row.0.is_some() && row.1.is_some());
            let all: Vec<Row> = rows.iter().map(|(row, _)| *row).collect();
            let own = segment(&store, 1, arrays(&all), false);
            let other = segment(&store, 2, arrays(&others), false);
            write_all(&table, &own).unwrap();
            for (offset, (_, deleted)) in (0..).zip(&rows) {
                if *deleted {
                    own.deletes.write().put(offset, Stamp::committed(Lsn(9)));
                }
            }
            let live: HashSet<Row> =
                rows.iter().filter(|(row, deleted)| !deleted && counts(row)).map(|(row, _)| *row).collect();
            let mut columns = arrays(&probes);
            columns.reverse();
            columns.push(Arc::new(arrow::array::Int32Array::from(vec![5; probes.len()])));
            let probe_keys = spec.keys(&columns, probes.len()).unwrap();
            let keys = SegmentKeys::of(&own, &spec).unwrap();
            for (index, probe) in probes.iter().enumerate() {
                let expected = if live.contains(probe) { Occupancy::Taken } else { Occupancy::Free };
                prop_assert_eq!(keys.probe(&own, &probe_keys, index, TxnId(1)).unwrap(), Some(expected));
            }
            let distinct: HashSet<&Row> = all.iter().filter(|row| counts(row)).collect();
            let twice = distinct.len() < all.iter().filter(|row| counts(row)).count();
            prop_assert_eq!(keys.duplicate_within(&own).unwrap().is_some(), twice);
            let met = SegmentKeys::of(&other, &spec).unwrap().duplicate_between(&other, &own, TxnId(1)).unwrap();
            prop_assert_eq!(met.is_some(), others.iter().any(|row| live.contains(row)));
            if let Some((offset, occupancy)) = met {
                prop_assert!(live.contains(&others[offset as usize]));
                prop_assert_eq!(occupancy, Occupancy::Taken);
            }
        }
    }
}
