//! A session: one client's settings, transaction and prepared statements.
//!
//! Life of a statement: [`Session::parse`] cuts and reads the text; [`Session::execute`] arms cancellation, opens a transaction if none is open, tells the
//! functions what they may know ([`SessionInfo`]), and hands the statement to what runs it. Rows stream after that; [`Session::finish`] ends
//! the implicit transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, StringViewArray};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use colonnade_storage::{LockMode, Snapshot, Thoroughness, Transaction};
use colonnade_types::{
    ColumnBuilder, ColumnEncoder, DisplaySettings, Format, Oid, Relation, SqlState, SqlType, StorageId,
};
use datafusion::common::DFSchema;
use sqlparser::ast;

use crate::binder::Binder;
use crate::binder::operators::ParameterTypes;
use crate::binder::syntax::Parameters;
use crate::cancel::{CancelGuard, CancelHandle};
use crate::datafusion_error::place;
use crate::ddl_context::DdlContext;
use crate::dml::{WriteContext, WriteStatement};
use crate::engine::{Engine, SessionActivity, SessionEntry, SessionOptions, now_micros};
use crate::error::{Error, Notice, Result};
use crate::explain::{self, ExplainOptions};
use crate::fast::FastPlan;
use crate::locks::{LockWaiter, disk_error};
use crate::names::{ObjectPath, find_relation, find_table, undefined_relation};
use crate::outcome::{CommandTag, Outcome, ResultSchema, RowBatches, RowStream, TagRule};
use crate::planner::{physical_plan, run, types_of};
use crate::session_info::{SessionInfo, StatementInfo};
use crate::settings::{ForcePath, Settings};
use crate::statement::{
    Body, MaintenanceCommand, SettingCommand, Statement, StatementKind, TransactionCommand, TransactionModes,
};
use crate::transaction::{Block, TransactionState, TransactionStatus, failed};

mod short;

use short::KnownStatements;
pub use short::Recognised;

/// One client's conversation. Not shared: methods take `&mut self`. Dropping it rolls back what is open.
pub struct Session {
    engine: Engine,
    binder: Binder,
    state: TransactionState,
    cancel: CancelHandle,
    guard: CancelGuard,
    entry: Arc<SessionEntry>,
    notices: Vec<Notice>,
    /// What clients were last told of the reported settings, and the settings that said so.
    reported: Vec<(String, String)>,
    reported_of: Settings,
    /// Statements of SQL's PREPARE.
    prepared: HashMap<String, Prepared>,
    known: KnownStatements,
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
    /// How it runs without a plan, if it can.
    pub(crate) fast: Option<Arc<FastPlan>>,
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
        let mut settings = Settings::new(&options.user);
        settings.set("application_name", Some(std::slice::from_ref(&options.application_name)))?;
        for (name, value) in &options.settings {
            settings.set(name, Some(std::slice::from_ref(value)))?;
        }
        settings.seal();
        let now = now_micros();
        let shared = &engine.shared;
        let statement = StatementInfo {
            catalog: Arc::clone(shared.database.snapshot().catalog()),
            search_path: Arc::clone(settings.search_path()),
            settings: Arc::new(settings.clone()),
            transaction_start: now,
            statement_start: now,
        };
        let info = SessionInfo::new(
            shared.database.clone(),
            shared.sessions.clone(),
            options.user.clone(),
            options.database.clone(),
            options.process_id,
            shared.options.server_start,
            now,
            statement,
        );
        let mut state = shared.state.clone();
        state.config_mut().options_mut().extensions.insert(info.clone());
        let cancel = CancelHandle::default();
        let activity = SessionActivity {
            process_id: options.process_id,
            user: options.user,
            database: options.database,
            application_name: options.application_name,
            session_start: now,
            state_change: now,
            state: "idle",
            ..SessionActivity::default()
        };
        let entry = Arc::new(SessionEntry {
            activity: parking_lot::Mutex::new(activity),
            cancel: cancel.clone(),
            transaction: AtomicU64::new(0),
        });
        shared.sessions.add(Arc::clone(&entry));
        let (reported, reported_of) = (settings.reported(), settings.clone());
        Ok(Session {
            binder: Binder { state, info },
            state: TransactionState::new(settings),
            guard: CancelGuard::never(),
            cancel,
            entry,
            notices: Vec::new(),
            reported,
            reported_of,
            prepared: HashMap::new(),
            known: KnownStatements::default(),
            engine,
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
    pub async fn execute(&mut self, statement: &Statement) -> Result<Outcome> {
        self.execute_with(statement, Parameters::Values(Vec::new())).await
    }

    /// Plans a statement to learn its parameters and result. `parameter_types` may give types by oid, 0 leaves one to be inferred.
    ///
    /// # Errors
    /// Whatever planning fails with.
    pub async fn prepare(&mut self, statement: &Statement, parameter_types: &[Oid]) -> Result<Prepared> {
        self.arm();
        let prepared = place(self.describe(statement, parameter_types, &[]).await, statement.source());
        if prepared.is_err() {
            self.state.fail();
        }
        prepared
    }

    /// Runs a prepared statement with its parameters. Ask [`execute_now`](Self::execute_now) first: it is cheaper where it does anything.
    ///
    /// # Errors
    /// Whatever the statement fails with; 08P01 for a wrong number of parameters.
    pub async fn execute_prepared(&mut self, prepared: &Prepared, parameters: Vec<ScalarParameter>) -> Result<Outcome> {
        if let Some(outcome) = self.execute_short(prepared, &parameters).await {
            return outcome;
        }
        match self.read_parameters(prepared, parameters) {
            // The general path's future is large, and would be moved wherever this one is.
            Ok(values) => Box::pin(self.execute_with(&prepared.statement, Parameters::Values(values))).await,
            Err(error) => {
                self.state.fail();
                Err(error)
            }
        }
    }

    /// As [`finish`](Self::finish) after success, if there is no implicit transaction to be ended; false: nothing was done.
    pub fn finish_now(&mut self) -> bool {
        if !matches!(self.state.block, Block::Idle | Block::Explicit) {
            return false;
        }
        self.cancel.end();
        self.show_state(None);
        true
    }

    /// Ends what the client sent at once (a simple query, or everything up to Sync): commits the implicit transaction, durable on return, or
    /// rolls it back if `success` is false. Inside BEGIN ... COMMIT it does nothing.
    ///
    /// # Errors
    /// If the commit fails; the transaction is rolled back.
    pub async fn finish(&mut self, success: bool) -> Result<()> {
        self.cancel.end();
        let outcome = match self.state.block {
            Block::Implicit if success => self.state.finish_commit().await,
            Block::Implicit => {
                self.state.end_rolled_back();
                Ok(())
            }
            _ => {
                if !success {
                    self.state.fail();
                }
                Ok(())
            }
        };
        self.show_state(None);
        outcome
    }

    /// Tells the session that the client was sent an error, be it while streaming: a transaction block becomes a failed one.
    pub fn fail(&mut self) {
        self.cancel.end();
        self.state.fail();
    }

    /// Where the session is, for ReadyForQuery.
    #[must_use]
    pub fn status(&self) -> TransactionStatus {
        self.state.status()
    }

    /// A handle that cancels whatever the session runs.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Notices that came up since the last call, those that `client_min_messages` lets through.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        if self.notices.is_empty() {
            return Vec::new();
        }
        let level = self.setting("client_min_messages").unwrap_or_default();
        let mut notices = std::mem::take(&mut self.notices);
        notices.retain(|notice| match level.as_str() {
            "error" => false,
            "warning" => notice.severity == crate::error::Severity::Warning,
            _ => true,
        });
        notices
    }

    /// Reported settings that changed since the last call.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        if self.state.settings.same(&self.reported_of) {
            return Vec::new();
        }
        self.reported_of = self.state.settings.clone();
        let now = self.state.settings.reported();
        if now == self.reported {
            return Vec::new();
        }
        let changed = now.iter().filter(|entry| !self.reported.contains(entry)).cloned().collect();
        self.reported = now;
        changed
    }

    /// All reported settings, for the start of a connection.
    #[must_use]
    pub fn parameter_status(&self) -> Vec<(String, String)> {
        self.state.settings.reported()
    }

    /// How values are printed for this client.
    #[must_use]
    pub fn display(&self) -> DisplaySettings {
        self.state.settings.display().clone()
    }

    /// A setting's value as SHOW prints it; `None` if there is no such setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<String> {
        self.state.settings.get(name).ok()
    }

    /// How long the session may stay idle as it is now, and what it is told when it has been too long.
    #[must_use]
    pub fn idle_limit(&self) -> Option<(Duration, Error)> {
        let settings = &self.state.settings;
        let (limit, state, what) = match self.state.block {
            Block::Explicit | Block::Failed => {
                let state = SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT;
                (settings.idle_in_transaction_session_timeout(), state, "idle-in-transaction timeout")
            }
            Block::Idle => (settings.idle_session_timeout(), SqlState::IDLE_SESSION_TIMEOUT, "idle-session timeout"),
            // In the middle of a message's statements.
            Block::Implicit => return None,
        };
        limit.map(|limit| {
            let mut error = Error::new(state, format!("terminating connection due to {what}"));
            error.severity = crate::error::Severity::Fatal;
            (limit, error)
        })
    }

    /// The engine that the session belongs to.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Begins a statement's time: whoever cancels from now on means it.
    fn arm(&mut self) {
        self.guard = self.cancel.begin(self.state.settings.statement_timeout());
    }

    async fn execute_with(&mut self, statement: &Statement, parameters: Parameters) -> Result<Outcome> {
        self.arm();
        self.show_state(Some(statement.text()));
        let outcome = self.dispatch(statement, &parameters).await;
        if outcome.is_err() {
            self.state.fail();
        }
        place(outcome, statement.source())
    }

    fn show_state(&self, query: Option<&str>) {
        let mut activity = self.entry.activity.lock();
        let now = now_micros();
        activity.state_change = now;
        activity.transaction_start = (self.state.block != Block::Idle).then_some(self.state.started);
        activity.state = match (query.is_some(), self.state.block) {
            (true, _) => "active",
            (false, Block::Idle | Block::Implicit) => "idle",
            (false, Block::Explicit) => "idle in transaction",
            (false, Block::Failed) => "idle in transaction (aborted)",
        };
        if let Some(query) = query {
            query.clone_into(&mut activity.query);
            activity.statement_start = Some(now);
        }
    }

    async fn dispatch(&mut self, statement: &Statement, parameters: &Parameters) -> Result<Outcome> {
        if self.state.block == Block::Failed && !statement.ends_transaction() {
            return Err(failed());
        }
        match statement.body() {
            Body::Transaction(command) => self.transaction(command).await,
            Body::Setting(command) => self.setting_command(command),
            Body::Maintenance(command) => self.maintenance(command).await,
            Body::Deallocate { name } => self.deallocate(name.as_deref()),
            Body::Prepare { name, types, statement } => self.sql_prepare(name, types, statement).await,
            Body::Execute { name, arguments } => Box::pin(self.sql_execute(name, arguments)).await,
            Body::Copy(copy) => {
                self.begin_statement()?;
                crate::copy::run(self, copy, parameters).await
            }
            Body::Explain { options, statement } => {
                self.begin_statement()?;
                self.explain(*options, statement, parameters).await
            }
            Body::Extended(extended) => {
                self.begin_statement()?;
                self.ddl(Definition::Extended(extended)).await
            }
            Body::Sql(sql) => {
                self.begin_statement()?;
                if self.state.settings.force_path() == ForcePath::Row
                    && let Some(outcome) = self.forced_row(statement, sql).await?
                {
                    return Ok(outcome);
                }
                self.sql(sql, parameters).await
            }
        }
    }

    /// A statement under `colonnade.force_path = row`: on the fast path, or refused if it reads or writes rows of a table. `None`: it does neither.
    async fn forced_row(&mut self, statement: &Statement, sql: &ast::Statement) -> Result<Option<Outcome>> {
        if !matches!(statement.kind(), StatementKind::Query | StatementKind::Write) {
            return Ok(None);
        }
        let prepared = self.describe(statement, &[], &[]).await?;
        if let Some(plan) = prepared.fast.filter(|_| prepared.parameters.is_empty())
            && let Some(done) = self.run_fast(&plan, &[]).await?
        {
            return Ok(Some(done.outcome(&plan)));
        }
        if let ast::Statement::Query(query) = sql
            && WriteStatement::of(sql).is_none()
        {
            let scope = self.binder.scope(self.current_catalog(), None);
            if self.binder.plan(query, scope, &Parameters::Values(Vec::new()))?.used.is_empty() {
                return Ok(None);
            }
        }
        Err(Error::unsupported("this statement with colonnade.force_path = row")
            .with_detail("It does not name one row of one table by a whole key."))
    }

    /// Opens a transaction if there is none, and tells functions what they may know.
    fn begin_statement(&mut self) -> Result<()> {
        self.state.ensure(&self.engine.shared.database)?;
        self.state.used = true;
        let (id, catalog) = self.with_transaction(|transaction| (transaction.id(), transaction.catalog()))?;
        self.entry.transaction.store(id.0, Ordering::Relaxed);
        let settings = &self.state.settings;
        self.binder.info.begin_statement(StatementInfo {
            catalog,
            search_path: Arc::clone(settings.search_path()),
            settings: Arc::new(settings.clone()),
            transaction_start: self.state.started,
            statement_start: now_micros(),
        });
        self.binder.state.mark_start_execution();
        Ok(())
    }

    fn with_transaction<T>(&self, work: impl FnOnce(&mut Transaction) -> T) -> Result<T> {
        self.state.transaction.lock().as_mut().map(work).ok_or_else(failed)
    }

    /// A snapshot for a statement that only reads.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        self.with_transaction(Transaction::snapshot)
    }

    pub(crate) fn binder(&self) -> &Binder {
        &self.binder
    }

    pub(crate) fn guard(&self) -> &CancelGuard {
        &self.guard
    }

    fn waiter(&self) -> LockWaiter {
        LockWaiter {
            guard: self.guard.clone(),
            timeout: self.state.settings.lock_timeout(),
            sessions: self.engine.shared.sessions.clone(),
            entry: Arc::clone(&self.entry),
        }
    }

    /// What a statement that writes works with.
    ///
    /// # Errors
    /// 25006 in a read-only transaction.
    pub(crate) fn write_context(&self, word: &str) -> Result<WriteContext> {
        self.check_writable(word)?;
        Ok(self.context())
    }

    fn check_writable(&self, word: &str) -> Result<()> {
        if self.state.read_only {
            return Err(Error::new(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                format!("cannot execute {word} in a read-only transaction"),
            ));
        }
        Ok(())
    }

    fn context(&self) -> WriteContext {
        WriteContext {
            database: self.engine.shared.database.clone(),
            transaction: Arc::clone(&self.state.transaction),
            waiter: self.waiter(),
            repeatable: !matches!(
                self.state.isolation,
                crate::statement::IsolationLevel::ReadCommitted | crate::statement::IsolationLevel::ReadUncommitted
            ),
            threads: self.engine.options().threads,
        }
    }

    fn begin_block(&mut self, modes: TransactionModes, start: bool) -> Result<Outcome> {
        self.state.begin(&self.engine.shared.database, modes, &mut self.notices)?;
        Ok(Outcome::Command(CommandTag::new(if start { "START TRANSACTION" } else { "BEGIN" })))
    }

    async fn transaction(&mut self, command: &TransactionCommand) -> Result<Outcome> {
        let tag = match command {
            TransactionCommand::Begin { modes, start } => return self.begin_block(*modes, *start),
            TransactionCommand::Commit { chain } => {
                let modes = self.chained_modes();
                let committed = self.state.commit(&mut self.notices).await?;
                if *chain {
                    self.state.begin(&self.engine.shared.database, modes, &mut self.notices)?;
                }
                if committed { "COMMIT" } else { "ROLLBACK" }
            }
            TransactionCommand::Rollback { chain } => {
                let modes = self.chained_modes();
                self.state.rollback(&mut self.notices);
                if *chain {
                    self.state.begin(&self.engine.shared.database, modes, &mut self.notices)?;
                }
                "ROLLBACK"
            }
            TransactionCommand::Savepoint(name) => {
                self.state.savepoint(name.clone())?;
                "SAVEPOINT"
            }
            TransactionCommand::Release(name) => {
                self.state.release(name)?;
                "RELEASE"
            }
            TransactionCommand::RollbackTo(name) => {
                self.state.rollback_to(name)?;
                "ROLLBACK"
            }
        };
        Ok(Outcome::Command(CommandTag::new(tag)))
    }

    fn chained_modes(&self) -> TransactionModes {
        TransactionModes { isolation: Some(self.state.isolation), read_only: Some(self.state.read_only) }
    }

    fn setting_command(&mut self, command: &SettingCommand) -> Result<Outcome> {
        match command {
            SettingCommand::Set { name, .. } if name == "constraint_exclusion.all" => {
                Ok(Outcome::Command(CommandTag::new("SET CONSTRAINTS")))
            }
            SettingCommand::Set { name, values, local } => {
                if *local && matches!(self.state.block, Block::Idle | Block::Implicit) {
                    self.notices.push(Notice::warning(
                        SqlState::NO_ACTIVE_SQL_TRANSACTION,
                        "SET LOCAL can only be used in transaction blocks",
                    ));
                }
                if name == "transaction_isolation" || name == "transaction_read_only" {
                    return self.set_running_transaction(name, values.as_deref());
                }
                // In a message of several statements SET is undone with them.
                if self.state.block == Block::Idle {
                    self.state.ensure(&self.engine.shared.database)?;
                }
                self.state.change(*local, |settings| settings.set(name, values.as_deref()))?;
                if name == "application_name" {
                    let value = self.setting("application_name").unwrap_or_default();
                    self.entry.activity.lock().application_name = value;
                }
                Ok(Outcome::Command(CommandTag::new("SET")))
            }
            SettingCommand::Transaction(modes) => {
                if self.state.block == Block::Idle {
                    self.notices.push(Notice::warning(
                        SqlState::NO_ACTIVE_SQL_TRANSACTION,
                        "SET TRANSACTION can only be used in transaction blocks",
                    ));
                } else {
                    self.state.set_modes(&self.engine.shared.database, *modes)?;
                }
                Ok(Outcome::Command(CommandTag::new("SET")))
            }
            SettingCommand::Characteristics(modes) => {
                if let Some(isolation) = modes.isolation {
                    let value = [isolation.as_str().to_owned()];
                    self.state.change(false, |s| s.set("default_transaction_isolation", Some(&value)))?;
                }
                if let Some(read_only) = modes.read_only {
                    let value = [if read_only { "on" } else { "off" }.to_owned()];
                    self.state.change(false, |s| s.set("default_transaction_read_only", Some(&value)))?;
                }
                Ok(Outcome::Command(CommandTag::new("SET")))
            }
            SettingCommand::Reset(Some(name)) => {
                self.state.change(false, |settings| settings.reset(name))?;
                Ok(Outcome::Command(CommandTag::new("RESET")))
            }
            SettingCommand::Reset(None) => {
                self.state.change(false, |settings| {
                    settings.reset_all();
                    Ok(String::new())
                })?;
                Ok(Outcome::Command(CommandTag::new("RESET")))
            }
            SettingCommand::Show(Some(name)) => {
                let value = self.state.settings.get(name)?;
                let shown = self.state.settings.spelling(name);
                text_rows(&[shown.as_str()], &[vec![value]], TagRule::Words("SHOW")).map(Outcome::Rows)
            }
            SettingCommand::Show(None) => {
                let rows: Vec<Vec<String>> =
                    self.state.settings.all().into_iter().map(|e| vec![e.name, e.value, e.description]).collect();
                text_rows(&["name", "setting", "description"], &rows, TagRule::Words("SHOW")).map(Outcome::Rows)
            }
            SettingCommand::Discard(what) => {
                if what == "all" {
                    if self.state.block == Block::Explicit {
                        return Err(Error::new(
                            SqlState::ACTIVE_SQL_TRANSACTION,
                            "DISCARD ALL cannot run inside a transaction block",
                        ));
                    }
                    self.prepared.clear();
                    self.state.change(false, |settings| {
                        settings.reset_all();
                        Ok(String::new())
                    })?;
                }
                Ok(Outcome::Command(CommandTag::new(format!("DISCARD {}", what.to_ascii_uppercase()))))
            }
        }
    }

    /// `SET transaction_isolation = ...`, which is SET TRANSACTION by another name.
    fn set_running_transaction(&mut self, name: &str, values: Option<&[String]>) -> Result<Outcome> {
        let value = values.map(|values| values.join(" ")).unwrap_or_default();
        let invalid = || {
            Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for parameter \"{name}\": \"{value}\""),
            )
        };
        let mut modes = crate::statement::TransactionModes::default();
        if name == "transaction_isolation" {
            modes.isolation = Some(crate::statement::IsolationLevel::parse(&value).ok_or_else(invalid)?);
        } else {
            modes.read_only = Some(colonnade_types::parse_boolean(&value).ok_or_else(invalid)?);
        }
        self.setting_command(&SettingCommand::Transaction(modes))
    }

    async fn maintenance(&mut self, command: &MaintenanceCommand) -> Result<Outcome> {
        let database = self.engine.shared.database.clone();
        match command {
            MaintenanceCommand::Checkpoint => {
                let done = tokio::task::spawn_blocking(move || database.checkpoint()).await;
                maintained(done)?;
                Ok(Outcome::Command(CommandTag::new("CHECKPOINT")))
            }
            MaintenanceCommand::Vacuum { tables, full } => {
                self.outside_block("VACUUM")?;
                self.begin_statement()?;
                let storages = self.maintained_tables(tables)?;
                let thoroughness = if *full { Thoroughness::Full } else { Thoroughness::Deleted };
                for storage in storages {
                    self.compact(storage, thoroughness).await?;
                }
                Ok(Outcome::Command(CommandTag::new("VACUUM")))
            }
            MaintenanceCommand::Analyze { tables } => {
                self.begin_statement()?;
                self.maintained_tables(tables)?;
                Ok(Outcome::Command(CommandTag::new("ANALYZE")))
            }
            MaintenanceCommand::Compact { table } => {
                self.outside_block("COMPACT TABLE")?;
                self.begin_statement()?;
                let catalog = self.with_transaction(|t| t.catalog())?;
                let path = ObjectPath::from_ast(table)?;
                let table = find_table(&catalog, self.state.settings.search_path(), &path)?;
                self.compact(table.storage, Thoroughness::Full).await?;
                Ok(Outcome::Command(CommandTag::new("COMPACT TABLE")))
            }
        }
    }

    fn outside_block(&self, command: &str) -> Result<()> {
        if self.state.block == Block::Explicit {
            let message = format!("{command} cannot run inside a transaction block");
            return Err(Error::new(SqlState::ACTIVE_SQL_TRANSACTION, message));
        }
        Ok(())
    }

    /// The bodies of rows that VACUUM or ANALYZE names; all if it names none. What is no table is passed over.
    fn maintained_tables(&self, tables: &[(ast::ObjectName, Vec<ast::Ident>)]) -> Result<Vec<StorageId>> {
        let catalog = self.with_transaction(|t| t.catalog())?;
        if tables.is_empty() {
            let storage = |relation: &Relation| match relation {
                Relation::Table(table) => Some(table.storage),
                _ => None,
            };
            return Ok(catalog.relations().filter_map(storage).collect());
        }
        let mut storages = Vec::new();
        for (name, columns) in tables {
            let path = ObjectPath::from_ast(name)?;
            match find_relation(&catalog, self.state.settings.search_path(), &path) {
                Some(Relation::Table(table)) => {
                    for column in columns {
                        let name = crate::names::fold(column);
                        if !table.columns.iter().any(|column| column.name == name) {
                            let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
                            return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
                        }
                    }
                    storages.push(table.storage);
                }
                Some(_) => {}
                None => return Err(undefined_relation(&path)),
            }
        }
        Ok(storages)
    }

    /// Flushes and compacts a table, until it is done or the statement is cancelled.
    async fn compact(&self, storage: StorageId, thoroughness: Thoroughness) -> Result<()> {
        let (database, guard) = (self.engine.shared.database.clone(), self.guard.clone());
        let work = move || database.compact_table(storage, thoroughness, &|| guard.check().is_ok());
        maintained(tokio::task::spawn_blocking(work).await)?;
        self.guard.check()
    }

    fn deallocate(&mut self, name: Option<&str>) -> Result<Outcome> {
        match name {
            None => {
                self.prepared.clear();
                Ok(Outcome::Command(CommandTag::new("DEALLOCATE ALL")))
            }
            Some(name) => {
                self.prepared.remove(name).ok_or_else(|| no_prepared(name))?;
                Ok(Outcome::Command(CommandTag::new("DEALLOCATE")))
            }
        }
    }

    async fn sql_prepare(&mut self, name: &str, types: &[ast::DataType], statement: &Statement) -> Result<Outcome> {
        if self.prepared.contains_key(name) {
            return Err(Error::new(
                SqlState::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let types: Vec<Oid> =
            types.iter().map(|t| crate::binder::types::sql_type_of(t).map(|t| t.oid())).collect::<Result<_>>()?;
        let prepared = self.describe(statement, &types, &[]).await?;
        self.prepared.insert(name.to_owned(), prepared);
        Ok(Outcome::Command(CommandTag::new("PREPARE")))
    }

    async fn sql_execute(&mut self, name: &str, arguments: &[ast::Expr]) -> Result<Outcome> {
        let prepared = self.prepared.get(name).cloned().ok_or_else(|| no_prepared(name))?;
        self.begin_statement()?;
        if prepared.parameters.len() != arguments.len() {
            return Err(Error::new(
                SqlState::SYNTAX_ERROR,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .with_detail(format!(
                "Expected {} parameters but got {}.",
                prepared.parameters.len(),
                arguments.len()
            )));
        }
        let catalog = self.with_transaction(|t| t.catalog())?;
        let schema = DFSchema::empty();
        let mut values = Vec::with_capacity(arguments.len());
        for (argument, sql_type) in arguments.iter().zip(&prepared.parameters) {
            let scope = self.binder.scope(Arc::clone(&catalog), None);
            let expr = self.binder.expression(argument.clone(), &schema, scope)?;
            let expr = self.binder.assigned(expr, &schema, "?column?", sql_type)?;
            let array = crate::binder::constant::evaluate(expr, &self.binder.state)?;
            let array = crate::binder::cast::physical(&array, sql_type)?;
            values.push((sql_type.clone(), text_of(sql_type, &array, self.state.settings.display())?));
        }
        self.dispatch(&prepared.statement, &Parameters::Values(values)).await
    }

    async fn sql(&mut self, sql: &ast::Statement, parameters: &Parameters) -> Result<Outcome> {
        if let Some(write) = WriteStatement::of(sql) {
            let context = self.write_context(write.word())?;
            return write.run(&context, &self.binder, parameters).await;
        }
        match sql {
            ast::Statement::Query(query) => match query.body.as_ref() {
                ast::SetExpr::Select(select) if select.into.is_some() => self.create_table_as(sql, parameters).await,
                _ => self.query(query, parameters).await,
            },
            ast::Statement::Lock(lock) => {
                if self.state.block == Block::Implicit {
                    return Err(Error::new(
                        SqlState::NO_ACTIVE_SQL_TRANSACTION,
                        "LOCK TABLE can only be used in transaction blocks",
                    ));
                }
                Ok(Outcome::Command(crate::locking::table::lock(&self.context(), &self.binder, lock).await?))
            }
            ast::Statement::Truncate(truncate) => {
                let context = self.write_context("TRUNCATE TABLE")?;
                Ok(Outcome::Command(crate::dml::truncate::truncate(&context, &self.binder, truncate).await?))
            }
            ast::Statement::CreateTable(create) if create.query.is_some() => {
                self.create_table_as(sql, parameters).await
            }
            _ => self.ddl(Definition::Sql(sql)).await,
        }
    }

    async fn query(&mut self, query: &ast::Query, parameters: &Parameters) -> Result<Outcome> {
        if crate::locking::clause::locks(query) {
            let words = crate::locking::clause::first_words(query);
            let context = self.write_context(&format!("SELECT {words}"))?;
            return crate::locking::select::run(&context, &self.binder, query, parameters).await;
        }
        let bind = || {
            let snapshot = self.snapshot()?;
            let scope = self.binder.scope(Arc::clone(snapshot.catalog()), Some(snapshot));
            self.binder.plan(query, scope, parameters)
        };
        let mut bound = bind()?;
        if crate::locking::table::wait_to_read(&self.context(), &bound.used).await? {
            bound = bind()?;
        }
        let bound = crate::rewrite::as_names(bound, &self.binder.state)?;
        let plan = physical_plan(&self.binder.state, &bound.plan).await?;
        let batches = run(&self.binder.state, plan, types_of(&bound.schema), self.guard.clone())?;
        let batches = RowBatches::stream(batches);
        Ok(Outcome::Rows(RowStream { schema: Arc::new(bound.schema), batches, tag: TagRule::Count("SELECT") }))
    }

    async fn ddl(&mut self, definition: Definition<'_>) -> Result<Outcome> {
        let _ = self.write_context("DDL")?;
        let waiter = self.waiter();
        let mut transaction = self.state.transaction.lock().take().ok_or_else(failed)?;
        let mut context = DdlContext {
            transaction: &mut transaction,
            database: &self.engine.shared.database,
            search_path: self.state.settings.search_path(),
            user: self.binder.info.user(),
            notices: &mut self.notices,
            waiter: &waiter,
            binder: &self.binder,
        };
        let outcome = match definition {
            Definition::Sql(statement) => crate::ddl::execute(&mut context, statement).await,
            Definition::Extended(statement) => crate::ddl::extended::execute(&mut context, statement).await,
        };
        *self.state.transaction.lock() = Some(transaction);
        outcome.map(Outcome::Command)
    }

    /// CREATE TABLE AS and SELECT INTO: the table is made from the query's columns, then filled.
    async fn create_table_as(&mut self, sql: &ast::Statement, parameters: &Parameters) -> Result<Outcome> {
        let context = self.write_context("CREATE TABLE AS")?;
        let (query, with_data) = source_of(sql)?;
        let snapshot = self.snapshot()?;
        let scope = self.binder.scope(Arc::clone(snapshot.catalog()), Some(snapshot));
        let bound = self.binder.plan(&query, scope, parameters)?;
        let waiter = self.waiter();
        let mut transaction = self.state.transaction.lock().take().ok_or_else(failed)?;
        let mut ddl = DdlContext {
            transaction: &mut transaction,
            database: &self.engine.shared.database,
            search_path: self.state.settings.search_path(),
            user: self.binder.info.user(),
            notices: &mut self.notices,
            waiter: &waiter,
            binder: &self.binder,
        };
        let created = crate::builtin::create_table_as(&mut ddl, sql, &bound.schema).await;
        *self.state.transaction.lock() = Some(transaction);
        let Some(table) = created? else { return Ok(Outcome::Command(CommandTag::new("CREATE TABLE AS"))) };
        if !with_data {
            return Ok(Outcome::Command(CommandTag::new("CREATE TABLE AS")));
        }
        context.lock(table.oid, LockMode::AccessExclusive).await?;
        let places: Vec<usize> = (0..table.columns.len()).collect();
        let written = crate::dml::insert::insert_from_plan(&context, &self.binder, &table, &places, bound.plan, false);
        match written.await {
            Ok((rows, _)) => Ok(Outcome::Command(CommandTag::new(format!("SELECT {rows}")))),
            Err(crate::dml::Attempt::Failed(error)) => Err(error),
            Err(crate::dml::Attempt::Conflict) => {
                Err(Error::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update"))
            }
        }
    }

    async fn explain(
        &mut self,
        options: ExplainOptions,
        statement: &Statement,
        parameters: &Parameters,
    ) -> Result<Outcome> {
        let start = Instant::now();
        let Body::Sql(sql) = statement.body() else {
            return Err(Error::unsupported("EXPLAIN of a utility statement"));
        };
        let (query, shown) = match sql.as_ref() {
            ast::Statement::Query(query) if WriteStatement::of(sql).is_none() => (query.as_ref().clone(), None),
            ast::Statement::Insert(ast::Insert { source: Some(source), table, .. }) if !options.analyze => {
                (source.as_ref().clone(), Some(format!("Insert on {table}")))
            }
            _ => return Err(Error::unsupported("EXPLAIN of this statement")),
        };
        let mut query = query;
        if crate::locking::clause::locks(&query) {
            if options.analyze {
                return Err(Error::unsupported("EXPLAIN ANALYZE of a query that locks rows"));
            }
            crate::locking::clause::strip(&mut query);
        }
        let snapshot = self.snapshot()?;
        let scope = self.binder.scope(Arc::clone(snapshot.catalog()), Some(snapshot));
        let bound = self.binder.plan(&query, scope, parameters)?;
        let plan = physical_plan(&self.binder.state, &bound.plan).await?;
        let planning = start.elapsed();
        let measured = if options.analyze {
            let batches = run(&self.binder.state, Arc::clone(&plan), types_of(&bound.schema), self.guard.clone())?;
            Some(explain::measure(batches).await?)
        } else {
            None
        };
        let mut lines: Vec<String> = shown.into_iter().collect();
        if options.verbose {
            lines.extend(bound.plan.display_indent().to_string().lines().map(str::to_owned));
        }
        lines.extend(explain::lines(&plan, measured.as_ref(), planning));
        Ok(Outcome::Rows(explain::rows(&lines)?))
    }

    /// Learns a statement's parameters and result without running it. `bare` is as for [`Recogniser::bare`].
    async fn describe(&mut self, statement: &Statement, parameter_types: &[Oid], bare: &[bool]) -> Result<Prepared> {
        if self.state.block == Block::Failed && !statement.ends_transaction() {
            return Err(failed());
        }
        let types = ParameterTypes::default();
        for (index, oid) in parameter_types.iter().enumerate() {
            let sql_type = match oid.0 {
                0 => SqlType::Unknown,
                _ => SqlType::from_oid(*oid, -1).ok_or_else(|| {
                    Error::new(SqlState::UNDEFINED_OBJECT, format!("type with OID {oid} does not exist"))
                })?,
            };
            types.lock().insert(index + 1, sql_type);
        }
        let parameters = Parameters::Inferred(Arc::clone(&types));
        let columns = match statement.body() {
            Body::Setting(SettingCommand::Show(Some(name))) => {
                self.state.settings.get(name)?;
                Some(ResultSchema::text(&[self.state.settings.spelling(name).as_str()]))
            }
            Body::Setting(SettingCommand::Show(None)) => Some(ResultSchema::text(&["name", "setting", "description"])),
            Body::Explain { .. } => Some(explain::schema()),
            Body::Execute { name, .. } => {
                let prepared = self.prepared.get(name).ok_or_else(|| no_prepared(name))?;
                prepared.columns.as_deref().cloned()
            }
            Body::Sql(sql) => {
                self.begin_statement()?;
                self.describe_sql(sql, &parameters).await?
            }
            _ => None,
        };
        let known = types.lock();
        let count = known.keys().copied().max().unwrap_or(0);
        let resolved = (1..=count).map(|number| match known.get(&number) {
            Some(SqlType::Unknown) | None => SqlType::Text,
            Some(known) => known.clone(),
        });
        let (parameters, columns): (Vec<SqlType>, _) = (resolved.collect(), columns.map(Arc::new));
        drop(known);
        let fast = match statement.body() {
            Body::Sql(sql) => self.recognise(sql, &parameters, bare, columns.as_ref()),
            _ => None,
        };
        Ok(Prepared { parameters, columns, statement: statement.clone(), fast })
    }

    async fn describe_sql(&mut self, sql: &ast::Statement, parameters: &Parameters) -> Result<Option<ResultSchema>> {
        if let Some(write) = WriteStatement::of(sql) {
            return write.describe(&self.context(), &self.binder, parameters).await;
        }
        match sql {
            ast::Statement::Query(query) => {
                if matches!(query.body.as_ref(), ast::SetExpr::Select(select) if select.into.is_some()) {
                    return Ok(None);
                }
                let catalog = self.with_transaction(|t| t.catalog())?;
                let bound = self.binder.plan(query, self.binder.scope(catalog, None), parameters)?;
                Ok(Some(crate::rewrite::as_names(bound, &self.binder.state)?.schema))
            }
            _ => Ok(None),
        }
    }

    /// Brings parameters to text, whatever form they came in.
    fn read_parameters(
        &self,
        prepared: &Prepared,
        parameters: Vec<ScalarParameter>,
    ) -> Result<Vec<(SqlType, Option<String>)>> {
        if parameters.len() != prepared.parameters.len() {
            return Err(Error::new(
                SqlState::PROTOCOL_VIOLATION,
                format!(
                    "bind message supplies {} parameters, but prepared statement requires {}",
                    parameters.len(),
                    prepared.parameters.len()
                ),
            ));
        }
        let settings = self.state.settings.display();
        let read = |(parameter, sql_type): (ScalarParameter, &SqlType)| {
            let text = match (&parameter.value, parameter.format) {
                (None, _) => None,
                (Some(bytes), Format::Text) => Some(colonnade_types::text_from_bytes(bytes)?.to_owned()),
                (Some(bytes), Format::Binary) => {
                    let mut builder = ColumnBuilder::new(sql_type, 1);
                    builder.append_binary(bytes)?;
                    text_of(sql_type, &builder.finish(), settings)?
                }
            };
            Ok((sql_type.clone(), text))
        };
        parameters.into_iter().zip(&prepared.parameters).map(read).collect()
    }
}

/// A statement that changes the catalog.
#[derive(Clone, Copy)]
enum Definition<'a> {
    Sql(&'a ast::Statement),
    Extended(&'a crate::ddl::extended::Extended),
}

impl Drop for Session {
    fn drop(&mut self) {
        self.state.end_rolled_back();
        self.engine.shared.sessions.remove(&self.entry);
    }
}

/// The query of CREATE TABLE AS or SELECT INTO, and whether its rows are wanted.
fn source_of(sql: &ast::Statement) -> Result<(ast::Query, bool)> {
    match sql {
        ast::Statement::CreateTable(create) => {
            let query = create.query.as_deref().cloned().ok_or_else(|| Error::internal("CREATE TABLE has no query"))?;
            let with_data = !crate::parser::without_data(&query);
            Ok((query, with_data))
        }
        ast::Statement::Query(query) => {
            let mut query = query.as_ref().clone();
            if let ast::SetExpr::Select(select) = query.body.as_mut() {
                select.into = None;
            }
            Ok((query, true))
        }
        _ => Err(Error::internal("the statement has no query")),
    }
}

fn no_prepared(name: &str) -> Error {
    Error::new(SqlState::INVALID_SQL_STATEMENT_NAME, format!("prepared statement \"{name}\" does not exist"))
}

fn maintained<T>(done: Result<Result<T, colonnade_storage::MaintenanceError>, tokio::task::JoinError>) -> Result<()> {
    use colonnade_storage::MaintenanceError;
    match done {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(MaintenanceError::Disk(error))) => Err(disk_error("could not write a file", &error)),
        Ok(Err(MaintenanceError::Read(error))) => Err(error.into()),
        Ok(Err(error)) => Err(Error::new(SqlState::IO_ERROR, error.to_string())),
        Err(error) => Err(Error::internal(error.to_string())),
    }
}

/// The text of the one value of an array; `None` is NULL.
fn text_of(sql_type: &SqlType, array: &ArrayRef, settings: &DisplaySettings) -> Result<Option<String>> {
    let encoder = ColumnEncoder::new(sql_type, array, Format::Text, settings)?;
    if encoder.is_null(0) {
        return Ok(None);
    }
    let mut out = Vec::new();
    encoder.write(0, &mut out);
    String::from_utf8(out).map(Some).map_err(|_| Error::internal("a value's text is not UTF-8"))
}

/// Rows of text, as utility statements return them.
fn text_rows(names: &[&str], rows: &[Vec<String>], tag: TagRule) -> Result<RowStream> {
    let schema = ResultSchema::text(names);
    let column = |index: usize| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| row.get(index).map_or("", String::as_str))))
    };
    let batch = RecordBatch::try_new(schema.arrow_schema(), (0..names.len()).map(column).collect())?;
    Ok(RowStream { schema: Arc::new(schema), batches: RowBatches::ready(batch), tag })
}
