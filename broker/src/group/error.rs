//! Why the coordinator refuses something.
//!
//! The error codes of Kafka's wire do not appear here: a handler maps each variant, and what a
//! variant means to a client stands in its documentation.

use thiserror::Error;

use super::id::{GroupId, InstanceId, MemberId};

/// Why a request to a group coordinator was refused, in whole or for one member or partition.
///
/// Nothing about the group or its offsets has changed because of a refused request, except where
/// a variant says so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GroupError {
    /// The coordinator is still reading its partition (`COORDINATOR_LOAD_IN_PROGRESS`).
    #[error("the coordinator is still loading its partition")]
    LoadInProgress,
    /// The answer could not be made durable, or the group is being deleted; worth a retry
    /// (`COORDINATOR_NOT_AVAILABLE`). An offset commit refused this way may still show up if its
    /// append failed only after it was written.
    #[error("the coordinator cannot store the change at the moment")]
    NotAvailable,
    /// The coordinator no longer owns the partition (`NOT_COORDINATOR`).
    #[error("this is no longer the coordinator of the group")]
    NotCoordinator,
    /// The group id is empty where members need a name (`INVALID_GROUP_ID`).
    #[error("the group id is empty")]
    InvalidGroupId,
    /// There is no such group (`GROUP_ID_NOT_FOUND`).
    #[error("there is no group {group_id}")]
    GroupIdNotFound {
        /// The group asked for.
        group_id: GroupId,
    },
    /// The group still has members (`NON_EMPTY_GROUP`).
    #[error("group {group_id} has {members} members and cannot be deleted")]
    NonEmptyGroup {
        /// The group asked for.
        group_id: GroupId,
        /// How many members it has.
        members: usize,
    },
    /// The session timeout is out of bounds (`INVALID_SESSION_TIMEOUT`).
    #[error("session timeout of {actual_ms} ms is outside {min_ms} ms..={max_ms} ms")]
    InvalidSessionTimeout {
        /// The timeout asked for, in milliseconds.
        actual_ms: i32,
        /// The shortest allowed, in milliseconds.
        min_ms: i32,
        /// The longest allowed, in milliseconds.
        max_ms: i32,
    },
    /// The client has to join again with the member id that the answer carries
    /// (`MEMBER_ID_REQUIRED`).
    #[error("join again as member {member_id}")]
    MemberIdRequired {
        /// The member id to use.
        member_id: MemberId,
    },
    /// The group does not know this member (`UNKNOWN_MEMBER_ID`).
    #[error("the group has no member {member_id}")]
    UnknownMemberId {
        /// The member id given.
        member_id: MemberId,
    },
    /// Another process has joined under the same instance id (`FENCED_INSTANCE_ID`).
    #[error("instance {instance_id} is no longer member {member_id}")]
    FencedInstanceId {
        /// The instance id given.
        instance_id: InstanceId,
        /// The member id given with it.
        member_id: MemberId,
    },
    /// The member speaks of another generation than the group's (`ILLEGAL_GENERATION`).
    #[error("generation {actual} is not the group's generation {expected}")]
    IllegalGeneration {
        /// The generation given.
        actual: i32,
        /// The group's own.
        expected: i32,
    },
    /// The member shares no protocol with the group, or speaks of another one than was chosen
    /// (`INCONSISTENT_GROUP_PROTOCOL`).
    #[error("the member's protocols do not fit those of the group")]
    InconsistentGroupProtocol,
    /// The group is rebalancing; the member has to join again (`REBALANCE_IN_PROGRESS`).
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// The group is full (`GROUP_MAX_SIZE_REACHED`).
    #[error("the group is full: {allowed} members are allowed")]
    GroupMaxSizeReached {
        /// How many members a group may have.
        allowed: usize,
    },
    /// The coordinator has as many groups as it may hold (`POLICY_VIOLATION`: there is no code of
    /// its own, and a retry does not help).
    #[error("the coordinator holds {allowed} groups, as many as are allowed")]
    TooManyGroups {
        /// How many groups a coordinator may hold.
        allowed: usize,
    },
    /// A part of the request is larger than a group may keep (`MESSAGE_TOO_LARGE`).
    #[error("{what} has {actual_bytes} bytes, {allowed_bytes} bytes are allowed")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size in bytes.
        actual_bytes: usize,
        /// The largest allowed, in bytes.
        allowed_bytes: usize,
    },
    /// The member offers more protocols than a group keeps (`INCONSISTENT_GROUP_PROTOCOL`).
    #[error("the member offers {actual} protocols, {allowed} are allowed")]
    TooManyProtocols {
        /// How many it offers.
        actual: usize,
        /// How many are allowed.
        allowed: usize,
    },
    /// The metadata of a committed offset is too long (`OFFSET_METADATA_TOO_LARGE`).
    #[error("offset metadata has {actual} characters, {allowed} are allowed")]
    OffsetMetadataTooLarge {
        /// Its length in UTF-16 code units, as Kafka counts.
        actual: usize,
        /// The longest allowed, in the same unit.
        allowed: usize,
    },
    /// The offsets do not fit into one record batch (`INVALID_COMMIT_OFFSET_SIZE`).
    #[error("the committed offsets do not fit into one record batch")]
    InvalidCommitOffsetSize,
    /// The state of the group does not fit into one record batch (`UNKNOWN_SERVER_ERROR`, as in
    /// Kafka).
    #[error("the group's metadata does not fit into one record batch")]
    GroupMetadataTooLarge,
}

/// Why records could not be made durable, as the caller of
/// [`Coordinator::persisted`](super::Coordinator::persisted) saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AppendFailure {
    /// Too few replicas, a full disk or a timeout: it may work later.
    #[error("the partition cannot take records at the moment")]
    Unavailable,
    /// The partition is led elsewhere, or its log has failed.
    #[error("the partition takes no records here")]
    NotLeader,
    /// The records are larger than the partition's limit for a batch.
    #[error("the records do not fit into one record batch")]
    TooLarge,
}

impl AppendFailure {
    /// What a member is told when the group's metadata was not stored.
    pub(super) fn for_group(self) -> GroupError {
        match self {
            Self::Unavailable => GroupError::NotAvailable,
            Self::NotLeader => GroupError::NotCoordinator,
            Self::TooLarge => GroupError::GroupMetadataTooLarge,
        }
    }

    /// What a client is told when its offsets were not stored.
    pub(super) fn for_commit(self) -> GroupError {
        match self {
            Self::TooLarge => GroupError::InvalidCommitOffsetSize,
            other => other.for_group(),
        }
    }
}
