//! OffsetFetch: read the offsets of groups. Up to version 7 a request names one group, from 8 on
//! several; each has fields of its own.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks for stored offsets.
    request OffsetFetchRequest (OffsetFetch => OffsetFetchResponse) {
        /// The group's id.
        group_id: Str, 0..=7;
        /// The topics asked for; null asks for all.
        topics: Option<Vec<OffsetFetchRequestTopic>>, 0..=7,
            nullable = 2..=7, default = Some(Vec::new()), ignorable;
        /// The groups asked for.
        groups: Vec<OffsetFetchRequestGroup>, 8..;
        /// Whether to refuse offsets that an open transaction may still change.
        require_stable: bool, 7..;
    }

    /// The partitions of one topic asked for, up to version 7.
    struct OffsetFetchRequestTopic {
        /// The topic's name.
        name: Str, 0..=7;
        /// The indexes of the partitions.
        partition_indexes: Vec<i32>, 0..=7;
    }

    /// One group asked for.
    struct OffsetFetchRequestGroup {
        /// The group's id.
        group_id: Str, 8..;
        /// The member's id, or null.
        member_id: Option<Str>, 9.., ignorable;
        /// The member's epoch, or -1.
        member_epoch: i32, 9.., default = -1, ignorable;
        /// The topics asked for; null asks for all.
        topics: Option<Vec<OffsetFetchRequestTopics>>, 8.., default = Some(Vec::new());
    }

    /// The partitions of one topic asked for, from version 8 on.
    struct OffsetFetchRequestTopics {
        /// The topic's name.
        name: Str, 8..;
        /// The indexes of the partitions.
        partition_indexes: Vec<i32>, 8..;
    }

    /// The stored offsets.
    response OffsetFetchResponse (OffsetFetch) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 3.., ignorable;
        /// The offsets by topic.
        topics: Vec<OffsetFetchResponseTopic>, 0..=7;
        /// The error code of the group, or 0.
        error_code: i16, 2..=7, ignorable;
        /// The offsets by group.
        groups: Vec<OffsetFetchResponseGroup>, 8..;
    }

    /// The offsets of one topic's partitions, up to version 7.
    struct OffsetFetchResponseTopic {
        /// The topic's name.
        name: Str, 0..=7;
        /// The offsets by partition.
        partitions: Vec<OffsetFetchResponsePartition>, 0..=7;
    }

    /// The offset of one partition, up to version 7.
    struct OffsetFetchResponsePartition {
        /// The partition's index.
        partition_index: i32, 0..=7;
        /// The offset stored, or -1.
        committed_offset: i64, 0..=7;
        /// The leader epoch stored, or -1.
        committed_leader_epoch: i32, 5..=7, default = -1, ignorable;
        /// What the client stored with the offset, or null.
        metadata: Option<Str>, 0..=7;
        /// The error code, or 0.
        error_code: i16, 0..=7;
    }

    /// The offsets of one group.
    struct OffsetFetchResponseGroup {
        /// The group's id.
        group_id: Str, 8..;
        /// The offsets by topic.
        topics: Vec<OffsetFetchResponseTopics>, 8..;
        /// The error code of the group, or 0.
        error_code: i16, 8..;
    }

    /// The offsets of one topic's partitions, from version 8 on.
    struct OffsetFetchResponseTopics {
        /// The topic's name.
        name: Str, 8..;
        /// The offsets by partition.
        partitions: Vec<OffsetFetchResponsePartitions>, 8..;
    }

    /// The offset of one partition, from version 8 on.
    struct OffsetFetchResponsePartitions {
        /// The partition's index.
        partition_index: i32, 8..;
        /// The offset stored, or -1.
        committed_offset: i64, 8..;
        /// The leader epoch stored, or -1.
        committed_leader_epoch: i32, 8.., default = -1, ignorable;
        /// What the client stored with the offset, or null.
        metadata: Option<Str>, 8..;
        /// The error code, or 0.
        error_code: i16, 8..;
    }
}
