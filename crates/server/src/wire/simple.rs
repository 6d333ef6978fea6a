//! The simple protocol: a text of statements, one implicit transaction, one ReadyForQuery.
//!
//! ```text
//! Query -> { RowDescription DataRow* | CopyInResponse .. | CopyOutResponse .. }? CommandComplete  (each statement)  ReadyForQuery
//! ```
//!
//! Results go out as they come. The last statement's CommandComplete follows the commit, so whoever saw it has what it says.

use colonnade_execution::{Outcome, Statement};
use colonnade_types::Format;

use super::connection::Connection;
use super::extended::Rows;
use super::watch::{Failure, watch};
use crate::metrics::{Protocol, StatementTimer};

impl Connection {
    /// Runs a text of statements. Errors of statements are reported here.
    pub(super) async fn simple_query(&mut self, text: &str) -> Result<(), Failure> {
        // As in PostgreSQL, a simple query does away with the unnamed statement and portal.
        self.statements.remove("");
        self.portals.remove("");
        let success = match self.run_text(text).await {
            Ok(()) => true,
            Err(Failure::Error(error)) if error.severity == colonnade_execution::Severity::Error => {
                self.report(&error);
                false
            }
            Err(failure) => return Err(failure),
        };
        self.end_simple(success).await
    }

    async fn run_text(&mut self, text: &str) -> Result<(), Failure> {
        let timer = StatementTimer::start(Protocol::PostgreSql);
        let recognised = match self.session.recognise_known(text) {
            Some(recognised) => Some(recognised),
            None => {
                let work = async { Ok(self.session.recognise_text(text).await) };
                watch(&mut self.reader, &self.cancel, &mut self.phase, work).await?
            }
        };
        if let Some(recognised) = recognised {
            let outcome = match self.session.execute_recognised(&recognised) {
                Some(outcome) => outcome?,
                None => {
                    let (prepared, literals) = recognised.into_parts();
                    let work = self.session.execute_prepared(&prepared, literals);
                    watch(&mut self.reader, &self.cancel, &mut self.phase, work).await?
                }
            };
            return self.send_outcome(outcome, timer, true).await;
        }
        let statements = self.session.parse(text)?;
        if statements.is_empty() {
            self.output.empty(b'I');
        }
        let last = statements.len().saturating_sub(1);
        for (index, statement) in statements.iter().enumerate() {
            self.run_statement(statement, index == last).await?;
        }
        Ok(())
    }

    async fn run_statement(&mut self, statement: &Statement, is_last: bool) -> Result<(), Failure> {
        let timer = StatementTimer::start(Protocol::PostgreSql);
        let work = Box::pin(self.session.execute(statement));
        let outcome = watch(&mut self.reader, &self.cancel, &mut self.phase, work).await?;
        self.send_outcome(outcome, timer, is_last).await
    }

    async fn send_outcome(&mut self, outcome: Outcome, timer: StatementTimer, is_last: bool) -> Result<(), Failure> {
        self.send_notices();
        let tag = match outcome {
            Outcome::Empty => None,
            Outcome::Command(tag) => Some(tag),
            Outcome::Rows(stream) => {
                let formats = vec![Format::Text; stream.schema.columns.len()];
                self.output.row_description(&stream.schema, &formats);
                let mut rows = Rows::new(stream, formats, self.session.display());
                self.send_rows(&mut rows, usize::MAX).await?;
                Some(rows.tag())
            }
            Outcome::CopyIn(copy) => Some(self.copy_in(copy).await?),
            Outcome::CopyOut(copy) => Some(self.copy_out(copy).await?),
        };
        if is_last {
            self.finish(true).await?;
        }
        self.send_notices();
        match tag {
            Some(tag) => self.output.command_complete(tag.as_str()),
            None => self.output.empty(b'I'),
        }
        timer.finish();
        Ok(self.relieve().await?)
    }

    /// Ends a simple query: what is left of its implicit transaction, and ReadyForQuery.
    pub(super) async fn end_simple(&mut self, success: bool) -> Result<(), Failure> {
        match self.finish(success).await {
            Ok(()) => {}
            Err(Failure::Error(error)) if error.severity == colonnade_execution::Severity::Error => self.report(&error),
            Err(failure) => return Err(failure),
        }
        self.forget_portals();
        self.send_notices();
        self.output.ready(self.session.status());
        Ok(())
    }
}
