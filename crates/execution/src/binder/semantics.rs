//! PostgreSQL's meaning of a planned statement, put in before DataFusion coerces types.
//!
//! One pass over the plan: casts that Arrow would do otherwise become [`PgCast`](super::cast::PgCast), literals of unknown type take the type of what they are compared
//! with, integer literals have the type that PostgreSQL gives them.

use std::sync::Arc;

use arrow::datatypes::DataType;
use colonnade_types::sql_type::RegKind;
use colonnade_types::{DisplaySettings, SqlType};
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::other::get_coerce_type_for_case_expression;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Cast, Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF,
    Union, Values,
};
use datafusion::optimizer::AnalyzerRule as _;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

use crate::binder::cast::{arrow_cast, cast_array, cast_expr};
use crate::binder::operators::{ParameterTypes, narrow_integer, parameter_number, typed_parameter};
use crate::binder::types::{is_unknown_literal, literal, parse_literal, type_of};
use crate::error::{Error, Result};

/// What the pass needs to know of the statement.
pub(crate) struct Semantics<'a> {
    pub(crate) settings: &'a DisplaySettings,
    pub(crate) parameters: &'a ParameterTypes,
    /// Finds a function by name, for `regclass` and its like.
    pub(crate) function: &'a dyn Fn(&str) -> Option<Arc<ScalarUDF>>,
}

impl Semantics<'_> {
    /// Rewrites a whole plan, subqueries included.
    pub(crate) fn plan(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        // The work table of a recursive query has its types from before this pass: they must stay what they were.
        let mut recursive = false;
        plan.apply_with_subqueries(|node| {
            recursive |= matches!(node, LogicalPlan::RecursiveQuery(_));
            Ok(TreeNodeRecursion::Continue)
        })?;
        let out = plan.transform_up_with_subqueries(|node| self.node(node, !recursive))?;
        Ok(out.data)
    }

    /// VALUES: its columns get their types anew from what its rows hold now.
    fn values(&self, values: Values) -> DataFusionResult<LogicalPlan> {
        let empty = DFSchema::empty();
        let mut rows = Vec::with_capacity(values.values.len());
        for row in values.values {
            rows.push(row.into_iter().map(|e| Ok(self.expr(e, &empty)?.data)).collect::<DataFusionResult<Vec<_>>>()?);
        }
        for column in 0..values.schema.fields().len() {
            let is_null = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.is_null());
            let narrow = |expr: &Expr| {
                is_null(expr) || matches!(narrow_integer(expr.clone()), Expr::Literal(ScalarValue::Int32(_), None))
            };
            if values.schema.field(column).data_type() == &DataType::Int64
                && rows.iter().all(|row| narrow(&row[column]))
            {
                for row in &mut rows {
                    let taken = std::mem::take(&mut row[column]);
                    row[column] = if is_null(&taken) {
                        Expr::Literal(ScalarValue::Int32(None), None)
                    } else {
                        narrow_integer(taken)
                    };
                }
            }
        }
        LogicalPlanBuilder::values(rows)?.build()
    }

    fn node(&self, node: LogicalPlan, narrow: bool) -> DataFusionResult<Transformed<LogicalPlan>> {
        let node = match node {
            LogicalPlan::Values(values) if narrow => return Ok(Transformed::yes(self.values(values)?)),
            // Recomputing would impose the first input's types on all; the type that all share has to be known to the result too.
            LogicalPlan::Union(union) => {
                let union = Union::try_new_with_loose_types(union.inputs)?;
                let types = |input: &Arc<LogicalPlan>| -> Vec<DataType> {
                    input.schema().fields().iter().map(|field| field.data_type().clone()).collect()
                };
                let differ = union.inputs.windows(2).any(|pair| types(&pair[0]) != types(&pair[1]));
                let plan = LogicalPlan::Union(union);
                let plan = if differ { TypeCoercion::new().analyze(plan, &ConfigOptions::default())? } else { plan };
                return Ok(Transformed::yes(plan));
            }
            node => node,
        };
        if matches!(node, LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) | LogicalPlan::Limit(_)) {
            return Ok(Transformed::no(node));
        }
        let schema = match &node {
            LogicalPlan::Values(_) => DFSchema::empty(),
            _ => merge_schema(&node.inputs()),
        };
        let top_level = matches!(node, LogicalPlan::Projection(_));
        let names = NamePreserver::new(&node);
        let out = node.map_expressions(|expr| {
            let saved = names.save(&expr);
            let out = self.expr(expr, &schema)?;
            let out = out.update_data(|expr| if top_level && narrow { narrow_top(expr) } else { expr });
            Ok(Transformed::yes(saved.restore(out.data)))
        })?;
        out.map_data(LogicalPlan::recompute_schema)
    }

    /// Rewrites one expression over `schema`.
    pub(crate) fn expr(&self, expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
        expr.transform_up(|expr| Ok(Transformed::yes(self.one(expr, schema)?)))
    }

    fn one(&self, expr: Expr, schema: &DFSchema) -> DataFusionResult<Expr> {
        match expr {
            Expr::Cast(cast) => self.cast(cast, schema),
            Expr::Placeholder(ref placeholder) if placeholder.field.is_none() => {
                let known = parameter_number(&expr).and_then(|number| self.parameters.lock().get(&number).cloned());
                Ok(match known.filter(|t| *t != SqlType::Unknown) {
                    Some(known) => typed_parameter(expr, &known, self.parameters),
                    None => expr,
                })
            }
            Expr::Negative(inner) => Ok(match *inner {
                Expr::Literal(ScalarValue::Int32(Some(value)), None) if value != i32::MIN => {
                    Expr::Literal(ScalarValue::Int32(Some(-value)), None)
                }
                other => Expr::Negative(Box::new(other)),
            }),
            Expr::InList(list) => {
                let Some(of) = type_of(&list.expr, schema).filter(|t| *t != SqlType::Unknown) else {
                    return Ok(Expr::InList(list));
                };
                let items = list.list.into_iter().map(|item| self.like(item, &of)).collect::<DataFusionResult<_>>()?;
                Ok(Expr::InList(InList::new(list.expr, items, list.negated)))
            }
            // Under a name of its own, so that the comparison's two sides stay apart when both read the same table.
            Expr::SetComparison(mut comparison) => {
                let inner = LogicalPlanBuilder::from(Arc::clone(&comparison.subquery.subquery));
                comparison.subquery.subquery = Arc::new(inner.alias("compared")?.build()?);
                Ok(Expr::SetComparison(comparison))
            }
            Expr::Between(between) => {
                let Some(of) = type_of(&between.expr, schema).filter(|t| *t != SqlType::Unknown) else {
                    return Ok(Expr::Between(between));
                };
                let low = Box::new(self.like(*between.low, &of)?);
                let high = Box::new(self.like(*between.high, &of)?);
                Ok(Expr::Between(Between::new(between.expr, between.negated, low, high)))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) =>
            {
                let (left_type, right_type) = (type_of(&left, schema), type_of(&right, schema));
                let left = match right_type.filter(|t| *t != SqlType::Unknown) {
                    Some(of) => Box::new(self.like(*left, &of)?),
                    None => left,
                };
                let right = match left_type.filter(|t| *t != SqlType::Unknown) {
                    Some(of) => Box::new(self.like(*right, &of)?),
                    None => right,
                };
                Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            Expr::Case(mut case) => {
                if let Some(of) = case.expr.as_ref().and_then(|e| type_of(e, schema)) {
                    for (when, _) in &mut case.when_then_expr {
                        **when = self.like(std::mem::take(when.as_mut()), &of)?;
                    }
                }
                let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
                let of = self.common(results.map(AsRef::as_ref), schema);
                for then in case.when_then_expr.iter_mut().map(|(_, then)| then).chain(&mut case.else_expr) {
                    let taken = narrow_integer(std::mem::take(then.as_mut()));
                    **then = match &of {
                        Some(of) => self.like(taken, of)?,
                        None => taken,
                    };
                }
                self.unite(&mut case, schema)?;
                Ok(Expr::Case(case))
            }
            Expr::ScalarFunction(ScalarFunction { func, args })
                if matches!(func.name(), "coalesce" | "nullif" | "greatest" | "least") =>
            {
                let args: Vec<Expr> = args.into_iter().map(narrow_integer).collect();
                let args = match self.common(args.iter(), schema) {
                    Some(of) => args.into_iter().map(|arg| self.like(arg, &of)).collect::<DataFusionResult<_>>()?,
                    None => args,
                };
                Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
            }
            Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "pg_typeof" => {
                let args = args.into_iter().map(narrow_integer).collect();
                Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
            }
            Expr::ScalarFunction(ScalarFunction { func, mut args })
                if func.name() == "array_has" && args.len() == 2 =>
            {
                if let Some(element) = type_of(&args[1], schema).filter(SqlType::may_be_element) {
                    let array = SqlType::Array(Box::new(element));
                    args[0] = self.like(std::mem::take(&mut args[0]), &array)?;
                }
                Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
            }
            Expr::Like(mut like) | Expr::SimilarTo(mut like) if parameter_number(&like.pattern).is_some() => {
                *like.pattern = typed_parameter(std::mem::take(like.pattern.as_mut()), &SqlType::Text, self.parameters);
                Ok(Expr::Like(like))
            }
            other => Ok(other),
        }
    }

    /// Casts the results of a CASE to one type, which DataFusion would do only after the statement's columns have been described.
    fn unite(&self, case: &mut Case, schema: &DFSchema) -> DataFusionResult<()> {
        let results = || case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
        let mut types = Vec::new();
        for result in results() {
            types.push(result.get_type(schema)?);
        }
        let Some((first, rest)) = types.split_first() else { return Ok(()) };
        if rest.iter().all(|t| t == first) {
            return Ok(());
        }
        let Some(common) = get_coerce_type_for_case_expression(&types, None) else { return Ok(()) };
        for then in case.when_then_expr.iter_mut().map(|(_, then)| then).chain(&mut case.else_expr) {
            let from = then.get_type(schema)?;
            if from != common && from != DataType::Null {
                **then = arrow_cast(std::mem::take(then.as_mut()), common.clone());
            }
        }
        Ok(())
    }

    /// The type of the first of several expressions that has one of its own.
    fn common<'e>(&self, exprs: impl Iterator<Item = &'e Expr>, schema: &DFSchema) -> Option<SqlType> {
        exprs
            .filter(|expr| !matches!(expr, Expr::Literal(value, _) if value.is_null()))
            .filter_map(|expr| type_of(expr, schema))
            .find(|t| *t != SqlType::Unknown)
    }

    /// A literal or parameter of unknown type, read as `of`; an integer literal in the type of its surroundings.
    fn like(&self, expr: Expr, of: &SqlType) -> DataFusionResult<Expr> {
        if parameter_number(&expr).is_some() {
            return Ok(typed_parameter(expr, of, self.parameters));
        }
        if of.is_string() && !matches!(of, SqlType::Char(_)) {
            return Ok(expr);
        }
        if let Some(text) = is_unknown_literal(&expr) {
            let of = match of {
                SqlType::Numeric(_) => &SqlType::Numeric(None),
                other => other,
            };
            return Ok(parse_literal(text, of, self.settings)?);
        }
        Ok(expr)
    }

    fn cast(&self, cast: Cast, schema: &DFSchema) -> DataFusionResult<Expr> {
        let Cast { expr, field } = cast;
        let Some(to) = SqlType::from_field(&field) else {
            return Ok(Expr::Cast(Cast { expr, field }));
        };
        if parameter_number(&expr).is_some() {
            return Ok(typed_parameter(*expr, &to, self.parameters));
        }
        if let Expr::Literal(value, metadata) = expr.as_ref() {
            if value.is_null() {
                let array = arrow::array::new_null_array(&to.arrow_type(), 1);
                return Ok(literal(&to, &array)?);
            }
            let from = match is_unknown_literal(&expr) {
                Some(_) => Some(SqlType::Unknown),
                None if metadata.is_none() => SqlType::from_arrow(&value.data_type()),
                None => type_of(&expr, schema),
            };
            if let (Some(from), false) = (from, matches!(to, SqlType::Reg(_))) {
                let array = value.to_array()?;
                let from = if from == SqlType::Unknown { SqlType::Text } else { from };
                let array = cast_array(&array, &from, &to, true, self.settings)?;
                return Ok(literal(&to, &array)?);
            }
        }
        let Some(from) = type_of(&expr, schema) else {
            return Ok(Expr::Cast(Cast { expr, field }));
        };
        let from = if from == SqlType::Unknown { SqlType::Text } else { from };
        // Counts of DataFusion's functions are unsigned, which no SQL type is.
        if matches!(to, SqlType::Integer | SqlType::BigInt) && is_unsigned(&expr, schema) {
            return Ok(arrow_cast(*expr, to.arrow_type()));
        }
        match (&from, &to) {
            (from, SqlType::Reg(kind)) if from.is_string() => self.call(reg_function(*kind, true), *expr),
            // A plain cast between the same physical types would keep the field's metadata, and with it the type.
            (SqlType::Reg(_), SqlType::Oid) => self.call("oid", *expr),
            (SqlType::Reg(kind), to) if to.is_string() => self.call(reg_function(*kind, false), *expr),
            _ => {
                if field.data_type() == &DataType::Null {
                    return Ok(Expr::Cast(Cast { expr, field }));
                }
                Ok(cast_expr(*expr, &from, &to, true))
            }
        }
    }

    fn call(&self, name: &str, argument: Expr) -> DataFusionResult<Expr> {
        let Some(function) = (self.function)(name) else {
            return Err(Error::unsupported(format!("the function {name}")).into_datafusion());
        };
        Ok(Expr::ScalarFunction(ScalarFunction { func: function, args: vec![argument] }))
    }
}

fn is_unsigned(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::UInt64 | DataType::UInt16 | DataType::UInt8))
}

fn reg_function(kind: RegKind, input: bool) -> &'static str {
    match (kind, input) {
        (RegKind::Class, true) => "regclass",
        (RegKind::Class, false) => "regclassout",
        (RegKind::Type, true) => "regtype",
        (RegKind::Type, false) => "regtypeout",
        (RegKind::Proc, true) => "regproc",
        (RegKind::Proc, false) => "regprocout",
        (RegKind::Namespace, true) => "regnamespace",
        (RegKind::Namespace, false) => "regnamespaceout",
        (RegKind::Role, true) => "regrole",
        (RegKind::Role, false) => "regroleout",
    }
}

/// An integer literal that is a column by itself.
fn narrow_top(expr: Expr) -> Expr {
    match expr {
        Expr::Alias(mut alias)
            if matches!(alias.expr.as_ref(), Expr::Literal(ScalarValue::Int64(Some(_)), None) | Expr::Negative(_)) =>
        {
            *alias.expr = narrow_integer(std::mem::take(alias.expr.as_mut()));
            Expr::Alias(alias)
        }
        other => narrow_integer(other),
    }
}
