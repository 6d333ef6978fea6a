//! Statements through a session of the engine, without a protocol between.

use async_trait::async_trait;
use colonnade_execution::{Error, Outcome, RowStream, Session, SessionOptions};
use colonnade_types::{ColumnEncoder, Format, SqlType};
use futures::StreamExt;
use sqllogictest::{AsyncDB, DBOutput};

use crate::database::Database;
use crate::result_text::{Failure, Type, cell};

/// One session.
pub(crate) struct Connection {
    session: Session,
}

impl Connection {
    /// Opens a session. The future owns what it needs.
    pub(crate) fn open(database: &Database) -> impl Future<Output = Result<Connection, Failure>> + Send + use<> {
        let engine = database.server().map(|server| server.engine().clone());
        async move {
            let Some(engine) = engine else {
                return Err(Failure { sql_state: "08006".to_owned(), message: "no server".to_owned() });
            };
            let options = SessionOptions {
                user: "colonnade".to_owned(),
                database: "colonnade".to_owned(),
                process_id: 1,
                ..SessionOptions::default()
            };
            Ok(Connection { session: engine.session(options).map_err(|error| failure(&error))? })
        }
    }

    /// What a simple query does: parse all, run each, end the implicit transaction.
    async fn simple_query(&mut self, sql: &str) -> Result<DBOutput<Type>, Error> {
        let mut output = DBOutput::StatementComplete(0);
        for statement in self.session.parse(sql)? {
            match self.session.execute(&statement).await? {
                Outcome::Empty => {}
                Outcome::Command(tag) => {
                    let count = tag.as_str().rsplit(' ').next().and_then(|word| word.parse().ok());
                    output = DBOutput::StatementComplete(count.unwrap_or(0));
                }
                Outcome::Rows(rows) => output = self.drain(rows).await?,
                Outcome::CopyIn(_) | Outcome::CopyOut(_) => {
                    output = DBOutput::StatementComplete(0);
                }
            }
        }
        Ok(output)
    }

    async fn drain(&mut self, mut stream: RowStream) -> Result<DBOutput<Type>, Error> {
        let columns = stream.schema.columns.clone();
        let settings = self.session.display();
        let mut rows = Vec::new();
        while let Some(batch) = stream.batches.next().await {
            let batch = batch?;
            let mut encoders = Vec::with_capacity(columns.len());
            for (column, array) in columns.iter().zip(batch.columns()) {
                encoders.push(ColumnEncoder::new(&column.sql_type, array, Format::Text, &settings)?);
            }
            for row in 0..batch.num_rows() {
                let mut cells = Vec::with_capacity(columns.len());
                for encoder in &encoders {
                    if encoder.is_null(row) {
                        cells.push(cell(None));
                    } else {
                        let mut text = Vec::new();
                        encoder.write(row, &mut text);
                        cells.push(cell(Some(&String::from_utf8_lossy(&text))));
                    }
                }
                rows.push(cells);
            }
        }
        Ok(DBOutput::Rows { types: columns.iter().map(|column| letter(&column.sql_type)).collect(), rows })
    }
}

fn letter(sql_type: &SqlType) -> Type {
    match sql_type {
        SqlType::SmallInt | SqlType::Integer | SqlType::BigInt | SqlType::Oid => Type::Integer,
        SqlType::Real | SqlType::DoublePrecision | SqlType::Numeric(_) => Type::Number,
        _ => Type::Text,
    }
}

fn failure(error: &Error) -> Failure {
    Failure { sql_state: error.sql_state.code().to_owned(), message: error.message.clone() }
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = Failure;
    type ColumnType = Type;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Type>, Failure> {
        let result = self.simple_query(sql).await;
        if result.is_err() {
            self.session.fail();
        }
        let finished = self.session.finish(result.is_ok()).await;
        let output = result.map_err(|error| failure(&error))?;
        finished.map_err(|error| failure(&error))?;
        Ok(output)
    }

    async fn shutdown(&mut self) {}

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &Failure) -> Option<String> {
        Some(error.sql_state.clone())
    }
}
