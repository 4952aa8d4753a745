//! OffsetCommit: store the offsets of a group.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks to store the offsets of a group.
    request OffsetCommitRequest (OffsetCommit => OffsetCommitResponse) {
        /// The group's id.
        group_id: Str, 0..;
        /// The generation or member epoch, or -1 for a group that manages itself.
        generation_id_or_member_epoch: i32, 1.., default = -1, ignorable;
        /// The member's id.
        member_id: Str, 1.., ignorable;
        /// The static member's id, or null.
        group_instance_id: Option<Str>, 7..;
        /// How long to keep the offsets, in milliseconds, or -1. Brokers ignore it.
        retention_time_ms: i64, 2..=4, default = -1, ignorable;
        /// The offsets by topic.
        topics: Vec<OffsetCommitRequestTopic>, 0..;
    }

    /// The offsets of one topic's partitions.
    struct OffsetCommitRequestTopic {
        /// The topic's name.
        name: Str, 0..;
        /// The offsets by partition.
        partitions: Vec<OffsetCommitRequestPartition>, 0..;
    }

    /// The offset of one partition.
    struct OffsetCommitRequestPartition {
        /// The partition's index.
        partition_index: i32, 0..;
        /// The offset to store.
        committed_offset: i64, 0..;
        /// The leader epoch of the last record read, or -1.
        committed_leader_epoch: i32, 6.., default = -1, ignorable;
        /// What the client wants to be told with the offset, or null.
        committed_metadata: Option<Str>, 0..;
    }

    /// Which offsets were stored.
    response OffsetCommitResponse (OffsetCommit) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 3.., ignorable;
        /// The outcome by topic.
        topics: Vec<OffsetCommitResponseTopic>, 0..;
    }

    /// The outcome for one topic's partitions.
    struct OffsetCommitResponseTopic {
        /// The topic's name.
        name: Str, 0..;
        /// The outcome by partition.
        partitions: Vec<OffsetCommitResponsePartition>, 0..;
    }

    /// The outcome for one partition.
    struct OffsetCommitResponsePartition {
        /// The partition's index.
        partition_index: i32, 0..;
        /// The error code, or 0.
        error_code: i16, 0..;
    }
}
