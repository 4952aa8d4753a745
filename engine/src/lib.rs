//! A zero-copy append-only log on io_uring.
//!
//! The storage engine of Ringlog, as a crate of its own: what a queue, a write-ahead log or an event
//! store stands on. It keeps logs of entries, which are payloads of your own or Kafka's record
//! batches, and knows nothing of topics, brokers, requests or async runtimes. An entry is copied
//! once, into an aligned buffer; that buffer is what is written to disk past the page cache, and
//! what is lent to those who read at the tail. An entry that was waited for is on stable storage.
//!
//! # The model
//!
//! ```text
//! Shard                    one thread: an Io, a buffer pool, a tail cache
//!  ├── journal             a few files, recycled: one write for all logs, if it has one
//!  ├── Log                 one folder: entries in order
//!  │    ├── segment        one file, sealed: it never changes again
//!  │    ├── segment        ...
//!  │    └── segment        the active one, into which entries are appended
//!  │         └── entry     a frame: a payload as it is; or a record batch: one or more records
//!  └── Log ...
//! ```
//!
//! - A [`Shard`](shard::Shard) is what the logs of one thread share: an [`Io`](io::Io), which is
//!   [`UringIo`](io::uring::UringIo) or a simulated disk, and the memory for entries.
//! - Its [`journal`] makes what many logs have received safe with one write; the entries reach their
//!   segments later. A shard for a log or two does well without one.
//! - A [`Log`](log::Log) is opened in a shard, in a folder of its own. A handle of it is cloned
//!   freely among the tasks of the thread; one appends at a time, and all may read.
//! - A **segment** is where space comes back: old ones are removed whole.
//! - An **entry** is a [`frame`], which is one record with a payload of your own, or a record
//!   [`batch`] of Kafka's. Each record takes one offset. See [`entry`]. Where the documentation of a
//!   log says batch, it means any entry, unless it speaks of producers or compression.
//!
//! A log gives each record an offset, one higher than the last, and has four offsets of its own
//! ([`LogOffsets`](log::LogOffsets)). Each only grows, unless the log is truncated
//! (`log.offsets_ordered`):
//!
//! ```text
//!        start              durable          written            end
//!  deleted |  safe: may be     |  the kernel    |  in memory, on   |  next offset
//!          |  acknowledged     |  has it        |  its way         |
//! ---------+-------------------+----------------+------------------+-------------> offsets
//! ```
//!
//! Readers see what lies from `start` up to `durable`. Nothing in the crate is `Send`, apart from
//! the bytes that a read lends: there is no lock, and no thread other than the caller's.
//!
//! # Who calls whom
//!
//! ```text
//!  payload ─► Frame::new ────────┐
//!  bytes ─► CheckedBatch::check ─┴► Log::reserve ─► Log::append ─► Log::durable
//!                                        │               │              ▲
//!                           BufferPool ──┘          open buffer         │
//!                                                        │              │
//!  Log::read ◄── tail cache ◄────────────────────────────┼─► journal ───┤ many logs, a little each
//!     ▲                                                  ▼      ▼       │
//!     └───────── segment files ◄───────────── io::File::write_at ───────┘ a lot at once
//! ```
//!
//! The caller makes a frame, or checks a batch that came from elsewhere and, if its producer is
//! idempotent, its place in the producer's sequence ([`producer`]). It makes room, appends, and
//! waits until the entry is durable ([`log`]). The log fills buffers ([`buffer`]) and hands them to
//! the journal, or to its backend ([`io`]): [`UringIo`](io::uring::UringIo) for real files,
//! [`SimIo`](io::sim::SimIo) for a disk in memory that loses what was not synced, on which the same
//! code is tested.
//!
//! # An example
//!
//! ```
//! use ringlog_engine::frame::{CheckedFrame, Frame};
//! use ringlog_engine::io::Io;
//! use ringlog_engine::io::uring::UringIo;
//! use ringlog_engine::log::{Log, LogSettings, Stamp};
//! use ringlog_engine::shard::{Shard, ShardSettings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let io = UringIo::plain(64)?;
//! io.block_on(async {
//!     let shard = Shard::new(io.clone(), ShardSettings::default());
//!     let dir = folder.path().join("greetings");
//!     let (log, report) = Log::open(&shard, &dir, LogSettings::default()).await?;
//!     assert_eq!(report.cut, None);
//!
//!     let frame = Frame::new(io.now(), b"hello, log")?;
//!     // When this resolves, the frame survives a loss of power.
//!     let appended = log.append_durably(&frame, Stamp::default()).await?;
//!
//!     let end = log.offsets().durable;
//!     let bytes = log.read(appended.base_offset, end, 64 * 1024, true).await?.to_vec();
//!     assert_eq!(CheckedFrame::check(&bytes)?.payload(), b"hello, log");
//!
//!     // Without this, the next open looks for where the log ends.
//!     log.close().await?;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })?;
//! // The shard's tasks hold the ring, which runs them: this lets go of both.
//! io.stop_tasks();
//! # Ok(())
//! # }
//! ```
//!
//! One of record batches is in [`batch`].
//!
//! # Where to go on
//!
//! - [`guide::recipes`]: how to run it, write, read, follow, forget and test.
//! - [`guide::choosing_settings`]: what each setting costs and gives.
//! - [`guide::what_can_go_wrong`]: every fault, what is done about it, and what is left for you.
//! - [`log::Log`], which has nearly all of the API, and [`error`].
//!
//! # Features, and what is needed
//!
//! - `tokio` (on by default): `UringIo::tokio`, by which a current-thread tokio runtime, also
//!   tokio-uring's, drives the ring. Without it the crate depends on no runtime.
//! - `planted`: bugs for the crate's own simulator to find; never enable it.
//!
//! Linux 6.1 or later, with io_uring allowed and a file system that takes `O_DIRECT`. The minimum
//! supported Rust version is 1.93; raising it is a minor version.

pub mod guide;

// The words that everything else is said in.
pub mod epoch;
pub mod error;
pub mod limits;
pub mod offset;

// From here on, the modules stand in the order in which a batch crosses them.
pub mod entry;

pub mod batch;

pub mod frame;

pub mod producer;

pub mod shard;

pub mod log;

pub mod buffer;

mod linger;

mod writer;

pub mod journal;

mod cache;

mod ahead;

mod segment;

pub mod io;

pub mod compaction;

#[doc(hidden)]
pub mod planted;

// What keeps a log in order between batches, and when it is opened and closed.
mod catalogue;
mod checkpoint;
mod decode;
mod manifest;
mod reclaim;
mod recovery;
mod retention;
mod small_file;
mod sync;
mod syndrome;
mod together;
mod truncate;

#[cfg(test)]
mod fuzz;
