//! What a batch must be before it is given an offset.
//!
//! The header and the checksum are the engine's to check. Here the records are walked, through
//! the compression if there is one, because a batch that a consumer cannot read must not get into
//! the log: lengths, offset deltas 0..n, timestamps within the topic's bounds, keys where the
//! topic is compacted.

use ringlog_engine::batch::{BatchError, CheckedBatch, Compression};
use ringlog_engine::offset::Timestamp;

use crate::compression::{Progress, RecordWalker, WalkError};
use crate::config::{TimestampType, TopicConfig};
use crate::limits::{DECOMPRESSED_BYTES_MAX, WALK_BYTES_PER_TURN};

/// Why a batch is refused.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// The request has no records for the partition.
    #[error("there are no records; a partition takes exactly one batch a request")]
    Empty,
    /// More than one batch came at once.
    #[error("{extra} bytes follow the batch; a partition takes exactly one batch a request")]
    MoreThanOne {
        /// Bytes after the first batch.
        extra: usize,
    },
    /// Larger than the topic allows.
    #[error("the batch has {actual} bytes, max.message.bytes is {allowed}")]
    TooLarge {
        /// Its bytes.
        actual: usize,
        /// The bytes that are allowed.
        allowed: usize,
    },
    /// The header or the checksum is wrong.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A client may not write control batches.
    #[error("only a coordinator writes control batches")]
    Control,
    /// Transactions are not served.
    #[error("the batch is transactional, and this broker serves no transactions")]
    Transactional,
    /// The producer says that the broker set the timestamps.
    #[error("the batch claims to carry the time of its append, which only a broker sets")]
    AppendTimeClaimed,
    /// A record's time is outside of what the topic allows.
    #[error("record {index} has timestamp {timestamp}, allowed is {earliest} to {latest}")]
    Timestamp {
        /// The record's index in the batch.
        index: u32,
        /// Its timestamp.
        timestamp: Timestamp,
        /// The earliest that is allowed.
        earliest: Timestamp,
        /// The latest that is allowed.
        latest: Timestamp,
    },
    /// A compacted topic needs keys.
    #[error("record {index} has no key, and the topic is compacted")]
    KeyMissing {
        /// The record's index in the batch.
        index: u32,
    },
    /// The version of the request does not know this compression.
    #[error("zstd needs version 7 of Produce or later")]
    ZstdTooEarly,
    /// The records cannot be read.
    #[error("the records cannot be read: {0}")]
    Records(#[from] WalkError),
}

impl ValidationError {
    /// The index of the record that is at fault, if it is one.
    #[must_use]
    pub fn record(&self) -> Option<u32> {
        match self {
            Self::Timestamp { index, .. } | Self::KeyMissing { index } => Some(*index),
            _ => None,
        }
    }
}

/// A batch that may be given an offset.
pub(super) struct Valid<'a> {
    pub(super) batch: CheckedBatch<'a>,
    /// The largest timestamp of its records, whatever its header says: retention and searches by
    /// time go by it.
    pub(super) max_timestamp: Timestamp,
}

/// Checks one batch, as a producer sent it, against the rules of its topic.
///
/// Looks after the shard's other tasks every [`WALK_BYTES_PER_TURN`] decompressed bytes.
///
/// # Errors
///
/// [`ValidationError`], the first that is found.
pub(super) async fn check<'a>(
    records: &'a [u8],
    rules: &TopicConfig,
    zstd_allowed: bool,
    now: Timestamp,
) -> Result<Valid<'a>, ValidationError> {
    if records.is_empty() {
        return Err(ValidationError::Empty);
    }
    let allowed = usize::try_from(rules.max_message_bytes).unwrap_or(usize::MAX);
    if records.len() > allowed {
        let actual = records.len();
        return Err(ValidationError::TooLarge { actual, allowed });
    }
    let (batch, rest) = CheckedBatch::check_first(records)?;
    if !rest.is_empty() {
        return Err(ValidationError::MoreThanOne { extra: rest.len() });
    }
    check_attributes(&batch, zstd_allowed)?;
    let max_timestamp = walk(&batch, rules, now).await?;
    Ok(Valid { batch, max_timestamp })
}

fn check_attributes(batch: &CheckedBatch<'_>, zstd_allowed: bool) -> Result<(), ValidationError> {
    let attributes = batch.header().attributes;
    if attributes.is_control() {
        return Err(ValidationError::Control);
    }
    if attributes.is_transactional() {
        return Err(ValidationError::Transactional);
    }
    if attributes.is_append_time() {
        return Err(ValidationError::AppendTimeClaimed);
    }
    if batch.compression() == Compression::Zstd && !zstd_allowed {
        return Err(ValidationError::ZstdTooEarly);
    }
    Ok(())
}

async fn walk(
    batch: &CheckedBatch<'_>,
    rules: &TopicConfig,
    now: Timestamp,
) -> Result<Timestamp, ValidationError> {
    let mut latest = Timestamp::NONE;
    let base = batch.header().base_timestamp.millis();
    let window = Window::new(rules, now);
    let mut refused = None;
    let mut walker = RecordWalker::new(
        batch.compression(),
        batch.body(),
        batch.record_count(),
        DECOMPRESSED_BYTES_MAX,
    )?;
    loop {
        let progress = walker.step(WALK_BYTES_PER_TURN, |record| {
            if refused.is_some() {
                return;
            }
            let timestamp = base.saturating_add(record.timestamp_delta);
            let index = record.index;
            latest = latest.max(Timestamp::from_millis(timestamp));
            if !window.holds(timestamp) {
                refused = Some(ValidationError::Timestamp {
                    index,
                    timestamp: Timestamp::from_millis(timestamp),
                    earliest: Timestamp::from_millis(window.earliest),
                    latest: Timestamp::from_millis(window.latest),
                });
            } else if rules.cleanup_policy.compact && record.key_bytes.is_none() {
                refused = Some(ValidationError::KeyMissing { index });
            }
        })?;
        if let Some(refused) = refused {
            return Err(refused);
        }
        match progress {
            Progress::Done => return Ok(latest),
            Progress::More => crate::timer::yield_now().await,
        }
    }
}

/// The timestamps that a topic takes at a moment, both ends included.
struct Window {
    earliest: i64,
    latest: i64,
}

impl Window {
    fn new(rules: &TopicConfig, now: Timestamp) -> Self {
        match rules.timestamp_type {
            TimestampType::CreateTime => Self {
                earliest: now.millis().saturating_sub_unsigned(rules.timestamp_before_max_ms),
                latest: now.millis().saturating_add_unsigned(rules.timestamp_after_max_ms),
            },
            // The producer's times are overwritten, so any will do.
            TimestampType::LogAppendTime => Self { earliest: i64::MIN, latest: i64::MAX },
        }
    }

    fn holds(&self, timestamp: i64) -> bool {
        // A record without a timestamp has none to be wrong.
        timestamp == -1 || (self.earliest..=self.latest).contains(&timestamp)
    }
}
