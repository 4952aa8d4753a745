//! Memory that large requests came in, for the next ones.
//!
//! A request above [`RECEIVE_BUFFER_MAX`](crate::limits::RECEIVE_BUFFER_MAX) gets memory of its
//! size. Where that is given back to the system each time, each of its pages has to be faulted in
//! and zeroed again for the next request, which costs more than its checksum. So a shard keeps some
//! of it, whichever connection had it.

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::BytesMut;

use crate::limits::LARGE_BUFFERS_BYTES_MAX;

/// What is kept, oldest first. Some of it may still be held by the request that came in it.
#[derive(Debug, Default)]
pub struct LargeBuffers {
    spare: RefCell<VecDeque<Spare>>,
}

#[derive(Debug)]
struct Spare {
    /// An empty part of the memory.
    handle: BytesMut,
    allocated: usize,
}

impl LargeBuffers {
    /// Keeps memory of `allocated` bytes, of which `handle` is an empty part.
    pub(super) fn keep(&self, handle: BytesMut, allocated: usize) {
        if allocated > LARGE_BUFFERS_BYTES_MAX {
            return;
        }
        let mut spare = self.spare.borrow_mut();
        let mut kept: usize = spare.iter().map(|spare| spare.allocated).sum();
        while kept + allocated > LARGE_BUFFERS_BYTES_MAX
            && let Some(oldest) = spare.pop_front()
        {
            kept -= oldest.allocated;
        }
        spare.push_back(Spare { handle, allocated });
    }

    /// A buffer with room for `bytes` bytes and no more, and how large its memory is: half of it at
    /// most lies idle. `None` if nobody has let go of such a one.
    pub(super) fn take(&self, bytes: usize) -> Option<(BytesMut, usize)> {
        let mut spare = self.spare.borrow_mut();
        // The newest is the likeliest to be in the processor's cache.
        let index = spare.iter_mut().rposition(|spare| {
            (bytes..=bytes.saturating_mul(2)).contains(&spare.allocated)
                && spare.handle.try_reclaim(bytes)
        })?;
        let Spare { mut handle, allocated } = spare.remove(index)?;
        drop(handle.split_off(bytes));
        Some((handle, allocated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1 << 20;

    /// The memory of a request of [`SIZE`] bytes: the request, and what is left of the buffer.
    fn used() -> (bytes::Bytes, BytesMut) {
        let mut buffer = BytesMut::with_capacity(SIZE);
        buffer.resize(SIZE, 1);
        (buffer.split_to(SIZE).freeze(), buffer)
    }

    #[test]
    fn memory_is_lent_again_once_its_request_is_gone_with_room_for_what_is_asked() {
        let large = LargeBuffers::default();
        let (request, rest) = used();
        let address = request.as_ptr();
        large.keep(rest, SIZE);
        assert!(large.take(SIZE).is_none(), "the request is still there");
        drop(request);
        assert!(large.take(SIZE + 1).is_none() && large.take(SIZE / 2 - 1).is_none());
        let (buffer, allocated) = large.take(SIZE - 5).expect("kept");
        assert_eq!((buffer.capacity(), buffer.len(), allocated), (SIZE - 5, 0, SIZE));
        assert_eq!(buffer.as_ptr(), address);
        assert!(large.take(SIZE - 5).is_none(), "it is lent once");
    }

    #[test]
    fn what_is_kept_has_a_bound_and_the_oldest_goes() {
        let large = LargeBuffers::default();
        let most = LARGE_BUFFERS_BYTES_MAX / SIZE;
        let mut first = None;
        for _ in 0..=most {
            let (request, rest) = used();
            first.get_or_insert(request.clone());
            large.keep(rest, SIZE);
        }
        assert_eq!(large.spare.borrow().len(), most);
        assert!(first.expect("some").is_unique(), "the oldest is not kept");
        large.keep(BytesMut::new(), LARGE_BUFFERS_BYTES_MAX + 1);
        assert_eq!(large.spare.borrow().len(), most);
    }
}
