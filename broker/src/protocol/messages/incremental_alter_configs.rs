//! IncrementalAlterConfigs: change single configurations.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks to change configurations.
    request IncrementalAlterConfigsRequest
        (IncrementalAlterConfigs => IncrementalAlterConfigsResponse)
    {
        /// The changes by resource.
        resources: Vec<AlterConfigsResource>, 0..;
        /// Whether to check only.
        validate_only: bool, 0..;
    }

    /// The changes of one resource.
    struct AlterConfigsResource {
        /// The type of resource: 2 topic, 4 broker.
        resource_type: i8, 0..;
        /// The resource's name.
        resource_name: Str, 0..;
        /// The changes.
        configs: Vec<AlterableConfig>, 0..;
    }

    /// One change.
    struct AlterableConfig {
        /// The configuration's name.
        name: Str, 0..;
        /// What to do: 0 set, 1 delete, 2 append to the list, 3 take from the list.
        config_operation: i8, 0..;
        /// The value, or null.
        value: Option<Str>, 0..;
    }

    /// Which resources were changed.
    response IncrementalAlterConfigsResponse (IncrementalAlterConfigs) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 0..;
        /// The outcome by resource.
        responses: Vec<AlterConfigsResourceResponse>, 0..;
    }

    /// The outcome for one resource.
    struct AlterConfigsResourceResponse {
        /// The error code, or 0.
        error_code: i16, 0..;
        /// What went wrong, or null.
        error_message: Option<Str>, 0..;
        /// The type of resource: 2 topic, 4 broker.
        resource_type: i8, 0..;
        /// The resource's name.
        resource_name: Str, 0..;
    }
}
