//! What is to be written to a log's segment next, and what a finished write means.
//!
//! Batches of a log without a journal go to its file as soon as nothing else of it is in flight;
//! what arrives meanwhile fills the next buffer. With a journal, small ones go there together with
//! those of other logs (see [`crate::journal`]), and reach the file when they are many, or when the
//! journal wants its space back; many waiting bytes go straight to the file, and take along what
//! was journaled and is not there yet.
//!
//! The open buffer is frozen when it is full, or when nothing is in flight or queued. A frozen
//! buffer never changes, so bytes under I/O never do. Two writes that touch the same block are
//! never in flight together: a buffer that begins in the block where the one before it ends waits
//! for that one.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::cache::NewChunk;
use crate::error::{AppendError, IoFailure, MaintainError, Operation};
use crate::io::{Durability, File, Io, Rare};
use crate::limits::{PLACE_BYTES, WRITE_BYTES_IN_FLIGHT_MAX, WRITES_IN_FLIGHT_MAX};
use crate::log::tail::{OpenBuffer, Queued, Write};
use crate::log::{FlushPolicy, Inner, LogOffsets, State};
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::segment::name::Kind;
use crate::small_file;

/// Something to do for a log, on its active segment.
pub(crate) enum Task {
    Write {
        write: Write,
        durability: Durability,
    },
    Sync {
        up_to: Offset,
        truncations: u64,
    },
    /// Makes the name of the file of the segment at `base` durable.
    Name {
        base: Offset,
    },
}

/// What came of it.
pub(crate) enum Done {
    Written { id: u64, result: io::Result<()> },
    Synced { up_to: Offset, truncations: u64, result: io::Result<()> },
    Named { base: Offset, result: Result<(), IoFailure> },
}

/// Does what is to be done.
pub(crate) async fn perform<I: Io>(log: Rc<Inner<I>>, file: I::File, task: Task) -> Done {
    match task {
        Task::Write { write: Write { id, buffer, position }, durability } => {
            Done::Written { id, result: file.write_at(buffer, position, durability).await }
        }
        Task::Sync { up_to, truncations } => {
            Done::Synced { up_to, truncations, result: file.sync().await }
        }
        Task::Name { base } => {
            // The folder may be as new as the file.
            let result = small_file::sync_dir_and_parent(&log.shard, &log.dir).await;
            Done::Named { base, result }
        }
    }
}

impl<I: Io> Inner<I> {
    /// Whether small batches go to the shard's journal.
    pub(crate) fn is_journaled(&self) -> bool {
        // What was written before under another policy may be lost, and what the journal puts
        // behind it would stand behind a hole.
        let state = self.state.borrow();
        self.trace.is_some()
            && self.settings.borrow().durability == FlushPolicy::EveryBatch
            && state.tail.is_all_stable(state.offsets.written)
    }

    /// The failure of the journal that the log uses.
    pub(crate) fn journal_failure(&self) -> Option<IoFailure> {
        self.shard.journal().filter(|_| self.is_journaled())?.failure()
    }

    /// Sends `bytes` of appended batches on their way, with all that waits, by the path that suits.
    pub(crate) fn dispatch(self: &Rc<Self>, bytes: usize) {
        let Some(journal) = self.shard.journal().filter(|_| self.is_journaled()) else {
            // To the file, also if that will be journaled by the time its turn comes.
            let mut state = self.state.borrow_mut();
            let end = state.offsets.end;
            state.tail.want_placed(end);
            drop(state);
            return self.kick();
        };
        let mut state = self.state.borrow_mut();
        let end = state.offsets.end;
        let tail = &mut state.tail;
        if tail.is_going_direct() {
            // What waits is sent when that is done.
            return;
        }
        let is_direct = tail.waiting >= journal.direct_bytes();
        let is_long = tail.queued_bytes() >= PLACE_BYTES;
        if is_direct {
            tail.want_placed(end);
        } else if is_long {
            let submitted = tail.submitted();
            tail.want_placed(submitted);
        }
        drop(state);
        if is_direct {
            self.shard.io().reached(Rare::DirectBesideJournal);
            return self.kick();
        }
        journal.enqueue(self, bytes);
        if is_long {
            self.kick_later();
        }
        if self.shard.cache().is_over() {
            // A few at a time, as they are done, and not ten thousand at once.
            let idle = self.shard.writer().idle_placings();
            if idle > 0 {
                journal.ease(&self.shard.downgrade(), idle);
            }
        }
    }

    /// Whether what is appended now will go with the next write, because one is in flight.
    pub(crate) fn joins_others(&self) -> bool {
        match self.shard.journal().filter(|_| self.is_journaled()) {
            Some(journal) => journal.is_busy(),
            None => self.state.borrow().tail.is_writing(),
        }
    }

    /// Sends on its way what waited for a write of the file.
    pub(crate) fn dispatch_waiting(self: &Rc<Self>) {
        let waiting = self.state.borrow().tail.waiting;
        if waiting > 0 {
            self.dispatch(waiting);
        }
    }

    /// Has the shard's writer look at this log.
    pub(crate) fn kick(self: &Rc<Self>) {
        self.shard.writer().schedule(self);
    }

    /// The same, after all that somebody waits for.
    pub(crate) fn kick_later(self: &Rc<Self>) {
        self.shard.writer().schedule_later(self);
    }

    /// Freezes the open buffer, if it holds anything new, into the queue.
    pub(crate) fn freeze(&self, state: &mut State<I::File>) {
        let Some(open) = state.tail.open.take() else { return };
        let fresh = open.fresh();
        if fresh == 0 {
            return;
        }
        let OpenBuffer { buffer, position, end_offset, .. } = open;
        state.tail.enqueue(Queued { buffer: buffer.freeze(), position, end_offset }, fresh);
    }

    /// The open buffer got its first batches: readers find them in it from now on.
    pub(crate) fn publish(&self, segment_base: Offset, open: &OpenBuffer) {
        self.shard.cache().push(
            self.shard.pool(),
            &self.chunks,
            NewChunk {
                segment_base,
                position: open.position,
                data_position: open.position + open.lead as u64,
                first_offset: open.first_offset,
                end_offset: open.end_offset,
                buffer: open.buffer.share(),
            },
        );
    }

    /// What can be started now, on the active segment's file.
    pub(crate) fn next_task(&self) -> Option<(I::File, Task)> {
        let policy = self.settings.borrow().durability;
        let journaled = self.is_journaled();
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if state.failure.is_some() {
            return None;
        }
        let file = state.active.file.clone()?;
        let named = state.active.named;
        if let Some(up_to) = sync_wanted(state, policy) {
            return Some((file, Task::Sync { up_to, truncations: state.truncations }));
        }
        let to = if journaled { state.tail.write_to() } else { state.offsets.end };
        if state.tail.wants_open(to) {
            self.freeze(state);
        }
        let synced = policy == FlushPolicy::EveryBatch;
        let tail = &mut state.tail;
        if !named {
            // Nothing counts as stable in a file whose name may vanish.
            let wanted = tail.wants_write(to) && !state.active.naming;
            state.active.naming |= wanted;
            let base = state.active.summary.base;
            return wanted.then_some((file, Task::Name { base }));
        }
        let (write, synced) =
            tail.start_write(to, synced, WRITES_IN_FLIGHT_MAX, WRITE_BYTES_IN_FLIGHT_MAX)?;
        let synced = synced && !planted::active(Bug::AcknowledgeBeforeSync);
        let durability = if synced { Durability::Synced } else { Durability::Written };
        Some((file, Task::Write { write, durability }))
    }

    pub(crate) fn finish(&self, done: Done) {
        let path = || Kind::Log.path(&self.dir, self.state.borrow().active.summary.base);
        let failure = match done {
            Done::Written { id, result } => {
                self.state.borrow_mut().tail.write_done(id);
                let result = if planted::active(Bug::ForgetFailedWrite) { Ok(()) } else { result };
                result.map_err(|error| IoFailure::of(Operation::Write, &path())(error))
            }
            Done::Synced { up_to, truncations, result } => {
                let mut state = self.state.borrow_mut();
                // After a truncation the tail is another one, and so is what lies below `up_to`.
                if state.truncations == truncations {
                    state.tail.sync_done(up_to, result.is_ok());
                }
                drop(state);
                let result = if planted::active(Bug::RetryFailedSync) { Ok(()) } else { result };
                result.map_err(|error| IoFailure::of(Operation::Sync, &path())(error))
            }
            Done::Named { base, result } => {
                let active = &mut self.state.borrow_mut().active;
                // Whoever sealed the segment has seen to its name himself, and the next one has none.
                if active.summary.base == base {
                    active.naming = false;
                    active.named = result.is_ok();
                }
                result
            }
        };
        if let Err(failure) = failure {
            self.fail(failure);
        }
        self.count();
    }

    /// A journal has what was submitted to it under this number on stable storage.
    pub(crate) fn acknowledge(self: &Rc<Self>, id: u64) {
        self.state.borrow_mut().tail.acknowledge(id);
        self.count();
        let state = self.state.borrow();
        if state.tail.is_unstable(state.offsets.written) {
            // It was ahead of what the file got under another policy, which waits for a sync.
            drop(state);
            self.kick();
        }
    }

    /// Counts what is done, from the oldest, and moves the offsets. After a failure they stay
    /// where they are.
    fn count(&self) {
        let every_batch = self.settings.borrow().durability == FlushPolicy::EveryBatch;
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if state.failure.is_some() {
            state.tail.forget_done();
            if state.tail.is_still() {
                self.waiting_placed.wake_all();
            }
            return;
        }
        let counted = state.tail.count(state.offsets.written);
        let reached = if every_batch { counted.stable } else { counted.written };
        let durable = state.offsets.durable.max(reached);
        if every_batch && durable > state.offsets.durable {
            assert!(durable <= counted.stable, "log.durable_means_synced");
        }
        self.set_offsets(state, LogOffsets { durable, written: counted.written, ..state.offsets });
        let mut settled = state.tail.settled();
        if planted::active(Bug::FreeJournalBeforeSync) {
            settled = state.tail.placed().offset;
        }
        drop(guard);
        self.release_journal(settled);
    }

    /// Lets the journal forget what is settled.
    pub(crate) fn release_journal(&self, settled: Offset) {
        if let (Some(trace), Some(journal)) = (&self.trace, self.shard.journal()) {
            trace.borrow_mut().release(settled, |generation| journal.unpin(generation));
        }
    }

    /// The time until the next sync, if one is to be made by the clock.
    pub(crate) fn sync_interval(&self) -> Option<Duration> {
        let state = self.state.borrow();
        match self.settings.borrow().durability {
            FlushPolicy::Relaxed { interval, .. }
                if state.tail.settled() < state.offsets.written && state.failure.is_none() =>
            {
                interval
            }
            _ => None,
        }
    }

    /// Puts everything into the segment's file, syncs it, and has the journal forget the log: what
    /// happens to its files from then on, the journal does not undo.
    pub(crate) async fn settle(self: &Rc<Self>) -> Result<(), MaintainError> {
        self.drain().await?;
        if self.trace.is_some() {
            let mut waiter = self.waiting_placed.waiter();
            poll_fn(|cx| {
                let mut state = self.state.borrow_mut();
                state.writable()?;
                let end = state.offsets.end;
                if state.tail.settled() == end {
                    return Poll::Ready(Ok::<_, AppendError>(()));
                }
                state.tail.want_settled(end);
                drop(state);
                waiter.register(end, cx);
                self.kick();
                Poll::Pending
            })
            .await?;
            self.leave_journal().await?;
        }
        Ok(())
    }

    /// Makes what the journal has of the log void.
    pub(crate) async fn leave_journal(&self) -> Result<(), IoFailure> {
        if !planted::active(Bug::KeepJournalOverCut) {
            self.shard.settled(&self.dir, None).await?;
        }
        self.release_journal(Offset::MAX);
        Ok(())
    }

    /// Waits until no write is in flight any more, whatever comes of it. Of a log that failed some
    /// may be, and would land in what the next open has already read.
    pub(crate) async fn see_through(&self) {
        let mut waiter = self.waiting_placed.waiter();
        poll_fn(|cx| {
            let state = self.state.borrow();
            if state.failure.is_none() || state.tail.is_still() {
                return Poll::Ready(());
            }
            drop(state);
            waiter.register(Offset::MAX, cx);
            Poll::Pending
        })
        .await;
    }

    /// Waits until everything that was appended is in the segment's file.
    pub(crate) async fn drain(self: &Rc<Self>) -> Result<(), AppendError> {
        let mut waiter = self.waiting_placed.waiter();
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            state.writable()?;
            let end = state.offsets.end;
            if state.tail.placed().offset == end && state.offsets.written == end {
                return Poll::Ready(Ok(()));
            }
            state.tail.want_placed(end);
            drop(state);
            waiter.register(end, cx);
            self.kick();
            Poll::Pending
        })
        .await
    }
}

/// The offset up to which a sync should be made now, if one should.
fn sync_wanted<F>(state: &mut State<F>, policy: FlushPolicy) -> Option<Offset> {
    if !state.active.named {
        return None;
    }
    let (written, tail) = (state.offsets.written, &mut state.tail);
    let due = match policy {
        // Only after a change from the other policy: its writes did not sync.
        FlushPolicy::EveryBatch => {
            let due = tail.is_unstable(written);
            if due {
                // What a journal has counts only once all before it does: the file is to have it.
                tail.want_settled(written);
            }
            due
        }
        FlushPolicy::Relaxed { messages, .. } => written.since(tail.settled()) >= messages,
    };
    tail.start_sync(due)
}
