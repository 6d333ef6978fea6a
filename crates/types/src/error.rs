//! Why a value was refused: PostgreSQL's SQLSTATE, message and detail.

use crate::sql_state::SqlState;

/// A value that its type does not take, in PostgreSQL's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// The error class.
    pub sql_state: SqlState,
    /// The primary message, lowercase, without a full stop.
    pub message: String,
    /// A sentence more, where PostgreSQL gives one.
    pub detail: Option<String>,
}

impl ValueError {
    /// An error without detail.
    #[must_use]
    pub fn new(sql_state: SqlState, message: impl Into<String>) -> ValueError {
        ValueError { sql_state, message: message.into(), detail: None }
    }

    /// The same error with a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> ValueError {
        self.detail = Some(detail.into());
        self
    }

    /// `invalid input syntax for type integer: "abc"`, 22P02.
    #[must_use]
    pub fn syntax(type_name: &str, input: &str) -> ValueError {
        ValueError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type {type_name}: \"{input}\""),
        )
    }

    /// `invalid input syntax for type date: "x"`, 22007.
    #[must_use]
    pub fn date_time_syntax(type_name: &str, input: &str) -> ValueError {
        ValueError::new(
            SqlState::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type {type_name}: \"{input}\""),
        )
    }

    /// `date/time field value out of range: "..."`, 22008.
    #[must_use]
    pub fn date_time_field(input: &str) -> ValueError {
        ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{input}\""))
    }

    /// `value "99999" is out of range for type smallint`, 22003.
    #[must_use]
    pub fn out_of_range(type_name: &str, input: &str) -> ValueError {
        ValueError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value \"{input}\" is out of range for type {type_name}"),
        )
    }

    /// `integer out of range`, 22003: a number that does not fit the type it is converted to.
    #[must_use]
    pub fn number_range(type_name: &str) -> ValueError {
        ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{type_name} out of range"))
    }

    /// `date out of range`, `timestamp out of range`, `interval out of range`, 22008.
    #[must_use]
    pub fn date_time_range(what: &str) -> ValueError {
        ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("{what} out of range"))
    }

    /// `value too long for type character varying(3)`, 22001.
    #[must_use]
    pub fn too_long(type_name: &dyn std::fmt::Display) -> ValueError {
        ValueError::new(SqlState::STRING_DATA_RIGHT_TRUNCATION, format!("value too long for type {type_name}"))
    }

    /// The binary form has the wrong length or impossible contents, 22P03.
    #[must_use]
    pub fn binary() -> ValueError {
        ValueError::new(SqlState::INVALID_BINARY_REPRESENTATION, "incorrect binary data format")
    }

    /// `cannot cast type date to integer`, 42846.
    #[must_use]
    pub fn cannot_cast(from: &str, to: &str) -> ValueError {
        ValueError::new(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}"))
    }

    /// An Arrow array that is not what its SQL type says; our mistake, never the client's.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> ValueError {
        ValueError::new(SqlState::INTERNAL_ERROR, message)
    }
}

/// Takes client bytes as UTF-8 text without NUL bytes, or says what PostgreSQL says.
pub fn text_from_bytes(bytes: &[u8]) -> Result<&str, ValueError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => check_nul(text),
        Err(error) => {
            let start = error.valid_up_to();
            let length = sequence_length(bytes[start]).min(bytes.len() - start);
            Err(invalid_sequence(&bytes[start..start + length]))
        }
    }
}

/// Refuses text with a NUL byte, which no PostgreSQL string can hold.
pub(crate) fn check_nul(text: &str) -> Result<&str, ValueError> {
    if text.as_bytes().contains(&0) { Err(invalid_sequence(&[0])) } else { Ok(text) }
}

fn invalid_sequence(bytes: &[u8]) -> ValueError {
    let shown: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
    ValueError::new(
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
    )
}

/// Bytes that PostgreSQL would take for one character, by its first byte.
fn sequence_length(first: u8) -> usize {
    match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_bytes_are_shown_as_postgresql_shows_them() {
        for (bytes, shown) in
            [(&b"a\xff"[..], "0xff"), (b"a\xc3", "0xc3"), (b"\xe2\x28\xa1z", "0xe2 0x28 0xa1"), (b"a\0b", "0x00")]
        {
            let error = text_from_bytes(bytes).unwrap_err();
            assert_eq!(error.sql_state, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
            assert_eq!(error.message, format!("invalid byte sequence for encoding \"UTF8\": {shown}"));
        }
        assert_eq!(text_from_bytes("ä".as_bytes()), Ok("ä"));
    }
}
