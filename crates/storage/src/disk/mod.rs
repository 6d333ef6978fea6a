//! All file access of the database, behind two narrow traits.
//!
//! Paths are relative to the data directory, `/` between components, for example `wal/0000000000000000.wal`; the empty path is the
//! data directory itself. [`check_path`] refuses anything that could lead out of it.
//!
//! ## What is durable when
//!
//! A file's *content* and its *name* are made durable separately, as POSIX has it:
//!
//! | call | after it returned `Ok`, a power cut keeps |
//! |---|---|
//! | `write_all_at`, `allocate`, `set_len` | perhaps all of it, perhaps some 512-byte sectors of it, perhaps nothing, in any order |
//! | `sync_data`, `sync_all` | every byte written through any handle of this file before, and its length |
//! | `create`, `rename`, `remove`, `create_dir` | perhaps the change of name, perhaps not, each for itself |
//! | `sync_dir(dir)` | every change of names directly in `dir` made before |
//!
//! A rename is atomic: a power cut leaves the old name or the new one, never both or neither. A 512-byte sector is written
//! whole or not at all. Data that was made durable is not harmed by a later write to other bytes, also of the same sector.
//!
//! A failed `sync_data` or `sync_all` says that earlier writes *may be lost for ever*, also if a later sync succeeds; whoever meets one
//! stops trusting the file's content until it has been read or written again.

mod error;
mod file_disk;

use std::any::Any;

use arrow::buffer::Buffer;

pub use error::{DiskError, DiskErrorKind};
pub use file_disk::FileDisk;

/// The smallest piece that a power cut leaves either old or new.
pub const SECTOR_BYTES: usize = 512;

/// A directory tree of files: the only way from storage to the file system.
///
/// Handles stay valid after their file was renamed or removed. Methods may be called from any thread.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Creates a directory whose parent exists; it is no error if it is there already.
    ///
    /// # Errors
    /// Any [`DiskError`].
    fn create_dir(&self, path: &str) -> Result<(), DiskError>;

    /// Creates an empty file and opens it for reading and writing.
    ///
    /// # Errors
    /// [`DiskErrorKind::Exists`] if the name is taken.
    fn create(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// [`DiskErrorKind::Missing`] if there is none.
    fn open(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError>;

    /// Reads a file whole.
    ///
    /// # Errors
    /// [`DiskErrorKind::Missing`] if there is none.
    fn read(&self, path: &str) -> Result<Vec<u8>, DiskError>;

    /// Maps a file into memory. The caller promises that the file is never written again; it may be removed while the
    /// buffer lives.
    ///
    /// # Errors
    /// [`DiskErrorKind::Missing`] if there is none.
    fn map(&self, path: &str) -> Result<Buffer, DiskError>;

    /// Gives a file another name, replacing the file that had it. Both names are in one directory.
    ///
    /// # Errors
    /// [`DiskErrorKind::Missing`] if there is no such file.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// [`DiskErrorKind::Missing`] if there is none.
    fn remove(&self, path: &str) -> Result<(), DiskError>;

    /// Names of the files directly in a directory, in ascending order of bytes; directories are left out.
    ///
    /// # Errors
    /// [`DiskErrorKind::Missing`] if there is no such directory.
    fn list(&self, dir: &str) -> Result<Vec<String>, DiskError>;

    /// Whether a file or directory of that name exists.
    ///
    /// # Errors
    /// Any [`DiskError`] but [`DiskErrorKind::Missing`].
    fn exists(&self, path: &str) -> Result<bool, DiskError>;

    /// A file's length in bytes.
    ///
    /// # Errors
    /// [`DiskErrorKind::Missing`] if there is none.
    fn len(&self, path: &str) -> Result<u64, DiskError>;

    /// Makes the names directly in a directory durable.
    ///
    /// # Errors
    /// Any [`DiskError`]; the changes may be lost then.
    fn sync_dir(&self, dir: &str) -> Result<(), DiskError>;

    /// Takes the exclusive lock that keeps a second process out, creating the file if need be. The lock ends when the
    /// result is dropped or the process ends, however it ends.
    ///
    /// # Errors
    /// [`DiskErrorKind::Locked`], with the holder's process id if it is known.
    fn lock(&self, path: &str) -> Result<DiskLock, DiskError>;
}

/// An open file. Positions are bytes from its start; nothing is buffered on this side of the operating system.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Writes all of `bytes` at `offset`, lengthening the file if need be. After an error any part of it may be written.
    ///
    /// # Errors
    /// [`DiskErrorKind::Full`] if there is no room.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Reads from `offset` until `into` is full or the file ends, and returns the number of bytes read.
    ///
    /// # Errors
    /// Any [`DiskError`].
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError>;

    /// Cuts the file or lengthens it by zeros without taking room for them.
    ///
    /// # Errors
    /// Any [`DiskError`].
    fn set_len(&self, len: u64) -> Result<(), DiskError>;

    /// Writes zeros over `offset .. offset + len`, so that later writes there neither lengthen the file nor need new blocks.
    ///
    /// # Errors
    /// [`DiskErrorKind::Full`] if there is no room.
    fn allocate(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        let mut done = 0;
        while done < len {
            let step = (len - done).min(ZEROS.len() as u64);
            self.write_all_at(offset + done, &ZEROS[..usize::try_from(step).unwrap_or(ZEROS.len())])?;
            done += step;
        }
        Ok(())
    }

    /// Makes content and length durable (`fdatasync`).
    ///
    /// # Errors
    /// Any [`DiskError`]; what was written before may be lost then, for ever.
    fn sync_data(&self) -> Result<(), DiskError>;

    /// Makes content, length and the other metadata durable (`fsync`).
    ///
    /// # Errors
    /// As for [`sync_data`](DiskFile::sync_data).
    fn sync_all(&self) -> Result<(), DiskError>;
}

/// Holds a lock until it is dropped.
#[derive(Debug)]
pub struct DiskLock(#[expect(dead_code, reason = "held for its drop")] Box<dyn Held>);

trait Held: Any + Send + Sync + std::fmt::Debug {}
impl<T: Any + Send + Sync + std::fmt::Debug> Held for T {}

impl DiskLock {
    /// Wraps whatever releases the lock when dropped.
    #[must_use]
    pub fn new(guard: impl Any + Send + Sync + std::fmt::Debug) -> DiskLock {
        DiskLock(Box::new(guard))
    }
}

/// Checks that a path is relative and stays within the data directory: components of letters, digits, `-`, `_` and `.`,
/// none of them `.`, `..` or empty; the empty path is the data directory.
///
/// # Errors
/// [`DiskErrorKind::Other`] that names the path.
pub fn check_path(operation: &'static str, path: &str) -> Result<(), DiskError> {
    let fits = |component: &str| {
        !component.is_empty()
            && component != "."
            && component != ".."
            && component.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    if path.is_empty() || path.split('/').all(fits) {
        return Ok(());
    }
    Err(DiskError::other(operation, path, "not a path within the data directory"))
}

/// The directory that holds a path; empty for a file directly in the data directory.
#[must_use]
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// Joins a directory and a name; the directory may be empty.
#[must_use]
pub fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_the_data_directory() {
        for path in ["", "LOCK", "wal/0000.wal", "segments/1-2_3.seg"] {
            assert!(check_path("open", path).is_ok(), "{path}");
        }
        for path in ["/etc", "../x", "a/../b", "a//b", "a/", ".", "a b", "a\0b", "é"] {
            assert!(check_path("open", path).is_err(), "{path}");
        }
        assert_eq!(parent("wal/x"), "wal");
        assert_eq!(parent("x"), "");
        assert_eq!(join("", "x"), "x");
        assert_eq!(join("wal", "x"), "wal/x");
    }
}
