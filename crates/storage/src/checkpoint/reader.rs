//! Reading a checkpoint, block by block.

use colonnade_types::{Lsn, Oid, SegmentId, StorageId};

use super::block::{self, BLOCK_HEADER_BYTES, BlockKind, FILE_HEADER_BYTES, MAGIC};
use super::{
    CHECKPOINT_VERSION, CheckpointError, CheckpointHeader, CheckpointItem, DeleteVectorEntry, StorageSection, TailRows,
    checkpoint_name,
};
use crate::catalog::{Catalog, decode_catalog};
use crate::codec::{CodecError, Decoder};
use crate::disk::{Disk, DiskFile, join};
use crate::manifest::decode_entry;
use crate::sequence::decode_state;

/// Reads a checkpoint.
#[derive(Debug)]
pub struct CheckpointReader {
    file: Box<dyn DiskFile>,
    path: String,
    len: u64,
    offset: u64,
    blocks: u32,
    all: u32,
    header: CheckpointHeader,
    catalog: Catalog,
    in_storage: bool,
    done: bool,
}

/// A checked block.
struct Block {
    kind: BlockKind,
    /// Where its payload begins in the file.
    offset: u64,
    payload: Vec<u8>,
}

impl CheckpointReader {
    /// Opens the checkpoint at an LSN and reads its header and catalog.
    ///
    /// # Errors
    /// [`CheckpointError`]; the checkpoint must not be used then.
    pub fn open(disk: &dyn Disk, dir: &str, lsn: Lsn) -> Result<CheckpointReader, CheckpointError> {
        let path = join(dir, &checkpoint_name(lsn));
        let len = disk.len(&path)?;
        let mut reader = CheckpointReader {
            file: disk.open(&path)?,
            path,
            len,
            offset: 0,
            blocks: 0,
            all: 0,
            header: CheckpointHeader::default(),
            catalog: Catalog::default(),
            in_storage: false,
            done: false,
        };
        reader.check_file_header()?;
        let block = reader.block_of(BlockKind::Header)?;
        reader.header = reader.decode(&block, |input| {
            Ok(CheckpointHeader {
                lsn: Lsn(input.u64()?),
                time_micros: input.i64()?,
                next_oid: Oid(input.u32()?),
                next_storage: StorageId(input.u64()?),
                next_segment: SegmentId(input.u64()?),
            })
        })?;
        if reader.header.lsn != lsn {
            return Err(reader.damaged(block.offset, format!("LSN {lsn}"), format!("LSN {}", reader.header.lsn)));
        }
        let block = reader.block_of(BlockKind::Catalog)?;
        reader.catalog = reader.decode(&block, decode_catalog)?;
        Ok(reader)
    }

    /// What stands at the front.
    #[must_use]
    pub fn header(&self) -> &CheckpointHeader {
        &self.header
    }

    /// The catalog.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The next piece; `None` once all of the file was read and found whole.
    ///
    /// # Errors
    /// [`CheckpointError`]; nothing that was read before may be used then.
    #[expect(clippy::should_implement_trait, reason = "it gives a result whose end must be looked at")]
    pub fn next(&mut self) -> Result<Option<CheckpointItem>, CheckpointError> {
        if self.done {
            return Ok(None);
        }
        let (blocks, all) = (self.blocks, self.all);
        let block = self.block()?;
        let belongs = !matches!(block.kind, BlockKind::Segments | BlockKind::DeleteVector | BlockKind::TailRows);
        if !belongs && !self.in_storage {
            let found = format!("a block of kind {:?}", block.kind);
            return Err(self.damaged(block.offset, "a body of rows".to_owned(), found));
        }
        let item = match block.kind {
            BlockKind::Header | BlockKind::Catalog => {
                let found = format!("a block of kind {:?}", block.kind);
                return Err(self.damaged(block.offset, "any other block".to_owned(), found));
            }
            BlockKind::Sequences => {
                CheckpointItem::Sequences(self.decode(&block, |input| {
                    input.list(3, |input| Ok((Oid(input.varint_u32()?), decode_state(input)?)))
                })?)
            }
            BlockKind::Storage => {
                self.in_storage = true;
                CheckpointItem::Storage(self.decode(&block, |input| {
                    Ok(StorageSection {
                        storage: StorageId(input.varint()?),
                        layout: input.bytes()?.to_vec(),
                        next_row: input.varint()?,
                    })
                })?)
            }
            BlockKind::Segments => CheckpointItem::Segments(self.decode(&block, |input| input.list(8, decode_entry))?),
            BlockKind::DeleteVector => CheckpointItem::DeleteVector(self.decode(&block, decode_deletes)?),
            BlockKind::TailRows => {
                let rows = self.decode(&block, decode_rows)?;
                CheckpointItem::TailRows(TailRows { bytes: block.payload, rows })
            }
            BlockKind::End => {
                self.check_end(&block, blocks, all)?;
                self.done = true;
                return Ok(None);
            }
        };
        Ok(Some(item))
    }

    fn check_file_header(&mut self) -> Result<(), CheckpointError> {
        let bytes = self.read(FILE_HEADER_BYTES)?;
        if !bytes.starts_with(MAGIC) {
            let found = bytes[..MAGIC.len()].escape_ascii().to_string();
            return Err(self.damaged(0, format!("\"{}\"", MAGIC.escape_ascii()), format!("\"{found}\"")));
        }
        let number = |at: usize| Decoder::new(&bytes[at..]).u32().unwrap_or(0);
        let crc = crc32c::crc32c(&bytes[..12]);
        if number(12) != crc {
            return Err(self.damaged(12, format!("checksum {crc:#010x}"), format!("{:#010x}", number(12))));
        }
        if number(8) != CHECKPOINT_VERSION {
            let (found, known) = (u64::from(number(8)), u64::from(CHECKPOINT_VERSION));
            return Err(CheckpointError::Unsupported { file: self.path.clone(), what: "format version", found, known });
        }
        Ok(())
    }

    fn check_end(&self, block: &Block, blocks: u32, all: u32) -> Result<(), CheckpointError> {
        let expected = (blocks, all);
        let found = self.decode(block, |input| Ok((input.u32()?, input.u32()?)))?;
        if found != expected {
            let text = |(blocks, all): (u32, u32)| format!("{blocks} blocks of checksum {all:#010x}");
            return Err(self.damaged(block.offset, text(expected), text(found)));
        }
        if self.offset != self.len {
            let found = format!("{} more bytes", self.len - self.offset);
            return Err(self.damaged(self.offset, "the end of the file".to_owned(), found));
        }
        Ok(())
    }

    fn block_of(&mut self, kind: BlockKind) -> Result<Block, CheckpointError> {
        let block = self.block()?;
        if block.kind != kind {
            let (expected, found) = (format!("a block of kind {kind:?}"), format!("{:?}", block.kind));
            return Err(self.damaged(block.offset, expected, found));
        }
        Ok(block)
    }

    fn block(&mut self) -> Result<Block, CheckpointError> {
        let start = self.offset;
        let bytes = self.read(BLOCK_HEADER_BYTES)?;
        let mut header = [0; BLOCK_HEADER_BYTES];
        header.copy_from_slice(&bytes);
        let number = |at: usize| Decoder::new(&header[at..]).u32().unwrap_or(0);
        let (crc, length, ordinal) = (number(0), number(4), number(8));
        let payload = self.read(length as usize)?;
        let expected = block::checksum(&header, &payload);
        if crc != expected {
            return Err(self.damaged(start, format!("checksum {expected:#010x}"), format!("{crc:#010x}")));
        }
        if ordinal != self.blocks {
            let (expected, found) = (format!("block {}", self.blocks), format!("block {ordinal}"));
            return Err(self.damaged(start, expected, found));
        }
        let Some(kind) = BlockKind::from_byte(header[12]) else {
            let (found, known) = (u64::from(header[12]), BlockKind::End as u64);
            return Err(CheckpointError::Unsupported { file: self.path.clone(), what: "block kind", found, known });
        };
        self.blocks += 1;
        self.all = block::chain(self.all, crc);
        Ok(Block { kind, offset: start + BLOCK_HEADER_BYTES as u64, payload })
    }

    /// The next bytes; room for them is taken only if the file has so many.
    fn read(&mut self, len: usize) -> Result<Vec<u8>, CheckpointError> {
        let left = self.len.saturating_sub(self.offset);
        let short = |found: u64| self.damaged(self.offset, format!("{len} bytes"), format!("{found} bytes"));
        if (len as u64) > left {
            return Err(short(left));
        }
        let mut bytes = vec![0; len];
        let count = self.file.read_at(self.offset, &mut bytes)?;
        if count < len {
            return Err(short(count as u64));
        }
        self.offset += len as u64;
        Ok(bytes)
    }

    fn decode<T>(
        &self,
        block: &Block,
        read: impl FnOnce(&mut Decoder<'_>) -> Result<T, CodecError>,
    ) -> Result<T, CheckpointError> {
        let mut input = Decoder::new(&block.payload);
        read(&mut input).and_then(|value| input.finish().map(|()| value)).map_err(|error| {
            let expected = format!("the content of a block of kind {:?}", block.kind);
            self.damaged(block.offset + error.offset as u64, expected, error.what)
        })
    }

    fn damaged(&self, offset: u64, expected: String, found: String) -> CheckpointError {
        CheckpointError::Damaged { file: self.path.clone(), offset, expected, found }
    }
}

fn decode_deletes(input: &mut Decoder<'_>) -> Result<DeleteVectorEntry, CodecError> {
    let segment = SegmentId(input.varint()?);
    let (mut offset, mut lsn) = (0u32, Lsn(0));
    let deletes = input.list(2, |input| {
        let step = input.varint_u32()?;
        offset = offset.checked_add(step).ok_or_else(|| input.error("expected an offset of at most 32 bits"))?;
        lsn = Lsn(lsn.0.wrapping_add(input.zigzag()? as u64));
        Ok((offset, lsn))
    })?;
    Ok(DeleteVectorEntry { segment, deletes })
}

type RowPlace = (u64, Lsn, std::ops::Range<usize>);

fn decode_rows(input: &mut Decoder<'_>) -> Result<Vec<RowPlace>, CodecError> {
    let (mut id, mut lsn) = (0u64, Lsn(0));
    input.list(3, |input| {
        let step = input.varint()?;
        id = id.checked_add(step).ok_or_else(|| input.error("expected row ids of at most 64 bits"))?;
        lsn = Lsn(lsn.0.wrapping_add(input.zigzag()? as u64));
        let len = input.bytes()?.len();
        Ok((id, lsn, input.offset() - len..input.offset()))
    })
}
