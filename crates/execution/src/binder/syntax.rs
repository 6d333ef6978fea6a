//! Parsed statements brought to the forms that DataFusion plans.
//!
//! One pass over the tree, before planning: names of columns, operators and functions named with their schema, parameters put in, and the few constructs that
//! DataFusion lacks written with those that it has.

use std::ops::ControlFlow;

use colonnade_types::SqlType;
use sqlparser::ast::{self, VisitorMut};

use crate::binder::arithmetic::AggregateInput;
use crate::binder::names::name_projection;
use crate::binder::operators::{ParameterTypes, note_parameter};
use crate::binder::types::sql_type_of;
use crate::error::{Error, Result};

/// What `$1`, `$2`, ... are.
#[derive(Clone, Debug)]
pub(crate) enum Parameters {
    /// Not known yet: types are being inferred.
    Inferred(ParameterTypes),
    /// Values in text form with their types.
    Values(Vec<(SqlType, Option<String>)>),
}

/// Rewrites a statement, a query or an expression in place.
pub(crate) fn rewrite<T: ast::VisitMut>(node: &mut T, parameters: &Parameters) -> Result<()> {
    crate::rewrite::rewrite(node);
    let mut rewriter = Rewriter { parameters };
    if let ControlFlow::Break(error) = node.visit(&mut rewriter) {
        return Err(error);
    }
    // DataFusion looks at the flag in places.
    let _ = node.visit(&mut Unmark);
    Ok(())
}

/// Takes the marks of [`keep_number`] off.
struct Unmark;

impl VisitorMut for Unmark {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Value(value) = expr
            && let ast::Value::Number(_, kept) = &mut value.value
        {
            *kept = false;
        }
        ControlFlow::Continue(())
    }
}

struct Rewriter<'a> {
    parameters: &'a Parameters,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        if !query.locks.is_empty() {
            return ControlFlow::Break(Error::unsupported("SELECT ... FOR UPDATE or SHARE"));
        }
        if let Some(fetch) = query.fetch.take() {
            if fetch.with_ties || fetch.percent {
                return ControlFlow::Break(Error::unsupported("FETCH ... WITH TIES or PERCENT"));
            }
            let quantity = fetch.quantity.unwrap_or_else(|| number("1"));
            match &mut query.limit_clause {
                Some(ast::LimitClause::LimitOffset { limit, .. }) => *limit = Some(quantity),
                other => {
                    *other =
                        Some(ast::LimitClause::LimitOffset { limit: Some(quantity), offset: None, limit_by: vec![] });
                }
            }
        }
        if let Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(exprs), .. }) = &mut query.order_by {
            exprs.iter_mut().for_each(|order| keep_number(&mut order.expr));
        }
        if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            for expr in limit.iter_mut().chain(offset.iter_mut().map(|offset| &mut offset.value)) {
                keep_number(expr);
                if let Err(error) = self.limit(expr) {
                    return ControlFlow::Break(error);
                }
            }
            if limit.as_ref().is_some_and(is_null) {
                *limit = None;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<Error> {
        name_projection(&mut select.projection);
        if let ast::GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(keep_number);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<Error> {
        if let (Parameters::Inferred(types), ast::Expr::Cast { expr: inner, data_type, .. }) = (self.parameters, &*expr)
            && let Some(number) = placeholder(inner)
        {
            match sql_type_of(data_type) {
                Ok(sql_type) => {
                    note_parameter(number, &sql_type, types);
                }
                Err(error) => return ControlFlow::Break(error),
            }
        }
        match expr {
            ast::Expr::Function(function) => {
                if let Some(ast::WindowType::WindowSpec(spec)) = &mut function.over
                    && let Some(frame) = &mut spec.window_frame
                {
                    for bound in std::iter::once(&mut frame.start_bound).chain(frame.end_bound.as_mut()) {
                        if let ast::WindowFrameBound::Preceding(Some(n)) | ast::WindowFrameBound::Following(Some(n)) =
                            bound
                        {
                            keep_number(n);
                        }
                    }
                }
            }
            // DataFusion takes names and literals only within a row.
            ast::Expr::Tuple(values) => values.iter_mut().for_each(keep_number),
            // A sign binds closer than a power: -2 ^ 2 is 4.
            ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: inner } => {
                if let ast::Expr::BinaryOp { left, op: ast::BinaryOperator::PGExp, right } = inner.as_ref() {
                    let left = ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: left.clone() };
                    *expr = ast::Expr::BinaryOp {
                        left: Box::new(left),
                        op: ast::BinaryOperator::PGExp,
                        right: right.clone(),
                    };
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<Error> {
        match self.rewrite_expr(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Rewriter<'_> {
    /// LIMIT and OFFSET take a plain number.
    fn limit(&self, expr: &mut ast::Expr) -> Result<()> {
        let Some(index) = placeholder(expr) else { return Ok(()) };
        match self.parameters {
            Parameters::Inferred(types) => {
                note_parameter(index, &SqlType::BigInt, types);
                *expr = number("1");
            }
            Parameters::Values(values) => {
                *expr = match values.get(index.wrapping_sub(1)) {
                    Some((_, Some(text))) if text.parse::<i64>().is_ok() => number(text),
                    Some((_, None)) => ast::Expr::Value(ast::Value::Null.into()),
                    _ => return Err(undefined_parameter(index)),
                };
            }
        }
        Ok(())
    }

    fn rewrite_expr(&self, expr: &mut ast::Expr) -> Result<()> {
        if let Some(index) = placeholder(expr) {
            if let Parameters::Inferred(types) = self.parameters {
                note_parameter(index, &SqlType::Unknown, types);
            }
            if let Parameters::Values(values) = self.parameters {
                let (sql_type, value) =
                    index.checked_sub(1).and_then(|i| values.get(i)).ok_or_else(|| undefined_parameter(index))?;
                *expr = value_expr(sql_type, value.as_deref());
            }
            return Ok(());
        }
        match expr {
            ast::Expr::Function(function) => {
                rewrite_function(function);
                if let Some(type_name) = signed_result(function) {
                    *expr = cast(expr.clone(), type_name);
                }
            }
            ast::Expr::Value(value) => match &value.value {
                ast::Value::Number(text, false) => {
                    let (text, span) = (text.clone(), value.span);
                    if text.parse::<i32>().is_ok() {
                        *expr = cast(ast::Expr::Value(ast::Value::Number(text, true).with_span(span)), "int4");
                    } else if text.contains(['e', 'E']) {
                        *expr = cast(string(&text), "float8");
                    }
                }
                ast::Value::UnicodeStringLiteral(text) => *expr = string(&text.clone()),
                _ => {}
            },
            ast::Expr::UnaryOp { op: ast::UnaryOperator::BitwiseNot, expr: inner } => {
                let ones =
                    ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: Box::new(cast(number("1"), "int4")) };
                *expr = ast::Expr::Nested(Box::new(ast::Expr::BinaryOp {
                    left: inner.clone(),
                    op: ast::BinaryOperator::PGBitwiseXor,
                    right: Box::new(ones),
                }));
            }
            ast::Expr::BinaryOp { left, op, right } => {
                if let ast::BinaryOperator::PGCustomBinaryOperator(name) = op {
                    *op = operator(name.last().map(String::as_str).unwrap_or_default())?;
                }
                if *op == ast::BinaryOperator::PGExp {
                    let (left, right) = (left.as_ref().clone(), right.as_ref().clone());
                    *expr = call("power", vec![left, right]);
                }
            }
            ast::Expr::Collate { expr: inner, .. } => *expr = inner.as_ref().clone(),
            ast::Expr::AtTimeZone { timestamp, time_zone } => {
                *expr = call("timezone", vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()]);
            }
            ast::Expr::Interval(interval) => {
                if let Some(text) = interval_text(interval) {
                    *expr = cast(string(&text), "interval");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn undefined_parameter(number: usize) -> Error {
    Error::new(colonnade_types::SqlState::UNDEFINED_PARAMETER, format!("there is no parameter ${number}"))
}

/// The number of a parameter, from 1.
pub(crate) fn placeholder(expr: &ast::Expr) -> Option<usize> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        ast::Expr::Nested(inner) => placeholder(inner),
        _ => None,
    }
}

/// Marks a number that stands for itself: a column's position, a count of rows. Other integers are given PostgreSQL's type, integer if
/// they fit; sqlparser's flag for a long literal, which PostgreSQL has not, tells them apart.
fn keep_number(expr: &mut ast::Expr) {
    if let ast::Expr::Value(value) = expr
        && let ast::Value::Number(_, kept) = &mut value.value
    {
        *kept = true;
    }
}

/// The signed type of functions whose results DataFusion counts without sign.
fn signed_result(function: &ast::Function) -> Option<&'static str> {
    let [part] = function.name.0.as_slice() else { return None };
    match crate::names::fold(part.as_ident()?).as_str() {
        "row_number" | "rank" | "dense_rank" => Some("int8"),
        "ntile" | "array_length" | "cardinality" | "array_ndims" | "array_position" => Some("int4"),
        _ => None,
    }
}

fn is_null(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Value(value) if value.value == ast::Value::Null)
}

/// A number that is not given a type of its own.
pub(crate) fn number(text: &str) -> ast::Expr {
    ast::Expr::Value(ast::Value::Number(text.to_owned(), true).into())
}

pub(crate) fn string(text: &str) -> ast::Expr {
    ast::Expr::Value(ast::Value::SingleQuotedString(text.to_owned()).into())
}

pub(crate) fn cast(expr: ast::Expr, type_name: &str) -> ast::Expr {
    ast::Expr::Cast {
        kind: ast::CastKind::DoubleColon,
        expr: Box::new(expr),
        data_type: ast::DataType::Custom(
            ast::ObjectName::from(vec![ast::Ident::new(type_name.to_owned())]),
            Vec::new(),
        ),
        array: false,
        format: None,
    }
}

/// A parameter's value as an expression of its type.
fn value_expr(sql_type: &SqlType, value: Option<&str>) -> ast::Expr {
    let name = match sql_type {
        SqlType::Char(_) | SqlType::Varchar(_) => "text".to_owned(),
        SqlType::Unknown => {
            return value.map_or_else(|| ast::Expr::Value(ast::Value::Null.into()), string);
        }
        other => other.typname(),
    };
    match value {
        None => cast(ast::Expr::Value(ast::Value::Null.into()), &name),
        // A numeric literal keeps its own scale, which compares better than numeric without one.
        Some(text) if matches!(sql_type, SqlType::Numeric(_)) && is_plain_number(text) => {
            match text.strip_prefix('-') {
                Some(digits) => ast::Expr::Nested(Box::new(ast::Expr::UnaryOp {
                    op: ast::UnaryOperator::Minus,
                    expr: Box::new(number(digits)),
                })),
                None => number(text),
            }
        }
        Some(text) => cast(string(text), &name),
    }
}

fn is_plain_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.len() <= 36
        && digits.contains('.')
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
}

pub(crate) fn call(name: &str, arguments: Vec<ast::Expr>) -> ast::Expr {
    let args = arguments.into_iter().map(|e| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e))).collect();
    ast::Expr::Function(ast::Function {
        name: ast::ObjectName::from(vec![ast::Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn rewrite_function(function: &mut ast::Function) {
    let parts = &mut function.name.0;
    if parts.len() == 2 && parts[0].as_ident().is_some_and(|ident| ident.value.eq_ignore_ascii_case("pg_catalog")) {
        parts.remove(0);
    }
    // `current_user` and its like have no parentheses.
    if matches!(function.args, ast::FunctionArguments::None) {
        let list = ast::FunctionArgumentList { duplicate_treatment: None, args: vec![], clauses: vec![] };
        function.args = ast::FunctionArguments::List(list);
    }
    let name = match function.name.0.as_slice() {
        [part] => part.as_ident().map(crate::names::fold).unwrap_or_default(),
        _ => return,
    };
    let renamed = match name.as_str() {
        "every" => Some("bool_and"),
        "variance" => Some("var_samp"),
        _ => None,
    };
    if let Some(renamed) = renamed {
        function.name = ast::ObjectName::from(vec![ast::Ident::new(renamed)]);
    }
    let input = match name.as_str() {
        "sum" => AggregateInput::SUM,
        "avg" => AggregateInput::AVG,
        _ => return,
    };
    if let ast::FunctionArguments::List(list) = &mut function.args
        && let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument))] = list.args.as_mut_slice()
    {
        *argument = call(input, vec![argument.clone()]);
    }
}

fn operator(symbol: &str) -> Result<ast::BinaryOperator> {
    use ast::BinaryOperator as Op;
    Ok(match symbol {
        "=" => Op::Eq,
        "<>" | "!=" => Op::NotEq,
        "<" => Op::Lt,
        "<=" => Op::LtEq,
        ">" => Op::Gt,
        ">=" => Op::GtEq,
        "+" => Op::Plus,
        "-" => Op::Minus,
        "*" => Op::Multiply,
        "/" => Op::Divide,
        "%" => Op::Modulo,
        "||" => Op::StringConcat,
        "~" => Op::PGRegexMatch,
        "~*" => Op::PGRegexIMatch,
        "!~" => Op::PGRegexNotMatch,
        "!~*" => Op::PGRegexNotIMatch,
        "~~" => Op::PGLikeMatch,
        "~~*" => Op::PGILikeMatch,
        "!~~" => Op::PGNotLikeMatch,
        "!~~*" => Op::PGNotILikeMatch,
        other => {
            return Err(Error::new(
                colonnade_types::SqlState::UNDEFINED_FUNCTION,
                format!("operator does not exist: {other}"),
            ));
        }
    })
}

/// The text that interval input reads, of `interval '90' day` and of `interval '1 day 02:00'`.
fn interval_text(interval: &ast::Interval) -> Option<String> {
    let text = match interval.value.as_ref() {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => text.clone(),
            ast::Value::Number(text, _) => text.clone(),
            _ => return None,
        },
        _ => return None,
    };
    match (&interval.leading_field, &interval.last_field) {
        (Some(field), None) if text.trim().parse::<f64>().is_ok() => Some(format!("{text} {field}")),
        _ => Some(text),
    }
}
