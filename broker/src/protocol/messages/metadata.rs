//! Metadata: which brokers, topics and partitions there are.

use uuid::Uuid;

use crate::protocol::codec::{Str, tables};

/// What `authorized_operations` fields hold when they were not asked for.
pub const OPERATIONS_NOT_REQUESTED: i32 = i32::MIN;

tables! {
    /// Asks for brokers and topics.
    request MetadataRequest (Metadata => MetadataResponse) {
        /// The topics asked for; null asks for all. Version 0 has no null: there, empty asks for
        /// all.
        topics: Option<Vec<MetadataRequestTopic>>, 0.., nullable = 1.., default = Some(Vec::new());
        /// Whether the broker may make topics that do not exist.
        allow_auto_topic_creation: bool, 4.., default = true;
        /// Whether to tell what the client may do to the cluster.
        include_cluster_authorized_operations: bool, 8..=10;
        /// Whether to tell what the client may do to each topic.
        include_topic_authorized_operations: bool, 8..;
    }

    /// One topic asked for.
    struct MetadataRequestTopic {
        /// The topic's id.
        topic_id: Uuid, 10.., ignorable;
        /// The topic's name, or null if it is asked for by id.
        name: Option<Str>, 0.., nullable = 10..;
    }

    /// The brokers and topics.
    response MetadataResponse (Metadata) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 3.., ignorable;
        /// The brokers.
        brokers: Vec<MetadataResponseBroker>, 0..;
        /// The cluster's id, or null.
        cluster_id: Option<Str>, 2.., ignorable;
        /// The id of the controller, or -1.
        controller_id: i32, 1.., default = -1, ignorable;
        /// The topics.
        topics: Vec<MetadataResponseTopic>, 0..;
        /// What the client may do to the cluster, as bits.
        cluster_authorized_operations: i32, 8..=10, default = OPERATIONS_NOT_REQUESTED;
        /// The error code of the whole request, or 0.
        error_code: i16, 13.., ignorable;
    }

    /// One broker.
    struct MetadataResponseBroker {
        /// The broker's id.
        node_id: i32, 0..;
        /// The host name.
        host: Str, 0..;
        /// The port.
        port: i32, 0..;
        /// The rack, or null.
        rack: Option<Str>, 1.., ignorable;
    }

    /// One topic.
    struct MetadataResponseTopic {
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The topic's name, or null if an id asked for is not known.
        name: Option<Str>, 0.., nullable = 12..;
        /// The topic's id.
        topic_id: Uuid, 10.., ignorable;
        /// Whether the broker made the topic for itself.
        is_internal: bool, 1.., ignorable;
        /// The partitions.
        partitions: Vec<MetadataResponsePartition>, 0..;
        /// What the client may do to the topic, as bits.
        topic_authorized_operations: i32, 8.., default = OPERATIONS_NOT_REQUESTED;
    }

    /// One partition.
    struct MetadataResponsePartition {
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The partition's index.
        partition_index: i32, 0..;
        /// The leader's broker id, or -1.
        leader_id: i32, 0..;
        /// The leader epoch.
        leader_epoch: i32, 7.., default = -1, ignorable;
        /// The brokers that hold replicas.
        replica_nodes: Vec<i32>, 0..;
        /// Those in sync with the leader.
        isr_nodes: Vec<i32>, 0..;
        /// Those offline.
        offline_replicas: Vec<i32>, 5.., ignorable;
    }
}
