//! Waiting for any of several partitions to have more to read.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

/// One who waits: a fetch, or another shard's fetch.
#[derive(Debug, Default)]
pub struct Watcher {
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Watcher {
    /// Something happened: whoever waits looks again.
    pub fn fire(&self) {
        self.fired.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Resolves once fired.
    pub async fn fired(&self) {
        poll_fn(|cx| {
            if self.fired.get() {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Those who wait for one partition.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    list: RefCell<Vec<Weak<Watcher>>>,
}

impl Watchers {
    /// Adds one; it is forgotten when it is dropped or fired.
    pub(super) fn add(&self, watcher: &Rc<Watcher>) {
        let mut list = self.list.borrow_mut();
        if list.len() == list.capacity() {
            list.retain(|watcher| watcher.strong_count() > 0);
        }
        list.push(Rc::downgrade(watcher));
    }

    /// Fires and forgets all.
    pub(super) fn fire(&self) {
        for watcher in self.list.take().iter().filter_map(Weak::upgrade) {
            watcher.fire();
        }
    }
}
