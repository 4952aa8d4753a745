//! `topic create|list|describe|delete|alter`.

use std::collections::BTreeMap;
use std::io;

use clap::{Args, Subcommand};
use ringlog_broker::protocol::format_topic_id;
use ringlog_broker::protocol::messages::MetadataResponseTopic;
use serde_json::json;

use super::CliError;
use super::error::UsageError;
use super::output::{print_json, print_table};
use crate::client::admin::ConfigChange;
use crate::client::{Client, check};

/// Kafka's number for a configuration that is nobody's choice.
const SOURCE_DEFAULT: i8 = 5;

#[derive(Debug, Subcommand)]
pub(super) enum TopicCommand {
    /// Create a topic.
    Create(CreateArgs),
    /// List the topics.
    List {
        /// Also those that the brokers use themselves.
        #[arg(long)]
        internal: bool,
    },
    /// Describe one topic with its configuration, or the partitions of all.
    Describe {
        /// The topic; all if none is given.
        name: Option<String>,
        /// Also the configurations that have their default.
        #[arg(long)]
        all_configs: bool,
    },
    /// Delete a topic and all its records.
    Delete {
        /// The topic.
        name: String,
    },
    /// Change a topic's configuration, or raise its number of partitions.
    Alter(AlterArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The topic.
    name: String,
    /// How many partitions it has; the broker's default if not given.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many copies there are of each; the broker's default if not given.
    #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A configuration; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(super) struct AlterArgs {
    /// The topic.
    name: String,
    /// A configuration to set; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// A configuration to set back to its default; may be given several times.
    #[arg(long, value_name = "KEY")]
    delete_config: Vec<String>,
    /// How many partitions it is to have: more than now.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

pub(super) fn run(command: TopicCommand, client: &mut Client, json: bool) -> Result<(), CliError> {
    match command {
        TopicCommand::Create(args) => {
            let partitions = args.partitions.unwrap_or(-1);
            let replicas = args.replication_factor.unwrap_or(-1);
            client.create_topic(&args.name, partitions, replicas, &args.config)?;
            done(json, "created", &args.name)
        }
        TopicCommand::Delete { name } => {
            client.delete_topic(&name)?;
            done(json, "deleted", &name)
        }
        TopicCommand::Alter(args) => alter(&args, client, json),
        TopicCommand::List { internal } => list(client, json, internal),
        TopicCommand::Describe { name: Some(name), all_configs } => {
            describe(&name, client, json, all_configs)
        }
        TopicCommand::Describe { name: None, .. } => describe_all(client, json),
    }
}

fn done(json: bool, what: &str, topic: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    if json {
        return print_json(&mut out, &json!({ what: topic }));
    }
    Ok(io::Write::write_fmt(&mut out, format_args!("{what} topic {topic}\n"))?)
}

fn alter(args: &AlterArgs, client: &mut Client, json: bool) -> Result<(), CliError> {
    let set = args.config.iter().map(|(key, value)| ConfigChange::Set(key.clone(), value.clone()));
    let delete = args.delete_config.iter().map(|key| ConfigChange::Delete(key.clone()));
    let changes: Vec<ConfigChange> = set.chain(delete).collect();
    if changes.is_empty() && args.partitions.is_none() {
        return Err(UsageError::NothingToAlter.into());
    }
    if !changes.is_empty() {
        client.alter_topic_configs(&args.name, &changes)?;
    }
    if let Some(partitions) = args.partitions {
        client.set_partitions(&args.name, partitions)?;
    }
    done(json, "altered", &args.name)
}

fn topics(client: &mut Client) -> Result<Vec<MetadataResponseTopic>, CliError> {
    let mut topics = client.retry(|client| client.metadata(None))?.topics;
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

fn name(topic: &MetadataResponseTopic) -> &str {
    topic.name.as_ref().map_or("", |name| name.as_str())
}

fn list(client: &mut Client, json: bool, internal: bool) -> Result<(), CliError> {
    let mut topics = topics(client)?;
    topics.retain(|topic| internal || !topic.is_internal);
    let mut out = io::stdout().lock();
    if json {
        let names: Vec<&str> = topics.iter().map(name).collect();
        return print_json(&mut out, &names);
    }
    for topic in &topics {
        io::Write::write_fmt(&mut out, format_args!("{}\n", name(topic)))?;
    }
    Ok(())
}

fn partitions_json(topic: &MetadataResponseTopic) -> Vec<serde_json::Value> {
    let mut partitions: Vec<_> = topic.partitions.iter().collect();
    partitions.sort_by_key(|partition| partition.partition_index);
    let partition = |one: &&ringlog_broker::protocol::messages::MetadataResponsePartition| {
        json!({
            "partition": one.partition_index,
            "leader": one.leader_id,
            "leader_epoch": one.leader_epoch,
            "replicas": one.replica_nodes,
            "isr": one.isr_nodes,
        })
    };
    partitions.iter().map(partition).collect()
}

fn partition_rows(topic: &MetadataResponseTopic) -> Vec<Vec<String>> {
    let mut partitions: Vec<_> = topic.partitions.iter().collect();
    partitions.sort_by_key(|partition| partition.partition_index);
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let row = |one: &&ringlog_broker::protocol::messages::MetadataResponsePartition| {
        vec![
            name(topic).to_owned(),
            one.partition_index.to_string(),
            one.leader_id.to_string(),
            one.leader_epoch.to_string(),
            ids(&one.replica_nodes),
            ids(&one.isr_nodes),
        ]
    };
    partitions.iter().map(row).collect()
}

const PARTITION_HEADS: [&str; 6] = ["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR"];

fn describe_all(client: &mut Client, json: bool) -> Result<(), CliError> {
    let topics = topics(client)?;
    let mut out = io::stdout().lock();
    if json {
        let all: Vec<_> = topics
            .iter()
            .map(|topic| {
                json!({
                    "topic": name(topic),
                    "topic_id": format_topic_id(topic.topic_id),
                    "internal": topic.is_internal,
                    "partitions": partitions_json(topic),
                })
            })
            .collect();
        return print_json(&mut out, &all);
    }
    let rows: Vec<_> = topics.iter().flat_map(partition_rows).collect();
    Ok(print_table(&mut out, &PARTITION_HEADS, &rows)?)
}

fn describe(wanted: &str, client: &mut Client, json: bool, all: bool) -> Result<(), CliError> {
    let topic = client.retry(|client| {
        let mut metadata = client.metadata(Some(&[wanted]))?;
        let topic = metadata.topics.pop().unwrap_or_default();
        check(topic.error_code, None, || format!("topic {wanted}"))?;
        Ok(topic)
    })?;
    let mut configs = client.topic_configs(wanted)?;
    configs.retain(|config| all || config.config_source != SOURCE_DEFAULT);
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    let value = |value: &Option<ringlog_broker::protocol::codec::Str>| {
        value.as_ref().map(|value| value.as_str().to_owned())
    };
    let mut out = io::stdout().lock();
    if json {
        let configs: BTreeMap<&str, _> =
            configs.iter().map(|config| (config.name.as_str(), value(&config.value))).collect();
        let described = json!({
            "topic": wanted,
            "topic_id": format_topic_id(topic.topic_id),
            "internal": topic.is_internal,
            "partitions": partitions_json(&topic),
            "configs": configs,
        });
        return print_json(&mut out, &described);
    }
    let id = format_topic_id(topic.topic_id);
    io::Write::write_fmt(&mut out, format_args!("topic {wanted}, id {id}\n\n"))?;
    print_table(&mut out, &PARTITION_HEADS, &partition_rows(&topic))?;
    if !configs.is_empty() {
        let row = |config: &ringlog_broker::protocol::messages::DescribeConfigsResourceResult| {
            vec![config.name.as_str().to_owned(), value(&config.value).unwrap_or_default()]
        };
        io::Write::write_all(&mut out, b"\n")?;
        print_table(&mut out, &["CONFIG", "VALUE"], &configs.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(())
}
