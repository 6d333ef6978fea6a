//! Queries, health and figures over HTTP.
//!
//! | path | answer |
//! |---|---|
//! | `POST /api/v1/query` | a statement's result as JSON or NDJSON |
//! | `GET /api/v1/openapi.json` | this interface, for machines |
//! | `GET /healthz` | 200 as long as the process lives |
//! | `GET /readyz` | 200 once recovered and accepting, 503 before and while it ends |
//! | `GET /metrics` | figures in Prometheus' text form |
//!
//! - [`query`]: the request, from JSON to a session and back.
//! - [`result`]: results as JSON and as NDJSON.
//! - [`json`]: values as JSON.
//! - [`reply`]: errors with their HTTP status.
//! - [`access`]: who may ask.
//!
//! Each request has a session of its own and commits by itself. A client that disconnects cancels its statement.

mod access;
mod json;
mod openapi;
mod query;
mod reply;
mod result;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use colonnade_execution::Error;
use colonnade_types::SqlState;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::phase::Phase;
use crate::service::Service;

/// What a request finds: nothing to query until the database is open.
#[derive(Clone)]
pub(crate) struct HttpState {
    service: Arc<OnceLock<Arc<Service>>>,
    phase: watch::Receiver<Phase>,
}

impl HttpState {
    /// The open database, or why there is none.
    fn service(&self) -> Result<&Arc<Service>, Error> {
        if *self.phase.borrow() != Phase::Serving {
            return Err(Error::new(SqlState::CANNOT_CONNECT_NOW, "the database system is shutting down"));
        }
        self.service.get().ok_or_else(|| Error::new(SqlState::CANNOT_CONNECT_NOW, "the database system is starting up"))
    }
}

/// Serves HTTP until the process drains and the last request is answered. `service` may be filled in later.
pub(crate) async fn serve(listener: TcpListener, service: Arc<OnceLock<Arc<Service>>>, phase: watch::Receiver<Phase>) {
    let mut draining = phase.clone();
    let router = router(HttpState { service, phase });
    let served = axum::serve(listener, router).with_graceful_shutdown(async move {
        let _ = draining.wait_for(|phase| *phase >= Phase::Draining).await;
    });
    if let Err(error) = served.await {
        tracing::error!(%error, "HTTP ended");
    }
}

fn router(state: HttpState) -> Router {
    Router::new()
        // The limit is the configuration's, which is not known before the database is open; `query` applies it.
        .route("/api/v1/query", post(query::query).layer(DefaultBodyLimit::disable()))
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/metrics", get(metrics))
        .layer(axum::middleware::from_fn_with_state(state.clone(), access::check))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async { reply::plain(StatusCode::NOT_FOUND, "there is nothing under this path") })
        .method_not_allowed_fallback(|| async {
            reply::plain(StatusCode::METHOD_NOT_ALLOWED, "this path does not answer to this method")
        })
        .with_state(state)
}

async fn ready(State(state): State<HttpState>) -> Response {
    match state.service() {
        Ok(_) => "ready\n".into_response(),
        Err(error) => reply::error(&error),
    }
}

async fn metrics(State(state): State<HttpState>) -> Response {
    let page = crate::metrics::page(state.service.get().map(|service| &service.engine));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}
