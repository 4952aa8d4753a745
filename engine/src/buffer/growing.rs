//! A buffer that is still filled while what it holds already is read and copied.

use std::ops::Deref;

use super::handle::{Buffer, BufferMut};

/// The one writer of a buffer that has readers.
///
/// Bytes are only ever added behind those that are there, so what [`GrowingBuffer::share`] gives
/// never changes, and grows with the buffer. After [`GrowingBuffer::freeze`] nothing is added.
pub(crate) struct GrowingBuffer {
    buffer: Buffer,
}

impl GrowingBuffer {
    pub(crate) fn new(buffer: BufferMut) -> Self {
        Self { buffer: buffer.into_growing() }
    }

    /// Bytes the buffer can hold.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Bytes that still fit.
    pub(crate) fn spare(&self) -> usize {
        self.capacity() - self.len()
    }

    /// Adds a copy of both pieces, one behind the other, which `change` may alter before anybody
    /// sees it.
    ///
    /// # Panics
    ///
    /// If more than [`GrowingBuffer::spare`] are given.
    pub(crate) fn append<R>(
        &mut self,
        pieces: [&[u8]; 2],
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let (bytes, spare) = (pieces[0].len() + pieces[1].len(), self.spare());
        assert!(bytes <= spare, "{bytes} bytes do not fit into {spare} bytes");
        // SAFETY: `self` is the only writer, and the bytes past the length have no reader.
        unsafe { self.buffer.grow(pieces, change) }
    }

    /// A handle that sees all that is in the buffer, now and later.
    pub(crate) fn share(&self) -> Buffer {
        self.buffer.clone()
    }

    /// Ends all change.
    pub(crate) fn freeze(self) -> Buffer {
        // SAFETY: `self` was the only writer, and is gone.
        unsafe { self.buffer.finish() };
        self.buffer
    }
}

impl Deref for GrowingBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}
