//! Turns a statement, a session and a snapshot into a stream of batches.
//!
//! | module | one sentence |
//! |---|---|
//! | [`engine`] | What all sessions of a server share. |
//! | [`session`] | One client's settings, transaction and statements. |
//! | [`statement`], `parser` | From text to statements, with positions. |
//! | [`transaction`] | Where a session is between BEGIN and COMMIT. |
//! | [`settings`] | SET, SHOW, RESET. |
//! | [`names`] | Finding objects by name. |
//! | `binder`, `planner` | From statements to DataFusion's plans. |
//! | `guarded_join` | Joins that can be stopped. |
//! | `scan` | Reading tables: pruning, late materialisation. |
//! | `fast` | Statements about one row, without a plan. |
//! | `dml`, [`copy`] | Writing them. |
//! | `locking` | `SELECT ... FOR UPDATE` and its kin. |
//! | `ddl`, [`ddl_context`] | Changing the catalog. |
//! | `functions`, `pg_catalog`, `information_schema`, `system_views` | What PostgreSQL has built in. |
//! | [`bulk_load`] | Loading a table from batches, without SQL in between. |
//! | [`outcome`], [`error`] | What a statement gives back. |

mod binder;
mod builtin;
pub mod bulk_load;
pub mod cancel;
pub mod copy;
mod datafusion_error;
mod ddl;
pub mod ddl_context;
mod dml;
pub mod engine;
pub mod error;
mod explain;
mod fast;
pub mod functions;
mod guarded_join;
mod information_schema;
mod locking;
mod locks;
pub mod names;
pub mod outcome;
mod parser;
pub mod pg_catalog;
mod planner;
mod rewrite;
mod scan;
pub mod session;
pub mod session_info;
pub mod settings;
pub mod statement;
mod system_views;
pub mod transaction;

pub use cancel::CancelHandle;
pub use copy::CopyIn;
pub use ddl_context::{BoundExpression, BoundQuery, DdlContext};
pub use engine::{Engine, EngineOptions, SessionActivity, SessionList, SessionOptions};
pub use error::{Error, ErrorFields, Notice, Result, Severity};
pub use outcome::{
    CommandTag, CopyFormat, CopyOut, Outcome, ResultColumn, ResultSchema, RowBatches, RowStream, TagRule,
};
pub use session::{Prepared, Recognised, ScalarParameter, Session};
pub use session_info::{SessionInfo, StatementInfo};
pub use settings::{SettingEntry, Settings};
pub use statement::{Statement, StatementKind};
pub use transaction::TransactionStatus;
