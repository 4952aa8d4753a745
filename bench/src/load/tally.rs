//! What a thread of load counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::batches::FetchedBatch;
use super::connection::Completion;
use super::offsets::OffsetSet;
use super::payload::Stamp;
use super::reader::Listener;
use super::worker::{Load, Window};
use crate::histogram::Latencies;

/// What a thread has counted. Tallies of several threads are merged.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Latencies of successful requests that were due within the window.
    pub latencies: Latencies,
    /// Successful answers that came within the window.
    pub answered: u64,
    /// Successful answers over the whole run.
    pub answered_in_all: u64,
    /// Answers with an error code over the whole run, by code.
    pub errors: BTreeMap<i16, u64>,
    /// Requests that were due within the run but never sent, because all the depth was used.
    pub unsent: u64,
    /// Offsets that were given twice, over the whole run.
    pub repeated_offsets: u64,
    /// Successful answers without an offset.
    pub missing_offsets: u64,
    /// What the readers got.
    pub reads: Reads,
    /// CPU time of the load's own threads, from the first request due to the last answer.
    pub generator_cpu: Duration,
    /// From the first request due to the last answer, summed up over the threads.
    pub generator_wall: Duration,
    /// How long the window was.
    pub counted: Duration,
    offsets: BTreeMap<i32, OffsetSet>,
    acknowledged_ends: BTreeMap<i32, i64>,
}

/// What readers got within the window.
#[derive(Debug, Clone, Default)]
pub struct Reads {
    /// From the moment at which a batch should have been sent to its arrival at a reader, for
    /// batches with a time in them that were due within the window.
    pub latencies: Latencies,
    /// Answers.
    pub fetches: u64,
    /// Bytes of batches.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Partitions' error codes over the whole run.
    pub errors: BTreeMap<i16, u64>,
    /// Batches over the whole run that another run had written.
    pub foreign_batches: u64,
    /// The last error: its partition and code.
    pub last_error: Option<(i32, i16)>,
}

impl Tally {
    /// Adds another thread's tally.
    pub fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.answered += other.answered;
        self.answered_in_all += other.answered_in_all;
        self.unsent += other.unsent;
        self.repeated_offsets += other.repeated_offsets;
        self.missing_offsets += other.missing_offsets;
        self.generator_cpu += other.generator_cpu;
        self.generator_wall += other.generator_wall;
        self.counted = self.counted.max(other.counted);
        add_counts(&mut self.errors, &other.errors);
        self.reads.merge(&other.reads);
        for (partition, offsets) in &other.offsets {
            self.repeated_offsets += self.offsets.entry(*partition).or_default().merge(offsets);
        }
        for (partition, end) in &other.acknowledged_ends {
            self.acknowledge(*partition, *end);
        }
    }

    /// The highest offset after an acknowledged batch of `partition`.
    #[must_use]
    pub fn acknowledged_end(&self, partition: i32) -> i64 {
        self.acknowledged_ends.get(&partition).copied().unwrap_or(0)
    }

    pub(super) fn count(&mut self, completion: Completion, now: Instant, load: &Load<'_>) {
        if let Some(answer) = completion.answer {
            if answer.error_code != 0 {
                *self.errors.entry(answer.error_code).or_default() += 1;
                return;
            }
            let (start, end) =
                (answer.base_offset, answer.base_offset.saturating_add(load.records.into()));
            if start < 0 {
                self.missing_offsets += 1;
            } else if !self.offsets.entry(answer.partition).or_default().insert(start, end) {
                self.repeated_offsets += 1;
            } else {
                self.acknowledge(answer.partition, end);
            }
        }
        self.answered_in_all += 1;
        if load.window.contains(now) {
            self.answered += 1;
        }
        if let Some(at) = load.window.place(completion.intended) {
            self.latencies.record(at, now.saturating_duration_since(completion.intended));
        }
    }

    fn acknowledge(&mut self, partition: i32, end: i64) {
        let known = self.acknowledged_ends.entry(partition).or_default();
        *known = end.max(*known);
    }
}

impl Reads {
    fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.fetches += other.fetches;
        self.bytes += other.bytes;
        self.records += other.records;
        self.foreign_batches += other.foreign_batches;
        self.last_error = self.last_error.or(other.last_error);
        add_counts(&mut self.errors, &other.errors);
    }

    /// Partitions that were answered with an error.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

fn add_counts(to: &mut BTreeMap<i16, u64>, from: &BTreeMap<i16, u64>) {
    for (code, count) in from {
        *to.entry(*code).or_default() += count;
    }
}

/// Counts for one reader's turn.
pub(super) struct ReadCounter<'a> {
    pub(super) reads: &'a mut Reads,
    pub(super) window: Window,
    pub(super) stamp: Option<Stamp>,
}

impl Listener for ReadCounter<'_> {
    fn answered(&mut self, now: Instant) {
        if self.window.contains(now) {
            self.reads.fetches += 1;
        }
    }

    fn batch(&mut self, batch: FetchedBatch<'_>, now: Instant) {
        if self.window.contains(now) {
            self.reads.bytes += u64::try_from(batch.bytes.len()).unwrap_or(u64::MAX);
            self.reads.records += batch.records;
        }
        let Some(stamp) = self.stamp else { return };
        match stamp.read(batch.bytes) {
            Some(intended) => {
                if let Some(at) = self.window.place(intended) {
                    self.reads.latencies.record(at, now.saturating_duration_since(intended));
                }
            }
            None => self.reads.foreign_batches += 1,
        }
    }

    fn failed(&mut self, partition: i32, error_code: i16) {
        *self.reads.errors.entry(error_code).or_default() += 1;
        self.reads.last_error = Some((partition, error_code));
    }
}
