//! librdkafka, the C client under most languages' Kafka libraries, against a broker of ours: what
//! it writes is what it reads, in every codec, alone and in a group.

#![expect(clippy::disallowed_methods, reason = "the tests wait for what runs in real time")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use ringlog_broker::config::{Cli, Machine, load};
use ringlog_broker::server::{RunningServer, Server};

const PATIENCE: Duration = Duration::from_secs(30);
const PARTITIONS: i32 = 4;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

struct Broker {
    server: RunningServer,
    folder: tempfile::TempDir,
}

impl Broker {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(settings: &[&str]) -> Self {
        Self::on(tempfile::tempdir().expect("a folder"), settings)
    }

    fn on(folder: tempfile::TempDir, settings: &[&str]) -> Self {
        let always = ["shards=2", "group.initial.rebalance.delay.ms=0"];
        let set = always.iter().chain(settings).map(|one| (*one).to_owned()).collect();
        let cli = Cli {
            listen: Some("127.0.0.1:0".to_owned()),
            data_dir: Some(folder.path().display().to_string()),
            set,
            ..Cli::default()
        };
        let config = load(&cli, std::iter::empty(), Machine::detect()).expect("valid settings");
        Self { server: Server::start(config).expect("the broker starts"), folder }
    }

    fn restart(self) -> Self {
        self.server.stop().expect("a clean stop");
        Self::on(self.folder, &[])
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.server.address().to_string());
        config
    }

    fn create_topic(&self, name: &str) {
        self.create(name, PARTITIONS, &[("max.message.bytes", "2000000")]);
    }

    fn create(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("an admin");
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let made = runtime.block_on(admin.create_topics(&[topic], &AdminOptions::new()));
        assert_eq!(made.expect("an answer"), [Ok(name.to_owned())]);
    }
}

/// What a record is, as far as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    header: Option<Vec<u8>>,
}

/// Keys and values with every byte, empty ones, and none at all.
fn records(seed: u8, count: usize) -> Vec<Record> {
    (0..count)
        .map(|at| {
            let number = at.to_string().into_bytes();
            let bytes = |length: usize| -> Vec<u8> {
                number.iter().copied().chain([seed]).chain((0..=255).cycle()).take(length).collect()
            };
            Record {
                key: (at % 3 != 0).then(|| bytes(2 + at % 40)),
                value: (at % 11 != 7).then(|| bytes(4 + at * 37 % 5_000)),
                header: (at % 2 == 0).then(|| number.clone()),
            }
        })
        .collect()
}

fn produce(broker: &Broker, topic: &str, records: &[Record], settings: &[(&str, &str)]) {
    let mut config = broker.client();
    config.set("linger.ms", "5");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let producer: BaseProducer = config.create().expect("a producer");
    for record in records {
        let mut sent = BaseRecord::<[u8], [u8]>::to(topic);
        sent.key = record.key.as_deref();
        sent.payload = record.value.as_deref();
        if let Some(value) = &record.header {
            let header = Header { key: "number", value: Some(value) };
            sent = sent.headers(OwnedHeaders::new().insert(header));
        }
        producer.send(sent).map_err(|(error, _)| error).expect("room in the queue");
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).expect("everything is acknowledged");
}

fn consumer(broker: &Broker, group: &str) -> BaseConsumer {
    broker
        .client()
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "200")
        .set("fetch.wait.max.ms", "50")
        .create()
        .expect("a consumer")
}

/// Partition, offset and content of the next record; `None` if none came for a moment.
fn next(consumer: &BaseConsumer) -> Option<(i32, i64, Record)> {
    let message = consumer.poll(Duration::from_millis(50))?.expect("no error");
    Some(content(&message))
}

/// Partition, offset and content of a record.
fn content(message: &BorrowedMessage<'_>) -> (i32, i64, Record) {
    let header = message.headers().map(|headers| headers.get(0).value.expect("set").to_vec());
    let record = Record {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        header,
    };
    (message.partition(), message.offset(), record)
}

/// Every record of a topic, read without a group, in order of partition and offset.
fn read_all(broker: &Broker, topic: &str) -> Vec<(i32, i64, Record)> {
    let consumer = consumer(broker, "alone");
    let mut wanted = 0;
    let mut assigned = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let ends = consumer.fetch_watermarks(topic, partition, PATIENCE).expect("an answer");
        wanted += usize::try_from(ends.1 - ends.0).expect("a count");
        assigned.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&assigned).expect("assigned");
    let mut found = Vec::new();
    while found.len() < wanted {
        found.extend(next(&consumer));
    }
    found.sort_by_key(|(partition, offset, _)| (*partition, *offset));
    found
}

/// Every record of a topic's only partition, from an offset to the end that the client sees.
fn read_from(broker: &Broker, topic: &str, from: Offset) -> Vec<(i32, i64, Record)> {
    let mut config = broker.client();
    config.set("group.id", "alone").set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "50");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(topic, 0, from).expect("a valid offset");
    consumer.assign(&assigned).expect("assigned");
    let mut found = Vec::new();
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => found.push(content(&message)),
            Some(Err(KafkaError::PartitionEOF(0))) => return found,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    panic!("no end after {} records", found.len());
}

fn contents(found: &[(i32, i64, Record)]) -> Vec<Record> {
    let mut contents: Vec<Record> = found.iter().map(|(_, _, record)| record.clone()).collect();
    contents.sort();
    contents
}

fn sorted(records: &[Record]) -> Vec<Record> {
    let mut records = records.to_vec();
    records.sort();
    records
}

#[test]
fn records_of_every_codec_come_back_byte_for_byte() {
    let mut broker = Broker::start();
    let mut sent = BTreeMap::new();
    for (codec, seed) in CODECS.into_iter().zip(0..) {
        broker.create_topic(codec);
        let records = records(seed, 500);
        produce(&broker, codec, &records, &[("compression.type", codec), ("acks", "all")]);
        sent.insert(codec, records);
    }
    // From the cache, then from disk.
    for _ in 0..2 {
        for (codec, records) in &sent {
            let found = read_all(&broker, codec);
            assert_eq!(contents(&found), sorted(records), "{codec}");
        }
        broker = broker.restart();
    }
}

#[test]
fn an_idempotent_producer_writes_each_record_once_and_keeps_the_order_of_keys() {
    let broker = Broker::start();
    broker.create_topic("once");
    let records: Vec<Record> = (0..2_000)
        .map(|at: u32| Record {
            key: Some(format!("key {}", at % 17).into_bytes()),
            value: Some(format!("{at:08}").into_bytes()),
            header: None,
        })
        .collect();
    let settings =
        [("enable.idempotence", "true"), ("compression.type", "lz4"), ("batch.num.messages", "50")];
    produce(&broker, "once", &records, &settings);
    let found = read_all(&broker, "once");
    assert_eq!(contents(&found), sorted(&records));
    let mut last: BTreeMap<Vec<u8>, (i32, Vec<u8>)> = BTreeMap::new();
    for (partition, _, record) in found {
        let (key, value) = (record.key.expect("a key"), record.value.expect("a value"));
        let before = last.insert(key, (partition, value.clone()));
        assert!(before.is_none_or(|(at, earlier)| at == partition && earlier < value));
    }
}

#[test]
fn a_group_of_two_shares_a_topic_and_goes_on_where_it_left_off() {
    let broker = Broker::start();
    broker.create_topic("shared");
    let early = records(1, 600);
    produce(&broker, "shared", &early, &[]);

    let members = [consumer(&broker, "pair"), consumer(&broker, "pair")];
    for member in &members {
        member.subscribe(&["shared"]).expect("subscribed");
    }
    let mut seen = BTreeMap::new();
    let owned = |member: &BaseConsumer| member.assignment().expect("an assignment").count();
    // Read until both have their half and everything was seen.
    while seen.len() < early.len() || members.iter().any(|member| owned(member) != 2) {
        for member in &members {
            let Some((partition, offset, record)) = next(member) else { continue };
            let before = seen.insert((partition, offset), record.clone());
            assert!(before.is_none_or(|before| before == record), "one offset, one record");
        }
    }
    let read: Vec<Record> = seen.values().cloned().collect();
    assert_eq!(sorted(&read), sorted(&early));
    let ends: BTreeMap<i32, i64> = seen.keys().copied().collect();
    let parts: Vec<BTreeSet<i32>> = members
        .iter()
        .map(|member| {
            let mut offsets = member.assignment().expect("an assignment");
            let owned: BTreeSet<i32> =
                offsets.elements().iter().map(|element| element.partition()).collect();
            for partition in &owned {
                let end = Offset::Offset(ends[partition] + 1);
                offsets.set_partition_offset("shared", *partition, end).expect("it is there");
            }
            member.commit(&offsets, CommitMode::Sync).expect("committed");
            owned
        })
        .collect();
    assert!(parts[0].is_disjoint(&parts[1]));
    assert_eq!(parts[0].union(&parts[1]).count(), 4);
    drop(members);

    // After a restart another member reads what came since, and nothing twice.
    let broker = broker.restart();
    let late = records(2, 200);
    produce(&broker, "shared", &late, &[("compression.type", "gzip")]);
    let member: BaseConsumer<DefaultConsumerContext> = consumer(&broker, "pair");
    member.subscribe(&["shared"]).expect("subscribed");
    let mut found = Vec::new();
    while found.len() < late.len() {
        found.extend(next(&member));
    }
    assert_eq!(contents(&found), sorted(&late));
    let committed = member.committed(PATIENCE).expect("an answer");
    for element in committed.elements() {
        assert_eq!(element.offset(), Offset::Offset(ends[&element.partition()] + 1));
    }
}

#[test]
fn errors_arrive_with_their_kafka_names() {
    let broker = Broker::start();
    broker.create_topic("taken");
    let admin: AdminClient<DefaultClientContext> = broker.client().create().expect("an admin");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let again = [NewTopic::new("taken", 1, TopicReplication::Fixed(1))];
    let made = runtime.block_on(admin.create_topics(&again, &AdminOptions::new()));
    let expected = Err(("taken".to_owned(), RDKafkaErrorCode::TopicAlreadyExists));
    assert_eq!(made.expect("an answer"), [expected]);
    let gone = runtime.block_on(admin.delete_topics(&["taken"], &AdminOptions::new()));
    assert_eq!(gone.expect("an answer"), [Ok("taken".to_owned())]);
}

/// What compaction leaves of a topic has batches without records and batches with few: librdkafka
/// reads over them to the end, and starts in the middle of one.
#[test]
fn what_compaction_has_left_of_a_topic_is_read_to_its_end() {
    let broker = Broker::with(&["log.cleaner.backoff.ms=10"]);
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "16384"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    broker.create("table", 1, &configs);
    let record = |key: u8, value: usize| Record {
        key: Some(vec![key]),
        value: Some(value.to_string().into_bytes().repeat(20)),
        header: None,
    };
    let began = Instant::now();
    let (mut all, mut sent) = (Vec::new(), Vec::new());
    while all.len() * 4 > sent.len() || sent.is_empty() {
        for codec in CODECS {
            let batch: Vec<Record> = (0..100).map(|key| record(key, sent.len())).collect();
            produce(&broker, "table", &batch, &[("compression.type", codec)]);
            sent.extend(batch);
        }
        all = read_from(&broker, "table", Offset::Beginning);
        assert!(began.elapsed() < PATIENCE, "{} of {} are there", all.len(), sent.len());
    }
    for (_, offset, record) in &all {
        assert_eq!(Some(record), sent.get(usize::try_from(*offset).expect("an offset")));
    }
    let newest = sent.len() - 100;
    let last: Vec<Record> = all[all.len() - 100..].iter().map(|(.., r)| r.clone()).collect();
    assert_eq!(last, sent[newest..]);
    // From an offset whose record is gone, the next one there is follows.
    let (_, first, _) = all[0];
    assert!(first > 2);
    let from_gap = read_from(&broker, "table", Offset::Offset(first / 2));
    assert_eq!(from_gap[0].1, first);
}
