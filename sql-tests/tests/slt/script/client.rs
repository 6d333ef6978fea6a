//! One connection, which shows all that the server says: command tags, notices and details included.
//!
//! tokio-postgres keeps command tags to itself, and `COMMIT` that answers `ROLLBACK` is what some of the scripts are about.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, ErrorFields, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::config::Host;

use crate::result_text::cell;

/// A connection without TLS and password.
pub(super) struct Client {
    socket: TcpStream,
    input: BytesMut,
    process_id: i32,
}

impl Client {
    /// Connects and waits until the server is ready.
    pub(super) async fn connect(target: &str) -> Result<Client, String> {
        let config: tokio_postgres::Config = target.parse().map_err(|error| format!("{target}: {error}"))?;
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            _ => return Err("scripts need a server on TCP".to_owned()),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let socket = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
        let mut client = Client { socket, input: BytesMut::new(), process_id: 0 };
        let mut out = BytesMut::new();
        let parameters = [
            ("user", config.get_user().unwrap_or("postgres")),
            ("database", config.get_dbname().unwrap_or("postgres")),
        ];
        frontend::startup_message(parameters, &mut out).map_err(|error| error.to_string())?;
        let answer = client.exchange(&out).await?;
        if client.process_id == 0 {
            return Err(format!("no connection: {}", answer.join("; ")));
        }
        Ok(client)
    }

    /// The number by which `pg_stat_activity` knows the connection.
    pub(super) fn process_id(&self) -> i32 {
        self.process_id
    }

    /// Sends a simple query and returns the lines of its answer.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<String>, String> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).map_err(|error| error.to_string())?;
        self.exchange(&out).await
    }

    async fn exchange(&mut self, out: &[u8]) -> Result<Vec<String>, String> {
        self.socket.write_all(out).await.map_err(|error| error.to_string())?;
        let mut lines = Vec::new();
        loop {
            match self.receive().await? {
                Message::ReadyForQuery(_) => return Ok(lines),
                Message::BackendKeyData(key) => self.process_id = key.process_id(),
                Message::DataRow(row) => lines.push(cells(&row)?),
                Message::CommandComplete(complete) => {
                    lines.push(complete.tag().map_err(|error| error.to_string())?.to_owned());
                }
                Message::ErrorResponse(error) => lines.extend(error_lines(error.fields())?),
                Message::NoticeResponse(notice) => lines.extend(error_lines(notice.fields())?),
                Message::AuthenticationOk | Message::ParameterStatus(_) | Message::RowDescription(_) => {}
                Message::EmptyQueryResponse => {}
                _ => return Err("the server sent a message that scripts do not know".to_owned()),
            }
        }
    }

    async fn receive(&mut self) -> Result<Message, String> {
        loop {
            if let Some(message) = Message::parse(&mut self.input).map_err(|error| error.to_string())? {
                return Ok(message);
            }
            let read = self.socket.read_buf(&mut self.input).await.map_err(|error| error.to_string())?;
            if read == 0 {
                return Err("the server has closed the connection".to_owned());
            }
        }
    }
}

fn cells(row: &DataRowBody) -> Result<String, String> {
    let mut ranges = row.ranges();
    let mut cells = Vec::new();
    while let Some(range) = ranges.next().map_err(|error| error.to_string())? {
        let text = range.map(|range| String::from_utf8_lossy(&row.buffer()[range]).into_owned());
        cells.push(cell(text.as_deref()));
    }
    Ok(cells.join("|"))
}

/// `ERROR 23505: message`, then the detail unless it names processes and transactions, then the hint.
fn error_lines(mut fields: ErrorFields<'_>) -> Result<Vec<String>, String> {
    let (mut severity, mut code, mut message) = (String::new(), String::new(), String::new());
    let mut more = Vec::new();
    while let Some(field) = fields.next().map_err(|error| error.to_string())? {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'S' => severity = value,
            b'C' => code = value,
            b'M' => message = value,
            b'D' => more.push(format!("DETAIL {value}")),
            _ => {}
        }
    }
    let mut lines = vec![format!("{severity} {code}: {message}")];
    if code != "40P01" {
        lines.extend(more);
    }
    Ok(lines)
}
