//! `consume`: prints the records of a topic, alone or as a member of a group.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};

use super::CliError;
use super::error::UsageError;
use super::output::{bytes_json, print_json};
use super::start::Start;
use crate::client::Client;
use crate::client::fetch::{FetchedRecord, Fetcher, TopicPartition};
use crate::client::group::{Member, Membership};

/// How long a fetch waits where nothing is new; also how late a heartbeat may be.
const MAX_WAIT_MS: i32 = 500;

#[derive(Debug, Args)]
pub(super) struct ConsumeArgs {
    /// The topic.
    topic: String,
    /// Read as a member of this group: share the partitions, go on where the group has committed,
    /// and commit what is printed.
    #[arg(long, conflicts_with = "partition")]
    group: Option<String>,
    /// Where to start: earliest, latest, an offset, or a time (@ and milliseconds since 1970, or a
    /// date such as 2026-11-21T04:05:06Z). In a group only where nothing is committed.
    #[arg(long, default_value = "earliest", value_name = "WHERE")]
    from: Start,
    /// Stop after so many records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_messages: Option<u64>,
    /// Stop where the log ends, instead of waiting for more.
    #[arg(long)]
    exit_at_end: bool,
    /// Read only this partition; may be given several times.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// Print keys before values, with this text between.
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
}

/// Prints records and counts them.
struct Printer<'a> {
    args: &'a ConsumeArgs,
    json: bool,
    printed: u64,
    failure: Option<CliError>,
}

pub(super) fn run(args: &ConsumeArgs, client: &mut Client, json: bool) -> Result<(), CliError> {
    let mut printer = Printer { args, json, printed: 0, failure: None };
    match &args.group {
        Some(group) => in_group(group, args, client, &mut printer),
        None => alone(args, client, &mut printer),
    }
}

fn alone(
    args: &ConsumeArgs,
    client: &mut Client,
    printer: &mut Printer<'_>,
) -> Result<(), CliError> {
    let all: Vec<i32> = client.leaders(&args.topic)?.into_keys().collect();
    let unknown = args.partition.iter().find(|partition| !all.contains(partition));
    if let Some(&partition) = unknown {
        let (topic, count) = (args.topic.clone(), all.len());
        return Err(UsageError::Partition { topic, partition, count }.into());
    }
    let mut positions = BTreeMap::new();
    for &partition in if args.partition.is_empty() { &all } else { &args.partition } {
        let at = TopicPartition { topic: args.topic.clone(), partition };
        let offset = args.from.resolve(client, &at)?;
        positions.insert(at, offset);
    }
    let mut fetcher = Fetcher::default();
    fetcher.assign(positions);
    loop {
        printer.poll(&mut fetcher, client)?;
        if printer.is_done() || args.exit_at_end && fetcher.is_at_end() {
            return Ok(());
        }
    }
}

fn in_group(
    group: &str,
    args: &ConsumeArgs,
    client: &mut Client,
    printer: &mut Printer<'_>,
) -> Result<(), CliError> {
    let mut member = Member::new(group, &args.topic);
    let result = read_as_member(&mut member, group, args, client, printer);
    // Leaving is a courtesy to the other members, and no reason to fail.
    let _ = member.leave(client);
    result
}

fn read_as_member(
    member: &mut Member,
    group: &str,
    args: &ConsumeArgs,
    client: &mut Client,
    printer: &mut Printer<'_>,
) -> Result<(), CliError> {
    let mut fetcher = Fetcher::default();
    let mut membership = Membership::Rejoin;
    let mut committed: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    loop {
        if membership == Membership::Rejoin {
            let assigned = member.join(client)?;
            committed = positions(group, args, client, assigned)?;
            fetcher.assign(committed.clone());
        }
        if fetcher.positions().is_empty() {
            // Others have all the partitions: wait for them to leave.
            std::thread::sleep(std::time::Duration::from_millis(500));
        } else {
            printer.poll(&mut fetcher, client)?;
        }
        let mut moved = fetcher.positions().clone();
        moved.retain(|at, offset| committed.get(at) != Some(offset));
        membership = member.commit(client, &moved)?;
        if membership == Membership::Stable {
            committed.extend(moved);
            let at_end = args.exit_at_end && fetcher.is_at_end();
            if printer.is_done() || at_end {
                return Ok(());
            }
            membership = member.heartbeat(client)?;
        } else if printer.is_done() {
            return Ok(());
        }
    }
}

/// Where a member starts: at what the group has committed, or as asked.
fn positions(
    group: &str,
    args: &ConsumeArgs,
    client: &mut Client,
    assigned: Vec<TopicPartition>,
) -> Result<BTreeMap<TopicPartition, i64>, CliError> {
    let committed: BTreeMap<TopicPartition, i64> = client
        .committed_offsets(group)?
        .into_iter()
        .map(|one| (TopicPartition { topic: one.topic, partition: one.partition }, one.offset))
        .collect();
    let mut positions = BTreeMap::new();
    for at in assigned {
        let offset = match committed.get(&at) {
            Some(offset) => *offset,
            None => args.from.resolve(client, &at)?,
        };
        positions.insert(at, offset);
    }
    Ok(positions)
}

impl Printer<'_> {
    fn is_done(&self) -> bool {
        self.args.max_messages.is_some_and(|most| self.printed >= most)
    }

    fn poll(&mut self, fetcher: &mut Fetcher, client: &mut Client) -> Result<(), CliError> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        fetcher.poll(client, MAX_WAIT_MS, |record| {
            if let Err(error) = self.print(&mut out, &record) {
                self.failure = Some(error);
                return false;
            }
            self.printed += 1;
            !self.is_done()
        })?;
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        Ok(out.flush()?)
    }

    fn print(&self, out: &mut impl Write, fetched: &FetchedRecord<'_>) -> Result<(), CliError> {
        let record = fetched.record;
        if self.json {
            let headers: Vec<Value> = record
                .headers()
                .map(|header| {
                    json!({ "key": bytes_json(Some(header.key)), "value": bytes_json(header.value) })
                })
                .collect();
            let printed = json!({
                "topic": fetched.topic,
                "partition": fetched.partition,
                "offset": fetched.offset,
                "timestamp": fetched.timestamp_ms,
                "key": bytes_json(record.key),
                "value": bytes_json(record.value),
                "headers": headers,
            });
            return print_json(out, &printed);
        }
        if let Some(separator) = &self.args.key_separator {
            out.write_all(record.key.unwrap_or_default())?;
            out.write_all(separator.as_bytes())?;
        }
        out.write_all(record.value.unwrap_or_default())?;
        Ok(out.write_all(b"\n")?)
    }
}
