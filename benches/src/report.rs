//! What was measured, as JSON and as a page.
//!
//! Every number comes with machine, version, data and command, so that it can be measured again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::BenchError;

/// The distribution of repeated measurements.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    micros: Vec<u64>,
}

impl Spread {
    /// Adds one measurement.
    pub fn add(&mut self, time: Duration) {
        self.micros.push(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of another one's.
    pub fn merge(&mut self, other: Spread) {
        self.micros.extend(other.micros);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.micros.len()
    }

    /// The time below which this share (0 to 1) of the measurements lies, in microseconds; 0 if there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let index = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(index).copied().unwrap_or(0)
    }

    /// Count, median, tails and extremes.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "count": self.count(),
            "min_us": self.quantile(0.0),
            "p50_us": self.quantile(0.5),
            "p95_us": self.quantile(0.95),
            "p99_us": self.quantile(0.99),
            "max_us": self.quantile(1.0),
        })
    }
}

/// One line of a page: what, and its numbers by name.
#[derive(Clone, Debug)]
pub struct Line {
    /// What was measured.
    pub name: String,
    /// Names and values, in the order of the page's columns.
    pub values: Vec<(&'static str, Value)>,
}

/// A page about one workload.
#[derive(Clone, Debug)]
pub struct Report {
    /// The workload's name, which names the files too.
    pub workload: String,
    /// Machine, versions, data, parameters.
    pub facts: Vec<(String, String)>,
    /// The results.
    pub lines: Vec<Line>,
}

impl Report {
    /// An empty page that knows the machine and the command.
    #[must_use]
    pub fn new(workload: &str) -> Report {
        let command: Vec<String> = std::env::args().skip(1).collect();
        let facts = vec![
            ("machine".to_owned(), machine()),
            ("commit".to_owned(), commit()),
            ("command".to_owned(), format!("colonnade-bench {}", command.join(" "))),
        ];
        Report { workload: workload.to_owned(), facts, lines: Vec::new() }
    }

    /// Adds a fact.
    pub fn fact(&mut self, name: &str, value: impl ToString) {
        self.facts.push((name.to_owned(), value.to_string()));
    }

    /// The page as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let facts: serde_json::Map<String, Value> =
            self.facts.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                let mut entry = serde_json::Map::new();
                entry.insert("name".to_owned(), json!(line.name));
                entry.extend(line.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
                Value::Object(entry)
            })
            .collect();
        json!({ "workload": self.workload, "facts": facts, "results": lines })
    }

    /// The page as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n", self.workload);
        for (name, value) in &self.facts {
            text += &format!("- {name}: {value}\n");
        }
        if let Some(first) = self.lines.first() {
            let names: Vec<&str> = first.values.iter().map(|(name, _)| *name).collect();
            text += &format!("\n| | {} |\n|---|{}\n", names.join(" | "), "--:|".repeat(names.len()));
        }
        for line in &self.lines {
            let cells: Vec<String> = line.values.iter().map(|(_, value)| cell(value)).collect();
            text += &format!("| {} | {} |\n", line.name, cells.join(" | "));
        }
        text
    }

    /// Writes `WORKLOAD.json` and `WORKLOAD.md` into a directory and returns the page's path.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, BenchError> {
        std::fs::create_dir_all(directory).map_err(BenchError::file(directory))?;
        let json = directory.join(format!("{}.json", self.workload));
        std::fs::write(&json, format!("{:#}\n", self.json())).map_err(BenchError::file(&json))?;
        let page = directory.join(format!("{}.md", self.workload));
        std::fs::write(&page, self.markdown()).map_err(BenchError::file(&page))?;
        Ok(page)
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            number.as_f64().filter(|v| v.fract() != 0.0).map_or(number.to_string(), |v| format!("{v:.2}"))
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn machine() -> String {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("").trim_matches([' ', '\t', ':']);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: u64 =
        memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {cores} cores, {} GiB", kilobytes.div_ceil(1 << 20))
}

fn commit() -> String {
    let output = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map_or_else(|| "unknown".to_owned(), |text| String::from_utf8_lossy(&text).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_measurements() {
        let mut spread = Spread::default();
        for micros in [5, 1, 4, 2, 3] {
            spread.add(Duration::from_micros(micros));
        }
        assert_eq!((spread.quantile(0.0), spread.quantile(0.5), spread.quantile(1.0)), (1, 3, 5));
        assert_eq!(Spread::default().quantile(0.5), 0);
    }

    #[test]
    fn a_page_has_one_row_for_each_line() {
        let mut report = Report::new("test");
        report.lines.push(Line { name: "q1".to_owned(), values: vec![("ms", json!(1.5)), ("rows", json!(3))] });
        assert!(report.markdown().ends_with("| | ms | rows |\n|---|--:|--:|\n| q1 | 1.50 | 3 |\n"));
        assert_eq!(report.json()["results"][0]["rows"], json!(3));
    }
}
