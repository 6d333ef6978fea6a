//! A database in a directory of its own, and a session on it.

#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;
use std::thread::JoinHandle;

use colonnade_execution::{Engine, EngineOptions, Error, Outcome, Session, SessionOptions};
use colonnade_storage::clock::SystemClock;
use colonnade_storage::disk::FileDisk;
use colonnade_storage::{Database, StorageOptions};
use colonnade_types::{ColumnEncoder, Format};
use futures::StreamExt;

/// A session on a new database.
pub struct Harness {
    session: Session,
    database: Database,
    writer: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Harness {
    /// Opens a new database.
    pub fn new() -> Harness {
        let directory = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(directory.path()).unwrap();
        let database = Database::open(Arc::new(disk), Arc::new(SystemClock::new()), StorageOptions::default()).unwrap();
        let log = database.clone();
        let writer = std::thread::spawn(move || log.run_log_writer());
        let engine = Engine::new(database.clone(), EngineOptions::default()).unwrap();
        let session = engine
            .session(SessionOptions {
                user: "colonnade".to_owned(),
                database: "colonnade".to_owned(),
                application_name: "test".to_owned(),
                process_id: 1,
                settings: Vec::new(),
            })
            .unwrap();
        Harness { session, database, writer: Some(writer), _directory: directory }
    }

    /// Runs a text of statements; the rows of the last, columns separated by `|`, or the error.
    pub async fn try_rows(&mut self, sql: &str) -> Result<Vec<String>, Error> {
        let result = self.statements(sql).await;
        if result.is_err() {
            self.session.fail();
        }
        self.session.finish(result.is_ok()).await?;
        result
    }

    async fn statements(&mut self, sql: &str) -> Result<Vec<String>, Error> {
        let mut rows = Vec::new();
        for statement in self.session.parse(sql)? {
            rows.clear();
            if let Outcome::Rows(mut stream) = self.session.execute(&statement).await? {
                while let Some(batch) = stream.batches.next().await {
                    let batch = batch?;
                    let display = self.session.display();
                    let mut encoders = Vec::new();
                    for (column, array) in stream.schema.columns.iter().zip(batch.columns()) {
                        encoders.push(ColumnEncoder::new(&column.sql_type, array, Format::Text, &display)?);
                    }
                    for row in 0..batch.num_rows() {
                        let cells: Vec<String> = encoders
                            .iter()
                            .map(|encoder| {
                                if encoder.is_null(row) {
                                    return "NULL".to_owned();
                                }
                                let mut text = Vec::new();
                                encoder.write(row, &mut text);
                                String::from_utf8(text).unwrap()
                            })
                            .collect();
                        rows.push(cells.join("|"));
                    }
                }
            }
        }
        Ok(rows)
    }

    /// The rows of a query that must succeed.
    pub async fn rows(&mut self, sql: &str) -> Vec<String> {
        match self.try_rows(sql).await {
            Ok(rows) => rows,
            Err(error) => panic!("{} {error} (detail: {:?}) in {sql}", error.sql_state, error.detail),
        }
    }

    /// Runs statements that must succeed.
    pub async fn run(&mut self, sql: &str) {
        self.rows(sql).await;
    }

    /// SQLSTATE and message of a statement that must fail, with its detail if there is one.
    pub async fn error(&mut self, sql: &str) -> String {
        match self.try_rows(sql).await {
            Ok(_) => panic!("no error in {sql}"),
            Err(error) => {
                let detail = error.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
                format!("{} {error}{detail}", error.sql_state)
            }
        }
    }

    /// The texts of the notices since the last call.
    pub fn notices(&mut self) -> Vec<String> {
        self.session.take_notices().into_iter().map(|notice| notice.message).collect()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        let _ = self.database.close();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
