//! DescribeGroups: groups in full.

use std::collections::BTreeSet;

use super::{ask, text, unexpected};
use crate::dispatch::Context;
use crate::group::{self, GroupError, GroupId, Request, Response};
use crate::handlers::codes;
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;
use crate::protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

/// The first version in which a group that is not there is an error; before, it is dead.
const MISSING_IS_ERROR_FROM: i16 = 6;
const DEAD: Str = Str::from_static("Dead");

/// Answers each group by itself.
pub async fn handle(context: Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    let mut seen = BTreeSet::new();
    for group_id in request.groups {
        // An answer is no larger than what there is to say.
        if !seen.insert(group_id.to_string()) {
            continue;
        }
        let describe = Request::Describe { group_id: GroupId::from(group_id.as_str()) };
        let answer = ask(&context, &group_id, describe).await;
        let failed = |code: ErrorCode, message: Option<Str>| DescribedGroup {
            error_code: code.code(),
            error_message: message,
            group_id: group_id.clone(),
            ..DescribedGroup::default()
        };
        groups.push(match answer {
            Ok(Response::Describe(Ok(group))) => said(group),
            Ok(Response::Describe(Err(error @ GroupError::GroupIdNotFound { .. }))) => {
                let (code, message) = match context.header.version >= MISSING_IS_ERROR_FROM {
                    true => (codes::group(&error), Some(Str::from(error.to_string()))),
                    false => (ErrorCode::None, None),
                };
                DescribedGroup { group_state: DEAD, ..failed(code, message) }
            }
            Ok(Response::Describe(Err(error))) => failed(codes::group(&error), None),
            Ok(other) => failed(unexpected(&other), None),
            Err(code) => failed(code, None),
        });
    }
    // Versions before 6 cannot carry the words.
    if context.header.version < MISSING_IS_ERROR_FROM {
        groups.iter_mut().for_each(|group| group.error_message = None);
    }
    DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }
}

fn said(group: group::DescribedGroup) -> DescribedGroup {
    DescribedGroup {
        group_id: Str::from(group.group_id.as_str()),
        group_state: Str::from_static(group.state.name()),
        protocol_type: text(group.protocol_type.as_ref()).unwrap_or(Str::EMPTY),
        protocol_data: text(group.protocol.as_ref()).unwrap_or(Str::EMPTY),
        members: group
            .members
            .into_iter()
            .map(|member| DescribedGroupMember {
                member_id: Str::from(member.member_id.as_str()),
                group_instance_id: member.instance_id.map(|id| Str::from(id.as_str())),
                client_id: Str::from(member.client_id),
                client_host: Str::from(member.client_host),
                member_metadata: member.metadata,
                member_assignment: member.assignment,
            })
            .collect(),
        ..DescribedGroup::default()
    }
}
