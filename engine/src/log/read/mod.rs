//! Reading: from the tail cache where the batches still are in memory, else from the file.
//!
//! ```text
//!            placed in the file       pinned in the tail cache
//!  |------------------------------|------------------------------|
//!  start                          in_file                      durable
//!     '-- evicted --'-- cached --------------------------------'
//!          cold           read_cached
//! ```
//!
//! A cold read looks at nothing of the active segment that is not placed in its file; what comes
//! after that is always cached.

mod ahead;
mod cached;
mod cold;
mod gather;

use crate::error::ReadError;
use crate::io::Io;
use crate::log::{Log, Slices};
use crate::offset::Offset;

/// How much a read may give.
#[derive(Debug, Clone, Copy)]
struct ReadLimits {
    /// All batches end here or before.
    visible_end: Offset,
    max_bytes: usize,
    /// The first batch may be larger than `max_bytes`.
    at_least_one: bool,
}

impl ReadLimits {
    /// Whether a batch of `total` bytes may follow `length` bytes of others.
    const fn allow(&self, length: usize, total: usize) -> bool {
        (self.at_least_one && length == 0) || length + total <= self.max_bytes
    }
}

impl<I: Io> Log<I> {
    /// Reads whole batches from memory: the first holds `from`, all end at or before
    /// `visible_end` and the durable end. `None` if they are not all in memory, or there are none; then
    /// [`Log::read`] knows more.
    ///
    /// At most `max_bytes`, except that `at_least_one` gives the first batch whatever its size.
    /// No system call; no allocation for up to four pieces, except once per buffer for what
    /// shares it.
    #[must_use]
    pub fn read_cached(
        &self,
        from: Offset,
        visible_end: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Option<Slices> {
        let limits = ReadLimits { visible_end, max_bytes, at_least_one };
        let slices = self.inner.read_cached(from, limits)?;
        self.inner.shard.cache().count_hit();
        Some(slices)
    }

    /// Reads whole batches, from memory or from disk: the first holds `from`, all end at or
    /// before `visible_end` and the durable end.
    ///
    /// Empty if `from` is at or above `visible_end` and not out of range, or if the first batch is
    /// larger than `max_bytes` and `at_least_one` is not set. One call gives what is together in
    /// memory, or one read of a file of at most [`READ_BYTES_MAX`] bytes; it may be less than
    /// `max_bytes` though more follows.
    ///
    /// Batches from disk are checked: damage is an error, and never served. What comes before it
    /// is. Safe to drop.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ReadError::OutOfRange`] below the log's start or above its durable end.
    ///
    /// [`READ_BYTES_MAX`]: crate::limits::READ_BYTES_MAX
    pub async fn read(
        &self,
        from: Offset,
        visible_end: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Slices, ReadError> {
        if let Some(slices) = self.read_cached(from, visible_end, max_bytes, at_least_one) {
            return Ok(slices);
        }
        self.inner.shard.cache().count_miss();
        self.read_cold(from, ReadLimits { visible_end, max_bytes, at_least_one }).await
    }
}
