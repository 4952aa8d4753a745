//! Where a log begins, how far it is safe, and where it ends.
//!
//! ```text
//! start            durable        written         end
//!   |----------------|--------------|--------------|
//!   acknowledged: may   the kernel     in memory,
//!   be read             has it         on its way
//! ```

use crate::offset::Offset;

/// A log's four offsets. Invariant `log.offsets_ordered`: `start <= durable <= written <= end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogOffsets {
    /// The first offset the log still holds.
    pub start: Offset,
    /// Everything below is durable by the log's [`FlushPolicy`](crate::log::FlushPolicy).
    pub durable: Offset,
    /// Everything below has been taken by the kernel.
    pub written: Offset,
    /// The offset the next record will get.
    pub end: Offset,
}

impl LogOffsets {
    /// A log of which everything is durable.
    pub(crate) fn at_rest(start: Offset, end: Offset) -> Self {
        let mut offsets = Self::default();
        offsets.set(Self { start, durable: end, written: end, end });
        offsets
    }

    /// The one place where offsets change.
    pub(crate) fn set(&mut self, new: Self) {
        if new.start > new.durable || new.durable > new.written || new.written > new.end {
            new.disorder();
        }
        *self = new;
    }

    /// Apart, and by value: `set` then has no need of the offsets in memory, from where it would
    /// get them only after the batch that was copied just before.
    #[cold]
    #[inline(never)]
    fn disorder(self) -> ! {
        panic!("log.offsets_ordered: {self:?}");
    }
}
