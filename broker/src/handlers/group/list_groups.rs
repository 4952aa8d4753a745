//! ListGroups: the groups that this broker coordinates.

use super::{offsets_partitions, text, unexpected};
use crate::dispatch::Context;
use crate::group::{self, Request, Response};
use crate::handlers::codes;
use crate::protocol::codec::Str;
use crate::protocol::messages::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

/// Asks every coordinator of the broker.
pub async fn handle(context: Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let strings = |texts: &[Str]| texts.iter().map(|text| text.to_string()).collect();
    let list = group::ListRequest {
        states: strings(&request.states_filter),
        types: strings(&request.types_filter),
    };
    let mut groups = Vec::new();
    for partition in 0..offsets_partitions(&context) {
        let list = Request::List(list.clone());
        let code = match context.shard.group_anywhere(partition, list).await {
            Ok(Response::List(Ok(listed))) => {
                groups.extend(listed.into_iter().map(said));
                continue;
            }
            Ok(Response::List(Err(error))) => codes::group(&error),
            Ok(other) => unexpected(&other),
            Err(error) => codes::unavailable(error),
        };
        return ListGroupsResponse { error_code: code.code(), ..ListGroupsResponse::default() };
    }
    ListGroupsResponse { groups, ..ListGroupsResponse::default() }
}

fn said(group: group::ListedGroup) -> ListedGroup {
    ListedGroup {
        group_id: Str::from(group.group_id.as_str()),
        protocol_type: text(group.protocol_type.as_ref()).unwrap_or(Str::EMPTY),
        group_state: Str::from_static(group.state.name()),
        group_type: Str::from_static("classic"),
    }
}
