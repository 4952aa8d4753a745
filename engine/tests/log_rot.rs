//! Damage at rest in a log that was not closed, and torn writes that look like it: what is
//! acknowledged is refused or kept, never silently lost.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringlog_engine::batch::{BatchBuilder, BatchOptions};
use ringlog_engine::error::{Damage, OpenError};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::log::{FlushPolicy, Log, LogSettings, RecoveryReport};
use support::*;

const DIR: &str = "/data/log";
const FIRST: &str = "/data/log/00000000000000000000.log";

fn large() -> LogSettings {
    LogSettings { segment_bytes: 64 << 20, ..small() }
}

/// A log with `batches` acknowledged batches whose process was killed, and the bytes of each.
fn killed(batches: u64, bytes: usize, settings: &LogSettings) -> (SimIo, usize) {
    killed_with(Entries::Batches, batches, bytes, settings)
}

/// The same of other entries.
fn killed_with(
    entries: Entries,
    count: u64,
    bytes: usize,
    settings: &LogSettings,
) -> (SimIo, usize) {
    let io = SimIo::new(bytes as u64);
    io.run(async {
        io.create_dir_all(Path::new("/data")).await.unwrap();
        io.sync_dir(Path::new("/")).await.unwrap();
        let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
        for n in 0..count {
            append(&log, &entries.make(1, bytes, n, 1)).await;
        }
    });
    (io.kill(), entries.make(1, bytes, 0, 1).len())
}

/// The killed log with other bytes, durable.
fn changed(io: &SimIo, seed: u64, change: impl FnOnce(&mut Vec<u8>)) -> SimIo {
    let io = io.fork(seed);
    let mut bytes = io.read_file(Path::new(FIRST)).unwrap();
    change(&mut bytes);
    io.write_file(Path::new(FIRST), &bytes).unwrap();
    io
}

async fn reopen(io: &SimIo, settings: &LogSettings) -> Result<(usize, RecoveryReport), OpenError> {
    let (log, report) = Log::open(&shard(io), Path::new(DIR), settings.clone()).await?;
    Ok((contents(&log).await.len(), report))
}

/// The bytes without the zeros at their end.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

fn flip_everywhere(
    entries: Entries,
    settings: &LogSettings,
    bytes: usize,
    step: usize,
) -> (usize, usize) {
    let batches = 6;
    let (io, length) = killed_with(entries, batches as u64, bytes, settings);
    let (mut refused, mut kept) = (0, 0);
    for (at, bit) in (0..batches * length).step_by(step).zip((0..8).cycle()) {
        let io = changed(&io, 1, |bytes| bytes[at] ^= 1 << bit);
        let before = (io.fingerprint(), io.read_file(Path::new(FIRST)).unwrap());
        match io.run(reopen(&io, settings)) {
            Err(OpenError::Corrupt { path, position, .. }) => {
                assert_eq!(path, PathBuf::from(FIRST));
                assert_eq!(position, (at - at % length) as u64, "bit {bit} of byte {at}");
                assert_eq!(io.fingerprint(), before.0, "nothing was changed");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
            // No checksum covers the leader epoch, as Kafka's format has it.
            Ok((held, _)) if (12..16).contains(&(at % length)) => assert_eq!(held, batches),
            Ok((held, report)) => {
                let cut = report.cut.unwrap();
                assert_eq!(held, at / length, "bit {bit} of byte {at}");
                assert_eq!(cut.position, (at - at % length) as u64);
                let saved = io.read_file(&cut.saved).unwrap();
                assert_eq!(saved, trimmed(&before.1[at - at % length..]), "all of it is kept");
                kept += 1;
            }
        }
    }
    (refused, kept)
}

#[test]
fn a_flipped_bit_anywhere_in_a_small_log_is_refused_or_kept() {
    let relaxed = FlushPolicy::Relaxed { messages: 1_000, interval: None };
    for settings in [large(), LogSettings { durability: relaxed, ..large() }] {
        for (bytes, step) in [(10, 2), (150, 5), (430, 11), (1_000, 23), (5_000, 173)] {
            let (refused, kept) = flip_everywhere(Entries::Batches, &settings, bytes, step);
            assert!(refused > 0 && kept * 12 <= refused, "{bytes}: {refused} to {kept}");
            let (refused, kept) = flip_everywhere(Entries::Frames, &settings, bytes, step);
            assert!(refused > 0 && kept * 12 <= refused, "{bytes}: {refused} to {kept}");
        }
    }
}

#[test]
fn a_flipped_bit_in_frames_shorter_than_a_batchs_header_is_refused() {
    for bytes in [0, 1, 20, 31] {
        let (io, length) = killed_with(Entries::Frames, 4, bytes, &large());
        assert!(length < 61);
        for at in (0..4 * length).filter(|at| !(12..16).contains(&(at % length))) {
            // With the file's end just behind the last frame, as a repair leaves it.
            let io = changed(&io, 1, |content| {
                content.truncate(4 * length);
                content[at] ^= 1 << (at % 8);
            });
            let opened = io.run(reopen(&io, &large()));
            let Err(OpenError::Corrupt { position, .. }) = opened else {
                panic!("byte {at} of frames of {length} bytes: {opened:?}");
            };
            assert_eq!(position, (at - at % length) as u64);
        }
    }
}

#[test]
fn a_flipped_bit_in_the_first_the_middle_or_the_last_batch_is_refused() {
    let (io, length) = killed(9, 700, &large());
    for batch in [0, 4, 8] {
        // In the offset, the length, the version, the checksum, the attributes and a record.
        for at in [6, 10, 16, 18, 22, 500] {
            let io = changed(&io, 1, |bytes| bytes[batch * length + at] ^= 1);
            let opened = io.run(reopen(&io, &large()));
            let Err(OpenError::Corrupt { position, .. }) = opened else {
                panic!("byte {at} of batch {batch}: {opened:?}");
            };
            assert_eq!(position, (batch * length) as u64);
        }
    }
}

#[test]
fn damage_within_one_sector_is_refused_whatever_it_is() {
    // Batches of less than a hundred bytes: several to a sector.
    let (io, length) = killed(20, 10, &large());
    assert!(length < 100);
    for batch in 0..20 {
        let (start, end) = (batch * length, (batch + 1) * length);
        let whole = start / 512 == (end - 1) / 512;
        let telling = start % 512 >= 8 || end % 512 + 21 <= 512;
        if whole && telling {
            let io = changed(&io, 1, |bytes| bytes[start + 21..end].fill(0xa5));
            let opened = io.run(reopen(&io, &large()));
            assert!(matches!(opened, Err(OpenError::Corrupt { .. })), "{batch}: {opened:?}");
        }
    }
}

#[test]
fn damage_that_looks_like_a_torn_write_is_cut_and_kept() {
    let (io, length) = killed(5, 3_000, &large());
    let start = 2 * length;
    let io = changed(&io, 1, |bytes| bytes[start + 1_000..start + 2_500].fill(0x5a));
    let image = io.read_file(Path::new(FIRST)).unwrap();
    let saved = io.run(async {
        let (held, report) = reopen(&io, &large()).await.unwrap();
        let cut = report.cut.unwrap();
        assert_eq!((held, cut.position, cut.later), (2, start as u64, Some(3)));
        assert!(matches!(cut.damage, Damage::Checksum { .. }));
        assert_eq!(cut.saved, PathBuf::from(format!("{FIRST}.cut-{start}")));
        cut.saved
    });
    assert_eq!(io.read_file(&saved).unwrap(), trimmed(&image[start..]));
    // The same once more, at the same place: the first file stays, and nobody minds it.
    let mut again = image.clone();
    again[start + 2_600] ^= 0xff;
    io.write_file(Path::new(FIRST), &again).unwrap();
    io.run(async {
        let (_, report) = reopen(&io, &large()).await.unwrap();
        let second = report.cut.unwrap().saved;
        assert_eq!(second, PathBuf::from(format!("{FIRST}.cut-{start}-2")));
        assert_eq!(io.read_file(&second).unwrap(), trimmed(&again[start..]));
        assert_eq!(io.read_file(&saved).unwrap(), trimmed(&image[start..]));
        let (held, report) = reopen(&io, &large()).await.unwrap();
        assert_eq!((held, report.cut, report.ignored), (2, None, vec![]));
    });
}

#[test]
fn a_short_frame_at_the_very_end_of_a_file_is_found_behind_damage() {
    for last in [0, 1, 31, 32, 33] {
        let io = SimIo::new(1);
        let length = io.run(async {
            let log = open(&shard(&io), Path::new(DIR), large()).await;
            let entries = [frame(3_000, 1, 1), frame(3_000, 2, 1), frame(last, 3, 1)];
            for entry in &entries {
                append(&log, entry).await;
            }
            entries.concat().len()
        });
        let io = changed(&io.kill(), 1, |bytes| {
            bytes.truncate(length);
            bytes[4_000..5_500].fill(0x5a);
        });
        let (held, report) = io.run(reopen(&io, &large())).unwrap();
        assert_eq!((held, report.cut.unwrap().later), (1, Some(2)), "{last}");
    }
}

#[test]
fn a_missing_sector_with_a_single_bit_in_it_is_a_torn_write() {
    let io = SimIo::new(1);
    let length = io.run(async {
        let mut value = batch(1, 1_000, 7, 1);
        value[900..].fill(0);
        value[1_050] = 1;
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(ms(1), None, Some(&value), &[]);
        let bytes = builder.finish().unwrap();
        let log = open(&shard(&io), Path::new(DIR), large()).await;
        append(&log, &bytes).await;
        bytes.len()
    });
    let io = io.kill();
    let bits = |bytes: &[u8]| bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
    let image = io.read_file(Path::new(FIRST)).unwrap();
    assert_eq!(bits(&image[1_024..length]), 1);
    let io = changed(&io, 1, |bytes| bytes[1_024..length].fill(0));
    let (held, report) = io.run(reopen(&io, &large())).unwrap();
    assert!(held == 0 && report.cut.is_some());
}

#[test]
fn what_is_cut_is_safe_before_it_goes() {
    let (io, length) = killed(5, 3_000, &large());
    let start = 2 * length;
    let change = |bytes: &mut Vec<u8>| bytes[start + 1_000..start + 2_500].fill(0x5a);
    let wanted = {
        let image = changed(&io, 0, change).read_file(Path::new(FIRST)).unwrap();
        trimmed(&image[start..]).to_vec()
    };
    for operations in 0..60 {
        let io = changed(&io, operations, change);
        let _ = io.run_operations(Box::pin(reopen(&io, &large())), operations);
        let io = if operations % 2 == 0 { io.crash() } else { io.kill() };
        io.run(async {
            let (held, _) = reopen(&io, &large()).await.unwrap();
            assert_eq!(held, 2);
            let names = io.list_dir(Path::new(DIR)).await.unwrap();
            let saved = names.iter().filter(|entry| entry.name.contains(".cut-"));
            let mut saved = saved.map(|entry| io.read_file(&Path::new(DIR).join(&entry.name)));
            assert!(saved.any(|bytes| bytes.unwrap() == wanted), "after {operations} operations");
            assert!(names.iter().all(|entry| !entry.name.ends_with(".tmp")), "{names:?}");
        });
    }
}

#[test]
fn what_was_cut_goes_with_its_segment() {
    let (io, length) = killed(5, 3_000, &small());
    let io = changed(&io, 1, |bytes| bytes[length + 600..length + 2_900].fill(0x5a));
    io.run(async {
        let (log, report) = Log::open(&shard(&io), Path::new(DIR), small()).await.unwrap();
        let saved = report.cut.unwrap().saved;
        for n in 0..30 {
            append(&log, &batch(1, 3_000, n, 1)).await;
        }
        log.close().await.unwrap();
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        assert!(io.read_file(&saved).is_ok());
        log.delete_before(log.offsets().durable).await.unwrap();
        log.close().await.unwrap();
        open(&shard(&io), Path::new(DIR), small()).await;
        assert!(io.read_file(&saved).is_err());
    });
}

#[test]
fn a_full_disk_has_room_for_what_is_cut() {
    let (io, length) = killed(5, 3_000, &large());
    let start = 2 * length;
    let io = changed(&io, 1, |bytes| bytes[start + 1_000..start + 2_500].fill(0x5a));
    io.set_capacity(io.used());
    let (held, report) = io.run(reopen(&io, &large())).unwrap();
    assert!(held == 2 && report.cut.is_some());
}

#[test]
fn a_flipped_bit_in_reserved_space_costs_nothing() {
    let (io, length) = killed(5, 100, &large());
    for at in [5 * length, 5 * length + 30, 5 * length + 4_000] {
        let io = changed(&io, 1, |bytes| bytes[at] ^= 4);
        let (held, report) = io.run(reopen(&io, &large())).unwrap();
        assert_eq!((held, report.cut.unwrap().position), (5, 5 * length as u64));
    }
}

#[test]
fn a_length_that_exceeds_all_memory_is_damage_and_no_panic() {
    let settings = LogSettings { segment_bytes: 64 << 20, batch_bytes_max: 1 << 20, ..small() };
    let (io, _) = killed(3, 100, &settings);
    let io = changed(&io, 1, |bytes| {
        bytes.resize(40 << 20, 0);
        bytes[8] ^= 2;
    });
    let opened = io.run(reopen(&io, &settings));
    assert!(matches!(opened, Err(OpenError::Corrupt { position: 0, .. })), "{opened:?}");
}

#[test]
fn torn_writes_are_never_taken_for_damage() {
    tear(Entries::Batches, 1_500);
}

#[test]
fn torn_writes_of_frames_are_never_taken_for_damage() {
    tear(Entries::Frames, 600);
    tear(Entries::Both, 300);
}

fn tear(entries: Entries, seeds: u64) {
    let only = std::env::var("RINGLOG_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..seeds, |seed: u64| seed..seed + 1) {
        let replay = format!("RINGLOG_SEED={seed} cargo test -p ringlog-engine --test log_rot");
        let io = SimIo::new(seed);
        io.set_latency(Duration::from_micros(10), Duration::from_micros(10 + seed % 700));
        let work = async {
            io.create_dir_all(Path::new("/data")).await.unwrap();
            io.sync_dir(Path::new("/")).await.unwrap();
            let log = open(&shard(&io), Path::new(DIR), large()).await;
            for n in 0.. {
                let bytes = usize::try_from(io.random() % (1 << (io.random() % 15))).unwrap();
                let end = append_only(&log, &entries.make(1, bytes, n, 1)).await.end_offset;
                if io.random().is_multiple_of(2) {
                    log.durable(end).await.unwrap();
                }
            }
        };
        let _ = io.run_operations(Box::pin(work), 6 + seed % 23);
        let io = if seed % 3 == 0 { io.kill() } else { io.crash() };
        io.run(async {
            if let Err(error) = Log::open(&shard(&io), Path::new(DIR), large()).await {
                panic!("{error} ({replay})");
            }
        });
    }
}

#[test]
fn a_flipped_bit_on_a_real_disk_is_refused() {
    for (batch_index, at) in [(0, 40), (2, 300), (4, 10)] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir = folder.path().join("log");
        let io = UringIo::plain(256).unwrap();
        io.block_on(Box::pin(async {
            // Never closed: as a killed process leaves it.
            let log = open(&shard(&io), &dir, large()).await;
            for n in 0..5 {
                append(&log, &batch(1, 300, n, 1)).await;
            }
        }));
        let path = dir.join("00000000000000000000.log");
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let place = batch_index * batch(1, 300, 0, 1).len() as u64 + at;
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).unwrap();
        file.write_all_at(&[byte[0] ^ 1], place).unwrap();
        file.sync_all().unwrap();
        io.block_on(Box::pin(async {
            let opened = Log::open(&shard(&io), &dir, large()).await;
            assert!(matches!(opened, Err(OpenError::Corrupt { .. })), "{opened:?}");
        }));
    }
}
