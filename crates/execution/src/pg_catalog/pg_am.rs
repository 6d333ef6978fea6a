//! `pg_am`: how rows and keys are kept.

use colonnade_types::Oid;

use super::view::{SystemView, row};

/// The access method that `pg_class.relam` names for tables; PostgreSQL's word, which its tools compare with.
pub(super) const HEAP: Oid = Oid(2);
/// The access method that indexes of keys show.
pub(super) const BTREE: Oid = Oid(403);

pub(super) const PG_AM: SystemView = SystemView {
    schema: Oid::PG_CATALOG,
    oid: Oid(2601),
    name: "pg_am",
    kind: "r",
    columns: r#"oid oid, amname name, amhandler regproc, amtype "char""#,
    rows: Some(|_| Ok(vec![row![HEAP, "heap", 3i32, "t"], row![BTREE, "btree", 330i32, "i"]])),
};
