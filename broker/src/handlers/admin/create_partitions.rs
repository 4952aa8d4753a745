//! CreatePartitions.

use super::per_part;
use crate::controller::MorePartitions;
use crate::dispatch::Context;
use crate::metadata::BrokerId;
use crate::protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

/// Gives topics more partitions, each by itself.
pub async fn handle(
    context: Context,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let topics = request.topics.iter().map(more_partitions).collect();
    let control = context.shard.control();
    let answer = control.create_partitions(topics, request.validate_only).await;
    let count = request.topics.len();
    let results = request
        .topics
        .into_iter()
        .zip(per_part(answer, count))
        .map(|(topic, result)| match result {
            Ok(()) => CreatePartitionsTopicResult { name: topic.name, ..Default::default() },
            Err((code, error_message)) => CreatePartitionsTopicResult {
                name: topic.name,
                error_code: code.code(),
                error_message,
            },
        })
        .collect();
    CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }
}

fn more_partitions(topic: &CreatePartitionsTopic) -> MorePartitions {
    MorePartitions {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: topic.assignments.as_ref().map(|assignments| {
            let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
            assignments.iter().map(|assignment| brokers(&assignment.broker_ids)).collect()
        }),
    }
}
