//! What one simulated file holds: what readers see, and what a crash may leave of it.

use std::collections::BTreeMap;

use super::random::Random;

/// Bytes that a simulated disk writes whole or not at all.
pub const SECTOR: usize = crate::limits::SECTOR_BYTES;

type Sector = [u8; SECTOR];

/// The content of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// What readers see.
    data: Vec<u8>,
    /// Sectors that may differ on the disk.
    unsynced: BTreeMap<usize, Unsynced>,
    /// The length that a crash leaves at the least certain: the last synced one.
    durable_length: usize,
    /// Lengths since then: a crash may leave any of them.
    pending_lengths: Vec<usize>,
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
        *self = Self { data: bytes.to_vec(), durable_length: bytes.len(), ..Self::default() };
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

    /// The entry of a sector that is about to change without a sync.
    fn unsync(&mut self, index: usize) {
        if !self.unsynced.contains_key(&index) {
            let durable = Some(Box::new(self.sector(index)));
            self.unsynced.insert(index, Unsynced { durable, ..Unsynced::default() });
        }
    }

    fn remember(&mut self, index: usize) {
        let now = self.sector(index);
        let entry = self.unsynced.entry(index).or_default();
        entry.versions.push(now);
        entry.is_lost = false;
    }

    fn grow(&mut self, length: usize) {
        if length <= self.data.len() {
            return;
        }
        for index in self.data.len().div_ceil(SECTOR)..length.div_ceil(SECTOR) {
            // A sector that was cut off and comes back keeps what it may hold.
            self.unsynced.entry(index).or_default();
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
                self.unsync(index);
            }
            self.data[from..to].copy_from_slice(&bytes[from - position..to - position]);
            if synced {
                self.unsynced.remove(&index);
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

    pub(super) fn set_length(&mut self, length: usize) {
        if length >= self.data.len() {
            return self.grow(length);
        }
        let cut = length / SECTOR..self.data.len().div_ceil(SECTOR);
        for index in cut.clone() {
            self.unsync(index);
        }
        self.data.truncate(length);
        for index in cut {
            self.remember(index);
        }
        self.pending_lengths.push(length);
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, sector| sector.is_lost);
        self.durable_length = self.data.len();
        self.pending_lengths.clear();
    }

    /// A sync that failed: what was waiting for it is not tried again.
    pub(super) fn fail_sync(&mut self) {
        for sector in self.unsynced.values_mut() {
            sector.is_lost = true;
        }
    }

    /// What a loss of power leaves: every unsynced sector, and the length, independently old or
    /// new. `kept_percent` is how likely a sector is to have reached the disk.
    pub(super) fn crash(&mut self, random: &mut Random, kept_percent: u64) {
        let choice = random.index(self.pending_lengths.len() + 1);
        let length = match choice.checked_sub(1) {
            Some(pending) => self.pending_lengths[pending],
            None => self.durable_length,
        };
        self.data.resize(length.next_multiple_of(SECTOR), 0);
        self.pending_lengths.clear();
        for (index, sector) in std::mem::take(&mut self.unsynced) {
            let start = index * SECTOR;
            let Some(target) = self.data.get_mut(start..start + SECTOR) else { continue };
            let version = match sector.versions.len() {
                0 => None,
                // Mostly the last version, at times one that was overwritten before it was synced.
                count if random.percent(75) => Some(count - 1),
                count => Some(random.index(count)),
            };
            match (version, &sector.durable) {
                (Some(version), _) if random.percent(kept_percent) => {
                    target.copy_from_slice(&sector.versions[version][..]);
                }
                (_, Some(durable)) => target.copy_from_slice(&durable[..]),
                (_, None) if random.percent(25) => random.fill(target),
                (_, None) => target.fill(0),
            }
        }
        self.data.truncate(length);
        self.durable_length = length;
    }
}
