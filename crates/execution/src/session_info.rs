//! What functions and system views may know of the session that runs them.
//!
//! A [`SessionInfo`] rides in DataFusion's `ConfigOptions` as an extension, so that a scalar function finds it through
//! `ScalarFunctionArgs::config_options` ([`SessionInfo::of`]). It is one cell per session: the session renews its contents at the start of every statement.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use colonnade_storage::{Catalog, Database};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use parking_lot::{Mutex, RwLock};

use crate::engine::SessionList;
use crate::settings::Settings;

/// What a statement's functions may know: the state of the session when the statement began.
#[derive(Clone)]
pub struct StatementInfo {
    /// The catalog as the statement sees it.
    pub catalog: Arc<Catalog>,
    /// Schemas to look names up in, in order, `pg_catalog` not included unless named.
    pub search_path: Arc<Vec<String>>,
    /// The session's settings.
    pub settings: Arc<Settings>,
    /// When the transaction began, in microseconds since 1970 UTC.
    pub transaction_start: i64,
    /// When the statement began, in microseconds since 1970 UTC.
    pub statement_start: i64,
}

/// The session as its functions see it. Cheap to clone; all clones are one session.
#[derive(Clone)]
pub struct SessionInfo {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    sessions: SessionList,
    user: String,
    database_name: String,
    process_id: i32,
    server_start: i64,
    session_start: i64,
    statement: RwLock<Arc<StatementInfo>>,
    /// `currval` and `lastval`: the last value that the session drew from each sequence, latest last.
    drawn: Mutex<Vec<(colonnade_types::Oid, i64)>>,
}

impl SessionInfo {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        database: Database,
        sessions: SessionList,
        user: String,
        database_name: String,
        process_id: i32,
        server_start: i64,
        session_start: i64,
        statement: StatementInfo,
    ) -> SessionInfo {
        SessionInfo {
            shared: Arc::new(Shared {
                database,
                sessions,
                user,
                database_name,
                process_id,
                server_start,
                session_start,
                statement: RwLock::new(Arc::new(statement)),
                drawn: Mutex::new(Vec::new()),
            }),
        }
    }

    /// Finds the session in a function's configuration.
    ///
    /// # Errors
    /// An internal error if the function runs outside of a session.
    pub fn of(options: &ConfigOptions) -> DataFusionResult<&SessionInfo> {
        options
            .extensions
            .get::<SessionInfo>()
            .ok_or_else(|| DataFusionError::Internal("a session function was called outside of a session".to_owned()))
    }

    /// The storage behind the session, for sequences and figures.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.shared.database
    }

    /// All sessions of the server.
    #[must_use]
    pub fn sessions(&self) -> &SessionList {
        &self.shared.sessions
    }

    /// The role that runs the session.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.shared.user
    }

    /// The name under which the database was reached.
    #[must_use]
    pub fn database_name(&self) -> &str {
        &self.shared.database_name
    }

    /// The session's `pg_backend_pid()`.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.shared.process_id
    }

    /// When the server started, in microseconds since 1970 UTC.
    #[must_use]
    pub fn server_start(&self) -> i64 {
        self.shared.server_start
    }

    /// When the session started, in microseconds since 1970 UTC.
    #[must_use]
    pub fn session_start(&self) -> i64 {
        self.shared.session_start
    }

    /// What the running statement sees.
    #[must_use]
    pub fn statement(&self) -> Arc<StatementInfo> {
        Arc::clone(&self.shared.statement.read())
    }

    /// The catalog as the running statement sees it.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.shared.statement.read().catalog)
    }

    pub(crate) fn begin_statement(&self, statement: StatementInfo) {
        *self.shared.statement.write() = Arc::new(statement);
    }

    /// Remembers a value drawn from a sequence.
    pub fn remember_draw(&self, sequence: colonnade_types::Oid, value: i64) {
        let mut drawn = self.shared.drawn.lock();
        drawn.retain(|(oid, _)| *oid != sequence);
        drawn.push((sequence, value));
    }

    /// The value that `currval` of a sequence shows; `None` before the first `nextval` of the session.
    #[must_use]
    pub fn drawn(&self, sequence: colonnade_types::Oid) -> Option<i64> {
        self.shared.drawn.lock().iter().find(|(oid, _)| *oid == sequence).map(|(_, value)| *value)
    }

    /// The value that `lastval` shows.
    #[must_use]
    pub fn last_drawn(&self) -> Option<(colonnade_types::Oid, i64)> {
        self.shared.drawn.lock().last().copied()
    }
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionInfo").field("process_id", &self.shared.process_id).finish_non_exhaustive()
    }
}

impl ExtensionOptions for SessionInfo {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> DataFusionResult<()> {
        Err(DataFusionError::Configuration(format!("{key} is not an option")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

impl ConfigExtension for SessionInfo {
    const PREFIX: &'static str = "colonnade_session";
}
