//! Reading tables: projection, filters, limit and pruning inside the scan.
//!
//! ```text
//! Table (TableProvider) --scan()--> ScanExec --execute(partition)--> reader: morsels from one queue
//!                                                                      granule: zone maps, visibility, predicates, late columns
//! ```
//!
//! A scan is cut into *morsels* of eight granules; all partitions take from one queue, so that no core idles while another has work. For
//! each granule: zone maps first (static filters once, dynamic filters whenever they have changed), then visibility, then the columns that
//! predicates read, and only for the surviving rows the rest.
//!
//! **Invariant.** What a static filter says is evaluated exactly, on visible rows only. A dynamic filter may be evaluated or not: whoever made it
//! checks its rows again.

pub(crate) mod exec;
mod granule;
mod pruning;
mod reader;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use colonnade_storage::Snapshot;
use colonnade_types::{ColumnId, TableDefinition};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::Error;
use crate::scan::exec::{ReadColumn, ScanExec};

/// Name of the hidden column that holds the rows' addresses; no client can write it.
pub(crate) const ADDRESS: &str = "\u{1}address";

/// A table as DataFusion sees it, at one snapshot.
#[derive(Debug)]
pub(crate) struct Table {
    definition: Arc<TableDefinition>,
    /// `None` when a statement is bound but not run.
    snapshot: Option<Snapshot>,
    schema: SchemaRef,
    addressed: bool,
}

impl Table {
    /// A table; `addressed` appends the column [`ADDRESS`].
    pub(crate) fn new(definition: Arc<TableDefinition>, snapshot: Option<Snapshot>, addressed: bool) -> Table {
        let mut schema = definition.arrow_schema();
        if addressed {
            let mut fields = schema.fields().to_vec();
            fields.push(Arc::new(Field::new(ADDRESS, DataType::UInt64, false)));
            schema = Arc::new(Schema::new(fields));
        }
        Table { definition, snapshot, schema, addressed }
    }

    /// What the table is.
    pub(crate) fn definition(&self) -> &Arc<TableDefinition> {
        &self.definition
    }
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| {
                if evaluable(filter) {
                    TableProviderFilterPushDown::Exact
                } else {
                    TableProviderFilterPushDown::Unsupported
                }
            })
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let Some(snapshot) = &self.snapshot else {
            return Err(DataFusionError::Internal("a statement that was only bound is run".to_owned()));
        };
        let output: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        // Columns read: those of the output, then those that only filters name.
        let mut read = output.clone();
        for filter in filters {
            for column in filter.column_refs() {
                let index = self.schema.index_of(&column.name)?;
                if !read.contains(&index) {
                    read.push(index);
                }
            }
        }
        let address = self.addressed.then(|| self.definition.columns.len());
        let mut ids: Vec<ColumnId> = Vec::new();
        let columns: Vec<ReadColumn> = read
            .iter()
            .map(|&index| {
                if Some(index) == address {
                    return ReadColumn::Address;
                }
                ids.push(self.definition.columns[index].id);
                ReadColumn::Stored(ids.len() - 1)
            })
            .collect();
        let read_schema = Arc::new(self.schema.project(&read)?);
        let df_schema = DFSchema::try_from(Arc::clone(&read_schema))?;
        let filters = filters
            .iter()
            .map(|filter| {
                let bare = unqualified(filter.clone())?;
                create_physical_expr(&bare, &df_schema, state.execution_props(), &PhysicalPlanningContext::default())
            })
            .collect::<DataFusionResult<Vec<_>>>()?;
        let scan = snapshot.scan(&self.definition, &ids).map_err(Error::from)?;
        let partitions = state.config().target_partitions();
        let exec =
            ScanExec::new(self.definition.name.clone(), scan, read_schema, columns, output.len(), filters, partitions);
        Ok(Arc::new(exec.limited(limit)))
    }
}

/// Whether a filter can be evaluated within the scan.
fn evaluable(filter: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode as _;
    let refused = filter.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
        ))
    });
    !filter.is_volatile() && matches!(refused, Ok(false))
}

/// A filter without the table's name before its columns.
fn unqualified(filter: Expr) -> DataFusionResult<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode as _};
    let out = filter.transform(|expr| {
        Ok(match expr {
            Expr::Column(column) if column.relation.is_some() => {
                Transformed::yes(Expr::Column(datafusion::common::Column::new_unqualified(column.name)))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(out.data)
}
