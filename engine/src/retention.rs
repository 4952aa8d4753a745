//! Letting go of the oldest segments.

use crate::batch::HEADER_BYTES;
use crate::error::MaintainError;
use crate::io::{Io, Rare};
use crate::log::{Inner, Log, LogOffsets};
use crate::manifest::Manifest;
use crate::offset::{Offset, Timestamp};
use crate::planted::{self, Bug};
use crate::segment::name::Kind;
use crate::small_file;

/// Files that a segment may have.
const FILES_A_SEGMENT: usize = 5;

/// What a retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionReport {
    /// Segments removed.
    pub segments: usize,
    /// Bytes of batches removed.
    pub bytes: u64,
    /// Where the log starts now.
    pub start: Offset,
}

impl<I: Io> Log<I> {
    /// Moves the log's start up to `start`, for good, and removes the segments that lie wholly
    /// below it. Does nothing if the log starts there or later.
    ///
    /// # Errors
    ///
    /// [`MaintainError::OutOfRange`] above the durable end; others leave the log as it was, or
    /// with files that the next call or open removes.
    pub async fn delete_before(&self, start: Offset) -> Result<RetentionReport, MaintainError> {
        let _turn = self.inner.turnstile.enter().await;
        self.inner.state.borrow().writable()?;
        let offsets = self.offsets();
        if start > offsets.durable {
            let end = offsets.durable;
            return Err(MaintainError::OutOfRange { offset: start, start: offsets.start, end });
        }
        self.inner.move_start(start).await
    }

    /// Removes the oldest segments as far as the settings' age and size say, but none that holds
    /// offsets of `up_to` (the high watermark) or later. If everything in the active segment has
    /// expired, that is sealed first and goes too.
    ///
    /// # Errors
    ///
    /// As [`Log::delete_before`].
    pub async fn apply_retention(
        &self,
        now: Timestamp,
        up_to: Offset,
    ) -> Result<RetentionReport, MaintainError> {
        let _turn = self.inner.turnstile.enter().await;
        let inner = &self.inner;
        inner.state.borrow().writable()?;
        let settings = self.settings();
        let expiry = settings.retention_age_max.map(|age| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(now.millis().saturating_sub(age))
        });
        if let Some(before) = expiry
            && inner.everything_expired(before, up_to)
        {
            inner.seal().await?;
        }
        let start = {
            let state = inner.state.borrow();
            let mut start = state.offsets.start;
            let mut bytes: u64 = state.sealed.iter().map(|segment| segment.size).sum();
            bytes += state.active.summary.size;
            for segment in state.sealed.iter().take_while(|segment| segment.end <= up_to) {
                // One batch without records is what compaction leaves where nothing stays.
                let is_empty = segment.size == HEADER_BYTES as u64;
                let expired = expiry.is_some_and(|before| {
                    is_empty || segment.latest().is_some_and(|(latest, _)| latest < before)
                });
                let too_many = settings.retention_bytes.is_some_and(|kept| {
                    bytes.saturating_sub(segment.size) >= kept
                        || bytes >= kept && planted::active(Bug::RetainOneTooFew)
                });
                if !expired && !too_many {
                    break;
                }
                bytes -= segment.size;
                start = start.max(segment.end);
            }
            start
        };
        inner.move_start(start).await
    }
}

impl<I: Io> Inner<I> {
    /// Whether all segments, the active one included, hold nothing as late as `before` and
    /// nothing at `up_to` or later.
    fn everything_expired(&self, before: Timestamp, up_to: Offset) -> bool {
        let state = self.state.borrow();
        let summary = &state.active.summary;
        let active = summary.latest.is_some_and(|(latest, _)| latest < before);
        active
            && summary.size > 0
            && state.offsets.end <= up_to
            && state
                .sealed
                .iter()
                .all(|segment| segment.latest().is_some_and(|(latest, _)| latest < before))
    }

    /// The caller has the turn. First the new start is made durable, then files go, so that a
    /// crash leaves at most files that the next open removes.
    async fn move_start(&self, start: Offset) -> Result<RetentionReport, MaintainError> {
        let (old, manifest) = {
            let state = self.state.borrow();
            (state.offsets.start, state.manifest)
        };
        if start > old {
            let manifest = Manifest { start, ..manifest };
            if !planted::active(Bug::RetainWithoutManifest) {
                self.save_manifest(manifest).await?;
            }
            let mut state = self.state.borrow_mut();
            state.changed = true;
            state.epochs.cut_before(start);
            let offsets = LogOffsets { start, ..state.offsets };
            self.set_offsets(&mut state, offsets);
        }
        let mut report = RetentionReport { start: start.max(old), ..Default::default() };
        let mut names = Vec::new();
        let is_emptied = {
            let mut state = self.state.borrow_mut();
            let start = state.offsets.start;
            while let Some(segment) = state.sealed.pop_front_if(|segment| segment.end <= start) {
                self.forget_segment(segment.base);
                report.segments += 1;
                report.bytes += segment.size;
                state.aborted.remove([segment.base]);
                // The log file first: as long as it is there, so is what belongs to it.
                let files: [String; FILES_A_SEGMENT] = [
                    Kind::Log.name(segment.base),
                    Kind::Index.name(segment.base),
                    Kind::TimeIndex.name(segment.base),
                    Kind::TxnIndex.name(segment.base),
                    Kind::Snapshot.name(segment.base),
                ];
                names.extend(files);
            }
            if report.segments > 0 {
                state.layout += 1;
            }
            report.segments > 0 && state.sealed.is_empty() && !state.active.has_file()
        };
        self.shard.cache().cut_before(&self.chunks, report.start);
        if is_emptied {
            self.shard.io().reached(Rare::EmptiedByRetention);
            // No later segment tells the journal's redo that these are gone on purpose.
            if !planted::active(Bug::EmptyWithoutSettling) {
                self.leave_journal().await?;
            }
        }
        if is_emptied {
            // Only the last one that stays tells the next open where the log ends: it must not go
            // before the others have.
            let last = names.split_off(names.len().saturating_sub(FILES_A_SEGMENT));
            small_file::remove_all(&self.shard, &self.dir, names).await?;
            names = last;
        }
        small_file::remove_all(&self.shard, &self.dir, names).await?;
        Ok(report)
    }
}
