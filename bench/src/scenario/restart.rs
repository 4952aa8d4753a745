//! `restart`: how long a broker needs until it serves, fresh, and after a kill with a full log.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::fill::{UNTIL_DONE, fill, whole};
use super::produce::bytes;
use super::{Tell, in_words};
use crate::admin;
use crate::args::Acks;
use crate::child::ServerChild;
use crate::error::BenchError;
use crate::load::batches::Batches;
use crate::load::payload::Payload;
use crate::load::reader::Cursor;
use crate::load::{Leaders, Plan, Reading};
use crate::report::Report;
use crate::report::measurement::{Figure, Measurement};
use crate::wire::fetch::{FetchAnswer, FetchLimits, FetchRequest};
use crate::wire::produce::{Answer, RequestHead};

/// Between two tries.
const RETRY: Duration = Duration::from_millis(1);
/// The longest that an answer may take before the next try.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const FETCH: FetchLimits = FetchLimits { wait_ms_max: 0, partition_bytes_max: 4 * 1024 * 1024 };
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The settings of `restart`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct RestartArgs {
    /// How the broker is started, on an empty folder: a line for `sh`, which the broker's process
    /// takes the place of. It is started, killed and started again.
    #[arg(long, value_name = "LINE")]
    pub command: String,
    /// Where the broker will listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topic; created if it is not there.
    #[arg(long, default_value = "ringlog-bench-restart")]
    pub topic: String,
    /// Partitions of the log.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub partitions: u32,
    /// Bytes of each record's value.
    #[arg(long, value_name = "BYTES", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(0..=64 * 1024 * 1024))]
    pub record_size: u32,
    /// Bytes that a batch has at most; one record at least.
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024,
          value_parser = clap::value_parser!(u32).range(1..=64 * 1024 * 1024))]
    pub batch_bytes: u32,
    /// MiB that are written before the kill.
    #[arg(long, value_name = "MIB", default_value_t = 10 * 1024,
          value_parser = clap::value_parser!(u64).range(1..=16 * 1024 * 1024))]
    pub size_mib: u64,
    /// Seconds that a start may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 300,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub patience: u64,
    /// Cores that the load thread is pinned to.
    #[arg(long, value_name = "CORE", value_delimiter = ',')]
    pub cpu: Vec<usize>,
}

/// Runs the scenario. The broker is killed at its end.
///
/// # Errors
///
/// A [`BenchError`] if the broker does not start or serve in time, or a run broke off; also if
/// something acknowledged is missing after the kill.
pub fn run(args: &RestartArgs, tell: Tell<'_>) -> Result<Report, BenchError> {
    let payload = Payload::new(bytes(args.record_size), bytes(args.batch_bytes))?;
    tell("starting", 0.0);
    let begun = Instant::now();
    let mut broker = start(args)?;
    let patience = Duration::from_secs(args.patience);
    broker.wait_until_it_answers(&args.bootstrap, &args.topic, patience)?;
    let started = begun.elapsed();
    let leaders = admin::prepare_topic(&args.bootstrap, &args.topic, args.partitions)?;
    let batch_bytes = u64::try_from(payload.bytes.len()).unwrap_or(u64::MAX);
    let requests = (args.size_mib * 1024 * 1024).div_ceil(batch_bytes);
    let filled = fill(&args.topic, &leaders, &payload, requests, &args.cpu, tell)?;
    let before = whole(&args.topic, &leaders)?;
    tell("killing and starting again", 1.0);
    broker.kill();
    let begun = Instant::now();
    let broker = start(args)?;
    let (produced, fetched) = first_answers(args, &leaders, &before, &payload, begun)?;
    let after = whole(&args.topic, &leaders)?;
    drop(broker);
    nothing_is_lost(&args.topic, &before, &after)?;

    let plan = Plan {
        topic: &args.topic,
        leaders: &leaders,
        payload: &payload,
        connections: 1,
        depth: 1,
        acks: Acks::All,
        rate: None,
        timing: UNTIL_DONE,
        threads: 1,
        cpu: &args.cpu,
        server: None,
        requests_max: Some(requests),
        reading: Reading::none(),
    };
    let mut one = Measurement::new("the log was written", &plan, &filled);
    let figures = [("start", started), ("1st produce", produced), ("1st fetch", fetched)];
    one.figures = figures.map(|(name, took)| figure(name, took)).into();
    let verdict = vec![format!(
        "Served {} after its first start. Killed with {} MiB in its log, it answered a produce \
         request {} and a fetch {} after the start; nothing acknowledged was lost.",
        in_words(micros(started)),
        args.size_mib,
        in_words(micros(produced)),
        in_words(micros(fetched))
    )];
    Ok(Report::new("restart", args, vec![one], verdict))
}

fn figure(name: &'static str, took: Duration) -> Figure {
    Figure { name, value: micros(took) / 1000.0, unit: "ms after the start of the process" }
}

fn micros(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6
}

/// Starts the broker that the settings name; a shell's line, which the broker takes the place of.
fn start(args: &RestartArgs) -> Result<ServerChild, BenchError> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec {}", args.command)).stdout(Stdio::null());
    ServerChild::start(&args.command, &mut shell, None)
}

/// How long after `begun` the first produce request and the first fetch succeed, tried side by
/// side. The fetch asks for the last batch that was acknowledged before the kill.
fn first_answers(
    args: &RestartArgs,
    leaders: &Leaders,
    log: &[Cursor],
    payload: &Payload,
    begun: Instant,
) -> Result<(Duration, Duration), BenchError> {
    let last = log.iter().max_by_key(|cursor| cursor.end);
    let last = *last.ok_or(BenchError::Worker)?;
    let address = leaders.get(&last.partition).unwrap_or(&args.bootstrap);
    let deadline = begun + Duration::from_secs(args.patience);
    let partition = last.partition;
    let request = RequestHead::new(&args.topic, partition, -1, payload.bytes.len());
    let request = request.with_batch(&payload.bytes).bytes;
    let mut fetch = FetchRequest::new(&args.topic, &[partition], FETCH);
    let fetch = fetch.from_offsets(0, [last.end - 1]).to_vec();
    thread::scope(|scope| {
        let produced = scope.spawn(|| {
            until(deadline, address, &request, |frame| {
                Answer::decode(frame).is_ok_and(|answer| answer.error_code == 0)
            })
        });
        let fetched = until(deadline, address, &fetch, |frame| holds(frame, last));
        let produced = produced.join().map_err(|_| BenchError::Worker)??;
        Ok((produced.saturating_duration_since(begun), fetched?.saturating_duration_since(begun)))
    })
}

/// Whether a fetch brought the batch that ends the log.
fn holds(frame: &[u8], last: Cursor) -> bool {
    let Ok(mut answer) = FetchAnswer::decode(frame) else { return false };
    let Ok(Some(fetched)) = answer.next_partition() else { return false };
    let mut batches = Batches::new(fetched.records, last.partition, last.end - 1, true, true);
    fetched.error_code == 0 && batches.next().is_some_and(|batch| batch.is_ok())
}

/// Sends `request` again and again until an answer is good, and gives the time of that.
fn until(
    deadline: Instant,
    address: &str,
    request: &[u8],
    is_good: impl Fn(&[u8]) -> bool,
) -> Result<Instant, BenchError> {
    loop {
        let tried = attempt(address, request);
        if tried.as_ref().is_ok_and(|frame| is_good(frame)) {
            return Ok(Instant::now());
        }
        if Instant::now() >= deadline {
            let late = || io::Error::from(io::ErrorKind::TimedOut);
            let source = tried.err().unwrap_or_else(late);
            return Err(BenchError::Connect { address: address.to_owned(), source });
        }
        thread::park_timeout(RETRY);
    }
}

fn attempt(address: &str, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).ok();
    let length = length.filter(|&length| length <= ANSWER_BYTES_MAX);
    let mut frame = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn nothing_is_lost(topic: &str, before: &[Cursor], after: &[Cursor]) -> Result<(), BenchError> {
    for old in before {
        let new = after.iter().find(|new| new.partition == old.partition);
        let end = new.map_or(0, |new| new.end);
        if end < old.end {
            let (partition, lost) = (old.partition, old.end - end);
            return Err(BenchError::Lost { topic: topic.to_owned(), partition, lost });
        }
    }
    Ok(())
}
