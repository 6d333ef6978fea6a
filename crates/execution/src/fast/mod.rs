//! The fast path: statements about one row, found by its whole key, that never enter the general planner.
//!
//! ```text
//! ast --recognise, once--> FastPlan { TableAccess, key sources, expressions }
//! values of parameters --run--> Snapshot::find, expressions over one row, Transaction::delete_found / append_rows
//! ```
//!
//! A plan is bound once, to one catalog and one set of settings, and is used as long as both are the session's. Parameters are columns of the row that its expressions see, so nothing
//! is planned again for other values. What [`recognise`] does not take stays with the general path, which gives the same results:
//! `SET colonnade.force_path` shows it.
//!
//! | module | one sentence |
//! |---|---|
//! | [`recognise`] | Which statements it takes, bound. |
//! | [`expression`] | Expressions over a row and the parameters. |
//! | [`run`] | One execution. |
//! | [`text`] | Literals lifted out of a simple query's text, so that it finds its plan. |
//!
//! **Invariants.** A plan holds nothing that depends on when it was made: stable and volatile functions, and literals such as `'now'`, are not taken, except the transaction's own time,
//! which is an input. What a plan does is what the general path would have done, errors included.

pub(crate) mod expression;
mod recognise;
pub(crate) mod run;
pub(crate) mod text;

use std::sync::Arc;

use arrow::array::ArrayRef;
use colonnade_storage::{Catalog, TableAccess};
use colonnade_types::Oid;

use crate::dml::checks::Checks;
use crate::dml::defaults::DefaultValue;
use crate::fast::expression::{Inputs, Projection, RowExpression};
use crate::settings::Settings;

pub(crate) use recognise::{Recogniser, recognise};

/// A statement bound for the fast path.
pub(crate) struct FastPlan {
    /// What it was bound to.
    pub(crate) catalog: Arc<Catalog>,
    settings: Settings,
    pub(crate) relation: Oid,
    pub(crate) access: TableAccess,
    pub(crate) action: Action,
    /// What RETURNING or SELECT gives.
    pub(crate) projection: Option<Projection>,
    /// Whether it calls what looks at the session's statement, such as a sequence's next value for a column's default.
    pub(crate) needs_statement: bool,
}

/// What it does.
pub(crate) enum Action {
    Select(KeyMatch),
    Update {
        key: KeyMatch,
        /// For each column of the table, its new value; `None` keeps the old one.
        new: Vec<Option<RowExpression>>,
        inputs: Inputs,
        checks: Checks,
        /// For each key of the table, whether the statement leaves it as it is.
        kept_keys: Vec<bool>,
    },
    Delete(KeyMatch),
    Insert {
        /// For each row and each given column, in `places`' order.
        rows: Vec<Vec<RowExpression>>,
        places: Vec<usize>,
        inputs: Inputs,
        missing: Vec<(usize, DefaultValue)>,
        checks: Checks,
    },
}

/// Which row: the values of a key, and what else it has to satisfy.
pub(crate) struct KeyMatch {
    /// Index among the table's keys.
    pub(crate) key: usize,
    /// One for each of the key's columns.
    pub(crate) values: Vec<KeySource>,
    pub(crate) residual: Option<(RowExpression, Inputs)>,
}

/// Where the value of a key's column comes from.
pub(crate) enum KeySource {
    Constant(ArrayRef),
    /// A parameter of the column's own type.
    Parameter(usize),
    /// A parameter of another integer type: what does not fit is no row's key.
    Integer(usize, arrow::datatypes::DataType),
}

impl FastPlan {
    /// Whether it was bound with these settings.
    pub(crate) fn is_of(&self, settings: &Settings) -> bool {
        self.settings.same(settings)
    }

    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.action, Action::Select(_))
    }

    /// The statement's word, for messages.
    pub(crate) fn word(&self) -> &'static str {
        match self.action {
            Action::Select(_) => "SELECT",
            Action::Update { .. } => "UPDATE",
            Action::Delete(_) => "DELETE",
            Action::Insert { .. } => "INSERT",
        }
    }
}

impl std::fmt::Debug for FastPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FastPlan").field("word", &self.word()).field("relation", &self.relation).finish_non_exhaustive()
    }
}
