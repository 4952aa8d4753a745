//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// The environment variable that names the configuration file.
pub(super) const CONFIG_VARIABLE: &str = "RINGLOG_CONFIG";
/// The environment variable that says what is logged; it is no configuration key.
pub const LOG_VARIABLE: &str = "RINGLOG_LOG";
/// What every environment variable of Ringlog begins with.
pub(super) const VARIABLE_PREFIX: &str = "RINGLOG_";
/// Environment variables that have a flag's name instead of a key's.
pub(super) const FLAG_VARIABLES: &[(&str, &str)] =
    &[("RINGLOG_LISTEN", "listeners"), ("RINGLOG_DATA_DIR", "log.dirs")];

const AFTER_HELP: &str = "\
Without any flag, a broker for development runs on 127.0.0.1:9092 with its data in ./data.

Settings have Kafka's names (log.retention.ms, num.partitions, ...). Each is taken from the first
of these that has it:
  1. the command line: --listen, --data-dir, --shards, --set KEY=VALUE
  2. the environment: RINGLOG_ and the key in capitals with _ for the dot,
     such as RINGLOG_LOG_RETENTION_MS for log.retention.ms
  3. the file that --config names
  4. the default
`ringlog --help-config` prints every key with its default and its allowed values.

RINGLOG_LOG says what is logged: error, warn, info, debug, or filters such as
ringlog_broker=debug.

Examples:
  ringlog
  ringlog --listen 0.0.0.0:9092 --data-dir /var/lib/ringlog --shards 4
  ringlog --config server.properties --set num.partitions=8";

/// A Kafka-compatible log broker for Linux on io_uring.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "ringlog", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Where to listen; the key `listeners` [default: 127.0.0.1:9092] [env: RINGLOG_LISTEN]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,

    /// The folder that holds all data; the key `log.dirs` [default: ./data]
    /// [env: RINGLOG_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,

    /// How many shards (pinned threads) run; the key `shards` [default: the number of cores this
    /// process may use] [env: RINGLOG_SHARDS]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub shards: Option<String>,

    /// A file of settings in Kafka's .properties format [default: none] [env: RINGLOG_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Sets one key; may be given many times [env: RINGLOG_KEY_IN_CAPITALS]
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Prints every configuration key with its default, allowed values and meaning, and ends
    #[arg(long)]
    pub help_config: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_names_every_flag_with_its_default_and_its_variable() {
        let help = Cli::command().render_long_help().to_string();
        for expected in [
            "--listen <HOST:PORT>",
            "--data-dir <DIR>",
            "--shards <N>",
            "--config <FILE>",
            "--set <KEY=VALUE>",
            "--help-config",
            "--version",
            "RINGLOG_LISTEN",
            "RINGLOG_DATA_DIR",
            "RINGLOG_SHARDS",
            "RINGLOG_CONFIG",
            "RINGLOG_LOG",
            "127.0.0.1:9092",
            "./data",
        ] {
            assert!(help.contains(expected), "{expected} is missing in:\n{help}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
