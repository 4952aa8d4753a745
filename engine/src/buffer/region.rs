//! Mapped memory, cut into blocks of one size class.

use std::alloc::Layout;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use super::block::{Block, FixedSlot};
use crate::limits::{
    BLOCK, BUFFER_CLASSES_BYTES, BUFFER_FREE_SHARE, BUFFER_LARGE_STEP_BYTES, BUFFER_REGION_BYTES,
};

/// The number of size classes.
pub(super) const CLASSES: usize = BUFFER_CLASSES_BYTES.len();

/// The smallest class that holds `bytes`; `None` if a region of its own is needed.
pub(super) fn class_of(bytes: usize) -> Option<usize> {
    BUFFER_CLASSES_BYTES.iter().position(|&size| bytes <= size)
}

/// A private anonymous mapping, zeroed by the kernel.
struct Mapping {
    address: NonNull<u8>,
    length: usize,
}

impl Mapping {
    fn new(length: usize) -> Self {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing of
        // ours.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let address = (address != libc::MAP_FAILED).then(|| NonNull::new(address.cast())).flatten();
        match address {
            Some(address) => Self { address, length },
            // The same end that any other allocation has when the system is out of memory.
            None => std::alloc::handle_alloc_error(
                Layout::from_size_align(length, BLOCK).unwrap_or(Layout::new::<u8>()),
            ),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no block of it is in use any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.length) };
    }
}

/// The headers of a region's blocks, at fixed addresses. They are pointed to from elsewhere, so they
/// are held by a pointer as well: a `Vec` would claim to be the only one.
struct Headers {
    first: NonNull<Block>,
    count: usize,
    /// How many there is memory for.
    room: usize,
}

impl Headers {
    fn of(blocks: Vec<Block>) -> Self {
        let mut blocks = ManuallyDrop::new(blocks);
        let first = NonNull::new(blocks.as_mut_ptr()).expect("a vector's pointer is never null");
        Self { first, count: blocks.len(), room: blocks.capacity() }
    }

    /// Puts others in the place of all; nobody may hold one. Allocates if there is no room for them.
    fn replace(&mut self, blocks: impl Iterator<Item = Block>) {
        let mut all = self.take();
        all.clear();
        all.extend(blocks);
        *self = Self::of(all);
    }

    fn all(&self) -> &[Block] {
        // SAFETY: these headers are alive as long as `self`, and shared: what changes is in cells.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }

    fn take(&mut self) -> Vec<Block> {
        // SAFETY: this is what `of` took a vector apart into, and it is forgotten here.
        let all = unsafe { Vec::from_raw_parts(self.first.as_ptr(), self.count, self.room) };
        (self.first, self.count, self.room) = (NonNull::dangling(), 0, 0);
        all
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // Whoever drops a region holds no block of it.
        drop(self.take());
    }
}

/// One mapping and the headers of the blocks it is cut into.
pub(super) struct Region {
    // Field order is drop order: the headers go before the memory.
    headers: Headers,
    mapping: Mapping,
    free: Vec<u16>,
    /// `None` for one that holds one large buffer.
    pub(super) class: Option<usize>,
    fixed: Option<FixedSlot>,
}

impl Region {
    /// A region of class `class` with the number `number`.
    pub(super) fn of_class(number: u32, class: usize) -> Self {
        Self::new(number, BUFFER_REGION_BYTES, BUFFER_CLASSES_BYTES[class], Some(class))
    }

    /// A region of `length` bytes for one buffer.
    pub(super) fn large(number: u32, length: usize) -> Self {
        Self::new(number, length, length, None)
    }

    fn new(number: u32, length: usize, size: usize, class: Option<usize>) -> Self {
        let mapping = Mapping::new(length);
        let headers = Headers::of(Vec::new());
        let mut region = Self { headers, mapping, free: Vec::new(), class, fixed: None };
        region.cut(number, size);
        region
    }

    /// Cuts a wholly free region anew. Allocates only if it was never cut into as many blocks.
    pub(super) fn recut(&mut self, number: u32, class: usize) {
        assert!(self.is_empty(), "a region is cut anew only when nobody holds a part of it");
        self.class = Some(class);
        self.cut(number, BUFFER_CLASSES_BYTES[class]);
        self.set_fixed(self.fixed);
    }

    /// Makes the headers for blocks of `size` bytes, and the list of them as free.
    fn cut(&mut self, number: u32, size: usize) {
        let count = u16::try_from(self.length() / size).expect("at most 256 blocks a region");
        let mapping = &self.mapping;
        self.headers.replace((0..count).map(|index| {
            // SAFETY: `index * size` lies within the mapping, by the count.
            let address = unsafe { mapping.address.add(usize::from(index) * size) };
            Block::new(address, size, number, index)
        }));
        self.free.clear();
        // Reversed, so that the lowest addresses are handed out first.
        self.free.extend((0..count).rev());
    }

    pub(super) fn take(&mut self) -> Option<NonNull<Block>> {
        let index = self.free.pop()?;
        // SAFETY: indexes on the free list lie within the headers.
        Some(unsafe { self.headers.first.add(usize::from(index)) })
    }

    pub(super) fn put(&mut self, index: u16) {
        debug_assert!(!self.free.contains(&index), "a block is returned once");
        self.free.push(index);
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.headers.count
    }

    pub(super) fn address(&self) -> NonNull<u8> {
        self.mapping.address
    }

    pub(super) fn length(&self) -> usize {
        self.mapping.length
    }

    pub(super) fn fixed(&self) -> Option<FixedSlot> {
        self.fixed
    }

    /// Notes where the region is registered; blocks in use learn it too.
    pub(super) fn set_fixed(&mut self, fixed: Option<FixedSlot>) {
        self.fixed = fixed;
        for block in self.headers.all() {
            block.fixed.set(fixed);
        }
    }
}

/// All memory of a pool, and which of it is free.
#[derive(Default)]
pub(super) struct Memory {
    regions: Vec<Option<Region>>,
    /// Numbers of the regions of each class that have a free block.
    partial: [Vec<u32>; CLASSES],
    /// Bytes mapped.
    pub(super) mapped: usize,
    /// Bytes in blocks that are handed out.
    pub(super) used: usize,
    /// Wholly free regions that are cut into classes.
    empty: usize,
    /// Numbers of the free regions of one large buffer each, the one that is free for longest
    /// first. Its pages would cost more to map anew than all that is done with a batch.
    idle: VecDeque<u32>,
    /// Bytes in them.
    idle_bytes: usize,
}

/// What the pool must tell the ring, after memory changed.
pub(super) enum Change {
    /// A region was mapped: it may be registered.
    Mapped(u32),
    /// A region is to be unmapped: it must be unregistered first. Holds it until then.
    Unmapping(Region),
}

impl Memory {
    pub(super) fn region_mut(&mut self, number: u32) -> Option<&mut Region> {
        self.regions.get_mut(number as usize)?.as_mut()
    }

    /// All regions with their numbers.
    pub(super) fn regions(&self) -> impl Iterator<Item = (u32, &Region)> {
        let numbered = (0u32..).zip(&self.regions);
        numbered.filter_map(|(number, region)| Some((number, region.as_ref()?)))
    }

    /// A free block for `bytes`, within `budget` bytes of mapped memory.
    pub(super) fn take(
        &mut self,
        bytes: usize,
        budget: usize,
        changes: &mut Vec<Change>,
    ) -> Option<NonNull<Block>> {
        let block = match class_of(bytes) {
            Some(class) => self.take_of_class(class, budget, changes),
            None => self.take_large(bytes, budget, changes),
        }?;
        // SAFETY: the block was free and is alive.
        self.used += unsafe { block.as_ref() }.size;
        Some(block)
    }

    fn take_of_class(
        &mut self,
        class: usize,
        budget: usize,
        changes: &mut Vec<Change>,
    ) -> Option<NonNull<Block>> {
        if let Some(block) = self.take_partial(class) {
            return Some(block);
        }
        if self.empty > 0 {
            let number = self.first_empty().expect("`empty` counts the wholly free regions");
            self.leave_partial(number);
            let region = self.region_mut(number).expect("found just now");
            region.recut(number, class);
            self.partial[class].push(number);
            return self.take_partial(class);
        }
        if self.mapped - self.free_bytes() + BUFFER_REGION_BYTES <= budget {
            self.make_room(BUFFER_REGION_BYTES, budget, changes);
            let number = self.vacant();
            self.place(number, Region::of_class(number, class));
            self.empty += 1;
            self.partial[class].push(number);
            changes.push(Change::Mapped(number));
            return self.take_partial(class);
        }
        // At the budget, a larger block than needed is better than none.
        (class + 1..CLASSES).find_map(|larger| self.take_partial(larger))
    }

    fn take_partial(&mut self, class: usize) -> Option<NonNull<Block>> {
        let number = *self.partial[class].last()?;
        let region = self.region_mut(number).expect("listed regions exist");
        let was_empty = region.is_empty();
        let block = region.take();
        let is_full = !region.has_free();
        if was_empty {
            self.empty -= 1;
        }
        if is_full {
            self.partial[class].pop();
        }
        block
    }

    fn take_large(
        &mut self,
        bytes: usize,
        budget: usize,
        changes: &mut Vec<Change>,
    ) -> Option<NonNull<Block>> {
        if let Some(block) = self.take_idle(bytes) {
            return Some(block);
        }
        // None is given up in vain.
        let room = budget - budget % BLOCK - (self.mapped - self.free_bytes());
        if bytes > room {
            return None;
        }
        // Batches of one size come with parts of a block before them: each is to fit the memory of
        // the one before.
        let bytes = bytes.next_multiple_of(BUFFER_LARGE_STEP_BYTES).min(room);
        self.make_room(bytes, budget, changes);
        let number = self.vacant();
        self.place(number, Region::large(number, bytes));
        changes.push(Change::Mapped(number));
        self.region_mut(number).expect("placed just now").take()
    }

    /// The free large region that was used last and is not much larger than `bytes`.
    fn take_idle(&mut self, bytes: usize) -> Option<NonNull<Block>> {
        let fits = bytes..=bytes.saturating_add(bytes / 4);
        let index = self.idle.iter().rposition(|&number| fits.contains(&self.length_of(number)))?;
        let number = self.idle.remove(index)?;
        self.idle_bytes -= self.length_of(number);
        self.region_mut(number).expect("idle regions exist").take()
    }

    /// Bytes in wholly free regions.
    fn free_bytes(&self) -> usize {
        self.idle_bytes + self.empty * BUFFER_REGION_BYTES
    }

    /// Gives free regions up until `bytes` more may be mapped: they are worth less than a refusal.
    /// And if more than a small part of the budget lies free, as many bytes as are mapped: what
    /// buffers of one size leave behind is not to stay beside what those of another size take.
    fn make_room(&mut self, bytes: usize, budget: usize, changes: &mut Vec<Change>) {
        let mapped_before = self.mapped;
        let is_in_the_way = |memory: &Self| {
            let mapped = memory.mapped + bytes;
            let is_much = memory.free_bytes() > budget / BUFFER_FREE_SHARE;
            mapped > budget || (is_much && mapped > mapped_before)
        };
        while is_in_the_way(self) {
            let number = if let Some(number) = self.idle.pop_front() {
                self.idle_bytes -= self.length_of(number);
                number
            } else if let Some(number) = self.first_empty() {
                self.leave_partial(number);
                self.empty -= 1;
                number
            } else {
                return;
            };
            changes.extend(self.displace(number).map(Change::Unmapping));
        }
    }

    fn length_of(&self, number: u32) -> usize {
        self.regions[number as usize].as_ref().map_or(0, Region::length)
    }

    /// Takes back a block that was handed out.
    ///
    /// # Safety
    ///
    /// Nobody holds the block or any part of it any more.
    pub(super) unsafe fn give_back(&mut self, block: NonNull<Block>) {
        // SAFETY: the block is alive until its region is displaced below.
        let (number, index, size) = unsafe {
            let block = block.as_ref();
            (block.region, block.index, block.size)
        };
        self.used -= size;
        let region = self.region_mut(number).expect("a block in use keeps its region");
        let was_full = !region.has_free();
        region.put(index);
        let is_empty = region.is_empty();
        match region.class {
            Some(class) => {
                if was_full {
                    self.partial[class].push(number);
                }
                if is_empty {
                    self.empty += 1;
                }
            }
            None => {
                self.idle.push_back(number);
                self.idle_bytes += self.length_of(number);
            }
        }
    }

    fn first_empty(&self) -> Option<u32> {
        let is_free = |region: &Region| region.class.is_some() && region.is_empty();
        self.regions().find(|(_, region)| is_free(region)).map(|(number, _)| number)
    }

    fn leave_partial(&mut self, number: u32) {
        for list in &mut self.partial {
            list.retain(|&n| n != number);
        }
    }

    fn vacant(&mut self) -> u32 {
        let index = self.regions.iter().position(Option::is_none).unwrap_or(self.regions.len());
        if index == self.regions.len() {
            self.regions.push(None);
        }
        u32::try_from(index).expect("a region is 4 KiB at least, so 2^32 of them fit no machine")
    }

    fn place(&mut self, number: u32, region: Region) {
        self.mapped += region.length();
        self.regions[number as usize] = Some(region);
    }

    fn displace(&mut self, number: u32) -> Option<Region> {
        let region = self.regions[number as usize].take();
        self.mapped -= region.as_ref().map_or(0, Region::length);
        region
    }
}
