//! What goes into a coordinator and what comes out: requests, responses and effects.
//!
//! All of it is `Send`, so that a handler on another thread can make the requests and take the
//! responses.

use std::time::Duration;

use bytes::Bytes;
use ringlog_engine::offset::Timestamp;

use super::classic::State;
use super::error::GroupError;
use super::id::{GroupId, InstanceId, MemberId, ProtocolName, TopicName};

/// The time of an event, as the caller read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Time since some fixed point, never going back: sessions and rebalances run on it.
    pub elapsed: Duration,
    /// The wall clock: commits are stamped with it, and offsets expire by it.
    pub wall: Timestamp,
}

/// The caller's name for a request that waits for its answer. Used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// The coordinator's name for an append that it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub(super) u64);

/// A record for the coordinator's partition of `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key: which offset or group this is about.
    pub key: Bytes,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// Something the caller has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Append the records as one record batch, in the order in which effects were given, and
    /// tell [`Coordinator::persisted`](super::Coordinator::persisted) exactly once how it went.
    Append {
        /// Under which name to report.
        id: AppendId,
        /// The records, at least one.
        records: Vec<Record>,
    },
    /// Answer a request.
    Reply {
        /// Which one.
        token: ReplyToken,
        /// With what.
        response: Response,
    },
}

/// What the caller has to do, in this order.
pub type Effects = Vec<Effect>;

/// One request to a coordinator, about a group that lives on it. A handler splits requests that
/// name several groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// JoinGroup.
    Join(JoinRequest),
    /// SyncGroup.
    Sync(SyncRequest),
    /// Heartbeat.
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup.
    Leave(LeaveRequest),
    /// OffsetCommit.
    Commit(CommitRequest),
    /// OffsetFetch, for one group.
    Fetch(FetchRequest),
    /// DescribeGroups, for one group.
    Describe {
        /// The group.
        group_id: GroupId,
    },
    /// ListGroups: the groups of this coordinator.
    List(ListRequest),
    /// DeleteGroups, for one group.
    Delete {
        /// The group.
        group_id: GroupId,
    },
}

/// The answer to a [`Request`], of the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// To [`Request::Join`].
    Join(Result<Joined, JoinRefused>),
    /// To [`Request::Sync`].
    Sync(Result<Synced, GroupError>),
    /// To [`Request::Heartbeat`].
    Heartbeat(Result<(), GroupError>),
    /// To [`Request::Leave`]: one result for each member named, in order.
    Leave(Result<Vec<LeftMember>, GroupError>),
    /// To [`Request::Commit`]: one result for each partition named, in order. An error in place
    /// of them holds for all partitions.
    Commit(Result<Vec<CommitTopicResult>, GroupError>),
    /// To [`Request::Fetch`].
    Fetch(Result<Vec<FetchedTopic>, GroupError>),
    /// To [`Request::Describe`]. A group that does not exist is
    /// [`GroupError::GroupIdNotFound`]; older versions of the API say that it is dead.
    Describe(Result<DescribedGroup, GroupError>),
    /// To [`Request::List`], sorted by group id.
    List(Result<Vec<ListedGroup>, GroupError>),
    /// To [`Request::Delete`].
    Delete(Result<(), GroupError>),
}

/// One assignment protocol that a member offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: ProtocolName,
    /// What the member says under it: opaque here, except for subscriptions of consumers.
    pub metadata: Bytes,
}

/// A member wants to take part in the next generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group_id: GroupId,
    /// The member's id; empty if it has none yet.
    pub member_id: MemberId,
    /// Text to make an id of for a member without one, unique and hard to guess (a random UUID).
    pub member_id_suffix: String,
    /// The id of a static member.
    pub instance_id: Option<InstanceId>,
    /// `client.id` of the request's header.
    pub client_id: String,
    /// Where the request came from, as Kafka shows it (`/127.0.0.1`).
    pub client_host: String,
    /// How long the member may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for the member, in milliseconds; negative (version 0 of the
    /// API): as long as the session.
    pub rebalance_timeout_ms: i32,
    /// The kind of group the member wants.
    pub protocol_type: ProtocolName,
    /// The protocols it offers, most wanted first.
    pub protocols: Vec<Protocol>,
    /// Whether a member without an id is first given one and has to come back (version 4 of the
    /// API and later).
    pub requires_known_member_id: bool,
    /// Whether a static leader that comes back can be told to leave the assignment as it is
    /// (version 9 of the API and later).
    pub supports_skipping_assignment: bool,
}

/// A member is part of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The member's id from now on.
    pub member_id: MemberId,
    /// The generation.
    pub generation: i32,
    /// The kind of the group.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol that was voted for.
    pub protocol: Option<ProtocolName>,
    /// Who makes the assignment.
    pub leader: MemberId,
    /// Whether the leader is to keep the assignment as it is.
    pub skip_assignment: bool,
    /// All members with their metadata, for the leader; empty for the others.
    pub members: Vec<JoinedMember>,
}

/// One member, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its instance id, if it is static.
    pub instance_id: Option<InstanceId>,
    /// What it said under the protocol that was voted for.
    pub metadata: Bytes,
}

/// A member could not join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRefused {
    /// The member id of the answer: the one to come back with, the one that came, or empty.
    pub member_id: MemberId,
    /// Why.
    pub error: GroupError,
}

/// A member asks for its assignment, and the leader brings everybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group_id: GroupId,
    /// The member.
    pub member_id: MemberId,
    /// Its instance id, if it is static.
    pub instance_id: Option<InstanceId>,
    /// The generation it joined.
    pub generation: i32,
    /// The kind of group it believes in, from version 5 of the API.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol it believes was chosen, from version 5 of the API.
    pub protocol: Option<ProtocolName>,
    /// The leader's assignment.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// A member has its assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The kind of the group.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol that was voted for.
    pub protocol: Option<ProtocolName>,
    /// What the leader assigned to the member; empty if nothing.
    pub assignment: Bytes,
}

/// A member says that it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The group.
    pub group_id: GroupId,
    /// The member.
    pub member_id: MemberId,
    /// Its instance id, if it is static.
    pub instance_id: Option<InstanceId>,
    /// The generation it is in.
    pub generation: i32,
}

/// Members leave, or an administrator removes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveRequest {
    /// The group.
    pub group_id: GroupId,
    /// Who leaves. Versions of the API below 3 name one member.
    pub members: Vec<LeavingMember>,
}

/// One member that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    /// Its id; empty to remove a static member by its instance id.
    pub member_id: MemberId,
    /// Its instance id, if it is static.
    pub instance_id: Option<InstanceId>,
}

/// How it went for one member that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftMember {
    /// The member id of the request.
    pub member_id: MemberId,
    /// The instance id of the request.
    pub instance_id: Option<InstanceId>,
    /// Whether it has left.
    pub result: Result<(), GroupError>,
}

/// A consumer says how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group; may be empty, for old consumers without one.
    pub group_id: GroupId,
    /// The member; empty for a consumer that is in no group.
    pub member_id: MemberId,
    /// Its instance id, if it is static.
    pub instance_id: Option<InstanceId>,
    /// The generation it is in; negative for a consumer that is in no group.
    pub generation: i32,
    /// How long to keep the offsets, in milliseconds from now, if the client asks for it
    /// (versions 2 to 4 of the API).
    pub retention_ms: Option<i64>,
    /// The offsets.
    pub topics: Vec<CommitTopic>,
}

/// Offsets of one topic to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitTopic {
    /// The topic, which the handler has found to exist.
    pub topic: TopicName,
    /// Its partitions.
    pub partitions: Vec<CommitPartition>,
}

/// The offset of one partition to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to read.
    pub offset: i64,
    /// The leader epoch of the last record read; -1 if not known.
    pub leader_epoch: i32,
    /// Text that comes back with the offset.
    pub metadata: Option<String>,
}

/// How it went for the partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitTopicResult {
    /// The topic.
    pub topic: TopicName,
    /// Each partition, and whether its offset is durable.
    pub partitions: Vec<(i32, Result<(), GroupError>)>,
}

/// Somebody asks for committed offsets. No offset is ever unstable without transactions, so a
/// request that requires stable ones needs no more than this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// The group.
    pub group_id: GroupId,
    /// The partitions asked for; `None` for all that have an offset.
    pub topics: Option<Vec<(TopicName, Vec<i32>)>>,
}

/// Committed offsets of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic.
    pub topic: TopicName,
    /// Its partitions; `None` where no offset is committed.
    pub partitions: Vec<(i32, Option<CommittedOffset>)>,
}

/// An offset that a group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to read.
    pub offset: i64,
    /// The leader epoch of the last record read; -1 if not known.
    pub leader_epoch: i32,
    /// Text that the client stored with it.
    pub metadata: String,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
    /// When it expires whatever the group does, if the client asked for that.
    pub expire_timestamp: Option<Timestamp>,
}

/// A group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its id.
    pub group_id: GroupId,
    /// Its state.
    pub state: State,
    /// Its generation.
    pub generation: i32,
    /// Its kind; `None` if it only stores offsets.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol in use, while it is stable.
    pub protocol: Option<ProtocolName>,
    /// Its members, sorted by id.
    pub members: Vec<DescribedMember>,
}

/// One member of a group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its instance id, if it is static.
    pub instance_id: Option<InstanceId>,
    /// `client.id` of the client.
    pub client_id: String,
    /// Where the client is.
    pub client_host: String,
    /// What it said under the protocol in use; empty unless the group is stable.
    pub metadata: Bytes,
    /// What it was assigned; empty unless the group is stable.
    pub assignment: Bytes,
}

/// Which groups to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListRequest {
    /// Only groups in one of these states, in any case; empty for all.
    pub states: Vec<String>,
    /// Only groups of one of these types, in any case; empty for all. The groups here are
    /// `classic`.
    pub types: Vec<String>,
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub group_id: GroupId,
    /// Its kind; `None` if it only stores offsets.
    pub protocol_type: Option<ProtocolName>,
    /// Its state.
    pub state: State,
}

impl Request {
    /// The answer that refuses this request for one reason.
    pub(super) fn refusal(&self, error: GroupError) -> Response {
        match self {
            Self::Join(join) => {
                Response::Join(Err(JoinRefused { member_id: join.member_id.clone(), error }))
            }
            Self::Sync(_) => Response::Sync(Err(error)),
            Self::Heartbeat(_) => Response::Heartbeat(Err(error)),
            Self::Leave(_) => Response::Leave(Err(error)),
            Self::Commit(_) => Response::Commit(Err(error)),
            Self::Fetch(_) => Response::Fetch(Err(error)),
            Self::Describe { .. } => Response::Describe(Err(error)),
            Self::List(_) => Response::List(Err(error)),
            Self::Delete { .. } => Response::Delete(Err(error)),
        }
    }
}

impl Response {
    /// The answer in place of this one when what it promises was not stored.
    pub(super) fn not_stored(self, group: GroupError, commit: GroupError) -> Self {
        match self {
            Self::Join(_) => {
                Self::Join(Err(JoinRefused { member_id: MemberId::default(), error: group }))
            }
            Self::Sync(_) => Self::Sync(Err(group)),
            Self::Heartbeat(_) => Self::Heartbeat(Err(group)),
            Self::Leave(_) => Self::Leave(Err(group)),
            Self::Commit(Ok(mut topics)) => {
                for (_, result) in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    // Partitions that were refused for a reason of their own keep it.
                    if result.is_ok() {
                        *result = Err(commit.clone());
                    }
                }
                Self::Commit(Ok(topics))
            }
            Self::Commit(Err(_)) => Self::Commit(Err(commit)),
            Self::Fetch(_) => Self::Fetch(Err(group)),
            Self::Describe(_) => Self::Describe(Err(group)),
            Self::List(_) => Self::List(Err(group)),
            Self::Delete(_) => Self::Delete(Err(group)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_responses_cross_threads() {
        fn crosses<T: Send>() {}
        crosses::<Request>();
        crosses::<Response>();
        crosses::<Effect>();
    }
}
