//! `INSERT ... ON CONFLICT`.
//!
//! Rows are taken in rounds. A round looks up what is in the way of some rows, locks the rows it is to update, inserts where nothing was in the way, and updates the
//! rest; it looks again when something has changed in between. Look-ups are among the newest versions, not in the statement's
//! snapshot: that is why concurrent statements on one key neither fail nor insert it twice.
//!
//! **Invariant.** Whoever waits for another transaction holds what an execution row by row would hold: what a round has done beyond that is undone first, and
//! the next round takes fewer rows. So two statements with their rows in the same order do not run into a deadlock.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use colonnade_storage::{FoundRow, Obstacle, RowLockMode, Snapshot, Transaction, WriteError};
use colonnade_types::{SqlState, SqlType, TableDefinition};
use datafusion::common::{DFSchema, TableReference};
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::ast;

use crate::binder::Binder;
use crate::binder::cast::physical;
use crate::binder::provider::Scope;
use crate::binder::syntax::{Parameters, placeholder, rewrite};
use crate::binder::types::type_of;
use crate::dml::checks::Checks;
use crate::dml::update::assigned_values;
use crate::dml::{Attempt, WriteContext, returning};
use crate::error::{Error, Result};
use crate::locks::write_error;
use crate::names::fold;

/// Rows of a round.
const ROUND_ROWS: usize = 8_192;
/// What the proposed row is called.
const EXCLUDED: &str = "excluded";

/// The clause, looked at.
pub(super) struct OnConflict<'a> {
    /// Places of the keys that are looked up, among the table's.
    keys: Vec<usize>,
    update: Option<&'a ast::DoUpdate>,
}

impl<'a> OnConflict<'a> {
    /// Finds the keys that the clause means.
    pub(super) fn new(table: &TableDefinition, on: &'a ast::OnInsert) -> Result<OnConflict<'a>> {
        let ast::OnInsert::OnConflict(clause) = on else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"DUPLICATE\""));
        };
        let update = match &clause.action {
            ast::OnConflictAction::DoNothing => None,
            ast::OnConflictAction::DoUpdate(update) => Some(update),
        };
        let keys = match &clause.conflict_target {
            None if update.is_some() => {
                return Err(Error::new(
                    SqlState::SYNTAX_ERROR,
                    "ON CONFLICT DO UPDATE requires inference specification or constraint name",
                )
                .with_hint("For example, ON CONFLICT (column_name)."));
            }
            None => (0..table.keys.len()).collect(),
            Some(ast::ConflictTarget::Columns(names)) => inferred(table, names)?,
            Some(ast::ConflictTarget::OnConstraint(name)) => {
                let name = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
                match table.keys.iter().position(|key| key.name == name) {
                    Some(key) => vec![key],
                    None if table.checks.iter().any(|check| check.name == name) => {
                        return Err(Error::new(
                            SqlState::WRONG_OBJECT_TYPE,
                            "constraint in ON CONFLICT clause has no associated index",
                        ));
                    }
                    None => {
                        return Err(Error::new(
                            SqlState::UNDEFINED_OBJECT,
                            format!("constraint \"{name}\" for table \"{}\" does not exist", table.name),
                        ));
                    }
                }
            }
        };
        Ok(OnConflict { keys, update })
    }

    /// Gives parameters in the clause their types.
    pub(super) fn describe(
        &self,
        binder: &Binder,
        table: &TableDefinition,
        alias: &str,
        scope: Scope,
        parameters: &Parameters,
    ) -> Result<()> {
        let Some(update) = self.update else { return Ok(()) };
        let mut query = crate::parser::parse_query("SELECT 1 FROM t")?;
        let ast::SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
        select.projection.clear();
        for (place, value) in assigned_values(table, &update.assignments)? {
            if let (Some(number), Parameters::Inferred(types)) = (placeholder(&value), parameters) {
                crate::binder::operators::note_parameter(number, &table.columns[place].sql_type, types);
            }
            select.projection.push(ast::SelectItem::UnnamedExpr(value));
        }
        select.from = vec![returning::table(&table.name, alias), returning::table(&table.name, EXCLUDED)];
        select.selection.clone_from(&update.selection);
        let mut scope = scope;
        let source = crate::scan::Table::new(Arc::new(table.clone()), None, false);
        let source = datafusion::datasource::provider_as_source(Arc::new(source));
        scope.overrides.insert(table.name.clone(), source);
        binder.plan(&query, scope, parameters).map(|_| ())
    }
}

/// The keys that have exactly these columns.
fn inferred(table: &TableDefinition, names: &[ast::Ident]) -> Result<Vec<usize>> {
    let mut columns = Vec::with_capacity(names.len());
    for name in names.iter().map(fold) {
        let Some(column) = table.columns.iter().find(|column| column.name == name) else {
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")));
        };
        columns.push(column.id);
    }
    columns.sort_unstable();
    columns.dedup();
    let same = |key: &colonnade_types::KeyConstraint| {
        let mut own = key.columns.clone();
        own.sort_unstable();
        own == columns
    };
    let keys: Vec<usize> = (0..table.keys.len()).filter(|key| same(&table.keys[*key])).collect();
    if keys.is_empty() {
        return Err(Error::new(
            SqlState("42P10"),
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        ));
    }
    Ok(keys)
}

/// DO UPDATE, bound over the columns of the row that is there and of the row that was proposed.
struct Update {
    selection: Option<Arc<dyn PhysicalExpr>>,
    /// By the column's place.
    values: HashMap<usize, Arc<dyn PhysicalExpr>>,
    keeps_keys: bool,
}

impl Update {
    fn new(
        binder: &Binder,
        table: &TableDefinition,
        alias: &str,
        update: &ast::DoUpdate,
        scope: &Scope,
        parameters: &Parameters,
    ) -> Result<Update> {
        let own = DFSchema::try_from_qualified_schema(TableReference::bare(alias), &table.arrow_schema())?;
        let proposed = DFSchema::try_from_qualified_schema(TableReference::bare(EXCLUDED), &table.arrow_schema())?;
        let schema = own.join(&proposed)?;
        let bind = |mut expr: ast::Expr| {
            if crate::dml::insert::has_subquery(&expr) {
                return Err(Error::unsupported("a subquery in ON CONFLICT DO UPDATE"));
            }
            rewrite(&mut expr, parameters)?;
            binder.expression(expr, &schema, scope.clone())
        };
        let selection = match &update.selection {
            None => None,
            Some(expr) => {
                let expr = bind(expr.clone())?;
                let found = type_of(&expr, &schema).unwrap_or(SqlType::Unknown);
                if !matches!(found, SqlType::Boolean | SqlType::Unknown) {
                    return Err(Error::new(
                        SqlState::DATATYPE_MISMATCH,
                        format!("argument of WHERE must be type boolean, not type {}", found.base_name()),
                    ));
                }
                Some(binder.state.create_physical_expr(expr, &schema)?)
            }
        };
        let mut values = HashMap::new();
        for (place, value) in assigned_values(table, &update.assignments)? {
            let column = &table.columns[place];
            let expr = binder.assigned(bind(value)?, &schema, &column.name, &column.sql_type)?;
            values.insert(place, binder.state.create_physical_expr(expr, &schema)?);
        }
        let in_key = |place: &usize| {
            let column = table.columns[*place].id;
            table.keys.iter().any(|key| key.columns.contains(&column))
        };
        let keeps_keys = !values.keys().any(in_key);
        Ok(Update { selection, values, keeps_keys })
    }

    /// Which rows are updated, and to what. `own` and `proposed` have a row for each.
    fn evaluate(
        &self,
        table: &TableDefinition,
        own: &RecordBatch,
        proposed: &RecordBatch,
    ) -> Result<(Vec<usize>, RecordBatch)> {
        let both: Vec<ArrayRef> = own.columns().iter().chain(proposed.columns()).map(Arc::clone).collect();
        let fields: Vec<_> =
            own.schema().fields().iter().chain(proposed.schema().fields().iter()).map(Arc::clone).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(own.num_rows()));
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let mut both = RecordBatch::try_new_with_options(schema, both, &options)?;
        let chosen: Vec<usize> = match &self.selection {
            None => (0..own.num_rows()).collect(),
            Some(selection) => {
                let chosen = selection.evaluate(&both)?.into_array(both.num_rows())?;
                match chosen.as_boolean_opt() {
                    Some(chosen) => {
                        (0..chosen.len()).filter(|row| chosen.is_valid(*row) && chosen.value(*row)).collect()
                    }
                    // NULL, of no type.
                    None => Vec::new(),
                }
            }
        };
        if chosen.len() < both.num_rows() {
            both = take_record_batch(&both, &indices(&chosen))?;
        }
        let mut columns = Vec::with_capacity(table.columns.len());
        for (place, column) in table.columns.iter().enumerate() {
            columns.push(match self.values.get(&place) {
                Some(value) => physical(&value.evaluate(&both)?.into_array(both.num_rows())?, &column.sql_type)?,
                None => Arc::clone(both.column(place)),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(both.num_rows()));
        Ok((chosen, RecordBatch::try_new_with_options(table.arrow_schema(), columns, &options)?))
    }
}

fn indices(rows: &[usize]) -> UInt32Array {
    // A round has at most some thousand rows.
    rows.iter().map(|row| *row as u32).collect()
}

/// Takes the rows of one statement.
pub(super) struct Upsert<'a> {
    context: &'a WriteContext,
    table: &'a Arc<TableDefinition>,
    keys: &'a [usize],
    update: Option<Update>,
    checks: Checks,
    /// The statement's snapshot, which REPEATABLE READ does not look beyond.
    snapshot: Snapshot,
    keep: bool,
    rows: u64,
    kept: Vec<RecordBatch>,
}

/// How a round ended.
enum Round {
    /// These of its rows are to be looked at again.
    Done(Vec<usize>),
    /// Something has changed since the look-up; nothing was done.
    Again,
    /// Another transaction is in the way; nothing was done. Rows before this one are free of it, if that is known.
    Blocked(colonnade_types::TxnId, Option<usize>),
}

impl<'a> Upsert<'a> {
    pub(super) fn new(
        context: &'a WriteContext,
        binder: &Binder,
        table: &'a Arc<TableDefinition>,
        alias: &str,
        on: &'a OnConflict<'_>,
        snapshot: Snapshot,
        parameters: &Parameters,
        keep: bool,
    ) -> Result<Upsert<'a>> {
        let scope = binder.scope(Arc::clone(snapshot.catalog()), Some(snapshot.clone()));
        let update = match on.update {
            Some(update) => Some(Update::new(binder, table, alias, update, &scope, parameters)?),
            None => None,
        };
        let checks = Checks::new(binder, table, snapshot.catalog())?;
        Ok(Upsert { context, table, keys: &on.keys, update, checks, snapshot, keep, rows: 0, kept: Vec::new() })
    }

    /// Inserts rows, columns in the table's order, or does what the clause says.
    pub(super) async fn push(&mut self, rows: &RecordBatch) -> Result<(), Attempt> {
        self.checks.test(rows)?;
        let mut from = 0;
        while from < rows.num_rows() {
            let count = (rows.num_rows() - from).min(ROUND_ROWS);
            self.rounds(&rows.slice(from, count)).await?;
            from += count;
        }
        Ok(())
    }

    /// Rows inserted and updated, and if wanted the rows themselves.
    pub(super) fn finish(self) -> (u64, Vec<RecordBatch>) {
        (self.rows, self.kept)
    }

    async fn rounds(&mut self, rows: &RecordBatch) -> Result<(), Attempt> {
        let mut pending: Vec<usize> = (0..rows.num_rows()).collect();
        let mut size = pending.len();
        while !pending.is_empty() {
            self.context.waiter.guard.check()?;
            let count = size.min(pending.len());
            let proposed = take_record_batch(rows, &indices(&pending[..count])).map_err(Error::from)?;
            match self.round(&proposed)? {
                Round::Done(left) => {
                    let mut rest: Vec<usize> = left.iter().map(|row| pending[*row]).collect();
                    rest.extend_from_slice(&pending[count..]);
                    pending = rest;
                    size = size.saturating_mul(2).min(ROUND_ROWS);
                }
                Round::Again => {}
                Round::Blocked(holder, known) => match known.unwrap_or(count / 2) {
                    0 => {
                        let me = self.context.with(|transaction| transaction.id())?;
                        self.context.waiter.wait(&self.context.database, me, holder).await?;
                    }
                    fewer => size = fewer,
                },
            }
        }
        Ok(())
    }

    /// One round, all of it or nothing.
    fn round(&mut self, proposed: &RecordBatch) -> Result<Round, Attempt> {
        let shared = Arc::clone(&self.context.transaction);
        let mut guard = shared.lock();
        let transaction = guard.as_mut().ok_or_else(crate::transaction::failed)?;
        let savepoint = transaction.savepoint();
        match self.attempt(transaction, proposed) {
            Ok(Round::Done(left)) => Ok(Round::Done(left)),
            other => {
                transaction.rollback_to(&savepoint);
                other
            }
        }
    }

    fn attempt(&mut self, transaction: &mut Transaction, proposed: &RecordBatch) -> Result<Round, Attempt> {
        let found = match transaction.conflicts(self.table, self.keys, proposed) {
            Ok(found) => found,
            Err(WriteError::Conflict) => return Err(Attempt::Conflict),
            Err(error) => return Err(Attempt::Failed(write_error(error, Some(&self.table.name)))),
        };
        let (mut free, mut met, mut left): (Vec<usize>, Vec<(usize, FoundRow)>, Vec<usize>) = Default::default();
        for (row, conflict) in found.into_iter().enumerate() {
            match conflict.with {
                Obstacle::Transaction(other) => return Ok(Round::Blocked(other, Some(row))),
                Obstacle::None if conflict.repeated => left.push(row),
                Obstacle::None => free.push(row),
                Obstacle::Row(there) if self.update.is_none() => self.check_seen(transaction, &there)?,
                Obstacle::Row(there) if transaction.is_made_by_this_command(&there) => {
                    return Err(Attempt::Failed(second_time()));
                }
                Obstacle::Row(_) if conflict.repeated => left.push(row),
                Obstacle::Row(there) => met.push((row, there)),
            }
        }
        let (places, there): (Vec<usize>, Vec<FoundRow>) = met.into_iter().unzip();
        let mut updated = (Vec::new(), None);
        if let Some(update) = self.update.as_ref().filter(|_| !there.is_empty()) {
            let mode = if update.keeps_keys { RowLockMode::NoKeyUpdate } else { RowLockMode::Update };
            match transaction.lock_found_rows(self.table, &there, mode) {
                Ok(()) => {}
                Err(WriteError::Blocked(other)) => return Ok(Round::Blocked(other, None)),
                Err(WriteError::Conflict) => return Ok(Round::Again),
                Err(error) => return Err(Attempt::Failed(write_error(error, Some(&self.table.name)))),
            }
            for row in &there {
                self.check_seen(transaction, row)?;
            }
            let own = transaction.read_found_rows(self.table, &there).map_err(Error::from)?;
            let excluded = take_record_batch(proposed, &indices(&places)).map_err(Error::from)?;
            let (chosen, new) = update.evaluate(self.table, &own, &excluded)?;
            self.checks.test(&new)?;
            let old: Vec<FoundRow> = chosen.iter().map(|row| there[*row].clone()).collect();
            let written = transaction
                .delete_found_rows(self.table, &old, update.keeps_keys)
                .and_then(|()| transaction.append(self.table, &new));
            match written {
                Ok(()) => {}
                Err(WriteError::Blocked(other)) => return Ok(Round::Blocked(other, None)),
                Err(error) => return Err(Attempt::Failed(write_error(error, Some(&self.table.name)))),
            }
            updated = (chosen.iter().map(|row| places[*row]).collect(), Some(new));
        }
        let inserted = take_record_batch(proposed, &indices(&free)).map_err(Error::from)?;
        match transaction.append(self.table, &inserted) {
            Ok(()) => {}
            Err(WriteError::Blocked(other)) => return Ok(Round::Blocked(other, None)),
            // Somebody was faster: the next look-up finds the row.
            Err(WriteError::DuplicateKey { constraint, .. })
                if self.keys.iter().any(|key| self.table.keys[*key].name == constraint) =>
            {
                return Ok(Round::Again);
            }
            Err(WriteError::Conflict) => return Err(Attempt::Conflict),
            Err(error) => return Err(Attempt::Failed(write_error(error, Some(&self.table.name)))),
        }
        self.rows += (free.len() + updated.0.len()) as u64;
        if self.keep {
            self.keep(&free, inserted, &updated.0, updated.1)?;
        }
        Ok(Round::Done(left))
    }

    /// REPEATABLE READ does not act on a row that its snapshot does not see.
    fn check_seen(&self, transaction: &Transaction, row: &FoundRow) -> Result<(), Attempt> {
        let fine =
            !self.context.repeatable || row.is_seen_by(&self.snapshot) || transaction.is_made_by_this_command(row);
        if fine { Ok(()) } else { Err(Attempt::Failed(write_error(WriteError::Conflict, None))) }
    }

    /// Keeps what was written, in the order of the rows that were proposed.
    fn keep(
        &mut self,
        free: &[usize],
        inserted: RecordBatch,
        places: &[usize],
        updated: Option<RecordBatch>,
    ) -> Result<()> {
        let mut order: Vec<(usize, (usize, usize))> =
            free.iter().enumerate().map(|(index, row)| (*row, (0, index))).collect();
        order.extend(places.iter().enumerate().map(|(index, row)| (*row, (1, index))));
        order.sort_unstable();
        let order: Vec<(usize, usize)> = order.into_iter().map(|(_, place)| place).collect();
        let schema = self.table.arrow_schema();
        let inserted = RecordBatch::try_new(Arc::clone(&schema), inserted.columns().to_vec())?;
        let updated = updated.unwrap_or_else(|| RecordBatch::new_empty(schema));
        self.kept.push(interleave_record_batch(&[&inserted, &updated], &order)?);
        Ok(())
    }
}

fn second_time() -> Error {
    Error::new(SqlState("21000"), "ON CONFLICT DO UPDATE command cannot affect row a second time").with_hint(
        "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
    )
}
