//! COPY's text and CSV cut into records and fields, wherever the data come in pieces.
//!
//! A [`Splitter`] takes bytes and gives whole records; [`fields`] of a record are decoded into one reused buffer. Nothing is kept but the unfinished record, whose
//! size is bounded.

use colonnade_types::SqlState;

use crate::copy::options::CopyOptions;
use crate::error::{Error, Result};
use crate::outcome::CopyFormat;

/// Greatest length of one record, in bytes.
const RECORD_MAX: usize = 1 << 30;

/// Cuts a stream of bytes into records.
#[derive(Debug)]
pub(super) struct Splitter {
    csv: bool,
    quote: u8,
    escape: u8,
    buffer: Vec<u8>,
    /// Start of the unfinished record.
    start: usize,
    /// Where the search for its end goes on.
    scanned: usize,
    in_quotes: bool,
    skip_next: bool,
    /// Lines within the record so far, beyond its first.
    inner_lines: u64,
    /// The line that the next record starts on, from 1.
    line: u64,
    /// The end marker `\.` was seen.
    ended: bool,
}

/// A record's place in the splitter's buffer, and the line it starts on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) line: u64,
}

impl Splitter {
    pub(super) fn new(options: &CopyOptions) -> Splitter {
        Splitter {
            csv: options.format == CopyFormat::Csv,
            quote: options.quote,
            escape: options.escape,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            in_quotes: false,
            skip_next: false,
            inner_lines: 0,
            line: 1,
            ended: false,
        }
    }

    /// Adds bytes; records given before are gone.
    pub(super) fn feed(&mut self, data: &[u8]) -> Result<()> {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        if self.buffer.len().saturating_add(data.len()) > RECORD_MAX {
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a line of COPY data is too long"));
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// The next whole record; `None` if more data are needed.
    pub(super) fn next(&mut self) -> Option<Record> {
        while !self.ended && self.scanned < self.buffer.len() {
            let byte = self.buffer[self.scanned];
            self.scanned += 1;
            if self.skip_next {
                self.skip_next = false;
                self.inner_lines += u64::from(byte == b'\n');
                continue;
            }
            if self.csv {
                if self.in_quotes && byte == self.escape && self.escape != self.quote {
                    self.skip_next = true;
                    continue;
                }
                if byte == self.quote {
                    self.in_quotes = !self.in_quotes;
                    continue;
                }
            } else if byte == b'\\' {
                self.skip_next = true;
                continue;
            }
            if byte == b'\n' {
                if self.in_quotes {
                    self.inner_lines += 1;
                    continue;
                }
                if let Some(record) = self.cut(self.scanned - 1) {
                    return Some(record);
                }
            }
        }
        None
    }

    /// Ends the record at `to`, the place of its line feed or the end of the data.
    fn cut(&mut self, to: usize) -> Option<Record> {
        let from = self.start;
        let end = if to > from && self.buffer[to - 1] == b'\r' { to - 1 } else { to };
        let record = Record { from, to: end, line: self.line };
        self.line += 1 + self.inner_lines;
        self.inner_lines = 0;
        self.start = self.scanned;
        if &self.buffer[from..end] == b"\\." {
            self.ended = true;
            return None;
        }
        Some(record)
    }

    /// The record that the data end with, if they do not end with a line feed.
    pub(super) fn last(&mut self) -> Result<Option<Record>> {
        if self.ended || self.start >= self.buffer.len() {
            return Ok(None);
        }
        if self.in_quotes {
            return Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field")
                .with_context(format!("line {}", self.line)));
        }
        self.scanned = self.buffer.len();
        let end = self.buffer.len();
        Ok(self.cut(end))
    }

    /// A record's bytes.
    pub(super) fn bytes(&self, record: Record) -> &[u8] {
        self.buffer.get(record.from..record.to).unwrap_or_default()
    }
}

/// A record's fields, decoded. Reused from record to record.
#[derive(Debug, Default)]
pub(super) struct Fields {
    text: Vec<u8>,
    /// End of each field in `text`, and whether it is NULL by its spelling, and whether it was quoted.
    ends: Vec<(usize, bool, bool)>,
}

impl Fields {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field's bytes; whether it is spelled as NULL; whether it was quoted.
    pub(super) fn get(&self, index: usize) -> (&[u8], bool, bool) {
        let from = index.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let (to, null, quoted) = self.ends[index];
        (&self.text[from..to], null, quoted)
    }

    /// Decodes a record.
    pub(super) fn read(&mut self, record: &[u8], options: &CopyOptions) -> Result<()> {
        self.text.clear();
        self.ends.clear();
        match options.format {
            CopyFormat::Csv => self.read_csv(record, options),
            _ => {
                self.read_text(record, options);
                Ok(())
            }
        }
    }

    fn read_text(&mut self, record: &[u8], options: &CopyOptions) {
        let null = options.null.as_bytes();
        let mut at = 0;
        loop {
            let start = self.text.len();
            let raw = at;
            while at < record.len() && record[at] != options.delimiter {
                if record[at] == b'\\' && at + 1 < record.len() {
                    at = self.unescape(record, at + 1);
                } else {
                    self.text.push(record[at]);
                    at += 1;
                }
            }
            let is_null = &record[raw..at] == null;
            if is_null {
                self.text.truncate(start);
            }
            self.ends.push((self.text.len(), is_null, false));
            if at >= record.len() {
                return;
            }
            at += 1;
        }
    }

    /// Decodes what follows a backslash at `at`; returns where reading goes on.
    fn unescape(&mut self, record: &[u8], at: usize) -> usize {
        let digits = |from: usize, most: usize, base: u32| {
            let digits: Vec<u32> =
                record[from..].iter().take(most).map_while(|b| char::from(*b).to_digit(base)).collect();
            let value = digits.iter().fold(0, |value, digit| value * base + digit);
            (digits.len(), u8::try_from(value & 0xff).unwrap_or(0))
        };
        let (byte, next) = match record[at] {
            b'b' => (8, at + 1),
            b'f' => (12, at + 1),
            b'n' => (b'\n', at + 1),
            b'r' => (b'\r', at + 1),
            b't' => (b'\t', at + 1),
            b'v' => (11, at + 1),
            b'0'..=b'7' => {
                let (length, value) = digits(at, 3, 8);
                (value, at + length)
            }
            b'x' => match digits(at + 1, 2, 16) {
                (0, _) => (b'x', at + 1),
                (length, value) => (value, at + 1 + length),
            },
            other => (other, at + 1),
        };
        self.text.push(byte);
        next
    }

    fn read_csv(&mut self, record: &[u8], options: &CopyOptions) -> Result<()> {
        let null = options.null.as_bytes();
        let mut at = 0;
        loop {
            let start = self.text.len();
            let (mut quoted, mut in_quotes) = (false, false);
            while at < record.len() {
                let byte = record[at];
                if in_quotes {
                    let escaped = byte == options.escape
                        && record.get(at + 1).is_some_and(|next| *next == options.quote || *next == options.escape);
                    if escaped {
                        self.text.push(record[at + 1]);
                        at += 2;
                    } else if byte == options.quote {
                        in_quotes = false;
                        at += 1;
                    } else {
                        self.text.push(byte);
                        at += 1;
                    }
                } else if byte == options.delimiter {
                    break;
                } else if byte == options.quote {
                    quoted = true;
                    in_quotes = true;
                    at += 1;
                } else {
                    self.text.push(byte);
                    at += 1;
                }
            }
            if in_quotes {
                return Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field"));
            }
            let is_null = &self.text[start..] == null;
            self.ends.push((self.text.len(), is_null, quoted));
            if at >= record.len() {
                return Ok(());
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::options::{ColumnSet, Header};

    fn options(format: CopyFormat) -> CopyOptions {
        let csv = format == CopyFormat::Csv;
        CopyOptions {
            format,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".to_owned() },
            header: Header::Absent,
            quote: b'"',
            escape: b'"',
            force_quote: ColumnSet::None,
            force_not_null: ColumnSet::None,
            force_null: ColumnSet::None,
        }
    }

    /// Every record's fields, however the data are cut into pieces.
    fn read(data: &[u8], format: CopyFormat, piece: usize) -> Vec<(u64, Vec<Option<String>>)> {
        let options = options(format);
        let mut splitter = Splitter::new(&options);
        let mut fields = Fields::default();
        let mut out = Vec::new();
        let mut take = |splitter: &Splitter, record: Record| {
            fields.read(splitter.bytes(record), &options).unwrap();
            let values = (0..fields.len())
                .map(|i| match fields.get(i) {
                    (_, true, false) => None,
                    (bytes, ..) => Some(String::from_utf8_lossy(bytes).into_owned()),
                })
                .collect();
            out.push((record.line, values));
        };
        for piece in data.chunks(piece) {
            splitter.feed(piece).unwrap();
            while let Some(record) = splitter.next() {
                take(&splitter, record);
            }
        }
        if let Some(record) = splitter.last().unwrap() {
            take(&splitter, record);
        }
        out
    }

    fn some(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|v| Some((*v).to_owned())).collect()
    }

    #[test]
    fn text_is_cut_and_unescaped_wherever_it_is_torn() {
        let data = b"1\ta\\tb\\nc\n2\t\\N\r\n3\t\\x41\\101\\\\\n\\.\nrubbish";
        for piece in 1..data.len() {
            let rows = read(data, CopyFormat::Text, piece);
            assert_eq!(rows[0], (1, some(&["1", "a\tb\nc"])));
            assert_eq!(rows[1], (2, vec![Some("2".to_owned()), None]));
            assert_eq!(rows[2], (3, some(&["3", "AA\\"])));
            assert_eq!(rows.len(), 3, "piece {piece}");
        }
    }

    #[test]
    fn csv_quotes_hide_delimiters_and_line_ends() {
        let data = b"1,\"a,\"\"b\"\"\nc\",\n2,,\"\"\n3,x\"y\"z,w";
        for piece in 1..data.len() {
            let rows = read(data, CopyFormat::Csv, piece);
            assert_eq!(rows[0], (1, vec![Some("1".to_owned()), Some("a,\"b\"\nc".to_owned()), None]));
            assert_eq!(rows[1], (3, vec![Some("2".to_owned()), None, Some(String::new())]));
            assert_eq!(rows[2], (4, some(&["3", "xyz", "w"])));
        }
    }

    #[test]
    fn a_quote_that_never_ends_is_an_error() {
        let mut splitter = Splitter::new(&options(CopyFormat::Csv));
        splitter.feed(b"1,\"abc\n").unwrap();
        assert!(splitter.next().is_none());
        assert_eq!(splitter.last().unwrap_err().sql_state, SqlState::BAD_COPY_FILE_FORMAT);
    }
}
