//! From settings out of several sources to one value per key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cli::{CONFIG_VARIABLE, Cli, FLAG_VARIABLES, LOG_VARIABLE, VARIABLE_PREFIX};
use super::error::{ConfigError, Origin};
use super::keys::{BROKER_KEYS, BrokerKey, TOPIC_KEYS, broker_key, topic_key};
use super::value::Value;
use super::{properties, suggest};

/// The greatest length of a configuration file, in bytes. Kafka's own example has 7 KiB; what is
/// larger than this is some other file.
const CONFIG_FILE_BYTES_MAX: u64 = 1 << 20;

/// A key with a value, as some source gives it. The key may be unknown.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// A broker key with a value that was checked.
#[derive(Debug, Clone)]
pub(super) struct Set {
    /// The key as spelled: perhaps an alias.
    pub(super) key: &'static BrokerKey,
    /// The value as given.
    pub(super) text: String,
    /// The value in the canonical key's unit.
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The settings that hold, by canonical key.
pub(super) type Resolved = BTreeMap<&'static str, Set>;

/// The settings of the command line.
pub(super) fn flags(cli: &Cli, errors: &mut Vec<ConfigError>) -> Vec<Setting> {
    let mut settings = Vec::new();
    let own = [
        ("--listen", "listeners", &cli.listen),
        ("--data-dir", "log.dirs", &cli.data_dir),
        ("--shards", "shards", &cli.shards),
    ];
    for (flag, key, value) in own {
        if let Some(value) = value {
            let origin = Origin::Flag(flag);
            settings.push(Setting { key: key.to_owned(), value: value.clone(), origin });
        }
    }
    for text in &cli.set {
        let origin = Origin::Flag("--set");
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => settings.push(Setting {
                key: key.trim().to_owned(),
                value: value.to_owned(),
                origin,
            }),
            _ => errors.push(ConfigError::NotASetting { text: text.clone(), origin }),
        }
    }
    settings
}

/// The settings of the environment, and the configuration file that it names.
pub(super) fn variables(
    environment: impl Iterator<Item = (OsString, OsString)>,
    errors: &mut Vec<ConfigError>,
) -> (Vec<Setting>, Option<PathBuf>) {
    let mut settings = Vec::new();
    let mut file = None;
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with(VARIABLE_PREFIX)) else {
            continue;
        };
        if name == LOG_VARIABLE {
            continue;
        }
        if name == CONFIG_VARIABLE {
            file = Some(PathBuf::from(value));
            continue;
        }
        let origin = Origin::Variable(name.to_owned());
        let Ok(value) = value.into_string() else {
            errors.push(ConfigError::NotText { origin });
            continue;
        };
        let key = match FLAG_VARIABLES.iter().find(|(variable, _)| *variable == name) {
            Some((_, key)) => (*key).to_owned(),
            None => {
                let suffix = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name);
                suffix.to_ascii_lowercase().replace('_', ".")
            }
        };
        settings.push(Setting { key, value, origin });
    }
    // The environment has no order of its own; errors should have one.
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    (settings, file)
}

/// The settings of a properties file.
pub(super) fn file(path: &Path, errors: &mut Vec<ConfigError>) -> Vec<Setting> {
    let unreadable = |source| ConfigError::FileUnreadable { path: path.to_owned(), source };
    let text = match read_bounded(path) {
        Ok(Ok(text)) => text,
        Ok(Err(bytes)) => {
            errors.push(ConfigError::FileTooLarge {
                path: path.to_owned(),
                bytes,
                bytes_max: CONFIG_FILE_BYTES_MAX,
            });
            return Vec::new();
        }
        Err(source) => {
            errors.push(unreadable(source));
            return Vec::new();
        }
    };
    let shared: Arc<Path> = path.into();
    let origin = |line| Origin::File { path: shared.clone(), line };
    let (properties, problems) = properties::parse(&text);
    for (line, problem) in problems {
        errors.push(ConfigError::Syntax { origin: origin(line), problem });
    }
    properties
        .into_iter()
        .map(|p| Setting { key: p.key, value: p.value, origin: origin(p.line) })
        .collect()
}

/// The file's text, or its length if it is too long. It is read once, before any shard runs.
fn read_bounded(path: &Path) -> std::io::Result<Result<String, u64>> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > CONFIG_FILE_BYTES_MAX {
        return Ok(Err(bytes));
    }
    std::fs::read_to_string(path).map(Ok)
}

/// Lays sources over each other, the strongest first.
///
/// The strongest source that sets a key in any of its spellings wins; among the spellings within
/// one source Kafka's order holds (ms before minutes before hours). Two names of the same key and
/// unit with different values in one source contradict each other.
pub(super) fn resolve(sources: Vec<Vec<Setting>>, errors: &mut Vec<ConfigError>) -> Resolved {
    let mut resolved = Resolved::new();
    for source in sources {
        let of_source = one_source(source, errors);
        for (canonical, set) in of_source {
            resolved.entry(canonical).or_insert(set);
        }
    }
    resolved
}

fn one_source(source: Vec<Setting>, errors: &mut Vec<ConfigError>) -> Resolved {
    let mut by_name: BTreeMap<String, Origin> = BTreeMap::new();
    let mut sets = Vec::new();
    for Setting { key, value, origin } in source {
        if let Some(first) = by_name.get(&key) {
            errors.push(ConfigError::Duplicate { key, first: first.clone(), again: origin });
            continue;
        }
        by_name.insert(key.clone(), origin.clone());
        let Some(known) = broker_key(&key) else {
            errors.push(unknown_broker_key(key, origin));
            continue;
        };
        match known.parse(&value) {
            Ok(parsed) => {
                sets.push(Set { key: known, text: value.trim().to_owned(), value: parsed, origin });
            }
            Err(problem) => {
                let (key, value) = (known.name, value.into());
                errors.push(ConfigError::InvalidValue { key, value, origin, problem });
            }
        }
    }
    // The table's order is the order of precedence among the spellings of one key.
    sets.sort_by_key(|set| BROKER_KEYS.iter().position(|key| key.name == set.key.name));
    let mut resolved = Resolved::new();
    for set in sets {
        match resolved.get(set.key.canonical()) {
            None => {
                resolved.insert(set.key.canonical(), set);
            }
            Some(first) => {
                let same_unit = set.key.alias.is_none_or(|alias| alias.scale == 1);
                if same_unit && first.value != set.value {
                    errors.push(ConfigError::Contradiction {
                        key: set.key.name,
                        value: set.text,
                        again: set.origin,
                        first_key: first.key.name,
                        first_value: first.text.clone(),
                        first: Box::new(first.origin.clone()),
                    });
                }
            }
        }
    }
    resolved
}

/// The error for a name that is no broker key.
pub(super) fn unknown_broker_key(key: String, origin: Origin) -> ConfigError {
    // A topic's name for a thing is the nearest of all.
    let nearest = topic_key(&key)
        .map(|topic| topic.broker_key)
        .or_else(|| suggest::nearest(&key, BROKER_KEYS.iter().map(|key| key.name)));
    ConfigError::UnknownKey { nearest, hint: suggest::hint(&key), key, origin }
}

/// The error for a name that is no topic configuration.
pub(super) fn unknown_topic_key(key: String, origin: Origin) -> ConfigError {
    let nearest = broker_key(&key)
        .and_then(|broker| broker.topic_key)
        .or_else(|| suggest::nearest(&key, TOPIC_KEYS.iter().map(|key| key.name)));
    ConfigError::UnknownKey { nearest, hint: suggest::hint(&key), key, origin }
}
