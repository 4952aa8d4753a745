//! `device`: what the disk does by itself, without a server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{Tell, in_words};
use crate::args::parse_seconds;
use crate::error::BenchError;
use crate::peer::device::{Access, DeviceFile, measure};
use crate::peer::floor::Ground;
use crate::report::Report;
use crate::report::device::{DeviceCell, DeviceReport};
use crate::report::measurement::{float, float_of, ratio};

const BLOCK_BYTES: u32 = 4096;
const SIZE_MAX: u32 = 64 * 1024 * 1024;
const SYNCED: Access = write(true, Ground::Prewritten);
const SYNCED_FRESH: Access = write(true, Ground::Fresh);
const UNSYNCED: Access = write(false, Ground::Prewritten);
const ACCESSES: [Access; 5] =
    [SYNCED, SYNCED_FRESH, UNSYNCED, write(false, Ground::Fresh), Access::Read];

const fn write(synced: bool, ground: Ground) -> Access {
    Access::Write { synced, ground }
}

/// The settings of `device`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct DeviceArgs {
    /// A folder on the disk to measure. Its files are removed at the end; fresh space takes as much
    /// of the disk as is written in one cell.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub dir: PathBuf,
    /// Bytes of each write or read: multiples of 4096.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = parse_size,
          default_value = "4096,16384,65536,262144,1048576")]
    pub size: Vec<u32>,
    /// Writes or reads in flight.
    #[arg(long, value_delimiter = ',', default_value = "1,4,8",
          value_parser = clap::value_parser!(u32).range(1..=256))]
    pub depth: Vec<u32>,
    /// Seconds for each cell of the table.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub duration: f64,
}

fn parse_size(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(size)
            if size.is_multiple_of(BLOCK_BYTES) && (BLOCK_BYTES..=SIZE_MAX).contains(&size) =>
        {
            Ok(size)
        }
        _ => Err(format!("a size is a multiple of {BLOCK_BYTES} up to {SIZE_MAX} bytes")),
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// [`BenchError::System`] if the disk fails or takes no direct writes.
pub fn run(args: &DeviceArgs, tell: Tell<'_>) -> Result<Report, BenchError> {
    let failed = |source| BenchError::System { what: "measure the device", source };
    tell("preparing the file", 0.0);
    let mut circle = DeviceFile::new(&args.dir, Ground::Prewritten).map_err(failed)?;
    let duration = Duration::from_secs_f64(args.duration);
    let all = float_of(ACCESSES.len() * args.size.len() * args.depth.len());
    let mut cells: Vec<DeviceCell> = Vec::new();
    for access in ACCESSES {
        for &bytes in &args.size {
            for &depth in &args.depth {
                let name = name(access);
                tell(&format!("{name}, {bytes} bytes x {depth}"), float_of(cells.len()) / all);
                let found = if let Access::Write { ground: Ground::Fresh, .. } = access {
                    // Ground is fresh once.
                    DeviceFile::new(&args.dir, Ground::Fresh)
                        .and_then(|mut fresh| measure(&mut fresh, access, bytes, depth, duration))
                } else {
                    measure(&mut circle, access, bytes, depth, duration)
                };
                let found = found.map_err(failed)?;
                let count = float(found.count);
                let per_s = ratio(count, found.elapsed.as_secs_f64());
                cells.push(DeviceCell {
                    access: name,
                    bytes,
                    depth,
                    mb_per_s: per_s * f64::from(bytes) / 1e6,
                    per_s,
                    latency: found.latencies.summary(),
                    cpu_us: ratio(found.cpu.as_secs_f64() * 1e6, count),
                });
            }
        }
    }
    let verdict = verdict(&cells);
    Ok(Report::of_device(args, DeviceReport { cells }, verdict))
}

fn name(access: Access) -> &'static str {
    match access {
        Access::Write { synced: true, ground: Ground::Prewritten } => {
            "synced write, prewritten space"
        }
        Access::Write { synced: true, ground: Ground::Fresh } => "synced write, fresh space",
        Access::Write { synced: false, ground: Ground::Prewritten } => "write, prewritten space",
        Access::Write { synced: false, ground: Ground::Fresh } => "write, fresh space",
        Access::Read => "read",
    }
}

fn verdict(cells: &[DeviceCell]) -> Vec<String> {
    let of = |access: Access| cells.iter().filter(move |cell| cell.access == name(access));
    let best = |access| of(access).max_by(|a, b| a.mb_per_s.total_cmp(&b.mb_per_s));
    let least = |access| of(access).min_by_key(|cell| (cell.bytes, cell.depth));
    let mut verdict = Vec::new();
    if let Some(one) = best(SYNCED) {
        verdict.push(format!(
            "At best {:.0} MB/s are durable here ({} bytes x {} in flight): no log that syncs \
             before it answers gets past that.",
            one.mb_per_s, one.bytes, one.depth
        ));
    }
    if let Some((old, new)) = best(SYNCED).zip(best(SYNCED_FRESH)) {
        verdict.push(format!(
            "On space that was not written before it is {:.0} MB/s, {:.0} % of that.",
            new.mb_per_s,
            100.0 * ratio(new.mb_per_s, old.mb_per_s)
        ));
    }
    if let Some((synced, plain)) = least(SYNCED).zip(least(UNSYNCED)) {
        let (synced_us, plain_us) = (synced.latency.p50_us, plain.latency.p50_us);
        verdict.push(format!(
            "A synced write of {} bytes takes {} (99 of 100 within {}), one that is not synced {}.",
            synced.bytes,
            in_words(synced_us),
            in_words(synced.latency.p99_us),
            in_words(plain_us)
        ));
        if ratio(synced_us, plain_us) < 1.1 {
            verdict.push(
                "Syncing costs nothing here: the device's cache is safe, or it does not sync."
                    .into(),
            );
        }
    }
    if let Some(one) = best(Access::Read) {
        verdict.push(format!(
            "At best {:.0} MB/s are read ({} bytes x {} in flight).",
            one.mb_per_s, one.bytes, one.depth
        ));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Latencies;

    #[test]
    fn a_size_is_whole_blocks() {
        for size in ["0", "100", "4097", "x", "134217728"] {
            assert!(parse_size(size).is_err(), "{size}");
        }
        assert_eq!(parse_size("8192"), Ok(8192));
    }

    #[test]
    fn a_device_on_which_syncing_is_free_is_suspected() {
        let cell = |access, p50_us| {
            let latency = Latencies::default().summary();
            let latency = crate::histogram::LatencySummary { p50_us, ..latency };
            let (bytes, depth, mb_per_s) = (4096, 1, 10.0);
            let (per_s, cpu_us) = (1.0, 1.0);
            DeviceCell { access: name(access), bytes, depth, mb_per_s, per_s, latency, cpu_us }
        };
        let suspected = |synced_us| {
            let told = verdict(&[cell(SYNCED, synced_us), cell(UNSYNCED, 50.0)]).join("\n");
            told.contains("Syncing costs nothing")
        };
        assert!(suspected(50.0) && !suspected(100.0));
    }
}
