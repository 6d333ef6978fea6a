//! Figures for `/metrics`, in Prometheus' text form.
//!
//! Counters and histograms are counted where things happen; sizes are read from the database when somebody asks. The recorder is the
//! process's, so several servers of one process (tests) share it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use colonnade_execution::Engine;
use colonnade_types::{Relation, SqlState};
use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;

use crate::config::machine;
use crate::phase::Phase;

/// Upper bounds of the latency histogram, in seconds.
const LATENCY_BOUNDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0];

/// By which door a statement came in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    PostgreSql,
    Http,
}

impl Protocol {
    fn label(self) -> &'static str {
        match self {
            Protocol::PostgreSql => "postgresql",
            Protocol::Http => "http",
        }
    }
}

/// The recorder of the process, installed at the first call.
pub(crate) fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new().set_buckets(&LATENCY_BOUNDS).ok()?.build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).ok()?;
            describe();
            Some(handle)
        })
        .as_ref()
}

fn describe() {
    describe_gauge!("colonnade_connections", "Open connections.");
    describe_counter!("colonnade_statements_total", "Statements that finished without an error.");
    describe_counter!("colonnade_errors_total", "Errors told to clients, by SQLSTATE class.");
    describe_histogram!("colonnade_statement_seconds", "Time from a statement's arrival to the end of its result.");
    describe_counter!("colonnade_rows_sent_total", "Rows sent to clients.");
    describe_gauge!("colonnade_wal_written_bytes", "End of the write-ahead log.");
    describe_gauge!("colonnade_wal_durable_bytes", "Durable end of the write-ahead log.");
    describe_gauge!("colonnade_wal_since_checkpoint_bytes", "Log that a start would replay.");
    describe_gauge!("colonnade_tail_rows", "Rows in row stores.");
    describe_gauge!("colonnade_tail_bytes", "Bytes in row stores.");
    describe_gauge!("colonnade_segments", "Segment files.");
    describe_gauge!("colonnade_segment_rows", "Rows in segments, deleted ones included.");
    describe_gauge!("colonnade_segment_bytes", "Bytes of segment files.");
    describe_gauge!("colonnade_deleted_rows", "Deleted rows in segments.");
    describe_gauge!("colonnade_oldest_snapshot_seconds", "Age of the oldest snapshot in use.");
    describe_gauge!("colonnade_flushed_rows", "Rows that have left row stores since the start, dead ones included.");
    describe_gauge!("colonnade_compactions", "Compactions since the start.");
    describe_gauge!("colonnade_compacted_bytes", "Bytes that compaction has read and written since the start.");
    describe_gauge!("colonnade_query_memory_bytes", "Memory that running statements hold in the pool.");
    describe_gauge!("colonnade_resident_bytes", "Resident memory of the process.");
}

/// Counts a connection as long as it lives.
pub(crate) struct Connected(Protocol);

/// Counts a connection that was admitted.
pub(crate) fn connected(protocol: Protocol) -> Connected {
    gauge!("colonnade_connections", "protocol" => protocol.label()).increment(1.0);
    Connected(protocol)
}

impl Drop for Connected {
    fn drop(&mut self) {
        gauge!("colonnade_connections", "protocol" => self.0.label()).decrement(1.0);
    }
}

/// Times a statement.
pub(crate) struct StatementTimer {
    protocol: Protocol,
    start: Instant,
}

impl StatementTimer {
    pub(crate) fn start(protocol: Protocol) -> StatementTimer {
        StatementTimer { protocol, start: Instant::now() }
    }

    /// Counts the statement as done.
    pub(crate) fn finish(self) {
        let statements = Statements::of(self.protocol);
        statements.total.increment(1);
        statements.seconds.record(self.start.elapsed().as_secs_f64());
    }
}

/// What is counted for each statement, looked up once.
struct Statements {
    total: Counter,
    seconds: Histogram,
}

impl Statements {
    fn of(protocol: Protocol) -> &'static Statements {
        static ALL: [OnceLock<Statements>; 2] = [const { OnceLock::new() }; 2];
        ALL[protocol as usize].get_or_init(|| {
            // Handles made before there is a recorder would count nothing.
            recorder();
            Statements {
                total: counter!("colonnade_statements_total", "protocol" => protocol.label()),
                seconds: histogram!("colonnade_statement_seconds", "protocol" => protocol.label()),
            }
        })
    }
}

/// Sorts recorded times into their histograms from time to time, until the server ends: what is not sorted takes memory.
pub(crate) async fn tidy(mut phase: watch::Receiver<Phase>) {
    const PERIOD: Duration = Duration::from_secs(2);
    let ending = async move {
        // An error is the end, too.
        let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await;
    };
    tokio::pin!(ending);
    while tokio::time::timeout(PERIOD, &mut ending).await.is_err() {
        if let Some(handle) = recorder() {
            handle.run_upkeep();
        }
    }
}

/// Counts an error that a client is told.
pub(crate) fn failed(protocol: Protocol, state: SqlState) {
    let class = state.code().get(..2).unwrap_or("XX");
    counter!("colonnade_errors_total", "protocol" => protocol.label(), "class" => class).increment(1);
}

/// Counts rows sent.
pub(crate) fn sent_rows(rows: usize) {
    static SENT: OnceLock<Counter> = OnceLock::new();
    let sent = SENT.get_or_init(|| {
        recorder();
        counter!("colonnade_rows_sent_total")
    });
    sent.increment(rows as u64);
}

/// The page that `/metrics` shows.
pub(crate) fn page(engine: Option<&Engine>) -> String {
    if let Some(engine) = engine {
        sample(engine);
    }
    if let Some(bytes) = machine::resident_bytes() {
        set("colonnade_resident_bytes", bytes);
    }
    recorder().map(PrometheusHandle::render).unwrap_or_default()
}

fn sample(engine: &Engine) {
    let database = engine.database();
    let wal = database.wal_status();
    set("colonnade_wal_written_bytes", wal.end.0);
    set("colonnade_wal_durable_bytes", wal.durable.0);
    set("colonnade_wal_since_checkpoint_bytes", wal.end.0.saturating_sub(wal.checkpoint.0));
    let metrics = database.metrics();
    set("colonnade_oldest_snapshot_seconds", metrics.oldest_snapshot_age_ms / 1_000);
    set("colonnade_flushed_rows", metrics.flushed_rows);
    set("colonnade_compactions", metrics.compactions);
    set("colonnade_compacted_bytes", metrics.compacted_bytes);
    set("colonnade_query_memory_bytes", engine.memory_reserved() as u64);
    let (mut tail_rows, mut tail_bytes, mut segments, mut rows, mut bytes, mut deleted) = (0, 0, 0, 0, 0, 0);
    let snapshot = database.snapshot();
    for relation in snapshot.catalog().relations() {
        if let Relation::Table(table) = relation {
            let status = database.table_status(table.storage);
            tail_rows += status.tail_rows;
            tail_bytes += status.tail_bytes;
            segments += status.segments;
            rows += status.segment_rows;
            bytes += status.segment_bytes;
            deleted += status.deleted_rows;
        }
    }
    set("colonnade_tail_rows", tail_rows);
    set("colonnade_tail_bytes", tail_bytes);
    set("colonnade_segments", segments);
    set("colonnade_segment_rows", rows);
    set("colonnade_segment_bytes", bytes);
    set("colonnade_deleted_rows", deleted);
}

#[allow(clippy::cast_precision_loss)] // Prometheus has no other numbers.
fn set(name: &'static str, value: u64) {
    gauge!(name).set(value as f64);
}
