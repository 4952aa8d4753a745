//! How much of a shard's memory is in answers that clients have not taken yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Counts the bytes that are lent out. A slice may be dropped on any thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Lent {
    bytes: Arc<AtomicUsize>,
}

/// A slice that is counted as long as it lives.
struct Loan {
    slice: Bytes,
    lent: Lent,
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.slice
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.lent.bytes.fetch_sub(self.slice.len(), Ordering::Relaxed);
    }
}

impl Lent {
    /// The same bytes, counted until the last view of them is dropped.
    pub(super) fn lend(&self, slice: Bytes) -> Bytes {
        self.bytes.fetch_add(slice.len(), Ordering::Relaxed);
        Bytes::from_owner(Loan { slice, lent: self.clone() })
    }

    /// Bytes that are lent out now.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_their_last_view_is_dropped() {
        let lent = Lent::default();
        let whole = lent.lend(Bytes::from_static(b"twelve bytes"));
        let part = whole.slice(3..5);
        drop(whole);
        assert_eq!((lent.bytes(), &part[..]), (12, b"lv".as_slice()));
        drop(part);
        assert_eq!(lent.bytes(), 0);
    }
}
