//! `generate_series` in FROM: integers, and timestamps by an interval.
//!
//! The result's column has the function's name, as in PostgreSQL. Arguments must be constants when the statement is planned; where they are
//! not (they name columns of another table), planning goes on and scanning fails, because what is never scanned need not be known.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::{DateTime, Days, Months, TimeDelta};
use colonnade_types::{SqlState, SqlType, TimeZone};
use datafusion::catalog::{Session, TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::{Expr, ExprSchemable, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::{LazyBatchGenerator, LazyMemoryExec};
use parking_lot::RwLock;

use super::value::Value;
use crate::error::Error;
use crate::session_info::SessionInfo;

/// Rows a batch.
const BATCH_ROWS: usize = 8_192;

/// The table functions of this file.
pub(super) fn table_functions() -> Vec<Arc<TableFunction>> {
    vec![Arc::new(TableFunction::new("generate_series".to_owned(), Arc::new(GenerateSeries)))]
}

#[derive(Debug)]
struct GenerateSeries;

/// What is to be generated.
#[derive(Clone, Debug)]
enum Series {
    /// Some argument is NULL.
    Empty,
    /// Some argument is not known.
    Unknown,
    Integers {
        next: i64,
        end: i64,
        step: i64,
    },
    Times {
        next: i64,
        end: i64,
        step: IntervalMonthDayNano,
        zone: TimeZone,
    },
}

impl TableFunctionImpl for GenerateSeries {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> DataFusionResult<Arc<dyn TableProvider>> {
        let exprs = args.exprs();
        let schema = DFSchema::empty();
        let types: Vec<Option<DataType>> = exprs.iter().map(|expr| expr.get_type(&schema).ok()).collect();
        let undefined = || {
            let names: Vec<String> = types
                .iter()
                .map(|t| t.as_ref().and_then(SqlType::from_arrow).map_or("unknown".to_owned(), |t| t.base_name()))
                .collect();
            Error::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("function generate_series({}) does not exist", names.join(", ")),
            )
            .with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            )
        };
        if exprs.len() != 2 && exprs.len() != 3 {
            return Err(undefined().into());
        }
        let is_time =
            |t: &Option<DataType>| matches!(t, Some(DataType::Timestamp(..) | DataType::Date32 | DataType::Date64));
        let zoned = |t: &Option<DataType>| matches!(t, Some(DataType::Timestamp(_, None)));
        let sql_type = if types[..2].iter().any(is_time) {
            if types[..2].iter().any(zoned) { SqlType::Timestamp } else { SqlType::TimestampTz }
        } else if types.iter().all(|t| matches!(t, Some(DataType::Int32 | DataType::Int16 | DataType::Int8))) {
            SqlType::Integer
        } else {
            SqlType::BigInt
        };
        let times = matches!(sql_type, SqlType::Timestamp | SqlType::TimestampTz);
        if times && exprs.len() != 3 {
            return Err(undefined().into());
        }
        let mut values = Vec::with_capacity(3);
        for (index, expr) in exprs.iter().enumerate() {
            let wanted = match (times, index) {
                (true, 2) => SqlType::Interval,
                _ if times => sql_type.clone(),
                _ => SqlType::BigInt,
            };
            values.push(evaluate(args.session(), expr, &wanted)?);
        }
        let zone = match SessionInfo::of(args.session().config_options()) {
            Ok(info) if sql_type == SqlType::TimestampTz => info.statement().settings.display().time_zone,
            _ => TimeZone::UTC,
        };
        let values: Option<Vec<Value>> = values.into_iter().collect();
        let series = series(values, zone)?;
        let schema = Arc::new(Schema::new(vec![sql_type.field("generate_series", true)]));
        Ok(Arc::new(SeriesTable { schema, series }))
    }
}

/// Evaluates a constant; `None` if it is none.
fn evaluate(session: &dyn Session, expr: &Expr, wanted: &SqlType) -> DataFusionResult<Option<Value>> {
    if !expr.column_refs().is_empty() || expr.contains_outer() || expr.placeholders_left() {
        return Ok(None);
    }
    let schema = DFSchema::empty();
    let cast = expr.clone().cast_to(&wanted.arrow_type(), &schema)?;
    let physical = session.create_physical_expr(cast, &schema)?;
    let row = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let array = physical.evaluate(&row)?.into_array(1)?;
    Ok(Some(Value::from_array(&array, 0)))
}

/// Whether a parameter has no value yet.
trait Placeholders {
    fn placeholders_left(&self) -> bool;
}

impl Placeholders for Expr {
    fn placeholders_left(&self) -> bool {
        use datafusion::common::tree_node::TreeNode;
        self.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_)))).unwrap_or(true)
    }
}

fn series(values: Option<Vec<Value>>, zone: TimeZone) -> Result<Series, Error> {
    let zero_step = || Error::new(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero");
    let Some(values) = values else {
        return Ok(Series::Unknown);
    };
    if values.iter().any(Value::is_null) {
        return Ok(Series::Empty);
    }
    match values.as_slice() {
        [Value::Timestamp(next), Value::Timestamp(end), Value::Interval(step)] => {
            if step.months == 0 && step.days == 0 && step.nanoseconds == 0 {
                return Err(zero_step());
            }
            Ok(Series::Times { next: *next, end: *end, step: *step, zone })
        }
        [start, end, rest @ ..] => {
            let step = rest.first().map_or(1, Value::int);
            if step == 0 {
                return Err(zero_step());
            }
            Ok(Series::Integers { next: start.int(), end: end.int(), step })
        }
        _ => Ok(Series::Empty),
    }
}

#[derive(Debug)]
struct SeriesTable {
    schema: SchemaRef,
    series: Series,
}

#[async_trait]
impl TableProvider for SeriesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if matches!(self.series, Series::Unknown) {
            return Err(Error::unsupported("generate_series over columns of another table in FROM").into());
        }
        let generator = SeriesGenerator { schema: Arc::clone(&self.schema), series: self.series.clone() };
        let plan = LazyMemoryExec::try_new(self.schema(), vec![Arc::new(RwLock::new(generator))])?;
        Ok(Arc::new(plan.with_projection(projection.cloned())))
    }
}

#[derive(Clone, Debug)]
struct SeriesGenerator {
    schema: SchemaRef,
    series: Series,
}

impl fmt::Display for SeriesGenerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.series {
            Series::Integers { next, end, step } => write!(f, "generate_series({next}, {end}, {step})"),
            _ => f.write_str("generate_series"),
        }
    }
}

impl LazyBatchGenerator for SeriesGenerator {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn generate_next_batch(&mut self) -> DataFusionResult<Option<RecordBatch>> {
        let array: ArrayRef = match &mut self.series {
            Series::Empty | Series::Unknown => return Ok(None),
            Series::Integers { next, end, step } => {
                let mut values = Vec::with_capacity(BATCH_ROWS);
                let mut finished = false;
                while values.len() < BATCH_ROWS && !finished {
                    if (*step > 0 && *next > *end) || (*step < 0 && *next < *end) {
                        finished = true;
                        break;
                    }
                    values.push(*next);
                    match next.checked_add(*step) {
                        Some(following) => *next = following,
                        None => finished = true,
                    }
                }
                if finished {
                    self.series = Series::Empty;
                }
                if self.schema.field(0).data_type() == &DataType::Int32 {
                    let narrow = values.into_iter().map(|value| i32::try_from(value).ok());
                    Arc::new(narrow.collect::<Int32Array>())
                } else {
                    Arc::new(Int64Array::from(values))
                }
            }
            Series::Times { next, end, step, zone } => {
                let mut values = Vec::with_capacity(BATCH_ROWS);
                let mut finished = false;
                while values.len() < BATCH_ROWS {
                    let Some(following) = add(*next, *step, zone) else {
                        finished = true;
                        break;
                    };
                    let forward = following > *next;
                    if (forward && *next > *end) || (!forward && *next < *end) {
                        finished = true;
                        break;
                    }
                    values.push(*next);
                    *next = following;
                }
                if finished {
                    self.series = Series::Empty;
                }
                let zoned = match self.schema.field(0).data_type() {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                };
                Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zoned))
            }
        };
        if array.is_empty() {
            return Ok(None);
        }
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), vec![array])?))
    }

    fn reset_state(&self) -> Arc<RwLock<dyn LazyBatchGenerator>> {
        Arc::new(RwLock::new(self.clone()))
    }
}

/// Adds an interval in local time: a day is a calendar day, however long; `None` at the end of time.
fn add(instant: i64, step: IntervalMonthDayNano, zone: &TimeZone) -> Option<i64> {
    let local = instant.checked_add(i64::from(zone.offset_at(instant)) * 1_000_000)?;
    let mut time = DateTime::from_timestamp_micros(local)?.naive_utc();
    let months = Months::new(step.months.unsigned_abs());
    time = if step.months < 0 { time.checked_sub_months(months)? } else { time.checked_add_months(months)? };
    let days = Days::new(u64::from(step.days.unsigned_abs()));
    time = if step.days < 0 { time.checked_sub_days(days)? } else { time.checked_add_days(days)? };
    let local = time.and_utc().timestamp_micros();
    let instant = local.checked_sub(i64::from(zone.offset_of_local(local)) * 1_000_000)?;
    let rest = TimeDelta::nanoseconds(step.nanoseconds).num_microseconds()?;
    instant.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(series: Series, sql_type: &SqlType) -> Vec<Value> {
        let schema = Arc::new(Schema::new(vec![sql_type.field("generate_series", true)]));
        let mut generator = SeriesGenerator { schema, series };
        let mut values = Vec::new();
        while let Some(batch) = generator.generate_next_batch().unwrap() {
            values.extend((0..batch.num_rows()).map(|row| Value::from_array(batch.column(0), row)));
        }
        values
    }

    #[test]
    fn integers_run_both_ways_and_stop_at_the_edge_of_bigint() {
        let up = Series::Integers { next: 1, end: 6, step: 2 };
        assert_eq!(all(up, &SqlType::BigInt), [1i64, 3, 5].map(Value::Int));
        let down = Series::Integers { next: 3, end: 1, step: -1 };
        assert_eq!(all(down, &SqlType::Integer), [3i64, 2, 1].map(Value::Int));
        let edge = Series::Integers { next: i64::MAX - 1, end: i64::MAX, step: 1 };
        assert_eq!(all(edge, &SqlType::BigInt).len(), 2);
        assert!(all(Series::Integers { next: 2, end: 1, step: 1 }, &SqlType::BigInt).is_empty());
    }

    #[test]
    fn months_are_calendar_months() {
        let day = 86_400_000_000;
        let step = IntervalMonthDayNano::new(1, 0, 0);
        let series = Series::Times { next: 0, end: 60 * day, step, zone: TimeZone::UTC };
        assert_eq!(all(series, &SqlType::Timestamp), [0, 31 * day, 59 * day].map(Value::Timestamp));
    }
}
