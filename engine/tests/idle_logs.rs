//! What logs cost that nobody uses: memory only, and little of it.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use ringlog_engine::io::sim::SimIo;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::log::{Log, LogSettings};
use ringlog_engine::shard::{Shard, ShardSettings};
use support::*;

/// What `docs/limits.md` promises.
const IDLE_LOG_BYTES_MAX: usize = 4096;
const SEALED_SEGMENT_BYTES_MAX: usize = 64;

/// Counts what this thread holds.
struct Counting;

thread_local! {
    static HELD_BYTES: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it came; the counters are cells of the
// calling thread with constant initial values, which allocate nothing themselves.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD_BYTES.set(HELD_BYTES.get().wrapping_add(layout.size()));
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.set(HELD_BYTES.get().wrapping_sub(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Files this process has open; those of other tests do not count.
fn open_files(under: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
    targets.filter(|target| target.starts_with(under)).count()
}

/// The folder once more, with files of its own or, which takes less time, with the same ones.
fn repeat_folder(from: &Path, to: &Path, is_own: bool) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (old, new) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if is_own {
            std::fs::copy(old, new).unwrap();
        } else {
            std::fs::hard_link(old, new).unwrap();
        }
    }
}

#[test]
fn ten_thousand_idle_logs_hold_no_file_and_little_memory() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let under = folder.path().canonicalize().unwrap();
    let io = UringIo::plain(256).unwrap();
    let settings = ShardSettings { open_files_max: 16, ..ShardSettings::default() };
    let shard = Shard::new(io.clone(), settings);
    io.block_on(Box::pin(async {
        let first = under.join("log-0");
        let log = open(&shard, &first, LogSettings::default()).await;
        for n in 0..5 {
            append(&log, &batch(2, 300, n, 1)).await;
        }
        log.close().await.unwrap();
        drop(log);
        for n in 1..10_000 {
            repeat_folder(&first, &under.join(format!("log-{n}")), n % 250 == 0);
        }
        let mut logs = Vec::with_capacity(10_000);
        let before = HELD_BYTES.get();
        for n in 0..10_000 {
            let dir = under.join(format!("log-{n}"));
            let (log, report) = Log::open(&shard, &dir, LogSettings::default()).await.unwrap();
            assert!(report.clean, "{report:?}");
            logs.push(log);
        }
        let bytes = HELD_BYTES.get().wrapping_sub(before) / logs.len();
        println!("an idle log holds {bytes} bytes of memory");
        assert!(bytes <= IDLE_LOG_BYTES_MAX, "{bytes} bytes a log");
        assert_eq!(open_files(&under), 0);
        // Those that are used take turns in holding a file.
        let before = HELD_BYTES.get();
        for log in logs.iter().step_by(250) {
            append(log, &batch(1, 300, 6, 1)).await;
            log.read(at(3), at(5), 1000, true).await.unwrap();
        }
        for log in logs.iter().step_by(250) {
            append(log, &batch(1, 300, 7, 1)).await;
            assert_eq!(contents(log).await.len(), 7);
        }
        let bytes = bytes + HELD_BYTES.get().wrapping_sub(before) / (logs.len() / 250);
        println!("a log that was used holds {bytes} bytes of memory");
        assert!(bytes <= IDLE_LOG_BYTES_MAX, "{bytes} bytes a log that was used");
        let held = open_files(&under);
        assert!(held <= 2 * 16, "{held} files");
    }));
    io.stop_tasks();
}

#[test]
fn a_sealed_segment_costs_its_log_a_few_numbers() {
    let io = SimIo::new(1);
    io.run(async {
        let shard = cold_shard(&io);
        let settings = LogSettings { segment_bytes: 4096, ..small() };
        let log = open(&shard, Path::new("/data/log"), settings.clone()).await;
        for n in 0..1_500 {
            append_only(&log, &batch(1, 2_500, n, 1)).await;
        }
        log.close().await.unwrap();
        drop(log);
        let before = HELD_BYTES.get();
        let log = open(&shard, Path::new("/data/log"), settings).await;
        let bytes = HELD_BYTES.get().wrapping_sub(before) - IDLE_LOG_BYTES_MAX;
        assert_eq!(log.segment_count(), 1_500);
        println!("a sealed segment holds {} bytes of memory", bytes / 1_500);
        assert!(bytes / 1_500 <= SEALED_SEGMENT_BYTES_MAX, "{bytes} bytes in all");
    });
}

#[test]
fn a_sequential_reader_of_files_allocates_once_or_twice_for_each_mebibyte() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let io = UringIo::plain(256).unwrap();
    let shard = cold_shard(&io);
    io.block_on(Box::pin(async {
        let settings = LogSettings { segment_bytes: 1 << 30, ..small() };
        let log = open(&shard, &folder.path().join("log"), settings).await;
        for n in 0..2_000 {
            append_only(&log, &batch(1, 16_000, n, 1)).await;
        }
        log.durable(at(2_000)).await.unwrap();
        for step in [1024 * 1024, 64 * 1024] {
            let (mut from, mut mebibytes) = (at(0), 0);
            let mut before = ALLOCATIONS.get();
            while from < at(1_600) {
                let slices = log.read(from, at(2_000), step, true).await.unwrap();
                from = from.plus(u32::try_from(slices.len() / 16_000).unwrap());
                if from < at(400) {
                    before = ALLOCATIONS.get();
                    mebibytes = 0;
                }
                mebibytes += slices.len();
            }
            mebibytes /= 1024 * 1024;
            let allocations = ALLOCATIONS.get() - before;
            println!("{allocations} allocations for {mebibytes} MiB in steps of {step} bytes");
            assert!(allocations <= 2 * mebibytes, "{allocations} for {mebibytes} MiB");
        }
    }));
    io.stop_tasks();
}
