//! Errors with their HTTP status.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use colonnade_execution::Error;
use colonnade_types::SqlState;
use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::{self, Protocol};

/// The body of every answer that is not a result.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorObject,
}

/// PostgreSQL's fields of an error. Those that do not apply are left out.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorObject {
    /// The five-character class of the failure.
    sqlstate: String,
    /// What went wrong.
    message: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Where in `sql`, in characters from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    /// What was being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    /// The table concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    /// The column concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    /// The constraint concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    constraint: Option<String>,
}

impl ErrorBody {
    pub(super) fn new(error: &Error) -> ErrorBody {
        ErrorBody {
            error: ErrorObject {
                sqlstate: error.sql_state.code().to_owned(),
                message: error.message.clone(),
                detail: error.detail.clone(),
                hint: error.hint.clone(),
                position: error.position,
                context: error.context.clone(),
                table: error.table.clone(),
                column: error.column.clone(),
                constraint: error.constraint.clone(),
            },
        }
    }

    /// One line of JSON.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{\"error\":{}}".to_owned())
    }
}

/// Answers with a statement's error.
pub(super) fn error(error: &Error) -> Response {
    sql_error(status(error.sql_state), error)
}

/// Answers with an error under a status of the caller's choice.
pub(super) fn sql_error(status: StatusCode, error: &Error) -> Response {
    metrics::failed(Protocol::Http, error.sql_state);
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(sql_state = %error.sql_state, detail = error.detail, "{error}");
    }
    (status, [(header::CONTENT_TYPE, "application/json")], ErrorBody::new(error).text()).into_response()
}

/// Answers to a request that never became a statement.
pub(super) fn plain(status: StatusCode, message: impl Into<String>) -> Response {
    let state = if status == StatusCode::PAYLOAD_TOO_LARGE {
        SqlState::PROGRAM_LIMIT_EXCEEDED
    } else {
        SqlState::PROTOCOL_VIOLATION
    };
    sql_error(status, &Error::new(state, message))
}

/// The HTTP status that fits an SQLSTATE: whose fault it is, and whether trying again may help.
pub(super) fn status(state: SqlState) -> StatusCode {
    if state == SqlState::QUERY_CANCELED {
        return StatusCode::REQUEST_TIMEOUT;
    }
    match state.code().get(..2).unwrap_or_default() {
        "23" | "40" | "55" => StatusCode::CONFLICT,
        "28" => StatusCode::UNAUTHORIZED,
        "53" | "57" => StatusCode::SERVICE_UNAVAILABLE,
        "58" | "XX" => StatusCode::INTERNAL_SERVER_ERROR,
        _ if state == SqlState::INSUFFICIENT_PRIVILEGE => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    }
}
