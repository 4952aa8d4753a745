//! Appends to one partition take turns, first come first served.
//!
//! An append may have to wait (for a new segment, for a buffer, between two chunks of a large
//! compressed batch). Requests of one connection must keep their order through that, and the
//! check of a producer's sequence must still hold when its batch is appended.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

#[derive(Debug, Default)]
struct Queue {
    /// The ticket whose turn it is.
    serving: u64,
    /// The next ticket to be given out.
    next: u64,
    /// Those who wait, in order; `None` where one has given up.
    waiting: VecDeque<(u64, Option<Waker>)>,
}

/// A fair lock of one thread.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: RefCell<Queue>,
}

/// Somebody's turn, until dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    ticket: u64,
}

impl Turns {
    /// Waits for a turn. The order is that of the calls, not of the first polls.
    pub(super) fn take(&self) -> impl Future<Output = Turn<'_>> {
        let mut queue = self.queue.borrow_mut();
        let ticket = queue.next;
        queue.next += 1;
        if ticket != queue.serving {
            queue.waiting.push_back((ticket, None));
        }
        drop(queue);
        // Held from the start, so that one who gives up while waiting also passes the turn on.
        let turn = Turn { turns: self, ticket };
        async move {
            poll_fn(|cx| {
                let mut queue = self.queue.borrow_mut();
                if queue.serving == ticket {
                    return Poll::Ready(());
                }
                let entry = queue.waiting.iter_mut().find(|(waiting, _)| *waiting == ticket);
                entry.expect("a ticket not served yet waits").1 = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            turn
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.turns.queue.borrow_mut();
        if queue.serving != self.ticket {
            queue.waiting.retain(|(ticket, _)| *ticket != self.ticket);
            return;
        }
        match queue.waiting.pop_front() {
            Some((ticket, waker)) => {
                queue.serving = ticket;
                drop(queue);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            None => queue.serving = queue.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    fn is_ready<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn turns_come_in_the_order_of_the_calls_and_those_who_give_up_are_passed_over() {
        let turns = Turns::default();
        let mut first = pin!(turns.take());
        let second = turns.take();
        let mut third = pin!(turns.take());
        assert!(is_ready(third.as_mut()).is_none());
        let held = is_ready(first.as_mut()).expect("nobody is before the first");
        drop(second);
        assert!(is_ready(third.as_mut()).is_none());
        drop(held);
        let held = is_ready(third.as_mut()).expect("the second gave up");
        drop(held);
        let mut fourth = pin!(turns.take());
        assert!(is_ready(fourth.as_mut()).is_some());
    }
}
