//! One folder: its names as they are, as a device holds them, and the changes in between.

use std::collections::BTreeMap;

use super::Losses;
use crate::real_crash::random::Random;

/// A file or folder.
pub(super) type Number = u64;

type Names = BTreeMap<String, Number>;

/// One change of a folder's names, which happens wholly or not at all.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Set(String, Number),
    Remove(String),
    /// A rename, which replaces what had the new name.
    Move {
        from: String,
        to: String,
        number: Number,
    },
}

/// A folder.
#[derive(Debug, Default)]
pub(super) struct FolderData {
    pub(super) now: Names,
    durable: Names,
    unsynced: Vec<Change>,
}

impl FolderData {
    pub(super) fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.now);
        self.unsynced.clear();
    }

    /// Forgets the changes that were not synced, but for those that are drawn.
    pub(super) fn lose_power(&mut self, keep: u64, random: &mut Random, losses: &mut Losses) {
        for change in std::mem::take(&mut self.unsynced) {
            if random.below(4) < keep {
                apply(&mut self.durable, &change);
            } else {
                losses.names_lost += 1;
            }
        }
        self.now.clone_from(&self.durable);
    }
}

fn apply(names: &mut Names, change: &Change) {
    match change {
        Change::Set(name, number) => {
            names.insert(name.clone(), *number);
        }
        Change::Remove(name) => {
            names.remove(name);
        }
        Change::Move { from, to, number } => {
            if names.get(from) == Some(number) {
                names.remove(from);
            }
            names.insert(to.clone(), *number);
        }
    }
}
