//! UUIDs: hyphens may stand after any group of four digits, braces around the whole.

use crate::error::ValueError;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Reads a UUID.
pub(crate) fn parse(text: &str) -> Result<[u8; 16], ValueError> {
    parse_bytes(text.as_bytes()).ok_or_else(|| ValueError::syntax("uuid", text))
}

fn parse_bytes(text: &[u8]) -> Option<[u8; 16]> {
    let text = match text {
        [b'{', inner @ .., b'}'] => inner,
        other => other,
    };
    let mut out = [0; 16];
    let mut at = 0;
    for (index, byte) in out.iter_mut().enumerate() {
        let pair = text.get(at..at + 2)?;
        let digit = |c: u8| char::from(c).to_digit(16).map(|value| value as u8);
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        at += 2;
        if index % 2 == 1 && index < 15 && text.get(at) == Some(&b'-') {
            at += 1;
        }
    }
    (at == text.len()).then_some(out)
}

/// Appends a UUID in its standard form.
pub(crate) fn write(out: &mut Vec<u8>, value: &[u8]) {
    for (index, byte) in value.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_spellings() {
        let standard = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in [
            standard,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            let mut out = Vec::new();
            write(&mut out, &parse(text).unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), standard);
        }
        for text in ["", "a0eebc99", "{a0eebc999c0b4ef8bb6d6bb9bd380a11", "g0eebc999c0b4ef8bb6d6bb9bd380a11", " "] {
            assert_eq!(parse(text).unwrap_err().message, format!("invalid input syntax for type uuid: \"{text}\""));
        }
    }
}
