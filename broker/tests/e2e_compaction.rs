//! Topics with `cleanup.policy=compact`: of each key the newest record stays, in the background,
//! and no client notices anything but the space.

#![allow(clippy::unwrap_used, reason = "a test may")]
#![expect(clippy::disallowed_methods, reason = "the test waits for what runs in real time")]

mod e2e_support;

use std::collections::BTreeMap;
use std::time::Instant;

use e2e_support::*;
use ringlog_engine::batch::{BatchBuilder, BatchOptions};
use ringlog_engine::offset::Timestamp;

const KEYS: usize = 40;
const CONFIGS: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "16384"),
    ("min.cleanable.dirty.ratio", "0.01"),
];
const SETTINGS: &[&str] = &["shards=1", "log.cleaner.backoff.ms=10"];

fn key(index: usize) -> String {
    format!("key-{index}")
}

/// A batch in which every key gets a value of this round.
fn round(round: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for index in 0..KEYS {
        let (key, value) = (key(index), format!("{round}-{index}-{}", "x".repeat(50)));
        let at = Timestamp::from_millis(BASE_MS + i64::try_from(round).unwrap());
        builder.push(at, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    }
    let codec = CODECS[round % CODECS.len()];
    compress_batch(codec, &builder.finish().unwrap()).unwrap()
}

/// Every record of a partition, read as a client does: from one batch's end to the next.
fn consume(client: &mut Client, topic: &Topic) -> Vec<(i64, String)> {
    let (mut all, mut from) = (Vec::new(), 0);
    let end = end_offset(client, topic, 0);
    while from < end {
        let bytes = fetch(client, topic, 0, from);
        assert!(!bytes.is_empty(), "nothing at {from} of {end}");
        all.extend(values(&bytes).into_iter().filter(|(offset, _)| *offset >= from));
        from = header(split(&bytes).last().unwrap()).last_offset() + 1;
    }
    all
}

/// Consumes again and again, until the records are as `wanted`.
fn consume_until(
    client: &mut Client,
    topic: &Topic,
    wanted: impl Fn(&[(i64, String)]) -> bool,
) -> Vec<(i64, String)> {
    let began = Instant::now();
    loop {
        let all = consume(client, topic);
        if wanted(&all) {
            return all;
        }
        assert!(began.elapsed() < PATIENCE, "{} records are there still", all.len());
    }
}

#[test]
fn of_each_key_the_newest_record_stays_at_its_offset_in_every_codec() {
    let broker = Broker::with(SETTINGS);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "table", 1, CONFIGS);
    let rounds = 60;
    let mut sent = BTreeMap::new();
    for number in 0..rounds {
        let base = produce(&mut client, &topic, 0, &round(number));
        for (offset, index) in (base..).zip(0..KEYS) {
            sent.insert(offset, format!("{number}-{index}-{}", "x".repeat(50)));
        }
    }
    // What lies in the active segment is not compacted: some rounds at most. By time: the first
    // round is gone, and so is the second; the one asked for is the first left. Compaction may go
    // on between two looks, and then they are taken again.
    let began = Instant::now();
    let (all, found) = loop {
        let all = consume_until(&mut client, &topic, |all| all.len() < 20 * KEYS);
        let found = list_offset(&mut client, 7, &topic, 0, BASE_MS);
        if consume(&mut client, &topic) == all {
            break (all, found);
        }
        assert!(began.elapsed() < PATIENCE, "compaction never rests");
    };
    for (offset, value) in &all {
        assert_eq!(Some(value), sent.get(offset), "at {offset}");
    }
    let last = sent.len() - KEYS;
    let newest: Vec<_> = sent.into_iter().skip(last).collect();
    assert_eq!(all[all.len() - KEYS..], newest);

    let (first, _) = all[0];
    assert_eq!(code(found.error_code), ErrorCode::None);
    assert_eq!(found.offset, first);
    assert!(found.timestamp > BASE_MS);

    // A restart opens what compaction has left, and it goes on.
    let broker = broker.restart();
    let mut client = broker.client();
    let topic = find_topic(&mut client, "table");
    let after = consume(&mut client, &topic);
    assert!(after.iter().all(|record| all.contains(record)), "what was gone is back");
    assert_eq!(after[after.len() - KEYS..], newest);
    let base = produce(&mut client, &topic, 0, &round(rounds));
    assert_eq!(base, i64::try_from(rounds * KEYS).unwrap());
}

#[test]
fn without_a_cleaner_every_record_stays() {
    let broker = Broker::with(&["shards=1", "log.cleaner.enable=false"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "table", 1, CONFIGS);
    for number in 0..30 {
        produce(&mut client, &topic, 0, &round(number));
    }
    let broker = broker.restart();
    let mut client = broker.client();
    let topic = find_topic(&mut client, "table");
    assert_eq!(consume(&mut client, &topic).len(), 30 * KEYS);
}

#[test]
fn a_deleted_key_goes_with_its_tombstone_and_a_producer_goes_on_where_it_was() {
    let broker = Broker::with(SETTINGS);
    let mut client = broker.client();
    let mut configs = CONFIGS.to_vec();
    configs.push(("delete.retention.ms", "0"));
    let topic = create_topic(&mut client, "table", 1, &configs);
    let id = producer_id(&mut client);
    produce(&mut client, &topic, 0, &sequenced(id, 0, 0, 2));
    let mut tombstone = BatchBuilder::new(BatchOptions::default());
    tombstone.push(Timestamp::from_millis(BASE_MS), Some(b"key"), None, &[]);
    let deleted = produce(&mut client, &topic, 0, &tombstone.finish().unwrap());
    assert_eq!(deleted, 2);
    // Two compactions see the tombstone: one to mark it, one to remove it.
    let began = Instant::now();
    for number in 0.. {
        produce(&mut client, &topic, 0, &round(number));
        let all = consume(&mut client, &topic);
        if all.first().is_some_and(|(offset, _)| *offset > deleted) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{:?}", all.first());
    }
    let broker = broker.restart();
    let mut client = broker.client();
    let topic = find_topic(&mut client, "table");
    let next = end_offset(&mut client, &topic, 0);
    assert_eq!(produce(&mut client, &topic, 0, &sequenced(id, 0, 2, 1)), next);
    // The same batch again is known, and gets the offset it got.
    assert_eq!(produce(&mut client, &topic, 0, &sequenced(id, 0, 2, 1)), next);
}
