//! What the logs of one thread share: the backend, the buffers, the tail cache, and what is kept
//! at hand of their segments.

use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::time::Duration;

pub use crate::ahead::ReadAheadStats;
pub use crate::cache::CacheStats;
pub use crate::segment::store::SegmentStats;

use crate::ahead::Ahead;
use crate::buffer::{BufferMut, BufferPool};
use crate::cache::TailCache;
use crate::error::{IoFailure, OpenError};
use crate::io::Io;
use crate::journal::{Journal, JournalSettings, ReplayReport};
use crate::linger::Linger;
use crate::log::wait::WakeOnDrop;
use crate::offset::Offset;
use crate::reclaim::Reclaim;
use crate::segment::store::SegmentStore;
use crate::writer::Writer;

/// The memory and open files of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardSettings {
    /// Bytes of memory for all buffers: batches on their way to disk, cached ones, cold reads.
    /// At the bound, reservations and cold reads wait.
    pub buffer_pool_bytes: usize,
    /// Bytes of those that may hold batches which are on disk already, to answer reads at the
    /// tail. Batches that are not yet durable are held beyond it.
    pub cache_bytes: usize,
    /// Files of segments that are kept open while nobody reads them, and as many of active
    /// segments while nobody appends; at least one. At the bound the one not used for the longest
    /// is closed, and opened again when it is needed.
    pub open_files_max: usize,
    /// Bytes of memory for the indexes of sealed segments, or those of one segment if they are
    /// larger. At the bound the ones not used for the longest go, and are loaded again from their
    /// files when they are needed.
    pub index_cache_bytes: usize,
    /// Bytes of buffers for what readers of files will want next, at most a quarter of
    /// [`buffer_pool_bytes`](Self::buffer_pool_bytes). At the bound further readers are not read
    /// ahead for. They go first when somebody wants a buffer.
    pub read_ahead_bytes: usize,
    /// Time for which an append may be held back while the device is idle, so that others join its
    /// write; shorter when 64 KiB have come. Zero: none is. What comes while a write is in flight
    /// joins the next one in any case, and is not held back.
    pub linger: Duration,
}

impl Default for ShardSettings {
    fn default() -> Self {
        Self {
            buffer_pool_bytes: 256 * 1024 * 1024,
            cache_bytes: 128 * 1024 * 1024,
            open_files_max: 1024,
            index_cache_bytes: 16 * 1024 * 1024,
            read_ahead_bytes: 32 * 1024 * 1024,
            linger: Duration::ZERO,
        }
    }
}

/// What the logs of one thread share. Cloning is cheap and gives another handle to the same
/// shard.
pub struct Shard<I: Io> {
    inner: Rc<Inner<I>>,
}

struct Inner<I: Io> {
    io: I,
    memory: Memory<I>,
    writer: Writer<I>,
    journal: Option<Journal<I>>,
    linger: Linger<I>,
    reclaim: Rc<Reclaim>,
    /// Tells the tasks that the shard is gone.
    _wake: [Option<WakeOnDrop>; 2],
    /// Bytes that tasks wait for in [`Shard::acquire`].
    wanted: Cell<usize>,
}

/// What is kept in memory, and open, for the logs.
struct Memory<I: Io> {
    pool: BufferPool,
    cache: TailCache,
    segments: Rc<SegmentStore<I::File>>,
    ahead: Rc<Ahead<I>>,
}

impl<I: Io> Memory<I> {
    fn new(settings: ShardSettings) -> Self {
        let pool = BufferPool::new(settings.buffer_pool_bytes);
        let cache = TailCache::new(settings.cache_bytes);
        let read_ahead_bytes = settings.read_ahead_bytes.min(settings.buffer_pool_bytes / 4);
        let ahead = Rc::new(Ahead::new(&pool, read_ahead_bytes));
        // The pool must not keep alive what holds its buffers.
        let (cached, read_ahead) = (cache.clone(), Rc::downgrade(&ahead));
        pool.set_reclaimer(Box::new(move |bytes| {
            let freed = read_ahead.upgrade().map_or(0, |ahead| ahead.evict(bytes));
            if freed < bytes {
                cached.evict(bytes - freed);
            }
        }));
        let files_max = settings.open_files_max.max(1);
        let segments = Rc::new(SegmentStore::new(files_max, settings.index_cache_bytes));
        Self { pool, cache, segments, ahead }
    }
}

impl<I: Io> Clone for Memory<I> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            cache: self.cache.clone(),
            segments: Rc::clone(&self.segments),
            ahead: Rc::clone(&self.ahead),
        }
    }
}

impl<I: Io> Inner<I> {
    fn new(io: I, memory: Memory<I>, journal: Option<Journal<I>>, linger: Duration) -> Self {
        let writer = Writer::new();
        let journal_signal = journal.as_ref().map(|journal| Rc::clone(journal.signal()));
        let wake =
            [Some(Rc::clone(&writer.signal)), journal_signal].map(|signal| signal.map(WakeOnDrop));
        let linger = Linger::new(linger);
        let (reclaim, wanted) = (Rc::default(), Cell::new(0));
        Self { io, memory, writer, journal, linger, reclaim, _wake: wake, wanted }
    }
}

/// A shard that does not keep what is in it alive.
pub(crate) struct WeakShard<I: Io> {
    inner: Weak<Inner<I>>,
}

impl<I: Io> Clone for WeakShard<I> {
    fn clone(&self) -> Self {
        Self { inner: Weak::clone(&self.inner) }
    }
}

impl<I: Io> WeakShard<I> {
    pub(crate) fn upgrade(&self) -> Option<Shard<I>> {
        self.inner.upgrade().map(|inner| Shard { inner })
    }
}

impl<I: Io> Shard<I> {
    /// A shard on this backend, without a journal: every log writes to its own segment.
    #[must_use]
    pub fn new(io: I, settings: ShardSettings) -> Self {
        Self { inner: Rc::new(Inner::new(io, Memory::new(settings), None, settings.linger)) }
    }

    /// A shard on this backend whose logs below [`JournalSettings::root`] share a journal, so that
    /// small appends to many logs cost one write.
    ///
    /// What an earlier life of the journal holds and the logs do not is put into their segments
    /// first: no log below the root may be open meanwhile, and none be opened without this having
    /// been done for every journal of that root. Costs reading the journal, and writing and
    /// syncing what was not placed: at most the journal's size of each.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing is lost then, and the next try begins anew.
    pub async fn open(
        io: I,
        settings: ShardSettings,
        journal: JournalSettings,
    ) -> Result<(Self, ReplayReport), OpenError> {
        let base = Self::new(io, settings);
        let (journal, report) = Journal::open(base.clone(), journal).await?;
        let Inner { io, memory, linger, .. } = &*base.inner;
        let linger = linger.duration();
        let inner = Inner::new(io.clone(), memory.clone(), Some(journal), linger);
        Ok((Self { inner: Rc::new(inner) }, report))
    }

    pub(crate) fn downgrade(&self) -> WeakShard<I> {
        WeakShard { inner: Rc::downgrade(&self.inner) }
    }

    pub(crate) fn writer(&self) -> &Writer<I> {
        &self.inner.writer
    }

    pub(crate) fn linger(&self) -> &Linger<I> {
        &self.inner.linger
    }

    pub(crate) fn reclaim(&self) -> &Rc<Reclaim> {
        &self.inner.reclaim
    }

    pub(crate) fn journal(&self) -> Option<&Journal<I>> {
        self.inner.journal.as_ref()
    }

    /// Notes for good that the journal need not keep anything of the log in `dir`: for one that is
    /// about to be removed by other means than [`Log::delete`](crate::log::Log::delete) or
    /// [`Log::remove`](crate::log::Log::remove) though it could not be closed. Otherwise what it
    /// left in the journal would be written to a log of the same name after a crash. Costs one
    /// write of the journal, if that holds anything of the log.
    ///
    /// # Errors
    ///
    /// The failure that made the journal read-only.
    pub async fn forget(&self, dir: &Path) -> Result<(), IoFailure> {
        self.settled(dir, None).await
    }

    /// Notes for good that what the journal holds of a log's segments below `below` (of all of
    /// them, for `None`) counts no more: it is on stable storage in the segments, or is about to
    /// go. To be called before bytes of those segments change or vanish in any other way.
    pub(crate) async fn settled(&self, dir: &Path, below: Option<Offset>) -> Result<(), IoFailure> {
        match self.journal() {
            Some(journal) => journal.settle(self, dir, below).await,
            None => Ok(()),
        }
    }

    /// The backend.
    #[must_use]
    pub fn io(&self) -> &I {
        &self.inner.io
    }

    /// The buffers.
    #[must_use]
    pub fn pool(&self) -> &BufferPool {
        &self.inner.memory.pool
    }

    /// How full the tail cache is and how well it answers.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.inner.memory.cache.stats()
    }

    /// How many files of segments are open and how much memory their indexes take.
    #[must_use]
    pub fn segment_stats(&self) -> SegmentStats {
        self.inner.memory.segments.stats()
    }

    /// How much is read ahead and how well that serves.
    #[must_use]
    pub fn read_ahead_stats(&self) -> ReadAheadStats {
        self.inner.memory.ahead.stats()
    }

    pub(crate) fn ahead(&self) -> &Rc<Ahead<I>> {
        &self.inner.memory.ahead
    }

    pub(crate) fn segments(&self) -> &SegmentStore<I::File> {
        &self.inner.memory.segments
    }

    pub(crate) fn cache(&self) -> &TailCache {
        &self.inner.memory.cache
    }

    /// A buffer, waited for if need be. The caller must hold no other buffer while it waits.
    pub(crate) async fn acquire(&self, capacity: usize) -> BufferMut {
        if let Some(buffer) = self.inner.memory.pool.try_acquire(capacity) {
            return buffer;
        }
        let _wanted = Wanted::new(&self.inner.wanted, capacity);
        if let Some(journal) = self.journal() {
            journal.press();
        }
        self.inner.memory.pool.acquire(capacity).await
    }

    /// Called when cached batches may go: if somebody waits for memory, they do.
    pub(crate) fn unpinned(&self) {
        let wanted = self.inner.wanted.get();
        if wanted > 0 {
            self.inner.memory.cache.evict(wanted);
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
            .field("pool", &self.inner.memory.pool)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, BatchOptions, CheckedBatch};
    use crate::io::sim::SimIo;
    use crate::log::{Log, LogSettings, Stamp};
    use crate::offset::Timestamp;

    async fn open(io: &SimIo, has_journal: bool) -> (Shard<SimIo>, Log<SimIo>) {
        let settings = ShardSettings::default();
        let shard = if has_journal {
            let journal = JournalSettings::new("/data/journal", "/data");
            Shard::open(io.clone(), settings, journal).await.unwrap().0
        } else {
            Shard::new(io.clone(), settings)
        };
        let opened = Log::open(&shard, Path::new("/data/a-0"), LogSettings::default()).await;
        (shard, opened.unwrap().0)
    }

    /// Has the log written, by those who wait for it and by those who do not, and waits for neither.
    async fn append(log: &Log<SimIo>) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(Timestamp::from_millis(1), None, Some(b"value"), &[]);
        let bytes = builder.finish().unwrap();
        let batch = CheckedBatch::check(&bytes).unwrap();
        let reservation = log.reserve(bytes.len()).await.unwrap();
        log.append(reservation, &batch, Stamp::default()).unwrap();
        log.inner.kick_later();
    }

    #[test]
    fn a_shard_does_not_outlive_its_tasks_though_its_logs_wait_for_writes() {
        for (has_journal, is_begun) in [(false, false), (false, true), (true, false), (true, true)]
        {
            let io = SimIo::new(1);
            let (shard, log) = io.run(open(&io, has_journal));
            io.run(append(&log));
            if is_begun {
                let never = io.run_operations(std::future::pending::<()>(), 0);
                assert_eq!(never, None);
            }
            drop(io.kill());
            // What comes too late does not keep it either.
            io.run(append(&log));
            let weak = shard.downgrade();
            drop((shard, log));
            let is_gone = weak.upgrade().is_none();
            assert!(is_gone, "with a journal: {has_journal}, the write is under way: {is_begun}");
        }
    }
}
