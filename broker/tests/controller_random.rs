//! Random requests to the controller: the same records give the same image, and nothing clashes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use ringlog_broker::config::{AlterOp, Alteration, BrokerConfig, Endpoint};
use ringlog_broker::controller::{
    AdminError, Controller, MetadataQuorum, MetadataStore, MorePartitions, NewTopic, Plan,
    QuorumError, StoreError, TopicAlterations, TopicReference,
};
use ringlog_broker::metadata::{ClusterId, MetadataImage, MetadataRecord, TopicId};
use uuid::Uuid;

/// A quorum in memory that keeps records as bytes, and may lose the answer of an append.
#[derive(Default)]
struct MemoryQuorum {
    batches: RefCell<Vec<Vec<Vec<u8>>>>,
    hang_after_next: RefCell<bool>,
}

impl MetadataQuorum for &MemoryQuorum {
    async fn append(&self, records: &[MetadataRecord]) -> Result<u64, QuorumError> {
        assert!(!records.is_empty(), "nothing is appended for nothing");
        let encoded = records.iter().map(|record| record.encode().expect("within limits"));
        self.batches.borrow_mut().push(encoded.collect());
        if self.hang_after_next.take() {
            std::future::pending::<()>().await;
        }
        Ok(self.end())
    }

    fn end(&self) -> u64 {
        self.batches.borrow().iter().map(|batch| batch.len() as u64).sum()
    }

    async fn replay(&self, mut image: MetadataImage) -> Result<MetadataImage, QuorumError> {
        let mut offset = 0;
        for batch in self.batches.borrow().iter() {
            let first = offset;
            offset += batch.len() as u64;
            if first >= image.version() {
                let decode = |bytes: &Vec<u8>| MetadataRecord::decode(bytes).expect("a record");
                let records: Vec<MetadataRecord> = batch.iter().map(decode).collect();
                image = image.apply_all(&records).expect("committed records fit");
            }
        }
        Ok(image)
    }
}

/// Drives a future that waits for nothing; `None` if it does wait.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[derive(Debug, Clone)]
enum Request {
    Create(u8, i32),
    Delete(u8),
    DeleteById(u8),
    Grow(u8, i32),
    Alter(u8, i64),
    ProducerIds,
    Register(u16),
    /// The caller gives up after the records were appended.
    CreateAndDrop(u8),
}

fn requests() -> impl Strategy<Value = Request> {
    let topic = 0_u8..12;
    prop_oneof![
        4 => (topic.clone(), -1..5).prop_map(|(t, n)| Request::Create(t, n)),
        2 => topic.clone().prop_map(Request::Delete),
        1 => topic.clone().prop_map(Request::DeleteById),
        2 => (topic.clone(), -1..8).prop_map(|(t, n)| Request::Grow(t, n)),
        2 => (topic.clone(), -3..5_i64).prop_map(|(t, v)| Request::Alter(t, v)),
        1 => Just(Request::ProducerIds),
        1 => (1..3_u16).prop_map(Request::Register),
        1 => topic.prop_map(Request::CreateAndDrop),
    ]
}

fn name(number: u8) -> String {
    // Some of the names collide: t.1 and t_1.
    let mark = if number.is_multiple_of(2) { '.' } else { '_' };
    format!("t{mark}{}", number / 2)
}

fn carry_out(
    store: &MetadataStore<&MemoryQuorum>,
    quorum: &MemoryQuorum,
    controller: &Controller,
    request: &Request,
    drawn: &mut u128,
) {
    let mut draw = || {
        *drawn += 1;
        TopicId::new(Uuid::from_u128(*drawn)).expect("not reserved")
    };
    type Answer = Result<(), StoreError<AdminError>>;
    let new =
        |number: u8, partitions| NewTopic { partitions, ..NewTopic::with_defaults(&name(number)) };
    let answer: Option<Answer> = match *request {
        Request::Create(number, partitions) => now(store.change(|image| {
            let topics = [new(number, partitions)];
            Ok(silent(controller.create_topics(image, &topics, false, &mut draw)))
        })),
        Request::CreateAndDrop(number) => {
            quorum.hang_after_next.replace(true);
            let answer = now(store.change(|image| {
                let topics = [new(number, 1)];
                Ok(silent(controller.create_topics(image, &topics, false, &mut draw)))
            }));
            quorum.hang_after_next.replace(false);
            answer
        }
        Request::Delete(number) => now(store.change(|image| {
            let topics = [TopicReference::Name(name(number))];
            Ok(silent(controller.delete_topics(image, &topics)))
        })),
        Request::DeleteById(number) => now(store.change(|image| {
            let id = image.topic(&name(number)).map_or(TopicId::ZERO, |topic| topic.id);
            Ok(silent(controller.delete_topics(image, &[TopicReference::Id(id)])))
        })),
        Request::Grow(number, count) => now(store.change(|image| {
            let topics = [MorePartitions { name: name(number), count, assignments: None }];
            Ok(silent(controller.create_partitions(image, &topics, false)))
        })),
        Request::Alter(number, value) => now(store.change(|image| {
            let alteration = Alteration {
                name: "retention.ms".to_owned(),
                op: if value == 0 { AlterOp::Delete } else { AlterOp::Set },
                value: Some(value.to_string()),
            };
            let topic = TopicAlterations { name: name(number), alterations: vec![alteration] };
            Ok(silent(controller.alter_topic_configs(image, &[topic], false)))
        })),
        Request::ProducerIds => now(store.change(|image| {
            let broker = image.controller().expect("one is registered");
            controller.allocate_producer_ids(image, broker).map(silent)
        })),
        Request::Register(port) => now(store.change(|image| {
            let endpoint = Endpoint { host: "h".to_owned(), port };
            let drawn = ClusterId::new(Uuid::from_u128(port.into()));
            controller.register_broker(image, &endpoint, drawn).map(silent)
        })),
    };
    if let Some(answer) = answer {
        answer.unwrap_or_else(|error| panic!("{request:?}: {error}"));
    }
}

fn silent<T>(plan: Plan<T>) -> Plan<()> {
    Plan { records: plan.records, answer: () }
}

proptest! {
    #[test]
    fn replaying_the_records_gives_the_same_image_and_nothing_clashes(
        requests in proptest::collection::vec(requests(), 0..60)
    ) {
        let quorum = MemoryQuorum::default();
        let controller = Controller::new(BrokerConfig::default());
        let store = now(MetadataStore::open(&quorum)).expect("no waiting").expect("empty");
        let mut drawn = 100;
        carry_out(&store, &quorum, &controller, &Request::Register(9), &mut drawn);
        let mut ids_by_name: BTreeMap<TopicId, String> = BTreeMap::new();
        for request in &requests {
            carry_out(&store, &quorum, &controller, request, &mut drawn);
            for topic in store.image().topics() {
                let known = ids_by_name.entry(topic.id).or_insert_with(|| topic.name.to_string());
                prop_assert_eq!(&**known, &*topic.name, "an id always means one topic");
            }
        }
        // A change that decides nothing takes in what a dropped one left behind.
        let idle = now(store.change(|_| Ok::<_, Infallible>(Plan { records: vec![], answer: () })));
        prop_assert!(matches!(idle, Some(Ok(()))));
        let image = store.image();

        let reopened = now(MetadataStore::open(&quorum)).expect("no waiting").expect("fits");
        prop_assert_eq!(&*reopened.image(), &*image);

        // The same records one at a time, and by batches, amount to the same.
        let mut single = MetadataImage::default();
        for bytes in quorum.batches.borrow().iter().flatten() {
            single = single.apply(&MetadataRecord::decode(bytes).expect("a record")).expect("fits");
        }
        prop_assert_eq!(&single, &*image);

        let folded: BTreeSet<String> =
            image.topics().map(|topic| topic.name.replace('.', "_")).collect();
        prop_assert_eq!(folded.len(), image.topic_count(), "no two names collide");
        let partitions: usize = image.topics().map(|topic| topic.partitions.len()).sum();
        prop_assert_eq!(partitions, image.partition_count());
        for topic in image.topics() {
            prop_assert!(!topic.partitions.is_empty());
            prop_assert_eq!(image.topic_by_id(topic.id), Some(topic));
        }
    }
}

#[test]
fn what_was_appended_for_a_caller_who_gave_up_is_seen_by_the_next_one() {
    let quorum = MemoryQuorum::default();
    let controller = Controller::new(BrokerConfig::default());
    let store = now(MetadataStore::open(&quorum)).expect("no waiting").expect("empty");
    let mut drawn = 100;
    carry_out(&store, &quorum, &controller, &Request::Register(9), &mut drawn);
    carry_out(&store, &quorum, &controller, &Request::CreateAndDrop(0), &mut drawn);
    assert!(store.image().topic("t.0").is_none(), "nobody was told");
    let answer = now(store.change(|image| {
        let topics = [NewTopic::with_defaults("t.0")];
        let id = TopicId::new(Uuid::from_u128(1 << 80)).expect("not reserved");
        Ok::<_, Infallible>(controller.create_topics(image, &topics, false, || id))
    }));
    let mut answer = answer.expect("no waiting").expect("decided");
    assert!(matches!(answer.pop(), Some(Err(AdminError::TopicExists { .. }))));
    assert!(store.image().topic("t.0").is_some());
}
