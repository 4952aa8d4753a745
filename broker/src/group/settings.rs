//! What an operator may set, and the bounds that nobody may.

use std::time::Duration;

/// Groups on one coordinator (one partition of `__consumer_offsets`). A group costs about 1 KiB
/// without members or offsets, so a full coordinator costs about 100 MiB. At the bound new groups
/// are refused; those that exist are served on.
pub const GROUPS_MAX: usize = 100_000;

/// Members of one group, however high `group.max.size` is set, and as many more that were given
/// an id and have not come back with it. Every rebalance answers the leader with all of them; the
/// largest groups in the field have a few thousand. At the bound a join is refused.
pub const MEMBERS_MAX: usize = 10_000;

/// Bytes of one name that a client sends (a group, member, instance, client or protocol). Names
/// are stored with 16-bit lengths, and a member id is a name plus a suffix, so half of the 32 KiB
/// that such a length can say. At the bound the request is refused.
pub const NAME_BYTES_MAX: usize = 16 << 10;

/// Protocols that one member may offer. Clients offer one to four.
pub const PROTOCOLS_MAX: usize = 64;

/// Bytes of protocol metadata that one member may bring, over all its protocols. At the bound the
/// join is refused.
pub const MEMBER_METADATA_BYTES_MAX: usize = 1 << 20;

/// Bytes of protocol metadata that all members of a group may bring together, and bytes of
/// assignments that its leader may hand out. At the bound the join or the sync is refused.
pub const GROUP_METADATA_BYTES_MAX: usize = 64 << 20;

/// Tombstones in one append when many offsets expire or go with their group, so that they fit
/// into a record batch of the default size. Larger deletions take several appends.
pub const TOMBSTONES_PER_APPEND: usize = 1_000;

/// How a coordinator treats its groups. The names in the documentation are Kafka's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Shortest session timeout, in milliseconds (`group.min.session.timeout.ms`).
    pub session_timeout_min_ms: i32,
    /// Longest session timeout, in milliseconds (`group.max.session.timeout.ms`).
    pub session_timeout_max_ms: i32,
    /// How long the first rebalance of an empty group waits for more members
    /// (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Duration,
    /// How long a member that joins for the first time may stay parked before it is given up
    /// (`group.coordinator.new.member.join.timeout.ms`, five minutes in Kafka).
    pub new_member_join_timeout: Duration,
    /// Members of a group (`group.max.size`); [`MEMBERS_MAX`] holds as well.
    pub group_size_max: usize,
    /// Longest metadata of a committed offset, in UTF-16 code units (`offset.metadata.max.bytes`).
    pub offset_metadata_max: usize,
    /// How long offsets outlive their group's last member (`offsets.retention.minutes`).
    pub offsets_retention: Duration,
    /// How often expired offsets are looked for (`offsets.retention.check.interval.ms`).
    pub offsets_retention_check_interval: Duration,
}

impl Default for Settings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay: Duration::from_secs(3),
            new_member_join_timeout: Duration::from_secs(5 * 60),
            group_size_max: MEMBERS_MAX,
            offset_metadata_max: 4_096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_retention_check_interval: Duration::from_secs(10 * 60),
        }
    }
}

impl Settings {
    /// How many members a group may have: what is set, within what is possible.
    pub(super) fn members_allowed(&self) -> usize {
        self.group_size_max.min(MEMBERS_MAX)
    }
}
