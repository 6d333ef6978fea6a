//! The HTTP interface, request by request.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use common::TestServer;
use serde_json::Value;

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body }
}

fn unchunk(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = text.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        body.push_str(&rest[..length]);
        text = &rest[length + 2..];
    }
    body
}

async fn with_server(
    change: impl FnOnce(&mut colonnade_server::Config),
    test: impl FnOnce(SocketAddr) + Send + 'static,
) {
    let server = TestServer::with(change).await;
    let address = server.http();
    tokio::task::spawn_blocking(move || test(address)).await.unwrap();
    server.stop().await;
}

fn query(address: SocketAddr, body: &str) -> Answer {
    request(address, "POST", "/api/v1/query", "", body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_are_answered_in_json() {
    with_server(
        |_| {},
        |address| {
            let answer = query(address, r#"{"sql": "create table t (n integer, s text, d numeric(20,2))"}"#);
            assert_eq!((answer.status, answer.json()["command"].as_str()), (200, Some("CREATE TABLE")));
            let answer = query(
                address,
                r#"{"sql": "insert into t values ($1, $2, $3), (2, null, null)", "parameters": [1, "one \"1\"", 123456789012345678.90]}"#,
            );
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(answer.json()["row_count"], 2);
            let answer = query(address, r#"{"sql": "select n, s, d from t order by n"}"#);
            assert_eq!(answer.status, 200);
            assert!(answer.head.contains("content-type: application/json"));
            assert!(answer.body.contains(r#""rows":[[1,"one \"1\"",123456789012345678.90],[2,null,null]]"#), "{}", answer.body);
            assert_eq!(answer.json()["columns"][2]["type"], "numeric(20,2)");
            let answer = query(address, r#"{"sql": "select n from t where n > $1", "parameters": [1], "format": "ndjson"}"#);
            let lines: Vec<&str> = answer.body.lines().collect();
            assert_eq!(
                lines,
                [
                    r#"{"columns":[{"name":"n","type":"integer"}]}"#,
                    r#"{"row":[2]}"#,
                    r#"{"end":{"row_count":1,"command":"SELECT 1"}}"#
                ]
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn errors_have_a_status_a_state_and_a_position() {
    with_server(
        |config| {
            config.http_body_bytes_max = 1_000;
            config.http_result_bytes_max = 10_000;
        },
        |address| {
            for (body, status, state) in [
                (r#"{"sql": "select nonsense"}"#, 400, "42703"),
                (r#"{"sql": "selekt 1"}"#, 400, "42601"),
                (r#"{"sql": "select 1; select 2"}"#, 400, "42601"),
                (r#"{"sql": "begin"}"#, 400, "0A000"),
                (r#"{"sql": "copy (select 1) to stdout"}"#, 400, "0A000"),
                (r#"{"sql": "select $1::integer", "parameters": []}"#, 400, "42P02"),
                (r#"{"sql": "select $1::integer", "parameters": ["x"]}"#, 400, "22P02"),
                (r#"{"sql": "select repeat('x', 1000) from generate_series(1, 100)"}"#, 400, "54000"),
                (r#"{"query": "select 1"}"#, 400, "08P01"),
                ("not json", 400, "08P01"),
            ] {
                let answer = query(address, body);
                assert_eq!(answer.status, status, "{body}: {}", answer.body);
                assert_eq!(answer.json()["error"]["sqlstate"], state, "{body}: {}", answer.body);
            }
            assert_eq!(query(address, r#"{"sql": "select nonsense"}"#).json()["error"]["position"], 8);
            assert_eq!(query(address, &" ".repeat(2_000)).status, 413);
            assert_eq!(request(address, "GET", "/nothing", "", "").status, 404);
            assert_eq!(request(address, "GET", "/api/v1/query", "", "").status, 405);
            // An error in the middle of a stream is its last line.
            let answer = query(
                address,
                r#"{"sql": "select 1 / (50000 - n) from generate_series(1, 60000) as t(n)", "format": "ndjson"}"#,
            );
            assert_eq!(answer.status, 200);
            let last: Value = serde_json::from_str(answer.body.lines().last().unwrap()).unwrap();
            assert_eq!(last["error"]["sqlstate"], "22012", "{last}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn health_figures_and_description_are_served() {
    with_server(
        |_| {},
        |address| {
            assert_eq!(request(address, "GET", "/healthz", "", "").status, 200);
            assert_eq!(request(address, "GET", "/readyz", "", "").status, 200);
            query(address, r#"{"sql": "select 1"}"#);
            let metrics = request(address, "GET", "/metrics", "", "").body;
            for name in [
                "colonnade_statements_total{protocol=\"http\"}",
                "colonnade_statement_seconds_bucket",
                "colonnade_wal_durable_bytes",
                "colonnade_resident_bytes",
            ] {
                assert!(metrics.contains(name), "{name} in {metrics}");
            }
            let document = request(address, "GET", "/api/v1/openapi.json", "", "").json();
            assert!(document["paths"]["/api/v1/query"]["post"].is_object(), "{document}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_password_protects_queries_and_figures() {
    with_server(
        |config| config.password = Some(colonnade_server::config::Secret("pw".to_owned())),
        |address| {
            let body = r#"{"sql": "select 1"}"#;
            let answer = query(address, body);
            assert_eq!((answer.status, answer.json()["error"]["sqlstate"].as_str()), (401, Some("28P01")));
            assert!(answer.head.contains("www-authenticate: Basic"), "{}", answer.head);
            let with = |header: &str| request(address, "POST", "/api/v1/query", header, body).status;
            assert_eq!(with("authorization: Bearer pw\r\n"), 200);
            assert_eq!(with("authorization: Basic Y29sb25uYWRlOnB3\r\n"), 200);
            assert_eq!(with("authorization: Bearer no\r\n"), 401);
            assert_eq!(request(address, "GET", "/metrics", "", "").status, 401);
            assert_eq!(request(address, "GET", "/readyz", "", "").status, 200);
        },
    )
    .await;
}
