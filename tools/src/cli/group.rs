//! `group list|describe|delete`.

use std::io::{self, Write};

use clap::Subcommand;
use serde_json::json;

use super::CliError;
use super::output::{print_json, print_table};
use crate::client::Client;
use crate::client::assignment::decode_assignment;
use crate::client::fetch::{LATEST, TopicPartition};

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// List the groups.
    List,
    /// Describe a group: members, committed offsets and lag; all groups if none is given.
    Describe {
        /// The group.
        group: Option<String>,
    },
    /// Delete a group that has no members, with all it has committed.
    Delete {
        /// The group.
        group: String,
    },
}

pub(super) fn run(command: GroupCommand, client: &mut Client, json: bool) -> Result<(), CliError> {
    match command {
        GroupCommand::List => list(client, json),
        GroupCommand::Describe { group } => {
            let groups = match group {
                Some(group) => vec![group],
                None => names(client)?,
            };
            let described: Result<Vec<_>, _> =
                groups.iter().map(|group| describe(group, client)).collect();
            print(&described?, json)
        }
        GroupCommand::Delete { group } => {
            client.delete_group(&group)?;
            let mut out = io::stdout().lock();
            if json {
                return print_json(&mut out, &json!({ "deleted": group }));
            }
            Ok(writeln!(out, "deleted group {group}")?)
        }
    }
}

fn names(client: &mut Client) -> Result<Vec<String>, CliError> {
    let groups = client.list_groups()?;
    Ok(groups.iter().map(|group| group.group_id.as_str().to_owned()).collect())
}

fn list(client: &mut Client, json: bool) -> Result<(), CliError> {
    let groups = client.list_groups()?;
    let mut out = io::stdout().lock();
    if json {
        let all: Vec<_> = groups
            .iter()
            .map(|group| {
                json!({
                    "group": group.group_id.as_str(),
                    "protocol_type": group.protocol_type.as_str(),
                    "state": group.group_state.as_str(),
                    "type": group.group_type.as_str(),
                })
            })
            .collect();
        return print_json(&mut out, &all);
    }
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|group| {
            [&group.group_id, &group.group_state, &group.protocol_type]
                .map(|text| text.as_str().to_owned())
                .into()
        })
        .collect();
    Ok(print_table(&mut out, &["GROUP", "STATE", "PROTOCOL"], &rows)?)
}

/// A group as it is printed.
#[derive(Debug, serde::Serialize)]
struct Described {
    group: String,
    state: String,
    protocol: String,
    members: Vec<MemberDescribed>,
    offsets: Vec<OffsetDescribed>,
}

#[derive(Debug, serde::Serialize)]
struct MemberDescribed {
    member: String,
    client: String,
    host: String,
    partitions: Vec<(String, Vec<i32>)>,
}

#[derive(Debug, serde::Serialize)]
struct OffsetDescribed {
    topic: String,
    partition: i32,
    committed: i64,
    end: Option<i64>,
    lag: Option<i64>,
}

fn describe(group: &str, client: &mut Client) -> Result<Described, CliError> {
    let described = client.describe_group(group)?;
    let mut offsets = Vec::new();
    for committed in client.committed_offsets(group)? {
        let at = TopicPartition { topic: committed.topic, partition: committed.partition };
        // The topic may be gone, and its committed offsets still there.
        let end = client.offset_at(&at, LATEST).ok().flatten();
        let lag = end.map(|end| end.saturating_sub(committed.offset).max(0));
        let TopicPartition { topic, partition } = at;
        let committed = committed.offset;
        offsets.push(OffsetDescribed { topic, partition, committed, end, lag });
    }
    let members = described
        .members
        .iter()
        .map(|member| MemberDescribed {
            member: member.member_id.as_str().to_owned(),
            client: member.client_id.as_str().to_owned(),
            host: member.client_host.as_str().to_owned(),
            partitions: decode_assignment(&member.member_assignment)
                .unwrap_or_default()
                .into_iter()
                .collect(),
        })
        .collect();
    Ok(Described {
        group: group.to_owned(),
        state: described.group_state.as_str().to_owned(),
        protocol: described.protocol_data.as_str().to_owned(),
        members,
        offsets,
    })
}

fn print(groups: &[Described], json: bool) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    if json {
        return print_json(&mut out, &groups);
    }
    for group in groups {
        let Described { group, state, protocol, members, offsets } = group;
        writeln!(out, "group {group}: {state} {protocol}")?;
        let member = |member: &MemberDescribed| {
            let owns: Vec<String> = member
                .partitions
                .iter()
                .map(|(topic, partitions)| format!("{topic}{partitions:?}"))
                .collect();
            vec![member.member.clone(), member.client.clone(), member.host.clone(), owns.join(" ")]
        };
        if !members.is_empty() {
            writeln!(out)?;
            let rows: Vec<_> = members.iter().map(member).collect();
            print_table(&mut out, &["MEMBER", "CLIENT", "HOST", "PARTITIONS"], &rows)?;
        }
        let number = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
        let offset = |one: &OffsetDescribed| {
            let committed = one.committed.to_string();
            let (end, lag) = (number(one.end), number(one.lag));
            vec![one.topic.clone(), one.partition.to_string(), committed, end, lag]
        };
        if !offsets.is_empty() {
            writeln!(out)?;
            let rows: Vec<_> = offsets.iter().map(offset).collect();
            print_table(&mut out, &["TOPIC", "PARTITION", "COMMITTED", "END", "LAG"], &rows)?;
        }
    }
    Ok(())
}
