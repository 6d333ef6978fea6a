//! The engine: what all sessions of a server share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use colonnade_storage::Database;
use colonnade_types::TxnId;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use parking_lot::Mutex;

use crate::cancel::CancelHandle;
use crate::error::Result;
use crate::session::Session;

/// How the engine runs statements.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Memory in bytes that sorts, joins and aggregations of all sessions may hold together before they spill or fail.
    /// Default 2 GiB; at least 16 MiB.
    pub query_memory_bytes: usize,
    /// Directory for spilled data. Created when first needed, emptied by its owner.
    pub temp_dir: PathBuf,
    /// Partitions that one query is cut into; default: the number of cores. At least 1.
    pub threads: usize,
    /// When the server started, in microseconds since 1970 UTC.
    pub server_start: i64,
    /// Whether statements may read and write files of the server (COPY, `read_parquet`, `read_csv`).
    pub files: bool,
    /// Greatest size of the text of one parse, in bytes. Default 16 MiB.
    pub statement_bytes_max: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            query_memory_bytes: 2 << 30,
            temp_dir: std::env::temp_dir(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            server_start: now_micros(),
            files: true,
            statement_bytes_max: 16 << 20,
        }
    }
}

/// Who opens a session, and with which settings.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The authenticated role.
    pub user: String,
    /// The database's name, as the client gave it.
    pub database: String,
    /// `application_name`.
    pub application_name: String,
    /// The number that the client cancels by, and `pg_backend_pid()` shows.
    pub process_id: i32,
    /// Settings from the start-up message, by name; each is checked as SET checks it.
    pub settings: Vec<(String, String)>,
}

/// What a session is doing, as `pg_stat_activity` shows it.
#[derive(Clone, Debug, Default)]
pub struct SessionActivity {
    /// Its process id.
    pub process_id: i32,
    /// Its role.
    pub user: String,
    /// Its database.
    pub database: String,
    /// `application_name`.
    pub application_name: String,
    /// When it began, in microseconds since 1970 UTC.
    pub session_start: i64,
    /// When its transaction began, if it is in one.
    pub transaction_start: Option<i64>,
    /// When its latest statement began.
    pub statement_start: Option<i64>,
    /// When `state` last changed.
    pub state_change: i64,
    /// `active`, `idle`, `idle in transaction` or `idle in transaction (aborted)`.
    pub state: &'static str,
    /// Text of the latest statement.
    pub query: String,
    /// The transaction whose end the statement waits for. It may have ended already, and the session not yet gone on.
    pub waits_for: Option<TxnId>,
}

/// The sessions of a server. Cheap to clone.
#[derive(Clone, Default)]
pub struct SessionList {
    entries: Arc<Mutex<Vec<Arc<SessionEntry>>>>,
}

/// One session's place in the list.
pub(crate) struct SessionEntry {
    pub(crate) activity: Mutex<SessionActivity>,
    pub(crate) cancel: CancelHandle,
    /// The storage's number of its latest transaction.
    pub(crate) transaction: AtomicU64,
}

impl SessionEntry {
    /// Shows that the session waits for a transaction, until the guard is dropped.
    pub(crate) fn show_wait(&self, holder: TxnId) -> ShownWait<'_> {
        self.activity.lock().waits_for = Some(holder);
        ShownWait { entry: self }
    }
}

/// A wait that others see while this lives.
pub(crate) struct ShownWait<'a> {
    entry: &'a SessionEntry,
}

impl Drop for ShownWait<'_> {
    fn drop(&mut self) {
        self.entry.activity.lock().waits_for = None;
    }
}

impl SessionList {
    /// What every session is doing now.
    #[must_use]
    pub fn activity(&self) -> Vec<SessionActivity> {
        self.entries.lock().iter().map(|entry| entry.activity.lock().clone()).collect()
    }

    /// Cancels the statement of the session with this process id (`pg_cancel_backend`); false if there is none.
    #[must_use]
    pub fn cancel(&self, process_id: i32) -> bool {
        let entries = self.entries.lock();
        match entries.iter().find(|entry| entry.activity.lock().process_id == process_id) {
            Some(entry) => {
                entry.cancel.cancel();
                true
            }
            None => false,
        }
    }

    /// The process id of the session whose latest transaction this is.
    pub(crate) fn process_of(&self, transaction: TxnId) -> Option<i32> {
        let entries = self.entries.lock();
        let own = entries.iter().find(|entry| entry.transaction.load(Ordering::Relaxed) == transaction.0)?;
        Some(own.activity.lock().process_id)
    }

    pub(crate) fn add(&self, entry: Arc<SessionEntry>) {
        self.entries.lock().push(entry);
    }

    pub(crate) fn remove(&self, entry: &Arc<SessionEntry>) {
        self.entries.lock().retain(|other| !Arc::ptr_eq(other, entry));
    }
}

/// Plans and runs statements over one [`Database`]. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<EngineShared>,
}

pub(crate) struct EngineShared {
    pub(crate) database: Database,
    pub(crate) options: EngineOptions,
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// Functions, rules and configuration that every session starts from.
    pub(crate) state: SessionState,
    pub(crate) sessions: SessionList,
}

impl Engine {
    /// Makes an engine over an open database.
    ///
    /// # Errors
    /// If the memory pool or the directory for spilled data cannot be set up.
    pub fn new(database: Database, options: EngineOptions) -> Result<Engine> {
        let runtime = crate::planner::runtime(&options)?;
        let state = crate::planner::base_state(&options, Arc::clone(&runtime))?;
        Ok(Engine {
            shared: Arc::new(EngineShared { database, options, runtime, state, sessions: SessionList::default() }),
        })
    }

    /// Opens a session.
    ///
    /// # Errors
    /// If a setting is unknown or its value is refused.
    pub fn session(&self, options: SessionOptions) -> Result<Session> {
        Session::new(self.clone(), options)
    }

    /// The storage behind the engine.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.shared.database
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.shared.options
    }

    /// The open sessions.
    #[must_use]
    pub fn sessions(&self) -> &SessionList {
        &self.shared.sessions
    }

    /// Memory in bytes that running queries hold in the pool now.
    #[must_use]
    pub fn memory_reserved(&self) -> usize {
        self.shared.runtime.memory_pool.reserved()
    }
}

/// The time in microseconds since 1970 UTC.
pub(crate) fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
