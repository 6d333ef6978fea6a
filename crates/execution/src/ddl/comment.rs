//! COMMENT ON.

use colonnade_storage::CatalogEdit;
use colonnade_types::{Oid, Relation, SqlState, TableDefinition};
use sqlparser::ast::{CommentObject, ObjectName};

use super::naming;
use super::skipping;
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::names::{ObjectPath, effective_path, find_relation, fold, undefined_relation};

/// COMMENT ON kind name IS text; NULL and the empty text remove the comment.
pub(super) async fn comment(
    context: &mut DdlContext<'_>,
    kind: CommentObject,
    name: &ObjectName,
    text: Option<&str>,
    if_exists: bool,
) -> Result<()> {
    match target(context, kind, name) {
        Ok((object, sub)) => put(context, object, sub, text),
        Err(error) if if_exists => {
            skipping(context, SqlState::SUCCESSFUL_COMPLETION, format!("{}, skipping", error.message));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// COMMENT ON CONSTRAINT name ON table IS text.
pub(super) fn on_constraint(
    context: &mut DdlContext<'_>,
    constraint: &str,
    table: &ObjectPath,
    text: Option<&str>,
) -> Result<()> {
    let definition = find_table(context, table)?;
    let check = definition.checks.iter().find(|check| check.name == constraint).map(|check| check.oid);
    let key = definition.keys.iter().find(|key| key.name == constraint).map(|key| key.oid);
    let oid = check.or(key).ok_or_else(|| {
        let message = format!("constraint \"{constraint}\" for table \"{}\" does not exist", table.name);
        Error::new(SqlState::UNDEFINED_OBJECT, message)
    })?;
    put(context, oid, 0, text)
}

fn put(context: &mut DdlContext<'_>, object: Oid, sub: u32, text: Option<&str>) -> Result<()> {
    let text = text.filter(|text| !text.is_empty()).map(str::to_owned);
    context.transaction.edit_catalog(CatalogEdit::PutComment { object, sub, text })?;
    Ok(())
}

fn find(context: &DdlContext<'_>, path: &ObjectPath) -> Result<Relation> {
    find_relation(&context.transaction.catalog(), context.search_path, path).ok_or_else(|| undefined_relation(path))
}

fn find_table(context: &DdlContext<'_>, path: &ObjectPath) -> Result<std::sync::Arc<TableDefinition>> {
    crate::names::find_table(&context.transaction.catalog(), context.search_path, path)
}

fn target(context: &DdlContext<'_>, kind: CommentObject, name: &ObjectName) -> Result<(Oid, u32)> {
    let of_kind = |wanted: &str| -> Result<(Oid, u32)> {
        let path = ObjectPath::from_ast(name)?;
        let relation = find(context, &path)?;
        if relation.kind() != wanted {
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a {wanted}", path.name)));
        }
        Ok((relation.oid(), 0))
    };
    let last = || name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    match kind {
        CommentObject::Table => of_kind("table"),
        CommentObject::View => of_kind("view"),
        CommentObject::Sequence => of_kind("sequence"),
        CommentObject::Column => {
            let mut parts = name.0.clone();
            parts.pop();
            if parts.is_empty() {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "column name must be qualified"));
            }
            let relation = find(context, &ObjectPath::from_ast(&ObjectName(parts))?)?;
            let column = last();
            let number = match &relation {
                Relation::Table(table) => table.column(&column).map(|column| column.id.0),
                Relation::View(view) => {
                    (1u32..).zip(&view.columns).find(|(_, other)| other.name == column).map(|(number, _)| number)
                }
                Relation::Sequence(_) => None,
            };
            let number = number.ok_or_else(|| super::column::missing(&column, relation.name()))?;
            Ok((relation.oid(), number))
        }
        CommentObject::Schema => {
            let name = last();
            let catalog = context.transaction.catalog();
            catalog
                .schema_by_name(&name)
                .map(|schema| (schema.oid, 0))
                .ok_or_else(|| Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist")))
        }
        CommentObject::Index => {
            let path = ObjectPath::from_ast(name)?;
            let catalog = context.transaction.catalog();
            let schemas: Vec<String> = match &path.schema {
                Some(schema) => vec![schema.clone()],
                None => effective_path(context.search_path).map(str::to_owned).collect(),
            };
            schemas
                .iter()
                .filter_map(|schema| catalog.schema_by_name(schema))
                .find_map(|schema| naming::index_owner(&catalog, schema.oid, &path.name))
                .and_then(|table| table.keys.iter().find(|key| key.name == path.name))
                .map(|key| (key.index, 0))
                .ok_or_else(|| undefined_relation(&path))
        }
        CommentObject::Database => {
            let name = last();
            crate::pg_catalog::database_oid(&name).map(|oid| (oid, 0)).ok_or_else(|| {
                Error::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))
            })
        }
        CommentObject::Type => {
            let name = last();
            crate::functions::names::find_type(&name)
                .map(|oid| (oid, 0))
                .ok_or_else(|| Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist")))
        }
        other => Err(Error::unsupported(format!("COMMENT ON {other}"))),
    }
}
