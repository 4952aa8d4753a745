//! Which brokers hold a partition: chosen, or checked where the client chooses.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringlog_engine::epoch::LeaderEpoch;

use super::error::AdminError;
use crate::metadata::{
    BrokerId, MetadataImage, MetadataRecord, PartitionId, PartitionRecord, TopicId,
};

/// Replicas for partitions `first..first + count`: round the brokers, beginning where the topic's
/// id says, so that leaders spread evenly. `factor` is at most the number of brokers.
pub(super) fn choose(
    image: &MetadataImage,
    topic: TopicId,
    first: i32,
    count: i32,
    factor: usize,
) -> Vec<Arc<[BrokerId]>> {
    let brokers = image.brokers();
    let start = usize::from(topic.uuid().as_bytes()[0]);
    // With one broker all partitions share one list.
    let rounds: Vec<Arc<[BrokerId]>> = (0..brokers.len())
        .map(|shift| {
            brokers.iter().cycle().skip(shift).take(factor).map(|broker| broker.id).collect()
        })
        .collect();
    (first..first.saturating_add(count))
        .filter_map(|partition| {
            let partition = usize::try_from(partition).ok()?;
            rounds.get((start + partition) % rounds.len().max(1)).cloned()
        })
        .collect()
}

/// Checks that as many replicas can be had.
pub(super) fn check_factor(image: &MetadataImage, factor: i16) -> Result<usize, AdminError> {
    let brokers = image.brokers().len();
    match usize::try_from(factor) {
        Ok(count) if (1..=brokers).contains(&count) => Ok(count),
        _ => Err(AdminError::ReplicationFactor { asked: factor, brokers }),
    }
}

/// Checks the replicas of one partition as a client gives them. `expected` is how many the topic's
/// other partitions have; `None` for the first.
pub(super) fn check(
    image: &MetadataImage,
    partition: PartitionId,
    replicas: &[BrokerId],
    expected: Option<usize>,
) -> Result<Arc<[BrokerId]>, AdminError> {
    if let Some(&broker) = replicas.iter().find(|&&broker| image.broker(broker).is_none()) {
        return Err(AdminError::AssignmentBroker { partition, broker });
    }
    let different = replicas.iter().collect::<BTreeSet<_>>().len();
    let expected = expected.unwrap_or(replicas.len().max(1));
    if different != expected || different != replicas.len() {
        return Err(AdminError::AssignmentReplicas { partition, replicas: different, expected });
    }
    Ok(replicas.into())
}

/// The records of new partitions, numbered from `first`. All replicas of a new partition are in
/// sync, for there is nothing yet that they could lack.
pub(super) fn records(
    topic_id: TopicId,
    first: i32,
    replicas: Vec<Arc<[BrokerId]>>,
) -> impl Iterator<Item = MetadataRecord> {
    (first..).zip(replicas).map(move |(partition, replicas)| {
        MetadataRecord::Partition(PartitionRecord {
            topic_id,
            partition: PartitionId(partition),
            leader: replicas.first().copied(),
            leader_epoch: LeaderEpoch::new(0),
            partition_epoch: 0,
            isr: replicas.clone(),
            replicas,
        })
    })
}
