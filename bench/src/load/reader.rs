//! One consumer's connection: fetches one after the other, each from where the last ended.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::batches::{Batches, FetchedBatch};
use super::connection::ConnectionError;
use crate::error::AnswerProblem;
use crate::wire::fetch::{FetchAnswer, FetchLimits, FetchRequest, FetchedPartition};
use crate::wire::next_frame;

const RECEIVE_BYTES: usize = 64 * 1024;
/// No answer is longer: limits of a partition are far below, but a batch comes whole.
const ANSWER_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// How far a reader has come in one partition.
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    /// The partition.
    pub partition: i32,
    /// The offset that is fetched next.
    pub next: i64,
    /// Where reading is done; `i64::MAX` for a reader at the tail.
    pub end: i64,
    /// Nothing has been read yet.
    pub is_fresh: bool,
}

impl Cursor {
    /// Reads from `next` to `end`.
    #[must_use]
    pub fn new(partition: i32, next: i64, end: i64) -> Self {
        Self { partition, next, end, is_fresh: true }
    }
}

/// Hears of what a reader gets.
pub trait Listener {
    /// An answer has come, before its batches.
    fn answered(&mut self, now: Instant);
    /// A batch has come.
    fn batch(&mut self, batch: FetchedBatch<'_>, now: Instant);
    /// A partition's error code.
    fn failed(&mut self, partition: i32, error_code: i16);
}

/// A non-blocking connection with one fetch in flight.
#[derive(Debug)]
pub struct Reader {
    stream: TcpStream,
    cursors: Vec<Cursor>,
    request: FetchRequest,
    correlation_id: i32,
    /// Bytes of the request that the socket has taken; `None` if none is out.
    sent: Option<usize>,
    checks_crc: bool,
    received: Vec<u8>,
    received_end: usize,
}

impl Reader {
    /// A reader over `stream`. With `checks_crc` off, only the order of batches is checked.
    ///
    /// # Errors
    ///
    /// The socket cannot be made non-blocking.
    pub fn new(
        stream: TcpStream,
        topic: &str,
        cursors: Vec<Cursor>,
        limits: FetchLimits,
        checks_crc: bool,
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let partitions: Vec<i32> = cursors.iter().map(|cursor| cursor.partition).collect();
        Ok(Self {
            stream,
            cursors,
            request: FetchRequest::new(topic, &partitions, limits),
            correlation_id: 0,
            sent: None,
            checks_crc,
            received: vec![0; RECEIVE_BYTES],
            received_end: 0,
        })
    }

    /// The socket, for a poller.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// How far the reader has come.
    #[must_use]
    pub fn cursors(&self) -> &[Cursor] {
        &self.cursors
    }

    /// Whether every partition is read to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.cursors.iter().all(|cursor| cursor.next >= cursor.end)
    }

    /// Sends what the socket takes, receives what has come, and fetches on until all is read.
    ///
    /// # Errors
    ///
    /// The socket's; an answer that cannot be read, or a batch that is not what must come next.
    pub fn turn(&mut self, listener: &mut impl Listener) -> Result<(), ConnectionError> {
        loop {
            if self.sent.is_none() {
                if self.is_done() {
                    return Ok(());
                }
                self.correlation_id = self.correlation_id.wrapping_add(1);
                let offsets = self.cursors.iter().map(|cursor| cursor.next);
                self.request.from_offsets(self.correlation_id, offsets);
                self.sent = Some(0);
            }
            self.send()?;
            if !self.receive()? {
                return Ok(());
            }
            self.take_answer(listener)?;
        }
    }

    fn send(&mut self) -> Result<(), ConnectionError> {
        while let Some(rest) = self.sent.and_then(|sent| self.request.bytes().get(sent..)) {
            if rest.is_empty() {
                break;
            }
            match self.stream.write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => self.sent = self.sent.map(|sent| sent + count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads until the answer is whole, or nothing more has come.
    fn receive(&mut self) -> Result<bool, ConnectionError> {
        loop {
            let frame = next_frame(&self.received[..self.received_end], ANSWER_BYTES_MAX);
            if frame.map_err(too_long)?.is_some() {
                return Ok(true);
            }
            self.make_room();
            match self.stream.read(&mut self.received[self.received_end..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => self.received_end += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes the buffer as long as the frame that has begun; it never shrinks.
    fn make_room(&mut self) {
        let stated = self.received.first_chunk::<4>().filter(|_| self.received_end >= 4);
        let length = stated.and_then(|bytes| usize::try_from(i32::from_be_bytes(*bytes)).ok());
        let needed = 4 + length.unwrap_or(0);
        if self.received.len() < needed {
            self.received.resize(needed, 0);
        }
    }

    fn take_answer(&mut self, listener: &mut impl Listener) -> Result<(), ConnectionError> {
        let now = Instant::now();
        let frame = next_frame(&self.received[..self.received_end], ANSWER_BYTES_MAX);
        let Some(frame) = frame.map_err(too_long)? else { return Ok(()) };
        if 4 + frame.len() < self.received_end {
            // One fetch is out, so nothing may follow its answer.
            let frame_bytes = self.received_end;
            return Err(ConnectionError::Answer(AnswerProblem::Malformed { frame_bytes }));
        }
        let mut answer = FetchAnswer::decode(frame).map_err(ConnectionError::Answer)?;
        let (expected, found) = (self.correlation_id, answer.correlation_id);
        if expected != found {
            let problem = AnswerProblem::OutOfOrder { expected, found };
            return Err(ConnectionError::Answer(problem));
        }
        listener.answered(now);
        while let Some(fetched) = answer.next_partition().map_err(ConnectionError::Answer)? {
            let known = self.cursors.iter_mut().find(|one| one.partition == fetched.partition);
            let frame_bytes = frame.len();
            let cursor =
                known.ok_or(ConnectionError::Answer(AnswerProblem::Malformed { frame_bytes }))?;
            advance(cursor, fetched, self.checks_crc, listener, now)
                .map_err(ConnectionError::Answer)?;
        }
        self.received_end = 0;
        self.sent = None;
        Ok(())
    }
}

fn advance(
    cursor: &mut Cursor,
    fetched: FetchedPartition<'_>,
    checks_crc: bool,
    listener: &mut impl Listener,
    now: Instant,
) -> Result<(), AnswerProblem> {
    if fetched.error_code != 0 {
        listener.failed(fetched.partition, fetched.error_code);
        return Ok(());
    }
    let (partition, next, fresh) = (cursor.partition, cursor.next, cursor.is_fresh);
    for batch in Batches::new(fetched.records, partition, next, fresh, checks_crc) {
        let batch = batch?;
        cursor.next = batch.end;
        cursor.is_fresh = false;
        listener.batch(batch, now);
    }
    Ok(())
}

fn too_long(stated: i32) -> ConnectionError {
    let (frame_bytes, limit_bytes) = (stated.into(), ANSWER_BYTES_MAX);
    ConnectionError::Answer(AnswerProblem::TooLong { frame_bytes, limit_bytes })
}
