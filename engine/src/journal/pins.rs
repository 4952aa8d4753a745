//! Who still needs which file of the journal.

use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use crate::io::Io;
use crate::log::Inner;

/// The logs with entries in each generation that their segments do not have yet.
pub(crate) struct Pins<I: Io> {
    generations: BTreeMap<u64, Holders<I>>,
    current: u64,
}

struct Holders<I: Io> {
    count: usize,
    /// Those that hold it or did, and were not asked to settle yet.
    logs: Vec<Weak<Inner<I>>>,
    /// Those that were.
    asked: Vec<Weak<Inner<I>>>,
}

impl<I: Io> Default for Holders<I> {
    fn default() -> Self {
        Self { count: 0, logs: Vec::new(), asked: Vec::new() }
    }
}

impl<I: Io> Pins<I> {
    pub(crate) fn new(current: u64) -> Self {
        Self { generations: BTreeMap::new(), current }
    }

    /// A log has entries in a generation.
    pub(crate) fn pin(&mut self, generation: u64, log: &Rc<Inner<I>>) {
        let holders = self.generations.entry(generation).or_default();
        holders.count += 1;
        holders.logs.push(Rc::downgrade(log));
    }

    /// A log needs its entries in a generation no more: whether nobody does, and the file may go.
    #[must_use]
    pub(crate) fn unpin(&mut self, generation: u64) -> bool {
        let Some(holders) = self.generations.get_mut(&generation) else { return false };
        holders.count -= 1;
        let free = holders.count == 0 && generation != self.current;
        if free {
            self.generations.remove(&generation);
        }
        free
    }

    /// The current generation became an older one; `release` is called if nobody needs it.
    pub(crate) fn left(&mut self, generation: u64, new: u64, release: impl FnOnce(u64)) {
        self.current = new;
        match self.generations.get(&generation) {
            Some(holders) if holders.count > 0 => {}
            _ => {
                self.generations.remove(&generation);
                release(generation);
            }
        }
    }

    /// The oldest generation that is held and whose logs were not asked yet, and these logs.
    pub(crate) fn ask_oldest(&mut self) -> Option<(u64, Vec<Weak<Inner<I>>>)> {
        let (generation, holders) =
            self.generations.iter_mut().find(|(_, holders)| !holders.logs.is_empty())?;
        if *generation == self.current {
            return None;
        }
        let logs = std::mem::take(&mut holders.logs);
        holders.asked.extend(logs.iter().map(Weak::clone));
        Some((*generation, logs))
    }

    /// The oldest generation that is held, if it is not the current one, and those of the logs asked
    /// for it that have failed since: they will not let go of it.
    pub(crate) fn stuck_oldest(&mut self) -> Option<(u64, Vec<Rc<Inner<I>>>)> {
        let (generation, holders) =
            self.generations.iter_mut().find(|(_, holders)| holders.count > 0)?;
        if *generation == self.current {
            return None;
        }
        let logs = holders.asked.iter().filter_map(Weak::upgrade);
        let failed = logs.filter(|log| log.state.borrow().failure.is_some()).collect();
        Some((*generation, failed))
    }

    /// Every log that holds any generation.
    pub(crate) fn logs(&self) -> impl Iterator<Item = Rc<Inner<I>>> {
        self.generations.values().flat_map(|holders| holders.logs.iter().filter_map(Weak::upgrade))
    }
}
