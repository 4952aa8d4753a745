//! LeaveGroup: members go, or are removed by an administrator.

use super::{ask, instance, unexpected};
use crate::dispatch::Context;
use crate::group::{GroupId, LeaveRequest, LeavingMember, LeftMember, MemberId, Request, Response};
use crate::handlers::codes;
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;
use crate::protocol::messages::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};

/// The first version that names several members.
const SEVERAL_FROM: i16 = 3;

/// Answers each member by itself.
pub async fn handle(context: Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let several = context.header.version >= SEVERAL_FROM;
    let members = if several {
        let leaving = request.members.iter().map(|member| LeavingMember {
            member_id: MemberId::from(member.member_id.as_str()),
            instance_id: instance(member.group_instance_id.as_ref()),
        });
        leaving.collect()
    } else {
        let member_id = MemberId::from(request.member_id.as_str());
        vec![LeavingMember { member_id, instance_id: None }]
    };
    let leave = LeaveRequest { group_id: GroupId::from(request.group_id.as_str()), members };
    let failed = |code: ErrorCode| LeaveGroupResponse {
        error_code: code.code(),
        ..LeaveGroupResponse::default()
    };
    match ask(&context, &request.group_id, Request::Leave(leave)).await {
        Ok(Response::Leave(Ok(left))) if several => {
            let members = left.iter().map(said).collect();
            LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
        }
        Ok(Response::Leave(Ok(left))) => {
            let refused = left.iter().find_map(|member| member.result.as_ref().err());
            failed(refused.map_or(ErrorCode::None, codes::group))
        }
        Ok(Response::Leave(Err(error))) => failed(codes::group(&error)),
        Ok(other) => failed(unexpected(&other)),
        Err(code) => failed(code),
    }
}

fn said(left: &LeftMember) -> MemberResponse {
    let code = left.result.as_ref().err().map_or(ErrorCode::None, codes::group);
    MemberResponse {
        member_id: Str::from(left.member_id.as_str()),
        group_instance_id: left.instance_id.as_ref().map(|id| Str::from(id.as_str())),
        error_code: code.code(),
    }
}
