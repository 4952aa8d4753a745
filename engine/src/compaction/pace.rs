//! How fast a compaction may go: it shares its thread with appends and reads.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::CompactionSettings;
use crate::io::Io;
use crate::limits::{COMPACTION_SLICE_BYTES, COMPACTION_SLICE_TIME};
use crate::log::Inner;

/// Bytes of records after which the clock is looked at.
const LOOK_BYTES: usize = 4096;

/// How long a rest lasts before it is asked whether the log is being closed.
const REST_MAX: Duration = Duration::from_millis(50);

/// Counts work, and rests when a slice of it is done.
pub(super) struct Pace<I: Io> {
    inner: Rc<Inner<I>>,
    io: I,
    bytes_per_second: Option<u64>,
    /// How long to rest for each unit of time worked.
    rest_per_work: f64,
    began: Duration,
    /// Bytes read and written so far.
    transferred: u64,
    /// When the work since the last wait began.
    since: Duration,
    /// Work done in this slice before that.
    worked: Duration,
    slice_bytes: usize,
    unlooked_bytes: usize,
}

impl<I: Io> Pace<I> {
    pub(super) fn new(inner: &Rc<Inner<I>>, settings: &CompactionSettings) -> Self {
        let io = inner.shard.io().clone();
        let began = io.elapsed();
        let share = settings.time_share.clamp(0.01, 1.0);
        Self {
            inner: Rc::clone(inner),
            io,
            bytes_per_second: settings.bytes_per_second.map(|rate| rate.max(1)),
            rest_per_work: 1.0 / share - 1.0,
            began,
            transferred: 0,
            since: began,
            worked: Duration::ZERO,
            slice_bytes: 0,
            unlooked_bytes: 0,
        }
    }

    /// Whether the log is being closed.
    pub(super) fn must_stop(&self) -> bool {
        self.inner.state.borrow().cleaner.stopping
    }

    /// Waits for a transfer of `bytes`, which is no work.
    pub(super) async fn transfer<T>(&mut self, bytes: usize, wait: impl Future<Output = T>) -> T {
        self.worked += self.io.elapsed().saturating_sub(self.since);
        self.transferred += bytes as u64;
        let result = wait.await;
        self.since = self.io.elapsed();
        result
    }

    /// Counts `bytes` of records as worked through, and lets others run when the slice is done.
    pub(super) async fn work(&mut self, bytes: usize) {
        self.slice_bytes += bytes;
        self.unlooked_bytes += bytes;
        if self.unlooked_bytes < LOOK_BYTES {
            return;
        }
        self.unlooked_bytes = 0;
        let worked = self.worked + self.io.elapsed().saturating_sub(self.since);
        if self.slice_bytes >= COMPACTION_SLICE_BYTES || worked >= COMPACTION_SLICE_TIME {
            self.rest(worked).await;
        }
    }

    async fn rest(&mut self, worked: Duration) {
        let earned = worked.mul_f64(self.rest_per_work);
        let passed = self.io.elapsed().saturating_sub(self.began);
        let ahead = self.bytes_per_second.map_or(Duration::ZERO, |rate| {
            let due = u128::from(self.transferred) * 1_000_000 / u128::from(rate);
            Duration::from_micros(u64::try_from(due).unwrap_or(u64::MAX)).saturating_sub(passed)
        });
        let mut pause = earned.max(ahead);
        if pause.is_zero() {
            Yield { yielded: false }.await;
        }
        while !pause.is_zero() && !self.must_stop() {
            let part = pause.min(REST_MAX);
            self.io.sleep(part).await;
            pause -= part;
        }
        self.slice_bytes = 0;
        self.worked = Duration::ZERO;
        self.since = self.io.elapsed();
    }
}

/// Resolves when all other tasks that can run have had their turn.
struct Yield {
    yielded: bool,
}

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
