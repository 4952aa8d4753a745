//! Membership in a classic consumer group: join, sync, heartbeat, commit, leave.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringlog_broker::protocol::codec::Str;
use ringlog_broker::protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
    LeaveGroupRequest, MemberIdentity, OffsetCommitRequest, OffsetCommitRequestPartition,
    OffsetCommitRequestTopic, SyncGroupRequest, SyncGroupRequestAssignment,
};
use ringlog_broker::protocol::{ApiKey, ErrorCode};

use super::assignment::{
    Assignment, assign_ranges, decode_assignment, decode_subscription, encode_assignment,
    encode_subscription,
};
use super::fetch::TopicPartition;
use super::{Client, ClientError, check};

const SESSION_TIMEOUT_MS: i32 = 30_000;
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
const JOIN_PAUSE: Duration = Duration::from_millis(100);
const PROTOCOL_TYPE: &str = "consumer";
const RANGE: &str = "range";
/// LeaveGroup up to here names one member by its id.
const LEAVE_SINGLE_MAX: i16 = 2;

/// A member of a group that reads one topic.
#[derive(Debug)]
pub struct Member {
    group: String,
    topic: String,
    coordinator: String,
    member_id: Str,
    generation_id: i32,
    last_heartbeat: Instant,
}

/// What the group wants of its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Go on reading.
    Stable,
    /// Commit and join again: members have come or gone, or this one was thrown out.
    Rejoin,
}

impl Member {
    /// A member that has not joined yet.
    #[must_use]
    pub fn new(group: &str, topic: &str) -> Self {
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            coordinator: String::new(),
            member_id: Str::EMPTY,
            generation_id: -1,
            last_heartbeat: Instant::now(),
        }
    }

    /// Joins, or joins again, and gives the partitions to read in the new generation. Waits for
    /// the other members as long as the coordinator does.
    ///
    /// # Errors
    ///
    /// What the coordinator refuses for good.
    pub fn join(&mut self, client: &mut Client) -> Result<Vec<TopicPartition>, ClientError> {
        loop {
            self.coordinator = client.coordinator(&self.group)?;
            let result = self.join_once(client);
            match &result {
                Err(error) if self.may_try_again(error) => std::thread::sleep(JOIN_PAUSE),
                _ => return result,
            }
        }
    }

    /// Tells the coordinator that this member lives, if it is time to.
    ///
    /// # Errors
    ///
    /// What the coordinator refuses for good.
    pub fn heartbeat(&mut self, client: &mut Client) -> Result<Membership, ClientError> {
        if self.last_heartbeat.elapsed() < HEARTBEAT_INTERVAL {
            return Ok(Membership::Stable);
        }
        self.last_heartbeat = Instant::now();
        let request = HeartbeatRequest {
            group_id: Str::from(self.group.as_str()),
            generation_id: self.generation_id,
            member_id: self.member_id.clone(),
            group_instance_id: None,
        };
        let result = client.ask_at(&self.coordinator, i16::MAX, &request).and_then(|answer| {
            check(answer.error_code, None, || format!("heartbeat in group {}", self.group))
        });
        self.settle(result)
    }

    /// Commits the next offsets to read.
    ///
    /// # Errors
    ///
    /// What the coordinator refuses for good. With [`Membership::Rejoin`] nothing is committed:
    /// the partitions belong to other members by now.
    pub fn commit(
        &mut self,
        client: &mut Client,
        positions: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Membership, ClientError> {
        if positions.is_empty() {
            return Ok(Membership::Stable);
        }
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (at, offset) in positions {
            topics.entry(&at.topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: at.partition,
                committed_offset: *offset,
                committed_metadata: Some(Str::EMPTY),
                ..OffsetCommitRequestPartition::default()
            });
        }
        let topic =
            |(name, partitions)| OffsetCommitRequestTopic { name: Str::from(name), partitions };
        let request = OffsetCommitRequest {
            group_id: Str::from(self.group.as_str()),
            generation_id_or_member_epoch: self.generation_id,
            member_id: self.member_id.clone(),
            topics: topics.into_iter().map(topic).collect(),
            ..OffsetCommitRequest::default()
        };
        let group = &self.group;
        let result = client.ask_at(&self.coordinator, i16::MAX, &request).and_then(|answer| {
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.into_iter().try_for_each(|partition| {
                check(partition.error_code, None, || {
                    format!("committing partition {} in group {group}", partition.partition_index)
                })
            })
        });
        self.settle(result)
    }

    /// Leaves, so that the others need not wait for the session to end.
    ///
    /// # Errors
    ///
    /// What the coordinator refuses; the session ends by itself then.
    pub fn leave(self, client: &mut Client) -> Result<(), ClientError> {
        let version = client.connection(&self.coordinator)?.version::<LeaveGroupRequest>()?;
        let mut request = LeaveGroupRequest {
            group_id: Str::from(self.group.as_str()),
            ..LeaveGroupRequest::default()
        };
        if version <= LEAVE_SINGLE_MAX {
            request.member_id = self.member_id;
        } else {
            let member_id = self.member_id;
            request.members = vec![MemberIdentity { member_id, ..MemberIdentity::default() }];
        }
        let answer = client.ask_at(&self.coordinator, version, &request)?;
        check(answer.error_code, None, || format!("leaving group {}", self.group))
    }

    fn join_once(&mut self, client: &mut Client) -> Result<Vec<TopicPartition>, ClientError> {
        let what = || format!("joining group {}", self.group);
        let request = JoinGroupRequest {
            group_id: Str::from(self.group.as_str()),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: self.member_id.clone(),
            protocol_type: Str::from_static(PROTOCOL_TYPE),
            protocols: vec![JoinGroupRequestProtocol {
                name: Str::from_static(RANGE),
                metadata: encode_subscription(&[&self.topic]),
            }],
            ..JoinGroupRequest::default()
        };
        let joined = client.ask_at(&self.coordinator, i16::MAX, &request)?;
        if joined.error_code == ErrorCode::MemberIdRequired.code() {
            self.member_id = joined.member_id.clone();
        }
        check(joined.error_code, None, what)?;
        self.member_id = joined.member_id.clone();
        self.generation_id = joined.generation_id;
        let assignments = if joined.leader == joined.member_id && !joined.skip_assignment {
            self.assign(client, &joined)?
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest {
            group_id: Str::from(self.group.as_str()),
            generation_id: self.generation_id,
            member_id: self.member_id.clone(),
            protocol_type: Some(Str::from_static(PROTOCOL_TYPE)),
            protocol_name: Some(Str::from_static(RANGE)),
            assignments,
            ..SyncGroupRequest::default()
        };
        let synced = client.ask_at(&self.coordinator, i16::MAX, &request)?;
        check(synced.error_code, None, what)?;
        self.last_heartbeat = Instant::now();
        let assignment = decode_assignment(&synced.assignment).ok_or_else(|| {
            ClientError::Missing { api: ApiKey::SyncGroup, what: "a readable assignment".into() }
        })?;
        Ok(partitions(assignment))
    }

    /// As the group's leader: who reads what.
    fn assign(
        &self,
        client: &mut Client,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let mut members = BTreeMap::new();
        let mut topics = BTreeMap::new();
        for member in &joined.members {
            let wanted = decode_subscription(&member.metadata).unwrap_or_default();
            for topic in &wanted {
                topics.entry(topic.clone()).or_insert_with(Vec::new);
            }
            members.insert(member.member_id.as_str().to_owned(), wanted);
        }
        for (topic, partitions) in &mut topics {
            // A member may want a topic that is not there; it is read once it is.
            match client.leaders(topic) {
                Ok(leaders) => partitions.extend(leaders.keys()),
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
                Err(error) => return Err(error),
            }
        }
        let assigned = assign_ranges(&members, &topics);
        let request = |(member, assignment): (String, Assignment)| SyncGroupRequestAssignment {
            member_id: Str::from(member),
            assignment: encode_assignment(&assignment),
        };
        Ok(assigned.into_iter().map(request).collect())
    }

    /// Sorts an answer into going on, joining again, and failing.
    fn settle(&mut self, result: Result<(), ClientError>) -> Result<Membership, ClientError> {
        match result {
            Ok(()) => Ok(Membership::Stable),
            Err(error) if self.may_try_again(&error) => Ok(Membership::Rejoin),
            Err(error) => Err(error),
        }
    }

    /// Whether joining again may help; forgets an id that the group does not know any more.
    fn may_try_again(&mut self, error: &ClientError) -> bool {
        match error.code() {
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.member_id = Str::EMPTY;
                self.generation_id = -1;
                true
            }
            Some(ErrorCode::RebalanceInProgress | ErrorCode::MemberIdRequired) => true,
            _ => error.is_retriable(),
        }
    }
}

fn partitions(assignment: Assignment) -> Vec<TopicPartition> {
    let all = assignment.into_iter().flat_map(|(topic, partitions)| {
        partitions
            .into_iter()
            .map(move |partition| TopicPartition { topic: topic.clone(), partition })
    });
    all.collect()
}
