//! SyncGroup: a member fetches its assignment, and the leader brings everybody's.

use bytes::Bytes;

use super::{ask, instance, text, unexpected};
use crate::dispatch::Context;
use crate::group::{GroupId, MemberId, ProtocolName, Request, Response, SyncRequest};
use crate::handlers::codes;
use crate::protocol::ErrorCode;
use crate::protocol::messages::{SyncGroupRequest, SyncGroupResponse};

/// Waits until the leader has brought the assignments.
pub async fn handle(context: Context, request: SyncGroupRequest) -> SyncGroupResponse {
    let sync = SyncRequest {
        group_id: GroupId::from(request.group_id.as_str()),
        member_id: MemberId::from(request.member_id.as_str()),
        instance_id: instance(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: request.protocol_type.as_deref().map(ProtocolName::from),
        protocol: request.protocol_name.as_deref().map(ProtocolName::from),
        assignments: request
            .assignments
            .iter()
            .map(|one| {
                // Kept for as long as the generation lives, and must not keep the frame.
                let assignment = Bytes::copy_from_slice(&one.assignment);
                (MemberId::from(one.member_id.as_str()), assignment)
            })
            .collect(),
    };
    let failed = |code: ErrorCode| SyncGroupResponse {
        error_code: code.code(),
        ..SyncGroupResponse::default()
    };
    match ask(&context, &request.group_id, Request::Sync(sync)).await {
        Ok(Response::Sync(Ok(synced))) => SyncGroupResponse {
            protocol_type: text(synced.protocol_type.as_ref()),
            protocol_name: text(synced.protocol.as_ref()),
            assignment: synced.assignment,
            ..SyncGroupResponse::default()
        },
        Ok(Response::Sync(Err(error))) => failed(codes::group(&error)),
        Ok(other) => failed(unexpected(&other)),
        Err(code) => failed(code),
    }
}
