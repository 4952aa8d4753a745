//! ListOffsets: the ends of a log, and offsets by time.

mod e2e_support;

use e2e_support::*;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

fn found(client: &mut Client, topic: &Topic, timestamp: i64) -> (i64, i64) {
    let found = list_offset(client, 10, topic, 0, timestamp);
    assert_eq!(code(found.error_code), ErrorCode::None, "timestamp {timestamp}");
    (found.offset, found.timestamp)
}

#[test]
fn an_empty_log_begins_and_ends_at_zero() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "empty", 1, &[]);
    for version in 1..=10 {
        for which in [LATEST, EARLIEST] {
            let found = list_offset(&mut client, version, &topic, 0, which);
            assert_eq!((found.error_code, found.offset, found.timestamp), (0, 0, -1));
        }
    }
    for which in [MAX_TIMESTAMP, LATEST_TIERED, 0, BASE_MS] {
        assert_eq!(found(&mut client, &topic, which), (-1, -1), "timestamp {which}");
    }
}

#[test]
fn every_special_offset_is_found_in_memory_and_on_disk() {
    let mut broker = Broker::start();
    let topic = create_topic(&mut broker.client(), "special", 1, &[]);
    let times = [[10, 40, 20], [90, 5, 60], [30, 35, 15]];
    for (batch, codec) in times.iter().zip([Compression::None, Compression::Lz4, Compression::Zstd])
    {
        let millis: Vec<i64> = batch.iter().map(|at| BASE_MS + at).collect();
        let batch = compress_batch(codec, &batch_at(&millis)).expect("compresses");
        produce(&mut broker.client(), &topic, 0, &batch);
    }
    for _ in 0..2 {
        let client = &mut broker.client();
        assert_eq!(found(client, &topic, LATEST), (9, -1));
        assert_eq!(found(client, &topic, EARLIEST), (0, -1));
        assert_eq!(found(client, &topic, EARLIEST_LOCAL), (0, -1));
        assert_eq!(found(client, &topic, MAX_TIMESTAMP), (3, BASE_MS + 90));
        assert_eq!(found(client, &topic, LATEST_TIERED), (-1, -1));
        // The first record whose time is not earlier.
        for (at, offset, time) in
            [(0, 0, 10), (10, 0, 10), (11, 1, 40), (40, 1, 40), (41, 3, 90), (90, 3, 90)]
        {
            assert_eq!(found(client, &topic, BASE_MS + at), (offset, BASE_MS + time), "{at}");
        }
        assert_eq!(found(client, &topic, BASE_MS + 91), (-1, -1));
        broker = broker.restart();
    }
}

#[test]
fn offsets_by_time_are_found_across_segments() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "rolled", 1, &[("segment.bytes", "16384")]);
    for at in 0..800 {
        produce(&mut client, &topic, 0, &batch_at(&[BASE_MS + 10 * at]));
    }
    for at in [0, 1, 9, 10, 777, 4_000, 7_990] {
        let offset = (at + 9) / 10;
        let expected = (offset, BASE_MS + 10 * offset);
        assert_eq!(found(&mut client, &topic, BASE_MS + at), expected);
    }
    assert_eq!(found(&mut client, &topic, MAX_TIMESTAMP), (799, BASE_MS + 7_990));
}

#[test]
fn what_cannot_be_asked_is_told() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "asked", 1, &[]);
    let answer = list_offset(&mut client, 10, &topic, 5, LATEST);
    assert_eq!(code(answer.error_code), ErrorCode::UnknownTopicOrPartition);
    let answer = list_offset(&mut client, 10, &topic, 0, -6);
    assert_eq!(code(answer.error_code), ErrorCode::UnsupportedVersion);
    let other = Topic { name: "other".into(), ..topic };
    let answer = list_offset(&mut client, 10, &other, 0, LATEST);
    assert_eq!(code(answer.error_code), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_header_that_lies_about_its_largest_timestamp_is_put_right() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "lies", 1, &[]);
    let honest = batch_at(&[1_000, 2_000]);
    let lie = changed(&honest, |bytes| bytes[35..43].copy_from_slice(&9_000_i64.to_be_bytes()));
    produce(&mut client, &topic, 0, &lie);
    let stored = split(&fetch(&mut client, &topic, 0, 0));
    assert_eq!(header(&stored[0]).max_timestamp.millis(), 2_000);
    assert_stored(&stored[0], &honest, 0);
}
