//! The clients, for crates whose appends block the thread that makes them.

use std::thread;
use std::time::Instant;

use crate::cell::{Cell, Course, Failure, Figures, Pace, Tally, measure, noise, now};

/// Another crate's log of logs.
pub(crate) trait Rival: Sized + Sync {
    /// What one thread keeps between its appends.
    type Hand;

    /// Opens the cell's logs. Each has had one small append when this returns, so that no file has
    /// yet to be made.
    fn open(cell: &Cell) -> Result<Self, Failure>;

    /// Prepares a thread to append this payload.
    fn hand(&self, payload: &[u8]) -> Result<Self::Hand, Failure>;

    /// Appends the payload once to each of `logs`. When this returns, all of that is as safe as the
    /// crate makes it.
    fn append(&self, hand: &mut Self::Hand, logs: &[usize]) -> Result<(), Failure>;
}

/// Bytes of the first append to each log, at most.
const FIRST_BYTES: usize = 100;
/// Logs that get their first append in one call, and threads that make these calls.
const FIRST_AT_ONCE: usize = 100;
const FIRST_WORKERS: usize = 32;

/// Runs a cell: `workers` threads, each of which appends `at_once` payloads at a time to as many
/// logs in turn. A worker has its own logs where there are enough for all.
pub(crate) fn run<R: Rival>(
    cell: &Cell,
    workers: usize,
    at_once: usize,
) -> Result<Figures, Failure> {
    let rival = R::open(cell)?;
    first_appends(&rival, cell)?;
    let payload = cell.payload();
    measure(cell, workers, |worker, course| {
        let mut hand = rival.hand(&payload)?;
        let mut turns = (worker..cell.logs.max(worker + 1)).step_by(workers).cycle();
        let turns = std::iter::from_fn(|| turns.next().map(|turn| turn % cell.logs));
        course.ready();
        let mut pace = Pace::of(cell, worker, workers);
        let due = || pace.as_mut().map_or_else(|| Ok(now()), |pace| pace.take().ok_or(pace.due()));
        appends(&rival, &mut hand, turns, due, at_once, course)
    })
}

/// One worker, until the measurement is over. `due` gives the time of the next append if it has
/// come, or else says when it will.
fn appends<R: Rival>(
    rival: &R,
    hand: &mut R::Hand,
    mut turns: impl Iterator<Item = usize>,
    mut due: impl FnMut() -> Result<Instant, Instant>,
    at_once: usize,
    course: &Course,
) -> Result<Tally, Failure> {
    let mut tally = Tally::new()?;
    let mut logs = Vec::with_capacity(at_once);
    let mut begun = Vec::with_capacity(at_once);
    while !course.is_over() {
        begun.clear();
        while begun.len() < at_once {
            match due() {
                Ok(time) => begun.push(time),
                // It may wake up early, and then looks again.
                Err(later) if begun.is_empty() => {
                    thread::park_timeout(later.saturating_duration_since(now()));
                }
                Err(_) => break,
            }
        }
        logs.clear();
        logs.extend(turns.by_ref().take(begun.len()));
        rival.append(hand, &logs)?;
        let ended = now();
        for &begun in &begun {
            tally.count(course, begun, ended);
        }
    }
    Ok(tally)
}

fn first_appends<R: Rival>(rival: &R, cell: &Cell) -> Result<(), Failure> {
    let payload = noise(cell.payload_bytes.min(FIRST_BYTES));
    let logs: Vec<usize> = (0..cell.logs).collect();
    thread::scope(|scope| {
        let each = cell.logs.div_ceil(FIRST_WORKERS);
        let workers: Vec<_> = logs
            .chunks(each)
            .map(|logs| {
                scope.spawn(|| {
                    let mut hand = rival.hand(&payload)?;
                    logs.chunks(FIRST_AT_ONCE).try_for_each(|some| rival.append(&mut hand, some))
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a first append panicked")?)
    })
}

/// The logs of one call with how often each is appended to, in order.
pub(crate) fn counted(logs: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    let mut sorted = logs.to_vec();
    sorted.sort_unstable();
    let runs: Vec<_> = sorted.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
    runs.into_iter()
}
