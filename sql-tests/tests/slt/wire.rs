//! Statements over the PostgreSQL protocol, as text; ours and PostgreSQL itself.

use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::database::Database;
use crate::result_text::{Failure, Type, cell};

/// One client.
pub(crate) struct Connection {
    client: Client,
}

impl Connection {
    /// Connects. The future owns what it needs.
    pub(crate) fn open(database: &Database) -> impl Future<Output = Result<Connection, Failure>> + Send + use<> {
        let target = database.connection_string();
        async move {
            let (client, connection) = tokio_postgres::connect(&target, NoTls).await.map_err(failure)?;
            tokio::spawn(connection);
            Ok(Connection { client })
        }
    }
}

fn failure(error: tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(error) => Failure { sql_state: error.code().code().to_owned(), message: error.message().to_owned() },
        None => Failure { sql_state: "08006".to_owned(), message: error.to_string() },
    }
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = Failure;
    type ColumnType = Type;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Type>, Failure> {
        let messages = self.client.simple_query(sql).await.map_err(failure)?;
        let mut types = None;
        let mut rows = Vec::new();
        let mut count = 0;
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(columns) => types = Some(vec![Type::Any; columns.len()]),
                SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|index| cell(row.get(index))).collect()),
                SimpleQueryMessage::CommandComplete(rows) => count = rows,
                _ => {}
            }
        }
        Ok(match types {
            Some(types) => DBOutput::Rows { types, rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn shutdown(&mut self) {}

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &Failure) -> Option<String> {
        Some(error.sql_state.clone())
    }
}
