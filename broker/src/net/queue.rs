//! The answers that a connection owes, in the order of their requests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Why a connection's reader gets no place for another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// A bounded queue between a connection's reader and its writer.
///
/// A request takes a place before it is looked at and holds it until its answer has been sent;
/// when all places are taken the reader waits, and with it the client.
pub(super) struct AnswerQueue<P> {
    state: RefCell<State<P>>,
}

struct State<P> {
    waiting: VecDeque<(u64, P)>,
    /// The number that the next answer to be queued gets.
    next_in: u64,
    /// The number of the next answer to be taken by the writer.
    next_out: u64,
    /// How many answers have been sent.
    sent: u64,
    places: u64,
    ended: bool,
    broken: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

impl<P> State<P> {
    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn take(&mut self) -> Option<P> {
        let (number, pending) = self.waiting.pop_front()?;
        assert_eq!(number, self.next_out, "connection.responses_in_request_order");
        self.next_out += 1;
        Some(pending)
    }
}

impl<P> AnswerQueue<P> {
    pub(super) fn new(places: usize) -> Self {
        let places = u64::try_from(places.max(1)).unwrap_or(u64::MAX);
        Self {
            state: RefCell::new(State {
                waiting: VecDeque::new(),
                next_in: 0,
                next_out: 0,
                sent: 0,
                places,
                ended: false,
                broken: false,
                writer: None,
                reader: None,
            }),
        }
    }

    /// Waits until a request more may be looked at. For the reader; safe to drop.
    pub(super) async fn place(&self) -> Result<(), Broken> {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.broken {
                Poll::Ready(Err(Broken))
            } else if state.next_in - state.sent < state.places {
                Poll::Ready(Ok(()))
            } else {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Queues the answer to the request that was looked at last. For the reader.
    pub(super) fn push(&self, pending: P) {
        let mut state = self.state.borrow_mut();
        if state.broken {
            return;
        }
        let number = state.next_in;
        state.next_in += 1;
        state.waiting.push_back((number, pending));
        state.wake_writer();
    }

    /// No request comes any more; the answers that are owed are still sent. For the reader.
    pub(super) fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.ended = true;
        state.wake_writer();
    }

    /// The connection is gone: what is owed is dropped.
    pub(super) fn break_off(&self) {
        let mut state = self.state.borrow_mut();
        state.broken = true;
        let owed = std::mem::take(&mut state.waiting);
        state.wake_writer();
        state.wake_reader();
        drop(state);
        // Dropped last: what an answer lets go of must not find the queue borrowed.
        drop(owed);
    }

    /// The answer whose turn it is, once there is one; `None` when none will come. For the
    /// writer; safe to drop.
    pub(super) async fn next(&self) -> Option<P> {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if let Some(pending) = state.take() {
                Poll::Ready(Some(pending))
            } else if state.ended || state.broken {
                Poll::Ready(None)
            } else {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// The answer whose turn it is, if there is one. For the writer.
    pub(super) fn try_next(&self) -> Option<P> {
        self.state.borrow_mut().take()
    }

    /// All answers taken so far have been sent: their places are free. For the writer.
    pub(super) fn sent_all_taken(&self) {
        let mut state = self.state.borrow_mut();
        state.sent = state.next_out;
        state.wake_reader();
    }

    /// Ready once the connection is broken. For the writer.
    pub(super) fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<Broken> {
        let mut state = self.state.borrow_mut();
        if state.broken {
            Poll::Ready(Broken)
        } else {
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state.borrow().broken
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use super::*;

    fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn answers_leave_in_the_order_of_their_requests() {
        let queue = AnswerQueue::new(8);
        for n in 0..5 {
            assert_eq!(ready(queue.place()), Some(Ok(())));
            queue.push(n);
        }
        queue.end();
        let taken: Vec<i32> = std::iter::from_fn(|| ready(queue.next()).flatten()).collect();
        assert_eq!(taken, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_place_is_free_when_its_answer_was_sent_and_not_when_it_was_taken() {
        let queue = AnswerQueue::new(2);
        queue.push('a');
        queue.push('b');
        assert_eq!(ready(queue.place()), None);
        assert_eq!(queue.try_next(), Some('a'));
        assert_eq!(ready(queue.place()), None);
        queue.sent_all_taken();
        assert_eq!(ready(queue.place()), Some(Ok(())));
    }

    #[test]
    fn a_broken_connection_drops_what_it_owes_and_lets_both_sides_go() {
        let queue = AnswerQueue::new(1);
        let held = std::rc::Rc::new(());
        queue.push(std::rc::Rc::clone(&held));
        assert_eq!(ready(queue.place()), None);
        queue.break_off();
        assert_eq!(std::rc::Rc::strong_count(&held), 1);
        assert_eq!(ready(queue.place()), Some(Err(Broken)));
        assert!(ready(queue.next()).expect("at once").is_none());
        queue.push(std::rc::Rc::clone(&held));
        assert_eq!(std::rc::Rc::strong_count(&held), 1);
    }
}
