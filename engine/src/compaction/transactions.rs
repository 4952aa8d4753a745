//! Which batches of a range belong to aborted transactions, and which markers have become useless.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::batch::{BatchHeader, ProducerId};
use crate::producer::{AbortedTransaction, Marker};

/// Follows the transactions of the batches it is shown, in the order of their offsets.
#[derive(Default)]
pub(super) struct Transactions {
    /// Aborted ones that begin at batches still to come.
    coming: VecDeque<AbortedTransaction>,
    /// Aborted ones whose marker is still to come, and whether a batch of theirs was shown.
    aborted: BTreeMap<ProducerId, (AbortedTransaction, bool)>,
    /// Producers of other transactional batches whose marker is still to come.
    committed: BTreeSet<ProducerId>,
    /// Aborted ones with batches, whose marker has come.
    seen: Vec<AbortedTransaction>,
}

impl Transactions {
    /// Adds the aborted transactions of the batches that come next.
    pub(super) fn expect(&mut self, mut aborted: Vec<AbortedTransaction>) {
        aborted.sort_by_key(|transaction| transaction.first_offset);
        self.coming = aborted.into();
    }

    /// Whether a batch of records belongs to an aborted transaction.
    pub(super) fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.attributes.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, shown)) => {
                *shown = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Whether a control batch has become useless, because nothing of its transaction is left.
    pub(super) fn is_useless(&mut self, header: &BatchHeader, marker: Option<Marker>) -> bool {
        self.begin_up_to(header.last_offset());
        match marker {
            Some(Marker::Abort) => match self.aborted.remove(&header.producer_id) {
                Some((transaction, true)) => {
                    self.seen.push(transaction);
                    false
                }
                _ => true,
            },
            Some(Marker::Commit) => !self.committed.remove(&header.producer_id),
            // One that compaction has emptied, or one of a kind that is not about a transaction.
            None => header.record_count == 0,
        }
    }

    /// The aborted transactions of which batches were there, in the order of their markers, since
    /// the last call.
    pub(super) fn take_seen(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.seen)
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(next) = self.coming.pop_front_if(|next| next.first_offset.value() <= offset)
        {
            self.aborted.entry(next.producer_id).or_insert((next, false));
        }
    }
}

/// Producers whose transactions are open where a group of segments begins, as a snapshot says. The
/// next marker of each has to stay.
#[derive(Default)]
pub(super) struct Pinned {
    producers: Option<BTreeSet<ProducerId>>,
}

impl Pinned {
    pub(super) const fn is_loaded(&self) -> bool {
        self.producers.is_some()
    }

    pub(super) fn load(&mut self, producers: BTreeSet<ProducerId>) {
        self.producers = Some(producers);
    }

    /// Whether a marker, which comes next, has to stay.
    pub(super) fn take(&mut self, header: &BatchHeader) -> bool {
        self.producers.as_mut().is_some_and(|producers| producers.remove(&header.producer_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, BatchOptions};
    use crate::offset::{Offset, Timestamp};

    fn batch(producer: i64, offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(Timestamp::from_millis(1), Some(b"k"), None, &[]);
        let mut header = BatchHeader::read(&builder.finish().unwrap()).unwrap();
        header.base_offset = offset;
        header.producer_id = ProducerId::new(producer);
        header.attributes = header.attributes.with_transactional(true);
        header
    }

    fn aborted(producer: i64, first: i64, last: i64) -> AbortedTransaction {
        let at = |value| Offset::new(value).unwrap();
        AbortedTransaction {
            producer_id: ProducerId::new(producer),
            first_offset: at(first),
            last_offset: at(last),
            last_stable_offset: at(last + 1),
        }
    }

    #[test]
    fn a_marker_is_useless_once_no_batch_of_its_transaction_is_left() {
        let mut transactions = Transactions::default();
        transactions.expect(vec![aborted(2, 5, 8), aborted(1, 0, 3)]);
        assert!(transactions.is_aborted(&batch(1, 0)));
        assert!(!transactions.is_aborted(&batch(2, 1)));
        assert!(!transactions.is_useless(&batch(2, 2), Some(Marker::Commit)));
        assert!(!transactions.is_useless(&batch(1, 3), Some(Marker::Abort)));
        assert_eq!(transactions.take_seen(), [aborted(1, 0, 3)]);
        // The same producer's next transaction is another one.
        assert!(!transactions.is_aborted(&batch(1, 4)));
        assert!(!transactions.is_useless(&batch(1, 6), Some(Marker::Commit)));
        assert!(transactions.is_useless(&batch(2, 8), Some(Marker::Abort)));
        assert!(transactions.is_useless(&batch(9, 9), Some(Marker::Commit)));
        assert!(transactions.take_seen().is_empty());
    }
}
