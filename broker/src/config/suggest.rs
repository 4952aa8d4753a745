//! Help for a key that is not known: a near spelling, or why Ringlog does not have it.

/// Kafka's keys that people have in their files and Ringlog does not have, and what to do. A name
/// that ends in `*` stands for all keys that begin so.
const WELL_KNOWN: &[(&str, &str)] = &[
    ("zookeeper.*", "not needed: there is no ZooKeeper; remove it"),
    ("process.roles", "not needed: a broker alone is its own controller; remove it"),
    ("controller.*", "not needed: a broker alone is its own controller; remove it"),
    ("num.network.threads", "each core runs one thread that does everything: see `shards`"),
    ("num.io.threads", "each core runs one thread that does everything: see `shards`"),
    ("num.recovery.threads.per.data.dir", "each shard recovers its own partitions: see `shards`"),
    ("background.threads", "each core runs one thread that does everything: see `shards`"),
    ("queued.max.requests", "bounded per connection here: `connection.queued.max.requests`"),
    ("max.connections.per.ip*", "connections are bounded in sum: see `max.connections`"),
    ("listener.security.protocol.map", "only PLAINTEXT is served; remove it"),
    ("inter.broker.*", "a broker runs alone; remove it"),
    ("security.*", "only PLAINTEXT without authentication is served"),
    ("sasl.*", "only PLAINTEXT without authentication is served"),
    ("ssl.*", "only PLAINTEXT without authentication is served"),
    ("authorizer.class.name", "only PLAINTEXT without authentication is served"),
    ("super.users", "only PLAINTEXT without authentication is served"),
    ("transaction*", "transactions are not served"),
    ("remote.log.*", "tiered storage is not served"),
    ("remote.storage.enable", "tiered storage is not served"),
    ("local.retention.*", "tiered storage is not served"),
    ("group.consumer.*", "only classic consumer groups are served"),
    ("group.coordinator.*", "group coordinators run on the shards: see `shards`"),
    ("group.share.*", "share groups are not served"),
    ("group.streams.*", "streams groups are not served"),
    ("share.*", "share groups are not served"),
    ("offsets.load.buffer.size", "read sizes are chosen by the broker; remove it"),
    ("offsets.topic.compression.codec", "offsets are stored uncompressed; remove it"),
    ("offsets.commit.*", "a commit is acknowledged when it is durable; remove it"),
    ("replica.*", "a broker runs alone, and a partition has one replica"),
    ("num.replica.*", "a broker runs alone, and a partition has one replica"),
    ("leader.*", "a broker runs alone, and a partition has one replica"),
    ("follower.*", "a broker runs alone, and a partition has one replica"),
    ("auto.leader.rebalance.enable", "a broker runs alone, and a partition has one replica"),
    ("controlled.shutdown.*", "a stop is always controlled; remove it"),
    ("broker.rack", "a broker runs alone, and a partition has one replica"),
    ("log.cleaner.threads", "each shard compacts its own partitions: see `shards`"),
    ("log.cleaner.*", "compaction chooses its own buffers and needs no such setting; remove it"),
    ("log.flush.scheduler.interval.ms", "see `log.flush.interval.ms`"),
    ("log.flush.offset.checkpoint.interval.ms", "no checkpoint is needed; remove it"),
    ("log.flush.start.offset.checkpoint.interval.ms", "no checkpoint is needed; remove it"),
    ("log.roll.jitter.*", "a segment is sealed at exactly `log.roll.ms`"),
    ("segment.jitter.ms", "a segment is sealed at exactly `segment.ms`"),
    ("log.message.format.version", "there is one message format, v2; remove it"),
    ("message.format.version", "there is one message format, v2; remove it"),
    ("log.message.downconversion.enable", "there is one message format, v2; remove it"),
    ("message.downconversion.enable", "there is one message format, v2; remove it"),
    (
        "log.message.timestamp.difference.max.ms",
        "see `log.message.timestamp.before.max.ms` and `log.message.timestamp.after.max.ms`",
    ),
    (
        "message.timestamp.difference.max.ms",
        "see `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`",
    ),
    ("compression.gzip.level", "batches are stored as they came, never compressed again"),
    ("compression.lz4.level", "batches are stored as they came, never compressed again"),
    ("compression.zstd.level", "batches are stored as they came, never compressed again"),
    ("host.name", "see `listeners`"),
    ("port", "see `listeners`"),
    ("advertised.host.name", "see `advertised.listeners`"),
    ("advertised.port", "see `advertised.listeners`"),
    ("metric*", "metrics reporters are Java classes; remove it"),
    ("kafka.metrics.*", "metrics reporters are Java classes; remove it"),
    ("max.incremental.fetch.session.cache.slots", "fetches are answered without sessions"),
];

/// Why a key of Kafka's is not one of Ringlog's, and what to do instead.
pub(super) fn hint(key: &str) -> Option<&'static str> {
    let applies = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == pattern,
    };
    WELL_KNOWN.iter().find(|(pattern, _)| applies(pattern)).map(|&(_, hint)| hint)
}

/// The known name nearest to `name`, if one is near enough to be meant: at most two slips, or one
/// in five letters of a long name. The first of equally near ones.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 5).max(2);
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// How many insertions, deletions and exchanges of a letter lie between two names, without regard
/// to case and to which mark separates the words.
fn distance(left: &str, right: &str) -> usize {
    let normal = |name: &str| -> Vec<char> {
        let lower = name.chars().take(128).flat_map(char::to_lowercase);
        lower.map(|letter| if matches!(letter, '_' | '-') { '.' } else { letter }).collect()
    };
    let (left, right) = (normal(left), normal(right));
    // One row of the table at a time: `row[j]` is the distance between the letters of `left` so
    // far and the first `j` of `right`.
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(&right) {
            let exchanged = diagonal + usize::from(a != b);
            diagonal = *cell;
            before = exchanged.min(before + 1).min(*cell + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{BROKER_KEYS, TOPIC_KEYS};

    #[test]
    fn the_distance_counts_single_slips() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("log.dirs", "LOG_DIRS"), 0);
    }

    #[test]
    fn a_slip_finds_the_key_that_was_meant_and_nonsense_finds_none() {
        let names = || BROKER_KEYS.iter().map(|key| key.name);
        assert_eq!(nearest("log.retention.msec", names()), Some("log.retention.ms"));
        assert_eq!(nearest("num.partition", names()), Some("num.partitions"));
        assert_eq!(nearest("log_segment_bytes", names()), Some("log.segment.bytes"));
        assert_eq!(nearest("colour", names()), None);
    }

    #[test]
    fn no_key_of_ours_has_a_hint_that_says_we_lack_it_unless_it_is_a_whole_group() {
        for name in BROKER_KEYS.iter().map(|key| key.name).chain(TOPIC_KEYS.iter().map(|k| k.name))
        {
            let exact = WELL_KNOWN.iter().any(|(pattern, _)| *pattern == name);
            assert!(!exact, "{name} is known and called unknown");
        }
        assert!(hint("zookeeper.connect").is_some());
        assert!(hint("transaction.state.log.replication.factor").is_some());
        assert!(hint("colour").is_none());
    }
}
