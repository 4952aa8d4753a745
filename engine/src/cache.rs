//! The tail cache: the buffers that were appended, kept for those who read at the tail.
//!
//! Each log keeps its own cached buffers in order, as [`Chunks`]. The shard's [`TailCache`] knows
//! them all in the order in which they came and evicts the oldest when its budget is spent.
//! Buffers with batches that are not durable yet, or in no segment's file yet, are never evicted.
//!
//! ```text
//! position        block                 block                 block
//!   |-- chunk ------|---------------------|---.                 |
//!                                         |-- : -- next chunk --|--- ...
//!                                             ^ where its batches begin
//! ```
//!
//! A chunk begins at a block. If its first batch begins later, it repeats the bytes before it, so
//! that it can be written as whole blocks. The last chunk of a log may be the buffer that is being
//! filled, and grows with it.
//!
//! When a log's last chunk is evicted, its last block stays if it is partly filled: the next append
//! writes it again, and would have to read it back from the disk. Such blocks may take half of the
//! budget, and the oldest go.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use crate::buffer::{Buffer, BufferPool};
use crate::limits::BLOCK;
use crate::offset::Offset;

/// Buffers looked at for each new one when the budget is exceeded. Where ten thousand logs have one
/// each that must stay, a look at all of them would cost every append more than its write.
const EVICTION_TRIES: usize = 64;

/// The part of the budget that last blocks may take.
const LAST_BLOCKS_SHARE: usize = 2;

/// Entries of chunks that are gone which a queue may hold in any case.
const SLACK: usize = 64;

/// How full a tail cache is and how well it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Bytes of memory cached buffers hold.
    pub used_bytes: usize,
    /// Bytes they may hold, apart from batches that are not durable or in no segment's file yet.
    pub budget_bytes: usize,
    /// Reads answered from the cache.
    pub hits: u64,
    /// Reads that went to a file.
    pub misses: u64,
    /// Buffers evicted so far.
    pub evicted: u64,
}

/// A buffer of a log's tail.
#[derive(Debug)]
pub(crate) struct Chunk {
    id: u64,
    pub(crate) segment_base: Offset,
    /// Where in the segment the buffer begins; a multiple of the block.
    pub(crate) position: u64,
    /// Where the first batch begins that is wholly in the buffer.
    pub(crate) data_position: u64,
    pub(crate) first_offset: Offset,
    pub(crate) end_offset: Offset,
    pub(crate) buffer: Buffer,
}

impl Chunk {
    /// Where the chunk's batches end.
    pub(crate) fn end_position(&self) -> u64 {
        self.position + self.buffer.len() as u64
    }

    /// Whether no batch is wholly in it: it is what is left of a log's last chunk.
    fn is_last_block(&self) -> bool {
        self.first_offset == self.end_offset
    }

    /// The bytes from `position` on.
    pub(crate) fn from(&self, position: u64) -> &[u8] {
        let lead = usize::try_from(position - self.position).unwrap_or(usize::MAX);
        self.buffer.get(lead..).unwrap_or(&[])
    }
}

/// What a log gives into the cache.
pub(crate) struct NewChunk {
    pub(crate) segment_base: Offset,
    pub(crate) position: u64,
    pub(crate) data_position: u64,
    pub(crate) first_offset: Offset,
    pub(crate) end_offset: Offset,
    pub(crate) buffer: Buffer,
}

/// One log's cached buffers, oldest first. Between two of them there is a gap only where the log
/// was truncated.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    list: VecDeque<Chunk>,
    evictable: Offset,
}

impl Chunks {
    pub(crate) fn last(&self) -> Option<&Chunk> {
        self.list.back()
    }

    /// The chunk that holds the batch of this offset, and those after it.
    pub(crate) fn holding(&self, offset: Offset) -> impl Iterator<Item = &Chunk> {
        let index = self.list.partition_point(|chunk| chunk.end_offset <= offset);
        let held = self.list.get(index).is_some_and(|chunk| chunk.first_offset <= offset);
        self.list.range(if held { index } else { self.list.len() }..)
    }

    /// Below this, chunks may be evicted.
    pub(crate) fn set_evictable(&mut self, end: Offset) {
        self.evictable = end;
    }

    /// Batches were added to the last chunk's buffer.
    pub(crate) fn grow_last(&mut self, end: Offset) {
        if let Some(last) = self.list.back_mut() {
            last.end_offset = end;
        }
    }
}

/// All logs' cached buffers. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct TailCache {
    inner: Rc<Inner>,
}

struct Inner {
    budget: usize,
    used: Cell<usize>,
    taken: Cell<u64>,
    live: Cell<usize>,
    next_id: Cell<u64>,
    queue: RefCell<VecDeque<Entry>>,
    /// The same of last blocks.
    last_blocks_live: Cell<usize>,
    last_blocks: RefCell<VecDeque<Entry>>,
    hits: Cell<u64>,
    misses: Cell<u64>,
    evicted: Cell<u64>,
}

struct Entry {
    owner: Weak<RefCell<Chunks>>,
    id: u64,
}

impl TailCache {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            inner: Rc::new(Inner {
                budget,
                used: Cell::new(0),
                taken: Cell::new(0),
                live: Cell::new(0),
                next_id: Cell::new(0),
                queue: RefCell::default(),
                last_blocks_live: Cell::new(0),
                last_blocks: RefCell::default(),
                hits: Cell::new(0),
                misses: Cell::new(0),
                evicted: Cell::new(0),
            }),
        }
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats {
            used_bytes: self.inner.used.get(),
            budget_bytes: self.inner.budget,
            hits: self.inner.hits.get(),
            misses: self.inner.misses.get(),
            evicted: self.inner.evicted.get(),
        }
    }

    pub(crate) fn count_hit(&self) {
        self.inner.hits.set(self.inner.hits.get() + 1);
    }

    pub(crate) fn count_miss(&self) {
        self.inner.misses.set(self.inner.misses.get() + 1);
    }

    /// Adds the newest buffer of a log. One that begins where the log's last one begins holds all
    /// of that one, and takes its place; a last block goes in any case, also one that was not gone on
    /// with because its segment is sealed. Memory for what stays of others comes from `pool`.
    pub(crate) fn push(&self, pool: &BufferPool, owner: &Rc<RefCell<Chunks>>, new: NewChunk) {
        let mut chunks = owner.borrow_mut();
        let replaced = chunks.list.pop_back_if(|last| {
            let is_same = last.segment_base == new.segment_base && last.position == new.position;
            is_same || last.is_last_block()
        });
        if let Some(old) = &replaced {
            self.release(old);
        }
        let (id, data_position, first_offset) = match replaced.filter(|old| !old.is_last_block()) {
            Some(old) => (old.id, old.data_position, old.first_offset),
            None => {
                let id = self.enter(&self.inner.queue, owner);
                (id, new.data_position, new.first_offset)
            }
        };
        debug_assert!(chunks.list.back().is_none_or(|last| last.end_offset <= first_offset));
        self.inner.taken.set(self.inner.taken.get() + new.buffer.held_bytes() as u64);
        let chunk = Chunk {
            id,
            segment_base: new.segment_base,
            position: new.position,
            data_position,
            first_offset,
            end_offset: new.end_offset,
            buffer: new.buffer,
        };
        self.count(&chunk);
        chunks.list.push_back(chunk);
        drop(chunks);
        let over = self.inner.used.get().saturating_sub(self.inner.budget);
        if over > 0 {
            self.evict_within(Some(pool), over, EVICTION_TRIES);
            while self.is_over() && self.evict_last_block() {}
        }
    }

    fn enter(&self, queue: &RefCell<VecDeque<Entry>>, owner: &Rc<RefCell<Chunks>>) -> u64 {
        let id = self.inner.next_id.get();
        self.inner.next_id.set(id + 1);
        queue.borrow_mut().push_back(Entry { owner: Rc::downgrade(owner), id });
        id
    }

    /// Bytes of all buffers that were ever added.
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.inner.taken.get()
    }

    /// Whether the budget is exceeded by what must stay.
    pub(crate) fn is_over(&self) -> bool {
        self.inner.used.get() > self.inner.budget
    }

    /// Lets go of the oldest buffers until `bytes` are given back or only batches are left that
    /// must stay.
    pub(crate) fn evict(&self, bytes: usize) {
        let target = self.inner.used.get().saturating_sub(bytes);
        let all = self.inner.queue.borrow().len();
        self.evict_within(None, bytes, all);
        while self.inner.used.get() > target && self.evict_last_block() {}
    }

    /// The same of buffers, but it looks at `tries` of them at most, and keeps last blocks in memory
    /// of `pool`.
    fn evict_within(&self, pool: Option<&BufferPool>, bytes: usize, mut tries: usize) {
        let target = self.inner.used.get().saturating_sub(bytes);
        while self.inner.used.get() > target && tries > 0 {
            tries -= 1;
            let Some(entry) = self.inner.queue.borrow_mut().pop_front() else { return };
            let Some(owner) = entry.owner.upgrade() else { continue };
            let mut chunks = owner.borrow_mut();
            // A chunk that its log has let go of has left its entry behind.
            if !chunks.list.iter().any(|chunk| chunk.id == entry.id) {
                continue;
            }
            // An entry that had to wait may stand behind a later one of its log; whichever comes
            // up, it is the log's oldest that goes, and its entry that stays.
            let Some(oldest) = chunks.list.front() else { continue };
            if oldest.end_offset > chunks.evictable || oldest.id != entry.id {
                drop(chunks);
                self.inner.queue.borrow_mut().push_back(entry);
                continue;
            }
            let freed = chunks.list.pop_front();
            let is_last = chunks.list.is_empty();
            drop(chunks);
            if let Some(chunk) = freed {
                self.release(&chunk);
                self.inner.evicted.set(self.inner.evicted.get() + 1);
                if let Some(pool) = pool.filter(|_| is_last) {
                    self.keep_last_block(pool, &owner, chunk);
                }
            }
        }
    }

    /// Keeps what the next append to a log will write again, if that frees anything of the chunk's
    /// memory, and there is some for it.
    fn keep_last_block(&self, pool: &BufferPool, owner: &Rc<RefCell<Chunks>>, chunk: Chunk) {
        let end = chunk.end_position();
        let lead = end % BLOCK as u64;
        let most = self.inner.budget / LAST_BLOCKS_SHARE / BLOCK;
        if lead == 0 || most == 0 || chunk.buffer.held_bytes() <= BLOCK {
            return;
        }
        while self.inner.last_blocks_live.get() >= most && self.evict_last_block() {}
        let Some(mut buffer) = pool.try_acquire_spare(BLOCK) else { return };
        buffer.clear();
        buffer.extend_from_slice(chunk.from(end - lead));
        let last = Chunk {
            id: self.enter(&self.inner.last_blocks, owner),
            position: end - lead,
            data_position: end,
            first_offset: chunk.end_offset,
            buffer: buffer.freeze(),
            ..chunk
        };
        self.count(&last);
        owner.borrow_mut().list.push_back(last);
        sweep(&self.inner.last_blocks, self.inner.last_blocks_live.get());
    }

    /// Lets go of the oldest last block; `false` if there is none.
    fn evict_last_block(&self) -> bool {
        loop {
            let Some(entry) = self.inner.last_blocks.borrow_mut().pop_front() else { return false };
            let Some(owner) = entry.owner.upgrade() else { continue };
            let is_it = |last: &mut Chunk| last.id == entry.id;
            if let Some(chunk) = owner.borrow_mut().list.pop_back_if(is_it) {
                self.release(&chunk);
                return true;
            }
        }
    }

    /// Lets go of a log's buffers that hold offsets of `end` or later.
    pub(crate) fn cut(&self, owner: &Rc<RefCell<Chunks>>, end: Offset) {
        self.cut_if(owner, |last| last.end_offset > end);
    }

    /// Lets go of a log's buffers that hold nothing below `end`.
    pub(crate) fn cut_after(&self, owner: &Rc<RefCell<Chunks>>, end: Offset) {
        self.cut_if(owner, |last| last.first_offset >= end);
    }

    fn cut_if(&self, owner: &Rc<RefCell<Chunks>>, goes: impl Fn(&Chunk) -> bool) {
        while let Some(chunk) = owner.borrow_mut().list.pop_back_if(|last| goes(last)) {
            self.release(&chunk);
        }
        self.sweep();
    }

    /// Lets go of a log's buffers that hold nothing of `start` or later, but not of those that must
    /// stay: what is on its way to the disk is still needed for that.
    pub(crate) fn cut_before(&self, owner: &Rc<RefCell<Chunks>>, start: Offset) {
        let mut chunks = owner.borrow_mut();
        let end = start.min(chunks.evictable);
        while let Some(chunk) = chunks.list.pop_front_if(|first| first.end_offset <= end) {
            self.release(&chunk);
        }
        drop(chunks);
        self.sweep();
    }

    /// A chunk has come.
    fn count(&self, chunk: &Chunk) {
        self.inner.used.set(self.inner.used.get() + chunk.buffer.held_bytes());
        let live = self.live(chunk);
        live.set(live.get() + 1);
    }

    /// A chunk has gone.
    fn release(&self, chunk: &Chunk) {
        self.inner.used.set(self.inner.used.get() - chunk.buffer.held_bytes());
        let live = self.live(chunk);
        live.set(live.get() - 1);
    }

    fn live(&self, chunk: &Chunk) -> &Cell<usize> {
        if chunk.is_last_block() { &self.inner.last_blocks_live } else { &self.inner.live }
    }

    fn sweep(&self) {
        sweep(&self.inner.queue, self.inner.live.get());
        sweep(&self.inner.last_blocks, self.inner.last_blocks_live.get());
    }
}

/// Forgets the entries of chunks that are gone, once they are more than those of the `live` chunks
/// that are there: so a queue is bounded, and a chunk's share of the work is small.
fn sweep(queue: &RefCell<VecDeque<Entry>>, live: usize) {
    if queue.borrow().len() <= 2 * live + SLACK {
        return;
    }
    queue.borrow_mut().retain(|entry| {
        let is_there = |owner: Rc<RefCell<Chunks>>| {
            owner.borrow().list.iter().any(|chunk| chunk.id == entry.id)
        };
        entry.owner.upgrade().is_some_and(is_there)
    });
}
