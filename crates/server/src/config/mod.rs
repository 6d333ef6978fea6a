//! What the operator may choose: one table of options, read from flags, environment, file and defaults.
//!
//! ```text
//! --tail-rows-max 4096  >  COLONNADE_TAIL_ROWS_MAX=4096  >  tail_rows_max = 4096 (colonnade.toml)  >  default
//! ```
//!
//! - [`option`]: what an option is, and how its text becomes a value.
//! - [`table`]: the visible list of all options.
//! - [`sources`]: where values come from, and in which order they win.
//! - [`mod@reference`]: the reference page and the sample file, made from the table.
//! - [`machine`]: what the machine offers, for defaults that depend on it.
//!
//! Invariants: every option has a flag, a variable and a key that differ only in spelling; every value is checked against its
//! range, wherever it came from; an unknown name is an error that names its place.

pub mod machine;
pub mod option;
pub mod reference;
pub mod sources;
pub mod table;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::PathBuf;

use colonnade_execution::EngineOptions;
use colonnade_storage::StorageOptions;

/// Everything a process is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the database.
    pub data_dir: PathBuf,
    /// Address of the PostgreSQL protocol; `None` is off.
    pub pg_listen: Option<SocketAddr>,
    /// Address of HTTP; `None` is off.
    pub http_listen: Option<SocketAddr>,
    /// The password all clients must know; `None` trusts loopback.
    pub password: Option<Secret>,
    /// File that holds the password.
    pub password_file: Option<PathBuf>,
    /// Most PostgreSQL connections at a time.
    pub connections_max: usize,
    /// Milliseconds that running statements are given when the process is told to end.
    pub drain_timeout_ms: u64,
    /// Milliseconds within which a client must have authenticated.
    pub authentication_timeout_ms: u64,
    /// Threads that run statements.
    pub threads: usize,
    /// Filter of log lines, in the syntax of `tracing`.
    pub log_level: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Largest message of the PostgreSQL protocol, in bytes.
    pub message_bytes_max: usize,
    /// Largest HTTP request, in bytes.
    pub http_body_bytes_max: usize,
    /// Largest buffered JSON result, in bytes.
    pub http_result_bytes_max: usize,
    /// Bytes that all running statements together may hold.
    pub query_memory_bytes: usize,
    /// Directory of spilled data; `None` is `tmp` in the data directory.
    pub temp_dir: Option<PathBuf>,
    /// Scale of the demo's data.
    pub scale: f64,
    /// What storage is opened with.
    pub storage: StorageOptions,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A text that debug output does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Why a configuration was refused: one clear line, with the place of the mistake.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// The configuration of a process that was told nothing.
    #[must_use]
    pub fn new() -> Config {
        let mut config = Config {
            data_dir: PathBuf::new(),
            pg_listen: None,
            http_listen: None,
            password: None,
            password_file: None,
            connections_max: 0,
            drain_timeout_ms: 0,
            authentication_timeout_ms: 0,
            threads: 0,
            log_level: String::new(),
            log_format: LogFormat::Text,
            message_bytes_max: 0,
            http_body_bytes_max: 0,
            http_result_bytes_max: 0,
            query_memory_bytes: 0,
            temp_dir: None,
            scale: 0.0,
            storage: StorageOptions::default(),
        };
        for option in table::OPTIONS {
            // A test sets every default through the same door as a user's value.
            let _ = option.apply(&mut config, option.default);
        }
        config
    }

    /// What execution is started with.
    #[must_use]
    pub fn engine(&self) -> EngineOptions {
        EngineOptions {
            query_memory_bytes: self.query_memory_bytes,
            temp_dir: self.spill_dir(),
            threads: self.threads,
            ..EngineOptions::default()
        }
    }

    /// Directory that belongs to this database's spilled data alone, so that it may be emptied.
    fn spill_dir(&self) -> PathBuf {
        match &self.temp_dir {
            None => self.data_dir.join("tmp"),
            Some(shared) => {
                let data_dir = std::path::absolute(&self.data_dir).unwrap_or_else(|_| self.data_dir.clone());
                let mut hasher = DefaultHasher::new();
                data_dir.hash(&mut hasher);
                shared.join(format!("colonnade-{:016x}", hasher.finish()))
            }
        }
    }

    /// Reads the password file, and refuses addresses that others can reach while there is no password.
    ///
    /// # Errors
    /// An unreadable or empty password file; an address beyond loopback without a password; no address at all.
    pub fn finish(mut self) -> Result<Config, ConfigError> {
        if let Some(path) = &self.password_file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError(format!("cannot read password file {}: {error}", path.display())))?;
            self.password = Some(Secret(text.trim_end_matches(['\r', '\n']).to_owned()));
        }
        if self.password.as_ref().is_some_and(|password| password.0.is_empty()) {
            return Err(ConfigError("the password is empty".to_owned()));
        }
        if self.pg_listen.is_none() && self.http_listen.is_none() {
            return Err(ConfigError("pg_listen and http_listen are both off: nothing to serve".to_owned()));
        }
        for (key, address) in [("pg_listen", self.pg_listen), ("http_listen", self.http_listen)] {
            let Some(address) = address else { continue };
            if !address.ip().is_loopback() && self.password.is_none() {
                return Err(ConfigError(format!(
                    "{key} {address} can be reached from other machines, so a password is required: set COLONNADE_PASSWORD \
                     or --password-file, or listen on 127.0.0.1"
                )));
            }
        }
        Ok(self)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_everyone_needs_a_password() {
        let mut config = Config::new();
        config.http_listen = Some("0.0.0.0:8080".parse().unwrap());
        let error = config.clone().finish().unwrap_err();
        assert!(error.0.contains("a password is required"), "{error}");
        config.password = Some(Secret("x".to_owned()));
        assert!(config.finish().is_ok());
    }

    #[test]
    fn a_password_file_is_read_without_its_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "open sesame\n").unwrap();
        let mut config = Config::new();
        config.password_file = Some(path.clone());
        assert_eq!(config.clone().finish().unwrap().password, Some(Secret("open sesame".to_owned())));
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(config.finish().unwrap_err().0, "the password is empty");
    }

    #[test]
    fn a_shared_directory_of_temporary_files_is_not_emptied_itself() {
        let config = Config { temp_dir: Some(PathBuf::from("/tmp")), ..Config::new() };
        let spill = config.engine().temp_dir;
        assert_eq!(spill.parent(), Some(std::path::Path::new("/tmp")));
        let other = Config { data_dir: PathBuf::from("elsewhere"), ..config };
        assert_ne!(other.engine().temp_dir, spill);
    }

    #[test]
    fn secrets_do_not_reach_logs() {
        let config = Config { password: Some(Secret("hunter2".to_owned())), ..Config::new() };
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
