//! A database in a directory of its own, with its log writer, and sessions on it.

#![allow(dead_code)]

use std::sync::Arc;

use bytes::Bytes;
use colonnade_execution::{Engine, EngineOptions, Error, Outcome, Session, SessionOptions};
use colonnade_storage::{Database, FileDisk, StorageOptions, SystemClock};
use colonnade_types::{ColumnEncoder, Format};
use futures::StreamExt as _;

/// A running engine; closed and removed when dropped.
pub(crate) struct TestServer {
    pub(crate) engine: Engine,
    pub(crate) database: Database,
    writer: Option<std::thread::JoinHandle<()>>,
    pub(crate) directory: tempfile::TempDir,
}

impl TestServer {
    pub(crate) fn start() -> TestServer {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = Arc::new(FileDisk::open(directory.path().join("data")).expect("a disk"));
        let database =
            Database::open(disk, Arc::new(SystemClock::new()), StorageOptions::default()).expect("a database");
        let for_writer = database.clone();
        let writer = std::thread::spawn(move || for_writer.run_log_writer());
        let options = EngineOptions { temp_dir: directory.path().join("temp"), threads: 2, ..EngineOptions::default() };
        let engine = Engine::new(database.clone(), options).expect("an engine");
        TestServer { engine, database, writer: Some(writer), directory }
    }

    pub(crate) fn session(&self) -> Session {
        self.session_of(7)
    }

    /// A session with this process id.
    pub(crate) fn session_of(&self, process_id: i32) -> Session {
        let options = SessionOptions {
            user: "colonnade".to_owned(),
            database: "colonnade".to_owned(),
            process_id,
            ..SessionOptions::default()
        };
        self.engine.session(options).expect("a session")
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.database.close().ok();
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
    }
}

/// Rows as text, NULL as `NULL`, columns separated by `|`.
pub(crate) type Rows = Vec<String>;

/// Runs a message of statements as the simple protocol does; gives the last statement's rows, or its tag.
pub(crate) async fn query(session: &mut Session, sql: &str) -> Result<Rows, Error> {
    let result = statements(session, sql, None).await;
    if result.is_err() {
        session.fail();
    }
    let finished = session.finish(result.is_ok()).await;
    let rows = result?;
    finished?;
    Ok(rows)
}

/// Runs a COPY FROM STDIN with its data, cut into small pieces.
pub(crate) async fn copy_in(session: &mut Session, sql: &str, data: &[u8]) -> Result<Rows, Error> {
    let result = statements(session, sql, Some(data)).await;
    if result.is_err() {
        session.fail();
    }
    let finished = session.finish(result.is_ok()).await;
    let rows = result?;
    finished?;
    Ok(rows)
}

async fn statements(session: &mut Session, sql: &str, data: Option<&[u8]>) -> Result<Rows, Error> {
    let mut out = Vec::new();
    for statement in session.parse(sql)? {
        let outcome = session.execute(&statement).await?;
        out = collect(session, outcome, data).await?;
    }
    Ok(out)
}

pub(crate) async fn collect(session: &Session, outcome: Outcome, data: Option<&[u8]>) -> Result<Rows, Error> {
    match outcome {
        Outcome::Empty => Ok(Vec::new()),
        Outcome::Command(tag) => Ok(vec![tag.to_string()]),
        Outcome::Rows(mut rows) => {
            let settings = session.display();
            let mut out = Vec::new();
            while let Some(batch) = rows.batches.next().await {
                let batch = batch?;
                let encoders: Vec<_> = rows
                    .schema
                    .columns
                    .iter()
                    .zip(batch.columns())
                    .map(|(c, a)| ColumnEncoder::new(&c.sql_type, a, Format::Text, &settings).expect("an encoder"))
                    .collect();
                for row in 0..batch.num_rows() {
                    let values: Vec<String> = encoders
                        .iter()
                        .map(|encoder| {
                            if encoder.is_null(row) {
                                return "NULL".to_owned();
                            }
                            let mut value = Vec::new();
                            encoder.write(row, &mut value);
                            String::from_utf8(value).expect("text")
                        })
                        .collect();
                    out.push(values.join("|"));
                }
            }
            Ok(out)
        }
        Outcome::CopyIn(mut copy) => {
            for piece in data.unwrap_or_default().chunks(7) {
                copy.write(Bytes::copy_from_slice(piece)).await?;
            }
            Ok(vec![copy.finish().await?.to_string()])
        }
        Outcome::CopyOut(mut copy) => {
            let mut bytes = Vec::new();
            while let Some(chunk) = copy.chunks.next().await {
                bytes.extend_from_slice(&chunk?);
            }
            Ok(vec![String::from_utf8_lossy(&bytes).into_owned()])
        }
    }
}

/// Runs what must work.
pub(crate) async fn ok(session: &mut Session, sql: &str) -> Rows {
    match query(session, sql).await {
        Ok(rows) => rows,
        Err(error) => panic!("{sql}\n{error:?}"),
    }
}

/// Runs what must fail with a state, and gives the error.
pub(crate) async fn fails(session: &mut Session, sql: &str, state: &str) -> Error {
    match query(session, sql).await {
        Ok(rows) => panic!("{sql}\nshould fail with {state}, gave {rows:?}"),
        Err(error) => {
            assert_eq!(error.sql_state.code(), state, "{sql}\n{error:?}");
            error
        }
    }
}
