//! The journal of a shard: one write for everybody.
//!
//! What the logs of a shard have received since the last write goes into the next one, in one of a
//! few recycled files, on stable storage when it is done: a thousand logs cost as many writes as
//! one. The batches stay in the tail cache and reach their segments later, in
//! long writes, a log's worth at a time; then the segment is synced, and the journal may forget
//! them.
//!
//! ```text
//!  log ─┐                ┌── write ──┬── write ──┬── ...        acknowledged when durable
//!  log ─┼─ waiting ──►   │ name      │ bytes     │
//!  log ─┘                │ bytes ... │ settled   │
//!    │                   └───────────┴───────────┘
//!    └── full buffers, or all of a log when its file of the journal is wanted back
//!            └──► segment, written ──► synced ──► the journal's file is let go
//! ```
//!
//! Nothing in a file is written twice before the file is let go, and the bytes of an earlier use
//! are never taken for new ones: each write carries a checksum, its sequence and the generation of
//! its file. All files together bound what may wait for its segment; at the bound appends wait
//! until segments have been synced, and nothing is dropped.
//!
//! After a crash, [`Shard::open`](crate::shard::Shard::open) puts what the journal holds into the
//! segments before any log is opened. An entry says which bytes stand where in which file, so doing
//! that again changes nothing. What must not be done again, because the log was truncated, deleted
//! or compacted since, is made void by a record in the journal itself.

pub(crate) mod files;
pub(crate) mod frame;
mod pins;
mod registry;
pub(crate) mod replay;
mod settings;
mod writer;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;

pub use self::replay::{ReplayReport, Skipped, TornWrite};
pub use self::settings::JournalSettings;

pub(crate) use self::registry::Trace;

use self::files::{Files, Making};
use self::pins::Pins;
use self::registry::Registry;
use self::replay::Live;
use self::writer::{FRAME_BUFFER_BYTES, Lane, Settle};
use crate::error::{IoFailure, OpenError, Operation};
use crate::io::{Io, Rare};
use crate::limits::{
    JOURNAL_PATH_BYTES_MAX, JOURNAL_WRITE_BYTES_MAX, JOURNAL_WRITES_IN_FLIGHT_MAX,
};
use crate::log::Inner;
use crate::log::wait::{Signal, Waiters};
use crate::offset::Offset;
use crate::shard::{Shard, WeakShard};

/// A shard's journal.
pub(crate) struct Journal<I: Io> {
    settings: JournalSettings,
    files: RefCell<Files<I>>,
    registry: RefCell<Registry>,
    pins: RefCell<Pins<I>>,
    lane: RefCell<Lane<I>>,
    /// What logs hold that are not open any more, or failed, by their numbers.
    orphans: RefCell<BTreeMap<u32, Trace>>,
    /// Those of them that are being put into their segments.
    rescuing: RefCell<BTreeSet<u32>>,
    /// Those who wait for one of these to end.
    waiting_rescued: Waiters,
    /// A log has failed in the journal's time. Looking for it costs a look at all logs.
    has_failed_log: Cell<bool>,
    pace: Cell<Pace>,
    /// The generation in which making another file failed.
    refused: Cell<Option<u64>>,
    signal: Rc<Signal>,
    running: Cell<bool>,
    /// The task was dropped before the shard: nothing is written any more.
    is_over: Cell<bool>,
    /// The backend and the buffers, without the journal.
    base: Shard<I>,
}

/// How things were when the asking of a generation's logs began.
#[derive(Clone, Copy, Default)]
struct Pace {
    generation: u64,
    logs: usize,
    spare: u64,
}

impl<I: Io> Journal<I> {
    /// Opens the journal, after putting what it holds into the segments. `base` is the shard it
    /// will belong to, as far as it goes without a journal.
    pub(crate) async fn open(
        base: Shard<I>,
        settings: JournalSettings,
    ) -> Result<(Self, ReplayReport), OpenError> {
        let settings = settings.checked()?;
        let replayed = replay::replay(&base, &settings.dir, &settings.root, None).await?;
        let mut files = Files::open(&base, &settings, &replayed).await?;
        // With two, there is always one to go on to when the other is let go.
        while files.free() + files.used() < 2
            && let Some(making) = files.begin_making()
        {
            let opened = making.run().await?;
            files.made(&making, Some(opened));
        }
        let mut buffers = Vec::with_capacity(JOURNAL_WRITES_IN_FLIGHT_MAX);
        for _ in 0..JOURNAL_WRITES_IN_FLIGHT_MAX {
            buffers.push(base.acquire(FRAME_BUFFER_BYTES).await);
        }
        let journal = Self {
            pins: RefCell::new(Pins::new(files.generation())),
            files: RefCell::new(files),
            registry: RefCell::default(),
            lane: RefCell::new(Lane::new(buffers)),
            orphans: RefCell::default(),
            rescuing: RefCell::default(),
            waiting_rescued: Waiters::default(),
            has_failed_log: Cell::new(false),
            pace: Cell::default(),
            refused: Cell::new(None),
            signal: Rc::default(),
            running: Cell::new(false),
            is_over: Cell::new(false),
            settings,
            base,
        };
        Ok((journal, replayed.report))
    }

    /// Waiting bytes of one log from which they go straight to its segment: so many that they are
    /// worth a write of their own, or do not fit into the journal's files.
    pub(crate) fn direct_bytes(&self) -> usize {
        // A path and the heads of entries beside them.
        let frame = JOURNAL_WRITE_BYTES_MAX - 2 * JOURNAL_PATH_BYTES_MAX;
        let file = usize::try_from(self.settings.file_bytes / 2).unwrap_or(usize::MAX);
        self.settings.direct_bytes.min(frame).min(file)
    }

    /// What wakes the journal's task.
    pub(crate) fn signal(&self) -> &Rc<Signal> {
        &self.signal
    }

    /// The failure that made the journal, and with it all its logs, read-only.
    pub(crate) fn failure(&self) -> Option<IoFailure> {
        self.lane.borrow().failure.clone()
    }

    /// A log's path in the journal; `None` for one that is not journaled.
    fn path_of<'a>(&self, dir: &'a Path) -> Option<&'a str> {
        let path = dir.strip_prefix(&self.settings.root).ok()?.to_str()?;
        frame::is_plain(path).then_some(path)
    }

    /// Takes up a log that is about to be opened: what an earlier life of it left in the journal
    /// goes into its segments first. `None` if it is not to be journaled.
    pub(crate) async fn trace(
        &self,
        shard: &Shard<I>,
        dir: &Path,
    ) -> Result<Option<Trace>, OpenError> {
        let Some(path) = self.path_of(dir) else { return Ok(None) };
        if let Some(failure) = self.failure() {
            // What it has of the log cannot be told from what was never acknowledged.
            return Err(failure.into());
        }
        let number = self.registry.borrow_mut().number(path);
        if self.orphans.borrow().contains_key(&number) {
            shard.io().reached(Rare::LogReplayed);
            self.replay_log(path).await?;
            self.settle(shard, dir, None).await?;
        }
        Ok(Some(Trace::new(number)))
    }

    /// Puts what the journal's files hold of one log into its segments, while the journal is in use.
    async fn replay_log(&self, path: &str) -> Result<(), OpenError> {
        let confirmed = self.files.borrow().confirmed();
        let live = Live { path, confirmed, floor: &|| self.files.borrow().floor() };
        let JournalSettings { dir, root, .. } = &self.settings;
        replay::replay(&self.base, dir, root, Some(&live)).await.map(drop)
    }

    /// A log is gone that may still need what it has in the journal: it stays there until the log
    /// is opened again, or the file is wanted back.
    pub(crate) fn orphan(&self, trace: Trace) {
        if trace.generations().next().is_some() {
            self.orphans.borrow_mut().insert(trace.number, trace);
            // Somebody may wait for what it holds.
            self.signal.wake();
        }
    }

    /// Notes for good that entries of a log are void; see [`Shard::settled`].
    pub(crate) async fn settle(
        &self,
        shard: &Shard<I>,
        dir: &Path,
        below: Option<Offset>,
    ) -> Result<(), IoFailure> {
        let Some(path) = self.path_of(dir) else { return Ok(()) };
        let Some(number) = self.registry.borrow().find(path) else { return Ok(()) };
        if self.registry.borrow().is_used(number) {
            self.settle_number(&shard.downgrade(), number, below).await?;
        }
        if below.is_none() {
            self.rescue_over(number).await;
        }
        Ok(())
    }

    /// Waits until nothing is being put into a log's segments from here: what has been read already
    /// would land in what takes their place, though it is void by now.
    async fn rescue_over(&self, number: u32) {
        let mut waiter = self.waiting_rescued.waiter();
        poll_fn(|cx| {
            if !self.rescuing.borrow().contains(&number) {
                return Poll::Ready(());
            }
            waiter.register(Offset::MAX, cx);
            Poll::Pending
        })
        .await;
    }

    async fn settle_number(
        &self,
        shard: &WeakShard<I>,
        number: u32,
        below: Option<Offset>,
    ) -> Result<(), IoFailure> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let settle = Rc::new(Settle::new(number, below));
        self.enqueue_settle(shard, Rc::clone(&settle));
        poll_fn(|cx| if settle.poll_ended(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        if below.is_none() {
            self.registry.borrow_mut().voided(number);
            if let Some(mut trace) = self.orphans.borrow_mut().remove(&number) {
                trace.release(Offset::MAX, |generation| self.unpin(generation));
            }
        }
        Ok(())
    }

    /// A log needs what it has in a generation no more.
    pub(crate) fn unpin(&self, generation: u64) {
        if self.pins.borrow_mut().unpin(generation) {
            self.files.borrow_mut().release(generation);
            self.signal.wake();
        }
    }

    /// Has all that is in the journal put into the segments: memory is wanted, and what is in no
    /// segment cannot be let go.
    pub(crate) fn press(&self) {
        self.base.io().reached(Rare::JournalPressed);
        let logs: Vec<_> = self.pins.borrow().logs().collect();
        for log in logs {
            let mut state = log.state.borrow_mut();
            let submitted = state.tail.submitted();
            state.tail.want_placed(submitted);
            drop(state);
            log.kick_later();
        }
    }

    /// Sees to it that there will be a free file: one more is made, or the oldest's logs are asked
    /// to settle.
    fn make_room(&self, shard: &WeakShard<I>) -> Option<Making<I>> {
        if self.failure().is_some() {
            return None;
        }
        let mut files = self.files.borrow_mut();
        let can_make = self.refused.get() != Some(files.generation());
        let is_last = files.free() == 0;
        if is_last
            && can_make
            && let Some(making) = files.begin_making()
        {
            return Some(making);
        }
        let (spare, all) = files.spare_bytes(can_make);
        drop(files);
        if is_last {
            self.ask(shard, usize::MAX, false);
            self.rescue_oldest(shard);
        } else if spare < all / 2 {
            self.ask_in_time(shard, spare, all);
        }
        None
    }

    /// Asks so many of the oldest file's logs to settle that all of them were asked when a quarter
    /// of the journal is left: ten thousand of them at once would be in everybody's way.
    fn ask_in_time(&self, shard: &WeakShard<I>, spare: u64, all: u64) {
        let Some(generation) = self.pins.borrow().oldest() else { return };
        let unasked = self.pins.borrow().unasked(generation);
        if unasked == 0 {
            return;
        }
        let mut pace = self.pace.get();
        if pace.generation != generation {
            pace = Pace { generation, logs: unasked, spare };
            self.pace.set(pace);
        }
        let end = all / 4;
        let left = spare.saturating_sub(end) * pace.logs as u64;
        let may_wait = left / pace.spare.saturating_sub(end).max(1);
        let due = unasked.saturating_sub(usize::try_from(may_wait).unwrap_or(usize::MAX));
        if due > 0 {
            self.ask(shard, due, false);
        }
    }

    /// Asks `count` of the logs that have had something in the journal for the longest to settle:
    /// memory is getting short.
    pub(crate) fn ease(&self, shard: &WeakShard<I>, count: usize) {
        self.base.io().reached(Rare::JournalPressed);
        self.ask(shard, count, true);
    }

    /// The segments have what an orphan has in the journal, which may let go of it. Nothing is
    /// written down for that, as there may be no room: redoing it changes nothing, and the next
    /// opening of the log makes it void.
    fn rescued(&self, number: u32) {
        self.base.io().reached(Rare::LogRescued);
        if let Some(trace) = self.orphans.borrow_mut().get_mut(&number) {
            trace.release(Offset::MAX, |generation| self.unpin(generation));
        }
    }

    /// Sees to those that were asked to settle and cannot any more: they failed, or are gone.
    fn rescue_oldest(&self, shard: &WeakShard<I>) {
        let Some(generation) = self.pins.borrow().oldest() else { return };
        if self.has_failed_log.get() {
            let failed: Vec<_> = self.pins.borrow().failed(generation).collect();
            for log in failed {
                self.adopt(&log);
            }
        }
        self.rescue_orphans(shard, generation);
    }

    /// A log failed that may have something in the journal: it is looked for from now on when a
    /// file is wanted back.
    pub(crate) fn log_failed(&self) {
        self.has_failed_log.set(true);
        // It may wait for this log to settle.
        self.signal.wake();
    }

    /// Takes what came of the making of a file.
    fn made(&self, making: &Making<I>, opened: Option<files::Opened<I::File>>) {
        let mut files = self.files.borrow_mut();
        let is_made = opened.is_some();
        let branch = if is_made { Rare::JournalFileMade } else { Rare::JournalFileRefused };
        self.base.io().reached(branch);
        if !is_made {
            self.refused.set(Some(files.generation()));
        }
        files.made(making, opened);
    }

    /// Asks up to `count` of the logs that need the oldest file, which may be the current one if
    /// `and_current`, to put what they have there into their segments.
    fn ask(&self, shard: &WeakShard<I>, count: usize, and_current: bool) {
        let Some((generation, unasked)) = self.pins.borrow().unasked_oldest(and_current) else {
            return;
        };
        for _ in 0..count.min(unasked) {
            let Some(log) = self.pins.borrow_mut().ask(generation) else { continue };
            if log.failure().is_some() {
                self.adopt(&log);
                continue;
            }
            let end = log.trace.as_ref().and_then(|trace| trace.borrow().end_in(generation));
            if let Some(end) = end {
                log.state.borrow_mut().tail.want_settled(end);
                log.kick_later();
            }
        }
        self.rescue_orphans(shard, generation);
    }

    /// Takes over what a failed log has in the journal: it cannot settle it any more.
    pub(crate) fn adopt(&self, log: &Rc<Inner<I>>) {
        if let Some(trace) = &log.trace {
            self.orphan(trace.borrow_mut().take());
        }
    }

    /// Puts what logs have in a generation that are not open any more, or failed, into their
    /// segments, by what the journal's files say. If that fails, the journal has: it cannot let
    /// go of what was acknowledged.
    fn rescue_orphans(&self, shard: &WeakShard<I>, generation: u64) {
        let numbers: Vec<u32> = {
            let orphans = self.orphans.borrow();
            let needed = orphans.values().filter(|trace| trace.end_in(generation).is_some());
            needed.map(|trace| trace.number).collect()
        };
        for number in numbers {
            if !self.rescuing.borrow_mut().insert(number) {
                continue;
            }
            let path = Rc::clone(self.registry.borrow().path(number));
            let weak = shard.clone();
            self.base.io().spawn(async move {
                let Some(shard) = weak.upgrade() else { return };
                let Some(journal) = shard.journal() else { return };
                match journal.replay_log(&path).await {
                    Ok(_) => journal.rescued(number),
                    Err(error) => journal.fail(as_failure(error, &journal.settings.dir)),
                }
                journal.rescuing.borrow_mut().remove(&number);
                journal.waiting_rescued.wake_all();
                journal.signal.wake();
            });
        }
    }
}

/// Ends a journal that no shard goes on with: what it holds goes into the segments of its logs, and
/// its folder is removed. Fine if there is none. `shard` is any shard without that journal; no log
/// below the journal's root may be open.
///
/// # Errors
///
/// [`OpenError`]; nothing is lost then, and the next try begins anew.
pub async fn retire<I: Io>(
    shard: &Shard<I>,
    settings: &JournalSettings,
) -> Result<ReplayReport, OpenError> {
    let replayed = replay::replay(shard, &settings.dir, &settings.root, None).await?;
    Files::retire(shard, settings, &replayed).await?;
    Ok(replayed.report)
}

/// What could not be read back, as the failure of a journal that needs it.
fn as_failure(error: OpenError, dir: &Path) -> IoFailure {
    match error {
        OpenError::Io(failure) => failure,
        _ => IoFailure::of(Operation::Read, dir)(std::io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests;
