//! What can go wrong with a file.

use std::io;
use std::sync::Arc;

/// Why an operation on a file or directory failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("could not {operation} \"{path}\": {kind}")]
pub struct DiskError {
    /// What was tried, as a verb: `open`, `write`, `sync`.
    pub operation: &'static str,
    /// The path within the data directory.
    pub path: String,
    /// What kind of failure it is.
    pub kind: DiskErrorKind,
}

/// The kinds of failure that callers tell apart.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DiskErrorKind {
    /// No room is left, or a quota is used up.
    #[error("no space left on device")]
    Full,
    /// There is no file or directory of that name.
    #[error("no such file or directory")]
    Missing,
    /// The name is taken.
    #[error("file exists")]
    Exists,
    /// Another process holds the lock.
    #[error("in use by another process{}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// The holder, if it wrote its process id down.
        pid: Option<u32>,
    },
    /// Anything else.
    #[error("{0}")]
    Other(Arc<io::Error>),
}

impl DiskError {
    /// Sorts an error of the operating system.
    #[must_use]
    pub fn new(operation: &'static str, path: &str, error: io::Error) -> DiskError {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskErrorKind::Full,
            io::ErrorKind::NotFound => DiskErrorKind::Missing,
            io::ErrorKind::AlreadyExists => DiskErrorKind::Exists,
            _ => DiskErrorKind::Other(Arc::new(error)),
        };
        DiskError { operation, path: path.to_owned(), kind }
    }

    /// An error with a text of its own.
    #[must_use]
    pub fn other(operation: &'static str, path: &str, text: &str) -> DiskError {
        DiskError {
            operation,
            path: path.to_owned(),
            kind: DiskErrorKind::Other(Arc::new(io::Error::other(text.to_owned()))),
        }
    }

    /// Whether the disk is full, which waiting or removing files may cure.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.kind, DiskErrorKind::Full)
    }

    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.kind, DiskErrorKind::Missing)
    }
}

impl From<DiskError> for io::Error {
    fn from(error: DiskError) -> io::Error {
        let kind = match &error.kind {
            DiskErrorKind::Full => io::ErrorKind::StorageFull,
            DiskErrorKind::Missing => io::ErrorKind::NotFound,
            DiskErrorKind::Exists => io::ErrorKind::AlreadyExists,
            DiskErrorKind::Locked { .. } => io::ErrorKind::WouldBlock,
            DiskErrorKind::Other(inner) => inner.kind(),
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_operation_and_path() {
        let full = DiskError::new("write", "wal/1.wal", io::Error::from(io::ErrorKind::StorageFull));
        assert!(full.is_full());
        assert_eq!(full.to_string(), "could not write \"wal/1.wal\": no space left on device");
        let locked = DiskError { operation: "lock", path: "LOCK".into(), kind: DiskErrorKind::Locked { pid: Some(7) } };
        assert_eq!(locked.to_string(), "could not lock \"LOCK\": in use by another process (pid 7)");
    }
}
