//! Fetch: read record batches.

use uuid::Uuid;

use crate::protocol::codec::{Records, Str, tables};

tables! {
    /// Asks for the batches of some partitions from given offsets on.
    request FetchRequest (Fetch => FetchResponse) {
        /// The cluster id, which a quorum's voter checks.
        cluster_id: Option<Str>, 12.., tag = 0, ignorable;
        /// The follower's broker id, or -1 for a consumer.
        replica_id: i32, 0..=14, default = -1;
        /// Who the follower is.
        replica_state: ReplicaState, 15.., tag = 1;
        /// How long to wait for `min_bytes`, in milliseconds.
        max_wait_ms: i32, 0..;
        /// The bytes to wait for.
        min_bytes: i32, 0..;
        /// The bytes to answer at most, but always a whole batch.
        max_bytes: i32, 3.., default = i32::MAX, ignorable;
        /// 0 reads up to the high watermark, 1 up to the last stable offset.
        isolation_level: i8, 4..;
        /// The fetch session, or 0.
        session_id: i32, 7.., ignorable;
        /// The session's epoch: 0 makes a session, -1 is outside of any.
        session_epoch: i32, 7.., default = -1, ignorable;
        /// The topics to fetch.
        topics: Vec<FetchTopic>, 0..;
        /// The partitions to take out of the session.
        forgotten_topics: Vec<ForgottenTopic>, 7..;
        /// The consumer's rack.
        rack_id: Str, 11.., ignorable;
    }

    /// Who a fetching follower is.
    struct ReplicaState {
        /// The follower's broker id, or -1 for a consumer.
        replica_id: i32, 15.., default = -1;
        /// The follower's broker epoch, or -1.
        replica_epoch: i64, 15.., default = -1;
    }

    /// The partitions of one topic to fetch.
    struct FetchTopic {
        /// The topic's name.
        topic: Str, 0..=12, ignorable;
        /// The topic's id.
        topic_id: Uuid, 13.., ignorable;
        /// The partitions to fetch.
        partitions: Vec<FetchPartition>, 0..;
    }

    /// One partition to fetch.
    struct FetchPartition {
        /// The partition's index.
        partition: i32, 0..;
        /// The leader epoch that the client knows, or -1.
        current_leader_epoch: i32, 9.., default = -1, ignorable;
        /// The offset to read from.
        fetch_offset: i64, 0..;
        /// The epoch of the last batch that the follower has, or -1.
        last_fetched_epoch: i32, 12.., default = -1;
        /// The follower's log start offset, or -1 for a consumer.
        log_start_offset: i64, 5.., default = -1, ignorable;
        /// The bytes to answer at most for this partition.
        partition_max_bytes: i32, 0..;
        /// The id of the follower's log directory.
        replica_directory_id: Uuid, 17.., tag = 0, ignorable;
        /// The high watermark that the follower knows.
        high_watermark: i64, 18.., tag = 1, default = i64::MAX, ignorable;
    }

    /// The partitions of one topic to take out of the session.
    struct ForgottenTopic {
        /// The topic's name.
        topic: Str, 7..=12, ignorable;
        /// The topic's id.
        topic_id: Uuid, 13.., ignorable;
        /// The indexes of the partitions.
        partitions: Vec<i32>, 7..;
    }

    /// The batches of each partition.
    response FetchResponse (Fetch) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 1.., ignorable;
        /// The error code of the whole request, or 0.
        error_code: i16, 7.., ignorable;
        /// The fetch session, or 0 outside of any.
        session_id: i32, 7..;
        /// The batches by topic.
        topics: Vec<FetchableTopicResponse>, 0..;
        /// Where the leaders listen that `current_leader` names.
        node_endpoints: Vec<FetchNodeEndpoint>, 16.., tag = 0, ignorable;
    }

    /// The batches of one topic's partitions.
    struct FetchableTopicResponse {
        /// The topic's name.
        topic: Str, 0..=12, ignorable;
        /// The topic's id.
        topic_id: Uuid, 13.., ignorable;
        /// The batches by partition.
        partitions: Vec<PartitionData>, 0..;
    }

    /// The batches of one partition.
    struct PartitionData {
        /// The partition's index.
        partition_index: i32, 0..;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The high watermark.
        high_watermark: i64, 0..;
        /// The last stable offset.
        last_stable_offset: i64, 4.., default = -1, ignorable;
        /// The log start offset.
        log_start_offset: i64, 5.., default = -1, ignorable;
        /// Where the follower's log diverges from the leader's.
        diverging_epoch: EpochEndOffset, 12.., tag = 0, ignorable;
        /// The leader that the broker knows, if it is not the leader itself.
        current_leader: FetchLeader, 12.., tag = 1, ignorable;
        /// The snapshot that the follower must fetch instead.
        snapshot_id: SnapshotId, 12.., tag = 2, ignorable;
        /// The aborted transactions among the batches, or null.
        aborted_transactions: Option<Vec<AbortedTransaction>>, 4..,
            default = Some(Vec::new()), ignorable;
        /// The replica that the consumer should read from, or -1.
        preferred_read_replica: i32, 11.., default = -1;
        /// The batches, the first of which holds the offset asked for.
        records: Option<Records>, 0.., default = Some(Records::default());
    }

    /// The end of an epoch in the leader's log.
    struct EpochEndOffset {
        /// The epoch, or -1.
        epoch: i32, 12.., default = -1;
        /// The offset after its last record, or -1.
        end_offset: i64, 12.., default = -1;
    }

    /// A partition's leader.
    struct FetchLeader {
        /// The broker's id, or -1.
        leader_id: i32, 12.., default = -1;
        /// The leader epoch.
        leader_epoch: i32, 12.., default = -1;
    }

    /// A snapshot of the metadata log.
    struct SnapshotId {
        /// The offset after its last record, or -1.
        end_offset: i64, 0.., default = -1;
        /// The epoch of its last record, or -1.
        epoch: i32, 0.., default = -1;
    }

    /// A transaction that was aborted.
    struct AbortedTransaction {
        /// The producer's id.
        producer_id: i64, 4..;
        /// The offset of its first record.
        first_offset: i64, 4..;
    }

    /// Where a broker listens.
    struct FetchNodeEndpoint {
        /// The broker's id.
        node_id: i32, 16..;
        /// The host name.
        host: Str, 16..;
        /// The port.
        port: i32, 16..;
        /// The rack, or null.
        rack: Option<Str>, 16..;
    }
}
