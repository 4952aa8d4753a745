//! `dump`: what a file of a log holds.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use ringlog_broker::compression::{Compression, decompress_to_vec};
use ringlog_engine::batch::{BatchHeader, CheckedBatch, Record, RecordIter};
use ringlog_engine::frame::CheckedFrame;
use serde_json::{Value, json};

use super::CliError;
use super::error::UsageError;
use super::output::{bytes_json, bytes_text, print_json};
use crate::segment::folder::base_offset;
use crate::segment::index::{offset_entries, time_entries};
use crate::segment::{SegmentScanner, Step};

/// The most that one batch may decompress to.
const BATCH_UNPACKED_BYTES_MAX: usize = 512 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct DumpArgs {
    /// A .log, .index or .timeindex file.
    file: PathBuf,
    /// Also print the records of each batch.
    #[arg(long)]
    records: bool,
}

pub(super) fn run(args: &DumpArgs, json: bool) -> Result<(), CliError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let path = &args.file;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("log") => dump_log(args, json, &mut out)?,
        Some("index") => {
            let (entries, rest) = offset_entries(&read(path)?);
            let base = base_offset(path).unwrap_or(0);
            for entry in entries {
                let offset = base.saturating_add(entry.relative_offset.into());
                if json {
                    print_json(&mut out, &json!({ "offset": offset, "position": entry.position }))?;
                } else {
                    writeln!(out, "offset {offset} position {}", entry.position)?;
                }
            }
            say_rest(rest, json, &mut out)?;
        }
        Some("timeindex") => {
            let (entries, rest) = time_entries(&read(path)?);
            let base = base_offset(path).unwrap_or(0);
            for entry in entries {
                let offset = base.saturating_add(entry.relative_offset.into());
                if json {
                    let line = json!({ "timestamp": entry.timestamp, "offset": offset });
                    print_json(&mut out, &line)?;
                } else {
                    writeln!(out, "timestamp {} offset {offset}", entry.timestamp)?;
                }
            }
            say_rest(rest, json, &mut out)?;
        }
        _ => return Err(UsageError::FileKind { path: path.clone() }.into()),
    }
    Ok(out.flush()?)
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

fn say_rest(bytes: usize, json: bool, out: &mut impl Write) -> Result<(), CliError> {
    match (bytes, json) {
        (0, _) => Ok(()),
        (_, true) => print_json(out, &json!({ "rest_bytes": bytes })),
        (_, false) => Ok(writeln!(out, "{bytes} bytes that are no whole entry")?),
    }
}

fn dump_log(args: &DumpArgs, json: bool, out: &mut impl Write) -> Result<(), CliError> {
    let failed = |source| CliError::Read { path: args.file.clone(), source };
    let mut scanner = SegmentScanner::open(&args.file).map_err(failed)?;
    loop {
        match scanner.step().map_err(failed)? {
            Step::End => return Ok(()),
            Step::Batch { position, batch } => {
                let records = if args.records { Some(records(&batch)) } else { None };
                print_batch(position, batch.header(), None, records, json, out)?;
            }
            Step::Frame { position, frame } => print_frame(position, &frame, args, json, out)?,
            Step::Broken { position, header, error } => {
                print_batch(position, &header, Some(error.to_string()), None, json, out)?;
            }
            Step::Rest(rest) if json => {
                let kind = if rest.zeros { "zeros" } else { "other" };
                let line =
                    json!({ "position": rest.position, "rest_bytes": rest.bytes, "rest": kind });
                print_json(out, &line)?;
            }
            Step::Rest(rest) => {
                let what = if rest.zeros { "zeros" } else { "bytes that begin no whole entry" };
                writeln!(out, "position {}: {} {what}", rest.position, rest.bytes)?;
            }
        }
    }
}

/// The records of a batch, ready to print; or why they cannot be read.
fn records(batch: &CheckedBatch<'_>) -> Result<Vec<(Value, String)>, String> {
    let unpacked;
    let body = match batch.compression() {
        Compression::None => batch.body(),
        codec => {
            unpacked = decompress_to_vec(codec, batch.body(), BATCH_UNPACKED_BYTES_MAX)
                .map_err(|error| error.to_string())?;
            &unpacked
        }
    };
    let header = batch.header();
    RecordIter::sparse(body, batch.record_count(), header.last_offset_delta)
        .map(|record| {
            let record = record.map_err(|error| error.to_string())?;
            Ok(describe_record(header, &record))
        })
        .collect()
}

fn describe_record(header: &BatchHeader, record: &Record<'_>) -> (Value, String) {
    let offset = header.base_offset.saturating_add(record.offset_delta.into());
    let timestamp = if header.attributes.is_append_time() {
        header.max_timestamp.millis()
    } else {
        header.base_timestamp.millis().saturating_add(record.timestamp_delta)
    };
    let headers: Vec<Value> = record
        .headers()
        .map(|header| json!({ "key": bytes_json(Some(header.key)), "value": bytes_json(header.value) }))
        .collect();
    let mut text = format!(
        "  offset {offset} timestamp {timestamp} key {} value {}",
        bytes_text(record.key),
        bytes_text(record.value)
    );
    for header in record.headers() {
        let (key, value) = (bytes_text(Some(header.key)), bytes_text(header.value));
        text.push_str(&format!(" header {key}={value}"));
    }
    let value = json!({
        "offset": offset,
        "timestamp": timestamp,
        "key": bytes_json(record.key),
        "value": bytes_json(record.value),
        "headers": headers,
    });
    (value, text)
}

fn print_batch(
    position: u64,
    header: &BatchHeader,
    error: Option<String>,
    records: Option<Result<Vec<(Value, String)>, String>>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let compression = header.attributes.compression().map_or("unknown", name);
    let bytes = header.total_bytes().unwrap_or(0);
    if json {
        let mut line = json!({
            "position": position,
            "bytes": bytes,
            "base_offset": header.base_offset,
            "last_offset": header.last_offset(),
            "records": header.record_count,
            "leader_epoch": header.leader_epoch.value(),
            "compression": compression,
            "append_time": header.attributes.is_append_time(),
            "transactional": header.attributes.is_transactional(),
            "control": header.attributes.is_control(),
            "base_timestamp": header.base_timestamp.millis(),
            "max_timestamp": header.max_timestamp.millis(),
            "producer_id": header.producer_id.value(),
            "producer_epoch": header.producer_epoch,
            "base_sequence": header.base_sequence,
            "crc": header.checksum,
            "error": error,
        });
        match records {
            Some(Ok(records)) => {
                line["content"] = records.into_iter().map(|(value, _)| value).collect();
            }
            Some(Err(error)) => line["error"] = Value::from(error),
            None => {}
        }
        return print_json(out, &line);
    }
    writeln!(
        out,
        "position {position}: offsets {}..={} ({} records, {bytes} bytes, {compression}) epoch {} \
         timestamps {}..={} producer {} epoch {} sequence {} crc {:#010x}{}{}{}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.leader_epoch,
        header.base_timestamp.millis(),
        header.max_timestamp.millis(),
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.checksum,
        if header.attributes.is_append_time() { " append time" } else { "" },
        if header.attributes.is_transactional() { " transactional" } else { "" },
        if header.attributes.is_control() { " control" } else { "" },
    )?;
    if let Some(error) = error {
        writeln!(out, "  BROKEN: {error}")?;
    }
    match records {
        Some(Ok(records)) => {
            for (_, text) in records {
                writeln!(out, "{text}")?;
            }
        }
        Some(Err(error)) => writeln!(out, "  BROKEN: {error}")?,
        None => {}
    }
    Ok(())
}

fn print_frame(
    position: u64,
    frame: &CheckedFrame<'_>,
    args: &DumpArgs,
    json: bool,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let (bytes, payload) = (frame.bytes().len(), Some(frame.payload()));
    if json {
        let mut line = json!({
            "position": position,
            "bytes": bytes,
            "frame": true,
            "offset": frame.offset().value(),
            "timestamp": frame.timestamp().millis(),
        });
        if args.records {
            line["payload"] = bytes_json(payload);
        }
        return print_json(out, &line);
    }
    let (offset, timestamp) = (frame.offset(), frame.timestamp().millis());
    writeln!(
        out,
        "position {position}: offset {offset} (a frame, {bytes} bytes) timestamp {timestamp}"
    )?;
    if args.records {
        writeln!(out, "  payload {}", bytes_text(payload))?;
    }
    Ok(())
}

fn name(codec: Compression) -> &'static str {
    match codec {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}
