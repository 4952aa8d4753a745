//! The last segment at an open: trusted as far as something vouches for it, scanned from there,
//! and cut behind its valid batches.

use std::path::{Path, PathBuf};

use super::{Cut, Recovery, Replay, evidence, read_indexes, rewrite, tear, walk};
use crate::batch::BatchHeader;
use crate::entry::HEADER_BYTES_MAX;
use crate::error::{Damage, IoFailure, OpenError, Operation};
use crate::io::{File, Io, Rare};
use crate::limits::{BLOCK, WRITE_BYTES_IN_FLIGHT_MAX};
use crate::manifest::CleanEnd;
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::segment::active::Summary;
use crate::segment::name::Kind;
use crate::segment::scan::Scanner;
use crate::segment::window::Window;

/// What invalid bytes behind the last valid batch are.
enum Verdict {
    /// No crash can have left them.
    Corrupt(Damage),
    /// A crash may have.
    Torn { damage: Damage, later: Option<i64> },
}

/// Bytes that the writes in flight of a log whose largest batch has `batch_max` bytes may reach.
fn in_flight_max(batch_max: usize) -> u64 {
    WRITE_BYTES_IN_FLIGHT_MAX.max(batch_max.saturating_add(BLOCK)) as u64
}

impl<I: Io> Recovery<'_, I> {
    /// The last segment's summary up to where a clean close left it, without a scan, if everything
    /// that leaves is there.
    pub(super) async fn trust(
        &self,
        clean: CleanEnd,
        file: &I::File,
        replay: &Replay,
    ) -> Result<Option<Summary>, OpenError> {
        let (base, size, end) = (clean.last_base, clean.last_length, clean.end);
        if replay.producers_from != end || replay.epochs_from != end {
            return Ok(None);
        }
        let mut summary = Summary::new(base);
        if size == 0 {
            return Ok((end == base).then_some(summary));
        }
        let read = read_indexes(self.shard, self.dir, base, size, end).await?;
        let checked = read.filter(|(_, sum)| Some(*sum) == clean.indexes);
        let Some((indexes, _)) = checked else { return Ok(None) };
        let path = Kind::Log.path(self.dir, base);
        let mut window = Window::new(self.shard, file.clone());
        let loaded = window.load(0, HEADER_BYTES_MAX, HEADER_BYTES_MAX).await;
        loaded.map_err(IoFailure::of(Operation::Read, &path))?;
        let first = BatchHeader::read(window.from(0));
        let Some(first) = first.filter(|first| first.base_offset == base.value()) else {
            return Ok(None);
        };
        summary.restore(indexes, first.max_timestamp, size, end);
        Ok(Some(summary))
    }

    /// Whether the segment is the one that a checkpoint is of: whether the batch of its last index
    /// entry begins where that says. Else the segment is scanned whole, which finds out why.
    pub(super) async fn fits(&self, summary: &Summary, file: &I::File) -> Result<bool, OpenError> {
        let Some(entry) = summary.offsets.last() else { return Ok(true) };
        let path = Kind::Log.path(self.dir, summary.base);
        let mut window = Window::new(self.shard, file.clone());
        let position = u64::from(entry.position);
        let loaded = window.load(position, HEADER_BYTES_MAX, HEADER_BYTES_MAX).await;
        loaded.map_err(IoFailure::of(Operation::Read, &path))?;
        let last_offset = summary.base.plus(entry.relative).value();
        let header = BatchHeader::read(window.from(position));
        Ok(header.is_some_and(|header| header.last_offset() == last_offset))
    }

    /// Scans the last segment from where `known` ends, and cuts it behind its valid batches. Gives
    /// its summary and the length its file has then.
    pub(super) async fn scan_last(
        &mut self,
        path: &Path,
        file: I::File,
        length: u64,
        known: Summary,
        replay: &mut Replay,
    ) -> Result<(Summary, u64), OpenError> {
        let (base, from) = (known.base, known.size);
        let interval = self.settings.index_interval_bytes;
        let (now, expiry) = (self.shard.io().now(), self.settings.producer_expiry);
        let visit = |header: &BatchHeader, marker, _| {
            replay.add(header, marker, now, expiry);
            true
        };
        let mut walked =
            walk(self.shard, path, file.clone(), length, known, interval, visit).await?;
        let (position, end) = (walked.summary.size, walked.summary.end);
        self.report.scanned_bytes += position - from;
        let corrupt = |damage| OpenError::Corrupt { path: path.to_owned(), position, damage };
        if let Some(expected) = self.lost(end) {
            self.shard.io().reached(Rare::TailMissing);
            let early = Damage::EndsEarly { expected, found: end };
            return Err(corrupt(walked.damage.unwrap_or(early)));
        }
        let start = self.manifest.start;
        if start > end && self.is_strict() {
            let early = Damage::EndsEarly { expected: start, found: end };
            return Err(corrupt(walked.damage.unwrap_or(early)));
        }
        let largest = usize::try_from(walked.summary.largest).unwrap_or(usize::MAX);
        let in_flight = in_flight_max(largest.max(self.settings.batch_bytes_max));
        let mut keep = length;
        if let Some(damage) = walked.damage {
            let content_end = walked.scanner.content_end().await;
            let content_end = content_end.map_err(IoFailure::of(Operation::Read, path))?;
            if content_end > position {
                let scanner = &mut walked.scanner;
                let judged = self.judge(scanner, in_flight, damage).await;
                let (damage, later) = match judged.map_err(IoFailure::of(Operation::Read, path))? {
                    Verdict::Corrupt(damage) => {
                        self.shard.io().reached(Rare::TailRotten);
                        return Err(corrupt(damage));
                    }
                    Verdict::Torn { damage, later } => (damage, later),
                };
                self.shard.io().reached(Rare::TailCut);
                if later.is_some() {
                    self.shard.io().reached(Rare::BatchBehindTorn);
                }
                let saved = self.save_and_cut(path, &file, length, base, scanner, content_end);
                let saved = saved.await?;
                keep = position;
                let (path, bytes) = (path.to_owned(), length - position);
                self.report.cut = Some(Cut { path, position, bytes, damage, later, saved });
            }
        }
        if position > from && !planted::active(Bug::BelieveFailedSync) {
            walked.scanner.release();
            let reach = if self.is_strict() { in_flight } else { u64::MAX };
            let range = from.max(position.saturating_sub(reach))..position;
            self.report.rewritten_bytes += range.end - range.start;
            let reached = rewrite::rewrite(self.shard, path, &file, range).await?;
            keep = keep.max(reached);
        }
        if !planted::active(Bug::RecoverWithoutSync) {
            // What a killed process wrote, or cut off, may not have reached the disk yet. The
            // file's name has: a segment has no batch before that is durable.
            file.sync().await.map_err(IoFailure::of(Operation::Sync, path))?;
        }
        Ok((walked.summary, keep))
    }

    /// Whether a crash can have left what stands at the scanner's position: see the module's
    /// documentation.
    async fn judge(
        &self,
        scanner: &mut Scanner<I>,
        in_flight: u64,
        damage: Damage,
    ) -> std::io::Result<Verdict> {
        let position = scanner.position();
        let later = scanner.find_later(position + 1).await?;
        if self.is_strict() {
            let window_end = position + in_flight;
            let beyond = match later {
                Some((_, at)) if at < window_end => scanner.find_later(window_end).await?,
                other => other,
            };
            if let Some((offset, position)) = beyond {
                return Ok(Verdict::Corrupt(Damage::InTheMiddle { offset, position }));
            }
        }
        if tear::is_rotten(scanner, later.map(|(_, at)| at)).await? {
            return Ok(Verdict::Corrupt(damage));
        }
        Ok(Verdict::Torn { damage, later: later.map(|(offset, _)| offset) })
    }

    /// Cuts a segment at the scanner's position, after what goes is safe in a file of its own,
    /// whose path this gives. The cut is durable with the next sync.
    async fn save_and_cut(
        &self,
        path: &Path,
        file: &I::File,
        length: u64,
        base: Offset,
        scanner: &mut Scanner<I>,
        content_end: u64,
    ) -> Result<PathBuf, IoFailure> {
        let position = scanner.position();
        if content_end < length {
            // Reserved space goes first, so that there is room on a full disk.
            let cut = file.set_length(content_end).await;
            cut.map_err(IoFailure::of(Operation::Cut, path))?;
        }
        let saved =
            evidence::save(self.shard, self.dir, base, scanner, content_end, &self.evidence);
        let saved = saved.await?;
        let too_much = u64::from(planted::active(Bug::CutOneBatchTooMuch)).min(position);
        let cut = file.set_length(position - too_much).await;
        cut.map_err(IoFailure::of(Operation::Cut, path))?;
        Ok(saved)
    }
}
