//! A parsed statement: its text, its place in that text, and what it asks for.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast;

use crate::copy::CopyStatement;
use crate::explain::ExplainOptions;

/// One statement of a parsed text. Cheap to clone.
#[derive(Clone)]
pub struct Statement {
    inner: Arc<Inner>,
}

struct Inner {
    source: Arc<str>,
    span: Range<usize>,
    body: Body,
}

/// What kind of statement it is, as far as callers care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// Returns rows and changes nothing by itself.
    Query,
    /// INSERT, UPDATE, DELETE.
    Write,
    /// COPY in either direction.
    Copy,
    /// Changes the catalog; TRUNCATE too.
    Ddl,
    /// BEGIN and its like.
    Transaction,
    /// SET, RESET, DISCARD.
    Set,
    /// SHOW.
    Show,
    /// EXPLAIN.
    Explain,
    /// Anything else.
    Utility,
}

/// What a statement asks for. What sqlparser reads as PostgreSQL means it stays an [`ast::Statement`].
#[derive(Debug)]
pub(crate) enum Body {
    Transaction(TransactionCommand),
    Setting(SettingCommand),
    Maintenance(MaintenanceCommand),
    Copy(CopyStatement),
    Explain {
        options: ExplainOptions,
        statement: Statement,
    },
    Prepare {
        name: String,
        types: Vec<ast::DataType>,
        statement: Statement,
    },
    Execute {
        name: String,
        arguments: Vec<ast::Expr>,
    },
    Deallocate {
        name: Option<String>,
    },
    /// DDL that sqlparser does not know.
    Extended(crate::ddl::extended::Extended),
    Sql(Box<ast::Statement>),
}

/// How a transaction is to behave; `None` leaves the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransactionModes {
    pub(crate) isolation: Option<IsolationLevel>,
    pub(crate) read_only: Option<bool>,
}

/// PostgreSQL's isolation levels, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl IsolationLevel {
    pub(crate) fn parse(text: &str) -> Option<IsolationLevel> {
        Some(match text.to_ascii_lowercase().as_str() {
            "read uncommitted" => IsolationLevel::ReadUncommitted,
            "read committed" => IsolationLevel::ReadCommitted,
            "repeatable read" => IsolationLevel::RepeatableRead,
            "serializable" => IsolationLevel::Serializable,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            IsolationLevel::ReadUncommitted => "read uncommitted",
            IsolationLevel::ReadCommitted => "read committed",
            IsolationLevel::RepeatableRead => "repeatable read",
            IsolationLevel::Serializable => "serializable",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransactionCommand {
    /// `start` tells START TRANSACTION from BEGIN.
    Begin {
        modes: TransactionModes,
        start: bool,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SettingCommand {
    /// SET [LOCAL] name = values; `None` is DEFAULT.
    Set { name: String, values: Option<Vec<String>>, local: bool },
    /// SET TRANSACTION.
    Transaction(TransactionModes),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION.
    Characteristics(TransactionModes),
    /// RESET name; `None` is ALL.
    Reset(Option<String>),
    /// SHOW name; `None` is ALL.
    Show(Option<String>),
    /// DISCARD ALL and its like, by its word.
    Discard(String),
}

#[derive(Clone, Debug)]
pub(crate) enum MaintenanceCommand {
    /// Of the tables, or of all: rows that are dead leave. With `full` it is COMPACT TABLE.
    Vacuum {
        tables: Vec<(ast::ObjectName, Vec<ast::Ident>)>,
        full: bool,
    },
    /// No statistics are kept that it could renew: it checks the names.
    Analyze {
        tables: Vec<(ast::ObjectName, Vec<ast::Ident>)>,
    },
    Compact {
        table: ast::ObjectName,
    },
    Checkpoint,
}

impl Statement {
    pub(crate) fn new(source: Arc<str>, span: Range<usize>, body: Body) -> Statement {
        Statement { inner: Arc::new(Inner { source, span, body }) }
    }

    /// The statement's own text, without the semicolon.
    #[must_use]
    pub fn text(&self) -> &str {
        self.inner.source.get(self.inner.span.clone()).unwrap_or_default()
    }

    /// The whole text that it was parsed from; positions of errors count in it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// Its place in [`source`](Self::source), in bytes.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.inner.span.clone()
    }

    pub(crate) fn body(&self) -> &Body {
        &self.inner.body
    }

    /// What kind of statement it is.
    #[must_use]
    pub fn kind(&self) -> StatementKind {
        match &self.inner.body {
            Body::Transaction(_) => StatementKind::Transaction,
            Body::Setting(SettingCommand::Show(_)) => StatementKind::Show,
            Body::Setting(_) => StatementKind::Set,
            Body::Maintenance(_) | Body::Prepare { .. } | Body::Deallocate { .. } => StatementKind::Utility,
            Body::Copy(_) => StatementKind::Copy,
            Body::Explain { .. } => StatementKind::Explain,
            Body::Execute { .. } => StatementKind::Utility,
            Body::Extended(_) => StatementKind::Ddl,
            Body::Sql(statement) => match statement.as_ref() {
                ast::Statement::Query(query) => match query.body.as_ref() {
                    ast::SetExpr::Select(select) if select.into.is_some() => StatementKind::Ddl,
                    ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) => StatementKind::Write,
                    _ => StatementKind::Query,
                },
                ast::Statement::Insert(_)
                | ast::Statement::Update(_)
                | ast::Statement::Delete(_)
                | ast::Statement::Merge(_) => StatementKind::Write,
                ast::Statement::Lock(_) => StatementKind::Utility,
                _ => StatementKind::Ddl,
            },
        }
    }

    /// Whether the statement ends a transaction block, so that it runs in a failed one too.
    #[must_use]
    pub fn ends_transaction(&self) -> bool {
        matches!(
            self.inner.body,
            Body::Transaction(
                TransactionCommand::Commit { .. }
                    | TransactionCommand::Rollback { .. }
                    | TransactionCommand::RollbackTo(_)
            )
        )
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").field("kind", &self.kind()).field("text", &self.text()).finish()
    }
}
