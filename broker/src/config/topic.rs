//! The configuration of topics: defaults, overrides, and the values that result.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{ConfigError, Origin};
use super::keys::{TOPIC_KEYS, TopicKey, topic_key};
use super::resolve::{Resolved, unknown_topic_key};
use super::value::{Kind, Value};

/// What one topic sets for itself: text by key. The controller checks it before it is stored.
pub type TopicOverrides = BTreeMap<String, String>;

/// What becomes of old data. Neither: it is kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments go by age and size.
    pub delete: bool,
    /// Records need keys, and only the newest of each must stay.
    pub compact: bool,
}

/// Which time a record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The time its producer gave it.
    CreateTime,
    /// The time at which the broker appended it.
    LogAppendTime,
}

/// The effective configuration of a topic, in types.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `retention.ms`; `None` is for ever.
    pub retention_ms: Option<u64>,
    /// `retention.bytes` of a partition; `None` is without limit.
    pub retention_bytes: Option<u64>,
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`.
    pub segment_ms: u64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// `flush.messages`; 1 is durable before acknowledged. Also 1 where `flush.ms` is 0.
    pub flush_messages: u64,
    /// `flush.ms`; `None` is without limit of time. Of no effect where `flush_messages` is 1.
    pub flush_interval: Option<Duration>,
    /// `max.message.bytes` of a batch.
    pub max_message_bytes: u64,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: u64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: u64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
    /// `delete.retention.ms`.
    pub delete_retention_ms: u64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: u64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: u64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
}

/// One topic configuration as the broker's own configuration leaves it.
#[derive(Debug, Clone)]
pub(super) struct TopicDefault {
    pub(super) key: &'static TopicKey,
    pub(super) value: Value,
    /// The broker key that set it, as spelled, with its text; `None` is the built-in default.
    pub(super) set_by: Option<(&'static str, String)>,
}

/// What holds for a topic that sets nothing.
#[derive(Debug, Clone)]
pub struct TopicDefaults {
    entries: Vec<TopicDefault>,
    config: TopicConfig,
}

impl TopicDefaults {
    pub(super) fn new(resolved: &Resolved) -> Result<Self, ConfigError> {
        let entries: Vec<TopicDefault> = TOPIC_KEYS
            .iter()
            .map(|key| match resolved.get(key.broker_key) {
                Some(set) => TopicDefault {
                    key,
                    value: set.value.clone(),
                    set_by: Some((set.key.name, set.text.clone())),
                },
                None => TopicDefault { key, value: built_in(key), set_by: None },
            })
            .collect();
        let config = typed(|name| value_of(&entries, name))?;
        Ok(Self { entries, config })
    }

    /// The configuration of a topic that sets nothing.
    #[must_use]
    pub const fn config(&self) -> &TopicConfig {
        &self.config
    }

    pub(super) fn entries(&self) -> &[TopicDefault] {
        &self.entries
    }

    pub(super) fn value(&self, name: &str) -> Value {
        value_of(&self.entries, name)
    }
}

impl TopicConfig {
    /// The configuration of a topic: its overrides over the defaults. Costs a few dozen small
    /// allocations: for when a topic or its configuration changes, not for every request.
    ///
    /// # Errors
    ///
    /// The first override that is not a known key with an allowed value, or values that do not go
    /// together.
    pub fn resolve(
        defaults: &TopicDefaults,
        overrides: &TopicOverrides,
    ) -> Result<Self, ConfigError> {
        if overrides.is_empty() {
            return Ok(defaults.config.clone());
        }
        let mut values = BTreeMap::new();
        for (name, text) in overrides {
            values.insert(name.as_str(), validate_from(name, text, Origin::Metadata)?);
        }
        typed(|name| values.get(name).cloned().unwrap_or_else(|| defaults.value(name)))
    }

    /// Whether each batch is durable before it is acknowledged.
    #[must_use]
    pub const fn flushes_every_batch(&self) -> bool {
        self.flush_messages == 1
    }
}

/// Checks one topic configuration as a client gives it.
///
/// # Errors
///
/// [`ConfigError::UnknownKey`] or [`ConfigError::InvalidValue`], with what is allowed.
pub fn validate(name: &str, value: &str) -> Result<Value, ConfigError> {
    validate_from(name, value, Origin::Request)
}

/// Checks a topic's overrides together: each by itself, and their relations.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn validate_all(
    defaults: &TopicDefaults,
    overrides: &TopicOverrides,
) -> Result<(), ConfigError> {
    for (name, value) in overrides {
        validate(name, value)?;
    }
    TopicConfig::resolve(defaults, overrides).map(|_| ())
}

fn validate_from(name: &str, text: &str, origin: Origin) -> Result<Value, ConfigError> {
    let Some(key) = topic_key(name) else {
        return Err(unknown_topic_key(name.to_owned(), origin));
    };
    key.parse(text).map_err(|problem| ConfigError::InvalidValue {
        key: key.name,
        value: text.into(),
        origin,
        problem,
    })
}

/// How one configuration is altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterOp {
    /// To this value.
    Set,
    /// Back to the default.
    Delete,
    /// These words are added to the list, where they are not in it.
    Append,
    /// These words are taken from the list.
    Subtract,
}

/// One alteration of a topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alteration {
    /// The key.
    pub name: String,
    /// What is done to it.
    pub op: AlterOp,
    /// The value; of no meaning for [`AlterOp::Delete`].
    pub value: Option<String>,
}

/// What changes: the key and its new override, `None` where the default is to hold again.
pub type OverrideChange = (&'static str, Option<String>);

/// Works out what a topic's alterations change.
///
/// A list is appended to as it effectively is: where the topic sets nothing, the default comes
/// along, as in Kafka. Alterations that leave things as they are change nothing.
///
/// # Errors
///
/// The first alteration that is not allowed, or a result whose values do not go together.
pub fn alter(
    defaults: &TopicDefaults,
    current: &TopicOverrides,
    alterations: &[Alteration],
) -> Result<Vec<OverrideChange>, ConfigError> {
    let mut result = current.clone();
    let mut touched: Vec<&'static TopicKey> = Vec::new();
    for Alteration { name, op, value } in alterations {
        let key =
            topic_key(name).ok_or_else(|| unknown_topic_key(name.clone(), Origin::Request))?;
        if touched.iter().any(|earlier| earlier.name == key.name) {
            return Err(ConfigError::Duplicate {
                key: name.clone(),
                first: Origin::Request,
                again: Origin::Request,
            });
        }
        touched.push(key);
        let text = match (op, value) {
            (AlterOp::Delete, _) => "",
            (_, Some(text)) => text.as_str(),
            (_, None) => return Err(ConfigError::NoValue { key: name.clone() }),
        };
        match op {
            AlterOp::Delete => {
                result.remove(key.name);
            }
            AlterOp::Set => {
                result.insert(key.name.to_owned(), validate(name, text)?.to_string());
            }
            AlterOp::Append | AlterOp::Subtract => {
                if !matches!(key.kind, Kind::List { .. }) {
                    return Err(ConfigError::NotAList { key: name.clone() });
                }
                let now = match result.get(key.name) {
                    Some(text) => validate(name, text)?,
                    None => defaults.value(key.name),
                };
                let (Value::List(mut words), Value::List(given)) = (now, validate(name, text)?)
                else {
                    return Err(ConfigError::NotAList { key: name.clone() });
                };
                words.retain(|word| !given.contains(word));
                if *op == AlterOp::Append {
                    words.extend(given);
                }
                result.insert(key.name.to_owned(), Value::List(words).to_string());
            }
        }
    }
    validate_all(defaults, &result)?;
    Ok(touched
        .into_iter()
        .filter(|key| current.get(key.name) != result.get(key.name))
        .map(|key| (key.name, result.get(key.name).cloned()))
        .collect())
}

fn built_in(key: &TopicKey) -> Value {
    key.parse(key.default).expect("a test parses every default of the table")
}

fn value_of(entries: &[TopicDefault], name: &str) -> Value {
    let entry = entries.iter().find(|entry| entry.key.name == name);
    entry.expect("every key read here is in the table").value.clone()
}

fn typed(value: impl Fn(&str) -> Value) -> Result<TopicConfig, ConfigError> {
    let number = |name: &str| match value(name) {
        Value::Number(number) => number,
        other => unreachable!("{name} is declared a number and is {other:?}"),
    };
    // Ranges of the table begin at 0 or above, but for -1, which is read by `limit`.
    let count = |name: &str| number(name).max(0).unsigned_abs();
    let limit = |name: &str| u64::try_from(number(name)).ok();
    let flag = |name: &str| matches!(value(name), Value::Bool(true));
    let policy = match value("cleanup.policy") {
        Value::List(words) => CleanupPolicy {
            delete: words.iter().any(|word| word == "delete"),
            compact: words.iter().any(|word| word == "compact"),
        },
        other => unreachable!("cleanup.policy is declared a list and is {other:?}"),
    };
    let timestamp_type = match value("message.timestamp.type") {
        Value::Text(word) if word == "LogAppendTime" => TimestampType::LogAppendTime,
        _ => TimestampType::CreateTime,
    };
    let ratio = match value("min.cleanable.dirty.ratio") {
        Value::Double(ratio) => ratio,
        other => unreachable!("min.cleanable.dirty.ratio is declared decimal and is {other:?}"),
    };
    if number("min.compaction.lag.ms") > number("max.compaction.lag.ms") {
        return Err(ConfigError::Relation {
            left: "min.compaction.lag.ms",
            left_value: number("min.compaction.lag.ms"),
            right: "max.compaction.lag.ms",
            right_value: number("max.compaction.lag.ms"),
            rule: "the first must not be above the second",
        });
    }
    let flush_ms = number("flush.ms");
    Ok(TopicConfig {
        cleanup_policy: policy,
        retention_ms: limit("retention.ms"),
        retention_bytes: limit("retention.bytes"),
        segment_bytes: count("segment.bytes"),
        segment_ms: count("segment.ms"),
        index_interval_bytes: count("index.interval.bytes"),
        flush_messages: if flush_ms == 0 { 1 } else { count("flush.messages") },
        flush_interval: (flush_ms != i64::MAX)
            .then(|| Duration::from_millis(flush_ms.max(0).unsigned_abs())),
        max_message_bytes: count("max.message.bytes"),
        timestamp_type,
        timestamp_before_max_ms: count("message.timestamp.before.max.ms"),
        timestamp_after_max_ms: count("message.timestamp.after.max.ms"),
        min_insync_replicas: u32::try_from(number("min.insync.replicas")).unwrap_or(u32::MAX),
        unclean_leader_election: flag("unclean.leader.election.enable"),
        delete_retention_ms: count("delete.retention.ms"),
        min_compaction_lag_ms: count("min.compaction.lag.ms"),
        max_compaction_lag_ms: count("max.compaction.lag.ms"),
        min_cleanable_dirty_ratio: ratio,
    })
}
