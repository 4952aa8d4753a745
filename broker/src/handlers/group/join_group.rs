//! JoinGroup: a member wants to take part in the next generation.

use uuid::Uuid;

use super::{ask, instance, text, unexpected};
use crate::dispatch::Context;
use crate::group::{
    GroupId, JoinRequest, Joined, MemberId, Protocol, ProtocolName, Request, Response,
};
use crate::handlers::codes;
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;
use crate::protocol::messages::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

/// The first version whose clients come back with the id that they are given.
const KNOWN_MEMBER_FROM: i16 = 4;
/// The first version whose names may be null.
const NULLS_FROM: i16 = 7;
/// The first version in which a leader can be told to leave the assignment alone.
const SKIPS_FROM: i16 = 9;

/// Waits until the group's next generation is made.
pub async fn handle(context: Context, request: JoinGroupRequest) -> JoinGroupResponse {
    let version = context.header.version;
    let member_id = request.member_id.clone();
    let join = JoinRequest {
        group_id: GroupId::from(request.group_id.as_str()),
        member_id: MemberId::from(request.member_id.as_str()),
        member_id_suffix: Uuid::new_v4().to_string(),
        instance_id: instance(request.group_instance_id.as_ref()),
        client_id: context.header.client_id.as_deref().unwrap_or("").to_owned(),
        client_host: format!("/{}", context.session.peer.ip()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        protocol_type: ProtocolName::from(request.protocol_type.as_str()),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| Protocol {
                name: ProtocolName::from(protocol.name.as_str()),
                // Kept for as long as the member lives, and must not keep the frame.
                metadata: bytes::Bytes::copy_from_slice(&protocol.metadata),
            })
            .collect(),
        requires_known_member_id: version >= KNOWN_MEMBER_FROM,
        supports_skipping_assignment: version >= SKIPS_FROM,
    };
    match ask(&context, &request.group_id, Request::Join(join)).await {
        Ok(Response::Join(Ok(joined))) => said(joined, version),
        Ok(Response::Join(Err(refused))) => {
            let member_id = Str::from(refused.member_id.as_str());
            failed(codes::group(&refused.error), member_id, version)
        }
        Ok(other) => failed(unexpected(&other), member_id, version),
        Err(code) => failed(code, member_id, version),
    }
}

fn said(joined: Joined, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: text(joined.protocol_type.as_ref()),
        protocol_name: or_empty(text(joined.protocol.as_ref()), version),
        leader: Str::from(joined.leader.as_str()),
        skip_assignment: joined.skip_assignment,
        member_id: Str::from(joined.member_id.as_str()),
        members: joined
            .members
            .into_iter()
            .map(|member| JoinGroupResponseMember {
                member_id: Str::from(member.member_id.as_str()),
                group_instance_id: member.instance_id.map(|id| Str::from(id.as_str())),
                metadata: member.metadata,
            })
            .collect(),
        ..JoinGroupResponse::default()
    }
}

fn failed(code: ErrorCode, member_id: Str, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.code(),
        protocol_name: or_empty(None, version),
        member_id,
        ..JoinGroupResponse::default()
    }
}

fn or_empty(name: Option<Str>, version: i16) -> Option<Str> {
    if version < NULLS_FROM { name.or(Some(Str::EMPTY)) } else { name }
}
