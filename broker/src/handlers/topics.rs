//! Finding the partition that a request names, by the topic's name or by its id.

use std::sync::Arc;

use crate::metadata::{MetadataImage, PartitionId, Topic, TopicId};
use crate::partition::PartitionKey;
use crate::protocol::ErrorCode;

/// A topic, as the request names it: by id where there is one, else by name.
///
/// # Errors
///
/// The error code for a name or an id that is not there.
pub(super) fn topic<'a>(
    image: &'a MetadataImage,
    name: &str,
    id: TopicId,
) -> Result<&'a Arc<Topic>, ErrorCode> {
    if id == TopicId::ZERO {
        image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)
    } else {
        image.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId)
    }
}

/// The key of a topic's partition.
///
/// # Errors
///
/// The error code for a partition that is not there.
pub(super) fn key(topic: &Topic, index: i32) -> Result<PartitionKey, ErrorCode> {
    let index = PartitionId(index);
    match topic.partition(index) {
        Some(_) => Ok(PartitionKey { topic: topic.id, index }),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}
