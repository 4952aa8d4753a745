//! Judging all that a log holds, as its readers see it.

use std::collections::{BTreeMap, BTreeSet};

use ringlog_engine::batch::{BatchHeader, CheckedBatch};
use ringlog_engine::log::Slices;
use ringlog_engine::producer::{AbortedTransaction, Marker};

use super::{Entry, Fate, Outcome, Table};

/// A batch that was read, and the offsets of its records.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) header: BatchHeader,
    marker: Option<Marker>,
    offsets: Vec<i64>,
}

/// What a reader was given.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    pub(crate) held: &'a [Held],
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// Where it began, and how far it went.
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// All transactions that begin below had ended before.
    pub(crate) stable: i64,
    /// The time after the reading.
    pub(crate) now: i64,
    /// No compaction was under way.
    pub(crate) is_quiet: bool,
}

/// The batches of slices that have been checked.
pub(crate) fn held(slices: &Slices) -> Vec<Held> {
    let mut found = Vec::new();
    for piece in slices.iter() {
        let mut rest: &[u8] = piece;
        while let Ok((batch, after)) = CheckedBatch::check_first_stored(rest) {
            let header = *batch.header();
            let marker = Marker::read(batch.bytes());
            let records = batch.records().filter(|_| marker.is_none()).into_iter().flatten();
            let offset = |delta: i32| header.base_offset + i64::from(delta);
            let offsets = records.flatten().map(|record| offset(record.offset_delta)).collect();
            found.push(Held { header, marker, offsets });
            rest = after;
        }
    }
    found
}

impl Table {
    /// Judges what a reader was given: nothing is missing that has to be there, nothing is there
    /// that has to be gone, and of transactions it sees what was committed.
    pub(crate) fn check_content(&mut self, content: Content<'_>) -> Result<(), String> {
        let seen: BTreeSet<i64> =
            content.held.iter().flat_map(|held| held.offsets.iter().copied()).collect();
        if self.is_doubtful {
            return Ok(());
        }
        self.check_rows(&content, &seen)?;
        if content.is_quiet {
            self.check_deleted(&content, &seen)?;
        }
        self.check_transactions(content)
    }

    fn check_rows(&self, content: &Content<'_>, seen: &BTreeSet<i64>) -> Result<(), String> {
        let first = self.entries.partition_point(|entry| entry.end <= content.from);
        let entries = self.entries[first..].iter().take_while(|entry| entry.end <= content.to);
        for entry in entries {
            for (offset, row) in entry.rows().filter(|(offset, _)| *offset >= content.from) {
                if !seen.contains(&offset) {
                    if !entry.may_be_gone(row, content.now) {
                        return Err(format!("the record at {offset} is gone: {row:?}"));
                    }
                } else if content.is_quiet && row.fate == Fate::MustBeGone {
                    return Err(format!("the record at {offset} was to be gone: {row:?}"));
                }
            }
        }
        Ok(())
    }

    /// Once a tombstone is gone that nothing follows, so must be all that it deleted.
    fn check_deleted(&mut self, content: &Content<'_>, seen: &BTreeSet<i64>) -> Result<(), String> {
        let outcomes = self.outcomes();
        let mut deleted: BTreeMap<u64, i64> = BTreeMap::new();
        for (key, last) in self.last_of_keys(&outcomes, i64::MAX) {
            let is_read = content.from <= last && last < content.to;
            let has_expired = |row: &super::Row| row.value.is_none() && row.fate == Fate::Stays;
            if is_read && !seen.contains(&last) && self.row(last).is_some_and(has_expired) {
                deleted.insert(key, last);
            }
        }
        if deleted.is_empty() {
            return Ok(());
        }
        for (entry, outcome) in self.entries.iter_mut().zip(outcomes) {
            let counts = matches!(outcome, Outcome::Plain | Outcome::Committed);
            for (offset, row) in (entry.base..).zip(&mut entry.rows).filter(|_| counts) {
                let Some(last) = row.key.and_then(|key| deleted.get(&key)) else { continue };
                if offset < *last && seen.contains(&offset) {
                    return Err(format!(
                        "the record at {offset} is back: its tombstone at {last} is gone"
                    ));
                }
                if offset <= *last {
                    row.fate = Fate::MustBeGone;
                }
            }
        }
        Ok(())
    }

    fn row(&self, offset: i64) -> Option<&super::Row> {
        let at = self.entries.partition_point(|entry| entry.end <= offset);
        let entry = self.entries.get(at)?;
        entry.rows.get(usize::try_from(offset.checked_sub(entry.base)?).ok()?)
    }

    /// Reads as a consumer of committed records does: what belongs to an aborted transaction, from
    /// its first offset up to its marker, is skipped.
    fn check_transactions(&self, content: Content<'_>) -> Result<(), String> {
        let Content { held, mut aborted, from, stable, .. } = content;
        let outcomes = self.outcomes();
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        let mut skipping = BTreeSet::new();
        // The first offset of each producer's transaction that no marker seen so far has ended.
        let mut unended: BTreeMap<i64, i64> = BTreeMap::new();
        for batch in held {
            let header = &batch.header;
            let producer = header.producer_id.value();
            while aborted
                .last()
                .is_some_and(|next| next.first_offset.value() <= header.last_offset())
            {
                skipping.extend(aborted.pop().map(|next| next.producer_id.value()));
            }
            if header.attributes.is_control() {
                unended.remove(&producer);
                if batch.marker == Some(Marker::Abort) {
                    skipping.remove(&producer);
                }
                continue;
            }
            if !header.attributes.is_transactional() {
                continue;
            }
            let is_skipped = skipping.contains(&producer);
            for offset in batch.offsets.iter().filter(|offset| (from..stable).contains(*offset)) {
                let at = self.entries.partition_point(|entry| entry.end <= *offset);
                let Some(outcome) = outcomes.get(at) else { continue };
                if is_skipped != (*outcome == Outcome::Aborted) {
                    let skipped = if is_skipped { "skipped" } else { "shown" };
                    return Err(format!("the record at {offset} is {skipped}: it is {outcome:?}"));
                }
                let first = self.transaction_of(at);
                let other = *unended.entry(producer).or_insert(first);
                if other != first {
                    return Err(format!(
                        "no marker ends the transaction of {producer} from {other} on, before \
                         {offset}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Where the transaction began that an entry belongs to.
    fn transaction_of(&self, index: usize) -> i64 {
        let Some(entry) = self.entries.get(index) else { return 0 };
        let mine = |other: &&Entry| {
            other.header.producer_id == entry.header.producer_id
                && other.header.attributes.is_transactional()
        };
        let before = self.entries[..=index].iter().rev().filter(mine);
        let transaction = before.take_while(|entry| entry.marker.is_none());
        transaction.last().map_or(entry.base, |first| first.base)
    }
}
