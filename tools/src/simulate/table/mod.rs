//! What a compacted log should hold: the judge of what compaction leaves.
//!
//! ```text
//!   0         reach                     replicated     end
//!   |-----------|----------------------------|-----------|
//!    no compaction   a later one may           not yet
//!    went further    go up to here
//! ```
//!
//! Every record that was appended is a [`Row`] of an [`Entry`], its batch, for as long as the log
//! is not cut below it. When a compaction begins, it is noted of each row that it could see whether
//! it may go; when one has ended well, whether it must be gone. Both stay so, since a compaction may
//! be cut short after any of its steps, and what it did is not undone.
//!
//! - A row may go if it has no key, if its transaction was aborted, or if a later row of its key
//!   counts and was within the compaction's reach.
//! - A tombstone may go, too, once its delete horizon has passed, and then all earlier rows of its
//!   key must be gone: a reader would take them for the newest.
//! - A marker may go once nothing of its transaction is left and its horizon has passed.
//! - A batch keeps its offsets. Whole batches may become one without records.

mod content;
mod served;

use std::collections::BTreeMap;

use ringlog_engine::batch::{BatchHeader, CheckedBatch};
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::producer::Marker;

use super::history::Cleaning;

pub(crate) use content::{Content, Held, held};

/// One compacted log's records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    /// What was cut off since the log was opened: reads under way may still see it.
    removed: Vec<Entry>,
    /// Compactions under way.
    pub(crate) running: usize,
    /// Counts beginnings and ends of compactions.
    pub(crate) version: u64,
    /// No compaction has touched what lies above.
    reach: i64,
    /// How far the last compaction that ended well said that the log is clean.
    clean_to: i64,
    /// The highest bound that a compaction was given: markers below it will stay.
    replicated: i64,
    /// Markers below it count as replicated since the log was opened or cut.
    decided: i64,
    /// Damage may have taken committed records for aborted ones: anything may be gone.
    is_doubtful: bool,
}

/// A batch that was appended.
#[derive(Debug, Clone)]
struct Entry {
    /// As the log holds it.
    header: BatchHeader,
    base: i64,
    end: i64,
    /// What a control batch says.
    marker: Option<Marker>,
    rows: Vec<Row>,
    /// The earliest and the latest moment from which its tombstones, or its marker, may go.
    horizon: (Option<i64>, Option<i64>),
}

/// A record that was appended. Its offset is its batch's base and its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    key: Option<u64>,
    /// A checksum of the value; `None` for a tombstone.
    value: Option<u32>,
    time: i64,
    fate: Fate,
}

/// What has become of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Stays,
    /// A compaction that is under way may take it, or has.
    Going,
    MayGo,
    MustBeGone,
}

/// How a batch's records count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Plain,
    Open,
    Committed,
    Aborted,
}

/// What a compaction may do, as of when it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    /// Nothing at or above may be touched.
    pub(crate) bound: i64,
    now: i64,
    /// Truncations by then.
    pub(crate) cuts: u64,
}

/// What a compaction says that it did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) dirty_from: i64,
    pub(crate) clean_to: i64,
    pub(crate) now: i64,
    /// Others removed something meanwhile, so that it may have done less.
    pub(crate) overtaken: bool,
}

impl Row {
    fn new(record: &ringlog_engine::batch::Record<'_>, base_timestamp: i64) -> Self {
        let key = record.key.map(|key| key.try_into().map_or(0, u64::from_be_bytes));
        Self {
            key,
            value: record.value.map(crc32c::crc32c),
            time: base_timestamp.wrapping_add(record.timestamp_delta),
            fate: Fate::Stays,
        }
    }

    fn same(&self, other: &Self) -> bool {
        (self.key, self.value, self.time) == (other.key, other.value, other.time)
    }
}

impl Entry {
    /// Whether its horizon may have passed.
    fn may_have_expired(&self, now: i64) -> bool {
        self.horizon.0.is_some_and(|horizon| horizon <= now)
    }

    /// Whether a row may be gone.
    fn may_be_gone(&self, row: &Row, now: i64) -> bool {
        let is_tombstone = row.value.is_none();
        row.fate != Fate::Stays || (is_tombstone && self.may_have_expired(now))
    }

    /// Whether nothing of it may be left but its offsets.
    fn may_be_empty(&self, now: i64) -> bool {
        match self.marker {
            Some(_) => self.may_have_expired(now),
            None => self.rows.iter().all(|row| self.may_be_gone(row, now)),
        }
    }

    /// Offset and row of each of its records.
    fn rows(&self) -> impl DoubleEndedIterator<Item = (i64, &Row)> {
        (self.base..).zip(&self.rows).collect::<Vec<_>>().into_iter()
    }
}

impl Table {
    /// Notes an append.
    pub(crate) fn appended(
        &mut self,
        batch: &CheckedBatch<'_>,
        base: i64,
        epoch: i32,
    ) -> Result<(), String> {
        let header = BatchHeader {
            base_offset: base,
            leader_epoch: LeaderEpoch::new(epoch),
            ..*batch.header()
        };
        let end = header.end_offset().ok_or("a batch without an end")?.value();
        let marker = Marker::read(batch.bytes());
        let mut rows = Vec::new();
        let records = batch.records().filter(|_| marker.is_none());
        for record in records.into_iter().flatten() {
            let record = record.map_err(|error| error.to_string())?;
            rows.push(Row::new(&record, header.base_timestamp.millis()));
        }
        let horizon = (self.is_doubtful.then_some(i64::MIN), None);
        self.entries.push(Entry { header, base, end, marker, rows, horizon });
        if self.is_doubtful {
            self.doubt();
        }
        Ok(())
    }

    /// What is known of producers may be wrong, and so what is known of transactions, if there are
    /// any.
    pub(crate) fn doubt_producers(&mut self) {
        if self.entries.iter().any(|entry| entry.header.attributes.is_transactional()) {
            self.doubt();
        }
    }

    /// Damage may have changed what is known of transactions: records may go that should not.
    pub(crate) fn doubt(&mut self) {
        self.is_doubtful = true;
        for entry in &mut self.entries {
            entry.horizon = (Some(i64::MIN), None);
            for row in &mut entry.rows {
                row.fate = Fate::MayGo;
            }
        }
    }

    /// How far the log was clean when it last said so.
    pub(crate) const fn clean_to(&self) -> i64 {
        self.clean_to
    }

    /// The highest bound that a compaction was given.
    pub(crate) const fn replicated(&self) -> i64 {
        self.replicated
    }

    /// Everything from `end` on was cut off, and reads under way may see it.
    pub(crate) fn cut(&mut self, end: i64) {
        let kept = self.entries.partition_point(|entry| entry.end <= end);
        self.removed.extend(self.entries.drain(kept..));
        self.replicated = self.replicated.min(end);
        self.reach = self.reach.min(end);
        self.decided = self.decided.max(end);
    }

    /// The log was opened and ends at `end`; nothing of before goes on.
    pub(crate) fn reopened(&mut self, end: i64) {
        self.cut(end);
        self.removed.clear();
        self.settle_fates();
        self.running = 0;
        self.version += 1;
        self.decided = end;
    }

    /// Nothing is known of what the log holds.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The producer has a transaction that no marker has ended.
    pub(crate) fn is_open(&self, producer: i64) -> bool {
        let mine = |entry: &&Entry| {
            entry.header.producer_id.value() == producer
                && entry.header.attributes.is_transactional()
        };
        self.entries.iter().rfind(mine).is_some_and(|last| last.marker.is_none())
    }

    /// How each entry's records count.
    fn outcomes(&self) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::Plain; self.entries.len()];
        let mut open: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let producer = entry.header.producer_id.value();
            if let Some(marker) = entry.marker {
                let outcome = match marker {
                    Marker::Abort => Outcome::Aborted,
                    Marker::Commit => Outcome::Committed,
                };
                for index in open.remove(&producer).unwrap_or_default() {
                    outcomes[index] = outcome;
                }
            } else if entry.header.attributes.is_transactional() {
                outcomes[index] = Outcome::Open;
                open.entry(producer).or_default().push(index);
            }
        }
        outcomes
    }

    /// Where the earliest transaction begins that no marker has ended.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.first_unstable(i64::MAX)
    }

    /// The same, of those as well whose marker may not be replicated.
    fn first_unstable(&self, replicated: i64) -> Option<i64> {
        let mut open: BTreeMap<i64, i64> = BTreeMap::new();
        let mut undecided = None;
        for entry in &self.entries {
            let producer = entry.header.producer_id.value();
            if entry.marker.is_some() {
                let first = open.remove(&producer);
                if entry.base >= replicated.max(self.decided) {
                    undecided = first.into_iter().chain(undecided).min();
                }
            } else if entry.header.attributes.is_transactional() {
                open.entry(producer).or_insert(entry.base);
            }
        }
        open.into_values().chain(undecided).min()
    }

    /// The last row of each key that counts, among those below `end`.
    fn last_of_keys(&self, outcomes: &[Outcome], end: i64) -> BTreeMap<u64, i64> {
        let mut last = BTreeMap::new();
        for (entry, outcome) in self.entries.iter().zip(outcomes) {
            if !matches!(outcome, Outcome::Plain | Outcome::Committed) {
                continue;
            }
            for (offset, row) in entry.rows().filter(|(offset, _)| *offset < end) {
                last.extend(row.key.map(|key| (key, offset)));
            }
        }
        last
    }

    /// How far a compaction that begins now may go, of a log that starts at `start`.
    fn bound(&self, now: i64, cleaning: &Cleaning, (start, up_to): (i64, i64)) -> i64 {
        let unstable = self.first_unstable(up_to).unwrap_or(up_to);
        let lag = i64::try_from(cleaning.min_lag_ms).unwrap_or(i64::MAX);
        let is_young = |entry: &&Entry| {
            let rows = entry.rows.iter().filter(|row| row.fate == Fate::Stays);
            let marker = entry.marker.map(|_| entry.header.max_timestamp.millis());
            let latest = rows.map(|row| row.time).chain(marker).max();
            latest.is_some_and(|latest| now - latest < lag)
        };
        let clean = self.entries.partition_point(|entry| entry.base < self.reach.max(start));
        let dirty = self.entries[clean..].iter();
        let young = dirty.filter(|_| lag > 0).find(is_young).map_or(up_to, |young| young.base);
        up_to.min(unstable).min(young)
    }

    /// A compaction of `start..up_to` begins.
    pub(crate) fn cleaning_begins(
        &mut self,
        cleaning: &Cleaning,
        (start, up_to): (i64, i64),
        (now, retention): (i64, i64),
        cuts: u64,
    ) -> Begun {
        self.running += 1;
        self.version += 1;
        self.replicated = self.replicated.max(up_to);
        let bound = self.bound(now, cleaning, (start, self.replicated));
        self.reach = self.reach.max(bound);
        let outcomes = self.outcomes();
        let last = self.last_of_keys(&outcomes, bound);
        let horizon = now.saturating_add(retention);
        // Of each producer, whether anything is left of the transaction that is open.
        let mut left: BTreeMap<i64, bool> = BTreeMap::new();
        for (entry, outcome) in self.entries.iter_mut().zip(outcomes) {
            if entry.end > bound {
                break;
            }
            for (offset, row) in (entry.base..).zip(&mut entry.rows) {
                let is_last = row.key.is_some_and(|key| last.get(&key) == Some(&offset));
                if outcome == Outcome::Aborted || !is_last {
                    row.fate = row.fate.max(Fate::Going);
                }
            }
            let producer = entry.header.producer_id.value();
            let begins = match entry.marker {
                Some(_) => !left.remove(&producer).unwrap_or(false),
                None => entry.rows.iter().any(|row| row.value.is_none()),
            };
            if begins {
                let earliest = entry.horizon.0.map_or(horizon, |known| known.min(horizon));
                entry.horizon.0 = Some(earliest);
            }
            if entry.header.attributes.is_transactional() && entry.marker.is_none() {
                *left.entry(producer).or_default() |= !entry.may_be_empty(now);
            }
        }
        Begun { bound, now, cuts }
    }

    /// A compaction has ended well. What it says it cleaned must be clean, unless the log was cut
    /// meanwhile.
    pub(crate) fn cleaned(
        &mut self,
        begun: Begun,
        ended: Ended,
        retention: i64,
        is_cut: bool,
    ) -> Result<(), String> {
        let Ended { dirty_from, clean_to, now, overtaken } = ended;
        let is_right = (dirty_from..=begun.bound.max(dirty_from)).contains(&clean_to);
        if !is_right && !self.is_doubtful {
            return Err(format!(
                "compacted from {dirty_from} to {clean_to}, but {} is the furthest",
                begun.bound
            ));
        }
        self.clean_to = clean_to;
        // One that found nothing to do says nothing new.
        if !is_cut && !self.is_doubtful && clean_to > dirty_from {
            self.must_be_clean(begun, clean_to, now.saturating_add(retention));
        }
        if !is_cut && !overtaken {
            let rows = self.entries.iter_mut().flat_map(|entry| &mut entry.rows);
            for row in rows.filter(|row| row.fate == Fate::Going) {
                row.fate = Fate::Stays;
            }
        }
        Ok(())
    }

    /// What a compaction to `clean_to` was to remove is gone; tombstones that it has seen may go
    /// at `horizon`.
    fn must_be_clean(&mut self, begun: Begun, clean_to: i64, horizon: i64) {
        let outcomes = self.outcomes();
        let last = self.last_of_keys(&outcomes, clean_to);
        for (entry, outcome) in self.entries.iter_mut().zip(outcomes) {
            if entry.base >= clean_to {
                break;
            }
            let has_expired = entry.horizon.1.is_some_and(|horizon| horizon <= begun.now);
            for (offset, row) in (entry.base..clean_to).zip(&mut entry.rows) {
                let is_last = row.key.is_some_and(|key| last.get(&key) == Some(&offset));
                let has_expired = has_expired && row.value.is_none();
                if outcome == Outcome::Aborted || !is_last || has_expired {
                    row.fate = Fate::MustBeGone;
                }
            }
            if entry.end <= clean_to && entry.rows.iter().any(|row| row.value.is_none()) {
                entry.horizon.1.get_or_insert(horizon);
            }
        }
    }

    /// A compaction has ended, be it well or badly.
    pub(crate) fn cleaning_ended(&mut self) {
        self.running = self.running.saturating_sub(1);
        self.version += 1;
        self.settle_fates();
    }

    /// What a compaction that has ended may have taken stays doubtful.
    fn settle_fates(&mut self) {
        let rows = self.entries.iter_mut().flat_map(|entry| &mut entry.rows);
        for row in rows.filter(|row| row.fate == Fate::Going) {
            row.fate = Fate::MayGo;
        }
    }

    /// What is there at a moment when no compaction is under way; `None` while one is.
    pub(crate) fn quiet_version(&self) -> Option<u64> {
        (self.running == 0).then_some(self.version)
    }

    /// How far down a cut may go that is to remove everything from `at` on: a batch without
    /// records is cut as a whole, whatever it took the place of.
    pub(crate) fn cut_floor(&self, at: i64) -> i64 {
        let holds = self.entries.partition_point(|entry| entry.end <= at);
        let Some(entry) = self.entries.get(holds) else { return at };
        let mut floor = entry.base;
        let mut above = entry;
        for entry in self.entries[..holds].iter().rev() {
            let joins = above.may_be_empty(i64::MAX)
                && entry.may_be_empty(i64::MAX)
                && entry.header.leader_epoch == above.header.leader_epoch;
            if !joins {
                break;
            }
            floor = entry.base;
            above = entry;
        }
        floor
    }

    /// The largest time that a batch must still have; `None` if it may have none.
    pub(crate) fn latest(&self, base: i64) -> Option<i64> {
        let at = self.entries.binary_search_by_key(&base, |entry| entry.base).ok()?;
        let entry = self.entries.get(at)?;
        if entry.marker.is_some() {
            let is_sure = entry.horizon.0.is_none();
            return is_sure.then(|| entry.header.max_timestamp.millis());
        }
        let stays = |row: &&Row| !entry.may_be_gone(row, i64::MAX);
        entry.rows.iter().filter(stays).map(|row| row.time).max()
    }
}
