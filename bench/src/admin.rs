//! The topic under test: created if it is missing, who leads its partitions, and where they begin
//! and end.
//!
//! These few requests go out at one fixed version each, which every broker from Kafka 2.1 to 4.x
//! serves.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog_broker::protocol::codec::Request;
use ringlog_broker::protocol::codec::Str;
use ringlog_broker::protocol::messages::{
    CreatableTopic, CreateTopicsRequest, DeleteTopicsRequest, ListOffsetsPartition,
    ListOffsetsRequest, ListOffsetsTopic, MetadataRequest, MetadataRequestTopic, MetadataResponse,
};
use ringlog_broker::protocol::{ErrorCode, decode_response, encode_request};

use crate::error::BenchError;

const CREATE_TOPICS_VERSION: i16 = 4;
const METADATA_VERSION: i16 = 7;
const LIST_OFFSETS_VERSION: i16 = 2;
const DELETE_TOPICS_VERSION: i16 = 3;
const CREATE_TIMEOUT_MS: i32 = 30_000;
/// How long the server may take to give every partition a leader.
const LEADERS_WAIT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Creates `topic` with `partitions` partitions unless it is there, and gives the address of the
/// leader of each of its first `partitions` partitions. Each leader knows by then that it is one:
/// Kafka tells who leads a new partition a moment before the leader itself has heard of it.
///
/// # Errors
///
/// A [`BenchError`]: the server cannot be reached or refuses, the topic has fewer partitions, or
/// some still have no leader after a minute.
pub fn prepare_topic(
    bootstrap: &str,
    topic: &str,
    partitions: u32,
) -> Result<BTreeMap<i32, String>, BenchError> {
    let mut server = Server::connect(bootstrap)?;
    let deadline = Instant::now() + LEADERS_WAIT;
    let mut asked_to_create = false;
    loop {
        let metadata = server.metadata(topic)?;
        let found = metadata.topics.first();
        let code = found.map_or(ErrorCode::UnknownTopicOrPartition.code(), |t| t.error_code);
        if code == ErrorCode::UnknownTopicOrPartition.code() && !asked_to_create {
            server.create(topic, partitions)?;
            asked_to_create = true;
            continue;
        }
        if code == 0
            && let Some(leaders) = leaders(&metadata, topic, partitions)?
            && (!asked_to_create || all_lead(topic, &leaders)?)
        {
            return Ok(leaders);
        }
        if Instant::now() >= deadline {
            let code = if code == 0 { ErrorCode::LeaderNotAvailable.code() } else { code };
            let step = "waiting for its leaders";
            return Err(BenchError::Topic { topic: topic.to_owned(), step, code });
        }
        std::thread::park_timeout(POLL_INTERVAL);
    }
}

/// Whether each of `leaders` knows that it leads its partitions.
fn all_lead(topic: &str, leaders: &BTreeMap<i32, String>) -> Result<bool, BenchError> {
    let not_yet = [
        ErrorCode::UnknownTopicOrPartition.code(),
        ErrorCode::LeaderNotAvailable.code(),
        ErrorCode::NotLeaderOrFollower.code(),
    ];
    match offsets(topic, leaders, At::End) {
        Ok(_) => Ok(true),
        Err(BenchError::Topic { code, .. }) if not_yet.contains(&code) => Ok(false),
        Err(error) => Err(error),
    }
}

/// An end of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The first offset that it still has.
    Start,
    /// The offset after its last record.
    End,
}

impl At {
    fn timestamp(self) -> i64 {
        match self {
            Self::Start => -2,
            Self::End => -1,
        }
    }
}

/// Where each of the partitions in `leaders` begins or ends.
///
/// # Errors
///
/// A [`BenchError`]: a leader cannot be reached or refuses.
pub fn offsets(
    topic: &str,
    leaders: &BTreeMap<i32, String>,
    at: At,
) -> Result<BTreeMap<i32, i64>, BenchError> {
    let mut by_leader: BTreeMap<&String, Vec<i32>> = BTreeMap::new();
    for (partition, address) in leaders {
        by_leader.entry(address).or_default().push(*partition);
    }
    let mut offsets = BTreeMap::new();
    for (address, partitions) in by_leader {
        offsets.extend(Server::connect(address)?.offsets(topic, &partitions, at)?);
    }
    Ok(offsets)
}

/// Deletes a topic.
///
/// # Errors
///
/// A [`BenchError`]: the server cannot be reached or refuses.
pub fn delete_topic(bootstrap: &str, topic: &str) -> Result<(), BenchError> {
    Server::connect(bootstrap)?.delete(topic)
}

/// The leaders' addresses; `None` while one is missing.
fn leaders(
    metadata: &MetadataResponse,
    topic: &str,
    partitions: u32,
) -> Result<Option<BTreeMap<i32, String>>, BenchError> {
    let brokers: BTreeMap<i32, String> = metadata
        .brokers
        .iter()
        .map(|broker| (broker.node_id, format!("{}:{}", broker.host, broker.port)))
        .collect();
    let Some(described) = metadata.topics.first() else { return Ok(None) };
    let asked = usize::try_from(partitions).unwrap_or(usize::MAX);
    let actual = described.partitions.len();
    if actual < asked {
        return Err(BenchError::Partitions { topic: topic.to_owned(), actual, asked: partitions });
    }
    let mut all: Vec<_> = described.partitions.iter().collect();
    all.sort_by_key(|partition| partition.partition_index);
    let leader = |leader_id| brokers.get(&leader_id).cloned();
    Ok(all
        .into_iter()
        .take(asked)
        .map(|one| leader(one.leader_id).map(|address| (one.partition_index, address)))
        .collect())
}

/// A blocking connection for a handful of requests.
#[derive(Debug)]
pub struct Server {
    address: String,
    stream: TcpStream,
    correlation_id: i32,
}

impl Server {
    /// Connects to `address`, in ten seconds at most.
    ///
    /// # Errors
    ///
    /// [`BenchError::Connect`].
    pub fn connect(address: &str) -> Result<Self, BenchError> {
        let failed = |source| BenchError::Connect { address: address.to_owned(), source };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for candidate in address.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
                    return Ok(Self { address: address.to_owned(), stream, correlation_id: 0 });
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    /// What the server says about `topic` and the brokers.
    ///
    /// # Errors
    ///
    /// A [`BenchError`] if no answer comes, or none that can be read.
    pub fn metadata(&mut self, topic: &str) -> Result<MetadataResponse, BenchError> {
        let named = MetadataRequestTopic { name: Some(Str::from(topic)), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![named]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        self.ask(&request, METADATA_VERSION)
    }

    fn create(&mut self, topic: &str, partitions: u32) -> Result<(), BenchError> {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(topic),
                num_partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
                replication_factor: -1,
                ..CreatableTopic::default()
            }],
            timeout_ms: CREATE_TIMEOUT_MS,
            ..CreateTopicsRequest::default()
        };
        let response = self.ask(&request, CREATE_TOPICS_VERSION)?;
        let code = response.topics.first().map_or(0, |topic| topic.error_code);
        // Another client may have been faster.
        if code == 0 || code == ErrorCode::TopicAlreadyExists.code() {
            return Ok(());
        }
        Err(BenchError::Topic { topic: topic.to_owned(), step: "creating it", code })
    }

    fn offsets(
        &mut self,
        topic: &str,
        partitions: &[i32],
        at: At,
    ) -> Result<Vec<(i32, i64)>, BenchError> {
        let partition = |&index: &i32| ListOffsetsPartition {
            partition_index: index,
            timestamp: at.timestamp(),
            ..ListOffsetsPartition::default()
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: Str::from(topic),
                partitions: partitions.iter().map(partition).collect(),
            }],
            ..ListOffsetsRequest::default()
        };
        let response = self.ask(&request, LIST_OFFSETS_VERSION)?;
        let found = response.topics.iter().flat_map(|topic| &topic.partitions);
        found
            .map(|one| match one.error_code {
                0 => Ok((one.partition_index, one.offset)),
                code => {
                    let step = "looking up offsets";
                    Err(BenchError::Topic { topic: topic.to_owned(), step, code })
                }
            })
            .collect()
    }

    fn delete(&mut self, topic: &str) -> Result<(), BenchError> {
        let request = DeleteTopicsRequest {
            topic_names: vec![Str::from(topic)],
            timeout_ms: CREATE_TIMEOUT_MS,
            ..DeleteTopicsRequest::default()
        };
        let response = self.ask(&request, DELETE_TOPICS_VERSION)?;
        match response.responses.first().map_or(0, |topic| topic.error_code) {
            0 => Ok(()),
            code => Err(BenchError::Topic { topic: topic.to_owned(), step: "deleting it", code }),
        }
    }

    fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, BenchError> {
        self.correlation_id += 1;
        let frame = encode_request(request, version, self.correlation_id, None)?.into_bytes();
        let answer = self
            .exchange(&frame)
            .map_err(|source| BenchError::Connect { address: self.address.clone(), source })?;
        let (_, response) = decode_response::<R>(answer, version).map_err(|source| {
            BenchError::Decode { address: self.address.clone(), source: Box::new(source) }
        })?;
        Ok(response)
    }

    fn exchange(&mut self, frame: &[u8]) -> io::Result<Bytes> {
        self.stream.write_all(frame)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let stated = i32::from_be_bytes(length);
        let length = usize::try_from(stated)
            .ok()
            .filter(|&length| length <= ANSWER_BYTES_MAX)
            .ok_or_else(|| {
                let text = format!("an answer of {stated} bytes; the limit is {ANSWER_BYTES_MAX}");
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(Bytes::from(answer))
    }
}
