//! INSERT, UPDATE, DELETE, TRUNCATE.
//!
//! A statement that writes locks its table against DDL, marks a savepoint and takes a snapshot; then it plans, reads and writes. When a row has been changed
//! by a transaction that committed after the snapshot, READ COMMITTED rolls back to the savepoint and runs the statement again on a
//! new snapshot, and REPEATABLE READ fails with 40001.
//!
//! | module | one sentence |
//! |---|---|
//! | [`insert`] | Rows from VALUES, a query, or nowhere. |
//! | [`on_conflict`] | INSERT that meets rows with the same key. |
//! | [`update`] | UPDATE and DELETE: addresses and new rows from a query. |
//! | [`defaults`] | Values for columns that a statement leaves out. |
//! | [`checks`] | NOT NULL and CHECK. |
//! | [`sink`] | Rows into the table, one by one or in bulk. |
//! | [`returning`] | RETURNING. |
//! | [`truncate`] | TRUNCATE. |

pub(crate) mod checks;
pub(crate) mod defaults;
pub(crate) mod insert;
mod on_conflict;
pub(crate) mod returning;
pub(crate) mod sink;
pub(crate) mod truncate;
pub(crate) mod update;

use std::sync::Arc;

use colonnade_storage::{Awaited, Database, LockMode, LockTarget, Snapshot, Transaction, WriteError};
use colonnade_types::{Oid, SqlState, TableDefinition};
use parking_lot::Mutex;
use sqlparser::ast;

use crate::binder::Binder;
use crate::binder::syntax::Parameters;
use crate::error::{Error, Result};
use crate::locks::{LockWaiter, write_error};
use crate::names::{ObjectPath, find_table};
use crate::outcome::{CommandTag, Outcome, ResultSchema, RowBatches, RowStream, TagRule};

/// A session's transaction, shared with the statement that streams into it.
pub(crate) type SharedTransaction = Arc<Mutex<Option<Transaction>>>;

/// What a writing statement works with.
#[derive(Clone)]
pub(crate) struct WriteContext {
    pub(crate) database: Database,
    pub(crate) transaction: SharedTransaction,
    pub(crate) waiter: LockWaiter,
    /// REPEATABLE READ: a conflict is an error.
    pub(crate) repeatable: bool,
    /// Threads that a large load may use.
    pub(crate) threads: usize,
}

/// Why one attempt of a statement ended.
pub(crate) enum Attempt {
    /// A row was changed since the snapshot.
    Conflict,
    /// It failed.
    Failed(Error),
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Attempt {
        Attempt::Failed(error)
    }
}

impl WriteContext {
    /// Does something with the transaction.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Transaction) -> T) -> Result<T> {
        let mut guard = self.transaction.lock();
        let transaction = guard.as_mut().ok_or_else(|| {
            Error::new(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            )
        })?;
        Ok(work(transaction))
    }

    /// Tries a write until no other transaction stands in its way.
    pub(crate) async fn write<T>(
        &self,
        mut work: impl FnMut(&mut Transaction) -> Result<T, WriteError>,
    ) -> Result<T, WriteOrError> {
        loop {
            let (id, outcome) = self.with(|transaction| (transaction.id(), work(transaction)))?;
            match outcome {
                Ok(done) => return Ok(done),
                Err(WriteError::Blocked(holder)) => self.waiter.wait(&self.database, id, holder).await?,
                Err(error) => return Err(WriteOrError::Write(error)),
            }
        }
    }

    /// Locks a relation, waiting for its holders.
    pub(crate) async fn lock(&self, relation: Oid, mode: LockMode) -> Result<()> {
        self.lock_target(LockTarget::Relation(relation), mode).await
    }

    /// Takes a lock, waiting for its holders.
    pub(crate) async fn lock_target(&self, target: LockTarget, mode: LockMode) -> Result<()> {
        loop {
            let (id, outcome) = self.with(|transaction| (transaction.id(), transaction.lock(target.clone(), mode)))?;
            match outcome {
                Ok(()) => return Ok(()),
                Err(WriteError::Blocked(holder)) => {
                    let awaited = Awaited::Lock(target.clone(), mode);
                    self.waiter.wait_for(&self.database, id, holder, awaited).await?;
                }
                Err(error) => return Err(write_error(error, None)),
            }
        }
    }

    /// Finds the table that a statement writes, and locks it against DDL.
    pub(crate) async fn open(&self, binder: &Binder, name: &ast::ObjectName) -> Result<Arc<TableDefinition>> {
        let path = ObjectPath::from_ast(name)?;
        if crate::builtin::system_table(path.schema.as_deref().unwrap_or("pg_catalog"), &path.name).is_some() {
            return Err(Error::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied for view {}", path.name),
            ));
        }
        let search_path = Arc::clone(binder.info.statement().settings.search_path());
        loop {
            let table = find_table(self.with(|t| t.catalog())?.as_ref(), &search_path, &path)
                .map_err(|e| not_writable(e, &path))?;
            self.lock(table.oid, LockMode::RowExclusive).await?;
            // While we waited, the table may have been changed or dropped.
            let now = find_table(self.with(|t| t.catalog())?.as_ref(), &search_path, &path)?;
            if Arc::ptr_eq(&table, &now) || table == now {
                return Ok(now);
            }
        }
    }
}

fn not_writable(error: Error, path: &ObjectPath) -> Error {
    if error.sql_state == SqlState::WRONG_OBJECT_TYPE {
        return Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("cannot change view \"{}\"", path.name))
            .with_detail("Views are not automatically updatable.");
    }
    error
}

/// A refusal of storage, or a failure of the way there.
pub(crate) enum WriteOrError {
    Write(WriteError),
    Error(Error),
}

impl From<Error> for WriteOrError {
    fn from(error: Error) -> WriteOrError {
        WriteOrError::Error(error)
    }
}

impl WriteOrError {
    pub(crate) fn into_error(self, table: Option<&str>) -> Error {
        match self {
            WriteOrError::Write(error) => write_error(error, table),
            WriteOrError::Error(error) => error,
        }
    }

    pub(crate) fn into_attempt(self, table: &str) -> Attempt {
        match self {
            WriteOrError::Write(WriteError::Conflict) => Attempt::Conflict,
            other => Attempt::Failed(other.into_error(Some(table))),
        }
    }
}

/// What a writing statement did.
pub(crate) struct Written {
    pub(crate) rows: u64,
    /// What RETURNING gives.
    pub(crate) returned: Option<(ResultSchema, Vec<arrow::record_batch::RecordBatch>)>,
}

impl Written {
    fn outcome(self, words: &str) -> Outcome {
        let tag = format!("{words} {}", self.rows);
        match self.returned {
            None => Outcome::Command(CommandTag::new(tag)),
            Some((schema, batches)) => Outcome::Rows(RowStream {
                schema: Arc::new(schema),
                batches: RowBatches::stream(futures::stream::iter(batches.into_iter().map(Ok))),
                tag: TagRule::Fixed(tag),
            }),
        }
    }
}

/// Whether a statement is one of ours, and which.
pub(crate) enum WriteStatement<'a> {
    Insert(&'a ast::Insert, Option<&'a ast::With>),
    Update(&'a ast::Update, Option<&'a ast::With>),
    Delete(&'a ast::Delete, Option<&'a ast::With>),
}

impl<'a> WriteStatement<'a> {
    /// Recognises a writing statement, `WITH ... INSERT` too.
    pub(crate) fn of(statement: &'a ast::Statement) -> Option<WriteStatement<'a>> {
        Some(match statement {
            ast::Statement::Insert(insert) => WriteStatement::Insert(insert, None),
            ast::Statement::Update(update) => WriteStatement::Update(update, None),
            ast::Statement::Delete(delete) => WriteStatement::Delete(delete, None),
            ast::Statement::Query(query) => match query.body.as_ref() {
                ast::SetExpr::Insert(ast::Statement::Insert(insert)) => {
                    WriteStatement::Insert(insert, query.with.as_ref())
                }
                ast::SetExpr::Update(ast::Statement::Update(update)) => {
                    WriteStatement::Update(update, query.with.as_ref())
                }
                ast::SetExpr::Delete(ast::Statement::Delete(delete)) => {
                    WriteStatement::Delete(delete, query.with.as_ref())
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The statement's word, for messages.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            WriteStatement::Insert(..) => "INSERT",
            WriteStatement::Update(..) => "UPDATE",
            WriteStatement::Delete(..) => "DELETE",
        }
    }

    /// Runs it.
    pub(crate) async fn run(
        &self,
        context: &WriteContext,
        binder: &Binder,
        parameters: &Parameters,
    ) -> Result<Outcome> {
        let savepoint = context.with(|transaction| transaction.savepoint())?;
        loop {
            let attempt = match self {
                WriteStatement::Insert(insert, with) => insert::run(context, binder, insert, *with, parameters).await,
                WriteStatement::Update(update, with) => {
                    update::update(context, binder, update, *with, parameters).await
                }
                WriteStatement::Delete(delete, with) => {
                    update::delete(context, binder, delete, *with, parameters).await
                }
            };
            match attempt {
                Ok(written) => {
                    let words = if matches!(self, WriteStatement::Insert(..)) { "INSERT 0" } else { self.word() };
                    return Ok(written.outcome(words));
                }
                Err(Attempt::Failed(error)) => return Err(error),
                Err(Attempt::Conflict) if context.repeatable => {
                    return Err(write_error(WriteError::Conflict, None));
                }
                Err(Attempt::Conflict) => {
                    context.waiter.guard.check()?;
                    context.with(|transaction| transaction.rollback_to(&savepoint))?;
                }
            }
        }
    }

    /// Plans it without running it, to learn its parameters and what it returns.
    pub(crate) async fn describe(
        &self,
        context: &WriteContext,
        binder: &Binder,
        parameters: &Parameters,
    ) -> Result<Option<ResultSchema>> {
        match self {
            WriteStatement::Insert(insert, with) => insert::describe(context, binder, insert, *with, parameters).await,
            WriteStatement::Update(update, with) => {
                update::describe_update(context, binder, update, *with, parameters).await
            }
            WriteStatement::Delete(delete, with) => {
                update::describe_delete(context, binder, delete, *with, parameters).await
            }
        }
    }
}

/// A snapshot for the statement's reads.
pub(crate) fn snapshot(context: &WriteContext) -> Result<Snapshot> {
    context.with(Transaction::snapshot)
}
