//! Configuration: which keys there are, where their values come from, and what they are in types.
//!
//! A broker's configuration is laid over in this order, the strongest first: the command line
//! ([`Cli`]), `RINGLOG_*` environment variables, the `.properties` file, the defaults of the key
//! table ([`keys`]). [`load`] reads all of them and gives a [`BrokerConfig`], or **all** errors at
//! once. Keys have Kafka's names; a key that is not in the table is an error, never ignored.
//!
//! A topic's configuration is its overrides (kept in the metadata) over the [`TopicDefaults`] that
//! the broker's configuration leaves: [`TopicConfig`].
//!
//! Absent on purpose: size suffixes (Kafka has none), settings that change while the broker runs
//! (topics' excepted), and secrets.

mod broker;
mod cli;
mod describe;
mod error;
pub mod keys;
mod listen;
mod properties;
mod resolve;
mod suggest;
mod table;
mod topic;
mod value;

use std::ffi::OsString;

pub use broker::{BrokerConfig, Machine};
pub use cli::{Cli, LOG_VARIABLE};
pub use describe::{ConfigSource, ConfigSynonym, DescribedConfig, describe_topic};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use listen::{Endpoint, ListenError};
pub use properties::PropertiesProblem;
pub use table::help_config;
pub use topic::{
    AlterOp, Alteration, CleanupPolicy, OverrideChange, TimestampType, TopicConfig, TopicDefaults,
    TopicOverrides, alter, validate, validate_all,
};
pub use value::{ConfigType, Kind, Value, ValueError};

/// Reads the configuration from the command line, the environment and the file that either names.
///
/// `environment` is usually [`std::env::vars_os`]. Reads the file with blocking I/O, and nothing
/// else.
///
/// # Errors
///
/// Everything that is wrong, in the order of the sources.
pub fn load(
    cli: &Cli,
    environment: impl Iterator<Item = (OsString, OsString)>,
    machine: Machine,
) -> Result<BrokerConfig, ConfigErrors> {
    let mut errors = Vec::new();
    let flags = resolve::flags(cli, &mut errors);
    let (variables, file_of_environment) = resolve::variables(environment, &mut errors);
    let file = match cli.config.as_ref().or(file_of_environment.as_ref()) {
        Some(path) => resolve::file(path, &mut errors),
        None => Vec::new(),
    };
    let resolved = resolve::resolve(vec![flags, variables, file], &mut errors);
    BrokerConfig::build(resolved, machine, errors)
}
