//! Deadlines: what has to happen when, without a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::id::{GroupId, MemberId};

/// What a deadline is for. There is at most one deadline for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    /// A member's session, or the wait for a member that was only given an id.
    Session(GroupId, MemberId),
    /// The end of the join phase.
    Join(GroupId),
    /// The end of the sync phase.
    Sync(GroupId),
    /// The next look for expired offsets.
    OffsetExpiry,
}

/// All deadlines of a coordinator, in the caller's monotonic time. Every operation costs
/// O(log deadlines).
#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<TimerKey, Duration>,
    order: BTreeSet<(Duration, TimerKey)>,
}

impl Timers {
    /// Sets the deadline of `key`, in place of an earlier one.
    pub(super) fn schedule(&mut self, key: TimerKey, deadline: Duration) {
        if let Some(before) = self.at.insert(key.clone(), deadline) {
            self.order.remove(&(before, key.clone()));
        }
        self.order.insert((deadline, key));
    }

    /// Drops the deadline of `key`, if it has one.
    pub(super) fn cancel(&mut self, key: TimerKey) {
        if let Some(before) = self.at.remove(&key) {
            self.order.remove(&(before, key));
        }
    }

    /// Drops all deadlines.
    pub(super) fn clear(&mut self) {
        self.at.clear();
        self.order.clear();
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(deadline, _)| *deadline)
    }

    /// Takes the earliest deadline that is not after `now`.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<TimerKey> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_deadline_of_a_key_holds_and_the_earliest_comes_first() {
        let mut timers = Timers::default();
        let join = TimerKey::Join("g".into());
        timers.schedule(join.clone(), Duration::from_secs(1));
        timers.schedule(TimerKey::OffsetExpiry, Duration::from_secs(2));
        timers.schedule(join.clone(), Duration::from_secs(3));
        assert_eq!(timers.next(), Some(Duration::from_secs(2)));
        assert_eq!(timers.pop_due(Duration::from_secs(1)), None);
        assert_eq!(timers.pop_due(Duration::from_secs(9)), Some(TimerKey::OffsetExpiry));
        timers.cancel(join);
        assert_eq!(timers.next(), None);
    }
}
