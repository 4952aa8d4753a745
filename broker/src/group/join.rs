//! JoinGroup: members come in, and come back.

use super::api::{JoinRefused, JoinRequest, Joined, ReplyToken, Response};
use super::classic::{Group, State, unknown};
use super::error::{AppendFailure, GroupError};
use super::id::{InstanceId, MemberId};
use super::member::{self, Member};
use super::outbox::{Change, Context, Replacement};
use super::settings::GROUP_METADATA_BYTES_MAX;
use super::timer::TimerKey;

/// A JoinGroup that gets its answer now, or is parked.
enum Outcome {
    Answered(Result<Joined, JoinRefused>),
    Parked,
}

impl Group {
    /// Takes a JoinGroup whose timeouts and sizes were found in order.
    pub(super) fn join(&mut self, cx: &mut Context<'_>, request: &JoinRequest, token: ReplyToken) {
        let outcome = self.try_join(cx, request, token);
        if let Outcome::Answered(answer) = outcome {
            cx.outbox.reply(token, Response::Join(answer));
        }
    }

    fn try_join(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        token: ReplyToken,
    ) -> Outcome {
        if self.state == State::Dead {
            return refused(&request.member_id, GroupError::NotAvailable);
        }
        let allowed = cx.settings.members_allowed();
        if !self.has_room_for(&request.member_id, allowed) {
            self.remove(cx, &request.member_id);
            self.complete_join_phase_if_all_joined(cx);
            return refused(&MemberId::default(), GroupError::GroupMaxSizeReached { allowed });
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return refused(&request.member_id, GroupError::InconsistentGroupProtocol);
        }
        if let Err(error) = self.check_metadata_room(request) {
            return refused(&request.member_id, error);
        }
        if !request.member_id.is_empty() {
            return self.join_known(cx, request, token);
        }
        match &request.instance_id {
            Some(instance_id) => self.join_static(cx, request, instance_id, token),
            None => self.join_dynamic(cx, request, allowed, token),
        }
    }

    /// Whether a member may come in, or come back. While a rebalance is prepared the first to
    /// come are kept, so that a group that has become too large shrinks.
    fn has_room_for(&self, member_id: &MemberId, allowed: usize) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                member.is_some_and(|member| member.join.is_some()) || self.joins_parked() < allowed
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() < allowed
            }
        }
    }

    fn check_metadata_room(&self, request: &JoinRequest) -> Result<(), GroupError> {
        let before = self.members.get(&request.member_id).map_or(0, Member::metadata_bytes);
        let after = self.metadata_bytes - before + member::metadata_bytes(&request.protocols);
        if after <= GROUP_METADATA_BYTES_MAX {
            return Ok(());
        }
        Err(GroupError::TooLarge {
            what: "the metadata of the group's members",
            actual_bytes: after,
            allowed_bytes: GROUP_METADATA_BYTES_MAX,
        })
    }

    fn join_dynamic(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        allowed: usize,
        token: ReplyToken,
    ) -> Outcome {
        let member_id =
            MemberId::from(format!("{}-{}", request.client_id, request.member_id_suffix));
        if !request.requires_known_member_id {
            return self.add_member(cx, request, member_id, token);
        }
        if self.pending_joins.len() >= allowed {
            return refused(&MemberId::default(), GroupError::GroupMaxSizeReached { allowed });
        }
        self.pending_joins.insert(member_id.clone());
        let session = TimerKey::Session(self.id.clone(), member_id.clone());
        cx.schedule_ms(session, request.session_timeout_ms);
        refused(&member_id, GroupError::MemberIdRequired { member_id: member_id.clone() })
    }

    fn join_static(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        instance_id: &InstanceId,
        token: ReplyToken,
    ) -> Outcome {
        let member_id = MemberId::from(format!("{instance_id}-{}", request.member_id_suffix));
        match self.instances.get(instance_id).cloned() {
            None => self.add_member(cx, request, member_id, token),
            Some(old_id) => {
                self.replace_static(cx, request, old_id, member_id, token);
                Outcome::Parked
            }
        }
    }

    /// A member that has an id joins.
    fn join_known(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        token: ReplyToken,
    ) -> Outcome {
        let member_id = &request.member_id;
        if request.instance_id.is_none() && self.pending_joins.contains(member_id) {
            return self.add_member(cx, request, member_id.clone(), token);
        }
        if let Err(error) = self.validate_member(member_id, request.instance_id.as_ref()) {
            return refused(member_id, error);
        }
        let unchanged = self
            .members
            .get(member_id)
            .is_some_and(|member| member.offers_same(&request.protocols));
        let leads = self.is_leader(member_id);
        match self.state {
            // It has not received the answer to its first JoinGroup: tell it again.
            State::CompletingRebalance if unchanged => {
                let members = if leads { self.members_for_leader() } else { Vec::new() };
                Outcome::Answered(Ok(self.joined(member_id, members)))
            }
            // A leader joins again to have partitions assigned anew, for reasons that need not
            // show in its metadata; a follower has lost its way and goes on with SyncGroup.
            State::Stable if unchanged && !leads => {
                Outcome::Answered(Ok(self.joined(member_id, Vec::new())))
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update(
                    member_id,
                    &request.protocols,
                    request.session_timeout_ms,
                    member::rebalance_timeout_ms(request),
                );
                self.park_join(cx, member_id, token);
                self.rebalance(cx);
                Outcome::Parked
            }
            State::Empty | State::Dead => refused(member_id, unknown(member_id)),
        }
    }

    fn add_member(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        member_id: MemberId,
        token: ReplyToken,
    ) -> Outcome {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if let Some(delay) = &mut self.initial_delay {
            delay.member_came = true;
        }
        self.insert(Member::new(member_id.clone(), request));
        self.park_join(cx, &member_id, token);
        // A client that loses patience while its first JoinGroup is parked leaves a member
        // behind that nobody will ever use. It is given up after a while.
        let session = TimerKey::Session(self.id.clone(), member_id);
        cx.schedule(session, cx.settings.new_member_join_timeout);
        self.rebalance(cx);
        Outcome::Parked
    }

    /// A static member has restarted: it takes the place of what it was before.
    fn replace_static(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        old_id: MemberId,
        new_id: MemberId,
        token: ReplyToken,
    ) {
        let led_by = self.leader.clone().unwrap_or_default();
        self.rename(cx, &old_id, &new_id);
        let Some(before) = self.members.get(&new_id) else { return };
        let (old_protocols, old_session_timeout_ms, old_rebalance_timeout_ms) =
            (before.protocols.clone(), before.session_timeout_ms, before.rebalance_timeout_ms);
        self.update(
            &new_id,
            &request.protocols,
            request.session_timeout_ms,
            member::rebalance_timeout_ms(request),
        );
        self.restart_session(cx, &new_id);
        self.park_join(cx, &new_id, token);
        match self.state {
            State::Stable if self.vote() == self.protocol => {
                let answer = if request.supports_skipping_assignment {
                    let leads = self.is_leader(&new_id);
                    let members = if leads { self.members_for_leader() } else { Vec::new() };
                    Joined { skip_assignment: leads, ..self.joined(&new_id, members) }
                } else {
                    // Named by its old id the leader takes itself for a follower, and makes no
                    // assignment.
                    Joined { leader: led_by, ..self.joined(&new_id, Vec::new()) }
                };
                let replacement = Box::new(Replacement {
                    old_id,
                    old_protocols,
                    old_session_timeout_ms,
                    old_rebalance_timeout_ms,
                    answer,
                });
                let change = Change::Replaced { group_id: self.id.clone(), token, replacement };
                cx.outbox.append(vec![self.record(None)], change, None);
            }
            // The leader may be at work on an assignment with the old id.
            State::CompletingRebalance | State::Stable => self.prepare(cx),
            State::PreparingRebalance => self.complete_join_phase_if_all_joined(cx),
            State::Empty | State::Dead => {}
        }
    }

    /// The record of a static member's return is durable, or was not stored. Nothing happens if
    /// its JoinGroup was answered meanwhile, or waits for a rebalance now.
    pub(super) fn on_replacement_stored(
        &mut self,
        cx: &mut Context<'_>,
        token: ReplyToken,
        replacement: Replacement,
        outcome: Result<(), AppendFailure>,
    ) {
        let new_id = replacement.answer.member_id.clone();
        let waits = self.members.get(&new_id).is_some_and(|member| member.join == Some(token));
        if !waits || self.state != State::Stable {
            return;
        }
        match outcome {
            Ok(()) => {
                self.answer_join(cx, &new_id, Ok(replacement.answer));
                self.restart_session(cx, &new_id);
            }
            Err(failure) => {
                let refused =
                    JoinRefused { member_id: MemberId::default(), error: failure.for_group() };
                self.answer_join(cx, &new_id, Err(refused));
                self.update(
                    &new_id,
                    &replacement.old_protocols,
                    replacement.old_session_timeout_ms,
                    replacement.old_rebalance_timeout_ms,
                );
                self.rename(cx, &new_id, &replacement.old_id);
                self.restart_session(cx, &replacement.old_id);
            }
        }
    }
}

fn refused(member_id: &MemberId, error: GroupError) -> Outcome {
    Outcome::Answered(Err(JoinRefused { member_id: member_id.clone(), error }))
}
