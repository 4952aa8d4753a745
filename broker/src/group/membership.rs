//! What members do between joins: SyncGroup, Heartbeat, LeaveGroup.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::api::{
    HeartbeatRequest, LeaveRequest, LeavingMember, LeftMember, ReplyToken, Response, SyncRequest,
};
use super::classic::{Group, State, unknown};
use super::error::GroupError;
use super::id::{MemberId, ProtocolName};
use super::outbox::{Change, Context};

impl Group {
    /// Takes a SyncGroup: answers it, or parks it until the leader's assignment is durable.
    pub(super) fn sync(&mut self, cx: &mut Context<'_>, request: SyncRequest, token: ReplyToken) {
        if let Err(error) = self.check_sync(&request) {
            cx.outbox.reply(token, Response::Sync(Err(error)));
            return;
        }
        let member_id = &request.member_id;
        // An earlier SyncGroup that is still parked was given up by its client.
        self.answer_sync(cx, member_id, Some(GroupError::RebalanceInProgress));
        if let Some(member) = self.members.get_mut(member_id) {
            member.sync = Some(token);
        }
        self.note_sync(cx, member_id);
        if self.state == State::Stable {
            self.answer_sync(cx, member_id, None);
        } else if self.is_leader(member_id) {
            self.store_assignment(cx, request.assignments);
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), GroupError> {
        if self.state == State::Dead {
            return Err(GroupError::NotAvailable);
        }
        self.validate_member(&request.member_id, request.instance_id.as_ref())?;
        self.validate_generation(request.generation)?;
        let differ = |theirs: &Option<ProtocolName>, ours: &Option<ProtocolName>| {
            theirs.is_some() && ours.is_some() && theirs != ours
        };
        if differ(&request.protocol_type, &self.protocol_type)
            || differ(&request.protocol, &self.protocol)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        match self.state {
            State::CompletingRebalance | State::Stable => Ok(()),
            State::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            State::Empty | State::Dead => Err(unknown(&request.member_id)),
        }
    }

    /// Asks for the leader's assignment to be stored. Members it forgot get nothing, and
    /// assignments for members that do not exist are left out.
    fn store_assignment(&mut self, cx: &mut Context<'_>, given: Vec<(MemberId, Bytes)>) {
        let given = given.into_iter().filter(|(id, _)| self.members.contains_key(id));
        // In memory of their own: they live longer than the request's frame.
        let assignments: BTreeMap<MemberId, Bytes> =
            given.map(|(id, assignment)| (id, Bytes::copy_from_slice(&assignment))).collect();
        let records = vec![self.record(Some(&assignments))];
        let generation = self.generation;
        let change = Change::Assigned { group_id: self.id.clone(), generation, assignments };
        cx.outbox.append(records, change, None);
    }

    /// Takes a Heartbeat.
    pub(super) fn heartbeat(
        &mut self,
        cx: &mut Context<'_>,
        request: &HeartbeatRequest,
    ) -> Result<(), GroupError> {
        if self.state == State::Dead {
            return Err(GroupError::NotAvailable);
        }
        self.validate_member(&request.member_id, request.instance_id.as_ref())?;
        self.validate_generation(request.generation)?;
        self.restart_session(cx, &request.member_id);
        match self.state {
            State::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Takes a LeaveGroup. It is answered when the record that a group has become empty, if it
    /// has, is durable.
    pub(super) fn leave(&mut self, cx: &mut Context<'_>, request: LeaveRequest, token: ReplyToken) {
        if self.state == State::Dead {
            cx.outbox.reply(token, Response::Leave(Err(GroupError::NotAvailable)));
            return;
        }
        let results = request.members.into_iter().map(|leaving| {
            let result = self.leave_one(cx, &leaving);
            LeftMember { member_id: leaving.member_id, instance_id: leaving.instance_id, result }
        });
        let results: Vec<LeftMember> = results.collect();
        if results.iter().any(|left| left.result.is_ok()) {
            match self.state {
                State::Stable | State::CompletingRebalance => self.prepare(cx),
                _ => self.complete_join_phase_if_all_joined(cx),
            }
        }
        cx.outbox.reply_when_stored(token, Response::Leave(Ok(results)));
    }

    fn leave_one(
        &mut self,
        cx: &mut Context<'_>,
        leaving: &LeavingMember,
    ) -> Result<(), GroupError> {
        let member_id = match &leaving.instance_id {
            // An administrator need not know the member id of a static member.
            Some(instance_id) if leaving.member_id.is_empty() => self
                .instances
                .get(instance_id)
                .cloned()
                .ok_or_else(|| unknown(&leaving.member_id))?,
            None if self.pending_joins.contains(&leaving.member_id) => leaving.member_id.clone(),
            instance_id => {
                self.validate_member(&leaving.member_id, instance_id.as_ref())?;
                leaving.member_id.clone()
            }
        };
        self.remove(cx, &member_id);
        Ok(())
    }
}
