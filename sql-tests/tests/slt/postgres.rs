//! A database of its own in a PostgreSQL server, as the yardstick of files labelled `pg_compat`.

use std::str::FromStr;

use tokio_postgres::{Client, Config, NoTls};

/// A database that is dropped at the end.
pub(crate) struct Scratch {
    url: String,
    name: String,
    connection_string: String,
}

impl Scratch {
    /// Creates a database named after the file. The server must speak ISO dates and sort by bytes (`initdb --locale=C`).
    pub(crate) async fn create(url: &str, case: &str) -> Result<Scratch, String> {
        let name: String = case.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = format!("slt_{name}");
        let client = connect(url).await?;
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'");
        client
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await
            .map_err(|e| e.to_string())?;
        client.batch_execute(&create).await.map_err(|error| error.to_string())?;
        client
            .batch_execute(&format!("ALTER DATABASE {name} SET timezone = 'UTC'"))
            .await
            .map_err(|error| error.to_string())?;
        let config = Config::from_str(url).map_err(|error| error.to_string())?;
        let host = match config.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
            Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
            None => "127.0.0.1".to_owned(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let user = config.get_user().unwrap_or("postgres");
        let mut connection_string = format!("host={host} port={port} user={user} dbname={name}");
        if let Some(password) = config.get_password() {
            connection_string += &format!(" password='{}'", String::from_utf8_lossy(password).replace('\'', "\\'"));
        }
        Ok(Scratch { url: url.to_owned(), name, connection_string })
    }

    /// How tokio-postgres reaches it.
    pub(crate) fn connection_string(&self) -> &str {
        &self.connection_string
    }

    /// Drops it.
    pub(crate) async fn remove(self) {
        if let Ok(client) = connect(&self.url).await {
            let _ = client.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)).await;
        }
    }
}

async fn connect(url: &str) -> Result<Client, String> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(client)
}
