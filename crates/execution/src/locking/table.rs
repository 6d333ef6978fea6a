//! `LOCK TABLE`.
//!
//! Readers take no lock, so that ACCESS EXCLUSIVE would not keep them out. It does when it was asked for by name: then a second lock is held, of the relation's
//! readers, and as long as any such lock is held or wanted, queries take theirs ([`wait_to_read`]). Readers that are under way are not waited for.

use std::sync::Arc;

use colonnade_storage::{LockMode, LockTarget, WriteError};
use colonnade_types::{Oid, Relation, SqlState};
use sqlparser::ast;

use crate::binder::Binder;
use crate::dml::WriteContext;
use crate::error::{Error, Result};
use crate::names::{ObjectPath, find_relation, undefined_relation};
use crate::outcome::CommandTag;

fn mode_of(mode: Option<&ast::LockTableMode>) -> LockMode {
    match mode {
        Some(ast::LockTableMode::AccessShare) => LockMode::AccessShare,
        Some(ast::LockTableMode::RowShare) => LockMode::RowShare,
        Some(ast::LockTableMode::RowExclusive) => LockMode::RowExclusive,
        Some(ast::LockTableMode::ShareUpdateExclusive) => LockMode::ShareUpdateExclusive,
        Some(ast::LockTableMode::Share) => LockMode::Share,
        Some(ast::LockTableMode::ShareRowExclusive) => LockMode::ShareRowExclusive,
        Some(ast::LockTableMode::Exclusive) => LockMode::Exclusive,
        Some(ast::LockTableMode::AccessExclusive) | None => LockMode::AccessExclusive,
    }
}

/// Locks tables, in the order in which they are named.
pub(crate) async fn lock(context: &WriteContext, binder: &Binder, lock: &ast::Lock) -> Result<CommandTag> {
    let mode = mode_of(lock.lock_mode.as_ref());
    let search_path = Arc::clone(binder.info.statement().settings.search_path());
    for target in &lock.tables {
        let path = ObjectPath::from_ast(&target.name)?;
        loop {
            let table = find(context, &search_path, &path)?;
            take(context, LockTarget::Relation(table), mode, lock.nowait, &path.name).await?;
            if mode == LockMode::AccessExclusive {
                take(context, LockTarget::Readers(table), mode, lock.nowait, &path.name).await?;
            }
            // While we waited, the name may have passed to another.
            if find(context, &search_path, &path)? == table {
                break;
            }
        }
    }
    Ok(CommandTag::new("LOCK TABLE"))
}

fn find(context: &WriteContext, search_path: &[String], path: &ObjectPath) -> Result<Oid> {
    let catalog = context.with(|transaction| transaction.catalog())?;
    match find_relation(&catalog, search_path, path) {
        Some(Relation::Table(table)) => Ok(table.oid),
        Some(Relation::View(_)) => Err(Error::unsupported("LOCK TABLE of a view")),
        Some(relation) => {
            Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot lock relation \"{}\"", relation.name()))
                .with_detail("This operation is not supported for sequences."))
        }
        None => Err(undefined_relation(path)),
    }
}

async fn take(context: &WriteContext, target: LockTarget, mode: LockMode, nowait: bool, name: &str) -> Result<()> {
    if !nowait {
        return context.lock_target(target, mode).await;
    }
    match context.with(|transaction| transaction.try_lock(target, mode))? {
        Ok(()) => Ok(()),
        Err(WriteError::Blocked(_)) => {
            Err(Error::new(SqlState::LOCK_NOT_AVAILABLE, format!("could not obtain lock on relation \"{name}\"")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits until nobody keeps readers out of `relations`, and keeps them open until the transaction ends; true if it had to look, so that what was
/// read before may be out of date.
pub(crate) async fn wait_to_read(context: &WriteContext, relations: &[Oid]) -> Result<bool> {
    if !context.database.are_readers_kept_out() {
        return Ok(false);
    }
    for relation in relations {
        context.lock_target(LockTarget::Readers(*relation), LockMode::AccessShare).await?;
    }
    Ok(true)
}
