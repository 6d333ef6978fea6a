//! A system view: its declaration, and the table provider that computes its rows when it is scanned.
//!
//! Rows come from the catalog as the running statement sees it, so that a transaction finds its own uncommitted tables there.
//! A view without rows function is empty by construction, and planned as an empty relation: joins with it fall away.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use colonnade_types::{Oid, SqlType};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::error::Error;
use crate::functions::value::{Value, to_batch};
use crate::session_info::{SessionInfo, StatementInfo};

/// Rows in column order.
pub type Rows = Vec<Vec<Value>>;

/// Makes one row of things that are values.
macro_rules! row {
    ($($value:expr),* $(,)?) => { vec![$($crate::functions::value::Value::from($value)),*] };
}
pub(crate) use row;

/// What a rows function may look at.
pub struct Source<'a> {
    /// The session, the storage and the other sessions.
    pub info: &'a SessionInfo,
    /// The catalog and search path as the statement sees them.
    pub statement: &'a StatementInfo,
}

/// A system view.
#[derive(Debug)]
pub struct SystemView {
    /// Its schema.
    pub schema: Oid,
    /// Its identifier, PostgreSQL's own where PostgreSQL fixes one.
    pub oid: Oid,
    /// Its name.
    pub name: &'static str,
    /// `r` if PostgreSQL has a table of that name, `v` for a view.
    pub kind: &'static str,
    /// Columns: `name type, name type`.
    pub columns: &'static str,
    /// Computes the rows; `None`: there never are any.
    pub rows: Option<fn(&Source<'_>) -> Result<Rows, Error>>,
}

impl SystemView {
    /// Its columns with their types.
    ///
    /// # Panics
    /// If a declaration in this crate is malformed; a test reads them all.
    #[must_use]
    pub fn column_types(&self) -> Vec<(String, SqlType)> {
        self.columns
            .split(',')
            .map(|column| {
                let (name, sql_type) = column.trim().split_once(' ').expect("a column has a name and a type");
                let sql_type = SqlType::parse(sql_type)
                    .unwrap_or_else(|| panic!("type {sql_type} of {}.{name} exists", self.name));
                (name.to_owned(), sql_type)
            })
            .collect()
    }

    /// Its Arrow schema.
    #[must_use]
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields: Vec<_> = self.column_types().iter().map(|(name, sql_type)| sql_type.field(name, true)).collect();
        Arc::new(Schema::new(fields))
    }

    /// Computes its rows.
    ///
    /// # Errors
    /// What the view's own function fails with; a row that does not fit the declaration is an internal error.
    pub fn batch(&self, info: &SessionInfo) -> Result<RecordBatch, Error> {
        let schema = self.arrow_schema();
        let Some(rows) = self.rows else {
            return Ok(RecordBatch::new_empty(schema));
        };
        let statement = info.statement();
        let rows = rows(&Source { info, statement: &statement })?;
        let types: Vec<SqlType> = self.column_types().into_iter().map(|(_, sql_type)| sql_type).collect();
        to_batch(schema, &types, &rows).map_err(|error| Error::internal(format!("{}: {error}", self.name)))
    }
}

/// DataFusion's view of a [`SystemView`].
#[derive(Debug)]
pub struct SystemTable {
    view: &'static SystemView,
    schema: SchemaRef,
    empty_plan: OnceLock<LogicalPlan>,
}

impl SystemTable {
    /// Wraps a view.
    #[must_use]
    pub fn new(view: &'static SystemView) -> SystemTable {
        SystemTable { view, schema: view.arrow_schema(), empty_plan: OnceLock::new() }
    }

    /// The view behind it.
    #[must_use]
    pub fn view(&self) -> &'static SystemView {
        self.view
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        if self.view.rows.is_some() {
            return None;
        }
        if self.empty_plan.get().is_none() {
            let schema = Arc::new(DFSchema::try_from(Arc::clone(&self.schema)).ok()?);
            let _ = self.empty_plan.set(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema }));
        }
        self.empty_plan.get().map(Cow::Borrowed)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let info = SessionInfo::of(state.config_options())?;
        let batch = self.view.batch(info).map_err(DataFusionError::from)?;
        let plan = MemorySourceConfig::try_new_exec(&[vec![batch]], self.schema(), projection.cloned())?;
        Ok(plan)
    }
}
