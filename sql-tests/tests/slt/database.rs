//! A fresh database for one file.

use std::path::Path;

use colonnade_server::{Config, Server};
use tempfile::TempDir;

use crate::Place;
use crate::postgres::Scratch;

/// A server of ours on a directory of its own, or a database of its own in a PostgreSQL server.
pub(crate) struct Database {
    directory: TempDir,
    server: Option<Server>,
    postgres: Option<Scratch>,
}

impl Database {
    /// Opens an empty one.
    pub(crate) async fn open(place: Place, postgres: Option<&str>, name: &str) -> Result<Database, String> {
        let directory = TempDir::new().map_err(|error| error.to_string())?;
        if place == Place::Postgres {
            let url = postgres.ok_or("COLONNADE_PG_COMPAT_URL is not set")?;
            let scratch = Scratch::create(url, name).await?;
            return Ok(Database { directory, server: None, postgres: Some(scratch) });
        }
        let mut config = Config::new();
        config.data_dir = directory.path().join("data");
        config.pg_listen = Some(([127, 0, 0, 1], 0).into());
        config.http_listen = None;
        config.threads = 2;
        config.query_memory_bytes = 512 << 20;
        config.storage.wal_file_bytes = 1 << 20;
        let server = Server::start(config).await.map_err(|error| error.to_string())?;
        Ok(Database { directory, server: Some(server), postgres: None })
    }

    /// Our server.
    pub(crate) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// How tokio-postgres reaches it.
    pub(crate) fn connection_string(&self) -> String {
        match (&self.postgres, self.server.as_ref().and_then(Server::pg_address)) {
            (Some(scratch), _) => scratch.connection_string().to_owned(),
            (None, Some(address)) => {
                format!("host={} port={} user=colonnade dbname=colonnade", address.ip(), address.port())
            }
            (None, None) => String::new(),
        }
    }

    /// A directory for the files that COPY reads and writes.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends it and removes what it left.
    pub(crate) async fn close(self) {
        if let Some(server) = self.server {
            let _ = server.stop().await;
        }
        if let Some(scratch) = self.postgres {
            scratch.remove().await;
        }
    }
}
