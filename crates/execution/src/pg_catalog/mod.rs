//! PostgreSQL's system catalog, computed from the durable catalog when it is read.
//!
//! One file a view, or a family of views that show the same things; `VIEWS` is the visible list. Each view declares its columns with
//! PostgreSQL's types, and one function that computes its rows ([`view::SystemView`]).
//!
//! **Invariants.** An oid means the same thing in every view, and stays the same for an object's life. What a view shows is the catalog
//! at the statement's snapshot plus the transaction's own changes.

use std::sync::Arc;

use colonnade_types::Oid;
use datafusion::catalog::TableProvider;

pub mod definitions;
pub mod types;
pub mod view;

mod empty;
mod pg_am;
mod pg_attrdef;
mod pg_attribute;
mod pg_class;
mod pg_collation;
mod pg_constraint;
pub(crate) mod pg_database;
mod pg_depend;
mod pg_description;
mod pg_index;
mod pg_namespace;
pub mod pg_proc;
mod pg_roles;
mod pg_sequence;
mod pg_settings;
mod pg_stat;
mod pg_tables;
mod pg_type;

use view::{SystemTable, SystemView};

/// Views that have rows, in the order of their files.
const VIEWS: &[SystemView] = &[
    pg_am::PG_AM,
    pg_attrdef::PG_ATTRDEF,
    pg_attribute::PG_ATTRIBUTE,
    pg_class::PG_CLASS,
    pg_collation::PG_COLLATION,
    pg_constraint::PG_CONSTRAINT,
    pg_database::PG_DATABASE,
    pg_database::PG_TABLESPACE,
    pg_depend::PG_DEPEND,
    pg_description::PG_DESCRIPTION,
    pg_description::PG_SHDESCRIPTION,
    pg_index::PG_INDEX,
    pg_index::PG_INDEXES,
    pg_index::PG_OPCLASS,
    pg_namespace::PG_NAMESPACE,
    pg_proc::PG_PROC,
    pg_proc::PG_LANGUAGE,
    pg_roles::PG_AUTHID,
    pg_roles::PG_ROLES,
    pg_roles::PG_USER,
    pg_sequence::PG_SEQUENCE,
    pg_sequence::PG_SEQUENCES,
    pg_settings::PG_SETTINGS,
    pg_stat::PG_STAT_ACTIVITY,
    pg_stat::PG_STAT_DATABASE,
    pg_stat::PG_STAT_USER_TABLES,
    pg_tables::PG_TABLES,
    pg_tables::PG_VIEWS,
    pg_type::PG_TYPE,
];

/// Every system view of every schema.
pub fn views() -> impl Iterator<Item = &'static SystemView> {
    VIEWS.iter().chain(empty::VIEWS).chain(crate::information_schema::VIEWS).chain(crate::system_views::VIEWS)
}

/// Finds a system view and makes a table of it.
#[must_use]
pub fn table(schema: Oid, name: &str) -> Option<Arc<dyn TableProvider>> {
    let view = views().find(|view| view.schema == schema && view.name == name)?;
    Some(Arc::new(SystemTable::new(view)))
}

/// Finds a system view by the name of its schema, and makes a table of it.
#[must_use]
pub fn table_by_name(schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
    let schema = match schema {
        "pg_catalog" => Oid::PG_CATALOG,
        "information_schema" => Oid::INFORMATION_SCHEMA,
        "colonnade" => Oid::COLONNADE,
        _ => return None,
    };
    table(schema, name)
}

/// The oid of a database.
#[must_use]
pub fn database_oid(name: &str) -> Option<Oid> {
    pg_database::DATABASES.iter().find(|(_, database)| *database == name).map(|(oid, _)| *oid)
}

/// The names of a schema's system views.
#[must_use]
pub fn table_names(schema: Oid) -> Vec<&'static str> {
    views().filter(|view| view.schema == schema).map(|view| view.name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_view_has_a_readable_declaration_and_an_oid_of_its_own() {
        let mut oids = HashSet::new();
        let mut names = HashSet::new();
        for view in views() {
            assert!(!view.column_types().is_empty(), "{}", view.name);
            assert!(oids.insert(view.oid), "oid of {}", view.name);
            assert!(names.insert((view.schema, view.name)), "name {}", view.name);
            assert!(view.oid < Oid::FIRST_USER, "{}", view.name);
        }
    }
}
