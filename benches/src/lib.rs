//! Measures: data generators and workloads over the PostgreSQL protocol. `colonnade-bench` is the command.
//!
//! | module | one sentence |
//! |---|---|
//! | [`generate`] | Data sets as Parquet files: a web analytics table, TPC-H. |
//! | [`workload`] | Ingest, point reads, analytics and their mix against a running server. |
//! | [`report`] | What was measured, as JSON and as a page. |
//!
//! Comparisons with other engines are in `compare/`, in Python, outside the build. Micro-benchmarks are in `benches/`.

pub mod generate;
pub mod report;
pub mod workload;

use std::path::PathBuf;

/// Why a generator or a workload stopped.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Arrow refused an array.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// Parquet could not be written.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The server could not be reached or refused a statement.
    #[error("{}", database_message(.0))]
    Database(#[from] tokio_postgres::Error),
    /// A measurement that makes no sense.
    #[error("{0}")]
    Refused(String),
}

fn database_message(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{}: {}", error.code().code(), error.message()),
        None => error.to_string(),
    }
}

impl BenchError {
    /// Names the file that an operation failed on.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> BenchError {
        let path = path.into();
        move |source| BenchError::File { path, source }
    }
}
