//! Tasks that wait for a log to get somewhere.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::error::AppendError;
use crate::io::Io;
use crate::log::Log;
use crate::offset::Offset;

/// Wakers with the offset each waits for. A slot belongs to one future and is given up when that
/// is dropped, so that those who lose patience leave nothing behind.
#[derive(Default)]
pub(crate) struct Waiters {
    slots: RefCell<Vec<Slot>>,
    /// No slot before this one is free.
    full_to: Cell<usize>,
}

#[derive(Default)]
struct Slot {
    used: bool,
    waiting: Option<(Offset, Waker)>,
}

/// A future's slot.
pub(crate) struct Waiter<'a> {
    waiters: &'a Waiters,
    slot: Option<usize>,
}

impl Waiters {
    pub(crate) fn waiter(&self) -> Waiter<'_> {
        Waiter { waiters: self, slot: None }
    }

    /// Wakes those who wait for `reached` or less.
    pub(crate) fn wake_up_to(&self, reached: Offset) {
        for slot in self.slots.borrow_mut().iter_mut() {
            if let Some((_, waker)) = slot.waiting.take_if(|(offset, _)| *offset <= reached) {
                waker.wake();
            }
        }
    }

    /// Wakes everybody: the log failed or was closed.
    pub(crate) fn wake_all(&self) {
        for slot in self.slots.borrow_mut().iter_mut() {
            if let Some((_, waker)) = slot.waiting.take() {
                waker.wake();
            }
        }
    }
}

impl Waiter<'_> {
    /// Asks to be woken when `offset` is reached.
    pub(crate) fn register(&mut self, offset: Offset, cx: &Context<'_>) {
        let mut slots = self.waiters.slots.borrow_mut();
        let index = self.slot.unwrap_or_else(|| {
            let full_to = &self.waiters.full_to;
            let free = (full_to.get()..slots.len()).find(|&index| !slots[index].used);
            let index = free.unwrap_or(slots.len());
            if free.is_none() {
                slots.push(Slot::default());
            }
            full_to.set(index + 1);
            index
        });
        slots[index] = Slot { used: true, waiting: Some((offset, cx.waker().clone())) };
        self.slot = Some(index);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(index) = self.slot {
            let mut slots = self.waiters.slots.borrow_mut();
            slots[index] = Slot::default();
            self.waiters.full_to.set(self.waiters.full_to.get().min(index));
            while slots.last().is_some_and(|slot| !slot.used) {
                slots.pop();
            }
        }
    }
}

/// Wakes one task.
#[derive(Default)]
pub(crate) struct Signal {
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    pub(crate) fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

/// Wakes its signal when dropped: tells a task that those it works for are gone.
pub(crate) struct WakeOnDrop(pub(crate) Rc<Signal>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl<I: Io> Log<I> {
    /// Resolves when everything below `end` is durable by the log's
    /// [`FlushPolicy`](crate::log::FlushPolicy).
    ///
    /// Safe to drop. No allocation unless more tasks wait at once than ever before.
    ///
    /// # Errors
    ///
    /// [`AppendError::Failed`] if a write or sync failed before that: whether the records will be
    /// there after the next open is not known. [`AppendError::Closed`] if the log was closed, and
    /// [`AppendError::Truncated`] if it was truncated below `end`, before that.
    pub async fn durable(&self, end: Offset) -> Result<(), AppendError> {
        let mut waiter = self.inner.waiting_durable.waiter();
        let truncations = self.inner.state.borrow().truncations;
        poll_fn(|cx| {
            let state = self.inner.state.borrow();
            if state.truncations != truncations && end > state.truncated_to {
                let end = state.truncated_to;
                return Poll::Ready(Err(AppendError::Truncated { end }));
            }
            if state.offsets.durable >= end {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = state.writable() {
                return Poll::Ready(Err(error));
            }
            waiter.register(end, cx);
            Poll::Pending
        })
        .await
    }

    /// Resolves when the durable end is above `past`: there is more to read.
    ///
    /// Safe to drop. No allocation unless more tasks wait at once than ever before.
    ///
    /// # Errors
    ///
    /// [`AppendError::Failed`] or [`AppendError::Closed`] if there is no more above `past` and none
    /// will come, because the log takes nothing any more. A follower ends here.
    pub async fn advanced(&self, past: Offset) -> Result<(), AppendError> {
        let mut waiter = self.inner.waiting_durable.waiter();
        poll_fn(|cx| {
            let state = self.inner.state.borrow();
            if state.offsets.durable > past {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = state.writable() {
                return Poll::Ready(Err(error));
            }
            waiter.register(past.plus(1), cx);
            Poll::Pending
        })
        .await
    }
}
