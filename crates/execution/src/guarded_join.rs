//! Joins that can be stopped.
//!
//! A join may work for hours on one pair of input batches, between two points at which a task could be cancelled. [`guard_joins`] puts a
//! [`GuardedJoinExec`] on every join, which asks the statement's [`CancelGuard`] at every batch, and inside the filter of a nested loop at
//! every chunk of pairs; [`detached`] runs such a plan in a task of its own, so that the task that waits for rows keeps hearing its client.
//!
//! ```text
//! NestedLoopJoinExec: filter=f        ->      GuardedJoinExec(NestedLoopJoinExec: filter=guarded(f))
//! ```
//!
//! The guard reaches the plan through the task context, so a plan may be made long before it is run.

use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt};

use crate::cancel::CancelGuard;
use crate::error::Error;

/// What stops a running plan: its statement's guard, or that nobody waits for its rows any more.
#[derive(Clone)]
pub(crate) struct PlanGuard {
    guard: CancelGuard,
    is_abandoned: Arc<AtomicBool>,
}

impl PlanGuard {
    pub(crate) fn new(guard: CancelGuard) -> PlanGuard {
        PlanGuard { guard, is_abandoned: Arc::default() }
    }

    fn check(&self) -> Result<()> {
        if self.is_abandoned.load(Ordering::Relaxed) {
            return Err(Error::internal("nobody waits for these rows").into_datafusion());
        }
        self.guard.check().map_err(Error::into_datafusion)
    }
}

thread_local! {
    /// The guard of the join that this thread is working on.
    static CURRENT: RefCell<Option<PlanGuard>> = const { RefCell::new(None) };
}

/// Puts a guard on every join of a plan.
pub(crate) fn guard_joins(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(guard_filter);
            let join = NestedLoopJoinExec::try_new(
                Arc::clone(join.left()),
                Arc::clone(join.right()),
                filter,
                join.join_type(),
                join.projection().as_ref().map(|columns| columns.to_vec()),
            )?;
            return Ok(Transformed::yes(GuardedJoinExec::over(Arc::new(join))));
        }
        let is_join = node.downcast_ref::<CrossJoinExec>().is_some()
            || node.downcast_ref::<HashJoinExec>().is_some()
            || node.downcast_ref::<SortMergeJoinExec>().is_some();
        Ok(if is_join { Transformed::yes(GuardedJoinExec::over(node)) } else { Transformed::no(node) })
    })
    .data()
}

fn guard_filter(filter: &JoinFilter) -> JoinFilter {
    let expression = Arc::new(GuardedExpr { inner: Arc::clone(filter.expression()) });
    JoinFilter::new(expression, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// Whether a plan has guarded joins.
pub(crate) fn has_joins(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<GuardedJoinExec>().is_some() || plan.children().into_iter().any(has_joins)
}

/// Runs a stream in a task of its own. Dropping the result stops it.
pub(crate) fn detached(
    mut stream: SendableRecordBatchStream,
    guard: &PlanGuard,
) -> Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>> {
    // One batch on its way while the next is made.
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let task = tokio::spawn(async move {
        while let Some(batch) = stream.next().await {
            if sender.send(batch).await.is_err() {
                break;
            }
        }
    });
    let listener = Listener { receiver, task, is_abandoned: Arc::clone(&guard.is_abandoned) };
    Box::pin(
        futures::stream::unfold(listener, |mut listener| async move {
            match listener.receiver.recv().await {
                Some(batch) => Some((batch, listener)),
                None => {
                    // The task has ended: well, or by a panic that must not pass for the end of the rows.
                    let ended = (&mut listener.task).await;
                    ended.err().map(|error| (Err(Error::internal(error.to_string()).into_datafusion()), listener))
                }
            }
        })
        .take_while({
            // After a failed task there is nothing more to ask it for.
            let mut has_failed = false;
            move |batch| {
                let goes_on = !has_failed;
                has_failed |= batch.is_err();
                futures::future::ready(goes_on)
            }
        }),
    )
}

/// Who waits for the rows of a detached plan.
struct Listener {
    receiver: tokio::sync::mpsc::Receiver<Result<RecordBatch>>,
    task: tokio::task::JoinHandle<()>,
    is_abandoned: Arc<AtomicBool>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

/// Passes a join's batches on as long as its statement may run.
#[derive(Debug)]
pub(crate) struct GuardedJoinExec {
    input: Arc<dyn ExecutionPlan>,
}

impl GuardedJoinExec {
    fn over(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(GuardedJoinExec { input })
    }

    /// The join.
    pub(crate) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }
}

impl DisplayAs for GuardedJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedJoinExec")
    }
}

impl ExecutionPlan for GuardedJoinExec {
    fn name(&self) -> &'static str {
        "GuardedJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(GuardedJoinExec::over(input)),
            Err(_) => Err(Error::internal("a guarded join has one input").into_datafusion()),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let guard = context.session_config().get_extension::<PlanGuard>();
        let stream = self.input.execute(partition, context)?;
        Ok(match guard {
            Some(guard) => make_cooperative(Box::pin(GuardedStream { stream, guard, yielded: Instant::now() })),
            None => stream,
        })
    }
}

/// How long a join works before it lets other tasks of its thread run.
const SLICE: Duration = Duration::from_millis(10);

struct GuardedStream {
    stream: SendableRecordBatchStream,
    guard: Arc<PlanGuard>,
    /// When the join last let others run.
    yielded: Instant,
}

impl Stream for GuardedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(error) = self.guard.check() {
            return Poll::Ready(Some(Err(error)));
        }
        if self.yielded.elapsed() > SLICE {
            self.yielded = Instant::now();
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let outer = CURRENT.replace(Some(self.guard.as_ref().clone()));
        let polled = self.stream.poll_next_unpin(context);
        CURRENT.set(outer);
        polled
    }
}

impl RecordBatchStream for GuardedStream {
    fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }
}

/// A filter that fails once its statement is to stop.
#[derive(Debug)]
struct GuardedExpr {
    inner: Arc<dyn PhysicalExpr>,
}

impl PartialEq for GuardedExpr {
    fn eq(&self, other: &GuardedExpr) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for GuardedExpr {}

impl Hash for GuardedExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for GuardedExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for GuardedExpr {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        self.inner.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.inner.nullable(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        CURRENT.with_borrow(|guard| guard.as_ref().map_or(Ok(()), PlanGuard::check))?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 1]>::try_from(children) {
            Ok([inner]) => Ok(Arc::new(GuardedExpr { inner })),
            Err(_) => Err(Error::internal("a guarded filter has one input").into_datafusion()),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
