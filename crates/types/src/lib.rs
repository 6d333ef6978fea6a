//! The words everyone shares: ids, LSN, SQL types and their values' forms, catalog definitions, error classes.
//!
//! This crate is the bottom layer. It holds plain data and pure functions over it: no I/O, no async, no clock.
//!
//! | module | one sentence |
//! |---|---|
//! | [`ids`] | Newtypes for everything that is counted or addressed. |
//! | [`sql_type`] | SQL data types, their PostgreSQL identity and their Arrow form. |
//! | [`definition`] | What the catalog knows of schemas, tables, views and sequences. |
//! | [`sql_state`] | The SQLSTATE codes that errors carry. |
//! | [`error`] | Why a value was refused. |
//! | [`settings`], [`time_zone`] | What reading and printing values depends on. |
//! | [`text`], `binary` | PostgreSQL's text forms, one type a file, and its binary ones. |
//! | [`builder`] | Text or binary in, Arrow array out. |
//! | [`encoder`] | Arrow array in, text or binary out. |
//! | [`mod@coerce`] | Casts between SQL types with PostgreSQL's checks. |

mod binary;
pub mod builder;
mod calendar;
pub mod coerce;
pub mod definition;
pub mod encoder;
pub mod error;
pub mod ids;
pub mod settings;
pub mod sql_state;
pub mod sql_type;
pub mod text;
pub mod time_zone;
mod views;

pub use builder::ColumnBuilder;
pub use coerce::{coerce, parse_value};
pub use definition::{
    CheckConstraint, ColumnDefinition, Identity, IdentityKind, KeyConstraint, Relation, SchemaDefinition,
    SequenceDefinition, TableDefinition, ViewColumn, ViewDefinition,
};
pub use encoder::ColumnEncoder;
pub use error::{ValueError, text_from_bytes};
pub use ids::{ColumnId, Lsn, Oid, SegmentId, StorageId, TxnId};
pub use settings::{ByteaOutput, DateFormat, DateOrder, DateStyle, DisplaySettings, Format, IntervalStyle};
pub use sql_state::SqlState;
pub use sql_type::SqlType;
pub use text::parse_boolean;
pub use time_zone::TimeZone;
