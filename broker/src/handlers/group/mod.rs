//! Consumer groups. A group's coordinator lives on one partition of `__consumer_offsets`, and each
//! handler asks it there.

pub mod delete_groups;
pub mod describe_groups;
pub mod find_coordinator;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod offset_commit;
pub mod offset_fetch;
pub mod sync_group;

use crate::controller::OFFSETS_TOPIC;
use crate::dispatch::Context;
use crate::group::{InstanceId, ProtocolName, Request, Response, partition_for};
use crate::handlers::codes;
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;

/// How many partitions `__consumer_offsets` has; 0 before the first group.
fn offsets_partitions(context: &Context) -> i32 {
    context.shard.image().topic(OFFSETS_TOPIC).map_or(0, |topic| topic.partition_count())
}

/// Asks a group's coordinator.
async fn ask(context: &Context, group_id: &str, request: Request) -> Result<Response, ErrorCode> {
    let partitions = offsets_partitions(context);
    if partitions == 0 {
        // Nobody has asked for a coordinator yet, so there is none.
        return Err(ErrorCode::NotCoordinator);
    }
    let partition = partition_for(group_id, partitions);
    let answer = context.shard.group_anywhere(partition, request).await;
    answer.map_err(codes::unavailable)
}

/// A coordinator answers in kind, by its contract.
fn unexpected(response: &Response) -> ErrorCode {
    tracing::error!(?response, "a coordinator's answer is not of the request's kind");
    ErrorCode::UnknownServerError
}

fn instance(id: Option<&Str>) -> Option<InstanceId> {
    id.map(|id| InstanceId::from(id.as_str()))
}

fn text(name: Option<&ProtocolName>) -> Option<Str> {
    name.map(|name| Str::from(name.as_str()))
}
