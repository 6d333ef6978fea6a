//! Statements that change the catalog.
//!
//! Each locks the names and relations it touches, reads the catalog as the transaction sees it *after* the locks are held, checks everything,
//! and only then edits. All of it is transactional: rolled back like rows, visible to others at commit.
//!
//! | module | statements |
//! |---|---|
//! | `schema` | CREATE, ALTER and DROP SCHEMA |
//! | `table` | CREATE TABLE, and the table of CREATE TABLE AS |
//! | `column` | column definitions, wherever they stand |
//! | `constraint` | CHECK, PRIMARY KEY, UNIQUE |
//! | `alter` | ALTER TABLE |
//! | `view` | CREATE VIEW |
//! | `sequence` | CREATE and ALTER SEQUENCE |
//! | `drop` | DROP of relations, and what goes with them |
//! | `comment` | COMMENT ON |
//! | `extended` | statements that sqlparser does not know |

use sqlparser::ast::{ObjectType, Statement};

use crate::ddl_context::DdlContext;
use crate::error::{Error, Notice, Result};
use crate::outcome::CommandTag;

mod alter;
mod column;
mod comment;
mod constraint;
mod drop;
pub(crate) mod expression;
pub(crate) mod extended;
mod naming;
mod rows;
mod schema;
mod sequence;
mod table;
mod view;

pub(crate) use table::{TableFromQuery, create_from_query};

/// Runs a statement that changes the catalog.
///
/// CREATE TABLE AS and SELECT INTO come here only after their table was made by [`create_from_query`].
///
/// # Errors
/// What PostgreSQL says; 0A000 for what is not there yet.
pub(crate) async fn execute(context: &mut DdlContext<'_>, statement: &Statement) -> Result<CommandTag> {
    let tag = match statement {
        Statement::CreateSchema { schema_name, if_not_exists, with, options, default_collate_spec, .. } => {
            if with.is_some() || options.is_some() || default_collate_spec.is_some() {
                return Err(Error::unsupported("CREATE SCHEMA with options"));
            }
            schema::create(context, schema_name, *if_not_exists).await?;
            "CREATE SCHEMA"
        }
        Statement::AlterSchema(alter) => {
            schema::alter(context, alter).await?;
            "ALTER SCHEMA"
        }
        Statement::CreateTable(create) => {
            table::create(context, create).await?;
            "CREATE TABLE"
        }
        Statement::AlterTable(alter) => {
            alter::alter_table(context, alter).await?;
            "ALTER TABLE"
        }
        Statement::CreateView(create) => {
            view::create(context, create).await?;
            "CREATE VIEW"
        }
        Statement::CreateSequence { temporary, if_not_exists, name, data_type, sequence_options, owned_by } => {
            if *temporary {
                return Err(Error::unsupported("CREATE TEMPORARY SEQUENCE"));
            }
            let parts = sequence::Parts {
                data_type: data_type.as_ref(),
                options: sequence_options,
                owned_by: owned_by.as_ref(),
            };
            sequence::create(context, name, *if_not_exists, &parts).await?;
            "CREATE SEQUENCE"
        }
        Statement::Drop { object_type, if_exists, names, cascade, .. } => match object_type {
            ObjectType::Table => {
                drop::relations(context, drop::Kind::Table, names, *if_exists, *cascade).await?;
                "DROP TABLE"
            }
            ObjectType::View => {
                drop::relations(context, drop::Kind::View, names, *if_exists, *cascade).await?;
                "DROP VIEW"
            }
            ObjectType::Sequence => {
                drop::relations(context, drop::Kind::Sequence, names, *if_exists, *cascade).await?;
                "DROP SEQUENCE"
            }
            ObjectType::Index => {
                drop::index(context, names, *if_exists).await?;
                "DROP INDEX"
            }
            ObjectType::Schema => {
                schema::drop(context, names, *if_exists, *cascade).await?;
                "DROP SCHEMA"
            }
            other => return Err(Error::unsupported(format!("DROP {other}"))),
        },
        Statement::Comment { object_type, object_name, comment, if_exists } => {
            comment::comment(context, *object_type, object_name, comment.as_deref(), *if_exists).await?;
            "COMMENT"
        }
        Statement::CreateIndex(_) => {
            return Err(Error::unsupported("CREATE INDEX").with_hint(
                "Scans skip by zone maps without an index. For uniqueness use ALTER TABLE ... ADD UNIQUE.",
            ));
        }
        Statement::Grant(_) | Statement::Revoke(_) => return Err(Error::unsupported("granting privileges")),
        Statement::CreateRole(_) | Statement::AlterRole { .. } => return Err(Error::unsupported("managing roles")),
        Statement::CreateFunction(_) => return Err(Error::unsupported("CREATE FUNCTION")),
        Statement::CreateTrigger(_) => return Err(Error::unsupported("CREATE TRIGGER")),
        Statement::CreateExtension(_) => return Err(Error::unsupported("CREATE EXTENSION")),
        Statement::CreateType { .. } => return Err(Error::unsupported("CREATE TYPE")),
        Statement::CreateDomain(_) => return Err(Error::unsupported("CREATE DOMAIN")),
        Statement::CreateDatabase { .. } => return Err(Error::unsupported("CREATE DATABASE")),
        Statement::AlterIndex { .. } => return Err(Error::unsupported("ALTER INDEX")),
        other => {
            let text = other.to_string();
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            return Err(Error::unsupported(words.join(" ")));
        }
    };
    Ok(CommandTag::new(tag))
}

/// Tells the client that an object that exists, or does not, was left alone.
fn skipping(context: &mut DdlContext<'_>, state: colonnade_types::SqlState, message: String) {
    let mut notice = Notice::new(message);
    notice.sql_state = state;
    context.notices.push(notice);
}

impl From<colonnade_storage::CatalogError> for Error {
    fn from(error: colonnade_storage::CatalogError) -> Error {
        Error::internal(format!("the catalog refused a change: {error}"))
    }
}
