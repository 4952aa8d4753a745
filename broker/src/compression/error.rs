//! What can be wrong with the records section of a batch.

use std::io;

use super::Compression;

/// Why a compressed records section cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The section holds more than the caller is willing to make of it.
    #[error("{codec:?} records decompress to more than the {limit_bytes} bytes allowed")]
    TooLong {
        /// The batch's codec.
        codec: Compression,
        /// The bound that was given, in bytes.
        limit_bytes: usize,
    },
    /// The compressed data ends inside a frame.
    #[error("{codec:?} records end early, after {produced_bytes} bytes of output")]
    Truncated {
        /// The batch's codec.
        codec: Compression,
        /// Bytes of output made before the end.
        produced_bytes: usize,
    },
    /// The compressed data is not what the codec's format says.
    #[error("{codec:?} records are corrupt after {produced_bytes} bytes of output")]
    Corrupt {
        /// The batch's codec.
        codec: Compression,
        /// Bytes of output made before the fault.
        produced_bytes: usize,
        /// What the codec found.
        source: io::Error,
    },
}

/// Why the records of a batch are not what its header and the record format say.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The records cannot be decompressed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The records section ends inside a record, or before the header's count is reached.
    #[error("the records end inside record {record} of {count}")]
    Truncated {
        /// Index of the record, from 0.
        record: u32,
        /// Records that the header states.
        count: u32,
    },
    /// A variable-length integer has more bytes than its type allows.
    #[error("the {field} of record {record} is not a valid variable-length integer")]
    Varint {
        /// Index of the record, from 0.
        record: u32,
        /// Which field of the record.
        field: &'static str,
    },
    /// A length that is negative where it may not be, or passes the end of the record.
    #[error("the {field} of record {record} is {length}, but must be in {minimum}..={left}")]
    Length {
        /// Index of the record, from 0.
        record: u32,
        /// Which field of the record.
        field: &'static str,
        /// The length as stated.
        length: i32,
        /// The smallest value allowed: -1 where a field may be null.
        minimum: i32,
        /// Bytes that the record, or the bound on the section, leaves for it.
        left: usize,
    },
    /// The fields of a record do not fill its stated length.
    #[error("record {record} states {left} bytes more than its fields take")]
    RecordLength {
        /// Index of the record, from 0.
        record: u32,
        /// Bytes left over.
        left: usize,
    },
    /// The offset deltas of a producer's batch are 0, 1, 2 and so on.
    #[error("record {record} has offset delta {found}, expected {record}")]
    OffsetDelta {
        /// Index of the record, from 0, which is also the delta expected.
        record: u32,
        /// The delta found.
        found: i32,
    },
    /// Bytes follow the last record.
    #[error("bytes follow the last of {count} records")]
    TrailingBytes {
        /// Records that the header states.
        count: u32,
    },
}
