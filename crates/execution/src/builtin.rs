//! Where the built-in catalogs and functions are plugged in.

use std::sync::Arc;

use datafusion::catalog::{TableFunction, TableProvider};
use datafusion::execution::FunctionRegistry;

use crate::error::Result;

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
