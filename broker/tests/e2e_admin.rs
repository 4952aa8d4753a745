//! The cluster, its topics and their configurations, as clients see and change them.

mod e2e_support;

use std::io::Write;

use e2e_support::*;
use ringlog_broker::protocol::ApiKey;
use uuid::Uuid;

/// Key, operation and value of one alteration.
type Change<'a> = (&'a str, i8, Option<&'a str>);

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn names(client: &mut Client) -> Vec<String> {
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let answer = client.ask(&all, 12);
    let name = |topic: MetadataResponseTopic| topic.name.expect("a name").to_string();
    let mut names: Vec<String> = answer.topics.into_iter().map(name).collect();
    names.sort();
    names
}

fn partition_count(client: &mut Client, topic: &str) -> usize {
    metadata(client, &[topic], false).topics[0].partitions.len()
}

#[test]
fn api_versions_tells_every_client_what_is_served() {
    let broker = Broker::start();
    let mut client = broker.client();
    for version in 0..=4 {
        let request = ApiVersionsRequest {
            client_software_name: "e2e".into(),
            client_software_version: "1.0".into(),
        };
        let answer = client.ask(&request, version);
        assert_eq!(answer.error_code, 0);
        let told: Vec<_> = answer
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        let served: Vec<_> = ApiKey::ALL
            .iter()
            .map(|api| (api.code(), api.advertised().min, api.advertised().max))
            .collect();
        assert_eq!(told, served);
        assert!(told.contains(&(0, 0, 13)), "Produce begins at 0 for librdkafka's sake");
    }
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_the_oldest() {
    let broker = Broker::start();
    let mut client = broker.client();
    // Length, key 18, version 99, correlation id 7, null client id, and a body nobody knows.
    let request = [0, 0, 0, 13, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 1, 2, 3];
    client.send_bytes(&request);
    let (id, answer) = client.receive::<ApiVersionsRequest>(0);
    assert_eq!((id, code(answer.error_code)), (7, ErrorCode::UnsupportedVersion));
    let range = &answer.api_keys[0];
    assert_eq!((range.api_key, range.min_version, range.max_version), (18, 0, 4));
    // The connection lives: the client asks again.
    assert_eq!(client.ask(&ApiVersionsRequest::default(), 0).error_code, 0);
}

#[test]
fn metadata_lists_all_topics_none_or_those_asked_for() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "first", 3, &[]);
    create_topic(&mut client, "second", 1, &[]);
    for version in 0..=13 {
        // Version 0 has no null: its empty list is everything.
        let topics = (version == 0).then(Vec::new);
        let answer = client.ask(&MetadataRequest { topics, ..MetadataRequest::default() }, version);
        assert_eq!(answer.topics.len(), 2, "version {version}");
        assert_eq!(answer.brokers.len(), 1);
        let broker_told = &answer.brokers[0];
        assert_eq!(broker_told.host, "127.0.0.1");
        assert_eq!(broker_told.port, i32::from(broker.address().port()));
        for topic in &answer.topics {
            for partition in &topic.partitions {
                assert_eq!(partition.error_code, 0);
                assert_eq!(partition.leader_id, broker_told.node_id);
                assert_eq!(partition.isr_nodes, [broker_told.node_id]);
            }
        }
        if version > 0 {
            let none = client.ask(&MetadataRequest::default(), version);
            assert!(none.topics.is_empty(), "version {version}");
            assert_eq!(none.controller_id, broker_told.node_id);
        }
    }
    let by_id = |id: Uuid| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id: id, name: None }]),
        ..MetadataRequest::default()
    };
    let found = client.ask(&by_id(topic.id), 12).topics.remove(0);
    assert_eq!(found.name.as_deref(), Some("first"));
    assert_eq!(found.partitions.len(), 3);
    let missing = client.ask(&by_id(Uuid::from_u128(3)), 12).topics.remove(0);
    assert_eq!(code(missing.error_code), ErrorCode::UnknownTopicId);
}

#[test]
fn topics_are_made_on_demand_only_where_client_and_broker_want_it() {
    let broker = Broker::with(&["shards=2", "num.partitions=4"]);
    let mut client = broker.client();
    let unwanted = metadata(&mut client, &["demanded"], false).topics.remove(0);
    assert_eq!(code(unwanted.error_code), ErrorCode::UnknownTopicOrPartition);
    let made = metadata(&mut client, &["demanded"], true).topics.remove(0);
    assert_eq!((made.error_code, made.partitions.len()), (0, 4));
    let bad = metadata(&mut client, &["no spaces"], true).topics.remove(0);
    assert_eq!(code(bad.error_code), ErrorCode::InvalidTopicException);
    let topic = find_topic(&mut client, "demanded");
    assert_eq!(produce(&mut client, &topic, 3, &batch(&["at once"])), 0);

    let broker = Broker::with(&["shards=1", "auto.create.topics.enable=false"]);
    let refused = metadata(&mut broker.client(), &["demanded"], true).topics.remove(0);
    assert_eq!(code(refused.error_code), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn the_cluster_describes_itself_and_keeps_its_id() {
    let broker = Broker::start();
    let told = |broker: &Broker| {
        let mut client = broker.client();
        let answers: Vec<_> = (0..=2)
            .map(|version| client.ask(&DescribeClusterRequest::default(), version))
            .collect();
        for answer in &answers {
            assert_eq!(answer.error_code, 0);
            assert_eq!(answer.brokers[0].port, i32::from(broker.address().port()));
            assert_eq!(answer.controller_id, answer.brokers[0].broker_id);
        }
        answers[0].cluster_id.to_string()
    };
    let id = told(&broker);
    assert!(!id.is_empty());
    let broker = broker.restart();
    assert_eq!(told(&broker), id);
}

#[test]
fn topics_get_defaults_and_what_is_wrong_with_others_is_told() {
    let broker = Broker::with(&["shards=1", "num.partitions=2"]);
    let mut client = broker.client();
    let made = create_topics(&mut client, vec![new_topic("default", -1, &[])]).remove(0);
    assert_eq!((made.error_code, made.num_partitions, made.replication_factor), (0, 2, 1));
    let configs = made.configs.expect("configs");
    assert!(configs.iter().any(|config| config.name == "max.message.bytes"));
    let replicated = CreatableTopic { replication_factor: 3, ..new_topic("replicated", 1, &[]) };
    let cases = vec![
        (new_topic("default", 1, &[]), ErrorCode::TopicAlreadyExists),
        (new_topic("", 1, &[]), ErrorCode::InvalidTopicException),
        (new_topic("..", 1, &[]), ErrorCode::InvalidTopicException),
        (new_topic("a/b", 1, &[]), ErrorCode::InvalidTopicException),
        (new_topic(&"x".repeat(250), 1, &[]), ErrorCode::InvalidTopicException),
        (new_topic("none", 0, &[]), ErrorCode::InvalidPartitions),
        (new_topic("vast", 1_000_000, &[]), ErrorCode::InvalidPartitions),
        (replicated, ErrorCode::InvalidReplicationFactor),
        (new_topic("odd", 1, &[("retention.msec", "1")]), ErrorCode::InvalidConfig),
        (new_topic("odd", 1, &[("retention.ms", "soon")]), ErrorCode::InvalidConfig),
        (new_topic("odd", 1, &[("segment.bytes", "1")]), ErrorCode::InvalidConfig),
    ];
    for (topic, expected) in cases {
        let what = format!("{topic:?}");
        let result = create_topics(&mut client, vec![topic]).remove(0);
        assert_eq!(code(result.error_code), expected, "{what}");
        assert!(result.error_message.is_some_and(|text| !text.is_empty()), "{what}");
    }
    assert_eq!(names(&mut client), ["default"]);
    let request = CreateTopicsRequest {
        topics: vec![new_topic("checked", 1, &[])],
        validate_only: true,
        ..CreateTopicsRequest::default()
    };
    assert_eq!(client.ask(&request, 7).topics[0].error_code, 0);
    assert_eq!(names(&mut client), ["default"]);
    for version in 2..=7 {
        let name = format!("version-{version}");
        let topics = vec![CreatableTopic { replication_factor: 1, ..new_topic(&name, 1, &[]) }];
        let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
        assert_eq!(client.ask(&request, version).topics[0].error_code, 0);
    }
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_is_free_for_another() {
    let broker = Broker::with(&["shards=2"]);
    let mut client = broker.client();
    let old = create_topic(&mut client, "reborn", 4, &[]);
    for partition in 0..4 {
        produce(&mut client, &old, partition, &batch(&["old"]));
    }
    let by_name = |name: &str| DeleteTopicsRequest {
        topic_names: vec![name.into()],
        topics: vec![DeleteTopicState { name: Some(name.into()), ..Default::default() }],
        timeout_ms: 10_000,
    };
    // Only one of the two ways to name it exists in each version.
    let older = DeleteTopicsRequest { topics: Vec::new(), ..by_name("reborn") };
    assert_eq!(client.ask(&older, 5).responses[0].error_code, 0);
    assert_eq!(
        code(client.ask(&older, 1).responses[0].error_code),
        ErrorCode::UnknownTopicOrPartition
    );
    assert!(!broker.folder().partition("reborn", 0).exists());
    let answer = produce_at(&mut client, 13, &old, 0, &batch(&["late"]));
    assert_eq!(code(answer.error_code), ErrorCode::UnknownTopicId);

    let new = create_topic(&mut client, "reborn", 2, &[]);
    assert_ne!(new.id, old.id);
    assert!(fetch(&mut client, &new, 0, 0).is_empty());
    assert_eq!(produce(&mut client, &new, 0, &batch(&["new"])), 0);
    let by_id = |id| DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: None, topic_id: id }],
        ..DeleteTopicsRequest::default()
    };
    let gone = client.ask(&by_id(old.id), 6).responses.remove(0);
    assert_eq!(code(gone.error_code), ErrorCode::UnknownTopicId);
    let broker = broker.restart();
    let mut client = broker.client();
    assert_eq!(read_all(&mut client, &new, 0), [(0, "new".to_owned())]);
    let deleted = client.ask(&by_id(new.id), 6).responses.remove(0);
    assert_eq!((deleted.error_code, deleted.name.as_deref()), (0, Some("reborn")));
    assert!(names(&mut client).is_empty());
    let broker = broker.restart();
    assert!(names(&mut broker.client()).is_empty());
}

#[test]
fn a_fetch_that_waits_on_a_topic_is_answered_when_the_topic_is_deleted() {
    let broker = Broker::with(&["shards=2"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "doomed", 2, &[]);
    let mut reader = broker.client();
    reader.send(&fetch_request(&topic, &[(0, 0), (1, 0)]), 12);
    metadata(&mut client, &["doomed"], false);
    let request = DeleteTopicsRequest {
        topic_names: vec!["doomed".into()],
        ..DeleteTopicsRequest::default()
    };
    assert_eq!(client.ask(&request, 5).responses[0].error_code, 0);
    let parts = parts(reader.receive::<FetchRequest>(12).1);
    assert!(parts.iter().any(|part| part.error_code != 0), "{parts:?}");
}

#[test]
fn topics_grow_and_never_shrink() {
    let broker = Broker::with(&["shards=2"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "growing", 2, &[]);
    produce(&mut client, &topic, 1, &batch(&["before"]));
    let grow = |client: &mut Client, name: &str, count, validate_only| {
        let topic = CreatePartitionsTopic { name: name.into(), count, assignments: None };
        let request =
            CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only };
        code(client.ask(&request, 3).results[0].error_code)
    };
    assert_eq!(grow(&mut client, "growing", 5, true), ErrorCode::None);
    assert_eq!(partition_count(&mut client, "growing"), 2);
    assert_eq!(grow(&mut client, "growing", 5, false), ErrorCode::None);
    assert_eq!(partition_count(&mut client, "growing"), 5);
    assert_eq!(produce(&mut client, &topic, 4, &batch(&["after"])), 0);
    for count in [5, 4, 0, -1] {
        let answer = grow(&mut client, "growing", count, false);
        assert_eq!(answer, ErrorCode::InvalidPartitions, "{count}");
    }
    assert_eq!(grow(&mut client, "unknown", 5, false), ErrorCode::UnknownTopicOrPartition);
    let broker = broker.restart();
    let mut client = broker.client();
    assert_eq!(partition_count(&mut client, "growing"), 5);
    assert_eq!(read_all(&mut client, &topic, 1), [(0, "before".to_owned())]);
    assert_eq!(read_all(&mut client, &topic, 4), [(0, "after".to_owned())]);
}

fn describe(client: &mut Client, kind: i8, name: &str) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    client.ask(&request, 4).results.remove(0)
}

/// Value and source of one key of a topic.
fn config(client: &mut Client, topic: &str, key: &str) -> (String, i8) {
    let result = describe(client, TOPIC, topic);
    assert_eq!(code(result.error_code), ErrorCode::None);
    let config = result.configs.into_iter().find(|config| config.name == key).expect("the key");
    (config.value.expect("a value").to_string(), config.config_source)
}

fn alter(client: &mut Client, topic: &str, changes: &[Change<'_>]) -> ErrorCode {
    let configs = changes
        .iter()
        .map(|(name, operation, value)| AlterableConfig {
            name: (*name).into(),
            config_operation: *operation,
            value: value.map(Str::from),
        })
        .collect();
    let resource =
        AlterConfigsResource { resource_type: TOPIC, resource_name: topic.into(), configs };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    code(client.ask(&request, 1).responses[0].error_code)
}

#[test]
fn configurations_are_described_with_where_they_come_from() {
    let broker = Broker::with(&["shards=1", "log.retention.ms=5000000"]);
    let mut client = broker.client();
    create_topic(&mut client, "described", 1, &[("segment.bytes", "20000")]);
    assert_eq!(config(&mut client, "described", "segment.bytes"), ("20000".to_owned(), 1));
    assert_eq!(config(&mut client, "described", "retention.ms"), ("5000000".to_owned(), 4));
    assert_eq!(config(&mut client, "described", "cleanup.policy"), ("delete".to_owned(), 5));
    let all = describe(&mut client, TOPIC, "described").configs;
    assert!(all.len() > 15, "{} keys", all.len());
    assert!(all.iter().all(|config| config.documentation.is_some()));
    let of_broker = describe(&mut client, BROKER, "1");
    assert_eq!(code(of_broker.error_code), ErrorCode::None);
    assert!(of_broker.configs.iter().any(|config| config.name == "log.retention.ms"));
    let unknown = describe(&mut client, TOPIC, "unknown");
    assert_eq!(code(unknown.error_code), ErrorCode::UnknownTopicOrPartition);
    let other = describe(&mut client, BROKER, "99");
    assert_eq!(code(other.error_code), ErrorCode::InvalidRequest);
    let keys = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: "described".into(),
            configuration_keys: Some(vec!["segment.bytes".into()]),
        }],
        ..DescribeConfigsRequest::default()
    };
    for version in 1..=4 {
        let result = client.ask(&keys, version).results.remove(0);
        assert_eq!(result.configs.len(), 1);
    }
}

#[test]
fn altered_configurations_take_effect_at_once_and_are_kept() {
    let broker = Broker::with(&["shards=2"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "altered", 2, &[]);
    let large = large(5_000);
    let both = |client: &mut Client, expected: ErrorCode| {
        for partition in 0..2 {
            let answer = produce_at(client, 9, &topic, partition, &large);
            assert_eq!(code(answer.error_code), expected);
        }
    };
    both(&mut client, ErrorCode::None);
    let set = [("max.message.bytes", SET, Some("1000"))];
    assert_eq!(alter(&mut client, "altered", &set), ErrorCode::None);
    both(&mut client, ErrorCode::MessageTooLarge);
    assert_eq!(config(&mut client, "altered", "max.message.bytes"), ("1000".to_owned(), 1));

    let append = [("cleanup.policy", APPEND, Some("compact"))];
    assert_eq!(alter(&mut client, "altered", &append), ErrorCode::None);
    let (policy, _) = config(&mut client, "altered", "cleanup.policy");
    let mut policies: Vec<_> = policy.split(',').collect();
    policies.sort_unstable();
    assert_eq!(policies, ["compact", "delete"]);
    let broker = broker.restart();
    let mut client = broker.client();
    both(&mut client, ErrorCode::MessageTooLarge);
    let subtract = [("cleanup.policy", SUBTRACT, Some("delete"))];
    assert_eq!(alter(&mut client, "altered", &subtract), ErrorCode::None);
    assert_eq!(config(&mut client, "altered", "cleanup.policy").0, "compact");

    let delete = [("max.message.bytes", DELETE, None), ("cleanup.policy", DELETE, None)];
    assert_eq!(alter(&mut client, "altered", &delete), ErrorCode::None);
    both(&mut client, ErrorCode::None);
    assert_eq!(config(&mut client, "altered", "cleanup.policy"), ("delete".to_owned(), 5));
}

#[test]
fn alterations_that_cannot_be_made_change_nothing() {
    let broker = Broker::start();
    let mut client = broker.client();
    create_topic(&mut client, "steady", 1, &[]);
    let cases: [(&[Change<'_>], ErrorCode); 6] = [
        (&[("retention.msec", SET, Some("1"))], ErrorCode::InvalidConfig),
        (&[("retention.ms", SET, Some("soon"))], ErrorCode::InvalidConfig),
        (&[("retention.ms", SET, None)], ErrorCode::InvalidConfig),
        (&[("retention.ms", APPEND, Some("1"))], ErrorCode::InvalidConfig),
        (&[("retention.ms", 9, Some("1"))], ErrorCode::InvalidRequest),
        (
            &[("retention.ms", SET, Some("1000000")), ("segment.bytes", SET, Some("-5"))],
            ErrorCode::InvalidConfig,
        ),
    ];
    for (changes, expected) in cases {
        assert_eq!(alter(&mut client, "steady", changes), expected, "{changes:?}");
    }
    assert_eq!(config(&mut client, "steady", "retention.ms"), ("604800000".to_owned(), 5));
    let answer = alter(&mut client, "unknown", &[("retention.ms", SET, Some("1"))]);
    assert_eq!(answer, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn topics_and_configurations_survive_a_kill() {
    let broker = Process::start(&Folder::new(), &["shards=2"]);
    let mut client = broker.client();
    let kept = create_topic(&mut client, "kept", 3, &[("retention.ms", "123456789")]);
    create_topic(&mut client, "dropped", 1, &[]);
    produce(&mut client, &kept, 2, &batch(&["value"]));
    let delete = DeleteTopicsRequest {
        topic_names: vec!["dropped".into()],
        ..DeleteTopicsRequest::default()
    };
    assert_eq!(client.ask(&delete, 5).responses[0].error_code, 0);
    let set = [("max.message.bytes", SET, Some("1000"))];
    assert_eq!(alter(&mut client, "kept", &set), ErrorCode::None);
    let broker = broker.kill_and_restart();
    let mut client = broker.client();
    assert_eq!(names(&mut client), ["kept"]);
    assert_eq!(find_topic(&mut client, "kept").id, kept.id);
    assert_eq!(partition_count(&mut client, "kept"), 3);
    assert_eq!(config(&mut client, "kept", "retention.ms"), ("123456789".to_owned(), 1));
    assert_eq!(config(&mut client, "kept", "max.message.bytes"), ("1000".to_owned(), 1));
    assert_eq!(read_all(&mut client, &kept, 2), [(0, "value".to_owned())]);
    assert_eq!(broker.terminate(), Some(0), "SIGTERM is a clean end");
}

#[test]
fn garbage_and_unknown_requests_end_their_own_connection_alone() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "calm", 1, &[]);
    let frames: [&[u8]; 8] = [
        &[0x7f, 0xff, 0xff, 0xff, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0, 1, 2, 3],
        &[0, 0, 0, 0],
        &[0, 0, 0, 4, 0, 3, 0, 0],
        // API key 999.
        &[0, 0, 0, 10, 3, 0xe7, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        // Metadata version 77.
        &[0, 0, 0, 10, 0, 3, 0, 77, 0, 0, 0, 1, 0xff, 0xff],
        // Metadata version 1 with 2^31-1 topics.
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
    ];
    for frame in frames {
        let mut hostile = broker.client();
        hostile.send_bytes(frame);
        assert!(hostile.is_closed_silently(), "{frame:?}");
    }
    // A request that never ends does not stand in another's way.
    let mut slow = std::net::TcpStream::connect(broker.address()).expect("it listens");
    slow.write_all(&[0, 0, 1, 0, 0, 3]).expect("sent");
    assert_eq!(produce(&mut client, &topic, 0, &batch(&["still here"])), 0);
}

#[test]
fn a_topic_that_is_named_many_times_is_answered_once() {
    let broker = Broker::start();
    let mut client = broker.client();
    create_topic(&mut client, "once", 1, &[]);
    assert_eq!(metadata(&mut client, &["once"; 1000], false).topics.len(), 1);
}
