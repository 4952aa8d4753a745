//! Finding the partition that a request names, by the topic's name or by its id.

use std::sync::Arc;

use crate::metadata::{MetadataImage, PartitionId, Topic, TopicId};
use crate::partition::PartitionKey;
use crate::protocol::ErrorCode;

/// The first version of Produce and of Fetch that names topics by id.
pub(super) const IDS_FROM: i16 = 13;

/// A topic, as the request names it: by id or by name.
///
/// # Errors
///
/// The error code for a name or an id that is not there.
pub(super) fn topic<'a>(
    image: &'a MetadataImage,
    name: &str,
    id: TopicId,
    by_id: bool,
) -> Result<&'a Arc<Topic>, ErrorCode> {
    if by_id {
        image.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId)
    } else {
        image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)
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
