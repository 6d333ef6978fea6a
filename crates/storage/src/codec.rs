//! Little-endian bytes, written and read with every length checked.
//!
//! [`Encoder`] appends to a vector. [`Decoder`] walks over a slice: it never panics, whatever the bytes are, and never reserves more memory
//! than the bytes that are left could fill.
//!
//! | kind | bytes |
//! |---|---|
//! | `u8` `u16` `u32` `u64` `i64` | little-endian, fixed width |
//! | varint | 7 bits a byte, lowest first, top bit set on all but the last; at most 10 bytes |
//! | zigzag | a signed number as varint: 0, -1, 1, -2 ... become 0, 1, 2, 3 ... |
//! | bytes, string | varint length, then the bytes |
//! | option | a byte 0, or 1 and the value |

/// Bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {what}")]
pub struct CodecError {
    /// Where, from the start of what was decoded.
    pub offset: usize,
    /// What was expected and what was found.
    pub what: String,
}

/// Appends values to a vector.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Starts with nothing.
    #[must_use]
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// Goes on behind what is there.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> Encoder {
        Encoder { bytes }
    }

    /// The bytes so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The bytes.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// A byte 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes, two's complement.
    pub fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// One to ten bytes.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A length or count as varint.
    pub fn count(&mut self, value: usize) {
        self.varint(value as u64);
    }

    /// A signed number as varint.
    pub fn zigzag(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Length and bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// Length and text.
    pub fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// A byte that says whether there is a value, then the value.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Encoder, T)) {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                write(self, value);
            }
        }
    }
}

/// Walks over a slice.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Decoder<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder { bytes, offset: 0 }
    }

    /// Bytes walked over.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// An error at this place.
    #[must_use]
    pub fn error(&self, what: impl Into<String>) -> CodecError {
        CodecError { offset: self.offset, what: what.into() }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// If something is.
    pub fn finish(&self) -> Result<(), CodecError> {
        match self.remaining() {
            0 => Ok(()),
            rest => Err(self.error(format!("expected the end, found {rest} more bytes"))),
        }
    }

    /// That many bytes as they are.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let end = self.offset.checked_add(len).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(self.error(format!("expected {len} bytes, found {}", self.remaining())));
        };
        let slice = &self.bytes[self.offset..end];
        self.offset = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// If none is left.
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(self.array::<1>()?[0])
    }

    /// A byte that is 0 or 1.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn bool(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.error(format!("expected 0 or 1, found {other}"))),
        }
    }

    /// Two bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn u16(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Eight bytes, two's complement.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn i64(&mut self) -> Result<i64, CodecError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// One to ten bytes.
    ///
    /// # Errors
    /// If they do not end, or do not fit into 64 bits.
    pub fn varint(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("expected a number of at most 64 bits"))
    }

    /// A varint that fits 32 bits.
    ///
    /// # Errors
    /// If it does not.
    pub fn varint_u32(&mut self) -> Result<u32, CodecError> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.error(format!("expected a number of at most 32 bits, found {value}")))
    }

    /// A signed number.
    ///
    /// # Errors
    /// As [`varint`](Decoder::varint).
    pub fn zigzag(&mut self) -> Result<i64, CodecError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number of items of which each takes at least `item_bytes_min` bytes, so that reserving room for them is safe.
    ///
    /// # Errors
    /// If the bytes that are left cannot hold so many.
    pub fn count(&mut self, item_bytes_min: usize) -> Result<usize, CodecError> {
        let value = self.varint()?;
        let most = self.remaining() / item_bytes_min.max(1);
        usize::try_from(value)
            .ok()
            .filter(|count| *count <= most)
            .ok_or_else(|| self.error(format!("expected at most {most} items, found {value}")))
    }

    /// Length and bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let len = self.count(1)?;
        self.raw(len)
    }

    /// Length and text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn str(&mut self) -> Result<&'a str, CodecError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|error| self.error(format!("expected UTF-8: {error}")))
    }

    /// Length and text, owned.
    ///
    /// # Errors
    /// As [`str`](Decoder::str).
    pub fn string(&mut self) -> Result<String, CodecError> {
        self.str().map(str::to_owned)
    }

    /// A byte that says whether there is a value, then the value.
    ///
    /// # Errors
    /// As `read` gives.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    /// A count, then so many items of at least `item_bytes_min` bytes each.
    ///
    /// # Errors
    /// As `read` gives.
    pub fn list<T>(
        &mut self,
        item_bytes_min: usize,
        mut read: impl FnMut(&mut Decoder<'a>) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.count(item_bytes_min)?;
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive() {
        let numbers = [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let signed = [0, -1, 1, i64::MIN, i64::MAX, -12_345];
        let mut out = Encoder::new();
        for n in numbers {
            out.varint(n);
            out.u64(n);
        }
        for n in signed {
            out.zigzag(n);
            out.i64(n);
        }
        out.str("häuser");
        out.option(Some("x"), Encoder::str);
        out.option(None, Encoder::str);
        out.u16(7);
        let bytes = out.into_vec();
        let mut input = Decoder::new(&bytes);
        for n in numbers {
            assert_eq!(input.varint(), Ok(n));
            assert_eq!(input.u64(), Ok(n));
        }
        for n in signed {
            assert_eq!(input.zigzag(), Ok(n));
            assert_eq!(input.i64(), Ok(n));
        }
        assert_eq!(input.str(), Ok("häuser"));
        assert_eq!(input.option(Decoder::str), Ok(Some("x")));
        assert_eq!(input.option(Decoder::str), Ok(None));
        assert!(input.finish().is_err());
        assert_eq!(input.u16(), Ok(7));
        assert_eq!(input.finish(), Ok(()));
    }

    #[test]
    fn lengths_are_checked_before_anything_is_reserved() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0];
        assert!(Decoder::new(&huge).bytes().is_err());
        assert!(Decoder::new(&huge).list(1, Decoder::u8).is_err());
        assert!(Decoder::new(&[0xff; 12]).varint().is_err());
        assert!(Decoder::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).varint().is_err());
        assert!(Decoder::new(&[2]).bool().is_err());
        assert!(Decoder::new(&[2, 0xff, 0xfe]).str().is_err());
        assert!(Decoder::new(&[]).u32().is_err());
    }
}
