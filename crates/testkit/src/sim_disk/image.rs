//! What is live, what is durable, and what a power cut makes of the difference.

use std::collections::BTreeMap;

use colonnade_storage::disk::{SECTOR_BYTES, parent};

use crate::random::Random;

/// A file: its bytes as reads see them, its durable bytes, and the changes between the two.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// A change of a file's bytes.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// A change of a name.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create { path: String, inode: usize },
    Rename { from: String, to: String, inode: usize },
    Remove { path: String, inode: usize },
}

/// What becomes of the changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// All are lost.
    Nothing,
    /// All are kept.
    Everything,
    /// Each write, and each change of a name, is kept or lost for itself: so later ones may survive earlier ones.
    Some,
    /// Each 512-byte sector of each write is kept or lost for itself, and each change of a name too.
    Torn,
    /// Those before some moment are kept, those after it are lost; the one at that moment is torn.
    Prefix,
}

impl Survival {
    /// The fates in turn.
    pub const ALL: [Survival; 5] =
        [Survival::Nothing, Survival::Everything, Survival::Torn, Survival::Some, Survival::Prefix];

    /// The fate that a seed stands for: seeds from 0 on go through all of them in turn.
    #[must_use]
    pub fn of_seed(seed: u64) -> Survival {
        let count = Survival::ALL.len() as u64;
        Survival::ALL[usize::try_from(seed % count).unwrap_or(0)]
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::SetLen(len) => bytes.resize(*len, 0),
            Change::Write { offset, bytes: new } => {
                let end = offset + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(new);
            }
        }
    }

    /// The sectors of it that luck keeps.
    fn apply_torn(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let Change::Write { offset, bytes: new } = self else {
            if random.chance(50) {
                self.apply(bytes);
            }
            return;
        };
        let mut start = 0;
        while start < new.len() {
            let sector_end = (offset + start + 1).next_multiple_of(SECTOR_BYTES) - offset;
            let end = sector_end.min(new.len());
            if random.chance(50) {
                Change::Write { offset: offset + start, bytes: new[start..end].to_vec() }.apply(bytes);
            }
            start = end;
        }
    }

    pub(super) fn half(self) -> Change {
        match self {
            Change::Write { offset, mut bytes } => {
                bytes.truncate(bytes.len() / 2);
                Change::Write { offset, bytes }
            }
            other => other,
        }
    }
}

impl Inode {
    pub(super) fn synced(bytes: Vec<u8>) -> Inode {
        Inode { durable: bytes.clone(), live: bytes, pending: Vec::new() }
    }

    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    pub(super) fn flip(&mut self, offset: usize, bit: u8) {
        self.live[offset] ^= 1 << bit;
        if let Some(byte) = self.durable.get_mut(offset) {
            *byte ^= 1 << bit;
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.live.truncate(len);
        self.durable.truncate(len);
        self.pending.clear();
    }

    fn survive(&self, survival: Survival, random: &mut Random) -> Inode {
        let mut bytes = self.durable.clone();
        let moment = random.index(self.pending.len() + 1);
        for (index, change) in self.pending.iter().enumerate() {
            match survival {
                Survival::Nothing => {}
                Survival::Everything => change.apply(&mut bytes),
                Survival::Some if random.chance(50) => change.apply(&mut bytes),
                Survival::Some => {}
                Survival::Torn => change.apply_torn(&mut bytes, random),
                Survival::Prefix if index < moment => change.apply(&mut bytes),
                Survival::Prefix if index == moment => change.apply_torn(&mut bytes, random),
                Survival::Prefix => {}
            }
        }
        Inode::synced(bytes)
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Create { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Rename { from, to, inode } => {
                // The old name goes only if it still stands for this file: an earlier change may have been lost.
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            NameChange::Remove { path, inode } => {
                if names.get(path) == Some(inode) {
                    names.remove(path);
                }
            }
        }
    }

    pub(super) fn dir(&self) -> &str {
        match self {
            NameChange::Create { path, .. } | NameChange::Remove { path, .. } => parent(path),
            NameChange::Rename { to, .. } => parent(to),
        }
    }

    pub(super) fn names(&self, name: &str) -> bool {
        match self {
            NameChange::Create { path, .. } | NameChange::Remove { path, .. } => path == name,
            NameChange::Rename { from, to, .. } => from == name || to == name,
        }
    }
}

/// The files and names that are left.
pub(super) fn survive(
    inodes: &[Inode],
    durable: &BTreeMap<String, usize>,
    pending: &[NameChange],
    survival: Survival,
    seed: u64,
) -> (Vec<Inode>, BTreeMap<String, usize>) {
    let mut random = Random::new(seed);
    let mut names = durable.clone();
    let moment = random.index(pending.len() + 1);
    for (index, change) in pending.iter().enumerate() {
        let kept = match survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Some | Survival::Torn => random.chance(50),
            Survival::Prefix => index < moment,
        };
        if kept {
            change.apply(&mut names);
        }
    }
    let inodes = inodes.iter().map(|inode| inode.survive(survival, &mut random)).collect();
    (inodes, names)
}
