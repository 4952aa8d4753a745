//! When the requests of an open loop are due: a fixed schedule that no slow server can stretch.

use std::time::{Duration, Instant};

/// The due times of one connection's requests.
///
/// Of a load of `rate` requests per second over `count` connections, connection `index` sends the
/// requests `index`, `index + count`, `index + 2 x count` and so on; request `n` is due at
/// `start + n / rate`.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    start: Instant,
    rate_per_s: f64,
    next: u64,
    stride: u64,
}

impl Schedule {
    /// The schedule of connection `index` of `count`. `rate_per_s` is the whole load's and above 0.
    #[must_use]
    pub fn new(start: Instant, rate_per_s: f64, index: u64, count: u64) -> Self {
        Self { start, rate_per_s, next: index, stride: count.max(1) }
    }

    /// When the next request is due. Computed from the start each time, so that no rounding adds
    /// up.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.start + nth(self.next, self.rate_per_s)
    }

    /// Takes the next request off the schedule if it is due.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due();
        if due > now {
            return None;
        }
        self.next += self.stride;
        Some(due)
    }

    /// How many requests were due before `end` and not yet taken.
    #[must_use]
    pub fn missed(&self, end: Instant) -> u64 {
        let mut rest = *self;
        let mut count = 0;
        while rest.due() < end {
            rest.next += rest.stride;
            count += 1;
        }
        count
    }
}

/// How long after the start request `n` is due.
#[expect(clippy::cast_precision_loss, reason = "2^53 requests are never sent")]
fn nth(n: u64, rate_per_s: f64) -> Duration {
    Duration::from_secs_f64(n as f64 / rate_per_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_the_rate_without_overlap() {
        let start = Instant::now();
        let mut due = Vec::new();
        for index in 0..4 {
            let mut schedule = Schedule::new(start, 1000.0, index, 4);
            for _ in 0..25 {
                due.push(schedule.due() - start);
                assert_eq!(
                    schedule.take(start + Duration::from_secs(1)),
                    due.last().map(|d| start + *d)
                );
            }
        }
        due.sort();
        let expected: Vec<_> = (0..100).map(Duration::from_millis).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn nothing_is_given_before_it_is_due() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 10.0, 1, 2);
        assert_eq!(schedule.take(start + Duration::from_millis(99)), None);
        let due = start + Duration::from_millis(100);
        assert_eq!(schedule.take(due), Some(due));
        assert_eq!(schedule.due(), start + Duration::from_millis(300));
    }

    #[test]
    fn a_stall_leaves_the_requests_due_at_their_old_times() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1000.0, 0, 1);
        let late = start + Duration::from_secs(1);
        assert_eq!(schedule.missed(late), 1000);
        assert_eq!(schedule.take(late), Some(start));
        assert_eq!(schedule.take(late), Some(start + Duration::from_millis(1)));
        assert_eq!(schedule.missed(late), 998);
    }

    #[test]
    fn rounding_does_not_add_up_over_many_requests() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 3.0, 3_000_000, 1);
        assert_eq!(schedule.due() - start, Duration::from_secs(1_000_000));
    }
}
