//! The catalog: schemas, relations and comments at one moment. (Interface; the body lands separately.)
#![allow(missing_docs, clippy::unimplemented)]

use colonnade_types::{Oid, Relation, SchemaDefinition};

/// The catalog at one moment; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Catalog;

/// One change of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogEdit {
    PutSchema(SchemaDefinition),
    DropSchema(Oid),
    PutRelation(Relation),
    DropRelation(Oid),
    PutComment { object: Oid, sub: u32, text: Option<String> },
}

/// Why an edit does not fit the catalog.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CatalogError(pub String);

impl Catalog {
    pub fn schemas(&self) -> impl Iterator<Item = &SchemaDefinition> {
        std::iter::empty()
    }
    pub fn schema_by_name(&self, _name: &str) -> Option<&SchemaDefinition> {
        unimplemented!()
    }
    pub fn schema(&self, _oid: Oid) -> Option<&SchemaDefinition> {
        unimplemented!()
    }
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        std::iter::empty()
    }
    pub fn relation(&self, _oid: Oid) -> Option<&Relation> {
        unimplemented!()
    }
    pub fn relation_by_name(&self, _schema: Oid, _name: &str) -> Option<&Relation> {
        unimplemented!()
    }
    pub fn comment(&self, _object: Oid, _sub: u32) -> Option<&str> {
        unimplemented!()
    }
    pub fn dependents(&self, _oid: Oid) -> Vec<Oid> {
        unimplemented!()
    }
}
