//! `produce`: lines from standard input, one record each.

use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ringlog_broker::compression::Compression;
use serde_json::json;

use super::CliError;
use super::error::UsageError;
use super::output::print_json;
use crate::client::Client;
use crate::client::produce::{Producer, ProducerSettings};

/// The codecs, in Kafka's words.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ProduceArgs {
    /// The topic; it must exist.
    topic: String,
    /// Each line is KEY, this separator, VALUE; without it, lines are values without a key.
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// Write everything to this partition. Otherwise the key decides, as in Java's client, and
    /// records without one go batch by batch to one partition after the other.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// How batches are compressed.
    #[arg(long, value_enum, default_value = "none")]
    compression: Codec,
    /// Ask for a producer id, so that a retried batch is not written twice.
    #[arg(long)]
    idempotent: bool,
    /// Send each line at once, not only when a batch is full or the input ends.
    #[arg(long)]
    unbatched: bool,
}

pub(super) fn run(args: &ProduceArgs, client: &mut Client, json: bool) -> Result<(), CliError> {
    let settings = ProducerSettings {
        compression: args.compression.into(),
        idempotent: args.idempotent,
        partition: args.partition,
    };
    let mut producer = Producer::open(client, &args.topic, settings)?;
    let input = io::stdin().lock();
    let progress = progress(&input);
    // A person at a keyboard wants each line sent.
    let unbatched = args.unbatched || input.is_terminal();
    for (number, line) in (1..).zip(input.split(b'\n')) {
        let line = line.map_err(CliError::Input)?;
        let (key, value) = split(&line, args.key_separator.as_deref(), number)?;
        producer.send(key, Some(value))?;
        if unbatched {
            producer.flush()?;
        }
        progress.inc(1);
    }
    let sent = producer.flush()?;
    progress.finish_and_clear();
    let records: u64 = sent.values().map(|sent| sent.records).sum();
    let mut out = io::stdout().lock();
    if json {
        let partitions: Vec<_> = sent
            .iter()
            .map(|(partition, sent)| {
                json!({
                    "partition": partition,
                    "records": sent.records,
                    "first_offset": sent.first_offset,
                    "last_offset": sent.last_offset,
                })
            })
            .collect();
        let summary = json!({ "topic": args.topic, "records": records, "partitions": partitions });
        return print_json(&mut out, &summary);
    }
    let count = sent.len();
    let text = format!("wrote {records} records to {count} partitions of {}\n", args.topic);
    Ok(io::Write::write_all(&mut out, text.as_bytes())?)
}

fn split<'a>(
    line: &'a [u8],
    separator: Option<&str>,
    number: u64,
) -> Result<(Option<&'a [u8]>, &'a [u8]), UsageError> {
    let Some(text) = separator.filter(|separator| !separator.is_empty()) else {
        return Ok((None, line));
    };
    let separator = text.as_bytes();
    let at = line.windows(separator.len()).position(|window| window == separator);
    let missing = || UsageError::Separator { line: number, separator: text.to_owned() };
    let (key, rest) = line.split_at_checked(at.ok_or_else(missing)?).ok_or_else(missing)?;
    Ok((Some(key), rest.get(separator.len()..).unwrap_or_default()))
}

/// Counts records where input comes from a file and standard error is a terminal.
fn progress(input: &io::StdinLock<'_>) -> ProgressBar {
    if input.is_terminal() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}");
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_at_the_first_separator() {
        let key = |text: &'static str| Some(text.as_bytes());
        assert_eq!(split(b"a:b:c", Some(":"), 1).unwrap(), (key("a"), b"b:c".as_slice()));
        assert_eq!(split(b"a->b", Some("->"), 1).unwrap(), (key("a"), b"b".as_slice()));
        assert_eq!(split(b"a:b", None, 1).unwrap(), (None, b"a:b".as_slice()));
        let error = split(b"ab", Some(":"), 7).unwrap_err();
        assert_eq!(error.to_string(), "line 7 has no key separator \":\"");
    }
}
