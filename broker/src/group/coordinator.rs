//! The coordinator of one partition of `__consumer_offsets`: all groups that live there.

use std::collections::BTreeMap;
use std::time::Duration;

use ringlog_engine::offset::Offset;
use thiserror::Error;

use super::api::{
    AppendId, CommitRequest, DescribedGroup, DescribedMember, Effects, JoinRefused, JoinRequest,
    ListRequest, ListedGroup, Moment, ReplyToken, Request, Response,
};
use super::check;
use super::classic::{Group, State, unknown};
use super::error::{AppendFailure, GroupError};
use super::id::{GroupId, TopicName};
use super::offsets;
use super::outbox::{Change, Context, Outbox, PendingAppend, TopicPartition};
use super::records::{self, Key, RecordError};
use super::settings::{GROUPS_MAX, Settings};
use super::timer::{TimerKey, Timers};

/// What kind of groups these are, as ListGroups names it.
const GROUP_TYPE: &str = "classic";

/// What became of a record at loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It is part of the state.
    Applied,
    /// Its key has a version that belongs to another kind of group.
    Skipped {
        /// The version of the key.
        key_version: i16,
    },
}

/// A record of the partition could not be read. The coordinator's state is as before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the record at offset {offset} of a group coordinator's partition is broken")]
pub struct ReplayError {
    /// Where the record stands.
    pub offset: Offset,
    /// What is wrong with it.
    #[source]
    pub source: RecordError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Resigned,
}

/// All groups of one partition of `__consumer_offsets`, and their offsets, as a state machine
/// without I/O, clock or randomness.
///
/// Its life: [`Coordinator::new`], [`Coordinator::replay`] for every record of the partition in
/// order, [`Coordinator::loaded`]; then any number of events ([`Coordinator::handle`],
/// [`Coordinator::persisted`], [`Coordinator::tick`], [`Coordinator::topic_deleted`]), each of
/// which returns what the caller has to do; at last [`Coordinator::resign`].
///
/// Every token that was handed to `handle` is answered exactly once, if appends are reported and
/// `tick` is called.
#[derive(Debug)]
pub struct Coordinator {
    settings: Settings,
    phase: Phase,
    groups: BTreeMap<GroupId, Group>,
    timers: Timers,
    outbox: Outbox,
}

impl Coordinator {
    /// A coordinator without groups, which has to be loaded before it serves requests.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            phase: Phase::Loading,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            outbox: Outbox::default(),
        }
    }

    /// Takes one record of the partition, in the order of the log, before
    /// [`Coordinator::loaded`].
    ///
    /// # Errors
    ///
    /// If the record is not in one of Kafka's formats; the next one can be replayed all the same.
    pub fn replay(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        offset: Offset,
    ) -> Result<Replayed, ReplayError> {
        debug_assert_eq!(self.phase, Phase::Loading, "records are replayed before serving");
        self.replay_record(key, value).map_err(|source| ReplayError { offset, source })
    }

    fn replay_record(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Replayed, RecordError> {
        match records::read_key(key.ok_or(RecordError::NoKey)?)? {
            Key::Offset { group_id, topic, partition } => {
                let committed = value.map(records::read_offset).transpose()?;
                let group = self.groups.entry(group_id.clone());
                let group = group.or_insert_with(|| Group::new(group_id.clone()));
                group.offsets.put((topic, partition), committed);
                self.forget_if_vacant(&group_id);
            }
            Key::Group { group_id } => {
                let value = value.map(records::read_group).transpose()?;
                let before = self.groups.remove(&group_id).map(|group| group.offsets);
                let offsets = before.unwrap_or_default();
                let group = match value {
                    Some(value) => Group::from_record(group_id.clone(), value, offsets),
                    // Offsets that have no tombstones stay: nothing that was committed is lost
                    // because its group was removed.
                    None => Group::with_offsets(group_id.clone(), offsets),
                };
                self.groups.insert(group_id.clone(), group);
                self.forget_if_vacant(&group_id);
            }
            Key::Other { version } => return Ok(Replayed::Skipped { key_version: version }),
        }
        Ok(Replayed::Applied)
    }

    /// The partition has been replayed to its end: requests are served from now on. Sessions of
    /// all members start anew.
    pub fn loaded(&mut self, now: Moment) -> Effects {
        debug_assert_eq!(self.phase, Phase::Loading, "a coordinator is loaded once");
        self.phase = Phase::Active;
        let allowed = self.settings.members_allowed();
        let (groups, mut cx) = self.parts(now);
        schedule_offset_expiry(&mut cx);
        for group in groups.values_mut() {
            for member_id in group.members.keys() {
                group.restart_session(&mut cx, member_id);
            }
            if group.members.len() > allowed {
                // The limit was lowered: the group shrinks to it when its members join again.
                group.prepare(&mut cx);
            }
        }
        self.outbox.take_effects()
    }

    /// Takes a request. Its answer comes with these effects, or with those of a later event.
    pub fn handle(&mut self, now: Moment, request: Request, token: ReplyToken) -> Effects {
        if let Err(error) = self.check(&request) {
            self.outbox.reply(token, request.refusal(error));
            return self.outbox.take_effects();
        }
        match request {
            Request::Join(join) => self.join(now, &join, token),
            Request::Sync(sync) => {
                let group_id = sync.group_id.clone();
                let absent = Response::Sync(Err(unknown(&sync.member_id)));
                self.with_group_or(now, &group_id, token, absent, |group, cx| {
                    group.sync(cx, sync, token);
                });
            }
            Request::Heartbeat(heartbeat) => {
                let absent = Response::Heartbeat(Err(unknown(&heartbeat.member_id)));
                self.with_group_or(now, &heartbeat.group_id, token, absent, |group, cx| {
                    let result = group.heartbeat(cx, &heartbeat);
                    cx.outbox.reply(token, Response::Heartbeat(result));
                });
            }
            Request::Leave(leave) => {
                let group_id = leave.group_id.clone();
                let member_id = leave.members.first().map(|leaving| leaving.member_id.clone());
                let absent = Response::Leave(Err(unknown(&member_id.unwrap_or_default())));
                self.with_group_or(now, &group_id, token, absent, |group, cx| {
                    group.leave(cx, leave, token);
                });
            }
            Request::Commit(commit) => self.commit(now, &commit, token),
            Request::Fetch(fetch) => {
                let topics = offsets::fetch(self.groups.get(&fetch.group_id), &fetch);
                self.outbox.reply(token, Response::Fetch(Ok(topics)));
            }
            Request::Describe { group_id } => {
                let described = self.groups.get(&group_id).map(describe);
                let described = described.ok_or(GroupError::GroupIdNotFound { group_id });
                self.outbox.reply(token, Response::Describe(described));
            }
            Request::List(list) => {
                let listed = self.list(&list);
                self.outbox.reply(token, Response::List(Ok(listed)));
            }
            Request::Delete { group_id } => {
                let not_found = GroupError::GroupIdNotFound { group_id: group_id.clone() };
                let absent = Response::Delete(Err(not_found));
                self.with_group_or(now, &group_id, token, absent, |group, cx| {
                    delete(group, cx, token);
                });
            }
        }
        self.outbox.take_effects()
    }

    fn join(&mut self, now: Moment, join: &JoinRequest, token: ReplyToken) {
        match self.find_or_create(&join.group_id, join.member_id.is_empty()) {
            Ok(()) => self.with_group(now, &join.group_id, |group, cx| group.join(cx, join, token)),
            Err(error) => {
                let error = match error {
                    // A member cannot be known to a group that does not exist.
                    GroupError::GroupIdNotFound { .. } => unknown(&join.member_id),
                    error => error,
                };
                let refused = JoinRefused { member_id: join.member_id.clone(), error };
                self.outbox.reply(token, Response::Join(Err(refused)));
            }
        }
    }

    fn commit(&mut self, now: Moment, commit: &CommitRequest, token: ReplyToken) {
        match self.find_or_create(&commit.group_id, commit.generation < 0) {
            Ok(()) => {
                self.with_group(now, &commit.group_id, |group, cx| group.commit(cx, commit, token));
            }
            Err(error) => {
                let error = match error {
                    // Nor can a generation be that of a group that does not exist.
                    GroupError::GroupIdNotFound { .. } => {
                        GroupError::IllegalGeneration { actual: commit.generation, expected: -1 }
                    }
                    error => error,
                };
                self.outbox.reply(token, Response::Commit(Err(error)));
            }
        }
    }

    /// Whether a request can be looked at at all.
    fn check(&self, request: &Request) -> Result<(), GroupError> {
        match self.phase {
            Phase::Loading => Err(GroupError::LoadInProgress),
            Phase::Resigned => Err(GroupError::NotCoordinator),
            Phase::Active => check::check(request, &self.settings),
        }
    }

    /// The records of an append are durable, or were not stored. An append that is not waited for
    /// is ignored.
    ///
    /// Changes take effect in the order of their appends, so an append that is never reported
    /// holds up those after it.
    pub fn persisted(
        &mut self,
        now: Moment,
        append: AppendId,
        outcome: Result<(), AppendFailure>,
    ) -> Effects {
        if self.outbox.note(append, outcome) {
            while let Some((pending, outcome)) = self.outbox.next_settled() {
                self.settle(now, pending, outcome);
            }
        }
        self.outbox.take_effects()
    }

    fn settle(
        &mut self,
        now: Moment,
        pending: PendingAppend,
        mut outcome: Result<(), AppendFailure>,
    ) {
        match pending.change {
            Change::Emptied => {}
            Change::Assigned { group_id, generation, assignments } => {
                self.with_group(now, &group_id, |group, cx| {
                    group.on_assignment_stored(cx, generation, &assignments, outcome);
                });
            }
            Change::Replaced { group_id, token, replacement } => {
                self.with_group(now, &group_id, |group, cx| {
                    group.on_replacement_stored(cx, token, *replacement, outcome);
                });
            }
            Change::Committed { group_id, offsets } => {
                self.with_group(now, &group_id, |group, _| {
                    group.on_commit_stored(offsets, outcome);
                });
            }
            Change::Dropped { group_id, partitions } => {
                self.with_group(now, &group_id, |group, _| {
                    group.on_offsets_dropped(partitions, outcome);
                });
            }
            Change::Deleted { group_id, partitions } => {
                outcome = self.on_group_deleted(&group_id, partitions, outcome);
            }
        }
        if let Some((token, response)) = pending.reply {
            let response = match outcome {
                Ok(()) => response,
                Err(failure) => response.not_stored(failure.for_group(), failure.for_commit()),
            };
            self.outbox.reply(token, response);
        }
    }

    /// Forgets a group whose last tombstones are durable. If tombstones before them were not
    /// stored, the offsets they were for keep the group alive.
    fn on_group_deleted(
        &mut self,
        group_id: &GroupId,
        partitions: Vec<TopicPartition>,
        outcome: Result<(), AppendFailure>,
    ) -> Result<(), AppendFailure> {
        let Some(group) = self.groups.get_mut(group_id) else { return outcome };
        group.on_offsets_dropped(partitions, outcome);
        if outcome.is_ok() && group.offsets.is_empty() {
            self.groups.remove(group_id);
            return Ok(());
        }
        group.state = State::Empty;
        Err(outcome.err().unwrap_or(AppendFailure::Unavailable))
    }

    /// When [`Coordinator::tick`] has to be called next, in the caller's monotonic time; `None`
    /// while nothing is waited for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Does what has become due. Calling it early or twice does no harm.
    pub fn tick(&mut self, now: Moment) -> Effects {
        // One at a time: what one deadline leads to may move the others.
        while let Some(key) = self.timers.pop_due(now.elapsed) {
            match key {
                TimerKey::Session(group_id, member_id) => {
                    self.with_group(now, &group_id, |group, cx| {
                        group.on_session_timer(cx, &member_id);
                    });
                }
                TimerKey::Join(group_id) => {
                    self.with_group(now, &group_id, |group, cx| group.on_join_timer(cx));
                }
                TimerKey::Sync(group_id) => {
                    self.with_group(now, &group_id, |group, cx| group.on_sync_timer(cx));
                }
                TimerKey::OffsetExpiry => {
                    let (groups, mut cx) = self.parts(now);
                    schedule_offset_expiry(&mut cx);
                    for group in groups.values_mut() {
                        group.expire_offsets(&mut cx);
                    }
                }
            }
        }
        self.outbox.take_effects()
    }

    /// A topic is gone: its offsets go with it.
    pub fn topic_deleted(&mut self, now: Moment, topic: &TopicName) -> Effects {
        if self.phase == Phase::Active {
            let (groups, mut cx) = self.parts(now);
            for group in groups.values_mut() {
                let partitions = group.offsets.partitions_of(topic);
                group.drop_offsets(&mut cx, &partitions);
            }
        }
        self.outbox.take_effects()
    }

    /// The partition is no longer led here, or the broker stops: every request that waits is
    /// refused, and so is every later one. Outcomes of appends need not be reported any more.
    pub fn resign(&mut self, now: Moment) -> Effects {
        self.phase = Phase::Resigned;
        let abandoned: Vec<PendingAppend> = self.outbox.abandon().collect();
        for (token, response) in abandoned.into_iter().filter_map(|pending| pending.reply) {
            let error = GroupError::NotCoordinator;
            self.outbox.reply(token, response.not_stored(error.clone(), error));
        }
        let (groups, mut cx) = self.parts(now);
        for group in groups.values_mut() {
            group.refuse_all(&mut cx, &GroupError::NotCoordinator);
        }
        self.groups.clear();
        self.timers.clear();
        self.outbox.take_effects()
    }

    fn parts(&mut self, now: Moment) -> (&mut BTreeMap<GroupId, Group>, Context<'_>) {
        let Self { settings, groups, timers, outbox, .. } = self;
        (groups, Context { now, settings, timers, outbox })
    }

    /// Lets a group take an event, if it exists, and forgets it if nothing is left of it.
    fn with_group(
        &mut self,
        now: Moment,
        group_id: &GroupId,
        event: impl FnOnce(&mut Group, &mut Context<'_>),
    ) {
        let (groups, mut cx) = self.parts(now);
        if let Some(group) = groups.get_mut(group_id) {
            event(group, &mut cx);
            self.forget_if_vacant(group_id);
        }
    }

    /// As [`Coordinator::with_group`], with an answer for a group that does not exist.
    fn with_group_or(
        &mut self,
        now: Moment,
        group_id: &GroupId,
        token: ReplyToken,
        absent: Response,
        event: impl FnOnce(&mut Group, &mut Context<'_>),
    ) {
        if self.groups.contains_key(group_id) {
            self.with_group(now, group_id, event);
        } else {
            self.outbox.reply(token, absent);
        }
    }

    fn forget_if_vacant(&mut self, group_id: &GroupId) {
        if self.groups.get(group_id).is_some_and(Group::is_vacant) {
            self.groups.remove(group_id);
        }
    }

    /// Makes sure that a group exists, if it may be made.
    fn find_or_create(&mut self, group_id: &GroupId, create: bool) -> Result<(), GroupError> {
        if self.groups.contains_key(group_id) {
            return Ok(());
        }
        if !create {
            return Err(GroupError::GroupIdNotFound { group_id: group_id.clone() });
        }
        if self.groups.len() >= GROUPS_MAX {
            return Err(GroupError::TooManyGroups { allowed: GROUPS_MAX });
        }
        self.groups.insert(group_id.clone(), Group::new(group_id.clone()));
        Ok(())
    }

    fn list(&self, request: &ListRequest) -> Vec<ListedGroup> {
        let admits = |filter: &[String], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        if !admits(&request.types, GROUP_TYPE) {
            return Vec::new();
        }
        let groups = self.groups.values();
        let groups = groups.filter(|group| admits(&request.states, group.state.name()));
        let listed = groups.map(|group| ListedGroup {
            group_id: group.id.clone(),
            protocol_type: group.protocol_type.clone(),
            state: group.state,
        });
        listed.collect()
    }
}

fn schedule_offset_expiry(cx: &mut Context<'_>) {
    // An interval of zero must not keep `tick` at work for ever.
    let interval = cx.settings.offsets_retention_check_interval.max(Duration::from_millis(1));
    cx.schedule(TimerKey::OffsetExpiry, interval);
}

fn delete(group: &mut Group, cx: &mut Context<'_>, token: ReplyToken) {
    let result = match group.state {
        State::Empty => {
            group.delete(cx, Some((token, Response::Delete(Ok(())))));
            return;
        }
        // It goes already.
        State::Dead => Err(GroupError::GroupIdNotFound { group_id: group.id.clone() }),
        State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
            let members = group.members.len();
            Err(GroupError::NonEmptyGroup { group_id: group.id.clone(), members })
        }
    };
    cx.outbox.reply(token, Response::Delete(result));
}

fn describe(group: &Group) -> DescribedGroup {
    // What members said and were assigned belongs together only in a stable group.
    let stable = group.state == State::Stable;
    let members = group.members.values().map(|member| DescribedMember {
        member_id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: if stable {
            member.metadata(group.protocol.as_ref())
        } else {
            Default::default()
        },
        assignment: if stable { member.assignment.clone() } else { Default::default() },
    });
    DescribedGroup {
        group_id: group.id.clone(),
        state: group.state,
        generation: group.generation,
        protocol_type: group.protocol_type.clone(),
        protocol: group.protocol.clone().filter(|_| stable),
        members: members.collect(),
    }
}
