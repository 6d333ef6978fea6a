//! `GET /api/v1/openapi.json`: this interface, for machines.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;

use super::query::QueryRequest;
use super::reply::{ErrorBody, ErrorObject};
use super::result::{QueryResult, ResultColumnObject, ResultFormat};

#[derive(OpenApi)]
#[openapi(
    info(title = "Colonnade", description = "SQL over HTTP. Each request is a transaction of its own."),
    paths(query),
    components(schemas(QueryRequest, ResultFormat, QueryResult, ResultColumnObject, ErrorBody, ErrorObject))
)]
struct Document;

/// Runs one statement.
#[utoipa::path(
    post,
    path = "/api/v1/query",
    request_body = QueryRequest,
    responses(
        (status = 200, description = "The result. With the format `ndjson`: lines `columns`, `row`..., and always a last line `end` or `error`.", body = QueryResult),
        (status = 400, description = "The statement is wrong", body = ErrorBody),
        (status = 401, description = "The password is missing or wrong", body = ErrorBody),
        (status = 408, description = "The statement was cancelled, or its time was up", body = ErrorBody),
        (status = 409, description = "A constraint or another transaction is in the way", body = ErrorBody),
        (status = 413, description = "The request is too long", body = ErrorBody),
        (status = 500, description = "The server failed", body = ErrorBody),
        (status = 503, description = "The server starts, ends, or has too much to do", body = ErrorBody),
    )
)]
#[allow(dead_code)] // Describes `query::query`.
fn query() {}

/// Answers with the description.
pub(super) async fn document() -> Response {
    match Document::openapi().to_json() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => super::reply::plain(axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
