//! Reading records: positions by partition, one fetch per leader, batches checked and unpacked.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringlog_broker::compression::{Compression, decompress_to_vec};
use ringlog_broker::protocol::codec::Str;
use ringlog_broker::protocol::messages::{
    FetchPartition, FetchRequest, FetchTopic, ListOffsetsPartition, ListOffsetsRequest,
    ListOffsetsTopic, PartitionData,
};
use ringlog_broker::protocol::{ApiKey, ErrorCode};
use ringlog_engine::batch::{CheckedBatch, Record, RecordIter};

use super::{Client, ClientError, check};

/// Fetch up to here names topics; later versions want their ids.
const FETCH_BY_NAME_MAX: i16 = 12;
const FETCH_BYTES: i32 = 16 * 1024 * 1024;
const PARTITION_FETCH_BYTES: i32 = 1024 * 1024;
/// The most that one batch may decompress to.
const BATCH_UNPACKED_BYTES_MAX: usize = 512 * 1024 * 1024;
/// ListOffsets' word for the end of the log.
pub const LATEST: i64 = -1;
/// ListOffsets' word for the start of the log.
pub const EARLIEST: i64 = -2;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// A record as it was fetched.
#[derive(Debug, Clone, Copy)]
pub struct FetchedRecord<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds.
    pub timestamp_ms: i64,
    /// Key, value and headers.
    pub record: &'a Record<'a>,
}

/// Reads from partitions, each from a position of its own.
#[derive(Debug, Default)]
pub struct Fetcher {
    positions: BTreeMap<TopicPartition, i64>,
    /// Ends of the logs as the last fetches saw them.
    ends: BTreeMap<TopicPartition, i64>,
    leaders: BTreeMap<TopicPartition, String>,
}

impl Fetcher {
    /// The next offset to read, by partition.
    #[must_use]
    pub fn positions(&self) -> &BTreeMap<TopicPartition, i64> {
        &self.positions
    }

    /// Reads other partitions from now on.
    pub fn assign(&mut self, positions: BTreeMap<TopicPartition, i64>) {
        self.positions = positions;
        self.ends.clear();
        self.leaders.clear();
    }

    /// Whether everything that was there at the last fetch has been read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.positions.iter().all(|(partition, position)| {
            self.ends.get(partition).is_some_and(|end| position >= end)
        })
    }

    /// Fetches once from every leader, and calls `visit` for each record in turn until it says
    /// `false`; the positions move past the records visited. Waits at most about `max_wait_ms`.
    ///
    /// # Errors
    ///
    /// A [`ClientError`] that retrying did not help; positions keep what was visited.
    pub fn poll(
        &mut self,
        client: &mut Client,
        max_wait_ms: i32,
        mut visit: impl FnMut(FetchedRecord<'_>) -> bool,
    ) -> Result<(), ClientError> {
        if self.leaders.is_empty() {
            self.find_leaders(client)?;
        }
        let mut by_leader: BTreeMap<String, Vec<TopicPartition>> = BTreeMap::new();
        for (partition, address) in &self.leaders {
            by_leader.entry(address.clone()).or_default().push(partition.clone());
        }
        for (address, partitions) in by_leader {
            let request = self.request(&partitions, max_wait_ms);
            let answer = match client.ask_at(&address, FETCH_BY_NAME_MAX, &request) {
                Ok(answer) => answer,
                Err(error) if error.is_retriable() => {
                    // The leader may be gone; `leaders` waits for another, or fails.
                    self.leaders.clear();
                    self.find_leaders(client)?;
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            check(answer.error_code, None, || format!("fetching from {address}"))?;
            for topic in answer.topics {
                for data in topic.partitions {
                    let partition = data.partition_index;
                    let at = TopicPartition { topic: topic.topic.as_str().to_owned(), partition };
                    if !self.take(at, &data, &mut visit)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn request(&self, partitions: &[TopicPartition], max_wait_ms: i32) -> FetchRequest {
        let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
        for partition in partitions {
            let position = self.positions.get(partition).copied().unwrap_or(0);
            topics.entry(&partition.topic).or_default().push(FetchPartition {
                partition: partition.partition,
                fetch_offset: position,
                partition_max_bytes: PARTITION_FETCH_BYTES,
                ..FetchPartition::default()
            });
        }
        let topic = |(topic, partitions)| FetchTopic {
            topic: Str::from(topic),
            partitions,
            ..FetchTopic::default()
        };
        FetchRequest {
            max_wait_ms,
            min_bytes: 1,
            max_bytes: FETCH_BYTES,
            topics: topics.into_iter().map(topic).collect(),
            ..FetchRequest::default()
        }
    }

    /// Visits a partition's records; `false` if the visitor has had enough.
    fn take(
        &mut self,
        at: TopicPartition,
        data: &PartitionData,
        visit: &mut impl FnMut(FetchedRecord<'_>) -> bool,
    ) -> Result<bool, ClientError> {
        if super::is_retriable(data.error_code) {
            self.leaders.clear();
            return Ok(true);
        }
        let Some(position) = self.positions.get_mut(&at) else { return Ok(true) };
        check(data.error_code, None, || {
            let start = data.log_start_offset;
            let code = ErrorCode::from_code(data.error_code);
            match code {
                Some(ErrorCode::OffsetOutOfRange) => {
                    format!(
                        "offset {position} of partition {} of {} (log starts at {start})",
                        at.partition, at.topic
                    )
                }
                _ => format!("fetching partition {} of {}", at.partition, at.topic),
            }
        })?;
        self.ends.insert(at.clone(), data.high_watermark);
        let Some(records) = &data.records else { return Ok(true) };
        visit_batches(&at, &records.to_bytes(), position, visit)
    }

    fn find_leaders(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let topics: std::collections::BTreeSet<&str> =
            self.positions.keys().map(|partition| partition.topic.as_str()).collect();
        for topic in topics {
            for (partition, leader) in client.leaders(topic)? {
                let at = TopicPartition { topic: topic.to_owned(), partition };
                if self.positions.contains_key(&at) {
                    self.leaders.insert(at, leader);
                }
            }
        }
        Ok(())
    }
}

/// Visits the records of whole batches at and after `position`, and moves it. A batch that is cut
/// at the end comes again with the next fetch.
fn visit_batches(
    at: &TopicPartition,
    bytes: &Bytes,
    position: &mut i64,
    visit: &mut impl FnMut(FetchedRecord<'_>) -> bool,
) -> Result<bool, ClientError> {
    let (topic, partition) = (&at.topic, at.partition);
    let mut rest: &[u8] = bytes;
    while let Some(total) = ringlog_engine::batch::BatchHeader::read(rest)
        .and_then(|header| header.total_bytes())
        .filter(|total| *total <= rest.len())
    {
        let (bytes, after) = rest.split_at(total);
        rest = after;
        let batch = CheckedBatch::check_stored(bytes).map_err(|source| ClientError::Batch {
            topic: topic.clone(),
            partition,
            source,
        })?;
        let header = batch.header();
        let base_offset = header.base_offset;
        let next = header.last_offset() + 1;
        if next <= *position || header.attributes.is_control() {
            *position = next.max(*position);
            continue;
        }
        let unpacked;
        let body = match batch.compression() {
            Compression::None => batch.body(),
            codec => {
                let limit = BATCH_UNPACKED_BYTES_MAX;
                unpacked = decompress_to_vec(codec, batch.body(), limit).map_err(|source| {
                    ClientError::Decompress { topic: topic.clone(), partition, base_offset, source }
                })?;
                &unpacked
            }
        };
        let last = header.last_offset_delta;
        for record in RecordIter::sparse(body, batch.record_count(), last) {
            let record = record.map_err(|source| ClientError::Records {
                topic: topic.clone(),
                partition,
                base_offset,
                source,
            })?;
            let offset = base_offset + i64::from(record.offset_delta);
            if offset < *position {
                continue;
            }
            let timestamp_ms = if header.attributes.is_append_time() {
                header.max_timestamp.millis()
            } else {
                header.base_timestamp.millis().saturating_add(record.timestamp_delta)
            };
            *position = offset + 1;
            let record = &record;
            if !visit(FetchedRecord { topic, partition, offset, timestamp_ms, record }) {
                return Ok(false);
            }
        }
        *position = next;
    }
    Ok(true)
}

impl Client {
    /// The offset at a timestamp, or at [`EARLIEST`] or [`LATEST`]; `None` if no record is that
    /// late.
    ///
    /// # Errors
    ///
    /// What the leader refuses.
    pub fn offset_at(
        &mut self,
        at: &TopicPartition,
        timestamp: i64,
    ) -> Result<Option<i64>, ClientError> {
        let what = || format!("offsets of partition {} of {}", at.partition, at.topic);
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: Str::from(at.topic.as_str()),
                partitions: vec![ListOffsetsPartition {
                    partition_index: at.partition,
                    timestamp,
                    ..ListOffsetsPartition::default()
                }],
            }],
            ..ListOffsetsRequest::default()
        };
        self.retry(|client| {
            let leaders = client.leaders(&at.topic)?;
            let missing = || ClientError::Missing { api: ApiKey::ListOffsets, what: what() };
            let leader = leaders.get(&at.partition).ok_or_else(missing)?;
            let answer = client.ask_at(leader, i16::MAX, &request)?;
            let topic = answer.topics.into_iter().next();
            let partition =
                topic.and_then(|mut topic| topic.partitions.pop()).ok_or_else(missing)?;
            check(partition.error_code, None, what)?;
            Ok(Some(partition.offset).filter(|offset| *offset >= 0))
        })
    }
}
