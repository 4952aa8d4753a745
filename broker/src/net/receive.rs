//! The buffer that a connection's requests arrive in.
//!
//! Requests are cut off its front without copying, so a request keeps its part of the buffer alive
//! and the connection goes on in the rest. How much room there is for the next read follows what
//! the connection has delivered so far, never what it announces:
//!
//! - a connection at rest has [`RECEIVE_BUFFER_MIN`] bytes, and doubles them up to
//!   [`RECEIVE_BUFFER_MAX`] while reads fill them;
//! - a larger request gets a buffer of its size at once if the connection has delivered one like
//!   it before, and else one that doubles as its bytes arrive. Its memory is
//!   [kept](super::large) for the next one.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::frame::{self, FrameError, LENGTH_BYTES, Look};
use super::large::LargeBuffers;
use crate::limits::{RECEIVE_BUFFER_MAX, RECEIVE_BUFFER_MIN};

/// Reads in a row that leave most of the buffer empty before it is made smaller.
const SMALL_READS: u32 = 8;

/// Received bytes that have not been handed on, and room for more.
#[derive(Debug)]
pub struct ReceiveBuffer {
    bytes: BytesMut,
    /// Bytes of the memory that `bytes` is in, with what was cut off it.
    allocated: usize,
    /// Bytes of room that the next read should have.
    room: usize,
    small_reads: u32,
    /// Bytes of the largest frame that came whole since the buffer last shrank.
    delivered: usize,
    length_max: usize,
    large: Rc<LargeBuffers>,
}

impl ReceiveBuffer {
    /// An empty buffer for frames of at most `length_max` bytes after their length, the large ones
    /// of which come in memory of `large`.
    #[must_use]
    pub fn new(length_max: usize, large: Rc<LargeBuffers>) -> Self {
        Self {
            bytes: BytesMut::new(),
            allocated: 0,
            room: RECEIVE_BUFFER_MIN,
            small_reads: 0,
            delivered: 0,
            length_max,
            large,
        }
    }

    /// Cuts the next whole frame off, without its length. `None` until more bytes come.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; nothing after it can be read.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Look::Whole(frame_bytes) = frame::look(&self.bytes, self.length_max)? else {
            return Ok(None);
        };
        self.delivered = self.delivered.max(frame_bytes);
        let mut frame = self.bytes.split_to(frame_bytes).freeze();
        if frame_bytes > RECEIVE_BUFFER_MAX {
            // Of large frames only the start is read into a buffer that is not made for them: it
            // is copied, so it had better be short.
            self.room = RECEIVE_BUFFER_MIN;
            if self.bytes.is_empty() {
                self.large
                    .keep(std::mem::take(&mut self.bytes), std::mem::take(&mut self.allocated));
            }
        }
        Ok(Some(frame.split_off(LENGTH_BYTES)))
    }

    /// Hands the buffer to a read, with room after the bytes that are in it. Comes after
    /// [`Self::next_frame`] has said that there is none.
    #[must_use]
    pub fn lend(&mut self) -> BytesMut {
        let room = match frame::look(&self.bytes, self.length_max) {
            Ok(Look::Part(frame_bytes)) => {
                let missing = frame_bytes - self.bytes.len();
                let trusted = self.delivered.saturating_mul(2);
                missing.min(self.room.max(self.bytes.len()).max(trusted))
            }
            _ => self.room.div_ceil(4),
        };
        self.make_room(room);
        std::mem::take(&mut self.bytes)
    }

    /// Takes the buffer back after a read of `read` bytes into it.
    pub fn take_back(&mut self, bytes: BytesMut, read: usize) {
        let filled = bytes.len() == bytes.capacity();
        self.bytes = bytes;
        if filled && self.delivered <= RECEIVE_BUFFER_MAX {
            self.room = (self.room * 2).min(RECEIVE_BUFFER_MAX);
            self.small_reads = 0;
        } else if read > self.room / 4 {
            self.small_reads = 0;
        } else {
            self.small_reads += 1;
            if self.small_reads == SMALL_READS {
                self.small_reads = 0;
                self.room = (self.room / 2).max(RECEIVE_BUFFER_MIN);
                self.delivered = self.delivered.min(self.room);
            }
        }
    }

    /// Bytes received and not handed on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is received that was not handed on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn make_room(&mut self, room: usize) {
        let at_rest = self.bytes.is_empty() && self.allocated > RECEIVE_BUFFER_MAX;
        if !at_rest && self.bytes.capacity() - self.bytes.len() >= room {
            return;
        }
        let needed = self.bytes.len() + room.max(self.room.min(RECEIVE_BUFFER_MAX));
        let needed = match frame::look(&self.bytes, self.length_max) {
            // The frame ends where its buffer ends, so nothing of the next one is copied.
            Ok(Look::Part(frame_bytes)) if frame_bytes > RECEIVE_BUFFER_MAX => {
                self.bytes.len() + room
            }
            _ => needed,
        };
        // The same memory again, once the requests cut off it are gone; but no large memory for
        // small reads.
        if self.allocated <= needed.saturating_mul(2)
            && self.bytes.try_reclaim(needed - self.bytes.len())
        {
            return;
        }
        let kept = if needed > RECEIVE_BUFFER_MAX { self.large.take(needed) } else { None };
        let (mut next, allocated) =
            kept.unwrap_or_else(|| (BytesMut::with_capacity(needed), needed));
        next.extend_from_slice(&self.bytes);
        self.bytes = next;
        self.allocated = allocated;
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    const MAX: usize = 100 * 1024 * 1024;

    /// Delivers as much of `wire` as there is room for; says how much room there was.
    fn deliver(buffer: &mut ReceiveBuffer, wire: &mut &[u8]) -> usize {
        let mut lent = buffer.lend();
        let room = lent.capacity() - lent.len();
        assert!(room > 0, "a read without room would look like the end");
        let (now, later) = wire.split_at(room.min(wire.len()));
        lent.put_slice(now);
        *wire = later;
        buffer.take_back(lent, now.len());
        room
    }

    fn frame(body: usize, fill: u8) -> Vec<u8> {
        let mut bytes = i32::try_from(body).expect("small").to_be_bytes().to_vec();
        bytes.resize(LENGTH_BYTES + body, fill);
        bytes
    }

    #[test]
    fn frames_come_out_as_they_went_in_whatever_their_size() {
        let mut wire = Vec::new();
        let sizes = [0, 1, 100, 5000, 70_000, 300_000, 3, 2_000_000, 1_000_000, 17];
        for (index, size) in sizes.into_iter().enumerate() {
            wire.extend(frame(size, u8::try_from(index).expect("few")));
        }
        let mut rest = &wire[..];
        let mut buffer = ReceiveBuffer::new(MAX, Rc::default());
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = buffer.next_frame().expect("good lengths") {
                frames.push(frame);
            }
            if rest.is_empty() {
                break;
            }
            deliver(&mut buffer, &mut rest);
        }
        assert_eq!(buffer.len(), 0);
        assert_eq!(frames.len(), sizes.len());
        for ((index, size), frame) in sizes.into_iter().enumerate().zip(frames) {
            assert_eq!(frame.len(), size);
            assert!(frame.iter().all(|&byte| usize::from(byte) == index));
        }
    }

    #[test]
    fn a_length_alone_gets_no_memory() {
        let mut buffer = ReceiveBuffer::new(MAX, Rc::default());
        let announced = i32::try_from(MAX).expect("fits").to_be_bytes();
        deliver(&mut buffer, &mut &announced[..]);
        assert_eq!(buffer.next_frame(), Ok(None));
        let room = deliver(&mut buffer, &mut &[0; 1][..]);
        assert!(room <= RECEIVE_BUFFER_MIN, "{room} bytes for a mere announcement");
        assert!(buffer.allocated <= 2 * RECEIVE_BUFFER_MIN);
    }

    #[test]
    fn the_memory_of_a_growing_frame_stays_within_a_small_multiple_of_what_has_come() {
        let mut buffer = ReceiveBuffer::new(MAX, Rc::default());
        let wire = frame(4 << 20, 1);
        let mut rest = &wire[..];
        while !rest.is_empty() {
            assert_eq!(buffer.next_frame(), Ok(None));
            deliver(&mut buffer, &mut rest);
            let come = wire.len() - rest.len();
            assert!(buffer.allocated <= 3 * come + RECEIVE_BUFFER_MIN, "{}", buffer.allocated);
        }
        assert!(buffer.next_frame().expect("good").is_some());
    }

    #[test]
    fn a_connection_that_has_sent_large_frames_gets_the_next_one_in_two_reads() {
        let mut buffer = ReceiveBuffer::new(MAX, Rc::default());
        let wire = frame(1 << 20, 1);
        let mut reads = 0;
        for round in 0..2 {
            let mut rest = &wire[..];
            reads = 0;
            while !rest.is_empty() {
                assert_eq!(buffer.next_frame(), Ok(None));
                deliver(&mut buffer, &mut rest);
                reads += 1;
            }
            assert!(buffer.next_frame().expect("good").is_some(), "round {round}");
        }
        assert_eq!(reads, 2);
    }

    #[test]
    fn a_connection_at_rest_after_a_burst_gives_its_memory_back() {
        let mut buffer = ReceiveBuffer::new(MAX, Rc::default());
        let wire = frame(8 << 20, 1);
        let mut rest = &wire[..];
        while !rest.is_empty() {
            deliver(&mut buffer, &mut rest);
        }
        drop(buffer.next_frame().expect("good").expect("whole"));
        let room = deliver(&mut buffer, &mut &[][..]);
        assert!(room <= RECEIVE_BUFFER_MAX && buffer.allocated <= RECEIVE_BUFFER_MAX);
        for _ in 0..200 {
            deliver(&mut buffer, &mut &frame(10, 1)[..]);
            drop(buffer.next_frame().expect("good").expect("whole"));
        }
        deliver(&mut buffer, &mut &[][..]);
        assert!(buffer.allocated <= 2 * RECEIVE_BUFFER_MIN, "{}", buffer.allocated);
    }
}
