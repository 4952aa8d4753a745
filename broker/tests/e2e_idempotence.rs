//! Idempotent producers: what is sent twice is stored once, over restarts too.

mod e2e_support;

use e2e_support::*;

#[test]
fn every_producer_gets_an_id_of_its_own_also_after_a_restart() {
    let mut broker = Broker::with(&["shards=2"]);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut client = broker.client();
        for version in 0..=5 {
            let answer = client.ask(&InitProducerIdRequest::default(), version);
            assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
            ids.push(answer.producer_id);
        }
        broker = broker.restart();
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(ids[0] >= 0);
}

#[test]
fn a_transactional_id_gets_no_producer_id() {
    let broker = Broker::start();
    let request =
        InitProducerIdRequest { transactional_id: Some("bank".into()), ..Default::default() };
    let answer = broker.client().ask(&request, 4);
    assert_ne!(answer.error_code, 0);
    assert_eq!(answer.producer_id, -1);
}

#[test]
fn a_batch_sent_again_is_stored_once_and_told_the_same_offset() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "once", 1, &[]);
    let id = producer_id(&mut client);
    let batches: Vec<_> = (0..5).map(|at| sequenced(id, 0, at * 3, 3)).collect();
    for (batch, offset) in batches.iter().zip((0..).step_by(3)) {
        assert_eq!(produce(&mut client, &topic, 0, batch), offset);
    }
    // Each of the last five is remembered.
    for (batch, offset) in batches.iter().zip((0..).step_by(3)) {
        assert_eq!(produce(&mut client, &topic, 0, batch), offset);
    }
    assert_eq!(end_offset(&mut client, &topic, 0), 15);
    // Five in flight, sent twice over: all taken in order, each stored once.
    let more: Vec<_> = (5..10).map(|at| sequenced(id, 0, at * 3, 3)).collect();
    for batch in more.iter().chain(&more) {
        client.send(&produce_request(&topic, -1, &[(0, Some(batch))]), 9);
    }
    for offset in (15..30).step_by(3).chain((15..30).step_by(3)) {
        let (_, answer) = client.receive::<ProduceRequest>(9);
        let answer = &answer.topics[0].partitions[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
    assert_eq!(end_offset(&mut client, &topic, 0), 30);
}

#[test]
fn gaps_and_old_epochs_are_refused() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "gaps", 1, &[]);
    let id = producer_id(&mut client);
    produce(&mut client, &topic, 0, &sequenced(id, 0, 0, 2));
    let gap = sequenced(id, 0, 3, 1);
    assert_eq!(refused(&mut client, &topic, 0, &gap), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(produce(&mut client, &topic, 0, &sequenced(id, 0, 2, 1)), 2);
    let late_start = sequenced(id, 1, 3, 1);
    assert_eq!(refused(&mut client, &topic, 0, &late_start), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(produce(&mut client, &topic, 0, &sequenced(id, 1, 0, 1)), 3);
    let stale = sequenced(id, 0, 3, 1);
    assert_eq!(refused(&mut client, &topic, 0, &stale), ErrorCode::InvalidProducerEpoch);
    assert_eq!(end_offset(&mut client, &topic, 0), 4);
}

#[test]
fn sequences_go_on_after_a_clean_restart() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "restarted", 1, &[]);
    let id = producer_id(&mut client);
    produce(&mut client, &topic, 0, &sequenced(id, 0, 0, 2));
    produce(&mut client, &topic, 0, &sequenced(id, 0, 2, 2));
    let broker = broker.restart();
    check_after_restart(&mut broker.client(), &topic, id);
}

#[test]
fn sequences_go_on_after_a_kill() {
    let broker = Process::start(&Folder::new(), &["shards=1"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "killed", 1, &[]);
    let id = producer_id(&mut client);
    produce(&mut client, &topic, 0, &sequenced(id, 0, 0, 2));
    produce(&mut client, &topic, 0, &sequenced(id, 0, 2, 2));
    let broker = broker.kill_and_restart();
    let mut client = broker.client();
    check_after_restart(&mut client, &topic, id);
    assert_ne!(producer_id(&mut client), id);
}

fn check_after_restart(client: &mut Client, topic: &Topic, id: i64) {
    assert_eq!(produce(client, topic, 0, &sequenced(id, 0, 2, 2)), 2);
    assert_eq!(produce(client, topic, 0, &sequenced(id, 0, 0, 2)), 0);
    let gap = sequenced(id, 0, 5, 1);
    assert_eq!(refused(client, topic, 0, &gap), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(produce(client, topic, 0, &sequenced(id, 0, 4, 1)), 4);
    assert_eq!(end_offset(client, topic, 0), 5);
}
