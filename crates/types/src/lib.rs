//! The words everyone shares: ids, LSN, SQL types, catalog definitions, error classes.
//!
//! This crate is the bottom layer. It holds plain data and pure functions over it: no I/O, no async, no clock.
//!
//! | module | one sentence |
//! |---|---|
//! | [`ids`] | Newtypes for everything that is counted or addressed. |
//! | [`sql_type`] | SQL data types, their PostgreSQL identity and their Arrow form. |
//! | [`definition`] | What the catalog knows of schemas, tables, views and sequences. |
//! | [`sql_state`] | The SQLSTATE codes that errors carry. |

pub mod definition;
pub mod ids;
pub mod sql_state;
pub mod sql_type;

pub use definition::{
    CheckConstraint, ColumnDefinition, Identity, IdentityKind, KeyConstraint, Relation, SchemaDefinition,
    SequenceDefinition, TableDefinition, ViewColumn, ViewDefinition,
};
pub use ids::{ColumnId, Lsn, Oid, SegmentId, StorageId, TxnId};
pub use sql_state::SqlState;
pub use sql_type::SqlType;
