//! What one shard can ask of another: everything that touches a partition or a group.
//!
//! All of it is `Send`, and record bytes go across as [`Bytes`], uncopied.

use bytes::Bytes;
use ringlog_engine::batch::BatchError;
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::error::ReadError;
use ringlog_engine::offset::{Offset, Timestamp};

use crate::group;
use crate::partition::{Accepted, EpochError, Isolation, PartitionKey, ProduceError};

use super::groups::Unavailable;

/// A call to the shard that owns what it is about.
#[derive(Debug)]
pub enum Call {
    /// Append a batch and wait until it is committed.
    Append(Append),
    /// Read from partitions, without waiting for more.
    Read(Read),
    /// Wait until one of the partitions has something past the given offset. Waits long.
    Watch(Vec<WatchPoint>),
    /// Find an offset.
    FindOffset(FindOffset),
    /// Something for the group coordinator on this partition of `__consumer_offsets`. May wait
    /// long.
    Group(i32, group::Request),
}

/// The answer to a [`Call`], of the same name.
#[derive(Debug)]
pub enum Reply {
    /// To [`Call::Append`].
    Append(Result<Accepted, ProduceError>),
    /// To [`Call::Read`]: one for each part, in order.
    Read(Vec<PartRead>),
    /// To [`Call::Watch`]: there is something.
    Watch,
    /// To [`Call::FindOffset`].
    FindOffset(Result<Option<FoundOffset>, PartitionError>),
    /// To [`Call::Group`].
    Group(Result<group::Response, Unavailable>),
}

/// Why a partition cannot be asked or read.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// It is not on this broker, or not any more.
    #[error("the partition is not served here")]
    NotHere,
    /// Its log does not open.
    #[error("the partition's log cannot be opened")]
    Offline,
    /// The request is about another reign.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The log says no.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A stored batch cannot be read.
    #[error("the batch at offset {base_offset} cannot be read: {reason}")]
    Unreadable {
        /// Where it is.
        base_offset: i64,
        /// What is wrong with it.
        reason: crate::compression::WalkError,
    },
    /// A stored batch is not one.
    #[error("a stored batch is damaged: {0}")]
    Damaged(#[from] BatchError),
}

/// A batch for one partition.
#[derive(Debug)]
pub struct Append {
    /// The partition.
    pub key: PartitionKey,
    /// The batch, as it came.
    pub records: Bytes,
    /// Whether the version of the request knows zstd.
    pub zstd_allowed: bool,
    /// Whether every in-sync replica must have it (acks=all).
    pub all_replicas: bool,
}

/// A read over partitions of one shard.
#[derive(Debug)]
pub struct Read {
    /// The partitions, in the order in which they are served.
    pub parts: Vec<ReadPart>,
    /// What the reader may see.
    pub isolation: Isolation,
    /// Bytes for all parts together; the first batch may go above it.
    pub bytes_max: usize,
    /// Whether the first batch of the first part that has any is given whatever its size.
    pub at_least_one: bool,
}

/// One partition of a read.
#[derive(Debug, Clone, Copy)]
pub struct ReadPart {
    /// The partition.
    pub key: PartitionKey,
    /// The offset to read from.
    pub from: Offset,
    /// Bytes for this partition.
    pub bytes_max: usize,
    /// The leader epoch that the reader knows.
    pub current_epoch: LeaderEpoch,
    /// The epoch of the last batch that the reader has, if it says.
    pub last_fetched_epoch: LeaderEpoch,
}

/// What a read found in one partition.
#[derive(Debug)]
pub struct PartRead {
    /// Whole batches, or why there are none.
    pub records: Result<Fetched, PartitionError>,
    /// The high watermark; -1 if the partition is not here.
    pub high_watermark: i64,
    /// The last stable offset; -1 if the partition is not here.
    pub last_stable_offset: i64,
    /// The log's start; -1 if the partition is not here.
    pub log_start: i64,
}

/// What a reader gets.
#[derive(Debug)]
pub enum Fetched {
    /// Whole batches; empty if there is nothing to see yet.
    Batches(Vec<Bytes>),
    /// The reader's log and this one part ways: the reader must go back to this point.
    Diverging {
        /// The largest epoch here that is not above the reader's.
        epoch: LeaderEpoch,
        /// Where that epoch ends.
        end: Offset,
    },
}

/// A partition, and how far the one who waits has read it.
#[derive(Debug, Clone, Copy)]
pub struct WatchPoint {
    /// The partition.
    pub key: PartitionKey,
    /// The first offset that it has not.
    pub from: Offset,
    /// What it may see.
    pub isolation: Isolation,
}

/// A question for an offset.
#[derive(Debug, Clone, Copy)]
pub struct FindOffset {
    /// The partition.
    pub key: PartitionKey,
    /// Which offset.
    pub which: WhichOffset,
    /// What the asker may see.
    pub isolation: Isolation,
    /// The leader epoch that the asker knows.
    pub current_epoch: LeaderEpoch,
}

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichOffset {
    /// The start of the log.
    Earliest,
    /// The end of what the asker may see.
    Latest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record that is not older.
    AtOrAfter(Timestamp),
}

/// An offset that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp, if a record was asked for.
    pub timestamp: Timestamp,
    /// The leader epoch that it was appended under.
    pub epoch: LeaderEpoch,
}
