//! Files of the log: names, headers, and how the next one is made ready.
//!
//! ```text
//! offset bytes
//!      0     8  "COLNWAL\n"
//!      8     4  format version, 1
//!     12     4  zero
//!     16     8  start: LSN of the file's first byte; the name is the same number, 16 hexadecimal digits and ".wal"
//!     24     8  length of the file in bytes
//!     32    28  zero
//!     60     4  crc32c of bytes 0 .. 60
//!     64        frames
//! ```
//!
//! **Invariant.** A file under its final name is complete: it got header and length, and was synced, under the name `next.tmp`.

use colonnade_types::Lsn;

use super::error::WalError;
use super::frame::{u32_at, u64_at};
use crate::disk::{Disk, DiskError, DiskFile, join};

/// Bytes before the first frame.
pub const FILE_HEADER_BYTES: u64 = 64;
/// Version of the file format that is written.
pub const FILE_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"COLNWAL\n";
/// The name under which the next file is made ready.
pub(super) const NEXT_NAME: &str = "next.tmp";
/// Start of the names of files that wait to be used again.
pub(super) const SPARE_PREFIX: &str = "spare-";

/// A file of the log: the bytes of the LSNs from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// LSN of its first byte.
    pub start: u64,
    /// LSN behind its last byte.
    pub end: u64,
}

/// The name of the file that starts at an LSN.
#[must_use]
pub fn file_name(start: u64) -> String {
    format!("{start:016x}.wal")
}

/// The LSN that a name stands for, if it is the name of a log file.
#[must_use]
pub(super) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|start| file_name(*start) == name)
}

/// The first bytes of a file.
#[must_use]
pub(super) fn header(start: u64, len: u64) -> [u8; FILE_HEADER_BYTES as usize] {
    let mut bytes = [0; FILE_HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FILE_VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&start.to_le_bytes());
    bytes[24..32].copy_from_slice(&len.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Checks the header and the length of a file that was read whole.
///
/// # Errors
/// [`WalError::Damaged`] or [`WalError::Unsupported`].
pub(super) fn check(dir: &str, start: u64, bytes: &[u8]) -> Result<LogFile, WalError> {
    let file = join(dir, &file_name(start));
    let damaged = |offset: u64, expected: String, found: String| {
        Err(WalError::Damaged { file: file.clone(), offset, expected, found })
    };
    let Some(head) = bytes.first_chunk::<{ FILE_HEADER_BYTES as usize }>() else {
        return damaged(0, format!("at least {FILE_HEADER_BYTES} bytes"), format!("{} bytes", bytes.len()));
    };
    if &head[..8] != MAGIC {
        return damaged(
            0,
            format!("{:?}", MAGIC.escape_ascii().to_string()),
            format!("\"{}\"", head[..8].escape_ascii()),
        );
    }
    let crc = crc32c::crc32c(&head[..60]);
    if u32_at(head, 60) != crc {
        return damaged(60, format!("checksum {crc:#010x}"), format!("{:#010x}", u32_at(head, 60)));
    }
    if u32_at(head, 8) != FILE_VERSION {
        let (found, known) = (u64::from(u32_at(head, 8)), u64::from(FILE_VERSION));
        return Err(WalError::Unsupported { file, offset: 8, what: "format version", found, known });
    }
    if u64_at(head, 16) != start {
        return damaged(16, format!("start {start:#x}"), format!("{:#x}", u64_at(head, 16)));
    }
    let len = u64_at(head, 24);
    if len != bytes.len() as u64 {
        return damaged(bytes.len() as u64, format!("a file of {len} bytes"), format!("{} bytes", bytes.len()));
    }
    match start.checked_add(len) {
        Some(end) => Ok(LogFile { start, end }),
        None => damaged(24, "a length that 64 bits can address".into(), format!("{len}")),
    }
}

/// The LSNs at which files start, ascending.
///
/// # Errors
/// Any [`DiskError`].
pub(super) fn list(disk: &dyn Disk, dir: &str) -> Result<Vec<u64>, DiskError> {
    // Names of equal length in ascending order are numbers in ascending order.
    Ok(disk.list(dir)?.iter().filter_map(|name| parse_name(name)).collect())
}

/// Makes a file ready, from a spare one of the same length if there is one, else by writing zeros, and gives it its name; all of it
/// is durable on return.
pub(super) fn prepare(
    disk: &dyn Disk,
    dir: &str,
    start: u64,
    len: u64,
    spare: Option<String>,
) -> Result<Box<dyn DiskFile>, DiskError> {
    let next = join(dir, NEXT_NAME);
    if disk.exists(&next)? {
        disk.remove(&next)?;
    }
    let file = match spare {
        Some(spare) => {
            disk.rename(&join(dir, &spare), &next)?;
            disk.open(&next)?
        }
        None => {
            let file = disk.create(&next)?;
            file.allocate(FILE_HEADER_BYTES, len - FILE_HEADER_BYTES)?;
            file
        }
    };
    file.write_all_at(0, &header(start, len))?;
    file.sync_all()?;
    disk.rename(&next, &join(dir, &file_name(start)))?;
    disk.sync_dir(dir)?;
    Ok(file)
}

/// Whether any file holds a valid frame: then there was a database here, and commits.
///
/// # Errors
/// Any [`DiskError`] but a missing directory, which holds nothing.
pub fn holds_records(disk: &dyn Disk, dir: &str) -> Result<bool, DiskError> {
    if !disk.exists(dir)? {
        return Ok(false);
    }
    for start in list(disk, dir)? {
        let bytes = disk.read(&join(dir, &file_name(start)))?;
        if !super::frame::find_valid(&bytes, start, FILE_HEADER_BYTES as usize).is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The file and the offset in it of an LSN, as error texts name them.
pub(super) fn place(dir: &str, file: LogFile, lsn: Lsn) -> (String, u64) {
    (join(dir, &file_name(file.start)), lsn.0.saturating_sub(file.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers() {
        assert_eq!(file_name(0x4000_0000), "0000000040000000.wal");
        assert_eq!(parse_name("0000000040000000.wal"), Some(0x4000_0000));
        for name in ["40000000.wal", "00000000400000zz.wal", "0000000040000000", "+000000040000000.wal", "next.tmp"] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let mut good = header(4096, 8192).to_vec();
        good.resize(8192, 0);
        assert_eq!(check("wal", 4096, &good).unwrap(), LogFile { start: 4096, end: 12_288 });
        for bit in 0..64 * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = check("wal", 4096, &bad).unwrap_err().to_string();
            assert!(error.contains("wal/0000000000001000.wal"), "{error}");
        }
        for len in [0, 10, 64, 8191] {
            assert!(check("wal", 4096, &good[..len]).is_err());
        }
        assert!(check("wal", 0, &good).is_err());
    }
}
