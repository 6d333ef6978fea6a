//! The loop of one connection: take a message, carry it out, answer.
//!
//! Errors of statements are answered and survived. An error that leaves the two sides unsure of where a message begins is fatal.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use colonnade_execution::{CancelHandle, Error, Session, Severity};
use colonnade_types::SqlState;
use futures::FutureExt;
use pgwire::messages::PgWireFrontendMessage as Message;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::decode::decode;
use super::extended::{Portal, PreparedStatement};
use super::output::Output;
use super::reader::{Frame, Reader};
use super::startup::{self, Admitted};
use super::watch::{Failure, Gone, ended, flush, watch};
use crate::metrics::{self, Protocol};
use crate::phase::Phase;
use crate::service::Service;

/// One client's connection.
pub(super) struct Connection {
    pub(super) reader: Reader,
    pub(super) output: Output,
    pub(super) session: Session,
    pub(super) cancel: CancelHandle,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) statements: HashMap<String, Arc<PreparedStatement>>,
    pub(super) portals: HashMap<String, Portal>,
    /// Set by an error in the extended protocol: everything up to the next Sync is skipped.
    pub(super) skips_to_sync: bool,
    /// Set by an error since the last Sync: the implicit transaction rolls back.
    pub(super) has_failed: bool,
}

/// Serves a client until it leaves.
pub(crate) async fn serve(service: Arc<Service>, socket: TcpStream) {
    // Replies are written whole; holding them back for more only delays them.
    let _ = socket.set_nodelay(true);
    let (read, write) = socket.into_split();
    let (mut reader, mut output) = (Reader::new(read), Output::new(write));
    let limit = Duration::from_millis(service.config.authentication_timeout_ms);
    let admitted = match tokio::time::timeout(limit, startup::start(&service, &mut reader, &mut output)).await {
        Ok(Ok(Some(admitted))) => admitted,
        Ok(Ok(None) | Err(Failure::Gone)) | Err(_) => return,
        Ok(Err(Failure::Error(mut error))) => {
            error.severity = Severity::Fatal;
            tracing::info!(sql_state = %error.sql_state, %error, "client refused");
            output.error(&error);
            let _ = tokio::time::timeout(limit, output.flush()).await;
            return;
        }
    };
    let _connected = metrics::connected(Protocol::PostgreSql);
    reader.admit(service.config.message_bytes_max);
    let Admitted { session, registration, seat } = admitted;
    let mut connection = Connection {
        reader,
        output,
        cancel: session.cancel_handle(),
        session,
        phase: service.phase.clone(),
        statements: HashMap::new(),
        portals: HashMap::new(),
        skips_to_sync: false,
        has_failed: false,
    };
    let end = AssertUnwindSafe(connection.run()).catch_unwind().await;
    let farewell = match end {
        Ok(farewell) => farewell,
        Err(panic) => Some(panicked(panic.as_ref())),
    };
    if let Some(error) = farewell {
        connection.output.error(&error);
        // A client that reads nothing must not hold the process.
        let _ = tokio::time::timeout(Duration::from_secs(1), connection.output.flush()).await;
    }
    // The session goes before the seat: whoever takes the seat finds its transaction rolled back.
    drop(connection);
    drop((registration, seat));
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a connection ended by a panic");
    let mut error = Error::internal(format!("internal error: {text}"));
    error.severity = Severity::Fatal;
    error
}

impl Connection {
    /// Runs to the end of the connection; returns what the client is to be told, if it can be told anything.
    async fn run(&mut self) -> Option<Error> {
        self.output.ready(self.session.status());
        loop {
            let frame = match self.next_frame().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(Failure::Gone) => return None,
                Err(Failure::Error(error)) => return Some(error),
            };
            match self.handle(frame).await {
                Ok(true) => {}
                Ok(false) | Err(Failure::Gone) => return None,
                Err(Failure::Error(error)) => return Some(error),
            }
        }
    }

    /// The next frame. Flushes before it waits; `None` is the client's end.
    async fn next_frame(&mut self) -> Result<Option<Frame>, Failure> {
        loop {
            if let Some(frame) = self.reader.take()? {
                return Ok(Some(frame));
            }
            flush(&mut self.output, &mut self.phase).await?;
            let idle = self.session.idle_limit();
            let expired = async {
                match idle {
                    Some((limit, error)) => {
                        tokio::time::sleep(limit).await;
                        error
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                read = self.reader.fill() => match read {
                    Ok(0) if self.reader.has_input() => {
                        tracing::debug!("unexpected EOF within message from client");
                        return Ok(None);
                    }
                    Ok(0) | Err(_) => return Ok(None),
                    Ok(_) => {}
                },
                error = expired => return Err(Failure::Error(error)),
                phase = self.phase.wait_for(|phase| *phase >= Phase::Draining) => {
                    if phase.is_ok() {
                        return Err(Failure::Error(ended()));
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Carries out one message; false ends the connection in peace.
    async fn handle(&mut self, frame: Frame) -> Result<bool, Failure> {
        let kind = frame.kind;
        if self.skips_to_sync && !matches!(kind, b'S' | b'X') {
            return Ok(true);
        }
        let message = match decode(frame) {
            Ok(message) => message,
            Err(error) => {
                self.refuse(&error, kind != b'Q').await?;
                return Ok(true);
            }
        };
        let result = match message {
            Message::Query(query) => {
                self.simple_query(&query.query).await?;
                Ok(())
            }
            Message::Parse(parse) => self.parse(parse).await,
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(describe) => self.describe(&describe),
            Message::Execute(execute) => self.execute(execute).await,
            Message::Close(close) => {
                self.close(&close);
                Ok(())
            }
            Message::Flush(_) => Ok(flush(&mut self.output, &mut self.phase).await?),
            Message::Sync(_) => {
                self.sync().await?;
                Ok(())
            }
            Message::Terminate(_) => return Ok(false),
            // Left over from a COPY that failed before its data ended.
            Message::CopyData(_) | Message::CopyDone(_) | Message::CopyFail(_) => Ok(()),
            _ => Err(Failure::Error(super::decode::violation(format!("unexpected message type 0x{kind:02X}")))),
        };
        match result {
            Ok(()) => Ok(true),
            Err(Failure::Error(error)) if error.severity != Severity::Error => Err(Failure::Error(error)),
            Err(Failure::Error(error)) => {
                self.refuse(&error, true).await?;
                Ok(true)
            }
            Err(Failure::Gone) => Err(Failure::Gone),
        }
    }

    /// Tells the client of an error, and fails the transaction. In the extended protocol everything up to Sync is skipped then;
    /// a simple query ends at once.
    async fn refuse(&mut self, error: &Error, is_extended: bool) -> Result<(), Failure> {
        self.report(error);
        if is_extended {
            self.skips_to_sync = true;
            self.has_failed = true;
            return Ok(());
        }
        self.end_simple(false).await
    }

    /// Writes an error to the client and to the log, and fails the transaction.
    pub(super) fn report(&mut self, error: &Error) {
        metrics::failed(Protocol::PostgreSql, error.sql_state);
        if error.sql_state == SqlState::INTERNAL_ERROR || error.sql_state == SqlState::DATA_CORRUPTED {
            tracing::error!(sql_state = %error.sql_state, detail = error.detail, "{error}");
        } else {
            tracing::debug!(sql_state = %error.sql_state, "{error}");
        }
        self.session.fail();
        self.send_notices();
        self.output.error(error);
    }

    /// Sends the notices and changed parameters that have gathered.
    pub(super) fn send_notices(&mut self) {
        for notice in self.session.take_notices() {
            self.output.notice(&notice);
        }
        for (name, value) in self.session.take_parameter_changes() {
            self.output.parameter_status(&name, &value);
        }
    }

    /// Ends the implicit transaction: commits, durably, or rolls back.
    pub(super) async fn finish(&mut self, success: bool) -> Result<(), Failure> {
        if self.session.finish_now() {
            return Ok(());
        }
        watch(&mut self.reader, &self.cancel, &mut self.phase, self.session.finish(success)).await
    }

    /// Writes the buffer out if it is full, waiting as long as the client is slow.
    pub(super) async fn relieve(&mut self) -> Result<(), Gone> {
        if self.output.is_full() { flush(&mut self.output, &mut self.phase).await } else { Ok(()) }
    }
}
