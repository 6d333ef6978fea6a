//! COPY in both directions.

pub(crate) mod table_functions;

use bytes::Bytes;
use sqlparser::ast;

use crate::error::{Error, Result};
use crate::outcome::{CommandTag, CopyFormat};

/// A parsed COPY.
#[derive(Clone, Debug)]
pub(crate) struct CopyStatement {
    pub(crate) source: CopySource,
    pub(crate) to: bool,
    pub(crate) target: CopyTarget,
    pub(crate) options: Vec<(String, CopyOptionValue)>,
}

#[derive(Clone, Debug)]
pub(crate) enum CopySource {
    Table { name: ast::ObjectName, columns: Vec<ast::Ident> },
    Query(Box<ast::Query>),
}

#[derive(Clone, Debug)]
pub(crate) enum CopyTarget {
    Client,
    File(String),
}

/// An option's value as written.
#[derive(Clone, Debug)]
pub(crate) enum CopyOptionValue {
    None,
    Word(String),
    List(Vec<String>),
    All,
}

/// Runs a COPY.
pub(crate) async fn run(
    _session: &mut crate::session::Session,
    _copy: &CopyStatement,
    _parameters: &crate::binder::syntax::Parameters,
) -> Result<crate::outcome::Outcome> {
    Err(Error::unsupported("COPY"))
}

/// A load that takes its data from the client.
pub struct CopyIn {
    /// The data's format.
    pub format: CopyFormat,
    /// Number of columns in a row.
    pub column_count: usize,
}

impl CopyIn {
    /// Takes more data; rows may be cut anywhere.
    ///
    /// # Errors
    /// The first bad row, with its line and column as context; the load cannot go on.
    pub async fn write(&mut self, _data: Bytes) -> Result<()> {
        Err(Error::unsupported("COPY"))
    }

    /// Ends the load.
    ///
    /// # Errors
    /// If the data ends within a row, or a row is refused.
    pub async fn finish(self) -> Result<CommandTag> {
        Err(Error::unsupported("COPY"))
    }

    /// Gives up because the client said so, and returns the error to report.
    #[must_use]
    pub fn abort(self, message: &str) -> Error {
        Error::new(colonnade_types::SqlState::QUERY_CANCELED, format!("COPY from stdin failed: {message}"))
    }
}
