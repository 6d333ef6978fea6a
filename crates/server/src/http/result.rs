//! Results as JSON, collected, and as NDJSON, streamed.
//!
//! ```text
//! json    {"columns":[{"name":"n","type":"bigint"}],"rows":[[1],[2]],"row_count":2,"command":"SELECT 2"}
//! ndjson  {"columns":[{"name":"n","type":"bigint"}]}
//!         {"row":[1]}
//!         {"row":[2]}
//!         {"end":{"row_count":2,"command":"SELECT 2"}}        or {"error":{"sqlstate":...}}
//! ```
//!
//! Invariant: an answer that says what a statement did is sent after its commit. A stream of NDJSON without a last line `end` or `error` was cut.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use colonnade_execution::{CommandTag, Error, Notice, Outcome, Result, ResultSchema, RowStream};
use colonnade_types::SqlState;
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use super::json::{JsonRows, write_string};
use super::query::{RequestSession, guarded};
use super::reply::ErrorBody;
use crate::metrics::{self, Protocol};

/// Bytes of NDJSON that are sent at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that may wait for a slow client.
const CHUNKS_AHEAD: usize = 4;

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ResultFormat {
    /// One JSON object.
    #[default]
    Json,
    /// A JSON object a line.
    Ndjson,
}

/// A result in the format `json`.
#[derive(Serialize, ToSchema)]
#[allow(dead_code)] // Describes the answer; the answer itself is written without it, because rows are many.
pub(super) struct QueryResult {
    /// Names and types of the columns; empty for statements without rows.
    columns: Vec<ResultColumnObject>,
    /// One array a row. Numbers keep every digit; see the documentation of `json` values.
    #[schema(value_type = Vec<Vec<Object>>)]
    rows: Vec<Vec<serde_json::Value>>,
    /// Number of rows returned, or of rows changed by a statement that returns none.
    row_count: u64,
    /// PostgreSQL's command tag.
    command: String,
    /// Notices and warnings, where there were any.
    notices: Vec<String>,
}

/// A column of a result.
#[derive(Serialize, ToSchema)]
pub(super) struct ResultColumnObject {
    name: String,
    /// The SQL type, as `format_type` shows it.
    r#type: String,
}

/// Answers with one object. The status says whether the statement succeeded, so all of it is collected first.
///
/// # Errors
/// The statement's own; 54000 if the result is larger than `bytes_max`.
pub(super) async fn json(mut request: RequestSession, outcome: Outcome, bytes_max: usize) -> Result<Response> {
    let mut out = Vec::new();
    out.extend_from_slice(b"{\"columns\":");
    let tag = match outcome {
        Outcome::Rows(rows) => {
            write_columns(&rows.schema, &mut out);
            out.extend_from_slice(b",\"rows\":[");
            let tag = collect(&mut request, rows, bytes_max, &mut out).await?;
            out.push(b']');
            tag
        }
        outcome => {
            out.extend_from_slice(b"[],\"rows\":[]");
            let tag = command(outcome)?;
            Answered { row_count: changed_rows(&tag), tag }
        }
    };
    let RequestSession { session, cancel, phase, .. } = &mut request;
    guarded(cancel, phase, session.finish(true)).await?;
    let notices = session.take_notices();
    out.push(b',');
    write_summary(&tag, &notices, &mut out);
    out.extend_from_slice(b"}\n");
    request.timer.finish();
    Ok(([(header::CONTENT_TYPE, "application/json")], out).into_response())
}

/// What a statement did.
struct Answered {
    tag: CommandTag,
    row_count: u64,
}

async fn collect(
    request: &mut RequestSession,
    mut rows: RowStream,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<Answered> {
    let display = request.session.display();
    let mut row_count = 0_u64;
    while let Some(batch) =
        guarded(&request.cancel, &mut request.phase, rows.batches.next().map(Option::transpose)).await?
    {
        let encoder = JsonRows::new(&rows.schema, &batch, &display)?;
        for row in 0..batch.num_rows() {
            if row_count > 0 {
                out.push(b',');
            }
            encoder.write(row, out);
            row_count += 1;
            if out.len() > bytes_max {
                return Err(Error::new(
                    SqlState::PROGRAM_LIMIT_EXCEEDED,
                    format!("the result is larger than {bytes_max} bytes"),
                )
                .with_hint("Ask for fewer rows, or for the format \"ndjson\", which is streamed."));
            }
        }
        metrics::sent_rows(batch.num_rows());
    }
    Ok(Answered { tag: rows.tag(row_count), row_count })
}

/// Answers with lines as they come. The statement runs in a task of its own, which ends when nobody listens any more.
pub(super) fn ndjson(request: RequestSession, outcome: Outcome) -> Response {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::spawn(async move {
        let cancel = request.cancel.clone();
        let work = stream(request, outcome, sender.clone());
        tokio::select! {
            () = work => {}
            () = sender.closed() => cancel.cancel(),
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

async fn stream(mut request: RequestSession, outcome: Outcome, sender: mpsc::Sender<Bytes>) {
    let mut out = Vec::new();
    match stream_rows(&mut request, outcome, &sender, &mut out).await {
        Ok(answered) => {
            out.extend_from_slice(b"{\"end\":{");
            write_summary(&answered, &request.session.take_notices(), &mut out);
            out.extend_from_slice(b"}}\n");
            request.timer.finish();
        }
        Err(error) => {
            metrics::failed(Protocol::Http, error.sql_state);
            out.extend_from_slice(ErrorBody::new(&error).text().as_bytes());
            out.push(b'\n');
        }
    }
    let _ = sender.send(Bytes::from(out)).await;
}

async fn stream_rows(
    request: &mut RequestSession,
    outcome: Outcome,
    sender: &mpsc::Sender<Bytes>,
    out: &mut Vec<u8>,
) -> Result<Answered> {
    out.extend_from_slice(b"{\"columns\":");
    let answered = match outcome {
        Outcome::Rows(mut rows) => {
            write_columns(&rows.schema, out);
            out.extend_from_slice(b"}\n");
            let display = request.session.display();
            let mut row_count = 0_u64;
            while let Some(batch) =
                guarded(&request.cancel, &mut request.phase, rows.batches.next().map(Option::transpose)).await?
            {
                let encoder = JsonRows::new(&rows.schema, &batch, &display)?;
                for row in 0..batch.num_rows() {
                    out.extend_from_slice(b"{\"row\":");
                    encoder.write(row, out);
                    out.extend_from_slice(b"}\n");
                    if out.len() >= CHUNK_BYTES {
                        // Waits for a slow client; a client that left ends this task from outside.
                        let _ = sender.send(Bytes::from(std::mem::take(out))).await;
                    }
                }
                row_count += batch.num_rows() as u64;
                metrics::sent_rows(batch.num_rows());
            }
            Answered { tag: rows.tag(row_count), row_count }
        }
        outcome => {
            out.extend_from_slice(b"[]}\n");
            let tag = command(outcome)?;
            Answered { row_count: changed_rows(&tag), tag }
        }
    };
    guarded(&request.cancel, &mut request.phase, request.session.finish(true)).await?;
    Ok(answered)
}

fn command(outcome: Outcome) -> Result<CommandTag> {
    match outcome {
        Outcome::Command(tag) => Ok(tag),
        Outcome::CopyIn(_) | Outcome::CopyOut(_) => Err(Error::unsupported("COPY from or to the client over HTTP")
            .with_hint("Use the PostgreSQL protocol, or a file of the server.")),
        Outcome::Empty | Outcome::Rows(_) => Ok(CommandTag::new("")),
    }
}

/// The number at the end of a tag such as `INSERT 0 5`.
fn changed_rows(tag: &CommandTag) -> u64 {
    tag.as_str().rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn write_columns(schema: &ResultSchema, out: &mut Vec<u8>) {
    let columns: Vec<ResultColumnObject> = schema
        .columns
        .iter()
        .map(|column| ResultColumnObject { name: column.name.clone(), r#type: column.sql_type.to_string() })
        .collect();
    // Writing to a Vec does not fail.
    let _ = serde_json::to_writer(out, &columns);
}

fn write_summary(answered: &Answered, notices: &[Notice], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\"row_count\":{},\"command\":", answered.row_count).as_bytes());
    write_string(answered.tag.as_str(), out);
    if !notices.is_empty() {
        let lines: Vec<String> =
            notices.iter().map(|notice| format!("{}: {}", notice.severity.as_str(), notice.message)).collect();
        out.extend_from_slice(b",\"notices\":");
        let _ = serde_json::to_writer(out, &lines);
    }
}
