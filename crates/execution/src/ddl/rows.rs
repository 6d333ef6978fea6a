//! Looking at the rows that a table has when its definition changes, and rewriting them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter;
use arrow::datatypes::Schema;
use colonnade_storage::{CatalogEdit, Scan, Visibility};
use colonnade_types::{CheckConstraint, ColumnDefinition, Relation, SqlState, TableDefinition};

use crate::binder::Binder;
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};

/// Calls `each` with the rows that the transaction sees, a granule at a time, with the given columns.
pub(super) fn for_each(
    context: &mut DdlContext<'_>,
    table: &TableDefinition,
    columns: &[&ColumnDefinition],
    mut each: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let ids: Vec<_> = columns.iter().map(|column| column.id).collect();
    let scan = context.transaction.snapshot().scan(table, &ids)?;
    read(&scan, columns, &mut each)
}

/// Calls `each` with the rows of a scan over `columns`.
fn read(scan: &Scan, columns: &[&ColumnDefinition], each: &mut impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
    let fields: Vec<_> = columns.iter().map(|column| column.sql_type.field(&column.name, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    for (unit, described) in scan.units().iter().enumerate() {
        for granule in 0..described.granules {
            let visible = match scan.visibility(unit, granule) {
                Visibility::None => continue,
                Visibility::All => None,
                Visibility::Some(mask) => Some(BooleanArray::new(mask, None)),
            };
            let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
            for index in 0..columns.len() {
                let array = scan.column(unit, granule, index)?;
                arrays.push(match &visible {
                    Some(mask) => filter(&array, mask).map_err(arrow_error)?,
                    None => array,
                });
            }
            let rows = match &visible {
                Some(mask) => mask.true_count(),
                None => scan.granule_rows(unit, granule),
            };
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options);
            each(&batch.map_err(arrow_error)?)?;
        }
    }
    Ok(())
}

pub(super) fn arrow_error(error: arrow::error::ArrowError) -> Error {
    Error::internal(error.to_string())
}

/// Whether the transaction sees any row.
pub(super) fn is_empty(context: &mut DdlContext<'_>, table: &TableDefinition) -> Result<bool> {
    let columns: Vec<_> = table.columns.first().into_iter().map(|column| column.id).collect();
    Ok(context.transaction.snapshot().scan(table, &columns)?.exact_rows() == 0)
}

/// Refuses rows with NULL in a column.
pub(super) fn check_not_null(
    context: &mut DdlContext<'_>,
    table: &TableDefinition,
    column: &ColumnDefinition,
) -> Result<()> {
    for_each(context, table, &[column], |batch| {
        if batch.column(0).null_count() > 0 {
            return Err(Error::new(
                SqlState::NOT_NULL_VIOLATION,
                format!("column \"{}\" of relation \"{}\" contains null values", column.name, table.name),
            )
            .with_table(&table.name)
            .with_column(&column.name));
        }
        Ok(())
    })
}

/// Copies all rows of `old` to the storage of `new`, in bounded memory; `convert` makes the new columns of a batch from the old ones.
pub(super) fn rewrite(
    context: &mut DdlContext<'_>,
    old: &TableDefinition,
    new: &TableDefinition,
    mut convert: impl FnMut(&RecordBatch) -> Result<Vec<ArrayRef>>,
) -> Result<()> {
    let columns: Vec<&ColumnDefinition> = old.columns.iter().collect();
    let schema = new.arrow_schema();
    let ids: Vec<_> = columns.iter().map(|column| column.id).collect();
    // The old rows are found through the old definition, the new ones belong to the new one: it must be in the catalog by then.
    let scan = context.transaction.snapshot().scan(old, &ids)?;
    context.transaction.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::new(new.clone()))))?;
    let mut writer = context.transaction.bulk(new)?;
    read(&scan, &columns, &mut |batch: &RecordBatch| {
        if batch.num_rows() > 0 {
            let rows = RecordBatch::try_new(Arc::clone(&schema), convert(batch)?).map_err(arrow_error)?;
            writer.write(&rows)?;
        }
        Ok(())
    })?;
    writer.finish(context.transaction)?;
    Ok(())
}

/// Refuses rows that a new CHECK does not admit; NULL passes.
pub(super) fn check_rows(context: &mut DdlContext<'_>, table: &TableDefinition, check: &CheckConstraint) -> Result<()> {
    let schema = Binder::table_schema(table)?;
    let expr = crate::parser::parse_expression(&check.expression)?;
    let scope = context.binder.scope(context.transaction.catalog(), None);
    let expr = context.binder.expression(expr, &schema, scope)?;
    let physical = context.binder.state.create_physical_expr(expr, &schema)?;
    let columns: Vec<&ColumnDefinition> = table.columns.iter().collect();
    for_each(context, table, &columns, |batch| {
        let result = physical.evaluate(batch)?.into_array(batch.num_rows())?;
        let result = result.as_boolean();
        if (0..result.len()).any(|row| result.is_valid(row) && !result.value(row)) {
            return Err(Error::new(
                SqlState::CHECK_VIOLATION,
                format!("check constraint \"{}\" of relation \"{}\" is violated by some row", check.name, table.name),
            )
            .with_table(&table.name)
            .with_constraint(&check.name));
        }
        Ok(())
    })
}
