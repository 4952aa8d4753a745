//! The floor: the least server that answers the same produce requests with the same durability.
//!
//! One thread receives, checks each batch's CRC-32C (and hangs up where it is wrong), copies it into an aligned buffer, writes all
//! that waits with one `O_DIRECT` and `RWF_DSYNC` write through a bare ring, and answers when that
//! is done. There is no index, no recovery, no offset that would survive, and all partitions are
//! one file. What a broker reaches of this is what its being a broker costs.

pub(super) mod disk;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

use self::disk::Disk;
pub use self::disk::Ground;
use crate::affinity::{self, thread_cpu_time};
use crate::error::BenchError;
use crate::wire::next_frame;
use crate::wire::produce::ProduceHead;

const RECEIVE_BYTES: usize = 256 * 1024;
const FRAME_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Where a batch has its checksum, from where on that counts, and where its last offset stands.
const CRC_AT: std::ops::Range<usize> = 17..21;
const CRC_FROM: usize = 21;
const OFFSET_DELTA_AT: usize = 23;
/// The longest sleep, so that the end is noticed.
const SLEEP_NS: i64 = 20_000_000;
const LISTENER: u64 = u64::MAX;
const RING: u64 = u64::MAX - 1;

/// A running floor; it ends when it is dropped.
#[derive(Debug)]
pub struct Floor {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<Duration>>>,
}

impl Floor {
    /// Starts a floor on a free port of this machine, with its file in `folder`, its thread pinned
    /// to core `cpu`, for batches of up to `batch_bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// [`BenchError::System`] if it cannot listen, poll, make a ring or write its file directly.
    pub fn start(
        folder: &Path,
        ground: Ground,
        batch_bytes_max: usize,
        cpu: Option<usize>,
    ) -> Result<Self, BenchError> {
        let failed = |source| BenchError::System { what: "start the floor", source };
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let disk = Disk::new(folder, ground, batch_bytes_max).map_err(failed)?;
        let server = Server::new(listener, disk).map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            affinity::pin(cpu).map_err(io::Error::other)?;
            let before = thread_cpu_time();
            server.run(&stopped)?;
            Ok(thread_cpu_time().saturating_sub(before))
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it, and gives the CPU time that its thread has used. What the kernel does for it in
    /// threads of its own is not in there.
    ///
    /// # Errors
    ///
    /// [`BenchError::System`] if a write has failed.
    pub fn stop(mut self) -> Result<Duration, BenchError> {
        let failed = |source| BenchError::System { what: "write the floor's file", source };
        self.end().unwrap_or(Ok(Duration::ZERO)).map_err(failed)
    }

    fn end(&mut self) -> Option<io::Result<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take()?.join();
        Some(ended.unwrap_or_else(|_| Err(io::Error::other("its thread panicked"))))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // Whoever wants to know how it ended stops it.
        let _ = self.end();
    }
}

/// A batch that is not durable yet.
struct Pending {
    client: usize,
    head: ProduceHead,
    base_offset: i64,
}

struct Server {
    listener: TcpListener,
    poller: OwnedFd,
    clients: Vec<Option<Client>>,
    /// Clients with whole requests for which no buffer was free.
    stalled: BTreeSet<usize>,
    disk: Disk<Pending>,
    offsets: Vec<i64>,
}

impl Server {
    fn new(listener: TcpListener, disk: Disk<Pending>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::add(&poller, &listener, data, epoll::EventFlags::IN)?;
        epoll::add(&poller, disk.ring(), epoll::EventData::new_u64(RING), epoll::EventFlags::IN)?;
        let stalled = BTreeSet::new();
        Ok(Self { listener, poller, clients: Vec::new(), stalled, disk, offsets: Vec::new() })
    }

    fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let timeout = Timespec { tv_sec: 0, tv_nsec: SLEEP_NS };
        while !stop.load(Ordering::Relaxed) {
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.poller, spare, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    RING => self.answer()?,
                    number => self.serve(usize::try_from(number).unwrap_or(usize::MAX)),
                }
            }
            // All that came in this turn becomes durable with one write, if a buffer holds it.
            self.disk.submit()?;
        }
        Ok(())
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let ready = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
            let number = u64::try_from(self.clients.len()).unwrap_or(LISTENER);
            let data = epoll::EventData::new_u64(number);
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            if ready.is_ok() && epoll::add(&self.poller, &stream, data, flags).is_ok() {
                self.clients.push(Some(Client::new(stream)));
            }
        }
    }

    /// Takes the requests that are whole and receives what has come, until there is no more of it
    /// or no buffer is free.
    fn serve(&mut self, number: usize) {
        let Some(place) = self.clients.get_mut(number) else { return };
        while let Some(client) = place {
            let turn = match client.take(number, &mut self.disk, &mut self.offsets) {
                Ok(true) => client.receive(),
                Ok(false) => {
                    self.stalled.insert(number);
                    return;
                }
                Err(error) => Err(error),
            };
            match turn {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => *place = None,
            }
        }
    }

    /// Answers what has become durable, and goes on with those who waited for a buffer.
    fn answer(&mut self) -> io::Result<()> {
        let mut answered = BTreeSet::new();
        self.disk.complete(|pending| {
            if let Some(Some(client)) = self.clients.get_mut(pending.client) {
                client.answer(&pending.head, pending.base_offset);
                answered.insert(pending.client);
            }
        })?;
        for number in answered {
            if let Some(place) = self.clients.get_mut(number)
                && place.as_mut().is_some_and(|client| client.flush().is_err())
            {
                *place = None;
            }
        }
        for number in std::mem::take(&mut self.stalled) {
            self.serve(number);
        }
        Ok(())
    }
}

/// One connection: what was received and not taken yet, and answers that are still to be sent.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    received_end: usize,
    answers: Vec<u8>,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        let received = vec![0; RECEIVE_BYTES];
        Self { stream, received, received_end: 0, answers: Vec::new() }
    }

    /// Whether something has come.
    fn receive(&mut self) -> io::Result<bool> {
        if self.received_end == self.received.len() {
            if self.received.len() >= FRAME_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            self.received.resize(2 * self.received.len(), 0);
        }
        match self.stream.read(&mut self.received[self.received_end..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.received_end += count;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes whole requests; `false` if one has to wait for a buffer.
    fn take(
        &mut self,
        number: usize,
        disk: &mut Disk<Pending>,
        offsets: &mut Vec<i64>,
    ) -> io::Result<bool> {
        let mut taken = 0;
        let mut has_room = true;
        while let Some(frame) =
            next_frame(&self.received[taken..self.received_end], FRAME_BYTES_MAX)
                .map_err(|_| ErrorKind::InvalidData)?
        {
            let whole = taken..taken + 4 + frame.len();
            let request = &self.received[whole.clone()];
            let head = ProduceHead::read(request).ok_or(ErrorKind::InvalidData)?;
            let batch = request.get(head.head_bytes..).ok_or(ErrorKind::InvalidData)?;
            if !is_intact(batch) {
                return Err(ErrorKind::InvalidData.into());
            }
            let partition = usize::try_from(head.partition).unwrap_or(0);
            if offsets.len() <= partition {
                offsets.resize(partition + 1, 0);
            }
            let base_offset = offsets[partition];
            if !disk.add(batch, Pending { client: number, head, base_offset })? {
                has_room = false;
                break;
            }
            offsets[partition] += i64::from(last_offset_delta(batch)) + 1;
            taken = whole.end;
        }
        self.received.copy_within(taken..self.received_end, 0);
        self.received_end -= taken;
        self.flush()?;
        Ok(has_room)
    }

    fn answer(&mut self, head: &ProduceHead, base_offset: i64) {
        if head.acks != 0 {
            head.put_answer(0, base_offset, &mut self.answers);
        }
    }

    /// Sends what the socket takes; the rest goes when it takes more.
    fn flush(&mut self) -> io::Result<()> {
        while !self.answers.is_empty() {
            match self.stream.write(&self.answers) {
                Ok(count) => drop(self.answers.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_intact(batch: &[u8]) -> bool {
    let stated = batch.get(CRC_AT);
    let counted = batch.get(CRC_FROM..).map(|body| crc32c::crc32c(body).to_be_bytes());
    stated.is_some() && stated == counted.as_ref().map(<[u8; 4]>::as_slice)
}

fn last_offset_delta(batch: &[u8]) -> i32 {
    let delta = batch.get(OFFSET_DELTA_AT..).and_then(|rest| rest.first_chunk());
    delta.map_or(0, |delta| i32::from_be_bytes(*delta))
}
