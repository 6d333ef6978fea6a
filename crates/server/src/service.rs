//! What all connections of a server share.

use std::sync::Arc;

use colonnade_execution::Engine;
use tokio::sync::{Semaphore, watch};

use crate::config::Config;
use crate::credentials::Credentials;
use crate::phase::Phase;
use crate::wire::cancel::CancelRegistry;

/// Name of the one database.
pub(crate) const DATABASE: &str = "colonnade";
/// Names under which the database is reached, and names of the roles, which may do everything.
pub(crate) const NAMES: [&str; 2] = [DATABASE, "postgres"];

/// What all connections of a server share.
pub(crate) struct Service {
    pub(crate) engine: Engine,
    pub(crate) config: Config,
    pub(crate) cancels: CancelRegistry,
    pub(crate) phase: watch::Receiver<Phase>,
    /// One permit per PostgreSQL connection.
    pub(crate) seats: Arc<Semaphore>,
    /// What clients must prove; `None` trusts them.
    pub(crate) credentials: Option<Credentials>,
}
