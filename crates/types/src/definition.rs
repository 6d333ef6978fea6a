//! What the catalog knows of schemas, tables, views and sequences: plain data, shared by storage and execution.
//!
//! Expressions (defaults, checks, view bodies) are SQL text. Storage keeps them without reading them.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use crate::ids::{ColumnId, Oid, StorageId};
use crate::sql_type::SqlType;

/// A namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaDefinition {
    /// Its identifier.
    pub oid: Oid,
    /// Its name, as folded or quoted by the user.
    pub name: String,
    /// Name of the owning role.
    pub owner: String,
}

/// Anything that lives in a schema and shares its name space with tables.
#[derive(Clone, Debug, PartialEq)]
pub enum Relation {
    /// A table with rows of its own.
    Table(Arc<TableDefinition>),
    /// A stored query.
    View(Arc<ViewDefinition>),
    /// A number generator.
    Sequence(Arc<SequenceDefinition>),
}

impl Relation {
    /// Its identifier.
    #[must_use]
    pub fn oid(&self) -> Oid {
        match self {
            Relation::Table(table) => table.oid,
            Relation::View(view) => view.oid,
            Relation::Sequence(sequence) => sequence.oid,
        }
    }

    /// The schema that holds it.
    #[must_use]
    pub fn schema(&self) -> Oid {
        match self {
            Relation::Table(table) => table.schema,
            Relation::View(view) => view.schema,
            Relation::Sequence(sequence) => sequence.schema,
        }
    }

    /// Its name within the schema.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Relation::Table(table) => &table.name,
            Relation::View(view) => &view.name,
            Relation::Sequence(sequence) => &sequence.name,
        }
    }

    /// PostgreSQL's word for what it is, as error texts use it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Relation::Table(_) => "table",
            Relation::View(_) => "view",
            Relation::Sequence(_) => "sequence",
        }
    }
}

/// A table: columns in their order, constraints, and where its rows are.
#[derive(Clone, Debug, PartialEq)]
pub struct TableDefinition {
    /// Its identifier, kept for life.
    pub oid: Oid,
    /// The schema that holds it.
    pub schema: Oid,
    /// Its name within the schema.
    pub name: String,
    /// Name of the owning role.
    pub owner: String,
    /// Live columns in attribute order; a dropped column is gone from here and its id is never used again.
    pub columns: Vec<ColumnDefinition>,
    /// The id that the next added column gets.
    pub next_column: ColumnId,
    /// CHECK constraints, by creation order.
    pub checks: Vec<CheckConstraint>,
    /// PRIMARY KEY and UNIQUE constraints, by creation order.
    pub keys: Vec<KeyConstraint>,
    /// Columns by which flush and bulk load order the rows of a segment; may be empty.
    pub sort_key: Vec<ColumnId>,
    /// The body of rows that belongs to this version of the definition.
    pub storage: StorageId,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDefinition {
    /// Its identifier within the table, which is its attribute number.
    pub id: ColumnId,
    /// Its name.
    pub name: String,
    /// Its type with modifiers.
    pub sql_type: SqlType,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Default expression as SQL text.
    pub default: Option<String>,
    /// GENERATED ... AS IDENTITY.
    pub identity: Option<Identity>,
    /// The value, in PostgreSQL's text form, of rows that were stored before the column was added
    /// (PostgreSQL's `attmissingval`); `None` reads as NULL.
    pub missing: Option<String>,
}

/// An identity column's generator.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Who may supply values.
    pub kind: IdentityKind,
    /// The sequence behind it.
    pub sequence: Oid,
}

/// Who may supply values to an identity column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// Only the system, unless OVERRIDING SYSTEM VALUE is said.
    Always,
    /// The user, and else the system.
    ByDefault,
}

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckConstraint {
    /// Its identifier.
    pub oid: Oid,
    /// Its name, unique within the table.
    pub name: String,
    /// The condition as SQL text; NULL passes.
    pub expression: String,
}

/// A PRIMARY KEY or UNIQUE constraint.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyConstraint {
    /// Its identifier.
    pub oid: Oid,
    /// The identifier of the index that PostgreSQL's catalogs show for it.
    pub index: Oid,
    /// Its name, which is the index's too.
    pub name: String,
    /// The key's columns in their order.
    pub columns: Vec<ColumnId>,
    /// PRIMARY KEY, as against UNIQUE.
    pub primary: bool,
    /// UNIQUE NULLS NOT DISTINCT.
    pub nulls_not_distinct: bool,
}

/// A stored query.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewDefinition {
    /// Its identifier.
    pub oid: Oid,
    /// The schema that holds it.
    pub schema: Oid,
    /// Its name within the schema.
    pub name: String,
    /// Name of the owning role.
    pub owner: String,
    /// Output columns in order.
    pub columns: Vec<ViewColumn>,
    /// The query as SQL text, names qualified when it was created.
    pub query: String,
    /// Relations that the query names; they cannot be dropped without CASCADE.
    pub depends_on: Vec<Oid>,
}

/// An output column of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
}

/// A number generator's definition; its current value is not transactional and lives beside the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceDefinition {
    /// Its identifier.
    pub oid: Oid,
    /// The schema that holds it.
    pub schema: Oid,
    /// Its name within the schema.
    pub name: String,
    /// Name of the owning role.
    pub owner: String,
    /// The type that bounds it: smallint, integer or bigint.
    pub sql_type: SqlType,
    /// First value.
    pub start: i64,
    /// Step, never 0.
    pub increment: i64,
    /// Smallest value.
    pub min: i64,
    /// Greatest value.
    pub max: i64,
    /// Whether it starts again at the other bound.
    pub cycle: bool,
    /// Values that a session takes at once.
    pub cache: i64,
    /// The column it disappears with.
    pub owned_by: Option<(Oid, ColumnId)>,
}

impl TableDefinition {
    /// Finds a column by name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnDefinition> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Finds a column by identifier.
    #[must_use]
    pub fn column_by_id(&self, id: ColumnId) -> Option<&ColumnDefinition> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// Finds a column's place among the live columns.
    #[must_use]
    pub fn column_index(&self, id: ColumnId) -> Option<usize> {
        self.columns.iter().position(|column| column.id == id)
    }

    /// The primary key, if there is one.
    #[must_use]
    pub fn primary_key(&self) -> Option<&KeyConstraint> {
        self.keys.iter().find(|key| key.primary)
    }

    /// The Arrow schema of its live columns, in order, with [`SqlType`] in each field's metadata.
    #[must_use]
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields: Vec<_> =
            self.columns.iter().map(|column| column.sql_type.field(&column.name, !column.not_null)).collect();
        Arc::new(Schema::new(fields))
    }
}
