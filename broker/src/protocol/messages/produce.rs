//! Produce: append record batches.

use uuid::Uuid;

use crate::protocol::codec::{Records, Str, tables};

tables! {
    /// Asks to append one batch to each of some partitions.
    request ProduceRequest (Produce => ProduceResponse) {
        /// The transactional id, or null outside of transactions.
        transactional_id: Option<Str>, 3..;
        /// Which acknowledgements to wait for: 0 none (and no response), 1 the leader's, -1 all.
        acks: i16, 0..;
        /// How long to wait for them, in milliseconds.
        timeout_ms: i32, 0..;
        /// The topics to append to.
        topics: Vec<TopicProduceData>, 0..;
    }

    /// The partitions of one topic to append to.
    struct TopicProduceData {
        /// The topic's name.
        name: Str, 0..=12, ignorable;
        /// The topic's id.
        topic_id: Uuid, 13.., ignorable;
        /// The partitions to append to.
        partitions: Vec<PartitionProduceData>, 0..;
    }

    /// What to append to one partition.
    struct PartitionProduceData {
        /// The partition's index.
        index: i32, 0..;
        /// The record batch.
        records: Option<Records>, 0..;
    }

    /// Tells where each batch went.
    response ProduceResponse (Produce) {
        /// The outcome by topic.
        topics: Vec<TopicProduceResponse>, 0..;
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 1.., ignorable;
        /// Where the leaders listen that `current_leader` names.
        node_endpoints: Vec<ProduceNodeEndpoint>, 10.., tag = 0, ignorable;
    }

    /// The outcome for the partitions of one topic.
    struct TopicProduceResponse {
        /// The topic's name.
        name: Str, 0..=12, ignorable;
        /// The topic's id.
        topic_id: Uuid, 13.., ignorable;
        /// The outcome by partition.
        partitions: Vec<PartitionProduceResponse>, 0..;
    }

    /// The outcome for one partition.
    struct PartitionProduceResponse {
        /// The partition's index.
        index: i32, 0..;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The offset of the batch's first record.
        base_offset: i64, 0..;
        /// The broker's append time in milliseconds, or -1 if the records keep their own.
        log_append_time_ms: i64, 2.., default = -1, ignorable;
        /// The log start offset.
        log_start_offset: i64, 5.., default = -1, ignorable;
        /// The records that made the broker refuse the batch.
        record_errors: Vec<BatchIndexAndErrorMessage>, 8.., ignorable;
        /// What was wrong with the batch, or null.
        error_message: Option<Str>, 8.., ignorable;
        /// The leader that the broker knows, if it is not the leader itself.
        current_leader: ProduceLeader, 10.., tag = 0, ignorable;
    }

    /// One record that made the broker refuse its batch.
    struct BatchIndexAndErrorMessage {
        /// The record's place in the batch.
        batch_index: i32, 8..;
        /// What was wrong with it, or null.
        batch_index_error_message: Option<Str>, 8..;
    }

    /// A partition's leader.
    struct ProduceLeader {
        /// The broker's id, or -1.
        leader_id: i32, 10.., default = -1;
        /// The leader epoch.
        leader_epoch: i32, 10.., default = -1;
    }

    /// Where a broker listens.
    struct ProduceNodeEndpoint {
        /// The broker's id.
        node_id: i32, 10..;
        /// The host name.
        host: Str, 10..;
        /// The port.
        port: i32, 10..;
        /// The rack, or null.
        rack: Option<Str>, 10..;
    }
}
