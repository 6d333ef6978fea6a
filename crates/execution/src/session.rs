//! A session: one client's settings, transaction and prepared statements.

use std::sync::Arc;

use bytes::Bytes;
use colonnade_types::{DisplaySettings, Format, Oid, SqlType};

use crate::cancel::CancelHandle;
use crate::engine::{Engine, SessionOptions};
use crate::error::{Error, Notice, Result};
use crate::outcome::{Outcome, ResultSchema};
use crate::settings::Settings;
use crate::statement::Statement;
use crate::transaction::TransactionStatus;

/// One client's conversation. Not shared: methods take `&mut self`.
pub struct Session {
    engine: Engine,
    settings: Settings,
    cancel: CancelHandle,
    notices: Vec<Notice>,
    parameter_changes: Vec<(String, String)>,
}

/// A statement whose parameters and result are known.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Types of `$1`, `$2`, ...
    pub parameters: Vec<SqlType>,
    /// Columns of the result; `None` if it returns no rows.
    pub columns: Option<Arc<ResultSchema>>,
    /// The statement.
    pub statement: Statement,
}

/// A parameter's value as the client sent it.
#[derive(Clone, Debug)]
pub struct ScalarParameter {
    /// How `value` is to be read.
    pub format: Format,
    /// The bytes; `None` is NULL.
    pub value: Option<Bytes>,
}

impl Session {
    pub(crate) fn new(engine: Engine, options: SessionOptions) -> Result<Session> {
        let settings = Settings::new(&options.user);
        Ok(Session {
            engine,
            settings,
            cancel: CancelHandle::default(),
            notices: Vec::new(),
            parameter_changes: Vec::new(),
        })
    }

    /// Parses a text, which may hold several statements; all of it, before any of it runs.
    ///
    /// # Errors
    /// 42601 with the position, 54000 or 54001 if the text is too large or too deep.
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        crate::parser::parse(sql, self.engine.options().statement_bytes_max)
    }

    /// Runs a statement without parameters. After an error the caller calls [`fail`](Self::fail); [`finish`](Self::finish) ends the implicit transaction.
    ///
    /// # Errors
    /// Whatever the statement fails with.
    pub async fn execute(&mut self, _statement: &Statement) -> Result<Outcome> {
        Err(Error::unsupported("executing"))
    }

    /// Plans a statement to learn its parameters and result. `parameter_types` may give types by oid, 0 leaves one to be inferred.
    ///
    /// # Errors
    /// Whatever planning fails with.
    pub async fn prepare(&mut self, _statement: &Statement, _parameter_types: &[Oid]) -> Result<Prepared> {
        Err(Error::unsupported("preparing"))
    }

    /// Runs a prepared statement with its parameters.
    ///
    /// # Errors
    /// Whatever the statement fails with; 08P01 for a wrong number of parameters.
    pub async fn execute_prepared(
        &mut self,
        _prepared: &Prepared,
        _parameters: Vec<ScalarParameter>,
    ) -> Result<Outcome> {
        Err(Error::unsupported("executing"))
    }

    /// Ends what the client sent at once (a simple query, or everything up to Sync): commits the implicit transaction, durable on return, or
    /// rolls it back if `success` is false. Inside BEGIN ... COMMIT it does nothing.
    ///
    /// # Errors
    /// If the commit fails; the transaction is rolled back.
    pub async fn finish(&mut self, _success: bool) -> Result<()> {
        Ok(())
    }

    /// Tells the session that the client was sent an error, be it while streaming: a transaction block becomes a failed one.
    pub fn fail(&mut self) {}

    /// Where the session is, for ReadyForQuery.
    #[must_use]
    pub fn status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    /// A handle that cancels whatever the session runs.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Notices that came up since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Reported settings that changed since the last call.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.parameter_changes)
    }

    /// All reported settings, for the start of a connection.
    #[must_use]
    pub fn parameter_status(&self) -> Vec<(String, String)> {
        self.settings.reported()
    }

    /// How values are printed for this client.
    #[must_use]
    pub fn display(&self) -> DisplaySettings {
        self.settings.display().clone()
    }

    /// A setting's value as SHOW prints it; `None` if there is no such setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name).ok()
    }

    /// The engine that the session belongs to.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}
