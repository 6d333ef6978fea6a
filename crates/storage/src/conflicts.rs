//! What stands in the way of new rows, among the newest versions: what `INSERT ... ON CONFLICT` is made of.
//!
//! A snapshot does not know: keys have to hold among all that is committed, and what a snapshot does not see yet is there already. So rows are looked up as they stand
//! now, and named by where they are ([`FoundRow`]) instead of by an address in some snapshot. What is found may change at once; it stays as it was found
//! only after [`Transaction::lock_found_rows`] has locked it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef};
use arrow::record_batch::RecordBatch;
use colonnade_types::{TableDefinition, TxnId};

use crate::error::{ReadError, WriteError};
use crate::key_index::{KeySpec, Keys, Occupancy};
use crate::located::Located;
use crate::row_locks::{Claim, Claimed, LockedBy, RowLockMode};
use crate::segment::Segment;
use crate::segment_keys::{self, Probed, SegmentKeys};
use crate::snapshot::Snapshot;
use crate::stamp::Stamp;
use crate::table::{Latched, RowPlace, TableData};
use crate::tail_keys::TailKeys;
use crate::transaction::Transaction;

/// What is in the way of a new row.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// What there is in the table.
    pub with: Obstacle,
    /// An earlier row of the same call has the same key.
    pub repeated: bool,
}

/// What there is in the table.
#[derive(Clone, Debug)]
pub enum Obstacle {
    /// Nothing.
    None,
    /// A row, committed or the transaction's own.
    Row(FoundRow),
    /// A row or none, depending on how this transaction ends.
    Transaction(TxnId),
}

/// A row version, by its place. Valid as long as it is kept.
#[derive(Clone, Debug)]
pub struct FoundRow {
    place: RowPlace,
    created: Stamp,
}

impl FoundRow {
    fn new(place: RowPlace) -> FoundRow {
        let created = place.located().created();
        FoundRow { place, created }
    }

    fn located(&self) -> Located<'_> {
        self.place.located()
    }

    /// Whether `snapshot` sees the row. One that was found and is not seen was committed after the snapshot, or made by the command that looks.
    #[must_use]
    pub fn is_seen_by(&self, snapshot: &Snapshot) -> bool {
        snapshot.view().sees(self.located().created())
    }
}

impl TableData {
    /// Looks for the rows that have a key of new rows. `keys` are places among the table's keys, in which order they are tried.
    fn conflicts(
        &self,
        table: &TableDefinition,
        keys: &[usize],
        rows: &RecordBatch,
        me: TxnId,
    ) -> Result<Vec<Conflict>, WriteError> {
        let specs: Vec<KeySpec> = table.keys.iter().map(|key| KeySpec::new(table, key)).collect::<Result<_, _>>()?;
        let mut wanted = Vec::with_capacity(keys.len());
        for key in keys {
            let columns: Option<Vec<ArrayRef>> = specs[*key]
                .ids()
                .map(|id| table.column_index(id).map(|index| Arc::clone(rows.column(index))))
                .collect();
            let columns = columns.ok_or_else(|| WriteError::Mismatch("key column".to_owned()))?;
            wanted.push((*key, specs[*key].keys(&columns, rows.num_rows())?));
        }
        let mut found: Vec<Conflict> =
            (0..rows.num_rows()).map(|_| Conflict { with: Obstacle::None, repeated: false }).collect();
        for (_, keys) in &wanted {
            note_repeated(keys, &mut found);
        }
        loop {
            let mut latched = self.latch.lock();
            let indexes = latched.prepare_keys(&specs)?;
            if latched.note_obstacles(&wanted, &indexes, me, &mut found)? {
                return Ok(found);
            }
            // Key files are read, and if need be made, while others go on; then all is looked up anew.
            let segments = latched.segments.clone();
            drop(latched);
            for (key, keys) in &wanted {
                segment_keys::load_admitting(&segments, &specs[*key], keys)?;
            }
            found.iter_mut().for_each(|found| found.with = Obstacle::None);
        }
    }
}

/// Notes which rows have the key of an earlier one.
fn note_repeated(keys: &Keys, found: &mut [Conflict]) {
    if keys.hashes.len() == 1 {
        return;
    }
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::with_capacity(keys.hashes.len());
    for (row, hash) in keys.hashes.iter().enumerate() {
        let Some(hash) = hash else { continue };
        let same = seen.entry(*hash).or_default();
        if same.iter().any(|other| keys.rows.row(*other) == keys.rows.row(row)) {
            found[row].repeated = true;
        } else {
            same.push(row);
        }
    }
}

impl Latched {
    /// Looks for the obstacles of new rows by the keys that are `wanted`, with their places and values; false if key files have to be loaded first.
    fn note_obstacles(
        &self,
        wanted: &[(usize, Keys)],
        indexes: &[usize],
        me: TxnId,
        found: &mut [Conflict],
    ) -> Result<bool, ReadError> {
        for (key, keys) in wanted {
            let tail = self.tail_keys(indexes[*key]);
            let live = self.segments.iter().filter(|segment| segment.created() != Stamp::ABORTED);
            let segments = live
                .map(|segment| Ok((segment, SegmentKeys::of(segment, &tail.spec)?)))
                .collect::<Result<Vec<_>, ReadError>>()?;
            for (row, found) in found.iter_mut().enumerate() {
                if !matches!(found.with, Obstacle::None) {
                    continue;
                }
                match self.obstacle(tail, &segments, keys, row, me)? {
                    Some(obstacle) => found.with = obstacle,
                    None => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    fn obstacle(
        &self,
        tail: &TailKeys,
        segments: &[(&Arc<Segment>, Arc<SegmentKeys>)],
        keys: &Keys,
        row: usize,
        me: TxnId,
    ) -> Result<Option<Obstacle>, ReadError> {
        let Some(hash) = keys.hashes[row] else { return Ok(Some(Obstacle::None)) };
        let met = |occupancy, place: &dyn Fn() -> RowPlace| match occupancy {
            Occupancy::Free | Occupancy::Dead => None,
            Occupancy::Unsure(other) => Some(Obstacle::Transaction(other)),
            Occupancy::Taken => Some(Obstacle::Row(FoundRow::new(place()))),
        };
        for row_id in tail.find(hash) {
            let Some((chunk, at)) = self.find(row_id) else { continue };
            let occupancy = Occupancy::of(chunk.created(at), chunk.deleted(at), me);
            if let Some(obstacle) = met(occupancy, &|| RowPlace::Tail(Arc::clone(chunk), at))
                && tail.spec.tail_keys(chunk, at, at + 1)?.rows.row(0) == keys.rows.row(row)
            {
                return Ok(Some(obstacle));
            }
        }
        for (segment, index) in segments {
            match index.find(segment, keys, row, me)? {
                Probed::Unready => return Ok(None),
                Probed::Nothing => {}
                Probed::Row(offset, occupancy) => {
                    if let Some(obstacle) = met(occupancy, &|| RowPlace::Segment(Arc::clone(segment), offset)) {
                        return Ok(Some(obstacle));
                    }
                }
            }
        }
        Ok(Some(Obstacle::None))
    }
}

impl Transaction {
    /// Says for each of some new rows, columns in definition order, what is in its way: by the keys at the places `keys` of the table's keys,
    /// among the newest versions, whatever any snapshot sees. A row without obstacle may have one as soon as this returns; [`append`](Self::append) finds out.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the table is gone, [`WriteError::Read`].
    pub fn conflicts(
        &mut self,
        table: &TableDefinition,
        keys: &[usize],
        rows: &RecordBatch,
    ) -> Result<Vec<Conflict>, WriteError> {
        let data = self.table(table)?;
        data.conflicts(table, keys, rows, self.id())
    }

    /// Whether the command that runs now has made a row.
    #[must_use]
    pub fn is_made_by_this_command(&self, row: &FoundRow) -> bool {
        self.stamp().is_ok_and(|stamp| stamp == row.created)
    }

    /// Locks rows as [`lock_rows`](Self::lock_rows) does.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] or [`WriteError::Conflict`], which here means that a row is not the newest any more; nothing was locked.
    pub fn lock_found_rows(
        &mut self,
        table: &TableDefinition,
        rows: &[FoundRow],
        mode: RowLockMode,
    ) -> Result<(), WriteError> {
        let data = self.table(table)?;
        let claim = Claim::lock(self.id(), mode, LockedBy::Blocks, table, &data);
        let claimed = claim_found(&claim, &data, rows)?;
        self.note_locks(claimed.into_locks(&claim));
        Ok(())
    }

    /// Deletes rows; with `keeps_keys` as [`delete_keeping_keys`](Self::delete_keeping_keys) does.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] or [`WriteError::Conflict`], which here means that a row is not the newest any more; nothing was deleted.
    pub fn delete_found_rows(
        &mut self,
        table: &TableDefinition,
        rows: &[FoundRow],
        keeps_keys: bool,
    ) -> Result<(), WriteError> {
        let stamp = if keeps_keys { self.stamp()?.keeping_key() } else { self.stamp()? };
        let data = self.table(table)?;
        let claim = Claim::delete(self.id(), stamp, table, &data);
        let claimed = claim_found(&claim, &data, rows)?;
        self.note_deletes(&data, claimed);
        Ok(())
    }

    /// All columns of rows, in definition order.
    ///
    /// # Errors
    /// [`ReadError`] if a segment is damaged.
    pub fn read_found_rows(&self, table: &TableDefinition, rows: &[FoundRow]) -> Result<RecordBatch, ReadError> {
        let mismatch = |error: arrow::error::ArrowError| ReadError::Mismatch(error.to_string());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let values = rows.iter().map(|row| row.located().value(column)).collect::<Result<Vec<_>, _>>()?;
            let parts: Vec<&dyn arrow::array::Array> = values.iter().map(AsRef::as_ref).collect();
            columns.push(if parts.is_empty() {
                arrow::array::new_empty_array(&column.sql_type.arrow_type())
            } else {
                arrow::compute::concat(&parts).map_err(mismatch)?
            });
            debug_assert_eq!(columns[columns.len() - 1].len(), rows.len());
        }
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(table.arrow_schema(), columns, &options).map_err(mismatch)
    }
}

/// Claims all of some rows, or none.
fn claim_found(claim: &Claim<'_>, data: &TableData, rows: &[FoundRow]) -> Result<Claimed, WriteError> {
    let mut claimed = Claimed::default();
    let _moves = data.moves.read();
    match rows.iter().try_for_each(|row| claim.row(row.located(), &mut claimed)) {
        Ok(()) => Ok(claimed),
        Err(error) => {
            claimed.give_back(claim);
            Err(error)
        }
    }
}
