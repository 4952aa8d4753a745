//! The broker's own keys.

use super::DefaultValue::{Absent, Computed, Text};
use super::{Alias, BrokerKey, topic};
use crate::config::value::Kind;

const MS_PER_MINUTE: i64 = 60_000;
const MS_PER_HOUR: i64 = 3_600_000;

const fn int(min: i32, max: i32, unit: &'static str) -> Kind {
    Kind::Int { min, max, unit }
}

const fn long(min: i64, max: i64, unit: &'static str) -> Kind {
    Kind::Long { min, max, unit }
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> BrokerKey {
    BrokerKey::new(name, kind, Text(default), doc)
}

const LISTENERS: BrokerKey = key(
    "listeners",
    Kind::Text,
    "PLAINTEXT://127.0.0.1:9092",
    "Where the broker listens: one PLAINTEXT://HOST:PORT. An empty host is every interface, port \
     0 is a free port of the system's choice. --listen HOST:PORT is the same.",
);
const ADVERTISED_LISTENERS: BrokerKey = BrokerKey::new(
    "advertised.listeners",
    Kind::Text,
    Computed("listeners, with this machine's host name where that is every interface"),
    "What clients are told to connect to: one PLAINTEXT://HOST:PORT. Port 0 is the port that is \
     listened on.",
);
const LOG_DIRS: BrokerKey = key(
    "log.dirs",
    Kind::Text,
    "./data",
    "The folder that holds all data. One folder; it is created if it is not there. --data-dir DIR \
     is the same.",
);
const NODE_ID: BrokerKey = key(
    "node.id",
    int(0, i32::MAX, "(a number)"),
    "1",
    "The number of this broker in its cluster. It belongs to the data folder for good.",
);
const RETENTION_MS: BrokerKey = BrokerKey::default_of(&topic::RETENTION_MS);
const ROLL_MS: BrokerKey = BrokerKey::default_of(&topic::SEGMENT_MS);
const FLUSH_MESSAGES: BrokerKey = BrokerKey::default_of(&topic::FLUSH_MESSAGES);
const FLUSH_MS: BrokerKey = BrokerKey::default_of(&topic::FLUSH_MS);

/// Every broker key, by subject. An alias stands after the key it stands for, and among several
/// the earlier wins, as in Kafka.
pub const BROKER_KEYS: &[BrokerKey] = &[
    // Identity, network and threads.
    LISTENERS,
    ADVERTISED_LISTENERS,
    LOG_DIRS,
    BrokerKey {
        name: "log.dir",
        default: Absent,
        alias: Some(Alias { of: "log.dirs", scale: 1 }),
        ..LOG_DIRS
    },
    NODE_ID,
    BrokerKey {
        name: "broker.id",
        default: Absent,
        alias: Some(Alias { of: "node.id", scale: 1 }),
        ..NODE_ID
    },
    BrokerKey::new(
        "shards",
        int(1, 1024, "shards"),
        Computed("the number of cores this process may use"),
        "How many shards run: each is one thread pinned to one core with its own partitions, \
         connections, buffers and rings. --shards N is the same.",
    ),
    key(
        "shard.buffer.bytes",
        long(8 << 20, 1 << 40, "bytes"),
        "268435456",
        "The memory that one shard may use for batches: those on their way to disk, the tail \
         cache and reads. At least twice socket.request.max.bytes and 16384 bytes; when it is used \
         up, sockets are not read until buffers come back.",
    ),
    key(
        "shard.cache.bytes",
        long(0, 1 << 40, "bytes"),
        "134217728",
        "How much of shard.buffer.bytes may hold batches that are on disk already, so that \
         consumers at the tail never wait for the disk.",
    ),
    key(
        "shard.spin.us",
        long(0, 1_000_000, "microseconds"),
        "0",
        "How long a shard that has nothing to do looks for more before it sleeps, at most; while \
         what it waits for takes longer, it does not look at all. Takes the time of waking up out \
         of latencies, and keeps a core busy that is under load. 0: it sleeps at once.",
    ),
    key(
        "shard.journal.bytes",
        long(0, 1 << 40, "bytes"),
        "134217728",
        "The disk space that one shard's journal may take: small batches of all its partitions are \
         made durable there with one write, and reach their segments later. At least 2 MiB; when \
         it is full, batches wait until segments have been synced. 0: no journal, one write a \
         partition.",
    ),
    key(
        "shard.index.cache.bytes",
        long(0, 1 << 40, "bytes"),
        "16777216",
        "The memory that one shard may use for the indexes of segments that are not written to any \
         more, besides shard.buffer.bytes; one segment's may take more. What does not fit is read \
         again from its files when a consumer needs it.",
    ),
    key(
        "shard.read.ahead.bytes",
        long(0, 1 << 40, "bytes"),
        "33554432",
        "How much of shard.buffer.bytes, at most a quarter of it, may hold what consumers that \
         read from disk in order will ask for next. Further consumers wait for the disk. 0: \
         nothing is read ahead.",
    ),
    key(
        "shard.open.files.max",
        int(1, 1_000_000, "files"),
        "1024",
        "How many segments' files one shard keeps open while nobody reads them, and as many of \
         partitions while nobody writes to them. One more, and the one not used for the longest \
         is closed; it is opened again when it is needed.",
    ),
    key(
        "max.connections",
        int(1, 1_000_000, "connections"),
        "65536",
        "How many client connections the broker serves; one more is closed at once.",
    ),
    key(
        "connections.max.idle.ms",
        long(-1, i64::MAX, "ms"),
        "600000",
        "How long a connection may be silent before it is closed. -1: for ever.",
    ),
    key(
        "connection.queued.max.requests",
        int(1, 65_536, "requests"),
        "64",
        "How many requests of one connection may wait for their answers; its socket is not read \
         while there are as many.",
    ),
    key(
        "socket.request.max.bytes",
        int(1024, 1 << 30, "bytes"),
        "104857600",
        "The largest request that is read; a connection that announces a larger one is closed.",
    ),
    key(
        "socket.receive.buffer.bytes",
        int(-1, i32::MAX, "bytes"),
        "-1",
        "The kernel's receive buffer of a connection (SO_RCVBUF). -1: the kernel's own tuning.",
    ),
    key(
        "socket.send.buffer.bytes",
        int(-1, i32::MAX, "bytes"),
        "-1",
        "The kernel's send buffer of a connection (SO_SNDBUF). -1: the kernel's own tuning.",
    ),
    key(
        "fetch.max.bytes",
        int(1024, 1 << 30, "bytes"),
        "57671680",
        "The most that one fetch is answered with, whatever the client asks for; the first batch \
         is always sent whole.",
    ),
    // Topics.
    key(
        "num.partitions",
        int(1, 10_000, "partitions"),
        "1",
        "How many partitions a topic gets that is created without saying so.",
    ),
    key(
        "default.replication.factor",
        int(1, 32_767, "replicas"),
        "1",
        "How many replicas a partition gets that is created without saying so. More than there \
         are brokers makes such a creation fail.",
    ),
    key(
        "auto.create.topics.enable",
        Kind::Bool,
        "true",
        "Whether a client that asks for a topic that is not there, and allows it, gets it made.",
    ),
    key("delete.topic.enable", Kind::Bool, "true", "Whether topics can be deleted."),
    // Defaults of the topic configurations.
    BrokerKey::default_of(&topic::CLEANUP_POLICY),
    RETENTION_MS,
    BrokerKey::alias(
        "log.retention.minutes",
        &RETENTION_MS,
        long(-1, i64::MAX / MS_PER_MINUTE, "minutes"),
        MS_PER_MINUTE,
    ),
    BrokerKey::alias(
        "log.retention.hours",
        &RETENTION_MS,
        long(-1, i64::MAX / MS_PER_HOUR, "hours"),
        MS_PER_HOUR,
    ),
    BrokerKey::default_of(&topic::RETENTION_BYTES),
    BrokerKey::default_of(&topic::SEGMENT_BYTES),
    ROLL_MS,
    BrokerKey::alias(
        "log.roll.hours",
        &ROLL_MS,
        long(1, i64::MAX / MS_PER_HOUR, "hours"),
        MS_PER_HOUR,
    ),
    BrokerKey::default_of(&topic::SEGMENT_INDEX_BYTES),
    BrokerKey::default_of(&topic::INDEX_INTERVAL_BYTES),
    FLUSH_MESSAGES,
    BrokerKey::alias("flush.messages", &FLUSH_MESSAGES, FLUSH_MESSAGES.kind, 1),
    FLUSH_MS,
    BrokerKey::alias("flush.ms", &FLUSH_MS, FLUSH_MS.kind, 1),
    BrokerKey::default_of(&topic::MAX_MESSAGE_BYTES),
    BrokerKey::default_of(&topic::MESSAGE_TIMESTAMP_TYPE),
    BrokerKey::default_of(&topic::MESSAGE_TIMESTAMP_BEFORE_MAX_MS),
    BrokerKey::default_of(&topic::MESSAGE_TIMESTAMP_AFTER_MAX_MS),
    BrokerKey::default_of(&topic::COMPRESSION_TYPE),
    BrokerKey::default_of(&topic::MIN_INSYNC_REPLICAS),
    BrokerKey::default_of(&topic::UNCLEAN_LEADER_ELECTION_ENABLE),
    BrokerKey::default_of(&topic::DELETE_RETENTION_MS),
    BrokerKey::default_of(&topic::MIN_COMPACTION_LAG_MS),
    BrokerKey::default_of(&topic::MAX_COMPACTION_LAG_MS),
    BrokerKey::default_of(&topic::MIN_CLEANABLE_DIRTY_RATIO),
    BrokerKey::default_of(&topic::PREALLOCATE),
    BrokerKey::default_of(&topic::FILE_DELETE_DELAY_MS),
    // Upkeep of the logs.
    key(
        "log.retention.check.interval.ms",
        long(1, i64::MAX, "ms"),
        "300000",
        "How often the broker looks for segments to delete and to seal by age.",
    ),
    key(
        "log.cleaner.enable",
        Kind::Bool,
        "true",
        "Whether topics whose cleanup.policy has `compact` are compacted. __consumer_offsets is \
         one of them, and grows for ever without.",
    ),
    key(
        "log.cleaner.backoff.ms",
        long(1, i64::MAX, "ms"),
        "15000",
        "How long a shard that has found nothing to compact waits before it looks again.",
    ),
    key(
        "log.cleaner.dedupe.buffer.size",
        long(4096, 1 << 40, "bytes"),
        "134217728",
        "The memory for the keys of the partitions being compacted, 24 bytes a key: in equal parts \
         for the shards, each of which compacts one partition at a time. A partition with more \
         keys is compacted in several rounds. Taken as needed and given back.",
    ),
    key(
        "log.cleaner.io.max.bytes.per.second",
        Kind::Double { min: 1.0, max: f64::MAX },
        "1.7976931348623157E308",
        "How many bytes compaction may read and write in a second, in equal parts for the shards.",
    ),
    key(
        "producer.id.expiration.ms",
        int(1, i32::MAX, "ms"),
        "86400000",
        "How long a partition remembers an idempotent producer that sends nothing.",
    ),
    // Consumer groups.
    key(
        "offsets.topic.num.partitions",
        int(1, 10_000, "partitions"),
        "50",
        "How many partitions __consumer_offsets gets when it is created; fixed from then on.",
    ),
    key(
        "offsets.topic.replication.factor",
        int(1, 32_767, "replicas"),
        "1",
        "How many replicas the partitions of __consumer_offsets get when it is created.",
    ),
    key(
        "offsets.topic.segment.bytes",
        int(16_384, i32::MAX, "bytes"),
        "104857600",
        "segment.bytes of __consumer_offsets when it is created.",
    ),
    key(
        "offset.metadata.max.bytes",
        int(0, 1 << 20, "bytes"),
        "4096",
        "The longest text that a client may store with a committed offset.",
    ),
    key(
        "offsets.retention.minutes",
        int(1, i32::MAX, "minutes"),
        "10080",
        "How long committed offsets are kept after their group became empty.",
    ),
    key(
        "offsets.retention.check.interval.ms",
        long(1, i64::MAX, "ms"),
        "600000",
        "How often the broker looks for committed offsets to forget.",
    ),
    key(
        "group.initial.rebalance.delay.ms",
        int(0, i32::MAX, "ms"),
        "3000",
        "How long an empty group waits for more members after the first one before it assigns \
         partitions.",
    ),
    key(
        "group.min.session.timeout.ms",
        int(1, i32::MAX, "ms"),
        "6000",
        "The shortest session timeout that a group member may ask for.",
    ),
    key(
        "group.max.session.timeout.ms",
        int(1, i32::MAX, "ms"),
        "1800000",
        "The longest session timeout that a group member may ask for.",
    ),
    key(
        "group.max.size",
        int(1, i32::MAX, "members"),
        "2147483647",
        "How many members one group may have.",
    ),
];
