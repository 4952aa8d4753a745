//! A run of load: connections that produce, connections that read, threads, one tally.
//!
//! | module | holds |
//! |---|---|
//! | [`payload`] | the batch that is sent, and the time stamped into it |
//! | [`connection`] | one socket: request templates, in-flight requests, answers |
//! | [`reader`], [`batches`] | one consumer's socket, and what is checked of what it gets |
//! | [`schedule`] | when open-loop requests are due |
//! | [`worker`] | one thread: its connections and its poller |
//! | [`tally`], [`offsets`] | what is counted and checked |

pub mod batches;
pub mod connection;
pub mod offsets;
pub mod payload;
pub mod reader;
pub mod schedule;
pub mod tally;
pub mod worker;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use self::payload::Payload;
use self::reader::{Cursor, Reader};
use self::schedule::Schedule;
use self::tally::Tally;
use self::worker::{Lane, Load, ReadLane, Window, Worker};
use crate::affinity;
use crate::args::{Acks, Timing};
use crate::error::BenchError;
use crate::report::measurement::{float, ratio};
use crate::server_process::ServerProcess;
use crate::wire::fetch::FetchLimits;
use crate::wire::produce::RequestHead;

/// Time between the last connection and the first request.
const START_DELAY: Duration = Duration::from_millis(20);

/// Who leads each partition.
pub type Leaders = BTreeMap<i32, String>;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partitions that are written to, and the addresses of their leaders.
    pub leaders: &'a Leaders,
    /// What each request carries.
    pub payload: &'a Payload,
    /// Connections that produce.
    pub connections: u32,
    /// Requests in flight on each.
    pub depth: u32,
    /// Which copies are waited for.
    pub acks: Acks,
    /// Records per second over all connections; `None` is a closed loop.
    pub rate: Option<f64>,
    /// For how long.
    pub timing: Timing,
    /// Threads that the producing connections are spread over. Readers are all in the first.
    pub threads: u32,
    /// Cores that the threads are pinned to, in turn.
    pub cpu: &'a [usize],
    /// The server's process.
    pub server: Option<ServerProcess>,
    /// Requests after which the run ends early, over all connections.
    pub requests_max: Option<u64>,
    /// What is read beside.
    pub reading: Reading,
}

/// The readers of a run.
#[derive(Debug, Clone)]
pub struct Reading {
    /// For each reader, the partitions that it reads. It has a connection to each leader of them.
    pub readers: Vec<Vec<Cursor>>,
    /// How long fetches wait and what they may bring.
    pub limits: FetchLimits,
    /// Whether each batch's checksum is checked.
    pub checks_crc: bool,
    /// Whether the run ends early, as soon as everything is read.
    pub until_read: bool,
}

impl Reading {
    /// No readers.
    #[must_use]
    pub fn none() -> Self {
        let limits = FetchLimits { wait_ms_max: 0, partition_bytes_max: 0 };
        Self { readers: Vec::new(), limits, checks_crc: true, until_read: false }
    }
}

/// What a run has found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was counted.
    pub tally: Tally,
    /// The server's CPU time within the window.
    pub server_cpu: Option<Duration>,
    /// The server's memory at the end.
    pub server_resident_bytes: Option<u64>,
}

/// Runs a plan. `progress` is told once a second how much of the time is over, from 0 to 1.
///
/// # Errors
///
/// A [`BenchError`] if the run could not be made or broke off. Error codes in answers are no error
/// here: the tally has them.
pub fn run(plan: &Plan<'_>, progress: &mut dyn FnMut(f64)) -> Result<Outcome, BenchError> {
    let connections = connect(plan)?;
    let readers = readers(plan)?;
    if let Some(server) = plan.server {
        server.cpu_time()?;
    }
    let start = Instant::now() + START_DELAY;
    let measure_from = start + plan.timing.warmup();
    let window = Window { start, measure_from, end: measure_from + plan.timing.counted() };
    let done = AtomicU64::new(0);
    let work_to_do = work_to_do(plan);
    let whole = window.end.saturating_duration_since(window.start).as_secs_f64();
    let over = || {
        let by_time = window.start.elapsed().as_secs_f64() / whole;
        let by_work =
            work_to_do.map_or(0.0, |all| ratio(float(done.load(Ordering::Relaxed)), float(all)));
        by_time.max(by_work).min(1.0)
    };
    let load = Load {
        batch: if plan.payload.stamp.is_some() { &[] } else { &plan.payload.bytes },
        stamp: plan.payload.stamp,
        records: plan.payload.records,
        depth: usize::try_from(plan.depth).unwrap_or(usize::MAX),
        expects_answers: plan.acks != Acks::None,
        window,
        done: &done,
        until_read: plan.reading.until_read,
    };
    let lanes = lanes(plan, connections, window);
    let (tally, server_cpu) = thread::scope(|scope| {
        let (finished, results) = mpsc::channel();
        let mut threads = 0;
        let mut readers = Some(readers);
        for (number, lanes) in lanes.into_iter().enumerate() {
            let finished = finished.clone();
            let cpu = plan.cpu.get(number % plan.cpu.len().max(1)).copied();
            let readers = readers.take().unwrap_or_default();
            scope.spawn(move || {
                // Nobody listens any more once another thread has failed.
                let _ = finished.send(work(load, lanes, readers, cpu));
            });
            threads += 1;
        }
        drop(finished);
        collect(&results, threads, window, plan.server, &mut || progress(over()))
    })?;
    let server_resident_bytes = plan.server.map(|server| server.resident_bytes()).transpose()?;
    Ok(Outcome { tally, server_cpu, server_resident_bytes })
}

fn work(
    load: Load<'_>,
    lanes: Vec<Lane>,
    readers: Vec<ReadLane>,
    cpu: Option<usize>,
) -> Result<Tally, BenchError> {
    affinity::pin(cpu)?;
    let worker = Worker::new(load, lanes, readers)?;
    while let Some(rest) = load.window.start.checked_duration_since(Instant::now()) {
        thread::park_timeout(rest);
    }
    worker.run()
}

/// Waits for the threads' tallies, and reads the server's CPU time where the window starts and
/// ends. The first thread that fails ends the wait; the scope then waits for the others.
fn collect(
    results: &mpsc::Receiver<Result<Tally, BenchError>>,
    threads: usize,
    window: Window,
    server: Option<ServerProcess>,
    tick: &mut dyn FnMut(),
) -> Result<(Tally, Option<Duration>), BenchError> {
    let mut tally = Tally::default();
    let (mut missing, mut before, mut used) = (threads, None, None);
    while missing > 0 {
        let now = Instant::now();
        if let Some(server) = server {
            if before.is_none() && now >= window.measure_from {
                before = Some(server.cpu_time()?);
            }
            if used.is_none() && now >= window.end {
                used = Some(server.cpu_time()?.saturating_sub(before.unwrap_or_default()));
            }
        }
        let next = [window.measure_from, window.end].into_iter().find(|&mark| mark > now);
        let until = next.map_or(Duration::from_secs(1), |mark| mark - now);
        match results.recv_timeout(until.min(Duration::from_secs(1))) {
            Ok(result) => {
                tally.merge(&result?);
                missing -= 1;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => tick(),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(BenchError::Worker),
        }
    }
    if let (Some(server), None, Some(before)) = (server, used, before) {
        used = Some(server.cpu_time()?.saturating_sub(before));
    }
    Ok((tally, used))
}

/// Records to read, or requests to send, where the run ends with its work.
fn work_to_do(plan: &Plan<'_>) -> Option<u64> {
    if !plan.reading.until_read {
        return plan.requests_max;
    }
    let cursors = plan.reading.readers.iter().flatten();
    let lengths = cursors.filter_map(|one| u64::try_from(one.end - one.next).ok());
    Some(lengths.sum())
}

fn open(address: &str) -> Result<TcpStream, BenchError> {
    TcpStream::connect(address)
        .map_err(|source| BenchError::Connect { address: address.to_owned(), source })
}

fn connect(plan: &Plan<'_>) -> Result<Vec<(TcpStream, String, Vec<i32>)>, BenchError> {
    let leaders = plan.leaders;
    let partitions: Vec<i32> = leaders.keys().copied().collect();
    let count = usize::try_from(plan.connections).unwrap_or(usize::MAX);
    let mut connections = Vec::with_capacity(count);
    for index in 0..count {
        // A connection takes every count-th partition, or shares one where there are fewer.
        let first = partitions[index % partitions.len()];
        let address = &leaders[&first];
        let own = partitions.iter().skip(index).step_by(count);
        let mut own: Vec<i32> =
            own.copied().filter(|partition| leaders[partition] == *address).collect();
        if own.is_empty() {
            own.push(first);
        }
        connections.push((open(address)?, address.clone(), own));
    }
    Ok(connections)
}

/// Each reader's connections, one to each leader of its partitions.
fn readers(plan: &Plan<'_>) -> Result<Vec<ReadLane>, BenchError> {
    let reading = &plan.reading;
    let mut lanes = Vec::new();
    for cursors in &reading.readers {
        let mut by_leader: BTreeMap<&String, Vec<Cursor>> = BTreeMap::new();
        for cursor in cursors {
            by_leader.entry(&plan.leaders[&cursor.partition]).or_default().push(*cursor);
        }
        for (address, cursors) in by_leader {
            let stream = open(address)?;
            let failed = |source| BenchError::System { what: "set up a reader's socket", source };
            let (limits, checks_crc) = (reading.limits, reading.checks_crc);
            let reader =
                Reader::new(stream, plan.topic, cursors, limits, checks_crc).map_err(failed)?;
            let index = lanes.len();
            lanes.push(ReadLane { address: address.clone(), index, reader });
        }
    }
    Ok(lanes)
}

/// Spreads the connections over the threads.
fn lanes(
    plan: &Plan<'_>,
    connections: Vec<(TcpStream, String, Vec<i32>)>,
    window: Window,
) -> Vec<Vec<Lane>> {
    let payload = plan.payload;
    let threads = usize::try_from(plan.threads).unwrap_or(1).min(connections.len()).max(1);
    let count = u64::from(plan.connections);
    let requests_per_s = plan.rate.map(|rate| rate / f64::from(payload.records));
    let mut lanes: Vec<Vec<Lane>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, (stream, address, partitions)) in connections.into_iter().enumerate() {
        let number = u64::try_from(index).unwrap_or(u64::MAX);
        let schedule = requests_per_s.map(|rate| Schedule::new(window.start, rate, number, count));
        let head = |partition: i32| {
            let head =
                RequestHead::new(plan.topic, partition, plan.acks.wire(), payload.bytes.len());
            if payload.stamp.is_some() { head.with_batch(&payload.bytes) } else { head }
        };
        let heads = partitions.into_iter().map(head).collect();
        // What does not divide evenly is one request more on some connections.
        let requests_max = plan.requests_max.map(|all| all.div_ceil(count.max(1)));
        let lane = Lane { address, index, stream, heads, schedule, requests_max };
        lanes[index % threads].push(lane);
    }
    lanes
}
