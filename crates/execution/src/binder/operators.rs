//! Operators typed as PostgreSQL types them, while DataFusion plans a statement.
//!
//! DataFusion asks an [`ExprPlanner`] before it builds a binary expression. Here literals of unknown type become values of the other side's type,
//! parameters take the other side's type, and arithmetic goes to functions that fail where PostgreSQL's do.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use colonnade_types::{DisplaySettings, SqlType};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use parking_lot::Mutex;
use sqlparser::ast::BinaryOperator;

use crate::binder::arithmetic::{ArithmeticOp, TimeOp, checked, time_call};
use crate::binder::cast::{arrow_cast, cast_expr};
use crate::binder::types::{is_unknown_literal, parse_literal, type_of};

/// Types found for parameters, by number from 1.
pub(crate) type ParameterTypes = Arc<Mutex<BTreeMap<usize, SqlType>>>;

/// Types the operators of one statement.
#[derive(Debug)]
pub(crate) struct PostgresOperators {
    pub(crate) settings: DisplaySettings,
    pub(crate) parameters: ParameterTypes,
}

/// The number of a parameter, if the expression is one.
pub(crate) fn parameter_number(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Placeholder(placeholder) => placeholder.id.strip_prefix('$')?.parse().ok(),
        _ => None,
    }
}

/// Notes the type of a parameter and returns the one that counts: the first that was not unknown.
pub(crate) fn note_parameter(number: usize, sql_type: &SqlType, parameters: &ParameterTypes) -> SqlType {
    let mut known = parameters.lock();
    let known = known.entry(number).or_insert(SqlType::Unknown);
    if *known == SqlType::Unknown {
        *known = sql_type.clone();
    }
    known.clone()
}

/// Notes the type of a parameter, the first one counts, and gives the expression that has it.
pub(crate) fn typed_parameter(expr: Expr, sql_type: &SqlType, parameters: &ParameterTypes) -> Expr {
    let Some(number) = parameter_number(&expr) else { return expr };
    let sql_type = note_parameter(number, sql_type, parameters);
    match expr {
        Expr::Placeholder(mut placeholder) => {
            let field: Field = sql_type.field(&placeholder.id, true);
            placeholder.field = Some(Arc::new(field));
            Expr::Placeholder(placeholder)
        }
        other => other,
    }
}

fn arithmetic(op: &BinaryOperator) -> Option<ArithmeticOp> {
    Some(match op {
        BinaryOperator::Plus => ArithmeticOp::Add,
        BinaryOperator::Minus => ArithmeticOp::Subtract,
        BinaryOperator::Multiply => ArithmeticOp::Multiply,
        BinaryOperator::Divide => ArithmeticOp::Divide,
        BinaryOperator::Modulo => ArithmeticOp::Modulo,
        _ => return None,
    })
}

fn comparison(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// An integer literal in the narrowest type that PostgreSQL gives it.
pub(crate) fn narrow_integer(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), None) => match i32::try_from(value) {
            Ok(value) => Expr::Literal(ScalarValue::Int32(Some(value)), None),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), None),
        },
        Expr::Negative(inner) => match *inner {
            Expr::Literal(ScalarValue::Int64(Some(value)), None) => {
                match value.checked_neg().and_then(|v| i32::try_from(v).ok()) {
                    Some(value) => Expr::Literal(ScalarValue::Int32(Some(value)), None),
                    None => Expr::Negative(Box::new(Expr::Literal(ScalarValue::Int64(Some(value)), None))),
                }
            }
            other => Expr::Negative(Box::new(other)),
        },
        other => other,
    }
}

fn is_integer(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt)
}

fn is_float(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Real | SqlType::DoublePrecision)
}

fn is_number(sql_type: &SqlType) -> bool {
    is_integer(sql_type) || is_float(sql_type) || matches!(sql_type, SqlType::Numeric(_))
}

/// The wider of two integer types.
fn wider(left: &SqlType, right: &SqlType) -> SqlType {
    match (left, right) {
        (SqlType::BigInt, _) | (_, SqlType::BigInt) => SqlType::BigInt,
        (SqlType::Integer, _) | (_, SqlType::Integer) => SqlType::Integer,
        _ => SqlType::SmallInt,
    }
}

impl PostgresOperators {
    /// Gives a side of unknown type the type that the other side calls for.
    fn side(
        &self,
        expr: Expr,
        own: Option<&SqlType>,
        other: Option<&SqlType>,
        op: &BinaryOperator,
    ) -> DataFusionResult<Expr> {
        let wanted = match other {
            Some(SqlType::Unknown) | None => return Ok(expr),
            Some(other) => wanted_type(other, op),
        };
        if parameter_number(&expr).is_some() && !matches!(own, Some(t) if *t != SqlType::Unknown) {
            return Ok(typed_parameter(expr, &wanted, &self.parameters));
        }
        match is_unknown_literal(&expr) {
            Some(text) if !matches!(wanted, SqlType::Text | SqlType::Name | SqlType::InternalChar) => {
                Ok(parse_literal(text, &wanted, &self.settings)?)
            }
            _ => Ok(expr),
        }
    }

    fn plan_arithmetic(
        &self,
        op: ArithmeticOp,
        left: Expr,
        left_type: &SqlType,
        right: Expr,
        right_type: &SqlType,
    ) -> Result<Expr, (Expr, Expr)> {
        use ArithmeticOp::{Add, Divide, Multiply, Subtract};
        let to = |expr: Expr, from: &SqlType, to: &SqlType| cast_expr(expr, from, to, true);
        let native = arrow_cast;
        let binary = |left: Expr, op: Operator, right: Expr| {
            Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
        };
        match (left_type, op, right_type) {
            (l, _, r) if is_integer(l) && is_integer(r) => {
                let common = wider(l, r);
                Ok(checked(op, &common.arrow_type(), to(left, l, &common), to(right, r, &common)))
            }
            (l, _, r) if is_number(l) && is_number(r) && (is_float(l) || is_float(r)) => {
                let common =
                    if *l == SqlType::Real && *r == SqlType::Real { SqlType::Real } else { SqlType::DoublePrecision };
                let float = |expr: Expr, from: &SqlType| {
                    if *from == common { expr } else { native(expr, common.arrow_type()) }
                };
                Ok(checked(op, &common.arrow_type(), float(left, l), float(right, r)))
            }
            (SqlType::Numeric(l), _, r) if is_number(r) => self.plan_numeric(op, left, *l, right, r),
            (l, _, SqlType::Numeric(_)) if is_integer(l) => {
                // As numeric without fraction, of as many digits as the integer may have.
                let digits = match l {
                    SqlType::SmallInt => 5,
                    SqlType::Integer => 10,
                    _ => 19,
                };
                let modifier = Some((digits, 0));
                self.plan_numeric(op, native(left, DataType::Decimal128(digits, 0)), modifier, right, right_type)
            }
            (SqlType::Date, Add, r) if is_integer(r) => Ok(shifted(left, Add, to(right, r, &SqlType::Integer))),
            (l, Add, SqlType::Date) if is_integer(l) => Ok(shifted(right, Add, to(left, l, &SqlType::Integer))),
            (SqlType::Date, Subtract, r) if is_integer(r) => {
                Ok(shifted(left, Subtract, to(right, r, &SqlType::Integer)))
            }
            (SqlType::Date, Subtract, SqlType::Date) => {
                Ok(checked(Subtract, &DataType::Int32, native(left, DataType::Int32), native(right, DataType::Int32)))
            }
            (SqlType::Date, Add, SqlType::Interval) => {
                Ok(binary(to(left, &SqlType::Date, &SqlType::Timestamp), Operator::Plus, right))
            }
            (SqlType::Interval, Add, SqlType::Date) => {
                Ok(binary(to(right, &SqlType::Date, &SqlType::Timestamp), Operator::Plus, left))
            }
            (SqlType::Date, Subtract, SqlType::Interval) => {
                Ok(binary(to(left, &SqlType::Date, &SqlType::Timestamp), Operator::Minus, right))
            }
            (SqlType::Date, Add, SqlType::Time) => {
                let time = native(right, SqlType::Interval.arrow_type());
                Ok(binary(to(left, &SqlType::Date, &SqlType::Timestamp), Operator::Plus, time))
            }
            (
                l @ (SqlType::Date | SqlType::Timestamp | SqlType::TimestampTz),
                Subtract,
                r @ (SqlType::Date | SqlType::Timestamp | SqlType::TimestampTz),
            ) => {
                let common = if *l == SqlType::TimestampTz || *r == SqlType::TimestampTz {
                    SqlType::TimestampTz
                } else {
                    SqlType::Timestamp
                };
                Ok(time_call(TimeOp::TimestampDifference, to(left, l, &common), to(right, r, &common)))
            }
            (SqlType::Interval, Multiply, r) if is_number(r) => {
                Ok(time_call(TimeOp::IntervalTimes, left, native(right, DataType::Float64)))
            }
            (l, Multiply, SqlType::Interval) if is_number(l) => {
                Ok(time_call(TimeOp::IntervalTimes, right, native(left, DataType::Float64)))
            }
            (SqlType::Interval, Divide, r) if is_number(r) => {
                Ok(time_call(TimeOp::IntervalOver, left, native(right, DataType::Float64)))
            }
            _ => Err((left, right)),
        }
    }

    /// Arithmetic on numeric: DataFusion's, with digits enough in a quotient, and unconstrained numeric kept so.
    fn plan_numeric(
        &self,
        op: ArithmeticOp,
        left: Expr,
        left_modifier: Option<(u8, i8)>,
        right: Expr,
        right_type: &SqlType,
    ) -> Result<Expr, (Expr, Expr)> {
        let unconstrained = left_modifier.is_none() || *right_type == SqlType::Numeric(None);
        let operator = match op {
            ArithmeticOp::Add => Operator::Plus,
            ArithmeticOp::Subtract => Operator::Minus,
            ArithmeticOp::Multiply => Operator::Multiply,
            ArithmeticOp::Divide => Operator::Divide,
            ArithmeticOp::Modulo => Operator::Modulo,
        };
        let mut left = left;
        if op == ArithmeticOp::Divide
            && let Some((precision, scale)) = left_modifier
        {
            let widened = precision.saturating_add((12 - scale).max(0).unsigned_abs());
            if scale < 12 {
                let wide = if widened <= 38 {
                    DataType::Decimal128(widened, 12)
                } else {
                    DataType::Decimal256(widened.min(76), 12)
                };
                left = arrow_cast(left, wide);
            }
        }
        let out = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)));
        if unconstrained {
            let data_type = SqlType::Numeric(None).arrow_type();
            return Ok(arrow_cast(out, data_type));
        }
        Ok(out)
    }
}

/// `date` moved by days.
fn shifted(date: Expr, op: ArithmeticOp, days: Expr) -> Expr {
    let number = arrow_cast(date, DataType::Int32);
    arrow_cast(checked(op, &DataType::Int32, number, days), DataType::Date32)
}

/// What a literal of unknown type beside `other` is read as.
fn wanted_type(other: &SqlType, op: &BinaryOperator) -> SqlType {
    match (op, other) {
        (BinaryOperator::Plus, SqlType::Timestamp | SqlType::TimestampTz | SqlType::Time) => SqlType::Interval,
        (BinaryOperator::Multiply | BinaryOperator::Divide, SqlType::Interval) => SqlType::DoublePrecision,
        (BinaryOperator::StringConcat, other) if !matches!(other, SqlType::Array(_)) => SqlType::Text,
        (
            BinaryOperator::Arrow
            | BinaryOperator::LongArrow
            | BinaryOperator::HashArrow
            | BinaryOperator::HashLongArrow
            | BinaryOperator::Question
            | BinaryOperator::QuestionAnd
            | BinaryOperator::QuestionPipe
            | BinaryOperator::PGRegexMatch
            | BinaryOperator::PGRegexIMatch
            | BinaryOperator::PGRegexNotMatch
            | BinaryOperator::PGRegexNotIMatch,
            _,
        ) => SqlType::Text,
        (_, SqlType::Varchar(_) | SqlType::Name | SqlType::InternalChar) => SqlType::Text,
        (_, SqlType::Numeric(_)) => SqlType::Numeric(None),
        (_, other) => other.clone(),
    }
}

impl ExprPlanner for PostgresOperators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> DataFusionResult<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = raw;
        let (left, right) = match arithmetic(&op) {
            Some(_) => (narrow_integer(left), narrow_integer(right)),
            None => (left, right),
        };
        let (left_type, right_type) = (type_of(&left, schema), type_of(&right, schema));
        let left = self.side(left, left_type.as_ref(), right_type.as_ref(), &op)?;
        let right = self.side(right, right_type.as_ref(), left_type.as_ref(), &op)?;
        let (Some(left_type), Some(right_type)) = (type_of(&left, schema), type_of(&right, schema)) else {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        };
        if let Some(arithmetic) = arithmetic(&op) {
            return Ok(match self.plan_arithmetic(arithmetic, left, &left_type, right, &right_type) {
                Ok(planned) => PlannerResult::Planned(planned),
                Err((left, right)) => PlannerResult::Original(RawBinaryExpr { op, left, right }),
            });
        }
        if let Some(operator) = comparison(&op) {
            let (left, right) = comparable(left, &left_type, right, &right_type);
            let planned = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)));
            return Ok(PlannerResult::Planned(planned));
        }
        if op == BinaryOperator::StringConcat
            && !matches!(left_type, SqlType::Array(_))
            && !matches!(right_type, SqlType::Array(_))
            && left_type != SqlType::Jsonb
            && right_type != SqlType::Jsonb
        {
            let text = |expr: Expr, from: &SqlType| {
                if from.is_string() { expr } else { cast_expr(expr, from, &SqlType::Text, true) }
            };
            let (left, right) = (text(left, &left_type), text(right, &right_type));
            let planned = BinaryExpr::new(Box::new(left), Operator::StringConcat, Box::new(right));
            return Ok(PlannerResult::Planned(Expr::BinaryExpr(planned)));
        }
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// Brings the sides of a comparison to types whose comparison Arrow knows.
fn comparable(left: Expr, left_type: &SqlType, right: Expr, right_type: &SqlType) -> (Expr, Expr) {
    match (left_type, right_type) {
        (SqlType::Date, SqlType::Timestamp) => match midnight(&right) {
            Some(date) => (left, date),
            None => (left, right),
        },
        (SqlType::Timestamp, SqlType::Date) => match midnight(&left) {
            Some(date) => (date, right),
            None => (left, right),
        },
        (SqlType::Timestamp, SqlType::TimestampTz) => {
            (cast_expr(left, &SqlType::Timestamp, &SqlType::TimestampTz, true), right)
        }
        (SqlType::TimestampTz, SqlType::Timestamp) => {
            (left, cast_expr(right, &SqlType::Timestamp, &SqlType::TimestampTz, true))
        }
        (SqlType::Date, SqlType::TimestampTz) => (cast_expr(left, &SqlType::Date, &SqlType::TimestampTz, true), right),
        (SqlType::TimestampTz, SqlType::Date) => (left, cast_expr(right, &SqlType::Date, &SqlType::TimestampTz, true)),
        _ => (left, right),
    }
}

/// A constant timestamp that is the start of a day, as that day: so a comparison with a date column stays one of dates, which zone maps answer.
fn midnight(expr: &Expr) -> Option<Expr> {
    const DAY: i64 = 86_400_000_000;
    let value = crate::binder::constant::fold(expr)?;
    let micros = match value {
        ScalarValue::TimestampMicrosecond(Some(micros), None) => micros,
        _ => return None,
    };
    if micros == i64::MAX || micros == i64::MIN || micros.rem_euclid(DAY) != 0 {
        return None;
    }
    let day = i32::try_from(micros.div_euclid(DAY)).ok()?;
    Some(Expr::Literal(ScalarValue::Date32(Some(day)), None))
}
