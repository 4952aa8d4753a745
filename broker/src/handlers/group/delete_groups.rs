//! DeleteGroups: groups without members go, with their offsets.

use super::{ask, unexpected};
use crate::dispatch::Context;
use crate::group::{GroupId, Request, Response};
use crate::handlers::codes;
use crate::protocol::ErrorCode;
use crate::protocol::messages::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

/// Answers each group by itself.
pub async fn handle(context: Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let delete = Request::Delete { group_id: GroupId::from(group_id.as_str()) };
        let code = match ask(&context, &group_id, delete).await {
            Ok(Response::Delete(Ok(()))) => ErrorCode::None,
            Ok(Response::Delete(Err(error))) => codes::group(&error),
            Ok(other) => unexpected(&other),
            Err(code) => code,
        };
        results.push(DeletableGroupResult { group_id, error_code: code.code() });
    }
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
