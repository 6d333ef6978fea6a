//! Log lines on standard error, for people or as JSON.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Config, ConfigError, LogFormat};

/// Begins to write log lines. A second call in one process changes nothing.
///
/// # Errors
/// If `log_level` is no filter.
pub fn start(config: &Config) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(&config.log_level)
        .map_err(|error| ConfigError(format!("`log_level` is no filter: {error}")))?;
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(true);
    let result = match config.log_format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Fails only if a subscriber is there already, as in tests.
    let _ = result;
    Ok(())
}
