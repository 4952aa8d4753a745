//! Cutting a log's end, as a follower does that was ahead of its new leader.
//!
//! The order makes every crash in between leave a log whose end lies between the old one and the
//! new one: the manifest's clean mark and the checkpoint go first, which vouch for an end that is
//! about to go, then whole segments, newest first, then the end of the one that is cut.

use crate::batch::BatchHeader;
use crate::error::{IoFailure, MaintainError, Operation};
use crate::io::{File, Io, OpenMode, Rare};
use crate::log::epochs;
use crate::log::tail::Tail;
use crate::log::{Inner, Log, LogOffsets};
use crate::manifest::Manifest;
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::producer::{AbortedTransaction, Producers};
use crate::recovery::{newest_snapshot, walk};
use crate::segment::active::{Active, Summary};
use crate::segment::name::Kind;
use crate::segment::store;
use crate::small_file;

impl<I: Io> Log<I> {
    /// Removes everything from `end` on, and the whole batch that holds `end` if it begins
    /// earlier. Gives the log's new end, at or below `end`. Does nothing if the log ends there or
    /// earlier.
    ///
    /// If the batch that holds `end` also holds the log's start, the start falls to that batch's
    /// base, and the log is empty.
    ///
    /// After `Ok` the cut is durable. A crash in the middle leaves the log between its old length
    /// and the new one. Costs a scan of the segment that is cut.
    ///
    /// # Errors
    ///
    /// [`MaintainError::OutOfRange`] below the log's start, and [`MaintainError::DiskFull`]: the
    /// log is as before. Others leave it read-only, somewhere between the old end and the new.
    pub async fn truncate(&self, end: Offset) -> Result<Offset, MaintainError> {
        let _maintenance = self.inner.maintenance.enter().await;
        let _turn = self.inner.turnstile.enter().await;
        self.inner.state.borrow().writable()?;
        let offsets = self.offsets();
        if end >= offsets.end {
            return Ok(offsets.end);
        }
        if end < offsets.start {
            let (start, log_end) = (offsets.start, offsets.end);
            return Err(MaintainError::OutOfRange { offset: end, start, end: log_end });
        }
        self.inner.settle().await?;
        let first = self.read(end, self.offsets().durable, 1, true).await?.to_vec();
        let base = BatchHeader::read(&first).and_then(|header| Offset::new(header.base_offset));
        self.inner.prepare_manifest(base.unwrap_or(end)).await?;
        self.inner.remove_checkpoint().await?;
        let cut = self.inner.cut_to(end).await;
        // In between, memory and disk differ; the next open puts that right.
        let cut = cut.map_err(|error| match error {
            MaintainError::Io(failure) | MaintainError::DiskFull(failure) => {
                self.inner.fail(failure).into()
            }
            other => {
                let damaged = std::io::ErrorKind::InvalidData.into();
                self.inner.fail(IoFailure::of(Operation::Cut, &self.inner.dir)(damaged));
                other
            }
        })?;
        // The old checkpoint is gone.
        crate::checkpoint::start_if_due(&self.inner);
        Ok(cut)
    }
}

impl<I: Io> Inner<I> {
    /// Removes the clean mark, which vouches for an end that is about to go, and keeps the start
    /// at or below the new end.
    async fn prepare_manifest(&self, end: Offset) -> Result<(), MaintainError> {
        self.lower_first_dirty(end).await?;
        let (old, is_unsure) = {
            let state = self.state.borrow();
            (state.manifest, state.is_manifest_unsure)
        };
        let clean = old.clean.filter(|_| planted::active(Bug::TruncateKeepsCleanMark));
        let manifest = Manifest { start: old.start.min(end), clean };
        if manifest != old || is_unsure {
            self.save_manifest(manifest).await?;
        } else {
            // A truncation that a killed process had begun has left it so, perhaps in the kernel's
            // hands only.
            small_file::sync_dir(&self.shard, &self.dir).await?;
        }
        Ok(())
    }

    /// The caller has the turn, and everything is written.
    async fn cut_to(&self, end: Offset) -> Result<Offset, MaintainError> {
        // Readers first: from here on nobody looks at what goes.
        self.move_end(end);
        self.remove_segments_after(end).await?;
        let base = self.state.borrow().active.summary.base;
        let (mut producers, known_to) = self.producers_at(base).await?;
        let mut aborted = Vec::new();
        let active = self.cut_last(end, known_to, &mut producers, &mut aborted).await?;
        let end = active.summary.end;
        let encoded = {
            let mut state = self.state.borrow_mut();
            state.active = active;
            if !planted::active(Bug::TruncateKeepsProducers) {
                state.producers = producers;
            }
            state.aborted.cut_to(base, aborted);
            if !planted::active(Bug::TruncateKeepsEpochs) {
                state.epochs.truncate(end);
            }
            state.epochs.encode()
        };
        self.move_end(end);
        small_file::replace(&self.shard, &self.dir, epochs::NAME, &encoded).await?;
        small_file::sync_dir(&self.shard, &self.dir).await?;
        Ok(end)
    }

    fn move_end(&self, end: Offset) {
        let mut state = self.state.borrow_mut();
        state.tail = Tail::at_rest(end, state.active.summary.size);
        state.changed = true;
        state.layout += 1;
        self.forget_from(&state, end);
        state.truncations += 1;
        state.truncated_to = end;
        let start = state.offsets.start.min(end);
        if !planted::active(Bug::TruncateKeepsCache) {
            self.shard.cache().cut(&self.chunks, end);
        }
        self.set_offsets(&mut state, LogOffsets { start, durable: end, written: end, end });
        drop(state);
        // Those who wait for what is gone must not take what comes after for it.
        self.waiting_durable.wake_all();
    }

    /// Removes the segments that begin after `end`, newest first, so that a crash in between leaves
    /// no gap. The last one that stays becomes the active one, to be cut.
    async fn remove_segments_after(&self, end: Offset) -> Result<(), MaintainError> {
        loop {
            let base = self.state.borrow().active.summary.base;
            if base <= end {
                return Ok(());
            }
            self.shard.io().reached(Rare::SegmentsTruncated);
            let names = [Kind::Log, Kind::Index, Kind::TimeIndex, Kind::TxnIndex]
                .map(|kind| kind.name(base));
            small_file::remove_all(&self.shard, &self.dir, names).await?;
            let mut state = self.state.borrow_mut();
            let last = state.sealed.pop_back().expect("the log starts at or before its new end");
            self.forget_segment(base);
            let mut active = Active::new(last.base);
            active.summary.size = last.size;
            active.summary.end = last.end;
            // Its file, if open, is open for reading only.
            state.active = active;
            // All of it is in that file, for those who read meanwhile.
            state.tail = Tail::at_rest(end, last.size);
            state.layout += 1;
        }
    }

    /// The producers as of the newest snapshot at or below `base`, brought forward to `base`, and
    /// where that is. Snapshots above `base` are removed.
    async fn producers_at(&self, base: Offset) -> Result<(Producers, Offset), MaintainError> {
        let (shard, dir) = (&self.shard, &self.dir);
        let listed = shard.io().list_dir(dir).await;
        let listed = listed.map_err(IoFailure::of(Operation::List, dir))?;
        let parsed = listed.iter().filter_map(|entry| Kind::parse(&entry.name));
        let snapshots: Vec<Offset> =
            parsed.filter(|(kind, _)| *kind == Kind::Snapshot).map(|(_, offset)| offset).collect();
        let stale = snapshots.iter().filter(|offset| **offset > base);
        small_file::remove_all(shard, dir, stale.map(|offset| Kind::Snapshot.name(*offset)))
            .await?;
        let (mut producers, from) = newest_snapshot(shard, dir, &snapshots, base).await?;
        // Usually none: there is a snapshot for each segment.
        let between: Vec<(Offset, u64)> = {
            let state = self.state.borrow();
            let since = state.sealed.iter().filter(|segment| segment.end > from);
            since.map(|segment| (segment.base, segment.size)).collect()
        };
        let (now, expiry) = (shard.io().now(), self.settings.borrow().producer_expiry);
        for (base, size) in between {
            let path = Kind::Log.path(dir, base);
            let file = store::open(shard, &path, OpenMode::ReadDirect).await?;
            let interval = self.settings.borrow().index_interval_bytes;
            let from_base = Summary::new(base);
            let walked =
                walk(shard, &path, file, size, from_base, interval, |header, marker, _| {
                    if header.base_offset >= from.value() {
                        producers.appended(header, marker, now, expiry);
                    }
                    true
                })
                .await?;
            if let Some(damage) = walked.damage {
                let position = walked.summary.size;
                return Err(MaintainError::Corrupt { path, position, damage });
            }
        }
        Ok((producers, from.max(base)))
    }

    /// Cuts the last segment behind the last whole batch below `end`.
    async fn cut_last(
        &self,
        end: Offset,
        known_to: Offset,
        producers: &mut Producers,
        aborted: &mut Vec<AbortedTransaction>,
    ) -> Result<Active<I::File>, MaintainError> {
        let (base, size, open) = {
            let state = self.state.borrow();
            let summary: &Summary = &state.active.summary;
            (summary.base, summary.size, state.active.file.clone())
        };
        let mut active = Active::new(base);
        if open.is_none() && size == 0 {
            return Ok(active);
        }
        let shard = &self.shard;
        let path = Kind::Log.path(&self.dir, base);
        let file = match open {
            Some(file) => file,
            None => store::open(shard, &path, OpenMode::WriteDirect).await?,
        };
        let (now, expiry) = (shard.io().now(), self.settings.borrow().producer_expiry);
        let interval = self.settings.borrow().index_interval_bytes;
        let visit = |header: &BatchHeader, marker, _| {
            let kept = header.last_offset() < end.value()
                || header.base_offset < end.value() && planted::active(Bug::TruncateKeepsLastBatch);
            if kept && header.base_offset >= known_to.value() {
                aborted.extend(producers.appended(header, marker, now, expiry));
            }
            kept
        };
        let from = Summary::new(base);
        let walked = walk(shard, &path, file.clone(), size, from, interval, visit).await?;
        if let Some(damage) = walked.damage {
            let position = walked.summary.size;
            return Err(MaintainError::Corrupt { path, position, damage });
        }
        active.summary = walked.summary;
        active.allocated = active.summary.size;
        active.named = true;
        let cut = file.set_length(active.summary.size).await;
        cut.map_err(IoFailure::of(Operation::Cut, &path))?;
        if !planted::active(Bug::TruncateWithoutSync) {
            file.sync().await.map_err(IoFailure::of(Operation::Sync, &path))?;
        }
        active.file = Some(file);
        Ok(active)
    }
}
