//! Short transactions and analytics at once: what each costs the other.
//!
//! Phases of equal length: transactions alone, analytics alone, both. A transaction updates one account and reads it back; the analytic
//! query aggregates all accounts, whose balances must always sum to zero because every transaction moves money between two of them.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::{all, connect, point_read};
use crate::BenchError;
use crate::report::{Line, Report, Spread};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub url: String,
    /// Clients that run transactions.
    pub clients: usize,
    /// Clients that run analytics.
    pub analysts: usize,
    /// Time of each phase.
    pub duration: Duration,
    /// Accounts.
    pub rows: i64,
    /// Where the keys come from.
    pub seed: u64,
}

/// Runs the three phases.
///
/// # Errors
/// If the server fails a statement other than by a conflict, or an aggregate sees half a transaction.
pub async fn run(options: &Options) -> Result<Report, BenchError> {
    point_read::prepare(&options.url, options.rows).await?;
    let mut report = Report::new("mixed");
    report.fact("accounts", options.rows);
    report.fact("seconds of each phase", options.duration.as_secs_f64());
    for (name, clients, analysts) in [
        ("transactions alone", options.clients, 0),
        ("analytics alone", 0, options.analysts),
        ("both", options.clients, options.analysts),
    ] {
        let transactions: Vec<_> = (0..clients).map(|n| tokio::spawn(transact(options.clone(), n))).collect();
        let queries: Vec<_> = (0..analysts).map(|_| tokio::spawn(analyse(options.clone()))).collect();
        let (mut short, mut long) = (Spread::default(), Spread::default());
        all(transactions).await?.into_iter().for_each(|times| short.merge(times));
        all(queries).await?.into_iter().for_each(|times| long.merge(times));
        let seconds = options.duration.as_secs_f64();
        report.lines.push(Line {
            name: name.to_owned(),
            values: vec![
                ("transactions/s", json!((short.count() as f64 / seconds).round())),
                ("p50, us", json!(short.quantile(0.5))),
                ("p99, us", json!(short.quantile(0.99))),
                ("queries/s", json!(long.count() as f64 / seconds)),
                ("query p50, ms", json!(long.quantile(0.5) as f64 / 1000.0)),
            ],
        });
    }
    Ok(report)
}

async fn transact(options: Options, client: usize) -> Result<Spread, BenchError> {
    let connection = connect(&options.url).await?;
    let update = connection.prepare("UPDATE bench_account SET balance = balance + $2 WHERE id = $1").await?;
    let mut random = SmallRng::seed_from_u64(options.seed + client as u64);
    let mut spread = Spread::default();
    let end = Instant::now() + options.duration;
    while Instant::now() < end {
        let (a, b) = (random.random_range(1..=options.rows), random.random_range(1..=options.rows));
        // In key order, so that two transactions never wait for each other in a circle.
        let (low, high) = (a.min(b), a.max(b));
        let amount: i64 = random.random_range(1..100);
        let began = Instant::now();
        connection.batch_execute("BEGIN").await?;
        connection.execute(&update, &[&low, &amount]).await?;
        connection.execute(&update, &[&high, &-amount]).await?;
        connection.batch_execute("COMMIT").await?;
        spread.add(began.elapsed());
    }
    Ok(spread)
}

async fn analyse(options: Options) -> Result<Spread, BenchError> {
    let connection = connect(&options.url).await?;
    let mut spread = Spread::default();
    let end = Instant::now() + options.duration;
    while Instant::now() < end {
        let began = Instant::now();
        let rows = connection
            .query("SELECT branch, count(*), sum(balance)::bigint, min(balance), max(balance) FROM bench_account GROUP BY branch", &[])
            .await?;
        spread.add(began.elapsed());
        let count: i64 = rows.iter().map(|row| row.get::<_, i64>(1)).sum();
        let sum: i64 = rows.iter().map(|row| row.get::<_, i64>(2)).sum();
        if (count, sum) != (options.rows, 0) {
            return Err(BenchError::Refused(format!("an aggregate saw {count} accounts with {sum} in all")));
        }
    }
    Ok(spread)
}
