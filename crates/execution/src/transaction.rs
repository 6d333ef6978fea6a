//! Where a session is between BEGIN and COMMIT.
//!
//! ```text
//!            statement                     BEGIN
//!   Idle ------------> Implicit   Idle/Implicit -----> Explicit --error--> Failed
//!     ^---- finish() ----+          ^------ COMMIT, ROLLBACK ----+------------+
//! ```
//!
//! **Invariant.** In `Idle` and, unless savepoints are kept, in `Failed` there is no storage transaction; in the other states there is one.

use std::sync::Arc;

use colonnade_storage::{Database, Isolation, Savepoint, Transaction};
use colonnade_types::SqlState;
use parking_lot::Mutex;

use crate::dml::SharedTransaction;
use crate::engine::now_micros;
use crate::error::{Error, Notice, Result};
use crate::settings::Settings;
use crate::statement::{IsolationLevel, TransactionModes};

/// What ReadyForQuery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No transaction block.
    Idle,
    /// In a transaction block.
    InTransaction,
    /// In a transaction block that failed and waits for ROLLBACK.
    Failed,
}

impl TransactionStatus {
    /// The letter on the wire: `I`, `T` or `E`.
    #[must_use]
    pub fn letter(self) -> u8 {
        match self {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        }
    }
}

/// The states of the module's drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Idle,
    Implicit,
    Explicit,
    Failed,
}

/// A session's place between BEGIN and COMMIT, with its settings, which follow the transaction.
pub(crate) struct TransactionState {
    pub(crate) block: Block,
    pub(crate) transaction: SharedTransaction,
    pub(crate) isolation: IsolationLevel,
    pub(crate) read_only: bool,
    /// When the transaction began; of the last one if there is none.
    pub(crate) started: i64,
    savepoints: Vec<(String, Savepoint, Settings, Settings)>,
    /// Settings in force.
    pub(crate) settings: Settings,
    /// Settings after a commit: without those that were SET LOCAL.
    committed: Settings,
    /// Settings after a rollback.
    before: Settings,
    /// Whether a statement of the transaction has run, after which its isolation cannot be changed.
    pub(crate) used: bool,
}

fn warning(state: SqlState, message: &str) -> Notice {
    Notice::warning(state, message)
}

impl TransactionState {
    pub(crate) fn new(settings: Settings) -> TransactionState {
        TransactionState {
            block: Block::Idle,
            transaction: Arc::new(Mutex::new(None)),
            isolation: IsolationLevel::ReadCommitted,
            read_only: false,
            started: now_micros(),
            savepoints: Vec::new(),
            committed: settings.clone(),
            before: settings.clone(),
            settings,
            used: false,
        }
    }

    pub(crate) fn status(&self) -> TransactionStatus {
        match self.block {
            Block::Idle | Block::Implicit => TransactionStatus::Idle,
            Block::Explicit => TransactionStatus::InTransaction,
            Block::Failed => TransactionStatus::Failed,
        }
    }

    /// Opens an implicit transaction if there is none.
    pub(crate) fn ensure(&mut self, database: &Database) -> Result<()> {
        match self.block {
            Block::Idle => self.open(database, TransactionModes::default(), Block::Implicit),
            Block::Failed => Err(failed()),
            Block::Implicit | Block::Explicit => Ok(()),
        }
    }

    fn open(&mut self, database: &Database, modes: TransactionModes, block: Block) -> Result<()> {
        let isolation = modes.isolation.unwrap_or_else(|| self.settings.default_isolation());
        let read_only = modes.read_only.unwrap_or_else(|| self.settings.default_read_only());
        check_isolation(isolation, read_only)?;
        self.before = self.settings.clone();
        self.committed = self.settings.clone();
        *self.transaction.lock() = Some(database.begin(storage_isolation(isolation)));
        self.started = now_micros();
        self.used = false;
        self.block = block;
        self.apply_modes(isolation, read_only);
        Ok(())
    }

    fn apply_modes(&mut self, isolation: IsolationLevel, read_only: bool) {
        self.isolation = isolation;
        self.read_only = read_only;
        self.settings.set_transaction(Some((isolation, read_only)));
    }

    /// BEGIN.
    pub(crate) fn begin(
        &mut self,
        database: &Database,
        modes: TransactionModes,
        notices: &mut Vec<Notice>,
    ) -> Result<()> {
        match self.block {
            Block::Idle => self.open(database, modes, Block::Explicit),
            // What has run so far in the same message becomes part of the block.
            Block::Implicit => {
                self.block = Block::Explicit;
                if !self.used { self.set_modes(database, modes) } else { Ok(()) }
            }
            Block::Explicit => {
                notices.push(warning(SqlState::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress"));
                Ok(())
            }
            Block::Failed => Err(failed()),
        }
    }

    /// SET TRANSACTION.
    pub(crate) fn set_modes(&mut self, database: &Database, modes: TransactionModes) -> Result<()> {
        let isolation = modes.isolation.unwrap_or(self.isolation);
        let read_only = modes.read_only.unwrap_or(self.read_only);
        if self.used && isolation != self.isolation {
            return Err(Error::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION ISOLATION LEVEL must be called before any query",
            ));
        }
        if self.used && self.read_only && !read_only {
            return Err(Error::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "cannot set transaction read-write mode inside a read-only transaction",
            ));
        }
        check_isolation(isolation, read_only)?;
        if storage_isolation(isolation) != storage_isolation(self.isolation) {
            *self.transaction.lock() = Some(database.begin(storage_isolation(isolation)));
        }
        self.apply_modes(isolation, read_only);
        Ok(())
    }

    /// COMMIT; false if the block had failed and was rolled back instead.
    pub(crate) async fn commit(&mut self, notices: &mut Vec<Notice>) -> Result<bool> {
        match self.block {
            Block::Idle => {
                notices.push(warning(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"));
                Ok(true)
            }
            Block::Failed => {
                self.end_rolled_back();
                Ok(false)
            }
            Block::Implicit | Block::Explicit => {
                if self.block == Block::Implicit {
                    notices.push(warning(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"));
                }
                self.finish_commit().await?;
                Ok(true)
            }
        }
    }

    /// Commits the open transaction and waits until it is durable.
    pub(crate) async fn finish_commit(&mut self) -> Result<()> {
        let taken = self.transaction.lock().take();
        let outcome = match taken {
            Some(transaction) => match transaction.commit() {
                Ok(ticket) => ticket.await.map(|_| ()),
                Err(error) => Err(error),
            },
            None => Ok(()),
        };
        match outcome {
            Ok(()) => {
                self.settings = self.committed.clone();
                self.reset();
                Ok(())
            }
            Err(error) => {
                self.end_rolled_back();
                Err(error.into())
            }
        }
    }

    /// ROLLBACK.
    pub(crate) fn rollback(&mut self, notices: &mut Vec<Notice>) {
        if matches!(self.block, Block::Idle | Block::Implicit) {
            notices.push(warning(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"));
        }
        if self.block != Block::Idle {
            self.end_rolled_back();
        }
    }

    /// Rolls back and is idle again.
    pub(crate) fn end_rolled_back(&mut self) {
        if let Some(transaction) = self.transaction.lock().take() {
            transaction.rollback();
        }
        if self.block != Block::Idle {
            self.settings = self.before.clone();
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.block = Block::Idle;
        self.savepoints.clear();
        // A stream of the ended transaction may still hold the old cell.
        self.transaction = Arc::new(Mutex::new(None));
        self.used = false;
        self.read_only = false;
        self.isolation = self.settings.default_isolation();
        self.settings.set_transaction(None);
    }

    /// A statement failed.
    pub(crate) fn fail(&mut self) {
        match self.block {
            Block::Idle | Block::Failed => {}
            Block::Implicit => self.end_rolled_back(),
            Block::Explicit => {
                self.block = Block::Failed;
                // With savepoints the client may still go back to one.
                if self.savepoints.is_empty()
                    && let Some(transaction) = self.transaction.lock().take()
                {
                    transaction.rollback();
                }
            }
        }
    }

    fn in_block(&self, what: &str) -> Result<()> {
        match self.block {
            Block::Explicit | Block::Failed => Ok(()),
            Block::Idle | Block::Implicit => Err(Error::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                format!("{what} can only be used in transaction blocks"),
            )),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Transaction) -> T) -> Result<T> {
        self.transaction.lock().as_mut().map(work).ok_or_else(failed)
    }

    /// SAVEPOINT.
    pub(crate) fn savepoint(&mut self, name: String) -> Result<()> {
        self.in_block("SAVEPOINT")?;
        if self.block == Block::Failed {
            return Err(failed());
        }
        let savepoint = self.with(Transaction::savepoint)?;
        self.savepoints.push((name, savepoint, self.settings.clone(), self.committed.clone()));
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Result<usize> {
        self.savepoints
            .iter()
            .rposition(|(other, ..)| other == name)
            .ok_or_else(|| Error::new(SqlState::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist")))
    }

    /// RELEASE SAVEPOINT.
    pub(crate) fn release(&mut self, name: &str) -> Result<()> {
        self.in_block("RELEASE SAVEPOINT")?;
        if self.block == Block::Failed {
            return Err(failed());
        }
        let place = self.find_savepoint(name)?;
        self.savepoints.truncate(place);
        Ok(())
    }

    /// ROLLBACK TO SAVEPOINT, which brings a failed block back.
    pub(crate) fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.in_block("ROLLBACK TO SAVEPOINT")?;
        let place = self.find_savepoint(name)?;
        self.savepoints.truncate(place + 1);
        let (_, savepoint, settings, committed) = &self.savepoints[place];
        self.settings = settings.clone();
        self.committed = committed.clone();
        self.with(|transaction| transaction.rollback_to(savepoint))?;
        self.block = Block::Explicit;
        Ok(())
    }

    /// Changes a setting, for the session or, if `local`, until the transaction ends.
    pub(crate) fn change(&mut self, local: bool, change: impl Fn(&mut Settings) -> Result<String>) -> Result<String> {
        let name = change(&mut self.settings)?;
        if !local {
            change(&mut self.committed)?;
            if self.block == Block::Idle {
                self.before = self.committed.clone();
            }
        }
        Ok(name)
    }
}

/// `current transaction is aborted ...`
pub(crate) fn failed() -> Error {
    Error::new(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

fn check_isolation(isolation: IsolationLevel, read_only: bool) -> Result<()> {
    if isolation == IsolationLevel::Serializable && !read_only {
        return Err(Error::unsupported("isolation level SERIALIZABLE")
            .with_hint("Use REPEATABLE READ, or SERIALIZABLE READ ONLY."));
    }
    Ok(())
}

/// The storage's name for an isolation level. A read-only transaction on one snapshot is serializable among transactions that are.
fn storage_isolation(isolation: IsolationLevel) -> Isolation {
    match isolation {
        IsolationLevel::ReadUncommitted | IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        IsolationLevel::RepeatableRead | IsolationLevel::Serializable => Isolation::RepeatableRead,
    }
}
