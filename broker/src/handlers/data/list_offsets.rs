//! ListOffsets: offsets by time, and the two ends of a log.

use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::offset::Timestamp;

use crate::dispatch::Context;
use crate::handlers::{codes, topics};
use crate::metadata::TopicId;
use crate::partition::Isolation;
use crate::protocol::ErrorCode;
use crate::protocol::messages::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::shard::message::{FindOffset, FoundOffset, WhichOffset};

/// The first version that says under which epoch an offset was appended.
const EPOCHS_FROM: i16 = 4;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// The earliest offset on this broker's disk: the log's start, since nothing is kept elsewhere.
const EARLIEST_LOCAL: i64 = -4;
/// The latest offset kept elsewhere: none.
const LATEST_TIERED: i64 = -5;

/// Answers every partition by itself.
pub async fn handle(context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = match request.isolation_level {
        0 => Isolation::ReadUncommitted,
        _ => Isolation::ReadCommitted,
    };
    let epochs = context.header.version >= EPOCHS_FROM;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let answer = match find(&context, &topic.name, asked, isolation).await {
                Ok(Some(found)) => ListOffsetsPartitionResponse {
                    timestamp: found.timestamp.millis(),
                    offset: found.offset.value(),
                    leader_epoch: if epochs { found.epoch.value() } else { -1 },
                    ..ListOffsetsPartitionResponse::default()
                },
                Ok(None) => ListOffsetsPartitionResponse::default(),
                Err(code) => ListOffsetsPartitionResponse {
                    error_code: code.code(),
                    ..ListOffsetsPartitionResponse::default()
                },
            };
            let partition_index = asked.partition_index;
            partitions.push(ListOffsetsPartitionResponse { partition_index, ..answer });
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
}

async fn find(
    context: &Context,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Option<FoundOffset>, ErrorCode> {
    let image = context.shard.image();
    let topic = topics::topic(&image, topic, TopicId::ZERO, false)?;
    let key = topics::key(topic, asked.partition_index)?;
    let which = match asked.timestamp {
        LATEST => WhichOffset::Latest,
        EARLIEST | EARLIEST_LOCAL => WhichOffset::Earliest,
        MAX_TIMESTAMP => WhichOffset::MaxTimestamp,
        LATEST_TIERED => return Ok(None),
        millis if millis >= 0 => WhichOffset::AtOrAfter(Timestamp::from_millis(millis)),
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    let current_epoch = LeaderEpoch::new(asked.current_leader_epoch);
    let find = FindOffset { key, which, isolation, current_epoch };
    context.shard.find_offset_anywhere(find).await.map_err(|error| codes::partition(&error))
}
