//! What one event leads to: effects for the caller, and changes that wait for their records.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::api::{
    AppendId, CommittedOffset, Effect, Effects, Joined, Moment, Protocol, Record, ReplyToken,
    Response,
};
use super::error::AppendFailure;
use super::id::{GroupId, MemberId, TopicName};
use super::settings::Settings;
use super::timer::{TimerKey, Timers};

/// A partition of a topic.
pub(super) type TopicPartition = (TopicName, i32);

/// What happens to the state when an append is durable, or when it failed.
#[derive(Debug)]
pub(super) enum Change {
    /// A group has lost its last member: the record only tells the next coordinator.
    Emptied,
    /// A leader's assignment for a generation.
    Assigned { group_id: GroupId, generation: i32, assignments: BTreeMap<MemberId, Bytes> },
    /// A static member has come back under a new member id.
    Replaced { group_id: GroupId, token: ReplyToken, replacement: Box<Replacement> },
    /// Offsets were committed.
    Committed { group_id: GroupId, offsets: Vec<(TopicPartition, CommittedOffset)> },
    /// Offsets were removed.
    Dropped { group_id: GroupId, partitions: Vec<TopicPartition> },
    /// A group was removed, together with these offsets, the last it had.
    Deleted { group_id: GroupId, partitions: Vec<TopicPartition> },
}

/// What is needed to finish the return of a static member, or to undo it.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) old_id: MemberId,
    pub(super) old_protocols: Vec<Protocol>,
    pub(super) old_session_timeout_ms: i32,
    pub(super) old_rebalance_timeout_ms: i32,
    pub(super) answer: Joined,
}

/// An append that was asked for and has not taken effect.
#[derive(Debug)]
pub(super) struct PendingAppend {
    id: AppendId,
    outcome: Option<Result<(), AppendFailure>>,
    pub(super) change: Change,
    pub(super) reply: Option<(ReplyToken, Response)>,
}

/// Collects effects, and keeps the changes whose records are not durable yet in log order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    effects: Effects,
    pending: VecDeque<PendingAppend>,
    appends: u64,
}

impl Outbox {
    pub(super) fn reply(&mut self, token: ReplyToken, response: Response) {
        self.effects.push(Effect::Reply { token, response });
    }

    pub(super) fn append(
        &mut self,
        records: Vec<Record>,
        change: Change,
        reply: Option<(ReplyToken, Response)>,
    ) {
        debug_assert!(!records.is_empty(), "an append has records");
        let id = AppendId(self.appends);
        self.appends += 1;
        self.pending.push_back(PendingAppend { id, outcome: None, change, reply });
        self.effects.push(Effect::Append { id, records });
    }

    /// Gives an answer once the records that this event has led to are durable: at once if there
    /// are none.
    pub(super) fn reply_when_stored(&mut self, token: ReplyToken, response: Response) {
        let appended_now =
            self.effects.iter().any(|effect| matches!(effect, Effect::Append { .. }));
        match self.pending.back_mut() {
            Some(last) if appended_now && last.reply.is_none() => {
                last.reply = Some((token, response));
            }
            _ => self.reply(token, response),
        }
    }

    /// Notes how an append went. False if it is not waited for.
    pub(super) fn note(&mut self, id: AppendId, outcome: Result<(), AppendFailure>) -> bool {
        // Ids are given in order, so the queue is sorted by them.
        match self.pending.binary_search_by_key(&id, |pending| pending.id) {
            Ok(index) => match self.pending.get_mut(index) {
                Some(pending) if pending.outcome.is_none() => {
                    pending.outcome = Some(outcome);
                    true
                }
                _ => false,
            },
            Err(_) => false,
        }
    }

    /// Takes the first waiting change if its outcome is known: changes take effect in the order
    /// of their records in the log, in whatever order their outcomes arrive.
    pub(super) fn next_settled(&mut self) -> Option<(PendingAppend, Result<(), AppendFailure>)> {
        let outcome = self.pending.front()?.outcome?;
        Some((self.pending.pop_front()?, outcome))
    }

    /// Takes all waiting changes, whatever becomes of their records.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = PendingAppend> {
        std::mem::take(&mut self.pending).into_iter()
    }

    pub(super) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }
}

/// What a group needs from its coordinator to take one event.
pub(super) struct Context<'a> {
    pub(super) now: Moment,
    pub(super) settings: &'a Settings,
    pub(super) timers: &'a mut Timers,
    pub(super) outbox: &'a mut Outbox,
}

impl Context<'_> {
    pub(super) fn schedule(&mut self, key: TimerKey, after: Duration) {
        self.timers.schedule(key, self.now.elapsed.saturating_add(after));
    }

    /// As [`Context::schedule`], for a number of milliseconds that came from outside: numbers
    /// below 1 count as 1, so that a deadline that sets itself again is not due at once.
    pub(super) fn schedule_ms(&mut self, key: TimerKey, after_ms: i32) {
        let after_ms = u64::try_from(after_ms).unwrap_or(0).max(1);
        self.schedule(key, Duration::from_millis(after_ms));
    }
}
