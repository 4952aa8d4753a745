//! FindCoordinator: which broker coordinates a group. Up to version 3 a request names one key, from
//! 4 on several; each has fields of its own.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks for coordinators.
    request FindCoordinatorRequest (FindCoordinator => FindCoordinatorResponse) {
        /// The key: a group id, for example.
        key: Str, 0..=3;
        /// What the keys are: 0 group ids, 1 transactional ids, 2 share groups' partitions.
        key_type: i8, 1..;
        /// The keys.
        coordinator_keys: Vec<Str>, 4..;
    }

    /// The coordinators.
    response FindCoordinatorResponse (FindCoordinator) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 1.., ignorable;
        /// The error code, or 0.
        error_code: i16, 0..=3;
        /// What went wrong, or null.
        error_message: Option<Str>, 1..=3, ignorable;
        /// The broker's id.
        node_id: i32, 0..=3;
        /// The host name.
        host: Str, 0..=3;
        /// The port.
        port: i32, 0..=3;
        /// The coordinator of each key.
        coordinators: Vec<Coordinator>, 4..;
    }

    /// The coordinator of one key.
    struct Coordinator {
        /// The key.
        key: Str, 4..;
        /// The broker's id.
        node_id: i32, 4..;
        /// The host name.
        host: Str, 4..;
        /// The port.
        port: i32, 4..;
        /// The error code, or 0.
        error_code: i16, 4..;
        /// What went wrong, or null.
        error_message: Option<Str>, 4..;
    }
}
