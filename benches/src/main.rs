//! The `colonnade-bench` command.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use colonnade_benches::report::Report;
use colonnade_benches::workload::{analytic, ingest, mixed, point_read};
use colonnade_benches::{BenchError, generate};

/// Generates data and measures a running server over the PostgreSQL protocol.
#[derive(Parser)]
#[command(name = "colonnade-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a data set as Parquet.
    Generate {
        #[command(subcommand)]
        data: Data,
    },
    /// Rows in: single inserts, batches, COPY.
    Ingest {
        #[command(flatten)]
        server: Server,
        /// Rows of a batch and of a COPY.
        #[arg(long, default_value_t = 1000)]
        batch_rows: usize,
    },
    /// Random rows by primary key.
    PointRead {
        #[command(flatten)]
        server: Server,
        /// Rows of the table.
        #[arg(long, default_value_t = 1_000_000)]
        rows: i64,
    },
    /// The queries of a directory.
    Analytic {
        #[command(flatten)]
        server: Server,
        /// Directory of q*.sql.
        #[arg(long)]
        queries: PathBuf,
        /// Runs of each query.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
    /// Transactions and analytics at once.
    Mixed {
        #[command(flatten)]
        server: Server,
        /// Accounts.
        #[arg(long, default_value_t = 100_000)]
        rows: i64,
        /// Clients that run analytics.
        #[arg(long, default_value_t = 1)]
        analysts: usize,
    },
}

#[derive(Subcommand)]
enum Data {
    /// The web analytics table of 105 columns.
    Hits {
        /// Number of rows.
        #[arg(long)]
        rows: usize,
        /// The file.
        #[arg(long)]
        out: PathBuf,
        /// Where all values come from.
        #[arg(long, default_value_t = 7)]
        seed: u64,
    },
    /// TPC-H's eight tables.
    Tpch {
        /// Scale factor; 1 is about 350 MB of Parquet.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
        /// The directory.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Which server, how long, and where the results go.
#[derive(clap::Args, Clone)]
struct Server {
    /// A PostgreSQL URL.
    #[arg(long, default_value = "postgresql://colonnade@127.0.0.1:5432/colonnade")]
    url: String,
    /// Clients at once.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Where random keys come from.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Directory of the results.
    #[arg(long, default_value = "benches/results")]
    out: PathBuf,
}

impl Server {
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("colonnade-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Runtime::new().map_err(BenchError::file("runtime"))?;
    match command {
        Command::Generate { data } => generate_data(data),
        Command::Ingest { server, batch_rows } => {
            let duration = server.duration();
            let options = ingest::Options { url: server.url.clone(), clients: server.clients, duration, batch_rows };
            finish(&server, runtime.block_on(ingest::run(&options))?)
        }
        Command::PointRead { server, rows } => {
            let (url, clients, duration, seed) = (server.url.clone(), server.clients, server.duration(), server.seed);
            finish(
                &server,
                runtime.block_on(point_read::run(&point_read::Options { url, clients, duration, rows, seed }))?,
            )
        }
        Command::Analytic { server, queries, runs } => {
            let kind = queries.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let options =
                analytic::Options { url: server.url.clone(), queries, runs, name: format!("analytic-{kind}") };
            finish(&server, runtime.block_on(analytic::run(&options))?)
        }
        Command::Mixed { server, rows, analysts } => {
            let (url, clients, duration, seed) = (server.url.clone(), server.clients, server.duration(), server.seed);
            let options = mixed::Options { url, clients, analysts, duration, rows, seed };
            finish(&server, runtime.block_on(mixed::run(&options))?)
        }
    }
}

fn generate_data(data: Data) -> Result<(), BenchError> {
    let began = Instant::now();
    match data {
        Data::Hits { rows, out, seed } => generate::hits::write(&out, rows, seed, |done| {
            eprintln!("{done} of {rows} rows, {:.0} s", began.elapsed().as_secs_f64());
        }),
        Data::Tpch { scale, out } => generate::tpch::write(&out, scale, |table| {
            eprintln!("{table}, {:.0} s", began.elapsed().as_secs_f64());
        }),
    }
}

fn finish(server: &Server, report: Report) -> Result<(), BenchError> {
    println!("{}", report.markdown());
    let page = report.write(&server.out)?;
    eprintln!("written to {}", page.display());
    Ok(())
}
