//! The bodies of compressed record batches: decompression in bounded pieces, compression, and a
//! walk over the records that never holds more than a piece of them.
//!
//! A batch comes from a stranger, so nothing here trusts a length that the batch states: output
//! is counted against a hard bound while it is made, and memory is taken piece by piece.
//!
//! - [`RecordsReader`] gives the uncompressed records section of one batch.
//! - [`RecordWalker`] reads that section record by record, in steps of a chosen size, so that an
//!   event loop can do other work between two steps.
//! - [`compress`] is for clients: the tools and tests. The broker stores what it received.
//!
//! Kafka's choices of format: gzip as in RFC 1952; snappy in the framing of the Java library
//! `snappy-java` ("xerial") or one raw block, which some clients send; lz4 in the LZ4 frame
//! format; zstd in its frame format.

mod batch;
mod compress;
mod error;
mod reader;
mod snappy;
#[cfg(test)]
mod tests;
mod walker;

pub use batch::compress_batch;
pub use compress::{CompressError, compress};
pub use error::{DecompressError, WalkError};
pub use reader::{RecordsReader, decompress_to_vec};
pub use walker::{Progress, RecordHead, RecordWalker};

pub use ringlog_engine::batch::Compression;
