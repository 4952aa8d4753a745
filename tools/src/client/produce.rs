//! Sending records: batches by partition, in order, retried without doubles where the producer is
//! idempotent.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ringlog_broker::compression::{Compression, compress_batch};
use ringlog_broker::protocol::ApiKey;
use ringlog_broker::protocol::codec::{Records, Str};
use ringlog_broker::protocol::messages::{
    InitProducerIdRequest, PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ringlog_engine::batch::{BatchBuilder, BatchOptions, ProducerId};
use ringlog_engine::offset::Timestamp;

use super::partitioner::partition_of;
use super::{Client, ClientError, check};

/// Produce up to here names topics; later versions want their ids.
const PRODUCE_BY_NAME_MAX: i16 = 12;
const TIMEOUT_MS: i32 = 30_000;
/// A batch is sent when it has this many bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// Keyless records change partition with each batch.
const ACKS_ALL: i16 = -1;

/// How a producer sends.
#[derive(Debug, Clone, Copy)]
pub struct ProducerSettings {
    /// The codec of its batches.
    pub compression: Compression,
    /// Whether the broker drops batches that it has already, so that a retry makes no double.
    pub idempotent: bool,
    /// The partition for everything; `None` goes by the key, as Java's default partitioner does.
    pub partition: Option<i32>,
}

/// Sends records to one topic, one request at a time.
#[derive(Debug)]
pub struct Producer<'a> {
    client: &'a mut Client,
    topic: String,
    settings: ProducerSettings,
    identity: Option<(ProducerId, i16)>,
    leaders: BTreeMap<i32, String>,
    partitions: Vec<i32>,
    open: BTreeMap<i32, BatchBuilder>,
    sequences: BTreeMap<i32, i32>,
    /// Where keyless records go until its batch is sent.
    sticky: usize,
    sent: BTreeMap<i32, Sent>,
}

/// What has been acknowledged of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Sent {
    /// Records acknowledged.
    pub records: u64,
    /// The offset of the first.
    pub first_offset: i64,
    /// The offset of the last.
    pub last_offset: i64,
}

impl<'a> Producer<'a> {
    /// A producer to an existing topic.
    ///
    /// # Errors
    ///
    /// There is no such topic or partition, or the broker gives no producer id.
    pub fn open(
        client: &'a mut Client,
        topic: &str,
        settings: ProducerSettings,
    ) -> Result<Self, ClientError> {
        let leaders = client.leaders(topic)?;
        if let Some(partition) = settings.partition.filter(|p| !leaders.contains_key(p)) {
            return Err(ClientError::Missing {
                api: ApiKey::Metadata,
                what: format!("partition {partition} of {topic}, which has {}", leaders.len()),
            });
        }
        let identity = if settings.idempotent { Some(producer_id(client)?) } else { None };
        Ok(Self {
            client,
            topic: topic.to_owned(),
            settings,
            identity,
            partitions: leaders.keys().copied().collect(),
            leaders,
            open: BTreeMap::new(),
            sequences: BTreeMap::new(),
            sticky: 0,
            sent: BTreeMap::new(),
        })
    }

    /// Puts a record into its partition's batch, and sends the batch if it is full.
    ///
    /// # Errors
    ///
    /// Those of sending a batch.
    pub fn send(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), ClientError> {
        let partition = self.choose(key);
        let room = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        let full = |batch: &BatchBuilder| batch.len() + room > BATCH_BYTES;
        if self.open.get(&partition).is_some_and(full) {
            self.flush_partition(partition)?;
        }
        let options = self.options(partition);
        let batch = self.open.entry(partition).or_insert_with(|| BatchBuilder::new(options));
        batch.push(now(), key, value, &[]);
        if batch.len() >= BATCH_BYTES {
            self.flush_partition(partition)?;
        }
        Ok(())
    }

    /// Sends every open batch, and says what was acknowledged since the start, by partition.
    ///
    /// # Errors
    ///
    /// Those of sending a batch.
    pub fn flush(&mut self) -> Result<&BTreeMap<i32, Sent>, ClientError> {
        let partitions: Vec<i32> = self.open.keys().copied().collect();
        for partition in partitions {
            self.flush_partition(partition)?;
        }
        Ok(&self.sent)
    }

    fn choose(&self, key: Option<&[u8]>) -> i32 {
        let count = self.partitions.len();
        let index = match (self.settings.partition, key) {
            (Some(partition), _) => return partition,
            (None, Some(key)) => partition_of(key, count),
            (None, None) => self.sticky % count.max(1),
        };
        self.partitions.get(index).copied().unwrap_or(0)
    }

    fn options(&self, partition: i32) -> BatchOptions {
        let Some((producer_id, producer_epoch)) = self.identity else {
            return BatchOptions::default();
        };
        BatchOptions {
            producer_id,
            producer_epoch,
            base_sequence: self.sequences.get(&partition).copied().unwrap_or(0),
            ..BatchOptions::default()
        }
    }

    fn flush_partition(&mut self, partition: i32) -> Result<(), ClientError> {
        let Some(builder) = self.open.remove(&partition) else { return Ok(()) };
        let plain = builder.finish()?;
        let records = ringlog_engine::batch::BatchHeader::read(&plain)
            .map_or(0, |header| header.record_count);
        let batch = Bytes::from(compress_batch(self.settings.compression, &plain)?);
        let base_offset = self.deliver(partition, &batch)?;
        let sequence = self.sequences.entry(partition).or_insert(0);
        *sequence = sequence.wrapping_add(records) & i32::MAX;
        let last_offset = base_offset + i64::from(records) - 1;
        let sent = self.sent.entry(partition).or_insert(Sent {
            records: 0,
            first_offset: base_offset,
            last_offset,
        });
        sent.records += u64::try_from(records).unwrap_or(0);
        sent.last_offset = last_offset;
        self.sticky += 1;
        Ok(())
    }

    /// Sends one batch until it is acknowledged, to whoever leads the partition by then.
    fn deliver(&mut self, partition: i32, batch: &Bytes) -> Result<i64, ClientError> {
        let (topic, leaders) = (&self.topic, &mut self.leaders);
        let what = || format!("writing to partition {partition} of {topic}");
        let mut records = Records::default();
        records.push(batch.clone());
        let request = ProduceRequest {
            transactional_id: None,
            acks: ACKS_ALL,
            timeout_ms: TIMEOUT_MS,
            topics: vec![TopicProduceData {
                name: Str::from(topic.as_str()),
                partitions: vec![PartitionProduceData { index: partition, records: Some(records) }],
                ..TopicProduceData::default()
            }],
        };
        self.client.retry(|client| {
            if leaders.is_empty() {
                *leaders = client.leaders(topic)?;
            }
            let address = leaders.get(&partition).cloned().unwrap_or_default();
            let result =
                client.ask_at(&address, PRODUCE_BY_NAME_MAX, &request).and_then(|answer| {
                    let partition =
                        answer.topics.into_iter().next().and_then(|mut t| t.partitions.pop());
                    let answer = partition.ok_or_else(|| ClientError::Missing {
                        api: ApiKey::Produce,
                        what: what(),
                    })?;
                    check(answer.error_code, answer.error_message.as_deref(), what)?;
                    Ok(answer.base_offset)
                });
            if result.is_err() {
                // Whatever it was, the leader may have changed.
                leaders.clear();
            }
            result
        })
    }
}

fn producer_id(client: &mut Client) -> Result<(ProducerId, i16), ClientError> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    client.retry(|client| {
        let answer = client.ask(&request)?;
        check(answer.error_code, None, || "getting a producer id".to_owned())?;
        Ok((ProducerId::new(answer.producer_id), answer.producer_epoch))
    })
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
