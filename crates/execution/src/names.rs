//! Finding objects by name: qualified, or along the search path.
//!
//! `pg_catalog` is searched first unless the path names it elsewhere, as in PostgreSQL.

use std::fmt;
use std::sync::Arc;

use colonnade_storage::Catalog;
use colonnade_types::{Relation, SchemaDefinition, SqlState, TableDefinition};
use sqlparser::ast;

use crate::error::{Error, Result};

/// A possibly qualified name of a relation, folded to lower case where it was not quoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectPath {
    /// The schema, if it was said.
    pub schema: Option<String>,
    /// The object's name.
    pub name: String,
}

impl ObjectPath {
    /// Reads a parsed name. A database part must be the database that the session is in.
    ///
    /// # Errors
    /// 0A000 for another database, 42601 for too many parts.
    pub fn from_ast(name: &ast::ObjectName) -> Result<ObjectPath> {
        let parts: Vec<String> = name.0.iter().map(part_name).collect::<Result<_>>()?;
        match <[String; 1]>::try_from(parts) {
            Ok([name]) => Ok(ObjectPath { schema: None, name }),
            Err(parts) => match <[String; 2]>::try_from(parts) {
                Ok([schema, name]) => Ok(ObjectPath { schema: Some(schema), name }),
                Err(parts) => match <[String; 3]>::try_from(parts) {
                    Ok([database, schema, name]) => {
                        if database == "colonnade" || database == "postgres" {
                            Ok(ObjectPath { schema: Some(schema), name })
                        } else {
                            Err(Error::new(
                                SqlState::FEATURE_NOT_SUPPORTED,
                                format!(
                                    "cross-database references are not implemented: \"{database}.{schema}.{name}\""
                                ),
                            ))
                        }
                    }
                    Err(_) => Err(Error::new(
                        SqlState::SYNTAX_ERROR,
                        format!("improper qualified name (too many dotted names): {name}"),
                    )),
                },
            },
        }
    }

    /// Reads a name as `regclass` input does: `t`, `s.t`, `"S"."t"`.
    ///
    /// # Errors
    /// 42602 if it is no name.
    pub fn parse(text: &str) -> Result<ObjectPath> {
        let parts = split_identifiers(text, '.')
            .ok_or_else(|| Error::new(SqlState::INVALID_NAME, format!("invalid name syntax: \"{text}\"")))?;
        match parts.as_slice() {
            [name] => Ok(ObjectPath { schema: None, name: name.clone() }),
            [schema, name] | [_, schema, name] => Ok(ObjectPath { schema: Some(schema.clone()), name: name.clone() }),
            _ => Err(Error::new(SqlState::INVALID_NAME, format!("invalid name syntax: \"{text}\""))),
        }
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

fn part_name(part: &ast::ObjectNamePart) -> Result<String> {
    match part {
        ast::ObjectNamePart::Identifier(ident) => Ok(fold(ident)),
        ast::ObjectNamePart::Function(_) => Err(Error::new(SqlState::SYNTAX_ERROR, "a name cannot be a function")),
    }
}

/// An identifier as PostgreSQL keeps it: lower case unless quoted.
#[must_use]
pub fn fold(ident: &ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// Splits a list of identifiers, unquoting and folding each; `None` if it is malformed.
pub(crate) fn split_identifiers(text: &str, separator: char) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut chars = text.trim().chars().peekable();
    loop {
        while chars.peek().is_some_and(|c| c.is_whitespace()) {
            chars.next();
        }
        let mut part = String::new();
        if chars.peek() == Some(&'"') {
            chars.next();
            loop {
                match chars.next()? {
                    '"' if chars.peek() == Some(&'"') => {
                        chars.next();
                        part.push('"');
                    }
                    '"' => break,
                    other => part.push(other),
                }
            }
        } else {
            while let Some(&c) = chars.peek() {
                if c == separator || c.is_whitespace() {
                    break;
                }
                part.extend(c.to_lowercase());
                chars.next();
            }
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        while chars.peek().is_some_and(|c| c.is_whitespace()) {
            chars.next();
        }
        match chars.next() {
            None => return Some(parts),
            Some(c) if c == separator => {}
            Some(_) => return None,
        }
    }
}

/// Writes an identifier as `quote_ident` does: quoted only where it must be.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !is_reserved(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Whether a bare word cannot be a column's name.
fn is_reserved(word: &str) -> bool {
    const RESERVED: &[&str] = &[
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "authorization",
        "between",
        "binary",
        "both",
        "case",
        "cast",
        "check",
        "collate",
        "collation",
        "column",
        "concurrently",
        "constraint",
        "create",
        "cross",
        "current_catalog",
        "current_date",
        "current_role",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_user",
        "default",
        "deferrable",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "exists",
        "false",
        "fetch",
        "for",
        "foreign",
        "freeze",
        "from",
        "full",
        "grant",
        "group",
        "having",
        "ilike",
        "in",
        "initially",
        "inner",
        "intersect",
        "into",
        "is",
        "isnull",
        "join",
        "lateral",
        "leading",
        "left",
        "like",
        "limit",
        "localtime",
        "localtimestamp",
        "natural",
        "not",
        "notnull",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "outer",
        "overlaps",
        "placing",
        "primary",
        "references",
        "returning",
        "right",
        "select",
        "session_user",
        "similar",
        "some",
        "symmetric",
        "table",
        "tablesample",
        "then",
        "to",
        "trailing",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "variadic",
        "verbose",
        "when",
        "where",
        "window",
        "with",
    ];
    RESERVED.binary_search(&word).is_ok()
}

/// The schemas to search for a bare name, in order: `pg_catalog` first unless the path places it.
pub fn effective_path(search_path: &[String]) -> impl Iterator<Item = &str> {
    let implicit = !search_path.iter().any(|schema| schema == "pg_catalog");
    implicit.then_some("pg_catalog").into_iter().chain(search_path.iter().map(String::as_str))
}

/// Finds a relation stored in the catalog; system views are not among them.
#[must_use]
pub fn find_relation(catalog: &Catalog, search_path: &[String], path: &ObjectPath) -> Option<Relation> {
    let in_schema = |schema: &str| {
        let schema = catalog.schema_by_name(schema)?;
        catalog.relation_by_name(schema.oid, &path.name).cloned()
    };
    match &path.schema {
        Some(schema) => in_schema(schema),
        None => effective_path(search_path).find_map(in_schema),
    }
}

/// Finds a table to write to.
///
/// # Errors
/// 42P01 if nothing of the name is there, 42809 if it is no table.
pub fn find_table(catalog: &Catalog, search_path: &[String], path: &ObjectPath) -> Result<Arc<TableDefinition>> {
    match find_relation(catalog, search_path, path) {
        Some(Relation::Table(table)) => Ok(table),
        Some(_) => Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", path.name))),
        None => Err(undefined_relation(path)),
    }
}

/// `relation "x" does not exist`.
#[must_use]
pub fn undefined_relation(path: &ObjectPath) -> Error {
    Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{path}\" does not exist"))
}

/// The schema that a new object goes to: the one said, else the first of the search path that exists.
///
/// # Errors
/// 3F000 if there is none.
pub fn creation_schema(catalog: &Catalog, search_path: &[String], path: &ObjectPath) -> Result<SchemaDefinition> {
    match &path.schema {
        Some(name) => catalog
            .schema_by_name(name)
            .map(|schema| (*schema).clone())
            .ok_or_else(|| Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))),
        None => search_path
            .iter()
            .find_map(|name| catalog.schema_by_name(name).map(|schema| (*schema).clone()))
            .ok_or_else(|| Error::new(SqlState::INVALID_SCHEMA_NAME, "no schema has been selected to create in")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_unless_quoted() {
        assert_eq!(ObjectPath::parse("Public.T").unwrap().to_string(), "public.t");
        assert_eq!(ObjectPath::parse("\"A \"\"b\"").unwrap().name, "A \"b");
        assert!(ObjectPath::parse("a.").is_err());
        assert!(ObjectPath::parse("").is_err());
    }

    #[test]
    fn identifiers_are_quoted_where_they_must_be() {
        assert_eq!(quote_identifier("abc_1"), "abc_1");
        assert_eq!(quote_identifier("Abc"), "\"Abc\"");
        assert_eq!(quote_identifier("select"), "\"select\"");
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn pg_catalog_is_searched_first_unless_named() {
        let path = vec!["public".to_owned(), "pg_catalog".to_owned()];
        assert_eq!(effective_path(&path).collect::<Vec<_>>(), ["public", "pg_catalog"]);
        assert_eq!(effective_path(&path[..1]).collect::<Vec<_>>(), ["pg_catalog", "public"]);
    }
}
