//! The metadata image: what the cluster is, at one point of the metadata log.
//!
//! An image never changes. Applying records gives another image that shares with the first all
//! that did not change: a topic is one [`Arc`], and so is what it consists of. The data side only
//! ever sees images.

use std::sync::Arc;

use ringlog_engine::epoch::LeaderEpoch;

use super::id::{BrokerId, ClusterId, PartitionId, TopicId};
use super::records::{ConfigRecord, MetadataRecord, PartitionRecord, TopicRecord};
use super::shared_map::SharedMap;
use crate::config::TopicOverrides;

/// A broker and where clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// The broker.
    pub id: BrokerId,
    /// The host that clients are told.
    pub host: Arc<str>,
    /// The port that clients are told.
    pub port: u16,
}

/// A partition and who leads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The leader; `None` while there is none.
    pub leader: Option<BrokerId>,
    /// Grows by one with each change of leader.
    pub leader_epoch: LeaderEpoch,
    /// Grows by one with each change.
    pub partition_epoch: i32,
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Arc<[BrokerId]>,
    /// Those of them that are in sync.
    pub isr: Arc<[BrokerId]>,
}

/// A topic with its partitions and its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
    /// Its partitions; the index is the partition's number.
    pub partitions: Vec<Partition>,
    /// What it sets for itself.
    pub config: Arc<TopicOverrides>,
}

impl Topic {
    /// A partition of the topic.
    #[must_use]
    pub fn partition(&self, partition: PartitionId) -> Option<&Partition> {
        self.partitions.get(usize::try_from(partition.0).ok()?)
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }
}

/// The metadata at one point of the metadata log.
///
/// A clone is a few references. Look-ups allocate nothing.
#[derive(Debug, Clone, Default)]
pub struct MetadataImage {
    cluster_id: Option<ClusterId>,
    brokers: Arc<Vec<Broker>>,
    by_name: SharedMap<Arc<str>, Arc<Topic>>,
    by_id: SharedMap<TopicId, Arc<Topic>>,
    partition_count: usize,
    next_producer_id: i64,
    version: u64,
}

/// Why a record does not fit an image: the metadata log is not what this code wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The cluster already has an id.
    #[error("the cluster has id {known} and is given {given}")]
    SecondCluster {
        /// Its id.
        known: ClusterId,
        /// The other one.
        given: ClusterId,
    },
    /// A name that is taken.
    #[error("topic {name:?} is created again with id {id} while it is there")]
    NameTaken {
        /// The name.
        name: Arc<str>,
        /// The id that it was to have.
        id: TopicId,
    },
    /// An id that is taken.
    #[error("topic id {id} is given to {name:?} while another topic has it")]
    IdTaken {
        /// The id.
        id: TopicId,
        /// The topic that was to have it.
        name: Arc<str>,
    },
    /// A topic that is not there.
    #[error("a {record} record is for topic id {id}, which is not there")]
    UnknownTopic {
        /// The record's name.
        record: &'static str,
        /// The id.
        id: TopicId,
    },
    /// A partition that is neither there nor the next one.
    #[error("partition {partition} of {name:?} comes when the topic has {count} partitions")]
    PartitionGap {
        /// The topic.
        name: Arc<str>,
        /// The partition.
        partition: PartitionId,
        /// How many there are.
        count: usize,
    },
    /// A partition whose epoch does not grow.
    #[error(
        "partition {partition} of {name:?} goes from leader epoch {leader_epoch} and partition \
         epoch {partition_epoch} to {new_leader_epoch} and {new_partition_epoch}"
    )]
    EpochFell {
        /// The topic.
        name: Arc<str>,
        /// The partition.
        partition: PartitionId,
        /// Its leader epoch.
        leader_epoch: LeaderEpoch,
        /// Its partition epoch.
        partition_epoch: i32,
        /// The leader epoch it was to have.
        new_leader_epoch: LeaderEpoch,
        /// The partition epoch it was to have.
        new_partition_epoch: i32,
    },
    /// A leader that is not in sync, or an in-sync replica that is no replica.
    #[error(
        "partition {partition} of {name:?}: the leader must be in the ISR, and that in the replicas"
    )]
    LeaderNotInIsr {
        /// The topic.
        name: Arc<str>,
        /// The partition.
        partition: PartitionId,
    },
    /// Producer ids that were given away already.
    #[error("the next producer id goes from {known} back to {given}")]
    ProducerIdsFell {
        /// The next one.
        known: i64,
        /// What it was to be.
        given: i64,
    },
}

impl MetadataImage {
    /// The cluster's id; `None` only before the first record.
    #[must_use]
    pub const fn cluster_id(&self) -> Option<ClusterId> {
        self.cluster_id
    }

    /// The broker that decides on metadata: the only voter while a broker runs alone.
    #[must_use]
    pub fn controller(&self) -> Option<BrokerId> {
        self.brokers.first().map(|broker| broker.id)
    }

    /// All brokers, by number.
    #[must_use]
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// A broker.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.id == id)
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic of this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics, in no order.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// How many topics there are.
    #[must_use]
    pub const fn topic_count(&self) -> usize {
        self.by_name.len()
    }

    /// How many partitions all topics have together.
    #[must_use]
    pub const fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// The first producer id that was not given to any broker.
    #[must_use]
    pub const fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// How many records of the metadata log this image contains: the offset of the next one.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The image after one more record.
    ///
    /// # Errors
    ///
    /// The record does not fit what is there. This image stays what it was.
    pub fn apply(&self, record: &MetadataRecord) -> Result<Self, ApplyError> {
        self.apply_all(std::slice::from_ref(record))
    }

    /// The image after a batch of records: all of them or, with an error, none.
    ///
    /// Costs what the records touch, and not what there is besides.
    ///
    /// # Errors
    ///
    /// The first record that does not fit.
    pub fn apply_all(&self, records: &[MetadataRecord]) -> Result<Self, ApplyError> {
        let mut image = self.clone();
        // A topic that many records are about is taken out, changed in place, and put back once.
        let mut open: Option<Topic> = None;
        for record in records {
            image.apply_in_place(record, &mut open)?;
            image.version += 1;
        }
        image.close(&mut open);
        Ok(image)
    }

    fn apply_in_place(
        &mut self,
        record: &MetadataRecord,
        open: &mut Option<Topic>,
    ) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::Cluster(record) => match self.cluster_id {
                Some(known) if known != record.cluster_id => {
                    return Err(ApplyError::SecondCluster { known, given: record.cluster_id });
                }
                _ => self.cluster_id = Some(record.cluster_id),
            },
            MetadataRecord::BrokerRegistration(record) => {
                let broker =
                    Broker { id: record.broker_id, host: record.host.clone(), port: record.port };
                let brokers = Arc::make_mut(&mut self.brokers);
                match brokers.binary_search_by_key(&broker.id, |known| known.id) {
                    Ok(index) => brokers[index] = broker,
                    Err(index) => brokers.insert(index, broker),
                }
            }
            MetadataRecord::Topic(record) => {
                self.close(open);
                *open = Some(self.new_topic(record)?);
            }
            MetadataRecord::Partition(partition) => {
                let topic = self.open(open, partition.topic_id, record.name())?;
                if set_partition(topic, partition)? {
                    self.partition_count += 1;
                }
            }
            MetadataRecord::RemoveTopic(remove) => {
                self.close(open);
                let id = remove.topic_id;
                let topic = self
                    .by_id
                    .get(&id)
                    .cloned()
                    .ok_or(ApplyError::UnknownTopic { record: record.name(), id })?;
                self.by_id.remove(&id);
                self.by_name.remove(&*topic.name);
                self.partition_count -= topic.partitions.len();
            }
            MetadataRecord::Config(config) => {
                set_config(self.open(open, config.topic_id, record.name())?, config);
            }
            MetadataRecord::ProducerIds(record) => {
                let (known, given) = (self.next_producer_id, record.next_producer_id);
                if given < known {
                    return Err(ApplyError::ProducerIdsFell { known, given });
                }
                self.next_producer_id = given;
            }
        }
        Ok(())
    }

    fn new_topic(&self, record: &TopicRecord) -> Result<Topic, ApplyError> {
        let (name, id) = (record.name.clone(), record.topic_id);
        if self.topic(&name).is_some() {
            return Err(ApplyError::NameTaken { name, id });
        }
        if id == TopicId::ZERO || self.topic_by_id(id).is_some() {
            return Err(ApplyError::IdTaken { id, name });
        }
        Ok(Topic { name, id, partitions: Vec::new(), config: Arc::default() })
    }

    fn open<'a>(
        &mut self,
        open: &'a mut Option<Topic>,
        id: TopicId,
        record: &'static str,
    ) -> Result<&'a mut Topic, ApplyError> {
        if open.as_ref().is_none_or(|topic| topic.id != id) {
            self.close(open);
            let topic = self.topic_by_id(id).ok_or(ApplyError::UnknownTopic { record, id })?;
            *open = Some(Topic::clone(topic));
        }
        open.as_mut().ok_or(ApplyError::UnknownTopic { record, id })
    }

    fn close(&mut self, open: &mut Option<Topic>) {
        if let Some(topic) = open.take() {
            let topic = Arc::new(topic);
            self.by_id.insert(topic.id, topic.clone());
            self.by_name.insert(topic.name.clone(), topic);
        }
    }
}

/// Sets a partition and says whether it is new.
fn set_partition(topic: &mut Topic, record: &PartitionRecord) -> Result<bool, ApplyError> {
    let (name, partition) = (topic.name.clone(), record.partition);
    let leader_in_isr = record.leader.is_none_or(|leader| record.isr.contains(&leader));
    if !leader_in_isr || !record.isr.iter().all(|broker| record.replicas.contains(broker)) {
        return Err(ApplyError::LeaderNotInIsr { name, partition });
    }
    let new = Partition {
        leader: record.leader,
        leader_epoch: record.leader_epoch,
        partition_epoch: record.partition_epoch,
        replicas: record.replicas.clone(),
        isr: record.isr.clone(),
    };
    let count = topic.partitions.len();
    let index = usize::try_from(partition.0).unwrap_or(usize::MAX);
    if let Some(known) = topic.partitions.get_mut(index) {
        if new.leader_epoch < known.leader_epoch || new.partition_epoch <= known.partition_epoch {
            return Err(ApplyError::EpochFell {
                name,
                partition,
                leader_epoch: known.leader_epoch,
                partition_epoch: known.partition_epoch,
                new_leader_epoch: new.leader_epoch,
                new_partition_epoch: new.partition_epoch,
            });
        }
        *known = new;
        return Ok(false);
    }
    if index != count {
        return Err(ApplyError::PartitionGap { name, partition, count });
    }
    topic.partitions.push(new);
    Ok(true)
}

fn set_config(topic: &mut Topic, record: &ConfigRecord) {
    let config = Arc::make_mut(&mut topic.config);
    match &record.value {
        Some(value) => {
            config.insert(record.key.to_string(), value.to_string());
        }
        None => {
            config.remove(&*record.key);
        }
    }
}

impl PartialEq for MetadataImage {
    /// Whether both hold the same metadata, however they came to it.
    fn eq(&self, other: &Self) -> bool {
        self.cluster_id == other.cluster_id
            && self.brokers == other.brokers
            && self.version == other.version
            && self.next_producer_id == other.next_producer_id
            && self.partition_count == other.partition_count
            && self.topic_count() == other.topic_count()
            && self.topics().all(|topic| other.topic(&topic.name) == Some(topic))
    }
}

impl Eq for MetadataImage {}
