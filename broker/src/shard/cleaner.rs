//! Compaction: of the shard's partitions whose topics want it, the dirtiest first.

use std::rc::Rc;

use ringlog_engine::batch::Compression;
use ringlog_engine::compaction::{BatchCodec, CodecError, CompactionSettings};

use crate::compression::{compress, decompress_to_vec};
use crate::limits::COMPACTED_BATCH_BYTES_MAX;
use crate::partition::Partition;
use crate::timer::yield_now;

use super::Shard;

/// Partitions looked at before others of the shard's tasks run.
const PARTITIONS_PER_TURN: usize = 64;

/// The broker's codecs, for the engine, which has none.
struct Codecs;

impl BatchCodec for Codecs {
    fn unpack(
        &self,
        codec: Compression,
        body: &[u8],
        records: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let unpacked = decompress_to_vec(codec, body, COMPACTED_BATCH_BYTES_MAX);
        *records = unpacked.map_err(|_| CodecError::Malformed(codec))?;
        Ok(())
    }

    fn pack(
        &self,
        codec: Compression,
        records: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        compress(codec, records, body).map_err(|_| CodecError::Malformed(codec))
    }
}

impl Shard {
    /// Compacts one partition after the other for as long as one is dirty enough, and looks again
    /// every `log.cleaner.backoff.ms`.
    pub(super) async fn keep_clean(self: Rc<Self>) {
        let settings = self.cleaner_settings();
        while !self.is_stopping() {
            let cleaned = match self.dirtiest(&settings).await {
                Some(partition) => partition.compact(&settings, &Codecs).await,
                None => false,
            };
            // After a failure too: it may go well another time.
            if !cleaned {
                self.clock.sleep(self.config.log_cleaner_backoff).await;
            }
        }
    }

    async fn dirtiest(&self, settings: &CompactionSettings) -> Option<Rc<Partition>> {
        let partitions: Vec<Rc<Partition>> = self.partitions.borrow().values().cloned().collect();
        let mut dirtiest: Option<(f64, Rc<Partition>)> = None;
        for (index, partition) in partitions.into_iter().enumerate() {
            if index % PARTITIONS_PER_TURN == 0 {
                yield_now().await;
            }
            let Some(dirtiness) = partition.dirtiness(settings).await else { continue };
            // What is overdue comes before everything that is not.
            let urgency = dirtiness.ratio() + if dirtiness.is_overdue { 1.0 } else { 0.0 };
            if dirtiest.as_ref().is_none_or(|(most, _)| urgency > *most) {
                dirtiest = Some((urgency, partition));
            }
        }
        dirtiest.map(|(_, partition)| partition)
    }

    /// This shard's part of what the broker grants to compaction.
    fn cleaner_settings(&self) -> CompactionSettings {
        let rate = self.config.log_cleaner_io_max_bytes_per_second;
        CompactionSettings {
            key_map_bytes: self.config.log_cleaner_dedupe_buffer_size / self.shards,
            bytes_per_second: rate.map(|rate| (rate / self.shards as u64).max(1)),
            ..CompactionSettings::default()
        }
    }
}
