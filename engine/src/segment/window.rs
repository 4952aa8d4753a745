//! A sliding view of a file through one pooled buffer.

use std::io;

use bytes::Bytes;

use crate::buffer::BufferMut;
use crate::io::{File, Io};
use crate::limits::{BLOCK, READ_BYTES_MAX};
use crate::shard::Shard;

/// The part of a file that is in memory now: one aligned buffer, read past the page cache.
pub(crate) struct Window<I: Io> {
    shard: Shard<I>,
    file: I::File,
    buffer: Option<BufferMut>,
    position: u64,
}

impl<I: Io> Window<I> {
    pub(crate) fn new(shard: &Shard<I>, file: I::File) -> Self {
        Self { shard: shard.clone(), file, buffer: None, position: 0 }
    }

    /// Reads at least `needed` bytes from `position` on, or as many as the file has; `usual` bytes
    /// if they fit into a pooled buffer. `ErrorKind::OutOfMemory` for more than the pool's budget.
    pub(crate) async fn load(
        &mut self,
        position: u64,
        needed: usize,
        usual: usize,
    ) -> io::Result<()> {
        let block = BLOCK as u64;
        let start = position - position % block;
        let lead = usize::try_from(position - start).unwrap_or(0);
        let wanted = lead.saturating_add(usual).min(READ_BYTES_MAX);
        let capacity = wanted.max(lead + needed).next_multiple_of(BLOCK);
        // A length on disk may be anything, and no pool can promise that.
        if capacity > self.shard.pool().budget() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // Whoever waits for a buffer must not hold one.
        let mut buffer = match self.buffer.take() {
            Some(buffer) if buffer.capacity() == capacity => buffer,
            other => {
                drop(other);
                self.shard.acquire(capacity).await
            }
        };
        buffer.clear();
        let (result, buffer) = self.file.read_at(buffer, start).await;
        self.position = start;
        self.buffer = Some(buffer);
        result
    }

    /// Lets go of the buffer; the next look loads again.
    pub(crate) fn release(&mut self) {
        self.buffer = None;
    }

    /// The bytes from `position` on that are loaded; empty if none are.
    pub(crate) fn from(&self, position: u64) -> &[u8] {
        let Some(buffer) = &self.buffer else { return &[] };
        position
            .checked_sub(self.position)
            .and_then(|lead| usize::try_from(lead).ok())
            .and_then(|lead| buffer.get(lead..))
            .unwrap_or(&[])
    }

    /// Gives the loaded bytes of `length` from `position` on away, uncopied.
    pub(crate) fn into_bytes(mut self, position: u64, length: usize) -> Option<Bytes> {
        let lead = usize::try_from(position.checked_sub(self.position)?).ok()?;
        let buffer = self.buffer.take()?.freeze();
        (lead + length <= buffer.len()).then(|| buffer.bytes(lead..lead + length))
    }
}
