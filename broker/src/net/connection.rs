//! One connection: a task that reads requests and one that writes answers, sharing a queue.
//!
//! ```text
//!  socket ─► ReceiveBuffer ─► frame ─► Service::accept ─► AnswerQueue ─► Service::finish ─► Output ─► socket
//!            └─────────────── reader ───────────────┘     (bounded)     └──────── writer ────────┘
//! ```
//!
//! The reader stops reading when the queue is full or the broker takes its time to accept a
//! request; the writer finishes one answer after the other and gathers those that are ready at
//! once. So a client that does not read its answers stops its own writer, then its own reader,
//! and costs the answers of one send and the requests in the queue. No read is ever abandoned:
//! what ends a read is the end of the socket. After it, what is owed is waited for a little
//! longer ([`NetSettings::closed_wait`](super::NetSettings::closed_wait)): the client may have
//! closed its sending side only.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringStream;

use super::budget::Admission;
use super::frame::FrameError;
use super::output::Output;
use super::queue::{AnswerQueue, Broken};
use super::receive::ReceiveBuffer;
use super::registry::Registry;
use super::service::{Outcome, Service};
use crate::limits::{DISCARD_BUFFER_BYTES, DISCARD_BYTES_MAX, REQUESTS_PER_TURN};
use crate::task;
use crate::timer::yield_now;

/// What reader and writer share.
pub(super) struct Connection<P> {
    stream: UringStream,
    queue: AnswerQueue<P>,
    peer: SocketAddr,
    /// The registry's tick at which bytes last moved.
    active_at: Cell<u64>,
    /// How many of the two tasks wait for the broker rather than for the client.
    waiting_for_broker: Cell<u32>,
    /// No more requests are to be read.
    stopping: Cell<bool>,
}

/// Counts a task as waiting for the broker while it lives.
struct WaitsForBroker<'a>(&'a Cell<u32>);

impl<'a> WaitsForBroker<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for WaitsForBroker<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Why the reader of a connection ended.
#[derive(Debug, thiserror::Error)]
enum ReadEnd {
    /// The client sends no more.
    #[error("the client closed it")]
    Closed,
    /// The client closed in the middle of a request.
    #[error("the client closed it in the middle of a request, of which {received} bytes had come")]
    Truncated { received: usize },
    #[error("reading it failed: {0}")]
    Failed(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Refused(String),
    #[error("writing to it failed or it was cut off")]
    Broken,
    #[error("the broker is stopping")]
    Stopping,
}

impl From<Broken> for ReadEnd {
    fn from(_: Broken) -> Self {
        Self::Broken
    }
}

impl<P: 'static> Connection<P> {
    /// Reads no more requests; those that were taken in are answered.
    pub(super) fn stop_reading(&self) {
        self.stopping.set(true);
        // Ends the read that is under way. It fails if the client is gone, which ends it as well.
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// Closes at once. What is owed to the client is dropped.
    pub(super) fn cut_off(&self) {
        self.queue.break_off();
        // Fails if the client is gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The tick at which bytes last moved, or `None` while it is the broker that keeps the client
    /// waiting.
    pub(super) fn idle_since(&self) -> Option<u64> {
        (self.waiting_for_broker.get() == 0).then(|| self.active_at.get())
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// Serves a client, in a task of its own, until it leaves, breaks the protocol, or is cut off.
///
/// The connection is in the registry when this returns.
pub(super) fn spawn<S: Service>(
    service: &Rc<S>,
    registry: &Rc<Registry<S::Pending>>,
    stream: UringStream,
    peer: SocketAddr,
    admission: Admission,
) {
    // Fails only on a connection that is gone, which the first read finds out.
    let _ = stream.set_nodelay(true);
    let connection = Rc::new(Connection {
        stream,
        queue: AnswerQueue::new(registry.settings().requests_open_max),
        peer,
        active_at: Cell::new(registry.tick()),
        waiting_for_broker: Cell::new(0),
        stopping: Cell::new(false),
    });
    let entry = registry.enter(Rc::clone(&connection));
    let (service, registry) = (Rc::clone(service), Rc::clone(registry));
    task::spawn(async move {
        serve(service, registry, connection).await;
        drop((entry, admission));
    });
}

async fn serve<S: Service>(
    service: Rc<S>,
    registry: Rc<Registry<S::Pending>>,
    connection: Rc<Connection<S::Pending>>,
) {
    let mut writer = task::spawn_joined(write::<S>(Rc::clone(&connection), Rc::clone(&registry)));
    let buffer =
        ReceiveBuffer::new(registry.settings().request_bytes_max, Rc::clone(&registry.large));
    let session = Rc::new(service.open(connection.peer));
    let end = read(&*service, &session, &connection, &registry, buffer).await;
    match &end {
        ReadEnd::Failed(_) => connection.cut_off(),
        _ => connection.queue.end(),
    }
    tell(&end, connection.peer, &registry);
    // A stopping broker has a time of its own for answers.
    let closed = !matches!(end, ReadEnd::Stopping);
    tokio::select! {
        // A writer that panicked has raised the alarm; there is nothing to add here.
        _ = &mut writer => {}
        () = registry.io().sleep(registry.settings().closed_wait), if closed => {
            connection.queue.wait_no_more();
            let _ = writer.await;
        }
    }
    if !connection.queue.is_broken() {
        part(&connection.stream).await;
    }
}

fn tell<P>(end: &ReadEnd, peer: SocketAddr, registry: &Registry<P>) {
    match end {
        ReadEnd::Frame(_) | ReadEnd::Refused(_) => {
            if let Some(unsaid) = registry.refusals.due(registry.io()) {
                tracing::warn!(%peer, reason = %end, unsaid, "closed a connection");
            }
        }
        _ => tracing::debug!(%peer, reason = %end, "closed a connection"),
    }
}

/// Reads requests and has them accepted, one after the other, until no more are to come.
async fn read<S: Service>(
    service: &S,
    session: &Rc<S::Session>,
    connection: &Connection<S::Pending>,
    registry: &Registry<S::Pending>,
    mut buffer: ReceiveBuffer,
) -> ReadEnd {
    let mut turn = 0;
    loop {
        loop {
            if let Err(Broken) = connection.queue.place().await {
                return ReadEnd::Broken;
            }
            if connection.stopping.get() {
                return ReadEnd::Stopping;
            }
            let frame = match buffer.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return error.into(),
            };
            let request_bytes = frame.len();
            let outcome = {
                let _waits = WaitsForBroker::new(&connection.waiting_for_broker);
                service.accept(session, frame).await
            };
            match outcome {
                Outcome::Answer(pending) => connection.queue.push(request_bytes, pending),
                Outcome::Silent => {}
                Outcome::Close(reason) => return ReadEnd::Refused(reason),
            }
            turn += 1;
            if turn == REQUESTS_PER_TURN {
                turn = 0;
                yield_now().await;
            }
        }
        match receive(&connection.stream, &mut buffer).await {
            Ok(0) if connection.stopping.get() => return ReadEnd::Stopping,
            Ok(0) if connection.queue.is_broken() => return ReadEnd::Broken,
            Ok(0) if buffer.is_empty() => return ReadEnd::Closed,
            Ok(0) => return ReadEnd::Truncated { received: buffer.len() },
            Ok(_) => connection.active_at.set(registry.tick()),
            Err(error) => return error.into(),
        }
    }
}

/// Reads once, after the bytes that the buffer holds.
async fn receive(stream: &UringStream, buffer: &mut ReceiveBuffer) -> io::Result<usize> {
    let (read, lent) = stream.receive(buffer.lend()).await;
    let read = read?;
    buffer.take_back(lent, read);
    Ok(read)
}

/// Sends the answers in the order of their requests until none will come.
async fn write<S: Service>(
    connection: Rc<Connection<S::Pending>>,
    registry: Rc<Registry<S::Pending>>,
) {
    let mut output = Output::default();
    let mut next = connection.queue.next().await;
    while let Some(pending) = next {
        let answer = match finish::<S>(&connection, &registry, pending, &mut output).await {
            Ok(answer) => answer,
            Err(error) => return fail(&connection, &error),
        };
        let Some(answer) = answer else {
            // Whatever is ready before the answer that cannot be given still leaves.
            let _ = send(&connection, &registry, &mut output).await;
            return connection.cut_off();
        };
        output.push(answer);
        connection.queue.answered();
        next = if output.is_full() { None } else { connection.queue.try_next() };
        if next.is_none() {
            if let Err(error) = send(&connection, &registry, &mut output).await {
                return fail(&connection, &error);
            }
            next = connection.queue.next().await;
        }
    }
}

fn fail<P: 'static>(connection: &Connection<P>, error: &io::Error) {
    tracing::debug!(peer = %connection.peer, %error, "cannot send to a connection");
    connection.cut_off();
}

/// The answer, waited for. If it is not ready at once, the answers before it are sent first.
async fn finish<S: Service>(
    connection: &Connection<S::Pending>,
    registry: &Registry<S::Pending>,
    pending: S::Pending,
    output: &mut Output,
) -> io::Result<Option<Vec<Bytes>>> {
    let mut answer = pin!(S::finish(pending));
    let first = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await;
    if let Poll::Ready(answer) = first {
        return Ok(answer);
    }
    if !output.is_empty() {
        send(connection, registry, output).await?;
    }
    let _waits = WaitsForBroker::new(&connection.waiting_for_broker);
    // Ends early when the connection breaks, so that nothing is kept for a client that is gone.
    let answer = poll_fn(|cx| match connection.queue.poll_given_up(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => answer.as_mut().poll(cx),
    });
    Ok(answer.await)
}

/// Sends what is gathered and frees the places of the answers that it held.
async fn send<P: 'static>(
    connection: &Connection<P>,
    registry: &Registry<P>,
    output: &mut Output,
) -> io::Result<()> {
    output.send(&connection.stream, || connection.active_at.set(registry.tick())).await?;
    connection.queue.sent_all_answered();
    Ok(())
}

/// Says goodbye so that the client gets every answer: closing a socket with unread bytes would
/// reset it, and what is on its way would be lost.
async fn part(stream: &UringStream) {
    if stream.shutdown(Shutdown::Both).is_err() {
        return;
    }
    let mut discarded = 0;
    let mut buffer = BytesMut::with_capacity(DISCARD_BUFFER_BYTES);
    while discarded < DISCARD_BYTES_MAX {
        // Never waits: after the shutdown there is what has come, and then the end.
        let (read, returned) = stream.receive(buffer).await;
        buffer = returned;
        buffer.clear();
        match read {
            Ok(read @ 1..) => discarded += read,
            Ok(0) | Err(_) => return,
        }
    }
}
