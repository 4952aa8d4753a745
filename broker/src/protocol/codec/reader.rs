//! Reading a frame: every byte is checked to be there before it is taken.

use bytes::Bytes;

use super::{DecodeError, DecodeProblem};

/// Memory that the arrays of one decoded frame may take, whatever its size.
///
/// Reason: a small frame of many empty strings is legal and cheap, whatever its ratio.
/// At the bound: [`DecodeProblem::TooMuchMemory`].
pub const DECODED_BYTES_BASE: usize = 1 << 20;

/// Memory that the arrays of one decoded frame may take for each of its bytes, beyond
/// [`DECODED_BYTES_BASE`].
///
/// Reason: real messages need at most about five (partitions of a metadata response); without a
/// bound, a frame of empty strings needs 48, and a hundred megabytes of them several gigabytes.
/// At the bound: [`DecodeProblem::TooMuchMemory`].
pub const DECODED_BYTES_PER_FRAME_BYTE: usize = 8;

/// A position in a frame. Strings and blobs are taken as slices of the frame, never copied.
///
/// After an error the position is that of the field that failed; nothing is read past the end.
#[derive(Debug)]
pub struct Reader {
    frame: Bytes,
    position: usize,
    /// The end of what may be read: the frame's, or that of the tagged field being read.
    end: usize,
    field: &'static str,
    decoded_bytes: usize,
}

impl Reader {
    /// Starts at the first byte of `frame`.
    #[must_use]
    pub fn new(frame: Bytes) -> Self {
        let end = frame.len();
        Self { frame, position: 0, end, field: "frame", decoded_bytes: 0 }
    }

    /// Bytes from the start of the frame.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes that remain.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// Names the field that is read next, for errors.
    #[inline]
    pub fn enter(&mut self, field: &'static str) {
        self.field = field;
    }

    /// An error at the present place.
    #[cold]
    #[must_use]
    pub fn error(&self, problem: DecodeProblem) -> DecodeError {
        DecodeError { position: self.position, field: self.field, problem }
    }

    /// Checks that nothing remains.
    ///
    /// # Errors
    /// [`DecodeProblem::TrailingBytes`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(self.error(DecodeProblem::TrailingBytes { remaining })),
        }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeProblem::Truncated`].
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = self.frame.get(self.position..self.end).unwrap_or_default();
        match rest.first_chunk::<N>() {
            Some(bytes) => {
                self.position += N;
                Ok(*bytes)
            }
            None => Err(self.truncated(N)),
        }
    }

    /// The next `length` bytes as a slice of the frame: one reference count, no copy.
    ///
    /// # Errors
    /// [`DecodeProblem::Truncated`].
    #[inline]
    pub fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        let start = self.position;
        self.position += length;
        Ok(self.frame.slice(start..self.position))
    }

    /// Passes over `length` bytes.
    ///
    /// # Errors
    /// [`DecodeProblem::Truncated`].
    pub fn skip(&mut self, length: usize) -> Result<(), DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        self.position += length;
        Ok(())
    }

    /// An unsigned variable-length integer: seven bits a byte, least significant first.
    ///
    /// # Errors
    /// [`DecodeProblem::VarintTooLong`] if it does not fit 32 bits, [`DecodeProblem::Truncated`].
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0u32, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            let bits = u32::from(byte & 0x7f);
            // The fifth byte has room for four bits only.
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(DecodeProblem::VarintTooLong))
    }

    /// A length or count: `None` for null. Compact lengths hold one more than they mean, with zero
    /// for null; classic ones are signed, with -1 for null.
    ///
    /// # Errors
    /// [`DecodeProblem::NegativeLength`], or the integer's own errors.
    #[inline]
    pub(super) fn length(&mut self, compact: bool) -> Result<Option<usize>, DecodeError> {
        if compact {
            let stored = self.unsigned_varint()?;
            // 32 bits always fit a usize on the 64-bit machines that io_uring runs on; on others
            // the saturated value fails the check against the remaining bytes.
            return Ok(stored.checked_sub(1).map(|n| usize::try_from(n).unwrap_or(usize::MAX)));
        }
        let length = i32::from_be_bytes(self.array()?);
        self.signed_length(length)
    }

    /// A classic string's length, which is two bytes.
    #[inline]
    pub(super) fn short_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let length = i16::from_be_bytes(self.array()?);
        self.signed_length(i32::from(length))
    }

    fn signed_length(&self, length: i32) -> Result<Option<usize>, DecodeError> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.error(DecodeProblem::NegativeLength { length })),
        }
    }

    /// Admits an array of `count` elements that take `size_min` bytes each on the wire and
    /// `memory` bytes each when decoded.
    ///
    /// # Errors
    /// [`DecodeProblem::CountTooLarge`] or [`DecodeProblem::TooMuchMemory`], before anything is
    /// allocated.
    pub(super) fn admit(
        &mut self,
        count: usize,
        size_min: usize,
        memory: usize,
    ) -> Result<(), DecodeError> {
        let remaining = self.remaining();
        let size_min = size_min.max(1);
        if count > remaining / size_min {
            return Err(self.error(DecodeProblem::CountTooLarge { count, size_min, remaining }));
        }
        let needed = self.decoded_bytes.saturating_add(count.saturating_mul(memory));
        let allowed = DECODED_BYTES_BASE
            .saturating_add(self.frame.len().saturating_mul(DECODED_BYTES_PER_FRAME_BYTE));
        if needed > allowed {
            return Err(self.error(DecodeProblem::TooMuchMemory { needed, allowed }));
        }
        self.decoded_bytes = needed;
        Ok(())
    }

    /// The number of tagged fields that follow.
    pub(crate) fn tagged_field_count(&mut self) -> Result<u32, DecodeError> {
        let count = self.unsigned_varint()?;
        // A tagged field takes at least its tag and its size.
        let claimed = usize::try_from(count).unwrap_or(usize::MAX);
        if claimed > self.remaining() / 2 {
            let remaining = self.remaining();
            return Err(self.error(DecodeProblem::CountTooLarge {
                count: claimed,
                size_min: 2,
                remaining,
            }));
        }
        Ok(count)
    }

    /// The tag and the size of the next tagged field; the size is there to be read.
    pub(crate) fn tagged_field(&mut self) -> Result<(u32, usize), DecodeError> {
        let tag = self.unsigned_varint()?;
        let size = usize::try_from(self.unsigned_varint()?).unwrap_or(usize::MAX);
        if size > self.remaining() {
            return Err(self.truncated(size));
        }
        Ok((tag, size))
    }

    /// Reads one value that must take exactly the next `size` bytes, which are known to be there.
    pub(crate) fn within<T>(
        &mut self,
        size: usize,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let outer_end = self.end;
        self.end = self.end.min(self.position.saturating_add(size));
        let value = read(self)?;
        let remaining = self.remaining();
        if remaining > 0 {
            return Err(self.error(DecodeProblem::TaggedFieldNotRead { remaining }));
        }
        self.end = outer_end;
        Ok(value)
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        self.error(DecodeProblem::Truncated { needed, remaining: self.remaining() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &'static [u8]) -> Result<u32, DecodeProblem> {
        Reader::new(Bytes::from_static(bytes)).unsigned_varint().map_err(|error| error.problem)
    }

    #[test]
    fn a_varint_takes_at_most_five_bytes_and_32_bits() {
        assert_eq!(varint(&[0]), Ok(0));
        assert_eq!(varint(&[0xac, 0x02]), Ok(300));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(DecodeProblem::VarintTooLong));
        assert_eq!(varint(&[0x80, 0x80, 0x80, 0x80, 0x80]), Err(DecodeProblem::VarintTooLong));
        assert_eq!(varint(&[0x80]), Err(DecodeProblem::Truncated { needed: 1, remaining: 0 }));
    }

    #[test]
    fn a_tagged_field_cannot_read_past_its_own_end() {
        let mut reader = Reader::new(Bytes::from_static(&[0, 0, 0, 7]));
        let error = reader.within(2, |inner| inner.array::<4>()).expect_err("two bytes only");
        assert_eq!(error.problem, DecodeProblem::Truncated { needed: 4, remaining: 2 });
    }
}
