//! Segments: the files of a log, laid out as Kafka's.
//!
//! ```text
//! 00000000000000000000.log    .index  .timeindex            sealed: never changes again
//! 00000000000000004711.log    .index  .timeindex  .snapshot sealed
//! 00000000000000009001.log                        .snapshot active: grows, indexes in memory
//! ```
//!
//! A `.log` file is batches, end to end. While it is active it is longer than its batches: space
//! is reserved ahead and reads as zeros. Sealing cuts it to its exact length (invariant
//! `segment.sealed_never_changes`) before the next segment's file is created, so that after a
//! crash only the last file can have a ragged end.
//!
//! A log remembers a few numbers of each [sealed](sealed) segment. Open files and loaded indexes
//! are in the shard's [store](store), which bounds them whatever the number of logs.

pub(crate) mod active;
pub(crate) mod catalog;
pub(crate) mod lru;
pub(crate) mod name;
pub(crate) mod offset_index;
pub(crate) mod scan;
pub(crate) mod sealed;
pub(crate) mod store;
pub(crate) mod time_index;
pub(crate) mod window;
