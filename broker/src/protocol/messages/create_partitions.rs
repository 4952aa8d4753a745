//! CreatePartitions: add partitions to topics.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks for more partitions.
    request CreatePartitionsRequest (CreatePartitions => CreatePartitionsResponse) {
        /// The topics to grow.
        topics: Vec<CreatePartitionsTopic>, 0..;
        /// How long to wait for the partitions, in milliseconds.
        timeout_ms: i32, 0..;
        /// Whether to check only.
        validate_only: bool, 0..;
    }

    /// A topic to grow.
    struct CreatePartitionsTopic {
        /// The topic's name.
        name: Str, 0..;
        /// The number of partitions afterwards.
        count: i32, 0..;
        /// The replicas of the new partitions; null lets the broker choose.
        assignments: Option<Vec<CreatePartitionsAssignment>>, 0.., default = Some(Vec::new());
    }

    /// The replicas of one new partition.
    struct CreatePartitionsAssignment {
        /// The brokers, the preferred leader first.
        broker_ids: Vec<i32>, 0..;
    }

    /// Which topics have grown.
    response CreatePartitionsResponse (CreatePartitions) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 0..;
        /// The outcome by topic.
        results: Vec<CreatePartitionsTopicResult>, 0..;
    }

    /// The outcome for one topic.
    struct CreatePartitionsTopicResult {
        /// The topic's name.
        name: Str, 0..;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// What went wrong, or null.
        error_message: Option<Str>, 0..;
    }
}
