//! The offsets a group has committed, and those on their way.

use std::collections::BTreeMap;

use ringlog_engine::offset::Timestamp;

use super::api::{
    CommitPartition, CommitRequest, CommitTopicResult, CommittedOffset, FetchRequest, FetchedTopic,
    Moment, Record, ReplyToken, Response,
};
use super::classic::{Group, State, unknown};
use super::error::{AppendFailure, GroupError};
use super::id::TopicName;
use super::outbox::{Change, Context, TopicPartition};
use super::records;
use super::settings::{NAME_BYTES_MAX, Settings, TOMBSTONES_PER_APPEND};

/// The offset of one partition.
#[derive(Debug, Default)]
struct Slot {
    /// What is durable, and what others see.
    committed: Option<CommittedOffset>,
    /// Commits whose records are not durable yet.
    pending: u32,
}

/// Offsets by topic and partition. A slot is there while it has an offset or a pending commit.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    topics: BTreeMap<TopicName, BTreeMap<i32, Slot>>,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    fn slot(&mut self, (topic, partition): TopicPartition) -> &mut Slot {
        self.topics.entry(topic).or_default().entry(partition).or_default()
    }

    fn committed(&self, topic: &TopicName, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)?.committed.as_ref()
    }

    /// Sets a durable offset, or removes it.
    pub(super) fn put(&mut self, partition: TopicPartition, committed: Option<CommittedOffset>) {
        self.slot(partition.clone()).committed = committed;
        self.forget_if_vacant(&partition);
    }

    fn forget_if_vacant(&mut self, (topic, partition): &TopicPartition) {
        let Some(slots) = self.topics.get_mut(topic) else { return };
        if slots.get(partition).is_some_and(|slot| slot.committed.is_none() && slot.pending == 0) {
            slots.remove(partition);
            if slots.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// All partitions that have an offset or will have one.
    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        let topics = self.topics.iter();
        topics
            .flat_map(|(topic, slots)| slots.keys().map(|partition| (topic.clone(), *partition)))
            .collect()
    }

    /// All partitions of a topic that have an offset or will have one.
    pub(super) fn partitions_of(&self, topic: &TopicName) -> Vec<TopicPartition> {
        let slots = self.topics.get(topic).into_iter().flatten();
        slots.map(|(partition, _)| (topic.clone(), *partition)).collect()
    }

    fn fetch(&self, request: &FetchRequest) -> Vec<FetchedTopic> {
        match &request.topics {
            Some(topics) => {
                let topics = topics.iter().map(|(topic, partitions)| {
                    let partitions = partitions
                        .iter()
                        .map(|partition| (*partition, self.committed(topic, *partition).cloned()));
                    FetchedTopic { topic: topic.clone(), partitions: partitions.collect() }
                });
                topics.collect()
            }
            None => {
                let topics = self.topics.iter().map(|(topic, slots)| {
                    let committed = slots.iter().filter(|(_, slot)| slot.committed.is_some());
                    let partitions =
                        committed.map(|(partition, slot)| (*partition, slot.committed.clone()));
                    FetchedTopic { topic: topic.clone(), partitions: partitions.collect() }
                });
                topics.filter(|topic| !topic.partitions.is_empty()).collect()
            }
        }
    }
}

/// The answer to an OffsetFetch, of a group that may not exist.
pub(super) fn fetch(group: Option<&Group>, request: &FetchRequest) -> Vec<FetchedTopic> {
    match group {
        Some(group) => group.offsets.fetch(request),
        None => Offsets::default().fetch(request),
    }
}

impl Group {
    /// Takes an OffsetCommit. It is answered, and shows, when its records are durable.
    pub(super) fn commit(
        &mut self,
        cx: &mut Context<'_>,
        request: &CommitRequest,
        token: ReplyToken,
    ) {
        if let Err(error) = self.check_commit(request) {
            cx.outbox.reply(token, Response::Commit(Err(error)));
            return;
        }
        if matches!(self.state, State::Stable | State::PreparingRebalance) {
            self.restart_session(cx, &request.member_id);
        }
        let mut records = Vec::new();
        let mut offsets = Vec::new();
        let mut results = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for commit in &topic.partitions {
                let committed = committed(cx.now, cx.settings, request.retention_ms, commit);
                let result = committed.map(|committed| {
                    let (topic, partition) = (&topic.topic, commit.partition);
                    let committed_ref = Some(&committed);
                    records.push(records::offset_record(&self.id, topic, partition, committed_ref));
                    self.offsets.slot((topic.clone(), partition)).pending += 1;
                    offsets.push(((topic.clone(), partition), committed));
                });
                partitions.push((commit.partition, result));
            }
            results.push(CommitTopicResult { topic: topic.topic.clone(), partitions });
        }
        let response = Response::Commit(Ok(results));
        if records.is_empty() {
            cx.outbox.reply(token, response);
        } else {
            let change = Change::Committed { group_id: self.id.clone(), offsets };
            cx.outbox.append(records, change, Some((token, response)));
        }
    }

    fn check_commit(&self, request: &CommitRequest) -> Result<(), GroupError> {
        if self.state == State::Dead {
            return Err(GroupError::NotAvailable);
        }
        let in_no_group = request.generation < 0;
        if in_no_group && self.state == State::Empty {
            return Ok(());
        }
        if in_no_group && request.member_id.is_empty() && request.instance_id.is_none() {
            // Offsets of a group that has members are the members' own.
            return Err(unknown(&request.member_id));
        }
        self.validate_member(&request.member_id, request.instance_id.as_ref())?;
        self.validate_generation(request.generation)?;
        match self.state {
            // The member knows the new generation, but not yet what it has to read.
            State::CompletingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// The records of a commit are durable, or were not stored.
    pub(super) fn on_commit_stored(
        &mut self,
        offsets: Vec<(TopicPartition, CommittedOffset)>,
        outcome: Result<(), AppendFailure>,
    ) {
        for (partition, committed) in offsets {
            let slot = self.offsets.slot(partition.clone());
            slot.pending = slot.pending.saturating_sub(1);
            if outcome.is_ok() {
                slot.committed = Some(committed);
            }
            self.offsets.forget_if_vacant(&partition);
        }
    }

    /// The tombstones of offsets are durable, or were not stored.
    pub(super) fn on_offsets_dropped(
        &mut self,
        partitions: Vec<TopicPartition>,
        outcome: Result<(), AppendFailure>,
    ) {
        if outcome.is_ok() {
            for partition in partitions {
                self.offsets.put(partition, None);
            }
        }
    }

    /// Removes the offsets of these partitions.
    pub(super) fn drop_offsets(&self, cx: &mut Context<'_>, partitions: &[TopicPartition]) {
        for chunk in partitions.chunks(TOMBSTONES_PER_APPEND) {
            let change = Change::Dropped { group_id: self.id.clone(), partitions: chunk.to_vec() };
            cx.outbox.append(self.tombstones(chunk), change, None);
        }
    }

    /// Removes the group, which is empty, with all its offsets: it is dead from now on, and gone
    /// when its tombstones are durable.
    pub(super) fn delete(&mut self, cx: &mut Context<'_>, reply: Option<(ReplyToken, Response)>) {
        for member_id in std::mem::take(&mut self.pending_joins) {
            self.remove(cx, &member_id);
        }
        self.state = State::Dead;
        let partitions = self.offsets.partitions();
        let last_count = partitions.len() % TOMBSTONES_PER_APPEND;
        let (first, last) = partitions.split_at(partitions.len() - last_count);
        self.drop_offsets(cx, first);
        let mut records = self.tombstones(last);
        records.push(records::group_record(&self.id, None));
        let change = Change::Deleted { group_id: self.id.clone(), partitions: last.to_vec() };
        cx.outbox.append(records, change, reply);
    }

    fn tombstones(&self, partitions: &[TopicPartition]) -> Vec<Record> {
        let records = partitions
            .iter()
            .map(|(topic, partition)| records::offset_record(&self.id, topic, *partition, None));
        records.collect()
    }

    /// Removes the offsets that nobody has needed for as long as they are kept, and the group
    /// with the last of them if it has no members.
    pub(super) fn expire_offsets(&mut self, cx: &mut Context<'_>) {
        if self.state == State::Dead {
            return;
        }
        let expired = self.expired_offsets(cx.now.wall, cx.settings);
        let all = self.offsets.topics.values().map(BTreeMap::len).sum::<usize>() == expired.len();
        if all && self.state == State::Empty && self.pending_joins.is_empty() {
            self.delete(cx, None);
        } else {
            self.drop_offsets(cx, &expired);
        }
    }

    fn expired_offsets(&self, now: Timestamp, settings: &Settings) -> Vec<TopicPartition> {
        // The time from which an offset is kept for the retention time, where it is not its
        // commit.
        let unused_since = match (&self.protocol_type, self.state) {
            (None, _) => None,
            (Some(_), State::Empty) => self.state_since,
            (Some(_), State::Stable) if self.subscribed_topics.is_some() => None,
            // Members are there, and what they read is not known: nothing expires.
            _ => return Vec::new(),
        };
        let subscribed = |topic: &TopicName| {
            self.subscribed_topics.as_ref().is_some_and(|topics| topics.contains(topic))
        };
        let retention_ms =
            i64::try_from(settings.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let is_expired = |slot: &Slot| {
            let Some(committed) = slot.committed.as_ref().filter(|_| slot.pending == 0) else {
                return false;
            };
            let since = unused_since.unwrap_or(committed.commit_timestamp);
            let expires = match committed.expire_timestamp {
                Some(expire_timestamp) => expire_timestamp.millis(),
                None => since.millis().saturating_add(retention_ms),
            };
            now.millis() >= expires
        };
        let topics = self.offsets.topics.iter().filter(|(topic, _)| !subscribed(topic));
        let slots = topics.flat_map(|(topic, slots)| {
            slots.iter().map(move |(partition, slot)| ((topic.clone(), *partition), slot))
        });
        slots.filter(|(_, slot)| is_expired(slot)).map(|(partition, _)| partition).collect()
    }
}

/// An offset as it will be committed, if it may.
fn committed(
    now: Moment,
    settings: &Settings,
    retention_ms: Option<i64>,
    commit: &CommitPartition,
) -> Result<CommittedOffset, GroupError> {
    let metadata = commit.metadata.clone().unwrap_or_default();
    // Kafka counts what Java calls characters. Whatever is allowed, the record has 16 bits for
    // the length in bytes.
    let allowed = settings.offset_metadata_max;
    let fits = metadata.len() < 2 * NAME_BYTES_MAX
        && (metadata.len() <= allowed || metadata.encode_utf16().count() <= allowed);
    if !fits {
        let actual = metadata.encode_utf16().count();
        return Err(GroupError::OffsetMetadataTooLarge { actual, allowed });
    }
    let expire_after = retention_ms.filter(|retention_ms| *retention_ms >= 0);
    Ok(CommittedOffset {
        offset: commit.offset,
        leader_epoch: commit.leader_epoch.max(-1),
        metadata,
        commit_timestamp: now.wall,
        expire_timestamp: expire_after
            .map(|after| Timestamp::from_millis(now.wall.millis().saturating_add(after))),
    })
}
