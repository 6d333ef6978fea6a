//! Where values come from, and in which order they win: flag, environment, file, default.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::option::OptionSpec;
use super::table::OPTIONS;
use super::{Config, ConfigError};

/// Texts given on the command line or in the environment, by key.
pub type Texts = BTreeMap<String, String>;

/// Puts a configuration together: `flags` over `environment` over `file` over defaults. Does not yet [finish](Config::finish) it.
///
/// `environment` holds all variables of the process; those that do not start with `COLONNADE_` are left alone.
///
/// # Errors
/// The first unknown name or refused value, with its place.
pub fn load(flags: &Texts, environment: &Texts, file: Option<&Path>) -> Result<Config, ConfigError> {
    let mut config = Config::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("cannot read configuration file {}: {error}", path.display())))?;
        apply_file(&mut config, &text, &path.display().to_string())?;
    }
    for (name, text) in environment {
        let Some(key) = name.strip_prefix("COLONNADE_").map(str::to_ascii_lowercase) else { continue };
        // The file's own name is no option of the file.
        if key == "config" {
            continue;
        }
        let option = find(&key).ok_or_else(|| {
            let near = suggestion(&key).map(|key| format!("; did you mean `COLONNADE_{}`?", key.to_ascii_uppercase()));
            ConfigError(format!("unknown environment variable `{name}`{}", near.unwrap_or_default()))
        })?;
        option
            .apply(&mut config, text)
            .map_err(|error| ConfigError(format!("environment variable {name}: {error}")))?;
    }
    for (key, text) in flags {
        let option = find(key).ok_or_else(|| ConfigError(format!("unknown option `{key}`")))?;
        option.apply(&mut config, text).map_err(|error| ConfigError(format!("--{}: {error}", option.flag())))?;
    }
    Ok(config)
}

fn apply_file(config: &mut Config, text: &str, name: &str) -> Result<(), ConfigError> {
    let line_of = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
    let document = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        ConfigError(format!("{name}:{line}: {}", error.message()))
    })?;
    for (key, value) in document.get_ref() {
        let line = line_of(key.span().start);
        let at = |message: String| ConfigError(format!("{name}:{line}: {message}"));
        let key = key.get_ref().as_ref();
        let Some(option) = find(key) else {
            let near = suggestion(key).map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
            return Err(at(format!("unknown key `{key}`{near}")));
        };
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(truth) => truth.to_string(),
            _ => return Err(at(format!("`{key}` must be {}", option.range()))),
        };
        option.apply(config, &text).map_err(at)?;
    }
    Ok(())
}

fn find(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.key == key)
}

/// The known key that is most like `key`, if any is like it.
fn suggestion(key: &str) -> Option<&'static str> {
    OPTIONS
        .iter()
        .map(|option| (strsim::jaro_winkler(option.key, key), option.key))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> Texts {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn file(text: &str) -> Result<Config, ConfigError> {
        let mut config = Config::new();
        apply_file(&mut config, text, "colonnade.toml").map(|()| config)
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("colonnade.toml");
        std::fs::write(&path, "connections_max = 1\nthreads = 1\ndrain_timeout_ms = \"1s\"\n").unwrap();
        let environment = texts(&[("COLONNADE_CONNECTIONS_MAX", "2"), ("COLONNADE_THREADS", "2"), ("PATH", "/bin")]);
        let flags = texts(&[("connections_max", "3")]);
        let config = load(&flags, &environment, Some(&path)).unwrap();
        assert_eq!((config.connections_max, config.threads, config.drain_timeout_ms), (3, 2, 1000));
        assert_eq!(config.http_body_bytes_max, Config::new().http_body_bytes_max);
    }

    #[test]
    fn mistakes_are_named_with_their_line_and_a_suggestion() {
        for (text, message) in [
            (
                "# x\n\nconections_max = 3",
                "colonnade.toml:3: unknown key `conections_max`; did you mean `connections_max`?",
            ),
            ("flux = 3", "colonnade.toml:1: unknown key `flux`"),
            (
                "threads = 4\nconnections_max = 0",
                "colonnade.toml:2: `connections_max` must be a number from 1 to 100000, not `0`",
            ),
            ("log_format = \"xml\"", "colonnade.toml:1: `log_format` must be `text` or `json`, not `xml`"),
        ] {
            assert_eq!(file(text).unwrap_err().0, message);
        }
        assert!(file("a = \n").unwrap_err().0.starts_with("colonnade.toml:1: "));
        let error = load(&Texts::new(), &texts(&[("COLONNADE_TREADS", "2")]), None).unwrap_err();
        assert_eq!(error.0, "unknown environment variable `COLONNADE_TREADS`; did you mean `COLONNADE_THREADS`?");
        let error = load(&texts(&[("pg_listen", "nowhere")]), &Texts::new(), None).unwrap_err();
        assert_eq!(error.0, "--pg-listen: `pg_listen` must be `address:port` or `off`, not `nowhere`");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load(&Texts::new(), &Texts::new(), Some(Path::new("/nonexistent.toml"))).unwrap_err();
        assert!(error.0.starts_with("cannot read configuration file /nonexistent.toml"), "{error}");
    }
}
