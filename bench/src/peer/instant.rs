//! A server that answers produce requests at once: it reads them, looks at nothing but their heads,
//! keeps nothing, and gives out offsets.
//!
//! What a generator reaches against it is the generator's ceiling, or the peer's own where that is
//! lower: reading what is sent costs about as much as sending it. A ceiling found so is never too
//! high.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use crate::affinity;
use crate::error::BenchError;
use crate::wire::produce::ProduceHead;

const RECEIVE_BYTES: usize = 256 * 1024;
/// Bytes of a batch that say how many offsets it takes.
const BATCH_HEAD_BYTES: usize = 27;
const OFFSET_DELTA_AT: usize = 23;
/// Heads are shorter, unless somebody else than this generator sends them.
const HEAD_BYTES_MAX: usize = 1024;
/// The longest sleep, so that the end is noticed.
const SLEEP_NS: i64 = 20_000_000;
const LISTENER: u64 = u64::MAX;

/// A running peer; it ends when it is dropped.
#[derive(Debug)]
pub struct InstantPeer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl InstantPeer {
    /// Starts a peer on a free port of this machine, pinned to core `cpu`.
    ///
    /// # Errors
    ///
    /// [`BenchError::System`] if it cannot listen or poll.
    pub fn start(cpu: Option<usize>) -> Result<Self, BenchError> {
        let failed = |source| BenchError::System { what: "start a peer", source };
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = Server::new(listener).map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            // A peer that is not pinned is slower, and so is the ceiling: the safe side.
            let _ = affinity::pin(cpu);
            server.run(&stopped);
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for InstantPeer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panics only where the generator would have noticed already.
            let _ = thread.join();
        }
    }
}

struct Server {
    listener: TcpListener,
    poller: OwnedFd,
    clients: Vec<Option<Client>>,
    offsets: Vec<i64>,
    buffer: Vec<u8>,
}

impl Server {
    fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::add(&poller, &listener, data, epoll::EventFlags::IN)?;
        let buffer = vec![0; RECEIVE_BYTES];
        Ok(Self { listener, poller, clients: Vec::new(), offsets: Vec::new(), buffer })
    }

    fn run(mut self, stop: &AtomicBool) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let timeout = Timespec { tv_sec: 0, tv_nsec: SLEEP_NS };
        while !stop.load(Ordering::Relaxed) {
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.poller, spare, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                // Without a peer the generator's run fails and says so.
                Err(_) => return,
            }
            for event in events.drain(..) {
                let number = event.data.u64();
                if number == LISTENER {
                    self.accept();
                } else {
                    self.serve(usize::try_from(number).unwrap_or(usize::MAX));
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let ready = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
            let number = u64::try_from(self.clients.len()).unwrap_or(LISTENER);
            let data = epoll::EventData::new_u64(number);
            let flags = epoll::EventFlags::IN;
            if ready.is_ok() && epoll::add(&self.poller, &stream, data, flags).is_ok() {
                self.clients.push(Some(Client::new(stream)));
            }
        }
    }

    fn serve(&mut self, number: usize) {
        let Some(place) = self.clients.get_mut(number) else { return };
        let Some(client) = place else { return };
        if client.turn(&mut self.buffer, &mut self.offsets).is_err() {
            *place = None;
        }
    }
}

/// One connection: the start of a request until its head is whole, then bytes to pass over before
/// the answer may leave.
struct Client {
    stream: TcpStream,
    head: Vec<u8>,
    read: Option<(ProduceHead, i64)>,
    pass_over: usize,
    answers: Vec<u8>,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self { stream, head: Vec::new(), read: None, pass_over: 0, answers: Vec::new() }
    }

    fn turn(&mut self, buffer: &mut [u8], offsets: &mut Vec<i64>) -> io::Result<()> {
        match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.take(&buffer[..count], offsets)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut rest: &[u8] = &self.answers;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                // The generator has much in flight, and reads before it sends more.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_for_room()?,
                Err(error) => return Err(error),
            }
        }
        self.answers.clear();
        Ok(())
    }

    fn wait_for_room(&self) -> io::Result<()> {
        let mut stream = [PollFd::new(&self.stream, PollFlags::OUT)];
        let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut stream, Some(&timeout)) {
            Ok(0) => Err(ErrorKind::TimedOut.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take(&mut self, mut bytes: &[u8], offsets: &mut Vec<i64>) -> io::Result<()> {
        loop {
            let passed = self.pass_over.min(bytes.len());
            self.pass_over -= passed;
            bytes = &bytes[passed..];
            if self.pass_over > 0 {
                return Ok(());
            }
            if let Some((head, base)) = self.read.take()
                && head.acks != 0
            {
                head.put_answer(0, base, &mut self.answers);
            }
            if bytes.is_empty() {
                return Ok(());
            }
            let room = HEAD_BYTES_MAX.saturating_sub(self.head.len());
            let before = self.head.len();
            self.head.extend(&bytes[..room.min(bytes.len())]);
            let head = ProduceHead::read(&self.head);
            let whole = head.filter(|one| one.head_bytes + BATCH_HEAD_BYTES <= self.head.len());
            let Some(head) = whole else {
                if self.head.len() >= HEAD_BYTES_MAX {
                    return Err(ErrorKind::InvalidData.into());
                }
                return Ok(());
            };
            let base = self.offset(&head, offsets);
            let used = head.head_bytes + BATCH_HEAD_BYTES - before;
            self.pass_over = head.batch_bytes.saturating_sub(BATCH_HEAD_BYTES);
            self.read = Some((head, base));
            bytes = &bytes[used..];
            self.head.clear();
        }
    }

    /// The batch's first offset.
    fn offset(&self, head: &ProduceHead, offsets: &mut Vec<i64>) -> i64 {
        let delta = self.head[head.head_bytes + OFFSET_DELTA_AT..].first_chunk();
        let delta = delta.map_or(0, |delta| i32::from_be_bytes(*delta));
        let partition = usize::try_from(head.partition).unwrap_or(0);
        if offsets.len() <= partition {
            offsets.resize(partition + 1, 0);
        }
        let base = offsets[partition];
        offsets[partition] += i64::from(delta) + 1;
        base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::payload::Payload;
    use crate::wire::produce::{Answer, RequestHead};

    #[test]
    fn requests_that_come_byte_by_byte_are_answered_in_order() {
        let peer = InstantPeer::start(None).unwrap();
        let mut stream = TcpStream::connect(peer.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        let payload = Payload::new(10, 300).unwrap();
        let request = RequestHead::new("topic", 2, -1, payload.bytes.len());
        let request = request.with_batch(&payload.bytes).bytes;
        for byte in &request[..request.len() - 1] {
            stream.write_all(std::slice::from_ref(byte)).unwrap();
        }
        // Nobody is answered before the last byte: that is the time that is measured.
        stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        assert!(stream.read(&mut [0; 1]).is_err());
        stream.set_read_timeout(None).unwrap();
        stream.write_all(&request[request.len() - 1..]).unwrap();
        stream.write_all(&request).unwrap();
        for number in 0..2 {
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
            stream.read_exact(&mut frame).unwrap();
            let answer = Answer::decode(&frame).unwrap();
            assert_eq!((answer.partition, answer.error_code), (2, 0));
            assert_eq!(answer.base_offset, number * i64::from(payload.records));
        }
    }
}
