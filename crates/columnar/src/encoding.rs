//! Names of the encodings, as sets.

use std::fmt;

/// A set of encodings, kept per page and per column so that people can see what was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encodings(u16);

const NAMES: [&str; 11] = [
    "constant",
    "frame-of-reference",
    "run-length",
    "delta",
    "page-dictionary",
    "dictionary",
    "plain",
    "bitmap",
    "decimal-float",
    "list",
    "lz4",
];

impl Encodings {
    pub(crate) const CONSTANT: Encodings = Encodings(1);
    pub(crate) const FRAME_OF_REFERENCE: Encodings = Encodings(1 << 1);
    pub(crate) const RUN_LENGTH: Encodings = Encodings(1 << 2);
    pub(crate) const DELTA: Encodings = Encodings(1 << 3);
    pub(crate) const PAGE_DICTIONARY: Encodings = Encodings(1 << 4);
    pub(crate) const DICTIONARY: Encodings = Encodings(1 << 5);
    pub(crate) const PLAIN: Encodings = Encodings(1 << 6);
    pub(crate) const BITMAP: Encodings = Encodings(1 << 7);
    pub(crate) const DECIMAL_FLOAT: Encodings = Encodings(1 << 8);
    pub(crate) const LIST: Encodings = Encodings(1 << 9);
    pub(crate) const LZ4: Encodings = Encodings(1 << 10);

    /// All bits that have a meaning.
    const ALL: u16 = (1 << NAMES.len()) - 1;

    pub(crate) fn bits(self) -> u16 {
        self.0
    }

    /// `None` if a bit without meaning is set.
    pub(crate) fn from_bits(bits: u16) -> Option<Encodings> {
        (bits & !Self::ALL == 0).then_some(Encodings(bits))
    }

    pub(crate) fn union(self, other: Encodings) -> Encodings {
        Encodings(self.0 | other.0)
    }
}

impl fmt::Display for Encodings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 & (1 << bit) != 0 {
                write!(f, "{separator}{name}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}
