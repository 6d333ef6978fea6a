//! INSERT.
//!
//! Rows of plain VALUES are read cell by cell straight into the columns' arrays, without a plan; every other source is a query, planned and streamed.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use colonnade_storage::{Catalog, Transaction};
use colonnade_types::{
    ColumnBuilder, ColumnDefinition, ColumnEncoder, DisplaySettings, Format, IdentityKind, SqlState, SqlType,
    TableDefinition,
};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use futures::StreamExt as _;
use sqlparser::ast;

use crate::binder::provider::Scope;
use crate::binder::syntax::{Parameters, placeholder, rewrite};
use crate::binder::types::is_unknown_literal;
use crate::binder::{Binder, constant};
use crate::dml::checks::Checks;
use crate::dml::defaults::DefaultValue;
use crate::dml::on_conflict::{OnConflict, Upsert};
use crate::dml::sink::Sink;
use crate::dml::{Attempt, WriteContext, Written, returning, snapshot};
use crate::error::{Error, Result};
use crate::locking::clause::locks;
use crate::locking::select::resolve;
use crate::names::fold;
use crate::outcome::ResultSchema;
use crate::planner::{Batches, physical_plan, run as run_plan, types_of};

/// An INSERT looked at: which columns it gives, and from where.
struct Target<'a> {
    table: Arc<TableDefinition>,
    /// Name by which RETURNING calls the table.
    alias: String,
    /// For each column of the source its place in the table.
    places: Vec<usize>,
    /// Whether the statement listed its columns.
    listed: bool,
    source: Source<'a>,
    on: Option<OnConflict<'a>>,
    returning: Option<&'a [ast::SelectItem]>,
    overriding: Overriding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Overriding {
    No,
    System,
    User,
}

enum Source<'a> {
    /// DEFAULT VALUES
    Nothing,
    Rows(&'a [ast::Parens<Vec<ast::Expr>>]),
    Query(Box<ast::Query>),
}

/// Runs one attempt.
pub(crate) async fn run(
    context: &WriteContext,
    binder: &Binder,
    insert: &ast::Insert,
    with: Option<&ast::With>,
    parameters: &Parameters,
) -> Result<Written, Attempt> {
    let target = look(context, binder, insert, with).await?;
    // Begins the command too, by which rows that the clause has written already are told from older ones.
    let before = if target.on.is_some() { Some(snapshot(context)?) } else { None };
    let catalog = context.with(|t| t.catalog())?;
    let mut upsert = match (&target.on, before) {
        (Some(on), Some(before)) => {
            let keep = target.returning.is_some();
            Some(Upsert::new(context, binder, &target.table, &target.alias, on, before, parameters, keep)?)
        }
        _ => None,
    };
    let (rows, kept) = match &target.source {
        Source::Nothing => {
            let batch = complete(binder, &target, &catalog, Vec::new(), 1)?;
            write(context, binder, &target, &catalog, batch, upsert).await?
        }
        Source::Rows(rows) => {
            let batch = values(binder, &target, &catalog, rows, parameters)?;
            write(context, binder, &target, &catalog, batch, upsert).await?
        }
        Source::Query(query) => {
            let snapshot = snapshot(context)?;
            let mut scope = binder.scope(Arc::clone(snapshot.catalog()), Some(snapshot.clone()));
            let mut query = Cow::Borrowed(query.as_ref());
            if locks(query.as_ref()) {
                resolve(context, binder, query.to_mut(), &mut scope, &snapshot, parameters).await?;
            }
            let plan = binder.plan(&query, scope, parameters)?.plan;
            check_width(&target, plan.schema().fields().len())?;
            match upsert.take() {
                Some(mut upsert) => {
                    let mut planned = PlannedRows::open(context, binder, &target.table, &target.places, plan).await?;
                    while let Some(rows) = planned.next().await {
                        upsert.push(&rows?).await?;
                    }
                    upsert.finish()
                }
                None => {
                    let keep = target.returning.is_some();
                    insert_from_plan(context, binder, &target.table, &target.places, plan, keep).await?
                }
            }
        }
    };
    let Some(items) = target.returning else { return Ok(Written { rows, returned: None }) };
    let snapshot = snapshot(context)?;
    let scope = binder.scope(Arc::clone(snapshot.catalog()), Some(snapshot));
    let returned = returning::evaluate(
        binder,
        items,
        &target.table,
        &target.alias,
        kept,
        scope,
        parameters,
        &context.waiter.guard,
    );
    Ok(Written { rows, returned: Some(returned.await?) })
}

/// What an INSERT returns, and its parameters' types.
pub(crate) async fn describe(
    context: &WriteContext,
    binder: &Binder,
    insert: &ast::Insert,
    with: Option<&ast::With>,
    parameters: &Parameters,
) -> Result<Option<ResultSchema>> {
    let target = look(context, binder, insert, with).await?;
    let catalog = context.with(|t| t.catalog())?;
    let scope = || binder.scope(Arc::clone(&catalog), None);
    match &target.source {
        Source::Nothing => {}
        Source::Rows(rows) => {
            for row in rows.iter() {
                check_width(&target, row.content.len())?;
                for (cell, place) in row.content.iter().zip(&target.places) {
                    describe_cell(binder, cell, &target.table.columns[*place], scope(), parameters)?;
                }
            }
        }
        Source::Query(query) => {
            let plan = binder.plan(query, scope(), parameters)?.plan;
            check_width(&target, plan.schema().fields().len())?;
        }
    }
    if let Some(on) = &target.on {
        on.describe(binder, &target.table, &target.alias, scope(), parameters)?;
    }
    match target.returning {
        Some(items) => Ok(Some(returning::describe(binder, items, &target.table, &target.alias, scope(), parameters)?)),
        None => Ok(None),
    }
}

fn describe_cell(
    binder: &Binder,
    cell: &ast::Expr,
    column: &ColumnDefinition,
    scope: Scope,
    parameters: &Parameters,
) -> Result<()> {
    if let (Some(number), Parameters::Inferred(types)) = (placeholder(cell), parameters) {
        crate::binder::operators::note_parameter(number, &column.sql_type, types);
        return Ok(());
    }
    if is_default(cell) || is_plain(cell) {
        return Ok(());
    }
    // Planned as a query of one row, so that operators give the parameters their types.
    let mut query = crate::parser::parse_query("SELECT 1")?;
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![ast::SelectItem::UnnamedExpr(cell.clone())];
    }
    binder.plan(&query, scope, parameters)?;
    Ok(())
}

async fn look<'a>(
    context: &WriteContext,
    binder: &Binder,
    insert: &'a ast::Insert,
    with: Option<&ast::With>,
) -> Result<Target<'a>> {
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(Error::unsupported("INSERT into a function"));
    };
    let table = context.open(binder, name).await?;
    let alias = match &insert.table_alias {
        Some(alias) => fold(&alias.alias),
        None => table.name.clone(),
    };
    let listed = !insert.columns.is_empty();
    let mut places = Vec::new();
    if listed {
        for name in &insert.columns {
            let name = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
            let place = column_place(&table, &name)?;
            if places.contains(&place) {
                return Err(Error::new(
                    SqlState::DUPLICATE_COLUMN,
                    format!("column \"{name}\" specified more than once"),
                ));
            }
            places.push(place);
        }
    } else {
        places = (0..table.columns.len()).collect();
    }
    let source = match &insert.source {
        None => Source::Nothing,
        Some(query) => match query.body.as_ref() {
            ast::SetExpr::Values(values)
                if query.with.is_none()
                    && with.is_none()
                    && query.order_by.is_none()
                    && query.limit_clause.is_none()
                    && !values.rows.iter().flat_map(|row| &row.content).any(has_subquery) =>
            {
                Source::Rows(&values.rows)
            }
            _ => {
                let mut query = query.clone();
                if let ast::SetExpr::Values(values) = query.body.as_ref() {
                    query.body = selects(&values.rows)?;
                }
                if query.with.is_none() {
                    query.with = with.cloned();
                }
                Source::Query(query)
            }
        },
    };
    let overriding = match insert.settings.as_ref().and_then(|settings| settings.first()) {
        Some(setting) if setting.key.value == "overriding_system" => Overriding::System,
        Some(setting) if setting.key.value == "overriding_user" => Overriding::User,
        _ => Overriding::No,
    };
    // What a query gives for an identity column is refused as a whole; cells of VALUES may say DEFAULT.
    if let (Source::Query(_), Overriding::No) = (&source, overriding)
        && let Some(column) = places.iter().map(|p| &table.columns[*p]).find(|c| listed && always_generated(c))
    {
        return Err(generated_always(column));
    }
    let on = match &insert.on {
        Some(on) => Some(OnConflict::new(&table, on)?),
        None => None,
    };
    Ok(Target { table, alias, places, listed, source, on, returning: insert.returning.as_deref(), overriding })
}

/// VALUES as queries of one row each, for rows that hold subqueries.
fn selects(rows: &[ast::Parens<Vec<ast::Expr>>]) -> Result<Box<ast::SetExpr>> {
    let mut body: Option<Box<ast::SetExpr>> = None;
    for row in rows {
        let mut query = crate::parser::parse_query("SELECT 1")?;
        if let ast::SetExpr::Select(select) = query.body.as_mut() {
            select.projection = row.content.iter().cloned().map(ast::SelectItem::UnnamedExpr).collect();
        }
        body = Some(match body {
            None => query.body,
            Some(left) => Box::new(ast::SetExpr::SetOperation {
                op: ast::SetOperator::Union,
                set_quantifier: ast::SetQuantifier::All,
                left,
                right: query.body,
            }),
        });
    }
    body.ok_or_else(|| Error::internal("VALUES without rows"))
}

pub(super) fn has_subquery(expr: &ast::Expr) -> bool {
    use std::ops::ControlFlow;
    let found = ast::visit_expressions(expr, |e| match e {
        ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// The place of a column among a table's.
pub(crate) fn column_place(table: &TableDefinition, name: &str) -> Result<usize> {
    table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

fn always_generated(column: &ColumnDefinition) -> bool {
    column.identity.as_ref().is_some_and(|identity| identity.kind == IdentityKind::Always)
}

fn generated_always(column: &ColumnDefinition) -> Error {
    Error::new(SqlState("428C9"), format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name))
        .with_detail(format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name))
        .with_hint("Use OVERRIDING SYSTEM VALUE to override.")
}

fn check_width(target: &Target<'_>, width: usize) -> Result<()> {
    if width > target.places.len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "INSERT has more expressions than target columns"));
    }
    if target.listed && width < target.places.len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "INSERT has more target columns than expressions"));
    }
    Ok(())
}

/// Whether a cell of VALUES is the word DEFAULT.
pub(crate) fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// Whether a cell is a literal that is read as text.
fn is_plain(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Value(value) if !matches!(value.value, ast::Value::Placeholder(_)))
}

/// The rows of VALUES, with the columns that they leave out.
fn values(
    binder: &Binder,
    target: &Target<'_>,
    catalog: &Arc<Catalog>,
    rows: &[ast::Parens<Vec<ast::Expr>>],
    parameters: &Parameters,
) -> Result<RecordBatch> {
    let settings = binder.display();
    let width = rows.first().map_or(0, |row| row.content.len());
    check_width(target, width)?;
    let mut builders: Vec<ColumnBuilder> = target.places[..width]
        .iter()
        .map(|place| ColumnBuilder::new(&target.table.columns[*place].sql_type, rows.len()))
        .collect();
    let mut defaults: Vec<Option<DefaultValue>> = vec![None; width];
    for row in rows {
        if row.content.len() != width {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length"));
        }
        for (index, cell) in row.content.iter().enumerate() {
            let column = &target.table.columns[target.places[index]];
            let identity = column.identity.is_some();
            if is_default(cell) || (identity && target.overriding == Overriding::User) {
                if defaults[index].is_none() {
                    defaults[index] = Some(DefaultValue::of(binder, column, catalog)?);
                }
                let value = match &defaults[index] {
                    Some(default) => default.values(1)?,
                    None => return Err(Error::internal("a default was not bound")),
                };
                append_array(&mut builders[index], &column.sql_type, &value, &settings)?;
                continue;
            }
            if always_generated(column) && target.overriding != Overriding::System {
                return Err(generated_always(column));
            }
            append_cell(binder, &mut builders[index], column, cell, catalog, parameters, &settings)?;
        }
    }
    let arrays: Vec<(usize, ArrayRef)> =
        target.places.iter().copied().zip(builders.iter_mut().map(ColumnBuilder::finish)).collect();
    complete(binder, target, catalog, arrays, rows.len())
}

fn append_cell(
    binder: &Binder,
    builder: &mut ColumnBuilder,
    column: &ColumnDefinition,
    cell: &ast::Expr,
    catalog: &Arc<Catalog>,
    parameters: &Parameters,
    settings: &DisplaySettings,
) -> Result<()> {
    let sql_type = &column.sql_type;
    if let (Some(number), Parameters::Values(values)) = (placeholder(cell), parameters)
        && let Some((from, value)) = number.checked_sub(1).and_then(|i| values.get(i))
    {
        let same = from == sql_type || *from == SqlType::Unknown || (from.is_string() && sql_type.is_string());
        match value {
            None => {
                builder.append_null();
                return Ok(());
            }
            Some(text) if same => {
                builder.append_text(text, settings)?;
                return Ok(());
            }
            Some(_) => {}
        }
    }
    if let ast::Expr::Value(value) = cell {
        match &value.value {
            ast::Value::Null => {
                builder.append_null();
                return Ok(());
            }
            ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => {
                return builder.append_text(text, settings).map_err(|error| located(error.into(), binder, value.span));
            }
            ast::Value::Number(text, _) if takes_number(sql_type, text) => {
                builder.append_text(text, settings)?;
                return Ok(());
            }
            _ => {}
        }
    }
    if let ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } = cell
        && let ast::Expr::Value(value) = expr.as_ref()
        && let ast::Value::Number(text, _) = &value.value
        && takes_number(sql_type, text)
    {
        builder.append_text(&format!("-{text}"), settings)?;
        return Ok(());
    }
    let mut expr = cell.clone();
    rewrite(&mut expr, parameters)?;
    let schema = DFSchema::empty();
    let expr = binder.expression(expr, &schema, binder.scope(Arc::clone(catalog), None))?;
    let expr = binder.assigned(expr, &schema, &column.name, sql_type)?;
    let value = constant::evaluate(expr, &binder.state)?;
    let value = crate::binder::cast::physical(&value, sql_type)?;
    append_array(builder, sql_type, &value, settings)
}

fn located(mut error: Error, _binder: &Binder, span: sqlparser::tokenizer::Span) -> Error {
    if error.position.is_none() && span.start.line > 0 {
        error.position = Some(crate::datafusion_error::packed(span.start));
    }
    error
}

/// Whether a number as written is input of a type, so that no cast has to round it or refuse it.
fn takes_number(sql_type: &SqlType, text: &str) -> bool {
    match sql_type {
        SqlType::SmallInt => text.parse::<i16>().is_ok(),
        SqlType::Integer => text.parse::<i32>().is_ok(),
        SqlType::BigInt => text.parse::<i64>().is_ok(),
        SqlType::Numeric(_) | SqlType::DoublePrecision | SqlType::Real => true,
        SqlType::Text | SqlType::Varchar(_) => text.bytes().all(|b| b.is_ascii_digit()),
        _ => false,
    }
}

/// Appends the one value of an array of the builder's type.
fn append_array(
    builder: &mut ColumnBuilder,
    sql_type: &SqlType,
    value: &ArrayRef,
    settings: &DisplaySettings,
) -> Result<()> {
    let encoder = ColumnEncoder::new(sql_type, value, Format::Text, settings)?;
    if encoder.is_null(0) {
        builder.append_null();
        return Ok(());
    }
    let mut out = Vec::new();
    encoder.write(0, &mut out);
    let text = std::str::from_utf8(&out).map_err(|_| Error::internal("a value's text is not UTF-8"))?;
    builder.append_text(text, settings)?;
    Ok(())
}

/// Rows of all the table's columns, from those given by place.
fn complete(
    binder: &Binder,
    target: &Target<'_>,
    catalog: &Arc<Catalog>,
    given: Vec<(usize, ArrayRef)>,
    rows: usize,
) -> Result<RecordBatch> {
    let missing =
        missing_defaults(binder, &target.table, &given.iter().map(|(place, _)| *place).collect::<Vec<_>>(), catalog)?;
    assemble(&target.table, given, &missing, rows)
}

/// The defaults of the columns that are not among `given`, by place.
pub(crate) fn missing_defaults(
    binder: &Binder,
    table: &TableDefinition,
    given: &[usize],
    catalog: &Arc<Catalog>,
) -> Result<Vec<(usize, DefaultValue)>> {
    (0..table.columns.len())
        .filter(|place| !given.contains(place))
        .map(|place| Ok((place, DefaultValue::of(binder, &table.columns[place], catalog)?)))
        .collect()
}

/// Puts given columns and defaults into the table's order.
pub(crate) fn assemble(
    table: &TableDefinition,
    given: Vec<(usize, ArrayRef)>,
    missing: &[(usize, DefaultValue)],
    rows: usize,
) -> Result<RecordBatch> {
    let columns = assemble_columns(table, given, missing, rows)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(arrow_schema(table), columns, &options)?)
}

/// The Arrow form of a table's rows.
pub(crate) fn arrow_schema(table: &TableDefinition) -> arrow::datatypes::SchemaRef {
    let fields: Vec<_> = table.columns.iter().map(|c| c.sql_type.field(&c.name, true)).collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}

/// Puts given columns and defaults into the table's order, without making a batch of them.
pub(crate) fn assemble_columns(
    table: &TableDefinition,
    given: Vec<(usize, ArrayRef)>,
    missing: &[(usize, DefaultValue)],
    rows: usize,
) -> Result<Vec<ArrayRef>> {
    let mut columns: Vec<Option<ArrayRef>> = vec![None; table.columns.len()];
    for (place, array) in given {
        columns[place] = Some(array);
    }
    for (place, default) in missing {
        columns[*place] = Some(default.values(rows)?);
    }
    columns.into_iter().map(|c| c.ok_or_else(|| Error::internal("a column has no value"))).collect()
}

async fn write(
    context: &WriteContext,
    binder: &Binder,
    target: &Target<'_>,
    catalog: &Arc<Catalog>,
    batch: RecordBatch,
    upsert: Option<Upsert<'_>>,
) -> Result<(u64, Vec<RecordBatch>), Attempt> {
    if let Some(mut upsert) = upsert {
        upsert.push(&batch).await?;
        return Ok(upsert.finish());
    }
    let checks = Checks::new(binder, &target.table, catalog)?;
    let mut sink = Sink::new(context.clone(), Arc::clone(&target.table), checks);
    let kept = if target.returning.is_some() { vec![batch.clone()] } else { Vec::new() };
    sink.push(batch).await?;
    Ok((sink.finish().await?, kept))
}

/// The rows that a plan gives, made rows of a table.
struct PlannedRows<'a> {
    table: &'a TableDefinition,
    places: &'a [usize],
    batches: Batches,
    missing: Vec<(usize, DefaultValue)>,
}

impl<'a> PlannedRows<'a> {
    /// Starts a plan whose columns go to `places` of the table; the others get their defaults.
    async fn open(
        context: &WriteContext,
        binder: &Binder,
        table: &'a Arc<TableDefinition>,
        places: &'a [usize],
        plan: LogicalPlan,
    ) -> Result<PlannedRows<'a>> {
        let catalog = context.with(|t: &mut Transaction| t.catalog())?;
        let width = plan.schema().fields().len();
        let places = places.get(..width).ok_or_else(|| Error::internal("a query has more columns than its target"))?;
        let plan = assigned_plan(binder, table, places, plan)?;
        let schema = crate::binder::result_schema(plan.schema())?;
        let plan = physical_plan(&binder.state, &plan).await?;
        let batches = run_plan(&binder.state, plan, types_of(&schema), context.waiter.guard.clone())?;
        let missing = missing_defaults(binder, table, places, &catalog)?;
        Ok(PlannedRows { table, places, batches, missing })
    }

    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        let batch = self.batches.next().await?;
        Some(batch.and_then(|batch| self.complete(&batch)))
    }

    fn complete(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let given = self
            .places
            .iter()
            .zip(batch.columns())
            .map(|(place, array)| {
                Ok((*place, crate::binder::cast::physical(array, &self.table.columns[*place].sql_type)?))
            })
            .collect::<Result<Vec<_>>>()?;
        assemble(self.table, given, &self.missing, batch.num_rows())
    }
}

/// Inserts what a plan gives: its columns go to `places` of the table, the others get their defaults. Returns the number of rows, and the
/// rows themselves if `keep`.
pub(crate) async fn insert_from_plan(
    context: &WriteContext,
    binder: &Binder,
    table: &Arc<TableDefinition>,
    places: &[usize],
    plan: LogicalPlan,
    keep: bool,
) -> Result<(u64, Vec<RecordBatch>), Attempt> {
    let catalog = context.with(|t: &mut Transaction| t.catalog())?;
    let mut planned = PlannedRows::open(context, binder, table, places, plan).await?;
    let checks = Checks::new(binder, table, &catalog)?;
    let mut sink = Sink::new(context.clone(), Arc::clone(table), checks);
    let mut kept = Vec::new();
    while let Some(rows) = planned.next().await {
        let rows = rows?;
        if keep {
            kept.push(rows.clone());
        }
        sink.push(rows).await?;
    }
    Ok((sink.finish().await?, kept))
}

/// A plan whose columns have the types of the table's at `places`.
fn assigned_plan(binder: &Binder, table: &TableDefinition, places: &[usize], plan: LogicalPlan) -> Result<LogicalPlan> {
    // A literal of unknown type at the top of the query is read as the column's type.
    let literals: Vec<Option<Expr>> = match &plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().map(|e| is_unknown_literal(e).map(|_| e.clone().unalias())).collect()
        }
        _ => vec![None; places.len()],
    };
    let schema = Arc::clone(plan.schema());
    let exprs = schema
        .columns()
        .into_iter()
        .zip(places)
        .zip(literals)
        .enumerate()
        .map(|(index, ((column, place), literal))| {
            let target = &table.columns[*place];
            let expr = literal.unwrap_or(Expr::Column(column));
            let expr = binder.assigned(expr, &schema, &target.name, &target.sql_type)?;
            Ok(expr.alias(format!("c{index}")))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}
