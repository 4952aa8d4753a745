//! Warm-up, measurement and end, as seen by the threads that append and by the one that measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::usage::Usage;
use super::{Cell, Failure, Figures, now};

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const OVER: u8 = 2;

/// Latencies above this are counted as this.
const LATENCY_NS_MAX: u64 = 100_000_000_000;
/// Three digits: every latency is right to a thousandth.
const DIGITS: u8 = 3;

/// What a worker tells the measuring thread.
enum Event {
    /// Its logs are open, and its next append is the first of the warm-up.
    Ready,
    /// It has appended its share of the cell's bytes.
    Full,
    /// It ended, well or not.
    Ended,
}

/// Where the run stands. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Course {
    phase: Arc<AtomicU8>,
    events: Sender<Event>,
    appends_max: u64,
}

impl Course {
    /// Says that this worker is ready. The warm-up begins when all are.
    pub(crate) fn ready(&self) {
        self.tell(Event::Ready);
    }

    /// Whether no further append should be made.
    pub(crate) fn is_over(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == OVER
    }

    /// Ends the run early, because something failed.
    pub(crate) fn end(&self) {
        self.phase.store(OVER, Ordering::Relaxed);
    }

    fn tell(&self, event: Event) {
        // Nobody listens any more once the measurement is over, and then it does not matter.
        let _ = self.events.send(event);
    }
}

/// What one worker has done.
pub(crate) struct Tally {
    latencies: Histogram<u64>,
    appends: u64,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self { latencies: Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS)?, appends: 0 })
    }

    /// Counts an append that was begun at `begun` and is acknowledged at `ended`, if the
    /// measurement is on.
    pub(crate) fn count(&mut self, course: &Course, begun: Instant, ended: Instant) {
        if course.phase.load(Ordering::Relaxed) != MEASURE {
            return;
        }
        let latency = ended.saturating_duration_since(begun).as_nanos();
        self.latencies.saturating_record(u64::try_from(latency).unwrap_or(LATENCY_NS_MAX).max(1));
        self.appends += 1;
        if self.appends == course.appends_max {
            course.tell(Event::Full);
        }
    }
}

/// Says that a worker has ended, also when it panics.
struct Ending(Course);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.tell(Event::Ended);
    }
}

/// Runs `work` on `workers` threads through warm-up and measurement. Each opens what it needs,
/// calls [`Course::ready`], and appends until [`Course::is_over`].
pub(crate) fn measure(
    cell: &Cell,
    workers: usize,
    work: impl Fn(usize, &Course) -> Result<Tally, Failure> + Sync,
) -> Result<Figures, Failure> {
    let (sender, events) = channel();
    let course = Course {
        phase: Arc::new(AtomicU8::new(WARM_UP)),
        events: sender,
        appends_max: (cell.appends_max() / workers as u64).max(1),
    };
    let ran = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let (work, course) = (&work, course.clone());
                scope.spawn(move || {
                    let _ending = Ending(course.clone());
                    work(worker, &course)
                })
            })
            .collect();
        let timed = time(cell, workers, &events, &course);
        course.end();
        let mut whole = Tally::new()?;
        for thread in threads {
            let tally = thread.join().map_err(|_| "a thread of the contender panicked")??;
            whole.latencies.add(&tally.latencies)?;
            whole.appends += tally.appends;
        }
        // A worker's own error says more than that it ended, so that one comes first.
        Ok::<_, Failure>((whole, timed?))
    });
    let (tally, (elapsed, usage)) = ran?;
    let at = |quantile| micros(tally.latencies.value_at_quantile(quantile));
    Ok(Figures {
        appends: tally.appends,
        seconds: elapsed.as_secs_f64(),
        p50_us: at(0.5),
        p99_us: at(0.99),
        p99_9_us: at(0.999),
        max_us: micros(tally.latencies.max()),
        cpu_us: usage.cpu.as_secs_f64() * 1e6,
        device_bytes: usage.device_bytes,
        device_flushes: usage.device_flushes,
        rss_peak_bytes: Usage::rss_peak_bytes()?,
    })
}

/// Waits for the workers, then for the warm-up, then measures.
fn time(
    cell: &Cell,
    workers: usize,
    events: &Receiver<Event>,
    course: &Course,
) -> Result<(Duration, Usage), Failure> {
    for _ in 0..workers {
        match events.recv()? {
            Event::Ready => {}
            Event::Full | Event::Ended => return Err("a worker ended before it was ready".into()),
        }
    }
    pass(events, cell.warm_up())?;
    let before = Usage::of(&cell.dir)?;
    let begun = now();
    course.phase.store(MEASURE, Ordering::Relaxed);
    pass(events, cell.measured())?;
    course.end();
    let elapsed = begun.elapsed();
    let after = Usage::of(&cell.dir)?;
    Ok((elapsed, after.since(&before)))
}

/// Lets `duration` pass, or less if a worker has done its share.
fn pass(events: &Receiver<Event>, duration: Duration) -> Result<(), Failure> {
    match events.recv_timeout(duration) {
        Err(RecvTimeoutError::Timeout) | Ok(Event::Full | Event::Ready) => Ok(()),
        Err(RecvTimeoutError::Disconnected) | Ok(Event::Ended) => {
            Err("a worker ended before its time".into())
        }
    }
}

fn micros(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1e6
}
