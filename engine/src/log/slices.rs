//! What a read gives: pieces of memory that follow one another.

use bytes::Bytes;

const INLINE: usize = 4;

/// Whole batches in order, in one or more pieces of shared memory. Up to four pieces need no
/// allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slices {
    inline: [Bytes; INLINE],
    count: usize,
    more: Vec<Bytes>,
    bytes: usize,
}

impl Slices {
    /// Adds a piece; an empty one is left out.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.bytes += piece.len();
        match self.inline.get_mut(self.count) {
            Some(slot) => {
                *slot = piece;
                self.count += 1;
            }
            None => self.more.push(piece),
        }
    }

    /// The pieces, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.inline.iter().take(self.count).chain(&self.more)
    }

    /// How many pieces there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count + self.more.len()
    }

    /// Bytes of all pieces together.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is no batch.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// All pieces copied into one.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.iter().flat_map(|piece| piece.iter().copied()).collect()
    }
}

impl IntoIterator for Slices {
    type Item = Bytes;
    type IntoIter = std::iter::Chain<
        std::iter::Take<std::array::IntoIter<Bytes, INLINE>>,
        std::vec::IntoIter<Bytes>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.inline.into_iter().take(self.count).chain(self.more)
    }
}
