//! Recovery: the last checkpoint, then every record of the log after it.
//!
//! Only committed transactions are in the log, so recovery only does, and never undoes. Rows come in the order of their commits, not of their ids; they are gathered by id and
//! become chunks at the end. Segment files are not opened: that they exist and are as long as the manifest says is all that is checked before the first read.
//!
//! **Invariant.** A record's operations mean the same here as in the commit pipeline's apply step, whatever part of them was visible when the process ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use colonnade_types::{Lsn, Oid, Relation, SegmentId, StorageId};

use crate::catalog::{Catalog, CatalogEdit};
use crate::checkpoint::{self, CheckpointError, CheckpointHeader, CheckpointItem, CheckpointReader, CheckpointWriter};
use crate::codec::CodecError;
use crate::database::Recovered;
use crate::deletes::Deletes;
use crate::disk::{Disk, join};
use crate::error::OpenError;
use crate::key_file::key_file_of_name;
use crate::key_index::KeySpec;
use crate::manifest::{CreatedLsn, SegmentEntry};
use crate::options::StorageOptions;
use crate::record::{ManifestEdit, Operation, Record};
use crate::row_codec::{RowLayout, Rows};
use crate::segment::{SEGMENT_DIR, Segment, SegmentStore, segment_of_name, segment_path};
use crate::sequence::SequenceState;
use crate::sequences::Sequences;
use crate::stamp::Stamp;
use crate::table::{DatabaseVersion, TableData, TableVersion};
use crate::tail::{CHUNK_ROWS, Chunk};
use crate::wal::{Wal, WalError, WalOptions, holds_records};

/// The directory of log files.
pub(crate) const WAL_DIR: &str = "wal";
/// The directory of checkpoints.
pub(crate) const CHECKPOINT_DIR: &str = "checkpoints";
/// The file whose lock keeps a second process out.
const LOCK_FILE: &str = "LOCK";

impl From<WalError> for OpenError {
    fn from(error: WalError) -> OpenError {
        match error {
            WalError::Disk(error) => error.into(),
            other => OpenError::Corrupt(other.to_string()),
        }
    }
}

/// The database while it is put together.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) lsn: Lsn,
    pub(crate) catalog: Catalog,
    pub(crate) tables: HashMap<StorageId, TableState>,
    pub(crate) sequences: HashMap<Oid, SequenceState>,
    pub(crate) next_oid: u32,
    pub(crate) next_storage: u64,
    pub(crate) next_segment: u64,
}

/// A table while it is put together.
#[derive(Debug, Default)]
pub(crate) struct TableState {
    /// Rows of the tail by id.
    pub(crate) rows: BTreeMap<u64, TailRow>,
    pub(crate) segments: Vec<SegmentState>,
    pub(crate) next_row_id: u64,
}

/// A row of a tail.
#[derive(Debug)]
pub(crate) struct TailRow {
    pub(crate) created: Lsn,
    pub(crate) layout: Arc<RowLayout>,
    pub(crate) bytes: Box<[u8]>,
}

/// A segment and its deletes.
#[derive(Debug)]
pub(crate) struct SegmentState {
    pub(crate) entry: SegmentEntry,
    pub(crate) deletes: Deletes,
}

/// Opens what is on `disk`.
pub(crate) fn recover(disk: Arc<dyn Disk>, options: &StorageOptions) -> Result<Recovered, OpenError> {
    let lock = disk.lock(LOCK_FILE)?;
    for dir in [WAL_DIR, SEGMENT_DIR, CHECKPOINT_DIR] {
        if !disk.exists(dir)? {
            disk.create_dir(dir)?;
        }
    }
    disk.sync_dir("")?;
    let wal_options = WalOptions { file_bytes: options.wal_file_bytes, ..WalOptions::default() };
    let (mut state, wal) = match checkpoint::newest(disk.as_ref(), CHECKPOINT_DIR)? {
        Some(lsn) => {
            // An attempt that failed may have named it without making the name durable.
            disk.sync_dir(CHECKPOINT_DIR)?;
            let mut state = State::from_checkpoint(disk.as_ref(), lsn)?;
            let mut replay = Wal::open(Arc::clone(&disk), WAL_DIR, lsn, wal_options)?;
            while let Some((lsn, payload)) = replay.next()? {
                state.replay(lsn, &payload)?;
            }
            (state, replay.finish()?)
        }
        None => begin(&disk, wal_options)?,
    };
    let checkpoint = checkpoint::newest(disk.as_ref(), CHECKPOINT_DIR)?.unwrap_or_default();
    // Sequences may have advanced behind the last transaction.
    state.lsn = state.lsn.max(wal.end_lsn());
    let store = Arc::new(SegmentStore::new(disk, options));
    let next_segment = sweep(&store, &state)?;
    let sequences = Sequences::recovered(state.live_sequences());
    let next_oid = state.next_oid.max(state.catalog.oid_max().0.saturating_add(1));
    let next_storage = state.next_storage;
    let version = state.into_version(&store)?;
    Ok(Recovered { lock, store, wal, version, checkpoint, sequences, next_oid, next_storage, next_segment })
}

/// Makes an empty database: a log, and a checkpoint, without which it is begun anew the next time.
fn begin(disk: &Arc<dyn Disk>, options: WalOptions) -> Result<(State, Wal), OpenError> {
    // The first checkpoint is durable before anything else is written: these are left of a database that has lost it.
    if let Some(name) = disk.list(SEGMENT_DIR)?.first() {
        return Err(OpenError::Corrupt(format!(
            "{CHECKPOINT_DIR}: no checkpoint is there, but {SEGMENT_DIR}/{name} is"
        )));
    }
    if holds_records(disk.as_ref(), WAL_DIR)? {
        return Err(OpenError::Corrupt(format!(
            "{CHECKPOINT_DIR}: no checkpoint is there, but {WAL_DIR} holds records"
        )));
    }
    let wal = Wal::create(Arc::clone(disk), WAL_DIR, Lsn(0), options)?;
    let state = State {
        lsn: wal.end_lsn(),
        catalog: Catalog::initial(),
        next_oid: Oid::FIRST_USER.0,
        next_storage: 1,
        next_segment: 1,
        ..State::default()
    };
    let header = CheckpointHeader {
        lsn: state.lsn,
        time_micros: 0,
        next_oid: Oid(state.next_oid),
        next_storage: StorageId(state.next_storage),
        next_segment: SegmentId(state.next_segment),
    };
    CheckpointWriter::create(Arc::clone(disk), CHECKPOINT_DIR, &header, &state.catalog, &[])?.finish()?;
    Ok((state, wal))
}

/// Whether a sequence of this oid exists.
pub(crate) fn is_sequence(catalog: &Catalog, oid: Oid) -> bool {
    matches!(catalog.relation(oid), Some(Relation::Sequence(_)))
}

/// Checks that every live segment's file is there, and removes the files of no live segment, and key files of no key. Returns the next segment's id.
fn sweep(store: &SegmentStore, state: &State) -> Result<u64, OpenError> {
    let mut next = state.next_segment;
    let live: HashSet<SegmentId> =
        state.tables.values().flat_map(|table| table.segments.iter().map(|segment| segment.entry.id)).collect();
    let keys = live_keys(state);
    let mut found = HashSet::new();
    let mut removed = false;
    for name in store.disk.list(SEGMENT_DIR)? {
        let id = segment_of_name(&name);
        let key = key_file_of_name(&name);
        next = next.max(id.or(key.map(|(segment, _)| segment)).map_or(0, |id| id.0.saturating_add(1)));
        match id {
            Some(id) if live.contains(&id) => {
                found.insert(id);
            }
            None if key.is_some_and(|key| keys.contains(&key)) => {}
            None if key.is_none() => tracing::warn!(file = name, "leaving alone a file that is no segment"),
            _ => {
                tracing::info!(file = name, "removing a file that no table needs");
                store.disk.remove(&join(SEGMENT_DIR, &name))?;
                removed = true;
            }
        }
    }
    if removed {
        store.disk.sync_dir(SEGMENT_DIR)?;
    }
    for segment in state.tables.values().flat_map(|table| &table.segments) {
        let path = segment_path(segment.entry.id);
        if !found.contains(&segment.entry.id) {
            return Err(OpenError::Corrupt(format!(
                "{path}: file is missing, expected {} bytes",
                segment.entry.size_bytes
            )));
        }
        let len = store.disk.len(&path)?;
        if len != segment.entry.size_bytes {
            let expected = segment.entry.size_bytes;
            return Err(OpenError::Corrupt(format!("{path}: expected {expected} bytes, found {len}")));
        }
    }
    Ok(next)
}

/// The key files that may be of use: for every live segment, those of its table's keys. Whether they are there shows when they are needed.
fn live_keys(state: &State) -> HashSet<(SegmentId, u64)> {
    let mut live = HashSet::new();
    for relation in state.catalog.relations() {
        let Relation::Table(table) = relation else { continue };
        let Some(rows) = state.tables.get(&table.storage) else { continue };
        for spec in table.keys.iter().filter_map(|key| KeySpec::new(table, key).ok()) {
            let fingerprint = spec.fingerprint();
            live.extend(rows.segments.iter().map(|segment| (segment.entry.id, fingerprint)));
        }
    }
    live
}

impl From<CheckpointError> for OpenError {
    fn from(error: CheckpointError) -> OpenError {
        match error {
            CheckpointError::Disk(error) => error.into(),
            other => OpenError::Corrupt(other.to_string()),
        }
    }
}

impl State {
    /// Reads a checkpoint.
    fn from_checkpoint(disk: &dyn Disk, lsn: Lsn) -> Result<State, OpenError> {
        let corrupt = |text: String| OpenError::Corrupt(format!("checkpoint at LSN {lsn}: {text}"));
        let mut reader = CheckpointReader::open(disk, CHECKPOINT_DIR, lsn)?;
        let header = *reader.header();
        let mut state = State {
            lsn,
            catalog: reader.catalog().clone(),
            next_oid: header.next_oid.0,
            next_storage: header.next_storage.0,
            next_segment: header.next_segment.0,
            ..State::default()
        };
        // The body of rows that is being read, and what reads its rows.
        let (mut storage, mut layout) = (StorageId(0), Arc::new(RowLayout::default()));
        while let Some(item) = reader.next()? {
            if let CheckpointItem::Storage(section) = &item {
                storage = section.storage;
                if !section.layout.is_empty() {
                    let read = RowLayout::from_bytes(&section.layout);
                    layout = Arc::new(read.map_err(|error| corrupt(error.to_string()))?);
                }
            }
            if let CheckpointItem::Sequences(sequences) = item {
                state.sequences.extend(sequences);
                continue;
            }
            let table = state.tables.entry(storage).or_default();
            match item {
                CheckpointItem::Sequences(_) => {}
                CheckpointItem::Storage(section) => table.next_row_id = section.next_row,
                CheckpointItem::Segments(entries) => {
                    let segment = |entry| SegmentState { entry, deletes: Deletes::default() };
                    table.segments.extend(entries.into_iter().map(segment));
                }
                CheckpointItem::DeleteVector(vector) => {
                    let found = table.segments.iter_mut().find(|segment| segment.entry.id == vector.segment);
                    let found = found.ok_or_else(|| corrupt(format!("segment {} is not there", vector.segment)))?;
                    // Every snapshot from now on sees them.
                    let folded = vector.deletes.iter().map(|(offset, _)| *offset).collect();
                    found.deletes = Deletes::recovered(folded, []);
                }
                CheckpointItem::TailRows(rows) => {
                    for (id, created, bytes) in rows.iter() {
                        let row = TailRow { created, layout: Arc::clone(&layout), bytes: bytes.into() };
                        table.rows.insert(id, row);
                    }
                }
            }
        }
        Ok(state)
    }

    /// Does what a record says.
    pub(crate) fn replay(&mut self, lsn: Lsn, payload: &[u8]) -> Result<(), OpenError> {
        let damaged = |error: CodecError| OpenError::Corrupt(format!("log record that ends at LSN {lsn}: {error}"));
        match Record::decode(payload).map_err(damaged)? {
            Record::SequenceAdvance { sequence, state } => {
                self.next_oid = self.next_oid.max(sequence.0.saturating_add(1));
                self.sequences.insert(sequence, state);
            }
            Record::Transaction { operations, .. } => {
                // Bodies of rows come and go first: what else the record says is about those that are left.
                for operation in &operations {
                    if let Operation::Catalog(edit) = operation {
                        self.edit(edit);
                    }
                }
                for operation in operations {
                    self.operate(lsn, operation)?;
                }
                self.lsn = lsn;
            }
        }
        Ok(())
    }

    fn edit(&mut self, edit: &CatalogEdit) {
        let storage = |relation: Option<&Relation>| match relation {
            Some(Relation::Table(table)) => Some(table.storage),
            _ => None,
        };
        let (before, after) = match edit {
            CatalogEdit::PutRelation(relation) => {
                (storage(self.catalog.relation(relation.oid())), storage(Some(relation)))
            }
            CatalogEdit::DropRelation(oid) => (storage(self.catalog.relation(*oid)), None),
            _ => (None, None),
        };
        if let Err(error) = self.catalog.apply(edit) {
            tracing::error!(%error, "a committed catalog edit does not fit and is left out");
            return;
        }
        self.next_oid = self.next_oid.max(self.catalog.oid_max().0.saturating_add(1));
        if before != after {
            if let Some(storage) = before {
                self.tables.remove(&storage);
            }
            if let Some(storage) = after {
                self.tables.entry(storage).or_default();
                self.next_storage = self.next_storage.max(storage.0 + 1);
            }
        }
    }

    fn operate(&mut self, lsn: Lsn, operation: Operation<'_>) -> Result<(), OpenError> {
        let corrupt = |text: String| OpenError::Corrupt(format!("log record that ends at LSN {lsn}: {text}"));
        match operation {
            Operation::Catalog(_) => {}
            Operation::Append { storage, layout, runs, rows } => {
                let layout = Arc::new(RowLayout::from_bytes(layout).map_err(|error| corrupt(error.to_string()))?);
                let Some(table) = self.tables.get_mut(&storage) else { return Ok(()) };
                let ids = runs.iter().flat_map(|(first, count)| *first..*first + u64::from(*count));
                for (id, bytes) in ids.zip(rows) {
                    table.rows.insert(id, TailRow { created: lsn, layout: Arc::clone(&layout), bytes: bytes.into() });
                    table.next_row_id = table.next_row_id.max(id + 1);
                }
            }
            Operation::Delete { storage, rows } => {
                let Some(table) = self.tables.get_mut(&storage) else { return Ok(()) };
                for id in rows {
                    if table.rows.remove(&id).is_none() {
                        return Err(corrupt(format!("deletes row {id} of storage {storage}, which is not there")));
                    }
                }
            }
            Operation::DeleteSegment { storage, segment, offsets } => {
                let Some(table) = self.tables.get_mut(&storage) else { return Ok(()) };
                let Some(found) = table.segments.iter_mut().find(|own| own.entry.id == segment) else {
                    return Err(corrupt(format!("deletes rows of segment {segment}, which is not there")));
                };
                for offset in offsets {
                    found.deletes.put(offset, Stamp::committed(lsn));
                }
            }
            Operation::Manifest(edit) => self.edit_manifest(lsn, edit),
        }
        Ok(())
    }

    fn edit_manifest(&mut self, lsn: Lsn, edit: ManifestEdit) {
        self.next_segment = edit.add.iter().map(|entry| entry.id.0 + 1).fold(self.next_segment, u64::max);
        let Some(table) = self.tables.get_mut(&edit.storage) else { return };
        // What comes takes the place of what goes, as in the commit pipeline.
        let goes = |segment: &SegmentState| edit.remove.contains(&segment.entry.id);
        let at = table.segments.iter().position(goes).unwrap_or(table.segments.len());
        table.segments.retain(|segment| !goes(segment));
        let added: Vec<SegmentState> = edit
            .add
            .into_iter()
            .map(|mut entry| {
                entry.created = entry.created.resolve(lsn);
                let carried = edit.carried.iter().filter(|carried| carried.segment == entry.id);
                let carried = carried.map(|carried| (carried.offset, carried.lsn));
                let deletes = Deletes::recovered(Default::default(), carried);
                SegmentState { entry, deletes }
            })
            .collect();
        table.segments.splice(at..at, added);
        if edit.tail_removed_before > 0 {
            table.rows = table.rows.split_off(&edit.tail_removed_before);
            table.next_row_id = table.next_row_id.max(edit.tail_removed_before);
        }
    }

    /// The states of the sequences that exist.
    fn live_sequences(&self) -> impl Iterator<Item = (Oid, SequenceState)> {
        self.sequences.iter().filter(|(oid, _)| is_sequence(&self.catalog, **oid)).map(|(oid, state)| (*oid, *state))
    }

    fn into_version(self, store: &Arc<SegmentStore>) -> Result<DatabaseVersion, OpenError> {
        let mut tables = HashMap::new();
        for (storage, table) in self.tables {
            tables.insert(storage, Arc::new(table.into_version(storage, store)?));
        }
        Ok(DatabaseVersion { lsn: self.lsn, catalog: Arc::new(self.catalog), tables: Arc::new(tables) })
    }
}

impl TableState {
    fn into_version(self, storage: StorageId, store: &Arc<SegmentStore>) -> Result<TableVersion, OpenError> {
        let segment = |state: SegmentState| {
            let created = match state.entry.created {
                CreatedLsn::Constant(lsn) | CreatedLsn::Column(lsn) => lsn,
                CreatedLsn::Commit => Lsn(1),
            };
            // A segment that is listed is seen by every snapshot from now on.
            let created = Stamp::committed(created.max(Lsn(1)));
            Arc::new(Segment::new(Arc::clone(store), state.entry, created, state.deletes))
        };
        let segments: Vec<Arc<Segment>> = self.segments.into_iter().map(segment).collect();
        if self.rows.is_empty() {
            let mut data = TableData::empty(storage);
            data.restart(segments, self.next_row_id);
            return Ok(Arc::new(data).version());
        }
        let chunks = chunks(self.rows)?;
        Ok(Arc::new(TableData::recovered(storage, chunks, segments, self.next_row_id)).version())
    }
}

/// Puts rows, in the order of their ids, into linked chunks.
fn chunks(rows: BTreeMap<u64, TailRow>) -> Result<Vec<Arc<Chunk>>, OpenError> {
    let mut chunks: Vec<Arc<Chunk>> = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while let Some((_, first)) = rows.peek() {
        let layout = Arc::clone(&first.layout);
        let (mut ids, mut created, mut encoded) = (Vec::new(), Vec::new(), Rows::default());
        while let Some((id, row)) = rows.next_if(|(_, row)| row.layout == layout && ids.len() < CHUNK_ROWS) {
            ids.push(id);
            created.push(row.created.0);
            encoded.push(&row.bytes).map_err(|error| OpenError::Corrupt(format!("tail: {error}")))?;
        }
        let chunk = Arc::new(Chunk::recovered(layout, ids, &created, encoded));
        if let Some(last) = chunks.last() {
            last.next.set(Arc::clone(&chunk)).unwrap_or_else(|_| unreachable!("a chunk is linked once"));
        }
        chunks.push(chunk);
    }
    Ok(chunks)
}
