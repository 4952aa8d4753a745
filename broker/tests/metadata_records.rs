//! Metadata records as bytes.

use proptest::prelude::*;
use ringlog_broker::metadata::{
    BrokerId, BrokerRegistrationRecord, ClusterId, ClusterRecord, ConfigRecord, MetadataRecord,
    PartitionId, PartitionRecord, ProducerIdsRecord, RecordError, RemoveTopicRecord, TopicId,
    TopicRecord,
};
use ringlog_engine::epoch::LeaderEpoch;
use uuid::Uuid;

fn topic_ids() -> impl Strategy<Value = TopicId> {
    any::<[u8; 16]>().prop_map(TopicId::from_bytes)
}

fn broker_lists() -> impl Strategy<Value = Vec<BrokerId>> {
    proptest::collection::vec((0..i32::MAX).prop_map(BrokerId), 0..5)
}

fn records() -> impl Strategy<Value = MetadataRecord> {
    prop_oneof![
        any::<u128>().prop_map(|id| MetadataRecord::Cluster(ClusterRecord {
            cluster_id: ClusterId::new(Uuid::from_u128(id))
        })),
        (any::<i32>(), ".{0,40}", any::<u16>()).prop_map(|(id, host, port)| {
            let (broker_id, host) = (BrokerId(id), host.into());
            MetadataRecord::BrokerRegistration(BrokerRegistrationRecord { broker_id, host, port })
        }),
        (".{0,249}", topic_ids()).prop_map(|(name, topic_id)| {
            MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id })
        }),
        (topic_ids(), any::<i32>(), proptest::option::of(0..i32::MAX), 0..9, any::<i32>())
            .prop_flat_map(|fixed| (Just(fixed), broker_lists(), broker_lists()))
            .prop_map(|((topic_id, partition, leader, epoch, partition_epoch), replicas, isr)| {
                MetadataRecord::Partition(PartitionRecord {
                    topic_id,
                    partition: PartitionId(partition),
                    leader: leader.map(BrokerId),
                    leader_epoch: LeaderEpoch::new(epoch),
                    partition_epoch,
                    replicas: replicas.into(),
                    isr: isr.into(),
                })
            }),
        topic_ids()
            .prop_map(|topic_id| MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id })),
        (topic_ids(), ".{0,30}", proptest::option::of(".{0,30}")).prop_map(
            |(topic_id, key, value)| {
                let (key, value) = (key.into(), value.map(Into::into));
                MetadataRecord::Config(ConfigRecord { topic_id, key, value })
            }
        ),
        (any::<i32>(), any::<i64>()).prop_map(|(broker, next_producer_id)| {
            let broker_id = BrokerId(broker);
            MetadataRecord::ProducerIds(ProducerIdsRecord { broker_id, next_producer_id })
        }),
    ]
}

proptest! {
    #[test]
    fn a_record_is_read_back_as_it_was_written(record in records()) {
        let bytes = record.encode().expect("within limits");
        prop_assert_eq!(MetadataRecord::decode(&bytes), Ok(record));
    }

    #[test]
    fn a_record_that_is_cut_or_longer_is_an_error(record in records(), cut in any::<usize>()) {
        let mut bytes = record.encode().expect("within limits");
        let cut = cut % bytes.len();
        prop_assert!(MetadataRecord::decode(&bytes[..cut]).is_err());
        bytes.push(0);
        prop_assert_eq!(MetadataRecord::decode(&bytes), Err(RecordError::Long { extra: 1 }));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = MetadataRecord::decode(&bytes);
    }
}

#[test]
fn the_bytes_of_a_topic_record_never_change() {
    let record = MetadataRecord::Topic(TopicRecord {
        name: "ab".into(),
        topic_id: TopicId::from_bytes([7; 16]),
    });
    let mut expected = vec![3, 0, 0, 2, b'a', b'b'];
    expected.extend([7; 16]);
    assert_eq!(record.encode(), Ok(expected));
}

#[test]
fn unknown_types_versions_and_resources_are_named() {
    let error = MetadataRecord::decode(&[200, 3]).expect_err("unknown");
    assert_eq!(error.to_string(), "unknown metadata record type 200 of version 3");
    let error = MetadataRecord::decode(&[3, 9]).expect_err("unknown");
    assert_eq!(error.to_string(), "metadata record Topic has version 9, and this broker knows 0");
    let error = MetadataRecord::decode(&[6, 0, 4]).expect_err("unknown");
    assert_eq!(error, RecordError::UnknownResource { resource_type: 4 });
}

#[test]
fn a_text_that_is_too_long_is_refused_with_both_lengths() {
    let name = "x".repeat(32_768).into();
    let record = MetadataRecord::Topic(TopicRecord { name, topic_id: TopicId::ZERO });
    let error = record.encode().expect_err("too long").to_string();
    assert_eq!(error, "a text of 32768 bytes is longer than the 32767 allowed");
}
