//! The shard's writer: one task that makes the segment writes of all its logs.
//!
//! Logs with something to do stand in a queue, each at most once, and are served in turn; a log
//! that has nothing to do costs nothing. There is a second queue, for what nobody waits for: putting
//! into segments what the journal has. At most [`SHARD_WRITES_IN_FLIGHT_MAX`] operations are in
//! flight, and [`SHARD_PLACINGS_IN_FLIGHT_MAX`] of the second kind.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::io::Io;
use crate::limits::{SHARD_PLACINGS_IN_FLIGHT_MAX, SHARD_WRITES_IN_FLIGHT_MAX};
use crate::log::Inner;
use crate::log::flush::{Done, perform};
use crate::log::wait::Signal;
use crate::shard::WeakShard;

/// The logs that have something to do, and those that wait for a time.
pub(crate) struct Writer<I: Io> {
    ready: RefCell<VecDeque<Rc<Inner<I>>>>,
    later: RefCell<VecDeque<Rc<Inner<I>>>>,
    /// Logs that had nothing to do, and whose files are open; oldest first.
    resting: RefCell<VecDeque<Weak<Inner<I>>>>,
    timers: RefCell<Timers<I>>,
    pub(crate) signal: Rc<Signal>,
    running: Cell<bool>,
    /// The task was dropped before the shard: nothing is written any more.
    is_over: Cell<bool>,
}

struct Timers<I: Io> {
    due: BTreeMap<(Duration, u64), Weak<Inner<I>>>,
    next: u64,
}

impl<I: Io> Writer<I> {
    pub(crate) fn new() -> Self {
        Self {
            ready: RefCell::default(),
            later: RefCell::default(),
            resting: RefCell::default(),
            timers: RefCell::new(Timers { due: BTreeMap::new(), next: 0 }),
            signal: Rc::default(),
            running: Cell::new(false),
            is_over: Cell::new(false),
        }
    }

    /// Puts a log in the queue, unless it stands there. Allocates only when the queue grows.
    pub(crate) fn schedule(&self, log: &Rc<Inner<I>>) {
        if !self.is_over.get() && !log.scheduled.replace(true) {
            self.ready.borrow_mut().push_back(Rc::clone(log));
            self.wake(log);
        }
    }

    /// Puts a log in the queue of those that nobody waits for.
    pub(crate) fn schedule_later(&self, log: &Rc<Inner<I>>) {
        if !self.is_over.get() && !log.scheduled_later.replace(true) {
            self.later.borrow_mut().push_back(Rc::clone(log));
            self.wake(log);
        }
    }

    fn wake(&self, log: &Rc<Inner<I>>) {
        self.signal.wake();
        if !self.running.replace(true) {
            let shard = &log.shard;
            let running = Running(shard.downgrade());
            shard.io().spawn(run(running, Rc::clone(&self.signal), shard.io().clone()));
        }
    }

    /// Lets go of the logs that wait: they hold the shard, which holds them.
    fn end(&self) {
        self.is_over.set(true);
        // Dropped outside of the borrows.
        drop((self.ready.take(), self.later.take()));
    }

    /// How many more logs may be put into their segments at once than wait for it.
    pub(crate) fn idle_placings(&self) -> usize {
        SHARD_PLACINGS_IN_FLIGHT_MAX.saturating_sub(self.later.borrow().len())
    }

    /// The next log, and whether nobody waits for it. `placings` are in flight.
    fn next(&self, placings: usize) -> Option<(Rc<Inner<I>>, bool)> {
        if let Some(log) = self.ready.borrow_mut().pop_front() {
            log.scheduled.set(false);
            return Some((log, false));
        }
        if placings >= SHARD_PLACINGS_IN_FLIGHT_MAX {
            return None;
        }
        let log = self.later.borrow_mut().pop_front()?;
        log.scheduled_later.set(false);
        Some((log, true))
    }

    fn again(&self, log: &Rc<Inner<I>>, later: bool) {
        if later { self.schedule_later(log) } else { self.schedule(log) }
    }

    /// A log has nothing to do for now. Its file stays open, unless too many such logs have come
    /// after it: then the one that rests for the longest gives its file up.
    fn rest(&self, log: &Rc<Inner<I>>) {
        if log.state.borrow().active.file.is_none() || log.resting.replace(true) {
            return;
        }
        let mut resting = self.resting.borrow_mut();
        resting.push_back(Rc::downgrade(log));
        if resting.len() <= log.shard.segments().files_max() {
            return;
        }
        let oldest = resting.pop_front();
        drop(resting);
        if let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) {
            oldest.resting.set(false);
            oldest.park_file();
        }
    }

    /// Sees to it that a log is synced in time, if its policy says so. One timer a log.
    fn arm(&self, log: &Rc<Inner<I>>, io: &I) {
        if log.timed.get() {
            return;
        }
        let Some(interval) = log.sync_interval() else { return };
        log.timed.set(true);
        let at = io.elapsed().saturating_add(interval);
        let mut timers = self.timers.borrow_mut();
        let number = timers.next;
        timers.next += 1;
        timers.due.insert((at, number), Rc::downgrade(log));
    }

    /// Has the logs synced whose time has come.
    fn ring(&self, io: &I) {
        if self.timers.borrow().due.is_empty() {
            return;
        }
        let now = io.elapsed();
        while self.next_time().is_some_and(|at| at <= now) {
            let rung = self.timers.borrow_mut().due.pop_first();
            if let Some(log) = rung.and_then(|(_, log)| log.upgrade()) {
                log.timed.set(false);
                log.state.borrow_mut().tail.sync_due = true;
                self.schedule(&log);
            }
        }
    }

    fn next_time(&self) -> Option<Duration> {
        self.timers.borrow().due.first_key_value().map(|((at, _), _)| *at)
    }
}

async fn sleep<I: Io>(io: I, duration: Duration) {
    io.sleep(duration).await;
}

/// An operation in flight, and the log it is for.
struct Slot<I: Io, F> {
    log: Option<Rc<Inner<I>>>,
    /// Nobody waits for it.
    later: bool,
    future: Pin<Box<Option<F>>>,
}

impl<I: Io, F: Future<Output = Done>> Slot<I, F> {
    /// Takes in what is done.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(Poll::Ready(done)) = poll_some(&mut self.future, cx)
            && let Some(log) = self.log.take()
        {
            log.finish(done);
            log.dispatch_waiting();
            log.shard.writer().again(&log, self.later);
        }
    }
}

/// Polls what may be there: `None` if nothing is.
pub(crate) fn poll_some<F: Future>(
    slot: &mut Pin<Box<Option<F>>>,
    cx: &mut Context<'_>,
) -> Option<Poll<F::Output>> {
    let poll = slot.as_mut().as_pin_mut()?.poll(cx);
    if poll.is_ready() {
        slot.set(None);
    }
    Some(poll)
}

/// The shard whose writer's task runs. One that is dropped with its executor leaves nothing behind
/// that keeps the shard alive.
struct Running<I: Io>(WeakShard<I>);

impl<I: Io> Drop for Running<I> {
    fn drop(&mut self) {
        if let Some(shard) = self.0.upgrade() {
            shard.writer().end();
        }
    }
}

/// The writer's task: lives as long as the shard, and allocates only here.
async fn run<I: Io>(running: Running<I>, signal: Rc<Signal>, io: I) {
    let mut slots: Vec<_> = (0..SHARD_WRITES_IN_FLIGHT_MAX)
        .map(|_| Slot { log: None, later: false, future: Box::pin(None) })
        .collect();
    let mut timer = Box::pin(None);
    let mut timer_at = None;
    poll_fn(move |cx| {
        signal.register(cx);
        for slot in &mut slots {
            slot.poll(cx);
        }
        let Some(strong) = running.0.upgrade() else {
            // Nobody waits any more; what is in flight is seen through.
            let busy = slots.iter().any(|slot| slot.future.is_some());
            return if busy { Poll::Pending } else { Poll::Ready(()) };
        };
        let writer = strong.writer();
        if let Some(Poll::Ready(())) = poll_some(&mut timer, cx) {
            timer_at = None;
        }
        writer.ring(&io);
        let mut placings = slots.iter().filter(|slot| slot.later && slot.future.is_some()).count();
        while let Some(slot) = slots.iter_mut().find(|slot| slot.future.is_none())
            && let Some((log, later)) = writer.next(placings)
        {
            let Some((file, task)) = log.next_task() else {
                writer.arm(&log, &io);
                writer.rest(&log);
                continue;
            };
            slot.future.set(Some(perform(Rc::clone(&log), file, task)));
            slot.log = Some(Rc::clone(&log));
            slot.later = later;
            placings += usize::from(later);
            // The first poll starts the operation.
            slot.poll(cx);
            writer.again(&log, later);
        }
        if let Some(at) = writer.next_time()
            && timer_at.is_none_or(|earlier| at < earlier)
        {
            timer_at = Some(at);
            timer.set(Some(sleep(io.clone(), at.saturating_sub(io.elapsed()))));
            if let Some(Poll::Ready(())) = poll_some(&mut timer, cx) {
                timer_at = None;
                signal.wake();
            }
        }
        Poll::Pending
    })
    .await;
}
