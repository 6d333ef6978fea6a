//! Where the built-in catalogs, functions and DDL are plugged in.

use std::sync::Arc;

use colonnade_types::TableDefinition;
use datafusion::catalog::{TableFunction, TableProvider};
use datafusion::execution::FunctionRegistry;
use sqlparser::ast;

use crate::ddl::TableFromQuery;
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::outcome::ResultSchema;

/// A view of `pg_catalog`, `information_schema` or `colonnade`.
pub(crate) fn system_table(schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
    crate::pg_catalog::table_by_name(schema, name)
}

/// Gives PostgreSQL's functions to DataFusion.
pub(crate) fn register_functions(registry: &mut dyn FunctionRegistry) -> Result<()> {
    Ok(crate::functions::register(registry)?)
}

/// Functions that stand in FROM.
pub(crate) fn table_functions() -> Vec<Arc<TableFunction>> {
    crate::functions::table_functions()
}

/// Makes the table of CREATE TABLE AS or SELECT INTO; `None` if IF NOT EXISTS found it there.
pub(crate) async fn create_table_as(
    context: &mut DdlContext<'_>,
    statement: &ast::Statement,
    schema: &ResultSchema,
) -> Result<Option<Arc<TableDefinition>>> {
    let (name, columns, options, if_not_exists) = match statement {
        ast::Statement::CreateTable(create) => {
            if create.temporary {
                return Err(Error::unsupported("a temporary table"));
            }
            let columns: Vec<ast::Ident> = create.columns.iter().map(|column| column.name.clone()).collect();
            (&create.name, columns, Some(&create.table_options), create.if_not_exists)
        }
        ast::Statement::Query(query) => match query.body.as_ref() {
            ast::SetExpr::Select(select) => match &select.into {
                Some(into) if into.temporary => return Err(Error::unsupported("a temporary table")),
                Some(into) => (&into.name, Vec::new(), None, false),
                None => return Err(Error::internal("the query has no INTO")),
            },
            _ => return Err(Error::internal("the query has no INTO")),
        },
        _ => return Err(Error::internal("the statement makes no table")),
    };
    let from = TableFromQuery { name, columns: &columns, options, if_not_exists, schema };
    crate::ddl::create_from_query(context, &from).await
}
