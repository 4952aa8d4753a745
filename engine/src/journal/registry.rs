//! Which logs a journal knows, by number, and what each of them holds of it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::offset::Offset;

/// A log that the journal has met since it was opened.
struct Known {
    path: Rc<str>,
    /// The newest generation that says which log the number stands for.
    named_in: u64,
    /// Whether there may be entries of the log that count.
    used: bool,
}

/// The logs by number and by path. It grows with the logs that were ever opened, not with how
/// often.
#[derive(Default)]
pub(crate) struct Registry {
    logs: Vec<Known>,
    numbers: BTreeMap<Rc<str>, u32>,
}

impl Registry {
    /// The number of the log in the folder `path`, a new one if need be.
    pub(crate) fn number(&mut self, path: &str) -> u32 {
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        let path: Rc<str> = path.into();
        let number = u32::try_from(self.logs.len()).expect("fewer logs than 2^32 fit any disk");
        self.logs.push(Known { path: Rc::clone(&path), named_in: 0, used: false });
        self.numbers.insert(path, number);
        number
    }

    /// The number of a log that was met before.
    pub(crate) fn find(&self, path: &str) -> Option<u32> {
        self.numbers.get(path).copied()
    }

    fn known(&self, number: u32) -> &Known {
        &self.logs[number as usize]
    }

    pub(crate) fn path(&self, number: u32) -> &Rc<str> {
        &self.known(number).path
    }

    /// Whether this generation still has to say which log the number stands for.
    pub(crate) fn is_unnamed(&self, number: u32, generation: u64) -> bool {
        self.known(number).named_in < generation
    }

    pub(crate) fn named(&mut self, number: u32, generation: u64) {
        self.logs[number as usize].named_in = generation;
    }

    /// Entries of the log went into the journal.
    pub(crate) fn used(&mut self, number: u32) {
        self.logs[number as usize].used = true;
    }

    /// All entries of the log are void.
    pub(crate) fn voided(&mut self, number: u32) {
        self.logs[number as usize].used = false;
    }

    /// Whether there may be entries of the log that count.
    pub(crate) fn is_used(&self, number: u32) -> bool {
        self.known(number).used
    }
}

/// What a log holds of the journal: the generations with entries that its segments do not have yet,
/// oldest first, and up to which offset each goes.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) number: u32,
    held: VecDeque<(u64, Offset)>,
    /// The newest generation in whose list of holders the log stands.
    listed_in: Option<u64>,
}

impl Trace {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, held: VecDeque::new(), listed_in: None }
    }

    /// Gives away what is held.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.number))
    }

    /// Entries up to `end` went into `generation`: whether they are the first of the log there.
    pub(crate) fn hold(&mut self, generation: u64, end: Offset) -> bool {
        match self.held.back_mut() {
            Some(last) if last.0 == generation => {
                last.1 = end;
                false
            }
            _ => {
                self.held.push_back((generation, end));
                true
            }
        }
    }

    /// Notes that the log stands in the list of a generation: whether it did before.
    pub(crate) fn listed(&mut self, generation: u64) -> bool {
        self.listed_in.replace(generation) == Some(generation)
    }

    /// Notes that the log has left the list of a generation.
    pub(crate) fn unlisted(&mut self, generation: u64) {
        self.listed_in = self.listed_in.filter(|listed| *listed != generation);
    }

    /// Lets go of the generations of which everything lies below `settled`.
    pub(crate) fn release(&mut self, settled: Offset, mut each: impl FnMut(u64)) {
        while let Some((generation, _)) = self.held.pop_front_if(|(_, end)| *end <= settled) {
            each(generation);
        }
    }

    /// Up to which offset the log has entries in `generation` and before.
    pub(crate) fn end_in(&self, generation: u64) -> Option<Offset> {
        self.held.iter().rev().find(|(other, _)| *other <= generation).map(|(_, end)| *end)
    }

    /// The generations that are held, oldest first.
    pub(crate) fn generations(&self) -> impl Iterator<Item = u64> {
        self.held.iter().map(|(generation, _)| *generation)
    }
}
