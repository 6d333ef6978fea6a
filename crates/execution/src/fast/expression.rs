//! Expressions over one row: its table's columns, the statement's parameters, and the transaction's time.
//!
//! They are bound as any expression is, over a schema that has all three as columns; what is a plain column or parameter skips evaluation.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use colonnade_types::{SqlType, TableDefinition};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, TableReference};
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::ast;

use crate::binder::cast::physical;
use crate::binder::syntax::placeholder;
use crate::error::Result;
use crate::names::fold;
use crate::outcome::ResultSchema;

/// Name of a parameter's column; no client can write it.
const PARAMETER: &str = "\u{1}parameter";
/// Name of the transaction's time.
const NOW: &str = "\u{1}now";

/// An expression that can be evaluated for one row.
pub(crate) enum RowExpression {
    /// The table's column at this place.
    Column(usize),
    /// A parameter, from 0.
    Parameter(usize),
    Computed {
        expr: Arc<dyn PhysicalExpr>,
        sql_type: SqlType,
    },
}

/// Which columns of the table and which parameters the batch for evaluation has.
pub(crate) struct Inputs {
    schema: SchemaRef,
    columns: Vec<usize>,
    parameters: Vec<usize>,
    now: bool,
}

/// Expressions that make a result.
pub(crate) struct Projection {
    pub(crate) schema: Arc<ResultSchema>,
    pub(crate) arrow_schema: SchemaRef,
    pub(crate) expressions: Vec<RowExpression>,
    pub(crate) inputs: Inputs,
}

/// What all expressions of a statement can see.
pub(crate) struct RowSchema {
    pub(crate) full: DFSchema,
    alias: String,
    fields: Vec<(Field, Origin)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Column(usize),
    Parameter(usize),
    Now,
}

/// The values of one row's inputs.
pub(crate) struct RowValues<'a> {
    /// One for each column of the table; only those of [`Inputs::columns`] and of plain columns need be there.
    pub(crate) columns: &'a [Option<ArrayRef>],
    pub(crate) parameters: &'a [ArrayRef],
    /// Microseconds since 1970 UTC.
    pub(crate) now: i64,
}

impl RowSchema {
    /// The schema of a statement over `table` (none for INSERT's cells), which it calls `alias`.
    pub(crate) fn new(table: Option<&TableDefinition>, alias: &str, parameters: &[SqlType]) -> Result<RowSchema> {
        let mut fields = Vec::new();
        for (place, column) in table.iter().flat_map(|table| table.columns.iter().enumerate()) {
            fields.push((column.sql_type.field(&column.name, true), Origin::Column(place)));
        }
        for (index, sql_type) in parameters.iter().enumerate() {
            fields.push((sql_type.field(&format!("{PARAMETER}{}", index + 1), true), Origin::Parameter(index)));
        }
        fields.push((SqlType::TimestampTz.field(NOW, true), Origin::Now));
        let full = df_schema(alias, &fields)?;
        Ok(RowSchema { full, alias: alias.to_owned(), fields })
    }

    /// Makes bound expressions, given with the types that their values are to have, ready for evaluation.
    pub(crate) fn compile(
        &self,
        exprs: Vec<(Expr, SqlType)>,
        state: &datafusion::execution::SessionState,
    ) -> Result<(Vec<RowExpression>, Inputs)> {
        let origin = |name: &str, qualified: bool| {
            self.fields
                .iter()
                .find(|(field, origin)| field.name() == name && (qualified == matches!(origin, Origin::Column(_))))
        };
        let mut used: Vec<(Field, Origin)> = Vec::new();
        for (expr, _) in exprs.iter().filter(|(expr, _)| !matches!(expr, Expr::Column(_))) {
            for column in expr.column_refs() {
                if let Some(found) = origin(&column.name, column.relation.is_some())
                    && !used.iter().any(|(_, other)| *other == found.1)
                {
                    used.push(found.clone());
                }
            }
        }
        used.sort_by_key(|(_, origin)| match origin {
            Origin::Column(place) => (0, *place),
            Origin::Parameter(index) => (1, *index),
            Origin::Now => (2, 0),
        });
        let schema = df_schema(&self.alias, &used)?;
        let mut out = Vec::with_capacity(exprs.len());
        for (expr, sql_type) in exprs {
            let plain = match &expr {
                Expr::Column(column) => origin(&column.name, column.relation.is_some()).map(|(_, origin)| *origin),
                _ => None,
            };
            out.push(match plain {
                Some(Origin::Column(place)) => RowExpression::Column(place),
                Some(Origin::Parameter(index)) => RowExpression::Parameter(index),
                // The time alone is cheap to compute, but has to be among the inputs: it is, as whatever else is used.
                Some(Origin::Now) | None => {
                    RowExpression::Computed { expr: state.create_physical_expr(expr, &schema)?, sql_type }
                }
            });
        }
        let inputs = Inputs {
            schema: Arc::new(Schema::new(used.iter().map(|(field, _)| field.clone()).collect::<Vec<_>>())),
            columns: used.iter().filter_map(|(_, o)| if let Origin::Column(p) = o { Some(*p) } else { None }).collect(),
            parameters: used
                .iter()
                .filter_map(|(_, o)| if let Origin::Parameter(p) = o { Some(*p) } else { None })
                .collect(),
            now: used.iter().any(|(_, o)| *o == Origin::Now),
        };
        Ok((out, inputs))
    }
}

/// Columns of the table carry its name, the others none.
fn df_schema(alias: &str, fields: &[(Field, Origin)]) -> Result<DFSchema> {
    let qualified = fields
        .iter()
        .map(|(field, origin)| {
            let relation = matches!(origin, Origin::Column(_)).then(|| TableReference::bare(alias));
            (relation, Arc::new(field.clone()))
        })
        .collect();
    Ok(DFSchema::new_with_metadata(qualified, std::collections::HashMap::new())?)
}

impl Inputs {
    /// The places of the table's columns that evaluation reads.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    fn batch(&self, values: &RowValues<'_>) -> Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for place in &self.columns {
            let value = values.columns.get(*place).and_then(Option::as_ref);
            arrays.push(Arc::clone(value.ok_or_else(|| crate::error::Error::internal("a column was not read"))?));
        }
        for index in &self.parameters {
            let value = values.parameters.get(*index);
            arrays.push(Arc::clone(value.ok_or_else(|| crate::error::Error::internal("a parameter has no value"))?));
        }
        if self.now {
            arrays.push(Arc::new(TimestampMicrosecondArray::from(vec![values.now]).with_timezone("UTC")));
        }
        let arrays = arrays
            .into_iter()
            .zip(self.schema.fields())
            .map(|(array, field)| {
                if array.data_type() == field.data_type() {
                    Ok(array)
                } else {
                    Ok(arrow::compute::cast(&array, field.data_type())?)
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }

    /// Evaluates expressions for one row; each value is an array of one, of its SQL type's Arrow form.
    pub(crate) fn evaluate<'a>(
        &self,
        expressions: impl Iterator<Item = &'a RowExpression>,
        values: &RowValues<'_>,
    ) -> Result<Vec<ArrayRef>> {
        let mut batch = None;
        let missing = |what: &str| crate::error::Error::internal(format!("a {what} has no value"));
        expressions
            .map(|expression| match expression {
                RowExpression::Column(place) => {
                    values.columns.get(*place).and_then(Option::as_ref).map(Arc::clone).ok_or_else(|| missing("column"))
                }
                RowExpression::Parameter(index) => {
                    values.parameters.get(*index).map(Arc::clone).ok_or_else(|| missing("parameter"))
                }
                RowExpression::Computed { expr, sql_type } => {
                    if batch.is_none() {
                        batch = Some(self.batch(values)?);
                    }
                    let Some(batch) = &batch else { return Err(missing("batch")) };
                    physical(&expr.evaluate(batch)?.into_array(1)?, sql_type)
                }
            })
            .collect()
    }
}

/// Puts columns in the place of parameters and of the transaction's time. `false`: the expression holds something that a plan must not keep.
pub(crate) fn lift(expr: &mut ast::Expr, parameters: usize) -> bool {
    let outcome: ControlFlow<()> = ast::visit_expressions_mut(expr, |e| {
        if let Some(number) = placeholder(e) {
            if number == 0 || number > parameters {
                return ControlFlow::Break(());
            }
            *e = column(&format!("{PARAMETER}{number}"));
            return ControlFlow::Continue(());
        }
        match e {
            ast::Expr::Function(function) if is_now(function) => *e = column(NOW),
            ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => {
                return ControlFlow::Break(());
            }
            ast::Expr::Value(value) => {
                if let ast::Value::SingleQuotedString(text)
                | ast::Value::EscapedStringLiteral(text)
                | ast::Value::UnicodeStringLiteral(text) = &value.value
                    && names_a_time(text)
                {
                    return ControlFlow::Break(());
                }
            }
            ast::Expr::TypedString(typed) if names_a_time(&typed.to_string()) => return ControlFlow::Break(()),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    outcome.is_continue()
}

/// Whether a text may be read as a time that depends on the clock.
pub(crate) fn names_a_time(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["now", "today", "tomorrow", "yesterday"].iter().any(|word| lower.contains(word))
}

fn is_now(function: &ast::Function) -> bool {
    let [part] = function.name.0.as_slice() else { return false };
    let name = part.as_ident().map(fold).unwrap_or_default();
    let bare = match &function.args {
        ast::FunctionArguments::None => true,
        ast::FunctionArguments::List(list) => list.args.is_empty() && list.clauses.is_empty(),
        ast::FunctionArguments::Subquery(_) => false,
    };
    bare && function.over.is_none()
        && function.filter.is_none()
        && matches!(name.as_str(), "now" | "current_timestamp" | "transaction_timestamp")
}

fn column(name: &str) -> ast::Expr {
    ast::Expr::Identifier(ast::Ident::with_quote('"', name))
}

/// How long a bound expression keeps its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lasting {
    /// As long as the plan.
    Always,
    /// As long as the settings; it looks at the session's statement when it is evaluated.
    WithStatement,
    /// It has to be planned anew.
    No,
}

/// How long a bound expression keeps its meaning.
pub(crate) fn lasting(expr: &Expr) -> Lasting {
    let mut out = Lasting::Always;
    let outcome = expr.apply(|e| {
        out = out.max(match e {
            Expr::ScalarFunction(call) => match call.func.signature().volatility {
                Volatility::Immutable => Lasting::Always,
                Volatility::Stable if call.func.name() == "cast" => Lasting::WithStatement,
                _ => Lasting::No,
            },
            Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::Unnest(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::Placeholder(_) => Lasting::No,
            _ => Lasting::Always,
        });
        Ok(TreeNodeRecursion::Continue)
    });
    if outcome.is_ok() { out } else { Lasting::No }
}
