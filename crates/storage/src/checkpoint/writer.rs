//! Writing a checkpoint, block by block.

use std::sync::Arc;

use colonnade_types::{Lsn, Oid};

use super::block::{BLOCK_HEADER_BYTES, BlockKind, block_header, chain, file_header};
use super::{
    CHECKPOINT_VERSION, CheckpointError, CheckpointHeader, DeleteVectorEntry, StorageSection, TEMPORARY_NAME,
    checkpoint_name,
};
use crate::catalog::{Catalog, encode_catalog};
use crate::codec::Encoder;
use crate::disk::{Disk, DiskFile, join};
use crate::manifest::{SegmentEntry, encode_entry};
use crate::sequence::{SequenceState, encode_state};

/// Bytes of rows after which a block of them is written.
const ROW_BLOCK_BYTES: usize = 256 << 10;
/// Bytes collected before they are written to the file.
const WRITE_BYTES: usize = 1 << 20;

/// Writes a checkpoint. Dropping it without [`finish`](CheckpointWriter::finish) leaves a temporary file that the next one replaces.
///
/// For every body of rows call [`storage`](CheckpointWriter::storage), then the methods for its parts.
#[derive(Debug)]
pub struct CheckpointWriter {
    disk: Arc<dyn Disk>,
    dir: String,
    lsn: Lsn,
    file: Box<dyn DiskFile>,
    /// Bytes not yet written, and where they go.
    pending: Vec<u8>,
    offset: u64,
    blocks: u32,
    all: u32,
    /// Tail rows collected for the next block.
    rows: Encoder,
    row_count: u64,
    row_before: (u64, Lsn),
    in_storage: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointSummary {
    /// The checkpoint's LSN.
    pub lsn: Lsn,
    /// Length of the file.
    pub size_bytes: u64,
}

impl CheckpointWriter {
    /// Begins a checkpoint with what belongs to no table.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &str,
        header: &CheckpointHeader,
        catalog: &Catalog,
        sequences: &[(Oid, SequenceState)],
    ) -> Result<CheckpointWriter, CheckpointError> {
        let temporary = join(dir, TEMPORARY_NAME);
        if disk.exists(&temporary)? {
            disk.remove(&temporary)?;
        }
        let file = disk.create(&temporary)?;
        let mut writer = CheckpointWriter {
            disk,
            dir: dir.to_owned(),
            lsn: header.lsn,
            file,
            pending: file_header(CHECKPOINT_VERSION).to_vec(),
            offset: 0,
            blocks: 0,
            all: 0,
            rows: Encoder::new(),
            row_count: 0,
            row_before: (0, Lsn(0)),
            in_storage: false,
        };
        let mut out = Encoder::new();
        out.u64(header.lsn.0);
        out.i64(header.time_micros);
        out.u32(header.next_oid.0);
        out.u64(header.next_storage.0);
        out.u64(header.next_segment.0);
        writer.block(BlockKind::Header, out.as_slice())?;
        out.clear();
        encode_catalog(&mut out, catalog);
        writer.block(BlockKind::Catalog, out.as_slice())?;
        out.clear();
        out.count(sequences.len());
        for (oid, state) in sequences {
            out.varint(u64::from(oid.0));
            encode_state(&mut out, *state);
        }
        writer.block(BlockKind::Sequences, out.as_slice())?;
        Ok(writer)
    }

    /// Begins a body of rows.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn storage(&mut self, section: &StorageSection) -> Result<(), CheckpointError> {
        self.flush_rows()?;
        self.in_storage = true;
        let mut out = Encoder::new();
        out.varint(section.storage.0);
        out.bytes(&section.layout);
        out.varint(section.next_row);
        self.block(BlockKind::Storage, out.as_slice())
    }

    /// Segments of the body of rows that was begun.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn segments(&mut self, entries: &[SegmentEntry]) -> Result<(), CheckpointError> {
        debug_assert!(self.in_storage, "segments belong to a body of rows");
        self.flush_rows()?;
        for entries in entries.chunks(4_096) {
            let mut out = Encoder::new();
            out.count(entries.len());
            for entry in entries {
                encode_entry(&mut out, entry);
            }
            self.block(BlockKind::Segments, out.as_slice())?;
        }
        Ok(())
    }

    /// Deleted rows of one of its segments.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn delete_vector(&mut self, entry: &DeleteVectorEntry) -> Result<(), CheckpointError> {
        debug_assert!(self.in_storage, "delete vectors belong to a body of rows");
        self.flush_rows()?;
        let mut out = Encoder::new();
        out.varint(entry.segment.0);
        out.count(entry.deletes.len());
        let (mut offset_before, mut lsn_before) = (0, Lsn(0));
        for (offset, lsn) in &entry.deletes {
            debug_assert!(*offset >= offset_before, "offsets ascend");
            out.varint(u64::from(offset - offset_before));
            out.zigzag(lsn.0.wrapping_sub(lsn_before.0) as i64);
            (offset_before, lsn_before) = (*offset, *lsn);
        }
        self.block(BlockKind::DeleteVector, out.as_slice())
    }

    /// A row of its tail; ids ascend.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn tail_row(&mut self, id: u64, created: Lsn, bytes: &[u8]) -> Result<(), CheckpointError> {
        debug_assert!(self.in_storage, "rows belong to a body of rows");
        debug_assert!(self.row_count == 0 || id > self.row_before.0, "ids ascend");
        let (id_before, lsn_before) = if self.row_count == 0 { (0, Lsn(0)) } else { self.row_before };
        self.rows.varint(id - id_before);
        self.rows.zigzag(created.0.wrapping_sub(lsn_before.0) as i64);
        self.rows.bytes(bytes);
        self.row_count += 1;
        self.row_before = (id, created);
        if self.rows.len() >= ROW_BLOCK_BYTES { self.flush_rows() } else { Ok(()) }
    }

    fn flush_rows(&mut self) -> Result<(), CheckpointError> {
        if self.row_count == 0 {
            return Ok(());
        }
        let mut out = Encoder::new();
        out.varint(self.row_count);
        out.raw(self.rows.as_slice());
        self.rows.clear();
        self.row_count = 0;
        self.block(BlockKind::TailRows, out.as_slice())
    }

    fn block(&mut self, kind: BlockKind, payload: &[u8]) -> Result<(), CheckpointError> {
        let header: [u8; BLOCK_HEADER_BYTES] = block_header(kind, self.blocks, payload);
        self.blocks += 1;
        if let Some(crc) = header.first_chunk::<4>() {
            self.all = chain(self.all, u32::from_le_bytes(*crc));
        }
        self.pending.extend_from_slice(&header);
        self.pending.extend_from_slice(payload);
        if self.pending.len() >= WRITE_BYTES { self.write_pending() } else { Ok(()) }
    }

    fn write_pending(&mut self) -> Result<(), CheckpointError> {
        self.file.write_all_at(self.offset, &self.pending)?;
        self.offset += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Ends the checkpoint, makes it durable, and gives it its name. On return older ones, and the log before it, may go.
    ///
    /// # Errors
    /// Any error of the disk. Whether the checkpoint counts is unknown then; nothing older may be removed.
    pub fn finish(mut self) -> Result<CheckpointSummary, CheckpointError> {
        self.flush_rows()?;
        let mut out = Encoder::new();
        out.u32(self.blocks);
        out.u32(self.all);
        self.block(BlockKind::End, out.as_slice())?;
        self.write_pending()?;
        self.file.sync_all()?;
        self.disk.rename(&join(&self.dir, TEMPORARY_NAME), &join(&self.dir, &checkpoint_name(self.lsn)))?;
        self.disk.sync_dir(&self.dir)?;
        Ok(CheckpointSummary { lsn: self.lsn, size_bytes: self.offset })
    }
}
