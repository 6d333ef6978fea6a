//! TPC-H data, generated and loaded, for a first look.
//!
//! - [`tables`]: the eight tables and their generators.
//! - [`load`]: from generators to segments, with progress.
//! - [`progress`]: a bar for people, plain lines for files.
//! - [`tour`]: a few queries with their timings, and what to type next.
//!
//! A table's comment says how far its load has come, so a second start reuses what is complete and loads what is not.

mod load;
mod progress;
mod tables;
mod tour;

use colonnade_execution::{Error, Session, SessionOptions};

use crate::server::Server;
use crate::service::DATABASE;

/// Loads the data where it is missing, and shows what it is good for.
///
/// # Errors
/// If a table of the same name is somebody else's, or loading fails.
pub(crate) async fn run(server: &Server, scale: f64) -> Result<(), Error> {
    let mut session = session(server)?;
    load::load(&mut session, scale).await?;
    load::print_sizes(server.engine());
    tour::run(&mut session).await?;
    tour::print_next(server);
    Ok(())
}

fn session(server: &Server) -> Result<Session, Error> {
    server.engine().session(SessionOptions {
        user: DATABASE.to_owned(),
        database: DATABASE.to_owned(),
        application_name: "demo".to_owned(),
        ..SessionOptions::default()
    })
}
