//! One thread of load: its connections, its readers, and the schedule.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::connection::{Connection, ConnectionError};
use super::payload::Stamp;
use super::reader::Reader;
use super::schedule::Schedule;
use super::tally::{ReadCounter, Tally};
use crate::affinity::thread_cpu_time;
use crate::error::BenchError;
use crate::wire::produce::RequestHead;

/// How long answers may take after the end of the run.
const DRAIN: Duration = Duration::from_secs(30);
/// A request due this soon is waited for without sleeping, so that the kernel's timer does not
/// make it late. The core is offered to others meanwhile: the kernel may have work there that the
/// server's disk waits for.
const SPIN: Duration = Duration::from_micros(100);
/// Failed fetches after which a run is given up.
const FETCH_ERRORS_MAX: u64 = 1000;
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
    pub(super) fn contains(&self, instant: Instant) -> bool {
        self.measure_from <= instant && instant < self.end
    }

    /// How far within the part that counts `instant` lies.
    pub(super) fn place(&self, instant: Instant) -> Option<Duration> {
        let place = instant.checked_duration_since(self.measure_from)?;
        (instant < self.end).then_some(place)
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
    /// Requests to send at most.
    pub requests_max: Option<u64>,
}

/// What all lanes of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The batch that is sent every time; with a stamp, the heads have it.
    pub batch: &'a [u8],
    /// Where each batch gets the time at which it should be sent.
    pub stamp: Option<Stamp>,
    /// Records in it.
    pub records: u32,
    /// Requests in flight per connection.
    pub depth: usize,
    /// Whether the server answers (acks is not 0).
    pub expects_answers: bool,
    /// What counts.
    pub window: Window,
    /// Where the first thread tells how far it is, in records read or requests answered.
    pub done: &'a AtomicU64,
    /// Whether the window ends early, as soon as the readers have read everything.
    pub until_read: bool,
}

/// A reader and the server that it reads from.
#[derive(Debug)]
pub struct ReadLane {
    /// The server's address, for messages.
    pub address: String,
    /// Which of the run's connections this is, from 0.
    pub index: usize,
    /// The connection.
    pub reader: Reader,
}

/// A thread's connections and their poller.
#[derive(Debug)]
pub struct Worker<'a> {
    load: Load<'a>,
    lanes: Vec<OpenLane>,
    readers: Vec<ReadLane>,
    poller: OwnedFd,
    tally: Tally,
}

#[derive(Debug)]
struct OpenLane {
    address: String,
    index: usize,
    connection: Connection,
    schedule: Option<Schedule>,
    requests_max: u64,
}

impl<'a> Worker<'a> {
    /// A worker over connected sockets.
    ///
    /// # Errors
    ///
    /// [`BenchError::System`] if sockets cannot be polled.
    pub fn new(
        load: Load<'a>,
        lanes: Vec<Lane>,
        readers: Vec<ReadLane>,
    ) -> Result<Self, BenchError> {
        let failed = |source| BenchError::System { what: "poll the connections", source };
        let poller =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let add = |number: usize, stream: &TcpStream| {
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&poller, stream, epoll::EventData::new_u64(number), flags)
                .map_err(|error| failed(error.into()))
        };
        let mut open = Vec::with_capacity(lanes.len());
        for (number, lane) in lanes.into_iter().enumerate() {
            let Lane { address, index, stream, heads, schedule, requests_max } = lane;
            let requests_max = requests_max.unwrap_or(u64::MAX);
            let connection =
                Connection::new(stream, heads, load.depth, load.expects_answers, load.stamp)
                    .map_err(failed)?;
            add(number, connection.stream())?;
            open.push(OpenLane { address, index, connection, schedule, requests_max });
        }
        for (number, reader) in readers.iter().enumerate() {
            add(open.len() + number, reader.reader.stream())?;
        }
        Ok(Self { load, lanes: open, readers, poller, tally: Tally::default() })
    }

    /// Sends until the window ends, then waits for the answers that are still out, and for readers
    /// at the tail to see every record that was acknowledged.
    ///
    /// # Errors
    ///
    /// [`BenchError::Broken`], [`BenchError::Answer`], [`BenchError::Fetches`] or
    /// [`BenchError::Drain`]. A run that met one has no result.
    pub fn run(mut self) -> Result<Tally, BenchError> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let (begun, cpu_before) = (Instant::now(), thread_cpu_time());
        for number in 0..self.lanes.len() + self.readers.len() {
            self.turn(number, false)?;
        }
        loop {
            let now = Instant::now();
            self.end_if_done(now);
            let window = self.load.window;
            if now >= window.end && self.in_flight() == 0 && self.unread() == 0 {
                break;
            }
            if now >= window.end + DRAIN {
                let (missing, unread) = (self.in_flight(), self.unread());
                return Err(BenchError::Drain { missing, unread, waited_s: DRAIN.as_secs() });
            }
            self.wait(now, &mut events)?;
            for event in events.drain(..) {
                let number = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                let flags = event.flags;
                self.turn(number, flags.intersects(readable()))?;
            }
            self.send_what_is_due()?;
        }
        let window = self.load.window;
        for lane in &self.lanes {
            self.tally.unsent += lane.schedule.map_or(0, |schedule| schedule.missed(window.end));
        }
        self.tally.generator_cpu = thread_cpu_time().saturating_sub(cpu_before);
        self.tally.generator_wall = begun.elapsed();
        self.tally.counted = window.end.saturating_duration_since(window.measure_from);
        Ok(self.tally)
    }

    /// Ends the window early, where all is read or sent that was to be.
    fn end_if_done(&mut self, now: Instant) {
        let is_read = self.load.until_read && self.readers.iter().all(|lane| lane.reader.is_done());
        let reads = self.load.until_read;
        let done = if reads { self.tally.reads.records } else { self.tally.answered };
        self.load.done.store(done, Ordering::Relaxed);
        let is_sent = !self.lanes.is_empty() && self.lanes.iter().all(OpenLane::is_done);
        if now < self.load.window.end && (is_read || is_sent) {
            self.load.window.end = now;
        }
    }

    /// Acknowledged records that readers at the tail have not seen yet.
    fn unread(&self) -> u64 {
        let cursors = self.readers.iter().flat_map(|lane| lane.reader.cursors());
        let tails = cursors.filter(|cursor| cursor.end == i64::MAX);
        tails
            .map(|cursor| self.tally.acknowledged_end(cursor.partition) - cursor.next)
            .filter_map(|behind| u64::try_from(behind).ok())
            .sum()
    }

    fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.connection.in_flight()).sum()
    }

    /// Receives where something has come, then sends what may be sent.
    fn turn(&mut self, number: usize, readable: bool) -> Result<(), BenchError> {
        if let Some(lane) = self.lanes.get_mut(number) {
            return lane
                .turn(readable, &self.load, &mut self.tally)
                .map_err(|error| lane.failure(error));
        }
        let Some(lane) = self.readers.get_mut(number - self.lanes.len()) else { return Ok(()) };
        lane.turn(&self.load, &mut self.tally)
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
        let until = until.saturating_sub(SPIN);
        if until.is_zero() {
            std::thread::yield_now();
        }
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

impl ReadLane {
    fn turn(&mut self, load: &Load<'_>, tally: &mut Tally) -> Result<(), BenchError> {
        let reads = &mut tally.reads;
        let mut counter = ReadCounter { reads, window: load.window, stamp: load.stamp };
        let result = self.reader.turn(&mut counter);
        let fetches = tally.reads.fetches;
        result.map_err(|error| failure(error, self.index, &self.address, fetches))?;
        match tally.reads.last_error {
            Some((partition, code)) if tally.reads.error_count() > FETCH_ERRORS_MAX => {
                let count = tally.reads.error_count();
                Err(BenchError::Fetches { address: self.address.clone(), partition, code, count })
            }
            _ => Ok(()),
        }
    }
}

fn failure(error: ConnectionError, connection: usize, address: &str, answered: u64) -> BenchError {
    let address = address.to_owned();
    match error {
        ConnectionError::Answer(problem) => BenchError::Answer { address, problem },
        ConnectionError::Io(source) => BenchError::Broken { connection, address, answered, source },
    }
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
        while self.connection.has_room() && self.connection.queued() < self.requests_max {
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

    /// Whether all its requests are answered.
    fn is_done(&self) -> bool {
        self.connection.answered() >= self.requests_max
    }

    /// When this lane will want to send without being woken by its socket.
    fn next_due(&self) -> Option<Instant> {
        self.schedule.filter(|_| self.connection.has_room()).map(|schedule| schedule.due())
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next_due().is_some_and(|due| due <= now)
    }

    fn failure(&self, error: ConnectionError) -> BenchError {
        failure(error, self.index, &self.address, self.connection.answered())
    }
}
