//! The visible list of all options.

use super::option::{Kind, OptionSpec, Value};
use super::{LogFormat, Secret, machine};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR_MS: u64 = 3_600_000;

const fn option(
    section: &'static str,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
    set: fn(&mut super::Config, Value),
) -> OptionSpec {
    OptionSpec { key, section, kind, default, about, secret: false, set }
}

fn number(value: &Value, auto: u64) -> u64 {
    if let Value::Number(number) = value { *number } else { auto }
}

fn size(value: &Value, auto: u64) -> usize {
    usize::try_from(number(value, auto)).unwrap_or(usize::MAX)
}

/// All options, in the order of the reference page.
pub const OPTIONS: &[OptionSpec] = &[
    option(
        "Place and addresses",
        "data_dir",
        Kind::Path,
        "./colonnade-data",
        "Directory of the database. It is created if it does not exist; one process at a time may use it.",
        |config, value| {
            if let Value::Path(Some(path)) = value {
                config.data_dir = path;
            }
        },
    ),
    option(
        "Place and addresses",
        "pg_listen",
        Kind::Address,
        "127.0.0.1:5432",
        "Address of the PostgreSQL protocol. An address that other machines can reach requires a password.",
        |config, value| {
            if let Value::Address(address) = value {
                config.pg_listen = address;
            }
        },
    ),
    option(
        "Place and addresses",
        "http_listen",
        Kind::Address,
        "127.0.0.1:8080",
        "Address of HTTP: queries under /api/v1, /healthz, /readyz and /metrics. An address that other machines can reach requires a password.",
        |config, value| {
            if let Value::Address(address) = value {
                config.http_listen = address;
            }
        },
    ),
    option(
        "Place and addresses",
        "temp_dir",
        Kind::Path,
        "",
        "Directory in which running statements spill data, in a directory of its own that is emptied at start. None is `tmp` in the data directory.",
        |config, value| {
            if let Value::Path(path) = value {
                config.temp_dir = path;
            }
        },
    ),
    OptionSpec {
        secret: true,
        ..option(
            "Access",
            "password",
            Kind::Text,
            "",
            "Password of all clients: SCRAM-SHA-256 over the PostgreSQL protocol, Basic or Bearer over HTTP. None trusts clients of this machine.",
            |config, value| {
                if let Value::Text(text) = value {
                    config.password = (!text.is_empty()).then_some(Secret(text));
                }
            },
        )
    },
    option(
        "Access",
        "password_file",
        Kind::Path,
        "",
        "File that holds the password; a line end after it is left out. Wins over `password`.",
        |config, value| {
            if let Value::Path(path) = value {
                config.password_file = path;
            }
        },
    ),
    option(
        "Access",
        "connections_max",
        Kind::Count(1, 100_000),
        "200",
        "Most PostgreSQL connections at a time. One more is refused with 53300.",
        |config, value| config.connections_max = size(&value, 200),
    ),
    option(
        "Access",
        "authentication_timeout_ms",
        Kind::Milliseconds(100, HOUR_MS),
        "60000",
        "Time within which a client must have said who it is. Whoever is slower is disconnected.",
        |config, value| config.authentication_timeout_ms = number(&value, 60_000),
    ),
    option(
        "Process",
        "threads",
        Kind::Count(1, 1024),
        "auto",
        "Threads that run statements. `auto` is the number of cores.",
        |config, value| config.threads = size(&value, machine::cores() as u64),
    ),
    option(
        "Process",
        "drain_timeout_ms",
        Kind::Milliseconds(0, HOUR_MS),
        "10000",
        "Time that running statements are given after SIGTERM or SIGINT. Those that run longer are cancelled with 57P01.",
        |config, value| config.drain_timeout_ms = number(&value, 10_000),
    ),
    option(
        "Process",
        "log_level",
        Kind::Text,
        "info",
        "Which log lines are written: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,colonnade_storage=debug`.",
        |config, value| {
            if let Value::Text(text) = value {
                config.log_level = text;
            }
        },
    ),
    option(
        "Process",
        "log_format",
        Kind::Choice(&["text", "json"]),
        "text",
        "How log lines are written to standard error: for people, or one JSON object a line.",
        |config, value| {
            config.log_format = match value {
                Value::Text(text) if text == "json" => LogFormat::Json,
                _ => LogFormat::Text,
            }
        },
    ),
    option(
        "Limits",
        "query_memory_bytes",
        Kind::Bytes(16 * MIB, 1 << 50),
        "auto",
        "Memory that all running statements together may hold. Who needs more spills to `temp_dir`, or ends with 53200. `auto` is half of the machine's memory.",
        |config, value| config.query_memory_bytes = size(&value, machine::memory_bytes() / 2),
    ),
    option(
        "Limits",
        "message_bytes_max",
        Kind::Bytes(64 * KIB, GIB),
        "256MiB",
        "Largest message of the PostgreSQL protocol. A longer one ends the connection with 08P01. Before authentication the limit is 64 KiB.",
        |config, value| config.message_bytes_max = size(&value, 256 * MIB),
    ),
    option(
        "Limits",
        "http_body_bytes_max",
        Kind::Bytes(KIB, GIB),
        "64MiB",
        "Largest HTTP request. A longer one is answered with 413.",
        |config, value| config.http_body_bytes_max = size(&value, 64 * MIB),
    ),
    option(
        "Limits",
        "http_result_bytes_max",
        Kind::Bytes(KIB, 64 * GIB),
        "64MiB",
        "Largest result in the format `json`, which is collected before it is sent. A longer one ends with 54000; the format `ndjson` has no limit.",
        |config, value| config.http_result_bytes_max = size(&value, 64 * MIB),
    ),
    option(
        "Storage",
        "wal_file_bytes",
        Kind::Bytes(64 * KIB, GIB),
        "64MiB",
        "Size of one file of the write-ahead log. Files are allocated in full before they are used.",
        |config, value| config.storage.wal_file_bytes = number(&value, 64 * MIB),
    ),
    option(
        "Storage",
        "checkpoint_wal_bytes",
        Kind::Bytes(64 * KIB, 64 * GIB),
        "256MiB",
        "Log written since the last checkpoint that calls for the next one. More makes writing cheaper and starting slower.",
        |config, value| config.storage.checkpoint_wal_bytes = number(&value, 256 * MIB),
    ),
    option(
        "Storage",
        "tail_rows_max",
        Kind::Count(1_024, 1_048_576),
        "131072",
        "Rows in a table's row store that call for a flush into a segment. At four times as many, the writing transaction flushes itself.",
        |config, value| config.storage.tail_rows_max = number(&value, 131_072),
    ),
    option(
        "Storage",
        "tail_bytes_max",
        Kind::Bytes(64 * KIB, 4 * GIB),
        "32MiB",
        "Bytes in a table's row store that call for a flush into a segment. At four times as many, the writing transaction flushes itself.",
        |config, value| config.storage.tail_bytes_max = number(&value, 32 * MIB),
    ),
    option(
        "Storage",
        "flush_idle_ms",
        Kind::Milliseconds(0, 24 * HOUR_MS),
        "5000",
        "Time without a write after which a table's row store is flushed into a segment if it has at least `flush_idle_rows_min` rows.",
        |config, value| config.storage.flush_idle_ms = number(&value, 5_000),
    ),
    option(
        "Storage",
        "flush_idle_rows_min",
        Kind::Count(1, 1_048_576),
        "8192",
        "Rows below which an idle row store stays where it is, so that no tiny segments arise.",
        |config, value| config.storage.flush_idle_rows_min = number(&value, 8_192),
    ),
    option(
        "Storage",
        "bulk_segment_rows",
        Kind::Count(8_192, 1_048_576),
        "1048576",
        "Rows of a segment that COPY and INSERT ... SELECT write directly. They are held in memory until the segment is full.",
        |config, value| config.storage.bulk_segment_rows = size(&value, 1_048_576),
    ),
    option(
        "Storage",
        "bulk_segment_bytes",
        Kind::Bytes(MIB, 64 * GIB),
        "1GiB",
        "Bytes that a bulk load holds in memory at most before it writes a segment, however few the rows.",
        |config, value| config.storage.bulk_segment_bytes = size(&value, GIB),
    ),
    option(
        "Storage",
        "compaction_bytes_per_second",
        Kind::Bytes(0, 64 * GIB),
        "128MiB",
        "Bytes of segments that compaction in the background reads and writes a second, on average: after each of its steps it pauses accordingly. 0 sets no limit.",
        |config, value| config.storage.compaction_bytes_per_second = number(&value, 128 * MIB),
    ),
    option(
        "Storage",
        "dictionary_cache_bytes",
        Kind::Bytes(0, 64 * GIB),
        "256MiB",
        "Memory for decoded dictionaries of segments. The ones unused for longest are dropped first.",
        |config, value| config.storage.dictionary_cache_bytes = size(&value, 256 * MIB),
    ),
    option(
        "Storage",
        "granule_cache_bytes",
        Kind::Bytes(0, 64 * GIB),
        "64MiB",
        "Memory for decoded granules of segments, for reads of single rows whose encoding gives no way to one row.",
        |config, value| config.storage.granule_cache_bytes = size(&value, 64 * MIB),
    ),
    option(
        "Demo",
        "scale",
        Kind::Factor(0.001, 1000.0),
        "1",
        "Scale factor of the TPC-H data that `colonnade demo` generates; 1 is 8.7 million rows.",
        |config, value| {
            if let Value::Factor(factor) = value {
                config.scale = factor;
            }
        },
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_default_is_allowed_and_every_key_is_spelled_once() {
        let mut config = Config::new();
        for (index, option) in OPTIONS.iter().enumerate() {
            option.apply(&mut config, option.default).unwrap_or_else(|error| panic!("{error}"));
            assert!(OPTIONS[..index].iter().all(|other| other.key != option.key), "{}", option.key);
            assert!(option.key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        }
        assert_eq!(config.connections_max, 200);
        assert!(config.query_memory_bytes > 0 && config.threads > 0);
    }
}
