//! The settings of a session: SET, SHOW, RESET.
//!
//! A table lists every known setting with its default and its rule. Values are kept as text, as SHOW prints them; what statements need
//! often is also kept parsed. SET is transactional: [`Settings`] is a value that the session copies at the start of a transaction and puts back on rollback.
//!
//! Invariant: every value in [`Settings`] has passed its rule, so the parsed forms never fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use colonnade_types::{ByteaOutput, DateStyle, DisplaySettings, IntervalStyle, SqlState, TimeZone};

use crate::error::{Error, Result};
use crate::names::{quote_identifier, split_identifiers};
use crate::statement::IsolationLevel;

/// The version that `server_version` shows; tools decide by its major number.
pub const SERVER_VERSION: &str = "16.9 (Colonnade 0.1.0)";

/// How a value is checked.
#[derive(Clone, Copy)]
enum Rule {
    Bool,
    /// Number within bounds.
    Integer(i64, i64),
    /// Number with a unit, kept in milliseconds.
    Milliseconds,
    /// Number of kilobytes with a unit.
    Kilobytes,
    /// One of these words.
    Words(&'static [&'static str]),
    Text,
    /// Takes only this value, whatever else is asked.
    Encoding,
    DateStyle,
    IntervalStyle,
    TimeZone,
    SearchPath,
    /// Cannot be changed.
    ReadOnly,
}

/// A known setting.
struct Known {
    name: &'static str,
    default: &'static str,
    rule: Rule,
    /// Whether clients are told of changes (ParameterStatus).
    reported: bool,
    description: &'static str,
}

const fn known(name: &'static str, default: &'static str, rule: Rule, description: &'static str) -> Known {
    Known { name, default, rule, reported: false, description }
}

const fn reported(name: &'static str, default: &'static str, rule: Rule, description: &'static str) -> Known {
    Known { name, default, rule, reported: true, description }
}

const ISOLATION: &[&str] = &["read uncommitted", "read committed", "repeatable read", "serializable"];
const LEVELS: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "info", "warning", "error"];
const ON_OFF: &[&str] = &["on", "off", "local", "remote_write", "remote_apply", "true", "false", "yes", "no", "1", "0"];

/// Sorted as SHOW ALL shows them, letter case aside.
static KNOWN: &[Known] = &[
    reported("application_name", "", Rule::Text, "Sets the application name to be reported in statistics and logs."),
    known("backslash_quote", "safe_encoding", Rule::Text, "Sets whether \"\\'\" is allowed in string literals."),
    known("bytea_output", "hex", Rule::Words(&["hex", "escape"]), "Sets the output format for bytea."),
    known("check_function_bodies", "on", Rule::Bool, "Check routine bodies during CREATE FUNCTION."),
    reported("client_encoding", "UTF8", Rule::Encoding, "Sets the client's character set encoding."),
    known("client_min_messages", "notice", Rule::Words(LEVELS), "Sets the message levels that are sent to the client."),
    known(
        "colonnade.force_path",
        "auto",
        Rule::Words(&["auto", "row", "column"]),
        "Forces statements on tables to find their row by its key (row) or to scan (column).",
    ),
    reported("DateStyle", "ISO, MDY", Rule::DateStyle, "Sets the display format for date and time values."),
    reported(
        "default_transaction_isolation",
        "read committed",
        Rule::Words(ISOLATION),
        "Sets the transaction isolation level of each new transaction.",
    ),
    reported(
        "default_transaction_read_only",
        "off",
        Rule::Bool,
        "Sets the default read-only status of new transactions.",
    ),
    known(
        "default_transaction_deferrable",
        "off",
        Rule::Bool,
        "Sets the default deferrable status of new transactions.",
    ),
    known("default_table_access_method", "heap", Rule::Text, "Sets the default table access method for new tables."),
    known("default_tablespace", "", Rule::Text, "Sets the default tablespace to create tables and indexes in."),
    known(
        "default_toast_compression",
        "pglz",
        Rule::Text,
        "Sets the default compression method for compressible values.",
    ),
    known("enable_seqscan", "on", Rule::Bool, "Enables the planner's use of sequential-scan plans."),
    known("escape_string_warning", "on", Rule::Bool, "Warn about backslash escapes in ordinary string literals."),
    known(
        "extra_float_digits",
        "1",
        Rule::Integer(-15, 3),
        "Sets the number of digits displayed for floating-point values.",
    ),
    known(
        "idle_in_transaction_session_timeout",
        "0",
        Rule::Milliseconds,
        "Sets the maximum allowed idle time between queries, when in a transaction.",
    ),
    known(
        "idle_session_timeout",
        "0",
        Rule::Milliseconds,
        "Sets the maximum allowed idle time between queries, when not in a transaction.",
    ),
    reported("in_hot_standby", "off", Rule::ReadOnly, "Shows whether hot standby is currently active."),
    reported("integer_datetimes", "on", Rule::ReadOnly, "Shows whether datetimes are integer based."),
    reported("IntervalStyle", "postgres", Rule::IntervalStyle, "Sets the display format for interval values."),
    reported("is_superuser", "on", Rule::ReadOnly, "Shows whether the current user is a superuser."),
    known("jit", "off", Rule::Bool, "Allow JIT compilation."),
    known("lc_collate", "C", Rule::ReadOnly, "Shows the collation order locale."),
    known("lc_ctype", "C", Rule::ReadOnly, "Shows the character classification and case conversion locale."),
    known("lc_messages", "C", Rule::Text, "Sets the language in which messages are displayed."),
    known("lc_monetary", "C", Rule::Text, "Sets the locale for formatting monetary amounts."),
    known("lc_numeric", "C", Rule::Text, "Sets the locale for formatting numbers."),
    known("lc_time", "C", Rule::Text, "Sets the locale for formatting date and time values."),
    known("lock_timeout", "0", Rule::Milliseconds, "Sets the maximum allowed duration of any wait for a lock."),
    known(
        "maintenance_work_mem",
        "65536",
        Rule::Kilobytes,
        "Sets the maximum memory to be used for maintenance operations.",
    ),
    known("max_identifier_length", "63", Rule::ReadOnly, "Shows the maximum identifier length."),
    known("max_index_keys", "32", Rule::ReadOnly, "Shows the maximum number of index keys."),
    known(
        "max_parallel_workers_per_gather",
        "2",
        Rule::Integer(0, 1024),
        "Sets the maximum number of parallel processes per executor node.",
    ),
    known("quote_all_identifiers", "off", Rule::Bool, "When generating SQL fragments, quote all identifiers."),
    known("row_security", "on", Rule::Bool, "Enable row security."),
    reported(
        "scram_iterations",
        "4096",
        Rule::Integer(1, 2_147_483_647),
        "Sets the iteration count for SCRAM secret generation.",
    ),
    known(
        "search_path",
        "\"$user\", public",
        Rule::SearchPath,
        "Sets the schema search order for names that are not schema-qualified.",
    ),
    reported("server_encoding", "UTF8", Rule::ReadOnly, "Shows the server (database) character set encoding."),
    reported("server_version", SERVER_VERSION, Rule::ReadOnly, "Shows the server version."),
    known("server_version_num", "160009", Rule::ReadOnly, "Shows the server version as an integer."),
    reported("session_authorization", "colonnade", Rule::ReadOnly, "Sets the current session's user name."),
    reported(
        "standard_conforming_strings",
        "on",
        Rule::Words(&["on", "true", "yes", "1"]),
        "Causes '...' strings to treat backslashes literally.",
    ),
    known("statement_timeout", "0", Rule::Milliseconds, "Sets the maximum allowed duration of any statement."),
    known("synchronize_seqscans", "on", Rule::Bool, "Enable synchronized sequential scans."),
    known(
        "synchronous_commit",
        "on",
        Rule::Words(ON_OFF),
        "Sets the current transaction's synchronization level; commits are always durable here.",
    ),
    known("tcp_keepalives_idle", "0", Rule::Integer(0, 2_147_483_647), "Time between issuing TCP keepalives."),
    reported("TimeZone", "UTC", Rule::TimeZone, "Sets the time zone for displaying and interpreting time stamps."),
    known("transaction_deferrable", "off", Rule::Bool, "Whether to defer a read-only serializable transaction."),
    known(
        "transaction_isolation",
        "read committed",
        Rule::Words(ISOLATION),
        "Sets the current transaction's isolation level.",
    ),
    known("transaction_read_only", "off", Rule::Bool, "Sets the current transaction's read-only status."),
    known("transaction_timeout", "0", Rule::Milliseconds, "Sets the maximum allowed duration of any transaction."),
    known(
        "transform_null_equals",
        "off",
        Rule::Words(&["off", "false", "no", "0"]),
        "Treats \"expr=NULL\" as \"expr IS NULL\".",
    ),
    known("work_mem", "4096", Rule::Kilobytes, "Sets the maximum memory to be used for query workspaces."),
    known(
        "xmloption",
        "content",
        Rule::Text,
        "Sets whether XML data is to be considered as documents or content fragments.",
    ),
];

/// One line of SHOW ALL.
#[derive(Clone, Debug)]
pub struct SettingEntry {
    /// The setting's name in its usual spelling.
    pub name: String,
    /// Its value as SHOW prints it.
    pub value: String,
    /// One sentence.
    pub description: String,
    /// The value that RESET gives.
    pub reset_value: String,
    /// `bool`, `integer`, `enum` or `string`, as `pg_settings.vartype`.
    pub kind: &'static str,
}

/// Which way statements find their rows (`colonnade.force_path`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForcePath {
    /// The cheapest.
    Auto,
    /// One row by its key, without a scan; what cannot be done so is refused.
    Row,
    /// By scans.
    Column,
}

/// All settings of a session at one moment. Cheap to clone: copies share what they have not changed, because every transaction keeps two.
#[derive(Clone, Debug)]
pub struct Settings {
    body: Arc<Body>,
    /// The running transaction's isolation level and whether it is read-only, which stand for settings of their own.
    transaction: Option<(IsolationLevel, bool)>,
}

#[derive(Clone, Debug)]
struct Body {
    /// Values that differ from the defaults, by name in lower case.
    values: BTreeMap<String, String>,
    /// What RESET gives: defaults overridden when the session started.
    resets: Arc<BTreeMap<String, String>>,
    user: Arc<str>,
    display: DisplaySettings,
    search_path: Arc<Vec<String>>,
    statement_timeout: Option<Duration>,
    lock_timeout: Option<Duration>,
    idle_in_transaction_session_timeout: Option<Duration>,
    idle_session_timeout: Option<Duration>,
    default_isolation: IsolationLevel,
    default_read_only: bool,
    force_path: ForcePath,
}

impl Settings {
    /// The defaults, for a session of `user`.
    #[must_use]
    pub fn new(user: &str) -> Settings {
        let body = Body {
            values: BTreeMap::new(),
            resets: Arc::new(BTreeMap::from([("session_authorization".to_owned(), user.to_owned())])),
            user: user.into(),
            display: DisplaySettings::default(),
            search_path: Arc::default(),
            statement_timeout: None,
            lock_timeout: None,
            idle_in_transaction_session_timeout: None,
            idle_session_timeout: None,
            default_isolation: IsolationLevel::ReadCommitted,
            default_read_only: false,
            force_path: ForcePath::Auto,
        };
        let mut settings = Settings { body: Arc::new(body), transaction: None };
        settings.refresh();
        settings
    }

    fn body(&mut self) -> &mut Body {
        Arc::make_mut(&mut self.body)
    }

    /// Makes the present values those that RESET gives; called once, when the session has started.
    pub(crate) fn seal(&mut self) {
        let body = self.body();
        let mut resets = (*body.resets).clone();
        resets.append(&mut body.values);
        body.resets = Arc::new(resets);
    }

    /// Whether nothing has been set since one was copied from the other, the running transaction's modes aside. One-sided: `false` may
    /// still mean equal values.
    pub(crate) fn same(&self, other: &Settings) -> bool {
        Arc::ptr_eq(&self.body, &other.body)
    }

    /// A setting's value as SHOW prints it.
    ///
    /// # Errors
    /// 42704 if there is no such setting.
    pub fn get(&self, name: &str) -> Result<String> {
        let key = canonical(name);
        match find(&key) {
            Some(known) => Ok(show(known.rule, self.raw(&key).unwrap_or(known.default))),
            None => self.raw(&key).map(str::to_owned).ok_or_else(|| unrecognized(name)),
        }
    }

    /// A setting's name as it is usually spelled, such as `TimeZone`.
    #[must_use]
    pub fn spelling(&self, name: &str) -> String {
        let key = canonical(name);
        find(&key).map_or(key, |known| known.name.to_owned())
    }

    fn raw(&self, key: &str) -> Option<&str> {
        if let Some((isolation, read_only)) = self.transaction {
            match key {
                "transaction_isolation" => return Some(isolation.as_str()),
                "transaction_read_only" => return Some(if read_only { "on" } else { "off" }),
                _ => {}
            }
        }
        self.body.values.get(key).or_else(|| self.body.resets.get(key)).map(String::as_str)
    }

    /// Sets a value given as a list of words; `None` is DEFAULT. Returns the name's usual spelling.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a refused value, 55P02 for what cannot be changed.
    pub fn set(&mut self, name: &str, values: Option<&[String]>) -> Result<String> {
        let key = canonical(name);
        let Some(values) = values else { return self.reset(name) };
        let Some(known) = find(&key) else {
            if !key.contains('.') || key.starts_with("colonnade.") {
                return Err(unrecognized(name));
            }
            self.body().values.insert(key.clone(), values.join(", "));
            return Ok(key);
        };
        let value = check(known, values, &self.body.display)?;
        self.body().values.insert(key, value);
        self.refresh();
        Ok(known.name.to_owned())
    }

    /// Puts a setting back to what it was when the session started.
    ///
    /// # Errors
    /// 42704 for an unknown name.
    pub fn reset(&mut self, name: &str) -> Result<String> {
        let key = canonical(name);
        let known = find(&key);
        if known.is_none() && !key.contains('.') {
            return Err(unrecognized(name));
        }
        if let Some(Known { rule: Rule::ReadOnly, name, .. }) = known {
            return Err(cannot_change(name));
        }
        self.body().values.remove(&key);
        self.refresh();
        Ok(known.map_or(key, |known| known.name.to_owned()))
    }

    /// RESET ALL.
    pub fn reset_all(&mut self) {
        self.body().values.clear();
        self.refresh();
    }

    /// Everything that SHOW ALL and `pg_settings` show, in order.
    #[must_use]
    pub fn all(&self) -> Vec<SettingEntry> {
        let entry = |known: &Known| {
            let key = known.name.to_ascii_lowercase();
            SettingEntry {
                name: known.name.to_owned(),
                value: show(known.rule, self.raw(&key).unwrap_or(known.default)),
                description: known.description.to_owned(),
                reset_value: self.body.resets.get(&key).map_or(known.default, String::as_str).to_owned(),
                kind: match known.rule {
                    Rule::Bool => "bool",
                    Rule::Integer(..) | Rule::Milliseconds | Rule::Kilobytes => "integer",
                    Rule::Words(_) | Rule::IntervalStyle => "enum",
                    _ => "string",
                },
            }
        };
        KNOWN.iter().map(entry).collect()
    }

    /// Settings of which clients are told, with their values.
    #[must_use]
    pub fn reported(&self) -> Vec<(String, String)> {
        KNOWN
            .iter()
            .filter(|known| known.reported)
            .map(|known| {
                let key = known.name.to_ascii_lowercase();
                (known.name.to_owned(), show(known.rule, self.raw(&key).unwrap_or(known.default)))
            })
            .collect()
    }

    /// How values are read and printed.
    #[must_use]
    pub fn display(&self) -> &DisplaySettings {
        &self.body.display
    }

    /// The search path with `"$user"` put in place.
    #[must_use]
    pub fn search_path(&self) -> &Arc<Vec<String>> {
        &self.body.search_path
    }

    /// `statement_timeout`; `None` is no limit.
    #[must_use]
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.body.statement_timeout
    }

    /// `lock_timeout`; `None` is no limit.
    #[must_use]
    pub fn lock_timeout(&self) -> Option<Duration> {
        self.body.lock_timeout
    }

    /// `idle_in_transaction_session_timeout`; `None` is no limit.
    #[must_use]
    pub fn idle_in_transaction_session_timeout(&self) -> Option<Duration> {
        self.body.idle_in_transaction_session_timeout
    }

    /// `idle_session_timeout`; `None` is no limit.
    #[must_use]
    pub fn idle_session_timeout(&self) -> Option<Duration> {
        self.body.idle_session_timeout
    }

    /// `default_transaction_isolation`.
    pub(crate) fn default_isolation(&self) -> IsolationLevel {
        self.body.default_isolation
    }

    /// `default_transaction_read_only`.
    pub(crate) fn default_read_only(&self) -> bool {
        self.body.default_read_only
    }

    /// `colonnade.force_path`.
    pub(crate) fn force_path(&self) -> ForcePath {
        self.body.force_path
    }

    /// Shows a running transaction's modes as settings; `None` shows none.
    pub(crate) fn set_transaction(&mut self, modes: Option<(IsolationLevel, bool)>) {
        self.transaction = modes;
    }

    fn refresh(&mut self) {
        let text = |name: &str| self.get(name).unwrap_or_default();
        let milliseconds = |name: &str| {
            let key = name.to_owned();
            let raw: u64 = self.raw(&key).and_then(|value| value.parse().ok()).unwrap_or(0);
            (raw > 0).then(|| Duration::from_millis(raw))
        };
        let display = DisplaySettings {
            time_zone: TimeZone::parse(&text("timezone")).unwrap_or(TimeZone::UTC),
            date_style: DateStyle::parse(&text("datestyle"), DateStyle::default()).unwrap_or_default(),
            interval_style: IntervalStyle::parse(&text("intervalstyle")).unwrap_or_default(),
            extra_float_digits: text("extra_float_digits").parse().unwrap_or(1),
            bytea_output: if text("bytea_output") == "escape" { ByteaOutput::Escape } else { ByteaOutput::Hex },
            ..DisplaySettings::default()
        };
        let path = split_identifiers(&text("search_path"), ',').unwrap_or_default();
        // The schema `colonnade` is the system's, not the home of the role of the same name.
        let home = (&*self.body.user != "colonnade").then(|| self.body.user.to_string());
        let path =
            path.into_iter().filter_map(|name| if name == "$user" { home.clone() } else { Some(name) }).collect();
        let (statement_timeout, lock_timeout) = (milliseconds("statement_timeout"), milliseconds("lock_timeout"));
        let idle = (milliseconds("idle_in_transaction_session_timeout"), milliseconds("idle_session_timeout"));
        let default_isolation =
            IsolationLevel::parse(&text("default_transaction_isolation")).unwrap_or(IsolationLevel::ReadCommitted);
        let default_read_only = text("default_transaction_read_only") == "on";
        let force_path = match text("colonnade.force_path").as_str() {
            "row" => ForcePath::Row,
            "column" => ForcePath::Column,
            _ => ForcePath::Auto,
        };
        let body = self.body();
        body.display = display;
        body.search_path = Arc::new(path);
        body.statement_timeout = statement_timeout;
        body.lock_timeout = lock_timeout;
        body.default_isolation = default_isolation;
        body.default_read_only = default_read_only;
        body.force_path = force_path;
        (body.idle_in_transaction_session_timeout, body.idle_session_timeout) = idle;
    }
}

fn canonical(name: &str) -> String {
    let key = name.to_ascii_lowercase();
    match key.as_str() {
        "time zone" => "timezone".to_owned(),
        "names" => "client_encoding".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "schema" => "search_path".to_owned(),
        "session authorization" => "session_authorization".to_owned(),
        _ => key,
    }
}

fn find(key: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(key))
}

fn unrecognized(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

fn cannot_change(name: &str) -> Error {
    Error::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, format!("parameter \"{name}\" cannot be changed"))
}

/// Checks a value and gives the form that is kept.
fn check(known: &Known, values: &[String], display: &DisplaySettings) -> Result<String> {
    let name = known.name;
    let joined = values.join(", ");
    let invalid = || {
        Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": \"{joined}\""))
    };
    match known.rule {
        Rule::SearchPath => {
            // One quoted value may hold a whole list, as clients send it at start-up.
            if let [single] = values
                && (single.contains(',') || single.contains('"'))
            {
                split_identifiers(single, ',').ok_or_else(invalid)?;
                return Ok(single.clone());
            }
            Ok(values.iter().map(|value| quote_path_part(value)).collect::<Vec<_>>().join(", "))
        }
        Rule::DateStyle => DateStyle::parse(&joined, display.date_style).map(|s| s.to_string()).ok_or_else(invalid),
        _ if values.len() != 1 => {
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("SET {name} takes only one argument")))
        }
        Rule::Bool => match colonnade_types::parse_boolean(&joined) {
            Some(true) => Ok("on".to_owned()),
            Some(false) => Ok("off".to_owned()),
            None => Err(Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("parameter \"{name}\" requires a Boolean value"),
            )),
        },
        Rule::Integer(min, max) => {
            let value: i64 = joined.trim().parse().map_err(|_| invalid())?;
            in_range(name, value, min, max, "")
        }
        Rule::Milliseconds => {
            let value = with_unit(
                &joined,
                &[("us", 0.001), ("ms", 1.0), ("s", 1e3), ("min", 6e4), ("h", 3.6e6), ("d", 8.64e7)],
            )
            .ok_or_else(invalid)?;
            in_range(name, value, 0, 2_147_483_647, " ms")
        }
        Rule::Kilobytes => {
            let value = with_unit(
                &joined,
                &[("B", 1.0 / 1024.0), ("kB", 1.0), ("MB", 1024.0), ("GB", 1_048_576.0), ("TB", 1_073_741_824.0)],
            )
            .ok_or_else(invalid)?;
            in_range(name, value, 64, 2_147_483_647, " kB")
        }
        Rule::Words(words) => {
            let lower = joined.to_ascii_lowercase();
            if words.contains(&lower.as_str()) {
                Ok(match lower.as_str() {
                    "true" | "yes" | "1" => "on".to_owned(),
                    "false" | "no" | "0" => "off".to_owned(),
                    _ => lower,
                })
            } else {
                Err(invalid().with_hint(format!("Available values: {}.", words.join(", "))))
            }
        }
        Rule::Text => Ok(joined),
        Rule::Encoding => match joined.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
            "utf8" | "unicode" => Ok("UTF8".to_owned()),
            _ => Err(invalid().with_detail("Only UTF8 is supported.")),
        },
        Rule::IntervalStyle => IntervalStyle::parse(&joined).map(|_| joined.to_ascii_lowercase()).ok_or_else(invalid),
        Rule::TimeZone => {
            let zone = match joined.to_ascii_lowercase().as_str() {
                "local" | "default" => "UTC".to_owned(),
                _ => joined.clone(),
            };
            TimeZone::parse(&zone).map(|_| zone).ok_or_else(invalid)
        }
        Rule::ReadOnly if name == "session_authorization" || name == "is_superuser" => Err(cannot_change(name)),
        Rule::ReadOnly => Err(cannot_change(name)),
    }
}

fn quote_path_part(value: &str) -> String {
    if value == "$user" { "\"$user\"".to_owned() } else { quote_identifier(value) }
}

fn in_range(name: &str, value: i64, min: i64, max: i64, unit: &str) -> Result<String> {
    if (min..=max).contains(&value) {
        return Ok(value.to_string());
    }
    Err(Error::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("{value}{unit} is outside the valid range for parameter \"{name}\" ({min}{unit} .. {max}{unit})"),
    ))
}

/// Reads a number with an optional unit, in the unit whose factor is 1.
fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<i64> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim().parse().ok()?;
    let factor = if unit.is_empty() { 1.0 } else { units.iter().find(|(name, _)| *name == unit)?.1 };
    let value = (number * factor).round();
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the comparison")]
    (value.abs() < 9e15).then_some(value as i64)
}

/// The form that SHOW prints.
fn show(rule: Rule, raw: &str) -> String {
    let scaled = |units: &[(i64, &str)]| {
        let Ok(value) = raw.parse::<i64>() else { return raw.to_owned() };
        match units.iter().find(|(factor, _)| value != 0 && value % factor == 0) {
            Some((factor, unit)) => format!("{}{unit}", value / factor),
            None => raw.to_owned(),
        }
    };
    match rule {
        Rule::Milliseconds => scaled(&[(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")]),
        Rule::Kilobytes => scaled(&[(1_073_741_824, "TB"), (1_048_576, "GB"), (1_024, "MB"), (1, "kB")]),
        _ => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(settings: &mut Settings, name: &str, value: &str) -> Result<String> {
        settings.set(name, Some(&[value.to_owned()]))
    }

    #[test]
    fn values_are_checked_and_shown_as_postgresql_shows_them() {
        let mut settings = Settings::new("anna");
        set(&mut settings, "statement_timeout", "90s").unwrap();
        assert_eq!(settings.get("Statement_Timeout").unwrap(), "90s");
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(90)));
        set(&mut settings, "statement_timeout", "1500").unwrap();
        assert_eq!(settings.get("statement_timeout").unwrap(), "1500ms");
        let error = set(&mut settings, "statement_timeout", "soon").unwrap_err();
        assert_eq!(error.message, "invalid value for parameter \"statement_timeout\": \"soon\"");
        assert_eq!(error.sql_state, SqlState::INVALID_PARAMETER_VALUE);
        assert_eq!(
            set(&mut settings, "server_version", "9").unwrap_err().sql_state,
            SqlState::CANT_CHANGE_RUNTIME_PARAM
        );
    }

    #[test]
    fn unknown_names_are_refused_unless_they_are_somebody_elses() {
        let mut settings = Settings::new("anna");
        let error = set(&mut settings, "nonsense", "1").unwrap_err();
        assert_eq!(error.message, "unrecognized configuration parameter \"nonsense\"");
        assert_eq!(error.sql_state, SqlState::UNDEFINED_OBJECT);
        set(&mut settings, "my.thing", "1").unwrap();
        assert_eq!(settings.get("my.thing").unwrap(), "1");
        assert!(set(&mut settings, "colonnade.nonsense", "1").is_err());
    }

    #[test]
    fn reset_gives_what_the_session_started_with() {
        let mut settings = Settings::new("anna");
        set(&mut settings, "application_name", "start").unwrap();
        settings.seal();
        set(&mut settings, "application_name", "later").unwrap();
        settings.reset_all();
        assert_eq!(settings.get("application_name").unwrap(), "start");
    }

    #[test]
    fn the_search_path_knows_the_user() {
        let mut settings = Settings::new("anna");
        assert_eq!(**settings.search_path(), ["anna", "public"]);
        settings.set("search_path", Some(&["S".to_owned(), "public".to_owned()])).unwrap();
        assert_eq!(settings.get("search_path").unwrap(), "\"S\", public");
        assert_eq!(**settings.search_path(), ["S", "public"]);
    }
}
