//! The classic consumer-group coordinator: membership, rebalances and committed offsets.
//!
//! A group lives on one partition of `__consumer_offsets` ([`partition_for`]), and a
//! [`Coordinator`] keeps all groups of one partition. It is plain state, `(state, now, event) ->
//! effects`: whoever drives it brings the time, appends the records it asks for, and hands its
//! answers to the clients.
//!
//! ```text
//!            Request, ReplyToken                       Reply { token, response }
//!  handlers ────────────────────▶ Coordinator::handle ───────────────────────▶ handlers
//!                                    │        ▲
//!       Append { id, records }       │        │  persisted(id, Ok | Err)
//!                                    ▼        │
//!                        the partition of __consumer_offsets
//!
//!  one timer, at next_deadline() ──▶ tick        a topic is deleted ──▶ topic_deleted
//!  at start: replay(record)... loaded            at the end: resign
//! ```
//!
//! What holds:
//!
//! - A request is answered exactly once. JoinGroup and SyncGroup may be answered by a much later
//!   event.
//! - An offset shows in OffsetFetch, and its commit is answered, when its record is durable; an
//!   assignment is handed out when the group's record is durable. Changes take effect in the order
//!   of their records, so replaying the log gives the same state.
//! - A group's generation only grows.
//! - Metadata and assignments are opaque bytes: any protocol type works. Subscriptions of
//!   consumers are looked at so that offsets of topics they read do not expire; bytes that are no
//!   subscription do no harm.
//! - Every step is deterministic: maps are ordered, and the random part of a member id comes with
//!   the request.
//!
//! **Absent on purpose**: Kafka's error codes (handlers map [`GroupError`]), the wire's messages,
//! I/O, clocks, logging, and knowledge of which topics exist (a handler checks that before it
//! passes a commit on).
//!
//! Where Kafka leaves a client without an answer, this coordinator gives one: a JoinGroup or
//! SyncGroup that its member repeats while the first is parked ends the first with
//! [`GroupError::RebalanceInProgress`], and a parked SyncGroup of a member that is removed ends
//! with [`GroupError::UnknownMemberId`]. And an empty group's record keeps its generation, so that
//! it does not start over after a restart.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use ringlog_broker::group::{
//!     CommitPartition, CommitRequest, CommitTopic, Coordinator, Effect, Moment, ReplyToken,
//!     Request, Settings,
//! };
//! use ringlog_engine::offset::Timestamp;
//!
//! let now = Moment { elapsed: Duration::ZERO, wall: Timestamp::from_millis(1_700_000_000_000) };
//! let mut coordinator = Coordinator::new(Settings::default());
//! coordinator.loaded(now);
//!
//! let commit = CommitRequest {
//!     group_id: "readers".into(),
//!     member_id: "".into(),
//!     instance_id: None,
//!     generation: -1,
//!     retention_ms: None,
//!     topics: vec![CommitTopic {
//!         topic: "flights".into(),
//!         partitions: vec![CommitPartition {
//!             partition: 0,
//!             offset: 42,
//!             leader_epoch: -1,
//!             metadata: None,
//!         }],
//!     }],
//! };
//! let effects = coordinator.handle(now, Request::Commit(commit), ReplyToken(1));
//! let [Effect::Append { id, records }] = &effects[..] else { panic!("nothing to store?") };
//! assert_eq!(records.len(), 1);
//! // The caller appends the records and waits until they are durable.
//! let effects = coordinator.persisted(now, *id, Ok(()));
//! assert!(matches!(effects[..], [Effect::Reply { token: ReplyToken(1), .. }]));
//! ```

mod api;
mod check;
mod classic;
mod coordinator;
mod error;
mod id;
mod join;
mod member;
mod membership;
mod offsets;
mod outbox;
mod rebalance;
mod records;
mod settings;
mod timer;

pub use api::{
    AppendId, CommitPartition, CommitRequest, CommitTopic, CommitTopicResult, CommittedOffset,
    DescribedGroup, DescribedMember, Effect, Effects, FetchRequest, FetchedTopic, HeartbeatRequest,
    JoinRefused, JoinRequest, Joined, JoinedMember, LeaveRequest, LeavingMember, LeftMember,
    ListRequest, ListedGroup, Moment, Protocol, Record, ReplyToken, Request, Response, SyncRequest,
    Synced,
};
pub use classic::State;
pub use coordinator::{Coordinator, ReplayError, Replayed};
pub use error::{AppendFailure, GroupError};
pub use id::{GroupId, InstanceId, MemberId, ProtocolName, TopicName, partition_for};
pub use records::RecordError;
pub use settings::{
    GROUP_METADATA_BYTES_MAX, GROUPS_MAX, MEMBER_METADATA_BYTES_MAX, MEMBERS_MAX, NAME_BYTES_MAX,
    PROTOCOLS_MAX, Settings, TOMBSTONES_PER_APPEND,
};
