//! DataFusion set up as we need it, and plans run.

use std::pin::Pin;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use colonnade_types::SqlType;
use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use futures::{Stream, StreamExt as _};

use crate::binder::arithmetic::{AggregateInput, Widened};
use crate::binder::cast::physical;
use crate::cancel::CancelGuard;
use crate::engine::EngineOptions;
use crate::error::{Error, Result};
use crate::guarded_join::{self, PlanGuard};
use crate::outcome::ResultSchema;

/// Batches of a query's result.
pub(crate) type Batches = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// Rows of a batch between operators.
pub(crate) const BATCH_ROWS: usize = 8_192;

/// The memory pool and the directory for spilled data, shared by all sessions.
pub(crate) fn runtime(options: &EngineOptions) -> Result<Arc<RuntimeEnv>> {
    let bytes = options.query_memory_bytes.max(16 << 20);
    let consumers = std::num::NonZeroUsize::new(5).unwrap_or(std::num::NonZeroUsize::MIN);
    let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), consumers);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![options.temp_dir.clone()])),
        )
        .build_arc()
        .map_err(|error| Error::internal(format!("could not set up the query memory: {error}")))
}

/// The state that every session copies.
pub(crate) fn base_state(options: &EngineOptions, runtime: Arc<RuntimeEnv>) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_target_partitions(options.threads.max(1))
        .with_batch_size(BATCH_ROWS)
        .with_collect_statistics(true)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false);
    let parameters = config.options_mut();
    parameters.sql_parser.parse_float_as_decimal = true;
    parameters.sql_parser.collect_spans = true;
    parameters.sql_parser.map_string_types_to_utf8view = true;
    parameters.sql_parser.default_null_ordering = "nulls_max".to_owned();
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_scalar_functions(scalar_functions())
        .build();
    crate::builtin::register_functions(&mut state)?;
    for function in crate::builtin::table_functions() {
        state.register_udtf(function.name(), Arc::clone(function.function()));
    }
    if options.files {
        crate::copy::table_functions::register(&mut state);
    }
    Ok(state)
}

fn scalar_functions() -> Vec<Arc<datafusion::logical_expr::ScalarUDF>> {
    let mut functions = datafusion::execution::SessionStateDefaults::default_scalar_functions();
    functions.push(Arc::new(AggregateInput::udf(Widened::Sum)));
    functions.push(Arc::new(AggregateInput::udf(Widened::Avg)));
    functions
}

/// Optimizes a plan and makes it executable.
pub(crate) async fn physical_plan(state: &SessionState, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let optimized = crate::parser::on_large_stack(|| state.optimize(plan))?;
    let plan = state.query_planner().create_physical_plan(&optimized, state).await?;
    Ok(guarded_join::guard_joins(plan)?)
}

/// Starts a plan. Its batches have the physical form that `types` say.
pub(crate) fn run(
    state: &SessionState,
    plan: Arc<dyn ExecutionPlan>,
    types: Vec<SqlType>,
    guard: CancelGuard,
) -> Result<Batches> {
    let plan_guard = PlanGuard::new(guard.clone());
    let context = Arc::into_inner(state.task_ctx())
        .ok_or_else(|| Error::internal("the task context of a statement is shared"))?;
    let config = context.session_config().clone().with_extension(Arc::new(plan_guard.clone()));
    let context = Arc::new(context.with_session_config(config));
    let has_joins = guarded_join::has_joins(&plan);
    let stream = execute_stream(plan, context)?;
    let stream = if has_joins { guarded_join::detached(stream, &plan_guard) } else { stream };
    let batches = futures::stream::unfold(Some((stream, guard, types)), |state| async move {
        let (mut stream, guard, types) = state?;
        let next = match guard.run(stream.next()).await {
            Ok(next) => next?.map_err(Error::from),
            Err(error) => Err(error),
        };
        match next.and_then(|batch| conform(&batch, &types)) {
            Ok(batch) => Some((Ok(batch), Some((stream, guard, types)))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(Box::pin(batches))
}

/// Brings a batch's columns to the physical forms of SQL types.
pub(crate) fn conform(batch: &RecordBatch, types: &[SqlType]) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(types).map(|(array, t)| physical(array, t)).collect::<Result<Vec<_>>>()?;
    let fields: Vec<_> =
        batch.schema().fields().iter().zip(types).map(|(field, t)| t.field(field.name(), true)).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(arrow::datatypes::Schema::new(fields)), columns, &options)?)
}

/// The types of a result's columns.
pub(crate) fn types_of(schema: &ResultSchema) -> Vec<SqlType> {
    schema.columns.iter().map(|column| column.sql_type.clone()).collect()
}
