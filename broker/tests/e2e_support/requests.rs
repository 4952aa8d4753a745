//! The requests that many tests send, in one line each.

use bytes::Bytes;
use uuid::Uuid;

use super::*;

/// A topic by both of its names.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: Str,
    pub id: Uuid,
}

#[track_caller]
pub fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or_else(|| panic!("{code} is no error code"))
}

pub fn new_topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: -1,
        configs: configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: (*name).into(),
                value: Some((*value).into()),
            })
            .collect(),
        ..CreatableTopic::default()
    }
}

#[track_caller]
pub fn create_topics(
    client: &mut Client,
    topics: Vec<CreatableTopic>,
) -> Vec<CreatableTopicResult> {
    let count = topics.len();
    let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
    let results = client.ask(&request, 7).topics;
    assert_eq!(results.len(), count);
    results
}

#[track_caller]
pub fn create_topic(
    client: &mut Client,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Topic {
    let result = create_topics(client, vec![new_topic(name, partitions, configs)]).remove(0);
    assert_eq!(code(result.error_code), ErrorCode::None, "{:?}", result.error_message);
    Topic { name: name.into(), id: result.topic_id }
}

pub fn produce_request(
    topic: &Topic,
    acks: i16,
    batches: &[(i32, Option<&[u8]>)],
) -> ProduceRequest {
    let partitions = batches
        .iter()
        .map(|(index, batch)| PartitionProduceData {
            index: *index,
            records: batch.map(|batch| Records::from(Bytes::copy_from_slice(batch))),
        })
        .collect();
    ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topics: vec![TopicProduceData { name: topic.name.clone(), topic_id: topic.id, partitions }],
        ..ProduceRequest::default()
    }
}

/// Produces one batch at a version and gives the partition's answer.
#[track_caller]
pub fn produce_at(
    client: &mut Client,
    version: i16,
    topic: &Topic,
    partition: i32,
    batch: &[u8],
) -> PartitionProduceResponse {
    let request = produce_request(topic, -1, &[(partition, Some(batch))]);
    let mut answer = client.ask(&request, version).topics.remove(0);
    if version >= 13 {
        assert_eq!(answer.topic_id, topic.id);
    } else {
        assert_eq!(answer.name, topic.name);
    }
    assert_eq!(answer.partitions.len(), 1);
    assert_eq!(answer.partitions[0].index, partition);
    answer.partitions.remove(0)
}

/// Produces one batch and gives its base offset.
#[track_caller]
pub fn produce(client: &mut Client, topic: &Topic, partition: i32, batch: &[u8]) -> i64 {
    let answer = produce_at(client, 12, topic, partition, batch);
    assert_eq!(code(answer.error_code), ErrorCode::None, "{:?}", answer.error_message);
    answer.base_offset
}

/// Produces one batch that must be refused, and gives the code.
#[track_caller]
pub fn refused(client: &mut Client, topic: &Topic, partition: i32, batch: &[u8]) -> ErrorCode {
    let answer = produce_at(client, 12, topic, partition, batch);
    assert_eq!(answer.base_offset, -1);
    code(answer.error_code)
}

/// A fetch of partitions from offsets on: waits for one byte, for [`PATIENCE`] at most.
pub fn fetch_request(topic: &Topic, parts: &[(i32, i64)]) -> FetchRequest {
    let partitions = parts
        .iter()
        .map(|(partition, fetch_offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *fetch_offset,
            partition_max_bytes: i32::MAX,
            ..FetchPartition::default()
        })
        .collect();
    FetchRequest {
        max_wait_ms: i32::try_from(PATIENCE.as_millis()).expect("short"),
        min_bytes: 1,
        topics: vec![FetchTopic { topic: topic.name.clone(), topic_id: topic.id, partitions }],
        ..FetchRequest::default()
    }
}

/// The partitions of a fetch that asked for one topic.
#[track_caller]
pub fn parts(answer: FetchResponse) -> Vec<PartitionData> {
    assert_eq!(code(answer.error_code), ErrorCode::None);
    assert_eq!(answer.session_id, 0);
    answer.topics.into_iter().next().map(|topic| topic.partitions).unwrap_or_default()
}

/// The bytes of one partition's answer, which must be no error.
#[track_caller]
pub fn records(part: &PartitionData) -> Bytes {
    assert_eq!(code(part.error_code), ErrorCode::None);
    part.records.as_ref().map_or_else(Bytes::new, Records::to_bytes)
}

#[track_caller]
pub fn fetch_at(
    client: &mut Client,
    version: i16,
    topic: &Topic,
    partition: i32,
    from: i64,
) -> PartitionData {
    let request = FetchRequest { max_wait_ms: 0, ..fetch_request(topic, &[(partition, from)]) };
    let mut parts = parts(client.ask(&request, version));
    assert_eq!((parts.len(), parts[0].partition_index), (1, partition));
    parts.remove(0)
}

/// What is there from an offset on, without waiting.
#[track_caller]
pub fn fetch(client: &mut Client, topic: &Topic, partition: i32, from: i64) -> Bytes {
    records(&fetch_at(client, 12, topic, partition, from))
}

/// Every record of a partition: offset and value.
#[track_caller]
pub fn read_all(client: &mut Client, topic: &Topic, partition: i32) -> Vec<(i64, String)> {
    let mut all: Vec<(i64, String)> = Vec::new();
    loop {
        let from = all.last().map_or(0, |(offset, _)| offset + 1);
        let found = values(&fetch(client, topic, partition, from));
        if found.is_empty() {
            return all;
        }
        all.extend(found);
    }
}

/// ListOffsets for one partition: error, offset and timestamp.
pub fn list_offset(
    client: &mut Client,
    version: i16,
    topic: &Topic,
    partition: i32,
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition {
        partition_index: partition,
        timestamp,
        ..ListOffsetsPartition::default()
    };
    let topic = ListOffsetsTopic { name: topic.name.clone(), partitions: vec![partition] };
    let request =
        ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
    client.ask(&request, version).topics.remove(0).partitions.remove(0)
}

/// The offset after the last record that can be read.
pub fn end_offset(client: &mut Client, topic: &Topic, partition: i32) -> i64 {
    list_offset(client, 7, topic, partition, -1).offset
}

/// Metadata of topics by name.
pub fn metadata(client: &mut Client, names: &[&str], auto_create: bool) -> MetadataResponse {
    let named = |name: &&str| MetadataRequestTopic {
        name: Some(Str::from(*name)),
        ..MetadataRequestTopic::default()
    };
    let request = MetadataRequest {
        topics: Some(names.iter().map(named).collect()),
        allow_auto_topic_creation: auto_create,
        ..MetadataRequest::default()
    };
    client.ask(&request, 12)
}

/// A topic that is there.
#[track_caller]
pub fn find_topic(client: &mut Client, name: &str) -> Topic {
    let found = metadata(client, &[name], false).topics.remove(0);
    assert_eq!(code(found.error_code), ErrorCode::None);
    Topic { name: name.into(), id: found.topic_id }
}

/// A producer id of its own.
pub fn producer_id(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest { transaction_timeout_ms: 1, ..Default::default() };
    let answer = client.ask(&request, 4);
    assert_eq!((code(answer.error_code), answer.producer_epoch), (ErrorCode::None, 0));
    answer.producer_id
}
