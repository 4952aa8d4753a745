//! The two handles of a buffer.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::block::{Block, FixedSlot};
use super::pool::Pool;
use crate::limits::BLOCK;

/// A buffer with a single owner: it can be filled. Its memory goes back to the pool on drop.
pub struct BufferMut {
    block: NonNull<Block>,
    pool: Rc<Pool>,
}

impl BufferMut {
    /// # Safety
    ///
    /// The block was free, belongs to `pool`, and holds at least `capacity` bytes.
    pub(super) unsafe fn new(block: NonNull<Block>, capacity: usize, pool: Rc<Pool>) -> Self {
        let this = Self { block, pool };
        debug_assert!(capacity <= this.block().size && capacity.is_multiple_of(BLOCK));
        this.block().capacity.set(capacity);
        this.block().length.set(0);
        this
    }

    fn block(&self) -> &Block {
        // SAFETY: the block's header lives while the block is handed out.
        unsafe { self.block.as_ref() }
    }

    /// Bytes the buffer can hold; a multiple of [`BLOCK`].
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.block().capacity.get()
    }

    /// Bytes that still fit.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.capacity() - self.len()
    }

    /// Appends bytes.
    ///
    /// # Panics
    ///
    /// If more than [`BufferMut::spare`] are given.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let (start, spare) = (self.len(), self.spare());
        assert!(bytes.len() <= spare, "{} bytes do not fit into {spare} bytes", bytes.len());
        self.set_len(start + bytes.len());
        self[start..].copy_from_slice(bytes);
    }

    /// Cuts or extends the buffer to `length` bytes; new ones are `fill`.
    ///
    /// # Panics
    ///
    /// If `length` exceeds the capacity.
    pub fn resize(&mut self, length: usize, fill: u8) {
        let old = self.len();
        self.set_len(length);
        if length > old {
            self[old..].fill(fill);
        }
    }

    /// Forgets the content.
    pub fn clear(&mut self) {
        self.set_len(0);
    }

    /// Sets the length; bytes that become part of the buffer are whatever the memory held.
    pub(crate) fn set_len(&mut self, length: usize) {
        let capacity = self.capacity();
        assert!(
            length <= capacity,
            "a length of {length} exceeds the capacity of {capacity} bytes"
        );
        self.block().length.set(length);
    }

    /// Where the memory starts; for the kernel to fill up to the capacity.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.block().address.as_ptr()
    }

    /// The ring's number for this buffer's memory, if `ring` has registered it.
    pub(crate) fn fixed_slot(&self, ring: u32) -> Option<u16> {
        slot_in(self.block().fixed.get(), ring)
    }

    /// Ends all change. Zeroes the rest of the last block: `buffer.padding_is_zero`.
    #[must_use]
    pub fn freeze(self) -> Buffer {
        let (length, padded) = (self.len(), self.len().next_multiple_of(BLOCK));
        // SAFETY: we are the only owner, and the padding lies within the capacity, which is whole
        // blocks.
        unsafe { self.block().address.add(length).write_bytes(0, padded - length) };
        self.block().handles.set(1);
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped or used again, so the pool handle moves out once.
        let pool = unsafe { std::ptr::read(&this.pool) };
        let buffer = Buffer { block: this.block, pool };
        debug_assert!(buffer.padding_is_zero(), "buffer.padding_is_zero");
        buffer
    }
}

fn slot_in(fixed: Option<FixedSlot>, ring: u32) -> Option<u16> {
    fixed.filter(|fixed| fixed.ring == ring).map(|fixed| fixed.slot)
}

impl Deref for BufferMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the length lies within the block, whose memory was zeroed when mapped, and nobody
        // else has the block.
        unsafe {
            std::slice::from_raw_parts(self.block().address.as_ptr(), self.block().length.get())
        }
    }
}

impl DerefMut for BufferMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        let length = self.block().length.get();
        // SAFETY: as for `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.block().address.as_ptr(), length) }
    }
}

impl Drop for BufferMut {
    fn drop(&mut self) {
        // SAFETY: this was the only handle.
        unsafe { self.pool.give_back(self.block) };
    }
}

impl fmt::Debug for BufferMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferMut({} of {} bytes)", self.len(), self.capacity())
    }
}

/// A frozen buffer. Cloning is cheap and shares the memory.
pub struct Buffer {
    block: NonNull<Block>,
    pool: Rc<Pool>,
}

impl Buffer {
    fn block(&self) -> &Block {
        // SAFETY: the block's header lives while the block is handed out.
        unsafe { self.block.as_ref() }
    }

    /// The buffer and the zeros up to a multiple of [`BLOCK`]: what a direct write writes.
    #[must_use]
    pub fn padded(&self) -> &[u8] {
        let length = self.len().next_multiple_of(BLOCK);
        // SAFETY: the capacity is whole blocks, so the padding lies within it; nobody writes a
        // frozen buffer.
        unsafe { std::slice::from_raw_parts(self.block().address.as_ptr(), length) }
    }

    /// Whether invariant `buffer.padding_is_zero` holds.
    #[must_use]
    pub(crate) fn padding_is_zero(&self) -> bool {
        self.padded()[self.len()..].iter().all(|&byte| byte == 0)
    }

    /// The ring's number for this buffer's memory, if `ring` has registered it.
    pub(crate) fn fixed_slot(&self, ring: u32) -> Option<u16> {
        slot_in(self.block().fixed.get(), ring)
    }

    /// A part of the buffer for any thread, uncopied. The first call for a buffer allocates the
    /// shared owner; later ones, and slices of the result, allocate nothing.
    ///
    /// # Panics
    ///
    /// If the range reaches past the buffer's length.
    #[must_use]
    pub fn bytes(&self, range: Range<usize>) -> Bytes {
        let whole = self.block().view.take().unwrap_or_else(|| {
            // SAFETY: the block is frozen, ours, and had no view.
            unsafe { Block::view(self.block, Arc::clone(self.pool.returns())) }
        });
        let part = whole.slice(range);
        self.block().view.set(Some(whole));
        part
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let handles = &self.block().handles;
        handles.set(handles.get() + 1);
        Self { block: self.block, pool: Rc::clone(&self.pool) }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as for `padded`.
        unsafe {
            std::slice::from_raw_parts(self.block().address.as_ptr(), self.block().length.get())
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let handles = self.block().handles.get() - 1;
        self.block().handles.set(handles);
        if handles > 0 {
            return;
        }
        match self.block().view.take() {
            // The view's own drop sends the block home, here or wherever its last part is.
            Some(view) => drop(view),
            // SAFETY: this was the last handle, and there is no view.
            None => unsafe { self.pool.give_back(self.block) },
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}
