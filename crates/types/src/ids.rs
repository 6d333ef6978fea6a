//! Newtypes for everything that is counted or addressed.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Names a catalog object for ever: schema, table, view, sequence, type or constraint. Never reused.
    ///
    /// Objects of users start at [`Oid::FIRST_USER`]; smaller values are PostgreSQL's own, fixed ones.
    Oid(u32)
}
id! {
    /// Names a column within its table for ever; it is PostgreSQL's attribute number. Starts at 1, never reused.
    ColumnId(u32)
}
id! {
    /// Names one body of rows. TRUNCATE gives a table a new one, as PostgreSQL's relfilenode.
    StorageId(u64)
}
id! {
    /// Names one immutable segment file.
    SegmentId(u64)
}
id! {
    /// Names a running transaction. Not durable: a transaction is known to the log by the LSN of its commit record.
    TxnId(u64)
}
id! {
    /// Position in the write-ahead log, in bytes; the LSN of a commit record is the commit timestamp.
    Lsn(u64)
}

impl Oid {
    /// The first identifier given to objects of users, as in PostgreSQL.
    pub const FIRST_USER: Oid = Oid(16_384);
    /// The schema `pg_catalog`.
    pub const PG_CATALOG: Oid = Oid(11);
    /// The schema `public`.
    pub const PUBLIC: Oid = Oid(2_200);
    /// The schema `information_schema`.
    pub const INFORMATION_SCHEMA: Oid = Oid(13_000);
    /// The schema `colonnade`, which holds our own system views.
    pub const COLONNADE: Oid = Oid(13_001);
}
