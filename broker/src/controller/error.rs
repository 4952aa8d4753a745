//! Why the controller refuses a request.

use std::sync::Arc;

use crate::config::ConfigError;
use crate::metadata::{ApplyError, BrokerId, PartitionId, TopicId};

/// What is wrong with the name of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No name.
    #[error("it is empty")]
    Empty,
    /// `.` or `..`, which are folders.
    #[error("it must not be \".\" or \"..\"")]
    Dots,
    /// Too long for a folder's name with the partition's number.
    #[error("it has {bytes} characters, more than the 249 allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A character that is not allowed.
    #[error("{character:?} is not allowed: only letters, digits, '.', '_' and '-' of ASCII are")]
    Character {
        /// The first such character.
        character: char,
    },
}

/// Why the controller refuses a request.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A name that no topic can have.
    #[error("topic name {name:?}: {problem}")]
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: NameError,
    },
    /// A name that differs from another topic's only in `.` and `_`.
    #[error("topic name {name:?} collides with {other:?}: they differ only in '.' and '_'")]
    NameCollides {
        /// The name.
        name: String,
        /// The topic that is there.
        other: Arc<str>,
    },
    /// A topic that is there already.
    #[error("topic {name:?} already exists")]
    TopicExists {
        /// Its name.
        name: String,
    },
    /// A topic that is not there.
    #[error("there is no topic {name:?}")]
    UnknownTopic {
        /// The name.
        name: String,
    },
    /// A topic id that is not there.
    #[error("there is no topic with id {id}")]
    UnknownTopicId {
        /// The id.
        id: TopicId,
    },
    /// The same topic more than once in a request.
    #[error("topic {name:?} stands in the request more than once")]
    RepeatedTopic {
        /// The name, or the id as text.
        name: String,
    },
    /// A topic of the broker's own.
    #[error("topic {name:?} is the broker's own: clients cannot {what}")]
    InternalTopic {
        /// Its name.
        name: String,
        /// What clients cannot do with it.
        what: &'static str,
    },
    /// Topics are not made by asking for them.
    #[error("topic {name:?} is not there, and auto.create.topics.enable is false")]
    AutoCreationDisabled {
        /// The name.
        name: String,
    },
    /// Topics cannot be deleted.
    #[error("topics cannot be deleted: delete.topic.enable is false")]
    DeletionDisabled,
    /// A count of partitions that is not allowed.
    #[error("{partitions} partitions: must be in 1..={max}, or -1 for the default")]
    PartitionCount {
        /// How many were asked for.
        partitions: i32,
        /// How many one request may create.
        max: usize,
    },
    /// More partitions than one request may create.
    #[error("the request creates {partitions} partitions, more than the {max} allowed at once")]
    TooManyAtOnce {
        /// How many it would create up to this topic.
        partitions: usize,
        /// How many one request may create.
        max: usize,
    },
    /// More partitions than the cluster may have.
    #[error("there would be {partitions} partitions in all, more than the {max} allowed")]
    TooManyPartitions {
        /// How many there would be.
        partitions: usize,
        /// How many there may be.
        max: usize,
    },
    /// Partitions can only become more.
    #[error("topic {name:?} has {current} partitions and cannot be made to have {asked}")]
    PartitionsOnlyGrow {
        /// Its name.
        name: String,
        /// How many it has.
        current: i32,
        /// How many it was to have.
        asked: i32,
    },
    /// A replication factor that is not allowed, or that the brokers do not suffice for.
    #[error("replication factor {asked}: must be in 1..={brokers} (the brokers there are), or -1")]
    ReplicationFactor {
        /// What was asked for, or is configured.
        asked: i16,
        /// How many brokers there are.
        brokers: usize,
    },
    /// Counts beside an assignment that says them already.
    #[error("with an assignment of replicas, partitions and replication factor must both be -1")]
    CountsBesideAssignment,
    /// An assignment that leaves partitions out, or names one that cannot be.
    #[error(
        "partitions must be assigned each once as {expected_first}..{expected_end}; \
         {found} is wrong"
    )]
    AssignmentPartitions {
        /// The first partition to be assigned.
        expected_first: i32,
        /// The end of those to be assigned.
        expected_end: i32,
        /// The first one that is wrong.
        found: PartitionId,
    },
    /// An assignment for another number of partitions than is created.
    #[error("{assigned} partitions are assigned and {created} are created")]
    AssignmentCount {
        /// How many are assigned.
        assigned: usize,
        /// How many are created.
        created: usize,
    },
    /// Replicas on a broker that is not there.
    #[error("partition {partition} is assigned to broker {broker}, which is not there")]
    AssignmentBroker {
        /// The partition.
        partition: PartitionId,
        /// The broker.
        broker: BrokerId,
    },
    /// No replicas, some twice, or another number than the other partitions have.
    #[error(
        "partition {partition} is assigned {replicas} different brokers, and {expected} are needed"
    )]
    AssignmentReplicas {
        /// The partition.
        partition: PartitionId,
        /// How many different brokers it is assigned.
        replicas: usize,
        /// How many it needs.
        expected: usize,
    },
    /// A configuration that is not allowed.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// The producer ids are used up.
    #[error("no producer ids are left after {next}")]
    NoProducerIds {
        /// The first that nobody has.
        next: i64,
    },
    /// A data folder of another broker.
    #[error("the data folder belongs to the broker with node.id {known}, and this one has {given}")]
    OtherBroker {
        /// The broker that the folder belongs to.
        known: BrokerId,
        /// This broker.
        given: BrokerId,
    },
    /// What was decided does not fit the metadata: a mistake in the controller, or an id that was
    /// drawn twice.
    #[error("the decision does not fit the metadata: {0}")]
    Inconsistent(#[from] ApplyError),
}

impl From<ConfigError> for AdminError {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}
