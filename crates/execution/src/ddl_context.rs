//! What a statement that changes the catalog works with.

use colonnade_storage::{Awaited, Database, LockMode, LockTarget, Transaction, WriteError};
use colonnade_types::{SqlType, TableDefinition};
use sqlparser::ast;

use crate::binder::Binder;
use crate::error::{Error, Notice, Result};
use crate::locks::LockWaiter;
use crate::outcome::ResultSchema;

/// The transaction and surroundings of one DDL statement.
pub struct DdlContext<'a> {
    /// The transaction that the statement runs in.
    pub transaction: &'a mut Transaction,
    /// The storage, for new identifiers and sequences.
    pub database: &'a Database,
    /// Schemas in which bare names are looked up and created.
    pub search_path: &'a [String],
    /// The role that owns what is created.
    pub user: &'a str,
    /// Notices for the client.
    pub notices: &'a mut Vec<Notice>,
    pub(crate) waiter: &'a LockWaiter,
    pub(crate) binder: &'a Binder,
}

/// What an expression of a definition turned out to be.
#[derive(Clone, Debug)]
pub struct BoundExpression {
    /// Its type.
    pub sql_type: SqlType,
    /// Whether its value may differ from row to row without a column being read (`nextval`, `random`).
    pub volatile: bool,
    /// Names of the columns that it reads.
    pub columns: Vec<String>,
}

/// What a query turned out to be.
#[derive(Clone, Debug)]
pub struct BoundQuery {
    /// Its columns.
    pub schema: ResultSchema,
    /// Relations of the catalog that it names, views' contents not followed.
    pub depends_on: Vec<colonnade_types::Oid>,
}

impl DdlContext<'_> {
    /// Takes a lock, waiting for its holders as `lock_timeout` and cancellation allow.
    ///
    /// # Errors
    /// 55P03 after `lock_timeout`, 40P01 for a deadlock, 57014 for a cancel.
    pub async fn lock(&mut self, target: LockTarget, mode: LockMode) -> Result<()> {
        loop {
            match self.transaction.lock(target.clone(), mode) {
                Ok(()) => return Ok(()),
                Err(WriteError::Blocked(holder)) => {
                    let awaited = Awaited::Lock(target.clone(), mode);
                    self.waiter.wait_for(self.database, self.transaction.id(), holder, awaited).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Type-checks an expression over the columns of `table`: a CHECK, or, over no columns, a DEFAULT.
    ///
    /// # Errors
    /// What PostgreSQL says: 42703, 42883, 42601, ...
    pub fn bind_expression(&self, sql: &str, table: &TableDefinition) -> Result<BoundExpression> {
        self.binder.bind_expression(sql, table, &self.transaction.catalog())
    }

    /// Checks that an expression can be assigned to a column's type, as DEFAULT must.
    ///
    /// # Errors
    /// 42804 if the types do not fit, 22P02 and its like if a literal does not.
    pub fn bind_default(
        &self,
        sql: &str,
        table: &TableDefinition,
        column: &str,
        to: &SqlType,
    ) -> Result<BoundExpression> {
        self.binder.bind_default(sql, table, column, to, &self.transaction.catalog())
    }

    /// Plans a query without running it, for views.
    ///
    /// # Errors
    /// As planning the query would fail.
    pub fn bind_query(&mut self, query: &ast::Query) -> Result<BoundQuery> {
        self.binder.bind_query(query, &self.transaction.catalog())
    }

    /// Evaluates an expression without columns once and gives its value in text form (`None` is NULL), assigned to type `to`.
    ///
    /// # Errors
    /// As evaluating the expression would fail.
    pub fn evaluate(&self, sql: &str, to: &SqlType) -> Result<Option<String>> {
        self.binder.evaluate_to_text(sql, to, &self.transaction.catalog())
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Error {
        crate::locks::write_error(error, None)
    }
}
