//! DescribeCluster: the cluster and its brokers.

use super::metadata::OPERATIONS_NOT_REQUESTED;
use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks for the brokers.
    request DescribeClusterRequest (DescribeCluster => DescribeClusterResponse) {
        /// Whether to tell what the client may do to the cluster.
        include_cluster_authorized_operations: bool, 0..;
        /// What to describe: 1 brokers, 2 controllers.
        endpoint_type: i8, 1.., default = 1;
        /// Whether to list fenced brokers too.
        include_fenced_brokers: bool, 2..;
    }

    /// The brokers.
    response DescribeClusterResponse (DescribeCluster) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 0..;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// What went wrong, or null.
        error_message: Option<Str>, 0..;
        /// What is described: 1 brokers, 2 controllers.
        endpoint_type: i8, 1.., default = 1;
        /// The cluster's id.
        cluster_id: Str, 0..;
        /// The id of the controller, or -1.
        controller_id: i32, 0.., default = -1;
        /// The brokers.
        brokers: Vec<DescribeClusterBroker>, 0..;
        /// What the client may do to the cluster, as bits.
        cluster_authorized_operations: i32, 0.., default = OPERATIONS_NOT_REQUESTED;
    }

    /// One broker.
    struct DescribeClusterBroker {
        /// The broker's id.
        broker_id: i32, 0..;
        /// The host name.
        host: Str, 0..;
        /// The port.
        port: i32, 0..;
        /// The rack, or null.
        rack: Option<Str>, 0..;
        /// Whether the broker is fenced.
        is_fenced: bool, 2..;
    }
}
