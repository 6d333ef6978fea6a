//! Rows into a table: into its tail, or, from 100,000 rows on, straight into segments.
//!
//! The first [`BULK_ROWS`] rows are kept in memory, because only their number tells which way is right. Then a writer on a thread of its own takes
//! over, and the sink holds no more than a few batches. The writer holds one segment's rows and encodes them on several threads.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use colonnade_storage::{BulkWriter, WriteError};
use colonnade_types::TableDefinition;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::dml::checks::Checks;
use crate::dml::{Attempt, WriteContext};
use crate::error::{Error, Result};
use crate::locks::write_error;

/// Rows from which a statement writes segments directly.
pub(crate) const BULK_ROWS: usize = 100_000;
/// Rows of one append to the tail.
const APPEND_ROWS: usize = 65_536;
/// Batches that wait for the writer.
const QUEUE: usize = 2;

/// Takes the rows of one statement.
pub(crate) struct Sink {
    context: WriteContext,
    table: Arc<TableDefinition>,
    checks: Checks,
    buffered: Vec<RecordBatch>,
    buffered_rows: usize,
    bulk: Option<Bulk>,
    rows: u64,
}

/// The writer at work.
struct Bulk {
    queue: mpsc::Sender<RecordBatch>,
    writer: JoinHandle<Result<BulkWriter, WriteError>>,
}

impl Sink {
    pub(crate) fn new(context: WriteContext, table: Arc<TableDefinition>, checks: Checks) -> Sink {
        Sink { context, table, checks, buffered: Vec::new(), buffered_rows: 0, bulk: None, rows: 0 }
    }

    /// Takes rows, columns in the table's order and of its Arrow types.
    ///
    /// # Errors
    /// If a constraint is broken, or a writer has failed.
    pub(crate) async fn push(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.checks.test(&rows)?;
        self.rows += rows.num_rows() as u64;
        if self.bulk.is_none() {
            self.buffered_rows += rows.num_rows();
            self.buffered.push(rows);
            if self.buffered_rows < BULK_ROWS {
                return Ok(());
            }
            self.start_bulk()?;
            for batch in std::mem::take(&mut self.buffered) {
                self.send(batch).await?;
            }
            return Ok(());
        }
        self.send(rows).await
    }

    fn start_bulk(&mut self) -> Result<()> {
        let (queue, mut receiver) = mpsc::channel::<RecordBatch>(QUEUE);
        let mut writer = self
            .context
            .with(|transaction| transaction.bulk(&self.table))?
            .map_err(|error| write_error(error, Some(&self.table.name)))?;
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(batch) = receiver.blocking_recv() {
                writer.write(&batch)?;
            }
            Ok(writer)
        });
        self.bulk = Some(Bulk { queue, writer });
        Ok(())
    }

    async fn send(&mut self, batch: RecordBatch) -> Result<()> {
        let Some(bulk) = &self.bulk else { return Err(Error::internal("no bulk load is running")) };
        let sent = self.context.waiter.guard.run(bulk.queue.send(batch)).await?;
        if sent.is_err() {
            // The writer has stopped, and says why.
            return match self.join().await {
                Err(error) => Err(error),
                Ok(_) => Err(Error::internal("the bulk writer has stopped")),
            };
        }
        Ok(())
    }

    async fn join(&mut self) -> Result<BulkWriter> {
        let Some(bulk) = self.bulk.take() else { return Err(Error::internal("no bulk load is running")) };
        drop(bulk.queue);
        match bulk.writer.await {
            Ok(writer) => writer.map_err(|error| write_error(error, Some(&self.table.name))),
            Err(error) => Err(Error::internal(format!("the bulk writer failed: {error}"))),
        }
    }

    /// Writes what is left; on return the rows belong to the transaction.
    pub(crate) async fn finish(mut self) -> Result<u64, Attempt> {
        if self.bulk.is_some() {
            let writer = self.join().await?;
            self.attach(writer).await?;
            return Ok(self.rows);
        }
        let batches = std::mem::take(&mut self.buffered);
        for rows in gathered(&batches)? {
            self.context
                .write(|transaction| transaction.append(&self.table, &rows))
                .await
                .map_err(|error| error.into_attempt(&self.table.name))?;
        }
        Ok(self.rows)
    }

    /// Lets the writer write its last segment, which takes a while, off the async threads.
    async fn attach(&self, writer: BulkWriter) -> Result<(), Attempt> {
        let shared = Arc::clone(&self.context.transaction);
        let table = self.table.name.clone();
        let done = tokio::task::spawn_blocking(move || -> Result<(), Attempt> {
            let Some(mut transaction) = shared.lock().take() else {
                return Err(Attempt::Failed(Error::internal("the transaction of a load is gone")));
            };
            let finished = writer.finish(&mut transaction);
            *shared.lock() = Some(transaction);
            match finished {
                Ok(_) => Ok(()),
                Err(WriteError::Conflict | WriteError::Blocked(_)) => Err(Attempt::Conflict),
                Err(error) => Err(Attempt::Failed(write_error(error, Some(&table)))),
            }
        });
        done.await.map_err(|error| Attempt::Failed(Error::internal(format!("a load failed: {error}"))))?
    }
}

/// Small batches put together to appends of a good size.
fn gathered(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    if batches.len() == 1 && first.num_rows() <= APPEND_ROWS {
        return Ok(vec![first.clone()]);
    }
    let mut out = Vec::new();
    let mut from = 0;
    while from < batches.len() {
        let (mut to, mut rows) = (from, 0);
        while to < batches.len() && (to == from || rows + batches[to].num_rows() <= APPEND_ROWS) {
            rows += batches[to].num_rows();
            to += 1;
        }
        out.push(arrow::compute::concat_batches(&first.schema(), &batches[from..to])?);
        from = to;
    }
    Ok(out)
}
