//! Deleting topics.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::create_topics::Batch;
use super::error::AdminError;
use super::plan::{Controller, Plan};
use super::topic_name::is_internal;
use crate::metadata::{MetadataImage, MetadataRecord, RemoveTopicRecord, Topic, TopicId};

/// A topic as a client refers to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicReference {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

impl Controller {
    /// Deletes topics. Each is decided by itself: the answer has one result a topic, in order, with
    /// the topic as it was.
    ///
    /// The same topic twice, be it by name and by id, is an error for the later ones.
    pub fn delete_topics(
        &self,
        image: &MetadataImage,
        topics: &[TopicReference],
    ) -> Plan<Vec<Result<Arc<Topic>, AdminError>>> {
        let mut batch = Batch::new(image);
        let mut deleted = BTreeSet::new();
        let mut delete = |reference: &TopicReference| {
            let topic = match reference {
                TopicReference::Name(name) => image
                    .topic(name)
                    .ok_or_else(|| AdminError::UnknownTopic { name: name.clone() })?,
                TopicReference::Id(id) => {
                    image.topic_by_id(*id).ok_or(AdminError::UnknownTopicId { id: *id })?
                }
            };
            let name = || topic.name.to_string();
            if !self.config.delete_topic_enable {
                return Err(AdminError::DeletionDisabled);
            }
            if is_internal(&topic.name) {
                return Err(AdminError::InternalTopic { name: name(), what: "delete it" });
            }
            if !deleted.insert(topic.id) {
                return Err(AdminError::RepeatedTopic { name: name() });
            }
            let record = RemoveTopicRecord { topic_id: topic.id };
            batch.add(vec![MetadataRecord::RemoveTopic(record)])?;
            Ok(topic.clone())
        };
        let answer = topics.iter().map(&mut delete).collect();
        Plan { records: batch.records, answer }
    }
}
