//! CreateTopics: make topics.

use uuid::Uuid;

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks to make topics.
    request CreateTopicsRequest (CreateTopics => CreateTopicsResponse) {
        /// The topics to make.
        topics: Vec<CreatableTopic>, 0..;
        /// How long to wait for them, in milliseconds.
        timeout_ms: i32, 0.., default = 60_000;
        /// Whether to check only.
        validate_only: bool, 1..;
    }

    /// A topic to make.
    struct CreatableTopic {
        /// The topic's name.
        name: Str, 0..;
        /// The number of partitions, or -1 for the default or an assignment.
        num_partitions: i32, 0..;
        /// The number of replicas of each, or -1 for the default or an assignment.
        replication_factor: i16, 0..;
        /// The replicas by partition, or empty.
        assignments: Vec<CreatableReplicaAssignment>, 0..;
        /// The configurations.
        configs: Vec<CreatableTopicConfig>, 0..;
    }

    /// The replicas of one partition.
    struct CreatableReplicaAssignment {
        /// The partition's index.
        partition_index: i32, 0..;
        /// The brokers, the preferred leader first.
        broker_ids: Vec<i32>, 0..;
    }

    /// One configuration.
    struct CreatableTopicConfig {
        /// The configuration's name.
        name: Str, 0..;
        /// Its value, or null.
        value: Option<Str>, 0..;
    }

    /// Which topics were made.
    response CreateTopicsResponse (CreateTopics) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 2.., ignorable;
        /// The outcome by topic.
        topics: Vec<CreatableTopicResult>, 0..;
    }

    /// The outcome for one topic.
    struct CreatableTopicResult {
        /// The topic's name.
        name: Str, 0..;
        /// The topic's id.
        topic_id: Uuid, 7.., ignorable;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// What went wrong, or null.
        error_message: Option<Str>, 1.., ignorable;
        /// Why `configs` is null: the error code, or 0.
        topic_config_error_code: i16, 5.., tag = 0, ignorable;
        /// The number of partitions, or -1.
        num_partitions: i32, 5.., default = -1, ignorable;
        /// The number of replicas of each, or -1.
        replication_factor: i16, 5.., default = -1, ignorable;
        /// The configurations, or null if the client may not see them.
        configs: Option<Vec<CreatableTopicConfigs>>, 5.., default = Some(Vec::new()), ignorable;
    }

    /// One configuration of the topic made.
    struct CreatableTopicConfigs {
        /// The configuration's name.
        name: Str, 5..;
        /// Its value, or null.
        value: Option<Str>, 5..;
        /// Whether it cannot be changed.
        read_only: bool, 5..;
        /// Where the value comes from.
        config_source: i8, 5.., default = -1, ignorable;
        /// Whether the value is secret.
        is_sensitive: bool, 5..;
    }
}
