//! The metadata image: what records make of it, and what they cannot make of it.

use std::sync::Arc;

use ringlog_broker::metadata::{
    ApplyError, BrokerId, BrokerRegistrationRecord, ConfigRecord, MetadataImage, MetadataRecord,
    PartitionId, PartitionRecord, ProducerIdsRecord, RemoveTopicRecord, TopicId, TopicRecord,
};
use ringlog_engine::epoch::LeaderEpoch;
use uuid::Uuid;

fn id(number: u128) -> TopicId {
    TopicId::new(Uuid::from_u128(number + 100)).expect("not reserved")
}

fn topic(name: &str, number: u128) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id: id(number) })
}

fn remove(number: u128) -> MetadataRecord {
    MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: id(number) })
}

fn partition(number: u128, index: i32, epochs: (i32, i32)) -> PartitionRecord {
    PartitionRecord {
        topic_id: id(number),
        partition: PartitionId(index),
        leader: Some(BrokerId(1)),
        leader_epoch: LeaderEpoch::new(epochs.0),
        partition_epoch: epochs.1,
        replicas: [BrokerId(1)].into(),
        isr: [BrokerId(1)].into(),
    }
}

fn config(number: u128, key: &str, value: Option<&str>) -> MetadataRecord {
    let value = value.map(Into::into);
    MetadataRecord::Config(ConfigRecord { topic_id: id(number), key: key.into(), value })
}

fn image(records: &[MetadataRecord]) -> MetadataImage {
    MetadataImage::default().apply_all(records).expect("records that fit")
}

#[test]
fn a_topic_is_found_by_name_and_by_id_until_it_is_removed() {
    let records = [
        topic("a", 1),
        MetadataRecord::Partition(partition(1, 0, (0, 0))),
        MetadataRecord::Partition(partition(1, 1, (0, 0))),
        config(1, "retention.ms", Some("5")),
    ];
    let image = image(&records);
    let found = image.topic("a").expect("the topic");
    assert!(Arc::ptr_eq(found, image.topic_by_id(id(1)).expect("the topic")));
    assert_eq!(found.partition_count(), 2);
    assert_eq!(found.partition(PartitionId(1)).expect("it").leader, Some(BrokerId(1)));
    assert_eq!(found.partition(PartitionId(-1)), None);
    assert_eq!(found.config.get("retention.ms").map(String::as_str), Some("5"));
    assert_eq!((image.topic_count(), image.partition_count(), image.version()), (1, 2, 4));
    let after = image.apply(&remove(1)).expect("it is there");
    assert!(after.topic("a").is_none() && after.topic_by_id(id(1)).is_none());
    assert_eq!((after.topic_count(), after.partition_count(), after.version()), (0, 0, 5));
    assert!(image.topic("a").is_some(), "an image never changes");
}

#[test]
fn a_name_can_be_given_again_and_then_means_another_topic() {
    let image = image(&[topic("a", 1), config(1, "k", Some("v")), remove(1), topic("a", 2)]);
    let found = image.topic("a").expect("the topic");
    assert_eq!(found.id, id(2));
    assert!(found.config.is_empty());
}

#[test]
fn names_and_ids_are_never_taken_twice() {
    let image = image(&[topic("a", 1)]);
    assert!(matches!(image.apply(&topic("a", 2)), Err(ApplyError::NameTaken { .. })));
    assert!(matches!(image.apply(&topic("b", 1)), Err(ApplyError::IdTaken { .. })));
    let zero = TopicRecord { name: "b".into(), topic_id: TopicId::ZERO };
    let error = image.apply(&MetadataRecord::Topic(zero));
    assert!(matches!(error, Err(ApplyError::IdTaken { .. })));
    let twice = MetadataImage::default().apply_all(&[topic("a", 1), topic("a", 2)]);
    assert!(matches!(twice, Err(ApplyError::NameTaken { .. })));
}

#[test]
fn a_batch_applies_whole_or_not_at_all() {
    let image = image(&[topic("a", 1)]);
    let error = image.apply_all(&[topic("b", 2), remove(1), remove(3)]).expect_err("no topic 3");
    assert_eq!(error, ApplyError::UnknownTopic { record: "RemoveTopic", id: id(3) });
    assert!(image.topic("a").is_some() && image.topic("b").is_none());
    assert_eq!(image.version(), 1);
}

#[test]
fn partitions_come_in_order_and_their_epochs_only_grow() {
    let image = image(&[topic("a", 1), MetadataRecord::Partition(partition(1, 0, (3, 5)))]);
    let apply = |record: PartitionRecord| image.apply(&MetadataRecord::Partition(record));
    assert!(matches!(apply(partition(1, 2, (0, 0))), Err(ApplyError::PartitionGap { .. })));
    assert!(matches!(apply(partition(1, -1, (0, 0))), Err(ApplyError::PartitionGap { .. })));
    assert!(matches!(apply(partition(1, 0, (2, 6))), Err(ApplyError::EpochFell { .. })));
    assert!(matches!(apply(partition(1, 0, (3, 5))), Err(ApplyError::EpochFell { .. })));
    let grown = apply(partition(1, 0, (4, 6))).expect("both grow");
    let found = grown.topic("a").expect("the topic").partition(PartitionId(0)).expect("it");
    assert_eq!(found.leader_epoch, LeaderEpoch::new(4));
    assert_eq!(grown.partition_count(), 1);
}

#[test]
fn the_leader_is_in_the_isr_and_the_isr_among_the_replicas() {
    let image = image(&[topic("a", 1)]);
    let mut stranger = partition(1, 0, (0, 0));
    stranger.leader = Some(BrokerId(2));
    let mut outside = partition(1, 0, (0, 0));
    outside.isr = [BrokerId(1), BrokerId(2)].into();
    for record in [stranger, outside] {
        let error = image.apply(&MetadataRecord::Partition(record));
        assert!(matches!(error, Err(ApplyError::LeaderNotInIsr { .. })));
    }
    let mut leaderless = partition(1, 0, (0, 0));
    leaderless.leader = None;
    assert!(image.apply(&MetadataRecord::Partition(leaderless)).is_ok());
}

#[test]
fn producer_ids_are_never_given_back() {
    let ids = |next_producer_id| {
        MetadataRecord::ProducerIds(ProducerIdsRecord { broker_id: BrokerId(1), next_producer_id })
    };
    let image = image(&[ids(1000)]);
    let error = image.apply(&ids(999));
    assert_eq!(error, Err(ApplyError::ProducerIdsFell { known: 1000, given: 999 }));
}

#[test]
fn a_broker_that_registers_again_changes_its_address() {
    let broker = |number, port| {
        MetadataRecord::BrokerRegistration(BrokerRegistrationRecord {
            broker_id: BrokerId(number),
            host: "h".into(),
            port,
        })
    };
    let image = image(&[broker(2, 1), broker(1, 1), broker(2, 9)]);
    let ids: Vec<i32> = image.brokers().iter().map(|broker| broker.id.0).collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!(image.broker(BrokerId(2)).map(|broker| broker.port), Some(9));
    assert_eq!(image.controller(), Some(BrokerId(1)));
}

#[test]
fn a_change_of_one_topic_shares_all_others() {
    let mut records = Vec::new();
    for number in 0..500 {
        records.push(topic(&format!("topic-{number}"), number));
        records.push(MetadataRecord::Partition(partition(number, 0, (0, 0))));
    }
    let before = image(&records);
    let after = before.apply(&config(7, "retention.ms", Some("1"))).expect("it is there");
    let changed = before
        .topics()
        .filter(|topic| !Arc::ptr_eq(topic, after.topic(&topic.name).expect("still there")))
        .count();
    assert_eq!(changed, 1);
}
