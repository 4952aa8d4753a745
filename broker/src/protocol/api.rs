//! The APIs: keys, names and versions. This table decides what is advertised and served, and the
//! messages take their versions from it.

use std::fmt;

use super::codec::VersionRange;

macro_rules! apis {
    ($(
        $(#[$meta:meta])*
        $name:ident = $key:literal, serves $first:literal ..= $last:literal,
        advertises from $advertised:literal, flexible from $flexible:literal;
    )*) => {
        /// An API that this broker serves.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(
                $(#[$meta])*
                #[doc = ""]
                #[doc = concat!(
                    "Key ", $key, ", served versions ", $first, " to ", $last,
                    ", flexible from ", $flexible, "."
                )]
                $name = $key,
            )*
        }

        impl ApiKey {
            /// Every API, by key.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Kafka's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> i16 {
                match self { $(Self::$name => $key),* }
            }

            /// The API of a number on the wire, if this broker knows it.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code { $($key => Some(Self::$name),)* _ => None }
            }

            /// The versions that are decoded and answered.
            #[must_use]
            pub const fn served(self) -> VersionRange {
                match self { $(Self::$name => VersionRange::new($first, $last)),* }
            }

            /// The versions that the ApiVersions response shows. Differs from the served ones for
            /// Produce alone: clients on librdkafka take a lowest version above 0 to mean that
            /// nothing can be compressed (KAFKA-18659), so Kafka shows 0 and refuses 0 to 2.
            #[must_use]
            pub const fn advertised(self) -> VersionRange {
                match self { $(Self::$name => VersionRange::new($advertised, $last)),* }
            }

            /// The first version with compact lengths and tagged fields.
            #[must_use]
            pub const fn flexible_from(self) -> i16 {
                match self { $(Self::$name => $flexible),* }
            }
        }
    };
}

apis! {
    /// Appends record batches.
    Produce = 0, serves 3..=13, advertises from 0, flexible from 9;
    /// Reads record batches.
    Fetch = 1, serves 4..=18, advertises from 4, flexible from 12;
    /// Finds offsets by timestamp.
    ListOffsets = 2, serves 1..=10, advertises from 1, flexible from 6;
    /// Describes brokers, topics and partitions.
    Metadata = 3, serves 0..=13, advertises from 0, flexible from 9;
    /// Stores the offsets of a group.
    OffsetCommit = 8, serves 2..=9, advertises from 2, flexible from 8;
    /// Reads the offsets of groups.
    OffsetFetch = 9, serves 1..=9, advertises from 1, flexible from 6;
    /// Finds the coordinator of a group.
    FindCoordinator = 10, serves 0..=6, advertises from 0, flexible from 3;
    /// Joins a classic group.
    JoinGroup = 11, serves 0..=9, advertises from 0, flexible from 6;
    /// Keeps a membership alive.
    Heartbeat = 12, serves 0..=4, advertises from 0, flexible from 4;
    /// Leaves a group.
    LeaveGroup = 13, serves 0..=5, advertises from 0, flexible from 4;
    /// Exchanges the assignment of a generation.
    SyncGroup = 14, serves 0..=5, advertises from 0, flexible from 4;
    /// Describes groups and their members.
    DescribeGroups = 15, serves 0..=6, advertises from 0, flexible from 5;
    /// Lists groups.
    ListGroups = 16, serves 0..=5, advertises from 0, flexible from 3;
    /// Tells which APIs and versions there are.
    ApiVersions = 18, serves 0..=4, advertises from 0, flexible from 3;
    /// Makes topics.
    CreateTopics = 19, serves 2..=7, advertises from 2, flexible from 5;
    /// Deletes topics.
    DeleteTopics = 20, serves 1..=6, advertises from 1, flexible from 4;
    /// Hands out producer ids and epochs.
    InitProducerId = 22, serves 0..=5, advertises from 0, flexible from 2;
    /// Reads configurations.
    DescribeConfigs = 32, serves 1..=4, advertises from 1, flexible from 4;
    /// Adds partitions to topics.
    CreatePartitions = 37, serves 0..=3, advertises from 0, flexible from 2;
    /// Deletes groups.
    DeleteGroups = 42, serves 0..=2, advertises from 0, flexible from 2;
    /// Changes single configurations.
    IncrementalAlterConfigs = 44, serves 0..=1, advertises from 0, flexible from 1;
    /// Describes the cluster and its brokers.
    DescribeCluster = 60, serves 0..=2, advertises from 0, flexible from 0;
}

impl ApiKey {
    /// Whether a version has compact lengths and tagged fields.
    #[must_use]
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    /// The version of the request header: 2 with tagged fields, else 1.
    ///
    /// Header version 0, without a client id, belongs to an API of the ZooKeeper era alone.
    #[must_use]
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the response header: 1 with tagged fields, else 0.
    ///
    /// ApiVersions is always answered with 0, because a client reads it before it knows which
    /// versions the broker has.
    #[must_use]
    pub const fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self, Self::ApiVersions) { 1 } else { 0 }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
