//! Functions about the session, the server and the time.

use colonnade_types::{Oid, SqlState};

use super::function::{Call, Function};
use super::names;
use super::value::Value;
use crate::error::{Error, Result};
use crate::settings::SERVER_VERSION;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::stable("version() -> text", |_, _| {
            let architecture = std::env::consts::ARCH;
            Ok(format!("PostgreSQL {SERVER_VERSION} on {architecture}, 64-bit").into())
        }),
        Function::stable("current_database() -> name", |call, _| Ok(call.info.database_name().into())),
        Function::stable("current_catalog() -> name", |call, _| Ok(call.info.database_name().into())),
        Function::stable("current_schema() -> name", |call, _| Ok(names::current_schema(call.statement).into())),
        Function::stable("current_schemas(boolean) -> name[]", current_schemas),
        Function::stable("current_user() -> name", |call, _| Ok(call.info.user().into())),
        Function::stable("current_role() -> name", |call, _| Ok(call.info.user().into())),
        Function::stable("session_user() -> name", |call, _| Ok(call.info.user().into())),
        Function::stable("user() -> name", |call, _| Ok(call.info.user().into())),
        Function::stable("pg_backend_pid() -> integer", |call, _| Ok(call.info.process_id().into())),
        Function::stable("pg_postmaster_start_time() -> timestamptz", |call, _| {
            Ok(Value::Timestamp(call.info.server_start()))
        }),
        Function::stable("pg_conf_load_time() -> timestamptz", |call, _| {
            Ok(Value::Timestamp(call.info.server_start()))
        }),
        Function::stable("now() -> timestamptz", |call, _| Ok(Value::Timestamp(call.statement.transaction_start))),
        Function::stable("current_timestamp() -> timestamptz", |call, _| {
            Ok(Value::Timestamp(call.statement.transaction_start))
        }),
        Function::stable("transaction_timestamp() -> timestamptz", |call, _| {
            Ok(Value::Timestamp(call.statement.transaction_start))
        }),
        Function::stable("statement_timestamp() -> timestamptz", |call, _| {
            Ok(Value::Timestamp(call.statement.statement_start))
        }),
        Function::volatile("clock_timestamp() -> timestamptz", |_, _| {
            Ok(Value::Timestamp(crate::engine::now_micros()))
        }),
        Function::volatile("timeofday() -> text", |_, _| {
            Ok(chrono::Utc::now().format("%a %b %d %H:%M:%S%.6f %Y UTC").to_string().into())
        }),
        Function::stable("current_setting(text) -> text", |call, arguments| setting(call, arguments[0].text(), false)),
        Function::stable("current_setting(text, boolean) -> text", |call, arguments| {
            setting(call, arguments[0].text(), arguments[1].is_true())
        }),
        Function::stable("pg_is_in_recovery() -> boolean", |_, _| Ok(false.into())),
        Function::stable("pg_is_wal_replay_paused() -> boolean", |_, _| Ok(false.into())),
        Function::stable("txid_current() -> bigint", |call, _| Ok(Value::Int(call.statement.statement_start / 1000))),
        Function::stable("txid_current_if_assigned() -> bigint", |_, _| Ok(Value::Null)),
        Function::stable("pg_my_temp_schema() -> oid", |_, _| Ok(Oid(0).into())),
        Function::stable("pg_is_other_temp_schema(oid) -> boolean", |_, _| Ok(false.into())),
        Function::stable("inet_server_addr() -> text", |_, _| Ok(Value::Null)),
        Function::stable("inet_server_port() -> integer", |_, _| Ok(Value::Null)),
        Function::stable("inet_client_addr() -> text", |_, _| Ok(Value::Null)),
        Function::stable("inet_client_port() -> integer", |_, _| Ok(Value::Null)),
        Function::stable("pg_encoding_to_char(integer) -> name", |_, arguments| {
            Ok(match arguments[0].int() {
                0 => "SQL_ASCII",
                6 => "UTF8",
                _ => "",
            }
            .into())
        }),
        Function::immutable("pg_char_to_encoding(text) -> integer", |_, arguments| {
            Ok(match arguments[0].text().to_ascii_lowercase().replace(['-', '_'], "").as_str() {
                "utf8" | "unicode" => 6i32,
                "sqlascii" => 0,
                _ => -1,
            }
            .into())
        }),
        Function::immutable("pg_client_encoding() -> name", |_, _| Ok("UTF8".into())),
        Function::stable("getdatabaseencoding() -> name", |_, _| Ok("UTF8".into())),
        Function::volatile("pg_cancel_backend(integer) -> boolean", |call, arguments| {
            let process = i32::try_from(arguments[0].int()).unwrap_or(0);
            Ok(call.info.sessions().cancel(process).into())
        }),
        Function::volatile("pg_stat_clear_snapshot() -> void", |_, _| Ok(Value::Null)),
        Function::volatile("pg_advisory_lock(bigint) -> void", |_, _| Err(Error::unsupported("pg_advisory_lock"))),
    ]
}

fn current_schemas(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let mut schemas = Vec::new();
    if arguments[0].is_true() && !call.statement.search_path.iter().any(|name| name == "pg_catalog") {
        schemas.push("pg_catalog".to_owned());
    }
    let exists = |name: &&String| call.statement.catalog.schema_by_name(name).is_some();
    schemas.extend(call.statement.search_path.iter().filter(exists).cloned());
    Ok(schemas.into())
}

fn setting(call: &Call<'_>, name: &str, missing_ok: bool) -> Result<Value> {
    match call.statement.settings.get(name) {
        Ok(value) => Ok(value.into()),
        Err(error) if missing_ok && error.sql_state == SqlState::UNDEFINED_OBJECT => Ok(Value::Null),
        Err(error) => Err(error),
    }
}
