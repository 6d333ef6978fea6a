//! UPDATE and DELETE.
//!
//! Both become a query over the table with its rows' addresses: `SELECT address, new values FROM t, others WHERE ...`. Rows of the result are deleted by
//! address, and for an UPDATE the new ones are appended. A row that a join brings several times counts once.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use colonnade_storage::{Catalog, RowAddress, Snapshot};
use colonnade_types::{ColumnDefinition, SqlState, TableDefinition};
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use futures::StreamExt as _;
use sqlparser::ast;

use crate::binder::provider::Scope;
use crate::binder::syntax::Parameters;
use crate::binder::types::is_unknown_literal;
use crate::binder::{Binder, result_schema};
use crate::dml::checks::Checks;
use crate::dml::insert::{column_place, is_default};
use crate::dml::sink::Sink;
use crate::dml::{Attempt, WriteContext, Written, returning, snapshot};
use crate::error::{Error, Result};
use crate::locking::clause::locks;
use crate::locking::select::resolve;
use crate::names::fold;
use crate::outcome::ResultSchema;
use crate::planner::{Batches, physical_plan, run, types_of};
use crate::scan::{ADDRESS, Table};

/// The name under which the addressed table stands in the query.
const TARGET: &str = "\u{1}target";

/// A statement turned into its query.
struct Rewritten {
    table: Arc<TableDefinition>,
    query: Box<ast::Query>,
    /// Columns of the result: the address, then new values (UPDATE), then what RETURNING gives.
    new_values: usize,
    returning: bool,
    /// Other tables take part, so that a row may come several times.
    joined: bool,
    /// No column of a key is assigned: others may go on sharing the rows' keys.
    keeps_keys: bool,
}

struct Parts<'a> {
    with: Option<&'a ast::With>,
    others: Vec<ast::TableWithJoins>,
    selection: Option<&'a ast::Expr>,
    returning: Option<&'a [ast::SelectItem]>,
}

/// Runs one attempt of an UPDATE.
pub(crate) async fn update(
    context: &WriteContext,
    binder: &Binder,
    update: &ast::Update,
    with: Option<&ast::With>,
    parameters: &Parameters,
) -> Result<Written, Attempt> {
    let rewritten = rewrite_update(context, binder, update, with).await?;
    let snapshot = snapshot(context)?;
    let table = Arc::clone(&rewritten.table);
    let keeps_keys = rewritten.keeps_keys;
    let (mut batches, returned_schema) = open(context, binder, &rewritten, &snapshot, parameters).await?;
    let checks = Checks::new(binder, &table, snapshot.catalog())?;
    let mut sink = Sink::new(context.clone(), Arc::clone(&table), checks);
    let mut seen = HashSet::new();
    let mut returned = Vec::new();
    let schema = Arc::new(arrow::datatypes::Schema::new(
        table.columns.iter().map(|c| c.sql_type.field(&c.name, true)).collect::<Vec<_>>(),
    ));
    while let Some(batch) = batches.next().await {
        let batch = once_each(batch?, &rewritten, &mut seen)?;
        delete_rows(context, &snapshot, &table, &batch, keeps_keys).await?;
        let new: Vec<ArrayRef> = batch.columns()[1..=rewritten.new_values].to_vec();
        let new = RecordBatch::try_new(Arc::clone(&schema), new).map_err(Error::from)?;
        if let Some(schema) = &returned_schema {
            returned.push(tail(&batch, 1 + rewritten.new_values, schema)?);
        }
        sink.push(new).await?;
    }
    let rows = sink.finish().await?;
    Ok(Written { rows, returned: returned_schema.map(|schema| (schema, returned)) })
}

/// Runs one attempt of a DELETE.
pub(crate) async fn delete(
    context: &WriteContext,
    binder: &Binder,
    delete: &ast::Delete,
    with: Option<&ast::With>,
    parameters: &Parameters,
) -> Result<Written, Attempt> {
    let rewritten = rewrite_delete(context, binder, delete, with).await?;
    let snapshot = snapshot(context)?;
    let (mut batches, returned_schema) = open(context, binder, &rewritten, &snapshot, parameters).await?;
    let mut seen = HashSet::new();
    let mut returned = Vec::new();
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = once_each(batch?, &rewritten, &mut seen)?;
        rows += batch.num_rows() as u64;
        delete_rows(context, &snapshot, &rewritten.table, &batch, false).await?;
        if let Some(schema) = &returned_schema {
            returned.push(tail(&batch, 1, schema)?);
        }
    }
    Ok(Written { rows, returned: returned_schema.map(|schema| (schema, returned)) })
}

/// What an UPDATE returns, and its parameters' types.
pub(crate) async fn describe_update(
    context: &WriteContext,
    binder: &Binder,
    update: &ast::Update,
    with: Option<&ast::With>,
    parameters: &Parameters,
) -> Result<Option<ResultSchema>> {
    let rewritten = rewrite_update(context, binder, update, with).await?;
    // `SET c = $1` gives the parameter the column's type.
    if let Parameters::Inferred(types) = parameters {
        for (names, value) in update.assignments.iter().filter_map(|a| single(&a.target).map(|name| (name, &a.value))) {
            if let Some(number) = crate::binder::syntax::placeholder(value) {
                let place = column_place(&rewritten.table, &names)?;
                crate::binder::operators::note_parameter(number, &rewritten.table.columns[place].sql_type, types);
            }
        }
    }
    describe(context, binder, &rewritten, parameters)
}

/// What a DELETE returns, and its parameters' types.
pub(crate) async fn describe_delete(
    context: &WriteContext,
    binder: &Binder,
    delete: &ast::Delete,
    with: Option<&ast::With>,
    parameters: &Parameters,
) -> Result<Option<ResultSchema>> {
    let rewritten = rewrite_delete(context, binder, delete, with).await?;
    describe(context, binder, &rewritten, parameters)
}

fn describe(
    context: &WriteContext,
    binder: &Binder,
    rewritten: &Rewritten,
    parameters: &Parameters,
) -> Result<Option<ResultSchema>> {
    let catalog = context.with(|t| t.catalog())?;
    let scope = scope(binder, rewritten, catalog, None);
    let bound = binder.plan(&rewritten.query, scope, parameters)?;
    Ok(rewritten.returning.then(|| returned_part(bound.schema, 1 + rewritten.new_values)))
}

fn scope(binder: &Binder, rewritten: &Rewritten, catalog: Arc<Catalog>, snapshot: Option<Snapshot>) -> Scope {
    let mut scope = binder.scope(catalog, snapshot.clone());
    let target = Table::new(Arc::clone(&rewritten.table), snapshot, true);
    scope.overrides.insert(TARGET.to_owned(), provider_as_source(Arc::new(target)));
    scope
}

fn returned_part(schema: ResultSchema, from: usize) -> ResultSchema {
    ResultSchema { columns: schema.columns.into_iter().skip(from).collect() }
}

/// Plans the query and starts it.
async fn open(
    context: &WriteContext,
    binder: &Binder,
    rewritten: &Rewritten,
    snapshot: &Snapshot,
    parameters: &Parameters,
) -> Result<(Batches, Option<ResultSchema>), Attempt> {
    let mut scope = scope(binder, rewritten, Arc::clone(snapshot.catalog()), Some(snapshot.clone()));
    let mut query = Cow::Borrowed(rewritten.query.as_ref());
    if locks(query.as_ref()) {
        resolve(context, binder, query.to_mut(), &mut scope, snapshot, parameters).await?;
    }
    let bound = binder.plan(&query, scope, parameters)?;
    let plan = assigned(binder, rewritten, bound.plan)?;
    let schema = result_schema(plan.schema())?;
    let plan = physical_plan(&binder.state, &plan).await?;
    let types = types_of(&schema);
    let batches = run(&binder.state, plan, types, context.waiter.guard.clone())?;
    let returned = rewritten.returning.then(|| returned_part(bound.schema, 1 + rewritten.new_values));
    Ok((batches, returned))
}

/// Casts the new values to their columns' types.
fn assigned(binder: &Binder, rewritten: &Rewritten, plan: LogicalPlan) -> Result<LogicalPlan> {
    let literals: Vec<Option<Expr>> = match &plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().map(|e| is_unknown_literal(e).map(|_| e.clone().unalias())).collect()
        }
        _ => Vec::new(),
    };
    let schema = Arc::clone(plan.schema());
    let exprs = schema
        .columns()
        .into_iter()
        .enumerate()
        .map(|(index, column): (usize, Column)| {
            let target = index.checked_sub(1).filter(|i| *i < rewritten.new_values);
            let expr = match target {
                Some(place) => {
                    let target: &ColumnDefinition = &rewritten.table.columns[place];
                    let expr = literals.get(index).cloned().flatten().unwrap_or(Expr::Column(column));
                    binder.assigned(expr, &schema, &target.name, &target.sql_type)?
                }
                None => Expr::Column(column),
            };
            Ok(expr.alias(format!("c{index}")))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}

/// Leaves out rows whose address has come before.
fn once_each(batch: RecordBatch, rewritten: &Rewritten, seen: &mut HashSet<RowAddress>) -> Result<RecordBatch> {
    if !rewritten.joined {
        return Ok(batch);
    }
    let addresses = addresses(&batch)?;
    let first: BooleanArray = addresses.iter().map(|address| Some(address.is_some_and(|a| seen.insert(a)))).collect();
    Ok(filter_record_batch(&batch, &first)?)
}

fn addresses(batch: &RecordBatch) -> Result<UInt64Array> {
    // Addresses, which are unsigned, travel as numeric(20, 0).
    let array = arrow::compute::kernels::cast::cast(batch.column(0), &arrow::datatypes::DataType::UInt64)?;
    if array.null_count() > 0 {
        return Err(Error::internal("a row has no address"));
    }
    Ok(array.as_primitive::<UInt64Type>().clone())
}

async fn delete_rows(
    context: &WriteContext,
    snapshot: &Snapshot,
    table: &TableDefinition,
    batch: &RecordBatch,
    keeps_keys: bool,
) -> Result<(), Attempt> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    let addresses = addresses(batch)?;
    context
        .write(|transaction| {
            if keeps_keys {
                transaction.delete_keeping_keys(snapshot, table, addresses.values())
            } else {
                transaction.delete(snapshot, table, addresses.values())
            }
        })
        .await
        .map_err(|error| error.into_attempt(&table.name))
}

/// The columns from `from` on, as RETURNING names them.
fn tail(batch: &RecordBatch, from: usize, schema: &ResultSchema) -> Result<RecordBatch> {
    let types = types_of(schema);
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .skip(from)
        .zip(&types)
        .map(|(array, sql_type)| crate::binder::cast::physical(array, sql_type))
        .collect::<Result<_>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.arrow_schema(), columns, &options)?)
}

fn single(target: &ast::AssignmentTarget) -> Option<String> {
    match target {
        ast::AssignmentTarget::ColumnName(name) => name.0.last().and_then(|part| part.as_ident()).map(fold),
        ast::AssignmentTarget::Tuple(_) => None,
    }
}

/// The table of a statement: its name, and what the statement calls it.
fn target_of(relation: &ast::TableFactor) -> Result<(&ast::ObjectName, Option<String>)> {
    match relation {
        ast::TableFactor::Table { name, alias, .. } => Ok((name, alias.as_ref().map(|alias| fold(&alias.name)))),
        _ => Err(Error::new(SqlState::SYNTAX_ERROR, "a table's name is expected here")),
    }
}

async fn rewrite_update(
    context: &WriteContext,
    binder: &Binder,
    update: &ast::Update,
    with: Option<&ast::With>,
) -> Result<Rewritten> {
    if !update.table.joins.is_empty() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "UPDATE names one table; others go to FROM"));
    }
    let (name, alias) = target_of(&update.table.relation)?;
    let table = context.open(binder, name).await?;
    let alias = alias.unwrap_or_else(|| table.name.clone());
    let new = assigned_values(&table, &update.assignments)?;
    let mut items = vec![item(column_of(&alias, ADDRESS), 0)];
    for (place, column) in table.columns.iter().enumerate() {
        let value = new.get(&place).cloned().unwrap_or_else(|| column_of(&alias, &column.name));
        items.push(item(value, place + 1));
    }
    let others = match &update.from {
        None => Vec::new(),
        Some(ast::UpdateTableFromKind::AfterSet(tables) | ast::UpdateTableFromKind::BeforeSet(tables)) => {
            tables.clone()
        }
    };
    let parts = Parts { with, others, selection: update.selection.as_ref(), returning: update.returning.as_deref() };
    let new_values = table.columns.len();
    finish(table, alias, items, new_values, parts, &new)
}

/// The new values that SET gives, by the columns' places.
pub(super) fn assigned_values(
    table: &TableDefinition,
    assignments: &[ast::Assignment],
) -> Result<HashMap<usize, ast::Expr>> {
    let mut new: HashMap<usize, ast::Expr> = HashMap::new();
    let mut set = |name: &ast::ObjectName, value: &ast::Expr| -> Result<()> {
        let name = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
        let place = column_place(table, &name)?;
        let column = &table.columns[place];
        let always = column.identity.as_ref().is_some_and(|i| i.kind == colonnade_types::IdentityKind::Always);
        if always && !is_default(value) {
            return Err(Error::new(SqlState("428C9"), format!("column \"{name}\" can only be updated to DEFAULT"))
                .with_detail(format!("Column \"{name}\" is an identity column defined as GENERATED ALWAYS.")));
        }
        let value = if is_default(value) { default_of(column)? } else { value.clone() };
        if new.insert(place, value).is_some() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("multiple assignments to same column \"{name}\"")));
        }
        Ok(())
    };
    for assignment in assignments {
        match (&assignment.target, &assignment.value) {
            (ast::AssignmentTarget::ColumnName(name), value) => set(name, value)?,
            (ast::AssignmentTarget::Tuple(names), ast::Expr::Tuple(values)) if names.len() == values.len() => {
                for (name, value) in names.iter().zip(values) {
                    set(name, value)?;
                }
            }
            (ast::AssignmentTarget::Tuple(names), ast::Expr::Nested(value)) if names.len() == 1 => {
                set(&names[0], value)?;
            }
            (ast::AssignmentTarget::Tuple(_), ast::Expr::Tuple(_)) => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "number of columns does not match number of values"));
            }
            _ => return Err(Error::unsupported("assigning a row of a query to several columns")),
        }
    }
    Ok(new)
}

async fn rewrite_delete(
    context: &WriteContext,
    binder: &Binder,
    delete: &ast::Delete,
    with: Option<&ast::With>,
) -> Result<Rewritten> {
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
    let [target] = from.as_slice() else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "DELETE names one table; others go to USING"));
    };
    if !target.joins.is_empty() || !delete.tables.is_empty() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "DELETE names one table; others go to USING"));
    }
    let (name, alias) = target_of(&target.relation)?;
    let table = context.open(binder, name).await?;
    let alias = alias.unwrap_or_else(|| table.name.clone());
    let items = vec![item(column_of(&alias, ADDRESS), 0)];
    let others = delete.using.clone().unwrap_or_default();
    let parts = Parts { with, others, selection: delete.selection.as_ref(), returning: delete.returning.as_deref() };
    finish(table, alias, items, 0, parts, &HashMap::new())
}

fn finish(
    table: Arc<TableDefinition>,
    alias: String,
    mut items: Vec<ast::SelectItem>,
    new_values: usize,
    parts: Parts<'_>,
    new: &HashMap<usize, ast::Expr>,
) -> Result<Rewritten> {
    let joined = !parts.others.is_empty();
    if let Some(returning) = parts.returning {
        items.extend(returning_items(&table, &alias, returning, &parts.others, new)?);
    }
    let mut query = crate::parser::parse_query("SELECT 1 FROM t")?;
    query.with = parts.with.cloned();
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        select.from = vec![returning::table(TARGET, &alias)];
        select.from.extend(parts.others);
        select.selection = parts.selection.cloned();
    }
    let in_key = |place: &usize| {
        let column = table.columns[*place].id;
        table.keys.iter().any(|key| key.columns.contains(&column))
    };
    let keeps_keys = !new.keys().any(in_key);
    Ok(Rewritten { table, query, new_values, returning: parts.returning.is_some(), joined, keeps_keys })
}

fn ident(name: &str) -> ast::Ident {
    ast::Ident::with_quote('"', name)
}

fn column_of(alias: &str, column: &str) -> ast::Expr {
    ast::Expr::CompoundIdentifier(vec![ident(alias), ident(column)])
}

fn item(expr: ast::Expr, number: usize) -> ast::SelectItem {
    ast::SelectItem::ExprWithAlias { expr, alias: ident(&format!("{}{number}", crate::binder::names::MARK)) }
}

fn default_of(column: &ColumnDefinition) -> Result<ast::Expr> {
    match &column.default {
        Some(sql) => Ok(ast::Expr::Nested(Box::new(crate::parser::parse_expression(sql)?))),
        None if column.identity.is_some() => Err(Error::unsupported("SET an identity column to DEFAULT")),
        None => Ok(ast::Expr::Value(ast::Value::Null.into())),
    }
}

/// RETURNING's items as items of the query: the table's columns stand for their new values.
fn returning_items(
    table: &TableDefinition,
    alias: &str,
    returning: &[ast::SelectItem],
    others: &[ast::TableWithJoins],
    new: &HashMap<usize, ast::Expr>,
) -> Result<Vec<ast::SelectItem>> {
    let own = || -> Vec<ast::SelectItem> {
        table
            .columns
            .iter()
            .map(|column| ast::SelectItem::ExprWithAlias {
                expr: column_of(alias, &column.name),
                alias: ident(&column.name),
            })
            .collect()
    };
    let mut items = Vec::new();
    for item in returning {
        match item {
            ast::SelectItem::Wildcard(_) => {
                items.extend(own());
                for other in others {
                    let name = match &other.relation {
                        ast::TableFactor::Table { alias: Some(alias), .. }
                        | ast::TableFactor::Derived { alias: Some(alias), .. } => alias.name.clone(),
                        ast::TableFactor::Table { name, .. } => {
                            name.0.last().and_then(|part| part.as_ident()).cloned().unwrap_or_else(|| ident("?"))
                        }
                        _ => return Err(Error::unsupported("RETURNING * over this kind of FROM")),
                    };
                    items.push(ast::SelectItem::QualifiedWildcard(
                        ast::SelectItemQualifiedWildcardKind::ObjectName(ast::ObjectName::from(vec![name])),
                        ast::WildcardAdditionalOptions::default(),
                    ));
                }
            }
            ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _)
                if name.0.last().and_then(|part| part.as_ident()).is_some_and(|part| fold(part) == alias) =>
            {
                items.extend(own());
            }
            ast::SelectItem::UnnamedExpr(expr) => {
                // Named before its columns are replaced, so that it keeps its name.
                let mut named = [ast::SelectItem::UnnamedExpr(expr.clone())];
                crate::binder::names::name_projection(&mut named);
                let [named] = named;
                items.push(match named {
                    ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(name)) => {
                        ast::SelectItem::ExprWithAlias { alias: ident(&fold(&name)), expr: ast::Expr::Identifier(name) }
                    }
                    ast::SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(parts)) => {
                        ast::SelectItem::ExprWithAlias {
                            alias: ident(&parts.last().map(fold).unwrap_or_default()),
                            expr: ast::Expr::CompoundIdentifier(parts),
                        }
                    }
                    other => other,
                });
            }
            other => items.push(other.clone()),
        }
    }
    for item in &mut items {
        if let ast::SelectItem::ExprWithAlias { expr, .. } = item {
            substitute(expr, table, alias, new);
        }
    }
    Ok(items)
}

/// Puts new values, as their columns' types, in place of columns.
fn substitute(expr: &mut ast::Expr, table: &TableDefinition, alias: &str, new: &HashMap<usize, ast::Expr>) {
    if new.is_empty() {
        return;
    }
    let _: ControlFlow<()> = ast::visit_expressions_mut(expr, |e| {
        let name = match e {
            ast::Expr::Identifier(name) => fold(name),
            ast::Expr::CompoundIdentifier(parts) if parts.len() == 2 && fold(&parts[0]) == alias => fold(&parts[1]),
            _ => return ControlFlow::Continue(()),
        };
        let Some(place) = table.columns.iter().position(|column| column.name == name) else {
            return ControlFlow::Continue(());
        };
        if new.contains_key(&place) {
            // The result column of the new value, which is cast already, is named by its number in the query.
            *e = ast::Expr::Identifier(ident(&format!("{}new{place}", crate::binder::names::MARK)));
        }
        ControlFlow::Continue(())
    });
    let _: ControlFlow<()> = ast::visit_expressions_mut(expr, |e| {
        if let ast::Expr::Identifier(name) = e {
            let prefix = format!("{}new", crate::binder::names::MARK);
            if let Some(place) = name.value.strip_prefix(&prefix).and_then(|n| n.parse::<usize>().ok())
                && let Some(value) = new.get(&place)
            {
                *e = typed(value.clone(), &table.columns[place]);
            }
        }
        ControlFlow::Continue(())
    });
}

fn typed(value: ast::Expr, column: &ColumnDefinition) -> ast::Expr {
    let type_name = column.sql_type.to_string();
    let data_type = ast::DataType::Custom(ast::ObjectName::from(vec![ast::Ident::new(type_name)]), Vec::new());
    ast::Expr::Cast {
        kind: ast::CastKind::DoubleColon,
        expr: Box::new(ast::Expr::Nested(Box::new(value))),
        data_type,
        array: false,
        format: None,
    }
}
