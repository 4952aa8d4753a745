//! The connections of one shard: swept for idle ones, and stopped together.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringIo;
use tokio::sync::Notify;

use super::connection::Connection;
use super::large::LargeBuffers;
use crate::limits::REPEATED_LOG_MS;
use crate::timer::timeout;

/// Sweeps in which a connection must have been silent to be closed: it is closed when it has been
/// silent for its time, and a fifth of it later at most.
const SWEEPS_IDLE: u32 = 5;

/// What rules the connections of a shard.
#[derive(Debug, Clone)]
pub struct NetSettings {
    /// Bytes of the largest request: `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// Requests of one connection that are taken in and not answered:
    /// `connection.queued.max.requests`.
    pub requests_open_max: usize,
    /// How long a connection may be silent: `connections.max.idle.ms`.
    pub idle_max: Option<Duration>,
    /// How long answers are worked on for a client that has closed its sending side.
    pub closed_wait: Duration,
    /// How long stopping waits for answers that are owed.
    pub stop_wait: Duration,
}

/// Lets a line of one kind into the log now and then, and counts the others.
#[derive(Default)]
pub(super) struct Occasional {
    /// By the ring's clock.
    last: Cell<Option<Duration>>,
    unsaid: Cell<u64>,
}

impl Occasional {
    /// Says whether a line is due, and how many were left out since the last.
    pub(super) fn due(&self, clock: &impl Io) -> Option<u64> {
        let now = clock.elapsed();
        let pause = Duration::from_millis(REPEATED_LOG_MS);
        if self.last.get().is_some_and(|last| now < last + pause) {
            self.unsaid.set(self.unsaid.get() + 1);
            return None;
        }
        self.last.set(Some(now));
        Some(self.unsaid.take())
    }
}

/// The connections that a shard serves.
pub(super) struct Registry<P> {
    io: UringIo,
    settings: NetSettings,
    connections: RefCell<BTreeMap<u64, Rc<Connection<P>>>>,
    next: Cell<u64>,
    /// Counts sweeps: the clock of idleness, so that no request reads a real one.
    tick: Cell<u64>,
    emptied: Notify,
    pub(super) large: Rc<LargeBuffers>,
    /// Connections closed for what they sent.
    pub(super) refusals: Occasional,
    /// Connections that could not be accepted.
    pub(super) turned_away: Occasional,
}

/// A connection's place in the registry, given up when dropped.
pub(super) struct Entry<P> {
    registry: Rc<Registry<P>>,
    number: u64,
}

impl<P> Drop for Entry<P> {
    fn drop(&mut self) {
        let mut connections = self.registry.connections.borrow_mut();
        let left = connections.remove(&self.number);
        if connections.is_empty() {
            self.registry.emptied.notify_waiters();
        }
        drop(connections);
        drop(left);
    }
}

impl<P: 'static> Registry<P> {
    pub(super) fn new(io: &UringIo, settings: NetSettings) -> Rc<Self> {
        Rc::new(Self {
            io: io.clone(),
            settings,
            connections: RefCell::default(),
            next: Cell::new(0),
            tick: Cell::new(0),
            emptied: Notify::new(),
            large: Rc::default(),
            refusals: Occasional::default(),
            turned_away: Occasional::default(),
        })
    }

    pub(super) fn enter(self: &Rc<Self>, connection: Rc<Connection<P>>) -> Entry<P> {
        let number = self.next.get();
        self.next.set(number + 1);
        self.connections.borrow_mut().insert(number, connection);
        Entry { registry: Rc::clone(self), number }
    }

    /// Closes connections that are silent for too long, for ever. Costs one timer and a look at
    /// each connection a sweep.
    pub(super) async fn sweep(&self) {
        let Some(idle_max) = self.settings.idle_max else { return std::future::pending().await };
        let pause = (idle_max / SWEEPS_IDLE).max(Duration::from_millis(1));
        loop {
            self.io.sleep(pause).await;
            let tick = self.tick.get() + 1;
            self.tick.set(tick);
            for connection in self.connections.borrow().values() {
                // What moved in a tick may have moved at its end, so that tick does not count.
                let idle = |since| tick - since > u64::from(SWEEPS_IDLE);
                if connection.idle_since().is_some_and(idle) {
                    tracing::debug!(peer = %connection.peer(), "closing an idle connection");
                    connection.cut_off();
                }
            }
        }
    }

    /// Has every connection read no more, and waits until all have had their answers or
    /// `stop_wait` is over; then cuts off the rest.
    pub(super) async fn stop(&self) {
        for connection in self.connections.borrow().values() {
            connection.stop_reading();
        }
        let stop_wait = self.settings.stop_wait;
        if timeout(&self.io, stop_wait, self.empty()).await.is_some() {
            return;
        }
        tracing::warn!(
            connections = self.connections.borrow().len(),
            waited_ms = stop_wait.as_millis(),
            "cut off connections that did not get or take their answers"
        );
        for connection in self.connections.borrow().values() {
            connection.cut_off();
        }
        // What is left now waits for the broker to accept a request. It ends with the shard.
        timeout(&self.io, stop_wait, self.empty()).await;
    }

    async fn empty(&self) {
        let mut emptied = std::pin::pin!(self.emptied.notified());
        emptied.as_mut().enable();
        if !self.connections.borrow().is_empty() {
            emptied.await;
        }
    }
}

impl<P> Registry<P> {
    /// The ring that the connections are on.
    pub(super) fn io(&self) -> &UringIo {
        &self.io
    }

    pub(super) fn settings(&self) -> &NetSettings {
        &self.settings
    }

    pub(super) fn tick(&self) -> u64 {
        self.tick.get()
    }
}
