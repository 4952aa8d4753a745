//! Aligned, pooled buffers: one owner while they change, shared and immutable once frozen.
//!
//! ```text
//!   BufferPool --acquire--> BufferMut --freeze--> Buffer --bytes--> bytes::Bytes
//!       ^                       |                    |                  |
//!       '----- same thread -----'--------------------'                  |
//!       '----- return stack, drained by the pool's thread --------------'
//! ```
//!
//! A [`BufferPool`] belongs to one thread and hands out memory for direct I/O: page aligned, in
//! whole blocks, cut from regions that a ring may have registered. A [`BufferMut`] is filled, then
//! [frozen](BufferMut::freeze); the frozen [`Buffer`] is written to disk and kept in the cache, and
//! [`Buffer::bytes`] lends parts of it to sockets on any thread. The memory goes back to its pool
//! when the last of all these is gone, without a lock. A log's newest buffer is read while it is
//! still filled: a `GrowingBuffer` adds bytes behind those that are shared already.
//!
//! **Invariant `buffer.padding_is_zero`**: from a frozen buffer's length up to the next multiple of
//! [`BLOCK`] its memory is zero. It is made by [`BufferMut::freeze`], and relied on by every
//! direct write.
//!
//! [`BLOCK`]: crate::limits::BLOCK

use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Poll, ready};

mod block;
mod growing;
mod handle;
mod pool;
mod region;
mod returns;

pub(crate) use self::block::FixedSlot;
pub(crate) use self::growing::GrowingBuffer;
pub use self::handle::{Buffer, BufferMut};
use self::pool::{Pool, Wait};

/// A ring that may know a pool's regions as fixed buffers.
pub(crate) trait Registrar {
    /// Registers a region; `None` if the ring or the memory limit refuses, and then no further
    /// region is offered.
    fn register(&self, address: NonNull<u8>, length: usize) -> Option<FixedSlot>;
    /// Forgets a region that is about to be unmapped.
    fn unregister(&self, fixed: FixedSlot);
}

/// A bounded source of buffers, for one thread. Cloning gives another handle to the same pool.
///
/// Memory is mapped in regions of [`BUFFER_REGION_BYTES`] as it is needed, and kept. A region
/// serves one size class of [`BUFFER_CLASSES_BYTES`] and may change it when it is wholly free. A
/// larger buffer has a region of its own, which is kept for the next one of about its size. When a
/// region is mapped and more than an eighth of the budget lies in free ones, as much of them goes.
/// Mapped memory never exceeds the budget.
///
/// The pool may be dropped before its buffers: memory stays mapped until the last is gone.
///
/// [`BUFFER_REGION_BYTES`]: crate::limits::BUFFER_REGION_BYTES
/// [`BUFFER_CLASSES_BYTES`]: crate::limits::BUFFER_CLASSES_BYTES
#[derive(Clone)]
pub struct BufferPool {
    inner: Rc<Pool>,
}

impl BufferPool {
    /// An empty pool that will map at most `budget_bytes`, and at least one region.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        Self { inner: Rc::new(Pool::new(budget_bytes.max(crate::limits::BUFFER_REGION_BYTES))) }
    }

    /// A buffer with room for `capacity` bytes, or `None` at the budget, after the
    /// [reclaimer](Self::set_reclaimer) had its chance.
    ///
    /// The buffer's capacity is `capacity` rounded up to a multiple of
    /// [`BLOCK`](crate::limits::BLOCK), and at least one. Its content is left over from earlier
    /// use. No allocation and no system call once the pool has grown to what its user needs, unless
    /// the sizes that it needs change by much.
    #[must_use]
    pub fn try_acquire(&self, capacity: usize) -> Option<BufferMut> {
        Pool::try_acquire(&self.inner, capacity)
    }

    /// A buffer for what would be good to have: `None` while somebody waits for memory, and where
    /// what somebody has would have to go for it, or be taken that is larger than needed.
    pub(crate) fn try_acquire_spare(&self, capacity: usize) -> Option<BufferMut> {
        Pool::try_acquire_spare(&self.inner, capacity)
    }

    /// As [`BufferPool::try_acquire`], but waits for buffers to come back. Waiters are served in
    /// the order in which they came. Safe to drop.
    ///
    /// # Panics
    ///
    /// If `capacity` exceeds the budget, because then it would wait for ever.
    pub async fn acquire(&self, capacity: usize) -> BufferMut {
        assert!(
            capacity <= self.budget(),
            "a buffer of {capacity} bytes exceeds the pool's budget of {} bytes",
            self.budget()
        );
        if !self.inner.has_waiters()
            && let Some(buffer) = self.try_acquire(capacity)
        {
            return buffer;
        }
        let mut wait = Wait::new(&self.inner);
        std::future::poll_fn(move |context| {
            ready!(wait.poll_turn(context));
            match Pool::try_acquire(&self.inner, capacity) {
                Some(buffer) => Poll::Ready(buffer),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Whether somebody waits in [`BufferPool::acquire`].
    pub(crate) fn has_waiters(&self) -> bool {
        self.inner.has_waiters()
    }

    /// Bytes of memory in buffers that are out.
    #[must_use]
    pub fn used(&self) -> usize {
        self.inner.used()
    }

    /// Bytes of memory mapped for buffers that are out and for later use; at most the budget.
    #[must_use]
    pub fn mapped(&self) -> usize {
        self.inner.mapped()
    }

    /// Bytes of memory the pool maps at most.
    #[must_use]
    pub fn budget(&self) -> usize {
        self.inner.budget()
    }

    /// Sets what is called, with the bytes wanted, before a buffer is refused or waited for: it
    /// lets go of buffers that can be had again, such as cached ones. It is called again while
    /// that makes [`BufferPool::used`] fall and the buffer still cannot be had. It must not acquire
    /// from this pool.
    pub fn set_reclaimer(&self, reclaim: Box<dyn Fn(usize)>) {
        self.inner.set_reclaimer(reclaim.into());
    }

    /// Offers all regions, those to come included, to a ring.
    pub(crate) fn set_registrar(&self, registrar: Rc<dyn Registrar>) {
        self.inner.set_registrar(registrar);
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("used", &self.used())
            .field("mapped", &self.mapped())
            .field("budget", &self.budget())
            .finish()
    }
}

#[cfg(test)]
mod tests;
