//! The `produce` scenario: batches of one size into one topic, over a fixed number of connections.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use ringlog_engine::batch::{BatchBuilder, BatchOptions};
use ringlog_engine::offset::Timestamp;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;

use crate::admin;
use crate::error::BenchError;
use crate::report::{Report, ServerCpuReport};
use crate::schedule::Schedule;
use crate::server_cpu::ServerCpu;
use crate::wire::RequestHead;
use crate::worker::{Lane, Load, Tally, Window, Worker};

/// Time between the last connection and the first request.
const START_DELAY: Duration = Duration::from_millis(20);

/// How many copies must have a batch before the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
pub enum Acks {
    /// No answer at all: latency ends when the socket has taken the request.
    #[value(name = "0")]
    #[serde(rename = "0")]
    None,
    /// The leader.
    #[value(name = "1")]
    #[serde(rename = "1")]
    Leader,
    /// All in-sync replicas.
    #[value(name = "all")]
    #[serde(rename = "all")]
    All,
}

impl Acks {
    fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// Produces batches of one size and reports throughput, latency and the server's CPU time.
///
/// Without --rate the loop is closed: every connection keeps --depth requests in flight, and the
/// figure to look at is throughput. With --rate it is open: requests are due on a fixed schedule,
/// and latency counts from the moment a request was due, whether or not the server let it be sent.
/// Every answer's error code is counted, and an offset that is given twice is reported.
#[derive(Debug, Clone, Args, Serialize)]
pub struct ProduceArgs {
    /// Any broker of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topic; created if it is not there.
    #[arg(long, default_value = "ringlog-bench")]
    pub topic: String,
    /// Partitions to write to.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions: u32,
    /// Bytes of each record's value.
    #[arg(long, value_name = "BYTES", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(0..=64 * 1024 * 1024))]
    pub record_size: u32,
    /// Bytes that a batch has at most; one record at least.
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024,
          value_parser = clap::value_parser!(u32).range(1..=64 * 1024 * 1024))]
    pub batch_bytes: u32,
    /// Connections, spread evenly over the partitions.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub connections: u32,
    /// Requests in flight per connection.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub depth: u32,
    /// Records per second over all connections; closed loop without it.
    #[arg(long, value_name = "RECORDS_PER_S", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Seconds that count.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub duration: u64,
    /// Seconds before them that do not.
    #[arg(long, value_name = "SECONDS", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub warmup: u64,
    /// Which copies are waited for.
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,
    /// Threads that generate load.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Cores that the load threads are pinned to, in turn.
    #[arg(long, value_name = "CORE", value_delimiter = ',')]
    pub cpu: Vec<usize>,
    /// The server's process, for its CPU time.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    #[serde(skip)]
    pub json: bool,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err("a rate is a number of records per second, above 0 and up to 1000000000".into()),
    }
}

/// The batch that every request carries.
struct Payload {
    bytes: Vec<u8>,
    records: u32,
}

/// Runs the scenario. `progress` is told once a second how much of the run is over, from 0 to 1.
///
/// # Errors
///
/// A [`BenchError`] if the run could not be made or broke off. Error codes in answers are no error
/// here: the report has them.
pub fn run(args: &ProduceArgs, mut progress: impl FnMut(f64)) -> Result<Report, BenchError> {
    let payload = payload(args)?;
    let leaders = admin::prepare_topic(&args.bootstrap, &args.topic, args.partitions)?;
    let connections = connect(args, &leaders)?;
    let server = args.pid.map(ServerCpu::new);
    if let Some(server) = server {
        server.used()?;
    }
    let start = Instant::now() + START_DELAY;
    let measure_from = start + Duration::from_secs(args.warmup);
    let window =
        Window { start, measure_from, end: measure_from + Duration::from_secs(args.duration) };
    let lanes = lanes(args, connections, &payload, window);
    let load = Load {
        batch: &payload.bytes,
        records: payload.records,
        depth: usize::try_from(args.depth).unwrap_or(usize::MAX),
        expects_answers: args.acks != Acks::None,
        window,
    };
    let (tally, used) = thread::scope(|scope| {
        let (finished, results) = mpsc::channel();
        let mut threads = 0;
        for (number, lanes) in lanes.into_iter().enumerate() {
            let finished = finished.clone();
            let cpu = args.cpu.get(number % args.cpu.len().max(1)).copied();
            scope.spawn(move || {
                // Nobody listens any more once another thread has failed.
                let _ = finished.send(work(load, lanes, cpu));
            });
            threads += 1;
        }
        drop(finished);
        collect(&results, threads, window, server, &mut progress)
    })?;
    let cpu = used.map(|used| ServerCpuReport::new(used, &tally, payload.bytes.len()));
    Ok(Report::new(args, &tally, payload.bytes.len(), payload.records, cpu))
}

fn work(load: Load<'_>, lanes: Vec<Lane>, cpu: Option<usize>) -> Result<Tally, BenchError> {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        if cpu < CpuSet::MAX_CPU {
            set.set(cpu);
        }
        sched_setaffinity(None, &set).map_err(|error| BenchError::System {
            what: "pin a load thread to its core",
            source: error.into(),
        })?;
    }
    let worker = Worker::new(load, lanes)?;
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
    server: Option<ServerCpu>,
    progress: &mut impl FnMut(f64),
) -> Result<(Tally, Option<Duration>), BenchError> {
    let whole = window.end.saturating_duration_since(window.start).as_secs_f64();
    let mut tally = Tally::default();
    let (mut missing, mut before, mut used) = (threads, None, None);
    while missing > 0 {
        let now = Instant::now();
        if let Some(server) = server {
            if before.is_none() && now >= window.measure_from {
                before = Some(server.used()?);
            }
            if used.is_none() && now >= window.end {
                used = Some(server.used()?.saturating_sub(before.unwrap_or_default()));
            }
        }
        let next = [window.measure_from, window.end].into_iter().find(|&mark| mark > now);
        let until = next.map_or(Duration::from_secs(1), |mark| mark - now);
        match results.recv_timeout(until.min(Duration::from_secs(1))) {
            Ok(result) => {
                tally.merge(&result?);
                missing -= 1;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let over = Instant::now().saturating_duration_since(window.start).as_secs_f64();
                progress((over / whole).min(1.0));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(BenchError::Worker),
        }
    }
    if let (Some(server), None, Some(before)) = (server, used, before) {
        used = Some(server.used()?.saturating_sub(before));
    }
    Ok((tally, used))
}

fn connect(
    args: &ProduceArgs,
    leaders: &BTreeMap<i32, String>,
) -> Result<Vec<(TcpStream, String, Vec<i32>)>, BenchError> {
    let partitions: Vec<i32> = leaders.keys().copied().collect();
    let count = usize::try_from(args.connections).unwrap_or(usize::MAX);
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
        let stream = TcpStream::connect(address)
            .map_err(|source| BenchError::Connect { address: address.clone(), source })?;
        connections.push((stream, address.clone(), own));
    }
    Ok(connections)
}

/// Spreads the connections over the threads.
fn lanes(
    args: &ProduceArgs,
    connections: Vec<(TcpStream, String, Vec<i32>)>,
    payload: &Payload,
    window: Window,
) -> Vec<Vec<Lane>> {
    let threads = usize::try_from(args.threads).unwrap_or(1).min(connections.len());
    let count = u64::from(args.connections);
    let requests_per_s = args.rate.map(|rate| rate / f64::from(payload.records));
    let mut lanes: Vec<Vec<Lane>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, (stream, address, partitions)) in connections.into_iter().enumerate() {
        let number = u64::try_from(index).unwrap_or(u64::MAX);
        let schedule = requests_per_s.map(|rate| Schedule::new(window.start, rate, number, count));
        let head = |partition: i32| {
            RequestHead::new(&args.topic, partition, args.acks.wire(), payload.bytes.len())
        };
        let heads = partitions.into_iter().map(head).collect();
        lanes[index % threads].push(Lane { address, index, stream, heads, schedule });
    }
    lanes
}

/// One batch of as many records as fit, with values that do not compress.
fn payload(args: &ProduceArgs) -> Result<Payload, BenchError> {
    let record_bytes = usize::try_from(args.record_size).unwrap_or(usize::MAX);
    let batch_bytes = usize::try_from(args.batch_bytes).unwrap_or(usize::MAX);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut value = vec![0; record_bytes];
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let mut records = 0;
    loop {
        for piece in value.chunks_mut(8) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            piece.copy_from_slice(&random.to_le_bytes()[..piece.len()]);
        }
        let mut longer = builder.clone();
        longer.push(now, None, Some(&value), &[]);
        if records > 0 && longer.len() > batch_bytes {
            break;
        }
        builder = longer;
        records += 1;
    }
    let bytes = builder.finish().map_err(|source| BenchError::Batch {
        batch_bytes,
        record_bytes,
        source,
    })?;
    Ok(Payload { bytes, records })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use ringlog_engine::batch::CheckedBatch;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        produce: ProduceArgs,
    }

    fn args(line: &str) -> ProduceArgs {
        Cli::parse_from(std::iter::once("bench").chain(line.split_whitespace())).produce
    }

    #[test]
    fn a_batch_is_filled_up_to_its_size_and_holds_one_record_at_least() {
        let full = payload(&args("--record-size 1024 --batch-bytes 65536")).unwrap();
        assert!(full.bytes.len() <= 65_536 && full.bytes.len() > 65_536 - 1100);
        assert_eq!(CheckedBatch::check(&full.bytes).unwrap().record_count(), full.records);
        let one = payload(&args("--record-size 100 --batch-bytes 1")).unwrap();
        assert_eq!(one.records, 1);
    }

    #[test]
    fn a_rate_that_is_no_rate_is_refused() {
        for rate in ["0", "-1", "x", "inf", "NaN"] {
            assert!(parse_rate(rate).is_err(), "{rate}");
        }
        assert_eq!(parse_rate("2.5"), Ok(2.5));
    }
}
