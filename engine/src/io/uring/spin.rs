//! How long a ring looks for completions before its thread sleeps.
//!
//! Putting a core to sleep and waking it costs microseconds, on a virtual machine tens of them. A
//! thread that looks on for as long as the next completion takes saves them, and burns its core
//! meanwhile. So it is done only where it has lately paid: whether a wait that is over was short
//! enough for it decides about the next one.

use std::cell::Cell;
use std::time::Duration;

/// The first step, as a part of the longest: from one wait that was short to the next.
const STEPS: u32 = 8;

/// The time to look on: nothing, or between an eighth of the longest and the longest.
#[derive(Default)]
pub(super) struct Spin {
    longest: Cell<Duration>,
    next: Cell<Duration>,
}

impl Spin {
    pub(super) fn set_longest(&self, longest: Duration) {
        self.longest.set(longest);
        self.next.set(Duration::ZERO);
    }

    /// Whether it is ever done.
    pub(super) fn is_on(&self) -> bool {
        !self.longest.get().is_zero()
    }

    /// How long to look on before the next sleep.
    pub(super) fn next(&self) -> Duration {
        self.next.get()
    }

    /// Learns how long a wait has taken, with what was spent looking on.
    pub(super) fn learn(&self, took: Duration) {
        let (longest, next) = (self.longest.get(), self.next.get());
        let first = longest / STEPS;
        self.next.set(match took {
            took if took <= longest => (next * 2).clamp(first, longest),
            _ if next / 2 < first => Duration::ZERO,
            _ => next / 2,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(79);
    const LONG: Duration = Duration::from_micros(81);

    #[test]
    fn short_waits_have_it_look_on_longer_and_long_ones_less_until_not_at_all() {
        let spin = Spin::default();
        spin.learn(Duration::ZERO);
        assert!(!spin.is_on() && spin.next().is_zero(), "off unless it is set");
        spin.set_longest(Duration::from_micros(80));
        assert!(spin.is_on() && spin.next().is_zero(), "nothing has paid yet");
        let mut after = |took| {
            spin.learn(took);
            spin.next().as_micros()
        };
        assert_eq!([SHORT; 5].map(&mut after), [10, 20, 40, 80, 80]);
        assert_eq!([LONG; 5].map(&mut after), [40, 20, 10, 0, 0]);
        assert_eq!([LONG, SHORT, LONG].map(&mut after), [0, 10, 0]);
    }
}
