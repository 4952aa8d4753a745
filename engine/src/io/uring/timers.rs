//! Those who sleep on a plain ring, in the order of their deadlines.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::clock;

/// As good as never, and far from where sums of times overflow.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Sleepers that were polled and are not due. Nothing is left of one that was dropped.
#[derive(Default)]
pub(super) struct Timers {
    /// By deadline, and by a number of their own where that is the same.
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next_number: Cell<u64>,
}

impl Timers {
    /// Resolves after `duration`, to be polled on this ring's thread.
    pub(super) fn sleep(&self, duration: Duration) -> Sleep<'_> {
        let now = clock();
        let deadline = now.checked_add(duration).unwrap_or(now + FAR_FUTURE);
        Sleep { timers: self, deadline, number: None }
    }

    pub(super) fn has_any(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// The deadline that comes first.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.borrow().first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Wakes everyone whose deadline is not after `now`.
    pub(super) fn fire(&self, now: Instant) {
        while let Some(waker) = self.take_due(now) {
            waker.wake();
        }
    }

    fn take_due(&self, now: Instant) -> Option<Waker> {
        let mut waiting = self.waiting.borrow_mut();
        let first = waiting.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

/// One who sleeps.
pub(super) struct Sleep<'a> {
    timers: &'a Timers,
    deadline: Instant,
    /// Its number among the waiting, once it was polled.
    number: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if clock() >= self.deadline {
            return Poll::Ready(());
        }
        let timers = self.timers;
        let number = *self.number.get_or_insert_with(|| {
            let number = timers.next_number.get();
            timers.next_number.set(number + 1);
            number
        });
        let mut waiting = timers.waiting.borrow_mut();
        let waker = waiting.entry((self.deadline, number));
        waker
            .and_modify(|waker| waker.clone_from(context.waker()))
            .or_insert_with(|| context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.timers.waiting.borrow_mut().remove(&(self.deadline, number));
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn a_sleeper_is_woken_when_it_is_due_and_leaves_nothing_behind() {
        let timers = Timers::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut hour = pin!(timers.sleep(Duration::from_secs(3600)));
        assert!(!timers.has_any(), "who was not polled does not sleep");
        assert!(hour.as_mut().poll(&mut context).is_pending());
        assert!(hour.as_mut().poll(&mut context).is_pending());
        {
            let mut minute = pin!(timers.sleep(Duration::from_secs(60)));
            assert!(minute.as_mut().poll(&mut context).is_pending());
            assert_eq!(timers.next(), Some(minute.deadline));
            assert_eq!(timers.waiting.borrow().len(), 2);
        }
        assert_eq!(timers.next(), Some(hour.deadline));
        timers.fire(hour.deadline - Duration::from_nanos(1));
        assert!(timers.has_any());
        timers.fire(hour.deadline);
        assert!(!timers.has_any());
    }

    #[test]
    fn no_time_at_all_is_over_at_once_and_the_longest_time_never_ends() {
        let timers = Timers::default();
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(timers.sleep(Duration::ZERO)).poll(&mut context).is_ready());
        assert!(pin!(timers.sleep(Duration::MAX)).poll(&mut context).is_pending());
        assert!(!timers.has_any());
    }
}
