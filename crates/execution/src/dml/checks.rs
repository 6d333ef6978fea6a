//! NOT NULL and CHECK, tested on rows before they are written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use colonnade_storage::Catalog;
use colonnade_types::{ColumnEncoder, DisplaySettings, Format, SqlState, TableDefinition};
use datafusion::physical_expr::PhysicalExpr;

use crate::binder::Binder;
use crate::error::{Error, Result};

/// Longest value that `Failing row contains (...)` shows, in characters.
const SHOWN_MAX: usize = 64;

/// A table's constraints on single rows, ready to be tested.
#[derive(Clone)]
pub(crate) struct Checks {
    table: Arc<TableDefinition>,
    checks: Vec<(String, Arc<dyn PhysicalExpr>)>,
    settings: DisplaySettings,
}

impl Checks {
    /// Binds a table's constraints.
    pub(crate) fn new(binder: &Binder, table: &Arc<TableDefinition>, catalog: &Arc<Catalog>) -> Result<Checks> {
        let mut checks = Vec::with_capacity(table.checks.len());
        if !table.checks.is_empty() {
            let schema = Binder::table_schema(table)?;
            for check in &table.checks {
                let expr = crate::parser::parse_expression(&check.expression)?;
                let expr = binder.expression(expr, &schema, binder.scope(Arc::clone(catalog), None))?;
                checks.push((check.name.clone(), binder.state.create_physical_expr(expr, &schema)?));
            }
        }
        Ok(Checks { table: Arc::clone(table), checks, settings: binder.display() })
    }

    /// Tests rows, columns in the table's order.
    ///
    /// # Errors
    /// 23502 or 23514 for the first row that breaks a constraint.
    pub(crate) fn test(&self, rows: &RecordBatch) -> Result<()> {
        self.test_nulls(rows.columns())?;
        self.test_checks(rows)
    }

    /// As [`test`](Self::test), for rows that are no batch yet, and need not be one without CHECK constraints.
    pub(crate) fn test_columns(&self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        self.test_nulls(columns)?;
        if self.checks.is_empty() {
            return Ok(());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = super::insert::arrow_schema(&self.table);
        self.test_checks(&RecordBatch::try_new_with_options(schema, columns.to_vec(), &options)?)
    }

    fn test_nulls(&self, columns: &[ArrayRef]) -> Result<()> {
        for (column, array) in self.table.columns.iter().zip(columns) {
            if column.not_null && array.null_count() > 0 {
                let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or(0);
                return Err(Error::new(
                    SqlState::NOT_NULL_VIOLATION,
                    format!(
                        "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                        column.name, self.table.name
                    ),
                )
                .with_detail(self.failing_row(columns, row))
                .with_table(&self.table.name)
                .with_column(&column.name));
            }
        }
        Ok(())
    }

    fn test_checks(&self, rows: &RecordBatch) -> Result<()> {
        for (name, check) in &self.checks {
            let result = check.evaluate(rows)?.into_array(rows.num_rows())?;
            let Some(result) = result.as_any().downcast_ref::<BooleanArray>() else { continue };
            let broken = (0..result.len()).find(|row| result.is_valid(*row) && !result.value(*row));
            if let Some(row) = broken {
                return Err(Error::new(
                    SqlState::CHECK_VIOLATION,
                    format!("new row for relation \"{}\" violates check constraint \"{name}\"", self.table.name),
                )
                .with_detail(self.failing_row(rows.columns(), row))
                .with_table(&self.table.name)
                .with_constraint(name));
            }
        }
        Ok(())
    }

    fn failing_row(&self, columns: &[ArrayRef], row: usize) -> String {
        let values = self.table.columns.iter().zip(columns).map(|(column, array)| {
            let encoder = ColumnEncoder::new(&column.sql_type, array, Format::Text, &self.settings).ok();
            match encoder {
                Some(encoder) if !encoder.is_null(row) => {
                    let mut out = Vec::new();
                    encoder.write(row, &mut out);
                    let text = String::from_utf8_lossy(&out).into_owned();
                    if text.chars().count() > SHOWN_MAX {
                        format!("{}...", text.chars().take(SHOWN_MAX).collect::<String>())
                    } else {
                        text
                    }
                }
                _ => "null".to_owned(),
            }
        });
        format!("Failing row contains ({}).", values.collect::<Vec<_>>().join(", "))
    }
}
