//! What a log holds in memory on its way to disk: plain state, no I/O.
//!
//! ```text
//!          open: filled while it waits
//!            | freeze
//!          queued, oldest first
//!            | start: nothing in flight touches its first block
//!          in flight to the segment's file, several at once
//!            | done, in whatever order; counted from the oldest
//!          placed  -- sync -->  settled
//! ```
//!
//! How far a log is safe and how far it is in its file are two things. A batch is *submitted* when
//! it was handed to the shard's journal or to a write of the segment's file, whichever comes first,
//! and acknowledged when that, and all that was submitted earlier, is done. It is *placed* when the
//! segment's file holds it, and *settled* when that is on stable storage: then the journal may
//! forget it. Without a journal both go together.
//!
//! ```text
//!  settled      placed        acknowledged    submitted       end
//! ----|-----------|------- .. ------|-------------|-------------|
//!     in the file,  in the file   in the journal    in flight     in memory
//!     synced
//! ```

use std::collections::VecDeque;

use crate::buffer::{Buffer, GrowingBuffer};
use crate::offset::Offset;
use crate::planted::{self, Bug};

/// The buffer that is being filled.
pub(crate) struct OpenBuffer {
    pub(crate) buffer: GrowingBuffer,
    /// Where in the segment it begins; a multiple of the block.
    pub(crate) position: u64,
    /// Bytes at its start that repeat what came before.
    pub(crate) lead: usize,
    pub(crate) first_offset: Offset,
    pub(crate) end_offset: Offset,
}

impl OpenBuffer {
    /// Bytes of batches in it.
    pub(crate) fn fresh(&self) -> usize {
        self.buffer.len() - self.lead
    }
}

/// A frozen buffer that waits for its write.
pub(crate) struct Queued {
    pub(crate) buffer: Buffer,
    pub(crate) position: u64,
    pub(crate) end_offset: Offset,
}

impl Queued {
    fn end_position(&self) -> u64 {
        self.position + self.buffer.len() as u64
    }
}

/// A place between two batches of the active segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) position: u64,
}

/// A write of the segment's file that was started and is not counted yet.
struct Flight {
    id: u64,
    /// Bytes as written, in whole blocks.
    bytes: usize,
    end: Place,
    synced: bool,
    done: bool,
}

/// Batches that were submitted and are not acknowledged yet.
struct Pending {
    id: u64,
    end: Offset,
    bytes: usize,
    /// On stable storage once done.
    stable: bool,
    /// On their way to the file, not to a journal.
    direct: bool,
    done: bool,
}

/// A write to be made.
pub(crate) struct Write {
    pub(crate) id: u64,
    pub(crate) buffer: Buffer,
    pub(crate) position: u64,
}

/// What counting found.
pub(crate) struct Counted {
    /// Everything below was acknowledged by what carried it.
    pub(crate) written: Offset,
    /// Everything below is on stable storage.
    pub(crate) stable: Offset,
}

/// What is appended and not yet settled.
pub(crate) struct Tail {
    pub(crate) open: Option<OpenBuffer>,
    queued: VecDeque<Queued>,
    /// Bytes in them: counted, since each append asks.
    queued_bytes: usize,
    flights: VecDeque<Flight>,
    pending: VecDeque<Pending>,
    next_id: u64,
    /// A reservation stands: the open buffer must stay.
    reserved: bool,
    /// It kept the open buffer from being frozen.
    is_blocked: bool,
    /// Bytes of batches that are not acknowledged.
    pub(crate) unwritten: usize,
    /// Bytes of batches that are not submitted.
    pub(crate) waiting: usize,
    /// Bytes of batches that the last buffer carried, to size the next one by.
    pub(crate) last_flush: usize,
    /// What the shard's cache had [taken in](crate::cache::TailCache::taken_bytes) when the last
    /// buffer was opened.
    pub(crate) opened_at: u64,
    submitted: Place,
    placed: Place,
    settled: Offset,
    /// Everything below is on stable storage, in the journal or in the file.
    stable: Offset,
    /// Everything below is to be written to the file; what is above may stay in the journal.
    write_to: Offset,
    /// Everything below is to be synced there.
    settle_to: Offset,
    syncing: bool,
    /// The time for a sync has come.
    pub(crate) sync_due: bool,
}

impl Tail {
    /// A tail of which everything is settled.
    pub(crate) fn at_rest(end: Offset, position: u64) -> Self {
        let place = Place { offset: end, position };
        Self {
            open: None,
            queued: VecDeque::new(),
            queued_bytes: 0,
            flights: VecDeque::new(),
            pending: VecDeque::new(),
            next_id: 0,
            reserved: false,
            is_blocked: false,
            unwritten: 0,
            waiting: 0,
            last_flush: 0,
            opened_at: 0,
            submitted: place,
            placed: place,
            settled: end,
            stable: end,
            write_to: Offset::ZERO,
            settle_to: Offset::ZERO,
            syncing: false,
            sync_due: false,
        }
    }

    /// The segment was sealed and the next one begins: positions count from 0 again.
    pub(crate) fn next_segment(&mut self) {
        assert!(
            self.is_idle() && self.settled == self.submitted.offset,
            "a segment is sealed whole"
        );
        self.submitted.position = 0;
        self.placed.position = 0;
    }

    pub(crate) fn begin_reservation(&mut self) {
        self.reserved = true;
    }

    /// Lets go of the open buffer if nothing was put into it. Gives whether somebody wanted to
    /// freeze it meanwhile.
    pub(crate) fn end_reservation(&mut self) -> bool {
        self.reserved = false;
        self.open.take_if(|open| open.fresh() == 0);
        std::mem::take(&mut self.is_blocked)
    }

    /// Drops what will never be written.
    pub(crate) fn give_up(&mut self) {
        self.open = None;
        self.queued.clear();
        self.queued_bytes = 0;
        self.pending.clear();
        self.unwritten = 0;
        self.waiting = 0;
    }

    /// Whether nothing waits for its write and none is in flight.
    pub(crate) fn is_written(&self) -> bool {
        self.open.is_none() && self.is_idle()
    }

    /// Whether no write of the file is in flight.
    pub(crate) fn is_still(&self) -> bool {
        self.flights.is_empty()
    }

    /// Whether nothing is queued or in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.queued.is_empty() && self.pending.is_empty()
    }

    /// Whether a write of the segment's file is in flight.
    pub(crate) fn is_writing(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Whether everything below `end` is on stable storage in the file, and nothing is under way.
    pub(crate) fn is_at_rest(&self, end: Offset) -> bool {
        self.is_idle() && self.open.is_none() && !self.syncing && self.settled == end
    }

    pub(crate) fn placed(&self) -> Place {
        self.placed
    }

    pub(crate) fn settled(&self) -> Offset {
        self.settled
    }

    /// Everything below is on stable storage, in the journal or in the file.
    pub(crate) fn stable(&self) -> Offset {
        self.stable
    }

    pub(crate) fn submitted(&self) -> Offset {
        self.submitted.offset
    }

    /// Bytes in frozen buffers that no write was started for.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Asks for everything below `end` to be written to the file.
    pub(crate) fn want_placed(&mut self, end: Offset) {
        self.write_to = self.write_to.max(end);
    }

    /// Asks for everything below `end` to be written to the file and synced there.
    pub(crate) fn want_settled(&mut self, end: Offset) {
        self.want_placed(end);
        self.settle_to = self.settle_to.max(end);
    }

    /// A frozen buffer joins the queue.
    pub(crate) fn enqueue(&mut self, queued: Queued, fresh: usize) {
        self.last_flush = fresh;
        self.queued_bytes += queued.buffer.len();
        self.queued.push_back(queued);
    }

    /// Whether the open buffer is to be frozen, for a write of all below `to` that may start now.
    pub(crate) fn wants_open(&mut self, to: Offset) -> bool {
        let useful =
            self.open.as_ref().is_some_and(|open| open.fresh() > 0 && open.first_offset < to);
        let wanted = useful && self.queued.is_empty() && self.flights.is_empty();
        self.is_blocked |= wanted && self.reserved;
        wanted && !self.reserved
    }

    /// Everything below is to be written to the file now, for a log whose waiting batches may go
    /// to a journal.
    pub(crate) fn write_to(&self) -> Offset {
        self.write_to
    }

    /// Whether anything below `to` is queued for the file.
    pub(crate) fn wants_write(&self, to: Offset) -> bool {
        let started = self.flights.back().map_or(self.placed.offset, |last| last.end.offset);
        !self.queued.is_empty() && started < to
    }

    /// The next write of the segment's file, of a buffer that begins below `to`; `None` if there is
    /// none, or it must wait for those in flight. `synced` says whether writes that carry new
    /// batches sync themselves.
    pub(crate) fn start_write(
        &mut self,
        to: Offset,
        synced: bool,
        flights_max: usize,
        bytes_max: usize,
    ) -> Option<(Write, bool)> {
        if !self.wants_write(to) {
            return None;
        }
        let next = self.queued.front()?;
        let bytes = next.buffer.padded().len();
        let block_end =
            |flight: &Flight| flight.end.position.next_multiple_of(crate::limits::BLOCK as u64);
        let shares_block = self.flights.iter().any(|flight| block_end(flight) > next.position);
        let in_flight: usize = self.flights.iter().map(|flight| flight.bytes).sum();
        let too_much = !self.flights.is_empty()
            && (self.flights.len() >= flights_max || in_flight + bytes > bytes_max);
        if shares_block || too_much {
            return None;
        }
        let next = self.queued.pop_front()?;
        self.queued_bytes -= next.buffer.len();
        let end = Place { offset: next.end_offset, position: next.end_position() };
        let id = self.next_id;
        self.next_id += 1;
        // What the journal has already is only placed, unless it is to be settled and this is all
        // that it takes: then one operation does for two.
        let fresh = end.offset > self.submitted.offset;
        let settles = self.settle_to > self.settled
            && end.offset >= self.settle_to
            && self.settled == self.placed.offset
            && self.flights.is_empty();
        let synced = synced && (fresh || settles);
        if fresh {
            self.submit(id, end, synced, true);
        }
        self.flights.push_back(Flight { id, bytes, end, synced, done: false });
        Some((Write { id, buffer: next.buffer, position: next.position }, synced))
    }

    /// Batches up to `end` go on their way.
    fn submit(&mut self, id: u64, end: Place, stable: bool, direct: bool) {
        let bytes = usize::try_from(end.position - self.submitted.position).unwrap_or(usize::MAX);
        self.waiting -= bytes;
        self.submitted = end;
        self.pending.push_back(Pending { id, end: end.offset, bytes, stable, direct, done: false });
    }

    /// Gives the bytes that are not submitted, in pieces, and counts them as submitted to a
    /// journal. Gives what to say when they are durable, and where they begin.
    pub(crate) fn take_waiting(
        &mut self,
        end: Place,
        take: impl FnOnce(u64, &mut dyn Iterator<Item = &[u8]>),
    ) -> u64 {
        let from = self.submitted.position;
        let id = self.next_id;
        self.next_id += 1;
        self.submit(id, end, true, false);
        let frozen = self.queued.iter().map(|queued| (queued.position, &queued.buffer[..]));
        let open = self.open.iter().map(|open| (open.position, &open.buffer[..]));
        let mut next = from;
        let mut pieces = frozen.chain(open).filter_map(|(position, bytes)| {
            let skip = usize::try_from(next.checked_sub(position)?).ok()?;
            let piece = bytes.get(skip..).filter(|piece| !piece.is_empty())?;
            next += piece.len() as u64;
            Some(piece)
        });
        take(from, &mut pieces);
        id
    }

    /// A write of the file is done.
    pub(crate) fn write_done(&mut self, id: u64) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id) {
            flight.done = true;
        }
        self.acknowledge(id);
    }

    /// What was submitted under this number is done.
    pub(crate) fn acknowledge(&mut self, id: u64) {
        if planted::active(Bug::CountWritesOutOfOrder) {
            self.pending.iter_mut().for_each(|pending| pending.done = true);
        }
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) {
            pending.done = true;
        }
    }

    /// The place up to which a sync should be made now, if one should. `due` says whether the
    /// policy asks for one of what was written since the last.
    pub(crate) fn start_sync(&mut self, due: bool) -> Option<Offset> {
        if self.syncing {
            return None;
        }
        let placed = self.placed.offset;
        if self.settled == placed {
            self.sync_due = false;
            return None;
        }
        let wanted = self.settle_to > self.settled && placed >= self.settle_to;
        if !wanted && !due && !self.sync_due {
            return None;
        }
        self.syncing = true;
        self.sync_due = false;
        Some(placed)
    }

    /// Whether all that was submitted is on stable storage below `written`, and will be above.
    pub(crate) fn is_all_stable(&self, written: Offset) -> bool {
        self.stable >= written && self.pending.iter().all(|pending| pending.stable)
    }

    /// Whether batches are on their way to the file that are in no journal. What a journal held
    /// behind them would stand behind a hole, should a crash take them.
    pub(crate) fn is_going_direct(&self) -> bool {
        self.pending.iter().any(|pending| pending.direct && !pending.done)
    }

    /// Whether something below `written` is only in the file, and not synced there.
    pub(crate) fn is_unstable(&self, written: Offset) -> bool {
        self.stable < written && self.flights.is_empty()
    }

    /// A sync of everything below `up_to` is done.
    pub(crate) fn sync_done(&mut self, up_to: Offset, ok: bool) {
        self.syncing = false;
        if ok {
            self.settled = self.settled.max(up_to);
        }
    }

    /// The file was cut and synced: all of it counts.
    pub(crate) fn all_settled(&mut self) {
        self.settled = self.placed.offset;
        self.stable = self.placed.offset;
    }

    /// Drops what was counted; after a failure nothing moves any more.
    pub(crate) fn forget_done(&mut self) {
        while self.flights.pop_front_if(|flight| flight.done).is_some() {}
    }

    /// Counts what is done, from the oldest. `written` is how far it was counted before.
    pub(crate) fn count(&mut self, mut written: Offset) -> Counted {
        while let Some(flight) = self.flights.pop_front_if(|flight| flight.done) {
            // A write that syncs itself says nothing of earlier ones that did not.
            if flight.synced && self.settled == self.placed.offset {
                self.settled = flight.end.offset;
            }
            self.placed = flight.end;
        }
        // A sync covers what came before it, however that was written.
        let synced = |stable: Offset, written| stable.max(self.settled.min(written));
        while let Some(pending) = self.pending.pop_front_if(|pending| pending.done) {
            self.stable = synced(self.stable, written);
            if pending.stable && self.stable == written {
                self.stable = pending.end;
            }
            written = pending.end;
            self.unwritten -= pending.bytes;
        }
        self.stable = synced(self.stable, written);
        Counted { written, stable: self.stable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::BufferPool;

    fn offset(value: i64) -> Offset {
        Offset::new(value).expect("not negative")
    }

    /// A tail with `batches` buffers of one batch each, which a journal has made safe.
    fn journaled(pool: &BufferPool, batches: i64) -> Tail {
        let mut tail = Tail::at_rest(Offset::ZERO, 0);
        for number in 0..batches {
            let mut buffer = pool.try_acquire(4096).expect("there is memory");
            buffer.resize(4096, 1);
            let end = Place { offset: offset(number + 1), position: 4096 * (number as u64 + 1) };
            let position = end.position - 4096;
            tail.unwritten += 4096;
            tail.waiting += 4096;
            tail.enqueue(
                Queued { buffer: buffer.freeze(), position, end_offset: end.offset },
                4096,
            );
            let id = tail.take_waiting(end, |_, pieces| pieces.for_each(drop));
            tail.acknowledge(id);
        }
        tail.count(Offset::ZERO);
        tail
    }

    fn start(tail: &mut Tail) -> Option<(u64, bool)> {
        let to = tail.write_to();
        tail.start_write(to, true, 4, 1 << 20).map(|(write, synced)| (write.id, synced))
    }

    #[test]
    fn what_one_write_settles_takes_no_sync() {
        let pool = BufferPool::new(1 << 20);
        let mut tail = journaled(&pool, 1);
        tail.want_settled(offset(1));
        let (id, synced) = start(&mut tail).expect("there is something to write");
        assert!(synced, "it is to be settled");
        tail.write_done(id);
        tail.count(offset(1));
        assert_eq!((tail.settled(), tail.start_sync(false)), (offset(1), None));
    }

    #[test]
    fn what_takes_several_writes_is_settled_by_a_sync_behind_them() {
        let pool = BufferPool::new(1 << 20);
        let mut tail = journaled(&pool, 2);
        tail.want_settled(offset(2));
        let writes = [start(&mut tail), start(&mut tail)].map(|write| write.expect("to write"));
        // The second would say nothing of the first.
        assert_eq!(writes.map(|(_, synced)| synced), [false, false]);
        writes.iter().for_each(|(id, _)| tail.write_done(*id));
        tail.count(offset(2));
        assert_eq!((tail.settled(), tail.start_sync(false)), (Offset::ZERO, Some(offset(2))));
    }

    #[test]
    fn a_write_that_syncs_itself_counts_behind_a_sync_of_all_before_it() {
        let pool = BufferPool::new(1 << 20);
        let mut tail = journaled(&pool, 2);
        let place = |end: i64| Place { offset: offset(end), position: 4096 * end.unsigned_abs() };
        tail.waiting = 3 * 4096;
        tail.unwritten = 3 * 4096;
        // A journal is late with the first; the second went to the file unsynced, which was synced.
        for (id, stable) in [(10, true), (11, false), (12, true)] {
            tail.submit(id, place(i64::try_from(id).expect("small") - 7), stable, id > 10);
        }
        tail.acknowledge(11);
        tail.acknowledge(12);
        assert_eq!(tail.count(offset(2)).stable, offset(2));
        tail.settled = offset(4);
        tail.acknowledge(10);
        assert_eq!(tail.count(offset(2)).stable, offset(5));
    }

    #[test]
    fn what_is_only_placed_is_not_synced() {
        let pool = BufferPool::new(1 << 20);
        let mut tail = journaled(&pool, 1);
        tail.want_placed(offset(1));
        assert!(start(&mut tail).is_some_and(|(_, synced)| !synced));
    }
}
