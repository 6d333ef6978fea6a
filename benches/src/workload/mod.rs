//! Workloads against a running server, over the PostgreSQL protocol; any server that speaks it can be measured.

pub mod analytic;
pub mod ingest;
pub mod mixed;
pub mod point_read;

use tokio_postgres::{Client, NoTls};

use crate::BenchError;

/// Connects; the connection's task ends with the client.
///
/// # Errors
/// If the server does not answer.
pub async fn connect(url: &str) -> Result<Client, BenchError> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Waits for all tasks and gives their results.
async fn all<T: Send + 'static>(
    tasks: Vec<tokio::task::JoinHandle<Result<T, BenchError>>>,
) -> Result<Vec<T>, BenchError> {
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.map_err(|error| BenchError::Refused(error.to_string()))??);
    }
    Ok(results)
}
