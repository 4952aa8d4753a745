//! One file: its bytes as they are, as a device holds them, and what lies between.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Losses, SECTOR};
use crate::real_crash::random::Random;

type Sector = [u8; SECTOR];

/// Versions of one sector that are remembered; older ones are the likelier to be overtaken.
const VERSIONS: usize = 4;

/// A file.
#[derive(Debug, Default)]
pub(super) struct FileData {
    /// What a read gives.
    now: Vec<u8>,
    /// What is sure to survive.
    durable: Vec<u8>,
    /// What was written to each sector since it was last synced, oldest first.
    unsynced: BTreeMap<usize, Vec<Sector>>,
    /// The lengths the file had since its length was last synced, oldest first.
    lengths: Vec<usize>,
}

impl FileData {
    pub(super) fn length(&self) -> usize {
        self.now.len()
    }

    pub(super) fn read(&self, position: usize, length: usize) -> &[u8] {
        let end = position.saturating_add(length).min(self.now.len());
        self.now.get(position..end).unwrap_or(&[])
    }

    pub(super) fn write(&mut self, position: usize, bytes: &[u8]) {
        let end = position + bytes.len();
        if end > self.now.len() {
            self.set_length(end);
        }
        self.now[position..end].copy_from_slice(bytes);
        for sector in sectors(position..end) {
            let version = self.sector(sector);
            let versions = self.unsynced.entry(sector).or_default();
            versions.push(version);
            if versions.len() > VERSIONS {
                versions.remove(0);
            }
        }
    }

    fn sector(&self, sector: usize) -> Sector {
        let mut version = [0; SECTOR];
        let bytes = self.read(sector * SECTOR, SECTOR);
        version[..bytes.len()].copy_from_slice(bytes);
        version
    }

    pub(super) fn set_length(&mut self, length: usize) {
        if length < self.now.len() {
            // What is cut off is never written any more; what is left of the last sector may be.
            self.unsynced.retain(|sector, _| sector * SECTOR < length);
        }
        self.now.resize(length, 0);
        self.lengths.push(length);
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.now);
        self.unsynced.clear();
        self.lengths.clear();
    }

    /// Makes the bytes of one write durable, and the file's length.
    pub(super) fn sync_range(&mut self, range: Range<usize>) {
        self.settle_lengths(self.lengths.len());
        for sector in sectors(range) {
            if self.unsynced.remove(&sector).is_some() {
                let version = self.sector(sector);
                put(&mut self.durable, sector, &version);
            }
        }
    }

    /// Gives the durable file the first `count` of the unsynced lengths, one after the other.
    fn settle_lengths(&mut self, count: usize) {
        for length in self.lengths.drain(..count) {
            self.durable.resize(length, 0);
        }
    }

    /// Forgets what was not synced, but for what is drawn.
    pub(super) fn lose_power(&mut self, keep: u64, random: &mut Random, losses: &mut Losses) {
        let kept =
            if keep == 4 { self.lengths.len() } else { random.index(self.lengths.len() + 1) };
        losses.lengths_lost += (self.lengths.len() - kept) as u64;
        self.settle_lengths(kept);
        self.lengths.clear();
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            if sector * SECTOR >= self.durable.len() || random.below(4) >= keep {
                losses.sectors_lost += 1;
                continue;
            }
            let held = self.durable.get(sector * SECTOR..).unwrap_or(&[]);
            let is_fresh = held.iter().take(SECTOR).all(|&byte| byte == 0);
            let mut version = versions[random.index(versions.len())];
            if is_fresh && random.one_in(64) {
                version.fill_with(|| random.next_u64().to_le_bytes()[0]);
                losses.sectors_garbled += 1;
            } else {
                losses.sectors_kept += 1;
            }
            put(&mut self.durable, sector, &version);
        }
        self.now.clone_from(&self.durable);
    }
}

/// The sectors that a range of bytes touches.
fn sectors(range: Range<usize>) -> Range<usize> {
    range.start / SECTOR..range.end.div_ceil(SECTOR)
}

/// Writes the part of a sector that lies within the file.
fn put(bytes: &mut [u8], sector: usize, version: &Sector) {
    if let Some(held) = bytes.get_mut(sector * SECTOR..) {
        let length = held.len().min(SECTOR);
        held[..length].copy_from_slice(&version[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(file: &mut FileData, keep: u64) -> Losses {
        let mut losses = Losses::default();
        file.lose_power(keep, &mut Random::new(1), &mut losses);
        losses
    }

    #[test]
    fn what_was_synced_stays_and_what_was_not_goes() {
        let mut file = FileData::default();
        file.write(0, &[1; 1024]);
        file.sync();
        file.write(512, &[2; 512]);
        assert_eq!(lost(&mut file, 0).sectors_lost, 1);
        assert_eq!(file.read(0, 2000), [1; 1024]);
    }

    #[test]
    fn a_synced_write_stays_and_its_neighbours_go() {
        let mut file = FileData::default();
        file.set_length(4096);
        file.write(0, &[1; 512]);
        file.write(1024, &[3; 512]);
        file.sync_range(1024..1536);
        lost(&mut file, 0);
        assert_eq!(file.length(), 4096);
        assert_eq!(file.read(0, 512), [0; 512]);
        assert_eq!(file.read(1024, 512), [3; 512]);
    }

    #[test]
    fn a_cut_that_was_not_synced_may_be_undone_but_never_gives_old_bytes_to_a_new_end() {
        for seed in 0..50 {
            let mut file = FileData::default();
            file.write(0, &[1; 2048]);
            file.sync();
            file.set_length(512);
            file.set_length(2048);
            file.lose_power(2, &mut Random::new(seed), &mut Losses::default());
            assert!(file.length() == 512 || file.length() == 2048);
            let rest = file.read(512, 2048);
            assert!(rest.iter().all(|&byte| byte == rest[0]));
        }
    }
}
