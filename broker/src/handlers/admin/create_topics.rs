//! CreateTopics.

use super::per_part;
use crate::config::{TopicOverrides, describe_topic};
use crate::controller::NewTopic;
use crate::dispatch::Context;
use crate::metadata::{BrokerId, PartitionId, TopicId};
use crate::protocol::codec::Str;
use crate::protocol::messages::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};

/// Creates topics, each by itself; once answered, a topic's partitions can be written to.
pub async fn handle(context: Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<Str> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let topics: Vec<NewTopic> = request.topics.iter().map(new_topic).collect();
    let overrides: Vec<TopicOverrides> = topics.iter().map(overrides).collect();
    let answer = context.shard.control().create_topics(topics, request.validate_only).await;
    let defaults = &context.shard.config().topic_defaults;
    let results = names
        .iter()
        .zip(overrides)
        .zip(per_part(answer, names.len()))
        .map(|((name, overrides), result)| match result {
            Ok(created) => CreatableTopicResult {
                name: name.clone(),
                topic_id: created.id.uuid(),
                num_partitions: created.partitions,
                replication_factor: created.replication_factor,
                configs: Some(
                    describe_topic(defaults, &overrides)
                        .into_iter()
                        .map(|config| CreatableTopicConfigs {
                            name: Str::from_static(config.name),
                            value: config.value.map(Str::from),
                            read_only: config.read_only,
                            config_source: config.source.code(),
                            is_sensitive: config.sensitive,
                        })
                        .collect(),
                ),
                ..CreatableTopicResult::default()
            },
            Err((code, message)) => CreatableTopicResult {
                name: name.clone(),
                topic_id: TopicId::ZERO.uuid(),
                error_code: code.code(),
                error_message: message,
                ..CreatableTopicResult::default()
            },
        })
        .collect();
    CreateTopicsResponse { topics: results, ..CreateTopicsResponse::default() }
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|assignment| {
                let brokers = assignment.broker_ids.iter().copied().map(BrokerId).collect();
                (PartitionId(assignment.partition_index), brokers)
            })
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| (config.name.to_string(), config.value.as_deref().map(str::to_owned)))
            .collect(),
    }
}

fn overrides(topic: &NewTopic) -> TopicOverrides {
    let set = |(name, value): &(String, Option<String>)| Some((name.clone(), value.clone()?));
    topic.configs.iter().filter_map(set).collect()
}
