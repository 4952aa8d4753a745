//! Reads a sealed segment's batches one by one, past the page cache.

use std::path::{Path, PathBuf};

use super::pace::Pace;
use crate::batch::{BatchHeader, checksum};
use crate::entry::{HEADER_BYTES_MAX, HEADER_BYTES_MIN};
use crate::error::{Damage, IoFailure, MaintainError, Operation};
use crate::io::{File, Io, OpenMode};
use crate::limits::{BLOCK, COMPACTION_IO_BYTES};
use crate::offset::Offset;
use crate::segment::name::Kind;
use crate::segment::scan::plausible;
use crate::shard::Shard;

/// A walk through one segment. What was read is copied out of the shard's buffer at once, so that
/// none is held while the compaction rests or waits for another one.
pub(super) struct Source<I: Io> {
    shard: Shard<I>,
    file: I::File,
    path: PathBuf,
    size: u64,
    /// Where the next batch begins, and with which offset.
    position: u64,
    expected: Offset,
    /// Bytes of the file from `held_from` on.
    held: Vec<u8>,
    held_from: u64,
    /// Where the current batch stands in `held`.
    current: std::ops::Range<usize>,
}

impl<I: Io> Source<I> {
    pub(super) async fn open(
        shard: &Shard<I>,
        dir: &Path,
        base: Offset,
        size: u64,
    ) -> Result<Self, IoFailure> {
        let path = Kind::Log.path(dir, base);
        let file = shard.io().open(&path, OpenMode::ReadDirect).await;
        let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
        Ok(Self {
            shard: shard.clone(),
            file,
            path,
            size,
            position: 0,
            expected: base,
            held: Vec::new(),
            held_from: 0,
            current: 0..0,
        })
    }

    /// The next batch's header; its bytes are [`Source::batch`] until the next call. `None` at the
    /// end. Checked: damage is an error.
    pub(super) async fn next(
        &mut self,
        pace: &mut Pace<I>,
    ) -> Result<Option<BatchHeader>, MaintainError> {
        if pace.must_stop() {
            return Err(MaintainError::Closed);
        }
        let position = self.position;
        if position == self.size {
            return Ok(None);
        }
        let corrupt = |path: &Path, damage| {
            let path = path.to_owned();
            MaintainError::Corrupt { path, position, damage }
        };
        let available = self.size - position;
        self.hold(HEADER_BYTES_MAX, pace).await?;
        let needed = HEADER_BYTES_MIN as u64;
        let header = BatchHeader::read(self.rest())
            .ok_or_else(|| corrupt(&self.path, Damage::Incomplete { needed, available }))?;
        let total = plausible(&header, available).map_err(|damage| corrupt(&self.path, damage))?;
        self.hold(total, pace).await?;
        let Some(bytes) = self.rest().get(..total) else {
            let damage = Damage::Incomplete { needed: total as u64, available };
            return Err(corrupt(&self.path, damage));
        };
        let (stated, actual) = (header.checksum, checksum(bytes));
        if stated != actual {
            return Err(corrupt(&self.path, Damage::Checksum { stated, actual }));
        }
        let (expected, found) = (self.expected, header.base_offset);
        let end = header.end_offset().filter(|_| found == expected.value());
        let gap = || corrupt(&self.path, Damage::OffsetGap { expected, found });
        self.expected = end.ok_or_else(gap)?;
        let start = self.index();
        self.current = start..start + total;
        self.position += total as u64;
        Ok(Some(header))
    }

    /// The whole batch that [`Source::next`] gave last.
    pub(super) fn batch(&self) -> &[u8] {
        self.held.get(self.current.clone()).unwrap_or_default()
    }

    fn index(&self) -> usize {
        usize::try_from(self.position - self.held_from).unwrap_or(usize::MAX)
    }

    fn rest(&self) -> &[u8] {
        self.held.get(self.index()..).unwrap_or_default()
    }

    /// Reads until `needed` bytes from the position on are held, or the file ends.
    async fn hold(&mut self, needed: usize, pace: &mut Pace<I>) -> Result<(), IoFailure> {
        if self.rest().len() >= needed {
            return Ok(());
        }
        let done = self.index().min(self.held.len());
        self.held.drain(..done);
        self.held_from = self.position;
        while self.held.len() < needed {
            let at = self.held_from + self.held.len() as u64;
            let skip = usize::try_from(at % BLOCK as u64).unwrap_or(0);
            let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX / 2);
            let wanted = (skip + left).next_multiple_of(BLOCK).min(COMPACTION_IO_BYTES);
            let (shard, file) = (&self.shard, &self.file);
            let read = async {
                let buffer = shard.acquire(wanted).await;
                file.read_at(buffer, at - skip as u64).await
            };
            let (result, buffer) = pace.transfer(wanted, read).await;
            result.map_err(IoFailure::of(Operation::Read, &self.path))?;
            let bytes = buffer.get(skip..).unwrap_or_default();
            let bytes = bytes.get(..left.min(bytes.len())).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            self.held.extend_from_slice(bytes);
        }
        Ok(())
    }
}
