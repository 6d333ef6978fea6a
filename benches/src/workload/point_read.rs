//! How fast single rows are found by key.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
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
    /// Time.
    pub duration: Duration,
    /// Rows of the table, which is created if it has another number.
    pub rows: i64,
    /// Where the keys come from.
    pub seed: u64,
}

/// Creates and fills the table unless it is there, with rows in segments and in the tail.
///
/// # Errors
/// If the server fails a statement.
pub async fn prepare(url: &str, rows: i64) -> Result<(), BenchError> {
    let client = connect(url).await?;
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS bench_account (id bigint PRIMARY KEY, branch integer NOT NULL, balance bigint NOT NULL, filler text NOT NULL)",
        )
        .await?;
    let found: i64 = client.query_one("SELECT count(*) FROM bench_account", &[]).await?.get(0);
    if found == rows {
        return Ok(());
    }
    client.batch_execute("TRUNCATE bench_account").await?;
    let fill = |from: i64, to: i64| {
        format!(
            "INSERT INTO bench_account SELECT g, (g % 100)::integer, 0, 'filler of usual length for an account' FROM generate_series({from}::bigint, {to}::bigint) g"
        )
    };
    client.batch_execute(&fill(1, rows - rows / 100)).await?;
    client.batch_execute(&fill(rows - rows / 100 + 1, rows)).await?;
    Ok(())
}

/// Reads random rows through a prepared statement and reports reads a second and latencies.
///
/// # Errors
/// If the server fails a statement or does not find a row.
pub async fn run(options: &Options) -> Result<Report, BenchError> {
    prepare(&options.url, options.rows).await?;
    let mut report = Report::new("point-read");
    report.fact("rows", options.rows);
    report.fact("seconds", options.duration.as_secs_f64());
    for clients in [1, options.clients] {
        let began = Instant::now();
        let tasks = (0..clients).map(|client| tokio::spawn(read(options.clone(), client))).collect();
        let mut spread = Spread::default();
        all(tasks).await?.into_iter().for_each(|times| spread.merge(times));
        let seconds = began.elapsed().as_secs_f64();
        report.lines.push(Line {
            name: format!("{clients} clients"),
            values: vec![
                ("reads/s", json!((spread.count() as f64 / seconds).round())),
                ("p50, us", json!(spread.quantile(0.5))),
                ("p99, us", json!(spread.quantile(0.99))),
                ("max, us", json!(spread.quantile(1.0))),
            ],
        });
    }
    Ok(report)
}

async fn read(options: Options, client: usize) -> Result<Spread, BenchError> {
    let connection = connect(&options.url).await?;
    let select = connection.prepare("SELECT branch, balance FROM bench_account WHERE id = $1").await?;
    let mut random = SmallRng::seed_from_u64(options.seed + client as u64);
    let mut spread = Spread::default();
    let end = Instant::now() + options.duration;
    while Instant::now() < end {
        let key = random.random_range(1..=options.rows);
        let began = Instant::now();
        let row = connection.query_one(&select, &[&key]).await?;
        spread.add(began.elapsed());
        let branch: i32 = row.get(0);
        if i64::from(branch) != key % 100 {
            return Err(BenchError::Refused(format!("row {key} has branch {branch}")));
        }
    }
    Ok(spread)
}
