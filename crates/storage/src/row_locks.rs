//! Row locks: the four modes of `SELECT ... FOR`, and how they meet deletes and each other.
//!
//! ```text
//!                     KEY SHARE   SHARE   NO KEY UPDATE   UPDATE
//! KEY SHARE               ·         ·           ·            x
//! SHARE                   ·         ·           x            x
//! NO KEY UPDATE           ·         x           x            x      an UPDATE that keeps the row's keys is one of these
//! UPDATE                  x         x           x            x      a DELETE, and an UPDATE of a key, too
//! ```
//!
//! All but KEY SHARE stand in the row's *deleted* slot, where whoever changes the row looks anyway (see [`stamp`](crate::stamp)): one that excludes others
//! as a stamp of its transaction, SHARE as the number of a set of transactions, which is kept here. They need no care when a flush or a compaction moves
//! the row, because the slot moves with it; and they never outlive a change of the row by somebody else, because they exclude it.
//!
//! KEY SHARE does outlive changes: it admits updates that keep the key, and has to hold for the versions that come of them. So it locks the values of the row's keys, in a table
//! beside the rows, where only those look who delete rows or change keys. A row without keys is locked FOR SHARE instead.
//!
//! Nothing here is durable, as nothing needs it: locks end with their transaction.
//!
//! **Invariants.** A slot names a set that has been given up only until whoever left it last has cleared the slot; such a slot counts as free. A set is joined and
//! replaced under the lock of the sets. Lock order: a segment's deletes, then the sets; the keys, then a segment's deletes.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use arrow::array::ArrayRef;
use colonnade_types::{Oid, TableDefinition, TxnId};
use parking_lot::Mutex;

use crate::deletes::Deletes;
use crate::error::WriteError;
use crate::key_index::KeySpec;
use crate::located::Located;
use crate::segment::{Segment, trail};
use crate::stamp::{ShareSet, Stamp, StampState};
use crate::table::TableData;
use crate::tail::Chunk;
use crate::write_set::Marks;

/// How a row is locked, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowLockMode {
    /// The row's keys stay: FOR KEY SHARE, and what a foreign key takes.
    KeyShare,
    /// The row stays as it is: FOR SHARE.
    Share,
    /// Nobody else changes or shares the row, but its keys stay: FOR NO KEY UPDATE, and what an UPDATE takes that changes no key.
    NoKeyUpdate,
    /// Nobody else locks the row: FOR UPDATE, and what a DELETE takes.
    Update,
}

impl RowLockMode {
    /// Whether two transactions cannot hold these on one row.
    #[must_use]
    pub fn conflicts_with(self, other: RowLockMode) -> bool {
        use RowLockMode::{KeyShare, NoKeyUpdate, Share, Update};
        match (self, other) {
            (Update, _) | (_, Update) => true,
            (KeyShare, _) | (_, KeyShare) | (Share, Share) => false,
            (Share | NoKeyUpdate, NoKeyUpdate) | (NoKeyUpdate, Share) => true,
        }
    }
}

/// What is to be done about rows that others hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockedBy {
    /// The call fails with [`WriteError::Blocked`].
    Blocks,
    /// They are left out.
    Skipped,
}

/// A key's constraint, and the hash of its values. Two values of one hash are taken for one.
type KeyLock = (Oid, u64);

/// The locks of one table that do not fit into slots.
#[derive(Debug, Default)]
pub(crate) struct RowLocks {
    shares: Mutex<Shares>,
    keys: Mutex<HashMap<KeyLock, Vec<TxnId>>>,
    /// Transactions that hold a key or are about to.
    key_holders: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shares {
    next: u64,
    sets: HashMap<ShareSet, Vec<TxnId>>,
}

impl RowLocks {
    /// Takes a transaction out of a set; true if it was the last.
    fn leave(&self, set: ShareSet, me: TxnId) -> bool {
        let mut shares = self.shares.lock();
        let Some(members) = shares.sets.get_mut(&set) else { return false };
        members.retain(|member| *member != me);
        let last = members.is_empty();
        if last {
            shares.sets.remove(&set);
        }
        last
    }

    /// Somebody else who shares one of `keys`.
    fn key_holder(&self, keys: &[KeyLock], me: TxnId) -> Option<TxnId> {
        let held = self.keys.lock();
        keys.iter().filter_map(|key| held.get(key)).flatten().find(|holder| **holder != me).copied()
    }

    fn release_keys(&self, keys: &[KeyLock], me: TxnId) {
        let mut held = self.keys.lock();
        for key in keys {
            if let Some(holders) = held.get_mut(key) {
                holders.retain(|holder| *holder != me);
                if holders.is_empty() {
                    held.remove(key);
                }
            }
        }
        drop(held);
        self.key_holders.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether somebody may hold a key. Asked after a slot was marked: then either this sees the holder, or the holder sees the mark.
    fn may_hold_keys(&self) -> bool {
        fence(Ordering::SeqCst);
        self.key_holders.load(Ordering::SeqCst) > 0
    }
}

/// What a transaction wants of rows.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// To delete them, with this stamp.
    Delete(Stamp),
    Lock(RowLockMode),
}

/// What a transaction wants of some rows of one table.
pub(crate) struct Claim<'a> {
    want: Want,
    pub(crate) others: LockedBy,
    me: TxnId,
    table: &'a TableDefinition,
    data: &'a Arc<TableData>,
    /// With the constraint's oid; made when it is needed.
    keys: OnceCell<Vec<(Oid, KeySpec)>>,
}

/// What a transaction got.
#[derive(Debug, Default)]
pub(crate) struct Claimed {
    /// Marked rows by the stamp they carry now and the one they carried before.
    groups: Vec<(Stamp, Stamp, Marks)>,
    keys: Vec<KeyLock>,
}

/// A place that holds a *deleted* stamp.
trait Slot {
    fn get(&self) -> Stamp;
    fn replace(&mut self, from: Stamp, to: Stamp) -> Result<(), Stamp>;
}

impl Slot for (&Chunk, usize) {
    fn get(&self) -> Stamp {
        self.0.deleted(self.1)
    }

    fn replace(&mut self, from: Stamp, to: Stamp) -> Result<(), Stamp> {
        self.0.replace_deleted(self.1, from, to)
    }
}

impl Slot for (&mut Deletes, u32) {
    fn get(&self) -> Stamp {
        self.0.stamp(self.1)
    }

    fn replace(&mut self, from: Stamp, to: Stamp) -> Result<(), Stamp> {
        self.0.replace(self.1, from, to)
    }
}

/// What a claim does at a slot.
enum Step {
    /// It is satisfied as it stands.
    Held,
    /// It has become a member of the set that stands there.
    Joined,
    /// It puts its stamp there; what stood there, as far as an undo must bring it back.
    Put(Stamp, Stamp),
}

impl<'a> Claim<'a> {
    /// To delete rows, with a running stamp.
    pub(crate) fn delete(me: TxnId, stamp: Stamp, table: &'a TableDefinition, data: &'a Arc<TableData>) -> Claim<'a> {
        Claim { want: Want::Delete(stamp), others: LockedBy::Blocks, me, table, data, keys: OnceCell::new() }
    }

    /// To lock rows.
    pub(crate) fn lock(
        me: TxnId,
        mode: RowLockMode,
        others: LockedBy,
        table: &'a TableDefinition,
        data: &'a Arc<TableData>,
    ) -> Claim<'a> {
        Claim { want: Want::Lock(mode), others, me, table, data, keys: OnceCell::new() }
    }

    /// Whether the claim excludes those who share a row's keys.
    fn excludes_key_shares(&self) -> bool {
        match self.want {
            Want::Delete(stamp) => !stamp.keeps_key(),
            Want::Lock(mode) => mode == RowLockMode::Update,
        }
    }

    /// Claims one row; what it got is in `claimed`, also after an error. The caller holds the table's `moves`.
    pub(crate) fn row(&self, row: Located<'_>, claimed: &mut Claimed) -> Result<(), WriteError> {
        if let Want::Lock(RowLockMode::KeyShare) = self.want {
            let keys = self.key_locks(row)?;
            if !keys.is_empty() {
                return self.share_keys(row, keys, claimed);
            }
        }
        let Some((stamp, before)) = self.mark(row)? else { return Ok(()) };
        if let Err(error) = self.check_keys(row) {
            let mut one = Claimed::default();
            one.push(row, stamp, before);
            one.give_back(self);
            return Err(error);
        }
        claimed.push(row, stamp, before);
        Ok(())
    }

    /// Marks a row's slot; returns the new stamp and the one before, or nothing if the row is held already.
    fn mark(&self, row: Located<'_>) -> Result<Option<(Stamp, Stamp)>, WriteError> {
        match row {
            Located::Segment(segment, offset) => self.mark_segment(segment, offset),
            Located::Tail(chunk, index) => {
                let Some(moved) = chunk.moved_to.get() else { return self.at(&mut (chunk.as_ref(), index)) };
                // The row now lives in a segment: there it is decided, here it is noted for snapshots that still read the chunk.
                let Some((segment, offset)) = moved.place(index) else { return Err(WriteError::Conflict) };
                let marked = self.mark_segment(segment, offset)?;
                if let Some((stamp, _)) = marked {
                    chunk.set_deleted(index, stamp);
                }
                Ok(marked)
            }
        }
    }

    /// Marks a row that is or was in a segment. Where the row is now it is decided, at its earlier places it is noted for snapshots that still read those.
    fn mark_segment(&self, segment: &Arc<Segment>, offset: u32) -> Result<Option<(Stamp, Stamp)>, WriteError> {
        if segment.moved_to.get().is_none() {
            return self.at(&mut (&mut *segment.deletes.write(), offset));
        }
        let places: Vec<_> = trail(segment, offset).collect();
        let (newest, at) = places[places.len() - 1];
        let marked = self.at(&mut (&mut *newest.deletes.write(), at))?;
        if let Some((stamp, _)) = marked {
            places[..places.len() - 1].iter().for_each(|(segment, offset)| segment.deletes.write().put(*offset, stamp));
        }
        Ok(marked)
    }

    fn at(&self, slot: &mut impl Slot) -> Result<Option<(Stamp, Stamp)>, WriteError> {
        let sharing = matches!(self.want, Want::Lock(RowLockMode::KeyShare | RowLockMode::Share));
        loop {
            let found = slot.get();
            let mut shares = None;
            if sharing || matches!(found.state(), StampState::Shared(_)) {
                shares = Some(self.data.row_locks.shares.lock());
                if slot.get() != found {
                    continue;
                }
            }
            match self.decide(found, shares.as_deref_mut())? {
                Step::Held => return Ok(None),
                Step::Joined => return Ok(Some((found, Stamp::NEVER))),
                Step::Put(stamp, before) => match (slot.replace(found, stamp), stamp.state(), shares.as_deref_mut()) {
                    (Ok(()), ..) => return Ok(Some((stamp, before))),
                    (Err(_), StampState::Shared(set), Some(shares)) => {
                        shares.sets.remove(&set);
                    }
                    (Err(_), ..) => {}
                },
            }
        }
    }

    /// What to do where `found` stands. `shares` is there if a set is concerned.
    fn decide(&self, found: Stamp, shares: Option<&mut Shares>) -> Result<Step, WriteError> {
        match found.state() {
            StampState::Never => Ok(Step::Put(self.stamp(shares), Stamp::NEVER)),
            StampState::Committed(_) | StampState::Aborted => Err(WriteError::Conflict),
            StampState::Running(owner, _) if owner == self.me => Ok(Step::Held),
            StampState::Locked(owner) if owner == self.me => {
                let held = if found.keeps_key() { RowLockMode::NoKeyUpdate } else { RowLockMode::Update };
                match self.want {
                    Want::Lock(mode) if mode <= held => Ok(Step::Held),
                    // What was locked FOR UPDATE stays so, though the delete alone would ask for less.
                    Want::Delete(stamp) if !found.keeps_key() => Ok(Step::Put(stamp.giving_up_key(), found)),
                    _ => Ok(Step::Put(self.stamp(shares), found)),
                }
            }
            StampState::Running(other, _) | StampState::Locked(other) => Err(WriteError::Blocked(other)),
            StampState::Shared(set) => {
                let Some(shares) = shares else { unreachable!("the sets are locked where one is met") };
                let Some(members) = shares.sets.get_mut(&set) else {
                    // Given up; only the slot has not been cleared yet.
                    return Ok(Step::Put(self.stamp(Some(shares)), Stamp::NEVER));
                };
                let own = members.contains(&self.me);
                match self.want {
                    Want::Lock(RowLockMode::KeyShare | RowLockMode::Share) if own => Ok(Step::Held),
                    Want::Lock(RowLockMode::KeyShare | RowLockMode::Share) => {
                        members.push(self.me);
                        Ok(Step::Joined)
                    }
                    _ => match members.iter().find(|member| **member != self.me) {
                        Some(other) => Err(WriteError::Blocked(*other)),
                        None => Ok(Step::Put(self.stamp(None), found)),
                    },
                }
            }
        }
    }

    /// The stamp to put; a share's names a new set of one.
    fn stamp(&self, shares: Option<&mut Shares>) -> Stamp {
        match (self.want, shares) {
            (Want::Delete(stamp), _) => stamp,
            (Want::Lock(RowLockMode::NoKeyUpdate), _) => Stamp::locked(self.me, true),
            (Want::Lock(RowLockMode::Update), _) => Stamp::locked(self.me, false),
            (Want::Lock(RowLockMode::KeyShare | RowLockMode::Share), Some(shares)) => {
                shares.next += 1;
                let set = ShareSet(shares.next);
                shares.sets.insert(set, vec![self.me]);
                Stamp::shared(set)
            }
            (Want::Lock(RowLockMode::KeyShare | RowLockMode::Share), None) => {
                unreachable!("the sets are locked for whoever shares")
            }
        }
    }

    /// The keys of a row, but those that a NULL makes equal to no other.
    fn key_locks(&self, row: Located<'_>) -> Result<Vec<KeyLock>, WriteError> {
        if self.keys.get().is_none() {
            let specs = self.table.keys.iter().map(|key| Ok((key.oid, KeySpec::new(self.table, key)?)));
            // Nobody else sets it: a claim stays on its thread.
            let _ = self.keys.set(specs.collect::<Result<_, WriteError>>()?);
        }
        let mut locks = Vec::new();
        for (oid, spec) in self.keys.get().into_iter().flatten() {
            let values: Vec<ArrayRef> = spec
                .ids()
                .filter_map(|id| self.table.column_by_id(id))
                .map(|column| row.value(column))
                .collect::<Result<_, _>>()?;
            locks.extend(spec.keys(&values, 1)?.hashes[0].map(|hash| (*oid, hash)));
        }
        Ok(locks)
    }

    /// Fails if somebody else holds a key of a row that is marked so that its keys may change.
    fn check_keys(&self, row: Located<'_>) -> Result<(), WriteError> {
        if !self.excludes_key_shares() || !self.data.row_locks.may_hold_keys() {
            return Ok(());
        }
        match self.data.row_locks.key_holder(&self.key_locks(row)?, self.me) {
            Some(other) => Err(WriteError::Blocked(other)),
            None => Ok(()),
        }
    }

    /// Takes a share of a row's keys.
    fn share_keys(&self, row: Located<'_>, keys: Vec<KeyLock>, claimed: &mut Claimed) -> Result<(), WriteError> {
        let locks = &self.data.row_locks;
        if claimed.keys.is_empty() {
            // Before the slot is read: see `may_hold_keys`. Taken back with the keys.
            locks.key_holders.fetch_add(1, Ordering::SeqCst);
        }
        let outcome = {
            // Whoever has marked the slot looks for holders under this lock, so that only one of the two gives way.
            let mut held = locks.keys.lock();
            fence(Ordering::SeqCst);
            let found = row.deleted();
            match found.state() {
                StampState::Committed(_) | StampState::Aborted => Err(WriteError::Conflict),
                StampState::Running(other, _) | StampState::Locked(other) if other != self.me && !found.keeps_key() => {
                    Err(WriteError::Blocked(other))
                }
                _ => {
                    for key in keys {
                        let holders = held.entry(key).or_default();
                        if !holders.contains(&self.me) {
                            holders.push(self.me);
                            claimed.keys.push(key);
                        }
                    }
                    Ok(())
                }
            }
        };
        if claimed.keys.is_empty() {
            locks.key_holders.fetch_sub(1, Ordering::SeqCst);
        }
        outcome
    }
}

impl Claimed {
    fn push(&mut self, row: Located<'_>, stamp: Stamp, before: Stamp) {
        if self.groups.last().is_none_or(|(last, last_before, _)| (*last, *last_before) != (stamp, before)) {
            self.groups.push((stamp, before, Marks::default()));
        }
        let Some((_, _, marks)) = self.groups.last_mut() else { return };
        match row {
            Located::Tail(chunk, index) => marks.tail.push((Arc::clone(chunk), index)),
            Located::Segment(segment, offset) => match marks.segments.last_mut() {
                Some((last, offsets)) if Arc::ptr_eq(last, segment) => offsets.push(offset),
                _ => marks.segments.push((Arc::clone(segment), vec![offset])),
            },
        }
    }

    /// Undoes the claim. The caller holds the table's `moves`.
    pub(crate) fn give_back(self, claim: &Claim<'_>) {
        match claim.want {
            Want::Delete(_) => self.groups.iter().rev().for_each(|(_, before, marks)| marks.restore(*before)),
            Want::Lock(_) => self.into_locks(claim).iter().rev().for_each(LockedRows::undo_latched),
        }
    }

    /// The marks of a delete, each with the lock that they have replaced.
    pub(crate) fn into_deletes(self) -> impl Iterator<Item = (Marks, Stamp)> {
        self.groups.into_iter().map(|(_, before, marks)| (marks, before))
    }

    /// What was locked.
    pub(crate) fn into_locks(self, claim: &Claim<'_>) -> Vec<LockedRows> {
        let (data, me) = (claim.data, claim.me);
        let rows = |stamp, before, marks, keys| LockedRows { data: Arc::clone(data), me, marks, stamp, before, keys };
        let mut locks: Vec<LockedRows> =
            self.groups.into_iter().map(|(stamp, before, marks)| rows(stamp, before, marks, Vec::new())).collect();
        if !self.keys.is_empty() {
            locks.push(rows(Stamp::NEVER, Stamp::NEVER, Marks::default(), self.keys));
        }
        locks
    }
}

/// Rows that a transaction has locked: marked slots of one stamp, or keys.
#[derive(Debug)]
pub(crate) struct LockedRows {
    data: Arc<TableData>,
    me: TxnId,
    marks: Marks,
    stamp: Stamp,
    /// The weaker lock of the same transaction that the stamp has replaced.
    before: Stamp,
    keys: Vec<KeyLock>,
}

impl LockedRows {
    /// Lets the rows go, at the transaction's end.
    pub(crate) fn release(&self) {
        let _moves = self.data.moves.read();
        self.release_latched();
    }

    /// Brings back what was before, for a rollback.
    pub(crate) fn undo(&self) {
        let _moves = self.data.moves.read();
        self.undo_latched();
    }

    fn undo_latched(&self) {
        if self.before == Stamp::NEVER { self.release_latched() } else { self.marks.stamp(self.before) }
    }

    fn release_latched(&self) {
        let free = match self.stamp.state() {
            StampState::Shared(set) => self.data.row_locks.leave(set, self.me),
            StampState::Locked(_) => true,
            _ => false,
        };
        if free {
            // What the transaction has made of it since, and what others have after that, stays.
            self.marks.clear_if(self.stamp);
        }
        if !self.keys.is_empty() {
            self.data.row_locks.release_keys(&self.keys, self.me);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_conflict_as_postgresql_says() {
        use RowLockMode::{KeyShare, NoKeyUpdate, Share, Update};
        let modes = [KeyShare, Share, NoKeyUpdate, Update];
        let table = [
            [false, false, false, true],
            [false, false, true, true],
            [false, true, true, true],
            [true, true, true, true],
        ];
        for (mode, row) in modes.iter().zip(table) {
            assert_eq!(modes.map(|other| mode.conflicts_with(other)), row, "{mode:?}");
        }
    }
}
