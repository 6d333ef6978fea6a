//! `SELECT ... FOR UPDATE` and its kin: which rows a query locks, and locking them.
//!
//! ```text
//! tokens --clause--> LockClause --clause--> what each relation of FROM is locked with
//! LogicalPlan --addresses--> the same with the rows' addresses behind its columns
//! batches --select--> rows locked, those that others hold waited for or left out, addresses cut off
//! ```
//!
//! | module | one sentence |
//! |---|---|
//! | [`clause`] | The clause: read, checked, and spread over the relations of FROM. |
//! | [`addresses`] | Plans that keep the addresses of the rows they are made of. |
//! | [`select`] | Running a query that locks, on its own or inside another statement. |
//! | [`table`] | LOCK TABLE. |
//!
//! A row that was changed after the snapshot makes the statement run again on a new one under READ COMMITTED, as it does for writes; what the abandoned attempt
//! has locked stays locked. Rows are locked below LIMIT with SKIP LOCKED, so that those left out are made up for, and above it
//! otherwise, where nothing is left out.

mod addresses;
pub(crate) mod clause;
pub(crate) mod select;
pub(crate) mod table;
