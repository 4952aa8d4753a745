//! How another thread wakes a task of this one.

use crate::sync::{AtomicBool, Mutex, Ordering, PoisonError};

/// Whether a task is queued to be polled already, so that it is queued once.
pub(crate) struct Queued(AtomicBool);

impl Queued {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Before queueing, from any thread: whether the caller is the one to do it.
    pub(crate) fn enter(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }

    /// Before the poll, so that a wake during it queues again.
    ///
    /// It reads what it overwrites: whoever found the task queued already, and so left it at that,
    /// has done before what the poll is to see.
    pub(crate) fn leave(&self) {
        self.0.swap(false, Ordering::SeqCst);
    }
}

/// What other threads have queued. They are few, and the lock is never held across a call.
pub(crate) struct RemoteList<T> {
    /// `None` once the owner is gone.
    list: Mutex<Option<Vec<T>>>,
    has_any: AtomicBool,
}

impl<T> RemoteList<T> {
    pub(crate) fn new() -> Self {
        Self { list: Mutex::new(Some(Vec::new())), has_any: AtomicBool::new(false) }
    }

    /// From any thread. Says whether it is the first since the owner last took: then the caller
    /// unparks the owner. Whoever pushes before the owner takes again leaves it at that. What comes
    /// once the list is closed is dropped.
    #[must_use]
    pub(crate) fn push(&self, item: T) -> bool {
        match &mut *self.list.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(list) => list.push(item),
            None => return false,
        }
        // An exchange and no store: a model of memory that knows no better may take a plain store
        // for older than the owner's last exchange.
        // It also reads what it overwrites, so that what another has pushed and unparked for is
        // taken together with this.
        !self.has_any.swap(true, Ordering::AcqRel)
    }

    /// Gives the owner everything that was pushed. Takes no lock while there is nothing.
    pub(crate) fn take(&self, each: impl FnMut(T)) {
        if self.has_any.swap(false, Ordering::AcqRel) {
            let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            list.iter_mut().flat_map(|list| list.drain(..)).for_each(each);
        }
    }

    /// Drops what was pushed, and what will be.
    pub(crate) fn close(&self) {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(list);
    }
}
