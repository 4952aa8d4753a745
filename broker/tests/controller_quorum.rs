//! The quorum of a broker that runs alone, on the simulated disk.

use std::path::Path;

use ringlog_broker::controller::{LocalQuorum, METADATA_FOLDER, MetadataQuorum, QuorumError};
use ringlog_broker::limits::METADATA_BATCH_BYTES_MAX;
use ringlog_broker::metadata::{
    BrokerId, BrokerRegistrationRecord, MetadataImage, MetadataRecord, TopicId, TopicRecord,
};
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::shard::{Shard, ShardSettings};
use uuid::Uuid;

const DATA: &str = "/data";

async fn open(io: &SimIo) -> LocalQuorum<SimIo> {
    let shard = Shard::new(io.clone(), ShardSettings::default());
    LocalQuorum::open(&shard, Path::new(DATA)).await.expect("the log opens").0
}

fn topic(number: u128) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord {
        name: format!("topic-{number}").into(),
        topic_id: TopicId::new(Uuid::from_u128(number + 2)).expect("not reserved"),
    })
}

fn broker(port: u16) -> MetadataRecord {
    MetadataRecord::BrokerRegistration(BrokerRegistrationRecord {
        broker_id: BrokerId(1),
        host: "h".into(),
        port,
    })
}

async fn replayed(quorum: &LocalQuorum<SimIo>) -> MetadataImage {
    quorum.replay(MetadataImage::default()).await.expect("the log is read")
}

#[test]
fn a_new_quorum_is_empty_and_appends_count_records() {
    let io = SimIo::new(1);
    io.run(async {
        let quorum = open(&io).await;
        assert_eq!(quorum.end(), 0);
        assert_eq!(replayed(&quorum).await, MetadataImage::default());
        assert_eq!(quorum.append(&[broker(1), topic(0)]).await.expect("appended"), 2);
        assert_eq!(quorum.append(&[topic(1)]).await.expect("appended"), 3);
        assert_eq!(quorum.end(), 3);
        let image = replayed(&quorum).await;
        assert_eq!((image.version(), image.topic_count()), (3, 2));
        let later = quorum.replay(image.clone()).await.expect("nothing is left to read");
        assert_eq!(later, image);
    });
}

#[test]
fn what_was_committed_is_there_after_a_loss_of_power_and_batches_are_whole() {
    for seed in 0..50 {
        let io = SimIo::new(seed);
        let before = io.run(async {
            let quorum = open(&io).await;
            for round in 0..20 {
                let records = [topic(3 * round), topic(3 * round + 1), topic(3 * round + 2)];
                quorum.append(&records).await.expect("appended");
            }
            replayed(&quorum).await
        });
        let io = io.crash();
        io.run(async {
            let quorum = open(&io).await;
            let image = replayed(&quorum).await;
            assert!(image == before, "seed {seed}: {} records", image.version());
            let end = quorum.append(&[topic(1000)]).await.expect("appended");
            assert_eq!(end, 61, "seed {seed}");
        });
    }
}

#[test]
fn a_batch_that_was_cut_off_is_there_whole_or_not_at_all() {
    for operations in 0..40 {
        let io = SimIo::new(operations);
        io.run(async {
            open(&io).await.append(&[broker(1)]).await.expect("appended");
        });
        let interrupted = async {
            let quorum = open(&io).await;
            let _ = quorum.append(&[topic(0), topic(1), topic(2)]).await;
        };
        let _ = io.run_operations(interrupted, operations);
        let io = io.crash();
        io.run(async {
            let image = replayed(&open(&io).await).await;
            assert!(image.broker(BrokerId(1)).is_some(), "after {operations} operations");
            let count = image.topic_count();
            assert!(count == 0 || count == 3, "{count} topics after {operations} operations");
        });
    }
}

#[test]
fn a_log_that_is_longer_than_one_read_is_replayed_whole() {
    let io = SimIo::new(3);
    io.run(async {
        let quorum = open(&io).await;
        for block in 0..10 {
            let records: Vec<MetadataRecord> =
                (0..5000).map(|number| topic(block * 5000 + number)).collect();
            quorum.append(&records).await.expect("appended");
        }
        let reopened = open(&io).await;
        assert_eq!(replayed(&reopened).await.topic_count(), 50_000);
    });
}

#[test]
fn a_batch_above_the_bound_changes_nothing() {
    let io = SimIo::new(4);
    io.run(async {
        let quorum = open(&io).await;
        let count = u128::try_from(METADATA_BATCH_BYTES_MAX / 40).expect("it fits");
        let records: Vec<MetadataRecord> = (0..2 * count).map(topic).collect();
        let error = quorum.append(&records).await.expect_err("too large");
        assert!(error.nothing_changed(), "{error}");
        assert!(matches!(error, QuorumError::Append(_)), "{error}");
        assert_eq!(quorum.end(), 0);
        quorum.append(&[topic(0)]).await.expect("appended");
    });
}

#[test]
fn a_flipped_bit_is_reported_and_never_applied() {
    let io = SimIo::new(5);
    io.run(async {
        let quorum = open(&io).await;
        for number in 0..100 {
            quorum.append(&[topic(number)]).await.expect("appended");
        }
        quorum.log().close().await.expect("closed");
    });
    let file = Path::new(DATA).join(METADATA_FOLDER).join("00000000000000000000.log");
    io.flip_bit(&file, 100).expect("the file is there");
    io.run(async {
        let shard = Shard::new(io.clone(), ShardSettings::default());
        if let Ok((quorum, _)) = LocalQuorum::open(&shard, Path::new(DATA)).await {
            assert!(quorum.replay(MetadataImage::default()).await.is_err());
        }
    });
}
