//! The write-ahead log: one sequence of bytes over all files, written by one thread in groups.
//!
//! ```text
//!  LSN 0      64                                         file_bytes              2 * file_bytes
//!   |  header  | frame frame frame frame ............ 0 0 | header | frame ...    |
//!   +----------------- 0000000000000000.wal --------------+--- 00000000xxxxxxxx.wal
//! ```
//!
//! An LSN is a position in that sequence; it grows for ever and is never set back. **The LSN of a record is the position behind its last
//! byte**, so a record is durable exactly when the durable LSN is at or beyond its own, and replay from an LSN gives the
//! records with greater ones.
//!
//! ## Life of a record
//!
//! [`Wal::append`] frames it into the active one of two buffers. [`Wal::flush_round`], called by the log writer, takes that
//! buffer, writes it, and syncs once, while appends fill the other one: whatever arrives during a sync shares the next. A record that does not
//! fit into the rest of a file, or into the buffer, is cut into pieces; when the buffer is full, the appender itself writes it out
//! (without syncing), so a record of any size passes through bounded memory.
//!
//! ## Invariants
//!
//! - The buffer is the exact image of the log's bytes from its start LSN on, file headers and padding included.
//! - A file's bytes are synced before the first byte of the next file is written.
//! - `durable` never exceeds what a returned sync covers, and is always the end of a record.
//! - After a failed write or sync nothing is written any more: what reached the disk is unknown, and a second sync that succeeds
//!   would prove nothing.
//!
//! Locks are taken in the order: append latch, writer, next file, files, buffer. No lock but the writer's is held during writes and syncs of the
//! log, and appends wait for it only when the buffer is full.

mod error;
mod file;
mod frame;
mod replay;
mod stats;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use colonnade_types::Lsn;
use parking_lot::{Condvar, Mutex, MutexGuard};

pub use error::WalError;
pub use file::{FILE_HEADER_BYTES, FILE_VERSION, LogFile, file_name, holds_records};
pub use frame::{FRAME_HEADER_BYTES, FRAME_VERSION, Frame, FrameError, FrameKind, decode as decode_frame};
pub use replay::Replay;
pub use stats::WalStats;

use crate::disk::{Disk, DiskError, DiskFile, join};
use file::SPARE_PREFIX;
use frame::{FRAME_ROOM_MIN, frame_bytes};

/// Options of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// Size of a file in bytes. Default 64 MiB; rounded up to a multiple of 4,096, at least 4,096. Files of another size, from an
    /// earlier run, are read and filled as they are.
    pub file_bytes: u64,
    /// Bytes that one of the two buffers holds before an appender writes them out itself. Default 16 MiB; at least 4,096.
    pub buffer_bytes: usize,
    /// Files kept to be used again instead of being removed. Default 2.
    pub spare_files: usize,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions { file_bytes: 64 << 20, buffer_bytes: 16 << 20, spare_files: 2 }
    }
}

impl WalOptions {
    fn normalized(self) -> WalOptions {
        WalOptions {
            file_bytes: self.file_bytes.clamp(4_096, 1 << 40).next_multiple_of(4_096),
            buffer_bytes: self.buffer_bytes.clamp(4_096, 1 << 30),
            spare_files: self.spare_files,
        }
    }
}

/// The log, open for writing. Its methods may be called from any thread.
#[derive(Debug)]
pub struct Wal {
    disk: Arc<dyn Disk>,
    dir: String,
    options: WalOptions,
    /// Keeps the pieces of one record together.
    append_latch: Mutex<()>,
    buffer: Mutex<Buffer>,
    appended: Condvar,
    writer: Mutex<Writer>,
    next: Mutex<Next>,
    files: Mutex<Vec<LogFile>>,
    durable: AtomicU64,
    stats: Mutex<WalStats>,
}

/// The part of the log that is not yet handed to the writer.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    /// LSN behind the last byte.
    end: u64,
    /// End of the file that `end` lies in.
    file_end: u64,
    /// LSN of the last complete record.
    record_end: u64,
    /// Records completed since the writer took the buffer last.
    records: u64,
    failed: Option<DiskError>,
    woken: bool,
}

/// The file that is being written.
#[derive(Debug)]
struct Writer {
    file: Box<dyn DiskFile>,
    bounds: LogFile,
    /// LSN up to which bytes are written.
    position: u64,
    /// LSN of the last record that is written whole.
    record_end: u64,
    /// Records written since the last sync.
    records: u64,
    unsynced: bool,
    /// The other buffer.
    spare: Vec<u8>,
}

/// The file after the one that is being written.
#[derive(Debug)]
struct Next {
    start: u64,
    prepared: Option<Box<dyn DiskFile>>,
    spares: Vec<String>,
}

impl Wal {
    /// Makes a new log whose first file starts at `start`, removing whatever log is there. The directory must exist. Durable on return.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn create(disk: Arc<dyn Disk>, dir: &str, start: Lsn, options: WalOptions) -> Result<Wal, WalError> {
        let options = options.normalized();
        for name in disk.list(dir)? {
            disk.remove(&join(dir, &name))?;
        }
        disk.sync_dir(dir)?;
        let file = file::prepare(disk.as_ref(), dir, start.0, options.file_bytes, None)?;
        let bounds = LogFile { start: start.0, end: start.0 + options.file_bytes };
        Ok(Wal::assemble(disk, dir.to_owned(), options, vec![bounds], file, start.0 + FILE_HEADER_BYTES))
    }

    /// Opens an existing log to read the records with LSNs beyond `start`, which is the LSN of a record or the end of the log.
    /// [`Replay::finish`] then gives the log for writing. Nothing is written before that.
    ///
    /// # Errors
    /// [`WalError`]; the log is left as it is.
    pub fn open(disk: Arc<dyn Disk>, dir: &str, start: Lsn, options: WalOptions) -> Result<Replay, WalError> {
        Replay::open(disk, dir, start, options.normalized())
    }

    fn assemble(
        disk: Arc<dyn Disk>,
        dir: String,
        options: WalOptions,
        files: Vec<LogFile>,
        file: Box<dyn DiskFile>,
        end: u64,
    ) -> Wal {
        let bounds = *files.last().expect("a log has a file");
        Wal {
            disk,
            dir,
            options,
            append_latch: Mutex::new(()),
            buffer: Mutex::new(Buffer {
                bytes: Vec::new(),
                end,
                file_end: bounds.end,
                record_end: end,
                records: 0,
                failed: None,
                woken: false,
            }),
            appended: Condvar::new(),
            writer: Mutex::new(Writer {
                file,
                bounds,
                position: end,
                record_end: end,
                records: 0,
                unsynced: false,
                spare: Vec::new(),
            }),
            next: Mutex::new(Next { start: bounds.end, prepared: None, spares: Vec::new() }),
            files: Mutex::new(files),
            durable: AtomicU64::new(end),
            stats: Mutex::new(WalStats::default()),
        }
    }

    /// Appends a record and returns its LSN. It is durable once [`durable_lsn`](Wal::durable_lsn) has reached that; nothing is
    /// synced here. Waits for the disk only when the buffer is full.
    ///
    /// # Errors
    /// [`WalError::Failed`] if the log has failed; the record may then be on disk in part and is never replayed.
    pub fn append(&self, payload: &[u8]) -> Result<Lsn, WalError> {
        self.append_parts(&[payload])
    }

    /// Appends a record that consists of these parts one behind the other.
    ///
    /// # Errors
    /// As [`append`](Wal::append).
    pub fn append_parts(&self, parts: &[&[u8]]) -> Result<Lsn, WalError> {
        let _latch = self.append_latch.lock();
        let mut left: usize = parts.iter().map(|part| part.len()).sum();
        // Empty parts at the front would stop the gathering of an empty record only; it takes none.
        let (mut parts, mut taken) = (parts, 0);
        let mut first = true;
        loop {
            let mut buffer = self.room()?;
            if buffer.file_end - buffer.end < FRAME_ROOM_MIN {
                self.begin_file(&mut buffer);
            }
            let room = usize::try_from(buffer.file_end - buffer.end).unwrap_or(usize::MAX) - FRAME_HEADER_BYTES;
            let len = left.min(room).min(self.options.buffer_bytes);
            left -= len;
            let kind = match (first, left == 0) {
                (true, true) => FrameKind::Whole,
                (true, false) => FrameKind::First,
                (false, false) => FrameKind::Middle,
                (false, true) => FrameKind::Last,
            };
            first = false;
            let (position, durable) = (buffer.end, self.durable.load(Ordering::Acquire));
            frame::encode(&mut buffer.bytes, kind, position, durable, &mut parts, &mut taken, len);
            buffer.end += frame_bytes(len) as u64;
            if left == 0 {
                buffer.record_end = buffer.end;
                buffer.records += 1;
                let lsn = Lsn(buffer.record_end);
                drop(buffer);
                self.appended.notify_all();
                return Ok(lsn);
            }
        }
    }

    /// The buffer, with room in it.
    fn room(&self) -> Result<MutexGuard<'_, Buffer>, WalError> {
        loop {
            let buffer = self.buffer.lock();
            if let Some(error) = &buffer.failed {
                return Err(WalError::Failed(error.clone()));
            }
            if buffer.bytes.len() < self.options.buffer_bytes {
                return Ok(buffer);
            }
            drop(buffer);
            self.write_out(&mut self.writer.lock())?;
        }
    }

    /// Fills the rest of the file with zeros and puts the header of the next one behind them.
    fn begin_file(&self, buffer: &mut Buffer) {
        let padding = usize::try_from(buffer.file_end - buffer.end).unwrap_or(0);
        debug_assert!((padding as u64) < FRAME_ROOM_MIN, "only the end of a file is left empty");
        buffer.bytes.resize(buffer.bytes.len() + padding, 0);
        let start = buffer.file_end;
        buffer.bytes.extend_from_slice(&file::header(start, self.options.file_bytes));
        buffer.end = start + FILE_HEADER_BYTES;
        buffer.file_end = start + self.options.file_bytes;
    }

    /// Writes and syncs everything that was appended before the call, and returns the new durable LSN; `None` if
    /// there was nothing to do.
    ///
    /// If nothing new has arrived by then, it also writes a *mark*, without syncing it: a frame without a record that carries the new durable LSN. It
    /// survives whatever ends the process, and lets replay tell damage to the last group from a torn tail.
    ///
    /// # Errors
    /// The disk's error the first time, [`WalError::Failed`] for ever after. Records appended but not durable are lost or not, as
    /// replay will tell.
    pub fn flush_round(&self) -> Result<Option<Lsn>, WalError> {
        let mut writer = self.writer.lock();
        self.write_out(&mut writer)?;
        if writer.record_end == self.durable.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.sync(&mut writer)?;
        let durable = writer.record_end;
        self.durable.store(durable, Ordering::Release);
        self.stats.lock().count_group(std::mem::take(&mut writer.records));
        if self.append_mark(durable) {
            // The group is durable whatever becomes of the mark; if it fails, the next call says so.
            let _ = self.write_out(&mut writer);
        }
        Ok(Some(Lsn(durable)))
    }

    fn append_mark(&self, durable: u64) -> bool {
        let mut buffer = self.buffer.lock();
        let room = buffer.file_end - buffer.end >= FRAME_ROOM_MIN;
        if !buffer.bytes.is_empty() || !room || buffer.failed.is_some() {
            return false;
        }
        let position = buffer.end;
        frame::encode(&mut buffer.bytes, FrameKind::Mark, position, durable, &mut &[][..], &mut 0, 0);
        buffer.end += frame_bytes(0) as u64;
        true
    }

    /// Takes the buffer and writes it, without syncing.
    fn write_out(&self, writer: &mut Writer) -> Result<(), WalError> {
        let mut bytes = std::mem::take(&mut writer.spare);
        {
            let mut buffer = self.buffer.lock();
            if let Some(error) = &buffer.failed {
                return Err(WalError::Failed(error.clone()));
            }
            std::mem::swap(&mut buffer.bytes, &mut bytes);
            writer.records += std::mem::take(&mut buffer.records);
            writer.record_end = buffer.record_end;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            if writer.position == writer.bounds.end {
                self.enter_next_file(writer)?;
            }
            let room = usize::try_from(writer.bounds.end - writer.position).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(rest.len().min(room));
            let offset = writer.position - writer.bounds.start;
            writer.unsynced = true;
            writer.file.write_all_at(offset, now).map_err(|error| self.fail(error))?;
            writer.position += now.len() as u64;
            rest = later;
        }
        let mut stats = self.stats.lock();
        stats.bytes_written += bytes.len() as u64;
        drop(stats);
        bytes.clear();
        if bytes.capacity() <= 2 * self.options.buffer_bytes {
            writer.spare = bytes;
        }
        Ok(())
    }

    fn sync(&self, writer: &mut Writer) -> Result<(), WalError> {
        if writer.unsynced {
            writer.file.sync_data().map_err(|error| self.fail(error))?;
            writer.unsynced = false;
            self.stats.lock().syncs += 1;
        }
        Ok(())
    }

    fn enter_next_file(&self, writer: &mut Writer) -> Result<(), WalError> {
        self.sync(writer)?;
        let mut next = self.next.lock();
        let start = next.start;
        debug_assert_eq!(start, writer.bounds.end, "files follow each other without a gap");
        writer.file = match next.prepared.take() {
            Some(file) => file,
            None => self.prepare(&mut next).map_err(|error| self.fail(error))?,
        };
        writer.bounds = LogFile { start, end: start + self.options.file_bytes };
        next.start = writer.bounds.end;
        self.files.lock().push(writer.bounds);
        Ok(())
    }

    fn prepare(&self, next: &mut Next) -> Result<Box<dyn DiskFile>, DiskError> {
        file::prepare(self.disk.as_ref(), &self.dir, next.start, self.options.file_bytes, next.spares.pop())
    }

    /// Makes the next file ready if the current one is more than half full, so that the log writer need not. For a maintenance thread; returns
    /// whether it did something.
    ///
    /// # Errors
    /// The disk's. The log has not failed then: the log writer will try again when it needs the file.
    pub fn prepare_next(&self) -> Result<bool, WalError> {
        let (end, file_end) = {
            let buffer = self.buffer.lock();
            (buffer.end, buffer.file_end)
        };
        if file_end - end > self.options.file_bytes / 2 {
            return Ok(false);
        }
        let mut next = self.next.lock();
        if next.prepared.is_some() || next.start > file_end {
            return Ok(false);
        }
        let file = self.prepare(&mut next)?;
        next.prepared = Some(file);
        Ok(true)
    }

    fn fail(&self, error: DiskError) -> WalError {
        self.buffer.lock().failed.get_or_insert_with(|| error.clone());
        self.appended.notify_all();
        WalError::Disk(error)
    }

    /// Waits until a record is not durable yet, the log has failed, [`wake`](Wal::wake) was called, or the time is over; says
    /// whether it was not the time. For the log writer.
    pub fn wait_for_append(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut buffer = self.buffer.lock();
        loop {
            let woken = std::mem::take(&mut buffer.woken);
            if woken || buffer.failed.is_some() || buffer.record_end != self.durable.load(Ordering::Acquire) {
                return true;
            }
            if self.appended.wait_until(&mut buffer, until).timed_out() {
                return false;
            }
        }
    }

    /// Ends a wait in [`wait_for_append`](Wal::wait_for_append), the present one or else the next.
    pub fn wake(&self) {
        self.buffer.lock().woken = true;
        self.appended.notify_all();
    }

    /// The LSN up to which every record is durable.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// The LSN of the last record appended, durable or not; without any, the place where the log began or was opened.
    #[must_use]
    pub fn end_lsn(&self) -> Lsn {
        Lsn(self.buffer.lock().record_end)
    }

    /// The error that ended the log, if it has failed.
    #[must_use]
    pub fn failure(&self) -> Option<DiskError> {
        self.buffer.lock().failed.clone()
    }

    /// Removes the files that hold only records at or before `lsn`, or keeps them for later use; returns how many. The
    /// caller has made durable whatever those records say.
    ///
    /// # Errors
    /// The disk's; the log goes on, and the next call tries again.
    pub fn remove_before(&self, lsn: Lsn) -> Result<usize, WalError> {
        let mut next = self.next.lock();
        let mut files = self.files.lock();
        let mut count = 0;
        // A file goes when the next one starts at or before the LSN: then replay from there needs it no more.
        while files.len() > 1 && files[1].start <= lsn.0 {
            let first = files[0];
            let path = join(&self.dir, &file_name(first.start));
            let reusable = first.end - first.start == self.options.file_bytes;
            if reusable && next.spares.len() < self.options.spare_files {
                let spare = format!("{SPARE_PREFIX}{:016x}.wal", first.start);
                self.disk.rename(&path, &join(&self.dir, &spare))?;
                next.spares.push(spare);
            } else {
                self.disk.remove(&path)?;
            }
            files.remove(0);
            count += 1;
        }
        if count > 0 {
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(count)
    }

    /// Counters since the log was opened.
    #[must_use]
    pub fn stats(&self) -> WalStats {
        let (files, files_bytes) = {
            let files = self.files.lock();
            (files.len() as u64, files.iter().map(|file| file.end - file.start).sum())
        };
        WalStats { files, files_bytes, ..*self.stats.lock() }
    }
}

#[cfg(test)]
mod tests;
