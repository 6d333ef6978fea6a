//! `pg_sleep`, which gives its thread back while it waits, so that a cancel reaches it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use async_trait::async_trait;
use colonnade_types::SqlType;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function `pg_sleep(double precision)`.
pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::new(AsyncScalarUDF::new(Arc::new(Sleep::new())).into_scalar_udf())
}

#[derive(Debug)]
struct Sleep {
    signature: Signature,
}

impl Sleep {
    fn new() -> Sleep {
        Sleep { signature: Signature::exact(vec![DataType::Float64], Volatility::Volatile) }
    }
}

impl PartialEq for Sleep {
    fn eq(&self, _other: &Sleep) -> bool {
        true
    }
}
impl Eq for Sleep {}
impl Hash for Sleep {
    fn hash<H: Hasher>(&self, state: &mut H) {
        "pg_sleep".hash(state);
    }
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &'static str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        // PostgreSQL's void prints as an empty string.
        let field: Field = SqlType::Text.field("pg_sleep", true);
        Ok(Arc::new(field))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(DataFusionError::Internal("pg_sleep is asynchronous".to_owned()))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(seconds) = arrays.first() else {
            return Err(DataFusionError::Internal("pg_sleep has one argument".to_owned()));
        };
        for seconds in seconds.as_primitive::<Float64Type>().iter().flatten() {
            // A century is for ever; more would not fit a Duration.
            if let Ok(duration) = Duration::try_from_secs_f64(seconds.clamp(0.0, 3.2e9)) {
                tokio::time::sleep(duration).await;
            }
        }
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(Some(String::new()))))
    }
}
