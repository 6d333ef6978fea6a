//! Reading the log again after a restart, and finding its end.
//!
//! ```text
//!  start_lsn                      end      first invalid frame
//!      |  record  record  record  |  piece  |  ...  stray frames of the last group  ...
//! ```
//!
//! The log ends before the first frame that is not valid, or, if a record is not complete there, before that record. Two
//! causes look alike at that place: a write that was not yet durable when the power went, which is normal, and damage to
//! something that was durable, which must never pass silently. Every frame carries an LSN that was durable when it was made, so:
//!
//! **Rule.** If any valid frame behind the first invalid one carries a `durable` beyond the invalid one's position, the
//! position was durable: that is damage, and an error. Otherwise the invalid frame is a torn tail.
//!
//! It is sound: a frame is made only after the sync of what its `durable` covers has returned, so a torn tail never trips it. What it
//! cannot see is damage to the very last group of the log, behind which nothing was written. The writer narrows that gap by
//! a mark: see [`Wal::flush_round`].
//!
//! Before the log is written again, stray frames behind the end, torn ones included, lose their headers, so that none of them can ever line up behind a new
//! record or be completed by one, and the records behind the last known durable LSN are written once more and synced, since what was only in the page cache is not
//! durable yet.

use std::sync::Arc;

use colonnade_types::Lsn;

use super::error::WalError;
use super::file::{self, FILE_HEADER_BYTES, LogFile, NEXT_NAME, SPARE_PREFIX, file_name, place};
use super::frame::{self, FRAME_HEADER_BYTES, FRAME_ROOM_MIN, FrameError, FrameKind};
use super::{Wal, WalOptions};
use crate::disk::{Disk, join};

/// Yields the records of a log in order; then [`finish`](Replay::finish) gives the log for writing.
#[derive(Debug)]
pub struct Replay {
    disk: Arc<dyn Disk>,
    dir: String,
    options: WalOptions,
    /// Every file there is, also those before the start, by start.
    starts: Vec<u64>,
    /// The file in `bytes`, as an index into `starts`.
    index: usize,
    file: LogFile,
    bytes: Vec<u8>,
    /// Where the next frame is.
    position: u64,
    /// Pieces of the record that is being put together, and where its first frame is.
    record: Option<(u64, Vec<u8>)>,
    /// The greatest LSN known to be durable.
    durable: u64,
    done: bool,
}

impl Replay {
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &str,
        start_lsn: Lsn,
        options: WalOptions,
    ) -> Result<Replay, WalError> {
        let starts = file::list(disk.as_ref(), dir)?;
        let missing = |why: String| WalError::Missing { file: join(dir, &file_name(start_lsn.0)), why };
        let Some(index) = starts.iter().rposition(|start| *start <= start_lsn.0) else {
            return Err(missing(format!("no file of the log holds LSN {start_lsn}, where replay starts")));
        };
        let bytes = disk.read(&join(dir, &file_name(starts[index])))?;
        let file = file::check(dir, starts[index], &bytes)?;
        if start_lsn.0 > file.end {
            return Err(missing(format!("the log ends at LSN {}, but replay starts at {start_lsn}", file.end)));
        }
        Ok(Replay {
            disk,
            dir: dir.to_owned(),
            options,
            index,
            position: start_lsn.0.max(file.start + FILE_HEADER_BYTES),
            file,
            starts,
            bytes,
            record: None,
            durable: start_lsn.0,
            done: false,
        })
    }

    /// The next record with its LSN, which is the position behind its last byte; `None` at the end of the log.
    ///
    /// # Errors
    /// [`WalError::Damaged`], [`WalError::Missing`] or [`WalError::Unsupported`]: the log must not be used then.
    #[expect(clippy::should_implement_trait, reason = "it gives a result, and finish() takes it over afterwards")]
    pub fn next(&mut self) -> Result<Option<(Lsn, Vec<u8>)>, WalError> {
        while !self.done {
            if self.file.end.saturating_sub(self.position) < FRAME_ROOM_MIN {
                self.enter_next_file()?;
                continue;
            }
            let offset = usize::try_from(self.position - self.file.start).unwrap_or(usize::MAX);
            let frame = match frame::decode(self.bytes.get(offset..).unwrap_or(&[]), Lsn(self.position)) {
                Ok(frame) => frame,
                Err(FrameError::Unsupported { what, found, known }) => {
                    let (file, offset) = place(&self.dir, self.file, Lsn(self.position));
                    return Err(WalError::Unsupported { file, offset, what, found, known });
                }
                Err(FrameError::Invalid { expected, found }) => {
                    self.end_at(expected, found)?;
                    continue;
                }
            };
            let (start, end) = (self.position, frame.end);
            self.durable = self.durable.max(frame.durable.0);
            self.position = end.0;
            let whole = match (frame.kind, self.record.take()) {
                (FrameKind::Mark, record) => {
                    self.record = record;
                    None
                }
                (FrameKind::Whole, None) => Some(frame.payload.to_vec()),
                (FrameKind::First, None) => {
                    self.record = Some((start, frame.payload.to_vec()));
                    None
                }
                (FrameKind::Middle, Some((first, mut pieces))) => {
                    pieces.extend_from_slice(frame.payload);
                    self.record = Some((first, pieces));
                    None
                }
                (FrameKind::Last, Some((_, mut pieces))) => {
                    pieces.extend_from_slice(frame.payload);
                    Some(pieces)
                }
                (kind, record) => {
                    let expected = if record.is_some() { "a further piece of the record" } else { "a record's start" };
                    let (file, offset) = place(&self.dir, self.file, Lsn(start));
                    return Err(WalError::Damaged {
                        file,
                        offset,
                        expected: expected.to_owned(),
                        found: format!("a {kind:?} frame"),
                    });
                }
            };
            if let Some(payload) = whole {
                return Ok(Some((end, payload)));
            }
        }
        Ok(None)
    }

    fn enter_next_file(&mut self) -> Result<(), WalError> {
        let expected = self.file.end;
        if self.starts.get(self.index + 1) != Some(&expected) {
            return self.end_at(format!("log file \"{}\"", join(&self.dir, &file_name(expected))), "none".to_owned());
        }
        self.index += 1;
        self.bytes = self.disk.read(&join(&self.dir, &file_name(expected)))?;
        self.file = file::check(&self.dir, expected, &self.bytes)?;
        self.position = self.file.start + FILE_HEADER_BYTES;
        Ok(())
    }

    /// Ends the log here unless a later frame proves that this place was durable.
    fn end_at(&mut self, expected: String, found: String) -> Result<(), WalError> {
        self.done = true;
        let damage_at = self.position;
        let damaged = |dir: &str, file: LogFile| {
            let (file, offset) = place(dir, file, Lsn(damage_at));
            WalError::Damaged { file, offset, expected: expected.clone(), found: found.clone() }
        };
        let from = usize::try_from(self.position - self.file.start).unwrap_or(usize::MAX).saturating_add(1);
        for (_, durable) in frame::find_valid(&self.bytes, self.file.start, from.min(self.bytes.len())) {
            if durable.0 > damage_at {
                return Err(damaged(&self.dir, self.file));
            }
        }
        for start in &self.starts[self.index + 1..] {
            let bytes = self.disk.read(&join(&self.dir, &file_name(*start)))?;
            for (_, durable) in frame::find_valid(&bytes, *start, FILE_HEADER_BYTES as usize) {
                if durable.0 > damage_at {
                    return Err(damaged(&self.dir, self.file));
                }
            }
        }
        Ok(())
    }

    /// Reads what is left, removes what lies behind the end, makes everything before it durable, and gives the log for writing.
    ///
    /// # Errors
    /// As [`next`](Replay::next), and any error of the disk.
    pub fn finish(mut self) -> Result<Wal, WalError> {
        while self.next()?.is_some() {}
        let end = self.record.as_ref().map_or(self.position, |(start, _)| *start);
        // An incomplete record may have begun in an earlier file.
        while self.file.start > end {
            self.index -= 1;
            let start = self.starts[self.index];
            self.bytes = self.disk.read(&join(&self.dir, &file_name(start)))?;
            self.file = file::check(&self.dir, start, &self.bytes)?;
        }
        self.remove_behind_end()?;
        self.write_again(end)?;
        let mut files = Vec::with_capacity(self.index + 1);
        for start in &self.starts[..self.index] {
            let len = self.disk.len(&join(&self.dir, &file_name(*start)))?;
            files.push(LogFile { start: *start, end: start.saturating_add(len) });
        }
        files.push(self.file);
        let current = self.disk.open(&join(&self.dir, &file_name(self.file.start)))?;
        let from = usize::try_from(end - self.file.start).unwrap_or(usize::MAX).min(self.bytes.len());
        // Torn ones too: what they lack may be written by a later record that begins at the same place and is itself torn.
        for offset in frame::find_headers(&self.bytes, self.file.start, from) {
            current.write_all_at(offset as u64, &[0; FRAME_HEADER_BYTES])?;
        }
        current.sync_data()?;
        Ok(Wal::assemble(self.disk, self.dir, self.options, files, current, end))
    }

    /// Later files hold nothing that counts; the last goes first, so that a crash leaves no gap.
    fn remove_behind_end(&mut self) -> Result<(), WalError> {
        for start in self.starts[self.index + 1..].iter().rev() {
            self.disk.remove(&join(&self.dir, &file_name(*start)))?;
        }
        for name in self.disk.list(&self.dir)? {
            if name == NEXT_NAME || name.starts_with(SPARE_PREFIX) {
                self.disk.remove(&join(&self.dir, &name))?;
            }
        }
        self.disk.sync_dir(&self.dir)?;
        Ok(())
    }

    /// Writes the bytes from the last known durable LSN to the end once more: after a failed sync the operating system may hold
    /// pages that it takes for clean although they never reached the disk.
    fn write_again(&self, end: u64) -> Result<(), WalError> {
        let from = self.durable.min(end);
        for start in self.starts[..=self.index].iter().rev() {
            let path = join(&self.dir, &file_name(*start));
            let bytes = if *start == self.file.start { self.bytes.clone() } else { self.disk.read(&path)? };
            let first = usize::try_from(from.saturating_sub(*start)).unwrap_or(usize::MAX).min(bytes.len());
            let last = usize::try_from(end - *start).unwrap_or(usize::MAX).min(bytes.len());
            if first < last {
                let file = self.disk.open(&path)?;
                file.write_all_at(first as u64, &bytes[first..last])?;
                file.sync_data()?;
            }
            if *start <= from {
                break;
            }
        }
        Ok(())
    }
}
