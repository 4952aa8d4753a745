//! The controller: decides how the cluster's metadata changes, and makes the changes last.
//!
//! - [`Controller`] is pure: from an image, a request and ids that the caller has drawn it works
//!   out records and an answer ([`Plan`]), or an [`AdminError`]. It has no clock, no I/O and no
//!   randomness of its own.
//! - [`MetadataQuorum`] makes a batch of records durable; [`LocalQuorum`] is the quorum of a broker
//!   that runs alone, on a log of the engine.
//! - [`MetadataStore`] joins the two: one decision at a time, on the newest image, published as
//!   the next image once it is durable.
//! - [`shard_of`] says which shard of a broker owns a partition.
//!
//! Kafka's error codes do not appear here: the handlers map [`AdminError`] to them.

mod alter_configs;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod error;
mod local;
mod placement;
mod plan;
mod quorum;
mod register;
mod replicas;
mod store;
mod topic_name;

pub use alter_configs::TopicAlterations;
pub use create_partitions::MorePartitions;
pub use create_topics::{CreatedTopic, NewTopic};
pub use delete_topics::TopicReference;
pub use error::{AdminError, NameError};
pub use local::{LocalQuorum, METADATA_FOLDER};
pub use placement::shard_of;
pub use plan::{Controller, Plan};
pub use quorum::{MetadataQuorum, QuorumError};
pub use store::{MetadataStore, StoreError};
pub use topic_name::{
    INTERNAL_TOPICS, OFFSETS_TOPIC, TOPIC_NAME_CHARS_MAX, is_internal, validate_name,
};
