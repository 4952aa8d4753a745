//! The checkpoint: what is known of the active segment without reading it, up to a position from
//! which an open after a crash goes on.
//!
//! ```text
//! | sealed segments | active segment                                                       |
//! |                 |  read at some time, and synced |  scanned at the next open  | reserved |
//!                                                    ^ the checkpoint's position  ^ end
//! ```
//!
//! The file `ringlog.checkpoint` is replaced as a whole:
//!
//! ```text
//! 0       4         8      16    24     32           40        48            57       70
//! | magic | version | base | end | size | since entry | largest | first time | latest | ...
//!   ... five parts, each a length u32 and its bytes: offset index, time index, producers,
//!       leader epochs, aborted transactions | crc |
//! ```
//!
//! All numbers are big endian. `base`, `end` and `size` say which segment this is, which offset
//! follows its batches and how many bytes they have; `since entry` is the bytes since the last
//! index entry, `largest` the bytes of the largest batch. `first time` and `latest` begin with a
//! byte that is 1 if they are known. The parts are as in files of their own.
//!
//! # When it is written, and what it costs
//!
//! Whenever [`LogSettings::checkpoint_bytes`](crate::log::LogSettings::checkpoint_bytes) were
//! appended to the active segment since the last one. Appends go on meanwhile; only when as many
//! bytes again were appended before it is done do they wait. So, as long as no checkpoint fails,
//! an open scans at most twice that much and a few batches. A segment that does not grow that
//! large never has a checkpoint. One that fails is no failure of the log: the next is tried when
//! as much again was appended.
//!
//! It costs a copy of the segment's indexes (20 bytes an index interval), of the producers and of
//! the epochs, one file written and synced, and one sync of the folder. What of the segment is
//! not in its file, or not synced there, is written and synced first: what the journal has, and
//! what a relaxed [`FlushPolicy`](crate::log::FlushPolicy) has left.
//!
//! # Why it is never wrong
//!
//! - It is written when everything below its position is synced in the segment's file, so a log
//!   that ends earlier has lost something, and is refused
//!   ([`Damage::EndsEarly`](crate::error::Damage::EndsEarly)).
//! - An end moves down in one way only, by truncation, which enters the same turnstile, and
//!   removes the checkpoint durably before anything else goes.
//! - A retention may pass it, but only up to a start that is durable before anything goes. What is
//!   below the log's start accuses nobody.
//! - A checkpoint of a segment that has been sealed meanwhile, or that does not check, is ignored
//!   and removed by the next open.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Poll;

use crate::decode::take;
use crate::error::{AppendError, IoFailure, MaintainError, Operation};
use crate::io::{Io, Rare};
use crate::limits::SMALL_FILE_BYTES_MAX;
use crate::log::epochs::EpochHistory;
use crate::log::wait::Waiters;
use crate::log::{Inner, State};
use crate::offset::{Offset, Timestamp};
use crate::planted::{self, Bug};
use crate::producer::aborted;
use crate::producer::{AbortedTransaction, Producers, snapshot};
use crate::segment::active::Summary;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;
use crate::small_file;

/// The checkpoint's file name.
pub(crate) const NAME: &str = "ringlog.checkpoint";

const MAGIC: u32 = 0x524c_4350;
const VERSION: u32 = 2;

/// What a checkpoint holds.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) summary: Summary,
    pub(crate) producers: Producers,
    pub(crate) epochs: EpochHistory,
    /// Transactions aborted in the segment so far.
    pub(crate) aborted: Vec<AbortedTransaction>,
}

/// Writes down what is known of a segment, and of the log at that segment's end.
pub(crate) fn encode(
    summary: &Summary,
    producers: &Producers,
    epochs: &EpochHistory,
    aborted: &[AbortedTransaction],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC.to_be_bytes());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&summary.base.value().to_be_bytes());
    bytes.extend_from_slice(&summary.end.value().to_be_bytes());
    bytes.extend_from_slice(&summary.size.to_be_bytes());
    bytes.extend_from_slice(&summary.bytes_since_entry.to_be_bytes());
    bytes.extend_from_slice(&summary.largest.to_be_bytes());
    bytes.push(u8::from(summary.first_timestamp.is_some()));
    let first = summary.first_timestamp.map_or(0, Timestamp::millis);
    bytes.extend_from_slice(&first.to_be_bytes());
    bytes.push(u8::from(summary.latest.is_some()));
    let (latest, relative) = summary.latest.map_or((0, 0), |(time, at)| (time.millis(), at));
    bytes.extend_from_slice(&latest.to_be_bytes());
    bytes.extend_from_slice(&relative.to_be_bytes());
    let (offsets, times) = (summary.offsets.encode(), summary.times.encode());
    let producers = snapshot::encode(producers, summary.end);
    for part in [offsets, times, producers, epochs.encode(), aborted::encode(aborted)] {
        // A part this large is never written: see `Inner::snapshot`.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&part);
    }
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

/// The checkpoint in a file's bytes; `None` if they are none.
pub(crate) fn decode(bytes: &[u8]) -> Option<Checkpoint> {
    let (content, sum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(content) != u32::from_be_bytes(*sum) {
        return None;
    }
    let mut rest = content;
    let magic = u32::from_be_bytes(take(&mut rest)?);
    let version = u32::from_be_bytes(take(&mut rest)?);
    if (magic, version) != (MAGIC, VERSION) {
        return None;
    }
    let mut summary = Summary::new(Offset::new(i64::from_be_bytes(take(&mut rest)?))?);
    summary.end = Offset::new(i64::from_be_bytes(take(&mut rest)?))?;
    summary.size = u64::from_be_bytes(take(&mut rest)?);
    summary.bytes_since_entry = u64::from_be_bytes(take(&mut rest)?);
    summary.largest = u64::from_be_bytes(take(&mut rest)?);
    let [known] = take(&mut rest)?;
    let first = Timestamp::from_millis(i64::from_be_bytes(take(&mut rest)?));
    summary.first_timestamp = (known == 1).then_some(first);
    let [known] = take(&mut rest)?;
    let latest = Timestamp::from_millis(i64::from_be_bytes(take(&mut rest)?));
    let relative = u32::from_be_bytes(take(&mut rest)?);
    summary.latest = (known == 1).then_some((latest, relative));
    if summary.end <= summary.base || summary.size == 0 {
        return None;
    }
    let last_relative = summary.end.since(summary.base) - 1;
    summary.offsets = OffsetIndex::decode(part(&mut rest)?, summary.size)?;
    summary.times = TimeIndex::decode(part(&mut rest)?, last_relative)?;
    let producers = snapshot::decode(part(&mut rest)?, summary.end)?;
    let epochs = EpochHistory::decode(part(&mut rest)?)?;
    let aborted = aborted::decode(part(&mut rest)?, summary.base, summary.end)?;
    rest.is_empty().then_some(Checkpoint { summary, producers, epochs, aborted })
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u32::from_be_bytes(take(rest)?)).ok()?;
    let (part, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

/// Whether `interval` bytes were appended since the last checkpoint of the active segment, or the
/// last try.
pub(crate) fn checkpoint_due<F>(state: &State<F>, interval: u64) -> bool {
    let active = &state.active;
    let since = active.checkpointed.max(active.checkpoint_tried);
    active.has_file() && active.summary.size.saturating_sub(since) >= interval
}

/// Starts a checkpoint in a task of its own, if one is due and none is on its way.
pub(crate) fn start_if_due<I: Io>(log: &Rc<Inner<I>>) {
    let interval = log.settings.borrow().checkpoint_bytes;
    if log.checkpointing.get() || !checkpoint_due(&log.state.borrow(), interval) {
        return;
    }
    log.checkpointing.set(true);
    let running = Running(Rc::downgrade(log));
    log.shard.io().spawn(async move {
        // The log goes on without it, and tries again.
        let _: Result<(), MaintainError> = checkpoint(&running.0).await;
    });
}

/// A checkpoint on its way: for as long as it lives, appends wait when they are too far ahead of
/// the one before. A task that is dropped leaves nobody waiting.
struct Running<I: Io>(Weak<Inner<I>>);

impl<I: Io> Drop for Running<I> {
    fn drop(&mut self) {
        if let Some(log) = self.0.upgrade() {
            log.checkpointing.set(false);
            log.waiting_written.wake_all();
        }
    }
}

/// Writes a checkpoint of the active segment as it is now, once that is synced.
///
/// After `Ok` an open after a crash does not read what the segment holds now, unless the segment
/// was sealed meanwhile, or somebody truncates, closes or lets go of the log: then nothing is done,
/// and a checkpoint stays due. Appends go on. After `Err` the old checkpoint or the new one is
/// there, and the log goes on.
pub(crate) async fn checkpoint<I: Io>(log: &Weak<Inner<I>>) -> Result<(), MaintainError> {
    let Some(inner) = log.upgrade() else { return Ok(()) };
    // Whoever has the turn may wait for those who append, and they may wait for us.
    let mut enter = pin!(inner.maintenance.enter());
    let entered = poll_fn(|cx| Poll::Ready(enter.as_mut().poll(cx))).await;
    let Poll::Ready(_turn) = entered else { return Ok(()) };
    let Some((base, end, size, bytes)) = inner.snapshot()? else { return Ok(()) };
    let (shard, dir) = (inner.shard.clone(), inner.dir.clone());
    let waiters = Rc::clone(&inner.waiting_placed);
    // From here on nobody waits for us who lets go of the log.
    drop(inner);
    if !settled(log, &waiters, end).await? {
        return Ok(());
    }
    let temporary = small_file::prepare(&shard, &dir, NAME, &bytes).await?;
    // A log that was let go of may have another owner by now, who may have truncated it.
    let wanted = log.upgrade().is_some_and(|log| log.state.borrow().active.summary.base == base);
    if !wanted {
        let removed = shard.io().remove_file(&temporary).await;
        return Ok(removed.map_err(IoFailure::of(Operation::Remove, &temporary))?);
    }
    small_file::put(&shard, &dir, NAME, &temporary).await?;
    small_file::sync_dir(&shard, &dir).await?;
    if let Some(log) = log.upgrade() {
        let active = &mut log.state.borrow_mut().active;
        if active.summary.base == base {
            active.checkpointed = size;
        }
    }
    Ok(())
}

/// Waits until everything below `end` is on stable storage in the segment's file, and has it
/// written and synced if need be. `false` if the log was let go of.
async fn settled<I: Io>(
    log: &Weak<Inner<I>>,
    waiters: &Waiters,
    end: Offset,
) -> Result<bool, AppendError> {
    let mut waiter = waiters.waiter();
    poll_fn(|cx| {
        let Some(log) = log.upgrade() else { return Poll::Ready(Ok(false)) };
        let mut state = log.state.borrow_mut();
        state.writable()?;
        if state.tail.settled() >= end {
            return Poll::Ready(Ok(true));
        }
        state.tail.want_settled(end);
        drop(state);
        waiter.register(end, cx);
        log.kick();
        Poll::Pending
    })
    .await
}

impl<I: Io> Inner<I> {
    /// Base, end, size and checkpoint of the active segment as it is now; `None` if there is
    /// nothing new to write down.
    #[expect(clippy::type_complexity, reason = "three numbers and the bytes they are about")]
    fn snapshot(&self) -> Result<Option<(Offset, Offset, u64, Vec<u8>)>, AppendError> {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        state.writable()?;
        let summary = &state.active.summary;
        if summary.size == state.active.checkpointed {
            return Ok(None);
        }
        let bytes = encode(summary, &state.producers, &state.epochs, state.aborted.active());
        let (base, end, size) = (summary.base, summary.end, summary.size);
        state.active.checkpoint_tried = size;
        // No open would read a larger one.
        let fits = bytes.len() as u64 <= SMALL_FILE_BYTES_MAX;
        Ok(fits.then_some((base, end, size, bytes)))
    }

    /// Waits while a checkpoint is on its way and the active segment has grown by two intervals
    /// since the one before, so that what an open scans stays bounded. The caller has the turn.
    pub(crate) async fn wait_for_checkpoint(&self) -> Result<(), AppendError> {
        let mut waiter = self.waiting_written.waiter();
        poll_fn(|cx| {
            let state = self.state.borrow();
            state.writable()?;
            let interval = self.settings.borrow().checkpoint_bytes;
            let ahead = state.active.summary.size - state.active.checkpointed;
            if !self.checkpointing.get() || ahead < interval.saturating_mul(2) {
                return Poll::Ready(Ok(()));
            }
            self.shard.io().reached(Rare::CheckpointAwaited);
            waiter.register(state.offsets.end.plus(1), cx);
            Poll::Pending
        })
        .await
    }

    /// Removes the checkpoint for good, before anything goes that it vouches for. The caller has
    /// the maintenance turn.
    pub(crate) async fn remove_checkpoint(&self) -> Result<(), IoFailure> {
        if planted::active(Bug::TruncateKeepsCheckpoint) {
            return Ok(());
        }
        small_file::remove_all(&self.shard, &self.dir, [NAME.to_owned()]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, BatchHeader, BatchOptions};
    use crate::epoch::LeaderEpoch;

    fn summary() -> Summary {
        let mut summary = Summary::new(Offset::new(40).unwrap());
        for n in 0..9 {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.push(Timestamp::from_millis(1_000 + n), None, Some(b"value"), &[]);
            let bytes = builder.finish().unwrap();
            let mut header = BatchHeader::read(&bytes).unwrap();
            header.base_offset = 40 + n;
            summary.add(&header, bytes.len(), 100);
        }
        summary
    }

    #[test]
    fn a_checkpoint_survives_the_trip_and_every_flipped_bit_is_noticed() {
        let summary = summary();
        let mut epochs = EpochHistory::default();
        epochs.note(LeaderEpoch::new(3), Offset::new(41).unwrap());
        let bytes = encode(&summary, &Producers::default(), &epochs, &[]);
        let read = decode(&bytes).unwrap();
        assert_eq!(read.summary, summary);
        assert_eq!((read.producers, read.epochs), (Producers::default(), epochs));
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            assert!(decode(&broken).is_none());
            assert!(decode(&bytes[..at]).is_none());
        }
    }

    #[test]
    fn a_restored_segment_goes_on_as_if_it_had_never_been_away() {
        let mut summary = summary();
        let bytes = encode(&summary, &Producers::default(), &EpochHistory::default(), &[]);
        let mut read = decode(&bytes).unwrap().summary;
        for n in 9..30 {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.push(Timestamp::from_millis(900 + 10 * n), None, Some(b"value"), &[]);
            let bytes = builder.finish().unwrap();
            let mut header = BatchHeader::read(&bytes).unwrap();
            header.base_offset = 40 + n;
            summary.add(&header, bytes.len(), 100);
            read.add(&header, bytes.len(), 100);
        }
        assert_eq!(read, summary);
    }
}
