//! Writes what is left of one or more segments into a new one.

use std::path::{Path, PathBuf};

use super::pace::Pace;
use super::swap;
use crate::batch::{BatchHeader, HEADER_BYTES, rewrite};
use crate::epoch::LeaderEpoch;
use crate::error::{IoFailure, Operation};
use crate::io::{Durability, File, Io, OpenMode};
use crate::limits::{BLOCK, COMPACTION_IO_BYTES};
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::producer::AbortedTransaction;
use crate::producer::aborted;
use crate::segment::active::Summary;
use crate::segment::name::Kind;
use crate::segment::sealed::IndexSum;
use crate::shard::Shard;

/// A segment that compaction is writing, under names that nobody reads.
pub(super) struct Cleaned<I: Io> {
    shard: Shard<I>,
    dir: PathBuf,
    path: PathBuf,
    file: I::File,
    pub(super) summary: Summary,
    index_interval: u64,
    /// Bytes that are not written yet; they begin at the block `written`.
    unwritten: Vec<u8>,
    written: u64,
    /// Offsets whose records are gone, and that no batch covers yet.
    gone: Option<Gone>,
    pub(super) aborted: Vec<AbortedTransaction>,
    /// What the index files hold, once they are written.
    pub(super) indexes: Option<IndexSum>,
    /// Whether anything is other than it was, apart from where segments begin.
    pub(super) changed: bool,
}

/// Neighbouring offsets without records.
struct Gone {
    base: Offset,
    end: Offset,
    epoch: LeaderEpoch,
}

impl<I: Io> Cleaned<I> {
    /// Begins a segment at `base`. What an earlier try left is overwritten.
    pub(super) async fn create(
        shard: &Shard<I>,
        dir: &Path,
        base: Offset,
        index_interval: u64,
    ) -> Result<Self, IoFailure> {
        let path = dir.join(swap::cleaned_name(Kind::Log, base));
        match shard.io().remove_file(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(IoFailure::of(Operation::Remove, &path)(error));
            }
            _ => {}
        }
        let file = shard.io().open(&path, OpenMode::CreateDirect).await;
        let file = file.map_err(IoFailure::of(Operation::Create, &path))?;
        Ok(Self {
            shard: shard.clone(),
            dir: dir.to_owned(),
            path,
            file,
            summary: Summary::new(base),
            index_interval,
            unwritten: Vec::new(),
            written: 0,
            gone: None,
            aborted: Vec::new(),
            indexes: None,
            changed: false,
        })
    }

    /// Bytes the segment has, or will have once what is gone is written down.
    pub(super) fn size(&self) -> u64 {
        let gone = if self.gone.is_some() { HEADER_BYTES as u64 } else { 0 };
        self.summary.size + gone
    }

    /// Adds a batch. It follows what was added before.
    pub(super) async fn add(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        pace: &mut Pace<I>,
    ) -> Result<(), IoFailure> {
        self.put_gone();
        self.put(header, batch);
        if self.unwritten.len() >= COMPACTION_IO_BYTES { self.write(pace).await } else { Ok(()) }
    }

    /// Leaves a batch out. One batch without records will cover its offsets and those of its
    /// neighbours that are left out too.
    pub(super) fn leave_out(&mut self, header: &BatchHeader) {
        let (Some(base), Some(end)) = (Offset::new(header.base_offset), header.end_offset()) else {
            return;
        };
        let was_empty = header.record_count == 0 && !header.producer_id.is_some();
        // Followers and a lost checkpoint of epochs learn from batches when an epoch began.
        let joins = self.gone.as_ref().is_some_and(|gone| {
            gone.epoch == header.leader_epoch && delta(gone.base, end).is_some()
        });
        if joins {
            self.changed = true;
            if let Some(gone) = &mut self.gone {
                gone.end = end;
            }
            return;
        }
        self.changed |= !was_empty;
        self.put_gone();
        self.gone = Some(Gone { base, end, epoch: header.leader_epoch });
    }

    fn put_gone(&mut self) {
        let Some(Gone { base, end, epoch }) = self.gone.take() else { return };
        if planted::active(Bug::CompactLeavesGap) {
            return;
        }
        // What joins is made sure to fit.
        let batch = rewrite::empty(base, delta(base, end).unwrap_or(i32::MAX), epoch);
        if let Some(header) = BatchHeader::read(&batch) {
            self.put(&header, &batch);
        }
    }

    fn put(&mut self, header: &BatchHeader, batch: &[u8]) {
        self.summary.add(header, batch.len(), self.index_interval);
        self.unwritten.extend_from_slice(batch);
    }

    /// Writes whole blocks of what is not written yet.
    async fn write(&mut self, pace: &mut Pace<I>) -> Result<(), IoFailure> {
        let whole = self.unwritten.len() - self.unwritten.len() % BLOCK;
        self.write_first(whole, pace).await
    }

    async fn write_first(&mut self, bytes: usize, pace: &mut Pace<I>) -> Result<(), IoFailure> {
        let chunks = self.unwritten.get(..bytes).unwrap_or_default().chunks(COMPACTION_IO_BYTES);
        for chunk in chunks {
            let (shard, file, position) = (&self.shard, &self.file, self.written);
            let write = async {
                let mut buffer = shard.acquire(chunk.len()).await;
                buffer.extend_from_slice(chunk);
                file.write_at(buffer.freeze(), position, Durability::Written).await
            };
            let result = pace.transfer(chunk.len(), write).await;
            result.map_err(IoFailure::of(Operation::Write, &self.path))?;
            self.written += chunk.len() as u64;
        }
        self.unwritten.drain(..bytes);
        Ok(())
    }

    /// Writes the rest and what belongs beside it, all of it synced; names are for the swap.
    pub(super) async fn finish(&mut self, pace: &mut Pace<I>) -> Result<(), IoFailure> {
        self.put_gone();
        self.write_first(self.unwritten.len(), pace).await?;
        self.summary.add_time_entry();
        let cut = self.file.set_length(self.summary.size).await;
        cut.map_err(IoFailure::of(Operation::Cut, &self.path))?;
        if !planted::active(Bug::CompactWithoutSync) {
            self.file.sync().await.map_err(IoFailure::of(Operation::Sync, &self.path))?;
        }
        let base = self.summary.base;
        let (offsets, times) = (self.summary.offsets.encode(), self.summary.times.encode());
        self.indexes = Some(IndexSum::of(&offsets, &times));
        let aborted = aborted::encode(&self.aborted);
        let beside = [(Kind::Index, offsets), (Kind::TimeIndex, times), (Kind::TxnIndex, aborted)];
        for (kind, bytes) in beside {
            let name = swap::cleaned_name(kind, base);
            crate::small_file::replace(&self.shard, &self.dir, &name, &bytes).await?;
        }
        Ok(())
    }

    pub(super) fn file(&self) -> I::File {
        self.file.clone()
    }

    /// Removes what was written. What cannot be removed goes with the next open.
    pub(super) async fn discard(self) {
        let Summary { base, end, .. } = self.summary;
        let mut names = vec![swap::swap_log_name(base, end), swap::cleaned_name(Kind::Log, base)];
        for kind in [Kind::Index, Kind::TimeIndex, Kind::TxnIndex] {
            names.extend([swap::cleaned_name(kind, base), swap::swap_name(kind, base)]);
        }
        for name in names {
            let _ = self.shard.io().remove_file(&self.dir.join(name)).await;
        }
    }
}

/// The last offset of `base..end` minus `base`, if a batch can say it.
fn delta(base: Offset, end: Offset) -> Option<i32> {
    i32::try_from(end.since(base).checked_sub(1)?).ok()
}
