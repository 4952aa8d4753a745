//! One thread of load: its connections, the schedule, and what it counts.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::connection::{Completion, Connection, ConnectionError};
use crate::error::BenchError;
use crate::histogram::Latencies;
use crate::offsets::OffsetSet;
use crate::schedule::Schedule;
use crate::wire::RequestHead;

/// How long answers may take after the end of the run.
const DRAIN: Duration = Duration::from_secs(30);
/// A request due this soon is waited for without sleeping, so that the kernel's timer does not
/// make it late.
const SPIN: Duration = Duration::from_micros(100);
/// The longest sleep, so that the end of the run is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// When a run starts, and which part of it counts.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// The first request is due.
    pub start: Instant,
    /// The warm-up is over.
    pub measure_from: Instant,
    /// No request is due any more.
    pub end: Instant,
}

impl Window {
    fn contains(&self, instant: Instant) -> bool {
        self.measure_from <= instant && instant < self.end
    }
}

/// What one connection is to do.
#[derive(Debug)]
pub struct Lane {
    /// The server's address, for messages.
    pub address: String,
    /// Which of the run's connections this is, from 0.
    pub index: usize,
    /// A connected socket.
    pub stream: TcpStream,
    /// Requests to send in turn, one for each of its partitions.
    pub heads: Vec<RequestHead>,
    /// When requests are due; `None` sends as soon as there is room.
    pub schedule: Option<Schedule>,
}

/// What all lanes of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The batch that is sent every time.
    pub batch: &'a [u8],
    /// Records in it.
    pub records: u32,
    /// Requests in flight per connection.
    pub depth: usize,
    /// Whether the server answers (acks is not 0).
    pub expects_answers: bool,
    /// What counts.
    pub window: Window,
}

/// What a thread has counted. Tallies of several threads are merged.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Latencies of successful requests that were due within the window.
    pub latencies: Latencies,
    /// Successful answers that came within the window.
    pub answered: u64,
    /// Answers with an error code over the whole run, by code.
    pub errors: BTreeMap<i16, u64>,
    /// Requests that were due within the run but never sent, because all the depth was used.
    pub unsent: u64,
    /// Offsets that were given twice, over the whole run.
    pub repeated_offsets: u64,
    /// Successful answers without an offset.
    pub missing_offsets: u64,
    offsets: BTreeMap<i32, OffsetSet>,
}

impl Tally {
    /// Adds another thread's tally.
    pub fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.answered += other.answered;
        self.unsent += other.unsent;
        self.repeated_offsets += other.repeated_offsets;
        self.missing_offsets += other.missing_offsets;
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
        for (partition, offsets) in &other.offsets {
            self.repeated_offsets += self.offsets.entry(*partition).or_default().merge(offsets);
        }
    }

    fn count(&mut self, completion: Completion, now: Instant, load: &Load<'_>) {
        if let Some(answer) = completion.answer {
            if answer.error_code != 0 {
                *self.errors.entry(answer.error_code).or_default() += 1;
                return;
            }
            let (start, end) =
                (answer.base_offset, answer.base_offset.saturating_add(load.records.into()));
            if start < 0 {
                self.missing_offsets += 1;
            } else if !self.offsets.entry(answer.partition).or_default().insert(start, end) {
                self.repeated_offsets += 1;
            }
        }
        if load.window.contains(now) {
            self.answered += 1;
        }
        if load.window.contains(completion.intended) {
            self.latencies.record(now.saturating_duration_since(completion.intended));
        }
    }
}

/// A thread's connections and their poller.
#[derive(Debug)]
pub struct Worker<'a> {
    load: Load<'a>,
    lanes: Vec<OpenLane>,
    poller: OwnedFd,
    tally: Tally,
}

#[derive(Debug)]
struct OpenLane {
    address: String,
    index: usize,
    connection: Connection,
    schedule: Option<Schedule>,
}

impl<'a> Worker<'a> {
    /// A worker over connected sockets.
    ///
    /// # Errors
    ///
    /// [`BenchError::System`] if sockets cannot be polled.
    pub fn new(load: Load<'a>, lanes: Vec<Lane>) -> Result<Self, BenchError> {
        let failed = |source| BenchError::System { what: "poll the connections", source };
        let poller =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let mut open = Vec::with_capacity(lanes.len());
        for (number, lane) in (0_u64..).zip(lanes) {
            let Lane { address, index, stream, heads, schedule } = lane;
            let connection =
                Connection::new(stream, heads, load.depth, load.expects_answers).map_err(failed)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&poller, connection.stream(), epoll::EventData::new_u64(number), flags)
                .map_err(|error| failed(error.into()))?;
            open.push(OpenLane { address, index, connection, schedule });
        }
        Ok(Self { load, lanes: open, poller, tally: Tally::default() })
    }

    /// Sends until the window ends, then waits for the answers that are still out.
    ///
    /// # Errors
    ///
    /// [`BenchError::Broken`], [`BenchError::Answer`] or [`BenchError::Drain`]. A run that met
    /// one has no result.
    pub fn run(mut self) -> Result<Tally, BenchError> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let window = self.load.window;
        for lane in 0..self.lanes.len() {
            self.turn(lane, false)?;
        }
        loop {
            let now = Instant::now();
            if now >= window.end && self.in_flight() == 0 {
                break;
            }
            if now >= window.end + DRAIN {
                let missing = self.in_flight();
                return Err(BenchError::Drain { missing, waited_s: DRAIN.as_secs() });
            }
            self.wait(now, &mut events)?;
            for event in events.drain(..) {
                let lane = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                let flags = event.flags;
                self.turn(lane, flags.intersects(readable()))?;
            }
            self.send_what_is_due()?;
        }
        for lane in &self.lanes {
            self.tally.unsent += lane.schedule.map_or(0, |schedule| schedule.missed(window.end));
        }
        Ok(self.tally)
    }

    fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.connection.in_flight()).sum()
    }

    /// Receives where something has come, then sends what may be sent.
    fn turn(&mut self, lane: usize, readable: bool) -> Result<(), BenchError> {
        let Some(lane) = self.lanes.get_mut(lane) else { return Ok(()) };
        lane.turn(readable, &self.load, &mut self.tally).map_err(|error| lane.failure(error))
    }

    fn send_what_is_due(&mut self) -> Result<(), BenchError> {
        let now = Instant::now();
        for lane in &mut self.lanes {
            if lane.is_due(now) {
                lane.turn(false, &self.load, &mut self.tally)
                    .map_err(|error| lane.failure(error))?;
            }
        }
        Ok(())
    }

    fn wait(&self, now: Instant, events: &mut Vec<epoll::Event>) -> Result<(), BenchError> {
        let due = self.lanes.iter().filter_map(OpenLane::next_due).min();
        let until = due.map_or(SLEEP_MAX, |due| due.saturating_duration_since(now));
        let until = if until <= SPIN { Duration::ZERO } else { until - SPIN };
        let timeout = Timespec { tv_sec: 0, tv_nsec: until.min(SLEEP_MAX).subsec_nanos().into() };
        let spare = rustix::buffer::spare_capacity(events);
        match epoll::wait(&self.poller, spare, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => {
                Err(BenchError::System { what: "wait for the connections", source: error.into() })
            }
        }
    }
}

fn readable() -> epoll::EventFlags {
    epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR
}

impl OpenLane {
    fn turn(
        &mut self,
        readable: bool,
        load: &Load<'_>,
        tally: &mut Tally,
    ) -> Result<(), ConnectionError> {
        if readable {
            // One look at the clock for the answers of one read burst.
            let mut now = None;
            self.connection.receive(|completion| {
                let now = *now.get_or_insert_with(Instant::now);
                tally.count(completion, now, load);
            })?;
        }
        self.fill(load);
        self.connection
            .flush(load.batch, |completion| tally.count(completion, Instant::now(), load))
    }

    fn fill(&mut self, load: &Load<'_>) {
        while self.connection.has_room() {
            let now = Instant::now();
            let intended = match &mut self.schedule {
                Some(schedule) if schedule.due() >= load.window.end => return,
                Some(schedule) => schedule.take(now),
                None => (now < load.window.end).then_some(now),
            };
            let Some(intended) = intended else { return };
            self.connection.queue(intended);
        }
    }

    /// When this lane will want to send without being woken by its socket.
    fn next_due(&self) -> Option<Instant> {
        self.schedule.filter(|_| self.connection.has_room()).map(|schedule| schedule.due())
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next_due().is_some_and(|due| due <= now)
    }

    fn failure(&self, error: ConnectionError) -> BenchError {
        let address = self.address.clone();
        match error {
            ConnectionError::Answer(problem) => BenchError::Answer { address, problem },
            ConnectionError::Io(source) => BenchError::Broken {
                connection: self.index,
                address,
                answered: self.connection.answered(),
                source,
            },
        }
    }
}
