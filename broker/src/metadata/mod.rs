//! The cluster's metadata: what it is ([`MetadataImage`]) and how it changes ([`MetadataRecord`]).
//!
//! Every change is a batch of records that goes through the metadata log; the image is what all
//! records so far amount to. The same records give the same image, on every broker and after every
//! restart. Who decides on records is the [`controller`](crate::controller).

mod codec;
mod id;
mod image;
mod records;
mod shared_map;

pub use id::{BrokerId, ClusterId, PartitionId, TopicId};
pub use image::{ApplyError, Broker, MetadataImage, Partition, Topic};
pub use records::{
    BrokerRegistrationRecord, ClusterRecord, ConfigRecord, MetadataRecord, PartitionRecord,
    ProducerIdsRecord, RecordError, RemoveTopicRecord, TopicRecord,
};
