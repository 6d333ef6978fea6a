//! CREATE, ALTER and DROP SCHEMA.

use colonnade_storage::{CatalogEdit, LockMode, LockTarget};
use colonnade_types::{Oid, Relation, SchemaDefinition, SqlState};
use sqlparser::ast::{AlterSchema, AlterSchemaOperation, ObjectName, SchemaName};

use super::drop::{self, Doomed};
use super::{naming, skipping};
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::functions::names::role_oid;
use crate::names::{ObjectPath, fold};

fn missing(name: &str) -> Error {
    Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))
}

fn single(name: &ObjectName) -> Result<String> {
    let path = ObjectPath::from_ast(name)?;
    Ok(naming::truncate(&path.name).to_owned())
}

fn refuse_system(oid: Oid, name: &str) -> Result<()> {
    if oid < Oid::FIRST_USER && oid != Oid::PUBLIC {
        let message = format!("permission denied: \"{name}\" is a system schema");
        return Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, message));
    }
    Ok(())
}

/// CREATE SCHEMA [IF NOT EXISTS] name [AUTHORIZATION role].
pub(super) async fn create(context: &mut DdlContext<'_>, name: &SchemaName, if_not_exists: bool) -> Result<()> {
    let (name, owner) = match name {
        SchemaName::Simple(name) => (single(name)?, context.user.to_owned()),
        SchemaName::UnnamedAuthorization(owner) => (fold(owner), fold(owner)),
        SchemaName::NamedAuthorization(name, owner) => (single(name)?, fold(owner)),
    };
    if role_oid(&owner).is_none() && owner != context.user {
        return Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("role \"{owner}\" does not exist")));
    }
    if name.starts_with("pg_") {
        return Err(Error::new(SqlState::RESERVED_NAME, format!("unacceptable schema name \"{name}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    context.lock(LockTarget::Schema(name.clone()), LockMode::AccessExclusive).await?;
    if context.transaction.catalog().schema_by_name(&name).is_some() {
        let message = format!("schema \"{name}\" already exists");
        if if_not_exists {
            skipping(context, SqlState::DUPLICATE_SCHEMA, format!("{message}, skipping"));
            return Ok(());
        }
        return Err(Error::new(SqlState::DUPLICATE_SCHEMA, message));
    }
    let oid = context.database.allocate_oid();
    context.transaction.edit_catalog(CatalogEdit::PutSchema(SchemaDefinition { oid, name, owner }))?;
    Ok(())
}

/// ALTER SCHEMA name RENAME TO new | OWNER TO role.
pub(super) async fn alter(context: &mut DdlContext<'_>, alter: &AlterSchema) -> Result<()> {
    let name = single(&alter.name)?;
    context.lock(LockTarget::Schema(name.clone()), LockMode::AccessExclusive).await?;
    let Some(mut schema) = context.transaction.catalog().schema_by_name(&name).cloned() else {
        if alter.if_exists {
            skipping(context, SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist, skipping"));
            return Ok(());
        }
        return Err(missing(&name));
    };
    refuse_system(schema.oid, &name)?;
    for operation in &alter.operations {
        match operation {
            AlterSchemaOperation::Rename { name: new } => {
                let new = single(new)?;
                context.lock(LockTarget::Schema(new.clone()), LockMode::AccessExclusive).await?;
                if context.transaction.catalog().schema_by_name(&new).is_some() {
                    let message = format!("schema \"{new}\" already exists");
                    return Err(Error::new(SqlState::DUPLICATE_SCHEMA, message));
                }
                let used = context.transaction.catalog().relations().any(|relation| match relation {
                    Relation::View(view) => view.query.contains(&schema.name),
                    _ => false,
                });
                if used {
                    return Err(Error::unsupported("renaming a schema that views name"));
                }
                schema.name = new;
            }
            AlterSchemaOperation::OwnerTo { owner } => schema.owner = super::alter::owner(context, owner)?,
            _ => return Err(Error::unsupported("this form of ALTER SCHEMA")),
        }
    }
    context.transaction.edit_catalog(CatalogEdit::PutSchema(schema))?;
    Ok(())
}

/// DROP SCHEMA [IF EXISTS] a, b [CASCADE].
pub(super) async fn drop(
    context: &mut DdlContext<'_>,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    for name in names {
        let name = single(name)?;
        context.lock(LockTarget::Schema(name.clone()), LockMode::AccessExclusive).await?;
        let catalog = context.transaction.catalog();
        let Some(schema) = catalog.schema_by_name(&name) else {
            if if_exists {
                let message = format!("schema \"{name}\" does not exist, skipping");
                skipping(context, SqlState::SUCCESSFUL_COMPLETION, message);
                continue;
            }
            return Err(missing(&name));
        };
        refuse_system(schema.oid, &name)?;
        let oid = schema.oid;
        let inside: Vec<Oid> =
            catalog.relations().filter(|relation| relation.schema() == oid).map(Relation::oid).collect();
        let mut doomed = Doomed::default();
        for relation in inside {
            doomed.add(&catalog, relation);
        }
        drop::remove(context, doomed, cascade, &format!("schema {name}"), Some(oid)).await?;
        context.transaction.edit_catalog(CatalogEdit::DropSchema(oid))?;
    }
    Ok(())
}
