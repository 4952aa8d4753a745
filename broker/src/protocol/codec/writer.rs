//! Writing: one pass that counts, one that writes into exactly the room that was counted.

use bytes::{BufMut, Bytes, BytesMut};

/// A blob of at least this many bytes is handed on as a slice of its own instead of being copied.
///
/// Reason: a slice costs a reference count now and an entry of a vectored send later, about as
/// much as copying one kilobyte.
pub const SHARED_BYTES_MIN: usize = 1024;

/// Takes the bytes of an encoding in order.
pub trait Sink {
    /// Takes bytes by copying them.
    fn put(&mut self, bytes: &[u8]);

    /// Takes bytes that may be kept as they are instead of being copied.
    fn put_shared(&mut self, bytes: &Bytes);

    /// Takes an unsigned variable-length integer.
    #[inline]
    fn put_unsigned_varint(&mut self, value: u32) {
        let mut rest = value;
        while rest >= 0x80 {
            let [low, ..] = rest.to_le_bytes();
            self.put(&[low | 0x80]);
            rest >>= 7;
        }
        let [low, ..] = rest.to_le_bytes();
        self.put(&[low]);
    }
}

/// Counts the bytes of an encoding without keeping any.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    size: usize,
    shared: usize,
}

impl Counter {
    /// All bytes of the encoding.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The bytes that a [`Gather`] copies; it hands on the others.
    #[must_use]
    pub fn copied(&self) -> usize {
        self.size - self.shared
    }
}

impl Sink for Counter {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.size += bytes.len();
    }

    #[inline]
    fn put_shared(&mut self, bytes: &Bytes) {
        self.size += bytes.len();
        if bytes.len() >= SHARED_BYTES_MIN {
            self.shared += bytes.len();
        }
    }
}

/// An encoding as an ordered list of slices for one vectored send: what is small is copied
/// together, blobs of [`SHARED_BYTES_MIN`] bytes and more are taken as they are.
///
/// Costs one allocation for all that is copied if it was made with the right capacity.
#[derive(Debug, Default)]
pub struct Gather {
    copied: BytesMut,
    parts: Vec<Bytes>,
    size: usize,
}

impl Gather {
    /// An empty list that can copy `capacity` bytes without allocating again.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { copied: BytesMut::with_capacity(capacity), parts: Vec::new(), size: 0 }
    }

    /// All bytes so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The slices in order, none of them empty.
    #[must_use]
    pub fn into_parts(mut self) -> Vec<Bytes> {
        self.close_copied();
        self.parts
    }

    /// All bytes as one slice. Copies if there is more than one part.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        let size = self.size;
        let mut parts = self.into_parts();
        if parts.len() <= 1 {
            return parts.pop().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(size);
        for part in &parts {
            whole.put_slice(part);
        }
        whole.freeze()
    }

    fn close_copied(&mut self) {
        if !self.copied.is_empty() {
            self.parts.push(self.copied.split().freeze());
        }
    }
}

impl Sink for Gather {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.size += bytes.len();
        self.copied.put_slice(bytes);
    }

    #[inline]
    fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.put(bytes);
            return;
        }
        self.close_copied();
        self.size += bytes.len();
        self.parts.push(bytes.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blobs_are_handed_on_and_small_ones_copied_together() {
        let large = Bytes::from(vec![7; SHARED_BYTES_MIN]);
        let mut counter = Counter::default();
        let mut gather = Gather::with_capacity(5);
        gather.put(b"ab");
        gather.put_shared(&Bytes::from_static(b"c"));
        gather.put_shared(&large);
        gather.put(b"de");
        counter.put(b"abcde");
        counter.put_shared(&large);
        assert_eq!((counter.size(), counter.copied()), (5 + SHARED_BYTES_MIN, 5));
        assert_eq!(gather.size(), counter.size());
        let parts = gather.into_parts();
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [3, SHARED_BYTES_MIN, 2]);
        assert_eq!(parts[1].as_ptr(), large.as_ptr(), "the blob is shared, not copied");
    }
}
