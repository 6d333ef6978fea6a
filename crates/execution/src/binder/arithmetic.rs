//! Arithmetic that fails where PostgreSQL's does, instead of wrapping round, and the forms in which aggregates take their input.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, Float64Array, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use colonnade_types::SqlState;
use datafusion::common::DataFusionError;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable as _, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;

/// An operator of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ArithmeticOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl ArithmeticOp {
    fn symbol(self) -> &'static str {
        match self {
            ArithmeticOp::Add => "+",
            ArithmeticOp::Subtract => "-",
            ArithmeticOp::Multiply => "*",
            ArithmeticOp::Divide => "/",
            ArithmeticOp::Modulo => "%",
        }
    }
}

/// Arithmetic on two values of one numeric type, with PostgreSQL's errors: `integer out of range`, `division by zero`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Checked {
    op: ArithmeticOp,
    data_type: DataType,
    signature: Signature,
}

/// Makes the expression `left op right`; both sides have `data_type`: an integer or floating-point type.
pub(crate) fn checked(op: ArithmeticOp, data_type: &DataType, left: Expr, right: Expr) -> Expr {
    let signature = Signature::exact(vec![data_type.clone(); 2], Volatility::Immutable);
    ScalarUDF::from(Checked { op, data_type: data_type.clone(), signature }).call(vec![left, right])
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.op.symbol()
    }

    fn display_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Ok(format!("({})", args.join(&format!(" {} ", self.op.symbol()))))
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        let args: Vec<String> = args.iter().map(|a| a.schema_name().to_string()).collect();
        Ok(format!("({})", args.join(&format!(" {} ", self.op.symbol()))))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("arithmetic takes two arguments".to_owned()));
        };
        let both_scalar = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let out = match (left, right) {
            (ColumnarValue::Array(l), ColumnarValue::Array(r)) => self.compute(l, r),
            (ColumnarValue::Array(l), ColumnarValue::Scalar(r)) => self.compute(l, &r.to_scalar()?),
            (ColumnarValue::Scalar(l), ColumnarValue::Array(r)) => self.compute(&l.to_scalar()?, r),
            (ColumnarValue::Scalar(l), ColumnarValue::Scalar(r)) => self.compute(&l.to_scalar()?, &r.to_scalar()?),
        };
        let out = out.map_err(|error| self.translate(error))?;
        if both_scalar {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&out, 0)?));
        }
        Ok(ColumnarValue::Array(out))
    }
}

impl Checked {
    fn compute(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        use arrow::compute::kernels::numeric::{add, div, mul, rem, sub};
        if self.data_type.is_floating() && matches!(self.op, ArithmeticOp::Divide | ArithmeticOp::Modulo) {
            zero_divisor(left, right)?;
        }
        match self.op {
            ArithmeticOp::Add => add(left, right),
            ArithmeticOp::Subtract => sub(left, right),
            ArithmeticOp::Multiply => mul(left, right),
            ArithmeticOp::Divide => div(left, right),
            // The one overflow of a remainder, the least number by -1, is 0 in PostgreSQL.
            ArithmeticOp::Modulo => match rem(left, right) {
                Err(ArrowError::ArithmeticOverflow(_)) => modulo(&self.data_type, left, right),
                other => other,
            },
        }
    }

    fn translate(&self, error: ArrowError) -> DataFusionError {
        match error {
            ArrowError::ArithmeticOverflow(_) => {
                let name = match self.data_type {
                    DataType::Int16 => "smallint",
                    DataType::Int32 => "integer",
                    DataType::Int64 => "bigint",
                    _ => "value",
                };
                Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range")).into_datafusion()
            }
            other => Error::from(other).into_datafusion(),
        }
    }
}

fn modulo(data_type: &DataType, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    fn typed<T: ArrowPrimitiveType>(
        left: &dyn Datum,
        right: &dyn Datum,
        rem: impl Fn(T::Native, T::Native) -> T::Native,
    ) -> ArrayRef {
        let ((l, l_scalar), (r, r_scalar)) = (left.get(), right.get());
        let (l, r) = (l.as_primitive::<T>(), r.as_primitive::<T>());
        let rows = if l_scalar { r.len() } else { l.len() };
        let out = (0..rows).map(|row| {
            let (i, j) = (if l_scalar { 0 } else { row }, if r_scalar { 0 } else { row });
            (l.is_valid(i) && r.is_valid(j)).then(|| rem(l.value(i), r.value(j)))
        });
        Arc::new(out.collect::<arrow::array::PrimitiveArray<T>>())
    }
    match data_type {
        DataType::Int16 => Ok(typed::<Int16Type>(left, right, |a, b| a.wrapping_rem(if b == 0 { 1 } else { b }))),
        DataType::Int32 => Ok(typed::<Int32Type>(left, right, |a, b| a.wrapping_rem(if b == 0 { 1 } else { b }))),
        _ => Ok(typed::<Int64Type>(left, right, |a, b| a.wrapping_rem(if b == 0 { 1 } else { b }))),
    }
}

/// Fails if a row would divide by zero; where the dividend is NULL the result is, whatever the divisor.
fn zero_divisor(left: &dyn Datum, right: &dyn Datum) -> Result<(), ArrowError> {
    let ((l, l_scalar), (r, r_scalar)) = (left.get(), right.get());
    let rows = if l_scalar { r.len() } else { l.len() };
    let zero = |j: usize| match r.data_type() {
        DataType::Float32 => r.as_primitive::<Float32Type>().value(j) == 0.0,
        DataType::Float64 => r.as_primitive::<Float64Type>().value(j) == 0.0,
        _ => false,
    };
    if r_scalar {
        if r.is_valid(0) && zero(0) && l.null_count() < l.len() {
            return Err(ArrowError::DivideByZero);
        }
        return Ok(());
    }
    for row in 0..rows {
        if r.is_valid(row) && zero(row) && l.is_valid(if l_scalar { 0 } else { row }) {
            return Err(ArrowError::DivideByZero);
        }
    }
    Ok(())
}

/// The aggregate whose input is widened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Widened {
    /// `sum(bigint)` is numeric, so that it cannot overflow.
    Sum,
    /// `avg` of integers is numeric.
    Avg,
}

/// Widens an aggregate's input by its type; disappears when the plan is simplified.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AggregateInput {
    widened: Widened,
    signature: Signature,
}

impl AggregateInput {
    /// Name of the function that a statement's `sum(x)` or `avg(x)` is rewritten with.
    pub(crate) const SUM: &'static str = "colonnade_sum_input";
    /// The same for `avg`.
    pub(crate) const AVG: &'static str = "colonnade_avg_input";

    pub(crate) fn udf(widened: Widened) -> ScalarUDF {
        ScalarUDF::from(AggregateInput { widened, signature: Signature::any(1, Volatility::Immutable) })
    }

    fn target(&self, from: &DataType) -> DataType {
        match (self.widened, from) {
            (Widened::Sum, DataType::Int64) => DataType::Decimal128(20, 0),
            (Widened::Avg, DataType::Int8 | DataType::Int16 | DataType::Int32) => DataType::Decimal128(22, 12),
            (Widened::Avg, DataType::Int64) => DataType::Decimal128(25, 6),
            (Widened::Avg, DataType::Float32) => DataType::Float64,
            // Fewer than sixteen digits of an average would be lost.
            (Widened::Avg, DataType::Decimal128(precision, scale)) if *scale < 12 && precision + 12 <= 38 => {
                DataType::Decimal128(precision + (12 - scale.unsigned_abs()), 12)
            }
            (_, DataType::Utf8) => DataType::Float64,
            _ => from.clone(),
        }
    }
}

impl ScalarUDFImpl for AggregateInput {
    fn name(&self) -> &str {
        match self.widened {
            Widened::Sum => Self::SUM,
            Widened::Avg => Self::AVG,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DataFusionResult<DataType> {
        Ok(args.first().map_or(DataType::Null, |from| self.target(from)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let Some(argument) = args.args.first() else {
            return Err(DataFusionError::Internal("an aggregate without input".to_owned()));
        };
        argument.cast_to(&self.target(&argument.data_type()), None)
    }

    fn simplify(&self, mut args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        let Some(argument) = args.pop() else { return Ok(ExprSimplifyResult::Original(args)) };
        let from = argument.get_type(info.schema().as_ref())?;
        let to = self.target(&from);
        if from == to {
            return Ok(ExprSimplifyResult::Simplified(argument));
        }
        Ok(ExprSimplifyResult::Simplified(Expr::Cast(Cast::new(Box::new(argument), to))))
    }
}

/// Arithmetic on times that Arrow has otherwise, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TimeOp {
    /// `timestamp - timestamp`: days and the rest, as PostgreSQL counts.
    TimestampDifference,
    /// `interval * double precision`
    IntervalTimes,
    /// `interval / double precision`
    IntervalOver,
}

/// A function of [`TimeOp`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeFunction {
    op: TimeOp,
    signature: Signature,
}

/// Makes the call of a time function.
pub(crate) fn time_call(op: TimeOp, left: Expr, right: Expr) -> Expr {
    let signature = Signature::any(2, Volatility::Immutable);
    ScalarUDF::from(TimeFunction { op, signature }).call(vec![left, right])
}

impl ScalarUDFImpl for TimeFunction {
    fn name(&self) -> &str {
        match self.op {
            TimeOp::TimestampDifference => "timestamp_difference",
            TimeOp::IntervalTimes => "interval_times",
            TimeOp::IntervalOver => "interval_over",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = arrays.as_slice() else {
            return Err(DataFusionError::Internal("time arithmetic takes two arguments".to_owned()));
        };
        let out: ArrayRef = match self.op {
            TimeOp::TimestampDifference => {
                let utc = |array: &ArrayRef| {
                    arrow::compute::cast(array, &DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None))
                };
                let (left, right) = (utc(left)?, utc(right)?);
                let (left, right) =
                    (left.as_primitive::<TimestampMicrosecondType>(), right.as_primitive::<TimestampMicrosecondType>());
                let rows = left.iter().zip(right.iter()).map(|pair| match pair {
                    (Some(l), Some(r)) => difference(l, r).map(Some),
                    _ => Ok(None),
                });
                Arc::new(rows.collect::<Result<IntervalMonthDayNanoArray, Error>>()?)
            }
            TimeOp::IntervalTimes | TimeOp::IntervalOver => {
                let factors = arrow::compute::cast(right, &DataType::Float64)?;
                let factors: &Float64Array = factors.as_primitive();
                let over = self.op == TimeOp::IntervalOver;
                let rows =
                    left.as_primitive::<IntervalMonthDayNanoType>().iter().zip(factors.iter()).map(|pair| match pair {
                        (Some(_), Some(0.0)) if over => Err(Error::from(ArrowError::DivideByZero)),
                        (Some(l), Some(f)) => scaled(l, if over { 1.0 / f } else { f }).map(Some),
                        _ => Ok(None),
                    });
                Arc::new(rows.collect::<Result<IntervalMonthDayNanoArray, Error>>()?)
            }
        };
        if args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_))) {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&out, 0)?));
        }
        Ok(ColumnarValue::Array(out))
    }
}

fn interval_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

fn difference(left: i64, right: i64) -> Result<IntervalMonthDayNano, Error> {
    const DAY: i64 = 86_400_000_000;
    let micros = left.checked_sub(right).ok_or_else(interval_range)?;
    let days = i32::try_from(micros / DAY).map_err(|_| interval_range())?;
    Ok(IntervalMonthDayNano::new(0, days, (micros % DAY) * 1_000))
}

/// Multiplies each part and carries fractions down: of a month to days (30 each), of a day to time.
#[expect(clippy::cast_possible_truncation, reason = "bounds are checked before")]
fn scaled(interval: IntervalMonthDayNano, factor: f64) -> Result<IntervalMonthDayNano, Error> {
    let months = f64::from(interval.months) * factor;
    let days = f64::from(interval.days) * factor + (months - months.trunc()) * 30.0;
    #[expect(clippy::cast_precision_loss, reason = "as PostgreSQL multiplies")]
    let nanos = (interval.nanoseconds as f64) * factor + (days - days.trunc()) * 86_400e9;
    if !(months.abs() < 2e9 && days.abs() < 2e9 && nanos.abs() < 9e18) {
        return Err(interval_range());
    }
    let nanos = (nanos / 1_000.0).round() * 1_000.0;
    Ok(IntervalMonthDayNano::new(months.trunc() as i32, days.trunc() as i32, nanos as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_multiples_of_intervals_are_postgresqls() {
        assert_eq!(difference(90_000_000_000, 0).unwrap(), IntervalMonthDayNano::new(0, 1, 3_600_000_000_000));
        let half = scaled(IntervalMonthDayNano::new(1, 1, 0), 0.5).unwrap();
        assert_eq!(half, IntervalMonthDayNano::new(0, 15, 43_200_000_000_000));
        assert!(difference(i64::MAX, i64::MIN).is_err());
    }
}
