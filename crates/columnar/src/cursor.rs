//! A bounded reader over untrusted bytes, which knows where in the segment it stands.
//!
//! Invariants: a read never passes the end of its slice; a failed read reports the offset in the segment.

use crate::error::FormatError;

/// Reads little-endian fields one after the other.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    base: u64,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`, which start at offset `base` of the segment.
    pub(crate) fn new(bytes: &'a [u8], base: u64) -> Self {
        Cursor { bytes, position: 0, base }
    }

    /// Offset in the segment of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.position as u64
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Takes the next `length` bytes.
    pub(crate) fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], FormatError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        match rest.get(..length) {
            Some(taken) => {
                self.position += length;
                Ok(taken)
            }
            None => Err(FormatError::Truncated {
                offset: self.offset(),
                what,
                expected: length as u64,
                found: rest.len() as u64,
            }),
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, FormatError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, FormatError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, FormatError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, FormatError> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, FormatError> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// Takes a `u16` length and that many bytes of UTF-8.
    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, FormatError> {
        let length = usize::from(self.u16(what)?);
        let offset = self.offset();
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map_err(|error| FormatError::Invalid {
            offset,
            what,
            expected: "UTF-8".to_owned(),
            found: error.to_string(),
        })
    }

    /// An error at the present position.
    pub(crate) fn invalid(&self, what: &'static str, expected: impl ToString, found: impl ToString) -> FormatError {
        FormatError::Invalid { offset: self.offset(), what, expected: expected.to_string(), found: found.to_string() }
    }

    /// Fails unless every byte has been read.
    pub(crate) fn finish(&self, what: &'static str) -> Result<(), FormatError> {
        match self.remaining() {
            0 => Ok(()),
            rest => Err(self.invalid(what, "no bytes after its end", format!("{rest} bytes"))),
        }
    }
}

/// Checks the CRC-32C of `bytes`, which start at `offset` of the segment.
pub(crate) fn verify(bytes: &[u8], offset: u64, expected: u32, what: &'static str) -> Result<(), FormatError> {
    let found = crc32c::crc32c(bytes);
    if found == expected { Ok(()) } else { Err(FormatError::Checksum { offset, what, expected, found }) }
}

/// Appends a text of at most 65,535 bytes as [`Cursor::text`] reads it; longer ones are refused by the caller.
pub(crate) fn put_text(text: &str, out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end() {
        let mut cursor = Cursor::new(&[1, 2, 3], 100);
        assert_eq!(cursor.u16("field").unwrap(), 0x0201);
        let error = cursor.u32("field").unwrap_err();
        assert_eq!(error, FormatError::Truncated { offset: 102, what: "field", expected: 4, found: 1 });
        assert!(cursor.finish("structure").is_err());
        assert_eq!(cursor.u8("field").unwrap(), 3);
        assert!(cursor.finish("structure").is_ok());
    }

    #[test]
    fn text_must_be_utf8() {
        let mut bytes = Vec::new();
        put_text("säule", &mut bytes);
        assert_eq!(Cursor::new(&bytes, 0).text("name").unwrap(), "säule");
        assert!(Cursor::new(&[2, 0, 0xc3, 0x28], 0).text("name").is_err());
    }
}
