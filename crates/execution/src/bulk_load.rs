//! Loading a table from batches, without SQL in between.
//!
//! ```text
//! BulkLoad::begin -> writer() on each thread -> write batches -> finish(writers): one transaction, durable on return
//! ```
//!
//! Rows go straight into segments; the log gets the manifest edit only. Nobody sees any of it before `finish` returns.

use arrow::record_batch::RecordBatch;
use colonnade_storage::{BulkWriter, Isolation, LockMode, LockTarget, Transaction, WriteError};
use colonnade_types::{Oid, Relation, SqlState, TableDefinition};

use crate::engine::Engine;
use crate::error::{Error, Result};

/// A load in progress. Dropping it leaves no trace.
pub struct BulkLoad {
    engine: Engine,
    transaction: Transaction,
    table: std::sync::Arc<TableDefinition>,
}

/// One thread's share of a load.
pub struct BulkLoadWriter {
    writer: BulkWriter,
}

impl BulkLoad {
    /// Begins to load the table `name` of `schema`. The data must satisfy the table's constraints other than its keys: they are not checked.
    ///
    /// # Errors
    /// 42P01 if there is no such table, 55P03 if DDL holds it.
    pub fn begin(engine: &Engine, schema: Oid, name: &str) -> Result<BulkLoad> {
        let mut transaction = engine.database().begin(Isolation::ReadCommitted);
        let table = match transaction.catalog().relation_by_name(schema, name) {
            Some(Relation::Table(table)) => table.clone(),
            _ => return Err(Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))),
        };
        transaction.lock(LockTarget::Relation(table.oid), LockMode::RowExclusive).map_err(refused)?;
        Ok(BulkLoad { engine: engine.clone(), transaction, table })
    }

    /// The table that is loaded.
    #[must_use]
    pub fn table(&self) -> &TableDefinition {
        &self.table
    }

    /// Opens a writer; each has segments of its own and buffers up to one of them.
    ///
    /// # Errors
    /// If storage refuses.
    pub fn writer(&mut self) -> Result<BulkLoadWriter> {
        Ok(BulkLoadWriter { writer: self.transaction.bulk(&self.table).map_err(refused)? })
    }

    /// Commits what the writers wrote; returns the number of rows. Blocks until it is durable.
    ///
    /// # Errors
    /// If a key occurs twice, or storage refuses; nothing was loaded then.
    pub fn finish(mut self, writers: Vec<BulkLoadWriter>) -> Result<u64> {
        let mut rows = 0;
        for writer in writers {
            rows += writer.writer.finish(&mut self.transaction).map_err(refused)?;
        }
        let ticket = self.transaction.commit().map_err(|error| failed(&error))?;
        ticket.wait().map_err(|error| failed(&error))?;
        drop(self.engine);
        Ok(rows)
    }
}

impl BulkLoadWriter {
    /// Adds rows, columns in the table's order and of its Arrow types. Blocks while a segment is written.
    ///
    /// # Errors
    /// If storage refuses; the load cannot go on.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.writer.write(rows).map_err(refused)
    }
}

fn refused(error: WriteError) -> Error {
    match error {
        WriteError::Blocked(_) => Error::new(SqlState::LOCK_NOT_AVAILABLE, "the table is in use"),
        WriteError::DuplicateKey { constraint, .. } => Error::new(SqlState::UNIQUE_VIOLATION, error_text(&constraint)),
        other => failed(&other),
    }
}

fn error_text(constraint: &str) -> String {
    format!("duplicate key value violates unique constraint \"{constraint}\"")
}

fn failed(error: &dyn std::error::Error) -> Error {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Error::new(SqlState::IO_ERROR, message)
}
