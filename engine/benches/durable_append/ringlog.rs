//! Ringlog: one shard on one pinned thread, with a plain ring.
//!
//! There are two ways to drive it, as there are for other crates. As a server does: the clients are
//! tasks of the shard's own executor. Each appends one batch with one record, whose value is the
//! payload, waits until it is durable, and appends again, to the next log in turn. The batch is
//! built beforehand, and checked anew before each append, as a server would check what a client
//! sent. Or as a program that has its payloads at hand: one task appends all that is due, each
//! payload as a frame, and waits for all of it.

use std::cell::{Cell as Slot, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringlog_engine::batch::{BatchBuilder, BatchOptions, CheckedBatch};
use ringlog_engine::frame::Frame;
use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::journal::JournalSettings;
use ringlog_engine::log::{Log, LogSettings, Stamp};
use ringlog_engine::offset::Timestamp;
use ringlog_engine::shard::{Shard, ShardSettings};

use crate::cell::{Cell, Course, Failure, Figures, Pace, Tally, measure, noise, now};

/// Operations per submission of the ring.
const RING_ENTRIES: u32 = 256;
/// The folder of the logs' folders.
const LOGS: &str = "logs";
/// Logs that are opened and first appended to at once.
const OPENING: usize = 64;
/// Payload bytes of the first append to each log, at most: enough that its files are there.
const FIRST_BYTES: usize = 100;

/// Which way an append takes to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// As the engine chooses by what waits: small flushes into the shard's journal, large ones into
    /// the log's own segment.
    Auto,
    /// Every flush into the log's own segment: a shard without a journal.
    Direct,
    /// Every flush into the shard's journal.
    Journal,
}

/// How appends are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drive {
    /// A task for each append in flight.
    Tasks,
    /// One task for all that is due.
    Batch,
}

/// Runs one cell on Ringlog.
pub(crate) fn run(cell: &Cell, path: Path, drive: Drive) -> Result<Figures, Failure> {
    measure(cell, 1, |_, course| {
        crate::machine::pin(cell.cpu)?;
        let io = UringIo::plain(RING_ENTRIES)?;
        let result = io.block_on(appends(&io, cell, path, drive, course));
        // The logs' flush tasks hold the ring, which runs them.
        io.stop_tasks();
        result
    })
}

/// The one place where the way to the disk is chosen.
async fn open_shard(io: &UringIo, cell: &Cell, path: Path) -> Result<Shard<UringIo>, Failure> {
    let (io, settings) = (io.clone(), ShardSettings::default());
    let journal = JournalSettings::new(cell.dir.join("journal-0"), cell.dir.join(LOGS));
    let journal = match path {
        Path::Direct => None,
        Path::Auto => Some(journal),
        Path::Journal => Some(JournalSettings { direct_bytes: usize::MAX, ..journal }),
    };
    let shard = match journal {
        None => Shard::new(io.clone(), settings),
        Some(journal) => Shard::open(io.clone(), settings, journal).await?.0,
    };
    io.register_buffers(shard.pool());
    Ok(shard)
}

async fn appends(
    io: &UringIo,
    cell: &Cell,
    path: Path,
    drive: Drive,
    course: &Course,
) -> Result<Tally, Failure> {
    let shard = open_shard(io, cell, path).await?;
    let logs = open_logs(io, &shard, cell).await?;
    course.ready();
    match drive {
        Drive::Tasks => append_by_tasks(io, logs, cell, course).await,
        Drive::Batch => append_by_batch(io, &logs, cell, course).await,
    }
}

async fn append_by_tasks(
    io: &UringIo,
    logs: Vec<Log<UringIo>>,
    cell: &Cell,
    course: &Course,
) -> Result<Tally, Failure> {
    let shared = Rc::new(Shared {
        batch: batch_of(&cell.payload())?,
        logs,
        next: Slot::new(0),
        tally: RefCell::new(Tally::new()?),
        course: course.clone(),
    });
    together(io, cell.in_flight, |client| {
        let (io, shared) = (io.clone(), Rc::clone(&shared));
        let pace = Pace::of(cell, client, cell.in_flight);
        async move {
            let ended = shared.append_until_over(&io, pace).await;
            if ended.is_err() {
                shared.course.end();
            }
            ended
        }
    })
    .await?;
    Ok(shared.tally.replace(Tally::new()?))
}

async fn append_by_batch(
    io: &UringIo,
    logs: &[Log<UringIo>],
    cell: &Cell,
    course: &Course,
) -> Result<Tally, Failure> {
    let payload = cell.payload();
    let mut tally = Tally::new()?;
    let mut pace = Pace::of(cell, 0, 1);
    let mut turns = logs.iter().cycle();
    let mut begun = Vec::with_capacity(cell.in_flight);
    let mut appended = Vec::with_capacity(cell.in_flight);
    while !course.is_over() {
        while begun.len() < cell.in_flight {
            let due = pace.as_mut().map_or_else(|| Some(now()), Pace::take);
            match due {
                Some(due) => begun.push(due),
                None if begun.is_empty() => {
                    let due = pace.as_ref().map_or_else(now, Pace::due);
                    io.sleep(due.saturating_duration_since(now())).await;
                }
                None => break,
            }
        }
        for log in turns.by_ref().take(begun.len()) {
            let frame = Frame::new(Timestamp::from_millis(0), &payload)?;
            let reservation = log.reserve(frame.size_bytes()).await?;
            let end = log.append(reservation, &frame, Stamp::default())?.end_offset;
            appended.push((log, end));
        }
        for (log, end) in appended.drain(..) {
            log.durable(end).await?;
        }
        let ended = now();
        for begun in begun.drain(..) {
            tally.count(course, begun, ended);
        }
    }
    Ok(tally)
}

/// What the clients of a cell share.
struct Shared {
    logs: Vec<Log<UringIo>>,
    next: Slot<usize>,
    batch: Vec<u8>,
    tally: RefCell<Tally>,
    course: Course,
}

impl Shared {
    async fn append_until_over(&self, io: &UringIo, mut pace: Option<Pace>) -> Result<(), Failure> {
        while !self.course.is_over() {
            let due = pace.as_mut().map_or_else(|| Some(now()), Pace::take);
            let Some(begun) = due else {
                let due = pace.as_ref().map_or_else(now, Pace::due);
                io.sleep(due.saturating_duration_since(now())).await;
                continue;
            };
            let turn = self.next.get();
            self.next.set((turn + 1) % self.logs.len());
            let batch = CheckedBatch::check(&self.batch)?;
            self.logs[turn].append_durably(&batch, Stamp::default()).await?;
            self.tally.borrow_mut().count(&self.course, begun, now());
        }
        Ok(())
    }
}

/// Opens the cell's logs, each with a first append.
async fn open_logs(
    io: &UringIo,
    shard: &Shard<UringIo>,
    cell: &Cell,
) -> Result<Vec<Log<UringIo>>, Failure> {
    let first = Rc::new(batch_of(&noise(cell.payload_bytes.min(FIRST_BYTES)))?);
    let logs = Rc::new(RefCell::new(vec![None; cell.logs]));
    together(io, OPENING.min(cell.logs), |opener| {
        let (shard, first, logs) = (shard.clone(), Rc::clone(&first), Rc::clone(&logs));
        let (count, root) = (cell.logs, cell.dir.join(LOGS));
        async move {
            for number in (opener..count).step_by(OPENING) {
                let dir = root.join(format!("log-{number}"));
                let (log, _) = Log::open(&shard, &dir, LogSettings::default()).await?;
                log.append_durably(&CheckedBatch::check(&first)?, Stamp::default()).await?;
                logs.borrow_mut()[number] = Some(log);
            }
            Ok(())
        }
    })
    .await?;
    let logs = logs.take().into_iter().flatten();
    Ok(logs.collect())
}

/// A batch with one record of this value.
fn batch_of(payload: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(Timestamp::from_millis(0), None, Some(payload), &[]);
    Ok(builder.finish()?)
}

/// Runs `count` tasks and waits for all of them. The first failure is returned.
async fn together<F>(io: &UringIo, count: usize, task: impl Fn(usize) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let group = Rc::new(Group::default());
    group.left.set(count);
    for index in 0..count {
        let (group, task) = (Rc::clone(&group), task(index));
        io.spawn(async move {
            if let Err(failure) = task.await {
                group.failure.borrow_mut().get_or_insert(failure);
            }
            group.left.set(group.left.get() - 1);
            if group.left.get() == 0
                && let Some(waker) = group.waker.take()
            {
                waker.wake();
            }
        });
    }
    poll_fn(|cx| {
        if group.left.get() == 0 {
            return Poll::Ready(());
        }
        group.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    })
    .await;
    group.failure.take().map_or(Ok(()), Err)
}

/// Tasks that are waited for.
#[derive(Default)]
struct Group {
    left: Slot<usize>,
    waker: RefCell<Option<Waker>>,
    failure: RefCell<Option<Failure>>,
}
