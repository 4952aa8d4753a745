//! Taking turns: one task at a time changes a log's layout or holds a reservation.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A first come, first served lock between the tasks of one thread.
#[derive(Clone, Default)]
pub(crate) struct Turnstile {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    taken: Cell<bool>,
    next_ticket: Cell<u64>,
    queue: RefCell<VecDeque<(u64, Waker)>>,
}

/// The right to go; given up on drop.
pub(crate) struct Turn {
    inner: Rc<Inner>,
}

impl Turnstile {
    /// Waits for the turn. Safe to drop: the place in the queue is given up.
    pub(crate) fn enter(&self) -> Enter {
        Enter { inner: Rc::clone(&self.inner), ticket: None }
    }
}

impl Turnstile {
    /// Whether somebody has the turn.
    pub(crate) fn is_taken(&self) -> bool {
        self.inner.taken.get()
    }
}

pub(crate) struct Enter {
    inner: Rc<Inner>,
    ticket: Option<u64>,
}

impl Future for Enter {
    type Output = Turn;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut queue = self.inner.queue.borrow_mut();
        let first = match self.ticket {
            None => queue.is_empty(),
            Some(ticket) => queue.front().is_some_and(|(front, _)| *front == ticket),
        };
        if first && !self.inner.taken.get() {
            if self.ticket.is_some() {
                queue.pop_front();
            }
            drop(queue);
            self.inner.taken.set(true);
            self.ticket = None;
            return Poll::Ready(Turn { inner: Rc::clone(&self.inner) });
        }
        let ticket = match self.ticket {
            Some(ticket) => {
                if let Some((_, waker)) = queue.iter_mut().find(|(other, _)| *other == ticket) {
                    waker.clone_from(cx.waker());
                }
                ticket
            }
            None => {
                let ticket = self.inner.next_ticket.get();
                self.inner.next_ticket.set(ticket + 1);
                queue.push_back((ticket, cx.waker().clone()));
                ticket
            }
        };
        drop(queue);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        self.inner.queue.borrow_mut().retain(|(other, _)| *other != ticket);
        if !self.inner.taken.get() {
            self.inner.wake_first();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.inner.taken.set(false);
        self.inner.wake_first();
    }
}

impl Inner {
    fn wake_first(&self) {
        let first = self.queue.borrow().front().map(|(_, waker)| waker.clone());
        if let Some(waker) = first {
            waker.wake();
        }
    }
}
