//! Running a query that locks, on its own or inside another statement.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, UInt64Type};
use colonnade_storage::{LockMode, LockedBy, RowAddress, Snapshot, WriteError};
use colonnade_types::{Relation, SqlState};
use datafusion::datasource::{MemTable, provider_as_source};
use futures::StreamExt as _;
use sqlparser::ast::{self, VisitMut as _, VisitorMut};

use crate::binder::provider::Scope;
use crate::binder::syntax::Parameters;
use crate::binder::{Binder, result_schema};
use crate::dml::{Attempt, WriteContext, snapshot};
use crate::error::{Error, Result};
use crate::locking::addresses::{self, LockedTable};
use crate::locking::clause::{self, Wait};
use crate::locks::write_error;
use crate::outcome::{Outcome, ResultSchema, RowBatches, RowStream, TagRule};
use crate::planner::{Batches, physical_plan, run as run_plan, types_of};

/// Rows beyond those wanted that a query with SKIP LOCKED and a limit reads at first, in case others hold some.
const SPARE_ROWS: usize = 256;

/// Runs a query that locks, or in which one does.
pub(crate) async fn run(
    context: &WriteContext,
    binder: &Binder,
    query: &ast::Query,
    parameters: &Parameters,
) -> Result<Outcome> {
    loop {
        match attempt(context, binder, query, parameters).await {
            Ok((schema, batches)) => {
                return Ok(Outcome::Rows(RowStream {
                    schema: Arc::new(schema),
                    batches: RowBatches::stream(batches),
                    tag: TagRule::Count("SELECT"),
                }));
            }
            Err(Attempt::Failed(error)) => return Err(error),
            Err(Attempt::Conflict) if context.repeatable => return Err(write_error(WriteError::Conflict, None)),
            Err(Attempt::Conflict) => context.waiter.guard.check()?,
        }
    }
}

async fn attempt(
    context: &WriteContext,
    binder: &Binder,
    query: &ast::Query,
    parameters: &Parameters,
) -> Result<(ResultSchema, Batches), Attempt> {
    let snapshot = snapshot(context)?;
    let mut scope = binder.scope(Arc::clone(snapshot.catalog()), Some(snapshot.clone()));
    let mut query = query.clone();
    resolve_inner(context, binder, &mut query, &mut scope, &snapshot, parameters).await?;
    if !query.locks.is_empty() {
        let (schema, batches) = locked_rows(context, binder, &query, scope, &snapshot, parameters).await?;
        return Ok((schema, Box::pin(futures::stream::iter(batches.into_iter().map(Ok)))));
    }
    let bound = crate::rewrite::as_names(binder.plan(&query, scope, parameters)?, &binder.state)?;
    let plan = physical_plan(&binder.state, &bound.plan).await?;
    let batches = run_plan(&binder.state, plan, types_of(&bound.schema), context.waiter.guard.clone())?;
    Ok((bound.schema, batches))
}

/// Runs what locks in a query, the query itself included, and puts its rows, as tables of `scope`, in its place.
pub(crate) async fn resolve(
    context: &WriteContext,
    binder: &Binder,
    query: &mut ast::Query,
    scope: &mut Scope,
    snapshot: &Snapshot,
    parameters: &Parameters,
) -> Result<(), Attempt> {
    resolve_inner(context, binder, query, scope, snapshot, parameters).await?;
    if query.locks.is_empty() {
        return Ok(());
    }
    let (schema, batches) = locked_rows(context, binder, query, scope.clone(), snapshot, parameters).await?;
    *query = stand_in(scope, &schema, batches)?;
    Ok(())
}

/// Runs what locks within a query.
async fn resolve_inner(
    context: &WriteContext,
    binder: &Binder,
    query: &mut ast::Query,
    scope: &mut Scope,
    snapshot: &Snapshot,
    parameters: &Parameters,
) -> Result<(), Attempt> {
    let with = query.with.clone();
    for place in 0..with.as_ref().map_or(0, |with| with.cte_tables.len()) {
        let Some(own) = &mut query.with else { break };
        if !clause::locks(&own.cte_tables[place].query) {
            continue;
        }
        let mut inner = own.cte_tables[place].query.as_ref().clone();
        let before = own.cte_tables[..place].to_vec();
        inner.with = joined(with.as_ref(), before, inner.with);
        Box::pin(resolve(context, binder, &mut inner, scope, snapshot, parameters)).await?;
        if let Some(own) = &mut query.with {
            *own.cte_tables[place].query = inner;
        }
    }
    loop {
        let mut take = Take { depth: 0, taken: None, stand_in: None };
        let _ = query.visit(&mut take);
        let Some(mut inner) = take.taken else { return Ok(()) };
        if let Some(own) = &query.with {
            inner.with = joined(Some(own), own.cte_tables.clone(), inner.with);
        }
        let (schema, batches) = locked_rows(context, binder, &inner, scope.clone(), snapshot, parameters).await?;
        let stand_in = stand_in(scope, &schema, batches)?;
        let mut put = Take { depth: 0, taken: None, stand_in: Some(stand_in) };
        let _ = query.visit(&mut put);
    }
}

/// WITH of an outer query before that of an inner one.
fn joined(outer: Option<&ast::With>, before: Vec<ast::Cte>, inner: Option<ast::With>) -> Option<ast::With> {
    if before.is_empty() {
        return inner;
    }
    let mut with = outer.cloned()?;
    with.cte_tables = before;
    with.cte_tables.extend(inner.into_iter().flat_map(|inner| inner.cte_tables));
    Some(with)
}

/// Finds the first innermost query that locks, below the outermost; copies it, or puts another in its place.
struct Take {
    depth: usize,
    taken: Option<ast::Query>,
    stand_in: Option<ast::Query>,
}

impl VisitorMut for Take {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        if self.depth == 0 || query.locks.is_empty() {
            return ControlFlow::Continue(());
        }
        match self.stand_in.take() {
            Some(stand_in) => *query = stand_in,
            None => self.taken = Some(query.clone()),
        }
        ControlFlow::Break(())
    }
}

/// A query that gives these rows, from a table that is added to `scope`.
fn stand_in(scope: &mut Scope, schema: &ResultSchema, batches: Vec<RecordBatch>) -> Result<ast::Query> {
    let name = format!("\u{1}locked{}", scope.overrides.len());
    let table = MemTable::try_new(schema.arrow_schema(), vec![batches])?;
    scope.overrides.insert(name.clone(), provider_as_source(Arc::new(table)));
    Ok(*crate::parser::parse_query(&format!("SELECT * FROM \"{name}\""))?)
}

/// The rows of a query that locks, locked.
async fn locked_rows(
    context: &WriteContext,
    binder: &Binder,
    query: &ast::Query,
    scope: Scope,
    snapshot: &Snapshot,
    parameters: &Parameters,
) -> Result<(ResultSchema, Vec<RecordBatch>), Attempt> {
    let targets = clause::targets(query, &binder.state)?;
    let mut bare = query.clone();
    bare.locks.clear();
    let bound = crate::rewrite::as_names(binder.plan(&bare, scope, parameters)?, &binder.state)?;
    let skips = targets.values().any(|locking| locking.wait == Wait::Skip);
    let (plan, mut skip, mut fetch) = if skips { addresses::take_limit(bound.plan)? } else { (bound.plan, 0, None) };
    let addressed = addresses::add(plan, &targets, snapshot)?;
    lock_tables(context, &addressed.tables).await?;
    let mut rows =
        Rows { context, snapshot, tables: &addressed.tables, width: bound.schema.columns.len(), kept: Vec::new() };
    let mut types = types_of(&bound.schema);
    let all = result_schema(addressed.plan.schema())?;
    types.extend(types_of(&all).into_iter().skip(rows.width));
    // At first no more than it will probably take.
    let first = fetch.map(|fetch| skip.saturating_add(fetch).saturating_add(SPARE_ROWS));
    for limit in if first.is_some() { vec![first, None] } else { vec![None] } {
        let (wanted_skip, wanted) = (&mut skip, &mut fetch);
        let plan = match limit {
            Some(_) => datafusion::logical_expr::LogicalPlanBuilder::from(addressed.plan.clone())
                .limit(0, limit)
                .and_then(datafusion::logical_expr::LogicalPlanBuilder::build)
                .map_err(Error::from)?,
            None => addressed.plan.clone(),
        };
        let plan = physical_plan(&binder.state, &plan).await?;
        let mut batches = run_plan(&binder.state, plan, types.clone(), context.waiter.guard.clone())?;
        let mut read = 0;
        let (mut left_out, mut left) = (*wanted_skip, *wanted);
        rows.kept.clear();
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            read += batch.num_rows();
            if rows.take(batch, &mut left_out, &mut left).await? {
                break;
            }
        }
        if left == Some(0) || limit.is_none_or(|limit| read < limit) {
            break;
        }
    }
    let kept = rows.kept;
    let types = types_of(&bound.schema);
    let kept = kept.into_iter().map(|batch| crate::planner::conform(&batch, &types)).collect::<Result<Vec<_>>>()?;
    Ok((bound.schema, kept))
}

/// Takes ROW SHARE on the tables, and sees to it that they are what they were when the query was planned.
async fn lock_tables(context: &WriteContext, tables: &[LockedTable]) -> Result<(), Attempt> {
    let mut seen = HashSet::new();
    for LockedTable { table, .. } in tables.iter().filter(|locked| seen.insert(locked.table.oid)) {
        context.lock(table.oid, LockMode::RowShare).await?;
        let now = context.with(|transaction| transaction.catalog())?;
        match now.relation(table.oid) {
            Some(Relation::Table(now)) if now == table => {}
            _ => return Err(Attempt::Conflict),
        }
    }
    Ok(())
}

/// Rows on their way through the locks.
struct Rows<'a> {
    context: &'a WriteContext,
    snapshot: &'a Snapshot,
    tables: &'a [LockedTable],
    /// Columns of the result; the addresses are behind them.
    width: usize,
    kept: Vec<RecordBatch>,
}

impl Rows<'_> {
    /// Locks rows until there are enough; true then. `skip` rows that were locked are left out.
    async fn take(
        &mut self,
        batch: RecordBatch,
        skip: &mut usize,
        wanted: &mut Option<usize>,
    ) -> Result<bool, Attempt> {
        let mut from = 0;
        while from < batch.num_rows() {
            if *wanted == Some(0) {
                return Ok(true);
            }
            let rest = batch.num_rows() - from;
            let count = wanted.map_or(rest, |wanted| rest.min(wanted.saturating_add(*skip)));
            let locked = self.lock(batch.slice(from, count)).await?;
            from += count;
            let left_out = locked.num_rows().min(*skip);
            *skip -= left_out;
            let columns: Vec<usize> = (0..self.width).collect();
            let locked = locked.slice(left_out, locked.num_rows() - left_out).project(&columns).map_err(Error::from)?;
            if let Some(wanted) = wanted {
                *wanted -= locked.num_rows();
            }
            if locked.num_rows() > 0 {
                self.kept.push(locked);
            }
        }
        Ok(*wanted == Some(0))
    }

    /// Locks rows, table by table; returns those that are locked.
    async fn lock(&self, mut batch: RecordBatch) -> Result<RecordBatch, Attempt> {
        for (place, LockedTable { table, locking }) in self.tables.iter().enumerate() {
            let addresses = addresses_of(&batch, self.width + place)?;
            let others = if locking.wait == Wait::Skip { LockedBy::Skipped } else { LockedBy::Blocks };
            let rows: &[RowAddress] = addresses.values();
            let outcome = if locking.wait == Wait::Fail {
                let once = self.context.with(|t| t.lock_rows(self.snapshot, table, rows, locking.mode, others))?;
                if let Err(WriteError::Blocked(_)) = once {
                    return Err(Attempt::Failed(Error::new(
                        SqlState::LOCK_NOT_AVAILABLE,
                        format!("could not obtain lock on row in relation \"{}\"", table.name),
                    )));
                }
                once.map_err(crate::dml::WriteOrError::Write)
            } else {
                self.context.write(|t| t.lock_rows(self.snapshot, table, rows, locking.mode, others)).await
            };
            let skipped = outcome.map_err(|error| error.into_attempt(&table.name))?;
            if !skipped.is_empty() {
                let kept: BooleanArray =
                    addresses.values().iter().map(|row| Some(skipped.binary_search(row).is_err())).collect();
                batch = filter_record_batch(&batch, &kept).map_err(Error::from)?;
            }
        }
        Ok(batch)
    }
}

fn addresses_of(batch: &RecordBatch, column: usize) -> Result<UInt64Array> {
    // Addresses, which are unsigned, travel as numeric(20, 0).
    let array = arrow::compute::kernels::cast::cast(batch.column(column), &DataType::UInt64)?;
    if array.null_count() > 0 {
        return Err(Error::internal("a row has no address"));
    }
    Ok(array.as_primitive::<UInt64Type>().clone())
}
