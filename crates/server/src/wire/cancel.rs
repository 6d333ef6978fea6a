//! Who may stop whom: the connections by the key that each client was given.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use colonnade_execution::CancelHandle;
use parking_lot::Mutex;

/// Bytes of a key under protocol 3.2; 3.0 has room for four.
const LONG_KEY_BYTES: usize = 32;

/// The open connections, as cancel requests find them.
#[derive(Clone, Default)]
pub(crate) struct CancelRegistry {
    entries: Arc<Mutex<HashMap<i32, Entry>>>,
    next_id: Arc<AtomicI32>,
}

struct Entry {
    key: Vec<u8>,
    handle: CancelHandle,
}

/// A connection's place in the registry; leaves it when dropped.
pub(crate) struct Registration {
    registry: CancelRegistry,
    /// The number that `pg_backend_pid()` shows.
    pub(crate) process_id: i32,
    /// The key that cancels this connection's statements.
    pub(crate) key: Vec<u8>,
}

impl CancelRegistry {
    /// Numbers a connection and gives it a key nobody can guess.
    pub(crate) fn register(&self, has_long_key: bool) -> Registration {
        // Positive numbers, and a start again after two billion connections.
        let process_id = self.next_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & i32::MAX;
        let mut key = [*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()].concat();
        // The first four bytes of a random uuid are random in every bit.
        key.truncate(if has_long_key { LONG_KEY_BYTES } else { 4 });
        Registration { registry: self.clone(), process_id: process_id.max(1), key }
    }

    /// Cancels the running statement of a connection if the key is its own. Tells nobody whether it was.
    pub(crate) fn cancel(&self, process_id: i32, key: &[u8]) {
        let entries = self.entries.lock();
        if let Some(entry) = entries.get(&process_id) {
            let differences = entry.key.iter().zip(key).fold(0, |all, (a, b)| all | (a ^ b));
            if entry.key.len() == key.len() && differences == 0 {
                entry.handle.cancel();
            }
        }
    }
}

impl Registration {
    /// Makes the connection reachable for cancel requests.
    pub(crate) fn activate(&self, handle: CancelHandle) {
        self.registry.entries.lock().insert(self.process_id, Entry { key: self.key.clone(), handle });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.entries.lock().remove(&self.process_id);
    }
}
