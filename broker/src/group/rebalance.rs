//! From one generation to the next: the join phase, the sync phase, and what ends them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::api::Response;
use super::classic::{Group, State};
use super::error::{AppendFailure, GroupError};
use super::id::MemberId;
use super::outbox::{Change, Context};
use super::timer::TimerKey;

/// The first rebalance of an empty group waits a little, and a little more for as long as members
/// keep coming, but not longer than the rebalance timeout.
#[derive(Debug, Clone, Copy)]
pub(super) struct InitialDelay {
    /// How long the current wait is.
    current: Duration,
    /// What is left of the rebalance timeout after it.
    remaining: Duration,
    /// Whether a member has come during it.
    pub(super) member_came: bool,
}

impl Group {
    /// Starts a rebalance if none is being prepared, and ends its join phase if nobody is
    /// missing.
    pub(super) fn rebalance(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare(cx),
            State::PreparingRebalance => self.complete_join_phase_if_all_joined(cx),
            State::Dead => {}
        }
    }

    /// Starts a rebalance.
    pub(super) fn prepare(&mut self, cx: &mut Context<'_>) {
        if self.state == State::CompletingRebalance {
            self.reset_assignment(cx, &GroupError::RebalanceInProgress);
        }
        cx.timers.cancel(TimerKey::Sync(self.id.clone()));
        let was_empty = self.state == State::Empty;
        self.enter(cx, State::PreparingRebalance);
        if was_empty {
            let timeout =
                Duration::from_millis(u64::try_from(self.rebalance_timeout_ms()).unwrap_or(0));
            let current = cx.settings.initial_rebalance_delay;
            let remaining = timeout.saturating_sub(current);
            self.initial_delay = Some(InitialDelay { current, remaining, member_came: false });
            cx.schedule(TimerKey::Join(self.id.clone()), current);
        } else if self.all_have_joined() {
            self.complete_join_phase(cx);
        } else {
            cx.schedule_ms(TimerKey::Join(self.id.clone()), self.rebalance_timeout_ms());
        }
    }

    /// Ends the join phase if it waits for members and nobody is missing. A delayed first
    /// rebalance takes its time all the same.
    pub(super) fn complete_join_phase_if_all_joined(&mut self, cx: &mut Context<'_>) {
        if self.state == State::PreparingRebalance
            && self.initial_delay.is_none()
            && self.all_have_joined()
        {
            self.complete_join_phase(cx);
        }
    }

    /// The time of the join phase is up.
    pub(super) fn on_join_timer(&mut self, cx: &mut Context<'_>) {
        if self.state != State::PreparingRebalance {
            return;
        }
        match self.initial_delay {
            Some(delay) if delay.member_came && !delay.remaining.is_zero() => {
                let current = cx.settings.initial_rebalance_delay.min(delay.remaining);
                let remaining = delay.remaining.saturating_sub(delay.current);
                self.initial_delay = Some(InitialDelay { current, remaining, member_came: false });
                cx.schedule(TimerKey::Join(self.id.clone()), current);
            }
            _ => self.complete_join_phase(cx),
        }
    }

    /// Ends the join phase with those who have joined: a new generation begins. Static members
    /// that have not joined stay in the group until their session ends.
    fn complete_join_phase(&mut self, cx: &mut Context<'_>) {
        cx.timers.cancel(TimerKey::Join(self.id.clone()));
        let missing = self.members.values().filter(|member| member.join.is_none());
        let missing = missing.filter(|member| member.instance_id.is_none());
        let missing: Vec<MemberId> = missing.map(|member| member.id.clone()).collect();
        for member_id in missing {
            self.remove(cx, &member_id);
        }
        if !self.elect_leader_that_joined() && !self.members.is_empty() {
            // Only static members that are away are left. Either one of them comes back, or
            // their sessions end.
            cx.schedule_ms(TimerKey::Join(self.id.clone()), self.rebalance_timeout_ms());
            return;
        }
        self.initial_delay = None;
        self.begin_generation(cx);
        if self.state == State::Empty {
            cx.outbox.append(vec![self.record(None)], Change::Emptied, None);
        } else {
            self.begin_sync_phase(cx);
        }
    }

    /// Makes sure that the leader is one who has joined. False if nobody has.
    fn elect_leader_that_joined(&mut self) -> bool {
        let joined = |id: &MemberId| self.members.get(id).is_some_and(|m| m.join.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        match self.members.values().find(|member| member.join.is_some()) {
            Some(member) => {
                self.leader = Some(member.id.clone());
                true
            }
            None => false,
        }
    }

    fn begin_generation(&mut self, cx: &Context<'_>) {
        // A generation that a group in the field never reaches, but a record can claim.
        self.generation = self.generation.checked_add(1).unwrap_or(1).max(1);
        self.pending_syncs.clear();
        self.protocol = self.vote();
        self.note_subscribed_topics();
        let empty = self.members.is_empty();
        self.enter(cx, if empty { State::Empty } else { State::CompletingRebalance });
    }

    fn begin_sync_phase(&mut self, cx: &mut Context<'_>) {
        cx.schedule_ms(TimerKey::Sync(self.id.clone()), self.rebalance_timeout_ms());
        let member_ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let for_leader =
                if self.is_leader(&member_id) { self.members_for_leader() } else { Vec::new() };
            let answer = self.joined(&member_id, for_leader);
            self.answer_join(cx, &member_id, Ok(answer));
            self.restart_session(cx, &member_id);
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
            }
            self.pending_syncs.insert(member_id);
        }
    }

    /// The time of the sync phase is up: members that have not asked for their assignment are
    /// out.
    pub(super) fn on_sync_timer(&mut self, cx: &mut Context<'_>) {
        let in_sync_phase = matches!(self.state, State::CompletingRebalance | State::Stable);
        if !in_sync_phase || self.pending_syncs.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.pending_syncs) {
            self.remove(cx, &member_id);
        }
        self.prepare(cx);
    }

    /// A member has asked for its assignment.
    pub(super) fn note_sync(&mut self, cx: &mut Context<'_>, member_id: &MemberId) {
        self.pending_syncs.remove(member_id);
        if self.pending_syncs.is_empty() {
            cx.timers.cancel(TimerKey::Sync(self.id.clone()));
        }
    }

    /// The record with the leader's assignment is durable, or was not stored. Nothing happens if
    /// the group has moved on to another rebalance.
    pub(super) fn on_assignment_stored(
        &mut self,
        cx: &mut Context<'_>,
        generation: i32,
        assignments: &BTreeMap<MemberId, Bytes>,
        outcome: Result<(), AppendFailure>,
    ) {
        if self.state != State::CompletingRebalance || self.generation != generation {
            return;
        }
        if let Err(failure) = outcome {
            self.reset_assignment(cx, &failure.for_group());
            self.rebalance(cx);
            return;
        }
        for member in self.members.values_mut() {
            member.assignment = assignments.get(&member.id).cloned().unwrap_or_default();
        }
        self.enter(cx, State::Stable);
        let member_ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            self.answer_sync(cx, &member_id, None);
        }
    }

    /// Takes back all assignments, and tells those who wait for theirs why.
    fn reset_assignment(&mut self, cx: &mut Context<'_>, error: &GroupError) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        let member_ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            self.answer_sync(cx, &member_id, Some(error.clone()));
        }
    }

    /// Answers a member's parked SyncGroup, if it has one: with its assignment, or an error.
    pub(super) fn answer_sync(
        &mut self,
        cx: &mut Context<'_>,
        member_id: &MemberId,
        error: Option<GroupError>,
    ) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let Some(token) = member.sync.take() else { return };
        let assignment = member.assignment.clone();
        let answer = error.map_or_else(|| Ok(self.synced(assignment)), Err);
        cx.outbox.reply(token, Response::Sync(answer));
        self.restart_session(cx, member_id);
    }

    /// A member's session, or the wait for one that was given an id, has ended.
    pub(super) fn on_session_timer(&mut self, cx: &mut Context<'_>, member_id: &MemberId) {
        if self.pending_joins.contains(member_id) {
            self.remove(cx, member_id);
            self.complete_after_departure(cx);
            return;
        }
        let Some(member) = self.members.get(member_id) else { return };
        // A member whose request is parked cannot send heartbeats meanwhile; its session starts
        // anew with the answer.
        let waits = member.join.is_some() || member.sync.is_some();
        if member.is_new || !waits {
            self.remove(cx, member_id);
            match self.state {
                State::Stable | State::CompletingRebalance => self.prepare(cx),
                _ => self.complete_after_departure(cx),
            }
        }
    }

    /// Ends the join phase, a delayed first one too, if it has waited for no one but those who
    /// have just gone.
    fn complete_after_departure(&mut self, cx: &mut Context<'_>) {
        if self.state == State::PreparingRebalance && self.all_have_joined() {
            self.complete_join_phase(cx);
        }
    }
}
