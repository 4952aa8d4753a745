//! The topic configurations.

use super::TopicKey;
use crate::config::value::Kind;

const fn long(min: i64, unit: &'static str) -> Kind {
    Kind::Long { min, max: i64::MAX, unit }
}

const fn int(min: i32, unit: &'static str) -> Kind {
    Kind::Int { min, max: i32::MAX, unit }
}

const NO_RECOMPRESSION: &str =
    "batches are stored with the compression that their producer chose, never compressed again";

pub(super) const CLEANUP_POLICY: TopicKey = TopicKey::new(
    "cleanup.policy",
    "log.cleanup.policy",
    Kind::List { allowed: &["delete", "compact"] },
    "delete",
    "What becomes of old data. `delete`: segments past retention.ms or retention.bytes go. \
     `compact`: every record needs a key, and of the records of a key only the newest is kept for \
     good; nothing goes by age or size unless `delete` is in the list too. Empty: everything is \
     kept for ever.",
);
pub(super) const RETENTION_MS: TopicKey = TopicKey::new(
    "retention.ms",
    "log.retention.ms",
    long(-1, "ms"),
    "604800000",
    "How long a sealed segment is kept after its newest record's timestamp, if cleanup.policy has \
     `delete`. -1: for ever.",
);
pub(super) const RETENTION_BYTES: TopicKey = TopicKey::new(
    "retention.bytes",
    "log.retention.bytes",
    long(-1, "bytes"),
    "-1",
    "How large a partition may grow before its oldest segments go, if cleanup.policy has \
     `delete`. -1: without limit.",
);
pub(super) const SEGMENT_BYTES: TopicKey = TopicKey::new(
    "segment.bytes",
    "log.segment.bytes",
    // Kafka asks for 1 MiB; smaller segments are useful to see retention at work.
    int(16_384, "bytes"),
    "1073741824",
    "The size at which a segment is sealed and the next one begins. Retention works on whole \
     segments.",
);
pub(super) const SEGMENT_MS: TopicKey = TopicKey::new(
    "segment.ms",
    "log.roll.ms",
    long(1, "ms"),
    "604800000",
    "The age at which a segment is sealed although it is not full, so that retention can reach it.",
);
pub(super) const SEGMENT_INDEX_BYTES: TopicKey = TopicKey::new(
    "segment.index.bytes",
    "log.index.size.max.bytes",
    int(4, "bytes"),
    "10485760",
    "How large the index of a segment may grow.",
)
.kept(
    "an index is as large as its segment needs it to be (20 bytes per \
     index.interval.bytes), so that no bound is needed.",
);
pub(super) const INDEX_INTERVAL_BYTES: TopicKey = TopicKey::new(
    "index.interval.bytes",
    "log.index.interval.bytes",
    int(0, "bytes"),
    "4096",
    "How many bytes of batches lie between two entries of a segment's indexes. Smaller finds \
     offsets faster and makes larger indexes.",
);
pub(super) const FLUSH_MESSAGES: TopicKey = TopicKey::new(
    "flush.messages",
    "log.flush.interval.messages",
    long(1, "records"),
    "1",
    "How many records may be acknowledged before the disk is told to make them durable. 1, the \
     default here and the one deliberate difference from Kafka (whose default is never): every \
     record is on stable storage before it is acknowledged. Larger: an acknowledged record \
     survives the broker's crash, but a loss of power may take as many of the newest records.",
);
pub(super) const FLUSH_MS: TopicKey = TopicKey::new(
    "flush.ms",
    "log.flush.interval.ms",
    long(0, "ms"),
    "9223372036854775807",
    "How long an acknowledged record may wait before it is made durable, where flush.messages is \
     above 1. 0 is the same as flush.messages=1.",
);
pub(super) const MAX_MESSAGE_BYTES: TopicKey = TopicKey::new(
    "max.message.bytes",
    "message.max.bytes",
    // The engine's bound of a batch.
    Kind::Int { min: 0, max: 100 << 20, unit: "bytes" },
    "1048588",
    "The largest record batch that is accepted, in bytes as sent (after compression), header \
     included. A request is bounded by socket.request.max.bytes besides.",
);
pub(super) const MESSAGE_TIMESTAMP_TYPE: TopicKey = TopicKey::new(
    "message.timestamp.type",
    "log.message.timestamp.type",
    Kind::Enum { allowed: &["CreateTime", "LogAppendTime"] },
    "CreateTime",
    "Whether a record carries the time its producer gave it or the time at which the broker \
     appended it.",
);
pub(super) const MESSAGE_TIMESTAMP_BEFORE_MAX_MS: TopicKey = TopicKey::new(
    "message.timestamp.before.max.ms",
    "log.message.timestamp.before.max.ms",
    long(0, "ms"),
    "9223372036854775807",
    "How far a record's timestamp may lie before the broker's clock; older records are refused. \
     Only with message.timestamp.type=CreateTime.",
);
pub(super) const MESSAGE_TIMESTAMP_AFTER_MAX_MS: TopicKey = TopicKey::new(
    "message.timestamp.after.max.ms",
    "log.message.timestamp.after.max.ms",
    long(0, "ms"),
    "3600000",
    "How far a record's timestamp may lie after the broker's clock; later records are refused. \
     Only with message.timestamp.type=CreateTime.",
);
pub(super) const COMPRESSION_TYPE: TopicKey = TopicKey::new(
    "compression.type",
    "compression.type",
    Kind::Enum { allowed: &["producer"] },
    "producer",
    "The compression of stored batches. `producer`: as they came.",
)
.refusing(&[
    ("uncompressed", NO_RECOMPRESSION),
    ("gzip", NO_RECOMPRESSION),
    ("snappy", NO_RECOMPRESSION),
    ("lz4", NO_RECOMPRESSION),
    ("zstd", NO_RECOMPRESSION),
]);
pub(super) const MIN_INSYNC_REPLICAS: TopicKey = TopicKey::new(
    "min.insync.replicas",
    "min.insync.replicas",
    int(1, "replicas"),
    "1",
    "How many replicas must be in sync for a produce request with acks=all; with fewer it is \
     refused with NOT_ENOUGH_REPLICAS. Above 1 that is always so on a broker that runs alone.",
);
pub(super) const UNCLEAN_LEADER_ELECTION_ENABLE: TopicKey = TopicKey::new(
    "unclean.leader.election.enable",
    "unclean.leader.election.enable",
    Kind::Bool,
    "false",
    "Whether a replica that is not in sync may become leader, losing records, when no other is \
     left.",
)
.kept("a partition has one replica, so that no other can be elected.");
pub(super) const DELETE_RETENTION_MS: TopicKey = TopicKey::new(
    "delete.retention.ms",
    "log.cleaner.delete.retention.ms",
    long(0, "ms"),
    "86400000",
    "How long compaction keeps a record without value (a tombstone) from when it first sees it, \
     so that consumers learn of the deletion.",
);
pub(super) const MIN_COMPACTION_LAG_MS: TopicKey = TopicKey::new(
    "min.compaction.lag.ms",
    "log.cleaner.min.compaction.lag.ms",
    long(0, "ms"),
    "0",
    "How long a record is safe from compaction: segments with anything younger are left alone.",
);
pub(super) const MAX_COMPACTION_LAG_MS: TopicKey = TopicKey::new(
    "max.compaction.lag.ms",
    "log.cleaner.max.compaction.lag.ms",
    long(1, "ms"),
    "9223372036854775807",
    "After how long a record is compacted whatever min.cleanable.dirty.ratio says. Segments are \
     sealed at that age too, where it is below segment.ms.",
);
pub(super) const MIN_CLEANABLE_DIRTY_RATIO: TopicKey = TopicKey::new(
    "min.cleanable.dirty.ratio",
    "log.cleaner.min.cleanable.ratio",
    Kind::Double { min: 0.0, max: 1.0 },
    "0.5",
    "The share of a log's bytes that must be uncompacted before compaction begins. Lower saves \
     space and costs work.",
);
pub(super) const PREALLOCATE: TopicKey = TopicKey::new(
    "preallocate",
    "log.preallocate",
    Kind::Bool,
    "false",
    "Whether a segment's disk space is reserved when it begins.",
)
.kept("space is always reserved ahead of the writes, in steps, whatever this says.");
pub(super) const FILE_DELETE_DELAY_MS: TopicKey = TopicKey::new(
    "file.delete.delay.ms",
    "log.segment.delete.delay.ms",
    long(0, "ms"),
    "60000",
    "How long a deleted segment's file stays on disk.",
)
.kept("a file goes when its last reader is done with it, which needs no delay.");

/// Every topic configuration, by name within its subject.
pub const TOPIC_KEYS: &[TopicKey] = &[
    CLEANUP_POLICY,
    RETENTION_MS,
    RETENTION_BYTES,
    SEGMENT_BYTES,
    SEGMENT_MS,
    SEGMENT_INDEX_BYTES,
    INDEX_INTERVAL_BYTES,
    FLUSH_MESSAGES,
    FLUSH_MS,
    MAX_MESSAGE_BYTES,
    MESSAGE_TIMESTAMP_TYPE,
    MESSAGE_TIMESTAMP_BEFORE_MAX_MS,
    MESSAGE_TIMESTAMP_AFTER_MAX_MS,
    COMPRESSION_TYPE,
    MIN_INSYNC_REPLICAS,
    UNCLEAN_LEADER_ELECTION_ENABLE,
    DELETE_RETENTION_MS,
    MIN_COMPACTION_LAG_MS,
    MAX_COMPACTION_LAG_MS,
    MIN_CLEANABLE_DIRTY_RATIO,
    PREALLOCATE,
    FILE_DELETE_DELAY_MS,
];
