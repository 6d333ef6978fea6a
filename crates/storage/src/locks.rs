//! Locks on relations and names, held until the transaction ends.
//!
//! Writers of rows share a relation; DDL has it alone. Readers take no lock: they read what their snapshot holds. A transaction that was refused an
//! exclusive lock is remembered, and newcomers to the shared lock wait behind it, so that a stream of writers does not keep DDL out for ever.

use std::collections::HashMap;

use colonnade_types::{Oid, TxnId};
use parking_lot::Mutex;

/// What is locked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LockTarget {
    /// A relation, by oid.
    Relation(Oid),
    /// A name in a schema, taken or not, so that no two transactions create it.
    Name(Oid, String),
    /// The name of a schema.
    Schema(String),
}

/// How it is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Many may hold it: writers of rows.
    Shared,
    /// One alone: DDL.
    Exclusive,
}

#[derive(Debug, Default)]
struct Lock {
    exclusive: Option<TxnId>,
    shared: Vec<TxnId>,
    /// Who was refused the exclusive lock and may be waiting for it.
    wanted: Option<TxnId>,
}

/// All locks.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    locks: Mutex<HashMap<LockTarget, Lock>>,
}

impl Locks {
    /// Takes a lock, or strengthens one that is held; else returns a transaction that stands in the way.
    pub(crate) fn acquire(&self, txn: TxnId, target: &LockTarget, mode: LockMode) -> Result<(), TxnId> {
        let mut locks = self.locks.lock();
        let lock = match locks.get_mut(target) {
            Some(lock) => lock,
            None => locks.entry(target.clone()).or_default(),
        };
        match lock.exclusive {
            Some(holder) if holder == txn => return Ok(()),
            Some(holder) => return Err(holder),
            None => {}
        }
        match mode {
            LockMode::Shared => {
                if lock.shared.contains(&txn) {
                    return Ok(());
                }
                if let Some(wanted) = lock.wanted.filter(|wanted| *wanted != txn) {
                    return Err(wanted);
                }
                lock.shared.push(txn);
            }
            LockMode::Exclusive => {
                if let Some(other) = lock.shared.iter().find(|holder| **holder != txn) {
                    let other = *other;
                    lock.wanted.get_or_insert(txn);
                    return Err(other);
                }
                lock.shared.clear();
                lock.wanted = lock.wanted.filter(|wanted| *wanted != txn);
                lock.exclusive = Some(txn);
            }
        }
        Ok(())
    }

    /// Gives up a transaction's locks and wishes on `targets`.
    pub(crate) fn release<'a>(&self, txn: TxnId, targets: impl Iterator<Item = &'a LockTarget>) {
        let mut locks = self.locks.lock();
        for target in targets {
            if let Some(lock) = locks.get_mut(target) {
                lock.exclusive = lock.exclusive.filter(|holder| *holder != txn);
                lock.wanted = lock.wanted.filter(|wanted| *wanted != txn);
                lock.shared.retain(|holder| *holder != txn);
                if lock.exclusive.is_none() && lock.wanted.is_none() && lock.shared.is_empty() {
                    locks.remove(target);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TxnId = TxnId(1);
    const B: TxnId = TxnId(2);
    const C: TxnId = TxnId(3);

    #[test]
    fn sharers_share_and_one_alone_is_alone() {
        let locks = Locks::default();
        let table = LockTarget::Relation(Oid(1));
        assert_eq!(locks.acquire(A, &table, LockMode::Shared), Ok(()));
        assert_eq!(locks.acquire(B, &table, LockMode::Shared), Ok(()));
        assert_eq!(locks.acquire(A, &table, LockMode::Exclusive), Err(B));
        locks.release(B, [&table].into_iter());
        assert_eq!(locks.acquire(A, &table, LockMode::Exclusive), Ok(()), "strengthened");
        assert_eq!(locks.acquire(A, &table, LockMode::Shared), Ok(()), "held more strongly already");
        assert_eq!(locks.acquire(B, &table, LockMode::Shared), Err(A));
        locks.release(A, [&table].into_iter());
        assert!(locks.locks.lock().is_empty());
    }

    #[test]
    fn newcomers_wait_behind_one_who_wants_it_alone() {
        let locks = Locks::default();
        let name = LockTarget::Name(Oid(1), "t".to_owned());
        assert_eq!(locks.acquire(A, &name, LockMode::Shared), Ok(()));
        assert_eq!(locks.acquire(B, &name, LockMode::Exclusive), Err(A));
        assert_eq!(locks.acquire(C, &name, LockMode::Shared), Err(B));
        assert_eq!(locks.acquire(A, &name, LockMode::Shared), Ok(()), "the holder is not a newcomer");
        locks.release(B, [&name].into_iter());
        assert_eq!(locks.acquire(C, &name, LockMode::Shared), Ok(()));
    }
}
