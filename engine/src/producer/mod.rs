//! What a log remembers of its idempotent producers, to take every batch once and in order.
//!
//! The rules are Kafka's: the last five batches of each producer are kept; a batch of the same
//! epoch and sequences is a duplicate; the next sequence must follow the last, wrapping from
//! 2^31-1 to 0; a new epoch begins at 0; an older epoch is refused; a producer nobody remembers
//! may begin anywhere.
//!
//! # Transactions
//!
//! A producer's transaction is open from its first transactional batch to the coordinator's
//! marker. What lies before the first batch of the earliest open transaction is *stable*: every
//! reader may see it. Once a marker aborts a transaction, an entry in the segment's index of
//! aborted transactions tells readers which batches to skip; see [`AbortedTransaction`].
//!
//! ```text
//!   | a1 | b1 | a2 | b: abort | a3 | a: commit |
//!   ^ first unstable offset            ^ from here on, everything is stable
//!          '--------^ an entry: producer b, first offset of b1, last offset of the marker
//! ```

pub(crate) mod aborted;
mod marker;
pub(crate) mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use thiserror::Error;

pub use aborted::AbortedTransaction;
pub use marker::Marker;

use crate::batch::{BatchHeader, ProducerId};
use crate::limits::{PRODUCER_BATCHES, PRODUCERS_MAX, UNDECIDED_TRANSACTIONS_MAX};
use crate::offset::{Offset, Timestamp};

/// A batch of a producer that the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The first record's sequence number.
    pub first_sequence: i32,
    /// The last record's sequence number.
    pub last_sequence: i32,
    /// The first record's offset.
    pub base_offset: Offset,
    /// The last record's offset.
    pub last_offset: Offset,
    /// The batch's largest timestamp.
    pub max_timestamp: Timestamp,
    /// Whether that is the time of the append (LogAppendTime).
    pub append_time: bool,
}

/// What a log remembers of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// The producer's newest epoch.
    pub epoch: i16,
    /// When it was last heard of, by this broker's clock.
    pub last_seen: Timestamp,
    /// Where its open transaction begins; `None` if none is open.
    pub transaction_start: Option<Offset>,
    batches: [Option<ProducerBatch>; PRODUCER_BATCHES],
}

impl ProducerState {
    const fn new(epoch: i16, last_seen: Timestamp) -> Self {
        let batches = [None; PRODUCER_BATCHES];
        Self { epoch, last_seen, transaction_start: None, batches }
    }

    /// Its last batches of this epoch, oldest first; at most [`PRODUCER_BATCHES`].
    pub fn batches(&self) -> impl Iterator<Item = &ProducerBatch> {
        self.batches.iter().flatten()
    }

    /// Its last batch of this epoch.
    #[must_use]
    pub fn last_batch(&self) -> Option<&ProducerBatch> {
        self.batches.iter().flatten().last()
    }

    fn push(&mut self, batch: ProducerBatch) {
        self.batches.rotate_left(1);
        self.batches[PRODUCER_BATCHES - 1] = Some(batch);
    }
}

/// What to do with a batch whose sequence is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCheck {
    /// Append it.
    New,
    /// The log holds it already. Answer with what was answered then, once these offsets are
    /// durable.
    Duplicate {
        /// The first record's offset.
        base_offset: Offset,
        /// The last record's offset.
        last_offset: Offset,
        /// The time given by the broker, if it gives times.
        log_append_time: Option<Timestamp>,
    },
}

/// Why a batch's sequence is not in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SequenceError {
    /// A gap, or a repetition of something older than the batches remembered.
    #[error(
        "producer {producer_id} sent sequence {actual} in epoch {epoch}; {expected} must follow"
    )]
    OutOfOrder {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        epoch: i16,
        /// The sequence that must follow.
        expected: i32,
        /// The batch's first sequence.
        actual: i32,
    },
    /// A newer instance of the producer has been here.
    #[error("producer {producer_id} sent epoch {actual}, but its epoch is {current} by now")]
    StaleEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The newest epoch known.
        current: i16,
        /// The batch's epoch.
        actual: i16,
    },
}

/// All producers of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    states: BTreeMap<ProducerId, ProducerState>,
    /// The open transactions by their first offset.
    open: BTreeMap<Offset, ProducerId>,
    /// Transactions whose marker may not be replicated yet, and so may still turn out otherwise,
    /// in the order of their markers.
    undecided: VecDeque<Undecided>,
}

/// A transaction that a marker has ended, for as long as the marker itself may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Undecided {
    first_offset: Offset,
    marker: Offset,
}

impl Producers {
    /// What is remembered of a producer, unless it has expired.
    pub(crate) fn state(
        &self,
        id: ProducerId,
        now: Timestamp,
        expiry: Duration,
    ) -> Option<&ProducerState> {
        self.states.get(&id).filter(|state| !expired(state, now, expiry))
    }

    /// Judges a batch that has not been appended.
    pub(crate) fn check(
        &self,
        batch: &BatchHeader,
        now: Timestamp,
        expiry: Duration,
    ) -> Result<SequenceCheck, SequenceError> {
        let producer_id = batch.producer_id;
        if !producer_id.is_some() {
            return Ok(SequenceCheck::New);
        }
        let Some(state) = self.state(producer_id, now, expiry) else {
            return Ok(SequenceCheck::New);
        };
        let (current, actual) = (state.epoch, batch.producer_epoch);
        if actual < current {
            return Err(SequenceError::StaleEpoch { producer_id, current, actual });
        }
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        let mut expected = 0;
        if actual == current {
            let duplicate = state
                .batches()
                .find(|known| known.first_sequence == first && known.last_sequence == last);
            if let Some(known) = duplicate {
                return Ok(SequenceCheck::Duplicate {
                    base_offset: known.base_offset,
                    last_offset: known.last_offset,
                    log_append_time: known.append_time.then_some(known.max_timestamp),
                });
            }
            if let Some(known) = state.last_batch() {
                expected = known.last_sequence.checked_add(1).unwrap_or(0);
            }
        }
        if first == expected {
            Ok(SequenceCheck::New)
        } else {
            let epoch = actual;
            Err(SequenceError::OutOfOrder { producer_id, epoch, expected, actual: first })
        }
    }

    /// Takes an appended batch, with its offsets set, into account; `marker` is what a control
    /// batch says. Gives the transaction that it aborted, if it did.
    pub(crate) fn appended(
        &mut self,
        batch: &BatchHeader,
        marker: Option<Marker>,
        now: Timestamp,
        expiry: Duration,
    ) -> Option<AbortedTransaction> {
        let id = batch.producer_id;
        if !id.is_some() {
            return None;
        }
        if !self.states.contains_key(&id) && self.states.len() >= PRODUCERS_MAX {
            self.make_room(now, expiry);
        }
        let fresh = ProducerState::new(batch.producer_epoch, now);
        let state = self.states.entry(id).or_insert(fresh);
        if state.epoch < batch.producer_epoch || expired(state, now, expiry) {
            let transaction_start = state.transaction_start;
            *state = ProducerState { transaction_start, ..fresh };
        }
        state.last_seen = now;
        let (Some(base_offset), Some(last_offset)) =
            (Offset::new(batch.base_offset), Offset::new(batch.last_offset()))
        else {
            return None;
        };
        // A coordinator's marker fences older epochs, but has no place in the sequence.
        if batch.attributes.is_control() {
            let first_offset = marker.and_then(|_| state.transaction_start.take())?;
            return self.ended(id, first_offset, last_offset, marker);
        }
        // One without records is what compaction leaves of a transaction that has ended, perhaps
        // with its marker gone.
        let opens = batch.attributes.is_transactional() && batch.record_count > 0;
        if opens && state.transaction_start.is_none() {
            state.transaction_start = Some(base_offset);
            self.open.insert(base_offset, id);
        }
        state.push(ProducerBatch {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset,
            last_offset,
            max_timestamp: batch.max_timestamp,
            append_time: batch.attributes.is_append_time(),
        });
        None
    }

    /// Notes that the marker at `last_offset` ended the transaction that began at `first_offset`.
    fn ended(
        &mut self,
        producer_id: ProducerId,
        first_offset: Offset,
        last_offset: Offset,
        marker: Option<Marker>,
    ) -> Option<AbortedTransaction> {
        self.open.remove(&first_offset);
        if self.undecided.len() >= UNDECIDED_TRANSACTIONS_MAX {
            // The two oldest become one, which is undecided for as long as the later of them.
            if let Some(oldest) = self.undecided.pop_front()
                && let Some(next) = self.undecided.front_mut()
            {
                next.first_offset = next.first_offset.min(oldest.first_offset);
            }
        }
        self.undecided.push_back(Undecided { first_offset, marker: last_offset });
        let still_open = self.open.keys().next().copied();
        let last_stable_offset = still_open.unwrap_or_else(|| last_offset.plus(1));
        (marker == Some(Marker::Abort)).then_some(AbortedTransaction {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset,
        })
    }

    /// Where the earliest transaction begins that is open, or was ended by a marker at or above
    /// `replicated`.
    pub(crate) fn first_unstable(&mut self, replicated: Offset) -> Option<Offset> {
        while self.undecided.pop_front_if(|oldest| oldest.marker < replicated).is_some() {}
        let undecided = self.undecided.iter().map(|transaction| transaction.first_offset).min();
        let open = self.open.keys().next().copied();
        [open, undecided].into_iter().flatten().min()
    }

    /// The producers whose transactions are open.
    pub(crate) fn in_transaction(&self) -> impl Iterator<Item = ProducerId> + '_ {
        self.open.values().copied()
    }

    /// Forgets the expired.
    pub(crate) fn expire(&mut self, now: Timestamp, expiry: Duration) {
        self.states.retain(|_, state| !expired(state, now, expiry));
    }

    fn make_room(&mut self, now: Timestamp, expiry: Duration) {
        self.expire(now, expiry);
        if self.states.len() >= PRODUCERS_MAX {
            // One with an open transaction must end it first, however silent it is.
            let idle = self.states.iter().filter(|(_, state)| state.transaction_start.is_none());
            let oldest = idle.min_by_key(|(_, state)| state.last_seen).map(|(id, _)| *id);
            if let Some(id) = oldest {
                self.states.remove(&id);
            }
        }
    }
}

fn expired(state: &ProducerState, now: Timestamp, expiry: Duration) -> bool {
    let silent = now.millis().saturating_sub(state.last_seen.millis());
    let silent = u128::try_from(silent).is_ok_and(|silent| silent >= expiry.as_millis());
    silent && state.transaction_start.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, BatchOptions};

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn batch(epoch: i16, sequence: i32, records: usize, base_offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: ProducerId::new(7),
            producer_epoch: epoch,
            base_sequence: sequence,
            ..BatchOptions::default()
        });
        for _ in 0..records {
            builder.push(NOW, None, Some(b"v"), &[]);
        }
        let mut header = BatchHeader::read(&builder.finish().unwrap()).unwrap();
        header.base_offset = base_offset;
        header
    }

    fn expected(result: Result<SequenceCheck, SequenceError>) -> i32 {
        match result {
            Err(SequenceError::OutOfOrder { expected, .. }) => expected,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_next_sequence_must_follow_and_the_last_five_are_recognised() {
        let mut producers = Producers::default();
        for n in 0..6 {
            let next = batch(0, n * 2, 2, i64::from(n) * 2);
            assert_eq!(producers.check(&next, NOW, DAY), Ok(SequenceCheck::New));
            producers.appended(&next, None, NOW, DAY);
        }
        for n in 1..6 {
            let again = producers.check(&batch(0, n * 2, 2, 0), NOW, DAY).unwrap();
            let SequenceCheck::Duplicate { base_offset, last_offset, .. } = again else {
                panic!("{again:?}");
            };
            assert_eq!(base_offset.value(), i64::from(n) * 2);
            assert_eq!(last_offset.value(), i64::from(n) * 2 + 1);
        }
        assert_eq!(expected(producers.check(&batch(0, 0, 2, 0), NOW, DAY)), 12);
        assert_eq!(expected(producers.check(&batch(0, 13, 1, 0), NOW, DAY)), 12);
        // The same first sequence with another count is no duplicate.
        assert_eq!(expected(producers.check(&batch(0, 10, 1, 0), NOW, DAY)), 12);
    }

    #[test]
    fn sequences_wrap_from_the_largest_to_zero() {
        let mut producers = Producers::default();
        let wrapping = batch(0, i32::MAX - 1, 4, 0);
        assert_eq!(wrapping.last_sequence(), 1);
        producers.appended(&wrapping, None, NOW, DAY);
        assert_eq!(producers.check(&batch(0, 2, 1, 4), NOW, DAY), Ok(SequenceCheck::New));
        let mut producers = Producers::default();
        producers.appended(&batch(0, i32::MAX, 1, 0), None, NOW, DAY);
        assert_eq!(producers.check(&batch(0, 0, 1, 1), NOW, DAY), Ok(SequenceCheck::New));
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
        let mut producers = Producers::default();
        producers.appended(&batch(3, 41, 1, 0), None, NOW, DAY);
        assert_eq!(expected(producers.check(&batch(4, 42, 1, 0), NOW, DAY)), 0);
        let fresh = batch(4, 0, 1, 1);
        assert_eq!(producers.check(&fresh, NOW, DAY), Ok(SequenceCheck::New));
        producers.appended(&fresh, None, NOW, DAY);
        let stale = producers.check(&batch(3, 42, 1, 0), NOW, DAY);
        assert!(matches!(stale, Err(SequenceError::StaleEpoch { current: 4, actual: 3, .. })));
    }

    #[test]
    fn who_was_silent_for_too_long_is_forgotten() {
        let mut producers = Producers::default();
        producers.appended(&batch(3, 41, 1, 0), None, NOW, DAY);
        let later = Timestamp::from_millis(NOW.millis() + 86_400_000);
        assert_eq!(producers.check(&batch(0, 9, 1, 0), later, DAY), Ok(SequenceCheck::New));
        producers.expire(later, DAY);
        assert_eq!(producers, Producers::default());
    }

    fn transactional(id: i64, base_offset: i64) -> BatchHeader {
        let mut header = batch(0, 0, 1, base_offset);
        header.producer_id = ProducerId::new(id);
        header.attributes = header.attributes.with_transactional(true);
        header
    }

    fn control(id: i64, base_offset: i64) -> BatchHeader {
        let header = transactional(id, base_offset);
        BatchHeader { attributes: header.attributes.with_control(true), ..header }
    }

    fn at(value: i64) -> Offset {
        Offset::new(value).unwrap()
    }

    #[test]
    fn the_earliest_open_transaction_holds_the_stable_offset_back() {
        let mut producers = Producers::default();
        let (far, none) = (at(i64::MAX), None);
        let add = |producers: &mut Producers, header: &BatchHeader, marker| {
            producers.appended(header, marker, NOW, DAY)
        };
        assert_eq!(producers.first_unstable(far), None);
        add(&mut producers, &transactional(1, 10), none);
        add(&mut producers, &transactional(2, 20), none);
        add(&mut producers, &transactional(1, 30), none);
        assert_eq!(producers.first_unstable(far), Some(at(10)));
        let committed = add(&mut producers, &control(1, 40), Some(Marker::Commit));
        assert_eq!(committed, None);
        // The marker at 40 may still be lost.
        assert_eq!(producers.first_unstable(at(40)), Some(at(10)));
        assert_eq!(producers.first_unstable(at(41)), Some(at(20)));
        let aborted = add(&mut producers, &control(2, 50), Some(Marker::Abort)).unwrap();
        assert_eq!((aborted.first_offset, aborted.last_offset), (at(20), at(50)));
        assert_eq!(aborted.last_stable_offset, at(51));
        assert_eq!(producers.first_unstable(far), None);
        // A marker without a transaction ends nothing.
        assert_eq!(add(&mut producers, &control(2, 60), Some(Marker::Abort)), None);
    }

    #[test]
    fn an_abort_notes_what_stays_unstable_after_it() {
        let mut producers = Producers::default();
        producers.appended(&transactional(1, 10), None, NOW, DAY);
        producers.appended(&transactional(2, 20), None, NOW, DAY);
        let aborted = producers.appended(&control(2, 30), Some(Marker::Abort), NOW, DAY);
        assert_eq!(aborted.unwrap().last_stable_offset, at(10));
    }

    #[test]
    fn a_producer_with_an_open_transaction_is_not_forgotten() {
        let mut producers = Producers::default();
        producers.appended(&transactional(1, 10), None, NOW, DAY);
        producers.appended(&batch(0, 0, 1, 11), None, NOW, DAY);
        let later = Timestamp::from_millis(NOW.millis() + 86_400_000);
        producers.expire(later, DAY);
        assert!(producers.state(ProducerId::new(1), later, DAY).is_some());
        assert!(producers.state(ProducerId::new(7), later, DAY).is_none());
        // A new epoch of it does not lose the open transaction either.
        let mut next = transactional(1, 12);
        next.producer_epoch = 1;
        producers.appended(&next, None, later, DAY);
        assert_eq!(producers.first_unstable(at(100)), Some(at(10)));
    }
}
