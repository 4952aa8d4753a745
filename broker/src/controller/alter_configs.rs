//! Altering the configuration of topics.

use std::collections::BTreeSet;

use super::create_topics::Batch;
use super::error::AdminError;
use super::plan::{Controller, Plan};
use super::topic_name::is_internal;
use crate::config::{Alteration, BrokerConfig, alter};
use crate::metadata::{ConfigRecord, MetadataImage, MetadataRecord};

/// What is altered of one topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicAlterations {
    /// The topic.
    pub name: String,
    /// The alterations: all of them are made, or none.
    pub alterations: Vec<Alteration>,
}

impl Controller {
    /// Alters topics' configurations. Each topic is decided by itself: the answer has one result a
    /// topic, in order. With `validate_only` everything is checked and nothing changes.
    pub fn alter_topic_configs(
        &self,
        image: &MetadataImage,
        topics: &[TopicAlterations],
        validate_only: bool,
    ) -> Plan<Vec<Result<(), AdminError>>> {
        let mut batch = Batch::new(image);
        let mut seen = BTreeSet::new();
        let mut answer = Vec::with_capacity(topics.len());
        for topic in topics {
            answer.push(if seen.insert(topic.name.as_str()) {
                self.alter_topic(&mut batch, topic)
            } else {
                Err(AdminError::RepeatedTopic { name: topic.name.clone() })
            });
        }
        if validate_only {
            return Plan::nothing(answer);
        }
        Plan { records: batch.records, answer }
    }

    /// The answer to a client that would alter the broker's own configuration: every key is read
    /// when the broker starts, so that none can be altered while it runs. No alterations: `Ok`.
    ///
    /// # Errors
    ///
    /// [`AdminError::Config`], for the first key.
    pub fn alter_broker_config(&self, alterations: &[Alteration]) -> Result<(), AdminError> {
        match alterations.first() {
            Some(first) => Err(BrokerConfig::refuse_alteration(&first.name).into()),
            None => Ok(()),
        }
    }

    fn alter_topic(&self, batch: &mut Batch, topic: &TopicAlterations) -> Result<(), AdminError> {
        let name = || topic.name.clone();
        let known = batch
            .image
            .topic(&topic.name)
            .cloned()
            .ok_or_else(|| AdminError::UnknownTopic { name: name() })?;
        let changes = alter(&self.config.topic_defaults, &known.config, &topic.alterations)?;
        if is_internal(&topic.name) && changes.iter().any(|(key, _)| *key == "cleanup.policy") {
            // With `delete` in it, committed offsets would go with their segments.
            let what = "change its cleanup.policy";
            return Err(AdminError::InternalTopic { name: name(), what });
        }
        let records = changes.into_iter().map(|(key, value)| {
            let value = value.map(Into::into);
            MetadataRecord::Config(ConfigRecord { topic_id: known.id, key: key.into(), value })
        });
        batch.add(records.collect())
    }
}
