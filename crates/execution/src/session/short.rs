//! Short statements: those that are known again, and run at once.
//!
//! ```text
//! Parse    (text, types) ─► known exactly? ─► Prepared             (or parsed, bound, and remembered)
//! Query    text ─► literals lifted ─► known? ─► Prepared + values  (or parsed, as anything else)
//! Execute  Prepared ─► execute_now: done without waiting           (or execute_prepared, which may wait)
//! ```
//!
//! **Invariants.** What is remembered of a text is used only with the catalog and the settings that it was made with, by pointer. [`Session::execute_now`] answers `None` exactly when
//! nothing has happened that the general path would not do itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::ArrayRef;
use colonnade_storage::{Catalog, Transaction, WriteError};
use colonnade_types::{Oid, SqlType};
use sqlparser::ast;

use super::{Prepared, ScalarParameter, Session};
use crate::datafusion_error::place;
use crate::engine::now_micros;
use crate::error::Result;
use crate::fast::run::{Attempt, Done, Execution, parameters};
use crate::fast::text::{Lifted, lift};
use crate::fast::{FastPlan, Recogniser, recognise};
use crate::locks::write_error;
use crate::outcome::{Outcome, ResultSchema};
use crate::settings::{ForcePath, Settings};
use crate::statement::{Body, IsolationLevel, Statement, TransactionCommand};
use crate::transaction::{Block, failed};

/// Texts of each kind that a session remembers; at more it forgets all of the kind.
const TEXTS_MAX: usize = 512;
/// Longest text that is remembered, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What a session remembers of texts.
#[derive(Default)]
pub(super) struct KnownStatements {
    /// Texts as they were sent, with the types that were given.
    exact: HashMap<String, KnownText>,
    /// Simple queries without their literals, by [`Lifted::key`].
    lifted: HashMap<String, KnownQuery>,
}

struct KnownText {
    types: Vec<Oid>,
    catalog: Arc<Catalog>,
    settings: Settings,
    prepared: Arc<Prepared>,
}

enum KnownQuery {
    Fast(Arc<Prepared>),
    /// Planned each time, as far as this catalog goes.
    General(Arc<Catalog>),
}

/// A simple query's text that is known as a statement with values.
pub struct Recognised {
    prepared: Arc<Prepared>,
    literals: Vec<ScalarParameter>,
    values: Vec<ArrayRef>,
}

impl Recognised {
    /// The statement with the literals as parameters, for [`Session::execute_prepared`].
    #[must_use]
    pub fn into_parts(self) -> (Arc<Prepared>, Vec<ScalarParameter>) {
        (self.prepared, self.literals)
    }
}

impl Session {
    /// Prepares a text of one statement; `None` for an empty one. A text that was prepared before with the same types is neither parsed nor bound again.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse) and [`prepare`](Self::prepare); 42601 for several statements.
    pub async fn prepare_text(&mut self, sql: &str, types: &[Oid]) -> Result<Option<Arc<Prepared>>> {
        if let Some(prepared) = self.known_text(sql, types) {
            return Ok(Some(prepared));
        }
        let statements = self.parse(sql)?;
        let statement = match statements.as_slice() {
            [] => return Ok(None),
            [statement] => statement,
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(crate::error::Error::new(colonnade_types::SqlState::SYNTAX_ERROR, message));
            }
        };
        let prepared = Arc::new(Box::pin(self.prepare(statement, types)).await?);
        self.remember(sql, types, &prepared);
        Ok(Some(prepared))
    }

    fn known_text(&self, sql: &str, types: &[Oid]) -> Option<Arc<Prepared>> {
        let known = self.known.exact.get(sql)?;
        let is_current = self.state.block != Block::Failed
            && known.types == types
            && known.settings.same(&self.state.settings)
            && self.sees_catalog(&known.catalog);
        is_current.then(|| Arc::clone(&known.prepared))
    }

    fn remember(&mut self, sql: &str, types: &[Oid], prepared: &Arc<Prepared>) {
        if sql.len() > TEXT_BYTES_MAX {
            return;
        }
        if self.known.exact.len() >= TEXTS_MAX {
            self.known.exact.clear();
        }
        let known = KnownText {
            types: types.to_vec(),
            catalog: self.current_catalog(),
            settings: self.state.settings.clone(),
            prepared: Arc::clone(prepared),
        };
        self.known.exact.insert(sql.to_owned(), known);
    }

    /// Finds out whether a simple query's text is a statement that runs without a plan, so that it need not be parsed. `None` says nothing about the
    /// text: parse it.
    pub async fn recognise_text(&mut self, sql: &str) -> Option<Recognised> {
        if let Some(recognised) = self.recognise_known(sql) {
            return Some(recognised);
        }
        if self.state.block == Block::Failed {
            return None;
        }
        let Some(lifted) = lift(sql) else { return self.recognise_command(sql) };
        if let Some(KnownQuery::General(of)) = self.known.lifted.get(&lifted.key)
            && self.sees_catalog(of)
        {
            return None;
        }
        let prepared = Box::pin(self.prepare_lifted(&lifted)).await.map(Arc::new);
        if self.known.lifted.len() >= TEXTS_MAX {
            self.known.lifted.clear();
        }
        let known = match &prepared {
            Some(prepared) => KnownQuery::Fast(Arc::clone(prepared)),
            None => KnownQuery::General(self.current_catalog()),
        };
        self.known.lifted.insert(lifted.key, known);
        self.with_values(prepared?, lifted.literals)
    }

    /// As [`recognise_text`](Self::recognise_text), for texts that have been recognised before.
    pub fn recognise_known(&self, sql: &str) -> Option<Recognised> {
        if self.state.block == Block::Failed {
            return None;
        }
        if let Some(prepared) = self.known_text(sql, &[])
            && matches!(prepared.statement.body(), Body::Transaction(_))
        {
            return Some(Recognised { prepared, literals: Vec::new(), values: Vec::new() });
        }
        let lifted = lift(sql)?;
        let Some(KnownQuery::Fast(prepared)) = self.known.lifted.get(&lifted.key) else { return None };
        let plan = prepared.fast.as_ref()?;
        if !self.is_current(plan) {
            return None;
        }
        self.with_values(Arc::clone(prepared), lifted.literals)
    }

    /// A literal that is no value of its type is left to the general path, which reports it with its place.
    fn with_values(&self, prepared: Arc<Prepared>, literals: Vec<ScalarParameter>) -> Option<Recognised> {
        let values = parameters(&prepared.parameters, &literals, self.state.settings.display()).ok()?;
        Some(Recognised { prepared, literals, values })
    }

    /// BEGIN, COMMIT and their like, whose texts are few.
    fn recognise_command(&mut self, sql: &str) -> Option<Recognised> {
        const COMMAND_BYTES_MAX: usize = 64;
        if sql.len() > COMMAND_BYTES_MAX {
            return None;
        }
        let statements = self.parse(sql).ok()?;
        let [statement] = statements.as_slice() else { return None };
        if !matches!(statement.body(), Body::Transaction(_)) {
            return None;
        }
        let statement = statement.clone();
        let prepared = Arc::new(Prepared { parameters: Vec::new(), columns: None, statement, fast: None });
        self.remember(sql, &[], &prepared);
        Some(Recognised { prepared, literals: Vec::new(), values: Vec::new() })
    }

    async fn prepare_lifted(&mut self, lifted: &Lifted) -> Option<Prepared> {
        let statements = self.parse(lifted.text()).ok()?;
        let [statement] = statements.as_slice() else { return None };
        self.arm();
        let prepared = self.describe(statement, &lifted.types(), &lifted.bare()).await.ok()?;
        prepared.fast.is_some().then_some(prepared)
    }

    /// Binds a statement for the fast path, if that takes it.
    pub(super) fn recognise(
        &self,
        sql: &ast::Statement,
        parameters: &[SqlType],
        bare: &[bool],
        columns: Option<&Arc<ResultSchema>>,
    ) -> Option<Arc<FastPlan>> {
        let catalog = self.with_transaction(|t| t.catalog()).ok()?;
        let recogniser = Recogniser { binder: &self.binder, catalog: &catalog, parameters, bare, columns };
        crate::parser::on_large_stack(|| recognise(&recogniser, sql)).map(Arc::new)
    }

    /// The catalog that the next statement sees.
    pub(super) fn current_catalog(&self) -> Arc<Catalog> {
        match self.with_transaction(|transaction| transaction.catalog()) {
            Ok(catalog) => catalog,
            Err(_) => self.engine.shared.database.catalog(),
        }
    }

    /// Whether the next statement sees this very catalog.
    fn sees_catalog(&self, catalog: &Arc<Catalog>) -> bool {
        match self.with_transaction(|transaction| transaction.sees_catalog(catalog)) {
            Ok(sees) => sees,
            Err(_) => self.engine.shared.database.has_catalog(catalog),
        }
    }

    fn is_current(&self, plan: &FastPlan) -> bool {
        plan.is_of(&self.state.settings) && self.sees_catalog(&plan.catalog)
    }

    /// Runs a prepared statement, if that can be done here and now: a statement about one row that nobody else holds, or BEGIN. `None`: it has to be run by
    /// [`execute_prepared`](Self::execute_prepared).
    pub fn execute_now(&mut self, prepared: &Prepared, given: &[ScalarParameter]) -> Option<Result<Outcome>> {
        if self.state.block == Block::Failed || given.len() != prepared.parameters.len() {
            return None;
        }
        if let Body::Transaction(TransactionCommand::Begin { modes, start }) = prepared.statement.body() {
            self.announce(&prepared.statement);
            return Some(self.ended(&prepared.statement, |session| session.begin_block(*modes, *start)));
        }
        let plan = self.usable(prepared)?;
        let values = parameters(&prepared.parameters, given, self.state.settings.display()).ok()?;
        self.run_now(&prepared.statement, &plan, &values)
    }

    /// As [`execute_now`](Self::execute_now), for a simple query's text.
    pub fn execute_recognised(&mut self, recognised: &Recognised) -> Option<Result<Outcome>> {
        let prepared = &recognised.prepared;
        if prepared.fast.is_none() {
            return self.execute_now(prepared, &[]);
        }
        let plan = self.usable(prepared)?;
        self.run_now(&prepared.statement, &plan, &recognised.values)
    }

    fn usable(&self, prepared: &Prepared) -> Option<Arc<FastPlan>> {
        let plan = prepared.fast.as_ref()?;
        let usable = self.state.block != Block::Failed
            && self.state.settings.force_path() != ForcePath::Column
            && self.is_current(plan);
        usable.then(|| Arc::clone(plan))
    }

    fn announce(&mut self, statement: &Statement) {
        self.arm();
        self.show_state(Some(statement.text()));
    }

    fn ended(&mut self, statement: &Statement, work: impl FnOnce(&mut Session) -> Result<Outcome>) -> Result<Outcome> {
        let outcome = work(self);
        if outcome.is_err() {
            self.state.fail();
        }
        place(outcome, statement.source())
    }

    fn run_now(&mut self, statement: &Statement, plan: &FastPlan, values: &[ArrayRef]) -> Option<Result<Outcome>> {
        self.announce(statement);
        match self.try_plan(plan, values) {
            Ok(Some(done)) => Some(Ok(done.outcome(plan))),
            Ok(None) => None,
            Err(error) => Some(self.ended(statement, |_| Err(error))),
        }
    }

    /// One attempt; `None` if it has to be tried again, or in another way.
    fn try_plan(&mut self, plan: &FastPlan, values: &[ArrayRef]) -> Result<Option<Done>> {
        if !plan.is_write() {
            return self.read_plan(plan, values);
        }
        if plan.needs_statement {
            self.begin_statement()?;
        }
        self.state.ensure(&self.engine.shared.database)?;
        self.state.used = true;
        self.check_writable(plan.word())?;
        let execution = Execution { plan, parameters: values, now: self.state.started };
        match self.with_transaction(|transaction| execution.write(transaction))?? {
            Attempt::Done(done) => Ok(Some(done)),
            Attempt::Blocked(_) | Attempt::Conflict | Attempt::Stale => Ok(None),
        }
    }

    /// `None` if the general path has to ask for a lock first.
    fn read_plan(&mut self, plan: &FastPlan, values: &[ArrayRef]) -> Result<Option<Done>> {
        if plan.needs_statement {
            self.begin_statement()?;
        }
        let database = &self.engine.shared.database;
        if database.are_readers_kept_out() {
            return Ok(None);
        }
        let alone =
            self.state.block == Block::Idle && self.state.settings.default_isolation() <= IsolationLevel::ReadCommitted;
        if alone {
            // One statement, one snapshot: no transaction is needed for that.
            let execution = Execution { plan, parameters: values, now: now_micros() };
            return execution.read(&database.snapshot()).map(Some);
        }
        self.state.ensure(database)?;
        self.state.used = true;
        let execution = Execution { plan, parameters: values, now: self.state.started };
        let snapshot = self.with_transaction(Transaction::snapshot)?;
        execution.read(&snapshot).map(Some)
    }

    /// Runs a statement that needs no plan, waiting where it has to; `None` leaves it to the general path, and nothing has happened.
    pub(super) async fn execute_short(
        &mut self,
        prepared: &Prepared,
        given: &[ScalarParameter],
    ) -> Option<Result<Outcome>> {
        let statement = &prepared.statement;
        if let Body::Transaction(command) = statement.body() {
            self.announce(statement);
            let outcome = if self.state.block == Block::Failed && !statement.ends_transaction() {
                Err(failed())
            } else {
                self.transaction(command).await
            };
            return Some(self.ended(statement, |_| outcome));
        }
        if given.len() != prepared.parameters.len() {
            return None;
        }
        let plan = self.usable(prepared)?;
        let values = parameters(&prepared.parameters, given, self.state.settings.display()).ok()?;
        self.announce(statement);
        match self.run_fast(&plan, &values).await {
            Ok(Some(done)) => Some(Ok(done.outcome(&plan))),
            Ok(None) => None,
            Err(error) => Some(self.ended(statement, |_| Err(error))),
        }
    }

    /// `None` if the plan turned out to be stale.
    pub(super) async fn run_fast(&mut self, plan: &FastPlan, values: &[ArrayRef]) -> Result<Option<Done>> {
        if !plan.is_write() {
            return self.read_plan(plan, values);
        }
        if plan.needs_statement {
            self.begin_statement()?;
        }
        self.state.ensure(&self.engine.shared.database)?;
        self.state.used = true;
        let execution = Execution { plan, parameters: values, now: self.state.started };
        let context = self.write_context(plan.word())?;
        loop {
            let (id, attempt) = context.with(|transaction| (transaction.id(), execution.write(transaction)))?;
            match attempt? {
                Attempt::Done(done) => return Ok(Some(done)),
                Attempt::Stale => return Ok(None),
                Attempt::Blocked(holder) => {
                    self.entry.transaction.store(id.0, Ordering::Relaxed);
                    context.waiter.wait(&context.database, id, holder).await?;
                }
                Attempt::Conflict if context.repeatable => return Err(write_error(WriteError::Conflict, None)),
                Attempt::Conflict => context.waiter.guard.check()?,
            }
        }
    }
}
