//! Running a statement while the client may vanish and the process may end.

use std::future::Future;

use colonnade_execution::{CancelHandle, Error, Result, Severity};
use colonnade_types::SqlState;
use tokio::sync::watch;

use super::output::{FLUSH_BYTES, Output};
use super::reader::Reader;
use crate::phase::Phase;

/// Why a connection stops in the middle of a message: the client is gone, or nothing more can be told to it.
#[derive(Debug)]
pub(super) struct Gone;

/// Why a message was not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is told.
    Error(Error),
    /// The client is gone.
    Gone,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Failure {
        Failure::Gone
    }
}

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Gone {
        Gone
    }
}

/// Runs `work` to its end. If the client vanishes meanwhile, or the process may wait no longer, the statement is cancelled first.
///
/// What the client sends meanwhile is read into the reader's buffer, so that its end is seen behind pipelined messages too.
///
/// # Errors
/// `work`'s own; 57P01 if the process ends; [`Failure::Gone`] if the client vanished.
pub(super) async fn watch<T>(
    reader: &mut Reader,
    cancel: &CancelHandle,
    phase: &mut watch::Receiver<Phase>,
    work: impl Future<Output = Result<T>>,
) -> Result<T, Failure> {
    tokio::pin!(work);
    let mut has_vanished = false;
    let mut is_ending = false;
    let result = loop {
        tokio::select! {
            biased;
            result = &mut work => break result,
            read = reader.fill(), if !has_vanished && reader.has_room() => {
                if !matches!(read, Ok(1..)) {
                    has_vanished = true;
                    cancel.cancel();
                }
            }
            () = ending(phase), if !is_ending => {
                is_ending = true;
                cancel.cancel();
            }
        }
    };
    if has_vanished {
        return Err(Failure::Gone);
    }
    match result {
        Err(error) if is_ending && error.sql_state == SqlState::QUERY_CANCELED => Err(Failure::Error(ended())),
        result => result.map_err(Failure::Error),
    }
}

/// Writes the buffer out, unless the process may wait no longer for a slow client.
pub(super) async fn flush(output: &mut Output, phase: &mut watch::Receiver<Phase>) -> Result<(), Gone> {
    // Nearly always the socket takes everything at once. A large buffer is left to the other way, which gives its memory back.
    if output.buffer.len() < FLUSH_BYTES && output.flush_now()? {
        return Ok(());
    }
    tokio::select! {
        biased;
        result = output.flush() => Ok(result?),
        () = ending(phase) => Err(Gone),
    }
}

/// Waits until running statements are to be cancelled.
async fn ending(phase: &mut watch::Receiver<Phase>) {
    // The sender lives as long as the server does; without one, nobody will end anything.
    if phase.wait_for(|phase| *phase == Phase::Ending).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What a client is told when the process ends.
pub(super) fn ended() -> Error {
    let mut error = Error::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command");
    error.severity = Severity::Fatal;
    error
}
