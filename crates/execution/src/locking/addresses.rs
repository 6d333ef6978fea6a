//! Plans that keep the addresses of the rows they are made of.
//!
//! Scans of the tables to be locked get the hidden column of addresses, and everything above them passes it on, behind its own columns. That works for what takes rows as
//! they are: projections, filters, joins, sorts, limits, and names. Where rows are made of several, PostgreSQL refuses to lock, and so does this.

use std::collections::HashMap;
use std::sync::Arc;

use colonnade_storage::Snapshot;
use colonnade_types::{SqlState, TableDefinition};
use datafusion::common::Column;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{
    Expr, JoinType, Limit, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias, TableScan,
};

use crate::error::{Error, Result};
use crate::locking::clause::{Locking, not_allowed};
use crate::scan::{ADDRESS, Table};

/// A table whose rows are locked; its place is that of its addresses behind the plan's own columns.
#[derive(Clone, Debug)]
pub(super) struct LockedTable {
    pub(super) table: Arc<TableDefinition>,
    pub(super) locking: Locking,
}

/// A plan with addresses.
pub(super) struct Addressed {
    pub(super) plan: LogicalPlan,
    pub(super) tables: Vec<LockedTable>,
}

/// Adds the addresses of the rows of `targets`, relations of the outermost FROM, to a plan.
pub(super) fn add(plan: LogicalPlan, targets: &HashMap<String, Locking>, snapshot: &Snapshot) -> Result<Addressed> {
    let mut work = Work { targets, snapshot, tables: Vec::new() };
    let width = plan.schema().fields().len();
    let (plan, columns) = work.node(plan, None)?;
    // In the order of the tables, behind the plan's own columns.
    let mut exprs: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .filter(|column| !columns.iter().any(|(own, _)| own == column))
        .map(Expr::Column)
        .collect();
    if exprs.len() != width {
        return Err(Error::internal("a plan with addresses has lost columns"));
    }
    let mut ordered = columns;
    ordered.sort_by_key(|(_, table)| *table);
    exprs.extend(ordered.into_iter().map(|(column, table)| Expr::Column(column).alias(name(table))));
    let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
    Ok(Addressed { plan, tables: work.tables })
}

/// The name of a table's addresses above its scan.
fn name(table: usize) -> String {
    format!("{ADDRESS}{table}")
}

/// A column of addresses, and the table's index.
type Addresses = Vec<(Column, usize)>;

struct Work<'a> {
    targets: &'a HashMap<String, Locking>,
    snapshot: &'a Snapshot,
    tables: Vec<LockedTable>,
}

impl Work<'_> {
    /// `inside` is the locking of the relation that the plan is part of; `None` at the outermost level.
    fn node(&mut self, plan: LogicalPlan, inside: Option<Locking>) -> Result<(LogicalPlan, Addresses)> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, inside),
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(locking) = inside.or_else(|| self.targets.get(alias.alias.table()).copied()) else {
                    return Ok((LogicalPlan::SubqueryAlias(alias), Vec::new()));
                };
                let (input, columns) = self.node(Arc::unwrap_or_clone(alias.input), Some(locking))?;
                let columns = columns
                    .into_iter()
                    .map(|(column, table)| (Column::new(Some(alias.alias.clone()), column.name), table))
                    .collect();
                let plan = SubqueryAlias::try_new(Arc::new(input), alias.alias)?;
                Ok((LogicalPlan::SubqueryAlias(plan), columns))
            }
            LogicalPlan::Projection(projection) => {
                let (input, columns) = self.node(Arc::unwrap_or_clone(projection.input), inside)?;
                let mut exprs = projection.expr;
                let mut out = Vec::with_capacity(columns.len());
                for (column, table) in columns {
                    exprs.push(Expr::Column(column).alias(name(table)));
                    out.push((Column::new_unqualified(name(table)), table));
                }
                Ok((LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?), out))
            }
            LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
                let exprs = plan.expressions();
                let input = plan.inputs().first().map(|input| (*input).clone());
                let input = input.ok_or_else(|| Error::internal("a plan has no input"))?;
                let (input, columns) = self.node(input, inside)?;
                Ok((plan.with_new_exprs(exprs, vec![input])?, columns))
            }
            LogicalPlan::Join(ref join)
                if !matches!(
                    join.join_type,
                    JoinType::LeftSemi
                        | JoinType::RightSemi
                        | JoinType::LeftAnti
                        | JoinType::RightAnti
                        | JoinType::LeftMark
                        | JoinType::RightMark
                ) =>
            {
                let exprs = plan.expressions();
                let (left, mut columns) = self.node(join.left.as_ref().clone(), inside)?;
                let (right, more) = self.node(join.right.as_ref().clone(), inside)?;
                columns.extend(more);
                Ok((plan.with_new_exprs(exprs, vec![left, right])?, columns))
            }
            LogicalPlan::Aggregate(aggregate) => match inside {
                Some(locking) if aggregate.group_expr.is_empty() => Err(not_allowed(locking, "aggregate functions")),
                Some(locking) => Err(not_allowed(locking, "GROUP BY clause")),
                None => Ok((LogicalPlan::Aggregate(aggregate), Vec::new())),
            },
            LogicalPlan::Distinct(distinct) => match inside {
                Some(locking) => Err(not_allowed(locking, "DISTINCT clause")),
                None => Ok((LogicalPlan::Distinct(distinct), Vec::new())),
            },
            LogicalPlan::Window(window) => match inside {
                Some(locking) => Err(not_allowed(locking, "window functions")),
                None => Ok((LogicalPlan::Window(window), Vec::new())),
            },
            LogicalPlan::Union(union) => match inside {
                Some(locking) => Err(not_allowed(locking, "UNION/INTERSECT/EXCEPT")),
                None => Ok((LogicalPlan::Union(union), Vec::new())),
            },
            other => Ok((other, Vec::new())),
        }
    }

    fn scan(&mut self, scan: TableScan, inside: Option<Locking>) -> Result<(LogicalPlan, Addresses)> {
        let Some(locking) = inside.or_else(|| self.targets.get(scan.table_name.table()).copied()) else {
            return Ok((LogicalPlan::TableScan(scan), Vec::new()));
        };
        let provider = source_as_provider(&scan.source)?;
        let Some(table) = provider.downcast_ref::<Table>() else {
            let words = locking.words();
            let what = format!("{words} of \"{}\", which is no table,", scan.table_name.table());
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{what} is not supported")));
        };
        let definition = table.definition();
        let addressed = Table::new(Arc::clone(definition), Some(self.snapshot.clone()), true);
        let source = provider_as_source(Arc::new(addressed));
        let plan = LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?.build()?;
        self.tables.push(LockedTable { table: Arc::clone(definition), locking });
        Ok((plan, vec![(Column::new(Some(scan.table_name), ADDRESS), self.tables.len() - 1)]))
    }
}

/// The limit on top of a plan, taken off: what is left, rows to be left out, rows wanted.
pub(super) fn take_limit(plan: LogicalPlan) -> Result<(LogicalPlan, usize, Option<usize>)> {
    match plan {
        LogicalPlan::Limit(limit) => {
            let (skip, fetch) = numbers(&limit)?;
            Ok((Arc::unwrap_or_clone(limit.input), skip, fetch))
        }
        LogicalPlan::Projection(projection) => {
            let (input, skip, fetch) = take_limit(Arc::unwrap_or_clone(projection.input))?;
            Ok((LogicalPlan::Projection(Projection::try_new(projection.expr, Arc::new(input))?), skip, fetch))
        }
        other => Ok((other, 0, None)),
    }
}

fn numbers(limit: &Limit) -> Result<(usize, Option<usize>)> {
    use datafusion::logical_expr::{FetchType, SkipType};
    match (limit.get_skip_type()?, limit.get_fetch_type()?) {
        (SkipType::Literal(skip), FetchType::Literal(fetch)) => Ok((skip, fetch)),
        _ => Err(Error::unsupported("SKIP LOCKED with a LIMIT or OFFSET that is no number")),
    }
}
