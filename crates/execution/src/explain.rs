//! EXPLAIN and EXPLAIN ANALYZE: the plan as lines of text.
//!
//! Of every table read, EXPLAIN ANALYZE says how many segments and granules were read and how many were skipped, and by what.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, StringViewArray};
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::metrics::MetricValue;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use futures::StreamExt as _;

use crate::error::Result;
use crate::guarded_join::GuardedJoinExec;
use crate::outcome::{ResultSchema, RowBatches, RowStream, TagRule};
use crate::planner::Batches;
use crate::scan::exec::ScanExec;

/// What EXPLAIN is to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExplainOptions {
    pub(crate) analyze: bool,
    pub(crate) verbose: bool,
}

/// The columns of EXPLAIN's result.
pub(crate) fn schema() -> ResultSchema {
    ResultSchema::text(&["QUERY PLAN"])
}

/// Lines as EXPLAIN's result.
pub(crate) fn rows(lines: &[String]) -> Result<RowStream> {
    let schema = schema();
    let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(lines));
    let batch = RecordBatch::try_new(schema.arrow_schema(), vec![column])?;
    Ok(RowStream { schema: Arc::new(schema), batches: RowBatches::ready(batch), tag: TagRule::Words("EXPLAIN") })
}

/// What a run of a plan took.
pub(crate) struct Measured {
    rows: u64,
    elapsed: Duration,
}

/// Runs a plan to its end and counts its rows.
pub(crate) async fn measure(mut batches: Batches) -> Result<Measured> {
    let start = Instant::now();
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch?.num_rows() as u64;
    }
    Ok(Measured { rows, elapsed: start.elapsed() })
}

/// A plan's operators, outermost first, with what they did if the plan was run.
pub(crate) fn lines(plan: &Arc<dyn ExecutionPlan>, measured: Option<&Measured>, planning: Duration) -> Vec<String> {
    let mut lines = Vec::new();
    describe(plan.as_ref(), 0, measured.is_some(), &mut lines);
    if let Some(measured) = measured {
        lines.push(format!("Rows: {}", measured.rows));
        lines.push(format!("Planning Time: {:.3} ms", planning.as_secs_f64() * 1e3));
        lines.push(format!("Execution Time: {:.3} ms", measured.elapsed.as_secs_f64() * 1e3));
    }
    lines
}

struct Shown<'a>(&'a dyn ExecutionPlan);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt_as(DisplayFormatType::Default, f)
    }
}

fn describe(plan: &dyn ExecutionPlan, depth: usize, analyze: bool, lines: &mut Vec<String>) {
    if let Some(guarded) = plan.downcast_ref::<GuardedJoinExec>() {
        return describe(guarded.input().as_ref(), depth, analyze, lines);
    }
    let indent = if depth == 0 { String::new() } else { format!("{}->  ", " ".repeat(depth * 6 - 4)) };
    let text = Shown(plan).to_string().replace(crate::binder::names::MARK, "#");
    let mut line = format!("{indent}{text}");
    if analyze && let Some(metrics) = plan.metrics() {
        let metrics = metrics.aggregate_by_name();
        let rows = metrics.output_rows();
        let time = metrics.elapsed_compute();
        if let Some(rows) = rows {
            let _ = write!(line, "  (actual rows={rows}");
            if let Some(nanos) = time {
                let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                let _ = write!(line, " time={:.3} ms", Duration::from_nanos(nanos).as_secs_f64() * 1e3);
            }
            line.push(')');
        }
    }
    lines.push(line);
    let detail = " ".repeat(depth * 6 + 2);
    if let Some(scan) = plan.downcast_ref::<ScanExec>() {
        describe_scan(scan, analyze, &detail, lines);
    } else if analyze {
        describe_spills(plan, &detail, lines);
    }
    for child in plan.children() {
        describe(child.as_ref(), depth + 1, analyze, lines);
    }
}

fn describe_scan(scan: &ScanExec, analyze: bool, detail: &str, lines: &mut Vec<String>) {
    let (segments, granules) = (scan.segments(), scan.granules());
    if !analyze {
        lines.push(format!("{detail}Segments: {segments}  Granules: {granules}"));
        return;
    }
    let metrics = scan.metrics().unwrap_or_default();
    let count = |name: &str| metrics.sum_by_name(name).map_or(0, |value| value.as_usize());
    let read = count("segments_read");
    let granules_read = count("granules_read");
    let by_filter = count("granules_skipped_by_filter");
    let by_dynamic = count("granules_skipped_by_dynamic_filter");
    lines.push(format!("{detail}Segments: read={read} skipped={}", segments.saturating_sub(read)));
    lines.push(format!(
        "{detail}Granules: read={granules_read} skipped={} (by filter={by_filter}, by dynamic filter={by_dynamic})",
        granules.saturating_sub(granules_read)
    ));
    lines.push(format!("{detail}Bytes read: {}", scan.bytes_read()));
}

fn describe_spills(plan: &dyn ExecutionPlan, detail: &str, lines: &mut Vec<String>) {
    let Some(metrics) = plan.metrics() else { return };
    let spilled = metrics.sum(|metric| matches!(metric.value(), MetricValue::SpilledBytes(_)));
    if let Some(bytes) = spilled.map(|value| value.as_usize()).filter(|bytes| *bytes > 0) {
        lines.push(format!("{detail}Spilled: {bytes} bytes"));
    }
}
