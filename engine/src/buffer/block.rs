//! One buffer's header, and the way home for buffers that are let go on another thread.

use std::cell::{Cell, UnsafeCell};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::task::Waker;

use bytes::Bytes;

use super::region::Memory;

/// The header of one buffer. It lives beside the memory it describes, at a fixed address, for as
/// long as the region does.
///
/// All fields but `next_returned` belong to the pool's thread.
pub(super) struct Block {
    /// The next block of the return stack; meaningful only while this block lies on it.
    next_returned: AtomicPtr<Block>,
    pub(super) address: NonNull<u8>,
    /// Bytes of memory from `address`.
    pub(super) size: usize,
    /// The region this block is cut from, and its place in it.
    pub(super) region: u32,
    pub(super) index: u16,
    /// Bytes the holder asked for, rounded up to whole [`crate::limits::BLOCK`]s.
    pub(super) capacity: Cell<usize>,
    /// Bytes in use, from `address`.
    pub(super) length: Cell<usize>,
    /// Frozen handles on the pool's thread.
    pub(super) handles: Cell<usize>,
    /// The shared view, once one was asked for. It is let go with the last frozen handle.
    pub(super) view: Cell<Option<Bytes>>,
    pub(super) fixed: Cell<Option<FixedSlot>>,
}

/// Where a region stands in a ring's table of fixed buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FixedSlot {
    /// Which ring, of all the rings of this process.
    pub(crate) ring: u32,
    /// The place in that ring's table.
    pub(crate) slot: u16,
}

impl Block {
    pub(super) fn new(address: NonNull<u8>, size: usize, region: u32, index: u16) -> Self {
        Self {
            next_returned: AtomicPtr::new(ptr::null_mut()),
            address,
            size,
            region,
            index,
            capacity: Cell::new(0),
            length: Cell::new(0),
            handles: Cell::new(0),
            view: Cell::new(None),
            fixed: Cell::new(None),
        }
    }

    /// A view of the whole buffer that any thread may hold and drop.
    ///
    /// # Safety
    ///
    /// `block` is frozen, belongs to the pool of `returns`, and no other view of it is alive.
    pub(super) unsafe fn view(block: NonNull<Block>, returns: Arc<Returns>) -> Bytes {
        // SAFETY: the caller holds the block, so its header is alive.
        let (address, length) = unsafe { (block.as_ref().address, block.as_ref().length.get()) };
        Bytes::from_owner(View { block, address, length, returns })
    }
}

/// The owner behind the `Bytes` of one buffer. Its drop sends the block home.
struct View {
    block: NonNull<Block>,
    address: NonNull<u8>,
    length: usize,
    returns: Arc<Returns>,
}

// SAFETY: a view only reads memory that nobody writes while the view lives, and its drop touches
// nothing of the block but the atomic link. `Returns` keeps the memory mapped.
unsafe impl Send for View {}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the block is frozen until this view is dropped, its memory was zeroed when it was
        // mapped and thus is initialized, and `returns` keeps it mapped.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.length) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.returns.push(self.block);
    }
}

/// A stack of blocks on their way home (a Treiber stack that is only ever emptied whole, so that
/// it has no ABA problem), and the memory itself when it outlives its pool.
pub(super) struct Returns {
    head: AtomicPtr<Block>,
    /// A boxed waker of the pool's thread that waits for a block, or null.
    waiting: AtomicPtr<Waker>,
    /// Set when the pool is dropped while views are alive: the last view unmaps the memory.
    orphan: UnsafeCell<Option<Memory>>,
}

// SAFETY: `head` and `waiting` are atomic. `orphan` is written once, by the pool's thread as it
// gives up its own reference, and next touched by the drop of the last reference.
unsafe impl Send for Returns {}
// SAFETY: as for Send: shared references only use the atomics.
unsafe impl Sync for Returns {}

impl Returns {
    pub(super) fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
            waiting: AtomicPtr::new(ptr::null_mut()),
            orphan: UnsafeCell::new(None),
        }
    }

    /// Sends a block home, from any thread. The block is the owner's again from here on.
    fn push(&self, block: NonNull<Block>) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: until the exchange succeeds the block is ours, and its header is mapped.
            unsafe { block.as_ref() }.next_returned.store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                block.as_ptr(),
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(current) => head = current,
            }
        }
        // The owner stores its waker before it looks at the stack, and we look for a waker after
        // the block lies on it; both are sequentially consistent, so one of us sees the other.
        if let Some(waker) = self.take_waker() {
            waker.wake();
        }
    }

    fn take_waker(&self) -> Option<Waker> {
        if self.waiting.load(Ordering::SeqCst).is_null() {
            return None;
        }
        let waker = self.waiting.swap(ptr::null_mut(), Ordering::SeqCst);
        // SAFETY: a non-null pointer here came from `Box::into_raw`, and the swap made it ours.
        (!waker.is_null()).then(|| *unsafe { Box::from_raw(waker) })
    }

    /// Asks for `waker` to be woken by the next block that comes home.
    pub(super) fn wake_on_return(&self, waker: &Waker) {
        let new = Box::into_raw(Box::new(waker.clone()));
        let old = self.waiting.swap(new, Ordering::SeqCst);
        if !old.is_null() {
            // SAFETY: it came from `Box::into_raw`, and the swap made it ours.
            drop(unsafe { Box::from_raw(old) });
        }
    }

    /// Takes every block that came home. Only the pool's thread calls this.
    pub(super) fn drain(&self, mut each: impl FnMut(NonNull<Block>)) {
        if self.head.load(Ordering::SeqCst).is_null() {
            return;
        }
        let mut next = self.head.swap(ptr::null_mut(), Ordering::SeqCst);
        while let Some(block) = NonNull::new(next) {
            // SAFETY: blocks on the stack are alive; the link is read before the block is reused.
            next = unsafe { block.as_ref() }.next_returned.load(Ordering::Relaxed);
            each(block);
        }
    }

    /// Hands the memory over, so that it lives until the last view is dropped.
    ///
    /// # Safety
    ///
    /// Called once, by the pool's thread, which drops its reference to `self` afterwards.
    pub(super) unsafe fn adopt(&self, memory: Memory) {
        // SAFETY: nobody else touches the cell while the pool's thread holds its reference.
        unsafe { *self.orphan.get() = Some(memory) };
    }
}

impl Drop for Returns {
    fn drop(&mut self) {
        drop(self.take_waker());
    }
}
