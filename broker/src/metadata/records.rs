//! The records of the metadata log: every change of the cluster's metadata is some of these.
//!
//! A record is one byte of type, one byte of version, and its fields in the order in which they
//! are declared. Numbers are big-endian; a text is its length (u16) and its UTF-8; a list of
//! brokers is its count (u16) and as many i32. A type or version that this broker does not know is
//! an error that names it: metadata that is not understood is never skipped.

use std::sync::Arc;

use ringlog_engine::epoch::LeaderEpoch;

use super::codec::{Reader, Writer};
use super::id::{BrokerId, ClusterId, PartitionId, TopicId};

/// A change of the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataRecord {
    /// The cluster came to be.
    Cluster(ClusterRecord),
    /// A broker joined, or changed its address.
    BrokerRegistration(BrokerRegistrationRecord),
    /// A topic was created; its partitions and configuration follow in the same batch.
    Topic(TopicRecord),
    /// A partition was created, or changed.
    Partition(PartitionRecord),
    /// A topic was deleted, with its partitions and its configuration.
    RemoveTopic(RemoveTopicRecord),
    /// A topic's configuration changed.
    Config(ConfigRecord),
    /// Producer ids were handed to a broker.
    ProducerIds(ProducerIdsRecord),
}

/// Type 1: the cluster's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecord {
    /// The id, drawn at random once.
    pub cluster_id: ClusterId,
}

/// Type 2: a broker and where clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistrationRecord {
    /// The broker.
    pub broker_id: BrokerId,
    /// The host that clients are told.
    pub host: Arc<str>,
    /// The port that clients are told.
    pub port: u16,
}

/// Type 3: a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub topic_id: TopicId,
}

/// Type 4: the whole state of a partition. A new one has the number of partitions so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition within it.
    pub partition: PartitionId,
    /// The leader; `None` while there is none.
    pub leader: Option<BrokerId>,
    /// Grows by one with each change of leader.
    pub leader_epoch: LeaderEpoch,
    /// Grows by one with each change of this record.
    pub partition_epoch: i32,
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Arc<[BrokerId]>,
    /// Those of them that are in sync.
    pub isr: Arc<[BrokerId]>,
}

/// Type 5: the end of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveTopicRecord {
    /// The topic.
    pub topic_id: TopicId,
}

/// Type 6: one key of a topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigRecord {
    /// The topic.
    pub topic_id: TopicId,
    /// The key.
    pub key: Arc<str>,
    /// Its value; `None` where the default holds again.
    pub value: Option<Arc<str>>,
}

/// Type 7: producer ids below `next_producer_id` are given away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerIdsRecord {
    /// The broker that got the newest block.
    pub broker_id: BrokerId,
    /// The first producer id that nobody has.
    pub next_producer_id: i64,
}

/// Why bytes are not a record, or a record not bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A type that this broker does not know.
    #[error("unknown metadata record type {record_type} of version {version}")]
    UnknownType {
        /// The type.
        record_type: u8,
        /// Its version.
        version: u8,
    },
    /// A version that this broker does not know.
    #[error("metadata record {name} has version {version}, and this broker knows 0")]
    UnknownVersion {
        /// The record's name.
        name: &'static str,
        /// The version.
        version: u8,
    },
    /// The record ends before its fields do.
    #[error("a metadata record ends too soon: {needed} bytes needed, {left} left")]
    Short {
        /// Bytes of the next field.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// Bytes after the last field.
    #[error("a metadata record has {extra} bytes after its last field")]
    Long {
        /// How many.
        extra: usize,
    },
    /// A text that is not UTF-8.
    #[error("a text of a metadata record is not UTF-8")]
    NotText,
    /// A resource whose configuration this broker does not keep.
    #[error("unknown resource type {resource_type} in a configuration record")]
    UnknownResource {
        /// The type.
        resource_type: u8,
    },
    /// A mark of presence that is neither 0 nor 1.
    #[error("a mark of presence must be 0 or 1, and is {mark}")]
    BadMark {
        /// The mark.
        mark: u8,
    },
    /// A text that is too long to be stored.
    #[error("a text of {bytes} bytes is longer than the {bytes_max} allowed")]
    TextTooLong {
        /// Its length.
        bytes: usize,
        /// The greatest length.
        bytes_max: usize,
    },
    /// A list of replicas that is too long to be stored.
    #[error("{count} replicas are more than the 65535 allowed")]
    TooManyReplicas {
        /// How many.
        count: usize,
    },
}

const CLUSTER: u8 = 1;
const BROKER_REGISTRATION: u8 = 2;
const TOPIC: u8 = 3;
const PARTITION: u8 = 4;
const REMOVE_TOPIC: u8 = 5;
const CONFIG: u8 = 6;
const PRODUCER_IDS: u8 = 7;

/// The one version of every record so far.
const VERSION: u8 = 0;
/// The resource type of a configuration record, as Kafka numbers them. Others may come.
const RESOURCE_TOPIC: u8 = 2;
/// "No leader", in the place of a broker.
const NO_LEADER: i32 = -1;

impl MetadataRecord {
    /// The record's name, for messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "Cluster",
            Self::BrokerRegistration(_) => "BrokerRegistration",
            Self::Topic(_) => "Topic",
            Self::Partition(_) => "Partition",
            Self::RemoveTopic(_) => "RemoveTopic",
            Self::Config(_) => "Config",
            Self::ProducerIds(_) => "ProducerIds",
        }
    }

    /// The record's bytes.
    ///
    /// # Errors
    ///
    /// [`RecordError::TextTooLong`] and [`RecordError::TooManyReplicas`]: the controller's limits
    /// are below both.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let mut w = Writer::default();
        let begin = |w: &mut Writer, record_type| {
            w.u8(record_type);
            w.u8(VERSION);
        };
        match self {
            Self::Cluster(record) => {
                begin(&mut w, CLUSTER);
                w.uuid(record.cluster_id.uuid());
            }
            Self::BrokerRegistration(record) => {
                begin(&mut w, BROKER_REGISTRATION);
                w.i32(record.broker_id.0);
                w.text(&record.host)?;
                w.u16(record.port);
            }
            Self::Topic(record) => {
                begin(&mut w, TOPIC);
                w.text(&record.name)?;
                w.uuid(record.topic_id.uuid());
            }
            Self::Partition(record) => {
                begin(&mut w, PARTITION);
                w.uuid(record.topic_id.uuid());
                w.i32(record.partition.0);
                w.i32(record.leader.map_or(NO_LEADER, |leader| leader.0));
                w.i32(record.leader_epoch.value());
                w.i32(record.partition_epoch);
                w.list(record.replicas.iter().map(|broker| broker.0))?;
                w.list(record.isr.iter().map(|broker| broker.0))?;
            }
            Self::RemoveTopic(record) => {
                begin(&mut w, REMOVE_TOPIC);
                w.uuid(record.topic_id.uuid());
            }
            Self::Config(record) => {
                begin(&mut w, CONFIG);
                w.u8(RESOURCE_TOPIC);
                w.uuid(record.topic_id.uuid());
                w.text(&record.key)?;
                w.u8(u8::from(record.value.is_some()));
                if let Some(value) = &record.value {
                    w.text(value)?;
                }
            }
            Self::ProducerIds(record) => {
                begin(&mut w, PRODUCER_IDS);
                w.i32(record.broker_id.0);
                w.i64(record.next_producer_id);
            }
        }
        Ok(w.finish())
    }

    /// Reads one record that fills `bytes`.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes. Allocates no more than they are long.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = Reader::new(bytes);
        let (record_type, version) = (r.u8()?, r.u8()?);
        let name = match record_type {
            CLUSTER => "Cluster",
            BROKER_REGISTRATION => "BrokerRegistration",
            TOPIC => "Topic",
            PARTITION => "Partition",
            REMOVE_TOPIC => "RemoveTopic",
            CONFIG => "Config",
            PRODUCER_IDS => "ProducerIds",
            _ => return Err(RecordError::UnknownType { record_type, version }),
        };
        if version != VERSION {
            return Err(RecordError::UnknownVersion { name, version });
        }
        let record = match record_type {
            CLUSTER => Self::Cluster(ClusterRecord { cluster_id: ClusterId::new(r.uuid()?) }),
            BROKER_REGISTRATION => Self::BrokerRegistration(BrokerRegistrationRecord {
                broker_id: BrokerId(r.i32()?),
                host: r.text()?.into(),
                port: r.u16()?,
            }),
            TOPIC => {
                Self::Topic(TopicRecord { name: r.text()?.into(), topic_id: topic_id(&mut r)? })
            }
            PARTITION => Self::Partition(PartitionRecord {
                topic_id: topic_id(&mut r)?,
                partition: PartitionId(r.i32()?),
                leader: Some(r.i32()?).filter(|&leader| leader != NO_LEADER).map(BrokerId),
                leader_epoch: LeaderEpoch::new(r.i32()?),
                partition_epoch: r.i32()?,
                replicas: r.list()?.into_iter().map(BrokerId).collect(),
                isr: r.list()?.into_iter().map(BrokerId).collect(),
            }),
            REMOVE_TOPIC => Self::RemoveTopic(RemoveTopicRecord { topic_id: topic_id(&mut r)? }),
            CONFIG => {
                let resource_type = r.u8()?;
                if resource_type != RESOURCE_TOPIC {
                    return Err(RecordError::UnknownResource { resource_type });
                }
                Self::Config(ConfigRecord {
                    topic_id: topic_id(&mut r)?,
                    key: r.text()?.into(),
                    value: match r.u8()? {
                        0 => None,
                        1 => Some(r.text()?.into()),
                        mark => return Err(RecordError::BadMark { mark }),
                    },
                })
            }
            _ => Self::ProducerIds(ProducerIdsRecord {
                broker_id: BrokerId(r.i32()?),
                next_producer_id: r.i64()?,
            }),
        };
        r.finish()?;
        Ok(record)
    }
}

fn topic_id(r: &mut Reader<'_>) -> Result<TopicId, RecordError> {
    Ok(TopicId::from_bytes(*r.uuid()?.as_bytes()))
}
