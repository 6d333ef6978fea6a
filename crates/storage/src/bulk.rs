//! The direct path: rows become segments without passing through the tail or the log.
//!
//! Rows are gathered until they fill a segment, sorted by the table's sort key, and written as a durable file. The transaction's record names
//! the files; until it is in the log they are strays, which a rollback, or else the next start, removes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};
use colonnade_columnar::{ColumnSpec, SEGMENT_ROWS_MAX, WriteOptions};
use colonnade_types::{TableDefinition, TxnId};
use parking_lot::Mutex;

use crate::database::Inner;
use crate::deletes::Deletes;
use crate::error::WriteError;
use crate::manifest::CreatedLsn;
use crate::segment::Segment;
use crate::segment_file;
use crate::segment_keys;
use crate::stamp::Stamp;
use crate::table::TableData;
use crate::transaction::Transaction;

/// A load in progress. Dropping it removes what it wrote.
#[derive(Debug)]
pub struct BulkWriter {
    inner: Arc<Inner>,
    data: Arc<TableData>,
    table: TableDefinition,
    txn: TxnId,
    specs: Vec<ColumnSpec>,
    buffer: Vec<RecordBatch>,
    buffered_rows: usize,
    buffered_bytes: usize,
    segments: Vec<Arc<Segment>>,
    rows: u64,
}

impl BulkWriter {
    pub(crate) fn new(
        inner: Arc<Inner>,
        data: Arc<TableData>,
        table: &TableDefinition,
        txn: TxnId,
    ) -> Result<BulkWriter, WriteError> {
        let specs = segment_file::specs(table.columns.iter().map(|column| (column.id, column.sql_type.arrow_type())));
        if specs.is_empty() {
            return Err(WriteError::Mismatch("a table without columns has no segments".to_owned()));
        }
        Ok(BulkWriter {
            inner,
            data,
            table: table.clone(),
            txn,
            specs,
            buffer: Vec::new(),
            buffered_rows: 0,
            buffered_bytes: 0,
            segments: Vec::new(),
            rows: 0,
        })
    }

    /// Adds rows, columns in definition order. Writes a segment whenever enough have come.
    ///
    /// # Errors
    /// [`WriteError`]; the load cannot go on.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), WriteError> {
        if rows.num_columns() != self.specs.len() {
            let (found, expected) = (rows.num_columns(), self.specs.len());
            return Err(WriteError::Mismatch(format!("{found} columns, expected {expected}")));
        }
        for (index, (column, spec)) in rows.columns().iter().zip(&self.specs).enumerate() {
            if *column.data_type() != spec.data_type {
                let (found, expected) = (column.data_type(), &spec.data_type);
                return Err(WriteError::Mismatch(format!("column {index} has type {found}, expected {expected}")));
            }
        }
        let rows_max = self.inner.options.bulk_segment_rows.clamp(1, SEGMENT_ROWS_MAX);
        let mut done = 0;
        while done < rows.num_rows() {
            let count = (rows.num_rows() - done).min(rows_max - self.buffered_rows);
            let part = rows.slice(done, count);
            self.buffered_bytes += part.columns().iter().map(value_bytes).sum::<usize>();
            self.buffered_rows += count;
            self.buffer.push(part);
            done += count;
            if self.buffered_rows >= rows_max || self.buffered_bytes >= self.inner.options.bulk_segment_bytes {
                self.write_segment()?;
            }
        }
        Ok(())
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows + self.buffered_rows as u64
    }

    fn write_segment(&mut self) -> Result<(), WriteError> {
        let mut batches = std::mem::take(&mut self.buffer);
        let rows = std::mem::take(&mut self.buffered_rows);
        self.buffered_bytes = 0;
        let parts =
            |index: usize| -> Vec<ArrayRef> { batches.iter().map(|batch| Arc::clone(batch.column(index))).collect() };
        let keys = segment_file::sort_columns(&self.table)
            .iter()
            .filter_map(|id| self.table.column_index(*id))
            .map(|index| segment_file::joined(&parts(index)))
            .collect::<Result<Vec<_>, _>>()?;
        let order = segment_file::order(&keys);
        drop(keys);
        if let Some(order) = order {
            // Column by column, so that rows are held twice in a few columns only.
            let columns: Vec<Vec<ArrayRef>> = (0..self.specs.len()).map(parts).collect();
            batches.clear();
            let sorted = reordered(columns, &order, self.inner.options.encode_threads)?;
            batches.push(segment_file::batch(sorted)?);
        }
        let entry = segment_file::write(
            self.inner.store.disk.as_ref(),
            self.inner.allocate_segment(),
            &self.specs,
            &batches,
            &WriteOptions { threads: self.inner.options.encode_threads, ..WriteOptions::default() },
            CreatedLsn::Commit,
        )?;
        let store = Arc::clone(&self.inner.store);
        // It belongs to nobody until it is attached.
        let segment = Arc::new(Segment::new(store, entry, Stamp::ABORTED, Deletes::default()));
        self.segments.push(Arc::clone(&segment));
        segment_keys::write_all(&self.table, &segment)?;
        self.rows += rows as u64;
        Ok(())
    }

    /// Writes the rest, checks keys and attaches the segments to the transaction; returns the number of rows.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was attached. After [`WriteError::Blocked`] the load is lost: it has to be run again.
    ///
    /// # Panics
    /// If `transaction` is not the one that began the load.
    pub fn finish(mut self, transaction: &mut Transaction) -> Result<u64, WriteError> {
        assert_eq!(self.txn, transaction.id(), "a load belongs to its transaction");
        if self.buffered_rows > 0 {
            self.write_segment()?;
        }
        if !self.segments.is_empty() {
            transaction.attach(&self.table, Arc::clone(&self.data), self.segments.clone())?;
            self.segments.clear();
        }
        Ok(self.rows)
    }
}

impl Drop for BulkWriter {
    fn drop(&mut self) {
        for segment in &self.segments {
            segment.set_created(Stamp::ABORTED);
            segment.set_obsolete();
        }
    }
}

/// Joins the parts of each column and puts their rows in `order`, several columns at once.
fn reordered(columns: Vec<Vec<ArrayRef>>, order: &UInt32Array, threads: usize) -> Result<Vec<ArrayRef>, WriteError> {
    let slots: Vec<Mutex<Option<ArrayRef>>> = columns.iter().map(|_| Mutex::default()).collect();
    let queue = Mutex::new(columns.into_iter().enumerate());
    let work = || -> Result<(), WriteError> {
        loop {
            let next = queue.lock().next();
            let Some((index, parts)) = next else { return Ok(()) };
            *slots[index].lock() = Some(segment_file::picked(&segment_file::joined(&parts)?, order)?);
        }
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let failed = || WriteError::Mismatch("a thread that sorts a column has panicked".to_owned());
        helpers.into_iter().map(|helper| helper.join().map_err(|_| failed())?).fold(own, Result::and)
    })?;
    let missing = || WriteError::Mismatch("a column was not sorted".to_owned());
    slots.into_iter().map(|slot| slot.into_inner().ok_or_else(missing)).collect()
}

/// Bytes that the values of an array take, apart from buffers shared with other rows.
fn value_bytes(array: &ArrayRef) -> usize {
    fn views<T: ByteViewType>(array: &ArrayRef) -> usize {
        // A view's low half is the value's length.
        array.as_byte_view::<T>().views().iter().map(|view| 16 + (*view as u32) as usize).sum()
    }
    match array.data_type() {
        DataType::Utf8View => views::<StringViewType>(array),
        DataType::BinaryView => views::<BinaryViewType>(array),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (from, to) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
            let (from, to) = (usize::try_from(from).unwrap_or(0), usize::try_from(to).unwrap_or(0));
            4 * list.len() + value_bytes(&list.values().slice(from, to - from))
        }
        other => array.len() * other.primitive_width().unwrap_or(1),
    }
}
