//! Every configuration key, declared once: name, kind, default, range, meaning, and what it does.
//!
//! [`BROKER_KEYS`] are read at start (from flags, environment and file); [`TOPIC_KEYS`] are set per
//! topic and take their defaults from broker keys. A key is in a table only if it acts, or if its
//! entry says in words why accepting it is harmless ([`Effect`]). Everything else is refused by
//! name.

mod broker;
mod topic;

pub use broker::BROKER_KEYS;
pub use topic::TOPIC_KEYS;

use super::value::{Kind, Value, ValueError};

/// What setting a key does in this broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What its documentation says.
    Acts,
    /// Nothing at present, and the words say why that is harmless.
    Kept(&'static str),
}

/// The value a broker key has when nothing sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// This text.
    Text(&'static str),
    /// Worked out at start; the words say how.
    Computed(&'static str),
    /// None: the key is another spelling of a key that has a default.
    Absent,
}

/// Another spelling of a key, perhaps in another unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// The key this one stands for.
    pub of: &'static str,
    /// What a positive value is multiplied by to become a value of that key.
    pub scale: i64,
}

/// A key of the broker's own configuration.
#[derive(Debug, Clone, Copy)]
pub struct BrokerKey {
    /// Its name, Kafka's where Kafka has it.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Its value when nothing sets it.
    pub default: DefaultValue,
    /// What it means, in one or two sentences.
    pub doc: &'static str,
    /// What setting it does.
    pub effect: Effect,
    /// The key that this one is another spelling of.
    pub alias: Option<Alias>,
    /// The topic configuration whose default this key sets.
    pub topic_key: Option<&'static str>,
    /// Values that Kafka knows and this broker refuses, with the reason.
    pub refused: &'static [(&'static str, &'static str)],
}

impl BrokerKey {
    const fn new(name: &'static str, kind: Kind, default: DefaultValue, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            default,
            doc,
            effect: Effect::Acts,
            alias: None,
            topic_key: None,
            refused: &[],
        }
    }

    /// The key that sets the default of a topic configuration.
    const fn default_of(topic: &TopicKey) -> Self {
        Self {
            name: topic.broker_key,
            kind: topic.kind,
            default: DefaultValue::Text(topic.default),
            doc: topic.doc,
            effect: topic.effect,
            alias: None,
            topic_key: Some(topic.name),
            refused: topic.refused,
        }
    }

    /// Another spelling of `of`.
    const fn alias(name: &'static str, of: &Self, kind: Kind, scale: i64) -> Self {
        Self {
            name,
            kind,
            default: DefaultValue::Absent,
            doc: of.doc,
            effect: of.effect,
            alias: Some(Alias { of: of.name, scale }),
            topic_key: of.topic_key,
            refused: of.refused,
        }
    }

    /// The key whose value this one sets: itself, or what it is an alias of.
    #[must_use]
    pub fn canonical(&self) -> &'static str {
        self.alias.map_or(self.name, |alias| alias.of)
    }

    /// Checks a value and turns it into one of the canonical key.
    ///
    /// # Errors
    ///
    /// What the key's kind allows, and what it refuses.
    pub fn parse(&self, text: &str) -> Result<Value, ValueError> {
        let value = parse_served(&self.kind, self.refused, text)?;
        Ok(match (value, self.alias) {
            // Negative values mean "unlimited" in every unit; the ranges keep the product in i64.
            (Value::Number(number), Some(alias)) if number > 0 => {
                Value::Number(number.saturating_mul(alias.scale))
            }
            (value, _) => value,
        })
    }
}

/// A configuration that each topic may set for itself.
#[derive(Debug, Clone, Copy)]
pub struct TopicKey {
    /// Its name, Kafka's.
    pub name: &'static str,
    /// The broker key that sets its default.
    pub broker_key: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Its value when neither topic nor broker sets it.
    pub default: &'static str,
    /// What it means, in one or two sentences.
    pub doc: &'static str,
    /// What setting it does.
    pub effect: Effect,
    /// Values that Kafka knows and this broker refuses, with the reason.
    pub refused: &'static [(&'static str, &'static str)],
}

impl TopicKey {
    const fn new(
        name: &'static str,
        broker_key: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, broker_key, kind, default, doc, effect: Effect::Acts, refused: &[] }
    }

    const fn kept(mut self, why: &'static str) -> Self {
        self.effect = Effect::Kept(why);
        self
    }

    const fn refusing(mut self, refused: &'static [(&'static str, &'static str)]) -> Self {
        self.refused = refused;
        self
    }

    /// Checks a value.
    ///
    /// # Errors
    ///
    /// What the key's kind allows, and what it refuses.
    pub fn parse(&self, text: &str) -> Result<Value, ValueError> {
        parse_served(&self.kind, self.refused, text)
    }
}

fn parse_served(
    kind: &Kind,
    refused: &[(&'static str, &'static str)],
    text: &str,
) -> Result<Value, ValueError> {
    kind.parse(text).map_err(|error| match error {
        ValueError::NotAllowed { word, allowed } => {
            match refused.iter().find(|(value, _)| *value == word) {
                Some(&(_, why)) => ValueError::NotServed { word, why, allowed },
                None => ValueError::NotAllowed { word, allowed },
            }
        }
        other => other,
    })
}

/// The broker key of this name.
#[must_use]
pub fn broker_key(name: &str) -> Option<&'static BrokerKey> {
    BROKER_KEYS.iter().find(|key| key.name == name)
}

/// The topic configuration of this name.
#[must_use]
pub fn topic_key(name: &str) -> Option<&'static TopicKey> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

/// The documentation of a key with its effect, as `DescribeConfigs` and the key table give it.
#[must_use]
pub fn documentation(doc: &str, effect: Effect) -> String {
    match effect {
        Effect::Acts => doc.to_owned(),
        Effect::Kept(why) => format!("{doc} In this broker: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_has_one_entry_and_a_default_that_its_own_kind_allows() {
        let mut names = BTreeSet::new();
        for key in BROKER_KEYS {
            assert!(names.insert(key.name), "{} is declared twice", key.name);
            if let DefaultValue::Text(text) = key.default {
                assert!(key.parse(text).is_ok(), "{}={text}", key.name);
            }
            assert!(key.doc.ends_with('.'), "{} has no sentence", key.name);
            assert!(
                key.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.'),
                "{} has no environment variable",
                key.name
            );
        }
        let mut names = BTreeSet::new();
        for key in TOPIC_KEYS {
            assert!(names.insert(key.name), "{} is declared twice", key.name);
            assert!(key.parse(key.default).is_ok(), "{}={}", key.name, key.default);
        }
    }

    #[test]
    fn every_topic_key_takes_its_default_from_a_broker_key_and_back() {
        for key in TOPIC_KEYS {
            let broker = broker_key(key.broker_key).expect(key.broker_key);
            assert_eq!(broker.topic_key, Some(key.name));
            assert_eq!(broker.alias, None);
        }
        for key in BROKER_KEYS {
            if let Some(topic) = key.topic_key {
                assert!(topic_key(topic).is_some(), "{topic}");
            }
        }
    }

    #[test]
    fn an_alias_stands_for_a_key_that_is_no_alias_itself_and_never_overflows() {
        for key in BROKER_KEYS {
            let Some(alias) = key.alias else { continue };
            let target = broker_key(alias.of).expect(alias.of);
            assert_eq!(target.alias, None, "{}", key.name);
            if let Kind::Long { max, .. } = key.kind {
                assert!(max.checked_mul(alias.scale).is_some(), "{}", key.name);
            }
        }
    }

    #[test]
    fn hours_and_minutes_become_milliseconds_and_unlimited_stays() {
        let hours = broker_key("log.retention.hours").expect("the key");
        assert_eq!(hours.parse("2"), Ok(Value::Number(7_200_000)));
        assert_eq!(hours.parse("-1"), Ok(Value::Number(-1)));
        let minutes = broker_key("log.retention.minutes").expect("the key");
        assert_eq!(minutes.parse("3"), Ok(Value::Number(180_000)));
    }

    #[test]
    fn a_value_that_kafka_knows_and_this_broker_does_not_serve_says_so() {
        let key = topic_key("compression.type").expect("the key");
        let error = key.parse("zstd").expect_err("refused");
        assert!(error.to_string().contains("not served"), "{error}");
        assert!(error.to_string().contains("allowed: producer"), "{error}");
        assert!(matches!(key.parse("brotli"), Err(ValueError::NotAllowed { .. })));
    }
}
