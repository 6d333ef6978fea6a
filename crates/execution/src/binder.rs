//! Binding SQL to the catalog: from parsed statements to DataFusion's logical plans.

use colonnade_storage::Catalog;
use colonnade_types::{SqlType, TableDefinition};
use sqlparser::ast;

use crate::ddl_context::{BoundExpression, BoundQuery};
use crate::error::{Error, Result};

/// Binds expressions and queries for one session.
#[derive(Clone)]
pub(crate) struct Binder;

impl Binder {
    pub(crate) fn bind_expression(
        &self,
        _sql: &str,
        _table: &TableDefinition,
        _catalog: &Catalog,
    ) -> Result<BoundExpression> {
        Err(Error::unsupported("binding"))
    }

    pub(crate) fn bind_default(
        &self,
        _sql: &str,
        _table: &TableDefinition,
        _column: &str,
        _to: &SqlType,
        _catalog: &Catalog,
    ) -> Result<BoundExpression> {
        Err(Error::unsupported("binding"))
    }

    pub(crate) fn bind_query(&self, _query: &ast::Query, _catalog: &Catalog) -> Result<BoundQuery> {
        Err(Error::unsupported("binding"))
    }

    pub(crate) fn evaluate_to_text(&self, _sql: &str, _to: &SqlType, _catalog: &Catalog) -> Result<Option<String>> {
        Err(Error::unsupported("binding"))
    }
}
