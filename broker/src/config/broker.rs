//! The broker's configuration in types.

use std::path::PathBuf;
use std::time::Duration;

use super::describe::{self, DescribedConfig};
use super::error::{ConfigError, ConfigErrors, Origin};
use super::keys::{DefaultValue, broker_key};
use super::listen::{Endpoint, ListenError, parse_endpoint};
use super::resolve::{Resolved, unknown_broker_key};
use super::topic::{TopicConfig, TopicDefaults};
use super::value::Value;
use crate::metadata::BrokerId;

/// What the machine gives where the configuration says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// How many cores this process may use: its affinity mask, and its share where that is less.
    pub cores: usize,
    /// The machine's own name.
    pub host_name: String,
}

impl Machine {
    /// This machine, now.
    #[must_use]
    pub fn detect() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host_name = if host_name.is_empty() { "localhost".to_owned() } else { host_name };
        Self { cores, host_name }
    }
}

/// The configuration that a broker runs with. Each field has the name of its key.
///
/// `Default` is a broker for development: 127.0.0.1:9092, data in `./data`, as many shards as
/// there are cores.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// `listeners`: where to listen.
    pub listener: Endpoint,
    /// `advertised.listeners`: what clients are told; see [`BrokerConfig::advertised_on`].
    pub advertised_listener: Endpoint,
    /// `log.dirs`: the data folder.
    pub data_dir: PathBuf,
    /// `node.id`.
    pub node_id: BrokerId,
    /// `shards`.
    pub shards: usize,
    /// `shard.buffer.bytes`, per shard.
    pub shard_buffer_bytes: usize,
    /// `shard.cache.bytes`, per shard; not above `shard_buffer_bytes`.
    pub shard_cache_bytes: usize,
    /// `shard.spin.us`, per shard; zero to sleep at once.
    pub shard_spin: Duration,
    /// `shard.journal.bytes`, per shard; 0 for no journal.
    pub shard_journal_bytes: u64,
    /// `shard.index.cache.bytes`, per shard, besides `shard_buffer_bytes`.
    pub shard_index_cache_bytes: usize,
    /// `shard.read.ahead.bytes`, per shard; a quarter of `shard_buffer_bytes` at most is used.
    pub shard_read_ahead_bytes: usize,
    /// `shard.open.files.max`, per shard.
    pub shard_open_files_max: usize,
    /// `max.connections`, for the whole broker.
    pub max_connections: usize,
    /// `connections.max.idle.ms`; `None` is for ever.
    pub connections_max_idle: Option<Duration>,
    /// `connection.queued.max.requests`, per connection.
    pub connection_queued_max_requests: usize,
    /// `socket.request.max.bytes`, without the length prefix.
    pub socket_request_max_bytes: usize,
    /// `socket.receive.buffer.bytes`; `None` is the kernel's own tuning.
    pub socket_receive_buffer_bytes: Option<usize>,
    /// `socket.send.buffer.bytes`; `None` is the kernel's own tuning.
    pub socket_send_buffer_bytes: Option<usize>,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: usize,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `log.retention.check.interval.ms`.
    pub log_retention_check_interval: Duration,
    /// `log.cleaner.enable`.
    pub log_cleaner_enable: bool,
    /// `log.cleaner.backoff.ms`.
    pub log_cleaner_backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`, for all shards together.
    pub log_cleaner_dedupe_buffer_size: usize,
    /// `log.cleaner.io.max.bytes.per.second`, for all shards together; `None` is without limit.
    pub log_cleaner_io_max_bytes_per_second: Option<u64>,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_num_partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub offsets_topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub offsets_topic_segment_bytes: u64,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// `group.initial.rebalance.delay.ms`.
    pub group_initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub group_min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`; not below the minimum.
    pub group_max_session_timeout: Duration,
    /// `group.max.size`.
    pub group_max_size: usize,
    /// What holds for topics that set nothing.
    pub topic_defaults: TopicDefaults,
    resolved: Resolved,
    machine: Machine,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self::build(Resolved::new(), Machine::detect(), Vec::new())
            .expect("the defaults of the key table go together, as a test sees")
    }
}

impl BrokerConfig {
    /// What clients are told, once it is known which port is listened on.
    #[must_use]
    pub fn advertised_on(&self, bound_port: u16) -> Endpoint {
        let mut endpoint = self.advertised_listener.clone();
        if endpoint.port == 0 {
            endpoint.port = bound_port;
        }
        endpoint
    }

    /// The largest batch that a topic's logs are to take: its `max.message.bytes`, or what can
    /// arrive at all where that is less. At least 1, and always within what a shard with
    /// `shard_buffer_bytes` can store.
    #[must_use]
    pub fn batch_bytes_max(&self, topic: &TopicConfig) -> usize {
        let asked = usize::try_from(topic.max_message_bytes).unwrap_or(usize::MAX);
        asked.clamp(1, self.socket_request_max_bytes)
    }

    /// Every broker key with its effective value, for `DescribeConfigs`.
    #[must_use]
    pub fn describe(&self) -> Vec<DescribedConfig> {
        describe::describe_broker(&self.resolved, |name| match name {
            "shards" => self.machine.cores.to_string(),
            _ => format!("PLAINTEXT://{}", default_advertised(&self.listener, &self.machine)),
        })
    }

    /// The error for a client that would alter a key of the broker: none can be altered while it
    /// runs.
    #[must_use]
    pub fn refuse_alteration(key: &str) -> ConfigError {
        match broker_key(key) {
            Some(_) => ConfigError::ReadOnly { key: key.to_owned() },
            None => unknown_broker_key(key.to_owned(), Origin::Request),
        }
    }

    pub(super) fn build(
        resolved: Resolved,
        machine: Machine,
        mut errors: Vec<ConfigError>,
    ) -> Result<Self, ConfigErrors> {
        let read = Reader { resolved: &resolved };
        let listener = read.endpoint("listeners", &mut errors);
        let advertised_listener = match resolved.get("advertised.listeners") {
            Some(_) => {
                let endpoint = read.endpoint("advertised.listeners", &mut errors);
                if endpoint.is_unspecified() {
                    let problem = ListenError::Unspecified { host: endpoint.host.clone() };
                    errors.push(read.address_error("advertised.listeners", problem));
                }
                endpoint
            }
            None => default_advertised(&listener, &machine),
        };
        let data_dir = read.data_dir(&mut errors);
        read.relations(&mut errors);
        let topic_defaults = match TopicDefaults::new(&resolved) {
            Ok(defaults) => defaults,
            Err(error) => {
                errors.push(error);
                return Err(ConfigErrors::check(errors).expect_err("one was just added"));
            }
        };
        ConfigErrors::check(errors)?;
        let small = |name: &str| i16::try_from(read.number(name)).unwrap_or(i16::MAX);
        let int = |name: &str| i32::try_from(read.number(name)).unwrap_or(i32::MAX);
        Ok(Self {
            listener,
            advertised_listener,
            data_dir,
            node_id: BrokerId(int("node.id")),
            shards: match resolved.get("shards") {
                Some(_) => read.size("shards"),
                None => machine.cores.clamp(1, 1024),
            },
            shard_buffer_bytes: read.size("shard.buffer.bytes"),
            shard_cache_bytes: read.size("shard.cache.bytes"),
            shard_spin: Duration::from_micros(read.count("shard.spin.us")),
            shard_journal_bytes: read.count("shard.journal.bytes"),
            shard_index_cache_bytes: read.size("shard.index.cache.bytes"),
            shard_read_ahead_bytes: read.size("shard.read.ahead.bytes"),
            shard_open_files_max: read.size("shard.open.files.max"),
            max_connections: read.size("max.connections"),
            connections_max_idle: read.limit("connections.max.idle.ms").map(Duration::from_millis),
            connection_queued_max_requests: read.size("connection.queued.max.requests"),
            socket_request_max_bytes: read.size("socket.request.max.bytes"),
            socket_receive_buffer_bytes: read.size_limit("socket.receive.buffer.bytes"),
            socket_send_buffer_bytes: read.size_limit("socket.send.buffer.bytes"),
            fetch_max_bytes: read.size("fetch.max.bytes"),
            num_partitions: int("num.partitions"),
            default_replication_factor: small("default.replication.factor"),
            auto_create_topics_enable: read.flag("auto.create.topics.enable"),
            delete_topic_enable: read.flag("delete.topic.enable"),
            log_retention_check_interval: read.millis("log.retention.check.interval.ms"),
            log_cleaner_enable: read.flag("log.cleaner.enable"),
            log_cleaner_backoff: read.millis("log.cleaner.backoff.ms"),
            log_cleaner_dedupe_buffer_size: read.size("log.cleaner.dedupe.buffer.size"),
            log_cleaner_io_max_bytes_per_second: read.rate("log.cleaner.io.max.bytes.per.second"),
            producer_id_expiration: read.millis("producer.id.expiration.ms"),
            offsets_topic_num_partitions: int("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: small("offsets.topic.replication.factor"),
            offsets_topic_segment_bytes: read.count("offsets.topic.segment.bytes"),
            offset_metadata_max_bytes: read.size("offset.metadata.max.bytes"),
            offsets_retention: Duration::from_secs(read.count("offsets.retention.minutes") * 60),
            offsets_retention_check_interval: read.millis("offsets.retention.check.interval.ms"),
            group_initial_rebalance_delay: read.millis("group.initial.rebalance.delay.ms"),
            group_min_session_timeout: read.millis("group.min.session.timeout.ms"),
            group_max_session_timeout: read.millis("group.max.session.timeout.ms"),
            group_max_size: read.size("group.max.size"),
            topic_defaults,
            resolved,
            machine,
        })
    }
}

fn default_advertised(listener: &Endpoint, machine: &Machine) -> Endpoint {
    if listener.is_unspecified() {
        Endpoint { host: machine.host_name.clone(), port: listener.port }
    } else {
        listener.clone()
    }
}

/// Reads checked values by name; a name or type that the table does not have is a mistake of this
/// file, which the test of the defaults would find.
struct Reader<'a> {
    resolved: &'a Resolved,
}

impl Reader<'_> {
    fn value(&self, name: &str) -> Value {
        if let Some(set) = self.resolved.get(name) {
            return set.value.clone();
        }
        let key = broker_key(name).expect("every key read here is in the table");
        let DefaultValue::Text(text) = key.default else {
            unreachable!("{name} has no plain default and is read by name")
        };
        key.parse(text).expect("a test parses every default of the table")
    }

    fn number(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Number(number) => number,
            other => unreachable!("{name} is declared a number and is {other:?}"),
        }
    }

    fn text(&self, name: &str) -> String {
        self.value(name).to_string()
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Value::Bool(true))
    }

    fn count(&self, name: &str) -> u64 {
        self.number(name).max(0).unsigned_abs()
    }

    fn limit(&self, name: &str) -> Option<u64> {
        u64::try_from(self.number(name)).ok()
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.count(name)).unwrap_or(usize::MAX)
    }

    fn size_limit(&self, name: &str) -> Option<usize> {
        usize::try_from(self.number(name)).ok()
    }

    /// A whole number of something a second; what is above all reason is no limit.
    fn rate(&self, name: &str) -> Option<u64> {
        /// Far above what any disk does, and exact in a float.
        const LIMIT: f64 = (1_u64 << 50) as f64;
        match self.value(name) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the range is checked, and part of a byte is none"
            )]
            Value::Double(rate) => (1.0..LIMIT).contains(&rate).then_some(rate as u64),
            other => unreachable!("{name} is declared decimal and is {other:?}"),
        }
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.count(name))
    }

    fn endpoint(&self, name: &'static str, errors: &mut Vec<ConfigError>) -> Endpoint {
        parse_endpoint(&self.text(name)).unwrap_or_else(|problem| {
            errors.push(self.address_error(name, problem));
            // Never used: the error ends the start.
            Endpoint { host: "127.0.0.1".to_owned(), port: 0 }
        })
    }

    fn address_error(&self, name: &'static str, problem: ListenError) -> ConfigError {
        let (value, origin) = self.given(name);
        ConfigError::InvalidAddress { key: name, value, origin, problem }
    }

    /// The text that set a key, and where. Only for keys that something sets: no default is wrong.
    fn given(&self, name: &str) -> (String, Origin) {
        let set = self.resolved.get(name).expect("a test sees that no default is wrong");
        (set.text.clone(), set.origin.clone())
    }

    fn data_dir(&self, errors: &mut Vec<ConfigError>) -> PathBuf {
        let text = self.text("log.dirs");
        let given = text.split(',').filter(|part| !part.trim().is_empty()).count();
        if given != 1 || text.contains(',') {
            let (value, origin) = self.given("log.dirs");
            errors.push(ConfigError::DataFolders { key: "log.dirs", value, origin, given });
        }
        PathBuf::from(text)
    }

    fn relations(&self, errors: &mut Vec<ConfigError>) {
        let mut require = |left: &'static str,
                           right: &'static str,
                           factor: i64,
                           more: i64,
                           rule| {
            let (left_value, right_value) = (self.number(left), self.number(right));
            if left_value < right_value.saturating_mul(factor).saturating_add(more) {
                errors.push(ConfigError::Relation { left, left_value, right, right_value, rule });
            }
        };
        require(
            "shard.buffer.bytes",
            "shard.cache.bytes",
            1,
            0,
            "the cache is part of the buffers, and must not be above them",
        );
        require(
            "shard.buffer.bytes",
            "socket.request.max.bytes",
            2,
            16_384,
            "the buffers must be at least twice the largest request and 16384 bytes, so that it \
             can be stored",
        );
        require(
            "group.max.session.timeout.ms",
            "group.min.session.timeout.ms",
            1,
            0,
            "the first must not be below the second",
        );
    }
}
