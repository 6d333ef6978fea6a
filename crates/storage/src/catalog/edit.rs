//! Changes of the catalog and the checks that keep its invariants.

use std::sync::Arc;

use colonnade_types::{Oid, Relation, SchemaDefinition};

use super::{Catalog, Name, NameOwner, NameRef};

/// One change of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogEdit {
    /// Creates a schema, or replaces the one of that oid.
    PutSchema(SchemaDefinition),
    /// Drops a schema that holds nothing.
    DropSchema(Oid),
    /// Creates a table, view or sequence, or replaces the one of that oid; also moves it to another name or schema.
    PutRelation(Relation),
    /// Drops a table, view or sequence, and the comments on it.
    DropRelation(Oid),
    /// Sets or removes the comment on an object or a part of it.
    PutComment {
        /// The object.
        object: Oid,
        /// A column's number; 0 means the object itself.
        sub: u32,
        /// The text; `None` removes it.
        text: Option<String>,
    },
}

/// Why an edit does not fit the catalog, which it leaves unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Another schema has the name. SQLSTATE 42P06.
    #[error("schema \"{0}\" already exists")]
    DuplicateSchema(String),
    /// A relation, or the index of a key, has the name. SQLSTATE 42P07.
    #[error("relation \"{0}\" already exists")]
    DuplicateRelation(String),
    /// There is no schema of that oid. SQLSTATE 3F000.
    #[error("schema with OID {0} does not exist")]
    UnknownSchema(Oid),
    /// There is no table, view or sequence of that oid. SQLSTATE 42P01.
    #[error("relation with OID {0} does not exist")]
    UnknownRelation(Oid),
    /// The schema still holds relations. SQLSTATE 2BP01.
    #[error("cannot drop schema {0} because other objects depend on it")]
    SchemaNotEmpty(String),
    /// The oid names an object of another kind: a fault of the caller.
    #[error("OID {0} is in use by another kind of object")]
    WrongKind(Oid),
}

impl Catalog {
    /// Applies a change.
    ///
    /// # Errors
    /// [`CatalogError`]; the catalog is unchanged then.
    pub fn apply(&mut self, edit: &CatalogEdit) -> Result<(), CatalogError> {
        match edit {
            CatalogEdit::PutSchema(schema) => self.put_schema(schema),
            CatalogEdit::DropSchema(oid) => self.drop_schema(*oid),
            CatalogEdit::PutRelation(relation) => self.put_relation(relation),
            CatalogEdit::DropRelation(oid) => self.drop_relation(*oid),
            CatalogEdit::PutComment { object, sub, text } => {
                self.put_comment(*object, *sub, text.as_ref());
                Ok(())
            }
        }
    }

    fn put_schema(&mut self, schema: &SchemaDefinition) -> Result<(), CatalogError> {
        if self.schema_by_name(&schema.name).is_some_and(|other| other.oid != schema.oid) {
            return Err(CatalogError::DuplicateSchema(schema.name.clone()));
        }
        if self.relations.contains_key(&schema.oid) {
            return Err(CatalogError::WrongKind(schema.oid));
        }
        Arc::make_mut(&mut self.schemas).insert(schema.oid, schema.clone());
        Ok(())
    }

    fn drop_schema(&mut self, oid: Oid) -> Result<(), CatalogError> {
        let schema = self.schema(oid).ok_or(CatalogError::UnknownSchema(oid))?;
        if self.relations.values().any(|relation| relation.schema() == oid) {
            return Err(CatalogError::SchemaNotEmpty(schema.name.clone()));
        }
        Arc::make_mut(&mut self.schemas).remove(&oid);
        self.remove_comments(oid);
        Ok(())
    }

    fn put_relation(&mut self, relation: &Relation) -> Result<(), CatalogError> {
        let (oid, schema) = (relation.oid(), relation.schema());
        if self.schema(schema).is_none() {
            return Err(CatalogError::UnknownSchema(schema));
        }
        let old = self.relations.get(&oid);
        let other_kind = old.is_some_and(|old| std::mem::discriminant(old) != std::mem::discriminant(relation));
        if other_kind || self.schemas.contains_key(&oid) {
            return Err(CatalogError::WrongKind(oid));
        }
        let names = names_of(relation);
        for (index, (name, _)) in names.iter().enumerate() {
            let taken = self.names.get(&NameRef(schema, name)).is_some_and(|owner| owner.relation() != oid);
            if taken || names[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(CatalogError::DuplicateRelation((*name).to_owned()));
            }
        }
        self.remove_names(oid);
        let map = Arc::make_mut(&mut self.names);
        for (name, owner) in names {
            map.insert(Name(schema, name.to_owned()), owner);
        }
        Arc::make_mut(&mut self.relations).insert(oid, relation.clone());
        Ok(())
    }

    fn drop_relation(&mut self, oid: Oid) -> Result<(), CatalogError> {
        let relation = self.relations.get(&oid).ok_or(CatalogError::UnknownRelation(oid))?;
        let oids = super::oids_of(relation);
        self.remove_names(oid);
        Arc::make_mut(&mut self.relations).remove(&oid);
        for oid in oids {
            self.remove_comments(oid);
        }
        Ok(())
    }

    fn put_comment(&mut self, object: Oid, sub: u32, text: Option<&String>) {
        match text {
            Some(text) => {
                Arc::make_mut(&mut self.comments).insert((object, sub), text.clone());
            }
            None if self.comments.contains_key(&(object, sub)) => {
                Arc::make_mut(&mut self.comments).remove(&(object, sub));
            }
            None => {}
        }
    }

    fn remove_names(&mut self, oid: Oid) {
        let Some(relation) = self.relations.get(&oid) else { return };
        let map = Arc::make_mut(&mut self.names);
        for (name, _) in names_of(relation) {
            map.remove(&NameRef(relation.schema(), name));
        }
    }

    fn remove_comments(&mut self, object: Oid) {
        if self.comments.range((object, 0)..=(object, u32::MAX)).next().is_some() {
            Arc::make_mut(&mut self.comments).retain(|(owner, _), _| *owner != object);
        }
    }
}

impl NameOwner {
    fn relation(self) -> Oid {
        match self {
            NameOwner::Relation(oid) | NameOwner::IndexOf(oid) => oid,
        }
    }
}

/// The names that a relation takes in its schema.
fn names_of(relation: &Relation) -> Vec<(&str, NameOwner)> {
    let oid = relation.oid();
    let mut names = vec![(relation.name(), NameOwner::Relation(oid))];
    if let Relation::Table(table) = relation {
        names.extend(table.keys.iter().map(|key| (key.name.as_str(), NameOwner::IndexOf(oid))));
    }
    names
}
