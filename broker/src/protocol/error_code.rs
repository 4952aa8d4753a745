//! Kafka's error codes.

use std::fmt;

macro_rules! error_codes {
    ($( $(#[$meta:meta])* $name:ident = $code:literal, $kafka_name:literal $(, $retriable:ident)?; )*) => {
        /// The error codes of Kafka 4.x, in Kafka's words. Messages carry them as `i16`, because a
        /// peer may know codes that we do not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                $(#[$meta])*
                #[doc = ""]
                #[doc = concat!("`", $kafka_name, "`, ", $code, ".")]
                $name = $code,
            )*
        }

        impl ErrorCode {
            /// Every code, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> i16 {
                match self { $(Self::$name => $code),* }
            }

            /// The code of a number on the wire, if Kafka 4.x has it.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// Kafka's name, as in its documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $kafka_name),* }
            }

            /// Whether Kafka tells clients that the same request may succeed later.
            #[must_use]
            pub const fn is_retriable(self) -> bool {
                match self {
                    $( Self::$name => { false $( || error_codes!(@$retriable) )? } )*
                }
            }
        }
    };
    (@retriable) => { true };
}

error_codes! {
    /// The broker met an error that it has no code for.
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR";
    /// No error.
    #[default]
    None = 0, "NONE";
    /// The offset is not within the range of the log.
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE";
    /// A batch failed its checksum, or is otherwise broken.
    CorruptMessage = 2, "CORRUPT_MESSAGE", retriable;
    /// This broker has no such topic or partition.
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", retriable;
    /// The requested size is negative.
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE";
    /// The partition has no leader at present.
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", retriable;
    /// This broker is not the leader of the partition, or not a replica of it.
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", retriable;
    /// The request was not done within its time.
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", retriable;
    /// The broker is not available.
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE";
    /// The replica is not available.
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", retriable;
    /// A batch is larger than the topic or the broker allows.
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE";
    /// The controller moved to another broker.
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH";
    /// The metadata of a committed offset is too long.
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE";
    /// The connection was lost before the response.
    NetworkException = 13, "NETWORK_EXCEPTION", retriable;
    /// The coordinator is loading its groups.
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", retriable;
    /// There is no coordinator at present.
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", retriable;
    /// This broker is not the coordinator.
    NotCoordinator = 16, "NOT_COORDINATOR", retriable;
    /// The topic is not valid for this request.
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION";
    /// The request holds more batch bytes than a segment may.
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE";
    /// Fewer replicas are in sync than the topic demands; nothing was appended.
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", retriable;
    /// The batch was appended, but to fewer in-sync replicas than the topic demands.
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", retriable;
    /// The request asks for acknowledgements other than -1, 0 or 1.
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS";
    /// The generation is not the group's present one.
    IllegalGeneration = 22, "ILLEGAL_GENERATION";
    /// The member shares no protocol with the group.
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL";
    /// The group id is not valid.
    InvalidGroupId = 24, "INVALID_GROUP_ID";
    /// The group has no such member.
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID";
    /// The session timeout is outside of what the broker allows.
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT";
    /// The group rebalances: join again.
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS";
    /// The offset to commit is too large for the broker's log.
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE";
    /// The client may not do this to the topic.
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED";
    /// The client may not do this to the group.
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED";
    /// The client may not do this to the cluster.
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED";
    /// A timestamp is outside of what the topic allows.
    InvalidTimestamp = 32, "INVALID_TIMESTAMP";
    /// The broker does not have this SASL mechanism.
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM";
    /// The request does not fit the state of the SASL exchange.
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE";
    /// The version of the API is not served.
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION";
    /// A topic of this name exists.
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS";
    /// The number of partitions is below 1.
    InvalidPartitions = 37, "INVALID_PARTITIONS";
    /// The replication factor is below 1 or above the number of brokers.
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR";
    /// The assignment of replicas is not valid.
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT";
    /// A configuration is not valid.
    InvalidConfig = 40, "INVALID_CONFIG";
    /// This broker is not the controller.
    NotController = 41, "NOT_CONTROLLER", retriable;
    /// The request contradicts itself, or holds something the API does not allow.
    InvalidRequest = 42, "INVALID_REQUEST";
    /// The format of the batch is too old or does not know what the request needs.
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT";
    /// The request breaks a policy.
    PolicyViolation = 44, "POLICY_VIOLATION";
    /// The producer's sequence number is not the next one.
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER";
    /// The producer's sequence number was seen before.
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER";
    /// The producer's epoch is older than one seen before.
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH";
    /// The transaction is not in a state that allows this.
    InvalidTxnState = 48, "INVALID_TXN_STATE";
    /// The producer id does not belong to the transactional id.
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING";
    /// The transaction timeout is above what the broker allows.
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT";
    /// Another request changes the same transaction.
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS";
    /// The coordinator that writes a transaction marker is no longer the one.
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED";
    /// The client may not use the transactional id.
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED";
    /// The broker has no security features enabled.
    SecurityDisabled = 54, "SECURITY_DISABLED";
    /// The broker did not attempt this operation because another one of the request failed.
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED";
    /// The disk failed, or the file did.
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", retriable;
    /// The broker has no such log directory.
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND";
    /// SASL authentication failed.
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED";
    /// The broker no longer knows the producer id.
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID";
    /// The partition is being reassigned.
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS";
    /// Delegation tokens are disabled.
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED";
    /// The broker has no such delegation token.
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND";
    /// The principal is not the token's owner or a renewer of it.
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH";
    /// Delegation tokens cannot be requested over this connection.
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED";
    /// The client may not use the delegation token.
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED";
    /// The delegation token has expired.
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED";
    /// The type of principal is not supported.
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE";
    /// The group is not empty.
    NonEmptyGroup = 68, "NON_EMPTY_GROUP";
    /// There is no such group.
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND";
    /// There is no such fetch session.
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", retriable;
    /// The epoch of the fetch session is not the next one.
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", retriable;
    /// The leader has no listener that matches the one the request came by.
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", retriable;
    /// Topics cannot be deleted here.
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED";
    /// The leader epoch of the request is older than the broker's.
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", retriable;
    /// The leader epoch of the request is newer than the broker's.
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", retriable;
    /// The compression is not supported at this version.
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE";
    /// The broker's epoch has changed.
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH";
    /// The leader's high watermark has not caught up after an election.
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", retriable;
    /// The member must join again with the id that it was given.
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED";
    /// The preferred leader is not available.
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", retriable;
    /// The group has as many members as it may.
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED";
    /// Another member took over this static instance id.
    FencedInstanceId = 82, "FENCED_INSTANCE_ID";
    /// No eligible replica can lead.
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", retriable;
    /// The partition has the wanted leader already.
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", retriable;
    /// No reassignment of the partition is going on.
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS";
    /// Members of the group are subscribed to the topic.
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC";
    /// A record failed the broker's checks.
    InvalidRecord = 87, "INVALID_RECORD";
    /// There are offsets of open transactions.
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", retriable;
    /// The quota is exhausted: wait.
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", retriable;
    /// A newer producer with the same transactional id fenced this one.
    ProducerFenced = 90, "PRODUCER_FENCED";
    /// There is no such resource.
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND";
    /// A resource of this name exists.
    DuplicateResource = 92, "DUPLICATE_RESOURCE";
    /// The credential does not meet the broker's demands.
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL";
    /// The voters of sender and receiver differ.
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET";
    /// The feature update is not valid.
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION";
    /// The features could not be updated.
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED";
    /// The forwarding of a request to the controller failed.
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE";
    /// The snapshot was not found.
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND";
    /// The position is outside of the snapshot.
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE";
    /// There is no topic of this id.
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", retriable;
    /// The broker id is registered by another broker.
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION";
    /// The broker is not registered.
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED";
    /// The topic id of the request is not that of the log.
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", retriable;
    /// The cluster id of the request is not that of the broker.
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID";
    /// There is no such transactional id.
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND";
    /// The fetch session knows the topic by another id.
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", retriable;
    /// The replica is not eligible for the set of in-sync replicas.
    IneligibleReplica = 107, "INELIGIBLE_REPLICA";
    /// The leader proposed an in-sync set, but leadership or the set has changed.
    NewLeaderElected = 108, "NEW_LEADER_ELECTED";
    /// The offset has moved to the remote tier.
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE";
    /// The member's epoch is fenced by the coordinator: join again.
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH";
    /// The instance id is still used by another member.
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID";
    /// The assignor is not supported by the group.
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR";
    /// The member's epoch is stale: retry with the new one.
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH";
    /// The request was sent to the wrong kind of endpoint.
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE";
    /// The kind of endpoint is not supported.
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE";
    /// The controller id is not known.
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID";
    /// The client's telemetry subscription is not the present one.
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID";
    /// The telemetry payload is too large.
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE";
    /// The controller deems the registration invalid.
    InvalidRegistration = 119, "INVALID_REGISTRATION";
    /// The transaction must be aborted.
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE";
    /// The record is not in a state that allows the acknowledgement.
    InvalidRecordState = 121, "INVALID_RECORD_STATE";
    /// There is no such share session.
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", retriable;
    /// The epoch of the share session is not the next one.
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", retriable;
    /// The epoch of the share state is fenced.
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH";
    /// The key of the voter does not fit its id.
    InvalidVoterKey = 125, "INVALID_VOTER_KEY";
    /// The voter is in the set already.
    DuplicateVoter = 126, "DUPLICATE_VOTER";
    /// The voter is not in the set.
    VoterNotFound = 127, "VOTER_NOT_FOUND";
    /// The regular expression is not valid.
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION";
    /// The client's metadata is stale: bootstrap again.
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED";
    /// The topology is not valid.
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY";
    /// The epoch of the topology is not valid.
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH";
    /// The epoch of the topology is older than the group's.
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED";
    /// The broker has as many share sessions as it may.
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", retriable;
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> Self {
        error.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_without_gaps_and_name_themselves() {
        for (error, code) in ErrorCode::ALL.iter().zip(-1i16..) {
            assert_eq!((error.code(), ErrorCode::from_code(code)), (code, Some(*error)));
            // `NotCoordinator` and `NOT_COORDINATOR` are the same letters.
            let letters: String = error.name().split('_').collect();
            assert_eq!(format!("{error:?}").to_uppercase(), letters);
        }
        assert_eq!(ErrorCode::from_code(9999), None);
    }
}
