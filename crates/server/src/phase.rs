//! The life of the process, as its connections see it.

/// Where the process is in its life. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Statements are accepted.
    Serving,
    /// No new statement begins; those that run may finish.
    Draining,
    /// Statements that still run are cancelled.
    Ending,
}
