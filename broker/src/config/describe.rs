//! Configurations as `DescribeConfigs` shows them.

use super::keys::{BROKER_KEYS, DefaultValue, documentation};
use super::resolve::Resolved;
use super::topic::{TopicDefaults, TopicOverrides};
use super::value::ConfigType;

/// Which source gave a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// The topic's own setting.
    DynamicTopic,
    /// The broker's flags, environment or file.
    StaticBroker,
    /// Nothing: the built-in default.
    Default,
}

impl ConfigSource {
    /// The source's number in the `DescribeConfigs` response.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::DynamicTopic => 1,
            Self::StaticBroker => 4,
            Self::Default => 5,
        }
    }
}

/// One of the settings that a value was chosen among, strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The key.
    pub name: &'static str,
    /// Its value; `None` where it has none.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
}

/// One configuration with everything that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConfig {
    /// The key.
    pub name: &'static str,
    /// The effective value; `None` for another spelling of a key that nothing sets.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Its type.
    pub config_type: ConfigType,
    /// Whether it is fixed while the broker runs.
    pub read_only: bool,
    /// Whether its value must not be shown. No key of Ringlog's is secret.
    pub sensitive: bool,
    /// What the value was chosen among, strongest first.
    pub synonyms: Vec<ConfigSynonym>,
    /// What it means.
    pub documentation: String,
}

impl DescribedConfig {
    /// Whether nothing sets it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.source == ConfigSource::Default
    }
}

/// Every topic configuration with a topic's effective values, in the table's order.
#[must_use]
pub fn describe_topic(
    defaults: &TopicDefaults,
    overrides: &TopicOverrides,
) -> Vec<DescribedConfig> {
    let described = defaults.entries().iter().map(|entry| {
        let key = entry.key;
        let mut synonyms = Vec::new();
        if let Some(value) = overrides.get(key.name) {
            synonyms.push(ConfigSynonym {
                name: key.name,
                value: Some(value.clone()),
                source: ConfigSource::DynamicTopic,
            });
        }
        if let Some((name, text)) = &entry.set_by {
            synonyms.push(ConfigSynonym {
                name,
                value: Some(text.clone()),
                source: ConfigSource::StaticBroker,
            });
        }
        synonyms.push(ConfigSynonym {
            name: key.broker_key,
            value: Some(key.default.to_owned()),
            source: ConfigSource::Default,
        });
        let source = synonyms.first().map_or(ConfigSource::Default, |first| first.source);
        let value = overrides.get(key.name).cloned().unwrap_or_else(|| entry.value.to_string());
        DescribedConfig {
            name: key.name,
            value: Some(value),
            source,
            config_type: key.kind.config_type(),
            read_only: false,
            sensitive: false,
            synonyms,
            documentation: documentation(key.doc, key.effect),
        }
    });
    described.collect()
}

/// Every broker key with its effective value, in the table's order. `computed` gives the values of
/// the keys whose defaults are worked out at start.
pub(super) fn describe_broker(
    resolved: &Resolved,
    computed: impl Fn(&str) -> String,
) -> Vec<DescribedConfig> {
    let described = BROKER_KEYS.iter().map(|key| {
        let default = match key.default {
            DefaultValue::Text(text) => Some(text.to_owned()),
            DefaultValue::Computed(_) => Some(computed(key.name)),
            DefaultValue::Absent => None,
        };
        // A key's value is what holds, whichever spelling set it; an alias shows only what was
        // set through itself.
        let set = resolved
            .get(key.canonical())
            .filter(|set| key.alias.is_none() || set.key.name == key.name);
        let mut synonyms = Vec::new();
        if let Some(set) = set {
            synonyms.push(ConfigSynonym {
                name: set.key.name,
                value: Some(set.text.clone()),
                source: ConfigSource::StaticBroker,
            });
        }
        if let Some(default) = &default {
            synonyms.push(ConfigSynonym {
                name: key.name,
                value: Some(default.clone()),
                source: ConfigSource::Default,
            });
        }
        let value = match set {
            Some(set) if key.alias.is_some() => Some(set.text.clone()),
            Some(set) => Some(set.value.to_string()),
            None => default,
        };
        DescribedConfig {
            name: key.name,
            value,
            source: if set.is_some() { ConfigSource::StaticBroker } else { ConfigSource::Default },
            config_type: key.kind.config_type(),
            read_only: true,
            sensitive: false,
            synonyms,
            documentation: documentation(key.doc, key.effect),
        }
    });
    described.collect()
}
