//! FindCoordinator: which broker coordinates a group.

use super::offsets_partitions;
use crate::controller::OFFSETS_TOPIC;
use crate::dispatch::Context;
use crate::group::partition_for;
use crate::handlers::codes;
use crate::metadata::{Broker, PartitionId};
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;
use crate::protocol::messages::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

/// The kind of key that names a group.
const GROUP: i8 = 0;
/// The first version that asks for several keys at once.
const SEVERAL_FROM: i16 = 4;

/// Answers every key; the first question of all brings `__consumer_offsets` into being.
pub async fn handle(context: Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let several = context.header.version >= SEVERAL_FROM;
    let keys = if several { request.coordinator_keys } else { vec![request.key] };
    let created = match request.key_type {
        GROUP => create_offsets_topic(&context).await,
        _ => Err((
            ErrorCode::InvalidRequest,
            Some(Str::from_static(
                "only groups have coordinators here: transactions are not served",
            )),
        )),
    };
    let mut coordinators = keys.into_iter().map(|key| {
        let found = created.clone().and_then(|()| find(&context, &key));
        match found {
            Ok(broker) => Coordinator {
                key,
                node_id: broker.id.0,
                host: Str::from(&*broker.host),
                port: i32::from(broker.port),
                ..Coordinator::default()
            },
            Err((code, error_message)) => Coordinator {
                key,
                node_id: -1,
                port: -1,
                error_code: code.code(),
                error_message,
                ..Coordinator::default()
            },
        }
    });
    if several {
        let coordinators = coordinators.collect();
        return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
    }
    let one = coordinators.next().unwrap_or_default();
    FindCoordinatorResponse {
        error_code: one.error_code,
        error_message: one.error_message,
        node_id: one.node_id,
        host: one.host,
        port: one.port,
        ..FindCoordinatorResponse::default()
    }
}

async fn create_offsets_topic(context: &Context) -> Result<(), (ErrorCode, Option<Str>)> {
    if offsets_partitions(context) > 0 {
        return Ok(());
    }
    let refused = |message: String| (ErrorCode::CoordinatorNotAvailable, Some(Str::from(message)));
    let mut results = context
        .shard
        .control()
        .auto_create(vec![OFFSETS_TOPIC.to_owned()])
        .await
        .map_err(|error| (codes::control(&error), Some(Str::from(error.to_string()))))?;
    match results.pop() {
        // Somebody else may have created it meanwhile.
        _ if offsets_partitions(context) > 0 => Ok(()),
        Some(Err(error)) => Err(refused(error.to_string())),
        _ => Err(refused("the topic of committed offsets is not there yet".to_owned())),
    }
}

fn find(context: &Context, group_id: &str) -> Result<Broker, (ErrorCode, Option<Str>)> {
    let image = context.shard.image();
    let partition = PartitionId(partition_for(group_id, offsets_partitions(context)));
    let leader = image
        .topic(OFFSETS_TOPIC)
        .and_then(|topic| topic.partition(partition))
        .and_then(|partition| partition.leader);
    let broker = leader.and_then(|leader| image.broker(leader));
    broker.cloned().ok_or((ErrorCode::CoordinatorNotAvailable, None))
}
