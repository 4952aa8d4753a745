//! Record batches: Kafka's format 2, as a view, a check, an iterator and a builder.
//!
//! ```text
//! 0            8        12       16  17   21      23          27            35           43
//! | base offset | length | epoch | 2 | CRC | attrs | last delta | base time  | max time   |
//! 43           51      53      57      61
//! | producer id | epoch | seq   | count | records ...
//! ```
//!
//! `length` counts what follows it. The CRC-32C covers everything from the attributes on, so that
//! the base offset and the leader epoch are set in place without touching it.
//!
//! [`BatchHeader`] is the parsed header, [`CheckedBatch`] a batch whose length, counts, attributes
//! and checksum are known to be right; a log takes nothing else.

mod builder;
mod checked;
mod compression;
mod header;
mod records;
mod varint;

pub use builder::{BatchBuilder, BatchOptions};
pub use checked::{BatchError, CheckedBatch};
pub use compression::{Compression, UnknownCompression};
pub use header::{Attributes, BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES, ProducerId};
pub(crate) use header::{
    CHECKSUMMED_FROM, checksum, set_append_time, set_max_timestamp, stamp_position,
};
pub use records::{Header, HeaderIter, Record, RecordError, RecordIter};
