//! Binding SQL to the catalog: from parsed statements to DataFusion's logical plans.
//!
//! ```text
//! ast --syntax--> ast --SqlToRel, provider, operators--> LogicalPlan --semantics--> LogicalPlan
//! ```
//!
//! | module | one sentence |
//! |---|---|
//! | [`names`] | Column names as PostgreSQL gives them. |
//! | [`syntax`] | Parsed statements brought to forms that DataFusion plans. |
//! | [`provider`] | Tables, views and functions looked up. |
//! | [`operators`] | Operators typed while a statement is planned. |
//! | [`semantics`] | Casts and literals as PostgreSQL means them. |
//! | [`cast`], [`arithmetic`] | The functions behind both. |
//! | [`constant`] | Expressions without columns, evaluated. |
//! | [`types`] | SQL types in statements and expressions. |

pub(crate) mod arithmetic;
pub(crate) mod cast;
pub(crate) mod constant;
pub(crate) mod names;
pub(crate) mod operators;
pub(crate) mod provider;
pub(crate) mod semantics;
pub(crate) mod syntax;
pub(crate) mod types;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use colonnade_storage::{Catalog, Snapshot};
use colonnade_types::{ColumnEncoder, DisplaySettings, Format, SqlState, SqlType, TableDefinition};
use datafusion::common::{DFSchema, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::ContextProvider as _;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use sqlparser::ast;

use crate::binder::cast::{cast_array, cast_expr};
use crate::binder::operators::ParameterTypes;
use crate::binder::provider::{Provider, Scope};
use crate::binder::syntax::Parameters;
use crate::binder::types::{is_unknown_literal, parse_literal, type_of};
use crate::ddl_context::{BoundExpression, BoundQuery};
use crate::error::{Error, Result};
use crate::outcome::{ResultColumn, ResultSchema};
use crate::session_info::SessionInfo;

/// Binds the statements of one session.
pub(crate) struct Binder {
    pub(crate) state: SessionState,
    pub(crate) info: SessionInfo,
}

/// A planned query.
pub(crate) struct BoundPlan {
    pub(crate) plan: LogicalPlan,
    pub(crate) schema: ResultSchema,
    pub(crate) used: Vec<colonnade_types::Oid>,
}

impl Binder {
    /// How the running statement reads and prints values.
    pub(crate) fn display(&self) -> DisplaySettings {
        let statement = self.info.statement();
        DisplaySettings { now_micros: statement.transaction_start, ..statement.settings.display().clone() }
    }

    /// The surroundings of a statement.
    pub(crate) fn scope(&self, catalog: Arc<Catalog>, snapshot: Option<Snapshot>) -> Scope {
        let search_path = Arc::clone(self.info.statement().settings.search_path());
        Scope { catalog, snapshot, search_path, overrides: HashMap::new(), view_depth: 0 }
    }

    /// Plans a query.
    pub(crate) fn plan(&self, query: &ast::Query, scope: Scope, parameters: &Parameters) -> Result<BoundPlan> {
        crate::parser::on_large_stack(|| {
            let mut query = query.clone();
            if scope.snapshot.is_none() {
                // What is not run locks nothing.
                crate::locking::clause::strip(&mut query);
            }
            syntax::rewrite(&mut query, parameters)?;
            let provider = self.provider(scope, parameters);
            let plan = provider.plan_query(query)?;
            let mut schema = result_schema(plan.schema())?;
            for (column, field) in schema.columns.iter_mut().zip(plan.schema().fields()) {
                // Counts and ranks, which PostgreSQL gives as bigint.
                if field.data_type() == &DataType::UInt64 {
                    column.sql_type = SqlType::BigInt;
                }
            }
            Ok(BoundPlan { plan, schema, used: provider.used() })
        })
    }

    fn provider(&self, scope: Scope, parameters: &Parameters) -> Provider<'_> {
        let types = match parameters {
            Parameters::Inferred(types) => Arc::clone(types),
            Parameters::Values(_) => ParameterTypes::default(),
        };
        Provider::new(&self.state, scope, self.display(), types)
    }

    /// Binds an expression over the columns of `schema`.
    pub(crate) fn expression(&self, mut expr: ast::Expr, schema: &DFSchema, scope: Scope) -> Result<Expr> {
        crate::parser::on_large_stack(|| {
            let parameters = Parameters::Values(Vec::new());
            syntax::rewrite(&mut expr, &parameters)?;
            let provider = self.provider(scope, &parameters);
            let planned = SqlToRel::new(&provider).sql_to_expr(expr, schema, &mut PlannerContext::new())?;
            let function = |name: &str| provider.get_function_meta(name);
            Ok(provider.semantics(&function).expr(planned, schema)?.data)
        })
    }

    /// The columns of a table as expressions see them.
    pub(crate) fn table_schema(table: &TableDefinition) -> Result<DFSchema> {
        Ok(DFSchema::try_from_qualified_schema(TableReference::bare(table.name.as_str()), &table.arrow_schema())?)
    }

    /// Binds an expression for assignment to a column: literals are read as its type, others are cast if an assignment may.
    pub(crate) fn assigned(&self, expr: Expr, schema: &DFSchema, column: &str, to: &SqlType) -> Result<Expr> {
        if let Some(text) = is_unknown_literal(&expr) {
            // Length limits count in an assignment, which they do not for a literal in a comparison.
            if matches!(to, SqlType::Varchar(_) | SqlType::Char(_)) {
                return Ok(cast_expr(expr, &SqlType::Text, to, false));
            }
            return parse_literal(text, to, &self.display());
        }
        let from = type_of(&expr, schema).unwrap_or(SqlType::Unknown);
        if let Expr::Literal(value, _) = &expr
            && value.is_null()
        {
            let array = arrow::array::new_null_array(&to.arrow_type(), 1);
            return types::literal(to, &array);
        }
        if !assignable(&from, to) {
            return Err(Error::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "column \"{column}\" is of type {} but expression is of type {}",
                    to.base_name(),
                    from.base_name()
                ),
            )
            .with_hint("You will need to rewrite or cast the expression."));
        }
        Ok(cast_expr(expr, &from, to, false))
    }

    pub(crate) fn bind_expression(
        &self,
        sql: &str,
        table: &TableDefinition,
        catalog: &Arc<Catalog>,
    ) -> Result<BoundExpression> {
        let schema = Self::table_schema(table)?;
        let expr =
            self.expression(crate::parser::parse_expression(sql)?, &schema, self.scope(Arc::clone(catalog), None))?;
        let sql_type = type_of(&expr, &schema).unwrap_or(SqlType::Unknown);
        Ok(BoundExpression {
            sql_type,
            volatile: expr.is_volatile(),
            columns: expr.column_refs().into_iter().map(|column| column.name.clone()).collect(),
        })
    }

    pub(crate) fn bind_default(
        &self,
        sql: &str,
        _table: &TableDefinition,
        column: &str,
        to: &SqlType,
        catalog: &Arc<Catalog>,
    ) -> Result<BoundExpression> {
        let schema = DFSchema::empty();
        let expr =
            self.expression(crate::parser::parse_expression(sql)?, &schema, self.scope(Arc::clone(catalog), None));
        let expr = expr.map_err(|error| {
            if error.sql_state == SqlState::UNDEFINED_COLUMN {
                return Error::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "cannot use column reference in DEFAULT expression",
                );
            }
            error
        })?;
        let sql_type = type_of(&expr, &schema).unwrap_or(SqlType::Unknown);
        let volatile = expr.is_volatile();
        self.assigned(expr, &schema, column, to).map_err(|mut error| {
            if error.sql_state == SqlState::DATATYPE_MISMATCH {
                error.message = format!(
                    "column \"{column}\" is of type {} but default expression is of type {}",
                    to.base_name(),
                    sql_type.base_name()
                );
            }
            error
        })?;
        Ok(BoundExpression { sql_type, volatile, columns: Vec::new() })
    }

    pub(crate) fn bind_query(&self, query: &ast::Query, catalog: &Arc<Catalog>) -> Result<BoundQuery> {
        let bound = self.plan(query, self.scope(Arc::clone(catalog), None), &Parameters::Values(Vec::new()))?;
        let mut depends_on = bound.used;
        depends_on.sort_unstable();
        depends_on.dedup();
        Ok(BoundQuery { schema: bound.schema, depends_on })
    }

    pub(crate) fn evaluate_to_text(&self, sql: &str, to: &SqlType, catalog: &Arc<Catalog>) -> Result<Option<String>> {
        let schema = DFSchema::empty();
        let expr =
            self.expression(crate::parser::parse_expression(sql)?, &schema, self.scope(Arc::clone(catalog), None))?;
        let expr = self.assigned(expr, &schema, "?column?", to)?;
        let from = type_of(&expr, &schema).unwrap_or_else(|| to.clone());
        let array = constant::evaluate(expr, &self.state)?;
        let settings = self.display();
        let array = cast_array(&array, &from, to, false, &settings)?;
        let encoder = ColumnEncoder::new(to, &array, Format::Text, &settings)?;
        if encoder.is_null(0) {
            return Ok(None);
        }
        let mut out = Vec::new();
        encoder.write(0, &mut out);
        String::from_utf8(out).map(Some).map_err(|_| Error::internal("a value's text is not UTF-8"))
    }
}

/// Names and types of a plan's columns.
pub(crate) fn result_schema(schema: &DFSchema) -> Result<ResultSchema> {
    let columns = schema.fields().iter().map(|field| {
        let sql_type = SqlType::from_field(field)
            .ok_or_else(|| Error::unsupported(format!("a column of type {}", field.data_type())))?;
        let sql_type = if sql_type == SqlType::Unknown { SqlType::Text } else { sql_type };
        Ok(ResultColumn { name: names::shown(field.name()).to_owned(), sql_type, table_oid: 0, column_id: 0 })
    });
    Ok(ResultSchema { columns: columns.collect::<Result<_>>()? })
}

/// Whether PostgreSQL has an assignment cast from one type to the other.
pub(crate) fn assignable(from: &SqlType, to: &SqlType) -> bool {
    let number = |t: &SqlType| {
        matches!(
            t,
            SqlType::SmallInt
                | SqlType::Integer
                | SqlType::BigInt
                | SqlType::Real
                | SqlType::DoublePrecision
                | SqlType::Numeric(_)
        )
    };
    let oid = |t: &SqlType| matches!(t, SqlType::Oid | SqlType::Reg(_));
    match (from, to) {
        (from, to) if from == to => true,
        (SqlType::Unknown, _) => true,
        (from, to) if to.is_string() && from.base_name() != "bytea" => true,
        (from, to) if number(from) && number(to) => true,
        (from, to) if (number(from) || oid(from)) && oid(to) => true,
        (from, SqlType::BigInt | SqlType::Integer) if oid(from) => true,
        (SqlType::Date, SqlType::Timestamp | SqlType::TimestampTz)
        | (SqlType::Timestamp, SqlType::Date | SqlType::TimestampTz | SqlType::Time)
        | (SqlType::TimestampTz, SqlType::Date | SqlType::Timestamp | SqlType::Time)
        | (SqlType::Time, SqlType::Interval)
        | (SqlType::Interval, SqlType::Time)
        | (SqlType::Json, SqlType::Jsonb)
        | (SqlType::Jsonb, SqlType::Json) => true,
        (SqlType::Array(from), SqlType::Array(to)) => assignable(from, to),
        _ => false,
    }
}
