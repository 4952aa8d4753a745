//! The children: one works until it is killed, one reports what it finds.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::batch::{BatchBuilder, BatchError, BatchOptions, CheckedBatch};
use ringlog_engine::error::{OpenError, ReadError};
use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::journal::JournalSettings;
use ringlog_engine::limits::{JOURNAL_FILE_BYTES_MIN, JOURNAL_FILES_MIN};
use ringlog_engine::log::{FlushPolicy, Log, LogSettings, Stamp};
use ringlog_engine::offset::{Offset, Timestamp};
use ringlog_engine::shard::{Shard, ShardSettings};
use thiserror::Error;

use super::event::Event;
use super::judge::RECORDS_MAX;
use super::random::Random;

/// Why a child ended by itself.
#[derive(Debug, Error)]
pub enum WorkError {
    /// There is no ring to work on.
    #[error("no io_uring: {0}")]
    Ring(#[source] std::io::Error),
    /// The shard could not be opened, or its journal not be put into the logs.
    #[error("the shard does not open: {0}")]
    Shard(#[source] OpenError),
    /// A log could not be opened.
    #[error("log {log} does not open: {source}")]
    Open {
        /// Which log.
        log: usize,
        /// Why.
        source: OpenError,
    },
    /// A log could not be read.
    #[error("log {log} cannot be read at {from}: {source}")]
    Read {
        /// Which log.
        log: usize,
        /// The offset.
        from: Offset,
        /// Why.
        source: ReadError,
    },
    /// A read gave something that is no batch.
    #[error("log {log} gave bytes at {from} that are no batch: {source}")]
    Batch {
        /// Which log.
        log: usize,
        /// The offset.
        from: Offset,
        /// Why.
        source: BatchError,
    },
    /// A read gave nothing where records must be.
    #[error("log {log} gave nothing at {from}, below its durable end")]
    Nothing {
        /// Which log.
        log: usize,
        /// The offset.
        from: Offset,
    },
}

/// What a child is to do.
#[derive(Debug, Clone)]
pub struct Task {
    /// The folder of the logs' folders.
    pub dir: PathBuf,
    /// How many logs.
    pub logs: usize,
    /// What is done follows from this.
    pub seed: u64,
    /// Whether appends are acknowledged when the kernel has them, and not when they are synced.
    pub relaxed: bool,
    /// Whether the logs share a journal.
    pub journal: bool,
}

impl Task {
    fn dir(&self, log: usize) -> PathBuf {
        self.dir.join(format!("log-{log}"))
    }

    fn settings(&self) -> LogSettings {
        let mut random = Random::new(self.seed);
        let durability = if self.relaxed {
            let interval = random.one_in(2).then_some(Duration::from_millis(5));
            FlushPolicy::Relaxed { messages: 1 + random.below(50), interval }
        } else {
            FlushPolicy::EveryBatch
        };
        LogSettings {
            segment_bytes: 4096 << random.below(8),
            index_interval_bytes: 1024,
            batch_bytes_max: 512 * 1024,
            segment_age_max: Duration::from_secs(1 << 30),
            retention_age_max: None,
            durability,
            ..LogSettings::default()
        }
    }
}

/// Opens the shard, and with it what its journal holds.
async fn shard(io: &UringIo, task: &Task) -> Result<Shard<UringIo>, WorkError> {
    let mib = 1024 * 1024;
    let memory = ShardSettings {
        buffer_pool_bytes: 32 * mib,
        cache_bytes: 4 * mib,
        // Few, so that files are opened anew all along.
        open_files_max: 8,
        ..ShardSettings::default()
    };
    if !task.journal {
        return Ok(Shard::new(io.clone(), memory));
    }
    // Small, so that its files are soon written again.
    let journal = JournalSettings {
        files: JOURNAL_FILES_MIN,
        file_bytes: JOURNAL_FILE_BYTES_MIN,
        direct_bytes: 64 * 1024,
        ..JournalSettings::new(task.dir.join("journal"), &task.dir)
    };
    let opened = Shard::open(io.clone(), memory, journal).await;
    opened.map(|(shard, _)| shard).map_err(WorkError::Shard)
}

fn number(offset: Offset) -> i64 {
    offset.value()
}

/// FNV-1a of a batch without what the log writes into it.
fn hash(batch: &[u8]) -> u64 {
    let stamped = |at: &usize| (0..8).contains(at) || (12..16).contains(at);
    let bytes = batch.iter().enumerate().filter(|(at, _)| !stamped(at));
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, (_, byte)| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn batch(random: &mut Random) -> Result<Vec<u8>, BatchError> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    // Most are small; a few are large enough to go their own way to disk.
    let bytes = if random.one_in(20) { random.below(200_000) } else { random.below(3_000) };
    for _ in 0..=random.below(RECORDS_MAX.unsigned_abs()) {
        let mut value = Vec::new();
        while (value.len() as u64) < bytes / 2 {
            value.extend_from_slice(&random.next_u64().to_le_bytes());
        }
        builder.push(Timestamp::from_millis(1_000), None, Some(&value), &[]);
    }
    builder.finish()
}

/// Opens the logs and works on them until the process is killed; tells of everything.
///
/// # Errors
///
/// [`WorkError`], at the start only: a log that fails later is left alone.
pub fn work(task: &Task) -> Result<(), WorkError> {
    let io = UringIo::plain(64).map_err(WorkError::Ring)?;
    io.block_on(async {
        let shard = shard(&io, task).await?;
        let mut random = Random::new(task.seed ^ 0x5eed);
        let mut logs = Vec::new();
        for log in 0..task.logs {
            let opened = Log::open(&shard, &task.dir(log), task.settings()).await;
            let (opened, _) = opened.map_err(|source| WorkError::Open { log, source })?;
            for _ in 0..2 {
                let random = Random::new(random.next_u64());
                io.spawn(live(log, opened.clone(), Rc::new(RefCell::new(random)), io.clone()));
            }
            logs.push(opened);
        }
        if random.one_in(6) {
            io.sleep(Duration::from_millis(random.below(200))).await;
            for log in &logs {
                let _ = log.close().await;
            }
        }
        std::future::pending::<()>().await;
        Ok(())
    })
}

/// One task's life on a log, until the log takes no more.
async fn live(log: usize, held: Log<UringIo>, random: Rc<RefCell<Random>>, io: UringIo) {
    let below = |bound| random.borrow_mut().below(bound);
    loop {
        let offsets = held.offsets();
        match below(150) {
            0 => drop(held.roll().await),
            1 => {
                let span = offsets.durable.since(offsets.start);
                let start = offsets.start.plus(u32::try_from(below(span + 1)).unwrap_or(0));
                // Told first: after a crash either start is right.
                Event::Starting { log, start: number(start) }.tell();
                let _ = held.delete_before(start).await;
            }
            2 => {
                let span = offsets.end.since(offsets.start);
                let to = offsets.start.plus(u32::try_from(below(span + 1)).unwrap_or(0));
                Event::Truncating { log, to: number(to) }.tell();
                if let Ok(end) = held.truncate(to).await {
                    Event::Truncated { log, end: number(end) }.tell();
                }
            }
            3..=9 => io.sleep(Duration::from_micros(below(3_000))).await,
            _ => {}
        }
        let made = batch(&mut random.borrow_mut());
        let Ok(bytes) = made else { return };
        let Ok(batch) = CheckedBatch::check(&bytes) else { return };
        let Ok(reservation) = held.reserve(bytes.len()).await else { return };
        let Ok(appended) = held.append(reservation, &batch, Stamp::default()) else { return };
        let (base, end) = (number(appended.base_offset), number(appended.end_offset));
        // Nothing is written before this task waits, so the parent knows of the batch first.
        Event::Appended { log, base, end, hash: hash(&bytes) }.tell();
        if below(3) > 0 && held.durable(appended.end_offset).await.is_ok() {
            Event::Durable { log, end }.tell();
        }
    }
}

/// Opens the logs, as after a crash, and tells what they hold.
///
/// # Errors
///
/// [`WorkError`].
pub fn report(task: &Task) -> Result<(), WorkError> {
    let io = UringIo::plain(64).map_err(WorkError::Ring)?;
    let told = io.block_on(async {
        let shard = shard(&io, task).await?;
        for log in 0..task.logs {
            let opened = Log::open(&shard, &task.dir(log), task.settings()).await;
            let (held, _) = opened.map_err(|source| WorkError::Open { log, source })?;
            let offsets = held.offsets();
            let (start, end) = (number(offsets.start), number(offsets.end));
            Event::Holds { log, start, end }.tell();
            tell_batches(log, &held).await?;
        }
        Ok(())
    });
    io.stop_tasks();
    told?;
    Event::Finished.tell();
    Ok(())
}

async fn tell_batches(log: usize, held: &Log<UringIo>) -> Result<(), WorkError> {
    let offsets = held.offsets();
    let mut from = offsets.start;
    while from < offsets.durable {
        let read = held.read(from, offsets.durable, 64 * 1024, true).await;
        let bytes = read.map_err(|source| WorkError::Read { log, from, source })?.to_vec();
        if bytes.is_empty() {
            return Err(WorkError::Nothing { log, from });
        }
        let mut rest: &[u8] = &bytes;
        while !rest.is_empty() {
            let checked = CheckedBatch::check_first(rest);
            let (batch, after) =
                checked.map_err(|source| WorkError::Batch { log, from, source })?;
            let header = batch.header();
            let end = header.end_offset().unwrap_or(from.plus(1));
            let (base, hash) = (header.base_offset, hash(batch.bytes()));
            Event::Batch { log, base, end: number(end), hash }.tell();
            (from, rest) = (end, after);
        }
    }
    Ok(())
}
