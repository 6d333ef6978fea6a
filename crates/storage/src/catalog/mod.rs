//! The catalog: schemas, relations and comments at one moment.
//!
//! A [`Catalog`] is a value. Its maps are shared between copies and copied when one of them is changed, so a snapshot keeps the catalog
//! it began with for the price of a few reference counts, and a change costs time in proportion to the number of relations: some
//! tens of microseconds for a thousand. [`CatalogEdit`] is the only way to change it, in a running transaction's own copy, at commit, and in replay alike.
//!
//! ## Invariants
//!
//! - Names of schemas are unique. Tables, views, sequences and the indexes of keys share one name space within a schema, as in PostgreSQL.
//! - Every relation's schema exists; a schema that holds relations cannot be dropped.
//! - A comment's object exists, or is one of PostgreSQL's own.
//!
//! Who depends on whom is told by [`Catalog::dependents`]; CASCADE and RESTRICT are decided above.

mod codec;
mod edit;

use std::collections::BTreeMap;
use std::sync::Arc;

use colonnade_types::{Oid, Relation, SchemaDefinition};
use hashbrown::{Equivalent, HashMap};

pub use codec::{CATALOG_VERSION, decode_catalog, decode_edit, encode_catalog, encode_edit};
pub use edit::{CatalogEdit, CatalogError};

/// The catalog at one moment; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    schemas: Arc<BTreeMap<Oid, SchemaDefinition>>,
    relations: Arc<BTreeMap<Oid, Relation>>,
    names: Arc<HashMap<Name, NameOwner>>,
    comments: Arc<BTreeMap<(Oid, u32), String>>,
}

/// A name within a schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name(Oid, String);

/// [`Name`] for a look-up; hashes alike.
#[derive(Hash)]
struct NameRef<'a>(Oid, &'a str);

impl Equivalent<Name> for NameRef<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.0 == name.0 && self.1 == name.1
    }
}

/// Who has a name: a relation, or the index of one of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameOwner {
    Relation(Oid),
    IndexOf(Oid),
}

/// Two catalogs are equal if they hold the same objects; the look-up by name follows from them.
impl PartialEq for Catalog {
    fn eq(&self, other: &Catalog) -> bool {
        self.schemas == other.schemas && self.relations == other.relations && self.comments == other.comments
    }
}

impl Catalog {
    /// The catalog of a fresh database: the schemas `pg_catalog`, `information_schema`, `public` and `colonnade`.
    #[must_use]
    pub fn initial() -> Catalog {
        let schema = |oid, name: &str| {
            let owner = "colonnade".to_owned();
            (oid, SchemaDefinition { oid, name: name.to_owned(), owner })
        };
        let schemas = BTreeMap::from([
            schema(Oid::PG_CATALOG, "pg_catalog"),
            schema(Oid::PUBLIC, "public"),
            schema(Oid::INFORMATION_SCHEMA, "information_schema"),
            schema(Oid::COLONNADE, "colonnade"),
        ]);
        Catalog { schemas: Arc::new(schemas), ..Catalog::default() }
    }

    /// All schemas by ascending oid.
    pub fn schemas(&self) -> impl Iterator<Item = &SchemaDefinition> {
        self.schemas.values()
    }

    /// The schema of that name.
    #[must_use]
    pub fn schema_by_name(&self, name: &str) -> Option<&SchemaDefinition> {
        self.schemas.values().find(|schema| schema.name == name)
    }

    /// The schema of that oid.
    #[must_use]
    pub fn schema(&self, oid: Oid) -> Option<&SchemaDefinition> {
        self.schemas.get(&oid)
    }

    /// All tables, views and sequences by ascending oid.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values()
    }

    /// The table, view or sequence of that oid.
    #[must_use]
    pub fn relation(&self, oid: Oid) -> Option<&Relation> {
        self.relations.get(&oid)
    }

    /// The table, view or sequence of that name. `None` does not mean that the name is free: see [`name_in_use`](Catalog::name_in_use).
    #[must_use]
    pub fn relation_by_name(&self, schema: Oid, name: &str) -> Option<&Relation> {
        match self.names.get(&NameRef(schema, name))? {
            NameOwner::Relation(oid) => self.relations.get(oid),
            NameOwner::IndexOf(_) => None,
        }
    }

    /// Whether a relation, or the index of a key, has this name.
    #[must_use]
    pub fn name_in_use(&self, schema: Oid, name: &str) -> bool {
        self.names.contains_key(&NameRef(schema, name))
    }

    /// The comment on an object, or on a part of it: `sub` is a column's number, 0 means the object itself.
    #[must_use]
    pub fn comment(&self, object: Oid, sub: u32) -> Option<&str> {
        self.comments.get(&(object, sub)).map(String::as_str)
    }

    /// All comments: object, part, text.
    pub fn comments(&self) -> impl Iterator<Item = (Oid, u32, &str)> {
        self.comments.iter().map(|((object, sub), text)| (*object, *sub, text.as_str()))
    }

    /// The relations that cannot outlive this one, by ascending oid: views that name it, and sequences that its columns own. For a schema, the
    /// relations in it. What default expressions and checks name is not known here: they are SQL text.
    #[must_use]
    pub fn dependents(&self, oid: Oid) -> Vec<Oid> {
        let depends = |relation: &&Relation| {
            relation.schema() == oid
                || match relation {
                    Relation::Table(_) => false,
                    Relation::View(view) => view.depends_on.contains(&oid),
                    Relation::Sequence(sequence) => sequence.owned_by.is_some_and(|(table, _)| table == oid),
                }
        };
        self.relations.values().filter(depends).map(Relation::oid).collect()
    }

    /// The greatest oid in use by anything, so that a new one can be chosen beyond it.
    #[must_use]
    pub fn oid_max(&self) -> Oid {
        let parts = self.relations.values().flat_map(oids_of);
        self.schemas.keys().copied().chain(parts).max().unwrap_or_default()
    }
}

/// The oids that a relation brings along: its own, and those of its constraints and indexes.
fn oids_of(relation: &Relation) -> Vec<Oid> {
    let mut oids = vec![relation.oid()];
    if let Relation::Table(table) = relation {
        oids.extend(table.checks.iter().map(|check| check.oid));
        oids.extend(table.keys.iter().flat_map(|key| [key.oid, key.index]));
    }
    oids
}

#[cfg(test)]
mod tests;
