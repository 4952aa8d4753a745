//! What went wrong, as Kafka's error codes.

use ringlog_engine::batch::BatchError;
use ringlog_engine::error::{AppendError, ReadError};
use ringlog_engine::producer::SequenceError;

use crate::control::ControlError;
use crate::controller::AdminError;
use crate::group::GroupError;
use crate::partition::{EpochError, ProduceError, ValidationError};
use crate::protocol::ErrorCode;
use crate::shard::groups::Unavailable;
use crate::shard::message::PartitionError;

/// For a batch that was not taken, or not made durable.
pub(super) fn produce(error: &ProduceError) -> ErrorCode {
    match error {
        ProduceError::Invalid(error) => validation(error),
        ProduceError::Sequence(error) => sequence(error),
        ProduceError::Log(error) => append(error),
        ProduceError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        ProduceError::Gone => ErrorCode::NotLeaderOrFollower,
        ProduceError::Offline => ErrorCode::KafkaStorageError,
    }
}

fn validation(error: &ValidationError) -> ErrorCode {
    match error {
        ValidationError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        ValidationError::Batch(error) => batch(error),
        ValidationError::Timestamp { .. } | ValidationError::AppendTimeClaimed => {
            ErrorCode::InvalidTimestamp
        }
        ValidationError::ZstdTooEarly => ErrorCode::UnsupportedCompressionType,
        ValidationError::Transactional => ErrorCode::InvalidTxnState,
        ValidationError::Empty
        | ValidationError::MoreThanOne { .. }
        | ValidationError::Control
        | ValidationError::KeyMissing { .. }
        | ValidationError::Records(_) => ErrorCode::InvalidRecord,
    }
}

fn batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Short { .. } | BatchError::Length { .. } | BatchError::Checksum { .. } => {
            ErrorCode::CorruptMessage
        }
        BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        BatchError::Magic { .. } => ErrorCode::UnsupportedForMessageFormat,
        BatchError::Compression(_) => ErrorCode::UnsupportedCompressionType,
        BatchError::Count { .. }
        | BatchError::StoredCount { .. }
        | BatchError::Attributes { .. }
        | BatchError::Producer { .. } => ErrorCode::InvalidRecord,
    }
}

fn sequence(error: &SequenceError) -> ErrorCode {
    match error {
        SequenceError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
        SequenceError::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
    }
}

fn append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::BatchTooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::Closed | AppendError::Truncated { .. } => ErrorCode::NotLeaderOrFollower,
        AppendError::Failed(_)
        | AppendError::DiskFull(_)
        | AppendError::Refused(_)
        | AppendError::ReservedLess { .. }
        | AppendError::StaleLeaderEpoch { .. }
        | AppendError::OffsetsExhausted { .. } => ErrorCode::KafkaStorageError,
    }
}

/// For a partition that cannot be asked or read.
pub(super) fn partition(error: &PartitionError) -> ErrorCode {
    match error {
        PartitionError::NotHere => ErrorCode::NotLeaderOrFollower,
        PartitionError::Offline => ErrorCode::KafkaStorageError,
        PartitionError::Epoch(EpochError::Fenced { .. }) => ErrorCode::FencedLeaderEpoch,
        PartitionError::Epoch(EpochError::Unknown { .. }) => ErrorCode::UnknownLeaderEpoch,
        PartitionError::Read(ReadError::OutOfRange { .. }) => ErrorCode::OffsetOutOfRange,
        PartitionError::Read(ReadError::Corrupt { .. })
        | PartitionError::Unreadable { .. }
        | PartitionError::Damaged(_) => ErrorCode::CorruptMessage,
        PartitionError::Read(ReadError::Io(_)) => ErrorCode::KafkaStorageError,
        PartitionError::Read(ReadError::Closed) => ErrorCode::NotLeaderOrFollower,
    }
}

/// For a coordinator that does not serve.
pub(super) fn unavailable(error: Unavailable) -> ErrorCode {
    match error {
        Unavailable::NotCoordinator => ErrorCode::NotCoordinator,
        Unavailable::Failed => ErrorCode::CoordinatorNotAvailable,
    }
}

/// For what a coordinator refuses.
pub(super) fn group(error: &GroupError) -> ErrorCode {
    match error {
        GroupError::LoadInProgress => ErrorCode::CoordinatorLoadInProgress,
        GroupError::NotAvailable => ErrorCode::CoordinatorNotAvailable,
        GroupError::NotCoordinator => ErrorCode::NotCoordinator,
        GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
        GroupError::GroupIdNotFound { .. } => ErrorCode::GroupIdNotFound,
        GroupError::NonEmptyGroup { .. } => ErrorCode::NonEmptyGroup,
        GroupError::InvalidSessionTimeout { .. } => ErrorCode::InvalidSessionTimeout,
        GroupError::MemberIdRequired { .. } => ErrorCode::MemberIdRequired,
        GroupError::UnknownMemberId { .. } => ErrorCode::UnknownMemberId,
        GroupError::FencedInstanceId { .. } => ErrorCode::FencedInstanceId,
        GroupError::IllegalGeneration { .. } => ErrorCode::IllegalGeneration,
        GroupError::InconsistentGroupProtocol | GroupError::TooManyProtocols { .. } => {
            ErrorCode::InconsistentGroupProtocol
        }
        GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupError::GroupMaxSizeReached { .. } | GroupError::TooManyGroups { .. } => {
            ErrorCode::GroupMaxSizeReached
        }
        GroupError::OffsetMetadataTooLarge { .. } => ErrorCode::OffsetMetadataTooLarge,
        GroupError::InvalidCommitOffsetSize => ErrorCode::InvalidCommitOffsetSize,
        GroupError::TooLarge { .. } | GroupError::GroupMetadataTooLarge => {
            ErrorCode::InvalidRequest
        }
    }
}

/// For a change that the control thread could not make.
pub(super) fn control(error: &ControlError) -> ErrorCode {
    match error {
        ControlError::Stopping => ErrorCode::NotController,
        ControlError::NotStored(_) => ErrorCode::KafkaStorageError,
        ControlError::Refused(_) => ErrorCode::UnknownServerError,
    }
}

/// For what the controller refuses.
pub(super) fn admin(error: &AdminError) -> ErrorCode {
    match error {
        AdminError::InvalidName { .. } | AdminError::NameCollides { .. } => {
            ErrorCode::InvalidTopicException
        }
        AdminError::TopicExists { .. } => ErrorCode::TopicAlreadyExists,
        AdminError::UnknownTopic { .. } | AdminError::AutoCreationDisabled { .. } => {
            ErrorCode::UnknownTopicOrPartition
        }
        AdminError::UnknownTopicId { .. } => ErrorCode::UnknownTopicId,
        AdminError::RepeatedTopic { .. }
        | AdminError::InternalTopic { .. }
        | AdminError::CountsBesideAssignment => ErrorCode::InvalidRequest,
        AdminError::DeletionDisabled => ErrorCode::TopicDeletionDisabled,
        AdminError::PartitionCount { .. } | AdminError::PartitionsOnlyGrow { .. } => {
            ErrorCode::InvalidPartitions
        }
        AdminError::TooManyAtOnce { .. } | AdminError::TooManyPartitions { .. } => {
            ErrorCode::PolicyViolation
        }
        AdminError::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        AdminError::AssignmentPartitions { .. }
        | AdminError::AssignmentCount { .. }
        | AdminError::AssignmentBroker { .. }
        | AdminError::AssignmentReplicas { .. } => ErrorCode::InvalidReplicaAssignment,
        AdminError::Config(_) => ErrorCode::InvalidConfig,
        AdminError::NoProducerIds { .. }
        | AdminError::OtherBroker { .. }
        | AdminError::Inconsistent(_) => ErrorCode::UnknownServerError,
    }
}
