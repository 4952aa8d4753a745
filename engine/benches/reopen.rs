//! How soon a killed log serves again: one large log, and many small ones.
//!
//! ```sh
//! cargo bench -p ringlog-engine --bench reopen -- --gib 10 --logs 10000
//! ```
//!
//! A child process writes until everything is acknowledged, and is killed with SIGKILL. This
//! process then opens what is left and times it: to open, to the first durable append, to the
//! first read that comes from the disk. The shard has a journal of the default size, in which the
//! small logs' batches stand, unless `--no-journal` says otherwise. `--dir` says where (a file system that takes `O_DIRECT`;
//! the target folder if not given); what was written there is removed at the end.

use std::cell::Cell;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::Duration;

use ringlog_engine::batch::{BatchBuilder, BatchOptions, CheckedBatch};
use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::journal::{JournalSettings, ReplayReport};
use ringlog_engine::log::{Log, LogSettings, RecoveryReport, Stamp};
use ringlog_engine::offset::Timestamp;
use ringlog_engine::shard::{Shard, ShardSettings};

const GIB: u64 = 1 << 30;
const LARGE_BATCH_BYTES: usize = 256 * 1024;
const SMALL_BATCH_BYTES: usize = 1024;
const SMALL_BATCHES: usize = 3;
/// Logs that are opened at the same time.
const OPENING_MAX: usize = 64;

type Failure = Box<dyn Error>;

struct Options {
    gib: u64,
    logs: usize,
    dir: PathBuf,
    journal: bool,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut options = Options { gib: 1, logs: 1_000, dir, journal: true };
    let mut wanted = false;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            // What cargo says to benchmarks, and not to tests.
            "--bench" => wanted = true,
            "--gib" => options.gib = value()?.parse()?,
            "--logs" => options.logs = value()?.parse()?,
            "--dir" => options.dir = value()?.into(),
            "--no-journal" => options.journal = false,
            "--write-large" => return write_large(&value()?, &options),
            "--write-small" => return write_small(&value()?, &options),
            other => {
                let known = "--gib --logs --dir --no-journal";
                return Err(format!("no option {other}; there are {known}").into());
            }
        }
    }
    if !wanted {
        return Ok(());
    }
    std::fs::create_dir_all(&options.dir)?;
    let folder = tempfile::tempdir_in(&options.dir)?;
    if options.gib > 0 {
        reopen_large(&folder.path().join("large"), &options)?;
    }
    if options.logs > 0 {
        reopen_small(&folder.path().join("small"), &options)?;
    }
    Ok(())
}

fn settings() -> LogSettings {
    LogSettings { segment_bytes: GIB, retention_age_max: None, ..LogSettings::default() }
}

fn backend() -> Result<UringIo, Failure> {
    Ok(UringIo::plain(256)?)
}

/// The shard of the logs below `dir`, and what was in its journal.
async fn open_shard(
    io: &UringIo,
    dir: &Path,
    options: &Options,
) -> Result<(Shard<UringIo>, ReplayReport), Failure> {
    let settings = ShardSettings::default();
    let opened = if options.journal {
        let journal = JournalSettings::new(dir.join("journal"), dir);
        Shard::open(io.clone(), settings, journal).await?
    } else {
        (Shard::new(io.clone(), settings), ReplayReport::default())
    };
    io.register_buffers(opened.0.pool());
    Ok(opened)
}

fn batch(bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(Timestamp::from_millis(1), None, Some(&vec![7; bytes]), &[]);
    Ok(builder.finish()?)
}

/// Runs this program again as a writer, and kills it when it says that all is acknowledged.
fn write_and_kill(what: &str, dir: &Path, options: &Options) -> Result<(), Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--gib", &options.gib.to_string(), "--logs", &options.logs.to_string()])
        .args((!options.journal).then_some("--no-journal"))
        .arg(what)
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    let output = child.stdout.take().ok_or("the writer has no output")?;
    BufReader::new(output).read_line(&mut said)?;
    child.kill()?;
    child.wait()?;
    if said.trim() == "acknowledged" { Ok(()) } else { Err(format!("it said {said:?}").into()) }
}

/// Says that all is acknowledged, and waits to be killed.
async fn wait_for_the_end() {
    println!("acknowledged");
    std::future::pending::<()>().await;
}

fn write_large(dir: &str, options: &Options) -> Result<(), Failure> {
    let (io, dir) = (backend()?, Path::new(dir));
    io.block_on(async {
        let (shard, _) = open_shard(&io, dir, options).await?;
        let (log, _) = Log::open(&shard, &large_dir(dir), settings()).await?;
        let batch = batch(LARGE_BATCH_BYTES)?;
        let checked = CheckedBatch::check(&batch)?;
        // So many that the last segment is nearly full, which is when most of it could be scanned.
        for _ in 0..options.gib * (GIB / batch.len() as u64) {
            let reservation = log.reserve(batch.len()).await?;
            log.append(reservation, &checked, Stamp::default())?;
        }
        log.durable(log.offsets().end).await?;
        wait_for_the_end().await;
        Ok(())
    })
}

fn large_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn small_dir(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{number:06}"))
}

fn write_small(dir: &str, options: &Options) -> Result<(), Failure> {
    let (io, dir) = (backend()?, Path::new(dir));
    let batch = batch(SMALL_BATCH_BYTES)?;
    io.block_on(async {
        let (shard, _) = open_shard(&io, dir, options).await?;
        let open = for_each(options.logs, |number| {
            let (shard, batch) = (&shard, &batch);
            async move {
                let opened = Log::open(shard, &small_dir(dir, number), settings()).await;
                let (log, _) = opened?;
                for _ in 0..SMALL_BATCHES {
                    log.append_durably(&CheckedBatch::check(batch)?, Stamp::default()).await?;
                }
                Ok(log)
            }
        });
        let _open = open.await?;
        wait_for_the_end().await;
        Ok(())
    })
}

/// Runs `task` for each number below `count`, [`OPENING_MAX`] of them at a time.
async fn for_each<T, F>(count: usize, task: impl Fn(usize) -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let next = Cell::new(0);
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let mut done = Vec::with_capacity(count);
    poll_fn(|cx| {
        loop {
            while running.len() < OPENING_MAX && next.get() < count {
                running.push(Box::pin(task(next.replace(next.get() + 1))));
            }
            let before = done.len();
            let mut index = 0;
            while index < running.len() {
                match running[index].as_mut().poll(cx) {
                    Poll::Ready(Ok(result)) => {
                        done.push(result);
                        drop(running.swap_remove(index));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => index += 1,
                }
            }
            if done.len() == count {
                return Poll::Ready(Ok(()));
            }
            if done.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await?;
    Ok(done)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Appends to a log and reads its first batch, and prints how long that took since `begun`.
async fn serve(io: &UringIo, log: &Log<UringIo>, begun: Duration) -> Result<(), Failure> {
    let batch = batch(SMALL_BATCH_BYTES)?;
    log.append_durably(&CheckedBatch::check(&batch)?, Stamp::default()).await?;
    println!("  to the first durable append {:10.1} ms", milliseconds(io.elapsed() - begun));
    let offsets = log.offsets();
    let read = log.read(offsets.start, offsets.durable, 1, true).await?;
    assert!(!read.is_empty(), "the first batch is there");
    println!("  to the first cold read      {:10.1} ms", milliseconds(io.elapsed() - begun));
    Ok(())
}

/// What opening the shard cost, and what its journal held.
fn print_shard(took: Duration, replay: &ReplayReport) {
    println!("  to open its shard           {:10.1} ms", milliseconds(took));
    let ReplayReport { entries, bytes, logs, .. } = replay;
    println!("    put into segments         {entries:10} pieces, {bytes} bytes, {logs} logs");
}

fn reopen_large(dir: &Path, options: &Options) -> Result<(), Failure> {
    write_and_kill("--write-large", dir, options)?;
    let io = backend()?;
    let outcome: Result<_, Failure> = io.block_on(async {
        let begun = io.elapsed();
        let (shard, replay) = open_shard(&io, dir, options).await?;
        let shard_opened = io.elapsed();
        let (log, report) = Log::open(&shard, &large_dir(dir), settings()).await?;
        let opened = io.elapsed();
        let gib = options.gib;
        println!("a log of {gib} GiB in {} segments, killed", log.segment_count());
        print_shard(shard_opened - begun, &replay);
        println!("  to open it                  {:10.1} ms", milliseconds(opened - begun));
        println!("    bytes read and checked    {:10.1} MiB", mib(&[report]));
        serve(&io, &log, begun).await
    });
    outcome
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn mib(reports: &[RecoveryReport]) -> f64 {
    reports.iter().map(|report| report.scanned_bytes).sum::<u64>() as f64 / f64::from(1 << 20)
}

/// Bytes of memory of this process that are resident.
fn resident_bytes() -> Result<u64, Failure> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages.split(' ').nth(1).ok_or("no second field")?.parse()?;
    Ok(pages * 4096)
}

fn reopen_small(dir: &Path, options: &Options) -> Result<(), Failure> {
    write_and_kill("--write-small", dir, options)?;
    let (io, logs) = (backend()?, options.logs);
    io.block_on(async {
        let begun = io.elapsed();
        let (shard, replay) = open_shard(&io, dir, options).await?;
        let shard_opened = io.elapsed();
        let resident = resident_bytes()?;
        let opened = for_each(logs, |number| {
            let shard = &shard;
            async move { Ok(Log::open(shard, &small_dir(dir, number), settings()).await?) }
        });
        let opened = opened.await?;
        let took = io.elapsed() - begun;
        let resident = resident_bytes()?.saturating_sub(resident);
        let (open, reports): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        println!(
            "{logs} logs of {SMALL_BATCHES} batches of 1 KiB, killed, {OPENING_MAX} at a time"
        );
        print_shard(shard_opened - begun, &replay);
        println!("  to open them                {:10.1} ms", milliseconds(took));
        println!("    bytes read and checked    {:10.1} MiB", mib(&reports));
        println!("    memory, a log             {:10} bytes", resident / open.len() as u64);
        let log = open.first().ok_or("there is no log")?;
        serve(&io, log, begun).await
    })
}
