//! Who still needs which file of the journal.

use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use crate::io::Io;
use crate::log::Inner;

/// The logs with entries in each generation that their segments do not have yet.
pub(crate) struct Pins<I: Io> {
    generations: BTreeMap<u64, Holders<I>>,
    current: u64,
    /// The lists of a generation that is gone, for the next one.
    spare: Option<Holders<I>>,
}

struct Holders<I: Io> {
    count: usize,
    /// Those that hold it or did, and were not asked to settle yet.
    logs: VecDeque<Weak<Inner<I>>>,
    /// Those that were.
    asked: Vec<Weak<Inner<I>>>,
}

impl<I: Io> Default for Holders<I> {
    fn default() -> Self {
        Self { count: 0, logs: VecDeque::new(), asked: Vec::new() }
    }
}

impl<I: Io> Pins<I> {
    pub(crate) fn new(current: u64) -> Self {
        Self { generations: BTreeMap::new(), current, spare: None }
    }

    /// A log has entries in a generation. It may have had some there before that it needs no more,
    /// and stand in the list since then.
    pub(crate) fn pin(&mut self, generation: u64, log: &Rc<Inner<I>>) {
        let spare = &mut self.spare;
        let new = || spare.take().unwrap_or_default();
        let holders = self.generations.entry(generation).or_insert_with(new);
        holders.count += 1;
        let listed = log.trace.as_ref().map(|trace| trace.borrow_mut().listed(generation));
        if listed != Some(true) {
            holders.logs.push_back(Rc::downgrade(log));
        }
    }

    fn forget(&mut self, generation: u64) {
        if let Some(mut holders) = self.generations.remove(&generation) {
            holders.count = 0;
            holders.logs.clear();
            holders.asked.clear();
            self.spare = Some(holders);
        }
    }

    /// A log needs its entries in a generation no more: whether nobody does, and the file may go.
    #[must_use]
    pub(crate) fn unpin(&mut self, generation: u64) -> bool {
        let Some(holders) = self.generations.get_mut(&generation) else { return false };
        holders.count -= 1;
        let free = holders.count == 0 && generation != self.current;
        if free {
            self.forget(generation);
        }
        free
    }

    /// The current generation became an older one; `release` is called if nobody needs it.
    pub(crate) fn left(&mut self, generation: u64, new: u64, release: impl FnOnce(u64)) {
        self.current = new;
        match self.generations.get(&generation) {
            Some(holders) if holders.count > 0 => {}
            _ => {
                self.forget(generation);
                release(generation);
            }
        }
    }

    /// The oldest generation that has logs which were not asked to settle, and how many; the current
    /// one is looked at if `and_current`.
    pub(crate) fn unasked_oldest(&self, and_current: bool) -> Option<(u64, usize)> {
        let (generation, holders) =
            self.generations.iter().find(|(_, holders)| !holders.logs.is_empty())?;
        (*generation != self.current || and_current).then_some((*generation, holders.logs.len()))
    }

    /// The log that has had something in a generation for the longest of those that were not asked
    /// to settle. It counts as asked, unless it is gone or has nothing there any more. Of the
    /// current generation it may have more by the time it has settled, and stands behind the others
    /// again.
    pub(crate) fn ask(&mut self, generation: u64) -> Option<Rc<Inner<I>>> {
        let holders = self.generations.get_mut(&generation)?;
        let log = holders.logs.pop_front()?.upgrade()?;
        let mut trace = log.trace.as_ref()?.borrow_mut();
        if trace.end_in(generation).is_none() {
            trace.unlisted(generation);
            return None;
        }
        drop(trace);
        let asked = Rc::downgrade(&log);
        if generation == self.current {
            holders.logs.push_back(asked);
        } else {
            holders.asked.push(asked);
        }
        Some(log)
    }

    /// The oldest generation that is held, if it is not the current one.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let (generation, _) = self.generations.iter().find(|(_, holders)| holders.count > 0)?;
        (*generation != self.current).then_some(*generation)
    }

    /// How many logs with entries in a generation were not asked to settle.
    pub(crate) fn unasked(&self, generation: u64) -> usize {
        self.generations.get(&generation).map_or(0, |holders| holders.logs.len())
    }

    /// Those of the logs asked for a generation that have failed since: they will not let go of it.
    pub(crate) fn failed(&self, generation: u64) -> impl Iterator<Item = Rc<Inner<I>>> {
        let asked = self.generations.get(&generation).into_iter().flat_map(|one| &one.asked);
        asked.filter_map(Weak::upgrade).filter(|log| log.state.borrow().failure.is_some())
    }

    /// Every log that holds any generation.
    pub(crate) fn logs(&self) -> impl Iterator<Item = Rc<Inner<I>>> {
        self.generations.values().flat_map(|holders| holders.logs.iter().filter_map(Weak::upgrade))
    }
}
