//! Numbers: what DataFusion lacks.

use colonnade_types::SqlState;

use super::function::Function;
use super::value::Value;
use crate::error::{Error, Result};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::immutable("mod(bigint, bigint) -> bigint", |_, arguments| {
            remainder(arguments[0].int(), arguments[1].int()).map(Value::Int)
        }),
        Function::immutable("mod(integer, integer) -> integer", |_, arguments| {
            remainder(arguments[0].int(), arguments[1].int()).map(Value::Int)
        }),
        Function::immutable("mod(numeric, numeric) -> numeric", |_, arguments| {
            let (Value::Decimal(a, scale), Value::Decimal(b, _)) = (&arguments[0], &arguments[1]) else {
                return Ok(Value::Null);
            };
            a.checked_rem(*b).map(|rest| Value::Decimal(rest, *scale)).ok_or_else(division_by_zero)
        }),
        Function::immutable("div(numeric, numeric) -> numeric", |_, arguments| {
            let (Value::Decimal(a, _), Value::Decimal(b, _)) = (&arguments[0], &arguments[1]) else {
                return Ok(Value::Null);
            };
            // Both have the scale of unconstrained numeric, so the quotient is whole.
            a.checked_div(*b).map(|quotient| Value::Decimal(quotient, 0)).ok_or_else(division_by_zero)
        }),
        Function::immutable("sign(double precision) -> double precision", |_, arguments| {
            let value = arguments[0].float();
            Ok(if value == 0.0 { 0.0 } else { value.signum() }.into())
        }),
        Function::immutable(
            "width_bucket(double precision, double precision, double precision, integer) -> integer",
            |_, arguments| {
                let (value, low, high) = (arguments[0].float(), arguments[1].float(), arguments[2].float());
                let count = arguments[3].int();
                let invalid = |message: &str| Error::new(SqlState("2201G"), message);
                if count <= 0 {
                    return Err(invalid("count must be greater than zero"));
                }
                if low == high || low.is_nan() || high.is_nan() || value.is_nan() {
                    return Err(invalid("lower bound cannot equal upper bound"));
                }
                let place = (value - low) / (high - low);
                Ok(if place < 0.0 {
                    0i64
                } else if place >= 1.0 {
                    count + 1
                } else {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "within 0..count")]
                    let bucket = (place * count as f64).floor() as i64;
                    bucket + 1
                }
                .into())
            },
        ),
    ]
}

fn division_by_zero() -> Error {
    Error::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

fn remainder(a: i64, b: i64) -> Result<i64> {
    if b == 0 {
        return Err(division_by_zero());
    }
    Ok(a.wrapping_rem(b))
}
