//! How fast analytic queries are: the files of a directory, each run several times.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_postgres::SimpleQueryMessage;

use super::connect;
use crate::BenchError;
use crate::report::{Line, Report};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub url: String,
    /// A directory of `*.sql`, such as `benches/queries/tpch`.
    pub queries: PathBuf,
    /// How often each is run; the first run is cold.
    pub runs: usize,
    /// Name of the report.
    pub name: String,
}

/// The queries of a directory, by number: (name, text).
///
/// # Errors
/// If they cannot be read.
pub fn queries(directory: &Path) -> Result<Vec<(String, String)>, BenchError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(BenchError::file(directory))? {
        let path = entry.map_err(BenchError::file(directory))?.path();
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "sql") && name.starts_with('q') {
            let number: u32 = name[1..].parse().unwrap_or(u32::MAX);
            let text = std::fs::read_to_string(&path).map_err(BenchError::file(&path))?;
            found.push((number, name, text));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, name, text)| (name, text)).collect())
}

/// Runs every query and reports the cold time, the best hot time and the number of rows. A failing query is reported and does not end the run.
///
/// # Errors
/// If the server cannot be reached.
pub async fn run(options: &Options) -> Result<Report, BenchError> {
    let mut report = Report::new(&options.name);
    report.fact("runs", options.runs);
    let mut client = connect(&options.url).await?;
    let mut sum = Duration::ZERO;
    for (name, text) in queries(&options.queries)? {
        let mut times = Vec::new();
        let mut rows = 0;
        let mut failure = None;
        for _ in 0..options.runs {
            let began = Instant::now();
            match client.simple_query(&text).await {
                Ok(messages) => {
                    rows = messages.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count();
                    times.push(began.elapsed());
                }
                Err(error) => {
                    failure = Some(BenchError::from(error).to_string());
                    break;
                }
            }
        }
        if client.is_closed() {
            client = connect(&options.url).await?;
        }
        let hot = times.iter().skip(1).min().or(times.first()).copied();
        sum += hot.unwrap_or_default();
        let milliseconds = |time: Option<Duration>| json!(time.map(|time| (time.as_secs_f64() * 1e5).round() / 100.0));
        eprintln!("{name}: {:?} {}", hot.unwrap_or_default(), failure.as_deref().unwrap_or_default());
        report.lines.push(Line {
            name,
            values: vec![
                ("first, ms", milliseconds(times.first().copied())),
                ("best, ms", milliseconds(hot)),
                ("rows", json!(rows)),
                ("failure", json!(failure)),
            ],
        });
    }
    report.fact("sum of best, s", format!("{:.3}", sum.as_secs_f64()));
    Ok(report)
}
