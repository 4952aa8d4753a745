//! DescribeConfigs: read the configurations of topics and brokers.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks for configurations.
    request DescribeConfigsRequest (DescribeConfigs => DescribeConfigsResponse) {
        /// The resources asked for.
        resources: Vec<DescribeConfigsResource>, 0..;
        /// Whether to tell the values that each value hides.
        include_synonyms: bool, 1..;
        /// Whether to tell what each configuration means.
        include_documentation: bool, 3..;
    }

    /// A resource asked for.
    struct DescribeConfigsResource {
        /// The type of resource: 2 topic, 4 broker.
        resource_type: i8, 0..;
        /// The resource's name.
        resource_name: Str, 0..;
        /// The configurations asked for; null asks for all.
        configuration_keys: Option<Vec<Str>>, 0.., default = Some(Vec::new());
    }

    /// The configurations.
    response DescribeConfigsResponse (DescribeConfigs) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 0..;
        /// The configurations by resource.
        results: Vec<DescribeConfigsResult>, 0..;
    }

    /// The configurations of one resource.
    struct DescribeConfigsResult {
        /// The error code, or 0.
        error_code: i16, 0..;
        /// What went wrong, or null.
        error_message: Option<Str>, 0..;
        /// The type of resource: 2 topic, 4 broker.
        resource_type: i8, 0..;
        /// The resource's name.
        resource_name: Str, 0..;
        /// The configurations.
        configs: Vec<DescribeConfigsResourceResult>, 0..;
    }

    /// One configuration.
    struct DescribeConfigsResourceResult {
        /// The configuration's name.
        name: Str, 0..;
        /// Its value, or null.
        value: Option<Str>, 0..;
        /// Whether it cannot be changed.
        read_only: bool, 0..;
        /// Where the value comes from: 1 topic, 2 and 3 dynamic broker, 4 static broker, 5 default.
        config_source: i8, 1.., default = -1, ignorable;
        /// Whether the value is secret.
        is_sensitive: bool, 0..;
        /// The values that this one hides, and itself.
        synonyms: Vec<DescribeConfigsSynonym>, 1.., ignorable;
        /// The type of the value.
        config_type: i8, 3.., ignorable;
        /// What the configuration means, or null.
        documentation: Option<Str>, 3.., ignorable;
    }

    /// A value from one source.
    struct DescribeConfigsSynonym {
        /// The configuration's name there.
        name: Str, 1..;
        /// Its value, or null.
        value: Option<Str>, 1..;
        /// Where the value comes from.
        source: i8, 1..;
    }
}
