//! Errors and notices as messages.

use colonnade_execution::{Error, Notice};

use super::output::{Output, put_text};

/// Longest text of one field, in bytes; clients cut or refuse longer messages.
const FIELD_BYTES_MAX: usize = 16 << 10;

impl Output {
    /// ErrorResponse.
    pub(super) fn error(&mut self, error: &Error) {
        self.body(b'E', |out| {
            field(out, b'S', error.severity.as_str());
            field(out, b'V', error.severity.as_str());
            field(out, b'C', error.sql_state.code());
            field(out, b'M', &error.message);
            optional(out, b'D', error.detail.as_deref());
            optional(out, b'H', error.hint.as_deref());
            optional(out, b'P', error.position.map(|position| position.to_string()).as_deref());
            optional(out, b'W', error.context.as_deref());
            optional(out, b's', error.schema.as_deref());
            optional(out, b't', error.table.as_deref());
            optional(out, b'c', error.column.as_deref());
            optional(out, b'n', error.constraint.as_deref());
            out.push(0);
        });
    }

    /// NoticeResponse.
    pub(super) fn notice(&mut self, notice: &Notice) {
        self.body(b'N', |out| {
            field(out, b'S', notice.severity.as_str());
            field(out, b'V', notice.severity.as_str());
            field(out, b'C', notice.sql_state.code());
            field(out, b'M', &notice.message);
            optional(out, b'D', notice.detail.as_deref());
            optional(out, b'H', notice.hint.as_deref());
            out.push(0);
        });
    }
}

fn optional(out: &mut Vec<u8>, kind: u8, text: Option<&str>) {
    if let Some(text) = text {
        field(out, kind, text);
    }
}

fn field(out: &mut Vec<u8>, kind: u8, text: &str) {
    out.push(kind);
    put_text(out, &text[..text.floor_char_boundary(FIELD_BYTES_MAX)]);
}
