//! ApiVersions: which APIs and versions the broker has.
//!
//! A request of an unknown version is answered with a body of version 0 and error 35, which every
//! client can read: see [`ApiVersionsResponse::unsupported_version`].

use crate::protocol::{
    ApiKey, ErrorCode,
    codec::{Str, tables},
};

tables! {
    /// Asks for the APIs.
    request ApiVersionsRequest (ApiVersions => ApiVersionsResponse) {
        /// The name of the client's software.
        client_software_name: Str, 3.., ignorable;
        /// The version of the client's software.
        client_software_version: Str, 3.., ignorable;
    }

    /// The APIs.
    response ApiVersionsResponse (ApiVersions) {
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The APIs.
        api_keys: Vec<ApiVersion>, 0..;
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 1.., ignorable;
        /// The features that the broker supports.
        supported_features: Vec<SupportedFeatureKey>, 3.., tag = 0, ignorable;
        /// The epoch of the finalized features, or -1.
        finalized_features_epoch: i64, 3.., tag = 1, default = -1, ignorable;
        /// The features that the cluster has agreed on.
        finalized_features: Vec<FinalizedFeatureKey>, 3.., tag = 2, ignorable;
        /// Of the ZooKeeper era: always false.
        zk_migration_ready: bool, 3.., tag = 3, ignorable;
    }

    /// The versions of one API.
    struct ApiVersion {
        /// The API's key.
        api_key: i16, 0..;
        /// The lowest version.
        min_version: i16, 0..;
        /// The highest version.
        max_version: i16, 0..;
    }

    /// A feature that the broker supports.
    struct SupportedFeatureKey {
        /// The feature's name.
        name: Str, 3..;
        /// The lowest level.
        min_version: i16, 3..;
        /// The highest level.
        max_version: i16, 3..;
    }

    /// A feature that the cluster has agreed on.
    struct FinalizedFeatureKey {
        /// The feature's name.
        name: Str, 3..;
        /// The highest level in use.
        max_version_level: i16, 3..;
        /// The lowest level in use.
        min_version_level: i16, 3..;
    }
}

impl ApiVersionsResponse {
    /// What this broker advertises.
    #[must_use]
    pub fn advertised() -> Self {
        Self {
            api_keys: ApiKey::ALL.iter().copied().map(ApiVersion::of).collect(),
            ..Self::default()
        }
    }

    /// The answer to a request of an unknown version, to be encoded at version 0: error 35 and the
    /// versions of ApiVersions itself, from which the client picks one and asks again.
    #[must_use]
    pub fn unsupported_version() -> Self {
        Self {
            error_code: ErrorCode::UnsupportedVersion.code(),
            api_keys: vec![ApiVersion::of(ApiKey::ApiVersions)],
            ..Self::default()
        }
    }
}

impl ApiVersion {
    fn of(api: ApiKey) -> Self {
        let versions = api.advertised();
        Self { api_key: api.code(), min_version: versions.min, max_version: versions.max }
    }
}
