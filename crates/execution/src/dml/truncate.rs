//! TRUNCATE: a table gets a new, empty body of rows.

use std::sync::Arc;

use colonnade_storage::{CatalogEdit, LockMode, Transaction};
use colonnade_types::{Relation, SqlState};
use sqlparser::ast;

use crate::binder::Binder;
use crate::dml::WriteContext;
use crate::error::{Error, Result};
use crate::names::{ObjectPath, find_table};
use crate::outcome::CommandTag;

/// Empties the tables of a statement.
pub(crate) async fn truncate(context: &WriteContext, binder: &Binder, statement: &ast::Truncate) -> Result<CommandTag> {
    let search_path = Arc::clone(binder.info.statement().settings.search_path());
    for target in &statement.table_names {
        let path = ObjectPath::from_ast(&target.name)?;
        let found = find_table(context.with(|t| t.catalog())?.as_ref(), &search_path, &path)?;
        context.lock(found.oid, LockMode::AccessExclusive).await?;
        let catalog = context.with(|t: &mut Transaction| t.catalog())?;
        let table = find_table(&catalog, &search_path, &path)?;
        if table.oid != found.oid {
            return Err(Error::new(
                SqlState::OBJECT_IN_USE,
                format!("relation \"{}\" was replaced meanwhile", path.name),
            ));
        }
        let mut emptied = (*table).clone();
        emptied.storage = context.database.allocate_storage();
        context
            .with(|t| t.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::new(emptied)))))?
            .map_err(|error| Error::internal(error.to_string()))?;
        if matches!(statement.identity, Some(ast::TruncateIdentityOption::Restart)) {
            for relation in catalog.relations() {
                if let Relation::Sequence(sequence) = relation
                    && sequence.owned_by.is_some_and(|(owner, _)| owner == table.oid)
                {
                    context.database.sequence_set(sequence.oid, sequence.start, false)?;
                }
            }
        }
    }
    Ok(CommandTag::new("TRUNCATE TABLE"))
}
