//! The extended protocol: prepared statements and portals.
//!
//! ```text
//! Parse -> statement      Bind(statement, values) -> portal      Execute(portal, at most n rows)*      Sync
//! ```
//!
//! A portal lives until it is closed, replaced, or its transaction ends. Its rows are a stream that is read as far as each Execute asks,
//! so a portal that waits holds one batch.

use std::sync::Arc;

use colonnade_execution::{
    CommandTag, Error, Outcome, Prepared, ResultSchema, RowStream, ScalarParameter, TransactionStatus,
};
use colonnade_types::{DisplaySettings, Format, Oid, SqlState};
use futures::StreamExt;
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Parse};

use super::connection::Connection;
use super::decode::violation;
use super::output::FLUSH_BYTES;
use super::rows::BatchRows;
use super::watch::{Failure, flush, watch};
use crate::metrics::{Protocol, StatementTimer};

/// A statement that was parsed.
pub(super) struct PreparedStatement {
    name: String,
    /// `None` for an empty text.
    prepared: Option<Arc<Prepared>>,
}

/// A statement with its values.
pub(super) struct Portal {
    statement: Arc<PreparedStatement>,
    parameters: Vec<ScalarParameter>,
    /// One per column of the result.
    formats: Vec<Format>,
    state: PortalState,
}

enum PortalState {
    /// Not executed yet.
    Ready,
    /// Executed in part.
    Suspended(Rows),
    /// Executed; with rows it may be asked again, and has no more.
    Done { tag_again: Option<CommandTag> },
}

/// Rows that are being sent.
pub(super) struct Rows {
    stream: RowStream,
    formats: Vec<Format>,
    display: DisplaySettings,
    batch: Option<BatchRows>,
    sent: u64,
}

impl Rows {
    pub(super) fn new(stream: RowStream, formats: Vec<Format>, display: DisplaySettings) -> Rows {
        Rows { stream, formats, display, batch: None, sent: 0 }
    }

    /// The tag of the statement, as far as it has been sent.
    pub(super) fn tag(&self) -> CommandTag {
        self.stream.tag(self.sent)
    }
}

impl Connection {
    /// Sends up to `rows_max` rows; false if there may be more.
    pub(super) async fn send_rows(&mut self, rows: &mut Rows, rows_max: usize) -> Result<bool, Failure> {
        let mut left = rows_max;
        loop {
            if let Some(batch) = &mut rows.batch {
                let written = batch.write(&mut self.output.buffer, left, FLUSH_BYTES)?;
                left -= written;
                rows.sent += written as u64;
                crate::metrics::sent_rows(written);
                if batch.is_done() {
                    rows.batch = None;
                }
                if self.output.is_full() {
                    flush(&mut self.output, &mut self.phase).await?;
                }
                if rows.batch.is_some() && left > 0 {
                    continue;
                }
            }
            if left == 0 {
                return Ok(false);
            }
            let next = match rows.stream.batches.next_ready() {
                Some(next) => next,
                None => {
                    let next = async { rows.stream.batches.next().await.transpose() };
                    watch(&mut self.reader, &self.cancel, &mut self.phase, next).await?
                }
            };
            match next {
                Some(batch) => {
                    let schema = &rows.stream.schema;
                    rows.batch = Some(BatchRows::new(schema, &batch, &rows.formats, &rows.display)?);
                }
                None => return Ok(true),
            }
        }
    }

    pub(super) async fn parse(&mut self, parse: Parse) -> Result<(), Failure> {
        let name = parse.name.unwrap_or_default();
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(SqlState::DUPLICATE_PREPARED_STATEMENT, message).into());
        }
        // The unnamed statement goes even if its successor turns out to be wrong.
        self.statements.remove(&name);
        let types: Vec<Oid> = parse.type_oids.into_iter().map(Oid).collect();
        let work = self.session.prepare_text(&parse.query, &types);
        let prepared = watch(&mut self.reader, &self.cancel, &mut self.phase, work).await?;
        self.statements.insert(name.clone(), Arc::new(PreparedStatement { name, prepared }));
        self.send_notices();
        self.output.empty(b'1');
        Ok(())
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let statement = self.statement(bind.statement_name.as_deref().unwrap_or_default())?;
        let name = bind.portal_name.unwrap_or_default();
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(Error::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")).into());
        }
        let (expected, columns) = match &statement.prepared {
            Some(prepared) => (prepared.parameters.len(), prepared.columns.as_ref().map_or(0, |s| s.columns.len())),
            None => (0, 0),
        };
        let given = bind.parameters.len();
        if given != expected {
            let name = &statement.name;
            return Err(violation(format!(
                "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {expected}"
            ))
            .into());
        }
        let codes = &bind.parameter_format_codes;
        let formats = formats(codes, given)?.ok_or_else(|| {
            violation(format!("bind message has {} parameter formats but {given} parameters", codes.len()))
        })?;
        let codes = &bind.result_column_format_codes;
        // A statement without rows has no use for formats, and clients send them all the same.
        let result_formats = match formats_of_result(codes, columns)? {
            Some(formats) => formats,
            None => {
                let message =
                    format!("bind message has {} result formats but query has {columns} columns", codes.len());
                return Err(violation(message).into());
            }
        };
        let parameters =
            bind.parameters.into_iter().zip(formats).map(|(value, format)| ScalarParameter { format, value }).collect();
        let portal = Portal { statement, parameters, formats: result_formats, state: PortalState::Ready };
        self.portals.insert(name, portal);
        self.output.empty(b'2');
        Ok(())
    }

    pub(super) fn describe(&mut self, describe: &Describe) -> Result<(), Failure> {
        let name = describe.name.as_deref().unwrap_or_default();
        if describe.target_type == b'S' {
            let statement = self.statement(name)?;
            let parameters = statement.prepared.as_ref().map_or(&[][..], |prepared| &prepared.parameters);
            self.output.parameter_description(parameters);
            match columns(&statement) {
                Some(schema) => self.output.row_description(schema, &vec![Format::Text; schema.columns.len()]),
                None => self.output.empty(b'n'),
            }
            return Ok(());
        }
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        match columns(&portal.statement) {
            Some(schema) => self.output.row_description(schema, &portal.formats),
            None => self.output.empty(b'n'),
        }
        Ok(())
    }

    pub(super) async fn execute(&mut self, execute: Execute) -> Result<(), Failure> {
        let name = execute.name.unwrap_or_default();
        let rows_max = usize::try_from(execute.max_rows).ok().filter(|rows| *rows > 0).unwrap_or(usize::MAX);
        // Taken out while it runs, so that the connection is free for its work; an error destroys it, as in PostgreSQL.
        let Some(mut portal) = self.portals.remove(&name) else { return Err(no_portal(&name).into()) };
        let state = std::mem::replace(&mut portal.state, PortalState::Done { tag_again: None });
        portal.state = match state {
            PortalState::Ready => self.begin_portal(&mut portal, rows_max).await?,
            PortalState::Suspended(rows) => self.send_portal(rows, rows_max).await?,
            PortalState::Done { tag_again: Some(tag) } => {
                self.output.command_complete(tag.as_str());
                PortalState::Done { tag_again: Some(tag) }
            }
            PortalState::Done { tag_again: None } => {
                let message = format!("portal \"{name}\" cannot be run");
                return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).into());
            }
        };
        self.portals.insert(name, portal);
        Ok(self.relieve().await?)
    }

    async fn begin_portal(&mut self, portal: &mut Portal, rows_max: usize) -> Result<PortalState, Failure> {
        let statement = Arc::clone(&portal.statement);
        let Some(prepared) = &statement.prepared else {
            self.output.empty(b'I');
            return Ok(PortalState::Done { tag_again: None });
        };
        let timer = StatementTimer::start(Protocol::PostgreSql);
        let parameters = std::mem::take(&mut portal.parameters);
        let outcome = match self.session.execute_now(prepared, &parameters) {
            Some(outcome) => outcome?,
            None => {
                let work = self.session.execute_prepared(prepared, parameters);
                watch(&mut self.reader, &self.cancel, &mut self.phase, work).await?
            }
        };
        self.send_notices();
        let state = match outcome {
            Outcome::Empty => {
                self.output.empty(b'I');
                PortalState::Done { tag_again: None }
            }
            Outcome::Command(tag) => self.complete(&tag),
            Outcome::Rows(stream) => {
                check_unchanged(prepared.columns.as_deref(), &stream.schema)?;
                let rows = Rows::new(stream, portal.formats.clone(), self.session.display());
                self.send_portal(rows, rows_max).await?
            }
            Outcome::CopyIn(copy) => {
                let tag = self.copy_in(copy).await?;
                self.complete(&tag)
            }
            Outcome::CopyOut(copy) => {
                let tag = self.copy_out(copy).await?;
                self.complete(&tag)
            }
        };
        timer.finish();
        Ok(state)
    }

    async fn send_portal(&mut self, mut rows: Rows, rows_max: usize) -> Result<PortalState, Failure> {
        let before = rows.sent;
        if !self.send_rows(&mut rows, rows_max).await? {
            self.output.empty(b's');
            return Ok(PortalState::Suspended(rows));
        }
        // Each Execute reports the rows that it sent itself.
        let tag = rows.stream.tag(rows.sent - before);
        self.send_notices();
        self.output.command_complete(tag.as_str());
        Ok(PortalState::Done { tag_again: Some(rows.stream.tag(0)) })
    }

    fn complete(&mut self, tag: &CommandTag) -> PortalState {
        self.send_notices();
        self.output.command_complete(tag.as_str());
        PortalState::Done { tag_again: None }
    }

    pub(super) fn close(&mut self, close: &Close) {
        let name = close.name.as_deref().unwrap_or_default();
        if close.target_type == b'S' {
            self.statements.remove(name);
        } else {
            self.portals.remove(name);
        }
        self.output.empty(b'3');
    }

    /// Ends what the messages since the last Sync began.
    pub(super) async fn sync(&mut self) -> Result<(), Failure> {
        self.skips_to_sync = false;
        let success = !std::mem::take(&mut self.has_failed);
        self.end_simple(success).await?;
        Ok(())
    }

    /// Drops the portals if their transaction has ended.
    pub(super) fn forget_portals(&mut self) {
        if self.session.status() == TransactionStatus::Idle {
            self.portals.clear();
        }
    }

    fn statement(&self, name: &str) -> Result<Arc<PreparedStatement>, Error> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            Error::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
        })
    }
}

fn columns(statement: &PreparedStatement) -> Option<&ResultSchema> {
    statement.prepared.as_ref()?.columns.as_deref()
}

fn no_portal(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}

/// The client decodes by what Describe said; a result of other types would be read as garbage.
fn check_unchanged(described: Option<&ResultSchema>, now: &ResultSchema) -> Result<(), Error> {
    let is_same = described.is_some_and(|described| {
        described.columns.len() == now.columns.len()
            && described.columns.iter().zip(&now.columns).all(|(a, b)| a.sql_type.oid() == b.sql_type.oid())
    });
    if is_same {
        return Ok(());
    }
    Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"))
}

/// Spreads format codes over `count` values: none is text for all, one is for all. `None` if the numbers do not fit.
fn formats(codes: &[i16], count: usize) -> Result<Option<Vec<Format>>, Error> {
    let parse = |code: &i16| match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unsupported format code: {other}"))),
    };
    let formats = codes.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    Ok(match formats[..] {
        [] => Some(vec![Format::Text; count]),
        [format] => Some(vec![format; count]),
        _ if formats.len() == count => Some(formats),
        _ => None,
    })
}

fn formats_of_result(codes: &[i16], columns: usize) -> Result<Option<Vec<Format>>, Error> {
    if columns == 0 { formats(&[], 0) } else { formats(codes, columns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_format_is_for_all_and_none_is_text() {
        assert_eq!(formats(&[], 2).unwrap(), Some(vec![Format::Text; 2]));
        assert_eq!(formats(&[1], 2).unwrap(), Some(vec![Format::Binary; 2]));
        assert_eq!(formats(&[0, 1], 2).unwrap(), Some(vec![Format::Text, Format::Binary]));
        assert_eq!(formats(&[0, 1], 3).unwrap(), None);
        assert_eq!(formats(&[7], 1).unwrap_err().message, "unsupported format code: 7");
    }
}
