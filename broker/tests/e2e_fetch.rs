//! Fetch: what a reader gets, how much of it, and when.

mod e2e_support;

use std::time::{Duration, Instant};

use e2e_support::*;
use uuid::Uuid;

#[expect(clippy::disallowed_methods, reason = "a test measures how long it waited")]
fn timed<T>(body: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    (body(), begun.elapsed())
}

#[test]
fn an_offset_inside_a_batch_brings_the_whole_batch() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "middle", 1, &[]);
    for codec in CODECS {
        let sent = compress_batch(codec, &batch(&["a", "b", "c", "d", "e"])).expect("compresses");
        let base = produce(&mut client, &topic, 0, &sent);
        for from in base..base + 5 {
            let got = split(&fetch(&mut client, &topic, 0, from));
            assert_stored(&got[0], &sent, base);
        }
    }
    // The same from disk.
    let broker = broker.restart();
    let got = split(&fetch(&mut broker.client(), &topic, 0, 13));
    assert_eq!((header(&got[0]).base_offset, got.len()), (10, 3));
}

#[test]
fn limits_are_kept_and_the_first_batch_comes_whole_above_them() {
    let broker = Broker::with(&["shards=2"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "limits", 4, &[]);
    let sent = large(10_000);
    for partition in 0..4 {
        for _ in 0..5 {
            produce(&mut client, &topic, partition, &sent);
        }
    }
    let bytes = |count: usize| i32::try_from(count * sent.len()).expect("small");
    let counts = |client: &mut Client, max_bytes, partition_max_bytes| {
        let parts_wanted = [(3, 0), (2, 0), (1, 0), (0, 0)];
        let mut request = FetchRequest { max_bytes, ..fetch_request(&topic, &parts_wanted) };
        for partition in &mut request.topics[0].partitions {
            partition.partition_max_bytes = partition_max_bytes;
        }
        let parts = parts(client.ask(&request, 12));
        let order: Vec<_> = parts.iter().map(|part| part.partition_index).collect();
        assert_eq!(order, [3, 2, 1, 0], "answered as asked");
        let mut counts: Vec<_> = parts.iter().map(|part| split(&records(part)).len()).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    };
    assert_eq!(counts(&mut client, i32::MAX, i32::MAX), [5, 5, 5, 5]);
    assert_eq!(counts(&mut client, i32::MAX, bytes(2)), [2, 2, 2, 2]);
    assert_eq!(counts(&mut client, i32::MAX, bytes(2) + 9_999), [2, 2, 2, 2]);
    assert_eq!(counts(&mut client, 1, i32::MAX), [1, 0, 0, 0], "one batch, or no reader gets on");
    assert_eq!(counts(&mut client, i32::MAX, 1)[0], 1);
    assert_eq!(counts(&mut client, 0, 0), [1, 0, 0, 0]);
    let total: usize = counts(&mut client, bytes(6), bytes(4)).iter().sum();
    assert!((4..=6).contains(&total), "{total} batches");
}

#[test]
fn a_waiting_fetch_is_answered_by_the_next_record() {
    let broker = Broker::with(&["shards=2"]);
    let mut reader = broker.client();
    let mut writer = broker.client();
    let topic = create_topic(&mut writer, "awaited", 4, &[]);
    for partition in 0..4 {
        let parts_wanted: Vec<(i32, i64)> =
            (0..4).map(|one| (one, i64::from(one < partition))).collect();
        let request = fetch_request(&topic, &parts_wanted);
        let (parts, waited) = timed(|| {
            reader.send(&request, 12);
            // By then the reader's request has had time to arrive.
            metadata(&mut writer, &["awaited"], false);
            produce(&mut writer, &topic, partition, &batch(&["at last"]));
            parts(reader.receive::<FetchRequest>(12).1)
        });
        let counts: Vec<_> = parts.iter().map(|part| split(&records(part)).len()).collect();
        let expected: Vec<_> = (0..4).map(|one| usize::from(one == partition)).collect();
        assert_eq!(counts, expected);
        assert!(waited < PATIENCE / 2, "woken by the record, not by the deadline: {waited:?}");
    }
}

#[test]
fn a_fetch_waits_for_as_many_bytes_as_it_asks_for() {
    let broker = Broker::with(&["shards=2"]);
    let mut reader = broker.client();
    let mut writer = broker.client();
    let topic = create_topic(&mut writer, "enough", 2, &[]);
    let sent = batch(&["value"]);
    let request = FetchRequest {
        min_bytes: i32::try_from(4 * sent.len()).expect("small"),
        ..fetch_request(&topic, &[(0, 0), (1, 0)])
    };
    reader.send(&request, 12);
    for partition in [0, 1, 1, 0] {
        produce(&mut writer, &topic, partition, &sent);
    }
    let parts = parts(reader.receive::<FetchRequest>(12).1);
    let counts: Vec<_> = parts.iter().map(|part| split(&records(part)).len()).collect();
    assert_eq!(counts, [2, 2]);
}

#[test]
fn a_fetch_with_too_little_to_read_is_answered_at_its_deadline() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "quiet", 1, &[]);
    produce(&mut client, &topic, 0, &batch(&["value"]));
    for (from, min_bytes, count) in [(1, 1, 0), (0, 1_000_000, 1)] {
        let request =
            FetchRequest { max_wait_ms: 300, min_bytes, ..fetch_request(&topic, &[(0, from)]) };
        let (parts, waited) = timed(|| parts(client.ask(&request, 12)));
        assert_eq!(split(&records(&parts[0])).len(), count, "what there is is given");
        assert!(waited >= Duration::from_millis(300), "{waited:?}");
        assert!(waited < PATIENCE / 2, "{waited:?}");
    }
}

#[test]
fn a_fetch_that_wants_nothing_or_waits_for_nothing_is_answered_at_once() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "nothing", 1, &[]);
    let nothing = FetchRequest { topics: Vec::new(), ..fetch_request(&topic, &[]) };
    let no_bytes = FetchRequest { min_bytes: 0, ..fetch_request(&topic, &[(0, 0)]) };
    for request in [nothing, no_bytes] {
        let (parts, waited) = timed(|| parts(client.ask(&request, 12)));
        assert!(parts.iter().all(|part| records(part).is_empty()));
        assert!(waited < PATIENCE / 2, "{waited:?}");
    }
}

#[test]
fn offsets_outside_of_the_log_are_told_at_once() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "bounds", 2, &[]);
    produce(&mut client, &topic, 0, &batch(&["a", "b"]));
    for from in [3, i64::MAX, -1, i64::MIN] {
        // The other partition would wait.
        let request = fetch_request(&topic, &[(1, 0), (0, from)]);
        let (parts, waited) = timed(|| parts(client.ask(&request, 12)));
        assert_eq!(code(parts[1].error_code), ErrorCode::OffsetOutOfRange, "offset {from}");
        assert_eq!(code(parts[0].error_code), ErrorCode::None);
        assert!(waited < PATIENCE / 2, "{waited:?}");
    }
    assert!(fetch(&mut client, &topic, 0, 2).is_empty(), "the end is not out of range");
}

#[test]
fn partitions_topics_ids_and_epochs_that_are_not_there_are_told() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "known", 1, &[]);
    let other = Topic { name: "unknown".into(), id: Uuid::from_u128(5) };
    let error = |client: &mut Client, version, topic: &Topic, partition| {
        let request = fetch_request(topic, &[(partition, 0)]);
        let parts = parts(client.ask(&request, version));
        code(parts[0].error_code)
    };
    for version in [4, 12] {
        let answer = error(&mut client, version, &other, 0);
        assert_eq!(answer, ErrorCode::UnknownTopicOrPartition);
    }
    assert_eq!(error(&mut client, 13, &other, 0), ErrorCode::UnknownTopicId);
    for partition in [1, -1] {
        let answer = error(&mut client, 13, &topic, partition);
        assert_eq!(answer, ErrorCode::UnknownTopicOrPartition);
    }
    let mut request = fetch_request(&topic, &[(0, 0)]);
    request.topics[0].partitions[0].current_leader_epoch = 1_000;
    let parts = parts(client.ask(&request, 12));
    assert_eq!(code(parts[0].error_code), ErrorCode::UnknownLeaderEpoch);
    let session = FetchRequest { session_id: 9, ..fetch_request(&topic, &[]) };
    let answer = client.ask(&session, 12);
    assert_eq!(code(answer.error_code), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn one_fetch_reads_partitions_of_every_shard_in_the_order_asked_for() {
    let broker = Broker::with(&["shards=2"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "spread", 8, &[]);
    for partition in 0..8 {
        produce(&mut client, &topic, partition, &batch(&[&format!("in {partition}")]));
    }
    // Connections may land on either shard.
    for _ in 0..4 {
        let mut client = broker.client();
        let order = [7, 0, 3, 2, 6, 1, 5, 4];
        let wanted: Vec<_> = order.iter().map(|partition| (*partition, 0)).collect();
        for version in [12, 13] {
            let parts = parts(client.ask(&fetch_request(&topic, &wanted), version));
            let found: Vec<_> = parts
                .iter()
                .map(|part| (part.partition_index, values(&records(part)).remove(0).1))
                .collect();
            let expected: Vec<_> =
                order.iter().map(|partition| (*partition, format!("in {partition}"))).collect();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn an_answer_that_is_waited_for_holds_back_the_later_ones_of_its_connection() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "patient", 1, &[]);
    let request = FetchRequest { max_wait_ms: 200, ..fetch_request(&topic, &[(0, 0)]) };
    let first = client.send(&request, 12);
    let second = client.send(&MetadataRequest::default(), 12);
    assert_eq!(client.receive::<FetchRequest>(12).0, first);
    assert_eq!(client.receive::<MetadataRequest>(12).0, second);
}

#[test]
fn both_isolation_levels_see_all_while_there_are_no_transactions() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "isolated", 1, &[]);
    let sent = batch(&["value"]);
    produce(&mut client, &topic, 0, &sent);
    let request = FetchRequest { isolation_level: 1, ..fetch_request(&topic, &[(0, 0)]) };
    let parts = parts(client.ask(&request, 12));
    assert_stored(&records(&parts[0]), &sent, 0);
    assert!(parts[0].aborted_transactions.as_ref().is_none_or(Vec::is_empty));
}

#[test]
fn old_records_are_read_across_segments() {
    let broker = Broker::with(&["shards=1", "shard.cache.bytes=0"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "rolled", 1, &[("segment.bytes", "16384")]);
    let expected: Vec<_> = (0..60).map(|at| (at, format!("{at:01000}"))).collect();
    for (_, value) in &expected {
        produce(&mut client, &topic, 0, &batch(&[value]));
    }
    let segments = std::fs::read_dir(broker.folder().partition("rolled", 0))
        .expect("a folder")
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".log"))
        .count();
    assert!(segments > 2, "{segments} segments");
    assert_eq!(read_all(&mut client, &topic, 0), expected);
    for (offset, value) in &expected {
        let found = values(&fetch(&mut client, &topic, 0, *offset));
        assert_eq!(found[0], (*offset, value.clone()));
    }
    let broker = broker.restart();
    assert_eq!(read_all(&mut broker.client(), &topic, 0), expected);
}
