//! DROP of tables, views and sequences, and what has to go with them.
//!
//! A table takes its keys, defaults and owned sequences along without asking. Views that name a dropped relation, and defaults that draw
//! from a dropped sequence, are asked about: without CASCADE they stop the drop.

use std::collections::BTreeSet;
use std::sync::Arc;

use colonnade_storage::{Catalog, CatalogEdit, LockMode, LockTarget};
use colonnade_types::{ColumnId, Oid, Relation, SqlState};
use sqlparser::ast::ObjectName;

use super::{expression, naming, skipping};
use crate::ddl_context::DdlContext;
use crate::error::{Error, Notice, Result};
use crate::names::{ObjectPath, effective_path, find_relation};

/// What the statement says it drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    View,
    Sequence,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Table => "table",
            Kind::View => "view",
            Kind::Sequence => "sequence",
        }
    }
}

/// `"v" is not a table`, with PostgreSQL's hint.
pub(super) fn wrong_kind(name: &str, wanted: &str, found: &Relation) -> Error {
    let article = if wanted.starts_with(['a', 'i']) { "an" } else { "a" };
    let kind = found.kind();
    Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not {article} {wanted}"))
        .with_hint(format!("Use DROP {} to remove a {kind}.", kind.to_uppercase()))
}

/// What is to go.
#[derive(Debug, Default)]
pub(super) struct Doomed {
    /// Relations named by the statement, or owned by them.
    relations: BTreeSet<Oid>,
}

impl Doomed {
    /// Adds a relation and the sequences that it owns.
    pub(super) fn add(&mut self, catalog: &Catalog, relation: Oid) {
        self.relations.insert(relation);
        for other in catalog.relations() {
            if let Relation::Sequence(sequence) = other
                && sequence.owned_by.is_some_and(|(table, _)| table == relation)
            {
                self.relations.insert(sequence.oid);
            }
        }
    }
}

/// DROP TABLE | VIEW | SEQUENCE [IF EXISTS] a, b [CASCADE].
pub(super) async fn relations(
    context: &mut DdlContext<'_>,
    kind: Kind,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    let mut doomed = Doomed::default();
    let mut named = String::new();
    for name in names {
        let path = ObjectPath::from_ast(name)?;
        let Some(relation) = find_and_lock(context, &path).await? else {
            let catalog = context.transaction.catalog();
            if let Some(schema) = path.schema.as_ref().filter(|schema| catalog.schema_by_name(schema).is_none()) {
                if if_exists {
                    let message = format!("schema \"{schema}\" does not exist, skipping");
                    skipping(context, SqlState::SUCCESSFUL_COMPLETION, message);
                    continue;
                }
                let message = format!("schema \"{schema}\" does not exist");
                return Err(Error::new(SqlState::INVALID_SCHEMA_NAME, message));
            }
            let message = format!("{} \"{path}\" does not exist", kind.word());
            if if_exists {
                skipping(context, SqlState::SUCCESSFUL_COMPLETION, format!("{message}, skipping"));
                continue;
            }
            return Err(Error::new(SqlState::UNDEFINED_TABLE, message));
        };
        if relation.kind() != kind.word() {
            return Err(wrong_kind(&path.name, kind.word(), &relation));
        }
        let catalog = context.transaction.catalog();
        if let Relation::Sequence(sequence) = &relation
            && let Some((table, column)) = sequence.owned_by
            && let Some(Relation::Table(table)) = catalog.relation(table)
            && let Some(column) = table.column_by_id(column)
            && column.identity.is_some()
        {
            let what = format!("column {} of table {}", column.name, table.name);
            return Err(Error::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop sequence {} because {what} requires it", sequence.name),
            )
            .with_hint(format!("You can drop {what} instead.")));
        }
        doomed.add(&catalog, relation.oid());
        named = format!("{} {}", kind.word(), relation.name());
    }
    let subject = if names.len() == 1 { named } else { "desired object(s)".to_owned() };
    remove(context, doomed, cascade, &subject, None).await
}

/// Finds a relation, locks it, and makes sure that it is still the one.
pub(super) async fn find_and_lock(context: &mut DdlContext<'_>, path: &ObjectPath) -> Result<Option<Relation>> {
    loop {
        let Some(relation) = find_relation(&context.transaction.catalog(), context.search_path, path) else {
            return Ok(None);
        };
        context.lock(LockTarget::Relation(relation.oid()), LockMode::AccessExclusive).await?;
        match find_relation(&context.transaction.catalog(), context.search_path, path) {
            Some(now) if now.oid() == relation.oid() => return Ok(Some(now)),
            _ => {}
        }
    }
}

/// A dependent object: what it is, on what it depends, and the edit that takes it away.
struct Dependent {
    description: String,
    on: String,
    removal: Removal,
}

enum Removal {
    /// The relation is among the doomed.
    Relation,
    Default(Oid, ColumnId),
}

/// Removes relations; with `cascade` what depends on them too, without it a dependent is an error.
///
/// `schema` is the schema that goes as a whole: then the relations in it are themselves asked about.
pub(super) async fn remove(
    context: &mut DdlContext<'_>,
    mut doomed: Doomed,
    cascade: bool,
    subject: &str,
    schema: Option<Oid>,
) -> Result<()> {
    let catalog = context.transaction.catalog();
    let mut dependents: Vec<Dependent> = Vec::new();
    if schema.is_some() {
        for oid in &doomed.relations {
            if let Some(relation) = catalog.relation(*oid)
                && !matches!(relation, Relation::Sequence(sequence) if sequence.owned_by.is_some())
            {
                dependents.push(Dependent {
                    description: describe(context, relation),
                    on: subject.to_owned(),
                    removal: Removal::Relation,
                });
            }
        }
    }
    loop {
        let before = dependents.len();
        let going = doomed.relations.clone();
        for relation in catalog.relations().filter(|relation| !going.contains(&relation.oid())) {
            match relation {
                Relation::View(view) => {
                    if let Some(used) = view.depends_on.iter().find(|oid| going.contains(oid)) {
                        let on = catalog.relation(*used).map(|used| describe(context, used)).unwrap_or_default();
                        dependents.push(Dependent {
                            description: describe(context, relation),
                            on,
                            removal: Removal::Relation,
                        });
                        doomed.relations.insert(view.oid);
                    }
                }
                Relation::Table(table) => {
                    for column in &table.columns {
                        let sequences = expression::sequences_of(column.default.as_deref().unwrap_or(""));
                        let Some(used) = sequences.iter().find(|oid| going.contains(oid)) else { continue };
                        let known = dependents.iter().any(|dependent| {
                            matches!(dependent.removal, Removal::Default(t, c) if t == table.oid && c == column.id)
                        });
                        if known {
                            continue;
                        }
                        let on = catalog.relation(*used).map(|used| describe(context, used)).unwrap_or_default();
                        let description =
                            format!("default value for column {} of {}", column.name, describe(context, relation));
                        let removal = Removal::Default(table.oid, column.id);
                        dependents.push(Dependent { description, on, removal });
                    }
                }
                Relation::Sequence(_) => {}
            }
        }
        if dependents.len() == before {
            break;
        }
    }
    if !dependents.is_empty() && !cascade {
        let lines: Vec<String> = dependents
            .iter()
            .map(|dependent| format!("{} depends on {}", dependent.description, dependent.on))
            .collect();
        return Err(Error::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop {subject} because other objects depend on it"),
        )
        .with_detail(lines.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    match dependents.as_slice() {
        [] => {}
        [only] => context.notices.push(Notice::new(format!("drop cascades to {}", only.description))),
        several => {
            let mut notice = Notice::new(format!("drop cascades to {} other objects", several.len()));
            let lines: Vec<String> =
                several.iter().map(|dependent| format!("drop cascades to {}", dependent.description)).collect();
            notice.detail = Some(lines.join("\n"));
            context.notices.push(notice);
        }
    }
    for dependent in &dependents {
        if let Removal::Default(table, column) = dependent.removal {
            context.lock(LockTarget::Relation(table), LockMode::AccessExclusive).await?;
            if let Some(Relation::Table(table)) = context.transaction.catalog().relation(table) {
                let mut table = table.as_ref().clone();
                for found in table.columns.iter_mut().filter(|found| found.id == column) {
                    found.default = None;
                }
                context.transaction.edit_catalog(CatalogEdit::PutRelation(Relation::Table(Arc::new(table))))?;
            }
        }
    }
    // Views before what they name, so that at no step something names what is gone.
    let mut order: Vec<Oid> = doomed.relations.into_iter().collect();
    order.reverse();
    for oid in order {
        context.lock(LockTarget::Relation(oid), LockMode::AccessExclusive).await?;
        drop_one(context, oid)?;
    }
    Ok(())
}

/// Takes one relation and its comments away.
fn drop_one(context: &mut DdlContext<'_>, oid: Oid) -> Result<()> {
    context.transaction.edit_catalog(CatalogEdit::DropRelation(oid))?;
    Ok(())
}

/// `table t`, qualified if the search path does not lead there.
pub(super) fn describe(context: &DdlContext<'_>, relation: &Relation) -> String {
    let catalog = context.transaction.catalog();
    let schema = catalog.schema(relation.schema()).map(|schema| schema.name.clone()).unwrap_or_default();
    let visible = effective_path(context.search_path).any(|name| name == schema);
    if visible {
        format!("{} {}", relation.kind(), relation.name())
    } else {
        format!("{} {schema}.{}", relation.kind(), relation.name())
    }
}

/// DROP INDEX: the only indexes are those of keys, which go with their constraint.
pub(super) async fn index(context: &mut DdlContext<'_>, names: &[ObjectName], if_exists: bool) -> Result<()> {
    for name in names {
        let path = ObjectPath::from_ast(name)?;
        let catalog = context.transaction.catalog();
        let found = effective_path(context.search_path)
            .filter(|schema| path.schema.as_ref().is_none_or(|wanted| wanted == schema))
            .chain(path.schema.as_deref())
            .filter_map(|schema| catalog.schema_by_name(schema))
            .find_map(|schema| naming::index_owner(&catalog, schema.oid, &path.name));
        if let Some(table) = found {
            return Err(Error::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!(
                    "cannot drop index {} because constraint {} on table {} requires it",
                    path.name, path.name, table.name
                ),
            )
            .with_hint(format!("You can drop constraint {} on table {} instead.", path.name, table.name)));
        }
        if let Some(relation) = find_relation(&catalog, context.search_path, &path) {
            return Err(wrong_kind(&path.name, "index", &relation));
        }
        let message = format!("index \"{path}\" does not exist");
        if !if_exists {
            return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
        }
        skipping(context, SqlState::SUCCESSFUL_COMPLETION, format!("{message}, skipping"));
    }
    Ok(())
}
