//! Stamps: who created, deleted or locked a row version, and what that means to a snapshot.
//!
//! ```text
//!  63 62                      23 22                 1 0
//! +--+--------------------------+--------------------+-+
//! | 0|               commit LSN                        |   committed; all zeros: never happened
//! | 1| transaction (40 bits)    | command (22 bits)  |k|   running; k: the delete is half of an update that keeps the row's keys
//! | 1| transaction              | all ones           |k|   locked by one, not deleted; k: FOR NO KEY UPDATE, else FOR UPDATE
//! | 1| number of the set        | all ones but the 0 |0|   locked FOR SHARE by a set of transactions, not deleted
//! | 1| all ones                 | all ones           |1|   aborted
//! +--+--------------------------+--------------------+-+
//! ```
//!
//! Locks stand where a delete would, since whoever wants to delete or lock a row has to look there. No view sees them: the row is alive.
//!
//! **Invariant.** A stamp moves from running to committed or aborted once, and never back; locks come and go before that. A commit LSN that appears is
//! greater than the read LSN of every snapshot that exists at that moment, so what a snapshot sees does not change.

use colonnade_types::{Lsn, TxnId};

const RUNNING: u64 = 1 << 63;
const KEEPS_KEY: u64 = 1;
const COMMAND_BITS: u32 = 22;
const COMMAND_SHIFT: u32 = 1;
const TXN_SHIFT: u32 = COMMAND_SHIFT + COMMAND_BITS;
const COMMAND_MASK: u64 = (1 << COMMAND_BITS) - 1;
/// Commands that are none.
const LOCKED: u64 = COMMAND_MASK;
const SHARED: u64 = COMMAND_MASK - 1;

/// The greatest command number that a stamp holds.
pub const COMMAND_MAX: u32 = (1 << COMMAND_BITS) - 3;
/// The greatest transaction id that a stamp holds.
pub const TXN_MAX: u64 = (1 << 40) - 2;

/// A created or deleted stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(pub u64);

/// What a stamp says, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampState {
    /// It has not happened (a row that nobody deleted).
    Never,
    /// It is committed.
    Committed(Lsn),
    /// A transaction did it that has not ended, at this command of it.
    Running(TxnId, u32),
    /// It has not happened, and a running transaction keeps others from doing it.
    Locked(TxnId),
    /// It has not happened, and the transactions of this set keep others from doing it.
    Shared(ShareSet),
    /// It was undone.
    Aborted,
}

/// The number of a set of transactions that share a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareSet(pub u64);

impl Stamp {
    /// It has not happened.
    pub const NEVER: Stamp = Stamp(0);
    /// It was undone.
    pub const ABORTED: Stamp = Stamp(u64::MAX);

    /// The stamp of a commit.
    #[must_use]
    pub fn committed(lsn: Lsn) -> Stamp {
        assert!(lsn.0 != 0 && lsn.0 < RUNNING, "a commit LSN has 63 bits and is not zero");
        Stamp(lsn.0)
    }

    /// The stamp of a running transaction's command.
    #[must_use]
    pub fn running(txn: TxnId, command: u32) -> Stamp {
        assert!(txn.0 <= TXN_MAX, "a transaction id has 40 bits");
        assert!(command <= COMMAND_MAX, "a command number has 22 bits");
        Stamp(RUNNING | txn.0 << TXN_SHIFT | u64::from(command) << COMMAND_SHIFT)
    }

    /// The same delete, as half of an update that keeps the row's keys.
    #[must_use]
    pub fn keeping_key(self) -> Stamp {
        assert!(matches!(self.state(), StampState::Running(..)), "only a running delete can keep the row's keys");
        Stamp(self.0 | KEEPS_KEY)
    }

    /// The same delete, without saying that it keeps the row's keys.
    #[must_use]
    pub fn giving_up_key(self) -> Stamp {
        assert!(matches!(self.state(), StampState::Running(..)), "only a running delete can keep the row's keys");
        Stamp(self.0 & !KEEPS_KEY)
    }

    /// A lock of one transaction, which excludes every change but those of foreign keys' shares if `keeps_key`.
    #[must_use]
    pub fn locked(txn: TxnId, keeps_key: bool) -> Stamp {
        assert!(txn.0 <= TXN_MAX, "a transaction id has 40 bits");
        Stamp(RUNNING | txn.0 << TXN_SHIFT | LOCKED << COMMAND_SHIFT | if keeps_key { KEEPS_KEY } else { 0 })
    }

    /// A lock shared by the transactions of a set.
    #[must_use]
    pub fn shared(set: ShareSet) -> Stamp {
        assert!(set.0 <= TXN_MAX, "the number of a set has 40 bits");
        Stamp(RUNNING | set.0 << TXN_SHIFT | SHARED << COMMAND_SHIFT)
    }

    /// Of a running delete or a lock: whether the row's keys stay what they are.
    #[must_use]
    pub fn keeps_key(self) -> bool {
        match self.state() {
            StampState::Running(..) | StampState::Locked(_) => self.0 & KEEPS_KEY != 0,
            StampState::Shared(_) => true,
            StampState::Never | StampState::Committed(_) | StampState::Aborted => false,
        }
    }

    /// Whether it is a lock and no more.
    #[must_use]
    pub fn is_lock(self) -> bool {
        matches!(self.state(), StampState::Locked(_) | StampState::Shared(_))
    }

    /// Unpacks it.
    #[must_use]
    pub fn state(self) -> StampState {
        match self.0 {
            0 => StampState::Never,
            u64::MAX => StampState::Aborted,
            bits if bits & RUNNING == 0 => StampState::Committed(Lsn(bits)),
            bits => {
                let holder = (bits & !RUNNING) >> TXN_SHIFT;
                match (bits >> COMMAND_SHIFT) & COMMAND_MASK {
                    LOCKED => StampState::Locked(TxnId(holder)),
                    SHARED => StampState::Shared(ShareSet(holder)),
                    command => StampState::Running(TxnId(holder), u32::try_from(command).unwrap_or(COMMAND_MAX)),
                }
            }
        }
    }

    /// Whether it was made by `txn`, which is running.
    #[must_use]
    pub fn is_of(self, txn: TxnId) -> bool {
        matches!(self.state(), StampState::Running(owner, _) if owner == txn)
    }
}

/// From where a snapshot looks: what was committed by `lsn`, and one transaction's own earlier commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    lsn: u64,
    /// Own stamps are in `own_first..own_end`; empty without an own transaction.
    own_first: u64,
    own_end: u64,
}

impl View {
    /// What was committed by `lsn`.
    #[must_use]
    pub fn committed(lsn: Lsn) -> View {
        View { lsn: lsn.0, own_first: 0, own_end: 0 }
    }

    /// What was committed by `lsn`, and the commands of `txn` before `command`.
    #[must_use]
    pub fn own(lsn: Lsn, txn: TxnId, command: u32) -> View {
        View { lsn: lsn.0, own_first: Stamp::running(txn, 0).0, own_end: Stamp::running(txn, command).0 }
    }

    /// The read LSN.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        Lsn(self.lsn)
    }

    /// Whether what `stamp` stands for has happened, seen from here.
    #[inline]
    #[must_use]
    pub fn sees(&self, stamp: Stamp) -> bool {
        // Running and aborted stamps and locks are greater than every LSN; a lock is behind its transaction's last command.
        (stamp.0 != 0 && stamp.0 <= self.lsn) || (self.own_first <= stamp.0 && stamp.0 < self.own_end)
    }

    /// Whether a row version with these stamps is visible from here.
    #[inline]
    #[must_use]
    pub fn shows(&self, created: Stamp, deleted: Stamp) -> bool {
        self.sees(created) && !self.sees(deleted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_stamp_survives_packing() {
        for lsn in [1, 2, 1 << 40, RUNNING - 1] {
            assert_eq!(Stamp::committed(Lsn(lsn)).state(), StampState::Committed(Lsn(lsn)));
        }
        for txn in [0, 1, 77, TXN_MAX] {
            for command in [0, 1, COMMAND_MAX] {
                let stamp = Stamp::running(TxnId(txn), command);
                assert_eq!(stamp.state(), StampState::Running(TxnId(txn), command));
                assert!(stamp.is_of(TxnId(txn)));
                assert!(!stamp.is_of(TxnId(txn ^ 1)));
            }
        }
        for txn in [0, 1, TXN_MAX].map(TxnId) {
            for keeps_key in [false, true] {
                let lock = Stamp::locked(txn, keeps_key);
                assert_eq!(
                    (lock.state(), lock.keeps_key(), lock.is_lock()),
                    (StampState::Locked(txn), keeps_key, true)
                );
            }
            let (delete, set) = (Stamp::running(txn, COMMAND_MAX), ShareSet(txn.0));
            assert_eq!((delete.keeps_key(), delete.keeping_key().keeps_key()), (false, true));
            assert_eq!(delete.keeping_key().state(), delete.state());
            assert_eq!(delete.keeping_key().giving_up_key(), delete);
            assert_eq!(Stamp::shared(set).state(), StampState::Shared(set));
        }
        assert_eq!(Stamp::NEVER.state(), StampState::Never);
        assert_eq!(Stamp::ABORTED.state(), StampState::Aborted);
    }

    /// The rule in words, against the comparison of integers, over every pair of stamps of a small world.
    #[test]
    fn visibility_follows_the_rule_for_every_pair() {
        let mut stamps = vec![Stamp::NEVER, Stamp::ABORTED];
        stamps.extend((1..5).map(|lsn| Stamp::committed(Lsn(lsn))));
        for txn in [0, 1, 2, TXN_MAX] {
            stamps.extend([0, 1, 2, COMMAND_MAX].map(|command| Stamp::running(TxnId(txn), command)));
            stamps.extend([0, 1, 2, COMMAND_MAX].map(|command| Stamp::running(TxnId(txn), command).keeping_key()));
            stamps.extend([
                Stamp::locked(TxnId(txn), false),
                Stamp::locked(TxnId(txn), true),
                Stamp::shared(ShareSet(txn)),
            ]);
        }
        let happened = |stamp: Stamp, lsn: u64, own: Option<(u64, u32)>| match stamp.state() {
            StampState::Never | StampState::Aborted | StampState::Locked(_) | StampState::Shared(_) => false,
            StampState::Committed(at) => at.0 <= lsn,
            StampState::Running(txn, at) => own.is_some_and(|(own, command)| own == txn.0 && at < command),
        };
        for lsn in 0..6 {
            let owners = [0, 1, 2, TXN_MAX].iter().flat_map(|t| [0, 1, 2, COMMAND_MAX].map(|c| Some((*t, c))));
            for own in owners.chain([None]) {
                let view = match own {
                    Some((txn, command)) => View::own(Lsn(lsn), TxnId(txn), command),
                    None => View::committed(Lsn(lsn)),
                };
                for created in &stamps {
                    for deleted in &stamps {
                        let expected = happened(*created, lsn, own) && !happened(*deleted, lsn, own);
                        assert_eq!(view.shows(*created, *deleted), expected, "{view:?} {created:?} {deleted:?}");
                    }
                }
            }
        }
    }
}
