//! From a checked batch to bytes in the tail.

use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;

use crate::batch::{BatchHeader, set_append_time, set_max_timestamp, stamp_position};
use crate::buffer::GrowingBuffer;
use crate::entry::Entry;
use crate::epoch::LeaderEpoch;
use crate::error::{AppendError, IoFailure, Operation};
use crate::io::{File, Io, OpenMode, Rare};
use crate::limits::{
    BLOCK, BUFFER_CLASSES_BYTES, PREALLOCATE_BYTES_MAX, PREALLOCATE_BYTES_MIN, RAPID_SHARE,
    UNWRITTEN_BYTES_MAX, WRITE_BYTES_MAX,
};
use crate::log::tail::OpenBuffer;
use crate::log::turn::Turn;
use crate::log::{Inner, Log, LogOffsets};
use crate::offset::{Offset, Timestamp};
use crate::producer::Marker;
use crate::segment::active::Active;
use crate::segment::name::{Kind, TEMPORARY};
use crate::segment::store;
use crate::small_file;

/// What the log's leader writes into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The epoch the batch is appended under; never below the log's newest.
    pub leader_epoch: LeaderEpoch,
    /// The time to give to the batch (LogAppendTime); `None` leaves the producer's (CreateTime).
    pub log_append_time: Option<Timestamp>,
    /// The records' true maximum, written into the stored header with a new checksum; `None`
    /// leaves the header as it came. A `log_append_time` goes before it.
    pub max_timestamp: Option<Timestamp>,
}

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The first record's offset.
    pub base_offset: Offset,
    /// The offset after the last record: what [`Log::durable`] wants.
    pub end_offset: Offset,
}

/// Room for one batch, and the right to append it next.
///
/// While it is held, no other task appends to this log or changes its segments: append, or drop
/// it, before waiting for anything. A task that holds one and asks the same log for another waits
/// for ever.
#[must_use]
pub struct Reservation<I: Io> {
    log: Log<I>,
    bytes: usize,
    _turn: Turn,
}

impl<I: Io> Reservation<I> {
    /// Bytes there is room for.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<I: Io> std::fmt::Debug for Reservation<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("log", &self.log).field("bytes", &self.bytes).finish()
    }
}

impl<I: Io> Drop for Reservation<I> {
    fn drop(&mut self) {
        let blocked = self.log.inner.state.borrow_mut().tail.end_reservation();
        if blocked {
            self.log.inner.kick();
        }
    }
}

impl<I: Io> Log<I> {
    /// Makes room for a batch of `bytes` bytes: rolls to a new segment, reserves disk space, and
    /// waits for memory and for earlier writes as need be. Callers are served in order.
    ///
    /// After `Ok`, [`Log::append`] of such a batch, or of a smaller one, does not fail for want of
    /// room: reserve the most that it may have where its size depends on what is known only after
    /// the wait. What counts against [`LogSettings::segment_bytes`](crate::log::LogSettings) is what
    /// is reserved, so that a segment ends early by as much as was reserved in vain. Safe to drop.
    /// Usually no system call.
    ///
    /// # Errors
    ///
    /// [`AppendError::DiskFull`] and [`AppendError::Refused`] change nothing: the next call tries
    /// again.
    pub async fn reserve(&self, bytes: usize) -> Result<Reservation<I>, AppendError> {
        let max = self.inner.settings.borrow().batch_bytes_max;
        if bytes > max {
            return Err(AppendError::BatchTooLarge { actual: bytes, max });
        }
        let turn = self.inner.turnstile.enter().await;
        self.inner.state.borrow().writable()?;
        if let Some(failure) = self.inner.journal_failure() {
            return Err(self.inner.fail(failure));
        }
        self.inner.wait_for_writes(bytes).await?;
        if self.inner.must_roll(bytes) {
            self.inner.seal().await?;
        }
        self.inner.wait_for_checkpoint().await?;
        self.inner.ensure_space(bytes).await?;
        self.inner.ensure_buffer(bytes).await?;
        self.inner.state.borrow_mut().tail.begin_reservation();
        Ok(Reservation { log: self.clone(), bytes, _turn: turn })
    }

    /// Appends a batch or a frame: gives it offsets, the leader epoch and, if asked, the time, in a
    /// copy that is written next. The given bytes are copied once and not needed afterwards.
    ///
    /// After `Ok` the records have their offsets, and are durable when [`Log::durable`] says so.
    /// After `Err` nothing has changed. No allocation, no system call.
    ///
    /// # Errors
    ///
    /// [`AppendError`], never for want of room.
    ///
    /// # Panics
    ///
    /// If the reservation is another log's.
    pub fn append(
        &self,
        reservation: Reservation<I>,
        entry: &impl Entry,
        stamp: Stamp,
    ) -> Result<Appended, AppendError> {
        assert!(Rc::ptr_eq(&self.inner, &reservation.log.inner), "a reservation of another log");
        let actual = entry.size_bytes();
        if actual > reservation.bytes {
            return Err(AppendError::ReservedLess { actual, reserved: reservation.bytes });
        }
        let appended = self.inner.copy_in(entry.pieces(), entry.header(), stamp)?;
        drop(reservation);
        self.inner.shard.linger().dispatch(&self.inner, actual);
        crate::checkpoint::start_if_due(&self.inner);
        Ok(appended)
    }

    /// [`Log::reserve`], [`Log::append`] and [`Log::durable`] in one.
    ///
    /// Not safe to drop in the middle, in so far as the batch may then be in the log or not.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; after [`AppendError::Failed`] the batch may be in the log or not.
    pub async fn append_durably(
        &self,
        entry: &impl Entry,
        stamp: Stamp,
    ) -> Result<Appended, AppendError> {
        let reservation = self.reserve(entry.size_bytes()).await?;
        let appended = self.append(reservation, entry, stamp)?;
        self.durable(appended.end_offset).await?;
        Ok(appended)
    }
}

impl<I: Io> Inner<I> {
    fn copy_in(
        &self,
        entry: [&[u8]; 2],
        header: &BatchHeader,
        stamp: Stamp,
    ) -> Result<Appended, AppendError> {
        let settings = self.settings.borrow();
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        state.writable()?;
        let current = state.epochs.latest();
        if stamp.leader_epoch < current {
            return Err(AppendError::StaleLeaderEpoch { given: stamp.leader_epoch, current });
        }
        let base_offset = state.offsets.end;
        let records = u32::try_from(header.record_count).expect("a checked entry has a record");
        let end_offset = base_offset.plus(records);
        if end_offset.since(base_offset) != u64::from(records) {
            return Err(AppendError::OffsetsExhausted { end: base_offset });
        }
        let open = state.tail.open.as_mut().expect("a reservation keeps a buffer open");
        let is_first = open.fresh() == 0;
        let header = open.buffer.append(entry, |copy| {
            stamp_position(copy, base_offset, stamp.leader_epoch);
            if let Some(time) = stamp.log_append_time {
                set_append_time(copy, time);
            } else if let Some(time) = stamp.max_timestamp
                && time != header.max_timestamp
            {
                set_max_timestamp(copy, time);
            } else {
                // Known without waiting for the copy's bytes to be read back.
                let base_offset = base_offset.value();
                return BatchHeader { base_offset, leader_epoch: stamp.leader_epoch, ..*header };
            }
            BatchHeader::read(copy).expect("a checked entry has a header")
        });
        open.end_offset = end_offset;
        if is_first {
            self.publish(state.active.summary.base, open);
        } else {
            self.chunks.borrow_mut().grow_last(end_offset);
        }
        let bytes = entry[0].len() + entry[1].len();
        state.tail.unwritten += bytes;
        state.tail.waiting += bytes;
        let active = &mut state.active;
        active.summary.add(&header, bytes, settings.index_interval_bytes);
        let age = active
            .summary
            .first_timestamp
            .map_or(0, |first| header.max_timestamp.millis().saturating_sub(first.millis()));
        if u128::try_from(age).is_ok_and(|age| age > settings.segment_age_max.as_millis()) {
            active.roll_due = true;
        }
        if header.producer_id.is_some() {
            let now = self.shard.io().now();
            // Coordinators append few of these.
            let is_control = header.attributes.is_control();
            let marker = is_control.then(|| Marker::read(&entry.concat())).flatten();
            let expiry = settings.producer_expiry;
            if let Some(aborted) = state.producers.appended(&header, marker, now, expiry) {
                state.aborted.note(aborted);
            }
        }
        state.epochs.note(stamp.leader_epoch, base_offset);
        state.changed = true;
        state.offsets.set(LogOffsets { end: end_offset, ..state.offsets });
        Ok(Appended { base_offset, end_offset })
    }

    fn must_roll(&self, bytes: usize) -> bool {
        let segment_bytes = self.settings.borrow().segment_bytes;
        let state = self.state.borrow();
        let summary = &state.active.summary;
        summary.size > 0
            && (summary.size + bytes as u64 > segment_bytes
                || state.active.roll_due
                || summary.offsets_are_full())
    }

    /// Waits until so little is unwritten that a batch of `bytes` bytes may join it.
    async fn wait_for_writes(&self, bytes: usize) -> Result<(), AppendError> {
        let mut waiter = self.waiting_written.waiter();
        std::future::poll_fn(|cx| {
            let state = self.state.borrow();
            state.writable()?;
            let unwritten = state.tail.unwritten;
            if unwritten == 0 || unwritten + bytes <= UNWRITTEN_BYTES_MAX {
                return std::task::Poll::Ready(Ok(()));
            }
            waiter.register(state.offsets.written.plus(1), cx);
            std::task::Poll::Pending
        })
        .await
    }

    /// Makes the active segment's file, and space in it for `bytes` more.
    async fn ensure_space(&self, bytes: usize) -> Result<(), AppendError> {
        let block = BLOCK as u64;
        let (base, allocated, needed, file, named) = {
            let state = self.state.borrow();
            let active = &state.active;
            let needed = (active.summary.size + bytes as u64).next_multiple_of(block);
            let (base, file) = (active.summary.base, active.file.clone());
            (base, active.allocated, needed, file, active.named)
        };
        // With a journal the batch does not need the name, and the writer sees to it.
        let needs_name = !named && !self.is_journaled();
        let file = match file {
            None if named => {
                // Parked while the log was at rest.
                Some(self.active_file().await.map_err(|failure| self.refused(failure))?)
            }
            file => file,
        };
        if file.is_some() && !needs_name && allocated >= needed {
            return Ok(());
        }
        let path = Kind::Log.path(&self.dir, base);
        let file = match file {
            Some(file) => file,
            None => {
                let file = self.open_or_create(&path).await;
                let file = file.map_err(|failure| self.refused(failure))?;
                self.state.borrow_mut().active.file = Some(file.clone());
                file
            }
        };
        if allocated < needed {
            let limit = self.settings.borrow().segment_bytes.next_multiple_of(block);
            let step = allocated.clamp(PREALLOCATE_BYTES_MIN, PREALLOCATE_BYTES_MAX);
            let wanted = (allocated + step).next_multiple_of(block).min(limit).max(needed);
            let from = allocated - allocated % block;
            let mut reached = wanted;
            let mut result = file.allocate(from, wanted - from).await;
            if result.is_err() && wanted > needed {
                // Perhaps there is no space for a whole step, but for this batch.
                self.shard.io().reached(Rare::LittleSpace);
                reached = needed;
                result = file.allocate(from, needed - from).await;
            }
            result
                .map_err(|error| self.refused(IoFailure::of(Operation::Allocate, &path)(error)))?;
            self.state.borrow_mut().active.allocated = reached;
        }
        if needs_name {
            // The folder may be as new as the file.
            let synced = small_file::sync_dir_and_parent(&self.shard, &self.dir).await;
            if let Err(failure) = synced {
                self.forget_empty_segment();
                return Err(self.unsynced(failure));
            }
            self.state.borrow_mut().active.named = true;
        }
        Ok(())
    }

    /// The active segment's file: it exists if it holds batches.
    async fn open_or_create(&self, path: &Path) -> Result<I::File, IoFailure> {
        let size = self.state.borrow().active.summary.size;
        if size == 0 {
            return self.create_segment(path).await;
        }
        store::open(&self.shard, path, OpenMode::WriteDirect).await
    }

    /// Creates the active segment's file. One that is there already is what an earlier try left:
    /// the segment has no batch before it has a file, so that one is made anew. Its name never goes:
    /// the segment before is sealed, and an open that took it for the last one would let it grow,
    /// until a loss of power brings the name back whose going nobody has synced.
    async fn create_segment(&self, path: &Path) -> Result<I::File, IoFailure> {
        let file = store::open(&self.shard, path, OpenMode::CreateDirect).await;
        if !file.as_ref().is_err_and(|failure| failure.kind == ErrorKind::AlreadyExists) {
            return file;
        }
        let base = self.state.borrow().active.summary.base;
        let temporary = self.dir.join(Kind::Log.name(base) + TEMPORARY);
        small_file::remove(&self.shard, &temporary).await?;
        let file = store::open(&self.shard, &temporary, OpenMode::CreateDirect).await?;
        let renamed = self.shard.io().rename(&temporary, path).await;
        renamed.map_err(IoFailure::of(Operation::Rename, &temporary))?;
        Ok(file)
    }

    /// Has the next try make the active segment's file and name anew, unless it holds batches: a
    /// second sync of the same name might succeed without doing anything.
    fn forget_empty_segment(&self) {
        let active = &mut self.state.borrow_mut().active;
        if active.summary.size == 0 {
            *active = Active::new(active.summary.base);
        }
    }

    /// What the system refused without touching a batch is for the caller alone.
    pub(crate) fn refused(&self, failure: IoFailure) -> AppendError {
        if failure.is_disk_full() {
            self.shard.io().reached(Rare::DiskFull);
            AppendError::DiskFull(failure)
        } else {
            AppendError::Refused(failure)
        }
    }

    /// A folder could not be synced: for want of something that is for the caller, otherwise it
    /// ends the log's writing.
    pub(crate) fn unsynced(&self, failure: IoFailure) -> AppendError {
        if failure.is_shortage() { self.refused(failure) } else { self.fail(failure) }
    }

    /// Opens a buffer that holds `bytes` more, starting with what the disk's last block holds.
    async fn ensure_buffer(&self, bytes: usize) -> Result<(), AppendError> {
        loop {
            let (end, last, opened_at, known) = {
                let state = self.state.borrow();
                let open = state.tail.open.as_ref();
                if open.is_some_and(|open| open.buffer.spare() >= bytes) {
                    return Ok(());
                }
                let end = state.active.summary.size;
                let base = state.active.summary.base;
                let known = open.is_some() || self.tail_block(base, end, |_| ()).is_some();
                let filled = open.map_or(0, |open| open.buffer.capacity());
                (end, state.tail.last_flush.max(filled), state.tail.opened_at, known)
            };
            let lead = usize::try_from(end % BLOCK as u64).unwrap_or(0);
            let from_disk = if lead == 0 || known {
                None
            } else {
                Some(self.read_tail_block(end - lead as u64, lead).await?)
            };
            let taken = self.shard.cache().taken_bytes() - opened_at;
            let is_rapid = taken <= self.shard.pool().budget() as u64 / RAPID_SHARE;
            let usual = if is_rapid { 2 * last } else { last };
            let wanted = (lead + bytes).max(usual.min(WRITE_BYTES_MAX));
            let class = BUFFER_CLASSES_BYTES.iter().copied().find(|&class| class >= wanted);
            let mut buffer = self.shard.acquire(class.unwrap_or(wanted)).await;
            let mut state = self.state.borrow_mut();
            state.writable()?;
            self.freeze(&mut state);
            let base = state.active.summary.base;
            if lead > 0 {
                let copied = self.tail_block(base, end, |block| buffer.extend_from_slice(block));
                if copied.is_some() {
                    // The usual case: the block is cached.
                } else if let Some(block) = from_disk {
                    buffer.extend_from_slice(&block);
                } else {
                    // The cached block went while we waited for memory.
                    continue;
                }
            }
            assert_eq!(buffer.len(), lead, "a buffer begins with the last block's bytes");
            let end_offset = state.offsets.end;
            state.tail.opened_at = self.shard.cache().taken_bytes();
            state.tail.open = Some(OpenBuffer {
                buffer: GrowingBuffer::new(buffer),
                position: end - lead as u64,
                lead,
                first_offset: end_offset,
                end_offset,
            });
            return Ok(());
        }
    }

    /// Gives `look` the bytes of the last, partial block before `end`, if they are cached.
    fn tail_block<R>(&self, base: Offset, end: u64, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let start = end - end % BLOCK as u64;
        let chunks = self.chunks.borrow();
        let last = chunks.last().filter(|last| {
            last.segment_base == base && last.end_position() == end && last.position <= start
        })?;
        Some(look(last.from(start)))
    }

    async fn read_tail_block(&self, position: u64, length: usize) -> Result<Vec<u8>, AppendError> {
        let (file, path) = {
            let state = self.state.borrow();
            let path = Kind::Log.path(&self.dir, state.active.summary.base);
            (state.active.file.clone(), path)
        };
        let file = file.expect("a segment with batches has an open file");
        self.shard.io().reached(Rare::BlockReadBack);
        let buffer = self.shard.acquire(BLOCK).await;
        let (result, buffer) = file.read_at(buffer, position).await;
        let failure = match result {
            Ok(()) if buffer.len() >= length => return Ok(buffer[..length].to_vec()),
            Ok(()) => ErrorKind::UnexpectedEof.into(),
            Err(error) => error,
        };
        Err(self.fail(IoFailure::of(Operation::Read, &path)(failure)))
    }
}
