//! Topic configurations: what is allowed, what results, how they are altered and described.

use ringlog_broker::config::{
    AlterOp, Alteration, BrokerConfig, CleanupPolicy, ConfigError, ConfigSource, TimestampType,
    TopicConfig, TopicDefaults, TopicOverrides, alter, describe_topic, keys, validate,
    validate_all,
};

fn defaults() -> TopicDefaults {
    BrokerConfig::default().topic_defaults
}

fn overrides(pairs: &[(&str, &str)]) -> TopicOverrides {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn alteration(name: &str, op: AlterOp, value: Option<&str>) -> Alteration {
    Alteration { name: name.to_owned(), op, value: value.map(str::to_owned) }
}

#[test]
fn overrides_lie_over_the_brokers_defaults() {
    let config = TopicConfig::resolve(
        &defaults(),
        &overrides(&[
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "-1"),
            ("segment.bytes", "1048576"),
            ("message.timestamp.type", "LogAppendTime"),
        ]),
    )
    .expect("allowed");
    assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: true });
    assert_eq!(config.retention_ms, None);
    assert_eq!(config.segment_bytes, 1_048_576);
    assert_eq!(config.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(config.max_message_bytes, 1_048_588);
    let nothing = TopicConfig::resolve(&defaults(), &TopicOverrides::new()).expect("allowed");
    assert_eq!(&nothing, defaults().config());
}

#[test]
fn an_empty_cleanup_policy_keeps_everything() {
    let config = TopicConfig::resolve(&defaults(), &overrides(&[("cleanup.policy", "")]));
    let policy = config.expect("allowed").cleanup_policy;
    assert_eq!(policy, CleanupPolicy { delete: false, compact: false });
}

#[test]
fn every_default_is_an_allowed_override() {
    for key in keys::TOPIC_KEYS {
        validate(key.name, key.default).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_wrong_override_says_the_key_the_value_and_what_is_allowed() {
    for (name, value, expected) in [
        ("retention.ms", "-2", "retention.ms=-2: must be in -1..=9223372036854775807 ms"),
        ("cleanup.policy", "shrink", "\"shrink\" is not among the allowed values: delete, compact"),
        ("compression.type", "zstd", "not served by this broker: batches are stored with the"),
        ("segment.bytes", "1k", "in digits alone"),
        ("retenton.ms", "1", "did you mean retention.ms?"),
        ("log.retention.ms", "1", "did you mean retention.ms?"),
        ("remote.storage.enable", "true", "tiered storage is not served"),
    ] {
        let error = validate(name, value).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}={value}: {error}");
    }
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    let wrong = overrides(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "9")]);
    let error = validate_all(&defaults(), &wrong).expect_err("refused");
    assert!(matches!(error, ConfigError::Relation { .. }), "{error}");
}

#[test]
fn set_and_delete_change_only_what_differs() {
    let current = overrides(&[("retention.ms", "5"), ("segment.ms", "7")]);
    let changes = alter(
        &defaults(),
        &current,
        &[
            alteration("retention.ms", AlterOp::Set, Some(" 5 ")),
            alteration("segment.ms", AlterOp::Delete, None),
            alteration("flush.ms", AlterOp::Delete, None),
            alteration("segment.bytes", AlterOp::Set, Some("20000")),
        ],
    )
    .expect("allowed");
    assert_eq!(changes, vec![("segment.ms", None), ("segment.bytes", Some("20000".to_owned()))]);
}

#[test]
fn lists_are_appended_to_and_subtracted_from_as_they_effectively_are() {
    let append = [alteration("cleanup.policy", AlterOp::Append, Some("compact"))];
    let changes = alter(&defaults(), &TopicOverrides::new(), &append).expect("allowed");
    assert_eq!(changes, vec![("cleanup.policy", Some("delete,compact".to_owned()))]);
    let current = overrides(&[("cleanup.policy", "delete,compact")]);
    let subtract = [alteration("cleanup.policy", AlterOp::Subtract, Some("delete"))];
    let changes = alter(&defaults(), &current, &subtract).expect("allowed");
    assert_eq!(changes, vec![("cleanup.policy", Some("compact".to_owned()))]);
}

#[test]
fn only_lists_can_be_appended_to_and_a_key_is_altered_once_a_request() {
    let wrong = [alteration("retention.ms", AlterOp::Append, Some("1"))];
    let error = alter(&defaults(), &TopicOverrides::new(), &wrong).expect_err("refused");
    assert!(matches!(error, ConfigError::NotAList { .. }), "{error}");
    let twice = [
        alteration("retention.ms", AlterOp::Set, Some("1")),
        alteration("retention.ms", AlterOp::Delete, None),
    ];
    let error = alter(&defaults(), &TopicOverrides::new(), &twice).expect_err("refused");
    assert!(matches!(error, ConfigError::Duplicate { .. }), "{error}");
}

#[test]
fn a_topic_describes_every_key_with_its_source_and_its_synonyms() {
    let described = describe_topic(&defaults(), &overrides(&[("retention.ms", "5")]));
    assert_eq!(described.len(), keys::TOPIC_KEYS.len());
    let find = |name: &str| described.iter().find(|config| config.name == name).expect(name);
    let retention = find("retention.ms");
    assert_eq!(retention.value.as_deref(), Some("5"));
    assert_eq!(retention.source, ConfigSource::DynamicTopic);
    assert_eq!(retention.source.code(), 1);
    assert_eq!(retention.config_type.code(), 5);
    assert!(!retention.read_only && !retention.sensitive && !retention.is_default());
    assert_eq!(retention.synonyms.len(), 2);
    assert_eq!(retention.synonyms[1].name, "log.retention.ms");
    let lag = find("min.compaction.lag.ms");
    assert!(lag.is_default() && !lag.documentation.contains("In this broker"));
    let delay = find("file.delete.delay.ms");
    assert!(delay.is_default());
    assert!(delay.documentation.contains("In this broker: a file goes"), "{}", delay.documentation);
}
