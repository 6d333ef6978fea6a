//! How fast rows come in: one statement a row, batches of rows, and COPY, each by several clients at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt;
use serde_json::json;

use super::{all, connect};
use crate::BenchError;
use crate::report::{Line, Report, Spread};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub url: String,
    /// Clients at once.
    pub clients: usize,
    /// Time for each form.
    pub duration: Duration,
    /// Rows of a batch and of a COPY.
    pub batch_rows: usize,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Single,
    Batch,
    Copy,
}

/// Runs the three forms one after another and reports rows a second and latencies of acknowledged statements.
///
/// # Errors
/// If the server fails a statement.
pub async fn run(options: &Options) -> Result<Report, BenchError> {
    let mut report = Report::new("ingest");
    report.fact("clients", options.clients);
    report.fact("seconds of each form", options.duration.as_secs_f64());
    report.fact("rows of a batch", options.batch_rows);
    for (name, form) in [("one row a statement", Form::Single), ("batches", Form::Batch), ("COPY", Form::Copy)] {
        let admin = connect(&options.url).await?;
        admin.batch_execute("DROP TABLE IF EXISTS bench_ingest").await?;
        admin
            .batch_execute("CREATE TABLE bench_ingest (id bigint NOT NULL, at timestamp NOT NULL, device integer NOT NULL, value double precision, note text)")
            .await?;
        let began = Instant::now();
        let tasks = (0..options.clients).map(|client| tokio::spawn(ingest(options.clone(), form, client))).collect();
        let mut spread = Spread::default();
        let mut rows = 0;
        for (inserted, times) in all(tasks).await? {
            rows += inserted;
            spread.merge(times);
        }
        let seconds = began.elapsed().as_secs_f64();
        let found: i64 = admin.query_one("SELECT count(*) FROM bench_ingest", &[]).await?.get(0);
        if found != rows {
            return Err(BenchError::Refused(format!("{rows} rows were acknowledged and {found} are there")));
        }
        report.lines.push(Line {
            name: name.to_owned(),
            values: vec![
                ("rows/s", json!((rows as f64 / seconds).round())),
                ("statements/s", json!((spread.count() as f64 / seconds).round())),
                ("p50, us", json!(spread.quantile(0.5))),
                ("p99, us", json!(spread.quantile(0.99))),
                ("max, us", json!(spread.quantile(1.0))),
            ],
        });
    }
    connect(&options.url).await?.batch_execute("DROP TABLE bench_ingest").await?;
    Ok(report)
}

async fn ingest(options: Options, form: Form, client: usize) -> Result<(i64, Spread), BenchError> {
    let connection = connect(&options.url).await?;
    let end = Instant::now() + options.duration;
    let mut spread = Spread::default();
    let mut next = client as i64 * 1_000_000_000;
    let first = next;
    let insert = connection
        .prepare(
            "INSERT INTO bench_ingest VALUES ($1, TIMESTAMP '2024-01-01 00:00:00', $2, $3, 'a note of usual length')",
        )
        .await?;
    while Instant::now() < end {
        let began = Instant::now();
        match form {
            Form::Single => {
                connection.execute(&insert, &[&next, &((next % 1000) as i32), &(next as f64 / 7.0)]).await?;
                next += 1;
            }
            Form::Batch => {
                let rows: Vec<String> = (0..options.batch_rows as i64)
                    .map(|i| {
                        format!(
                            "({}, '2024-01-01 00:00:00', {}, {}.5, 'a note of usual length')",
                            next + i,
                            i % 1000,
                            i
                        )
                    })
                    .collect();
                connection.batch_execute(&format!("INSERT INTO bench_ingest VALUES {}", rows.join(", "))).await?;
                next += options.batch_rows as i64;
            }
            Form::Copy => {
                let text: String = (0..options.batch_rows as i64)
                    .map(|i| {
                        format!("{}\t2024-01-01 00:00:00\t{}\t{}.5\ta note of usual length\n", next + i, i % 1000, i)
                    })
                    .collect();
                copy(&connection, "COPY bench_ingest FROM STDIN", text).await?;
                next += options.batch_rows as i64;
            }
        }
        spread.add(began.elapsed());
    }
    Ok((next - first, spread))
}

async fn copy(connection: &tokio_postgres::Client, sql: &str, text: String) -> Result<(), BenchError> {
    let sink = connection.copy_in(sql).await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(Bytes::from(text)).await?;
    sink.finish().await?;
    Ok(())
}
