//! RETURNING: a projection over the rows that a statement wrote.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use colonnade_types::TableDefinition;
use datafusion::datasource::{MemTable, provider_as_source};
use futures::TryStreamExt as _;
use sqlparser::ast;

use crate::binder::Binder;
use crate::binder::provider::Scope;
use crate::binder::syntax::Parameters;
use crate::cancel::CancelGuard;
use crate::error::Result;
use crate::outcome::ResultSchema;
use crate::planner::{physical_plan, run, types_of};
use crate::rewrite::as_names;

/// The query `SELECT items FROM alias`.
pub(crate) fn query(items: &[ast::SelectItem], alias: &str) -> Result<Box<ast::Query>> {
    let mut query = crate::parser::parse_query("SELECT 1 FROM t")?;
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items.to_vec();
        select.from = vec![table(alias, alias)];
    }
    Ok(query)
}

/// A table in FROM under an alias.
pub(crate) fn table(name: &str, alias: &str) -> ast::TableWithJoins {
    let ident = |value: &str| ast::Ident::with_quote('"', value);
    ast::TableWithJoins {
        relation: ast::TableFactor::Table {
            name: ast::ObjectName::from(vec![ident(name)]),
            alias: (name != alias).then(|| ast::TableAlias {
                explicit: true,
                name: ident(alias),
                columns: Vec::new(),
                at: None,
            }),
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        },
        joins: Vec::new(),
    }
}

/// What RETURNING gives for `rows` of `table`, which the statement calls `alias`.
pub(crate) async fn evaluate(
    binder: &Binder,
    items: &[ast::SelectItem],
    table: &TableDefinition,
    alias: &str,
    rows: Vec<RecordBatch>,
    scope: Scope,
    parameters: &Parameters,
    guard: &CancelGuard,
) -> Result<(ResultSchema, Vec<RecordBatch>)> {
    let scope = over(scope, table, alias, rows)?;
    let bound = as_names(binder.plan(query(items, alias)?.as_ref(), scope, parameters)?, &binder.state)?;
    let plan = physical_plan(&binder.state, &bound.plan).await?;
    let batches = run(&binder.state, plan, types_of(&bound.schema), guard.clone())?.try_collect().await?;
    Ok((bound.schema, batches))
}

/// What RETURNING would give.
pub(crate) fn describe(
    binder: &Binder,
    items: &[ast::SelectItem],
    table: &TableDefinition,
    alias: &str,
    scope: Scope,
    parameters: &Parameters,
) -> Result<ResultSchema> {
    let scope = over(scope, table, alias, Vec::new())?;
    Ok(as_names(binder.plan(query(items, alias)?.as_ref(), scope, parameters)?, &binder.state)?.schema)
}

fn over(mut scope: Scope, table: &TableDefinition, alias: &str, rows: Vec<RecordBatch>) -> Result<Scope> {
    let schema = table.arrow_schema();
    let rows: Vec<RecordBatch> = rows
        .into_iter()
        .map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()))
        .collect::<Result<_, _>>()?;
    let source = provider_as_source(Arc::new(MemTable::try_new(schema, vec![rows])?));
    scope.overrides.insert(alias.to_owned(), source);
    Ok(scope)
}
