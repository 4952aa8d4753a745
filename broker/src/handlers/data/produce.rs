//! Produce: batches into logs.

use std::time::Duration;

use bytes::Bytes;

use crate::controller::is_internal;
use crate::dispatch::{Context, Outcome, pending_produce, sealed};
use crate::handlers::codes;
use crate::handlers::topics;
use crate::metadata::{MetadataImage, TopicId};
use crate::partition::{self, ProduceError};
use crate::protocol::codec::{DecodeError, Message, Reader, Str};
use crate::protocol::messages::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use crate::protocol::{ApiKey, ErrorCode};
use crate::shard::Appending;
use crate::shard::clock::Clock;
use crate::shard::message::Append;

/// The first version whose clients know zstd.
const ZSTD_FROM: i16 = 7;

/// `acks`: every in-sync replica must have the records.
const ALL: i16 = -1;

/// How long a producer that asks for this broker's word alone waits for it: longer than any client
/// does.
const OWN_WRITE_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// A produce request whose batches have their places, or were refused.
pub struct Accepted {
    version: i16,
    correlation_id: i32,
    /// By the shard's clock.
    deadline: Duration,
    clock: Clock,
    topics: Vec<AcceptedTopic>,
}

struct AcceptedTopic {
    name: Str,
    id: TopicId,
    partitions: Vec<(i32, Batch)>,
}

enum Batch {
    Taken(Appending),
    Refused(Refusal),
}

/// Why a batch was refused.
struct Refusal {
    code: ErrorCode,
    message: Option<Str>,
    /// The record that is at fault, if it is one.
    record: Option<i32>,
}

impl Refusal {
    fn of(code: ErrorCode) -> Self {
        Self { code, message: None, record: None }
    }

    fn because(error: &ProduceError) -> Self {
        let record = match error {
            ProduceError::Invalid(error) => error.record(),
            _ => None,
        };
        Self {
            code: codes::produce(error),
            message: Some(Str::from(error.to_string())),
            record: record.and_then(|index| i32::try_from(index).ok()),
        }
    }
}

/// Gives the request's batches their places, in the order in which requests come.
pub async fn accept(context: Context, mut reader: Reader) -> Result<Outcome, DecodeError> {
    let version = context.header.version;
    let request = ProduceRequest::decode_body(&mut reader, version)?;
    let wants_answer = request.acks != 0;
    // The time is for the other replicas; this one's own write is waited for in any case.
    let wait = match request.acks {
        ALL => Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)),
        _ => OWN_WRITE_WAIT,
    };
    let clock = context.shard.clock().clone();
    let deadline = clock.elapsed() + wait;
    let image = context.shard.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let id = TopicId::from_bytes(topic.topic_id.into_bytes());
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for data in topic.partitions {
            let index = data.index;
            let batch = match refusal(request.acks, request.transactional_id.is_some()) {
                Some(code) => Batch::Refused(Refusal::of(code)),
                None => take(&context, &image, &topic.name, id, request.acks, data).await,
            };
            partitions.push((index, batch));
        }
        // A name of its own: a part of the request would keep the connection's buffer from being
        // used again until the answer has left.
        let name = topic.name.detached();
        topics.push(AcceptedTopic { name, id, partitions });
    }
    let correlation_id = context.header.correlation_id;
    let accepted = Accepted { version, correlation_id, deadline, clock, topics };
    if wants_answer { Ok(pending_produce(accepted)) } else { Ok(accepted.unanswered()) }
}

/// What is wrong with the request as a whole.
fn refusal(acks: i16, transactional: bool) -> Option<ErrorCode> {
    if !(-1..=1).contains(&acks) {
        Some(ErrorCode::InvalidRequiredAcks)
    } else if transactional {
        // Transactions are not served, so no transactional id was ever given a producer id.
        Some(ErrorCode::InvalidProducerIdMapping)
    } else {
        None
    }
}

async fn take(
    context: &Context,
    image: &MetadataImage,
    name: &str,
    id: TopicId,
    acks: i16,
    data: PartitionProduceData,
) -> Batch {
    let by_id = context.header.version >= topics::IDS_FROM;
    let found = topics::topic(image, name, id, by_id).and_then(|topic| {
        if is_internal(&topic.name) {
            // Only the broker itself writes to its own topics.
            return Err(ErrorCode::InvalidTopicException);
        }
        topics::key(topic, data.index)
    });
    let key = match found {
        Ok(key) => key,
        Err(code) => return Batch::Refused(Refusal::of(code)),
    };
    let append = Append {
        key,
        records: data.records.map_or_else(Bytes::new, |records| records.to_bytes()),
        zstd_allowed: context.header.version >= ZSTD_FROM,
        all_replicas: acks == ALL,
    };
    match context.shard.append_anywhere(append).await {
        Appending::Refused(error) => Batch::Refused(Refusal::because(&error)),
        taken => Batch::Taken(taken),
    }
}

impl Accepted {
    /// Waits until every batch is committed and answers.
    pub async fn finish(self) -> Option<Vec<Bytes>> {
        let mut topics = Vec::with_capacity(self.topics.len());
        for topic in self.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (index, batch) in topic.partitions {
                partitions.push(match batch {
                    Batch::Taken(appending) => {
                        match self.clock.timeout_at(self.deadline, appending.committed()).await {
                            Some(Ok(accepted)) => committed(index, accepted),
                            Some(Err(error)) => failed(index, Refusal::because(&error)),
                            // The batch may still be committed: nobody knows yet.
                            None => failed(index, Refusal::of(ErrorCode::RequestTimedOut)),
                        }
                    }
                    Batch::Refused(refusal) => failed(index, refusal),
                });
            }
            topics.push(TopicProduceResponse {
                name: topic.name,
                topic_id: topic.id.uuid(),
                partitions,
            });
        }
        let response = ProduceResponse { topics, ..ProduceResponse::default() };
        sealed(ApiKey::Produce, self.version, self.correlation_id, &response)
    }

    /// What becomes of a request that wants no answer: the only way to tell its sender of a
    /// refusal is to close the connection.
    fn unanswered(self) -> Outcome {
        for topic in &self.topics {
            for (index, batch) in &topic.partitions {
                if let Batch::Refused(Refusal { code, message, .. }) = batch {
                    let why = message.as_deref().unwrap_or("");
                    let (topic, index) = (topic.name.as_str(), *index);
                    let close = format!("acks=0 to {topic}-{index} was refused: {code:?} {why}");
                    return Outcome::Close(close);
                }
            }
        }
        Outcome::Silent
    }
}

fn committed(index: i32, accepted: partition::Accepted) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: ErrorCode::None.code(),
        base_offset: accepted.base_offset.value(),
        log_append_time_ms: accepted.log_append_time.map_or(-1, |time| time.millis()),
        log_start_offset: accepted.log_start.value(),
        ..PartitionProduceResponse::default()
    }
}

fn failed(index: i32, refusal: Refusal) -> PartitionProduceResponse {
    let at_fault = |batch_index| BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: refusal.message.clone(),
    };
    PartitionProduceResponse {
        index,
        error_code: refusal.code.code(),
        record_errors: refusal.record.map(at_fault).into_iter().collect(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        error_message: refusal.message,
        ..PartitionProduceResponse::default()
    }
}
