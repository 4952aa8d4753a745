//! Heartbeat: a member says that it lives.

use super::{ask, instance, unexpected};
use crate::dispatch::Context;
use crate::group::{self, GroupId, MemberId, Request, Response};
use crate::handlers::codes;
use crate::protocol::ErrorCode;
use crate::protocol::messages::{HeartbeatRequest, HeartbeatResponse};

/// Answers whether the member is still part of its generation.
pub async fn handle(context: Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let heartbeat = group::HeartbeatRequest {
        group_id: GroupId::from(request.group_id.as_str()),
        member_id: MemberId::from(request.member_id.as_str()),
        instance_id: instance(request.group_instance_id.as_ref()),
        generation: request.generation_id,
    };
    let code = match ask(&context, &request.group_id, Request::Heartbeat(heartbeat)).await {
        Ok(Response::Heartbeat(Ok(()))) => ErrorCode::None,
        Ok(Response::Heartbeat(Err(error))) => codes::group(&error),
        Ok(other) => unexpected(&other),
        Err(code) => code,
    };
    HeartbeatResponse { error_code: code.code(), ..HeartbeatResponse::default() }
}
