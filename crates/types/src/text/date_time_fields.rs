//! Cuts date, time and interval input into fields, as PostgreSQL's `ParseDateTime` does.

/// What a field looks like; what it means depends on its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// Digits, perhaps with a point.
    Number,
    /// `1999-01-08`, `8-jan-1999`, `europe/berlin`.
    Date,
    /// `04:05:06.5`
    Time,
    /// `+02`, `-8:00`: a sign and digits.
    Zone,
    /// Letters.
    Word,
    /// A sign and letters: `-infinity`.
    Special,
}

/// One field, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) kind: FieldKind,
    pub(crate) text: String,
}

/// More than any sensible input has.
const FIELDS_MAX: usize = 25;
/// Longer input is no date.
const LENGTH_MAX: usize = 256;

/// Cuts a text into fields; `None` if it cannot be.
pub(crate) fn split(text: &str) -> Option<Vec<Field>> {
    if text.len() > LENGTH_MAX {
        return None;
    }
    let mut cursor = Cursor { bytes: text.as_bytes(), at: 0, text: String::new() };
    let mut fields = Vec::with_capacity(4);
    while let Some(byte) = cursor.peek() {
        let kind = match byte {
            b' ' | b'\t'..=b'\r' => {
                cursor.at += 1;
                continue;
            }
            b'0'..=b'9' => cursor.digits_first(),
            b'.' => {
                cursor.take();
                cursor.take_while(|c| c.is_ascii_digit());
                FieldKind::Number
            }
            b'a'..=b'z' | b'A'..=b'Z' => cursor.letters_first(),
            b'+' | b'-' => {
                cursor.take();
                while matches!(cursor.peek(), Some(b' ' | b'\t'..=b'\r')) {
                    cursor.at += 1;
                }
                match cursor.peek()? {
                    b'0'..=b'9' => {
                        cursor.take_while(|c| c.is_ascii_digit() || matches!(c, b':' | b'.' | b'-'));
                        FieldKind::Zone
                    }
                    b'a'..=b'z' | b'A'..=b'Z' => {
                        cursor.take_while(|c| c.is_ascii_alphabetic());
                        FieldKind::Special
                    }
                    _ => return None,
                }
            }
            c if c.is_ascii_punctuation() => {
                cursor.at += 1;
                continue;
            }
            _ => return None,
        };
        if fields.len() == FIELDS_MAX {
            return None;
        }
        fields.push(Field { kind, text: std::mem::take(&mut cursor.text) });
    }
    Some(fields)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    text: String,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self) {
        if let Some(byte) = self.peek() {
            self.text.push(char::from(byte.to_ascii_lowercase()));
            self.at += 1;
        }
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&accept) {
            self.take();
        }
    }

    fn digits_first(&mut self) -> FieldKind {
        self.take_while(|c| c.is_ascii_digit());
        match self.peek() {
            Some(b':') => {
                self.take_while(|c| c.is_ascii_digit() || matches!(c, b':' | b'.'));
                FieldKind::Time
            }
            Some(delimiter @ (b'-' | b'/' | b'.')) => {
                self.take();
                if !self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    if delimiter == b'.' && !self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
                        return FieldKind::Number;
                    }
                    self.take_while(|c| c.is_ascii_alphanumeric() || c == delimiter);
                    return FieldKind::Date;
                }
                self.take_while(|c| c.is_ascii_digit());
                if self.peek() == Some(delimiter) {
                    self.take();
                    self.take_while(|c| c.is_ascii_digit() || c == delimiter);
                    return FieldKind::Date;
                }
                if delimiter == b'.' { FieldKind::Number } else { FieldKind::Date }
            }
            _ => FieldKind::Number,
        }
    }

    fn letters_first(&mut self) -> FieldKind {
        self.take_while(|c| c.is_ascii_alphabetic());
        let joined = match self.peek() {
            Some(b'-' | b'/' | b'.') => true,
            Some(c) => (c == b'+' || c.is_ascii_digit()) && !is_core_word(&self.text),
            None => false,
        };
        if !joined {
            return FieldKind::Word;
        }
        self.take_while(|c| matches!(c, b'+' | b'-' | b'/' | b'_' | b'.' | b':') || c.is_ascii_alphanumeric());
        FieldKind::Date
    }
}

/// Words after which a digit begins a field of its own.
fn is_core_word(word: &str) -> bool {
    month(word).is_some()
        || is_day_of_week(word)
        || matches!(
            word,
            "ad" | "am"
                | "at"
                | "bc"
                | "d"
                | "dow"
                | "doy"
                | "dst"
                | "epoch"
                | "h"
                | "infinity"
                | "isodow"
                | "isoyear"
                | "j"
                | "jd"
                | "julian"
                | "m"
                | "mm"
                | "now"
                | "on"
                | "pm"
                | "s"
                | "t"
                | "today"
                | "tomorrow"
                | "y"
                | "yesterday"
                | "allballs"
        )
}

/// The number of a month by its English name or abbreviation.
pub(crate) fn month(word: &str) -> Option<u32> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    if word == "sept" {
        return Some(9);
    }
    NAMES.iter().position(|name| *name == word || word.len() == 3 && name.starts_with(word)).map(|at| at as u32 + 1)
}

/// Whether a word names a day of the week, which input ignores.
pub(crate) fn is_day_of_week(word: &str) -> bool {
    matches!(
        word,
        "sun"
            | "sunday"
            | "mon"
            | "monday"
            | "tue"
            | "tues"
            | "tuesday"
            | "wed"
            | "weds"
            | "wednesday"
            | "thu"
            | "thur"
            | "thurs"
            | "thursday"
            | "fri"
            | "friday"
            | "sat"
            | "saturday"
    )
}

/// Seconds east of Greenwich of a zone abbreviation, of those that PostgreSQL knows by default.
pub(crate) fn abbreviation(word: &str) -> Option<i32> {
    let half_hours = match word {
        "z" | "zulu" | "utc" | "ut" | "uct" | "gmt" | "wet" => 0,
        "bst" | "cet" | "met" | "west" => 2,
        "cest" | "mest" | "cetdst" | "metdst" | "eet" | "sast" | "ist" => 4,
        "eest" | "eetdst" | "msk" | "idt" | "eat" => 6,
        "msd" | "get" | "gst" => 8,
        "irst" => 7,
        "pkt" | "uzt" | "yekt" | "tmt" | "mvt" => 10,
        "npt" => return Some(20_700),
        "bdt" | "almt" | "kgt" | "omst" => 12,
        "mmt" => 13,
        "ict" | "wib" | "novt" | "krat" => 14,
        "hkt" | "cst8" | "sgt" | "pht" | "awst" | "wita" | "myt" | "ulat" | "irkt" => 16,
        "jst" | "kst" | "wit" | "yakt" => 18,
        "acst" => 19,
        "aest" | "chst" | "vlat" | "pgt" => 20,
        "acdt" => 21,
        "aedt" | "lhdt" | "magt" => 22,
        "nzst" | "fjt" => 24,
        "nzdt" => 26,
        "azot" => -2,
        "art" | "brt" | "uyt" | "adt" | "gft" => -6,
        "ndt" => -5,
        "nst" => -7,
        "ast" | "edt" | "amt" | "clt" | "bot" | "vet" => -8,
        "est" | "cdt" | "pet" | "cot" => -10,
        "cst" | "mdt" | "galt" => -12,
        "mst" | "pdt" => -14,
        "pst" | "akdt" => -16,
        "akst" => -18,
        "hst" => -20,
        _ => return None,
    };
    Some(half_hours * 1_800)
}

#[cfg(test)]
mod tests {
    use super::*;
    use FieldKind::*;

    #[test]
    fn cutting() {
        for (text, expected) in [
            ("1999-01-08 04:05:06.789-8", vec![(Date, "1999-01-08"), (Time, "04:05:06.789"), (Zone, "-8")]),
            ("2024-01-01T12:00Z", vec![(Date, "2024-01-01"), (Word, "t"), (Time, "12:00"), (Word, "z")]),
            ("January 8, 1999", vec![(Word, "january"), (Number, "8"), (Number, "1999")]),
            ("8-Jan-1999", vec![(Date, "8-jan-1999")]),
            ("J2451187", vec![(Word, "j"), (Number, "2451187")]),
            ("12:00 Europe/Berlin", vec![(Time, "12:00"), (Date, "europe/berlin")]),
            ("- infinity", vec![(Special, "-infinity")]),
            ("@ 1.5 days ago", vec![(Number, "1.5"), (Word, "days"), (Word, "ago")]),
        ] {
            let fields = split(text).unwrap();
            let found: Vec<_> = fields.iter().map(|field| (field.kind, field.text.as_str())).collect();
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(split("1999-01-08 ä"), None);
        assert_eq!(split("+"), None);
    }
}
