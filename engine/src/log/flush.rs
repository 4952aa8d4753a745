//! Group commit: the tail's buffers on their way to disk.
//!
//! ```text
//!          open: filled while it waits
//!            | freeze
//!          queued, oldest first
//!            | start: nothing in flight touches its first block
//!          in flight, several at once
//!            | done, in whatever order; counted from the oldest
//!          written
//! ```
//!
//! The open buffer is frozen when it is full, or when nothing is in flight or queued. A frozen
//! buffer never changes, so bytes under I/O never do. Two writes that touch the same block are
//! never in flight together: a buffer that begins in the block where the one before it ends waits
//! for that one.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::buffer::{Buffer, BufferMut};
use crate::cache::NewChunk;
use crate::error::{AppendError, IoFailure, Operation};
use crate::io::{Durability, File, Io};
use crate::limits::{WRITE_BYTES_IN_FLIGHT_MAX, WRITES_IN_FLIGHT_MAX};
use crate::log::wait::Signal;
use crate::log::{FlushPolicy, Inner, State};
use crate::offset::Offset;
use crate::segment::name::Kind;

/// The buffer that is being filled.
pub(crate) struct OpenBuffer {
    pub(crate) buffer: BufferMut,
    /// Where in the segment it begins; a multiple of the block.
    pub(crate) position: u64,
    /// Bytes at its start that repeat what was written before.
    pub(crate) lead: usize,
    pub(crate) first_offset: Offset,
    pub(crate) end_offset: Offset,
}

/// A frozen buffer that waits for its write.
struct Queued {
    buffer: Buffer,
    position: u64,
    fresh_bytes: usize,
    end_offset: Offset,
}

/// A write that was started and is not counted yet.
struct Flight {
    id: u64,
    end_block: u64,
    bytes: usize,
    fresh_bytes: usize,
    end_offset: Offset,
    synced: bool,
    done: bool,
}

/// What is appended and not yet written.
#[derive(Default)]
pub(crate) struct Tail {
    pub(crate) open: Option<OpenBuffer>,
    queued: VecDeque<Queued>,
    flights: VecDeque<Flight>,
    next_id: u64,
    /// A reservation stands: the open buffer must stay.
    reserved: bool,
    /// Bytes of batches that are open, queued or in flight.
    pub(crate) unwritten: usize,
    /// Bytes of batches that the last write carried, to size the next buffer by.
    pub(crate) last_flush: usize,
    /// Everything below is on stable storage.
    pub(crate) synced: Offset,
    syncing: bool,
    /// The time for a sync has come.
    sync_due: bool,
}

impl Tail {
    pub(crate) fn at_rest(end: Offset) -> Self {
        Self { synced: end, ..Self::default() }
    }

    pub(crate) fn begin_reservation(&mut self) {
        self.reserved = true;
    }

    /// Lets go of the open buffer if nothing was put into it.
    pub(crate) fn end_reservation(&mut self) {
        self.reserved = false;
        self.open.take_if(|open| open.buffer.len() == open.lead);
    }

    /// Drops what will never be written.
    pub(crate) fn give_up(&mut self) {
        self.open = None;
        self.queued.clear();
        self.unwritten = 0;
    }

    fn in_flight_bytes(&self) -> usize {
        self.flights.iter().map(|flight| flight.bytes).sum()
    }
}

/// Something for the flush task to do.
enum Task {
    Write { id: u64, buffer: Buffer, position: u64, durability: Durability },
    Sync { up_to: Offset },
}

/// What the flush task did.
enum Done {
    Written { id: u64, result: io::Result<()> },
    Synced { up_to: Offset, result: io::Result<()> },
}

async fn perform<F: File>(file: F, task: Task) -> Done {
    match task {
        Task::Write { id, buffer, position, durability } => {
            Done::Written { id, result: file.write_at(buffer, position, durability).await }
        }
        Task::Sync { up_to } => Done::Synced { up_to, result: file.sync().await },
    }
}

async fn sleep<I: Io>(io: I, duration: Duration) {
    io.sleep(duration).await;
}

/// Starts the log's flush task unless it runs already.
pub(crate) fn start<I: Io>(inner: &Rc<Inner<I>>) {
    if !inner.flushing.replace(true) {
        let io = inner.shard.io().clone();
        let task = run(Rc::downgrade(inner), Rc::clone(&inner.signal), io.clone());
        io.spawn(task);
    }
}

/// The flush task: lives until the log is closed, dropped or failed, and allocates only here.
async fn run<I: Io>(log: Weak<Inner<I>>, signal: Rc<Signal>, io: I) {
    // One slot more than there are writes, for the sync.
    let mut slots: Vec<_> = (0..=WRITES_IN_FLIGHT_MAX).map(|_| Box::pin(None)).collect();
    let mut timer = Box::pin(None);
    poll_fn(move |cx| {
        signal.register(cx);
        loop {
            let Some(inner) = log.upgrade() else {
                // Nobody waits any more; what is in flight is seen through.
                let mut busy = false;
                for slot in &mut slots {
                    busy |= poll_slot(slot, cx).is_some_and(|done| done.is_none());
                }
                return if busy { Poll::Pending } else { Poll::Ready(()) };
            };
            let mut progress = false;
            for slot in &mut slots {
                if let Some(Some(done)) = poll_slot(slot, cx) {
                    inner.finish(done);
                    progress = true;
                }
            }
            if poll_slot(&mut timer, cx).is_some_and(|rung| rung.is_some()) {
                inner.state.borrow_mut().tail.sync_due = true;
            }
            if timer.is_none()
                && let Some(interval) = inner.sync_interval()
            {
                timer.set(Some(sleep(io.clone(), interval)));
                progress = true;
            }
            for slot in slots.iter_mut().filter(|slot| slot.is_none()) {
                let Some((file, task)) = inner.next_task() else { break };
                slot.set(Some(perform(file, task)));
                progress = true;
            }
            if !progress {
                let idle = slots.iter().all(|slot| slot.is_none());
                let over = idle && inner.state.borrow().writable().is_err();
                return if over { Poll::Ready(()) } else { Poll::Pending };
            }
        }
    })
    .await;
}

/// Polls a slot: `None` if it is empty, `Some(None)` if it is busy.
#[expect(clippy::option_option, reason = "empty, busy and done are three different things")]
fn poll_slot<T: Future>(
    slot: &mut Pin<Box<Option<T>>>,
    cx: &mut Context<'_>,
) -> Option<Option<T::Output>> {
    match slot.as_mut().as_pin_mut()?.poll(cx) {
        Poll::Pending => Some(None),
        Poll::Ready(output) => {
            slot.set(None);
            Some(Some(output))
        }
    }
}

/// The offset up to which a sync should be made now, if one should.
fn sync_wanted<F>(state: &mut State<F>, policy: FlushPolicy) -> Option<Offset> {
    let (written, tail) = (state.offsets.written, &mut state.tail);
    if tail.syncing || tail.synced == written {
        tail.sync_due &= tail.syncing;
        return None;
    }
    let due = match policy {
        // Only after a change from the other policy: its writes did not sync.
        FlushPolicy::EveryBatch => tail.flights.is_empty(),
        FlushPolicy::Relaxed { messages, .. } => {
            tail.sync_due || written.since(tail.synced) >= messages
        }
    };
    due.then_some(written)
}

impl<I: Io> Inner<I> {
    /// Freezes the open buffer, if it holds anything new: into the cache and the queue.
    pub(crate) fn freeze(&self, state: &mut State<I::File>) {
        let Some(open) = state.tail.open.take() else { return };
        let fresh_bytes = open.buffer.len() - open.lead;
        if fresh_bytes == 0 {
            return;
        }
        let capacity = open.buffer.capacity();
        let buffer = open.buffer.freeze();
        self.shard.cache().push(
            &self.chunks,
            NewChunk {
                capacity,
                segment_base: state.active.summary.base,
                position: open.position,
                data_position: open.position + open.lead as u64,
                first_offset: open.first_offset,
                end_offset: open.end_offset,
                buffer: buffer.clone(),
            },
        );
        let (position, end_offset) = (open.position, open.end_offset);
        state.tail.queued.push_back(Queued { buffer, position, fresh_bytes, end_offset });
        state.tail.last_flush = fresh_bytes;
    }

    /// What can be started now, on the active segment's file.
    fn next_task(&self) -> Option<(I::File, Task)> {
        let policy = self.settings.borrow().durability;
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if state.failure.is_some() {
            return None;
        }
        let file = state.active.file.clone()?;
        if let Some(up_to) = sync_wanted(state, policy) {
            state.tail.syncing = true;
            state.tail.sync_due = false;
            return Some((file, Task::Sync { up_to }));
        }
        let idle = state.tail.flights.is_empty() && state.tail.queued.is_empty();
        if idle && !state.tail.reserved {
            self.freeze(state);
        }
        let tail = &mut state.tail;
        let next = tail.queued.front()?;
        let bytes = next.buffer.padded().len();
        let shares_block = tail.flights.iter().any(|flight| flight.end_block > next.position);
        let too_much = !tail.flights.is_empty()
            && (tail.flights.len() >= WRITES_IN_FLIGHT_MAX
                || tail.in_flight_bytes() + bytes > WRITE_BYTES_IN_FLIGHT_MAX);
        if shares_block || too_much {
            return None;
        }
        let next = tail.queued.pop_front()?;
        let id = tail.next_id;
        tail.next_id += 1;
        let durability = match policy {
            FlushPolicy::EveryBatch => Durability::Synced,
            FlushPolicy::Relaxed { .. } => Durability::Written,
        };
        tail.flights.push_back(Flight {
            id,
            end_block: next.position + bytes as u64,
            bytes,
            fresh_bytes: next.fresh_bytes,
            end_offset: next.end_offset,
            synced: durability == Durability::Synced,
            done: false,
        });
        let (buffer, position) = (next.buffer, next.position);
        Some((file, Task::Write { id, buffer, position, durability }))
    }

    fn finish(&self, done: Done) {
        let (operation, result) = match done {
            Done::Written { id, result } => {
                let mut state = self.state.borrow_mut();
                if let Some(flight) = state.tail.flights.iter_mut().find(|flight| flight.id == id) {
                    flight.done = true;
                }
                (Operation::Write, result)
            }
            Done::Synced { up_to, result } => {
                let tail = &mut self.state.borrow_mut().tail;
                tail.syncing = false;
                if result.is_ok() {
                    tail.synced = tail.synced.max(up_to);
                }
                (Operation::Sync, result)
            }
        };
        if let Err(error) = result {
            let base = self.state.borrow().active.summary.base;
            let path = Kind::Log.path(&self.dir, base);
            self.fail(IoFailure::of(operation, &path)(error));
        }
        self.count_written(&mut self.state.borrow_mut());
    }

    /// Counts the writes that are done, from the oldest, and moves the offsets. After a failure
    /// they stay where they are.
    fn count_written(&self, state: &mut State<I::File>) {
        let every_batch = self.settings.borrow().durability == FlushPolicy::EveryBatch;
        let mut offsets = state.offsets;
        while let Some(flight) = state.tail.flights.pop_front_if(|flight| flight.done) {
            if state.failure.is_some() {
                continue;
            }
            // A write that syncs itself says nothing of earlier ones that did not.
            if flight.synced && state.tail.synced == offsets.written {
                state.tail.synced = flight.end_offset;
            }
            offsets.written = flight.end_offset;
            state.tail.unwritten -= flight.fresh_bytes;
        }
        if state.failure.is_some() {
            return;
        }
        let reached = if every_batch { state.tail.synced } else { offsets.written };
        offsets.durable = offsets.durable.max(reached);
        if every_batch && offsets.durable > state.offsets.durable {
            assert!(offsets.durable <= state.tail.synced, "log.durable_means_synced");
        }
        self.set_offsets(state, offsets);
    }

    /// The time until the next sync, if one is to be made by the clock.
    fn sync_interval(&self) -> Option<Duration> {
        let state = self.state.borrow();
        match self.settings.borrow().durability {
            FlushPolicy::Relaxed { interval, .. }
                if state.tail.synced < state.offsets.written && state.failure.is_none() =>
            {
                interval
            }
            _ => None,
        }
    }

    /// Waits until everything that was appended is written.
    pub(crate) async fn drain(&self) -> Result<(), AppendError> {
        let mut waiter = self.waiting_written.waiter();
        poll_fn(|cx| {
            let state = self.state.borrow();
            state.writable()?;
            if state.offsets.written == state.offsets.end {
                return Poll::Ready(Ok(()));
            }
            waiter.register(state.offsets.end, cx);
            Poll::Pending
        })
        .await
    }
}
