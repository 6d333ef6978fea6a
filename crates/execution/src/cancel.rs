//! Stopping a running statement from outside.
//!
//! One [`CancelHandle`] belongs to a session. Each statement arms it, takes a [`CancelGuard`], and asks the guard between batches
//! and while it waits. A cancel that arrives when nothing runs is forgotten, as PostgreSQL forgets it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use colonnade_types::SqlState;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::{Error, Result};

#[derive(Debug, Default)]
struct Shared {
    /// Number of the running statement; 0 when none runs.
    running: AtomicU64,
    /// Number of the last statement that was told to stop.
    cancelled: AtomicU64,
    /// Numbers the statements.
    next: AtomicU64,
    wake: Notify,
}

/// Stops a session's running statement. Cheap to clone; may outlive the session.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle {
    shared: Arc<Shared>,
}

/// A statement's view of its session's [`CancelHandle`] and of its own deadline.
#[derive(Clone, Debug)]
pub struct CancelGuard {
    shared: Arc<Shared>,
    statement: u64,
    deadline: Option<Instant>,
}

impl CancelHandle {
    /// Makes the running statement fail with 57014; does nothing if none runs.
    pub fn cancel(&self) {
        let running = self.shared.running.load(Ordering::SeqCst);
        if running != 0 {
            self.shared.cancelled.fetch_max(running, Ordering::SeqCst);
            self.shared.wake.notify_waiters();
        }
    }

    /// Begins a statement, which `timeout` may bound.
    pub(crate) fn begin(&self, timeout: Option<Duration>) -> CancelGuard {
        let statement = self.shared.next.fetch_add(1, Ordering::SeqCst) + 1;
        self.shared.running.store(statement, Ordering::SeqCst);
        CancelGuard {
            shared: Arc::clone(&self.shared),
            statement,
            deadline: timeout.map(|timeout| Instant::now() + timeout),
        }
    }

    /// Ends whatever statement runs: a cancel from now on is forgotten.
    pub(crate) fn end(&self) {
        self.shared.running.store(0, Ordering::SeqCst);
    }
}

impl CancelGuard {
    /// A guard that nobody can cancel.
    #[must_use]
    pub fn never() -> CancelGuard {
        CancelGuard { shared: Arc::default(), statement: 1, deadline: None }
    }

    /// Fails with 57014 if the statement was cancelled or its time is up.
    ///
    /// # Errors
    /// `canceling statement due to ...`
    pub fn check(&self) -> Result<()> {
        if self.shared.cancelled.load(Ordering::Relaxed) >= self.statement {
            return Err(cancelled());
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(timed_out()),
            _ => Ok(()),
        }
    }

    /// Runs `future` until it ends, or fails as soon as the statement is to stop.
    ///
    /// # Errors
    /// `canceling statement due to ...`
    pub async fn run<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(future);
        loop {
            // Registered before the check, so that a cancel between the two is not lost.
            let notified = self.shared.wake.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            self.check()?;
            let deadline = async {
                match self.deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                output = &mut future => return Ok(output),
                () = notified => {}
                () = deadline => return Err(timed_out()),
            }
        }
    }
}

fn cancelled() -> Error {
    Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

fn timed_out() -> Error {
    Error::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cancel_stops_the_running_statement_only() {
        let handle = CancelHandle::default();
        handle.cancel();
        let guard = handle.begin(None);
        assert!(guard.check().is_ok());
        let other = handle.clone();
        let waiting = guard.run(std::future::pending::<()>());
        let (result, ()) = tokio::join!(waiting, async move {
            tokio::task::yield_now().await;
            other.cancel();
        });
        assert_eq!(result.unwrap_err().sql_state, SqlState::QUERY_CANCELED);
        handle.end();
        let next = handle.begin(None);
        assert!(next.check().is_ok());
    }

    #[tokio::test]
    async fn a_statement_that_outlives_its_time_fails() {
        let guard = CancelHandle::default().begin(Some(Duration::from_millis(5)));
        let error = guard.run(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(error.message, "canceling statement due to statement timeout");
    }
}
