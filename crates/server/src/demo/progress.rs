//! Progress of a load: a bar for people, plain lines for files.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

/// Time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows how many of `total` rows are loaded. Threads may share it.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    rows: AtomicU64,
    last_line: Mutex<Instant>,
}

impl Progress {
    pub(super) fn new(total: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let style = "{msg:10} [{bar:40}] {human_pos} of {human_len} rows, {per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Progress { bar, total, rows: AtomicU64::new(0), last_line: Mutex::new(Instant::now()) }
    }

    /// Says which table is next.
    pub(super) fn begin(&self, table: &'static str) {
        if let Some(bar) = &self.bar {
            bar.set_message(table);
        }
    }

    /// Counts rows that were taken in.
    pub(super) fn add(&self, rows: u64) {
        let sum = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        match &self.bar {
            Some(bar) => bar.set_position(sum.min(self.total)),
            None => {
                let mut last_line = self.last_line.lock();
                if last_line.elapsed() >= LINE_INTERVAL {
                    *last_line = Instant::now();
                    eprintln!("{sum} of {} rows", self.total);
                }
            }
        }
    }

    /// Clears the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
