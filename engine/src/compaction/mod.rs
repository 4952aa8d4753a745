//! Compaction: of each key, the last record stays.
//!
//! What [`Log::compact`] makes of a log, by Kafka's rules:
//!
//! ```text
//! offsets   0     1     2     3     4     5     6     7     8
//! before   a=1   b=1   a=2   c=1   b=-   a=3 | d=1   a=4   e=1      b=- is a tombstone
//! after     .     .     .    c=1   b=-   a=3 | d=1   a=4   e=1
//!          '------- sealed, cleaned --------'  '-- not yet ----'
//! ```
//!
//! - Of all records of one key in the cleaned range, the last one stays. Records without a key
//!   do not.
//! - A record without a value, a tombstone, stays for `delete_retention` from the compaction that
//!   first saw it, so that readers learn of it. The moment at which it may go, the *delete
//!   horizon*, stands in its batch, and later compactions do not move it.
//! - Records of aborted transactions do not stay. A transaction's marker stays until a compaction
//!   finds nothing of the transaction left, and then for `delete_retention`. One that ends a
//!   transaction of which a snapshot of the producers says that it is open, stays beyond that:
//!   whoever goes on from that snapshot would not learn of its end.
//! - Nothing is touched in the active segment, at or past the offset that the caller names, past
//!   the first unstable offset, or in segments with anything younger than `min_lag`.
//! - Frames stay: what in them would be a key only their owner knows.
//! - Batches of a codec that the caller's [`BatchCodec`] does not know stay as they are.
//!
//! # Offsets
//!
//! No record ever changes its offset, and `log.contiguous` holds: a batch keeps its range of
//! offsets, however few of its records stay. Batches of which none stay become one batch without
//! records that covers the range of all of them; so recovery, indexes and reads know no gaps. The
//! last batch of an active producer stays even without records, since the sequence that must
//! follow is known from it. Until that one is replicated, so does the producer's last batch before
//! it: a truncation may make it the last again.
//!
//! # How it is done
//!
//! One walk over the dirty segments notes the last offset of each key, in a map of bounded size;
//! when that is full, the compaction ends at the offset reached, and the next one goes on there. A
//! second walk, over the clean segments too, writes what stays into new segments. Small neighbours
//! are joined, up to the log's segment size. Each new segment takes the place of its originals
//! in a swap that a crash leaves done or undone; see `compaction::swap`. A checkpoint
//! says how far the log is clean.
//!
//! All of it runs as one task of low priority: it reads past the page cache and the tail cache,
//! rests after each slice of work ([`CompactionSettings::time_share`]), and takes the log's turn,
//! for which appends wait, for the swaps only.

pub(crate) mod checkpoint;
mod cleaned;
mod codec;
mod key_map;
mod pace;
mod plan;
mod retain;
mod source;
mod swap;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

pub use codec::{BatchCodec, CodecError, Uncompressed};
pub use plan::Dirtiness;

use crate::batch::{BatchHeader, ProducerId};
use crate::error::{CompactError, IoFailure, MaintainError, Operation};
use crate::io::Io;
use crate::log::turn::Turn;
use crate::log::{Inner, Log};
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::producer::Marker;
use crate::recovery::newest_snapshot;
use crate::segment::name::Kind;
use cleaned::Cleaned;
use key_map::KeyMap;
use pace::Pace;
use plan::{Plan, Segment};
use retain::{Retain, Verdict};
use source::Source;
use transactions::{Pinned, Transactions};

/// When a log is compacted, and how. The names in brackets are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompactionSettings {
    /// Share of dirty bytes from which compacting is worthwhile, 0 to 1
    /// (`min.cleanable.dirty.ratio`).
    pub min_cleanable_ratio: f64,
    /// Age below which a record stays untouched (`min.compaction.lag.ms`).
    pub min_lag: Duration,
    /// Age at which a record is compacted whatever the ratio (`max.compaction.lag.ms`); `None`
    /// for no such age. It counts for sealed segments: have the log roll by then.
    pub max_lag: Option<Duration>,
    /// How long tombstones and markers stay after the compaction that first sees them
    /// (`delete.retention.ms`).
    pub delete_retention: Duration,
    /// Bytes of memory for the map of keys, 24 a key (`log.cleaner.dedupe.buffer.size`). At least
    /// [`KEY_MAP_BYTES_MIN`](crate::limits::KEY_MAP_BYTES_MIN) are taken; never more than the
    /// dirty offsets need. Given back when the compaction ends.
    pub key_map_bytes: usize,
    /// Bytes read and written in a second at most (`log.cleaner.io.max.bytes.per.second`); `None`
    /// for no limit.
    pub bytes_per_second: Option<u64>,
    /// Share of the thread's time taken for work at most, above 0 up to 1.
    pub time_share: f64,
}

impl Default for CompactionSettings {
    /// Kafka's defaults, and a quarter of the thread's time.
    fn default() -> Self {
        Self {
            min_cleanable_ratio: 0.5,
            min_lag: Duration::ZERO,
            max_lag: None,
            delete_retention: Duration::from_secs(24 * 3600),
            key_map_bytes: 128 * 1024 * 1024,
            bytes_per_second: None,
            time_share: 0.25,
        }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactionReport {
    /// Where the log was dirty from.
    pub dirty_from: Offset,
    /// Where it is dirty from now.
    pub clean_to: Offset,
    /// Whether it stopped there because the key map was full.
    pub key_map_full: bool,
    /// Different keys noted.
    pub keys: usize,
    /// Segments that were replaced, and how many took their place.
    pub segments: (usize, usize),
    /// Bytes of the segments that were replaced, and of those that took their place.
    pub bytes: (u64, u64),
    /// Records looked at.
    pub records: u64,
    /// Records removed because a later one has their key.
    pub outdated_removed: u64,
    /// Tombstones removed because their time was up.
    pub tombstones_removed: u64,
    /// Records removed because they have no key.
    pub keyless_removed: u64,
    /// Records removed because their transaction was aborted.
    pub aborted_removed: u64,
    /// Transaction markers removed.
    pub markers_removed: u64,
    /// Batches left as they are because their records could not be read.
    pub unreadable_batches: u64,
    /// Whether some segments were left because others removed or cut them meanwhile.
    pub overtaken: bool,
}

/// The last batch of each producer among what is being compacted.
struct Lasts {
    /// Where the log is dirty from: only what lies there is in the map.
    from: Offset,
    /// What begins at or above may be cut off.
    replicated: Offset,
    /// The last offset of that batch. No more producers than the log's state holds, and those that
    /// have expired since.
    last_offsets: BTreeMap<ProducerId, i64>,
}

impl Lasts {
    /// Notes a batch of records; it follows those noted before.
    fn note(&mut self, header: &BatchHeader) {
        if header.producer_id.is_some() && header.base_offset >= self.from.value() {
            self.last_offsets.insert(header.producer_id, header.last_offset());
        }
    }

    /// Whether no later batch of its producer was noted. Of what was clean before, only such batches
    /// are without records.
    fn is_last(&self, header: &BatchHeader) -> bool {
        let noted = self.last_offsets.get(&header.producer_id);
        noted.is_none_or(|last| *last == header.last_offset())
    }
}

/// Why a compaction ends early.
enum Halted {
    Failed(CompactError),
    /// Others removed or cut what it was about to read.
    Overtaken,
}

impl From<MaintainError> for Halted {
    fn from(error: MaintainError) -> Self {
        Self::Failed(error.into())
    }
}

/// Ends when the compaction does, however it does.
struct Running<I: Io>(Rc<Inner<I>>);

impl<I: Io> Running<I> {
    fn begin(inner: &Rc<Inner<I>>) -> Option<Self> {
        let mut state = inner.state.borrow_mut();
        (!std::mem::replace(&mut state.cleaner.running, true)).then(|| Self(Rc::clone(inner)))
    }
}

impl<I: Io> Drop for Running<I> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().cleaner.running = false;
    }
}

impl<I: Io> Log<I> {
    /// Compacts the log's sealed segments below `up_to` (the high watermark), if they are dirty
    /// enough; see the [module](crate::compaction). Otherwise, or if nothing is left to do, the
    /// report says that the log is clean to where it was.
    ///
    /// After `Ok` what the report says is durable. After `Err`, or when dropped in the middle, the
    /// segments that were replaced by then are, and the log counts as dirty from where it did.
    /// Readers and appenders go on meanwhile. Costs a read of the dirty segments, and a read and a
    /// write of all that lie below, at the pace of `settings`; memory for the key map and for one
    /// batch, unpacked.
    ///
    /// # Errors
    ///
    /// [`CompactError`].
    pub async fn compact(
        &self,
        settings: &CompactionSettings,
        up_to: Offset,
        codec: &dyn BatchCodec,
    ) -> Result<CompactionReport, CompactError> {
        let inner = &self.inner;
        let Some(_running) = Running::begin(inner) else { return Err(CompactError::Running) };
        // Whoever closes the log waits for this.
        let _cleaning = inner.cleaning.enter().await;
        if inner.state.borrow().cleaner.stopping {
            return Err(MaintainError::Closed.into());
        }
        inner.state.borrow().writable().map_err(MaintainError::from)?;
        // A transaction has ended only once a loss of power cannot take its marker: of a relaxed log
        // that is sooner written than synced.
        let up_to = up_to.min(inner.state.borrow().tail.stable());
        let dirtiness = self.dirtiness(settings, up_to).await?;
        let from = dirtiness.first_dirty;
        let mut report =
            CompactionReport { dirty_from: from, clean_to: from, ..Default::default() };
        if !dirtiness.is_due(settings) {
            return Ok(report);
        }
        let truncations = inner.state.borrow().truncations;
        let mut plan = inner.plan(dirtiness.cleanable_end);
        plan.replicated = up_to;
        let end = match self.walk_twice(&plan, settings, codec, truncations, &mut report).await {
            Ok(end) => end,
            Err(Halted::Failed(error)) => return Err(error),
            Err(Halted::Overtaken) => {
                report.overtaken = true;
                return Ok(report);
            }
        };
        // What was cut meanwhile has lowered the checkpoint, and stays dirty.
        let _turn = inner.turnstile.enter().await;
        inner.state.borrow().writable().map_err(MaintainError::from)?;
        if inner.state.borrow().truncations == truncations {
            inner.set_first_dirty(end).await.map_err(MaintainError::from)?;
            report.clean_to = end;
        }
        Ok(report)
    }

    /// Both walks. Gives the offset up to which the log is clean now.
    async fn walk_twice(
        &self,
        plan: &Plan,
        settings: &CompactionSettings,
        codec: &dyn BatchCodec,
        truncations: u64,
        report: &mut CompactionReport,
    ) -> Result<Offset, Halted> {
        let inner = &self.inner;
        let from = report.dirty_from;
        let mut pace = Pace::new(inner, settings);
        let mut lasts = Lasts { from, replicated: plan.replicated, last_offsets: BTreeMap::new() };
        let noted = self.note_keys(plan, settings, codec, &mut pace, &mut lasts, report).await?;
        let (map, end) = noted;
        report.keys = map.len();
        let now = inner.shard.io().now();
        let mut retain = Retain::new(&map, end, codec, now, settings);
        let segment_bytes = inner.settings.borrow().segment_bytes;
        if planted::active(Bug::CompactCheckpointsFirst) {
            inner.set_first_dirty(end).await.map_err(MaintainError::from)?;
        }
        for group in plan.groups(end, segment_bytes) {
            let is_clean =
                self.clean(&group, truncations, &mut retain, &lasts, &mut pace, report).await?;
            if !is_clean && !planted::active(Bug::CompactPassesOverOvertaken) {
                // From here on, everything is as dirty as it was. Nor may what follows be cleaned:
                // a tombstone must not go before what it deletes.
                report.overtaken = true;
                let base = group.first().map_or(end, |first| first.base);
                return Ok(base.min(end).max(from));
            }
        }
        Ok(end)
    }

    /// The first walk: the last offset of each key from `from` on, and up to where that is known.
    async fn note_keys(
        &self,
        plan: &Plan,
        settings: &CompactionSettings,
        codec: &dyn BatchCodec,
        pace: &mut Pace<I>,
        lasts: &mut Lasts,
        report: &mut CompactionReport,
    ) -> Result<(KeyMap, Offset), Halted> {
        let from = lasts.from;
        let shard = &self.inner.shard;
        let seeds = [shard.io().random(), shard.io().random()];
        // Since the log was found dirty, all that was may be gone.
        let end = plan.end().filter(|end| *end > from).ok_or(Halted::Overtaken)?;
        let mut map = KeyMap::new(settings.key_map_bytes, end.since(from), seeds);
        let mut transactions = Transactions::default();
        let mut unpacked = Vec::new();
        for segment in plan.dirty(from) {
            transactions.expect(self.aborted_in(segment.base, segment.end).await?);
            let mut source = self.source(segment).await?;
            while let Some(header) = self.excuse(segment, source.next(pace).await)? {
                pace.work(crate::batch::HEADER_BYTES).await;
                if header.attributes.is_control() {
                    transactions.is_useless(&header, Marker::read(source.batch()));
                    continue;
                }
                lasts.note(&header);
                if transactions.is_aborted(&header) && !planted::active(Bug::CompactNotesAborted) {
                    continue;
                }
                let records = retain::records_of(&header, source.batch(), codec, &mut unpacked);
                let Some(records) = records else { continue };
                for record in retain::iterate(&header, records) {
                    // What cannot be read stays; the second walk counts it.
                    let Ok(record) = record else { break };
                    pace.work(record.bytes()).await;
                    let offset = retain::offset_of(&header, &record).filter(|at| *at >= from);
                    if let (Some(key), Some(offset)) = (record.key, offset)
                        && !map.put(key, offset)
                        && !planted::active(Bug::CompactPastFullMap)
                    {
                        report.key_map_full = true;
                        return Ok((map, offset));
                    }
                }
            }
        }
        Ok((map, end))
    }

    /// The second walk, over one group of segments, which become one. `false` if they are left as
    /// they are because others removed or cut some of them meanwhile.
    async fn clean(
        &self,
        group: &[Segment],
        truncations: u64,
        retain: &mut Retain<'_>,
        lasts: &Lasts,
        pace: &mut Pace<I>,
        report: &mut CompactionReport,
    ) -> Result<bool, Halted> {
        let inner = &self.inner;
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(true) };
        retain.transactions.expect(self.aborted_in(first.base, last.end).await?);
        retain.pinned = Pinned::default();
        let interval = inner.settings.borrow().index_interval_bytes;
        let created = Cleaned::create(&inner.shard, &inner.dir, first.base, interval).await;
        let mut cleaned = created.map_err(MaintainError::from)?;
        let filled = self.fill(&mut cleaned, group, retain, lasts, pace, report).await;
        if let Err(error) = filled {
            cleaned.discard().await;
            return Err(error);
        }
        if group.len() == 1 && !cleaned.changed {
            cleaned.discard().await;
            return Ok(true);
        }
        let bytes: u64 = group.iter().map(|segment| segment.size).sum();
        let new_bytes = cleaned.summary.size;
        let is_swapped = inner.swap(group, cleaned, truncations).await?;
        if is_swapped {
            report.segments.0 += group.len();
            report.segments.1 += 1;
            report.bytes.0 += bytes;
            report.bytes.1 += new_bytes;
        }
        Ok(is_swapped)
    }

    /// Writes what stays of a group into `cleaned`.
    async fn fill(
        &self,
        cleaned: &mut Cleaned<I>,
        group: &[Segment],
        retain: &mut Retain<'_>,
        lasts: &Lasts,
        pace: &mut Pace<I>,
        report: &mut CompactionReport,
    ) -> Result<(), Halted> {
        let mut left: u64 = group.iter().map(|segment| segment.size).sum();
        for segment in group {
            let mut source = self.source(segment).await?;
            while let Some(header) = self.excuse(segment, source.next(pace).await)? {
                let batch = source.batch();
                // Whatever grows, the rest still fits into the segment.
                let room = crate::limits::SEGMENT_BYTES_MAX.saturating_sub(cleaned.size() + left);
                left -= batch.len() as u64;
                let is_last = self.inner.is_producers_last(&header, lasts)
                    && !planted::active(Bug::CompactForgetsProducers);
                if header.attributes.is_control() && !retain.pinned.is_loaded() {
                    let base = group.first().map_or(segment.base, |first| first.base);
                    retain.pinned.load(self.inner.open_before(base).await?);
                }
                let verdict = retain.judge(&header, batch, is_last, room, pace, report).await;
                let added = match verdict {
                    Verdict::Keep => cleaned.add(&header, batch, pace).await,
                    Verdict::Rewrite(new) => {
                        cleaned.changed = true;
                        match BatchHeader::read(&new) {
                            Some(header) => cleaned.add(&header, &new, pace).await,
                            None => Ok(()),
                        }
                    }
                    Verdict::LeaveOut => {
                        cleaned.leave_out(&header);
                        Ok(())
                    }
                };
                added.map_err(MaintainError::from)?;
            }
        }
        cleaned.aborted = retain.transactions.take_seen();
        if planted::active(Bug::CompactForgetsAborted) {
            cleaned.aborted.clear();
        }
        cleaned.finish(pace).await.map_err(MaintainError::from)?;
        Ok(())
    }

    async fn source(&self, segment: &Segment) -> Result<Source<I>, Halted> {
        let (shard, dir) = (&self.inner.shard, &self.inner.dir);
        let source = Source::open(shard, dir, segment.base, segment.size).await;
        self.excuse(segment, source.map_err(MaintainError::from))
    }

    /// A segment that others have removed or cut meanwhile may be hard to read.
    fn excuse<T>(&self, segment: &Segment, read: Result<T, MaintainError>) -> Result<T, Halted> {
        read.map_err(
            |error| {
                if self.inner.holds(segment) { error.into() } else { Halted::Overtaken }
            },
        )
    }

    async fn aborted_in(
        &self,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<crate::producer::AbortedTransaction>, Halted> {
        Ok(self.aborted_transactions(from, to).await.map_err(MaintainError::from)?)
    }
}

impl<I: Io> Inner<I> {
    /// Ends the compaction under way, if one is, and keeps others from beginning. To be held until
    /// the log is closed.
    pub(crate) async fn stop_cleaning(&self) -> Turn {
        self.state.borrow_mut().cleaner.stopping = true;
        self.cleaning.enter().await
    }

    /// The producers whose transactions the newest snapshot at or below `base` says are open there.
    async fn open_before(&self, base: Offset) -> Result<BTreeSet<ProducerId>, MaintainError> {
        if planted::active(Bug::CompactForgetsSnapshots) {
            return Ok(BTreeSet::new());
        }
        let (shard, dir) = (&self.shard, &self.dir);
        let listed = shard.io().list_dir(dir).await;
        let listed = listed.map_err(IoFailure::of(Operation::List, dir))?;
        let parsed = listed.iter().filter_map(|entry| Kind::parse(&entry.name));
        let mut snapshots: Vec<Offset> =
            parsed.filter(|(kind, _)| *kind == Kind::Snapshot).map(|(_, offset)| offset).collect();
        snapshots.sort_unstable();
        let (producers, _) = newest_snapshot(shard, dir, &snapshots, base).await?;
        Ok(producers.in_transaction().collect())
    }

    /// Whether the batch is the last that is known of a producer that is still active, or may become
    /// that when what is not replicated is cut off.
    fn is_producers_last(&self, header: &BatchHeader, lasts: &Lasts) -> bool {
        if !header.producer_id.is_some() {
            return false;
        }
        let expiry = self.settings.borrow().producer_expiry;
        let now = self.shard.io().now();
        let state = self.state.borrow();
        let Some(producer) = state.producers.state(header.producer_id, now, expiry) else {
            return false;
        };
        let may_return = || !header.attributes.is_control() && lasts.is_last(header);
        match producer.last_batch() {
            Some(last) if last.last_offset >= lasts.replicated => may_return(),
            Some(last) => last.last_offset.value() == header.last_offset(),
            None if header.attributes.is_control() => header.producer_epoch == producer.epoch,
            None => may_return(),
        }
    }
}
