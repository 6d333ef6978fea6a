//! Accepting PostgreSQL connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::connection;
use crate::phase::Phase;
use crate::service::Service;

/// Sockets beyond the seats that may be open at a time: clients that are refused politely, and cancel requests.
const SPARE_SOCKETS: usize = 100;

/// Accepts connections until the process drains, then waits until the last one has ended.
pub(crate) async fn listen(service: Arc<Service>, listener: TcpListener) {
    let mut tasks = JoinSet::new();
    let sockets = Arc::new(Semaphore::new(service.config.connections_max + SPARE_SOCKETS));
    let mut phase = service.phase.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
        };
        match accepted {
            Ok((socket, address)) => {
                let Ok(permit) = Arc::clone(&sockets).try_acquire_owned() else {
                    tracing::warn!(%address, "connection dropped: too many sockets are open");
                    continue;
                };
                tracing::debug!(%address, "connection accepted");
                let service = Arc::clone(&service);
                tasks.spawn(async move {
                    connection::serve(service, socket).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely; trying again at once would only burn the processor.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}
