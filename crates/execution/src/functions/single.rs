//! A scalar subquery's one value, for subqueries that DataFusion turns into a join.
//!
//! `(SELECT x FROM ... WHERE k = outer.k)` must give at most one row *for each outer row that asks*. The rewriter turns it into
//! `single_item((SELECT first_two(x) FROM ...))`: the aggregate keeps at most two values, so that it is bounded and never fails for a key that nobody asks
//! for; the function, applied outside of the join, fails if there are two.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use colonnade_types::SqlState;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;

/// The aggregate `first_two(any) -> any[]`.
pub(super) fn first_two() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(FirstTwo { signature: Signature::any(1, Volatility::Immutable) }))
}

/// The function `single_item(any[]) -> any`.
pub(super) fn single_item() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(SingleItem { signature: Signature::any(1, Volatility::Immutable) }))
}

macro_rules! same_by_type {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, _other: &$name) -> bool {
                true
            }
        }
        impl Eq for $name {}
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                stringify!($name).hash(state);
            }
        }
    };
}

#[derive(Debug)]
struct FirstTwo {
    signature: Signature,
}
same_by_type!(FirstTwo);

fn item_field(field: &Field) -> FieldRef {
    Arc::new(field.clone().with_name("item").with_nullable(true))
}

impl AggregateUDFImpl for FirstTwo {
    fn name(&self) -> &'static str {
        "first_two"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        let item = arguments.first().cloned().unwrap_or(DataType::Null);
        Ok(DataType::List(Arc::new(Field::new("item", item, true))))
    }

    fn return_field(&self, arguments: &[FieldRef]) -> DataFusionResult<FieldRef> {
        let item = arguments.first().map_or_else(|| Field::new("item", DataType::Null, true), |f| f.as_ref().clone());
        Ok(Arc::new(Field::new("first_two", DataType::List(item_field(&item)), true)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(args.return_field.as_ref().clone().with_name(format!("{}[items]", args.name)))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        let DataType::List(item) = args.return_field.data_type() else {
            return Err(DataFusionError::Internal("first_two gives a list".to_owned()));
        };
        Ok(Box::new(Kept { item: Arc::clone(item), values: None }))
    }
}

/// At most two values; `None` before the first.
#[derive(Debug)]
struct Kept {
    item: FieldRef,
    values: Option<ArrayRef>,
}

impl Kept {
    fn add(&mut self, more: &ArrayRef) -> DataFusionResult<()> {
        let have = self.values.as_ref().map_or(0, Array::len);
        let wanted = more.len().min(2 - have);
        if wanted == 0 {
            return Ok(());
        }
        // A copy, so that two values do not hold a batch in memory.
        let rows = UInt32Array::from_iter_values(0..u32::try_from(wanted).unwrap_or(0));
        let taken = take(more, &rows, None)?;
        self.values = Some(match &self.values {
            Some(values) => concat(&[values.as_ref(), taken.as_ref()])?,
            None => taken,
        });
        Ok(())
    }
}

impl Accumulator for Kept {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        values.first().map_or(Ok(()), |values| self.add(values))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let Some(lists) = states.first().and_then(|state| state.as_list_opt::<i32>()) else {
            return Ok(());
        };
        for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
            self.add(&lists.value(row))?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::List(Arc::new(match &self.values {
            None => ListArray::new_null(Arc::clone(&self.item), 1),
            Some(values) => ListArray::try_new(
                Arc::clone(&self.item),
                OffsetBuffer::from_lengths([values.len()]),
                Arc::clone(values),
                None,
            )?,
        })))
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.as_ref().map_or(0, Array::get_array_memory_size)
    }
}

#[derive(Debug)]
struct SingleItem {
    signature: Signature,
}
same_by_type!(SingleItem);

impl ScalarUDFImpl for SingleItem {
    fn name(&self) -> &'static str {
        "single_item"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        match arguments {
            [DataType::List(item)] => Ok(item.data_type().clone()),
            _ => Err(DataFusionError::Internal("single_item takes a list".to_owned())),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        match args.arg_fields.first().map(|field| field.data_type()) {
            Some(DataType::List(item)) => Ok(Arc::new(item.as_ref().clone().with_name("single_item"))),
            _ => Err(DataFusionError::Internal("single_item takes a list".to_owned())),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(lists) = arrays.first().and_then(|array| array.as_list_opt::<i32>()) else {
            return Err(DataFusionError::Internal("single_item takes a list".to_owned()));
        };
        let mut places = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            if lists.is_null(row) || lists.value_length(row) == 0 {
                places.push(None);
                continue;
            }
            if lists.value_length(row) > 1 {
                let message = "more than one row returned by a subquery used as an expression";
                return Err(Error::new(SqlState::CARDINALITY_VIOLATION, message).into());
            }
            places.push(u32::try_from(lists.value_offsets()[row]).ok());
        }
        let array = take(lists.values(), &UInt32Array::from(places), None)?;
        Ok(ColumnarValue::Array(array))
    }
}
