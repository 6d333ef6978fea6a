//! `POST /api/v1/query`: the request, from JSON to a session.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use colonnade_execution::{
    CancelHandle, Error, Outcome, Result, ScalarParameter, Session, SessionOptions, StatementKind,
};
use colonnade_types::{Format, SqlState, SqlType};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::result::{self, ResultFormat};
use super::{HttpState, reply};
use crate::metrics::{Protocol, StatementTimer, connected};
use crate::phase::Phase;
use crate::service::{DATABASE, Service};
use crate::wire::cancel::Registration;

/// One statement with its parameters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryRequest {
    /// One SQL statement; `$1`, `$2`, ... are its parameters. It commits by itself.
    #[schema(example = "select n_name from nation where n_nationkey = $1")]
    sql: String,
    /// Values of the parameters: numbers, strings, booleans, null; arrays for array types; anything for json and jsonb.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    parameters: Vec<Value>,
    /// `json` (default): one object. `ndjson`: a line of columns, a line per row, and always a last line `end` or `error`.
    #[serde(default)]
    format: ResultFormat,
}

/// A session that serves one request.
pub(super) struct RequestSession {
    pub(super) session: Session,
    pub(super) cancel: CancelHandle,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) timer: StatementTimer,
    _registration: Registration,
    _connected: crate::metrics::Connected,
}

/// Runs one statement.
pub(super) async fn query(State(state): State<HttpState>, request: Request) -> Response {
    let service = match state.service() {
        Ok(service) => Arc::clone(service),
        Err(error) => return reply::error(&error),
    };
    let bytes_max = service.config.http_body_bytes_max;
    let Ok(body) = to_bytes(request.into_body(), bytes_max).await else {
        return reply::plain(StatusCode::PAYLOAD_TOO_LARGE, format!("the request is longer than {bytes_max} bytes"));
    };
    let request = match serde_json::from_slice::<QueryRequest>(&body) {
        Ok(request) => request,
        Err(error) => return reply::plain(StatusCode::BAD_REQUEST, format!("the request is not understood: {error}")),
    };
    drop(body);
    answer(&service, request).await.unwrap_or_else(|error| reply::error(&error))
}

async fn answer(service: &Arc<Service>, request: QueryRequest) -> Result<Response> {
    let mut session = RequestSession::new(service)?;
    let outcome = session.run(&request.sql, request.parameters).await?;
    match request.format {
        ResultFormat::Json => result::json(session, outcome, service.config.http_result_bytes_max).await,
        ResultFormat::Ndjson => Ok(result::ndjson(session, outcome)),
    }
}

impl RequestSession {
    fn new(service: &Arc<Service>) -> Result<RequestSession> {
        let registration = service.cancels.register(false);
        let session = service.engine.session(SessionOptions {
            user: DATABASE.to_owned(),
            database: DATABASE.to_owned(),
            application_name: "http".to_owned(),
            process_id: registration.process_id,
            settings: Vec::new(),
        })?;
        Ok(RequestSession {
            cancel: session.cancel_handle(),
            session,
            phase: service.phase.clone(),
            timer: StatementTimer::start(Protocol::Http),
            _registration: registration,
            _connected: connected(Protocol::Http),
        })
    }

    async fn run(&mut self, sql: &str, parameters: Vec<Value>) -> Result<Outcome> {
        let statements = self.session.parse(sql)?;
        let statement = match &statements[..] {
            [] => return Err(Error::new(SqlState::SYNTAX_ERROR, "there is no statement in \"sql\"")),
            [statement] if statement.kind() == StatementKind::Transaction => {
                return Err(Error::unsupported("transaction control over HTTP").with_hint(
                    "Each request is a transaction of its own; use the PostgreSQL protocol for longer ones.",
                ));
            }
            [statement] => statement.clone(),
            _ => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "a request can hold only one statement"));
            }
        };
        let Self { session, cancel, phase, .. } = self;
        let work = async {
            if parameters.is_empty() {
                return session.execute(&statement).await;
            }
            let prepared = session.prepare(&statement, &[]).await?;
            let (expected, given) = (prepared.parameters.len(), parameters.len());
            if expected != given {
                let message = format!("the statement has {expected} parameters, but {given} values were given");
                return Err(Error::new(SqlState::UNDEFINED_PARAMETER, message));
            }
            let values = parameters
                .into_iter()
                .zip(&prepared.parameters)
                .map(|(value, sql_type)| ScalarParameter {
                    format: Format::Text,
                    value: parameter_text(value, sql_type),
                })
                .collect();
            session.execute_prepared(&prepared, values).await
        };
        guarded(cancel, phase, work).await
    }
}

/// Runs `work`, and cancels it when the process may wait no longer.
pub(super) async fn guarded<T>(
    cancel: &CancelHandle,
    phase: &mut watch::Receiver<Phase>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::pin!(work);
    tokio::select! {
        biased;
        result = &mut work => return result,
        _ = phase.wait_for(|phase| *phase == Phase::Ending) => cancel.cancel(),
    }
    work.await.map_err(|error| {
        if error.sql_state != SqlState::QUERY_CANCELED {
            return error;
        }
        Error::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
    })
}

/// A JSON value in PostgreSQL's text form; `None` is NULL.
fn parameter_text(value: Value, sql_type: &SqlType) -> Option<Bytes> {
    let text = match (value, sql_type) {
        (Value::Null, _) => return None,
        // JSON's null as a jsonb value can be written as the string "null".
        (Value::String(text), _) => text,
        (Value::Array(items), SqlType::Array(element)) => array_text(items, element),
        (value, _) => value.to_string(),
    };
    Some(Bytes::from(text))
}

/// PostgreSQL's array literal. Every item is quoted, which is right for all types.
fn array_text(items: Vec<Value>, element: &SqlType) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| match parameter_text(item, element) {
            None => "NULL".to_owned(),
            Some(text) => {
                let text = String::from_utf8_lossy(&text).replace('\\', "\\\\").replace('"', "\\\"");
                format!("\"{text}\"")
            }
        })
        .collect();
    format!("{{{}}}", items.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str, sql_type: &str) -> Option<String> {
        let value = serde_json::from_str(json).unwrap();
        let sql_type = SqlType::parse(sql_type).unwrap();
        parameter_text(value, &sql_type).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn json_values_become_text_forms() {
        assert_eq!(text("null", "integer"), None);
        assert_eq!(text("12345678901234567890.10", "numeric").as_deref(), Some("12345678901234567890.10"));
        assert_eq!(text("\"a'b\"", "text").as_deref(), Some("a'b"));
        assert_eq!(text("true", "boolean").as_deref(), Some("true"));
        assert_eq!(text("{\"a\":[1]}", "jsonb").as_deref(), Some("{\"a\":[1]}"));
        assert_eq!(text("[1,null,\"x\\\"y\"]", "text[]").as_deref(), Some("{\"1\",NULL,\"x\\\"y\"}"));
        assert_eq!(text("[1,2]", "jsonb").as_deref(), Some("[1,2]"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = serde_json::from_str::<QueryRequest>("{\"sql\":\"\",\"params\":[]}").unwrap_err();
        assert!(error.to_string().contains("unknown field `params`"), "{error}");
    }
}
