//! Who waits for whom: waiting for a transaction's end, and finding deadlocks.
//!
//! Storage never blocks on a transaction. A write that meets another's says so, and the caller awaits [`TransactionEnd`] and tries again. While it
//! does, an edge waiter → holder is in the graph; an edge that would close a cycle is refused with [`Deadlock`], so the graph has no cycle.
//!
//! **Invariant.** A transaction is in `running` from its begin until its writes are visible or undone; then all that wait for it are woken.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use colonnade_types::TxnId;
use futures::channel::oneshot;
use parking_lot::Mutex;

use crate::error::Deadlock;
use crate::locks::{LockMode, LockTarget};

/// What a transaction waits for another to give up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A row or a key, which is free when the other has ended.
    Transaction,
    /// A lock.
    Lock(LockTarget, LockMode),
}

/// One transaction waits for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitEdge {
    /// Who waits.
    pub waiter: TxnId,
    /// For whom.
    pub holder: TxnId,
    /// For what.
    pub awaited: Awaited,
}

#[derive(Debug, Default)]
struct Graph {
    /// Running transactions, and whom to wake when they end.
    running: HashMap<TxnId, Vec<oneshot::Sender<()>>>,
    /// By waiter, with the number of the wait.
    edges: HashMap<TxnId, (WaitEdge, u64)>,
    waits: u64,
}

/// The running transactions and the wait-for graph.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    graph: Mutex<Graph>,
}

impl Waits {
    /// Notes that a transaction runs.
    pub(crate) fn begin(&self, txn: TxnId) {
        self.graph.lock().running.insert(txn, Vec::new());
    }

    /// Notes that a transaction has ended, and wakes whoever waits for it.
    pub(crate) fn end(&self, txn: TxnId) {
        let woken = {
            let mut graph = self.graph.lock();
            graph.edges.remove(&txn);
            graph.running.remove(&txn).unwrap_or_default()
        };
        for sender in woken {
            // A waiter that has gone away needs no waking.
            let _ = sender.send(());
        }
    }

    /// Wakes whoever waits for a transaction that goes on: it has given something back.
    pub(crate) fn wake(&self, txn: TxnId) {
        let woken = self.graph.lock().running.get_mut(&txn).map(std::mem::take).unwrap_or_default();
        for sender in woken {
            // A waiter that has gone away needs no waking.
            let _ = sender.send(());
        }
    }

    /// Whether a transaction has begun and not yet ended.
    pub(crate) fn is_running(&self, txn: TxnId) -> bool {
        self.graph.lock().running.contains_key(&txn)
    }

    /// Running transactions.
    pub(crate) fn running(&self) -> usize {
        self.graph.lock().running.len()
    }

    /// Transactions that wait for another.
    pub(crate) fn waiting(&self) -> usize {
        self.graph.lock().edges.len()
    }

    /// Begins a wait.
    pub(crate) fn wait_for(self: &Arc<Self>, waiter: TxnId, holder: TxnId, awaited: Awaited) -> TransactionEnd {
        let mut graph = self.graph.lock();
        if !graph.running.contains_key(&holder) {
            return TransactionEnd { wait: Wait::Over(Ok(())) };
        }
        let edge = WaitEdge { waiter, holder, awaited };
        let mut cycle = vec![edge.clone()];
        let mut next = holder;
        loop {
            if next == waiter {
                return TransactionEnd { wait: Wait::Over(Err(Deadlock { cycle })) };
            }
            match graph.edges.get(&next) {
                Some((after, _)) => {
                    next = after.holder;
                    cycle.push(after.clone());
                }
                None => break,
            }
        }
        graph.waits += 1;
        let number = graph.waits;
        graph.edges.insert(waiter, (edge, number));
        let (sender, receiver) = oneshot::channel();
        if let Some(senders) = graph.running.get_mut(&holder) {
            // Waits that were given up would pile up behind a long transaction.
            senders.retain(|sender| !sender.is_canceled());
            senders.push(sender);
        }
        drop(graph);
        TransactionEnd { wait: Wait::Edge { waits: Arc::clone(self), waiter, number, receiver } }
    }

    fn give_up(&self, waiter: TxnId, number: u64) {
        let mut graph = self.graph.lock();
        if graph.edges.get(&waiter).is_some_and(|(_, own)| *own == number) {
            graph.edges.remove(&waiter);
        }
    }
}

#[derive(Debug)]
enum Wait {
    Over(Result<(), Deadlock>),
    Edge { waits: Arc<Waits>, waiter: TxnId, number: u64, receiver: oneshot::Receiver<()> },
}

/// A future that is ready when a transaction has ended, or at once with [`Deadlock`]. Dropping it ends the wait.
#[derive(Debug)]
#[must_use = "a wait that is dropped is over"]
pub struct TransactionEnd {
    wait: Wait,
}

impl Future for TransactionEnd {
    type Output = Result<(), Deadlock>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.wait {
            Wait::Over(result) => Poll::Ready(result.clone()),
            // A sender that was dropped has ended too.
            Wait::Edge { receiver, .. } => Pin::new(receiver).poll(context).map(|_| Ok(())),
        }
    }
}

impl Drop for TransactionEnd {
    fn drop(&mut self) {
        if let Wait::Edge { waits, waiter, number, .. } = &self.wait {
            waits.give_up(*waiter, *number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn waits(running: std::ops::Range<u64>) -> Arc<Waits> {
        let waits = Arc::new(Waits::default());
        running.for_each(|txn| waits.begin(TxnId(txn)));
        waits
    }

    fn edge(waiter: u64, holder: u64) -> WaitEdge {
        WaitEdge { waiter: TxnId(waiter), holder: TxnId(holder), awaited: Awaited::Transaction }
    }

    fn wait_for(waits: &Arc<Waits>, waiter: u64, holder: u64) -> TransactionEnd {
        waits.wait_for(TxnId(waiter), TxnId(holder), Awaited::Transaction)
    }

    #[test]
    fn a_wait_ends_with_the_holder() {
        let waits = waits(1..3);
        let mut wait = wait_for(&waits, 1, 2);
        assert_eq!((&mut wait).now_or_never(), None);
        assert!(waits.is_running(TxnId(2)));
        waits.end(TxnId(2));
        assert!(!waits.is_running(TxnId(2)), "before any waiter has noticed");
        assert_eq!(wait.now_or_never(), Some(Ok(())));
        assert_eq!(wait_for(&waits, 1, 2).now_or_never(), Some(Ok(())), "ended long ago");
    }

    #[test]
    fn the_wait_that_closes_a_cycle_is_a_deadlock() {
        let waits = waits(1..4);
        let one = wait_for(&waits, 1, 2);
        let two = wait_for(&waits, 2, 3);
        let cycle = vec![edge(3, 1), edge(1, 2), edge(2, 3)];
        assert_eq!(wait_for(&waits, 3, 1).now_or_never(), Some(Err(Deadlock { cycle })));
        assert_eq!(wait_for(&waits, 3, 3).now_or_never(), Some(Err(Deadlock { cycle: vec![edge(3, 3)] })));
        drop(two);
        assert_eq!(wait_for(&waits, 3, 1).now_or_never(), None, "the cycle is open again");
        drop(one);
    }
}
