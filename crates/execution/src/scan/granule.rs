//! One granule: visibility, predicates in turn, and the remaining columns for the rows that survive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::{BooleanBuffer, MutableBuffer};
use arrow::compute::{filter, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use arrow::util::bit_util;
use colonnade_storage::{Scan, Visibility};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::utils::collect_columns;

use crate::error::{Error, Result};
use crate::scan::exec::ReadColumn;

/// Rows after which a dynamic filter that lets most of them through is no longer evaluated.
const TRIAL_ROWS: u64 = 65_536;

/// A predicate over few of the columns that are read.
#[derive(Debug)]
pub(super) struct Predicate {
    /// Columns that it reads, as indices into those of the scan.
    columns: Vec<usize>,
    /// The expression over `schema`.
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    /// Whether it can be evaluated on any row without failing.
    total: bool,
    /// Whether its answer is only advice.
    dynamic: bool,
    seen: AtomicU64,
    passed: AtomicU64,
}

impl Predicate {
    pub(super) fn new(expr: &Arc<dyn PhysicalExpr>, schema: &SchemaRef, dynamic: bool) -> DataFusionResult<Predicate> {
        let mut columns: Vec<usize> = collect_columns(expr).iter().map(Column::index).collect();
        columns.sort_unstable();
        columns.dedup();
        let narrow = Arc::new(schema.project(&columns)?);
        let places = columns.clone();
        let remapped = Arc::clone(expr).transform(|e| {
            if let Some(column) = e.downcast_ref::<Column>() {
                let place = places.binary_search(&column.index()).unwrap_or(0);
                return Ok(Transformed::yes(Arc::new(Column::new(column.name(), place)) as Arc<dyn PhysicalExpr>));
            }
            Ok(Transformed::no(e))
        })?;
        Ok(Predicate {
            columns,
            total: !dynamic && is_total(expr),
            expr: remapped.data,
            schema: narrow,
            dynamic,
            seen: AtomicU64::new(0),
            passed: AtomicU64::new(0),
        })
    }

    /// Whether evaluating it is worth its time.
    fn useful(&self) -> bool {
        let seen = self.seen.load(Ordering::Relaxed);
        !self.dynamic || seen < TRIAL_ROWS || self.passed.load(Ordering::Relaxed) * 4 < seen * 3
    }
}

/// Whether an expression is made of parts that never fail.
fn is_total(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let known = if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        !binary.op().is_numerical_operators()
    } else {
        expr.is::<Column>()
            || expr.is::<Literal>()
            || expr.is::<NotExpr>()
            || expr.is::<IsNullExpr>()
            || expr.is::<IsNotNullExpr>()
            || expr.is::<LikeExpr>()
            || expr.is::<InListExpr>()
    };
    known && expr.children().into_iter().all(is_total)
}

/// Reads one granule through the predicates; `None` if no row survives.
pub(super) struct GranuleReader<'a> {
    pub(super) scan: &'a Scan,
    pub(super) columns: &'a [ReadColumn],
    pub(super) predicates: &'a [Predicate],
    pub(super) output: &'a SchemaRef,
}

impl GranuleReader<'_> {
    pub(super) fn read(&self, unit: usize, granule: usize) -> Result<Option<RecordBatch>> {
        let rows = self.scan.granule_rows(unit, granule);
        let mut selection = match self.scan.visibility(unit, granule) {
            Visibility::None => return Ok(None),
            Visibility::All => None,
            Visibility::Some(mask) => Some(mask),
        };
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; self.columns.len()];
        // Rows hidden from the snapshot, or refused by a predicate, are never shown to a predicate that may fail on them.
        for predicate in self.predicates {
            if !predicate.useful() {
                continue;
            }
            for &column in &predicate.columns {
                self.load(unit, granule, column, &mut arrays)?;
            }
            let selected = selection.as_ref().map_or(rows, BooleanBuffer::count_set_bits);
            if selected == 0 {
                return Ok(None);
            }
            let sparse = selection.is_some() && (!predicate.total || selected * 4 < rows);
            let refined = match selection.take() {
                Some(before) if sparse => {
                    let mask = BooleanArray::new(before.clone(), None);
                    let narrow = self.narrow(predicate, &arrays, Some(&mask), selected)?;
                    scatter(&before, &evaluate(predicate, &narrow)?)
                }
                before => {
                    let narrow = self.narrow(predicate, &arrays, None, rows)?;
                    let mask = evaluate(predicate, &narrow)?;
                    match before {
                        Some(before) => &before & &mask,
                        None => mask,
                    }
                }
            };
            let passed = refined.count_set_bits();
            if predicate.dynamic {
                predicate.seen.fetch_add(selected as u64, Ordering::Relaxed);
                predicate.passed.fetch_add(passed as u64, Ordering::Relaxed);
            }
            if passed == 0 {
                return Ok(None);
            }
            selection = (passed < rows).then_some(refined);
        }
        let selected = selection.as_ref().map_or(rows, BooleanBuffer::count_set_bits);
        if selected == 0 {
            return Ok(None);
        }
        let mask = selection.filter(|_| selected < rows).map(|selection| BooleanArray::new(selection, None));
        let mut output = Vec::with_capacity(self.output.fields().len());
        for column in 0..self.output.fields().len() {
            self.load(unit, granule, column, &mut arrays)?;
            let array = arrays[column].clone().ok_or_else(|| Error::internal("a column was not read"))?;
            output.push(match &mask {
                Some(mask) => filter(&array, mask)?,
                None => array,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(selected));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(self.output), output, &options)?))
    }

    fn load(&self, unit: usize, granule: usize, column: usize, arrays: &mut [Option<ArrayRef>]) -> Result<()> {
        if arrays[column].is_none() {
            arrays[column] = Some(match self.columns[column] {
                ReadColumn::Stored(stored) => self.scan.column(unit, granule, stored)?,
                ReadColumn::Address => Arc::new(self.scan.addresses(unit, granule)),
            });
        }
        Ok(())
    }

    /// The columns of a predicate as a batch, of the rows in `mask`.
    fn narrow(
        &self,
        predicate: &Predicate,
        arrays: &[Option<ArrayRef>],
        mask: Option<&BooleanArray>,
        rows: usize,
    ) -> Result<RecordBatch> {
        let columns = predicate
            .columns
            .iter()
            .map(|&column| {
                let array = arrays[column].clone().ok_or_else(|| Error::internal("a column was not read"))?;
                Ok(match mask {
                    Some(mask) => filter(&array, mask)?,
                    None => array,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&predicate.schema), columns, &options)?)
    }
}

/// The rows of which a predicate is true; NULL is not.
fn evaluate(predicate: &Predicate, batch: &RecordBatch) -> Result<BooleanBuffer> {
    let array = predicate.expr.evaluate(batch)?.into_array(batch.num_rows())?;
    let Some(mask) = array.as_any().downcast_ref::<BooleanArray>() else {
        return Err(Error::internal("a predicate is not boolean"));
    };
    Ok(match mask.null_count() {
        0 => mask.values().clone(),
        _ => prep_null_mask_filter(mask).values().clone(),
    })
}

/// Puts the bits of `inner`, one for every set bit of `outer`, into their places.
fn scatter(outer: &BooleanBuffer, inner: &BooleanBuffer) -> BooleanBuffer {
    let mut bits = MutableBuffer::from_len_zeroed(bit_util::ceil(outer.len(), 8));
    for (place, row) in outer.set_indices().enumerate() {
        if inner.value(place) {
            bit_util::set_bit(bits.as_slice_mut(), row);
        }
    }
    BooleanBuffer::new(bits.into(), 0, outer.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refined_selections_keep_their_places() {
        let outer = BooleanBuffer::from(vec![false, true, true, false, true]);
        let inner = BooleanBuffer::from(vec![true, false, true]);
        assert_eq!(scatter(&outer, &inner), BooleanBuffer::from(vec![false, true, false, false, true]));
    }
}
