//! A small blocking Kafka client for tools: one request at a time, retried where Kafka says that
//! it may work later.
//!
//! [`Client`] knows the cluster and routes: to any broker, to a partition's leader, to a group's
//! coordinator. [`admin`], [`produce`], [`fetch`] and [`group`] are requests on top of it.

pub mod admin;
pub mod assignment;
mod connection;
mod error;
pub mod fetch;
pub mod group;
pub mod partitioner;
pub mod produce;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringlog_broker::protocol::ErrorCode;
use ringlog_broker::protocol::codec::{Request, Str};
use ringlog_broker::protocol::messages::{
    FindCoordinatorRequest, MetadataRequest, MetadataRequestTopic, MetadataResponse,
};

pub use connection::Connection;
pub use error::{ClientError, check, is_retriable};

/// How long a request is tried before the client gives up.
pub const RETRY_FOR: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long a single answer may take. Above the longest time for which a broker holds a request
/// of ours back (a rebalance).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// FindCoordinator up to here asks for one group and answers for one.
const FIND_COORDINATOR_SINGLE_MAX: i16 = 3;

/// A broker's id in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerId(pub i32);

/// A client of one cluster.
#[derive(Debug)]
pub struct Client {
    bootstrap: String,
    connections: BTreeMap<String, Connection>,
    brokers: BTreeMap<BrokerId, String>,
    /// Whether any server was ever reached: then one that is gone may come back.
    reached: bool,
}

impl Client {
    /// A client that finds its cluster through `bootstrap`, `HOST:PORT`. Connects with the first
    /// request.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            connections: BTreeMap::new(),
            brokers: BTreeMap::new(),
            reached: false,
        }
    }

    /// The connection to an address, made if there is none.
    ///
    /// # Errors
    ///
    /// As [`Connection::open`].
    pub fn connection(&mut self, address: &str) -> Result<&mut Connection, ClientError> {
        if !self.connections.contains_key(address) {
            let connection = Connection::open(address, ANSWER_TIMEOUT)?;
            self.connections.insert(address.to_owned(), connection);
            self.reached = true;
        }
        Ok(self.connections.get_mut(address).expect("it was inserted when it was missing"))
    }

    /// Asks any broker.
    ///
    /// # Errors
    ///
    /// As [`Connection::ask`].
    pub fn ask<R: Request>(&mut self, request: &R) -> Result<R::Response, ClientError> {
        let address = self.bootstrap.clone();
        self.ask_at(&address, i16::MAX, request)
    }

    /// Asks the server at an address, at a version of at most `version_max`. A connection that
    /// failed is forgotten.
    ///
    /// # Errors
    ///
    /// As [`Connection::ask_up_to`].
    pub fn ask_at<R: Request>(
        &mut self,
        address: &str,
        version_max: i16,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let result = self.connection(address)?.ask_up_to(version_max, request);
        if result.is_err() {
            self.connections.remove(address);
        }
        result
    }

    /// Describes topics; `None` all of them.
    ///
    /// # Errors
    ///
    /// As [`Connection::ask`]; errors of single topics are in the answer.
    pub fn metadata(&mut self, topics: Option<&[&str]>) -> Result<MetadataResponse, ClientError> {
        let named = |name: &&str| MetadataRequestTopic {
            name: Some(Str::from(*name)),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(named).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let metadata = self.ask(&request)?;
        for broker in &metadata.brokers {
            let address = format!("{}:{}", broker.host, broker.port);
            self.brokers.insert(BrokerId(broker.node_id), address);
        }
        Ok(metadata)
    }

    /// The address of a broker that some metadata has named.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] with `BROKER_NOT_AVAILABLE`.
    pub fn broker(&self, id: BrokerId) -> Result<String, ClientError> {
        self.brokers.get(&id).cloned().ok_or_else(|| ClientError::Refused {
            what: format!("broker {}", id.0),
            code: ErrorCode::LeaderNotAvailable.code(),
            message: Some("the cluster's metadata does not name it".to_owned()),
        })
    }

    /// The partitions of a topic with their leaders' addresses. Waits for leaders, and for a topic
    /// that was just created.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] if there is no such topic.
    pub fn leaders(&mut self, topic: &str) -> Result<BTreeMap<i32, String>, ClientError> {
        self.retry(|client| client.leaders_once(topic))
    }

    fn leaders_once(&mut self, topic: &str) -> Result<BTreeMap<i32, String>, ClientError> {
        let what = || format!("topic {topic}");
        let metadata = self.metadata(Some(&[topic]))?;
        let described = metadata.topics.first().ok_or_else(|| ClientError::Missing {
            api: ringlog_broker::protocol::ApiKey::Metadata,
            what: what(),
        })?;
        check(described.error_code, None, what)?;
        let mut leaders = BTreeMap::new();
        for partition in &described.partitions {
            let what = || format!("partition {} of {topic}", partition.partition_index);
            // A replica that is offline is no trouble as long as there is a leader.
            if partition.leader_id < 0 {
                let code = ErrorCode::LeaderNotAvailable.code();
                check(code, None, what)?;
            }
            let leader = self.broker(BrokerId(partition.leader_id))?;
            leaders.insert(partition.partition_index, leader);
        }
        Ok(leaders)
    }

    /// The address of a group's coordinator. Waits while there is none yet.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] or [`ClientError::StillUnavailable`].
    pub fn coordinator(&mut self, group: &str) -> Result<String, ClientError> {
        self.retry(|client| {
            let request = FindCoordinatorRequest { key: Str::from(group), ..Default::default() };
            let address = client.bootstrap.clone();
            let found = client.ask_at(&address, FIND_COORDINATOR_SINGLE_MAX, &request)?;
            check(found.error_code, found.error_message.as_deref(), || {
                format!("coordinator of group {group}")
            })?;
            Ok(format!("{}:{}", found.host, found.port))
        })
    }

    /// Tries until it works, fails for good, or [`RETRY_FOR`] is over. A topic that is unknown is
    /// waited for only a moment: it may just have been created.
    ///
    /// # Errors
    ///
    /// What the last try said.
    pub fn retry<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        const UNKNOWN_TOPIC_FOR: Duration = Duration::from_secs(2);
        let start = Instant::now();
        loop {
            let error = match attempt(self) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let unknown = error.code() == Some(ErrorCode::UnknownTopicOrPartition);
            let allowed = if unknown { UNKNOWN_TOPIC_FOR } else { RETRY_FOR };
            // A server that was never there is said at once; one that was may be restarting.
            let hopeless = matches!(error, ClientError::Connect { .. }) && !self.reached;
            if hopeless || !error.is_retriable() {
                return Err(error);
            }
            let waited = start.elapsed();
            if waited >= allowed {
                return Err(match error {
                    ClientError::Refused { what, code, .. } if !unknown => {
                        ClientError::StillUnavailable { what, code, waited }
                    }
                    error => error,
                });
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }
}
