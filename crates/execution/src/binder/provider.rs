//! Names of a statement looked up: what DataFusion's SQL planner asks for.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use colonnade_storage::{Catalog, Snapshot};
use colonnade_types::{DisplaySettings, Oid, Relation, SequenceDefinition, SqlState, SqlType, ViewDefinition};
use datafusion::catalog::TableFunctionArgs;
use datafusion::catalog::view::ViewTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::sql::planner::SqlToRel;
use parking_lot::Mutex;
use sqlparser::ast;

use crate::binder::cast::cast_expr;
use crate::binder::operators::{ParameterTypes, PostgresOperators};
use crate::binder::semantics::Semantics;
use crate::binder::syntax::{self, Parameters};
use crate::binder::types::{PostgresTypes, type_of};
use crate::error::{Error, Result};
use crate::names::{ObjectPath, effective_path, undefined_relation};
use crate::scan::Table;
use crate::session_info::SessionInfo;

/// How deep views may be nested.
const VIEW_DEPTH_MAX: usize = 64;

/// Where one statement finds its tables.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) catalog: Arc<Catalog>,
    /// `None` for statements that are bound without being run.
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) search_path: Arc<Vec<String>>,
    /// Tables that stand for those of the catalog, by name as written, such as the rows that an INSERT returns.
    pub(crate) overrides: HashMap<String, Arc<dyn TableSource>>,
    pub(crate) view_depth: usize,
}

/// DataFusion's view of one statement's surroundings.
pub(crate) struct Provider<'a> {
    state: &'a SessionState,
    scope: Scope,
    settings: DisplaySettings,
    planners: Vec<Arc<dyn ExprPlanner>>,
    parameters: ParameterTypes,
    /// Relations that the statement names.
    used: Mutex<Vec<Oid>>,
}

impl<'a> Provider<'a> {
    pub(crate) fn new(
        state: &'a SessionState,
        scope: Scope,
        settings: DisplaySettings,
        parameters: ParameterTypes,
    ) -> Provider<'a> {
        let ours = PostgresOperators { settings: settings.clone(), parameters: Arc::clone(&parameters) };
        let planners = std::iter::once(Arc::new(ours) as Arc<dyn ExprPlanner>)
            .chain(state.expr_planners().iter().cloned())
            .collect();
        Provider { state, scope, settings, planners, parameters, used: Mutex::default() }
    }

    /// Relations named so far.
    pub(crate) fn used(&self) -> Vec<Oid> {
        self.used.lock().clone()
    }

    pub(crate) fn semantics<'s>(&'s self, function: &'s dyn Fn(&str) -> Option<Arc<ScalarUDF>>) -> Semantics<'s> {
        Semantics { settings: &self.settings, parameters: &self.parameters, function }
    }

    /// Plans a query that [`syntax::rewrite`] has seen, with PostgreSQL's meaning.
    pub(crate) fn plan_query(&self, query: ast::Query) -> Result<LogicalPlan> {
        let plan = SqlToRel::new(self).sql_statement_to_plan(ast::Statement::Query(Box::new(query)))?;
        let function = |name: &str| self.get_function_meta(name);
        self.semantics(&function).plan(plan)
    }

    fn source(&self, path: &ObjectPath) -> Result<Arc<dyn TableSource>> {
        if path.schema.is_none()
            && let Some(source) = self.scope.overrides.get(&path.name)
        {
            return Ok(Arc::clone(source));
        }
        let schemas: Vec<&str> = match &path.schema {
            Some(schema) => vec![schema.as_str()],
            None => effective_path(&self.scope.search_path).collect(),
        };
        for schema in schemas {
            if let Some(table) = crate::builtin::system_table(schema, &path.name) {
                return Ok(provider_as_source(table));
            }
            let Some(definition) = self.scope.catalog.schema_by_name(schema) else { continue };
            let Some(relation) = self.scope.catalog.relation_by_name(definition.oid, &path.name) else { continue };
            self.used.lock().push(relation.oid());
            return match relation {
                Relation::Table(table) => {
                    let table = Table::new(Arc::clone(table), self.scope.snapshot.clone(), false);
                    Ok(provider_as_source(Arc::new(table)))
                }
                Relation::View(view) => self.view(view),
                Relation::Sequence(sequence) => self.sequence(sequence),
            };
        }
        Err(undefined_relation(path))
    }

    /// A view is planned where it is used; its columns keep the names and types that they had when it was made.
    fn view(&self, view: &ViewDefinition) -> Result<Arc<dyn TableSource>> {
        if self.scope.view_depth >= VIEW_DEPTH_MAX {
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, "views are nested too deeply"));
        }
        let mut query = crate::parser::parse_query(&view.query)?;
        syntax::rewrite(query.as_mut(), &Parameters::Values(Vec::new()))?;
        let scope = Scope { view_depth: self.scope.view_depth + 1, overrides: HashMap::new(), ..self.scope.clone() };
        let inner = Provider::new(self.state, scope, self.settings.clone(), ParameterTypes::default());
        let plan = inner.plan_query(*query)?;
        let columns = plan.schema().columns();
        if columns.len() != view.columns.len() {
            return Err(Error::internal(format!("view \"{}\" has other columns than its query", view.name)));
        }
        let schema = Arc::clone(plan.schema());
        let exprs = columns.into_iter().zip(&view.columns).map(|(column, wanted): (Column, _)| {
            let expr = Expr::Column(column);
            let from = type_of(&expr, &schema).unwrap_or(SqlType::Text);
            cast_expr(expr, &from, &wanted.sql_type, true).alias(&wanted.name)
        });
        let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
        Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
    }

    /// A sequence reads as one row of its state.
    fn sequence(&self, sequence: &SequenceDefinition) -> Result<Arc<dyn TableSource>> {
        let info = SessionInfo::of(self.state.config_options())?;
        let state = info.database().sequence_state(sequence);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("last_value", Arc::new(Int64Array::from(vec![state.last_value]))),
            ("log_cnt", Arc::new(Int64Array::from(vec![0]))),
            ("is_called", Arc::new(BooleanArray::from(vec![state.is_called]))),
        ];
        let batch = RecordBatch::try_from_iter(columns)?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        Ok(provider_as_source(Arc::new(table)))
    }
}

/// A reference as DataFusion makes it from a name that it has folded already.
fn path_of(name: &TableReference) -> ObjectPath {
    ObjectPath { schema: name.schema().map(str::to_owned), name: name.table().to_owned() }
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        Ok(self.source(&path_of(&name))?)
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> DataFusionResult<Arc<dyn TableSource>> {
        let Some(function) = self.state.table_functions().get(name) else {
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}() does not exist")).into());
        };
        let lookup = |name: &str| self.get_function_meta(name);
        let semantics = self.semantics(&lookup);
        let schema = datafusion::common::DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| {
                let arg = semantics.expr(arg, &schema)?.data;
                // What names columns of another table is the function's to refuse, when it is asked for rows.
                if arg.contains_outer() || !arg.column_refs().is_empty() {
                    return Ok(arg);
                }
                Ok(match crate::binder::constant::fold(&arg) {
                    Some(value) => Expr::Literal(value, None),
                    None => {
                        let array = crate::binder::constant::evaluate(arg, self.state)?;
                        Expr::Literal(datafusion::common::ScalarValue::try_from_array(&array, 0)?, None)
                    }
                })
            })
            .collect::<DataFusionResult<Vec<_>>>()?;
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.state))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DataFusionResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(PostgresTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
