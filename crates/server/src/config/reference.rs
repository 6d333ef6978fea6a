//! The reference page and the sample file, made from the table of options.

use std::fmt::Write;

use super::table::OPTIONS;

/// The page `docs/configuration.md`.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         This page is made by `colonnade config --markdown`; a test fails when it is out of date.\n\n\
         Every option has a flag (`--tail-rows-max`), an environment variable (`COLONNADE_TAIL_ROWS_MAX`) and a key in the TOML file\n\
         that `--config FILE` (or `COLONNADE_CONFIG`) names (`tail_rows_max`). A flag wins over the variable, the variable over the file,\n\
         the file over the default. An unknown name, and a value out of range, end the start with an error that says where. All options are\n\
         read at start. What a session may change while it runs is changed with `SET`. `colonnade config` prints a file to start from.\n",
    );
    let mut section = "";
    for option in OPTIONS {
        if option.section != section {
            section = option.section;
            let _ = write!(page, "\n## {section}\n");
        }
        let default = if option.default.is_empty() { "none".to_owned() } else { format!("`{}`", option.default) };
        let _ = write!(
            page,
            "\n### `{}`\n\n{}\n\n- flag {}, variable `{}`\n- {}; {}\n- default {}\n",
            option.key,
            option.about,
            if option.secret { "none (others could read it)".to_owned() } else { format!("`--{}`", option.flag()) },
            option.variable(),
            option.unit(),
            option.range(),
            default,
        );
    }
    page
}

/// A configuration file with every option at its default, commented out.
#[must_use]
pub fn sample() -> String {
    let mut sample =
        String::from("# Configuration of Colonnade. Every line that is commented out shows the default.\n");
    let mut section = "";
    for option in OPTIONS {
        if option.section != section {
            section = option.section;
            let _ = write!(sample, "\n# ---- {section} ----\n");
        }
        let quote = if option.is_bare() { "" } else { "\"" };
        let _ = write!(
            sample,
            "\n# {}\n# Allowed: {}.\n# {} = {quote}{}{quote}\n",
            option.about.replace('\n', "\n# "),
            option.range(),
            option.key,
            option.default
        );
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, sources};

    #[test]
    fn the_page_in_the_repository_is_this_page() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == page(),
            "docs/configuration.md is out of date: colonnade config --markdown > docs/configuration.md"
        );
    }

    #[test]
    fn the_sample_is_a_valid_file_also_without_its_comment_signs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sample.toml");
        let live: String = sample()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.split(" = ").next().is_some_and(|key| OPTIONS.iter().any(|o| o.key == key)) => rest,
                _ => line,
            })
            .fold(String::new(), |text, line| text + line + "\n");
        for text in [sample(), live] {
            std::fs::write(&path, text).unwrap();
            let config = sources::load(&sources::Texts::new(), &sources::Texts::new(), Some(&path)).unwrap();
            assert_eq!(config.connections_max, Config::new().connections_max);
        }
    }
}
