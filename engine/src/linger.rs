//! Appends that wait for company, where a shard asks for that.
//!
//! ```text
//!  append ──► nothing is in flight ──► held ──┬─ the first has waited long enough ─┐
//!     │                                       └─ they are many bytes ──────────────┴──► on their way
//!     └────► something is in flight ──► joins the next write, as without lingering
//! ```
//!
//! Only the way to the first write is longer: who must have a log written, to close it or to roll,
//! does not ask here, and takes along what is held.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::io::Io;
use crate::limits::JOURNAL_EAGER_BYTES;
use crate::log::Inner;

/// A shard's held appends. With a time of zero nothing is ever held.
pub(crate) struct Linger<I: Io> {
    duration: Duration,
    /// Those that a timer runs for; it alone keeps them.
    held: RefCell<Weak<Held<I>>>,
}

struct Held<I: Io> {
    logs: RefCell<Vec<Rc<Inner<I>>>>,
    bytes: Cell<usize>,
}

impl<I: Io> Linger<I> {
    pub(crate) fn new(duration: Duration) -> Self {
        Self { duration, held: RefCell::default() }
    }

    pub(crate) const fn duration(&self) -> Duration {
        self.duration
    }

    /// Sends `bytes` that were appended to `log` on their way, at once or a little later.
    pub(crate) fn dispatch(&self, log: &Rc<Inner<I>>, bytes: usize) {
        if self.duration.is_zero() || log.joins_others() {
            return log.dispatch(bytes);
        }
        let known = self.held.borrow().upgrade();
        let held = known.unwrap_or_else(|| self.begin(log.shard.io()));
        let is_new = !held.logs.borrow().iter().any(|known| Rc::ptr_eq(known, log));
        if is_new {
            held.logs.borrow_mut().push(Rc::clone(log));
        }
        held.bytes.set(held.bytes.get() + bytes);
        if held.bytes.get() >= JOURNAL_EAGER_BYTES {
            held.release();
        }
    }

    /// Holds from now on, for one such time. Two or three allocations.
    fn begin(&self, io: &I) -> Rc<Held<I>> {
        let held = Rc::new(Held { logs: RefCell::default(), bytes: Cell::new(0) });
        *self.held.borrow_mut() = Rc::downgrade(&held);
        let (kept, timer, duration) = (Rc::clone(&held), io.clone(), self.duration);
        io.spawn(async move {
            timer.sleep(duration).await;
            kept.release();
        });
        held
    }
}

impl<I: Io> Held<I> {
    /// What comes after that, and before the timer ends, is held for the rest of the time.
    fn release(&self) {
        self.bytes.set(0);
        for log in self.logs.take() {
            log.dispatch_waiting();
        }
    }
}
