//! `t` and `f`.

/// Reads a boolean as PostgreSQL does: any unique prefix of true, false, yes, no, on, off, and 1 or 0.
#[must_use]
pub fn parse_boolean(text: &str) -> Option<bool> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let is_prefix_of = |word: &str| {
        !text.is_empty()
            && word.len() >= text.len()
            && word.as_bytes()[..text.len()].eq_ignore_ascii_case(text.as_bytes())
    };
    if is_prefix_of("true") || is_prefix_of("yes") || text.eq_ignore_ascii_case("on") || text == "1" {
        Some(true)
    } else if is_prefix_of("false") || is_prefix_of("no") || text.len() >= 2 && is_prefix_of("off") || text == "0" {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::parse_boolean;

    #[test]
    fn unique_prefixes() {
        for text in ["t", "TRUE", "tr", "y", "Yes", "on", "1", "  true "] {
            assert_eq!(parse_boolean(text), Some(true), "{text}");
        }
        for text in ["f", "fals", "n", "NO", "of", "off", "0", "\tf\n"] {
            assert_eq!(parse_boolean(text), Some(false), "{text}");
        }
        for text in ["", " ", "o", "tru e", "truex", "2", "01", "ä"] {
            assert_eq!(parse_boolean(text), None, "{text}");
        }
    }
}
