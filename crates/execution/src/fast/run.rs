//! One execution of a fast plan: synchronous up to the point where another transaction stands in the way.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use colonnade_storage::{Found, LockMode, LockTarget, Snapshot, Transaction, WriteError};
use colonnade_types::{ColumnBuilder, DisplaySettings, Format, SqlType, TxnId};

use crate::dml::insert::assemble_columns;
use crate::error::Result;
use crate::fast::expression::{Inputs, Projection, RowExpression, RowValues};
use crate::fast::{Action, FastPlan, KeyMatch, KeySource};
use crate::locks::write_error;
use crate::outcome::{CommandTag, Outcome, RowBatches, RowStream, TagRule};
use crate::session::ScalarParameter;

/// How far an attempt came.
pub(crate) enum Attempt {
    Done(Done),
    /// A running transaction stands in the way; nothing was changed.
    Blocked(TxnId),
    /// A row was changed since the snapshot; nothing was changed.
    Conflict,
    /// The table has been changed since the plan was made; nothing was changed.
    Stale,
}

/// What the statement did.
pub(crate) struct Done {
    pub(crate) rows: u64,
    pub(crate) returned: Option<RecordBatch>,
}

impl Done {
    pub(crate) fn outcome(self, plan: &FastPlan) -> Outcome {
        let words = match plan.action {
            Action::Insert { .. } => "INSERT 0",
            _ => plan.word(),
        };
        let Some(projection) = &plan.projection else {
            return Outcome::Command(CommandTag::new(format!("{words} {}", self.rows)));
        };
        let batch = self.returned.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&projection.arrow_schema)));
        Outcome::Rows(RowStream {
            schema: Arc::clone(&projection.schema),
            batches: RowBatches::ready(batch),
            tag: TagRule::Count(words),
        })
    }
}

/// Reads parameters into arrays of one.
pub(crate) fn parameters(
    types: &[SqlType],
    given: &[ScalarParameter],
    settings: &DisplaySettings,
) -> Result<Vec<ArrayRef>> {
    types
        .iter()
        .zip(given)
        .map(|(sql_type, parameter)| {
            let mut builder = ColumnBuilder::new(sql_type, 1);
            match (&parameter.value, parameter.format) {
                (None, _) => builder.append_null(),
                (Some(bytes), Format::Text) => {
                    builder.append_text(colonnade_types::text_from_bytes(bytes)?, settings)?;
                }
                (Some(bytes), Format::Binary) => builder.append_binary(bytes)?,
            }
            Ok(builder.finish())
        })
        .collect()
}

/// Values of one execution.
pub(crate) struct Execution<'a> {
    pub(crate) plan: &'a FastPlan,
    pub(crate) parameters: &'a [ArrayRef],
    pub(crate) now: i64,
}

impl Execution<'_> {
    /// A SELECT at a snapshot.
    pub(crate) fn read(&self, snapshot: &Snapshot) -> Result<Done> {
        let Action::Select(key) = &self.plan.action else {
            return Err(crate::error::Error::internal("a write was run as a read"));
        };
        let Some((found, mut columns)) = self.locate(key, snapshot)? else {
            return Ok(Done { rows: 0, returned: None });
        };
        let returned = match &self.plan.projection {
            Some(projection) => Some(self.project(projection, Some(&found), &mut columns)?),
            None => None,
        };
        Ok(Done { rows: 1, returned })
    }

    /// A write, once. The transaction is as before unless it is done.
    pub(crate) fn write(&self, transaction: &mut Transaction) -> Result<Attempt> {
        match transaction.lock(LockTarget::Relation(self.plan.relation), LockMode::RowExclusive) {
            Ok(()) => {}
            Err(WriteError::Blocked(holder)) => return Ok(Attempt::Blocked(holder)),
            Err(error) => return Err(self.refused(error)),
        }
        // Before the lock was ours, the table may have been changed.
        if !transaction.sees_catalog(&self.plan.catalog) {
            return Ok(Attempt::Stale);
        }
        let savepoint = transaction.savepoint();
        let attempt = self.attempt(transaction);
        if !matches!(attempt, Ok(Attempt::Done(_))) {
            transaction.rollback_to(&savepoint);
        }
        attempt
    }

    fn attempt(&self, transaction: &mut Transaction) -> Result<Attempt> {
        let plan = self.plan;
        let access = &plan.access;
        let none = Ok(Attempt::Done(Done { rows: 0, returned: None }));
        match &plan.action {
            Action::Select(_) => Err(crate::error::Error::internal("a read was run as a write")),
            Action::Delete(key) => {
                let snapshot = transaction.snapshot();
                let Some((found, mut columns)) = self.locate(key, &snapshot)? else { return none };
                if let Some(attempt) = self.checked(transaction.delete_found(access, &found, false))? {
                    return Ok(attempt);
                }
                self.done(Some(&found), &mut columns, 1)
            }
            Action::Update { key, new, inputs, checks, kept_keys } => {
                let snapshot = transaction.snapshot();
                let Some((found, mut columns)) = self.locate(key, &snapshot)? else { return none };
                self.load(&found, &mut columns, 0..access.table().columns.len())?;
                let values = inputs.evaluate(new.iter().flatten(), &self.row(&columns))?;
                let mut values = values.into_iter();
                for (column, new) in columns.iter_mut().zip(new) {
                    if new.is_some() {
                        *column = values.next();
                    }
                }
                let rows: Option<Vec<ArrayRef>> = columns.iter().cloned().collect();
                let rows = rows.ok_or_else(|| crate::error::Error::internal("a column has no value"))?;
                checks.test_columns(&rows, 1)?;
                let keeps_keys = kept_keys.iter().all(|kept| *kept);
                if let Some(attempt) = self.checked(transaction.delete_found(access, &found, keeps_keys))? {
                    return Ok(attempt);
                }
                if let Some(attempt) = self.checked(transaction.append_rows(access, &rows, 1, kept_keys))? {
                    return Ok(attempt);
                }
                self.done(None, &mut columns, 1)
            }
            Action::Insert { rows, places, inputs, missing, checks } => {
                let mut given: Vec<Vec<ArrayRef>> = places.iter().map(|_| Vec::with_capacity(rows.len())).collect();
                for row in rows {
                    let values = inputs.evaluate(row.iter(), &self.row(&[]))?;
                    given.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
                }
                let given = places.iter().copied().zip(given).map(|(place, values)| Ok((place, joined(&values)?)));
                let new = assemble_columns(access.table(), given.collect::<Result<_>>()?, missing, rows.len())?;
                checks.test_columns(&new, rows.len())?;
                if let Some(attempt) = self.checked(transaction.append_rows(access, &new, rows.len(), &[]))? {
                    return Ok(attempt);
                }
                let Some(projection) = &plan.projection else {
                    return Ok(Attempt::Done(Done { rows: rows.len() as u64, returned: None }));
                };
                let mut returned = Vec::with_capacity(rows.len());
                for row in 0..rows.len() {
                    let mut columns: Vec<Option<ArrayRef>> =
                        new.iter().map(|column| Some(column.slice(row, 1))).collect();
                    returned.push(self.project(projection, None, &mut columns)?);
                }
                let returned = arrow::compute::concat_batches(&projection.arrow_schema, &returned)?;
                Ok(Attempt::Done(Done { rows: rows.len() as u64, returned: Some(returned) }))
            }
        }
    }

    fn done(&self, found: Option<&Found>, columns: &mut [Option<ArrayRef>], rows: u64) -> Result<Attempt> {
        let returned = match &self.plan.projection {
            Some(projection) => Some(self.project(projection, found, columns)?),
            None => None,
        };
        Ok(Attempt::Done(Done { rows, returned }))
    }

    /// What a refusal of storage means for this attempt; `None` if it was none.
    fn checked(&self, outcome: Result<(), WriteError>) -> Result<Option<Attempt>> {
        match outcome {
            Ok(()) => Ok(None),
            Err(WriteError::Blocked(holder)) => Ok(Some(Attempt::Blocked(holder))),
            Err(WriteError::Conflict) => Ok(Some(Attempt::Conflict)),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn refused(&self, error: WriteError) -> crate::error::Error {
        write_error(error, Some(&self.plan.access.table().name))
    }

    /// Finds the row, if there is one that satisfies everything, with the columns that were read on the way.
    fn locate(&self, key: &KeyMatch, snapshot: &Snapshot) -> Result<Option<(Found, Vec<Option<ArrayRef>>)>> {
        let mut values = Vec::with_capacity(key.values.len());
        for source in &key.values {
            let value = match source {
                KeySource::Constant(value) => Arc::clone(value),
                KeySource::Parameter(index) => Arc::clone(&self.parameters[*index]),
                KeySource::Integer(index, data_type) => {
                    let cast = arrow::compute::cast(&self.parameters[*index], data_type)?;
                    if cast.is_null(0) {
                        return Ok(None);
                    }
                    cast
                }
            };
            // `= NULL` is never true, whatever the constraint makes of NULLs.
            if value.is_null(0) {
                return Ok(None);
            }
            values.push(value);
        }
        let access = &self.plan.access;
        let Some(found) = snapshot.find(access, key.key, &values)? else { return Ok(None) };
        let mut columns: Vec<Option<ArrayRef>> = vec![None; access.table().columns.len()];
        if let Some((residual, inputs)) = &key.residual {
            self.load(&found, &mut columns, needed(std::iter::once(residual), inputs))?;
            let outcome = inputs.evaluate(std::iter::once(residual), &self.row(&columns))?;
            let is_true = outcome.first().and_then(|o| o.as_boolean_opt()).is_some_and(|o| o.is_valid(0) && o.value(0));
            if !is_true {
                return Ok(None);
            }
        }
        Ok(Some((found, columns)))
    }

    /// Reads columns that have not been read yet.
    fn load(
        &self,
        found: &Found,
        columns: &mut [Option<ArrayRef>],
        places: impl IntoIterator<Item = usize>,
    ) -> Result<()> {
        let table = self.plan.access.table();
        for place in places {
            if columns[place].is_none() {
                columns[place] = found.read(std::iter::once(&table.columns[place]))?.pop();
            }
        }
        Ok(())
    }

    fn project(
        &self,
        projection: &Projection,
        found: Option<&Found>,
        columns: &mut [Option<ArrayRef>],
    ) -> Result<RecordBatch> {
        if let Some(found) = found {
            self.load(found, columns, needed(projection.expressions.iter(), &projection.inputs))?;
        }
        let values = projection.inputs.evaluate(projection.expressions.iter(), &self.row(columns))?;
        Ok(RecordBatch::try_new(Arc::clone(&projection.arrow_schema), values)?)
    }

    fn row<'a>(&'a self, columns: &'a [Option<ArrayRef>]) -> RowValues<'a> {
        RowValues { columns, parameters: self.parameters, now: self.now }
    }
}

fn needed<'a>(expressions: impl Iterator<Item = &'a RowExpression>, inputs: &Inputs) -> Vec<usize> {
    let plain = expressions.filter_map(|expression| match expression {
        RowExpression::Column(place) => Some(*place),
        RowExpression::Parameter(_) | RowExpression::Computed { .. } => None,
    });
    plain.chain(inputs.columns().iter().copied()).collect()
}

fn joined(values: &[ArrayRef]) -> Result<ArrayRef> {
    if let [value] = values {
        return Ok(Arc::clone(value));
    }
    let values: Vec<&dyn arrow::array::Array> = values.iter().map(AsRef::as_ref).collect();
    Ok(arrow::compute::concat(&values)?)
}
