//! A server in this process, on ports of its own and in a directory of its own.
#![allow(dead_code, missing_docs, unreachable_pub)] // Each test file uses its part.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use colonnade_server::{Config, Server};
use tokio_postgres::{Client, NoTls};

pub struct TestServer {
    pub server: Option<Server>,
    pub directory: tempfile::TempDir,
}

impl TestServer {
    pub async fn start() -> TestServer {
        TestServer::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> TestServer {
        let directory = tempfile::tempdir().unwrap();
        let mut config = TestServer::config(&directory);
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        TestServer { server: Some(server), directory }
    }

    pub fn config(directory: &tempfile::TempDir) -> Config {
        Config {
            data_dir: directory.path().join("data"),
            pg_listen: Some("127.0.0.1:0".parse().unwrap()),
            http_listen: Some("127.0.0.1:0".parse().unwrap()),
            drain_timeout_ms: 300,
            ..Config::new()
        }
    }

    pub fn pg(&self) -> SocketAddr {
        self.server.as_ref().and_then(Server::pg_address).unwrap()
    }

    pub fn http(&self) -> SocketAddr {
        self.server.as_ref().and_then(Server::http_address).unwrap()
    }

    pub async fn client(&self) -> Client {
        self.try_client("user=colonnade dbname=colonnade").await.unwrap()
    }

    pub async fn try_client(&self, parameters: &str) -> Result<Client, tokio_postgres::Error> {
        let address = self.pg();
        let text = format!("host={} port={} {parameters}", address.ip(), address.port());
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await.unwrap();
        }
    }
}

/// The code and message of an error that the server sent.
pub fn sql_error(error: &tokio_postgres::Error) -> (String, String) {
    let error = error.as_db_error().expect("an error of the server");
    (error.code().code().to_owned(), error.message().to_owned())
}

/// A connection whose bytes the test writes itself.
pub struct RawClient {
    pub socket: TcpStream,
}

/// One message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMessage {
    pub kind: char,
    pub body: Vec<u8>,
}

impl RawMessage {
    /// A field of an ErrorResponse.
    pub fn field(&self, kind: u8) -> Option<String> {
        self.body
            .split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&kind))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl RawClient {
    /// Connects and says nothing.
    pub fn connect(address: SocketAddr) -> RawClient {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        RawClient { socket }
    }

    /// Connects and goes as far as ReadyForQuery.
    pub fn start(address: SocketAddr) -> RawClient {
        let mut client = RawClient::connect(address);
        client.startup(196_608, &[("user", "colonnade"), ("database", "colonnade")]);
        client.until_ready();
        client
    }

    pub fn startup(&mut self, version: i32, parameters: &[(&str, &str)]) {
        let mut body = version.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend([name.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
        }
        body.push(0);
        let length = i32::try_from(body.len() + 4).unwrap();
        self.write(&[&length.to_be_bytes()[..], &body].concat());
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, kind: u8, body: &[u8]) {
        let bytes = message(kind, body);
        self.write(&bytes);
    }

    pub fn query(&mut self, sql: &str) -> Vec<RawMessage> {
        self.send(b'Q', &[sql.as_bytes(), &[0]].concat());
        self.until_ready()
    }

    /// The next message; `None` when the server has closed the connection.
    pub fn next(&mut self) -> Option<RawMessage> {
        let mut header = [0; 5];
        if self.socket.read_exact(&mut header).is_err() {
            return None;
        }
        let length = i32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let mut body = vec![0; usize::try_from(length - 4).unwrap()];
        self.socket.read_exact(&mut body).unwrap();
        Some(RawMessage { kind: header[0] as char, body })
    }

    /// Everything up to and including ReadyForQuery, or the end.
    pub fn until_ready(&mut self) -> Vec<RawMessage> {
        let mut messages = Vec::new();
        while let Some(message) = self.next() {
            let is_last = message.kind == 'Z';
            messages.push(message);
            if is_last {
                break;
            }
        }
        messages
    }
}

/// A message's bytes.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// The kinds of messages, as one text.
pub fn kinds(messages: &[RawMessage]) -> String {
    messages.iter().map(|message| message.kind).collect()
}
