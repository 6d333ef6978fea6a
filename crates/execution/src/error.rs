//! What a client is told when a statement fails, and notices for when it does not.
//!
//! Every failure of a statement becomes one [`Error`] with PostgreSQL's SQLSTATE and message text. Errors travel through
//! DataFusion as [`DataFusionError::External`] and come out again unchanged; DataFusion's own ones are translated in
//! `datafusion_error`.

use std::fmt;
use std::ops::{Deref, DerefMut};

use colonnade_types::SqlState;
use datafusion::error::DataFusionError;

/// How grave a message to the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
    /// The process is in trouble.
    Panic,
    /// Something the user should know.
    Warning,
    /// Something the user may like to know.
    Notice,
    /// Information that was asked for.
    Info,
    /// For the server's log.
    Log,
    /// For developers.
    Debug,
}

impl Severity {
    /// PostgreSQL's word for it, as field `S` and `V` of a message carry it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Panic => "PANIC",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
            Severity::Info => "INFO",
            Severity::Log => "LOG",
            Severity::Debug => "DEBUG",
        }
    }
}

/// The fields of an [`Error`], named as in PostgreSQL's error messages.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorFields {
    /// `ERROR`, or `FATAL` if the session cannot go on.
    pub severity: Severity,
    /// The five-character class of the failure.
    pub sql_state: SqlState,
    /// Primary message: lowercase, no full stop.
    pub message: String,
    /// More about what happened.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the text given to `Session::parse`, in characters from 1.
    pub position: Option<usize>,
    /// What was being done, such as `COPY t, line 3, column b: "x"`.
    pub context: Option<String>,
    /// The schema of the object concerned.
    pub schema: Option<String>,
    /// The table concerned.
    pub table: Option<String>,
    /// The column concerned.
    pub column: Option<String>,
    /// The constraint concerned.
    pub constraint: Option<String>,
}

/// A statement's failure. Reads like [`ErrorFields`]; boxed, because results carry it by value.
#[derive(Clone, Debug, PartialEq)]
pub struct Error(Box<ErrorFields>);

/// The result of everything that a client's statement can make fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error of severity `ERROR` with nothing but state and message.
    #[must_use]
    pub fn new(sql_state: SqlState, message: impl Into<String>) -> Error {
        Error(Box::new(ErrorFields {
            severity: Severity::Error,
            sql_state,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
        }))
    }

    /// Says that `what` is not supported (0A000).
    #[must_use]
    pub fn unsupported(what: impl fmt::Display) -> Error {
        Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
    }

    /// Says that something impossible happened (XX000).
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(SqlState::INTERNAL_ERROR, message)
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Error {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a position in characters from 1.
    #[must_use]
    pub fn with_position(mut self, position: usize) -> Error {
        self.position = Some(position);
        self
    }

    /// Adds the context line.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Error {
        self.context = Some(context.into());
        self
    }

    /// Names the table concerned.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<String>) -> Error {
        self.table = Some(table.into());
        self
    }

    /// Names the column concerned.
    #[must_use]
    pub fn with_column(mut self, column: impl Into<String>) -> Error {
        self.column = Some(column.into());
        self
    }

    /// Names the constraint concerned.
    #[must_use]
    pub fn with_constraint(mut self, constraint: impl Into<String>) -> Error {
        self.constraint = Some(constraint.into());
        self
    }

    /// Puts the error into DataFusion's, from which [`Error::from`] takes it out again.
    #[must_use]
    pub fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}

impl Deref for Error {
    type Target = ErrorFields;

    fn deref(&self) -> &ErrorFields {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut ErrorFields {
        &mut self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        error.into_datafusion()
    }
}

/// Something a client is told while its statement goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// `WARNING`, `NOTICE` or `INFO`.
    pub severity: Severity,
    /// Class; `00000` for plain notices.
    pub sql_state: SqlState,
    /// Primary message.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Notice {
    /// A notice with a message only.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Notice {
        Notice {
            severity: Severity::Notice,
            sql_state: SqlState::SUCCESSFUL_COMPLETION,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// A warning with its class and message.
    #[must_use]
    pub fn warning(sql_state: SqlState, message: impl Into<String>) -> Notice {
        Notice { severity: Severity::Warning, sql_state, message: message.into(), detail: None, hint: None }
    }
}
