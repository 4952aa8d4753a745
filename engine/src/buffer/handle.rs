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

    /// The handle of a block that has no other.
    fn of(block: NonNull<Block>, pool: Rc<Pool>) -> Self {
        Self { block, pool }
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
        let buffer = self.into_growing();
        // SAFETY: the handle that could write is gone.
        unsafe { buffer.finish() };
        buffer
    }

    /// A handle for sharing, of a buffer that is not frozen yet.
    pub(super) fn into_growing(self) -> Buffer {
        self.block().handles.set(1);
        self.block().frozen.set(false);
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped or used again, so the pool handle moves out once.
        let pool = unsafe { std::ptr::read(&this.pool) };
        Buffer { block: this.block, pool }
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

/// A buffer whose bytes never change. Cloning is cheap and shares the memory.
pub struct Buffer {
    block: NonNull<Block>,
    pool: Rc<Pool>,
}

impl Buffer {
    fn block(&self) -> &Block {
        // SAFETY: the block's header lives while the block is handed out.
        unsafe { self.block.as_ref() }
    }

    pub(super) fn capacity(&self) -> usize {
        self.block().capacity.get()
    }

    /// Bytes of the pool's memory that it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.block().size
    }

    /// Adds bytes behind those that are there, and lets `change` alter them first.
    ///
    /// # Safety
    ///
    /// The buffer is not frozen, the bytes fit, and nobody else adds to it meanwhile.
    pub(super) unsafe fn grow<R>(
        &self,
        pieces: [&[u8]; 2],
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        debug_assert!(!self.block().frozen.get(), "a frozen buffer never changes");
        let length = self.block().length.get();
        // SAFETY: the bytes from the length on lie within the capacity, by the caller's promise,
        // and are nobody's yet: every reader stops at the length, which moves only afterwards.
        let added = unsafe {
            let start = self.block().address.add(length);
            let mut end = start;
            for piece in pieces {
                end.copy_from_nonoverlapping(std::ptr::NonNull::from(piece).cast(), piece.len());
                end = end.add(piece.len());
            }
            std::slice::from_raw_parts_mut(start.as_ptr(), pieces[0].len() + pieces[1].len())
        };
        let added_bytes = added.len();
        let result = change(added);
        self.block().length.set(length + added_bytes);
        result
    }

    /// Ends all change. Zeroes the rest of the last block: `buffer.padding_is_zero`.
    ///
    /// # Safety
    ///
    /// Nobody adds to the buffer any more.
    pub(super) unsafe fn finish(&self) {
        let (length, padded) = (self.len(), self.len().next_multiple_of(BLOCK));
        // SAFETY: the padding lies within the capacity, which is whole blocks, and nobody reads
        // past the length before the buffer is frozen.
        unsafe { self.block().address.add(length).write_bytes(0, padded - length) };
        self.block().frozen.set(true);
        debug_assert!(self.padding_is_zero(), "buffer.padding_is_zero");
    }

    /// The buffer and the zeros up to a multiple of [`BLOCK`]: what a direct write writes.
    ///
    /// # Panics
    ///
    /// If a log still fills the buffer. One that [`BufferMut::freeze`] gave is never filled.
    #[must_use]
    pub fn padded(&self) -> &[u8] {
        assert!(self.block().frozen.get(), "only a frozen buffer is written as whole blocks");
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

    /// The buffer for a new use, if nobody else holds any of it.
    pub(crate) fn into_mut(self) -> Option<BufferMut> {
        let block = self.block();
        drop(block.view.take());
        if block.handles.get() > 1 || !block.is_unseen() {
            return None;
        }
        block.length.set(0);
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped or used again, so the pool handle moves out once.
        let pool = unsafe { std::ptr::read(&this.pool) };
        Some(BufferMut::of(this.block, pool))
    }

    /// A part of the buffer for any thread, uncopied. The first call for a buffer allocates the
    /// shared owner; later ones, and slices of the result, allocate nothing, unless the part was
    /// added to the buffer since.
    ///
    /// # Panics
    ///
    /// If the range reaches past the buffer's length.
    #[must_use]
    pub fn bytes(&self, range: Range<usize>) -> Bytes {
        let known = self.block().view.take().filter(|view| view.len() >= range.end);
        let whole = known.unwrap_or_else(|| {
            // SAFETY: we hold the block, and what it holds up to its length never changes.
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
        drop(self.block().view.take());
        // Without a view anywhere the block goes home from here; otherwise the last one sends it.
        if self.block().let_go() {
            // SAFETY: this was the last handle, and there is no view.
            unsafe { self.pool.give_back(self.block) };
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}
