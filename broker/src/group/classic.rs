//! One classic group: its members, what they agree on, and how members come and go.
//!
//! ```text
//!          first member joins           all have joined, or time is up
//!   Empty ────────────────▶ PreparingRebalance ─────────▶ CompletingRebalance
//!     ▲ ▲                        │    ▲   ▲                    │         │
//!     │ └── nobody has joined ───┘    │   └──── a member ──────┘         │ the leader's assignment
//!     │                               │       joins or leaves            ▼ is durable
//!     │ append failed                 └──────────────────────────────  Stable
//!   Dead ◀── deleted or expired (from Empty): waits for its tombstones, then it is gone
//! ```
//!
//! The generation grows by one at the end of every join phase.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use ringlog_engine::offset::Timestamp;

use super::api::{
    JoinRefused, Joined, JoinedMember, Protocol, Record, ReplyToken, Response, Synced,
};
use super::error::GroupError;
use super::id::{GroupId, InstanceId, MemberId, ProtocolName, TopicName};
use super::member::{self, Member};
use super::offsets::Offsets;
use super::outbox::Context;
use super::rebalance::InitialDelay;
use super::records::{self, GroupValue, MemberValue};
use super::timer::TimerKey;

/// The protocol type whose metadata is a subscription that can be read.
const CONSUMER: &str = "consumer";

/// Where a group stands. The names shown are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has no members.
    Empty,
    /// It waits for its members to join.
    PreparingRebalance,
    /// It waits for its leader's assignment.
    CompletingRebalance,
    /// Every member has, or can have, its assignment.
    Stable,
    /// It is being removed.
    Dead,
}

impl State {
    /// The name as Kafka's tools show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A classic group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) state: State,
    /// When the state was entered; `None` if that is not known.
    pub(super) state_since: Option<Timestamp>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<ProtocolName>,
    pub(super) protocol: Option<ProtocolName>,
    pub(super) leader: Option<MemberId>,
    pub(super) members: BTreeMap<MemberId, Member>,
    /// Static members, by their instance id.
    pub(super) instances: BTreeMap<InstanceId, MemberId>,
    /// Ids that were given out and have not come back with a second JoinGroup.
    pub(super) pending_joins: BTreeSet<MemberId>,
    /// Members that have not asked for their assignment in this generation.
    pub(super) pending_syncs: BTreeSet<MemberId>,
    /// The delayed first rebalance of an empty group, while it goes on.
    pub(super) initial_delay: Option<InitialDelay>,
    /// Topics that the members read; `None` where that is not known.
    pub(super) subscribed_topics: Option<BTreeSet<TopicName>>,
    pub(super) offsets: Offsets,
    /// How many members offer a protocol.
    offered_by: BTreeMap<ProtocolName, usize>,
    /// How many members have a parked JoinGroup.
    joins_parked: usize,
    /// Bytes of metadata of all members.
    pub(super) metadata_bytes: usize,
}

impl Group {
    pub(super) fn new(id: GroupId) -> Self {
        Self {
            id,
            state: State::Empty,
            state_since: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            initial_delay: None,
            subscribed_topics: None,
            offsets: Offsets::default(),
            offered_by: BTreeMap::new(),
            joins_parked: 0,
            metadata_bytes: 0,
        }
    }

    /// A group that has nothing but offsets.
    pub(super) fn with_offsets(id: GroupId, offsets: Offsets) -> Self {
        Self { offsets, ..Self::new(id) }
    }

    /// A group as its record keeps it. A group with members was stable when the record was
    /// written; if a rebalance was under way after that, its members find out by their generation
    /// and join again.
    pub(super) fn from_record(id: GroupId, value: GroupValue, offsets: Offsets) -> Self {
        let mut group = Self::with_offsets(id, offsets);
        group.state = if value.members.is_empty() { State::Empty } else { State::Stable };
        group.state_since = value.current_state_timestamp;
        group.generation = value.generation;
        group.protocol_type =
            Some(value.protocol_type).filter(|protocol_type| !protocol_type.is_empty());
        group.protocol = value.protocol;
        for member in value.members {
            let protocols = group
                .protocol
                .iter()
                .map(|name| Protocol { name: name.clone(), metadata: member.subscription.clone() });
            group.insert(Member {
                id: member.member_id,
                instance_id: member.instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                session_timeout_ms: member.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                protocols: protocols.collect(),
                assignment: member.assignment,
                join: None,
                sync: None,
                is_new: false,
            });
        }
        if value.leader.as_ref().is_some_and(|leader| group.members.contains_key(leader)) {
            group.leader = value.leader;
        }
        group.note_subscribed_topics();
        group
    }

    /// The record of this group, with these assignments in place of those the members have.
    pub(super) fn record(&self, assignments: Option<&BTreeMap<MemberId, Bytes>>) -> Record {
        let members = self.members.values().map(|member| MemberValue {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(self.protocol.as_ref()),
            assignment: match assignments {
                Some(assignments) => assignments.get(&member.id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            },
        });
        let value = GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since,
            members: members.collect(),
        };
        records::group_record(&self.id, Some(&value))
    }

    pub(super) fn enter(&mut self, cx: &Context<'_>, state: State) {
        self.state = state;
        self.state_since = Some(cx.now.wall);
    }

    /// Whether nothing would be lost if the group were forgotten: it was only ever asked for.
    pub(super) fn is_vacant(&self) -> bool {
        self.state == State::Empty
            && self.generation == 0
            && self.state_since.is_none()
            && self.protocol_type.is_none()
            && self.pending_joins.is_empty()
            && self.offsets.is_empty()
    }

    /// Whether whoever sent this is the member, and the instance, it says it is.
    pub(super) fn validate_member(
        &self,
        member_id: &MemberId,
        instance_id: Option<&InstanceId>,
    ) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id
            && self.instances.get(instance_id).is_some_and(|current| current != member_id)
        {
            return Err(GroupError::FencedInstanceId {
                instance_id: instance_id.clone(),
                member_id: member_id.clone(),
            });
        }
        let instance_is_known =
            instance_id.is_none_or(|instance_id| self.instances.contains_key(instance_id));
        if instance_is_known && self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(unknown(member_id))
        }
    }

    pub(super) fn validate_generation(&self, actual: i32) -> Result<(), GroupError> {
        if actual == self.generation {
            Ok(())
        } else {
            Err(GroupError::IllegalGeneration { actual, expected: self.generation })
        }
    }

    pub(super) fn is_leader(&self, member_id: &MemberId) -> bool {
        self.leader.as_ref() == Some(member_id)
    }

    /// Whether some protocol of these is offered by every member, and the kind of group is the
    /// same. An empty group takes any kind.
    pub(super) fn supports(&self, protocol_type: &ProtocolName, protocols: &[Protocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.is_offered_by_all(&protocol.name))
    }

    fn is_offered_by_all(&self, protocol: &ProtocolName) -> bool {
        self.offered_by.get(protocol) == Some(&self.members.len())
    }

    /// The protocol that most members want among those that all offer; the first by name where
    /// several have as many votes. `None` only for a group without members, or one that was
    /// loaded without a protocol.
    pub(super) fn vote(&self) -> Option<ProtocolName> {
        let mut votes: BTreeMap<&ProtocolName, usize> = BTreeMap::new();
        for member in self.members.values() {
            let wanted = member.protocols.iter().find(|offer| self.is_offered_by_all(&offer.name));
            if let Some(wanted) = wanted {
                *votes.entry(&wanted.name).or_default() += 1;
            }
        }
        // Of equal maxima `max_by_key` takes the last, hence the reverse order.
        votes.iter().rev().max_by_key(|(_, count)| **count).map(|(name, _)| (*name).clone())
    }

    /// Notes which topics the members read, if they are consumers that can be understood.
    pub(super) fn note_subscribed_topics(&mut self) {
        self.subscribed_topics =
            if self.protocol_type.as_ref().is_some_and(|kind| kind.as_str() == CONSUMER) {
                let subscriptions = self.members.values().map(|member| {
                    records::read_subscribed_topics(&member.metadata(self.protocol.as_ref()))
                });
                let topics: Option<Vec<_>> = subscriptions.collect();
                topics.map(|topics| topics.into_iter().flatten().collect())
            } else {
                None
            };
    }

    /// All members, as the leader sees them.
    pub(super) fn members_for_leader(&self) -> Vec<JoinedMember> {
        let members = self.members.values().map(|member| JoinedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(self.protocol.as_ref()),
        });
        members.collect()
    }

    /// What a member is told about the current generation.
    pub(super) fn joined(&self, member_id: &MemberId, members: Vec<JoinedMember>) -> Joined {
        Joined {
            member_id: member_id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members,
        }
    }

    /// What a member is told about its assignment.
    pub(super) fn synced(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    /// Adds a member; the first one leads.
    pub(super) fn insert(&mut self, member: Member) {
        // Only a damaged record names a member twice; the books stay in order all the same.
        self.take(&member.id);
        self.pending_joins.remove(&member.id);
        self.leader.get_or_insert_with(|| member.id.clone());
        if let Some(instance_id) = &member.instance_id {
            self.instances.insert(instance_id.clone(), member.id.clone());
        }
        self.count_offers(&member.protocols);
        self.joins_parked += usize::from(member.join.is_some());
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out of the books, with its parked requests still on it.
    fn take(&mut self, member_id: &MemberId) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        self.uncount_offers(&member.protocols);
        self.joins_parked -= usize::from(member.join.is_some());
        if let Some(instance_id) = &member.instance_id {
            self.instances.remove(instance_id);
        }
        Some(member)
    }

    /// Removes whatever the group knows of a member id. Requests of the member that are parked
    /// are answered: it is unknown now, and joins anew if it still lives.
    pub(super) fn remove(&mut self, cx: &mut Context<'_>, member_id: &MemberId) {
        cx.timers.cancel(TimerKey::Session(self.id.clone(), member_id.clone()));
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
        if let Some(member) = self.take(member_id) {
            refuse_parked(cx, &member, &MemberId::default(), &unknown(member_id));
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Puts a static member under a new id, with all that it has but for parked requests: those
    /// of its predecessor are fenced.
    pub(super) fn rename(&mut self, cx: &mut Context<'_>, old_id: &MemberId, new_id: &MemberId) {
        let led = self.is_leader(old_id);
        cx.timers.cancel(TimerKey::Session(self.id.clone(), old_id.clone()));
        self.pending_syncs.remove(old_id);
        let Some(mut member) = self.take(old_id) else { return };
        if let Some(instance_id) = &member.instance_id {
            let error = GroupError::FencedInstanceId {
                instance_id: instance_id.clone(),
                member_id: old_id.clone(),
            };
            refuse_parked(cx, &member, old_id, &error);
        }
        (member.join, member.sync) = (None, None);
        member.is_new = false;
        member.id = new_id.clone();
        self.insert(member);
        if led {
            self.leader = Some(new_id.clone());
        }
    }

    /// Gives a member new protocols and timeouts.
    pub(super) fn update(
        &mut self,
        member_id: &MemberId,
        protocols: &[Protocol],
        session_timeout_ms: i32,
        rebalance_timeout_ms: i32,
    ) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        member.session_timeout_ms = session_timeout_ms;
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        let before = std::mem::replace(&mut member.protocols, member::owned(protocols));
        self.uncount_offers(&before);
        self.count_offers(protocols);
    }

    fn count_offers(&mut self, protocols: &[Protocol]) {
        for name in distinct(protocols) {
            *self.offered_by.entry(name.clone()).or_default() += 1;
        }
        self.metadata_bytes += member::metadata_bytes(protocols);
    }

    fn uncount_offers(&mut self, protocols: &[Protocol]) {
        for name in distinct(protocols) {
            if let Some(count) = self.offered_by.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.offered_by.remove(name);
                }
            }
        }
        self.metadata_bytes -= member::metadata_bytes(protocols);
    }

    /// Lets a member's JoinGroup wait. One that waits already was given up by its client, which
    /// waits for this one now.
    pub(super) fn park_join(
        &mut self,
        cx: &mut Context<'_>,
        member_id: &MemberId,
        token: ReplyToken,
    ) {
        self.answer_join(
            cx,
            member_id,
            Err(JoinRefused {
                member_id: member_id.clone(),
                error: GroupError::RebalanceInProgress,
            }),
        );
        if let Some(member) = self.members.get_mut(member_id) {
            member.join = Some(token);
            self.joins_parked += 1;
        }
    }

    /// Answers a member's parked JoinGroup, if it has one.
    pub(super) fn answer_join(
        &mut self,
        cx: &mut Context<'_>,
        member_id: &MemberId,
        answer: Result<Joined, JoinRefused>,
    ) {
        let parked = self.members.get_mut(member_id).and_then(|member| member.join.take());
        if let Some(token) = parked {
            self.joins_parked -= 1;
            cx.outbox.reply(token, Response::Join(answer));
        }
    }

    /// Whether everybody who is known has joined.
    pub(super) fn all_have_joined(&self) -> bool {
        self.joins_parked == self.members.len() && self.pending_joins.is_empty()
    }

    /// How many members have a parked JoinGroup.
    pub(super) fn joins_parked(&self) -> usize {
        self.joins_parked
    }

    /// Starts a member's session anew.
    pub(super) fn restart_session(&self, cx: &mut Context<'_>, member_id: &MemberId) {
        if let Some(member) = self.members.get(member_id) {
            let key = TimerKey::Session(self.id.clone(), member_id.clone());
            cx.schedule_ms(key, member.session_timeout_ms);
        }
    }

    /// How long a rebalance waits, in milliseconds: as long as the most patient member.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    /// Answers every parked request, when the coordinator lets go of the group.
    pub(super) fn refuse_all(&mut self, cx: &mut Context<'_>, error: &GroupError) {
        for member in self.members.values_mut() {
            refuse_parked(cx, member, &member.id, error);
            (member.join, member.sync) = (None, None);
        }
        self.joins_parked = 0;
    }
}

fn refuse_parked(
    cx: &mut Context<'_>,
    member: &Member,
    answered_id: &MemberId,
    error: &GroupError,
) {
    if let Some(token) = member.join {
        let refused = JoinRefused { member_id: answered_id.clone(), error: error.clone() };
        cx.outbox.reply(token, Response::Join(Err(refused)));
    }
    if let Some(token) = member.sync {
        cx.outbox.reply(token, Response::Sync(Err(error.clone())));
    }
}

/// The names of protocols, each once: a member that names one twice offers it once.
fn distinct(protocols: &[Protocol]) -> BTreeSet<&ProtocolName> {
    protocols.iter().map(|protocol| &protocol.name).collect()
}

/// The refusal of a member that the group does not know.
pub(super) fn unknown(member_id: &MemberId) -> GroupError {
    GroupError::UnknownMemberId { member_id: member_id.clone() }
}
