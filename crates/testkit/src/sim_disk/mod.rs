//! A disk in memory with a live and a durable image.
//!
//! ```text
//!   calls --> live image (what reads see)
//!               |  pending writes per file, pending changes of names per directory
//!               v  sync_data / sync_dir
//!             durable image (what a power cut is sure to leave)
//!
//!   durable_image(seed) = durable image + some of what was pending, as the seed says
//! ```
//!
//! It keeps exactly the promises written on [`Disk`], and no more: what is pending may survive whole, in pieces of 512
//! bytes, in any order, or not at all; and so may each change of a name.
//!
//! Every call that changes something is *numbered* from 0. [`SimDisk::crash_at`] cuts the power at one of them: that call may or may not have had its effect, and
//! all later calls fail. [`SimDisk::fail_at`] makes one of them fail with an error and no effect (a write may have a partial one), and lets the rest go on.

mod image;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use arrow::buffer::Buffer;
use colonnade_storage::disk::{Disk, DiskError, DiskErrorKind, DiskFile, DiskLock, check_path, parent};
use parking_lot::Mutex;

pub use image::Survival;
use image::{Change, Inode, NameChange};

/// The error that an injected failure shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device failed: EIO.
    Io,
    /// No room is left: ENOSPC. Sticks: later calls that need room fail too, until [`SimDisk::clear_faults`].
    Full,
}

/// A disk in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    /// Name to inode, as reads see it.
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    dirs: BTreeSet<String>,
    locks: BTreeSet<String>,
    /// Numbered calls so far.
    calls: u64,
    crash_at: Option<u64>,
    crashed: bool,
    fail_at: Option<(u64, Fault)>,
    full: bool,
    log: Option<Vec<String>>,
}

impl Default for SimDisk {
    fn default() -> SimDisk {
        SimDisk::new()
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> SimDisk {
        SimDisk::from_state(State { dirs: BTreeSet::from([String::new()]), ..State::default() })
    }

    fn from_state(state: State) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// The same disk as a trait object.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Number of numbered calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Cuts the power at the numbered call `call`: it may or may not take effect, and every later one fails.
    pub fn crash_at(&self, call: u64) {
        self.state.lock().crash_at = Some(call);
    }

    /// Cuts the power now.
    pub fn crash(&self) {
        self.state.lock().crashed = true;
    }

    /// Whether the power was cut.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Makes the numbered call `call` fail.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.state.lock().fail_at = Some((call, fault));
    }

    /// Ends a full disk and takes back a failure that did not happen yet.
    pub fn clear_faults(&self) {
        let mut state = self.state.lock();
        state.fail_at = None;
        state.full = false;
    }

    /// Begins to write down every numbered call, for messages of failed tests.
    pub fn record_calls(&self) {
        self.state.lock().log = Some(Vec::new());
    }

    /// The numbered calls since [`record_calls`](SimDisk::record_calls).
    #[must_use]
    pub fn recorded_calls(&self) -> Vec<String> {
        self.state.lock().log.clone().unwrap_or_default()
    }

    /// Flips one bit of a file, on the live and the durable image.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn corrupt(&self, path: &str, offset: usize, bit: u8) {
        let mut state = self.state.lock();
        let inode = *state.live.get(path).unwrap_or_else(|| panic!("there is no file {path}"));
        state.inodes[inode].flip(offset, bit);
    }

    /// Cuts a file off, on the live and the durable image.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn truncate(&self, path: &str, len: usize) {
        let mut state = self.state.lock();
        let inode = *state.live.get(path).unwrap_or_else(|| panic!("there is no file {path}"));
        state.inodes[inode].truncate(len);
    }

    /// Takes a file away, on the live and the durable image.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn lose(&self, path: &str) {
        let mut state = self.state.lock();
        state.live.remove(path).unwrap_or_else(|| panic!("there is no file {path}"));
        state.durable.remove(path);
        state.pending_names.retain(|change| !change.names(path));
    }

    /// Puts a file onto the disk, on the live and the durable image.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let inode = state.inodes.len();
        state.inodes.push(Inode::synced(bytes));
        state.live.insert(path.to_owned(), inode);
        state.durable.insert(path.to_owned(), inode);
    }

    /// All files, by name.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.state.lock().live.keys().cloned().collect()
    }

    /// A disk with what would be left if the power had been cut now, chosen by the seed among what [`Disk`] allows. The same
    /// seed gives the same image.
    #[must_use]
    pub fn durable_image(&self, seed: u64) -> SimDisk {
        self.surviving(Survival::of_seed(seed), seed)
    }

    /// As [`durable_image`](SimDisk::durable_image), with the fate of what was pending chosen by hand.
    #[must_use]
    pub fn surviving(&self, survival: Survival, seed: u64) -> SimDisk {
        let state = self.state.lock();
        let (inodes, names) = image::survive(&state.inodes, &state.durable, &state.pending_names, survival, seed);
        SimDisk::from_state(State {
            inodes,
            live: names.clone(),
            durable: names,
            dirs: state.dirs.clone(),
            ..State::default()
        })
    }
}

impl State {
    /// Counts a call and says whether it goes on: `Ok(true)` if it takes effect and the caller hears of it.
    fn begin(&mut self, operation: &'static str, path: &str, needs_room: bool) -> Result<Fate, DiskError> {
        self.alive(operation, path)?;
        let call = self.calls;
        self.calls += 1;
        if let Some(log) = &mut self.log {
            log.push(format!("{call}: {operation} {path}"));
        }
        if self.crash_at == Some(call) {
            self.crashed = true;
            return Ok(Fate::Cut);
        }
        if let Some((_, fault)) = self.fail_at.filter(|(at, _)| *at == call) {
            self.full |= fault == Fault::Full;
            if fault == Fault::Io {
                return Ok(Fate::Fail(DiskError::new(operation, path, io::Error::from_raw_os_error(5))));
            }
        }
        if self.full && needs_room {
            let error = io::Error::from(io::ErrorKind::StorageFull);
            return Ok(Fate::Fail(DiskError::new(operation, path, error)));
        }
        Ok(Fate::Go)
    }

    fn alive(&self, operation: &'static str, path: &str) -> Result<(), DiskError> {
        check_path(operation, path)?;
        if self.crashed { Err(power_cut(operation, path)) } else { Ok(()) }
    }

    fn inode(&self, operation: &'static str, path: &str) -> Result<usize, DiskError> {
        self.alive(operation, path)?;
        self.live.get(path).copied().ok_or_else(|| kind(operation, path, DiskErrorKind::Missing))
    }
}

/// What becomes of a call.
enum Fate {
    Go,
    /// The power is cut during the call: the effect is pending, the caller gets an error.
    Cut,
    Fail(DiskError),
}

fn power_cut(operation: &'static str, path: &str) -> DiskError {
    DiskError::other(operation, path, "the power is cut")
}

fn kind(operation: &'static str, path: &str, kind: DiskErrorKind) -> DiskError {
    DiskError { operation, path: path.to_owned(), kind }
}

impl SimDisk {
    /// Does a change of names, if the call's fate lets it.
    fn change_names(
        &self,
        operation: &'static str,
        path: &str,
        needs_room: bool,
        change: impl FnOnce(&mut State) -> Result<NameChange, DiskError>,
    ) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        let fate = state.begin(operation, path, needs_room)?;
        if let Fate::Fail(error) = fate {
            return Err(error);
        }
        let change = change(&mut state)?;
        change.apply(&mut state.live);
        state.pending_names.push(change);
        if matches!(fate, Fate::Cut) { Err(power_cut(operation, path)) } else { Ok(()) }
    }
}

impl Disk for SimDisk {
    /// Directories are durable at once: nothing in the data directory is made or unmade but a few fixed ones.
    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        match state.begin("create directory", path, true)? {
            Fate::Go => {}
            Fate::Cut => return Err(power_cut("create directory", path)),
            Fate::Fail(error) => return Err(error),
        }
        if !state.dirs.contains(parent(path)) {
            return Err(kind("create directory", path, DiskErrorKind::Missing));
        }
        state.dirs.insert(path.to_owned());
        Ok(())
    }

    fn create(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut made = 0;
        self.change_names("create", path, true, |state| {
            if state.live.contains_key(path) || state.dirs.contains(path) {
                return Err(kind("create", path, DiskErrorKind::Exists));
            }
            if !state.dirs.contains(parent(path)) {
                return Err(kind("create", path, DiskErrorKind::Missing));
            }
            made = state.inodes.len();
            state.inodes.push(Inode::synced(Vec::new()));
            Ok(NameChange::Create { path: path.to_owned(), inode: made })
        })?;
        Ok(Box::new(SimFile { disk: self.clone(), inode: made, path: path.to_owned() }))
    }

    fn open(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        let inode = self.state.lock().inode("open", path)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode, path: path.to_owned() }))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, DiskError> {
        let state = self.state.lock();
        let inode = state.inode("read", path)?;
        Ok(state.inodes[inode].live().to_vec())
    }

    fn map(&self, path: &str) -> Result<Buffer, DiskError> {
        self.read(path).map(Buffer::from_vec)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        check_path("rename", to)?;
        assert_eq!(parent(from), parent(to), "a rename stays in its directory");
        self.change_names("rename", from, false, |state| {
            let inode = state.live.get(from).copied().ok_or_else(|| kind("rename", from, DiskErrorKind::Missing))?;
            Ok(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), inode })
        })
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.change_names("remove", path, false, |state| {
            let inode = state.live.get(path).copied().ok_or_else(|| kind("remove", path, DiskErrorKind::Missing))?;
            Ok(NameChange::Remove { path: path.to_owned(), inode })
        })
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, DiskError> {
        let state = self.state.lock();
        state.alive("list", dir)?;
        if !state.dirs.contains(dir) {
            return Err(kind("list", dir, DiskErrorKind::Missing));
        }
        let names = state.live.keys().filter(|path| parent(path) == dir);
        let mut names: Vec<_> =
            names.map(|path| path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name).to_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&self, path: &str) -> Result<bool, DiskError> {
        let state = self.state.lock();
        state.alive("look for", path)?;
        Ok(state.live.contains_key(path) || state.dirs.contains(path))
    }

    fn len(&self, path: &str) -> Result<u64, DiskError> {
        let state = self.state.lock();
        let inode = state.inode("measure", path)?;
        Ok(state.inodes[inode].live().len() as u64)
    }

    fn sync_dir(&self, dir: &str) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        match state.begin("sync directory", dir, false)? {
            Fate::Go => {}
            Fate::Cut => return Err(power_cut("sync directory", dir)),
            Fate::Fail(error) => return Err(error),
        }
        if !state.dirs.contains(dir) {
            return Err(kind("sync directory", dir, DiskErrorKind::Missing));
        }
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.pending_names).into_iter().partition(|change| change.dir() == dir);
        state.pending_names = elsewhere;
        for change in here {
            change.apply(&mut state.durable);
        }
        Ok(())
    }

    fn lock(&self, path: &str) -> Result<DiskLock, DiskError> {
        let mut state = self.state.lock();
        state.alive("lock", path)?;
        if !state.locks.insert(path.to_owned()) {
            return Err(kind("lock", path, DiskErrorKind::Locked { pid: Some(std::process::id()) }));
        }
        Ok(DiskLock::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: String,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state.lock().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: String,
}

impl SimFile {
    fn change(&self, operation: &'static str, change: Change) -> Result<(), DiskError> {
        let mut state = self.disk.state.lock();
        let fate = state.begin(operation, &self.path, true)?;
        // A failed write may have got some of its bytes out; half of them are as good as any part.
        let change = if matches!(fate, Fate::Fail(_)) { change.half() } else { change };
        state.inodes[self.inode].change(change);
        match fate {
            Fate::Go => Ok(()),
            Fate::Cut => Err(power_cut(operation, &self.path)),
            Fate::Fail(error) => Err(error),
        }
    }

    fn sync(&self) -> Result<(), DiskError> {
        let mut state = self.disk.state.lock();
        match state.begin("sync", &self.path, false)? {
            Fate::Go => state.inodes[self.inode].sync(),
            Fate::Cut => return Err(power_cut("sync", &self.path)),
            Fate::Fail(error) => {
                // As Linux does: the pages that could not be written count as clean from now on, so a later sync succeeds
                // without them, and reads go on seeing what was never stored.
                state.inodes[self.inode].forget_pending();
                return Err(error);
            }
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.change("write", Change::Write { offset, bytes: bytes.to_vec() })
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let state = self.disk.state.lock();
        state.alive("read", &self.path)?;
        let bytes = state.inodes[self.inode].live();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = into.len().min(bytes.len() - start);
        into[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.change("resize", Change::SetLen(usize::try_from(len).unwrap_or(usize::MAX)))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.sync()
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        self.sync()
    }
}

#[cfg(test)]
mod tests;
