//! Locks on relations and names, held until the transaction ends or is rolled back to a savepoint from before.
//!
//! The modes are PostgreSQL's table lock modes with its table of conflicts. Statements that write rows hold ROW EXCLUSIVE, those that lock rows ROW SHARE, DDL
//! ACCESS EXCLUSIVE. Readers take no lock: they read what their snapshot holds.
//!
//! Whoever was refused a lock stands in the lock's queue, and newcomers whose mode conflicts with it wait behind it, so that a stream of writers does not keep
//! DDL out for ever. Who holds a lock already is no newcomer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use colonnade_types::{Oid, TxnId};
use parking_lot::Mutex;

/// What is locked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LockTarget {
    /// A relation, by oid.
    Relation(Oid),
    /// The readers of a relation, who lock it only while [`Database::are_readers_kept_out`](crate::Database::are_readers_kept_out).
    Readers(Oid),
    /// A name in a schema, taken or not, so that no two transactions create it.
    Name(Oid, String),
    /// The name of a schema.
    Schema(String),
}

/// How it is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// Conflicts with ACCESS EXCLUSIVE only.
    AccessShare,
    /// What statements take that lock rows.
    RowShare,
    /// What statements take that write rows.
    RowExclusive,
    /// Like SHARE, but admits writers, and not itself.
    ShareUpdateExclusive,
    /// Keeps writers out.
    Share,
    /// Keeps writers and itself out.
    ShareRowExclusive,
    /// Admits readers only.
    Exclusive,
    /// One alone: DDL.
    AccessExclusive,
}

/// All modes, in PostgreSQL's order.
pub const LOCK_MODES: [LockMode; 8] = [
    LockMode::AccessShare,
    LockMode::RowShare,
    LockMode::RowExclusive,
    LockMode::ShareUpdateExclusive,
    LockMode::Share,
    LockMode::ShareRowExclusive,
    LockMode::Exclusive,
    LockMode::AccessExclusive,
];

impl LockMode {
    /// Whether two transactions cannot hold these on one target.
    #[must_use]
    pub fn conflicts_with(self, other: LockMode) -> bool {
        self.conflicts() & other.bit() != 0
    }

    /// PostgreSQL's name of it in messages: `RowExclusiveLock`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LockMode::AccessShare => "AccessShareLock",
            LockMode::RowShare => "RowShareLock",
            LockMode::RowExclusive => "RowExclusiveLock",
            LockMode::ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            LockMode::Share => "ShareLock",
            LockMode::ShareRowExclusive => "ShareRowExclusiveLock",
            LockMode::Exclusive => "ExclusiveLock",
            LockMode::AccessExclusive => "AccessExclusiveLock",
        }
    }

    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The modes that it conflicts with, as bits.
    fn conflicts(self) -> u8 {
        match self {
            LockMode::AccessShare => 0b1000_0000,
            LockMode::RowShare => 0b1100_0000,
            LockMode::RowExclusive => 0b1111_0000,
            LockMode::ShareUpdateExclusive => 0b1111_1000,
            LockMode::Share => 0b1110_1100,
            LockMode::ShareRowExclusive => 0b1111_1100,
            LockMode::Exclusive => 0b1111_1110,
            LockMode::AccessExclusive => 0b1111_1111,
        }
    }
}

#[derive(Debug, Default)]
struct Lock {
    /// With the modes that they hold, as bits.
    holders: Vec<(TxnId, u8)>,
    /// Who was refused and may be waiting, the first first.
    queue: Vec<(TxnId, LockMode)>,
}

impl Lock {
    fn held_by(&self, txn: TxnId) -> u8 {
        self.holders.iter().find(|(holder, _)| *holder == txn).map_or(0, |(_, modes)| *modes)
    }

    /// Somebody who stands in the way.
    fn obstacle(&self, txn: TxnId, mode: LockMode) -> Option<TxnId> {
        let conflicts = mode.conflicts();
        let holds = |(holder, modes): &&(TxnId, u8)| *holder != txn && modes & conflicts != 0;
        if let Some((holder, _)) = self.holders.iter().find(holds) {
            return Some(*holder);
        }
        if self.held_by(txn) != 0 {
            return None;
        }
        let before = self.queue.iter().take_while(|(waiter, _)| *waiter != txn);
        before.filter(|(_, wanted)| wanted.bit() & conflicts != 0).map(|(waiter, _)| *waiter).next()
    }
}

/// All locks.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    locks: Mutex<HashMap<LockTarget, Lock>>,
    /// Relations whose readers are locked.
    readers: AtomicUsize,
}

impl Locks {
    /// Takes a lock; else returns a transaction that stands in the way, and with `queue` puts the wish into the lock's queue.
    pub(crate) fn acquire(&self, txn: TxnId, target: &LockTarget, mode: LockMode, queue: bool) -> Result<(), TxnId> {
        let mut locks = self.locks.lock();
        let lock = match locks.get_mut(target) {
            Some(lock) => lock,
            None => {
                if matches!(target, LockTarget::Readers(_)) {
                    self.readers.fetch_add(1, Ordering::SeqCst);
                }
                locks.entry(target.clone()).or_default()
            }
        };
        if let Some(other) = lock.obstacle(txn, mode) {
            if queue && !lock.queue.contains(&(txn, mode)) {
                lock.queue.push((txn, mode));
            }
            return Err(other);
        }
        lock.queue.retain(|wish| *wish != (txn, mode));
        match lock.holders.iter_mut().find(|(holder, _)| *holder == txn) {
            Some((_, modes)) => *modes |= mode.bit(),
            None => lock.holders.push((txn, mode.bit())),
        }
        Ok(())
    }

    /// Whether some relation's readers are locked.
    pub(crate) fn are_readers_locked(&self) -> bool {
        self.readers.load(Ordering::SeqCst) > 0
    }

    /// Gives up a transaction's locks and wishes on `targets`.
    pub(crate) fn release<'a>(&self, txn: TxnId, targets: impl Iterator<Item = &'a LockTarget>) {
        self.change(targets, |lock| {
            lock.holders.retain(|(holder, _)| *holder != txn);
            lock.queue.retain(|(waiter, _)| *waiter != txn);
        });
    }

    /// Gives up a transaction's wishes on `targets`.
    pub(crate) fn forget_wishes<'a>(&self, txn: TxnId, targets: impl Iterator<Item = &'a LockTarget>) {
        self.change(targets, |lock| lock.queue.retain(|(waiter, _)| *waiter != txn));
    }

    /// Gives up one mode of a transaction's lock.
    pub(crate) fn release_mode(&self, txn: TxnId, target: &LockTarget, mode: LockMode) {
        self.change(std::iter::once(target), |lock| {
            for (_, modes) in lock.holders.iter_mut().filter(|(holder, _)| *holder == txn) {
                *modes &= !mode.bit();
            }
            lock.holders.retain(|(_, modes)| *modes != 0);
        });
    }

    fn change<'a>(&self, targets: impl Iterator<Item = &'a LockTarget>, change: impl Fn(&mut Lock)) {
        let mut locks = self.locks.lock();
        for target in targets {
            if let Some(lock) = locks.get_mut(target) {
                change(lock);
                if lock.holders.is_empty() && lock.queue.is_empty() {
                    locks.remove(target);
                    if matches!(target, LockTarget::Readers(_)) {
                        self.readers.fetch_sub(1, Ordering::SeqCst);
                    }
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

    /// The table of PostgreSQL's manual, "Conflicting Lock Modes", a row for each mode.
    const CONFLICTS: [&str; 8] =
        ["       X", "      XX", "    XXXX", "   XXXXX", "  XX XXX", "  XXXXXX", " XXXXXXX", "XXXXXXXX"];

    #[test]
    fn every_pair_of_modes_meets_as_in_postgresql() {
        for (held, row) in LOCK_MODES.iter().zip(CONFLICTS) {
            for (wanted, cell) in LOCK_MODES.iter().zip(row.chars()) {
                let locks = Locks::default();
                let table = LockTarget::Relation(Oid(1));
                assert_eq!(held.conflicts_with(*wanted), cell == 'X', "{held:?} {wanted:?}");
                assert_eq!(locks.acquire(A, &table, *held, true), Ok(()));
                assert_eq!(locks.acquire(A, &table, *wanted, true), Ok(()), "its own locks are no obstacle");
                locks.release_mode(A, &table, *wanted);
                if held == wanted {
                    assert!(locks.locks.lock().is_empty());
                    continue;
                }
                let expected = if cell == 'X' { Err(A) } else { Ok(()) };
                assert_eq!(locks.acquire(B, &table, *wanted, true), expected, "{held:?} {wanted:?}");
                locks.release(A, [&table].into_iter());
                assert_eq!(locks.acquire(B, &table, *wanted, true), Ok(()));
                locks.release(B, [&table].into_iter());
                assert!(locks.locks.lock().is_empty());
            }
        }
    }

    #[test]
    fn newcomers_wait_behind_one_who_wants_it_alone() {
        let locks = Locks::default();
        let name = LockTarget::Name(Oid(1), "t".to_owned());
        let (writer, ddl) = (LockMode::RowExclusive, LockMode::AccessExclusive);
        assert_eq!(locks.acquire(A, &name, writer, true), Ok(()));
        assert_eq!(locks.acquire(B, &name, ddl, true), Err(A));
        assert_eq!(locks.acquire(C, &name, writer, true), Err(B));
        assert_eq!(locks.acquire(A, &name, LockMode::Share, true), Ok(()), "the holder is not a newcomer");
        locks.forget_wishes(B, [&name].into_iter());
        locks.release_mode(A, &name, LockMode::Share);
        assert_eq!(locks.acquire(C, &name, writer, true), Ok(()));
    }

    #[test]
    fn who_does_not_queue_is_in_nobodys_way() {
        let locks = Locks::default();
        let table = LockTarget::Relation(Oid(1));
        assert_eq!(locks.acquire(A, &table, LockMode::RowExclusive, true), Ok(()));
        assert_eq!(locks.acquire(B, &table, LockMode::AccessExclusive, false), Err(A));
        assert_eq!(locks.acquire(C, &table, LockMode::RowExclusive, true), Ok(()));
    }
}
