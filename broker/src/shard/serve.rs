//! Carries out calls, from other shards and from connections of this one alike.

use std::rc::Rc;

use bytes::Bytes;
use ringlog_engine::batch::{BatchHeader, CheckedBatch};
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::offset::{Offset, Timestamp};

use crate::compression::{Progress, RecordWalker};
use crate::limits::{DECOMPRESSED_BYTES_MAX, WALK_BYTES_PER_TURN};
use crate::partition::{Accepted, Partition, PartitionKey, ProduceError, Watcher};

use super::Shard;
use super::message::{
    Append, Call, Fetched, FindOffset, FoundOffset, PartRead, PartitionError, Read, ReadPart,
    Reply, WatchPoint, WhichOffset,
};

impl Shard {
    /// Serves a call from another shard to its end.
    pub(super) async fn serve(&self, call: Call) -> Reply {
        match call {
            Call::Append(append) => Reply::Append(self.append_committed(&append).await),
            Call::Read(read) => Reply::Read(self.read(&read).await),
            Call::Watch(points) => {
                let watcher = Rc::new(Watcher::default());
                self.watch(&points, &watcher);
                watcher.fired().await;
                Reply::Watch
            }
            Call::FindOffset(find) => Reply::FindOffset(self.find_offset(find).await),
            Call::Group(partition, request) => Reply::Group(self.group(partition, request).await),
        }
    }

    /// Appends to a partition of this shard: after `Ok` the batch has its offsets.
    ///
    /// # Errors
    ///
    /// [`ProduceError`], as [`Partition::append`].
    pub async fn append(&self, append: &Append) -> Result<(Rc<Partition>, Accepted), ProduceError> {
        let partition = self.partition(append.key).ok_or_else(|| {
            if self.is_offline(append.key) { ProduceError::Offline } else { ProduceError::Gone }
        })?;
        let Append { records, zstd_allowed, all_replicas, .. } = append;
        let accepted = partition.append(records, *zstd_allowed, *all_replicas).await?;
        Ok((partition, accepted))
    }

    async fn append_committed(&self, append: &Append) -> Result<Accepted, ProduceError> {
        let (partition, accepted) = self.append(append).await?;
        partition.committed(accepted.end).await?;
        Ok(accepted)
    }

    /// Reads from partitions of this shard, in order, within the limits of the request.
    pub async fn read(&self, read: &Read) -> Vec<PartRead> {
        let mut left = read.bytes_max;
        let mut at_least_one = read.at_least_one;
        let mut results = Vec::with_capacity(read.parts.len());
        for part in &read.parts {
            let result = match self.partition(part.key) {
                None => PartRead {
                    records: Err(self.absence(part.key)),
                    high_watermark: -1,
                    last_stable_offset: -1,
                    log_start: -1,
                },
                Some(partition) => {
                    let bytes_max = part.bytes_max.min(left);
                    let records =
                        self.read_part(&partition, part, read, bytes_max, at_least_one).await;
                    PartRead {
                        records,
                        high_watermark: partition.high_watermark().value(),
                        last_stable_offset: partition.last_stable_offset().value(),
                        log_start: partition.log_start().value(),
                    }
                }
            };
            if let Ok(Fetched::Batches(batches)) = &result.records {
                let bytes: usize = batches.iter().map(Bytes::len).sum();
                left = left.saturating_sub(bytes);
                at_least_one &= bytes == 0;
            }
            results.push(result);
        }
        results
    }

    async fn read_part(
        &self,
        partition: &Partition,
        part: &ReadPart,
        read: &Read,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Fetched, PartitionError> {
        partition.check_epoch(part.current_epoch)?;
        if let Some(diverging) = divergence(partition, part) {
            return Ok(diverging);
        }
        if bytes_max == 0 && !at_least_one {
            return Ok(Fetched::Batches(Vec::new()));
        }
        // Clients that do not take their answers hold the buffers these lie in. They must not hold
        // so many that nobody can append: under pressure an answer is one batch, in a copy.
        let pressed = self.readers_hold_too_much();
        let bytes_max = if pressed { 0 } else { bytes_max };
        let slices = partition.read(part.from, read.isolation, bytes_max, at_least_one).await?;
        Ok(Fetched::Batches(if pressed {
            slices.iter().map(|slice| Bytes::copy_from_slice(slice)).collect()
        } else {
            slices.into_iter().map(|slice| self.lent.lend(slice)).collect()
        }))
    }

    /// Whether answers on their way to clients hold a quarter of the shard's buffers or more.
    fn readers_hold_too_much(&self) -> bool {
        self.lent.bytes() >= self.storage.pool().budget() / 4
    }

    /// Fires `watcher` once one of the points has something new: at once, if one has already.
    pub fn watch(&self, points: &[WatchPoint], watcher: &Rc<Watcher>) {
        for point in points {
            match self.partition(point.key) {
                Some(partition) if partition.visible_end(point.isolation) <= point.from => {
                    partition.watch(watcher);
                }
                // A partition that has gone is news as well.
                _ => watcher.fire(),
            }
        }
    }

    fn absence(&self, key: PartitionKey) -> PartitionError {
        if self.is_offline(key) { PartitionError::Offline } else { PartitionError::NotHere }
    }

    /// Finds an offset in a partition of this shard.
    ///
    /// # Errors
    ///
    /// [`PartitionError`].
    pub async fn find_offset(
        &self,
        find: FindOffset,
    ) -> Result<Option<FoundOffset>, PartitionError> {
        let partition = self.partition(find.key).ok_or_else(|| self.absence(find.key))?;
        partition.check_epoch(find.current_epoch)?;
        let end = partition.visible_end(find.isolation);
        let edge = |offset: Offset| {
            let epoch = partition.epoch_at(offset);
            Some(FoundOffset { offset, timestamp: Timestamp::NONE, epoch })
        };
        let (batch, at_least) = match find.which {
            WhichOffset::Earliest => return Ok(edge(partition.log_start())),
            WhichOffset::Latest => return Ok(edge(end)),
            WhichOffset::MaxTimestamp => match partition.log().max_timestamp(end).await? {
                Some((timestamp, batch)) => (batch, timestamp),
                None => return Ok(None),
            },
            WhichOffset::AtOrAfter(timestamp) => {
                match partition.log().find_timestamp(timestamp, end).await? {
                    Some(batch) => (batch, timestamp),
                    None => return Ok(None),
                }
            }
        };
        first_not_older(&batch, at_least).await
    }
}

/// Where the reader's log parts from this one, if the epoch it names says so (KIP-595).
fn divergence(partition: &Partition, part: &ReadPart) -> Option<Fetched> {
    if part.last_fetched_epoch == LeaderEpoch::NONE {
        return None;
    }
    let (epoch, end) = partition.log().epoch_end_offset(part.last_fetched_epoch)?;
    let parted = epoch < part.last_fetched_epoch || end < part.from;
    parted.then_some(Fetched::Diverging { epoch, end })
}

/// The first record of a batch whose timestamp is at least `at_least`.
async fn first_not_older(
    batch: &[u8],
    at_least: Timestamp,
) -> Result<Option<FoundOffset>, PartitionError> {
    let base_offset = BatchHeader::read(batch).map_or(-1, |header| header.base_offset);
    let unreadable = |reason| PartitionError::Unreadable { base_offset, reason };
    let batch = CheckedBatch::check_stored(batch)?;
    let header = *batch.header();
    let (codec, count) = (batch.compression(), batch.record_count());
    let found = |offset_delta: u32, timestamp: Timestamp| {
        let offset = Offset::new(header.base_offset)?.plus(offset_delta);
        Some(FoundOffset { offset, timestamp, epoch: header.leader_epoch })
    };
    let append_time = header.attributes.is_append_time().then_some(header.max_timestamp);
    let last = header.last_offset_delta;
    let mut walker = RecordWalker::stored(codec, batch.body(), count, last, DECOMPRESSED_BYTES_MAX)
        .map_err(unreadable)?;
    let mut first = None;
    loop {
        let progress = walker.step(WALK_BYTES_PER_TURN, |record| {
            let created = header.base_timestamp.millis().saturating_add(record.timestamp_delta);
            let time = append_time.unwrap_or(Timestamp::from_millis(created));
            if first.is_none() && time >= at_least {
                first = Some((record.offset_delta, time));
            }
        });
        match progress.map_err(unreadable)? {
            _ if first.is_some() => break,
            Progress::Done => break,
            Progress::More => crate::timer::yield_now().await,
        }
    }
    Ok(first.and_then(|(delta, timestamp)| found(delta, timestamp)))
}
