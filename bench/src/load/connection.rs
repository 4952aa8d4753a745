//! One socket: requests from templates, several in flight, answers in order.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::payload::Stamp;
use crate::error::AnswerProblem;
use crate::wire::produce::{ANSWER_BYTES_MAX, Answer, RequestHead};
use crate::wire::{next_frame, set_correlation};

/// Requests written with one system call at most.
const GATHER_MAX: usize = 16;
const RECEIVE_BYTES: usize = 64 * 1024;

/// What can go wrong on a connection.
#[derive(Debug)]
pub enum ConnectionError {
    /// The socket failed or was closed.
    Io(io::Error),
    /// The server said something unexpected.
    Answer(AnswerProblem),
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A request that was answered, or fully written where no answer comes.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    /// When the request should have been sent.
    pub intended: Instant,
    /// The answer; `None` with acks=0.
    pub answer: Option<Answer>,
}

/// A non-blocking connection. The request with number `n` uses slot `n % depth`, and its number
/// (cut to 31 bits) as correlation id:
///
/// ```text
/// 0 ..... answered ..... written ..... queued          queued - answered <= depth
/// ```
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    heads: Vec<RequestHead>,
    slots: Vec<Slot>,
    expects_answers: bool,
    stamp: Option<Stamp>,
    queued: u64,
    written: u64,
    /// Bytes of request `written` that the socket has taken.
    written_bytes: usize,
    answered: u64,
    received: Vec<u8>,
    received_end: usize,
}

#[derive(Debug, Clone)]
struct Slot {
    head: Vec<u8>,
    partition: i32,
    intended: Instant,
}

impl Connection {
    /// A connection over `stream` that sends to the partitions of `heads` in turn. With a
    /// `stamp`, each head has its batch behind it, and each request gets the time at which it
    /// should be sent.
    ///
    /// # Errors
    ///
    /// The socket cannot be made non-blocking.
    pub fn new(
        stream: TcpStream,
        heads: Vec<RequestHead>,
        depth: usize,
        expects_answers: bool,
        stamp: Option<Stamp>,
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let slot = Slot { head: Vec::new(), partition: 0, intended: Instant::now() };
        Ok(Self {
            stream,
            heads,
            slots: vec![slot; depth.max(1)],
            expects_answers,
            stamp,
            queued: 0,
            written: 0,
            written_bytes: 0,
            answered: 0,
            received: vec![0; RECEIVE_BYTES],
            received_end: 0,
        })
    }

    /// The socket, for a poller.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Requests that have no answer yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.queued - self.answered).unwrap_or(usize::MAX)
    }

    /// Whether another request may be queued.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.in_flight() < self.slots.len()
    }

    /// Requests queued so far.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Requests answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Queues the next request. Only where [`Connection::has_room`].
    pub fn queue(&mut self, intended: Instant) {
        assert!(self.has_room(), "a request was queued beyond the depth");
        let number = self.queued;
        let head = &self.heads[index(number, self.heads.len())];
        let at = index(number, self.slots.len());
        let slot = &mut self.slots[at];
        slot.head.clear();
        slot.head.extend_from_slice(&head.bytes);
        set_correlation(&mut slot.head, correlation(number));
        if let Some(stamp) = self.stamp {
            stamp.write(&mut slot.head[head.head_bytes..], intended);
        }
        slot.partition = head.partition;
        slot.intended = intended;
        self.queued += 1;
    }

    /// Writes what the socket takes of the queued requests, each followed by `batch`. With no
    /// answers expected, a request is complete when it is written.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn flush(
        &mut self,
        batch: &[u8],
        mut completed: impl FnMut(Completion),
    ) -> Result<(), ConnectionError> {
        while self.written < self.queued {
            let count = match self.write_some(batch) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let mut rest = count + self.written_bytes;
            while self.written < self.queued {
                let slot = &self.slots[index(self.written, self.slots.len())];
                let request_bytes = slot.head.len() + batch.len();
                if rest < request_bytes {
                    break;
                }
                rest -= request_bytes;
                self.written += 1;
                if !self.expects_answers {
                    self.answered = self.written;
                    completed(Completion { intended: slot.intended, answer: None });
                }
            }
            self.written_bytes = rest;
        }
        Ok(())
    }

    fn write_some(&mut self, batch: &[u8]) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); 2 * GATHER_MAX];
        let mut used = 0;
        let mut skip = self.written_bytes;
        for (number, pair) in (self.written..self.queued).zip(slices.chunks_exact_mut(2)) {
            let head = &self.slots[index(number, self.slots.len())].head;
            let from_head = skip.min(head.len());
            let from_batch = skip - from_head;
            pair[0] = IoSlice::new(&head[from_head..]);
            pair[1] = IoSlice::new(&batch[from_batch..]);
            skip = 0;
            used += 2;
        }
        self.stream.write_vectored(&slices[..used])
    }

    /// Reads all that has arrived, and tells each answer.
    ///
    /// # Errors
    ///
    /// The socket's, also that the server has closed it; an answer that is not the next.
    pub fn receive(
        &mut self,
        mut completed: impl FnMut(Completion),
    ) -> Result<(), ConnectionError> {
        loop {
            match self.stream.read(&mut self.received[self.received_end..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => self.received_end += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            self.take_answers(&mut completed)?;
        }
    }

    fn take_answers(
        &mut self,
        completed: &mut impl FnMut(Completion),
    ) -> Result<(), ConnectionError> {
        let mut taken = 0;
        while let Some(frame) =
            next_frame(&self.received[taken..self.received_end], ANSWER_BYTES_MAX).map_err(
                |stated| {
                    let (frame_bytes, limit_bytes) = (stated.into(), ANSWER_BYTES_MAX);
                    ConnectionError::Answer(AnswerProblem::TooLong { frame_bytes, limit_bytes })
                },
            )?
        {
            let answer = Answer::decode(frame).map_err(ConnectionError::Answer)?;
            let slot = &self.slots[index(self.answered, self.slots.len())];
            check(&answer, self.answered, self.written, slot.partition)
                .map_err(ConnectionError::Answer)?;
            self.answered += 1;
            taken += 4 + frame.len();
            completed(Completion { intended: slot.intended, answer: Some(answer) });
        }
        self.received.copy_within(taken..self.received_end, 0);
        self.received_end -= taken;
        Ok(())
    }
}

fn check(answer: &Answer, number: u64, written: u64, partition: i32) -> Result<(), AnswerProblem> {
    let (expected, found) = (correlation(number), answer.correlation_id);
    if number >= written || expected != found {
        return Err(AnswerProblem::OutOfOrder { expected, found });
    }
    if answer.partition != partition {
        return Err(AnswerProblem::Partition { expected: partition, found: answer.partition });
    }
    Ok(())
}

fn correlation(number: u64) -> i32 {
    i32::try_from(number & 0x7fff_ffff).unwrap_or(0)
}

fn index(number: u64, length: usize) -> usize {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    usize::try_from(number % length).unwrap_or(0)
}
