//! The record batches of one partition in a message: a few slices in order.

use bytes::Bytes;

/// Record batches as they lie in the log or in the frame: slices that follow each other, of which
/// none is copied. On the wire they are one blob of [`Records::size`] bytes.
///
/// Decoding gives one slice and allocates nothing; a fetch response may hold as many as the log
/// had to collect. Two values are equal if their bytes are, however they are cut.
#[derive(Debug, Clone, Default)]
pub struct Records {
    first: Bytes,
    /// Everything after the first slice; most records have nothing here, and then no allocation.
    rest: Vec<Bytes>,
    size: usize,
}

impl Records {
    /// All bytes of all slices.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether there are no bytes. Kafka distinguishes this from null, which is `None` outside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Puts a slice behind the others. An empty one is left out.
    pub fn push(&mut self, slice: Bytes) {
        if slice.is_empty() {
            return;
        }
        self.size += slice.len();
        if self.first.is_empty() {
            self.first = slice;
        } else {
            self.rest.push(slice);
        }
    }

    /// The slices in order, none of them empty.
    pub fn slices(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).filter(|slice| !slice.is_empty()).chain(&self.rest)
    }

    /// All bytes as one slice: shared if there is one slice, copied together otherwise.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        if self.rest.is_empty() {
            return self.first.clone();
        }
        let mut whole = Vec::with_capacity(self.size);
        for slice in self.slices() {
            whole.extend_from_slice(slice);
        }
        Bytes::from(whole)
    }
}

impl From<Bytes> for Records {
    fn from(slice: Bytes) -> Self {
        Self { size: slice.len(), first: slice, rest: Vec::new() }
    }
}

impl FromIterator<Bytes> for Records {
    fn from_iter<I: IntoIterator<Item = Bytes>>(slices: I) -> Self {
        let mut records = Self::default();
        slices.into_iter().for_each(|slice| records.push(slice));
        records
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.slices().flatten().eq(other.slices().flatten())
    }
}

impl Eq for Records {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_of_bytes_and_not_of_cuts() {
        let whole = Records::from(Bytes::from_static(b"abcdef"));
        let cut: Records = [&b"ab"[..], b"", b"cdef"].map(Bytes::from_static).into_iter().collect();
        assert_eq!(whole, cut);
        assert_eq!(cut.slices().count(), 2);
        assert_eq!(cut.to_bytes(), &b"abcdef"[..]);
        assert_ne!(whole, Records::default());
    }
}
