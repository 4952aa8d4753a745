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
//! and checksum are known to be right. What a log gives back may have been compacted since, and
//! have fewer records than offsets ([`CheckedBatch::check_stored`]). What is not made of records is a [`frame`](crate::frame).
//!
//! ```
//! use ringlog_engine::batch::{BatchBuilder, BatchOptions, CheckedBatch};
//! use ringlog_engine::io::Io;
//! use ringlog_engine::log::{Log, Stamp};
//!
//! async fn greet<I: Io>(io: &I, log: &Log<I>) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut builder = BatchBuilder::new(BatchOptions::default());
//!     builder.push(io.now(), Some(b"key"), Some(b"hello, log"), &[]);
//!     let bytes = builder.finish()?;
//!     let batch = CheckedBatch::check(&bytes)?;
//!     let appended = log.append_durably(&batch, Stamp::default()).await?;
//!
//!     let end = log.offsets().durable;
//!     let bytes = log.read(appended.base_offset, end, 64 * 1024, true).await?.to_vec();
//!     let (batch, _) = CheckedBatch::check_first(&bytes)?;
//!     let record = batch.records().and_then(|mut records| records.next()).transpose()?;
//!     assert_eq!(record.and_then(|record| record.value), Some(&b"hello, log"[..]));
//!     Ok(())
//! }
//! # let io = ringlog_engine::io::sim::SimIo::new(1);
//! # io.run(async {
//! #     let settings = ringlog_engine::shard::ShardSettings::default();
//! #     let shard = ringlog_engine::shard::Shard::new(io.clone(), settings);
//! #     let opened = Log::open(&shard, std::path::Path::new("/log"), Default::default()).await;
//! #     greet(&io, &opened.unwrap().0).await.unwrap();
//! # });
//! ```

mod builder;
mod checked;
mod compression;
mod header;
mod records;
pub(crate) mod rewrite;
mod varint;

pub use builder::{BatchBuilder, BatchOptions};
pub use checked::{BatchError, CheckedBatch};
pub use compression::{Compression, UnknownCompression};
pub use header::{Attributes, BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES, ProducerId};
pub(crate) use header::{
    CHECKSUMMED_FROM, Prefix, checksum, set_append_time, set_max_timestamp, stamp_position,
};
pub use records::{Header, HeaderIter, Record, RecordError, RecordIter};
