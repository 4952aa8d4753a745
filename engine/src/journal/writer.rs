//! The journal's task: one frame for all that waits.
//!
//! ```text
//!  logs with waiting batches ──► queue ──► frame ──► file        several frames in flight
//!                                            │
//!  durable, in the order of the frames ◄─────┘ ──► log: acknowledged
//! ```
//!
//! A frame is built when none is in flight, so no batch waits for a timer; while some are, what
//! arrives joins the next, which is built early only when it has become long
//! ([`JOURNAL_EAGER_BYTES`]). After an acknowledgement those who waited for it run first: what they
//! append at once joins the next frame.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::buffer::{Buffer, BufferMut};
use crate::error::{IoFailure, Operation};
use crate::io::{Durability, File, Io, Rare};
use crate::journal::Journal;
use crate::journal::files::{Making, Opened, Place};
use crate::journal::frame::{
    BYTES_ENTRY_BYTES, FRAME_HEAD_BYTES, FrameHead, FrameWriter, NAME_ENTRY_BYTES,
    SETTLED_ENTRY_BYTES,
};
use crate::limits::{JOURNAL_EAGER_BYTES, JOURNAL_WRITE_BYTES_MAX, JOURNAL_WRITES_IN_FLIGHT_MAX};
use crate::log::Inner;
use crate::log::tail;
use crate::log::wait::Signal;
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::shard::{Shard, WeakShard};
use crate::writer::poll_some;

/// A record that a log's entries are void, on its way.
pub(crate) struct Settle {
    number: u32,
    below: Option<Offset>,
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Settle {
    pub(crate) fn new(number: u32, below: Option<Offset>) -> Self {
        Self { number, below, ended: Cell::new(false), waker: RefCell::default() }
    }

    /// Whether the record is durable, or the journal failed; asks to be woken if not.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> bool {
        if !self.ended.get() {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
        }
        self.ended.get()
    }

    fn end(&self) {
        self.ended.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A frame that was built and is not counted as durable yet.
pub(crate) struct Flight<I: Io> {
    head: FrameHead,
    /// Whose batches it carries, and under which number each log knows them.
    logs: Vec<(Rc<Inner<I>>, u64)>,
    settles: Vec<Rc<Settle>>,
    done: bool,
}

/// What waits for the journal and what is under way.
pub(crate) struct Lane<I: Io> {
    /// Logs with waiting batches, each at most once.
    queue: VecDeque<Rc<Inner<I>>>,
    /// About how many bytes they have.
    queued_bytes: usize,
    settles: VecDeque<Rc<Settle>>,
    /// Oldest first.
    flights: VecDeque<Flight<I>>,
    /// Lists to be used again.
    spare: Vec<Vec<(Rc<Inner<I>>, u64)>>,
    /// Memory for frames, ours alone: the journal never waits for anybody's buffers.
    buffers: Vec<BufferMut>,
    pub(crate) failure: Option<IoFailure>,
}

impl<I: Io> Lane<I> {
    pub(crate) fn new(buffers: Vec<BufferMut>) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            settles: VecDeque::new(),
            flights: VecDeque::new(),
            spare: Vec::new(),
            buffers,
            failure: None,
        }
    }
}

/// What a frame's write was, when it is done.
struct Done {
    sequence: u64,
    buffer: Option<BufferMut>,
    path: Rc<Path>,
    result: io::Result<()>,
}

async fn write<F: File>(place: Place<F>, frame: Buffer, sequence: u64) -> Done {
    let kept = frame.clone();
    let unsynced = planted::active(Bug::JournalWithoutSync);
    let durability = if unsynced { Durability::Written } else { Durability::Synced };
    let result = place.file.write_at(frame, place.position, durability).await;
    Done { sequence, buffer: kept.into_mut(), path: place.path, result }
}

async fn make<I: Io>(making: Making<I>) -> (Making<I>, Option<Opened<I::File>>) {
    // Without it the journal goes on in the files it has; it is tried again when they are full.
    let opened = making.run().await.ok();
    (making, opened)
}

impl<I: Io> Journal<I> {
    /// Has a log's waiting batches written with the next frame.
    pub(crate) fn enqueue(&self, log: &Rc<Inner<I>>, bytes: usize) {
        if let Some(failure) = self.failure() {
            // It had its reservation before the journal failed.
            log.fail(failure);
            return;
        }
        if self.is_over.get() {
            return;
        }
        let mut lane = self.lane.borrow_mut();
        lane.queued_bytes += bytes;
        if !log.enqueued.replace(true) {
            lane.queue.push_back(Rc::clone(log));
        }
        drop(lane);
        self.wake(&log.shard.downgrade());
    }

    /// Whether a frame is in flight, or about to be built.
    pub(crate) fn is_busy(&self) -> bool {
        let lane = self.lane.borrow();
        !lane.flights.is_empty() || !lane.queue.is_empty() || !lane.settles.is_empty()
    }

    /// Has a record written that entries of a log are void.
    pub(crate) fn enqueue_settle(&self, shard: &WeakShard<I>, settle: Rc<Settle>) {
        self.lane.borrow_mut().settles.push_back(settle);
        self.wake(shard);
    }

    fn wake(&self, shard: &WeakShard<I>) {
        self.signal.wake();
        if !self.running.replace(true) {
            let io = self.base.io();
            io.spawn(run(Running(shard.clone()), Rc::clone(&self.signal)));
        }
    }

    /// Lets go of the logs that wait: they hold the shard, which holds them.
    fn end(&self) {
        self.is_over.set(true);
        let logs = {
            let mut lane = self.lane.borrow_mut();
            (std::mem::take(&mut lane.queue), std::mem::take(&mut lane.flights))
        };
        // Dropped outside of the borrow.
        drop(logs);
    }

    /// Whether so much waits that a frame is built though more may come at once.
    fn is_eager(&self) -> bool {
        self.lane.borrow().queued_bytes >= JOURNAL_EAGER_BYTES
    }

    /// The next frame to be written and where, if there is one.
    fn build(&self) -> Option<(Place<I::File>, Buffer, u64)> {
        let mut guard = self.lane.borrow_mut();
        let lane = &mut *guard;
        while let Some(log) = lane.queue.pop_front_if(|log| !self.is_ours(log)) {
            log.enqueued.set(false);
        }
        let idle = lane.queue.is_empty() && lane.settles.is_empty();
        let early = lane.flights.is_empty() || lane.queued_bytes >= JOURNAL_EAGER_BYTES;
        if idle || !early || lane.failure.is_some() {
            return None;
        }
        let mut files = self.files.borrow_mut();
        let needed = lane.settles.iter().map(|settle| self.settle_bytes(settle)).next();
        let needed = needed.or_else(|| lane.queue.front().map(|log| self.entry_bytes(log)))?;
        if FRAME_HEAD_BYTES + needed > files.room() && !self.advance(&mut files) {
            return self.raise_floor(lane, &mut files);
        }
        let buffer = lane.buffers.pop()?;
        let head = files.head();
        let mut frame = FrameWriter::begin(buffer, &head, files.room());
        let mut flight = Flight {
            head,
            logs: lane.spare.pop().unwrap_or_default(),
            settles: Vec::new(),
            done: false,
        };
        while let Some(settle) = lane.settles.front()
            && self.settle_bytes(settle) <= frame.room()
        {
            let Some(settle) = lane.settles.pop_front() else { break };
            self.name(&mut frame, settle.number, head.generation);
            frame.settled(settle.number, settle.below);
            flight.settles.push(settle);
        }
        while let Some(log) = lane
            .queue
            .pop_front_if(|log| !self.is_ours(log) || self.entry_bytes(log) <= frame.room())
        {
            log.enqueued.set(false);
            if let Some(id) = self.add(&mut frame, &log, head.generation) {
                flight.logs.push((log, id));
            }
        }
        if lane.queue.is_empty() {
            lane.queued_bytes = 0;
        }
        assert!(!frame.is_empty(), "a frame is built for what fits into it");
        let frame = frame.finish();
        lane.queued_bytes = lane.queued_bytes.saturating_sub(frame.len());
        let place = files.allot(&head, frame.len()).expect("the frame was cut to the room");
        lane.flights.push_back(flight);
        Some((place, frame.freeze(), head.sequence))
    }

    /// Whether a log's waiting batches are for the journal: many go straight to its segment, and
    /// may have become many, or have gone there, since they were few.
    fn is_ours(&self, log: &Inner<I>) -> bool {
        let state = log.state.borrow();
        let tail = &state.tail;
        let is_little = (1..self.direct_bytes()).contains(&tail.waiting);
        is_little && !tail.is_going_direct() && state.failure.is_none()
    }

    /// Goes on to a free file; `false` if there is none.
    fn advance(&self, files: &mut crate::journal::files::Files<I>) -> bool {
        let old = files.generation();
        let advanced = files.advance();
        if advanced {
            let new = files.generation();
            self.pins.borrow_mut().left(old, new, |generation| files.release(generation));
        }
        advanced
    }

    /// A frame without entries, in the place kept for it, if that sets files free.
    fn raise_floor(
        &self,
        lane: &mut Lane<I>,
        files: &mut crate::journal::files::Files<I>,
    ) -> Option<(Place<I::File>, Buffer, u64)> {
        self.base.io().reached(Rare::JournalFull);
        if !files.awaits_floor() || lane.flights.iter().any(|flight| flight.logs.is_empty()) {
            return None;
        }
        let head = files.head();
        let buffer = lane.buffers.pop()?;
        let Some(place) = files.allot_reserve(&head) else {
            lane.buffers.push(buffer);
            return None;
        };
        self.base.io().reached(Rare::JournalFloorRaised);
        let frame = FrameWriter::begin(buffer, &head, FRAME_HEAD_BYTES).finish();
        let logs = lane.spare.pop().unwrap_or_default();
        lane.flights.push_back(Flight { head, logs, settles: Vec::new(), done: false });
        Some((place, frame.freeze(), head.sequence))
    }

    fn settle_bytes(&self, settle: &Settle) -> usize {
        NAME_ENTRY_BYTES + self.registry.borrow().path(settle.number).len() + SETTLED_ENTRY_BYTES
    }

    /// Bytes that a log's waiting batches need in a frame at most.
    fn entry_bytes(&self, log: &Inner<I>) -> usize {
        let number = log.trace.as_ref().map_or(0, |trace| trace.borrow().number);
        let path = self.registry.borrow().path(number).len();
        NAME_ENTRY_BYTES + path + BYTES_ENTRY_BYTES + log.state.borrow().tail.waiting
    }

    fn name(&self, frame: &mut FrameWriter, number: u32, generation: u64) {
        let mut registry = self.registry.borrow_mut();
        if registry.is_unnamed(number, generation) {
            frame.name(number, registry.path(number));
            registry.named(number, generation);
        }
    }

    /// Adds a log's waiting batches to a frame: under which number the log knows them, if there
    /// are any.
    fn add(&self, frame: &mut FrameWriter, log: &Rc<Inner<I>>, generation: u64) -> Option<u64> {
        let trace = log.trace.as_ref()?;
        if !self.is_ours(log) {
            return None;
        }
        let mut guard = log.state.borrow_mut();
        let state = &mut *guard;
        let number = trace.borrow().number;
        self.name(frame, number, generation);
        let base = state.active.summary.base;
        let end = tail::Place { offset: state.offsets.end, position: state.active.summary.size };
        let total = state.tail.waiting;
        let id = state.tail.take_waiting(end, |position, parts| {
            frame.bytes(number, base, position, total, parts);
        });
        self.registry.borrow_mut().used(number);
        if trace.borrow_mut().hold(generation, end.offset) {
            self.pins.borrow_mut().pin(generation, log);
        }
        Some(id)
    }

    /// A frame's write is done.
    fn finish(&self, done: Done) {
        let mut lane = self.lane.borrow_mut();
        lane.buffers.extend(done.buffer);
        let flight = lane.flights.iter_mut().find(|flight| flight.head.sequence == done.sequence);
        if let Some(flight) = flight {
            flight.done = done.result.is_ok();
        }
        if let Err(error) = done.result {
            let failure = IoFailure::of(Operation::Write, &done.path)(error);
            drop(lane);
            return self.fail(failure);
        }
        drop(lane);
        self.confirm();
    }

    /// Makes the journal read-only, and with it all logs that wait for it (`log.no_fsync_retry`);
    /// others find out at their next append.
    pub(crate) fn fail(&self, failure: IoFailure) {
        self.base.io().reached(Rare::JournalFailed);
        let (failure, logs, settles) = {
            let mut lane = self.lane.borrow_mut();
            let failure = lane.failure.get_or_insert(failure).clone();
            let flights = std::mem::take(&mut lane.flights);
            let mut logs: Vec<_> = lane.queue.drain(..).collect();
            let mut settles: Vec<_> = lane.settles.drain(..).collect();
            for flight in flights {
                logs.extend(flight.logs.into_iter().map(|(log, _)| log));
                settles.extend(flight.settles);
            }
            (failure, logs, settles)
        };
        for log in logs {
            log.enqueued.set(false);
            log.fail(failure.clone());
        }
        settles.iter().for_each(|settle| settle.end());
    }

    /// Counts the frames that are durable, from the oldest, and tells the logs.
    fn confirm(&self) {
        loop {
            let next = {
                let mut lane = self.lane.borrow_mut();
                // After a failure nothing is known of what follows.
                if lane.failure.is_some() {
                    return;
                }
                lane.flights.pop_front_if(|flight| {
                    flight.done || planted::active(Bug::ConfirmFramesOutOfOrder)
                })
            };
            let Some(mut flight) = next else { return };
            self.files.borrow_mut().durable(&flight.head);
            for (log, id) in flight.logs.drain(..) {
                log.acknowledge(id);
            }
            flight.settles.iter().for_each(|settle| settle.end());
            self.lane.borrow_mut().spare.push(flight.logs);
        }
    }
}

/// The shard whose journal's task runs. One that is dropped with its executor leaves nothing behind
/// that keeps the shard alive.
struct Running<I: Io>(WeakShard<I>);

impl<I: Io> Drop for Running<I> {
    fn drop(&mut self) {
        let shard = self.0.upgrade();
        if let Some(journal) = shard.as_ref().and_then(Shard::journal) {
            journal.end();
        }
    }
}

/// The journal's task: lives as long as the shard, and allocates only here.
async fn run<I: Io>(running: Running<I>, signal: Rc<Signal>) {
    let mut slots: Vec<_> = (0..JOURNAL_WRITES_IN_FLIGHT_MAX).map(|_| Box::pin(None)).collect();
    let mut making = Box::pin(None);
    poll_fn(move |cx| {
        signal.register(cx);
        let Some(strong) = running.0.upgrade() else {
            // Nobody waits any more; what is in flight is seen through.
            let mut busy = false;
            for slot in &mut slots {
                busy |= poll_some(slot, cx).is_some_and(|poll| poll.is_pending());
            }
            return if busy { Poll::Pending } else { Poll::Ready(()) };
        };
        let journal = strong.journal().expect("only a journal runs this");
        let mut again = true;
        while std::mem::take(&mut again) {
            for slot in &mut slots {
                again |= journal.poll_slot(slot, cx);
            }
            if again && !journal.is_eager() {
                // Were the next frame built before those who wait for this one can append anew,
                // they and those who came meanwhile would take turns for ever, with half of the
                // appends in each frame.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(Poll::Ready((what, opened))) = poll_some(&mut making, cx) {
                journal.made(&what, opened);
                again = true;
            }
            for slot in slots.iter_mut().filter(|slot| slot.is_none()) {
                let Some((place, frame, sequence)) = journal.build() else { break };
                slot.set(Some(write(place, frame, sequence)));
                // The first poll starts the write.
                again |= journal.poll_slot(slot, cx);
            }
            if making.is_none()
                && let Some(next) = journal.make_room(&running.0)
            {
                making.set(Some(make(next)));
                again = true;
            }
        }
        Poll::Pending
    })
    .await;
}

impl<I: Io> Journal<I> {
    /// Takes in a write that is done: whether one was.
    fn poll_slot<F: Future<Output = Done>>(
        &self,
        slot: &mut Pin<Box<Option<F>>>,
        cx: &mut Context<'_>,
    ) -> bool {
        match poll_some(slot, cx) {
            Some(Poll::Ready(done)) => {
                self.finish(done);
                true
            }
            _ => false,
        }
    }
}

/// Bytes of one buffer for frames.
pub(crate) const FRAME_BUFFER_BYTES: usize = JOURNAL_WRITE_BYTES_MAX;
