//! Produce, from socket to disk and back: what is taken, what is refused, and in which order.

mod e2e_support;

use e2e_support::*;
use ringlog_engine::batch::{Attributes, BatchOptions};
use ringlog_engine::offset::Timestamp;
use uuid::Uuid;

const FLIGHTS: &[&str] = &["UA1545", "UA1714", "AA1141", "B6725", "DL461"];

#[test]
fn batches_of_every_codec_and_version_come_back_byte_for_byte() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "flights", 1, &[]);
    let mut sent = Vec::new();
    let mut end = 0;
    for version in 3..=13 {
        for codec in CODECS {
            let batch = compress_batch(codec, &batch(FLIGHTS)).expect("compresses");
            let answer = produce_at(&mut client, version, &topic, 0, &batch);
            if codec == Compression::Zstd && version < 7 {
                assert_eq!(code(answer.error_code), ErrorCode::UnsupportedCompressionType);
                continue;
            }
            assert_eq!(code(answer.error_code), ErrorCode::None, "{codec:?} at {version}");
            assert_eq!(answer.base_offset, end, "offsets follow each other");
            assert_eq!(answer.log_append_time_ms, -1);
            end += 5;
            sent.push(batch);
        }
    }
    for version in 4..=18 {
        let part = fetch_at(&mut client, version, &topic, 0, 0);
        assert_eq!(part.high_watermark, end);
        assert_eq!(part.last_stable_offset, end);
        let got = split(&records(&part));
        assert_eq!(got.len(), sent.len(), "version {version}");
        for ((got, sent), base_offset) in got.iter().zip(&sent).zip((0..).step_by(5)) {
            assert_stored(got, sent, base_offset);
        }
    }
    // The same from disk, after the tail cache is gone.
    let broker = broker.restart();
    let mut client = broker.client();
    let got = split(&fetch(&mut client, &topic, 0, 0));
    assert_eq!(got.len(), sent.len());
    for ((got, sent), base_offset) in got.iter().zip(&sent).zip((0..).step_by(5)) {
        assert_stored(got, sent, base_offset);
    }
}

#[test]
fn records_can_be_read_as_soon_as_they_are_acknowledged_at_every_level() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "levels", 1, &[]);
    for (acks, end) in [(1, 1), (-1, 2)] {
        let request = produce_request(&topic, acks, &[(0, Some(&batch(&["value"])))]);
        let answer = client.ask(&request, 9);
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        assert_eq!(end_offset(&mut client, &topic, 0), end);
    }
    let request = produce_request(&topic, 2, &[(0, Some(&batch(&["value"])))]);
    let answer = client.ask(&request, 9);
    assert_eq!(code(answer.topics[0].partitions[0].error_code), ErrorCode::InvalidRequiredAcks);
    assert_eq!(end_offset(&mut client, &topic, 0), 2);
}

#[test]
fn a_request_that_wants_no_answer_gets_none_and_its_records_are_there() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "silent", 1, &[]);
    for value in ["one", "two", "three"] {
        client.send(&produce_request(&topic, 0, &[(0, Some(&batch(&[value])))]), 9);
    }
    // `ask` sees a wrong correlation id if any of them was answered.
    let request = FetchRequest {
        min_bytes: i32::try_from(3 * batch(&["one"]).len()).expect("small"),
        ..fetch_request(&topic, &[(0, 0)])
    };
    let parts = parts(client.ask(&request, 12));
    let values: Vec<_> = values(&records(&parts[0])).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["one", "two", "three"]);
}

#[test]
fn a_refused_request_that_wants_no_answer_ends_its_connection() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "silent", 1, &[]);
    let mut other = broker.client();
    other.send(&produce_request(&topic, 0, &[(7, Some(&batch(&["lost"])))]), 9);
    assert!(other.is_closed_silently());
    assert_eq!(produce(&mut client, &topic, 0, &batch(&["kept"])), 0);
}

#[test]
fn one_request_may_write_to_many_partitions_and_each_is_answered_by_itself() {
    let broker = Broker::with(&["shards=2"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "many", 6, &[]);
    let good = batch(FLIGHTS);
    let bad = changed(&good, |batch| batch[57..61].copy_from_slice(&9_i32.to_be_bytes()));
    let batches: Vec<(i32, Option<&[u8]>)> = vec![
        (5, Some(&good)),
        (0, Some(&bad)),
        (1, Some(&good)),
        (6, Some(&good)),
        (2, Option::None),
        (3, Some(&good)),
        (-1, Some(&good)),
        (4, Some(&good)),
    ];
    let answer = client.ask(&produce_request(&topic, -1, &batches), 12).topics.remove(0);
    let outcomes: Vec<_> =
        answer.partitions.iter().map(|one| (one.index, code(one.error_code))).collect();
    use ErrorCode::{InvalidRecord, None, UnknownTopicOrPartition};
    let expected = [
        (5, None),
        (0, InvalidRecord),
        (1, None),
        (6, UnknownTopicOrPartition),
        (2, InvalidRecord),
        (3, None),
        (-1, UnknownTopicOrPartition),
        (4, None),
    ];
    assert_eq!(outcomes, expected);
    for (partition, end) in [(0, 0), (1, 5), (2, 0), (3, 5), (4, 5), (5, 5)] {
        assert_eq!(end_offset(&mut client, &topic, partition), end, "partition {partition}");
    }
}

#[test]
fn names_and_ids_that_are_not_there_are_told_apart() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = Topic { name: "nowhere".into(), id: Uuid::from_u128(77) };
    let answer = produce_at(&mut client, 12, &topic, 0, &batch(&["value"]));
    assert_eq!(code(answer.error_code), ErrorCode::UnknownTopicOrPartition);
    let answer = produce_at(&mut client, 13, &topic, 0, &batch(&["value"]));
    assert_eq!(code(answer.error_code), ErrorCode::UnknownTopicId);
    assert!(metadata(&mut client, &[], false).topics.is_empty(), "produce creates nothing");
}

/// What is wrong, the bytes, and the code that tells it.
fn bad_batches() -> Vec<(&'static str, Vec<u8>, ErrorCode)> {
    use ErrorCode::*;
    let good = batch(FLIGHTS);
    let attributes =
        |bits: i16| changed(&good, |batch| batch[21..23].copy_from_slice(&bits.to_be_bytes()));
    let count = |at: usize, value: i32| {
        changed(&good, |batch| batch[at..at + 4].copy_from_slice(&value.to_be_bytes()))
    };
    // The first record's length, delta and so on stand right after the header.
    let body = |at: usize, value: u8| changed(&good, |batch| batch[61 + at] = value);
    let mut cases = vec![
        (
            "flipped bit",
            {
                let mut b = good.clone();
                b[70] ^= 1;
                b
            },
            CorruptMessage,
        ),
        (
            "wrong checksum",
            {
                let mut b = good.clone();
                b[17] ^= 1;
                b
            },
            CorruptMessage,
        ),
        ("cut short", good[..good.len() - 1].to_vec(), CorruptMessage),
        ("only a header's beginning", good[..40].to_vec(), CorruptMessage),
        (
            "negative length",
            {
                let mut b = good.clone();
                b[8] = 0xff;
                b
            },
            CorruptMessage,
        ),
        ("magic 1", changed(&good, |b| b[16] = 1), UnsupportedForMessageFormat),
        ("magic 3", changed(&good, |b| b[16] = 3), UnsupportedForMessageFormat),
        ("two batches", [good.clone(), good.clone()].concat(), InvalidRecord),
        ("a byte after the batch", [good.clone(), vec![0]].concat(), InvalidRecord),
        ("more records stated", count(57, 6), InvalidRecord),
        ("fewer records stated", count(57, 4), InvalidRecord),
        ("no records stated", count(57, 0), InvalidRecord),
        ("2^31-1 records stated", count(57, i32::MAX), InvalidRecord),
        ("wrong last offset delta", count(23, 5), InvalidRecord),
        ("negative last offset delta", count(23, -1), InvalidRecord),
        ("codec 5", attributes(5), UnsupportedCompressionType),
        ("append time claimed", attributes(1 << 3), InvalidTimestamp),
        ("control batch", attributes(1 << 5), InvalidRecord),
        ("undefined attribute", attributes(1 << 9), InvalidRecord),
        ("gzip that is none", attributes(1), InvalidRecord),
        ("snappy that is none", attributes(2), InvalidRecord),
        ("lz4 that is none", attributes(3), InvalidRecord),
        ("zstd that is none", attributes(4), InvalidRecord),
        ("record longer than the batch", body(0, 0x7e), InvalidRecord),
        ("record of negative length", body(0, 1), InvalidRecord),
        ("wrong offset delta", body(3, 2), InvalidRecord),
        ("key length beyond the record", body(4, 0x7e), InvalidRecord),
        ("key length below -1", body(4, 3), InvalidRecord),
        ("no records, yet a header", changed(&good, |b| b.truncate(61)), InvalidRecord),
        (
            "producer without sequence",
            changed(&good, |b| {
                b[43..51].copy_from_slice(&9_i64.to_be_bytes());
                b[51..53].copy_from_slice(&0_i16.to_be_bytes());
            }),
            InvalidRecord,
        ),
    ];
    // The same faults inside of compressed batches.
    for codec in &CODECS[1..] {
        let compressed = |batch: &[u8]| compress_batch(*codec, batch).expect("compresses");
        cases.push(("compressed: wrong offset delta", compressed(&body(3, 2)), InvalidRecord));
        cases.push(("compressed: record too long", compressed(&body(0, 0x7e)), InvalidRecord));
        let more = changed(&good, |batch| {
            batch[23..27].copy_from_slice(&5_i32.to_be_bytes());
            batch[57..61].copy_from_slice(&6_i32.to_be_bytes());
        });
        cases.push(("compressed: more records stated", compressed(&more), InvalidRecord));
        let fewer = changed(&good, |batch| {
            batch[23..27].copy_from_slice(&3_i32.to_be_bytes());
            batch[57..61].copy_from_slice(&4_i32.to_be_bytes());
        });
        cases.push(("compressed: fewer records stated", compressed(&fewer), InvalidRecord));
        let cut = changed(&compressed(&good), |batch| batch.truncate(batch.len() - 12));
        cases.push(("compressed: cut short", cut, InvalidRecord));
    }
    cases
}

#[test]
fn whatever_is_wrong_with_a_batch_is_told_and_nothing_is_stored() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "strict", 1, &[]);
    for (what, batch, expected) in bad_batches() {
        let answer = produce_at(&mut client, 12, &topic, 0, &batch);
        assert_eq!(code(answer.error_code), expected, "{what}: {:?}", answer.error_message);
        assert!(answer.error_message.is_some_and(|text| !text.is_empty()), "{what}");
        assert_eq!((answer.base_offset, answer.log_append_time_ms), (-1, -1), "{what}");
    }
    assert_eq!(end_offset(&mut client, &topic, 0), 0);
    assert_eq!(produce(&mut client, &topic, 0, &batch(FLIGHTS)), 0, "and others are served on");
}

#[test]
fn null_and_empty_records_are_refused() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "empty", 1, &[]);
    for records in [None, Some(&[][..])] {
        let answer = client.ask(&produce_request(&topic, -1, &[(0, records)]), 9);
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(code(partition.error_code), ErrorCode::InvalidRecord, "{records:?}");
    }
}

#[test]
fn transactional_batches_are_refused_because_nothing_here_commits_them() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "transactions", 1, &[]);
    let options = BatchOptions {
        attributes: Attributes::default().with_transactional(true),
        ..BatchOptions::default()
    };
    let transactional = keyed(options, &[(None, "value")]);
    assert_eq!(refused(&mut client, &topic, 0, &transactional), ErrorCode::InvalidTxnState);
    let mut request = produce_request(&topic, -1, &[(0, Some(&batch(&["value"])))]);
    request.transactional_id = Some("bank".into());
    let answer = client.ask(&request, 9);
    assert_ne!(answer.topics[0].partitions[0].error_code, 0);
    assert_eq!(end_offset(&mut client, &topic, 0), 0);
}

#[test]
fn a_batch_of_a_megabyte_goes_through_and_a_larger_one_than_allowed_does_not() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "large", 1, &[]);
    let batch = large(1_000_000);
    assert_eq!(produce(&mut client, &topic, 0, &batch), 0);
    assert_stored(&fetch(&mut client, &topic, 0, 0), &batch, 0);
    let limit = 1_048_588;
    let exact = large(limit - (large(1_000_000).len() - 1_000_000));
    assert_eq!(exact.len(), limit);
    assert_eq!(produce(&mut client, &topic, 0, &exact), 1);
    let above = large(limit);
    assert_eq!(refused(&mut client, &topic, 0, &above), ErrorCode::MessageTooLarge);
    let small = create_topic(&mut client, "small", 1, &[("max.message.bytes", "200")]);
    assert_eq!(refused(&mut client, &small, 0, &large(200)), ErrorCode::MessageTooLarge);
    assert_eq!(produce(&mut client, &small, 0, &large(100)), 0);
}

#[test]
fn a_topic_may_be_set_to_the_brokers_largest_batch() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "huge", 1, &[("max.message.bytes", "20971520")]);
    let batch = large(16 << 20);
    assert_eq!(produce(&mut client, &topic, 0, &batch), 0);
    assert_stored(&fetch(&mut client, &topic, 0, 0), &batch, 0);
    let broker = broker.restart();
    assert_stored(&fetch(&mut broker.client(), &topic, 0, 0), &batch, 0);
}

#[test]
fn timestamps_far_in_the_future_are_refused_whatever_the_codec() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "future", 1, &[]);
    let future = batch_at(&[BASE_MS, 32_503_680_000_000]);
    for codec in CODECS {
        let future = compress_batch(codec, &future).expect("compresses");
        assert_eq!(refused(&mut client, &topic, 0, &future), ErrorCode::InvalidTimestamp);
    }
    let old = create_topic(&mut client, "old", 1, &[("message.timestamp.before.max.ms", "1000")]);
    assert_eq!(refused(&mut client, &old, 0, &batch(&["old"])), ErrorCode::InvalidTimestamp);
    assert_eq!(produce(&mut client, &topic, 0, &batch_at(&[-1])), 0, "no timestamp is allowed");
}

#[test]
fn a_topic_with_append_time_stamps_every_batch() {
    let broker = Broker::start();
    let mut client = broker.client();
    let configs = [("message.timestamp.type", "LogAppendTime")];
    let topic = create_topic(&mut client, "stamped", 1, &configs);
    for codec in CODECS {
        let batch = compress_batch(codec, &batch_at(&[BASE_MS, i64::MAX / 2])).expect("compresses");
        let answer = produce_at(&mut client, 9, &topic, 0, &batch);
        assert_eq!(code(answer.error_code), ErrorCode::None);
        assert!(answer.log_append_time_ms > BASE_MS);
        // `split` checks the new checksum.
        let stored = split(&fetch(&mut client, &topic, 0, answer.base_offset)).remove(0);
        let header = header(&stored);
        assert!(header.attributes.is_append_time());
        assert_eq!(header.attributes.compression(), Ok(codec));
        assert_eq!(header.max_timestamp, Timestamp::from_millis(answer.log_append_time_ms));
        assert!(stored[61..] == batch[61..], "the records stay as they came");
    }
}

#[test]
fn a_compacted_topic_takes_no_record_without_key() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "compacted", 1, &[("cleanup.policy", "compact")]);
    let mixed = keyed(BatchOptions::default(), &[(Some("key"), "value"), (None, "value")]);
    for codec in CODECS {
        let mixed = compress_batch(codec, &mixed).expect("compresses");
        assert_eq!(refused(&mut client, &topic, 0, &mixed), ErrorCode::InvalidRecord);
    }
    let keys = keyed(BatchOptions::default(), &[(Some("key"), "value")]);
    assert_eq!(produce(&mut client, &topic, 0, &keys), 0);
}

#[test]
fn the_record_that_made_a_batch_refused_is_named() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "compacted", 1, &[("cleanup.policy", "compact")]);
    let mixed = keyed(BatchOptions::default(), &[(Some("key"), "value"), (None, "value")]);
    let answer = produce_at(&mut client, 8, &topic, 0, &mixed);
    let named: Vec<i32> = answer.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(named, [1]);
}

#[test]
fn pipelined_requests_are_taken_and_answered_in_order() {
    let broker = Broker::with(&["shards=2"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "ordered", 4, &[]);
    let rounds = 40;
    let mut sent = Vec::new();
    for round in 0..rounds {
        let value = round.to_string();
        for partition in 0..4 {
            let request = produce_request(&topic, -1, &[(partition, Some(&batch(&[&value])))]);
            sent.push(client.send(&request, 9));
        }
        sent.push(client.send(&MetadataRequest::default(), 12));
    }
    let mut sent = sent.into_iter();
    for round in 0..rounds {
        for partition in 0..4 {
            let (id, answer) = client.receive::<ProduceRequest>(9);
            assert_eq!(Some(id), sent.next());
            let answer = &answer.topics[0].partitions[0];
            assert_eq!(
                (answer.index, answer.error_code, answer.base_offset),
                (partition, 0, round)
            );
        }
        assert_eq!(Some(client.receive::<MetadataRequest>(12).0), sent.next());
    }
    for partition in 0..4 {
        let found = read_all(&mut client, &topic, partition);
        let expected: Vec<_> = (0..rounds).map(|round| (round, round.to_string())).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn producers_at_the_same_time_get_offsets_without_gaps() {
    let broker = Broker::with(&["shards=2"]);
    let topic = create_topic(&mut broker.client(), "shared", 2, &[]);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (mut client, topic) = (broker.client(), topic.clone());
            std::thread::spawn(move || {
                (0..50)
                    .map(|round| {
                        let value = format!("{writer}-{round}");
                        let offset = produce(&mut client, &topic, round % 2, &batch(&[&value]));
                        (round % 2, offset, value)
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut told: Vec<_> =
        writers.into_iter().flat_map(|writer| writer.join().expect("no panic")).collect();
    told.sort();
    let mut client = broker.client();
    let mut stored = Vec::new();
    for partition in 0..2 {
        let found = read_all(&mut client, &topic, partition).into_iter();
        stored.extend(found.map(|(offset, value)| (partition, offset, value)));
    }
    assert_eq!(stored, told, "every value stands at the offset that its producer was told");
    assert!((0..100).eq(stored[..100].iter().map(|(_, offset, _)| *offset)));
}

#[test]
fn clients_cannot_write_to_the_brokers_own_topics() {
    let broker = Broker::start();
    let mut client = broker.client();
    metadata(&mut client, &["__consumer_offsets"], true);
    let topic = find_topic(&mut client, "__consumer_offsets");
    let batch = keyed(BatchOptions::default(), &[(Some("key"), "value")]);
    assert_eq!(refused(&mut client, &topic, 0, &batch), ErrorCode::InvalidTopicException);
}

#[test]
fn a_duplicate_is_told_the_append_time_of_the_first() {
    let broker = Broker::start();
    let mut client = broker.client();
    let configs = [("message.timestamp.type", "LogAppendTime")];
    let topic = create_topic(&mut client, "stamped", 1, &configs);
    let producer = producer_id(&mut client);
    let batch = sequenced(producer, 0, 0, 1);
    let first = produce_at(&mut client, 9, &topic, 0, &batch);
    // Until the clock has moved on, the retry would be told the same time by chance.
    let other = keyed(BatchOptions::default(), &[(None, "other")]);
    while produce_at(&mut client, 9, &topic, 0, &other).log_append_time_ms
        == first.log_append_time_ms
    {}
    let again = produce_at(&mut client, 9, &topic, 0, &batch);
    assert_eq!(code(again.error_code), ErrorCode::None);
    assert_eq!(again.base_offset, first.base_offset);
    assert_eq!(again.log_append_time_ms, first.log_append_time_ms);
}

#[test]
fn clients_that_do_not_read_do_not_keep_others_from_writing() {
    let broker = Broker::with(&[
        "shards=1",
        "socket.request.max.bytes=2097152",
        "shard.buffer.bytes=16777216",
        "shard.cache.bytes=8388608",
    ]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "unread", 1, &[]);
    let batch = large(500_000);
    let mut unread = Vec::new();
    for _ in 0..20 {
        for _ in 0..4 {
            produce(&mut client, &topic, 0, &batch);
        }
        let mut reader = broker.client();
        // More answers than the kernel holds for a client that does not take them.
        for _ in 0..40 {
            reader.send(&fetch_request(&topic, &[(0, 0)]), 12);
        }
        unread.push(reader);
    }
    assert_eq!(end_offset(&mut client, &topic, 0), 80 * i64::from(header(&batch).record_count));
}

#[test]
fn an_outcome_that_is_not_known_in_time_is_told_as_a_timeout_and_may_still_be_committed() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "late", 1, &[]);
    let mut request = produce_request(&topic, -1, &[(0, Some(&batch(&["value"])))]);
    request.timeout_ms = 0;
    let answer = client.ask(&request, 12);
    assert_eq!(code(answer.topics[0].partitions[0].error_code), ErrorCode::RequestTimedOut);
    // The next one is committed, and the first lies before it.
    assert_eq!(produce(&mut client, &topic, 0, &batch(&["next"])), 1);
}
