//! Produce: batches into logs.

use bytes::Bytes;

use crate::dispatch::{Context, Outcome, pending_produce, sealed};
use crate::handlers::codes;
use crate::handlers::topics;
use crate::metadata::{MetadataImage, TopicId};
use crate::partition::{self, ProduceError};
use crate::protocol::codec::{DecodeError, Message, Reader, Str};
use crate::protocol::messages::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceResponse,
};
use crate::protocol::{ApiKey, ErrorCode};
use crate::shard::Appending;
use crate::shard::message::Append;

/// The first version whose clients know zstd.
const ZSTD_FROM: i16 = 7;

/// A produce request whose batches have their places, or were refused.
pub struct Accepted {
    version: i16,
    correlation_id: i32,
    topics: Vec<AcceptedTopic>,
}

struct AcceptedTopic {
    name: Str,
    id: TopicId,
    partitions: Vec<(i32, Batch)>,
}

enum Batch {
    Taken(Appending),
    Refused(ErrorCode, Option<Str>),
}

/// Gives the request's batches their places, in the order in which requests come.
pub async fn accept(context: Context, mut reader: Reader) -> Result<Outcome, DecodeError> {
    let version = context.header.version;
    let request = ProduceRequest::decode_body(&mut reader, version)?;
    let wants_answer = request.acks != 0;
    let image = context.shard.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let id = TopicId::from_bytes(topic.topic_id.into_bytes());
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for data in topic.partitions {
            let index = data.index;
            let batch = match refusal(request.acks, request.transactional_id.is_some()) {
                Some(code) => Batch::Refused(code, None),
                None => take(&context, &image, &topic.name, id, request.acks, data).await,
            };
            partitions.push((index, batch));
        }
        topics.push(AcceptedTopic { name: topic.name, id, partitions });
    }
    let accepted = Accepted { version, correlation_id: context.header.correlation_id, topics };
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
    let found = topics::topic(image, name, id).and_then(|topic| topics::key(topic, data.index));
    let key = match found {
        Ok(key) => key,
        Err(code) => return Batch::Refused(code, None),
    };
    let append = Append {
        key,
        records: data.records.map_or_else(Bytes::new, |records| records.to_bytes()),
        zstd_allowed: context.header.version >= ZSTD_FROM,
        all_replicas: acks == -1,
    };
    match context.shard.append_anywhere(append).await {
        Appending::Refused(error) => refused(&error),
        taken => Batch::Taken(taken),
    }
}

fn refused(error: &ProduceError) -> Batch {
    Batch::Refused(codes::produce(error), Some(Str::from(error.to_string())))
}

impl Accepted {
    /// Waits until every batch is committed and answers.
    pub async fn finish(self) -> Option<Vec<Bytes>> {
        let mut topics = Vec::with_capacity(self.topics.len());
        for topic in self.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (index, batch) in topic.partitions {
                partitions.push(match batch {
                    Batch::Taken(appending) => match appending.committed().await {
                        Ok(accepted) => committed(index, accepted),
                        Err(error) => {
                            failed(index, codes::produce(&error), Some(error.to_string().into()))
                        }
                    },
                    Batch::Refused(code, message) => failed(index, code, message),
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
                if let Batch::Refused(code, message) = batch {
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

fn failed(index: i32, code: ErrorCode, message: Option<Str>) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: code.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        error_message: message,
        ..PartitionProduceResponse::default()
    }
}
