//! A whole log, and the journal it may have, in which one file is damaged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Choices, keep_seeds};
use crate::batch::{BatchHeader, CheckedBatch};
use crate::epoch::LeaderEpoch;
use crate::error::OpenError;
use crate::io::Io;
use crate::io::sim::SimIo;
use crate::journal::JournalSettings;
use crate::limits::{JOURNAL_FILE_BYTES_MIN, JOURNAL_FILES_MIN};
use crate::log::epochs;
use crate::log::{Log, LogSettings, RecoveryReport, Stamp};
use crate::shard::{Shard, ShardSettings};

const DIR: &str = "/data/log";
const JOURNAL: &str = "/data/journal";

/// How a log lived and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Alone, and closed.
    Closed,
    /// Alone, and killed.
    Killed,
    /// With a journal, and killed.
    Journaled,
}

/// The files that a log left, by path, and the batches it holds, as they are stored.
struct Story {
    life: Life,
    files: Vec<(PathBuf, Vec<u8>)>,
    batches: Vec<Vec<u8>>,
}

fn settings() -> LogSettings {
    LogSettings {
        segment_bytes: 16 << 10,
        index_interval_bytes: 512,
        batch_bytes_max: 64 << 10,
        segment_age_max: Duration::MAX,
        retention_age_max: None,
        ..LogSettings::default()
    }
}

/// The log and the shard around it, as they are found.
async fn open(
    io: &SimIo,
    life: Life,
    cache_bytes: usize,
) -> Result<(Log<SimIo>, RecoveryReport), OpenError> {
    let memory =
        ShardSettings { buffer_pool_bytes: 4 << 20, cache_bytes, ..ShardSettings::default() };
    let shard = match life {
        Life::Closed | Life::Killed => Shard::new(io.clone(), memory),
        Life::Journaled => {
            let small = JournalSettings {
                files: JOURNAL_FILES_MIN,
                file_bytes: JOURNAL_FILE_BYTES_MIN,
                ..JournalSettings::new(JOURNAL, "/data")
            };
            Shard::open(io.clone(), memory, small).await?.0
        }
    };
    Log::open(&shard, Path::new(DIR), settings()).await
}

fn stamp(epoch: i32) -> Stamp {
    Stamp { leader_epoch: LeaderEpoch::new(epoch), ..Stamp::default() }
}

/// Some segments, epochs and producers.
fn tell(life: Life) -> Story {
    let io = SimIo::new(1);
    let mut batches = Vec::new();
    io.run(async {
        io.create_dir_all(Path::new("/data")).await.unwrap();
        let log = open(&io, life, 1 << 20).await.unwrap().0;
        for number in 0..60_u8 {
            let script: Vec<u8> = (0..200).map(|at: u8| at.wrapping_mul(number | 1)).collect();
            let bytes = Choices::new(&script).batch();
            let batch = CheckedBatch::check(&bytes).unwrap();
            let appended = log.append_durably(&batch, stamp(i32::from(number) / 10)).await.unwrap();
            let read = log.read(appended.base_offset, appended.end_offset, 1 << 20, true).await;
            batches.push(read.unwrap().to_vec());
            if number % 20 == 19 && number < 50 {
                log.roll().await.unwrap();
            }
        }
        if life == Life::Closed {
            log.close().await.unwrap();
        }
    });
    let io = io.kill();
    let mut files = Vec::new();
    for folder in [DIR, JOURNAL] {
        let listed = io.run(async { io.list_dir(Path::new(folder)).await.unwrap_or_default() });
        files.extend(listed.into_iter().map(|entry| {
            let path = Path::new(folder).join(entry.name);
            let bytes = io.read_file(&path).unwrap();
            (path, bytes)
        }));
    }
    Story { life, files, batches }
}

/// A batch without its leader epoch, which no checksum guards.
fn guarded(batch: &[u8]) -> Vec<u8> {
    [&batch[..12], &batch[16..]].concat()
}

/// All that can be read of a log; `None` if a read refuses.
async fn held(log: &Log<SimIo>) -> Option<Vec<Vec<u8>>> {
    let offsets = log.offsets();
    let mut held = Vec::new();
    let mut next = offsets.start;
    while next < offsets.durable {
        let slices = log.read(next, offsets.durable, 3_000, true).await.ok()?;
        assert!(!slices.is_empty(), "nothing at {next} of {offsets:?}");
        let bytes = slices.to_vec();
        let mut rest: &[u8] = &bytes;
        while !rest.is_empty() {
            let (batch, after) = CheckedBatch::check_first(rest).unwrap();
            next = batch.header().end_offset().unwrap();
            held.push(batch.bytes().to_vec());
            rest = after;
        }
    }
    Some(held)
}

fn run(story: &Story, choices: &mut Choices<'_>) {
    let io = SimIo::new(2);
    let target = choices.below(story.files.len());
    io.run(async {
        io.create_dir_all(Path::new(DIR)).await.unwrap();
        io.create_dir_all(Path::new(JOURNAL)).await.unwrap();
        let mut changed = "";
        for (number, (path, bytes)) in story.files.iter().enumerate() {
            let mut bytes = bytes.clone();
            if number == target {
                if choices.flag() {
                    choices.damage(&mut bytes);
                } else {
                    bytes = choices.rest.to_vec();
                }
                changed = path.to_str().unwrap();
            }
            io.write_file(path, &bytes).unwrap();
        }
        // Refused, with a reason: nothing was served, and people can look.
        let Ok((log, report)) = open(&io, story.life, 0).await else { return };
        let Some(held) = held(&log).await else { return };
        for (held, known) in held.iter().zip(&story.batches) {
            assert!(guarded(held) == guarded(known), "{changed}: other bytes are served");
        }
        assert!(held.len() <= story.batches.len(), "{changed}: batches that nobody appended");
        if !changed.ends_with(".log") && !changed.starts_with(JOURNAL) {
            assert_eq!(held.len(), story.batches.len(), "{changed}: {report:?}");
        }
        // What was opened goes on as a log.
        let epoch = log.latest_epoch().value().saturating_add(1);
        let bytes = Choices::new(&[0]).batch();
        let batch = CheckedBatch::check(&bytes).unwrap();
        let appended = log.append_durably(&batch, stamp(epoch)).await.unwrap();
        let read = log.read(appended.base_offset, appended.end_offset, 1 << 20, true).await;
        let read = read.unwrap().to_vec();
        assert_eq!(BatchHeader::read(&read).unwrap().base_offset, appended.base_offset.value());
        log.close().await.unwrap();
        drop(log);
        let (log, report) = open(&io, story.life, 0).await.unwrap();
        assert!(report.clean, "{report:?}");
        assert_eq!(log.offsets().end, appended.end_offset);
    });
}

fn target(name: &'static str, life: Life) {
    let story = tell(life);
    let seeds = story.files.iter().zip(0..).map(|((_, bytes), number)| {
        let middle = u32::try_from(bytes.len() / 2).unwrap().to_be_bytes();
        let damage = [&[0, number, 1, 0, 0][..], &middle, &[0, 0, 0, 0, 1, 3]].concat();
        (NAMES[usize::from(number) % NAMES.len()], damage)
    });
    keep_seeds(name, seeds);
    // The newest epoch's first offset, past the log's end: the checkpoint has no checksum.
    let later = story.files.iter().zip(0..).find(|((path, _), _)| path.ends_with(epochs::NAME));
    let late = later.map(|((_, bytes), number)| {
        let digit = u32::try_from(bytes.len() - 4).unwrap().to_be_bytes();
        ("late-epoch", [&[0, number, 1, 0, 0][..], &digit, &[0, 0, 0, 0, 2, b'9']].concat())
    });
    keep_seeds(name, late);
    // The story never changes, whatever a panic interrupts.
    let story = std::panic::AssertUnwindSafe(story);
    bolero::check!(name = name).for_each(|given: &[u8]| run(&story, &mut Choices::new(given)));
}

const NAMES: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];

#[test]
fn a_closed_log_with_a_damaged_file_serves_what_was_appended_or_refuses() {
    target("closed_folder", Life::Closed);
}

#[test]
fn a_killed_log_with_a_damaged_file_serves_what_was_appended_or_refuses() {
    target("killed_folder", Life::Killed);
}

#[test]
fn a_journaled_log_with_a_damaged_file_serves_what_was_appended_or_refuses() {
    target("journaled_folder", Life::Journaled);
}
