//! ListOffsets: find offsets by timestamp.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks for an offset of each of some partitions.
    request ListOffsetsRequest (ListOffsets => ListOffsetsResponse) {
        /// The follower's broker id, or -1 for a consumer.
        replica_id: i32, 0..;
        /// 0 looks up to the high watermark, 1 up to the last stable offset.
        isolation_level: i8, 2..;
        /// The topics asked for.
        topics: Vec<ListOffsetsTopic>, 0..;
        /// How long a lookup in remote storage may take, in milliseconds.
        timeout_ms: i32, 10.., ignorable;
    }

    /// The partitions of one topic asked for.
    struct ListOffsetsTopic {
        /// The topic's name.
        name: Str, 0..;
        /// The partitions asked for.
        partitions: Vec<ListOffsetsPartition>, 0..;
    }

    /// What is asked of one partition.
    struct ListOffsetsPartition {
        /// The partition's index.
        partition_index: i32, 0..;
        /// The leader epoch that the client knows, or -1.
        current_leader_epoch: i32, 4.., default = -1, ignorable;
        /// The timestamp in milliseconds; negative ones name special offsets.
        timestamp: i64, 0..;
    }

    /// The offsets found.
    response ListOffsetsResponse (ListOffsets) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 2.., ignorable;
        /// The offsets by topic.
        topics: Vec<ListOffsetsTopicResponse>, 0..;
    }

    /// The offsets of one topic's partitions.
    struct ListOffsetsTopicResponse {
        /// The topic's name.
        name: Str, 0..;
        /// The offsets by partition.
        partitions: Vec<ListOffsetsPartitionResponse>, 0..;
    }

    /// The offset of one partition.
    struct ListOffsetsPartitionResponse {
        /// The partition's index.
        partition_index: i32, 0..;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The timestamp of the record found, or -1.
        timestamp: i64, 1.., default = -1, ignorable;
        /// The offset found, or -1.
        offset: i64, 1.., default = -1, ignorable;
        /// The leader epoch of the record found, or -1.
        leader_epoch: i32, 4.., default = -1;
    }
}
