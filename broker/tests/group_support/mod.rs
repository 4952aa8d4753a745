//! Drives a group coordinator in tests: a clock that is moved by hand, a log that can be slow or
//! fail, and clients in one line each.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ringlog_broker::group::*;
use ringlog_engine::offset::{Offset, Timestamp};

pub const GROUP: &str = "group";
pub const WALL_START_MS: i64 = 1_700_000_000_000;
pub const SESSION_MS: i32 = 10_000;
pub const REBALANCE_MS: i32 = 60_000;

/// How it went for each partition of a commit.
pub type PartitionResults = Vec<(i32, Result<(), GroupError>)>;

pub struct Driver {
    pub coordinator: Coordinator,
    pub settings: Settings,
    pub elapsed_ms: u64,
    pub log: Vec<Record>,
    /// While set, appends wait for `store` or `fail`.
    pub slow_log: bool,
    pub waiting: Vec<(AppendId, Vec<Record>)>,
    /// Whether the last record of a group was not stored, so that the log tells less than the
    /// coordinator knows.
    pub log_is_behind: bool,
    replies: BTreeMap<ReplyToken, Response>,
    tokens: u64,
    answered: u64,
}

impl Driver {
    pub fn new(settings: Settings) -> Self {
        Self::over(settings, Vec::new(), 0)
    }

    /// A group coordinator that does not wait for more members before the first rebalance.
    pub fn prompt() -> Self {
        Self::new(Settings { initial_rebalance_delay: Duration::ZERO, ..Settings::default() })
    }

    /// A coordinator over a log that is there already.
    pub fn over(settings: Settings, log: Vec<Record>, elapsed_ms: u64) -> Self {
        let mut coordinator = Coordinator::new(settings.clone());
        for (offset, record) in (0..).zip(&log) {
            let offset = Offset::new(offset).expect("not negative");
            let replayed = coordinator.replay(Some(&record.key), record.value.as_deref(), offset);
            assert_eq!(replayed, Ok(Replayed::Applied));
        }
        let mut driver = Self {
            coordinator,
            settings,
            elapsed_ms,
            log,
            slow_log: false,
            waiting: Vec::new(),
            log_is_behind: false,
            replies: BTreeMap::new(),
            tokens: 0,
            answered: 0,
        };
        let effects = driver.coordinator.loaded(driver.now());
        driver.take(effects);
        driver
    }

    /// The coordinator that takes over from this one.
    pub fn successor(&self) -> Self {
        Self::over(self.settings.clone(), self.log.clone(), self.elapsed_ms)
    }

    pub fn now(&self) -> Moment {
        let wall = WALL_START_MS + i64::try_from(self.elapsed_ms).expect("tests are short");
        Moment {
            elapsed: Duration::from_millis(self.elapsed_ms),
            wall: Timestamp::from_millis(wall),
        }
    }

    fn take(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Reply { token, response } => {
                    assert!(token.0 <= self.tokens, "a reply to nobody");
                    let before = self.replies.insert(token, response);
                    assert!(before.is_none(), "{token:?} is answered twice");
                    self.answered += 1;
                }
                Effect::Append { id, records } => {
                    assert!(!records.is_empty());
                    self.waiting.push((id, records));
                    if !self.slow_log {
                        self.store();
                    }
                }
            }
        }
    }

    /// Makes all waiting appends durable.
    pub fn store(&mut self) {
        while !self.waiting.is_empty() {
            let (id, records) = self.waiting.remove(0);
            self.log_is_behind &= !has_group(&records);
            self.log.extend(records);
            let effects = self.coordinator.persisted(self.now(), id, Ok(()));
            self.take(effects);
        }
    }

    /// Lets the first waiting append fail.
    pub fn fail(&mut self, failure: AppendFailure) {
        let (id, records) = self.waiting.remove(0);
        self.log_is_behind |= has_group(&records);
        let effects = self.coordinator.persisted(self.now(), id, Err(failure));
        self.take(effects);
    }

    pub fn send(&mut self, request: Request) -> ReplyToken {
        self.tokens += 1;
        let token = ReplyToken(self.tokens);
        let effects = self.coordinator.handle(self.now(), request, token);
        self.take(effects);
        token
    }

    /// Moves the clock, stopping at every deadline on the way.
    pub fn advance(&mut self, ms: u64) {
        let end = self.elapsed_ms + ms;
        while let Some(deadline) = self.coordinator.next_deadline() {
            let deadline = u64::try_from(deadline.as_millis()).expect("tests are short");
            if deadline > end {
                break;
            }
            self.elapsed_ms = self.elapsed_ms.max(deadline);
            let effects = self.coordinator.tick(self.now());
            self.take(effects);
        }
        self.elapsed_ms = end;
    }

    pub fn topic_deleted(&mut self, topic: &str) {
        let effects = self.coordinator.topic_deleted(self.now(), &topic.into());
        self.take(effects);
    }

    pub fn resign(&mut self) {
        let effects = self.coordinator.resign(self.now());
        self.take(effects);
    }

    pub fn unanswered(&self) -> u64 {
        self.tokens - self.answered
    }

    pub fn is_parked(&self, token: ReplyToken) -> bool {
        !self.replies.contains_key(&token)
    }

    pub fn reply(&self, token: ReplyToken) -> Response {
        self.replies.get(&token).cloned().unwrap_or_else(|| panic!("{token:?} is parked"))
    }

    pub fn joined(&self, token: ReplyToken) -> Joined {
        match self.reply(token) {
            Response::Join(Ok(joined)) => joined,
            other => panic!("not joined: {other:?}"),
        }
    }

    pub fn refused(&self, token: ReplyToken) -> JoinRefused {
        match self.reply(token) {
            Response::Join(Err(refused)) => refused,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub fn synced(&self, token: ReplyToken) -> Result<Synced, GroupError> {
        match self.reply(token) {
            Response::Sync(synced) => synced,
            other => panic!("not an answer to a sync: {other:?}"),
        }
    }

    pub fn heartbeat(&mut self, member: &Joined) -> Result<(), GroupError> {
        self.heartbeat_as(member, None)
    }

    pub fn heartbeat_as(
        &mut self,
        member: &Joined,
        instance_id: Option<&str>,
    ) -> Result<(), GroupError> {
        let token = self.send(Request::Heartbeat(HeartbeatRequest {
            group_id: GROUP.into(),
            member_id: member.member_id.clone(),
            instance_id: instance_id.map(Into::into),
            generation: member.generation,
        }));
        match self.reply(token) {
            Response::Heartbeat(result) => result,
            other => panic!("not an answer to a heartbeat: {other:?}"),
        }
    }

    pub fn describe(&mut self) -> Result<DescribedGroup, GroupError> {
        self.describe_group(GROUP)
    }

    pub fn describe_group(&mut self, group_id: &str) -> Result<DescribedGroup, GroupError> {
        let token = self.send(Request::Describe { group_id: group_id.into() });
        match self.reply(token) {
            Response::Describe(described) => described,
            other => panic!("not an answer to a describe: {other:?}"),
        }
    }

    pub fn state(&mut self) -> State {
        self.describe().map_or(State::Dead, |group| group.state)
    }

    pub fn leave(&mut self, member_id: &str, instance_id: Option<&str>) -> Vec<LeftMember> {
        let token = self.send(leave(vec![(member_id, instance_id)]));
        match self.reply(token) {
            Response::Leave(Ok(left)) => left,
            other => panic!("not an answer to a leave: {other:?}"),
        }
    }

    /// The results for the first topic.
    pub fn commit_results(&self, token: ReplyToken) -> Result<PartitionResults, GroupError> {
        match self.reply(token) {
            Response::Commit(topics) => topics.map(|mut topics| topics.remove(0).partitions),
            other => panic!("not an answer to a commit: {other:?}"),
        }
    }

    pub fn commit(&mut self, topic: &str, offset: i64) {
        let token = self.send(commit(topic, offset));
        assert_eq!(self.commit_results(token), Ok(vec![(0, Ok(()))]));
    }

    /// The committed offset of partition 0 of a topic.
    pub fn fetch(&mut self, topic: &str) -> Option<i64> {
        let topics = Some(vec![(topic.into(), vec![0])]);
        let token = self.send(Request::Fetch(FetchRequest { group_id: GROUP.into(), topics }));
        match self.reply(token) {
            Response::Fetch(Ok(topics)) => {
                topics[0].partitions[0].1.as_ref().map(|committed| committed.offset)
            }
            other => panic!("not an answer to a fetch: {other:?}"),
        }
    }

    pub fn fetch_all(&mut self, group_id: &str) -> Vec<FetchedTopic> {
        let request = FetchRequest { group_id: group_id.into(), topics: None };
        let token = self.send(Request::Fetch(request));
        match self.reply(token) {
            Response::Fetch(Ok(topics)) => topics,
            other => panic!("not an answer to a fetch: {other:?}"),
        }
    }

    pub fn list(&mut self, states: &[&str], types: &[&str]) -> Vec<ListedGroup> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let request = ListRequest { states: owned(states), types: owned(types) };
        let token = self.send(Request::List(request));
        match self.reply(token) {
            Response::List(Ok(listed)) => listed,
            other => panic!("not an answer to a list: {other:?}"),
        }
    }

    pub fn delete(&mut self) -> Result<(), GroupError> {
        let token = self.send(Request::Delete { group_id: GROUP.into() });
        match self.reply(token) {
            Response::Delete(result) => result,
            other => panic!("not an answer to a delete: {other:?}"),
        }
    }

    /// A stable group with these members; the first one leads. Each has `a-<name>` assigned.
    /// Names that begin with `static` are instance ids.
    pub fn stable(&mut self, names: &[&str]) -> Vec<Joined> {
        let tokens: Vec<ReplyToken> =
            names.iter().map(|name| self.send(Request::Join(join_named(name)))).collect();
        let limit = self.elapsed_ms + 4 * 60_000;
        while tokens.iter().any(|token| self.is_parked(*token)) {
            assert!(self.elapsed_ms < limit, "the group does not come together");
            self.advance(100);
        }
        let mut members: Vec<Joined> = tokens.iter().map(|token| self.joined(*token)).collect();
        let generation = members.iter().map(|member| member.generation).max().expect("members");
        for (index, name) in names.iter().enumerate() {
            assert_eq!(members[index].generation, generation, "{name}");
        }
        let assignments = names.iter().zip(&members);
        let assignments = assignments
            .map(|(name, member)| (member.member_id.clone(), Bytes::from(format!("a-{name}"))));
        let assignments: Vec<_> = assignments.collect();
        let leader = members[0].leader.clone();
        for member in &mut members {
            let given = if member.member_id == leader { assignments.clone() } else { Vec::new() };
            self.send(sync(member, given));
        }
        assert_eq!(self.state(), State::Stable);
        members
    }
}

fn has_group(records: &[Record]) -> bool {
    records.iter().any(|record| record.key.starts_with(b"\0\x02"))
}

/// A JoinGroup of a new member, in the style of clients that need no id first.
pub fn join_named(name: &str) -> JoinRequest {
    JoinRequest {
        group_id: GROUP.into(),
        member_id: MemberId::default(),
        member_id_suffix: "1".to_owned(),
        instance_id: name.starts_with("static").then(|| name.into()),
        client_id: name.to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", name)],
        requires_known_member_id: false,
        supports_skipping_assignment: true,
    }
}

pub fn join(name: &str) -> Request {
    Request::Join(join_named(name))
}

/// A JoinGroup of a member that has an id.
pub fn rejoin(name: &str, member: &Joined) -> Request {
    Request::Join(JoinRequest { member_id: member.member_id.clone(), ..join_named(name) })
}

pub fn protocol(name: &str, metadata: &str) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::from(metadata.to_owned()) }
}

pub fn sync(member: &Joined, assignments: Vec<(MemberId, Bytes)>) -> Request {
    Request::Sync(SyncRequest {
        group_id: GROUP.into(),
        member_id: member.member_id.clone(),
        instance_id: None,
        generation: member.generation,
        protocol_type: member.protocol_type.clone(),
        protocol: member.protocol.clone(),
        assignments,
    })
}

pub fn leave(members: Vec<(&str, Option<&str>)>) -> Request {
    let members = members.into_iter().map(|(member_id, instance_id)| LeavingMember {
        member_id: member_id.into(),
        instance_id: instance_id.map(Into::into),
    });
    Request::Leave(LeaveRequest { group_id: GROUP.into(), members: members.collect() })
}

/// An OffsetCommit of partition 0 by a consumer that is in no group.
pub fn commit_request(topic: &str, offset: i64) -> CommitRequest {
    CommitRequest {
        group_id: GROUP.into(),
        member_id: MemberId::default(),
        instance_id: None,
        generation: -1,
        retention_ms: None,
        topics: vec![CommitTopic {
            topic: topic.into(),
            partitions: vec![CommitPartition {
                partition: 0,
                offset,
                leader_epoch: 5,
                metadata: Some("text".to_owned()),
            }],
        }],
    }
}

pub fn commit(topic: &str, offset: i64) -> Request {
    Request::Commit(commit_request(topic, offset))
}

/// An OffsetCommit of partition 0 by a member.
pub fn commit_by(member: &Joined, topic: &str, offset: i64) -> Request {
    Request::Commit(CommitRequest {
        member_id: member.member_id.clone(),
        generation: member.generation,
        ..commit_request(topic, offset)
    })
}

/// The metadata of a consumer that subscribes to these topics.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 1, 0, 0, 0, u8::try_from(topics.len()).expect("few")];
    for topic in topics {
        bytes.extend([0, u8::try_from(topic.len()).expect("short")]);
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    bytes.into()
}
