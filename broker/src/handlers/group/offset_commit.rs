//! OffsetCommit: a consumer says how far it has come.

use std::collections::BTreeMap;

use super::{ask, instance, unexpected};
use crate::dispatch::Context;
use crate::group::{
    CommitPartition, CommitRequest, CommitTopic, CommitTopicResult, GroupId, MemberId, Request,
    Response, TopicName,
};
use crate::handlers::codes;
use crate::metadata::PartitionId;
use crate::protocol::ErrorCode;
use crate::protocol::messages::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

/// Answers once the offsets are durable. Partitions that are not there are refused by themselves.
pub async fn handle(context: Context, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = known_topics(&context, &request.topics);
    let commit = CommitRequest {
        group_id: GroupId::from(request.group_id.as_str()),
        member_id: MemberId::from(request.member_id.as_str()),
        instance_id: instance(request.group_instance_id.as_ref()),
        generation: request.generation_id_or_member_epoch,
        retention_ms: (request.retention_time_ms >= 0).then_some(request.retention_time_ms),
        topics,
    };
    let answer = ask(&context, &request.group_id, Request::Commit(commit)).await;
    let results = match answer {
        Ok(Response::Commit(Ok(results))) => Ok(results),
        Ok(Response::Commit(Err(error))) => Err(codes::group(&error)),
        Ok(other) => Err(unexpected(&other)),
        Err(code) => Err(code),
    };
    let results = results.as_deref().map(by_partition).map_err(|code| *code);
    let topics = request
        .topics
        .into_iter()
        .map(|topic| OffsetCommitResponseTopic {
            partitions: topic
                .partitions
                .iter()
                .map(|partition| {
                    let index = partition.partition_index;
                    let code = match &results {
                        Ok(results) => results
                            .get(&(topic.name.as_str(), index))
                            .copied()
                            .unwrap_or(ErrorCode::UnknownTopicOrPartition),
                        Err(code) => *code,
                    };
                    OffsetCommitResponsePartition {
                        partition_index: index,
                        error_code: code.code(),
                    }
                })
                .collect(),
            name: topic.name,
        })
        .collect();
    OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }
}

/// The topics and partitions of the request that are there.
fn known_topics(context: &Context, asked: &[OffsetCommitRequestTopic]) -> Vec<CommitTopic> {
    let image = context.shard.image();
    let known = asked.iter().filter_map(|topic| {
        let found = image.topic(&topic.name)?;
        let partitions: Vec<CommitPartition> = topic
            .partitions
            .iter()
            .filter(|one| found.partition(PartitionId(one.partition_index)).is_some())
            .map(|one| CommitPartition {
                partition: one.partition_index,
                offset: one.committed_offset,
                leader_epoch: one.committed_leader_epoch,
                metadata: one.committed_metadata.as_deref().map(str::to_owned),
            })
            .collect();
        let topic = TopicName::from(topic.name.as_str());
        (!partitions.is_empty()).then_some(CommitTopic { topic, partitions })
    });
    known.collect()
}

fn by_partition(results: &[CommitTopicResult]) -> BTreeMap<(&str, i32), ErrorCode> {
    let flat = results.iter().flat_map(|topic| {
        topic.partitions.iter().map(|(index, result)| {
            let code = result.as_ref().err().map_or(ErrorCode::None, codes::group);
            ((topic.topic.as_str(), *index), code)
        })
    });
    flat.collect()
}
