//! The answers that a connection owes, in the order of their requests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::limits::REQUESTS_OPEN_BYTES_MAX;

/// Why a connection's reader gets no place for another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// A bounded queue between a connection's reader and its writer.
///
/// A request takes a place before it is looked at and holds it until its answer has been sent;
/// when all places are taken, or the requests that hold them have more than
/// [`REQUESTS_OPEN_BYTES_MAX`] bytes, the reader waits, and with it the client.
///
/// ```text
///  sent ─────────► answered ─────────► taken ─────────► queued
///        gathered           at most 1         waiting
///       └─────────────── open: they hold places ───────┘
/// ```
pub(super) struct AnswerQueue<P> {
    state: RefCell<State<P>>,
}

/// How many requests have come to some point since the connection began, and their bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    requests: u64,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.requests += 1;
        self.bytes += bytes;
    }
}

struct Owed<P> {
    number: u64,
    request_bytes: u64,
    pending: P,
}

struct State<P> {
    waiting: VecDeque<Owed<P>>,
    queued: Tally,
    /// Taken by the writer, which may be waiting for the last of them.
    taken: Tally,
    answered: Tally,
    sent: Tally,
    places: u64,
    ended: bool,
    /// Answers that are not ready are not waited for.
    late: bool,
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
        let Owed { number, request_bytes, pending } = self.waiting.pop_front()?;
        assert_eq!(number, self.taken.requests, "connection.responses_in_request_order");
        self.taken.add(request_bytes);
        Some(pending)
    }

    fn has_place(&self) -> bool {
        self.queued.requests - self.sent.requests < self.places
            && self.queued.bytes - self.sent.bytes <= REQUESTS_OPEN_BYTES_MAX
    }
}

impl<P> AnswerQueue<P> {
    pub(super) fn new(places: usize) -> Self {
        let places = u64::try_from(places.max(1)).unwrap_or(u64::MAX);
        Self {
            state: RefCell::new(State {
                waiting: VecDeque::new(),
                queued: Tally::default(),
                taken: Tally::default(),
                answered: Tally::default(),
                sent: Tally::default(),
                places,
                ended: false,
                late: false,
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
            } else if state.has_place() {
                Poll::Ready(Ok(()))
            } else {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Queues the answer to the request that was looked at last, which has `request_bytes`. For
    /// the reader.
    pub(super) fn push(&self, request_bytes: usize, pending: P) {
        let mut state = self.state.borrow_mut();
        if state.broken {
            return;
        }
        let number = state.queued.requests;
        let request_bytes = u64::try_from(request_bytes).unwrap_or(u64::MAX);
        state.queued.add(request_bytes);
        state.waiting.push_back(Owed { number, request_bytes, pending });
        state.wake_writer();
    }

    /// No request comes any more; the answers that are owed are still sent. For the reader.
    pub(super) fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.ended = true;
        state.wake_writer();
    }

    /// From now on no answer is waited for; those that are ready are still sent. Comes after
    /// [`Self::end`].
    pub(super) fn wait_no_more(&self) {
        let mut state = self.state.borrow_mut();
        state.late = true;
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

    /// The answer taken last is there. For the writer.
    pub(super) fn answered(&self) {
        let mut state = self.state.borrow_mut();
        state.answered = state.taken;
    }

    /// All answers that were there have been sent: their places are free. For the writer.
    pub(super) fn sent_all_answered(&self) {
        let mut state = self.state.borrow_mut();
        state.sent = state.answered;
        state.wake_reader();
    }

    /// Ready once an answer that is not there is not to be waited for. For the writer.
    pub(super) fn poll_given_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.broken || state.late {
            Poll::Ready(())
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
            queue.push(1, n);
        }
        queue.end();
        let taken: Vec<i32> = std::iter::from_fn(|| ready(queue.next()).flatten()).collect();
        assert_eq!(taken, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_place_is_free_when_its_answer_was_sent_and_not_when_it_was_taken() {
        let queue = AnswerQueue::new(2);
        queue.push(1, 'a');
        queue.push(1, 'b');
        assert_eq!(ready(queue.place()), None);
        assert_eq!(queue.try_next(), Some('a'));
        queue.answered();
        assert_eq!(ready(queue.place()), None);
        queue.sent_all_answered();
        assert_eq!(ready(queue.place()), Some(Ok(())));
    }

    #[test]
    fn a_large_request_gets_in_and_keeps_others_out_until_its_own_answer_was_sent() {
        let queue = AnswerQueue::new(8);
        queue.push(10, "small");
        assert_eq!(ready(queue.place()), Some(Ok(())));
        queue.push(100 << 20, "large");
        assert_eq!(ready(queue.place()), None);
        assert_eq!(queue.try_next(), Some("small"));
        queue.answered();
        assert_eq!(queue.try_next(), Some("large"));
        // The small one's answer leaves while the large one's is waited for.
        queue.sent_all_answered();
        assert_eq!(ready(queue.place()), None);
        queue.answered();
        queue.sent_all_answered();
        assert_eq!(ready(queue.place()), Some(Ok(())));
    }

    #[test]
    fn answers_are_still_taken_and_no_longer_waited_for_when_they_are_late() {
        let queue = AnswerQueue::new(8);
        let mut cx = Context::from_waker(Waker::noop());
        queue.push(1, 'a');
        queue.end();
        assert_eq!(queue.poll_given_up(&mut cx), Poll::Pending);
        queue.wait_no_more();
        assert_eq!(queue.poll_given_up(&mut cx), Poll::Ready(()));
        assert_eq!(ready(queue.next()), Some(Some('a')));
        assert!(!queue.is_broken());
    }

    #[test]
    fn a_broken_connection_drops_what_it_owes_and_lets_both_sides_go() {
        let queue = AnswerQueue::new(1);
        let held = std::rc::Rc::new(());
        queue.push(1, std::rc::Rc::clone(&held));
        assert_eq!(ready(queue.place()), None);
        queue.break_off();
        assert_eq!(std::rc::Rc::strong_count(&held), 1);
        assert_eq!(ready(queue.place()), Some(Err(Broken)));
        assert!(ready(queue.next()).expect("at once").is_none());
        queue.push(1, std::rc::Rc::clone(&held));
        assert_eq!(std::rc::Rc::strong_count(&held), 1);
    }
}
