//! The real disk: a directory of the local file system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::buffer::Buffer;
use bytes::Bytes;

use super::{Disk, DiskError, DiskErrorKind, DiskFile, DiskLock, check_path};

/// A directory of the local file system.
#[derive(Clone, Debug)]
pub struct FileDisk {
    root: PathBuf,
}

impl FileDisk {
    /// Takes a directory, creating it and its parents if need be, and makes its own name durable.
    ///
    /// # Errors
    /// Any [`DiskError`].
    pub fn open(root: impl Into<PathBuf>) -> Result<FileDisk, DiskError> {
        let root = root.into();
        let failed = |error| DiskError::new("create", &root.to_string_lossy(), error);
        if !root.is_dir() {
            fs::create_dir_all(&root).map_err(failed)?;
            if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)?;
            }
        }
        Ok(FileDisk { root })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn resolve(&self, operation: &'static str, path: &str) -> Result<PathBuf, DiskError> {
        check_path(operation, path)?;
        Ok(if path.is_empty() { self.root.clone() } else { self.root.join(path) })
    }

    fn open_with(
        &self,
        operation: &'static str,
        path: &str,
        options: &OpenOptions,
    ) -> Result<Box<dyn DiskFile>, DiskError> {
        let full = self.resolve(operation, path)?;
        let file = options.open(full).map_err(|error| DiskError::new(operation, path, error))?;
        Ok(Box::new(LocalFile { file, path: path.to_owned() }))
    }
}

impl Disk for FileDisk {
    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        match fs::create_dir(self.resolve("create directory", path)?) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(DiskError::new("create directory", path, error))
            }
            _ => Ok(()),
        }
    }

    fn create(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.open_with("create", path, OpenOptions::new().read(true).write(true).create_new(true))
    }

    fn open(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.open_with("open", path, OpenOptions::new().read(true).write(true))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, DiskError> {
        fs::read(self.resolve("read", path)?).map_err(|error| DiskError::new("read", path, error))
    }

    fn map(&self, path: &str) -> Result<Buffer, DiskError> {
        let file = File::open(self.resolve("map", path)?).map_err(|error| DiskError::new("map", path, error))?;
        let len = file.metadata().map_err(|error| DiskError::new("map", path, error))?.len();
        if len == 0 {
            // An empty mapping is an error to the operating system.
            return Ok(Buffer::from(&[] as &[u8]));
        }
        // SAFETY: a mapping is sound while nobody changes or cuts the file. The trait demands that mapped files are never written
        // again: only segments are mapped, they are written once under a temporary name and never opened for writing afterwards,
        // and the lock on the data directory keeps other processes of ours out. Removal leaves the pages in place.
        let mapping = unsafe { memmap2::Mmap::map(&file) }.map_err(|error| DiskError::new("map", path, error))?;
        Ok(Buffer::from(Bytes::from_owner(mapping)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.resolve("rename", from)?, self.resolve("rename", to)?)
            .map_err(|error| DiskError::new("rename", from, error))
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        fs::remove_file(self.resolve("remove", path)?).map_err(|error| DiskError::new("remove", path, error))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, DiskError> {
        let failed = |error| DiskError::new("list", dir, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(self.resolve("list", dir)?).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_file() {
                // A name that is not UTF-8 is none of ours.
                if let Ok(name) = entry.file_name().into_string() {
                    names.push(name);
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&self, path: &str) -> Result<bool, DiskError> {
        self.resolve("look for", path)?.try_exists().map_err(|error| DiskError::new("look for", path, error))
    }

    fn len(&self, path: &str) -> Result<u64, DiskError> {
        fs::metadata(self.resolve("measure", path)?)
            .map(|metadata| metadata.len())
            .map_err(|error| DiskError::new("measure", path, error))
    }

    fn sync_dir(&self, dir: &str) -> Result<(), DiskError> {
        File::open(self.resolve("sync", dir)?)
            .and_then(|handle| handle.sync_all())
            .map_err(|error| DiskError::new("sync", dir, error))
    }

    fn lock(&self, path: &str) -> Result<DiskLock, DiskError> {
        let failed = |error| DiskError::new("lock", path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.resolve("lock", path)?)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder's pid is a courtesy; whatever the file says instead is no reason to fail differently.
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(DiskError {
                    operation: "lock",
                    path: path.to_owned(),
                    kind: DiskErrorKind::Locked { pid },
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(DiskLock::new(Arc::new(file)))
    }
}

#[derive(Debug)]
struct LocalFile {
    file: File,
    path: String,
}

impl LocalFile {
    fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> DiskError + '_ {
        move |error| DiskError::new(operation, &self.path, error)
    }
}

impl DiskFile for LocalFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(self.failed("write"))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("read")(error)),
            }
        }
        Ok(done)
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.file.set_len(len).map_err(self.failed("resize"))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(self.failed("sync"))
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        self.file.sync_all().map_err(self.failed("sync"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_created_written_mapped_renamed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(dir.path().join("a/b")).unwrap();
        disk.create_dir("wal").unwrap();
        disk.create_dir("wal").unwrap();
        let file = disk.create("wal/x").unwrap();
        assert!(matches!(disk.create("wal/x").unwrap_err().kind, DiskErrorKind::Exists));
        file.allocate(0, 100_000).unwrap();
        file.write_all_at(5, b"hello").unwrap();
        file.sync_data().unwrap();
        let mut into = [0; 8];
        assert_eq!(file.read_at(4, &mut into).unwrap(), 8);
        assert_eq!(&into, b"\0hello\0\0");
        assert_eq!(file.read_at(99_998, &mut into).unwrap(), 2);
        assert_eq!(disk.len("wal/x").unwrap(), 100_000);
        disk.rename("wal/x", "wal/y").unwrap();
        disk.sync_dir("wal").unwrap();
        assert_eq!(disk.list("wal").unwrap(), ["y"]);
        let map = disk.map("wal/y").unwrap();
        disk.remove("wal/y").unwrap();
        assert_eq!(&map[5..10], b"hello");
        assert!(!disk.exists("wal/y").unwrap());
        assert!(disk.read("wal/y").unwrap_err().is_missing());
        disk.create("empty").unwrap();
        assert_eq!(disk.map("empty").unwrap().len(), 0);
    }

    #[test]
    fn a_second_opener_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(dir.path()).unwrap();
        let lock = disk.lock("LOCK").unwrap();
        let error = FileDisk::open(dir.path()).unwrap().lock("LOCK").unwrap_err();
        assert!(matches!(error.kind, DiskErrorKind::Locked { pid: Some(pid) } if pid == std::process::id()), "{error}");
        drop(lock);
        disk.lock("LOCK").unwrap();
    }
}
