//! Creating topics: on request, by asking for them, and the broker's own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::AdminError;
use super::plan::{Controller, Plan};
use super::replicas;
use super::topic_name::{OFFSETS_TOPIC, collides, is_internal, validate_name};
use crate::config::{ConfigError, Origin, TopicOverrides, validate, validate_all};
use crate::limits::{PARTITIONS_MAX, PARTITIONS_PER_REQUEST_MAX};
use crate::metadata::{
    BrokerId, ConfigRecord, MetadataImage, MetadataRecord, PartitionId, TopicId, TopicRecord,
};

/// A topic that a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for `num.partitions`, or with assignments.
    pub partitions: i32,
    /// How many replicas each has; -1 for `default.replication.factor`, or with assignments.
    pub replication_factor: i16,
    /// Which brokers hold which partition, the preferred leader first. Empty: the controller
    /// chooses.
    pub assignments: Vec<(PartitionId, Vec<BrokerId>)>,
    /// What the topic sets for itself.
    pub configs: Vec<(String, Option<String>)>,
}

impl NewTopic {
    /// A topic with everything as the broker's configuration says.
    #[must_use]
    pub fn with_defaults(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }
}

/// A topic that is created once its records are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; [`TopicId::ZERO`] if it was only validated.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each of them has.
    pub replication_factor: i16,
    /// What it sets for itself.
    pub config: TopicOverrides,
}

impl Controller {
    /// Creates topics. Each is decided by itself: the answer has one result a topic, in order.
    ///
    /// `draw_id` gives a random id for each topic, one that was not drawn before. With
    /// `validate_only` everything is checked and nothing changes.
    pub fn create_topics(
        &self,
        image: &MetadataImage,
        topics: &[NewTopic],
        validate_only: bool,
        mut draw_id: impl FnMut() -> TopicId,
    ) -> Plan<Vec<Result<CreatedTopic, AdminError>>> {
        let mut batch = Batch::new(image);
        let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
        for topic in topics {
            if !seen.insert(topic.name.as_str()) {
                repeated.insert(topic.name.as_str());
            }
        }
        let mut answer = Vec::with_capacity(topics.len());
        for topic in topics {
            answer.push(if repeated.contains(topic.name.as_str()) {
                Err(AdminError::RepeatedTopic { name: topic.name.clone() })
            } else if is_internal(&topic.name) {
                let what = "create it";
                Err(AdminError::InternalTopic { name: topic.name.clone(), what })
            } else {
                self.create(&mut batch, topic, draw_id())
            });
        }
        if validate_only {
            for created in answer.iter_mut().flatten() {
                created.id = TopicId::ZERO;
            }
            return Plan::nothing(answer);
        }
        Plan { records: batch.records, answer }
    }

    /// Creates the topics of these names that clients ask for and that are not there. Also the
    /// broker's own ones come to be in this way, with their own configuration.
    ///
    /// The answer has one result a name, in order; a topic that is there already is an error.
    pub fn auto_create(
        &self,
        image: &MetadataImage,
        names: &[&str],
        mut draw_id: impl FnMut() -> TopicId,
    ) -> Plan<Vec<Result<CreatedTopic, AdminError>>> {
        let mut batch = Batch::new(image);
        let answer = names.iter().map(|&name| {
            let topic = if name == OFFSETS_TOPIC {
                self.offsets_topic()
            } else if is_internal(name) {
                let (name, what) = (name.to_owned(), "create it");
                return Err(AdminError::InternalTopic { name, what });
            } else if self.config.auto_create_topics_enable {
                NewTopic::with_defaults(name)
            } else {
                return Err(AdminError::AutoCreationDisabled { name: name.to_owned() });
            };
            self.create(&mut batch, &topic, draw_id())
        });
        let answer = answer.collect();
        Plan { records: batch.records, answer }
    }

    /// `__consumer_offsets`, as it is created when a group is first asked for.
    fn offsets_topic(&self) -> NewTopic {
        let segment_bytes = self.config.offsets_topic_segment_bytes.to_string();
        NewTopic {
            name: OFFSETS_TOPIC.to_owned(),
            partitions: self.config.offsets_topic_num_partitions,
            replication_factor: self.config.offsets_topic_replication_factor,
            assignments: Vec::new(),
            configs: vec![
                ("cleanup.policy".to_owned(), Some("compact".to_owned())),
                ("segment.bytes".to_owned(), Some(segment_bytes)),
            ],
        }
    }

    fn create(
        &self,
        batch: &mut Batch,
        topic: &NewTopic,
        id: TopicId,
    ) -> Result<CreatedTopic, AdminError> {
        let name = topic.name.as_str();
        validate_name(name)
            .map_err(|problem| AdminError::InvalidName { name: name.to_owned(), problem })?;
        if batch.image.topic(name).is_some() {
            return Err(AdminError::TopicExists { name: name.to_owned() });
        }
        if name.contains(['.', '_'])
            && let Some(other) = batch.image.topics().find(|other| collides(name, &other.name))
        {
            let other = other.name.clone();
            return Err(AdminError::NameCollides { name: name.to_owned(), other });
        }
        let config = self.new_config(&topic.configs)?;
        let replicas = self.new_replicas(&batch.image, topic, id)?;
        batch.admit(replicas.len())?;
        let partitions = i32::try_from(replicas.len()).unwrap_or(i32::MAX);
        let factor = replicas.first().map_or(0, |replicas| replicas.len());
        let name: Arc<str> = name.into();
        let mut records =
            vec![MetadataRecord::Topic(TopicRecord { name: name.clone(), topic_id: id })];
        records.extend(replicas::records(id, 0, replicas));
        records.extend(config.iter().map(|(key, value)| {
            MetadataRecord::Config(ConfigRecord {
                topic_id: id,
                key: key.as_str().into(),
                value: Some(value.as_str().into()),
            })
        }));
        batch.add(records)?;
        let replication_factor = i16::try_from(factor).unwrap_or(i16::MAX);
        Ok(CreatedTopic { name, id, partitions, replication_factor, config })
    }

    fn new_config(
        &self,
        configs: &[(String, Option<String>)],
    ) -> Result<TopicOverrides, AdminError> {
        let mut overrides = TopicOverrides::new();
        for (key, value) in configs {
            let Some(value) = value else {
                return Err(ConfigError::NoValue { key: key.clone() }.into());
            };
            let value = validate(key, value)?.to_string();
            if overrides.insert(key.clone(), value).is_some() {
                let (first, again) = (Origin::Request, Origin::Request);
                return Err(ConfigError::Duplicate { key: key.clone(), first, again }.into());
            }
        }
        validate_all(&self.config.topic_defaults, &overrides)?;
        Ok(overrides)
    }

    fn new_replicas(
        &self,
        image: &MetadataImage,
        topic: &NewTopic,
        id: TopicId,
    ) -> Result<Vec<Arc<[BrokerId]>>, AdminError> {
        if !topic.assignments.is_empty() {
            if topic.partitions != -1 || topic.replication_factor != -1 {
                return Err(AdminError::CountsBesideAssignment);
            }
            return assigned(image, &topic.assignments);
        }
        let partitions = match topic.partitions {
            -1 => self.config.num_partitions,
            asked => asked,
        };
        let max = PARTITIONS_PER_REQUEST_MAX;
        if usize::try_from(partitions).map_or(true, |count| !(1..=max).contains(&count)) {
            return Err(AdminError::PartitionCount { partitions, max });
        }
        let factor = match topic.replication_factor {
            -1 => self.config.default_replication_factor,
            asked => asked,
        };
        let factor = replicas::check_factor(image, factor)?;
        Ok(replicas::choose(image, id, 0, partitions, factor))
    }
}

/// The replicas of partitions that a client assigns itself: all of 0.. each once, in any order.
fn assigned(
    image: &MetadataImage,
    assignments: &[(PartitionId, Vec<BrokerId>)],
) -> Result<Vec<Arc<[BrokerId]>>, AdminError> {
    let mut sorted: Vec<&(PartitionId, Vec<BrokerId>)> = assignments.iter().collect();
    sorted.sort_by_key(|(partition, _)| *partition);
    let expected_end = i32::try_from(sorted.len()).unwrap_or(i32::MAX);
    let factor = sorted.first().map(|(_, replicas)| replicas.len().max(1));
    (0..)
        .zip(sorted)
        .map(|(expected, (partition, replicas))| {
            if partition.0 != expected {
                let found = *partition;
                return Err(AdminError::AssignmentPartitions {
                    expected_first: 0,
                    expected_end,
                    found,
                });
            }
            replicas::check(image, *partition, replicas, factor)
        })
        .collect()
}

/// The records that a request has come to so far, and the image that they would lead to.
pub(super) struct Batch {
    pub(super) image: MetadataImage,
    pub(super) records: Vec<MetadataRecord>,
    new_partitions: usize,
}

impl Batch {
    pub(super) fn new(image: &MetadataImage) -> Self {
        Self { image: image.clone(), records: Vec::new(), new_partitions: 0 }
    }

    /// Checks that there is room for as many new partitions.
    pub(super) fn admit(&self, count: usize) -> Result<(), AdminError> {
        let (partitions, max) = (self.new_partitions + count, PARTITIONS_PER_REQUEST_MAX);
        if partitions > max {
            return Err(AdminError::TooManyAtOnce { partitions, max });
        }
        let (partitions, max) = (self.image.partition_count() + count, PARTITIONS_MAX);
        if partitions > max {
            return Err(AdminError::TooManyPartitions { partitions, max });
        }
        Ok(())
    }

    /// Takes the records in, all or none.
    pub(super) fn add(&mut self, records: Vec<MetadataRecord>) -> Result<(), AdminError> {
        let image = self.image.apply_all(&records)?;
        self.new_partitions += image.partition_count().saturating_sub(self.image.partition_count());
        self.image = image;
        self.records.extend(records);
        Ok(())
    }
}
