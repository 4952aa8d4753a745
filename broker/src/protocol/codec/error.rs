//! What can be wrong with bytes that are decoded, and with values that are encoded.

use thiserror::Error;

use super::VersionRange;

/// Why bytes could not be decoded, and where: the field's path in its table and the position in
/// the frame at which the reader stood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} at byte {position} of the frame: {problem}")]
pub struct DecodeError {
    /// Bytes from the start of the frame to the place that could not be decoded.
    pub position: usize,
    /// The field that was being decoded, as `Table.field`.
    pub field: &'static str,
    /// What was wrong.
    pub problem: DecodeProblem,
}

/// What was wrong with the bytes of one field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeProblem {
    /// The frame, or the tagged field around this one, ends too early.
    #[error("needs {needed} bytes, but {remaining} remain")]
    Truncated {
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes that remain.
        remaining: usize,
    },
    /// An array claims more elements than the remaining bytes can hold.
    #[error("claims {count} elements of at least {size_min} bytes, but {remaining} bytes remain")]
    CountTooLarge {
        /// Elements claimed.
        count: usize,
        /// The least number of bytes of one element at this version.
        size_min: usize,
        /// Bytes that remain.
        remaining: usize,
    },
    /// A length or count below -1, which stands for null.
    #[error("has length {length}, allowed is -1 (null) or more")]
    NegativeLength {
        /// The length read.
        length: i32,
    },
    /// A null where the version allows none.
    #[error("is null, which this version does not allow")]
    UnexpectedNull,
    /// A variable-length integer that does not end, or does not fit.
    #[error("has a variable-length integer longer than 5 bytes or above 2^32 - 1")]
    VarintTooLong,
    /// A string longer than Kafka allows.
    #[error("has a string of {length} bytes, allowed are {length_max}")]
    StringTooLong {
        /// Bytes of the string.
        length: usize,
        /// Bytes allowed.
        length_max: usize,
    },
    /// A string that is not UTF-8.
    #[error("has a string that is not UTF-8 after {valid_up_to} bytes")]
    NotUtf8 {
        /// Bytes of the string that are UTF-8.
        valid_up_to: usize,
    },
    /// A known tagged field whose content is shorter than its declared size.
    #[error("leaves {remaining} bytes of its tagged field unread")]
    TaggedFieldNotRead {
        /// Bytes of the tagged field that nothing read.
        remaining: usize,
    },
    /// The decoded value would take far more memory than its frame.
    #[error("would make the decoded value take {needed} bytes, allowed are {allowed}")]
    TooMuchMemory {
        /// Bytes of memory that all arrays of the frame together would take.
        needed: usize,
        /// Bytes allowed for a frame of this size.
        allowed: usize,
    },
    /// A table was asked for at a version that it does not have.
    #[error("version {version} is not in {supported}")]
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
        /// The versions of the table.
        supported: VersionRange,
    },
    /// Bytes are left after the last field.
    #[error("is followed by {remaining} unexpected bytes")]
    TrailingBytes {
        /// Bytes that remain.
        remaining: usize,
    },
}

/// Why a value could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} at version {version}: {problem}")]
pub struct EncodeError {
    /// The field that was being encoded, as `Table.field`.
    pub field: &'static str,
    /// The version asked for.
    pub version: i16,
    /// What was wrong.
    pub problem: EncodeProblem,
}

impl EncodeError {
    /// An error of a field whose name the caller fills in by [`EncodeError::within`].
    pub(crate) fn new(version: i16, problem: EncodeProblem) -> Self {
        Self { field: "", version, problem }
    }

    /// Names the field, unless an inner one has named itself already.
    #[must_use]
    pub(crate) fn within(mut self, field: &'static str) -> Self {
        if self.field.is_empty() {
            self.field = field;
        }
        self
    }
}

/// What was wrong with the value of one field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodeProblem {
    /// The field holds something, does not exist at this version, and is too important to leave out.
    #[error("holds a value, but does not exist at this version")]
    NotInVersion,
    /// A null where the version allows none.
    #[error("is null, which this version does not allow")]
    UnexpectedNull,
    /// A string, blob, array or frame too large for its length field.
    #[error("has length {length}, allowed is {length_max}")]
    TooLong {
        /// Bytes, or elements of an array.
        length: usize,
        /// The most that the length field can say.
        length_max: usize,
    },
    /// A table was asked for at a version that it does not have.
    #[error("is not in the supported versions {supported}")]
    UnsupportedVersion {
        /// The versions of the table.
        supported: VersionRange,
    },
}
