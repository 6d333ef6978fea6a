//! The life of the process: from an empty directory to a served database, and back to a closed one.
//!
//! ```text
//! bind addresses -> lock directory and open (recover) -> log writer, maintenance -> accept      | Serving
//! stop accepting -> wait for running statements, at most drain_timeout_ms                      | Draining
//! cancel what still runs (57P01) -> end connections -> checkpoint, close -> unlock             | Ending
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use colonnade_execution::Engine;
use colonnade_storage::clock::SystemClock;
use colonnade_storage::disk::{DiskError, FileDisk};
use colonnade_storage::{Database, OpenError};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::credentials::Credentials;
use crate::http;
use crate::phase::Phase;
use crate::service::Service;
use crate::wire::cancel::CancelRegistry;
use crate::wire::listener;

/// Time that connections are given to end after their statements were cancelled.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest sleep of the maintenance thread, so that it notices time passing.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);
/// Pause after a failed step of maintenance.
const MAINTENANCE_RETRY: Duration = Duration::from_secs(1);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory of temporary files cannot be used.
    #[error("cannot use directory {}: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({option}): {error}")]
    Listen {
        /// The option that gave the address.
        option: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The data directory cannot be reached.
    #[error("cannot use data directory: {0}")]
    Disk(#[from] DiskError),
    /// The database cannot be opened.
    #[error("cannot open database: {0}")]
    Open(#[from] OpenError),
    /// The engine cannot be started.
    #[error("cannot start: {0}")]
    Engine(#[from] colonnade_execution::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Why a server did not end cleanly. What was acknowledged is durable all the same.
#[derive(Debug, thiserror::Error)]
#[error("cannot close database: {0}")]
pub struct StopError(String);

/// A server that accepts connections.
pub struct Server {
    engine: Engine,
    phase: watch::Sender<Phase>,
    drain_timeout: Duration,
    pg_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
    pg_task: Option<JoinHandle<()>>,
    http_task: Option<JoinHandle<()>>,
    workers: Workers,
}

/// The threads lent to storage.
struct Workers {
    database: Database,
    is_ending: Arc<AtomicBool>,
    maintenance: Option<thread::JoinHandle<()>>,
    log_writer: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Starts a server on the runtime that this is called on. On return it is recovered and accepts connections.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Server, StartError> {
        crate::metrics::recorder();
        let pg_listener = bind("pg_listen", config.pg_listen).await?;
        let http_listener = bind("http_listen", config.http_listen).await?;
        let pg_address = pg_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let http_address = http_listener.as_ref().and_then(|listener| listener.local_addr().ok());

        let (phase, phase_seen) = watch::channel(Phase::Serving);
        tokio::spawn(crate::metrics::tidy(phase_seen.clone()));
        // HTTP answers from the beginning, so that whoever watches the process can tell a recovery from a death.
        let service = Arc::new(OnceLock::new());
        let http_task =
            http_listener.map(|listener| tokio::spawn(http::serve(listener, Arc::clone(&service), phase_seen.clone())));

        let opening = {
            let config = config.clone();
            tokio::task::spawn_blocking(move || open(&config))
        };
        let opened = opening.await.unwrap_or_else(|panic| Err(StartError::Thread(io::Error::other(panic))));
        let (engine, workers) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(task) = http_task {
                    task.abort();
                }
                return Err(error);
            }
        };
        let shared = Arc::new(Service {
            engine: engine.clone(),
            cancels: CancelRegistry::default(),
            phase: phase_seen,
            seats: Arc::new(Semaphore::new(config.connections_max)),
            credentials: config.password.as_ref().map(|password| Credentials::new(&password.0)),
            config,
        });
        let drain_timeout = Duration::from_millis(shared.config.drain_timeout_ms);
        let _ = service.set(Arc::clone(&shared));
        let pg_task = pg_listener.map(|listener| tokio::spawn(listener::listen(shared, listener)));
        if let Some(address) = pg_address {
            tracing::info!(%address, "accepting PostgreSQL connections");
        }
        if let Some(address) = http_address {
            tracing::info!(%address, "accepting HTTP connections");
        }
        Ok(Server { engine, phase, drain_timeout, pg_address, http_address, pg_task, http_task, workers })
    }

    /// Where the PostgreSQL protocol is served.
    #[must_use]
    pub fn pg_address(&self) -> Option<SocketAddr> {
        self.pg_address
    }

    /// Where HTTP is served.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// The engine behind it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Lets running statements finish, cancels those that take too long, and closes the database with a checkpoint.
    ///
    /// # Errors
    /// If the last checkpoint could not be taken; the log has everything.
    pub async fn stop(self) -> Result<(), StopError> {
        let Server { engine, phase, drain_timeout, pg_task, http_task, workers, .. } = self;
        let _ = phase.send(Phase::Draining);
        let connections = async {
            for task in [pg_task, http_task].into_iter().flatten() {
                let _ = task.await;
            }
        };
        tokio::pin!(connections);
        if tokio::time::timeout(drain_timeout, &mut connections).await.is_err() {
            tracing::info!("cancelling statements that still run");
            let _ = phase.send(Phase::Ending);
            if tokio::time::timeout(ENDING_TIMEOUT, &mut connections).await.is_err() {
                tracing::warn!("some connections did not end in time");
            }
        }
        drop(engine);
        let closed = tokio::task::spawn_blocking(move || workers.close()).await;
        tracing::info!("database closed");
        match closed {
            Ok(result) => result,
            Err(panic) => Err(StopError(panic.to_string())),
        }
    }
}

async fn bind(option: &'static str, address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    match address {
        None => Ok(None),
        Some(address) => match TcpListener::bind(address).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) => Err(StartError::Listen { option, address, error }),
        },
    }
}

/// Opens the database and lends it its threads.
fn open(config: &Config) -> Result<(Engine, Workers), StartError> {
    let started = std::time::Instant::now();
    let disk = FileDisk::open(&config.data_dir)?;
    let database = Database::open(Arc::new(disk), Arc::new(SystemClock::new()), config.storage.clone())?;
    tracing::info!(milliseconds = started.elapsed().as_millis(), "database open");
    // Only now, as the owner of the data directory: another process may be spilling otherwise.
    let engine_options = config.engine();
    empty_directory(&engine_options.temp_dir)
        .map_err(|error| StartError::Directory { path: engine_options.temp_dir.clone(), error })?;
    let workers = Workers::start(&database).map_err(StartError::Thread)?;
    let engine = match Engine::new(database, engine_options) {
        Ok(engine) => engine,
        Err(error) => {
            let _ = workers.close();
            return Err(error.into());
        }
    };
    Ok((engine, workers))
}

/// Leaves an empty directory behind: what an earlier process spilled is of no use.
fn empty_directory(path: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::fs::create_dir_all(path)
}

impl Workers {
    fn start(database: &Database) -> io::Result<Workers> {
        let is_ending = Arc::new(AtomicBool::new(false));
        let log_writer = {
            let database = database.clone();
            thread::Builder::new().name("log-writer".to_owned()).spawn(move || database.run_log_writer())?
        };
        let maintenance = {
            let (database, is_ending) = (database.clone(), Arc::clone(&is_ending));
            thread::Builder::new().name("maintenance".to_owned()).spawn(move || maintain(&database, &is_ending))
        };
        let mut workers =
            Workers { database: database.clone(), is_ending, maintenance: None, log_writer: Some(log_writer) };
        match maintenance {
            Ok(handle) => workers.maintenance = Some(handle),
            Err(error) => {
                let _ = workers.close();
                return Err(error);
            }
        }
        Ok(workers)
    }

    fn close(mut self) -> Result<(), StopError> {
        self.is_ending.store(true, Ordering::SeqCst);
        if let Some(thread) = self.maintenance.take() {
            let _ = thread.join();
        }
        let closed = self.database.close().map_err(|error| StopError(error.to_string()));
        if let Some(thread) = self.log_writer.take() {
            let _ = thread.join();
        }
        closed
    }
}

/// Flushes, takes checkpoints and collects garbage whenever the database asks for it.
fn maintain(database: &Database, is_ending: &AtomicBool) {
    while !is_ending.load(Ordering::SeqCst) {
        match database.maintain() {
            Ok(report) => {
                if report.flushed_rows > 0 || report.compacted_rows > 0 || report.checkpoint {
                    tracing::debug!(?report, "maintenance");
                }
                if !report.more {
                    database.wait_for_work(MAINTENANCE_INTERVAL);
                }
            }
            Err(error) => {
                tracing::error!(%error, "maintenance failed, and will be tried again");
                thread::sleep(MAINTENANCE_RETRY);
            }
        }
    }
}
