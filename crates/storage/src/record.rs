//! What a log record says.
//!
//! A committed transaction is one record: its commit time and its operations in order. Layout in `docs/storage-format.md`, section "Log records". Rows are
//! opaque here: how their bytes are made is `row_codec`'s matter, and `layout` is whatever that needs to read them again.
//!
//! [`TransactionEncoder`] writes straight into the payload, so row bytes are copied once; [`Record::decode`] borrows them from
//! the payload.
//!
//! **Versions.** Records and operations have a kind; a kind that is not known, or a version that is newer, is refused, never skipped: what it says might
//! change what the others mean.

use colonnade_types::{Lsn, Oid, SegmentId, StorageId};

use crate::catalog::{CatalogEdit, decode_edit, encode_edit};
use crate::codec::{CodecError, Decoder, Encoder};
use crate::manifest::{CarriedDelete, SegmentEntry, decode_entry, decode_offsets, encode_entry, encode_offsets};
use crate::sequence::{SequenceState, decode_state, encode_state};

/// Version of the records that are written.
pub const RECORD_VERSION: u8 = 1;

const KIND_TRANSACTION: u8 = 1;
const KIND_SEQUENCE_ADVANCE: u8 = 2;

const OP_APPEND: u8 = 1;
const OP_DELETE: u8 = 2;
const OP_DELETE_SEGMENT: u8 = 3;
const OP_CATALOG: u8 = 4;
const OP_MANIFEST: u8 = 5;

/// A log record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record<'a> {
    /// A committed transaction.
    Transaction {
        /// When it committed, in microseconds since 1970, by the wall clock.
        time_micros: i64,
        /// What it did, in order.
        operations: Vec<Operation<'a>>,
    },
    /// A sequence may have given out values up to this one; not part of any transaction.
    SequenceAdvance {
        /// The sequence.
        sequence: Oid,
        /// Its state from here on.
        state: SequenceState,
    },
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation<'a> {
    /// Rows appended to a tail.
    Append {
        /// The body of rows.
        storage: StorageId,
        /// What reads the row bytes again.
        layout: &'a [u8],
        /// The rows' ids: first id and number of each run, in the order of the row bytes.
        runs: Vec<(u64, u32)>,
        /// Every row's bytes, in order.
        rows: Vec<&'a [u8]>,
    },
    /// Rows of a tail deleted.
    Delete {
        /// The body of rows.
        storage: StorageId,
        /// Their ids, ascending.
        rows: Vec<u64>,
    },
    /// Rows of a segment deleted.
    DeleteSegment {
        /// The body of rows.
        storage: StorageId,
        /// The segment.
        segment: SegmentId,
        /// Their offsets in the segment, ascending.
        offsets: Vec<u32>,
    },
    /// A change of the catalog.
    Catalog(CatalogEdit),
    /// A change of the list of segments.
    Manifest(ManifestEdit),
}

/// A change of the list of segments of one body of rows, all of it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestEdit {
    /// The body of rows.
    pub storage: StorageId,
    /// Segments that come.
    pub add: Vec<SegmentEntry>,
    /// Segments that go.
    pub remove: Vec<SegmentId>,
    /// Rows of the tail with smaller ids are gone: they are in the segments that come, or no snapshot needs them. 0 leaves the tail as
    /// it is.
    pub tail_removed_before: u64,
    /// Deletes of rows that have moved into the segments that come.
    pub carried: Vec<CarriedDelete>,
}

/// Writes a transaction's record.
#[derive(Debug)]
pub struct TransactionEncoder {
    out: Encoder,
    operations: u32,
}

/// Where the number of operations stands in the payload.
const OPERATIONS_AT: usize = 10;

impl TransactionEncoder {
    /// Begins a record.
    #[must_use]
    pub fn new(time_micros: i64) -> TransactionEncoder {
        let mut out = Encoder::new();
        out.u8(KIND_TRANSACTION);
        out.u8(RECORD_VERSION);
        out.i64(time_micros);
        out.u32(0);
        TransactionEncoder { out, operations: 0 }
    }

    fn begin(&mut self, kind: u8) -> &mut Encoder {
        self.operations += 1;
        self.out.u8(kind);
        &mut self.out
    }

    /// Rows appended to a tail: `runs` give their ids as first id and number, `rows` their bytes in the same order.
    pub fn append<'r>(
        &mut self,
        storage: StorageId,
        layout: &[u8],
        runs: &[(u64, u32)],
        rows: impl IntoIterator<Item = &'r [u8]>,
    ) {
        let out = self.begin(OP_APPEND);
        out.varint(storage.0);
        out.bytes(layout);
        out.count(runs.len());
        let mut expected = 0u64;
        for (first, count) in runs {
            out.varint(*first);
            out.varint(u64::from(*count));
            expected += u64::from(*count);
        }
        let mut found = 0u64;
        for row in rows {
            out.bytes(row);
            found += 1;
        }
        assert_eq!(found, expected, "every row has an id");
    }

    /// Rows of a tail deleted; `rows` are their ids, ascending.
    pub fn delete(&mut self, storage: StorageId, rows: &[u64]) {
        debug_assert!(rows.is_sorted());
        let out = self.begin(OP_DELETE);
        out.varint(storage.0);
        out.count(rows.len());
        let mut before = 0;
        for row in rows {
            out.varint(row - before);
            before = *row;
        }
    }

    /// Rows of a segment deleted; `offsets` ascending.
    pub fn delete_segment(&mut self, storage: StorageId, segment: SegmentId, offsets: &[u32]) {
        let out = self.begin(OP_DELETE_SEGMENT);
        out.varint(storage.0);
        out.varint(segment.0);
        encode_offsets(out, offsets.iter().copied());
    }

    /// A change of the catalog.
    pub fn catalog(&mut self, edit: &CatalogEdit) {
        let out = self.begin(OP_CATALOG);
        encode_edit(out, edit);
    }

    /// A change of the list of segments.
    pub fn manifest(&mut self, edit: &ManifestEdit) {
        let out = self.begin(OP_MANIFEST);
        out.varint(edit.storage.0);
        out.count(edit.add.len());
        for entry in &edit.add {
            encode_entry(out, entry);
        }
        out.count(edit.remove.len());
        for segment in &edit.remove {
            out.varint(segment.0);
        }
        out.varint(edit.tail_removed_before);
        out.count(edit.carried.len());
        for carried in &edit.carried {
            out.varint(carried.segment.0);
            out.varint(u64::from(carried.offset));
            out.varint(carried.lsn.0);
        }
    }

    /// Whether nothing was done, so that no record is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations == 0
    }

    /// Number of bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// The record's payload.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut bytes = self.out.into_vec();
        bytes[OPERATIONS_AT..OPERATIONS_AT + 4].copy_from_slice(&self.operations.to_le_bytes());
        bytes
    }
}

/// The payload of a [`Record::SequenceAdvance`].
#[must_use]
pub fn encode_sequence_advance(sequence: Oid, state: SequenceState) -> Vec<u8> {
    let mut out = Encoder::new();
    out.u8(KIND_SEQUENCE_ADVANCE);
    out.u8(RECORD_VERSION);
    out.varint(u64::from(sequence.0));
    encode_state(&mut out, state);
    out.into_vec()
}

impl<'a> Record<'a> {
    /// Reads a record's payload.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are no record, or of a kind or version that is not known.
    pub fn decode(payload: &'a [u8]) -> Result<Record<'a>, CodecError> {
        let mut input = Decoder::new(payload);
        let (kind, version) = (input.u8()?, input.u8()?);
        if version != RECORD_VERSION {
            return Err(input.error(format!("expected record version {RECORD_VERSION}, found {version}")));
        }
        let record = match kind {
            KIND_TRANSACTION => {
                let time_micros = input.i64()?;
                let count = input.u32()?;
                let mut operations = Vec::new();
                for _ in 0..count {
                    operations.push(decode_operation(&mut input)?);
                }
                Record::Transaction { time_micros, operations }
            }
            KIND_SEQUENCE_ADVANCE => {
                Record::SequenceAdvance { sequence: Oid(input.varint_u32()?), state: decode_state(&mut input)? }
            }
            other => return Err(input.error(format!("expected a kind of record up to 2, found {other}"))),
        };
        input.finish()?;
        Ok(record)
    }
}

fn decode_operation<'a>(input: &mut Decoder<'a>) -> Result<Operation<'a>, CodecError> {
    Ok(match input.u8()? {
        OP_APPEND => {
            let (storage, layout) = (StorageId(input.varint()?), input.bytes()?);
            let runs = input.list(2, |input| {
                let (first, count) = (input.varint()?, input.varint_u32()?);
                match first.checked_add(u64::from(count)) {
                    Some(_) => Ok((first, count)),
                    None => Err(input.error("expected row ids of at most 64 bits")),
                }
            })?;
            let total: u64 = runs.iter().map(|(_, count)| u64::from(*count)).sum();
            // Every row takes a byte at least.
            if total > input.remaining() as u64 {
                return Err(input.error(format!("expected at most {} rows, found {total}", input.remaining())));
            }
            let rows = (0..total).map(|_| input.bytes()).collect::<Result<_, _>>()?;
            Operation::Append { storage, layout, runs, rows }
        }
        OP_DELETE => {
            let storage = StorageId(input.varint()?);
            let mut before = 0u64;
            let rows = input.list(1, |input| {
                let step = input.varint()?;
                before = before.checked_add(step).ok_or_else(|| input.error("expected row ids of at most 64 bits"))?;
                Ok(before)
            })?;
            Operation::Delete { storage, rows }
        }
        OP_DELETE_SEGMENT => Operation::DeleteSegment {
            storage: StorageId(input.varint()?),
            segment: SegmentId(input.varint()?),
            offsets: decode_offsets(input)?,
        },
        OP_CATALOG => Operation::Catalog(decode_edit(input)?),
        OP_MANIFEST => Operation::Manifest(ManifestEdit {
            storage: StorageId(input.varint()?),
            add: input.list(8, decode_entry)?,
            remove: input.list(1, |input| input.varint().map(SegmentId))?,
            tail_removed_before: input.varint()?,
            carried: input.list(3, |input| {
                Ok(CarriedDelete {
                    segment: SegmentId(input.varint()?),
                    offset: input.varint_u32()?,
                    lsn: Lsn(input.varint()?),
                })
            })?,
        }),
        other => return Err(input.error(format!("expected a kind of operation up to 5, found {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::CreatedLsn;

    fn payload() -> Vec<u8> {
        let mut out = TransactionEncoder::new(-5);
        assert!(out.is_empty());
        let rows: [&[u8]; 3] = [b"one", b"", b"three"];
        out.append(StorageId(7), b"layout", &[(100, 2), (200, 1)], rows);
        out.delete(StorageId(7), &[3, 4, 1 << 40]);
        out.delete_segment(StorageId(7), SegmentId(9), &[0, 5, u32::MAX]);
        out.catalog(&CatalogEdit::DropRelation(Oid(16_400)));
        out.manifest(&manifest());
        out.finish()
    }

    fn manifest() -> ManifestEdit {
        ManifestEdit {
            storage: StorageId(7),
            add: vec![SegmentEntry {
                id: SegmentId(12),
                rows: 1_000,
                size_bytes: 70_000,
                raw_bytes: 300_000,
                checksum: 0xdead_beef,
                created: CreatedLsn::Commit,
            }],
            remove: vec![SegmentId(9)],
            tail_removed_before: 8_192,
            carried: vec![CarriedDelete { segment: SegmentId(12), offset: 3, lsn: Lsn(4_096) }],
        }
    }

    #[test]
    fn a_transaction_survives_its_bytes() {
        let bytes = payload();
        let expected = Record::Transaction {
            time_micros: -5,
            operations: vec![
                Operation::Append {
                    storage: StorageId(7),
                    layout: b"layout",
                    runs: vec![(100, 2), (200, 1)],
                    rows: vec![b"one", b"", b"three"],
                },
                Operation::Delete { storage: StorageId(7), rows: vec![3, 4, 1 << 40] },
                Operation::DeleteSegment {
                    storage: StorageId(7),
                    segment: SegmentId(9),
                    offsets: vec![0, 5, u32::MAX],
                },
                Operation::Catalog(CatalogEdit::DropRelation(Oid(16_400))),
                Operation::Manifest(manifest()),
            ],
        };
        assert_eq!(Record::decode(&bytes), Ok(expected));
        for len in 0..bytes.len() {
            assert!(Record::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_sequence_advance_survives_its_bytes() {
        let state = SequenceState { last_value: -32, is_called: true };
        let bytes = encode_sequence_advance(Oid(16_500), state);
        assert_eq!(Record::decode(&bytes), Ok(Record::SequenceAdvance { sequence: Oid(16_500), state }));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let mut newer = payload();
        newer[1] = 2;
        assert!(Record::decode(&newer).unwrap_err().what.contains("record version 1, found 2"));
        let mut other = payload();
        other[0] = 77;
        assert!(Record::decode(&other).unwrap_err().what.contains("found 77"));
        let mut operation = TransactionEncoder::new(0);
        operation.begin(99);
        assert!(Record::decode(&operation.finish()).unwrap_err().what.contains("found 99"));
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(position in any::<prop::sample::Index>(), value: u8, tail: Vec<u8>) {
            let mut bytes = payload();
            let place = position.index(bytes.len());
            bytes[place] = value;
            let _ = Record::decode(&bytes);
            let mut bytes = vec![KIND_TRANSACTION, RECORD_VERSION];
            bytes.extend(tail);
            let _ = Record::decode(&bytes);
        }
    }
}
