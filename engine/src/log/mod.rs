//! The log: batches in, durable, and out again.
//!
//! ```text
//! reserve -> append -> open buffer -> frozen buffer -> write -> durable
//!                          |               |
//!                          |               '-> tail cache -> read_cached
//!                          '-- filled while it waits
//! ```
//!
//! One task appends: [`Log::reserve`] makes room, [`Log::append`] gives the batch its offsets and
//! copies it, once, into the log's open buffer. From there it goes to the shard's journal, if there
//! is one, in the next write for all logs; many bytes at a time, and all bytes without a journal,
//! go straight to the segment's file. What arrives while writes are in flight joins the next. No
//! timer stands between an append and its write, unless
//! [`ShardSettings::linger`](crate::shard::ShardSettings::linger) asks for one. [`Log::durable`]
//! resolves when the batch is as safe as the log's [`FlushPolicy`] says.
//!
//! # Promises, and the faults they hold under
//!
//! - `log.keeps_acknowledged`: what [`Log::durable`] confirmed is there after any crash, at the
//!   same offsets; with [`FlushPolicy::Relaxed`], after any crash of the process.
//! - `log.recovers_a_prefix`: after a crash the log is a prefix of what was appended.
//! - `log.contiguous`: each batch begins where the one before it ends.
//! - `log.no_fsync_retry`: after a failed write or sync the log takes no more until it is opened
//!   again, and everybody who asks gets the first failure.
//! - Damaged bytes are reported and never served.
//!
//! A disk may lose or tear every write that was not synced, in pieces of 512 bytes, and report
//! errors at any time.

mod append;
mod close;
pub(crate) mod epochs;
pub(crate) mod flush;
mod offsets;
mod read;
pub(crate) mod relaxed;
mod roll;
mod search;
mod segments;
pub(crate) mod settings;
mod slices;
pub(crate) mod tail;
pub(crate) mod turn;
pub(crate) mod wait;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use append::{Appended, Reservation, Stamp};
pub use epochs::EpochStart;
pub use offsets::LogOffsets;
pub use settings::{FlushPolicy, LogSettings};
pub use slices::Slices;

pub use crate::recovery::{Cut, RecoveryReport};
pub use crate::retention::RetentionReport;

use crate::batch::{BatchHeader, ProducerId};
use crate::cache::Chunks;
use crate::compaction::checkpoint::CleanerState;
use crate::epoch::LeaderEpoch;
use crate::error::{AppendError, IoFailure, OpenError};
use crate::io::{Io, Rare};
use crate::journal::Trace;
use crate::manifest::Manifest;
use crate::offset::{Offset, Timestamp};
use crate::producer::aborted::AbortedIndex;
use crate::producer::{ProducerState, Producers, SequenceCheck, SequenceError};
use crate::segment::active::Active;
use crate::segment::sealed::Sealed;
use crate::shard::Shard;
use epochs::EpochHistory;
use tail::Tail;
use turn::Turnstile;
use wait::Waiters;

/// A log. Cloning is cheap and gives another handle to the same log.
///
/// A log belongs to one thread, and to one owner: opening a folder twice at a time damages it.
pub struct Log<I: Io> {
    pub(crate) inner: Rc<Inner<I>>,
}

pub(crate) struct Inner<I: Io> {
    pub(crate) shard: Shard<I>,
    /// The log's number in its shard.
    pub(crate) number: u64,
    pub(crate) dir: PathBuf,
    pub(crate) settings: RefCell<LogSettings>,
    /// The policy that waits for the log to be marked: see [`relaxed`].
    pub(crate) relaxing: Cell<Option<FlushPolicy>>,
    pub(crate) is_marked: Cell<bool>,
    pub(crate) state: RefCell<State<I::File>>,
    pub(crate) chunks: Rc<RefCell<Chunks>>,
    pub(crate) turnstile: Turnstile,
    /// Held by a compaction, and by who waits for its end.
    pub(crate) cleaning: Turnstile,
    /// Held by a reader that puts rebuilt indexes in place, and by who removes the log's folder.
    pub(crate) rebuilding: Turnstile,
    /// Whether the log stands in the queues of the shard's writer, and in that of its journal.
    pub(crate) scheduled: Cell<bool>,
    pub(crate) scheduled_later: Cell<bool>,
    pub(crate) enqueued: Cell<bool>,
    /// Whether the log is among those that had nothing to do.
    pub(crate) resting: Cell<bool>,
    /// Whether a timer runs for its next sync.
    pub(crate) timed: Cell<bool>,
    /// What the journal holds of the log; `None` if it does not use one.
    pub(crate) trace: Option<RefCell<Trace>>,
    /// Whoever moves the end down, ends the log, or writes a checkpoint: entered before the
    /// other one.
    pub(crate) maintenance: Turnstile,
    /// Whether a checkpoint is on its way.
    pub(crate) checkpointing: Cell<bool>,
    pub(crate) waiting_durable: Waiters,
    pub(crate) waiting_written: Waiters,
    pub(crate) waiting_placed: Rc<Waiters>,
}

/// What changes. Borrowed for moments, never across a wait.
pub(crate) struct State<F> {
    pub(crate) offsets: LogOffsets,
    pub(crate) sealed: VecDeque<Sealed>,
    pub(crate) active: Active<F>,
    pub(crate) tail: Tail,
    pub(crate) epochs: EpochHistory,
    pub(crate) producers: Producers,
    pub(crate) aborted: AbortedIndex,
    pub(crate) cleaner: CleanerState,
    /// The file of a compacted segment whose name is being given to it, by its base.
    pub(crate) swapping: Option<(Offset, F)>,
    /// What the manifest on disk says, or said before a save that failed.
    pub(crate) manifest: Manifest,
    /// Whether a save failed, so that either may be on disk.
    pub(crate) is_manifest_unsure: bool,
    /// Whether anything came since the last clean close.
    pub(crate) changed: bool,
    /// Counts up when bytes that were readable went away, so that a reader which stumbled over
    /// that looks again.
    pub(crate) layout: u64,
    /// How often the end was moved down, and to where the last time.
    pub(crate) truncations: u64,
    pub(crate) truncated_to: Offset,
    pub(crate) failure: Option<IoFailure>,
    pub(crate) closed: bool,
}

impl<F> State<F> {
    /// What recovery must have made: batches from the first segment to the end without a gap, all
    /// of them durable, and none missing that a clean close or a moved start vouches for.
    fn assert_recovered(&self) {
        let LogOffsets { start, durable, end, .. } = self.offsets;
        let mut next = self.sealed.front().map_or(self.active.summary.base, |first| first.base);
        for segment in &self.sealed {
            assert_eq!(segment.base, next, "log.recovers_a_prefix: a gap before a segment");
            next = segment.end;
        }
        assert_eq!(self.active.summary.base, next, "log.recovers_a_prefix: a gap at the end");
        assert_eq!((durable, self.active.summary.end), (end, end), "log.recovers_a_prefix");
        let known = self.manifest.clean.map_or(start, |clean| clean.end.max(start));
        assert!(end >= known, "log.keeps_acknowledged: the log ends at {end}, before {known}");
    }

    /// Whether the log takes more.
    pub(crate) fn writable(&self) -> Result<(), AppendError> {
        if let Some(failure) = &self.failure {
            return Err(AppendError::Failed(failure.clone()));
        }
        if self.closed { Err(AppendError::Closed) } else { Ok(()) }
    }
}

impl<I: Io> Log<I> {
    /// Opens the log in the folder `dir`, and recovers it if it was not closed cleanly.
    ///
    /// A folder that is not there is created, with those above it that are missing, and its own name
    /// is made durable. **The names of folders above it that are new as well are not**: without
    /// [`Io::create_dir_all`] and a sync of each of their parents the log may be gone after a
    /// loss of power, and the next open finds a new, empty one.
    ///
    /// After `Ok` the log holds a prefix of what was appended, with everything that was
    /// acknowledged, all of it durable; the report says what was cut and why. After
    /// [`OpenError::Corrupt`] and its like nothing on disk has changed. Costs reading what was
    /// appended since the last checkpoint, unless the log was closed cleanly, and writing up to 4
    /// MiB of that once more (of a relaxed log, all of it); see [`LogSettings::checkpoint_bytes`].
    ///
    /// An empty log costs its folder and no file, a relaxed one an empty file. Where the system has no
    /// room for that, the log opens, and every batch waits for the disk.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(
        shard: &Shard<I>,
        dir: &Path,
        mut settings: LogSettings,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        settings.check(shard.pool().budget())?;
        let trace = match shard.journal() {
            Some(journal) => journal.trace(shard, dir).await?,
            None => None,
        };
        let recovered = crate::recovery::recover(shard, dir, &settings).await?;
        recovered.state.assert_recovered();
        if !recovered.is_marked {
            settings.durability = FlushPolicy::EveryBatch;
        }
        let chunks = Rc::new(RefCell::new(Chunks::default()));
        chunks.borrow_mut().set_evictable(recovered.state.offsets.durable);
        let inner = Inner {
            shard: shard.clone(),
            number: shard.segments().number_log(),
            dir: dir.to_owned(),
            settings: RefCell::new(settings),
            relaxing: Cell::new(None),
            is_marked: Cell::new(recovered.is_marked),
            state: RefCell::new(recovered.state),
            chunks,
            turnstile: Turnstile::default(),
            cleaning: Turnstile::default(),
            rebuilding: Turnstile::default(),
            scheduled: Cell::new(false),
            scheduled_later: Cell::new(false),
            enqueued: Cell::new(false),
            resting: Cell::new(false),
            timed: Cell::new(false),
            trace: trace.map(RefCell::new),
            maintenance: Turnstile::default(),
            checkpointing: Cell::new(false),
            waiting_durable: Waiters::default(),
            waiting_written: Waiters::default(),
            waiting_placed: Rc::default(),
        };
        Ok((Self { inner: Rc::new(inner) }, recovered.report))
    }

    /// Where the log begins, how far it is safe, and where it ends.
    #[must_use]
    pub fn offsets(&self) -> LogOffsets {
        self.inner.state.borrow().offsets
    }

    /// Bytes of batches in all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let state = self.inner.state.borrow();
        let sealed: u64 = state.sealed.iter().map(|segment| segment.size).sum();
        sealed + state.active.summary.size
    }

    /// How many segments there are, the active one included.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.inner.state.borrow().sealed.len() + 1
    }

    /// The log's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The failure that made the log read-only, if one did.
    #[must_use]
    pub fn failure(&self) -> Option<IoFailure> {
        self.inner.failure()
    }

    /// The log's settings.
    #[must_use]
    pub fn settings(&self) -> LogSettings {
        self.inner.settings.borrow().clone()
    }

    /// Changes the settings. They hold for what comes: a smaller segment size rolls at the next
    /// reservation, a stricter [`FlushPolicy`] syncs at once what is not yet synced, and a log that
    /// was strict becomes relaxed once it has noted that in its folder, which is soon, unless there
    /// is no space.
    ///
    /// # Errors
    ///
    /// [`OpenError::Setting`]; the old settings stay.
    pub fn update_settings(&self, settings: LogSettings) -> Result<(), OpenError> {
        settings.check(self.inner.shard.pool().budget())?;
        self.inner.apply(settings);
        self.inner.dispatch(0);
        self.inner.kick();
        Ok(())
    }

    /// What the log remembers of an idempotent producer; `None` if nothing, or if it was silent
    /// for too long.
    #[must_use]
    pub fn producer(&self, id: ProducerId) -> Option<ProducerState> {
        let expiry = self.inner.settings.borrow().producer_expiry;
        let now = self.inner.shard.io().now();
        self.inner.state.borrow().producers.state(id, now, expiry).copied()
    }

    /// Judges the sequence of a batch that is about to be appended. Appended batches count at
    /// once, also those that are not durable yet: a duplicate is answered after
    /// [`Log::durable`] of its offsets.
    ///
    /// # Errors
    ///
    /// [`SequenceError`]; do not append the batch then.
    pub fn check_producer(
        &self,
        batch: &BatchHeader,
        now: Timestamp,
    ) -> Result<SequenceCheck, SequenceError> {
        let expiry = self.inner.settings.borrow().producer_expiry;
        self.inner.state.borrow().producers.check(batch, now, expiry)
    }

    /// The newest leader epoch of the log, or [`LeaderEpoch::NONE`].
    #[must_use]
    pub fn latest_epoch(&self) -> LeaderEpoch {
        self.inner.state.borrow().epochs.latest()
    }

    /// All leader epochs of the log and where each begins, in order.
    #[must_use]
    pub fn epochs(&self) -> Vec<EpochStart> {
        self.inner.state.borrow().epochs.entries().to_vec()
    }

    /// The largest epoch at or below `epoch` that the log knows, and the offset where it ends
    /// (Kafka's `OffsetForLeaderEpoch`); `None` if it knows none.
    #[must_use]
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.inner.state.borrow();
        state.epochs.end_offset(epoch, state.offsets.end)
    }
}

impl<I: Io> Inner<I> {
    /// Replaces the manifest, durably.
    pub(crate) async fn save_manifest(&self, manifest: Manifest) -> Result<(), IoFailure> {
        self.state.borrow_mut().is_manifest_unsure = true;
        manifest.save(&self.shard, &self.dir).await?;
        let mut state = self.state.borrow_mut();
        state.manifest = manifest;
        state.is_manifest_unsure = false;
        Ok(())
    }

    /// Moves the offsets, and tells those who wait.
    pub(crate) fn set_offsets(&self, state: &mut State<I::File>, new: LogOffsets) {
        let old = state.offsets;
        assert!(
            state.failure.is_none() || new.durable <= old.durable,
            "log.no_fsync_retry: {new:?} after {:?}",
            state.failure
        );
        state.offsets.set(new);
        let placed = state.tail.placed().offset;
        self.chunks.borrow_mut().set_evictable(new.durable.min(placed));
        self.shard.unpinned();
        if new.durable != old.durable {
            self.waiting_durable.wake_up_to(new.durable);
        }
        if new.written != old.written {
            self.waiting_written.wake_up_to(new.written);
        }
        self.waiting_placed.wake_up_to(new.written.min(placed));
    }

    /// How far the active segment's file holds the log's batches: what follows is in the tail
    /// cache, and stays there until it is in the file.
    pub(crate) fn in_file(state: &State<I::File>) -> (Offset, u64) {
        let placed = state.tail.placed();
        (placed.offset, placed.position)
    }

    pub(crate) fn failure(&self) -> Option<IoFailure> {
        self.state.borrow().failure.clone()
    }

    /// Makes the log read-only (`log.no_fsync_retry`), unless it is already, and gives the first
    /// failure.
    pub(crate) fn fail(&self, failure: IoFailure) -> AppendError {
        let mut state = self.state.borrow_mut();
        if state.failure.is_none() {
            self.shard.io().reached(Rare::LogFailed);
        }
        let first = state.failure.get_or_insert(failure).clone();
        state.tail.give_up();
        let durable = state.offsets.durable;
        drop(state);
        // What is durable can still be read, from here where it is in no file.
        self.shard.cache().cut_after(&self.chunks, durable);
        self.wake_everybody();
        if let Some(journal) = self.shard.journal() {
            journal.log_failed();
        }
        AppendError::Failed(first)
    }

    pub(crate) fn wake_everybody(&self) {
        self.waiting_durable.wake_all();
        self.waiting_written.wake_all();
        self.waiting_placed.wake_all();
    }
}

impl<I: Io> Drop for Inner<I> {
    fn drop(&mut self) {
        self.forget_from(&self.state.borrow(), Offset::ZERO);
        self.shard.cache().cut(&self.chunks, Offset::ZERO);
        self.waiting_placed.wake_all();
        if let (Some(trace), Some(journal)) = (self.trace.take(), self.shard.journal()) {
            journal.orphan(trace.into_inner());
        }
    }
}

impl<I: Io> Clone for Log<I> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

impl<I: Io> fmt::Debug for Log<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("dir", &self.inner.dir)
            .field("offsets", &self.offsets())
            .finish()
    }
}
