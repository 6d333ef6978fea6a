//! Where the built-in catalogs and functions are plugged in.

use std::sync::Arc;

use datafusion::catalog::{TableFunction, TableProvider};
use datafusion::execution::FunctionRegistry;

use colonnade_types::TableDefinition;
use sqlparser::ast;

use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::outcome::{CommandTag, ResultSchema};

/// A view of `pg_catalog`, `information_schema` or `colonnade`.
pub(crate) fn system_table(_schema: &str, _name: &str) -> Option<Arc<dyn TableProvider>> {
    None
}

/// Gives PostgreSQL's functions to DataFusion.
pub(crate) fn register_functions(_registry: &mut dyn FunctionRegistry) -> Result<()> {
    Ok(())
}

/// Functions that stand in FROM.
pub(crate) fn table_functions() -> Vec<Arc<TableFunction>> {
    Vec::new()
}

/// Runs a statement that changes the catalog.
pub(crate) async fn ddl(_context: &mut DdlContext<'_>, _statement: &ast::Statement) -> Result<CommandTag> {
    Err(Error::unsupported("this statement"))
}

/// Makes the table of CREATE TABLE AS or SELECT INTO; `None` if IF NOT EXISTS found it there.
pub(crate) async fn create_table_as(
    _context: &mut DdlContext<'_>,
    _statement: &ast::Statement,
    _columns: &ResultSchema,
) -> Result<Option<Arc<TableDefinition>>> {
    Err(Error::unsupported("CREATE TABLE AS"))
}
