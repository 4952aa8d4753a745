//! The history of leader epochs: from which offset on each epoch appended.
//!
//! Kept in memory, and in `leader-epoch-checkpoint` in Kafka's text format:
//!
//! ```text
//! 0              version
//! 2              how many lines follow
//! 0 0            epoch, first offset
//! 5 4711
//! ```
//!
//! The file is written when a segment is sealed and when the log is cut or closed. What came since
//! is in the last segment's batches, and is rebuilt from them.

use crate::epoch::LeaderEpoch;
use crate::offset::Offset;

/// The checkpoint's file name, as Kafka's.
pub(crate) const NAME: &str = "leader-epoch-checkpoint";

/// An epoch and the first offset appended under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The first offset appended under it.
    pub start: Offset,
}

/// All epochs of a log. Invariant `epoch.history_increases`: epochs and offsets both strictly
/// increase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EpochHistory {
    entries: Vec<EpochStart>,
}

impl EpochHistory {
    pub(crate) fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// The newest epoch, or [`LeaderEpoch::NONE`].
    pub(crate) fn latest(&self) -> LeaderEpoch {
        self.entries.last().map_or(LeaderEpoch::NONE, |entry| entry.epoch)
    }

    /// Notes that a batch at `start` was appended under `epoch`. Whether that is news.
    ///
    /// # Panics
    ///
    /// If an earlier epoch comes at a later offset: callers refuse that first.
    pub(crate) fn note(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch <= self.latest() {
            return false;
        }
        // The log was emptied up to here: of the epoch that then ended here nothing is left.
        self.entries.pop_if(|last| last.start == start);
        let increases = self.entries.last().is_none_or(|last| last.start < start);
        assert!(increases, "epoch.history_increases: {epoch} at {start} in {:?}", self.entries);
        self.entries.push(EpochStart { epoch, start });
        true
    }

    /// The largest epoch at or below `epoch`, and where it ends in a log that ends at `end`.
    pub(crate) fn end_offset(
        &self,
        epoch: LeaderEpoch,
        end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let found = self.entries.get(after.checked_sub(1)?)?;
        Some((found.epoch, self.entries.get(after).map_or(end, |next| next.start)))
    }

    /// Forgets what is at `end` or later. Whether anything was.
    pub(crate) fn truncate(&mut self, end: Offset) -> bool {
        let keep = self.entries.partition_point(|entry| entry.start < end);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// Forgets the epochs that end at `start` or before; the one that holds `start` now begins
    /// there. Whether anything changed.
    pub(crate) fn cut_before(&mut self, start: Offset) -> bool {
        let after = self.entries.partition_point(|entry| entry.start <= start);
        let Some(first) = after.checked_sub(1) else { return false };
        self.entries.drain(..first);
        let moved = self.entries[0].start != start;
        self.entries[0].start = start;
        first > 0 || moved
    }

    /// The log starts at `start`, perhaps lower than the first epoch is known to begin: a truncation
    /// that was cut short has lowered the start to the base of the batch that held it, which is of
    /// that epoch.
    pub(crate) fn reach_down_to(&mut self, start: Offset) {
        if let Some(first) = self.entries.first_mut() {
            first.start = first.start.min(start);
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        use std::fmt::Write;
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {}", entry.epoch, entry.start);
        }
        text.into_bytes()
    }

    /// The history in a checkpoint; `None` if the bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        if lines.next()? != "0" {
            return None;
        }
        let count: usize = lines.next()?.parse().ok()?;
        let mut history = Self::default();
        for line in lines {
            let (epoch, start) = line.split_once(' ')?;
            let epoch = LeaderEpoch::new(epoch.parse().ok()?);
            let start = Offset::new(start.parse().ok()?)?;
            let last = history.entries.last();
            if last.is_some_and(|last| last.epoch >= epoch || last.start >= start) {
                return None;
            }
            history.entries.push(EpochStart { epoch, start });
        }
        (history.entries.len() == count).then_some(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(value: i64) -> Offset {
        Offset::new(value).unwrap()
    }

    fn history() -> EpochHistory {
        let mut history = EpochHistory::default();
        assert!(history.note(LeaderEpoch::new(0), at(0)));
        assert!(!history.note(LeaderEpoch::new(0), at(5)));
        assert!(history.note(LeaderEpoch::new(3), at(10)));
        assert!(history.note(LeaderEpoch::new(4), at(20)));
        history
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_known_begins() {
        let history = history();
        let end = |epoch| history.end_offset(LeaderEpoch::new(epoch), at(33));
        assert_eq!(end(0), Some((LeaderEpoch::new(0), at(10))));
        assert_eq!(end(2), Some((LeaderEpoch::new(0), at(10))));
        assert_eq!(end(3), Some((LeaderEpoch::new(3), at(20))));
        assert_eq!(end(9), Some((LeaderEpoch::new(4), at(33))));
        assert_eq!(history.end_offset(LeaderEpoch::NONE, at(33)), None);
    }

    #[test]
    fn the_checkpoint_is_kafkas_text_and_reads_back() {
        let history = history();
        let bytes = history.encode();
        assert_eq!(bytes, b"0\n3\n0 0\n3 10\n4 20\n");
        assert_eq!(EpochHistory::decode(&bytes), Some(history));
        for bad in ["", "1\n0\n", "0\n1\n", "0\n2\n3 10\n1 20\n", "0\n1\nx 1\n"] {
            assert_eq!(EpochHistory::decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_history_is_cut_with_the_log() {
        let mut cut = history();
        assert!(cut.truncate(at(10)));
        assert_eq!(cut.latest(), LeaderEpoch::new(0));
        let mut cut = history();
        assert!(cut.cut_before(at(15)));
        assert_eq!(cut.entries()[0], EpochStart { epoch: LeaderEpoch::new(3), start: at(15) });
        assert!(!cut.cut_before(at(15)));
    }

    #[test]
    fn an_epoch_of_which_nothing_is_left_gives_way_to_the_next() {
        let mut emptied = history();
        assert!(emptied.cut_before(at(33)));
        assert!(emptied.note(LeaderEpoch::new(5), at(33)));
        assert_eq!(emptied.entries(), [EpochStart { epoch: LeaderEpoch::new(5), start: at(33) }]);
    }

    #[test]
    #[should_panic(expected = "epoch.history_increases")]
    fn an_epoch_at_an_earlier_offset_is_a_broken_invariant() {
        history().note(LeaderEpoch::new(9), at(19));
    }
}
