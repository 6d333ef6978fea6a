//! The scan as an operator of DataFusion's plans.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::SchemaRef;
use colonnade_storage::{Scan, UnitKind};
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{DynamicFilterTracking, EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use parking_lot::Mutex;

use crate::scan::granule::Predicate;
use crate::scan::reader::{MORSEL_GRANULES, Work, stream};

/// A column that a scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadColumn {
    /// By its index among the columns of the storage's scan.
    Stored(usize),
    /// The rows' addresses.
    Address,
}

/// Reads a table at a snapshot.
#[derive(Debug)]
pub(crate) struct ScanExec {
    pub(super) table: String,
    pub(super) scan: Scan,
    /// The columns read: first those of the output, then those that only filters need.
    pub(super) read_schema: SchemaRef,
    pub(super) columns: Vec<ReadColumn>,
    pub(super) output: SchemaRef,
    /// Over `read_schema`; rows of which one is not true are left out.
    pub(super) filters: Vec<Arc<dyn PhysicalExpr>>,
    /// Over `read_schema`; advice that changes while the query runs.
    pub(super) dynamic: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) limit: Option<usize>,
    partitions: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    statistics: OnceLock<Arc<Statistics>>,
    /// The running execution, and the partitions of it that have been opened.
    running: Mutex<Option<(Arc<Work>, Vec<usize>)>>,
}

impl ScanExec {
    pub(super) fn new(
        table: String,
        scan: Scan,
        read_schema: SchemaRef,
        columns: Vec<ReadColumn>,
        output_columns: usize,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        partitions: usize,
    ) -> ScanExec {
        let indices: Vec<usize> = (0..output_columns).collect();
        let output = read_schema.project(&indices).map_or_else(|_| Arc::clone(&read_schema), Arc::new);
        let morsels: usize = scan.units().iter().map(|unit| unit.granules.div_ceil(MORSEL_GRANULES)).sum();
        let partitions = partitions.min(morsels).max(1);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&output)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        ScanExec {
            table,
            scan,
            read_schema,
            columns,
            output,
            filters,
            dynamic: Vec::new(),
            limit: None,
            partitions,
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
            statistics: OnceLock::new(),
            running: Mutex::new(None),
        }
    }

    pub(super) fn limited(mut self, limit: Option<usize>) -> ScanExec {
        self.limit = limit;
        self
    }

    /// The same scan, not yet run.
    fn copy(&self) -> ScanExec {
        ScanExec {
            table: self.table.clone(),
            scan: self.scan.clone(),
            read_schema: Arc::clone(&self.read_schema),
            columns: self.columns.clone(),
            output: Arc::clone(&self.output),
            filters: self.filters.clone(),
            dynamic: self.dynamic.clone(),
            limit: self.limit,
            partitions: self.partitions,
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
            statistics: OnceLock::new(),
            running: Mutex::new(None),
        }
    }

    /// The predicates in the order in which they are evaluated.
    pub(super) fn predicates(&self) -> DataFusionResult<Vec<Predicate>> {
        let fixed = self.filters.iter().map(|filter| Predicate::new(filter, &self.read_schema, false));
        let advice = self.dynamic.iter().map(|filter| Predicate::new(filter, &self.read_schema, true));
        fixed.chain(advice).collect()
    }

    /// Segments that the scan may read.
    pub(crate) fn segments(&self) -> usize {
        let mut segments: Vec<_> = self
            .scan
            .units()
            .iter()
            .filter_map(|unit| match unit.kind {
                UnitKind::Segment { segment, .. } => Some(segment),
                UnitKind::Tail { .. } => None,
            })
            .collect();
        segments.sort_unstable();
        segments.dedup();
        segments.len()
    }

    /// Granules that the scan may read.
    pub(crate) fn granules(&self) -> usize {
        self.scan.units().iter().map(|unit| unit.granules).sum()
    }

    /// Bytes read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.scan.bytes_read()
    }

    fn compute_statistics(&self) -> Statistics {
        let rows = usize::try_from(self.scan.exact_rows()).unwrap_or(usize::MAX);
        let stored: usize = self.scan.units().iter().map(|unit| unit.rows).sum();
        let column_statistics = (0..self.output.fields().len())
            .map(|column| match self.columns[column] {
                ReadColumn::Stored(stored_column) => {
                    self.column_statistics(stored_column, rows == stored).unwrap_or_default()
                }
                ReadColumn::Address => ColumnStatistics::new_unknown(),
            })
            .collect();
        let mut statistics =
            Statistics { num_rows: Precision::Exact(rows), total_byte_size: Precision::Absent, column_statistics };
        statistics.calculate_total_byte_size(&self.output);
        if self.filters.is_empty() && self.limit.is_none() {
            return statistics;
        }
        let mut inexact = statistics.to_inexact();
        if !self.filters.is_empty() {
            // As the optimizer guesses for a filter that it cannot read.
            inexact.num_rows = inexact.num_rows.with_estimated_selectivity(0.2);
        }
        if let Some(limit) = self.limit {
            inexact.num_rows = inexact.num_rows.min(&Precision::Inexact(limit));
        }
        inexact
    }

    /// Bounds of a column over all granules; exact if every bound is a value that a visible row has.
    fn column_statistics(&self, column: usize, all_visible: bool) -> Option<ColumnStatistics> {
        let zones = self.scan.zone_maps(column).ok()?;
        let mut statistics = ColumnStatistics::new_unknown();
        let nulls: u64 = zones.null_count.iter().flatten().sum();
        let nulls = usize::try_from(nulls).unwrap_or(usize::MAX);
        statistics.null_count = if all_visible { Precision::Exact(nulls) } else { Precision::Inexact(nulls) };
        // A granule without bounds may hold anything, unless all of its values are NULL.
        let bounded = (0..zones.min.len()).all(|i| {
            (zones.min.is_valid(i) && zones.max.is_valid(i)) || zones.null_count.value(i) == zones.row_count.value(i)
        });
        if !bounded {
            return Some(statistics);
        }
        let exact = all_visible && (0..zones.min.len()).all(|i| zones.min.is_null(i) || zones.exact.value(i));
        let precise = |value: ScalarValue| if exact { Precision::Exact(value) } else { Precision::Inexact(value) };
        if let Some(min) = extreme(&zones.min, std::cmp::Ordering::Less) {
            statistics.min_value = precise(min);
        }
        if let Some(max) = extreme(&zones.max, std::cmp::Ordering::Greater) {
            statistics.max_value = precise(max);
        }
        Some(statistics)
    }
}

/// The least or greatest of an array's values.
fn extreme(values: &ArrayRef, wanted: std::cmp::Ordering) -> Option<ScalarValue> {
    let mut best: Option<ScalarValue> = None;
    for row in 0..values.len() {
        if values.is_null(row) {
            continue;
        }
        let value = ScalarValue::try_from_array(values, row).ok()?;
        let better = match &best {
            None => true,
            Some(best) => value.partial_cmp(best)? == wanted,
        };
        if better {
            best = Some(value);
        }
    }
    best
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.output.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "ColonnadeScan: table={}, columns=[{}]", self.table, columns.join(", "))?;
        if !self.filters.is_empty() {
            let filters: Vec<String> = self.filters.iter().map(ToString::to_string).collect();
            write!(f, ", filter={}", filters.join(" AND "))?;
        }
        if !self.dynamic.is_empty() {
            let filters: Vec<String> = self.dynamic.iter().map(ToString::to_string).collect();
            write!(f, ", dynamic filter={}", filters.join(" AND "))?;
        }
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ColonnadeScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        for expr in self.filters.iter().chain(&self.dynamic) {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.copy()))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let work = {
            let mut running = self.running.lock();
            // A partition that is opened again belongs to another execution of the same plan.
            if let Some((work, opened)) = running.as_mut().filter(|(_, opened)| !opened.contains(&partition)) {
                opened.push(partition);
                Arc::clone(work)
            } else {
                let work = Arc::new(Work::new(self)?);
                *running = Some((Arc::clone(&work), vec![partition]));
                work
            }
        };
        stream(self, work, partition, &self.metrics, context.session_config().batch_size())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DataFusionResult<Arc<Statistics>> {
        if partition.is_some() && self.partitions > 1 {
            return Ok(Arc::new(Statistics::new_unknown(&self.output)));
        }
        Ok(Arc::clone(self.statistics.get_or_init(|| Arc::new(self.compute_statistics()))))
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.copy().limited(limit)))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> DataFusionResult<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        // A limit that is in place already counts rows before any further filter.
        if self.limit.is_some() || result.parent_filters.is_empty() {
            return Ok(FilterPushdownPropagation::all_unsupported(result));
        }
        let mut node = self.copy();
        let mut answers = Vec::with_capacity(result.parent_filters.len());
        for parent in result.parent_filters {
            // The output's columns are the first of those read, in the same order, so that indices stay.
            let known = parent
                .filter
                .exists(|e| Ok(e.downcast_ref::<Column>().is_some_and(|c| c.index() >= self.output.fields().len())))?;
            if known {
                answers.push(PushedDown::No);
                continue;
            }
            let filter = parent.filter;
            if DynamicFilterTracking::classify(&filter).contains_dynamic_filter() {
                node.dynamic.push(filter);
            } else {
                node.filters.push(filter);
            }
            answers.push(PushedDown::Yes);
        }
        Ok(FilterPushdownPropagation::with_parent_pushdown_result(answers)
            .with_updated_node(Arc::new(node) as Arc<dyn ExecutionPlan>))
    }
}
