//! What one simulated file holds: what readers see, and what a crash may leave of it.

use super::faults::{Fault, FaultCounts};
use super::random::Random;

/// Bytes that a simulated disk writes whole or not at all.
pub(super) const SECTOR: usize = crate::limits::SECTOR_BYTES;

type Sector = [u8; SECTOR];

/// The content of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// What readers see.
    data: Vec<u8>,
    /// One for each sector, those included that were cut off since the last sync.
    marks: Vec<Mark>,
    /// Sectors that differ on the disk; a mark says which of them is whose.
    unsynced: Vec<Unsynced>,
    /// The length that a crash leaves at the least certain: the last synced one.
    durable_length: usize,
    /// Lengths since then: a crash may leave any of them.
    pending_lengths: Vec<usize>,
}

/// How a sector stands on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// As readers see it.
    Synced,
    /// Reserved, never written: zeros for readers, anything after a crash.
    Reserved,
    /// As the entry with this number says.
    Unsynced(u32),
}

/// A sector between two syncs.
#[derive(Debug, Clone, Default)]
struct Unsynced {
    /// What the last sync left; `None` if the sector never held synced bytes, so that a crash may
    /// leave zeros or garbage in it.
    durable: Option<Box<Sector>>,
    /// What was written since, oldest first.
    versions: Vec<Sector>,
    /// A sync of this sector failed: later ones pass it over, as Linux does.
    is_lost: bool,
    /// The newest version is of a write that is still in flight, so that no sync is for it yet.
    is_partial: bool,
}

/// What a crash draws on.
pub(super) struct Crash<'a> {
    pub(super) random: &'a mut Random,
    pub(super) counts: &'a mut FaultCounts,
    /// How likely a sector is to have reached the disk.
    pub(super) kept_percent: u64,
    /// Bytes of files that were removed: what reserved space may still hold.
    pub(super) stale: &'a [u8],
}

impl Content {
    pub(super) fn length(&self) -> usize {
        self.data.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Puts bytes at rest, durable at once: for tests that make a file out of nothing.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        let marks = vec![Mark::Synced; bytes.len().div_ceil(SECTOR)];
        *self =
            Self { data: bytes.to_vec(), marks, durable_length: bytes.len(), ..Self::default() };
    }

    pub(super) fn flip_bit(&mut self, position: usize, bit: u32) {
        self.data[position] ^= 1 << (bit % 8);
    }

    fn sector(&self, index: usize) -> Sector {
        let mut sector = [0; SECTOR];
        let start = (index * SECTOR).min(self.data.len());
        let end = (start + SECTOR).min(self.data.len());
        sector[..end - start].copy_from_slice(&self.data[start..end]);
        sector
    }

    /// The entry of a sector that is about to change, or has changed, without a sync.
    fn entry(&mut self, index: usize) -> &mut Unsynced {
        let number = match self.marks[index] {
            Mark::Unsynced(number) => number,
            mark => {
                let durable = (mark == Mark::Synced).then(|| Box::new(self.sector(index)));
                let number = u32::try_from(self.unsynced.len()).expect("simulated files are small");
                self.unsynced.push(Unsynced { durable, ..Unsynced::default() });
                self.marks[index] = Mark::Unsynced(number);
                number
            }
        };
        &mut self.unsynced[number as usize]
    }

    fn remember(&mut self, index: usize) {
        let now = self.sector(index);
        let entry = self.entry(index);
        entry.versions.push(now);
        entry.is_lost = false;
        entry.is_partial = false;
    }

    fn grow(&mut self, length: usize) {
        if length <= self.data.len() {
            return;
        }
        let sectors = length.div_ceil(SECTOR);
        if self.marks.len() < sectors {
            // A sector that was cut off and comes back keeps what it may hold.
            self.marks.resize(sectors, Mark::Reserved);
        }
        self.data.resize(length, 0);
        self.pending_lengths.push(length);
    }

    /// Writes bytes; `keep` says of each sector, in order, whether it takes them.
    pub(super) fn write(
        &mut self,
        position: usize,
        bytes: &[u8],
        synced: bool,
        mut keep: impl FnMut() -> bool,
    ) {
        let end = position + bytes.len();
        self.grow(end);
        for index in position / SECTOR..end.div_ceil(SECTOR) {
            if !keep() {
                continue;
            }
            let from = (index * SECTOR).max(position);
            let to = ((index + 1) * SECTOR).min(end);
            if !synced {
                self.entry(index);
            }
            self.data[from..to].copy_from_slice(&bytes[from - position..to - position]);
            if synced {
                self.marks[index] = Mark::Synced;
            } else {
                self.remember(index);
            }
        }
        if synced {
            self.durable_length = self.durable_length.max(end);
            // A length that would cut off what was just synced is impossible from now on.
            self.pending_lengths.retain(|&length| length >= end);
        }
    }

    /// Writes the first part of a write that is still in flight.
    pub(super) fn write_part(&mut self, position: usize, bytes: &[u8]) {
        self.write(position, bytes, false, || true);
        for index in position / SECTOR..(position + bytes.len()).div_ceil(SECTOR) {
            self.entry(index).is_partial = true;
        }
    }

    /// No write is in flight any more.
    pub(super) fn end_parts(&mut self) {
        self.unsynced.iter_mut().for_each(|sector| sector.is_partial = false);
    }

    pub(super) fn set_length(&mut self, length: usize) {
        if length >= self.data.len() {
            return self.grow(length);
        }
        let cut = length / SECTOR..self.data.len().div_ceil(SECTOR);
        // Space that was reserved and never written stays what it was, cut off or not.
        let changed: Vec<usize> = cut.filter(|&i| self.marks[i] != Mark::Reserved).collect();
        for &index in &changed {
            self.entry(index);
        }
        self.data.truncate(length);
        for index in changed {
            self.remember(index);
        }
        self.pending_lengths.push(length);
    }

    pub(super) fn sync(&mut self) {
        self.marks.truncate(self.data.len().div_ceil(SECTOR));
        if self.unsynced.iter().any(|entry| entry.is_lost) {
            for mark in &mut self.marks {
                match *mark {
                    Mark::Unsynced(number) if self.unsynced[number as usize].is_lost => {}
                    _ => *mark = Mark::Synced,
                }
            }
        } else {
            self.marks.fill(Mark::Synced);
            self.unsynced.clear();
        }
        self.durable_length = self.data.len();
        self.pending_lengths.clear();
    }

    /// A sync that failed: what was waiting for it is not tried again.
    pub(super) fn fail_sync(&mut self) {
        for sector in self.unsynced.iter_mut().filter(|sector| !sector.is_partial) {
            sector.is_lost = true;
        }
    }

    /// What a loss of power leaves: every unsynced sector, and the length, independently old or
    /// new; what was never synced may also be garbage, or what a removed file left there.
    pub(super) fn crash(&mut self, crash: &mut Crash<'_>) {
        let choice = crash.random.index(self.pending_lengths.len() + 1);
        let length = match choice.checked_sub(1) {
            Some(pending) => self.pending_lengths[pending],
            None => self.durable_length,
        };
        if length != self.data.len() {
            crash.counts.add(Fault::LengthLost);
        }
        self.data.resize(length.next_multiple_of(SECTOR), 0);
        self.pending_lengths.clear();
        let shift = crash.random.index(crash.stale.len() / SECTOR + 1) * SECTOR;
        let sectors = length.div_ceil(SECTOR).min(self.marks.len());
        let (mut some_kept, mut some_lost) = (false, false);
        for index in 0..sectors {
            let start = index * SECTOR;
            let target = &mut self.data[start..start + SECTOR];
            match self.marks[index] {
                Mark::Synced => {}
                Mark::Reserved => crash.rest(target, shift + start),
                Mark::Unsynced(number) => {
                    let entry = &self.unsynced[number as usize];
                    match entry.crash(crash, target, shift + start) {
                        true => some_kept = true,
                        false => some_lost = true,
                    }
                }
            }
        }
        if some_kept && some_lost {
            crash.counts.add(Fault::Torn);
        }
        self.settle(length);
    }
}

impl Content {
    /// What a loss of power leaves, chosen: `choose` is given how many different ways there are for
    /// one thing, and says which it is.
    pub(super) fn crash_as(&mut self, choose: &mut dyn FnMut(usize) -> usize) {
        let mut lengths = self.pending_lengths.clone();
        lengths.insert(0, self.durable_length);
        lengths.sort_unstable();
        lengths.dedup();
        let length = lengths[choose(lengths.len())];
        self.data.resize(length.next_multiple_of(SECTOR), 0);
        for index in 0..length.div_ceil(SECTOR).min(self.marks.len()) {
            let Mark::Unsynced(number) = self.marks[index] else { continue };
            let ways = self.unsynced[number as usize].ways();
            let start = index * SECTOR;
            self.data[start..start + SECTOR].copy_from_slice(&ways[choose(ways.len())]);
        }
        self.settle(length);
    }

    /// All that is left is on the disk.
    fn settle(&mut self, length: usize) {
        self.data.truncate(length);
        self.unsynced.clear();
        self.pending_lengths.clear();
        self.marks.clear();
        self.marks.resize(length.div_ceil(SECTOR), Mark::Synced);
        self.durable_length = length;
    }
}

impl Unsynced {
    /// What a loss of power may leave of the sector, without repetitions: any version, what was
    /// synced, or garbage where nothing was.
    fn ways(&self) -> Vec<Sector> {
        let mut ways = self.versions.clone();
        match &self.durable {
            Some(durable) => ways.push(**durable),
            None => ways.extend([[0; SECTOR], [0xa5; SECTOR]]),
        }
        ways.sort_unstable();
        ways.dedup();
        ways
    }

    /// Puts into `target` what is left of the sector; whether its newest bytes are.
    fn crash(&self, crash: &mut Crash<'_>, target: &mut [u8], at: usize) -> bool {
        let version = match self.versions.len() {
            0 => None,
            // Mostly the last version, at times one that was overwritten before it was synced.
            count if crash.random.percent(75) => Some(count - 1),
            count => Some(crash.random.index(count)),
        };
        let kept = version.filter(|_| crash.random.percent(crash.kept_percent));
        match (kept, &self.durable) {
            (Some(kept), _) => {
                target.copy_from_slice(&self.versions[kept][..]);
                if kept + 1 < self.versions.len() {
                    crash.counts.add(Fault::SectorOld);
                }
            }
            (None, Some(durable)) => {
                target.copy_from_slice(&durable[..]);
                crash.counts.add(Fault::SectorDropped);
            }
            (None, None) => {
                crash.rest(target, at);
                crash.counts.add(Fault::SectorDropped);
            }
        }
        kept.is_some()
    }
}

impl Crash<'_> {
    /// What is left of a sector that nobody ever wrote and synced.
    fn rest(&mut self, target: &mut [u8], at: usize) {
        match self.random.below(8) {
            0 => {
                self.random.fill(target);
                self.counts.add(Fault::SectorGarbage);
            }
            1 if !self.stale.is_empty() => {
                let from = at % self.stale.len();
                let to = (from + SECTOR).min(self.stale.len());
                target.fill(0);
                target[..to - from].copy_from_slice(&self.stale[from..to]);
                self.counts.add(Fault::SectorStale);
            }
            _ => target.fill(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_power_loss(mut content: Content) -> Vec<u8> {
        let (random, counts) = (&mut Random::new(1), &mut FaultCounts::default());
        content.crash(&mut Crash { random, counts, kept_percent: 0, stale: &[] });
        content.bytes().to_vec()
    }

    #[test]
    fn a_failed_sync_loses_what_was_written_and_nothing_of_a_write_in_flight() {
        let mut content = Content::default();
        content.write(0, &[1; SECTOR], false, || true);
        content.write_part(SECTOR, &[2; SECTOR]);
        content.fail_sync();
        content.end_parts();
        content.sync();
        let bytes = after_power_loss(content.clone());
        assert_ne!(bytes[..SECTOR], [1; SECTOR]);
        assert_eq!(bytes[SECTOR..], [2; SECTOR]);
        // From the end of the write on, a failed sync is for it, too.
        content.write_part(SECTOR, &[3; SECTOR]);
        content.end_parts();
        content.fail_sync();
        content.sync();
        assert_eq!(after_power_loss(content)[SECTOR..], [2; SECTOR]);
    }
}
