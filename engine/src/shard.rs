//! What the logs of one thread share: the backend, the buffers, the tail cache.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::buffer::{BufferMut, BufferPool};
use crate::cache::{CacheStats, TailCache};
use crate::io::Io;

/// The memory of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardSettings {
    /// Bytes of memory for all buffers: batches on their way to disk, cached ones, cold reads.
    /// At the bound, reservations and cold reads wait.
    pub buffer_pool_bytes: usize,
    /// Bytes of those that may hold batches which are on disk already, to answer reads at the
    /// tail. Batches that are not yet durable are held beyond it.
    pub cache_bytes: usize,
}

impl Default for ShardSettings {
    fn default() -> Self {
        Self { buffer_pool_bytes: 256 * 1024 * 1024, cache_bytes: 128 * 1024 * 1024 }
    }
}

/// What the logs of one thread share. Cloning is cheap and gives another handle to the same
/// shard.
pub struct Shard<I: Io> {
    inner: Rc<Inner<I>>,
}

struct Inner<I> {
    io: I,
    pool: BufferPool,
    cache: TailCache,
    /// Bytes that tasks wait for in [`Shard::acquire`].
    wanted: Cell<usize>,
}

impl<I: Io> Shard<I> {
    /// A shard on this backend.
    #[must_use]
    pub fn new(io: I, settings: ShardSettings) -> Self {
        let pool = BufferPool::new(settings.buffer_pool_bytes);
        let cache = TailCache::new(settings.cache_bytes);
        let reclaimed = cache.clone();
        pool.set_reclaimer(Box::new(move |bytes| reclaimed.evict(bytes)));
        Self { inner: Rc::new(Inner { io, pool, cache, wanted: Cell::new(0) }) }
    }

    /// The backend.
    #[must_use]
    pub fn io(&self) -> &I {
        &self.inner.io
    }

    /// The buffers.
    #[must_use]
    pub fn pool(&self) -> &BufferPool {
        &self.inner.pool
    }

    /// How full the tail cache is and how well it answers.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.inner.cache.stats()
    }

    pub(crate) fn cache(&self) -> &TailCache {
        &self.inner.cache
    }

    /// A buffer, waited for if need be. The caller must hold no other buffer while it waits.
    pub(crate) async fn acquire(&self, capacity: usize) -> BufferMut {
        if let Some(buffer) = self.inner.pool.try_acquire(capacity) {
            return buffer;
        }
        let _wanted = Wanted::new(&self.inner.wanted, capacity);
        self.inner.pool.acquire(capacity).await
    }

    /// Called when cached batches became durable, and so may go: if somebody waits for memory,
    /// they do.
    pub(crate) fn unpinned(&self) {
        let wanted = self.inner.wanted.get();
        if wanted > 0 {
            self.inner.cache.evict(wanted);
        }
    }
}

impl<I: Io> Clone for Shard<I> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

impl<I: Io> fmt::Debug for Shard<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("pool", &self.inner.pool)
            .field("cache", &self.cache_stats())
            .finish()
    }
}

/// Counts the bytes a waiting task wants, for as long as it waits.
struct Wanted<'a> {
    total: &'a Cell<usize>,
    bytes: usize,
}

impl<'a> Wanted<'a> {
    fn new(total: &'a Cell<usize>, bytes: usize) -> Self {
        total.set(total.get() + bytes);
        Self { total, bytes }
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.total.set(self.total.get() - self.bytes);
    }
}
