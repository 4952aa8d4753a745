//! What a partition's leader knows, as plain state: epochs, the in-sync replicas, the watermarks.
//!
//! ```text
//!   log start          last stable offset   high watermark    durable here         end
//!       |                      |                  |                |                |
//!  -----+======================+==================+----------------+----------------+---
//!       | read_committed reads | read_uncommitted | on this disk   | in memory, or   |
//!       |                      | reads            | but not on all | being written   |
//! ```
//!
//! Nothing here does I/O or looks at a clock: what happened comes in, what follows goes out.

use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::offset::Offset;

use crate::metadata::BrokerId;

/// How far one in-sync replica has the log on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InSyncReplica {
    broker: BrokerId,
    durable_end: Offset,
}

/// Which records a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Everything below the high watermark.
    ReadUncommitted,
    /// Everything below the last stable offset.
    ReadCommitted,
}

/// Why a request that names a leader epoch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// The request is about an earlier reign.
    #[error("the leader epoch {asked} is over: the current one is {current}")]
    Fenced {
        /// The epoch of the request.
        asked: LeaderEpoch,
        /// The epoch of this leader.
        current: LeaderEpoch,
    },
    /// The request knows of a reign that this broker has not heard of yet.
    #[error("the leader epoch {asked} is not known here: the current one is {current}")]
    Unknown {
        /// The epoch of the request.
        asked: LeaderEpoch,
        /// The epoch of this leader.
        current: LeaderEpoch,
    },
}

/// The leader's state of one partition.
#[derive(Debug)]
pub struct Leader {
    epoch: LeaderEpoch,
    isr: Vec<InSyncReplica>,
    high_watermark: Offset,
}

impl Leader {
    /// A leader whose in-sync replicas are `isr`, each known to hold the log up to `durable_end`.
    ///
    /// Invariant `partition.leader_in_isr`: `me` is one of them.
    #[must_use]
    pub fn new(me: BrokerId, isr: &[BrokerId], epoch: LeaderEpoch, durable_end: Offset) -> Self {
        assert!(isr.contains(&me), "partition.leader_in_isr: {me:?} is not in {isr:?}");
        Self {
            epoch,
            isr: isr.iter().map(|&broker| InSyncReplica { broker, durable_end }).collect(),
            high_watermark: durable_end,
        }
    }

    /// The epoch of this reign.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Every record below it is on stable storage of every in-sync replica.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The first offset of the oldest open transaction, else the high watermark.
    ///
    /// Transactions are not served yet, so nothing is ever held back below the watermark.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    /// The end of what a reader may see. Invariant `fetch.never_past_watermark`.
    #[must_use]
    pub fn visible_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset(),
        }
    }

    /// How many replicas are in sync.
    #[must_use]
    pub fn in_sync_count(&self) -> usize {
        self.isr.len()
    }

    /// Whether a request made for `asked` is about this reign. [`LeaderEpoch::NONE`] always is.
    ///
    /// # Errors
    ///
    /// [`EpochError`] with both epochs.
    pub fn check_epoch(&self, asked: LeaderEpoch) -> Result<(), EpochError> {
        let current = self.epoch;
        if asked == LeaderEpoch::NONE || asked == current {
            Ok(())
        } else if asked < current {
            Err(EpochError::Fenced { asked, current })
        } else {
            Err(EpochError::Unknown { asked, current })
        }
    }

    /// `broker` has the log on stable storage up to `end`. Says whether the high watermark moved.
    ///
    /// Invariants `partition.watermark_never_falls` and `partition.watermark_on_every_isr_member`.
    pub fn durable(&mut self, broker: BrokerId, end: Offset) -> bool {
        let Some(replica) = self.isr.iter_mut().find(|replica| replica.broker == broker) else {
            return false;
        };
        replica.durable_end = replica.durable_end.max(end);
        let on_all = self.isr.iter().map(|replica| replica.durable_end).min();
        let watermark = on_all.expect("partition.leader_in_isr: the set is never empty");
        let moved = watermark > self.high_watermark;
        self.high_watermark = self.high_watermark.max(watermark);
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(value: i64) -> Offset {
        Offset::new(value).expect("not negative")
    }

    #[test]
    fn the_watermark_is_what_every_in_sync_replica_has() {
        let (me, other) = (BrokerId(0), BrokerId(1));
        let mut leader = Leader::new(me, &[me, other], LeaderEpoch::new(3), Offset::ZERO);
        assert!(!leader.durable(me, offset(10)));
        assert_eq!(leader.high_watermark(), Offset::ZERO);
        assert!(leader.durable(other, offset(7)));
        assert_eq!(leader.high_watermark(), offset(7));
        assert!(!leader.durable(BrokerId(9), offset(90)), "not an in-sync replica");
    }

    #[test]
    fn the_watermark_never_falls() {
        let me = BrokerId(0);
        let mut leader = Leader::new(me, &[me], LeaderEpoch::new(0), offset(5));
        assert!(!leader.durable(me, offset(3)));
        assert_eq!(leader.high_watermark(), offset(5));
    }

    #[test]
    fn requests_of_other_reigns_are_refused_with_both_epochs() {
        let me = BrokerId(0);
        let leader = Leader::new(me, &[me], LeaderEpoch::new(4), Offset::ZERO);
        assert_eq!(leader.check_epoch(LeaderEpoch::NONE), Ok(()));
        assert_eq!(leader.check_epoch(LeaderEpoch::new(4)), Ok(()));
        let (asked, current) = (LeaderEpoch::new(3), LeaderEpoch::new(4));
        assert_eq!(leader.check_epoch(asked), Err(EpochError::Fenced { asked, current }));
        let asked = LeaderEpoch::new(5);
        assert_eq!(leader.check_epoch(asked), Err(EpochError::Unknown { asked, current }));
    }
}
