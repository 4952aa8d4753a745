//! What the controller decides, and what it refuses.

use std::sync::Arc;

use clap::Parser;
use ringlog_broker::config::{AlterOp, Alteration, BrokerConfig, Cli, Endpoint, Machine, load};
use ringlog_broker::controller::{
    AdminError, Controller, CreatedTopic, MorePartitions, NewTopic, Plan, TopicAlterations,
    TopicReference,
};
use ringlog_broker::metadata::{
    BrokerId, BrokerRegistrationRecord, ClusterId, MetadataImage, MetadataRecord, PartitionId,
    TopicId,
};
use uuid::Uuid;

/// A controller with its image, for decisions that follow each other.
struct Cluster {
    controller: Controller,
    image: MetadataImage,
    drawn: u128,
}

impl Cluster {
    fn new(settings: &[&str]) -> Self {
        Self::with_brokers(settings, 1)
    }

    fn with_brokers(settings: &[&str], brokers: i32) -> Self {
        let mut flags = vec!["ringlog"];
        flags.extend(settings.iter().flat_map(|&setting| ["--set", setting]));
        let cli = Cli::try_parse_from(flags).expect("flags");
        let machine = Machine { cores: 1, host_name: "h".to_owned() };
        let config: BrokerConfig =
            load(&cli, std::iter::empty(), machine).expect("a configuration");
        let mut cluster =
            Self { controller: Controller::new(config), image: MetadataImage::default(), drawn: 9 };
        for id in 1..=brokers {
            let record =
                BrokerRegistrationRecord { broker_id: BrokerId(id), host: "h".into(), port: 9092 };
            let plan =
                Plan { records: vec![MetadataRecord::BrokerRegistration(record)], answer: () };
            cluster.follow(plan);
        }
        cluster
    }

    fn follow<T>(&mut self, plan: Plan<T>) -> T {
        self.image = self.image.apply_all(&plan.records).expect("decisions fit the image");
        plan.answer
    }

    fn create_all(&mut self, topics: &[NewTopic]) -> Vec<Result<CreatedTopic, AdminError>> {
        let mut drawn = self.drawn;
        let plan = self.controller.create_topics(&self.image, topics, false, || {
            drawn += 1;
            TopicId::new(Uuid::from_u128(drawn)).expect("not reserved")
        });
        self.drawn = drawn;
        self.follow(plan)
    }

    fn create(&mut self, topic: NewTopic) -> Result<CreatedTopic, AdminError> {
        self.create_all(&[topic]).pop().expect("one answer")
    }

    fn refused(&mut self, topic: NewTopic) -> String {
        let before = self.image.clone();
        let error = self.create(topic).expect_err("refused").to_string();
        assert_eq!(self.image, before, "a refusal changes nothing");
        error
    }

    fn grow(&mut self, topic: &str, count: i32) -> Result<(), AdminError> {
        let more = MorePartitions { name: topic.to_owned(), count, assignments: None };
        let plan = self.controller.create_partitions(&self.image, &[more], false);
        self.follow(plan).pop().expect("one answer")
    }

    fn alter(
        &mut self,
        topic: &str,
        alterations: &[(&str, AlterOp, &str)],
    ) -> Result<(), AdminError> {
        let alterations = alterations.iter().map(|&(name, op, value)| Alteration {
            name: name.to_owned(),
            op,
            value: Some(value.to_owned()),
        });
        let topic = TopicAlterations { name: topic.to_owned(), alterations: alterations.collect() };
        let plan = self.controller.alter_topic_configs(&self.image, &[topic], false);
        self.follow(plan).pop().expect("one answer")
    }
}

fn topic(name: &str) -> NewTopic {
    NewTopic::with_defaults(name)
}

fn sized(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { partitions, replication_factor, ..topic(name) }
}

fn configured(name: &str, configs: &[(&str, Option<&str>)]) -> NewTopic {
    let configs = configs.iter().map(|&(key, value)| (key.to_owned(), value.map(str::to_owned)));
    NewTopic { configs: configs.collect(), ..topic(name) }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    let brokers = |ids: &[i32]| ids.iter().map(|&id| BrokerId(id)).collect();
    let assignments =
        assignments.iter().map(|&(partition, ids)| (PartitionId(partition), brokers(ids)));
    NewTopic { assignments: assignments.collect(), ..topic(name) }
}

#[test]
fn a_topic_gets_the_configured_number_of_partitions_and_a_leader_for_each() {
    let mut cluster = Cluster::new(&["num.partitions=3"]);
    let created = cluster.create(topic("a")).expect("created");
    assert_eq!((created.partitions, created.replication_factor), (3, 1));
    let found = cluster.image.topic("a").expect("the topic");
    assert_eq!(found.id, created.id);
    for partition in &found.partitions {
        assert_eq!(partition.leader, Some(BrokerId(1)));
        assert_eq!((partition.leader_epoch.value(), partition.partition_epoch), (0, 0));
        assert_eq!(partition.isr, partition.replicas);
    }
}

#[test]
fn what_a_topic_sets_for_itself_is_checked_and_kept() {
    let mut cluster = Cluster::new(&[]);
    let created = cluster.create(configured("a", &[("retention.ms", Some(" 5 "))]));
    let created = created.expect("created");
    assert_eq!(created.config.get("retention.ms").map(String::as_str), Some("5"));
    let kept = &cluster.image.topic("a").expect("the topic").config;
    assert_eq!(**kept, created.config);
    for (configs, expected) in [
        ([("retention.ms", Some("soon"))].as_slice(), "retention.ms=soon"),
        (&[("retention.msec", Some("1"))], "did you mean retention.ms?"),
        (&[("retention.ms", None)], "retention.ms has no value"),
        (&[("flush.ms", Some("1")), ("flush.ms", Some("1"))], "flush.ms is set a second time"),
        (
            &[("min.compaction.lag.ms", Some("2")), ("max.compaction.lag.ms", Some("1"))],
            "do not go together",
        ),
    ] {
        let error = cluster.refused(configured("b", configs));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn names_are_checked_and_must_not_collide() {
    let mut cluster = Cluster::new(&[]);
    cluster.create(topic("a.b")).expect("created");
    for (name, expected) in [
        ("", "it is empty"),
        ("..", "must not be"),
        ("a b", "' ' is not allowed"),
        (&"x".repeat(250), "250 characters, more than the 249 allowed"),
        ("a_b", "collides with \"a.b\""),
        ("a.b", "already exists"),
        ("__consumer_offsets", "the broker's own: clients cannot create it"),
    ] {
        let error = cluster.refused(topic(name));
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn counts_out_of_range_are_refused_with_figures() {
    let mut cluster = Cluster::new(&[]);
    for (partitions, factor, expected) in [
        (0, 1, "0 partitions: must be in 1..=10000"),
        (-2, 1, "-2 partitions"),
        (10_001, 1, "10001 partitions"),
        (i32::MAX, 1, "2147483647 partitions"),
        (1, 0, "replication factor 0: must be in 1..=1"),
        (1, 2, "replication factor 2: must be in 1..=1 (the brokers there are)"),
        (1, -2, "replication factor -2"),
    ] {
        let error = cluster.refused(sized("a", partitions, factor));
        assert!(error.contains(expected), "{error}");
    }
    let mut three = Cluster::new(&["default.replication.factor=3"]);
    assert!(three.refused(topic("a")).contains("replication factor 3"));
}

#[test]
fn one_request_creates_a_bounded_number_of_partitions() {
    let mut cluster = Cluster::new(&[]);
    let answers = cluster.create_all(&[sized("a", 10_000, 1), sized("b", 1, 1)]);
    assert!(answers[0].is_ok());
    let error = answers[1].as_ref().expect_err("refused").to_string();
    assert_eq!(error, "the request creates 10001 partitions, more than the 10000 allowed at once");
    assert_eq!(cluster.image.partition_count(), 10_000);
    for name in 0..9 {
        cluster.create(sized(&format!("full-{name}"), 10_000, 1)).expect("there is room");
    }
    assert!(cluster.refused(topic("over")).contains("100001 partitions in all"));
    assert!(cluster.grow("a", 10_001).is_err());
}

#[test]
fn each_topic_of_a_request_is_decided_by_itself() {
    let mut cluster = Cluster::new(&[]);
    let answers =
        cluster.create_all(&[topic("a"), topic("b b"), topic("twice"), topic("twice"), topic("c")]);
    let created: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(created, [true, false, false, false, true]);
    assert!(matches!(answers[2], Err(AdminError::RepeatedTopic { .. })));
    assert_eq!(cluster.image.topic_count(), 2);
}

#[test]
fn validation_alone_changes_nothing() {
    let cluster = Cluster::new(&[]);
    let topics = [topic("a"), topic("a b")];
    let plan = cluster.controller.create_topics(&cluster.image, &topics, true, || {
        TopicId::new(Uuid::from_u128(77)).expect("not reserved")
    });
    assert!(plan.records.is_empty());
    assert_eq!(plan.answer[0].as_ref().expect("allowed").id, TopicId::ZERO);
    assert!(plan.answer[1].is_err());
}

#[test]
fn replicas_go_round_the_brokers_and_a_client_may_assign_them() {
    let mut cluster = Cluster::with_brokers(&[], 3);
    cluster.create(sized("a", 6, 2)).expect("created");
    let found = cluster.image.topic("a").expect("the topic").clone();
    for broker in 1..=3 {
        let leads = found.partitions.iter().filter(|p| p.leader == Some(BrokerId(broker)));
        assert_eq!(leads.count(), 2);
    }
    cluster.create(assigned("b", &[(1, &[3, 1]), (0, &[2, 3])])).expect("created");
    let found = cluster.image.topic("b").expect("the topic").clone();
    assert_eq!(*found.partitions[0].replicas, [BrokerId(2), BrokerId(3)]);
    assert_eq!(found.partitions[1].leader, Some(BrokerId(3)));
    for (assignments, expected) in [
        ([(0, [1].as_slice()), (2, &[1])].as_slice(), "assigned each once as 0..2; 2 is wrong"),
        (&[(0, &[1]), (0, &[1])], "assigned each once as 0..2; 0 is wrong"),
        (&[(0, &[4])], "assigned to broker 4, which is not there"),
        (&[(0, &[])], "0 different brokers, and 1 are needed"),
        (&[(0, &[1, 1])], "1 different brokers, and 2 are needed"),
        (&[(0, &[1, 2]), (1, &[3])], "1 different brokers, and 2 are needed"),
    ] {
        let error = cluster.refused(assigned("c", assignments));
        assert!(error.contains(expected), "{error}");
    }
    let both = NewTopic { partitions: 1, ..assigned("c", &[(0, &[1])]) };
    assert!(cluster.refused(both).contains("must both be -1"));
}

#[test]
fn asking_for_a_topic_creates_it_unless_that_is_switched_off() {
    let ask = |settings: &[&str], name: &str| {
        let mut cluster = Cluster::new(settings);
        let id = TopicId::new(Uuid::from_u128(5)).expect("not reserved");
        let plan = cluster.controller.auto_create(&cluster.image, &[name], || id);
        let answer = cluster.follow(plan).pop().expect("one answer");
        (answer, cluster)
    };
    let (answer, cluster) = ask(&["num.partitions=2"], "a");
    assert_eq!(answer.expect("created").partitions, 2);
    assert!(cluster.image.topic("a").is_some());
    let (answer, _) = ask(&["auto.create.topics.enable=false"], "a");
    assert!(matches!(answer, Err(AdminError::AutoCreationDisabled { .. })));
    let (answer, _) = ask(&[], "a b");
    assert!(matches!(answer, Err(AdminError::InvalidName { .. })));
    let (answer, _) = ask(&[], "__transaction_state");
    assert!(matches!(answer, Err(AdminError::InternalTopic { .. })));
    let off = ["auto.create.topics.enable=false", "offsets.topic.segment.bytes=20000"];
    let (answer, cluster) = ask(&off, "__consumer_offsets");
    assert_eq!(answer.expect("created all the same").partitions, 50);
    let config = &cluster.image.topic("__consumer_offsets").expect("the topic").config;
    assert_eq!(config.get("cleanup.policy").map(String::as_str), Some("compact"));
    assert_eq!(config.get("segment.bytes").map(String::as_str), Some("20000"));
}

#[test]
fn topics_are_deleted_by_name_and_by_id_and_each_once() {
    let mut cluster = Cluster::new(&[]);
    for name in ["a", "b", "c"] {
        cluster.create(topic(name)).expect("created");
    }
    let id = cluster.image.topic("b").expect("the topic").id;
    let unknown = TopicId::new(Uuid::from_u128(4711)).expect("not reserved");
    let name = |name: &str| TopicReference::Name(name.to_owned());
    let references =
        [name("a"), TopicReference::Id(id), name("b"), name("x"), TopicReference::Id(unknown)];
    let plan = cluster.controller.delete_topics(&cluster.image, &references);
    let answers = cluster.follow(plan);
    assert_eq!(*answers[0].as_ref().expect("deleted").name, *"a");
    assert_eq!(answers[1].as_ref().expect("deleted").id, id);
    assert!(matches!(answers[2], Err(AdminError::RepeatedTopic { .. })));
    assert!(matches!(answers[3], Err(AdminError::UnknownTopic { .. })));
    assert!(matches!(answers[4], Err(AdminError::UnknownTopicId { .. })));
    let left: Vec<Arc<str>> = cluster.image.topics().map(|topic| topic.name.clone()).collect();
    assert_eq!(left, [Arc::from("c")]);
}

#[test]
fn nothing_is_deleted_where_deletion_is_switched_off() {
    let mut cluster = Cluster::new(&["delete.topic.enable=false"]);
    cluster.create(topic("a")).expect("created");
    let reference = TopicReference::Name("a".to_owned());
    let plan = cluster.controller.delete_topics(&cluster.image, &[reference]);
    assert!(plan.records.is_empty());
    assert!(matches!(plan.answer[0], Err(AdminError::DeletionDisabled)));
}

#[test]
fn partitions_only_grow() {
    let mut cluster = Cluster::new(&[]);
    cluster.create(sized("a", 2, 1)).expect("created");
    cluster.grow("a", 5).expect("more");
    assert_eq!(cluster.image.topic("a").expect("the topic").partition_count(), 5);
    for count in [5, 4, 0, -1, i32::MIN] {
        let error = cluster.grow("a", count).expect_err("refused").to_string();
        assert!(error.contains(&format!("has 5 partitions and cannot be made to have {count}")));
    }
    assert!(matches!(cluster.grow("a", i32::MAX), Err(AdminError::TooManyAtOnce { .. })));
    assert!(matches!(cluster.grow("x", 2), Err(AdminError::UnknownTopic { .. })));
    let more = |assignments: Vec<Vec<BrokerId>>| MorePartitions {
        name: "a".to_owned(),
        count: 6,
        assignments: Some(assignments),
    };
    let decide = |more| cluster.controller.create_partitions(&cluster.image, &[more], true).answer;
    assert!(matches!(decide(more(vec![]))[0], Err(AdminError::AssignmentCount { .. })));
    let stranger = more(vec![vec![BrokerId(9)]]);
    assert!(matches!(decide(stranger)[0], Err(AdminError::AssignmentBroker { .. })));
    assert!(decide(more(vec![vec![BrokerId(1)]]))[0].is_ok());
}

#[test]
fn topic_configurations_are_altered_all_or_none() {
    let mut cluster = Cluster::new(&[]);
    cluster.create(configured("a", &[("retention.ms", Some("5"))])).expect("created");
    let set = AlterOp::Set;
    cluster
        .alter("a", &[("retention.ms", AlterOp::Delete, ""), ("segment.bytes", set, "20000")])
        .expect("altered");
    let config = cluster.image.topic("a").expect("the topic").config.clone();
    assert_eq!(config.len(), 1);
    assert_eq!(config.get("segment.bytes").map(String::as_str), Some("20000"));
    let error = cluster.alter("a", &[("flush.ms", set, "1"), ("segment.bytes", set, "1")]);
    assert!(error.expect_err("refused").to_string().contains("segment.bytes=1"));
    assert_eq!(cluster.image.topic("a").expect("the topic").config, config);
    assert!(matches!(cluster.alter("x", &[]), Err(AdminError::UnknownTopic { .. })));
}

#[test]
fn the_brokers_own_topics_keep_their_policy_their_partitions_and_their_lives() {
    let mut cluster = Cluster::new(&[]);
    let id = TopicId::new(Uuid::from_u128(5)).expect("not reserved");
    let own = "__consumer_offsets";
    let plan = cluster.controller.auto_create(&cluster.image, &[own], || id);
    cluster.follow(plan);
    let internal = |result: Result<(), AdminError>| {
        assert!(matches!(result, Err(AdminError::InternalTopic { .. })));
    };
    internal(cluster.grow(own, 60));
    internal(cluster.alter(own, &[("cleanup.policy", AlterOp::Set, "delete")]));
    let reference = TopicReference::Name(own.to_owned());
    let plan = cluster.controller.delete_topics(&cluster.image, &[reference]);
    assert!(matches!(plan.answer[0], Err(AdminError::InternalTopic { .. })));
    cluster.alter(own, &[("segment.bytes", AlterOp::Set, "30000")]).expect("allowed");
}

#[test]
fn the_broker_refuses_to_have_its_own_configuration_altered_in_words() {
    let cluster = Cluster::new(&[]);
    let alteration = Alteration {
        name: "log.retention.ms".to_owned(),
        op: AlterOp::Set,
        value: Some("1".to_owned()),
    };
    let error = cluster.controller.alter_broker_config(&[alteration]).expect_err("refused");
    assert!(error.to_string().contains("read when the broker starts"), "{error}");
}

#[test]
fn the_cluster_id_is_given_once_and_the_address_follows_the_configuration() {
    let mut cluster = Cluster::with_brokers(&[], 0);
    let endpoint = |port| Endpoint { host: "h".to_owned(), port };
    let drawn = |number| ClusterId::new(Uuid::from_u128(number));
    let register = |cluster: &mut Cluster, port, number| {
        let plan = cluster
            .controller
            .register_broker(&cluster.image, &endpoint(port), drawn(number))
            .expect("allowed");
        let count = plan.records.len();
        (count, cluster.follow(plan))
    };
    assert_eq!(register(&mut cluster, 1, 7), (2, drawn(7)));
    assert_eq!(register(&mut cluster, 1, 8), (0, drawn(7)));
    assert_eq!(register(&mut cluster, 2, 9), (1, drawn(7)));
    let port = cluster.image.broker(BrokerId(1)).map(|broker| broker.port);
    assert_eq!(port, Some(2));
    let other = Cluster::with_brokers(&["node.id=5"], 0);
    let error = other.controller.register_broker(&cluster.image, &endpoint(1), drawn(1));
    let error = error.expect_err("another broker's folder").to_string();
    assert_eq!(error, "the data folder belongs to the broker with node.id 1, and this one has 5");
}

#[test]
fn blocks_of_producer_ids_never_overlap() {
    let mut cluster = Cluster::new(&[]);
    let mut end = 0;
    for _ in 0..3 {
        let plan = cluster.controller.allocate_producer_ids(&cluster.image, BrokerId(1));
        let block = cluster.follow(plan.expect("ids are left"));
        assert_eq!((block.start, block.end - block.start), (end, 1000));
        end = block.end;
    }
}
