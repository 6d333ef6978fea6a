//! Names to object identifiers and back: the input and output functions of `regclass`, `regtype` and their like.

use colonnade_types::sql_type::RegKind;
use colonnade_types::{Oid, Relation, SqlState, SqlType};

use crate::error::Error;
pub use crate::names::quote_identifier;
use crate::names::{self, ObjectPath};
use crate::pg_catalog::{self, types};
use crate::session_info::StatementInfo;

/// The role that owns everything until roles arrive, and its oid.
pub const ROLES: [(Oid, &str); 2] = [(Oid(10), "colonnade"), (Oid(16), "postgres")];

/// The oid of a role.
#[must_use]
pub fn role_oid(name: &str) -> Option<Oid> {
    ROLES.iter().find(|(_, role)| *role == name).map(|(oid, _)| *oid)
}

/// The oid of an owner as catalogs show it; roles that do not exist are shown as the first.
#[must_use]
pub fn owner_oid(name: &str) -> Oid {
    role_oid(name).unwrap_or(ROLES[0].0)
}

/// A role's name.
#[must_use]
pub fn role_name(oid: Oid) -> Option<&'static str> {
    ROLES.iter().find(|(role, _)| *role == oid).map(|(_, name)| *name)
}

/// Something with a name of its own in `pg_class`.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedRelation {
    /// Its identifier.
    pub oid: Oid,
    /// Its schema.
    pub schema: Oid,
    /// Its name.
    pub name: String,
}

/// Finds a relation, index or system view by schema and name.
#[must_use]
pub fn relation_in(statement: &StatementInfo, schema: Oid, name: &str) -> Option<NamedRelation> {
    let found = |oid| Some(NamedRelation { oid, schema, name: name.to_owned() });
    if let Some(relation) = statement.catalog.relation_by_name(schema, name) {
        return found(relation.oid());
    }
    if let Some(view) = pg_catalog::views().find(|view| view.schema == schema && view.name == name) {
        return found(view.oid);
    }
    for relation in statement.catalog.relations() {
        if let Relation::Table(table) = relation
            && table.schema == schema
            && let Some(key) = table.keys.iter().find(|key| key.name == name)
        {
            return found(key.index);
        }
    }
    None
}

/// Finds a relation, index or system view by its identifier.
#[must_use]
pub fn relation_of(statement: &StatementInfo, oid: Oid) -> Option<NamedRelation> {
    if let Some(relation) = statement.catalog.relation(oid) {
        return Some(NamedRelation { oid, schema: relation.schema(), name: relation.name().to_owned() });
    }
    if let Some(view) = pg_catalog::views().find(|view| view.oid == oid) {
        return Some(NamedRelation { oid, schema: view.schema, name: view.name.to_owned() });
    }
    for relation in statement.catalog.relations() {
        if let Relation::Table(table) = relation
            && let Some(key) = table.keys.iter().find(|key| key.index == oid)
        {
            return Some(NamedRelation { oid, schema: table.schema, name: key.name.clone() });
        }
    }
    None
}

/// The schemas in which unqualified names are looked up, in order; `pg_catalog` comes first unless the path names it.
#[must_use]
pub fn effective_path(statement: &StatementInfo) -> Vec<Oid> {
    names::effective_path(&statement.search_path)
        .filter_map(|name| statement.catalog.schema_by_name(name))
        .map(|schema| schema.oid)
        .collect()
}

/// The first existing schema of the search path: where new objects go.
#[must_use]
pub fn current_schema(statement: &StatementInfo) -> Option<String> {
    statement.search_path.iter().find(|name| statement.catalog.schema_by_name(name).is_some()).cloned()
}

/// Whether an unqualified name finds this relation.
#[must_use]
pub fn is_visible(statement: &StatementInfo, relation: &NamedRelation) -> bool {
    for schema in effective_path(statement) {
        if schema == relation.schema {
            return true;
        }
        if relation_in(statement, schema, &relation.name).is_some() {
            return false;
        }
    }
    false
}

/// The name of a schema.
#[must_use]
pub fn schema_name(statement: &StatementInfo, oid: Oid) -> Option<String> {
    statement.catalog.schema(oid).map(|schema| schema.name.clone())
}

/// A relation's name as `regclass` prints it: qualified only if need be.
#[must_use]
pub fn relation_text(statement: &StatementInfo, relation: &NamedRelation) -> String {
    if is_visible(statement, relation) {
        return quote_identifier(&relation.name);
    }
    qualified(statement, relation)
}

/// A relation's name, always with its schema.
#[must_use]
pub fn qualified(statement: &StatementInfo, relation: &NamedRelation) -> String {
    let schema = schema_name(statement, relation.schema).unwrap_or_default();
    format!("{}.{}", quote_identifier(&schema), quote_identifier(&relation.name))
}

/// Looks a relation up by its text; `None` if there is none.
///
/// # Errors
/// 42602 for text that is no name.
pub fn find_relation(statement: &StatementInfo, text: &str) -> Result<Option<NamedRelation>, Error> {
    let path = ObjectPath::parse(text)?;
    Ok(match &path.schema {
        None => effective_path(statement).into_iter().find_map(|schema| relation_in(statement, schema, &path.name)),
        Some(schema) => {
            statement.catalog.schema_by_name(schema).and_then(|schema| relation_in(statement, schema.oid, &path.name))
        }
    })
}

/// The input function of a `reg*` type: a number, `-`, or the name of something that exists.
///
/// # Errors
/// The error that PostgreSQL gives for a name without an object.
pub fn to_oid(kind: RegKind, statement: &StatementInfo, text: &str) -> Result<Oid, Error> {
    if text == "-" {
        return Ok(Oid(0));
    }
    if let Ok(number) = text.trim().parse::<u32>() {
        return Ok(Oid(number));
    }
    let missing = |state: SqlState, what: &str| Error::new(state, format!("{what} \"{text}\" does not exist"));
    match kind {
        RegKind::Class => match find_relation(statement, text)? {
            Some(relation) => Ok(relation.oid),
            None => Err(missing(SqlState::UNDEFINED_TABLE, "relation")),
        },
        RegKind::Type => find_type(text).ok_or_else(|| missing(SqlState::UNDEFINED_OBJECT, "type")),
        RegKind::Proc => find_function(text)?.ok_or_else(|| missing(SqlState::UNDEFINED_FUNCTION, "function")),
        RegKind::Namespace => {
            let name = ObjectPath::parse(text)?.name;
            statement
                .catalog
                .schema_by_name(&name)
                .map(|schema| schema.oid)
                .ok_or_else(|| missing(SqlState::INVALID_SCHEMA_NAME, "schema"))
        }
        RegKind::Role => {
            let name = ObjectPath::parse(text)?.name;
            role_oid(&name).ok_or_else(|| missing(SqlState::UNDEFINED_OBJECT, "role"))
        }
    }
}

/// Finds a type by any of PostgreSQL's names for it, `pg_catalog.` allowed.
#[must_use]
pub fn find_type(text: &str) -> Option<Oid> {
    let text = text.trim();
    let text = text.strip_prefix("pg_catalog.").unwrap_or(text);
    let bare = text.trim_matches('"');
    if let Some(row) = types::by_name(bare) {
        // `char` without quotes is bpchar; with them it is the internal one.
        if bare != "char" || text.starts_with('"') {
            return Some(row.oid);
        }
    }
    SqlType::parse(text).map(|sql_type| sql_type.oid())
}

/// Finds a function by name; the argument list is not looked at, as names are not overloaded in `pg_proc` by much.
fn find_function(text: &str) -> Result<Option<Oid>, Error> {
    let name = text.split('(').next().unwrap_or(text);
    Ok(pg_catalog::pg_proc::oid_of(&ObjectPath::parse(name)?.name))
}

/// The output function of a `reg*` type: the name, or the number when nothing has it.
#[must_use]
pub fn to_text(kind: RegKind, statement: &StatementInfo, oid: Oid) -> String {
    if oid.0 == 0 {
        return "-".to_owned();
    }
    let name = match kind {
        RegKind::Class => relation_of(statement, oid).map(|relation| relation_text(statement, &relation)),
        RegKind::Type => types::by_oid(oid).map(|_| types::format_type(oid, None)),
        RegKind::Proc => pg_catalog::pg_proc::name_of(oid),
        RegKind::Namespace => schema_name(statement, oid).map(|name| quote_identifier(&name)),
        RegKind::Role => role_name(oid).map(quote_identifier),
    };
    name.unwrap_or_else(|| oid.to_string())
}

/// Quotes text as a SQL literal.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}
