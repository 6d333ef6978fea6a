//! Casts with PostgreSQL's rules, as functions that DataFusion calls.
//!
//! A cast that Arrow does just as PostgreSQL does stays DataFusion's own, because its optimizer understands those; every other becomes a
//! [`PgCast`].

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use colonnade_types::{DisplaySettings, SqlType, coerce};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, Result};
use crate::session_info::SessionInfo;

/// Casts its argument to one type.
#[derive(Debug)]
pub(crate) struct PgCast {
    from: SqlType,
    to: SqlType,
    explicit: bool,
    signature: Signature,
}

impl PartialEq for PgCast {
    fn eq(&self, other: &Self) -> bool {
        self.from == other.from && self.to == other.to && self.explicit == other.explicit
    }
}

impl Eq for PgCast {}

impl Hash for PgCast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.from.hash(state);
        self.to.hash(state);
        self.explicit.hash(state);
    }
}

impl PgCast {
    fn new(from: SqlType, to: SqlType, explicit: bool) -> PgCast {
        // Text forms of times depend on the session, so that they are not folded into a plan for ever.
        let settled = |t: &SqlType| !matches!(t, SqlType::Timestamp | SqlType::TimestampTz | SqlType::Date);
        let volatility = if settled(&from) && settled(&to) { Volatility::Immutable } else { Volatility::Stable };
        PgCast { from, to, explicit, signature: Signature::any(1, volatility) }
    }
}

impl ScalarUDFImpl for PgCast {
    fn name(&self) -> &str {
        "cast"
    }

    fn display_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(format!("{}::{}", args.first().map(ToString::to_string).unwrap_or_default(), self.to))
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(format!("{}::{}", args.first().map(|a| a.schema_name().to_string()).unwrap_or_default(), self.to))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.to.arrow_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(self.to.field("cast", nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let settings = display_of(&args.config_options);
        let Some(argument) = args.args.into_iter().next() else {
            return Err(DataFusionError::Internal("cast without an argument".to_owned()));
        };
        let scalar = matches!(argument, ColumnarValue::Scalar(_));
        let array = argument.into_array(if scalar { 1 } else { args.number_rows })?;
        let out = cast_array(&array, &self.from, &self.to, self.explicit, &settings)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?));
        }
        Ok(ColumnarValue::Array(out))
    }
}

/// A cast that is Arrow's on purpose; it turns into DataFusion's own when the plan is simplified, after PostgreSQL's meaning was put in.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrowCast {
    to: DataType,
    signature: Signature,
}

/// Makes the expression that casts `expr` as Arrow does.
pub(crate) fn arrow_cast(expr: Expr, to: DataType) -> Expr {
    ScalarUDF::from(ArrowCast { to, signature: Signature::any(1, Volatility::Immutable) }).call(vec![expr])
}

impl ScalarUDFImpl for ArrowCast {
    fn name(&self) -> &str {
        "arrow_cast_to"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        match args.args.first() {
            Some(argument) => argument.cast_to(&self.to, None),
            None => Err(DataFusionError::Internal("cast without an argument".to_owned())),
        }
    }

    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        match args.pop() {
            Some(argument) => {
                Ok(ExprSimplifyResult::Simplified(Expr::Cast(Cast::new(Box::new(argument), self.to.clone()))))
            }
            None => Ok(ExprSimplifyResult::Original(args)),
        }
    }
}

/// The session's way of reading and printing values.
pub(crate) fn display_of(options: &ConfigOptions) -> DisplaySettings {
    match options.extensions.get::<SessionInfo>() {
        Some(info) => {
            let statement = info.statement();
            DisplaySettings { now_micros: statement.transaction_start, ..statement.settings.display().clone() }
        }
        None => DisplaySettings::default(),
    }
}

/// Casts an array, whatever Arrow form of `from` it has.
///
/// # Errors
/// What PostgreSQL says of the first value that does not fit.
pub(crate) fn cast_array(
    array: &ArrayRef,
    from: &SqlType,
    to: &SqlType,
    explicit: bool,
    settings: &DisplaySettings,
) -> Result<ArrayRef> {
    let array = physical(array, from)?;
    let out = coerce(&array, from, to, explicit, settings).map_err(Error::from)?;
    physical(&out, to)
}

/// Brings an array to the Arrow form of its SQL type.
pub(crate) fn physical(array: &ArrayRef, sql_type: &SqlType) -> Result<ArrayRef> {
    let data_type = sql_type.arrow_type();
    if array.data_type() == &data_type {
        return Ok(Arc::clone(array));
    }
    if array.data_type() == &DataType::Null {
        return Ok(arrow::array::new_null_array(&data_type, array.len()));
    }
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    Ok(arrow::compute::cast_with_options(array, &data_type, &options)?)
}

/// Makes the expression that casts `expr` from one type to another.
pub(crate) fn cast_expr(expr: Expr, from: &SqlType, to: &SqlType, explicit: bool) -> Expr {
    if from == to {
        return expr;
    }
    if arrow_agrees(from, to) {
        return Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::new(to.field("", true))));
    }
    ScalarUDF::from(PgCast::new(from.clone(), to.clone(), explicit)).call(vec![expr])
}

/// Whether Arrow's cast gives PostgreSQL's result for every value.
pub(crate) fn arrow_agrees(from: &SqlType, to: &SqlType) -> bool {
    let integer_digits = |t: &SqlType| match t {
        SqlType::SmallInt => Some((5_i16, 0_i16)),
        SqlType::Integer => Some((10, 0)),
        SqlType::BigInt => Some((19, 0)),
        SqlType::Numeric(Some((precision, scale))) => {
            Some((i16::from(*precision) - i16::from(*scale), i16::from(*scale)))
        }
        SqlType::Numeric(None) => Some((58, 18)),
        _ => None,
    };
    match (from, to) {
        (SqlType::SmallInt | SqlType::Integer | SqlType::BigInt, SqlType::Real | SqlType::DoublePrecision)
        | (SqlType::Real, SqlType::DoublePrecision)
        | (SqlType::SmallInt, SqlType::Integer | SqlType::BigInt)
        | (SqlType::Integer, SqlType::BigInt)
        | (
            SqlType::Text | SqlType::Varchar(_) | SqlType::Name | SqlType::Unknown,
            SqlType::Text | SqlType::Varchar(None),
        )
        | (SqlType::Json, SqlType::Text)
        | (SqlType::Oid, SqlType::Reg(_))
        | (SqlType::Reg(_), SqlType::Oid) => true,
        (_, SqlType::Numeric(_)) => match (integer_digits(from), integer_digits(to)) {
            (Some((whole, fraction)), Some((to_whole, to_fraction))) => to_whole >= whole && to_fraction >= fraction,
            _ => false,
        },
        _ => false,
    }
}
