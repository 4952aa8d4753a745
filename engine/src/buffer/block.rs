//! One buffer's header, and its shared view.

use std::cell::{Cell, UnsafeCell};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use bytes::Bytes;

use super::region::Memory;
use super::returns::{Link, ReturnStack};
use crate::sync::AtomicPtr;

/// The header of one buffer. It lives beside the memory it describes, at a fixed address, for as
/// long as the region does.
///
/// All fields but `next_returned` and `holders` belong to the pool's thread.
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
    /// Whether no byte is added any more.
    pub(super) frozen: Cell<bool>,
    /// Handles on the pool's thread.
    pub(super) handles: Cell<usize>,
    /// Views that are alive, and one for the handles. Whoever takes it to 0 sends the block home.
    holders: AtomicUsize,
    /// The newest view, once one was asked for. It is let go with the last handle.
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

impl Link for Block {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.next_returned
    }
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
            frozen: Cell::new(false),
            handles: Cell::new(0),
            holders: AtomicUsize::new(1),
            view: Cell::new(None),
            fixed: Cell::new(None),
        }
    }

    /// A view of what the buffer holds now, which any thread may hold and drop.
    ///
    /// # Safety
    ///
    /// The caller has a handle of `block`, which belongs to the pool of `returns`; the bytes up to
    /// its length never change.
    pub(super) unsafe fn view(block: NonNull<Block>, returns: Arc<Returns>) -> Bytes {
        // SAFETY: the caller holds the block, so its header is alive.
        let header = unsafe { block.as_ref() };
        header.holders.fetch_add(1, Ordering::Relaxed);
        let (address, length) = (header.address, header.length.get());
        Bytes::from_owner(View { block, address, length, returns })
    }

    /// Whether no view is alive.
    pub(super) fn is_unseen(&self) -> bool {
        self.holders.load(Ordering::Acquire) == 1
    }

    /// Gives up the share of the handles or of a view: whether it was the last, and the block is
    /// the caller's to send home. The count is then as for the next holder.
    pub(super) fn let_go(&self) -> bool {
        // Releases what this holder read before the block can be written anew, and acquires what
        // the others did.
        let was_last = self.holders.fetch_sub(1, Ordering::AcqRel) == 1;
        if was_last {
            self.holders.store(1, Ordering::Relaxed);
        }
        was_last
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
// nothing of the block but its atomics. `Returns` keeps the memory mapped.
unsafe impl Send for View {}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: these bytes do not change while this view lives, their memory was zeroed when it
        // was mapped and thus is initialized, and `returns` keeps it mapped.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.length) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: `returns` keeps the memory and its headers mapped, and this view is a holder.
        if unsafe { self.block.as_ref() }.let_go() {
            // SAFETY: nobody holds the block any more, and `returns` keeps it mapped.
            unsafe { self.returns.stack.push(self.block) };
        }
    }
}

/// The stack of blocks on their way home, and the memory itself when it outlives its pool.
pub(super) struct Returns {
    stack: ReturnStack<Block>,
    /// Set when the pool is dropped while views are alive: the last view unmaps the memory.
    orphan: UnsafeCell<Option<Memory>>,
}

// SAFETY: the stack is made of atomics. `orphan` is written once, by the pool's thread as it gives
// up its own reference, and next touched by the drop of the last reference.
unsafe impl Send for Returns {}
// SAFETY: as for Send: shared references only use the atomics.
unsafe impl Sync for Returns {}

impl Returns {
    pub(super) fn new() -> Self {
        Self { stack: ReturnStack::new(), orphan: UnsafeCell::new(None) }
    }

    /// Asks for `waker` to be woken by the next block that comes home.
    pub(super) fn wake_on_return(&self, waker: &Waker) {
        self.stack.wake_on_return(waker);
    }

    /// Takes every block that came home. Only the pool's thread calls this.
    pub(super) fn drain(&self, each: impl FnMut(NonNull<Block>)) {
        self.stack.drain(each);
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
        self.stack.forget_waker();
    }
}
