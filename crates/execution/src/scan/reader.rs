//! Running a scan: partitions take morsels from one queue and read granule by granule.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use colonnade_storage::{Scan, UnitKind};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::{snapshot_generation, snapshot_physical_expr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt as _;

use crate::error::Result;
use crate::scan::exec::{ReadColumn, ScanExec};
use crate::scan::granule::{GranuleReader, Predicate};
use crate::scan::pruning::admitted;

/// Granules of a morsel: 65,536 rows.
pub(super) const MORSEL_GRANULES: usize = 8;

/// A run of granules within a unit.
#[derive(Clone, Copy, Debug)]
struct Morsel {
    unit: usize,
    first: usize,
    granules: usize,
}

/// One execution of a scan, shared by its partitions.
#[derive(Debug)]
pub(super) struct Work {
    scan: Scan,
    columns: Vec<ReadColumn>,
    read_schema: SchemaRef,
    output: SchemaRef,
    predicates: Vec<Predicate>,
    dynamic: Vec<Arc<dyn PhysicalExpr>>,
    morsels: Vec<Morsel>,
    next: AtomicUsize,
    /// Granules that static filters admit, by place among all; `None` is all of them.
    admitted: Option<Vec<bool>>,
    /// Rows still wanted under a limit.
    wanted: AtomicUsize,
    limited: bool,
    /// By segment, whether a granule of it has been read.
    segments: HashMap<u64, AtomicBool>,
    counted: AtomicBool,
}

impl Work {
    pub(super) fn new(exec: &ScanExec) -> DataFusionResult<Work> {
        let mut kept: Option<Vec<bool>> = None;
        for filter in &exec.filters {
            if let Some(more) = admitted(&exec.scan, &exec.read_schema, &exec.columns, filter)? {
                kept = Some(match kept {
                    None => more,
                    Some(kept) => kept.iter().zip(&more).map(|(a, b)| *a && *b).collect(),
                });
            }
        }
        let mut morsels = Vec::new();
        let mut segments = HashMap::new();
        for (index, unit) in exec.scan.units().iter().enumerate() {
            if let UnitKind::Segment { segment, .. } = unit.kind {
                segments.insert(segment.0, AtomicBool::new(false));
            }
            for first in (0..unit.granules).step_by(MORSEL_GRANULES) {
                let granules = MORSEL_GRANULES.min(unit.granules - first);
                let place = unit.first_granule + first;
                let any = kept.as_ref().is_none_or(|kept| kept[place..place + granules].iter().any(|k| *k));
                if any {
                    morsels.push(Morsel { unit: index, first, granules });
                }
            }
        }
        Ok(Work {
            scan: exec.scan.clone(),
            columns: exec.columns.clone(),
            read_schema: Arc::clone(&exec.read_schema),
            output: Arc::clone(&exec.output),
            predicates: exec.predicates()?,
            dynamic: exec.dynamic.clone(),
            morsels,
            next: AtomicUsize::new(0),
            admitted: kept,
            wanted: AtomicUsize::new(exec.limit.unwrap_or(usize::MAX)),
            limited: exec.limit.is_some(),
            segments,
            counted: AtomicBool::new(false),
        })
    }

    /// Marks a unit's segment as read; true the first time.
    fn mark(&self, unit: usize) -> bool {
        match self.scan.units()[unit].kind {
            UnitKind::Segment { segment, .. } => {
                self.segments.get(&segment.0).is_some_and(|read| !read.swap(true, Ordering::Relaxed))
            }
            UnitKind::Tail { .. } => false,
        }
    }
}

/// What EXPLAIN ANALYZE shows of a scan.
struct Counters {
    segments_read: Count,
    granules_read: Count,
    granules_skipped_static: Count,
    granules_skipped_dynamic: Count,
}

impl Counters {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Counters {
        let counter = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Counters {
            segments_read: counter("segments_read"),
            granules_read: counter("granules_read"),
            granules_skipped_static: counter("granules_skipped_by_filter"),
            granules_skipped_dynamic: counter("granules_skipped_by_dynamic_filter"),
        }
    }
}

/// One partition's state.
struct Reader {
    work: Arc<Work>,
    morsel: Option<(Morsel, usize)>,
    /// What each dynamic filter admits, and the generation of the filter that said so.
    advice: Vec<(u64, Option<Vec<bool>>)>,
    coalescer: Option<BatchCoalescer>,
    batch_size: usize,
    counters: Counters,
    baseline: BaselineMetrics,
    finished: bool,
}

/// Opens a partition of an execution.
pub(super) fn stream(
    exec: &ScanExec,
    work: Arc<Work>,
    partition: usize,
    metrics: &ExecutionPlanMetricsSet,
    batch_size: usize,
) -> DataFusionResult<SendableRecordBatchStream> {
    let counters = Counters::new(metrics, partition);
    if !work.counted.swap(true, Ordering::Relaxed)
        && let Some(kept) = &work.admitted
    {
        counters.granules_skipped_static.add(kept.iter().filter(|kept| !**kept).count());
    }
    let advice = work.dynamic.iter().map(|_| (u64::MAX, None)).collect();
    let filtered = !work.predicates.is_empty();
    let coalescer = filtered.then(|| BatchCoalescer::new(Arc::clone(&work.output), batch_size));
    let reader = Reader {
        morsel: None,
        advice,
        coalescer,
        batch_size,
        counters,
        baseline: BaselineMetrics::new(metrics, partition),
        finished: false,
        work,
    };
    let batches = futures::stream::unfold(reader, |mut reader| async move {
        let next = reader.next_batch();
        next.map_err(Into::into).transpose().map(|batch| (batch, reader))
    });
    let adapter = RecordBatchStreamAdapter::new(Arc::clone(&exec.output), batches.boxed());
    Ok(Box::pin(cooperative(adapter)))
}

impl Reader {
    /// The next batch; `None` at the end. Reads as many granules as it takes to have one.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let timer = self.baseline.elapsed_compute().clone();
        let _timer = timer.timer();
        loop {
            if let Some(batch) = self.coalescer.as_mut().and_then(BatchCoalescer::next_completed_batch) {
                return Ok(self.deliver(batch));
            }
            if self.finished {
                return Ok(None);
            }
            let Some((unit, granule)) = self.next_granule()? else {
                self.finished = true;
                if let Some(coalescer) = &mut self.coalescer {
                    coalescer.finish_buffered_batch()?;
                }
                continue;
            };
            if self.work.mark(unit) {
                self.counters.segments_read.add(1);
            }
            self.counters.granules_read.add(1);
            let reader = GranuleReader {
                scan: &self.work.scan,
                columns: &self.work.columns,
                predicates: &self.work.predicates,
                output: &self.work.output,
            };
            let Some(batch) = reader.read(unit, granule)? else { continue };
            match &mut self.coalescer {
                // Batches that are large enough go out as they are; small ones are put together.
                Some(coalescer)
                    if !self.work.limited && batch.num_rows() * 2 < self.batch_size && !batch.columns().is_empty() =>
                {
                    coalescer.push_batch(batch)?;
                }
                _ => return Ok(self.deliver(batch)),
            }
        }
    }

    fn deliver(&mut self, batch: RecordBatch) -> Option<RecordBatch> {
        let batch = if self.work.limited {
            let rows = batch.num_rows();
            let before = self
                .work
                .wanted
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |wanted| Some(wanted.saturating_sub(rows)))
                .unwrap_or(0);
            if before <= rows {
                self.finished = true;
            }
            if before == 0 {
                return None;
            }
            batch.slice(0, rows.min(before))
        } else {
            batch
        };
        self.baseline.record_output(batch.num_rows());
        Some(batch)
    }

    /// The next granule that every filter admits.
    fn next_granule(&mut self) -> Result<Option<(usize, usize)>> {
        loop {
            if self.work.limited && self.work.wanted.load(Ordering::Relaxed) == 0 {
                return Ok(None);
            }
            let (morsel, offset) = match self.morsel.take() {
                Some(current) => current,
                None => {
                    let next = self.work.next.fetch_add(1, Ordering::Relaxed);
                    let Some(morsel) = self.work.morsels.get(next).copied() else { return Ok(None) };
                    self.refresh_advice()?;
                    (morsel, 0)
                }
            };
            if offset >= morsel.granules {
                continue;
            }
            self.morsel = Some((morsel, offset + 1));
            let granule = morsel.first + offset;
            let place = self.work.scan.units()[morsel.unit].first_granule + granule;
            if self.work.admitted.as_ref().is_some_and(|kept| !kept[place]) {
                continue;
            }
            if self.advice.iter().any(|(_, kept)| kept.as_ref().is_some_and(|kept| !kept[place])) {
                self.counters.granules_skipped_dynamic.add(1);
                continue;
            }
            return Ok(Some((morsel.unit, granule)));
        }
    }

    /// Asks the zone maps again for every dynamic filter that has changed.
    fn refresh_advice(&mut self) -> Result<()> {
        for (filter, (generation, kept)) in self.work.dynamic.iter().zip(&mut self.advice) {
            let now = snapshot_generation(filter);
            if now == *generation {
                continue;
            }
            *generation = now;
            let fixed = snapshot_physical_expr(Arc::clone(filter))?;
            *kept = admitted(&self.work.scan, &self.work.read_schema, &self.work.columns, &fixed)?;
        }
        Ok(())
    }
}
