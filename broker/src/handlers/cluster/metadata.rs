//! Metadata: which topics there are, and which broker leads which partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::control::ControlHandle;
use crate::controller::is_internal;
use crate::dispatch::Context;
use crate::handlers::codes;
use crate::metadata::{MetadataImage, Partition, Topic, TopicId};
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;
use crate::protocol::messages::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};

/// Answers from the image, and creates the topics that are named and not there if both the client
/// and the broker's configuration want that.
pub async fn handle(context: Context, request: MetadataRequest) -> MetadataResponse {
    let asked = match request.topics {
        // Version 0 had no null: its empty list asks for all.
        Some(topics) if context.header.version == 0 && topics.is_empty() => None,
        asked => asked.map(once_each),
    };
    let mut image = context.shard.image();
    let topics = match asked {
        None => image.topics().map(found).collect(),
        Some(asked) => {
            let refused = match request.allow_auto_topic_creation
                && context.shard.config().auto_create_topics_enable
            {
                true => create_missing(context.shard.control(), &image, &asked).await,
                false => Vec::new(),
            };
            image = context.shard.image();
            asked.iter().map(|topic| answer(&image, topic, &refused)).collect()
        }
    };
    MetadataResponse {
        brokers: brokers(&image),
        cluster_id: image.cluster_id().map(|id| Str::from(id.to_string())),
        controller_id: image.controller().map_or(-1, |id| id.0),
        topics,
        ..MetadataResponse::default()
    }
}

/// What is asked for, without repetitions: an answer is no larger than the cluster.
fn once_each(mut asked: Vec<MetadataRequestTopic>) -> Vec<MetadataRequestTopic> {
    let mut seen = BTreeSet::new();
    asked.retain(|topic| {
        seen.insert((topic.name.as_ref().map(ToString::to_string), topic.topic_id))
    });
    asked
}

/// Creates what is named and not there; gives the names that could not be created, and why.
async fn create_missing(
    control: &ControlHandle,
    image: &MetadataImage,
    asked: &[MetadataRequestTopic],
) -> Vec<(Str, ErrorCode)> {
    let missing: Vec<&Str> = asked
        .iter()
        .filter_map(|topic| topic.name.as_ref())
        .filter(|name| image.topic(name).is_none())
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let names = missing.iter().map(|name| name.to_string()).collect();
    match control.auto_create(names).await {
        Ok(results) => missing
            .into_iter()
            .zip(results)
            .filter_map(|(name, result)| Some((name.clone(), codes::admin(&result.err()?))))
            .collect(),
        Err(error) => {
            let code = codes::control(&error);
            missing.into_iter().map(|name| (name.clone(), code)).collect()
        }
    }
}

fn answer(
    image: &MetadataImage,
    asked: &MetadataRequestTopic,
    refused: &[(Str, ErrorCode)],
) -> MetadataResponseTopic {
    let topic = match &asked.name {
        Some(name) => image.topic(name).ok_or_else(|| {
            let known = refused.iter().find(|(refused, _)| refused == name);
            known.map_or(ErrorCode::UnknownTopicOrPartition, |(_, code)| *code)
        }),
        None => image
            .topic_by_id(TopicId::from_bytes(asked.topic_id.into_bytes()))
            .ok_or(ErrorCode::UnknownTopicId),
    };
    match topic {
        Ok(topic) => found(topic),
        Err(code) => MetadataResponseTopic {
            error_code: code.code(),
            name: asked.name.clone(),
            topic_id: asked.topic_id,
            ..MetadataResponseTopic::default()
        },
    }
}

fn found(topic: &Arc<Topic>) -> MetadataResponseTopic {
    MetadataResponseTopic {
        name: Some(Str::from(&*topic.name)),
        topic_id: topic.id.uuid(),
        is_internal: is_internal(&topic.name),
        partitions: topic.partitions.iter().zip(0..).map(partition).collect(),
        ..MetadataResponseTopic::default()
    }
}

fn partition((partition, index): (&Partition, i32)) -> MetadataResponsePartition {
    let code = match partition.leader {
        Some(_) => ErrorCode::None,
        None => ErrorCode::LeaderNotAvailable,
    };
    MetadataResponsePartition {
        error_code: code.code(),
        partition_index: index,
        leader_id: partition.leader.map_or(-1, |leader| leader.0),
        leader_epoch: partition.leader_epoch.value(),
        replica_nodes: partition.replicas.iter().map(|broker| broker.0).collect(),
        isr_nodes: partition.isr.iter().map(|broker| broker.0).collect(),
        ..MetadataResponsePartition::default()
    }
}

fn brokers(image: &MetadataImage) -> Vec<MetadataResponseBroker> {
    image
        .brokers()
        .iter()
        .map(|broker| MetadataResponseBroker {
            node_id: broker.id.0,
            host: Str::from(&*broker.host),
            port: i32::from(broker.port),
            ..MetadataResponseBroker::default()
        })
        .collect()
}
