//! Tasks that wait for a log to get somewhere.

use std::cell::RefCell;
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
        let index = self.slot.or_else(|| slots.iter().position(|slot| !slot.used));
        let index = index.unwrap_or_else(|| {
            slots.push(Slot::default());
            slots.len() - 1
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
            while slots.last().is_some_and(|slot| !slot.used) {
                slots.pop();
            }
        }
    }
}

/// Wakes one task: the log's flush task.
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

/// Wakes its signal when dropped: tells the flush task that the log is gone.
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

    /// Resolves when the durable end is above `past`, or the log failed or was closed.
    ///
    /// Safe to drop.
    pub async fn advanced(&self, past: Offset) {
        let mut waiter = self.inner.waiting_durable.waiter();
        poll_fn(|cx| {
            let state = self.inner.state.borrow();
            if state.offsets.durable > past || state.writable().is_err() {
                return Poll::Ready(());
            }
            waiter.register(past.plus(1), cx);
            Poll::Pending
        })
        .await;
    }
}
