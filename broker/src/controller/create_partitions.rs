//! Adding partitions to topics.

use std::collections::BTreeSet;

use super::create_topics::Batch;
use super::error::AdminError;
use super::plan::{Controller, Plan};
use super::replicas;
use super::topic_name::is_internal;
use crate::limits::PARTITIONS_PER_REQUEST_MAX;
use crate::metadata::{BrokerId, MetadataImage, PartitionId};

/// A topic that is to have more partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MorePartitions {
    /// Its name.
    pub name: String,
    /// How many it is to have in all.
    pub count: i32,
    /// The replicas of each new partition, in order; `None`: the controller chooses.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

impl Controller {
    /// Adds partitions to topics. Each topic is decided by itself: the answer has one result a
    /// topic, in order. With `validate_only` everything is checked and nothing changes.
    pub fn create_partitions(
        &self,
        image: &MetadataImage,
        topics: &[MorePartitions],
        validate_only: bool,
    ) -> Plan<Vec<Result<(), AdminError>>> {
        let mut batch = Batch::new(image);
        let mut seen = BTreeSet::new();
        let mut answer = Vec::with_capacity(topics.len());
        for topic in topics {
            answer.push(if seen.insert(topic.name.as_str()) {
                grow(&mut batch, topic)
            } else {
                Err(AdminError::RepeatedTopic { name: topic.name.clone() })
            });
        }
        if validate_only {
            return Plan::nothing(answer);
        }
        Plan { records: batch.records, answer }
    }
}

fn grow(batch: &mut Batch, more: &MorePartitions) -> Result<(), AdminError> {
    let name = || more.name.clone();
    let topic = batch
        .image
        .topic(&more.name)
        .cloned()
        .ok_or_else(|| AdminError::UnknownTopic { name: name() })?;
    if is_internal(&more.name) {
        // Where a group's offsets lie follows from the number of partitions.
        let what = "change its number of partitions";
        return Err(AdminError::InternalTopic { name: name(), what });
    }
    let (current, asked) = (topic.partition_count(), more.count);
    if asked <= current {
        return Err(AdminError::PartitionsOnlyGrow { name: name(), current, asked });
    }
    let new = asked - current;
    let created = usize::try_from(new).unwrap_or(usize::MAX);
    if created > PARTITIONS_PER_REQUEST_MAX {
        let (partitions, max) = (created, PARTITIONS_PER_REQUEST_MAX);
        return Err(AdminError::TooManyAtOnce { partitions, max });
    }
    let factor = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    let replicas = match &more.assignments {
        None => {
            let asked = i16::try_from(factor).unwrap_or(i16::MAX);
            replicas::check_factor(&batch.image, asked)?;
            replicas::choose(&batch.image, topic.id, current, new, factor)
        }
        Some(assignments) if assignments.len() != created => {
            let assigned = assignments.len();
            return Err(AdminError::AssignmentCount { assigned, created });
        }
        Some(assignments) => (current..)
            .zip(assignments)
            .map(|(partition, replicas)| {
                replicas::check(&batch.image, PartitionId(partition), replicas, Some(factor))
            })
            .collect::<Result<_, _>>()?,
    };
    batch.admit(replicas.len())?;
    batch.add(replicas::records(topic.id, current, replicas).collect())
}
