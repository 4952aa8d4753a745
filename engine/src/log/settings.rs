//! What a log's owner may choose.

use std::time::Duration;

use crate::error::OpenError;
use crate::limits::{
    BATCH_BYTES_MAX, BLOCK, CHECKPOINT_BYTES, CHECKPOINT_BYTES_MIN, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN,
};

/// When an append counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushPolicy {
    /// When it is on stable storage: it survives a loss of power.
    #[default]
    EveryBatch,
    /// When the kernel has taken it: it survives the process, and a loss of power only after the
    /// next sync.
    Relaxed {
        /// Records after which a sync is made; Kafka's `flush.messages`.
        messages: u64,
        /// Time after which a sync is made; Kafka's `flush.ms`. `None` for never.
        interval: Option<Duration>,
    },
}

/// The settings of one log. The names in brackets are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Bytes after which a segment is sealed (`segment.bytes`): 4 KiB to 2 GiB - 1.
    pub segment_bytes: u64,
    /// Time from a segment's first batch to a later one's, by their timestamps, after which the
    /// segment is sealed (`segment.ms`).
    pub segment_age_max: Duration,
    /// Bytes between two index entries (`index.interval.bytes`).
    pub index_interval_bytes: u64,
    /// Bytes appended to the active segment after which a checkpoint is written, so that an open
    /// after a crash scans at most twice as many: 4 KiB to 2 GiB - 1. See `docs/limits.md`.
    pub checkpoint_bytes: u64,
    /// Age at which a sealed segment may go (`retention.ms`); `None` to keep it.
    pub retention_age_max: Option<Duration>,
    /// Bytes of log above which the oldest segments may go (`retention.bytes`); `None` to keep
    /// them.
    pub retention_bytes: Option<u64>,
    /// Bytes of the largest batch taken (`max.message.bytes`).
    pub batch_bytes_max: usize,
    /// When an append counts as durable (`flush.messages`, `flush.ms`).
    pub durability: FlushPolicy,
    /// Silence after which a producer is forgotten (`producer.id.expiration.ms`).
    pub producer_expiry: Duration,
}

impl Default for LogSettings {
    /// Kafka's defaults, with durable appends.
    fn default() -> Self {
        Self {
            segment_bytes: 1024 * 1024 * 1024,
            segment_age_max: Duration::from_secs(7 * 24 * 3600),
            index_interval_bytes: 4096,
            checkpoint_bytes: CHECKPOINT_BYTES,
            retention_age_max: Some(Duration::from_secs(7 * 24 * 3600)),
            retention_bytes: None,
            batch_bytes_max: 1024 * 1024 + 12,
            durability: FlushPolicy::EveryBatch,
            producer_expiry: Duration::from_secs(24 * 3600),
        }
    }
}

impl LogSettings {
    /// Refuses what cannot be kept by a shard with `pool_bytes` of buffers.
    pub(crate) fn check(&self, pool_bytes: usize) -> Result<(), OpenError> {
        let bytes = "bytes";
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(OpenError::Setting {
                name: "segment_bytes",
                actual: self.segment_bytes,
                min: SEGMENT_BYTES_MIN,
                max: SEGMENT_BYTES_MAX,
                unit: bytes,
            });
        }
        if !(CHECKPOINT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.checkpoint_bytes) {
            return Err(OpenError::Setting {
                name: "checkpoint_bytes",
                actual: self.checkpoint_bytes,
                min: CHECKPOINT_BYTES_MIN,
                max: SEGMENT_BYTES_MAX,
                unit: bytes,
            });
        }
        // A batch needs room for itself and the block before it, twice over: one on its way to
        // disk, one being filled.
        let max = BATCH_BYTES_MAX.min((pool_bytes / 2).saturating_sub(2 * BLOCK));
        if !(1..=max).contains(&self.batch_bytes_max) {
            return Err(OpenError::Setting {
                name: "batch_bytes_max",
                actual: self.batch_bytes_max as u64,
                min: 1,
                max: max as u64,
                unit: bytes,
            });
        }
        Ok(())
    }
}
