//! Answers on their way to the kernel: gathered, sent in one call, partial writes carried on.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use ringlog_engine::io::uring::UringStream;

use crate::limits::{SEND_BYTES_MAX, SEND_COPY_MAX, SEND_PARTS_MAX};

/// What is to be sent, in order.
///
/// Parts of up to [`SEND_COPY_MAX`] bytes that stand side by side are copied together, which costs
/// less than to hand each to the kernel; larger parts are never copied.
#[derive(Default)]
pub(super) struct Output {
    parts: VecDeque<Bytes>,
    /// Small parts being copied together; they come after all of `parts`.
    small: BytesMut,
    bytes: usize,
    /// Reused by every vectored send.
    vector: Vec<Bytes>,
}

impl Output {
    /// Adds one answer.
    pub(super) fn push(&mut self, answer: Vec<Bytes>) {
        for part in answer {
            self.push_part(part);
        }
    }

    fn push_part(&mut self, part: Bytes) {
        self.bytes += part.len();
        if part.is_empty() {
            return;
        }
        if part.len() > SEND_COPY_MAX {
            self.settle_small();
            self.parts.push_back(part);
        } else if !self.small.is_empty() {
            self.small.extend_from_slice(&part);
        } else if self.parts.back().is_some_and(|last| last.len() <= SEND_COPY_MAX) {
            // Two small ones side by side: from here on they are copied together.
            let last = self.parts.pop_back().expect("it was just looked at");
            self.small.extend_from_slice(&last);
            self.small.extend_from_slice(&part);
        } else {
            self.parts.push_back(part);
        }
    }

    fn settle_small(&mut self) {
        if !self.small.is_empty() {
            self.parts.push_back(self.small.split().freeze());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether it should leave before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= SEND_BYTES_MAX || self.parts.len() >= SEND_PARTS_MAX
    }

    /// Sends everything. `progressed` is called whenever the kernel has taken some bytes.
    ///
    /// # Errors
    ///
    /// The socket's; then some bytes may have left, and the connection is of no more use.
    pub(super) async fn send(
        &mut self,
        stream: &UringStream,
        mut progressed: impl FnMut(),
    ) -> io::Result<()> {
        self.settle_small();
        while !self.parts.is_empty() {
            let sent = if self.parts.len() == 1 {
                let part = self.parts.pop_front().expect("there is one");
                let (sent, part) = stream.send(part).await;
                self.parts.push_front(part);
                sent?
            } else {
                let count = self.parts.len().min(SEND_PARTS_MAX);
                let mut vector = std::mem::take(&mut self.vector);
                vector.extend(self.parts.drain(..count));
                let (sent, mut vector) = stream.send_vectored(vector).await;
                // Back to the front, in order, and then cut by what was sent.
                while let Some(part) = vector.pop() {
                    self.parts.push_front(part);
                }
                self.vector = vector;
                sent?
            };
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(sent);
            progressed();
        }
        Ok(())
    }

    fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent;
        while let Some(first) = self.parts.front_mut() {
            if sent < first.len() {
                first.advance(sent);
                return;
            }
            sent -= first.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(output: &mut Output) -> Vec<usize> {
        output.settle_small();
        output.parts.iter().map(Bytes::len).collect()
    }

    #[test]
    fn small_parts_are_copied_together_and_large_ones_are_left_where_they_are() {
        let large = Bytes::from(vec![1; SEND_COPY_MAX + 1]);
        let small = Bytes::from_static(b"small");
        let mut output = Output::default();
        output.push(vec![small.clone(), small.clone()]);
        output.push(vec![small.clone(), large.clone(), Bytes::new(), small.clone()]);
        output.push(vec![small.clone()]);
        assert_eq!(lengths(&mut output), [15, SEND_COPY_MAX + 1, 10]);
        assert_eq!(output.parts[1].as_ptr(), large.as_ptr());
        assert_eq!(output.bytes, SEND_COPY_MAX + 1 + 25);
    }

    #[test]
    fn one_small_part_alone_is_not_copied() {
        let small = Bytes::from_static(b"small");
        let mut output = Output::default();
        output.push(vec![small.clone()]);
        assert_eq!(output.parts[0].as_ptr(), small.as_ptr());
    }

    #[test]
    fn what_a_partial_write_took_is_cut_off_wherever_it_ended() {
        let whole: Vec<u8> = (0..3 * SEND_COPY_MAX).map(|n| n.to_le_bytes()[0]).collect();
        for step in [1, 5, SEND_COPY_MAX - 1, SEND_COPY_MAX + 1, 3 * SEND_COPY_MAX] {
            let mut output = Output::default();
            let all = Bytes::from(whole.clone());
            let middle = 2 * SEND_COPY_MAX + 1;
            output.push(vec![all.slice(..3), all.slice(3..middle), all.slice(middle..)]);
            output.settle_small();
            let mut taken = Vec::new();
            while !output.is_empty() {
                let rest: Vec<u8> = output.parts.iter().flatten().copied().collect();
                let now = step.min(rest.len());
                taken.extend_from_slice(&rest[..now]);
                output.advance(now);
            }
            assert!(output.parts.is_empty());
            assert_eq!(taken, whole);
        }
    }
}
