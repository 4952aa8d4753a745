//! Fetch: batches out of logs.
//!
//! Every fetch names all its partitions: session id 0 is answered always, which tells a client
//! that there is no session to send changes against.

use std::time::Duration;

use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::offset::Offset;
use uuid::Uuid;

use crate::dispatch::Context;
use crate::handlers::{codes, topics};
use crate::metadata::TopicId;
use crate::partition::{Isolation, PartitionKey};
use crate::protocol::ErrorCode;
use crate::protocol::codec::{Records, Str};
use crate::protocol::messages::{
    EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse,
    PartitionData,
};
use crate::shard::fetch::Fetch;
use crate::shard::message::{Fetched, PartRead, ReadPart};

/// The session epoch of a request that is not part of a session.
const NO_SESSION: i32 = -1;

/// One partition of the request, on its way to being answered.
enum Asked {
    /// A part of the fetch, by its index.
    Part(i32, usize),
    /// Refused before any log was asked.
    Refused(i32, ErrorCode),
}

/// Answers once there are enough bytes, a partition has failed, or the time is up.
pub async fn handle(context: Context, request: FetchRequest) -> FetchResponse {
    if let Some(code) = refusal(&request) {
        return FetchResponse { error_code: code.code(), ..FetchResponse::default() };
    }
    let image = context.shard.image();
    let by_id = context.header.version >= topics::IDS_FROM;
    let mut parts = Vec::new();
    let mut asked: Vec<(Str, Uuid, Vec<Asked>)> = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let id = TopicId::from_bytes(topic.topic_id.into_bytes());
        let found = topics::topic(&image, &topic.topic, id, by_id);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let index = partition.partition;
            let key = found.and_then(|topic| topics::key(topic, index));
            partitions.push(match key.and_then(|key| part(key, partition)) {
                Ok(part) => {
                    parts.push(part);
                    Asked::Part(index, parts.len() - 1)
                }
                Err(code) => Asked::Refused(index, code),
            });
        }
        asked.push((topic.topic, topic.topic_id, partitions));
    }
    let any_refused = asked
        .iter()
        .any(|(_, _, partitions)| partitions.iter().any(|one| matches!(one, Asked::Refused(..))));
    let fetch = Fetch {
        parts,
        isolation: match request.isolation_level {
            0 => Isolation::ReadUncommitted,
            _ => Isolation::ReadCommitted,
        },
        bytes_min: bytes(request.min_bytes),
        bytes_max: bytes(request.max_bytes).min(context.shard.config().fetch_max_bytes),
        // An error is told at once.
        wait: if any_refused { Duration::ZERO } else { millis(request.max_wait_ms) },
    };
    let found = context.shard.fetch(fetch).await;
    respond(asked, found)
}

/// What is wrong with the request as a whole.
fn refusal(request: &FetchRequest) -> Option<ErrorCode> {
    let replica = request.replica_id >= 0 || request.replica_state.replica_id >= 0;
    if replica {
        // Replicas do not fetch over this API.
        Some(ErrorCode::InvalidRequest)
    } else if request.session_id != 0 {
        Some(ErrorCode::FetchSessionIdNotFound)
    } else if !matches!(request.session_epoch, NO_SESSION | 0) {
        Some(ErrorCode::InvalidFetchSessionEpoch)
    } else {
        None
    }
}

fn part(key: PartitionKey, partition: &FetchPartition) -> Result<ReadPart, ErrorCode> {
    Ok(ReadPart {
        key,
        from: Offset::new(partition.fetch_offset).ok_or(ErrorCode::OffsetOutOfRange)?,
        bytes_max: bytes(partition.partition_max_bytes),
        current_epoch: LeaderEpoch::new(partition.current_leader_epoch),
        last_fetched_epoch: LeaderEpoch::new(partition.last_fetched_epoch),
    })
}

fn respond(asked: Vec<(Str, Uuid, Vec<Asked>)>, found: Vec<PartRead>) -> FetchResponse {
    let mut found: Vec<Option<PartRead>> = found.into_iter().map(Some).collect();
    let topics = asked
        .into_iter()
        .map(|(topic, topic_id, partitions)| {
            let partitions = partitions
                .into_iter()
                .map(|asked| match asked {
                    Asked::Refused(index, code) => refused(index, code),
                    Asked::Part(index, part) => match found.get_mut(part).and_then(Option::take) {
                        Some(read) => answered(index, read),
                        None => refused(index, ErrorCode::UnknownServerError),
                    },
                })
                .collect();
            FetchableTopicResponse { topic, topic_id, partitions }
        })
        .collect();
    FetchResponse { topics, ..FetchResponse::default() }
}

fn refused(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: code.code(),
        high_watermark: -1,
        ..PartitionData::default()
    }
}

fn answered(index: i32, read: PartRead) -> PartitionData {
    let mut data = PartitionData {
        partition_index: index,
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start,
        ..PartitionData::default()
    };
    match read.records {
        Ok(Fetched::Batches(batches)) => {
            data.records = Some(batches.into_iter().collect::<Records>());
        }
        Ok(Fetched::Diverging { epoch, end }) => {
            data.diverging_epoch = EpochEndOffset { epoch: epoch.value(), end_offset: end.value() };
        }
        Err(error) => data.error_code = codes::partition(&error).code(),
    }
    data
}

/// A number of bytes from the wire; negative ones count as none.
fn bytes(count: i32) -> usize {
    usize::try_from(count).unwrap_or(0)
}

fn millis(count: i32) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}
