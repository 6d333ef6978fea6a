//! The promise that a commit becomes durable.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use colonnade_types::Lsn;
use parking_lot::{Condvar, Mutex};

use crate::database::Inner;
use crate::error::CommitError;

#[derive(Debug, Default)]
struct State {
    result: Option<Result<Lsn, CommitError>>,
    waker: Option<Waker>,
}

/// Both ends of a ticket.
#[derive(Debug, Default)]
pub(crate) struct TicketState {
    state: Mutex<State>,
    done: Condvar,
}

impl TicketState {
    /// Says how it ended.
    pub(crate) fn complete(&self, result: Result<Lsn, CommitError>) {
        let waker = {
            let mut state = self.state.lock();
            state.result = Some(result);
            state.waker.take()
        };
        self.done.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn result(&self) -> Option<Result<Lsn, CommitError>> {
        self.state.lock().result.clone()
    }
}

/// The promise that a commit becomes durable: a future, or [`CommitTicket::wait`]. Dropping it changes nothing.
#[derive(Debug)]
#[must_use = "the commit is not durable before the ticket says so"]
pub struct CommitTicket {
    state: Arc<TicketState>,
    inner: Arc<Inner>,
}

impl CommitTicket {
    pub(crate) fn new(state: Arc<TicketState>, inner: Arc<Inner>) -> CommitTicket {
        CommitTicket { state, inner }
    }

    /// Blocks until the commit is durable and visible. Does the log writer's work itself while no thread does it.
    ///
    /// # Errors
    /// [`CommitError`] if it will never be.
    pub fn wait(self) -> Result<Lsn, CommitError> {
        loop {
            if let Some(result) = self.state.result() {
                return result;
            }
            if self.inner.has_log_writer() {
                let mut state = self.state.state.lock();
                if state.result.is_none() {
                    self.state.done.wait_for(&mut state, std::time::Duration::from_millis(50));
                }
            } else {
                self.inner.step_log();
            }
        }
    }
}

impl Future for CommitTicket {
    type Output = Result<Lsn, CommitError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.state.state.lock();
        match &state.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
