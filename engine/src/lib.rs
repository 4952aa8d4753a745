//! A zero-copy append-only log on io_uring.
//!
//! The storage engine of Ringlog, as a crate of its own. It keeps logs of record batches in Kafka's
//! format 2, in files laid out as Kafka's, and knows nothing of topics, brokers, requests or async
//! runtimes. A batch is copied once, into an aligned buffer; that buffer is what is written to disk
//! past the page cache, and what is lent to those who read at the tail.
//!
//! # The model
//!
//! ```text
//! Shard                    one thread: an Io, a buffer pool, a tail cache
//!  ├── Log                 one folder: the batches of one partition
//!  │    ├── segment        one file, sealed: it never changes again
//!  │    ├── segment        ...
//!  │    └── segment        the active one, into which batches are appended
//!  │         └── batch     one or more records, stored as they came
//!  └── Log ...
//! ```
//!
//! A [`Shard`](shard::Shard) is what the logs of one thread share. A [`Log`](log::Log) gives each
//! record an offset, one higher than the last, and has four of its own, of which each only grows,
//! unless the log is truncated (`log.offsets_ordered`):
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
//!  bytes ─► CheckedBatch::check ─► Log::reserve ─► Log::append ─► Log::durable
//!                                       │               │              ▲
//!                          BufferPool ──┘      open buffer, frozen     │
//!                                                       │              │
//!  Log::read ◄── tail cache ◄───────────────────────────┤              │
//!     ▲                                                 ▼              │
//!     └───────── segment files ◄──────────── io::File::write_at ───────┘
//! ```
//!
//! The caller checks a batch ([`batch`]) and, if its producer is idempotent, its place in the
//! producer's sequence ([`producer`]); it makes room, appends, and waits until the batch is
//! durable ([`log`]). The log fills buffers ([`buffer`]) and hands them to its backend ([`io`]):
//! [`UringIo`](io::uring::UringIo) for real files, [`SimIo`](io::sim::SimIo) for a disk in memory
//! that loses what was not synced, on which the same code is tested.
//!
//! # An example
//!
//! ```
//! use ringlog_engine::batch::{BatchBuilder, BatchOptions, CheckedBatch};
//! use ringlog_engine::epoch::LeaderEpoch;
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
//!     let dir = folder.path().join("greetings-0");
//!     let (log, report) = Log::open(&shard, &dir, LogSettings::default()).await?;
//!     assert_eq!(report.cut, None);
//!
//!     let mut builder = BatchBuilder::new(BatchOptions::default());
//!     builder.push(io.now(), Some(b"key"), Some(b"hello, log"), &[]);
//!     let bytes = builder.finish()?;
//!     let batch = CheckedBatch::check(&bytes)?;
//!     let stamp = Stamp { leader_epoch: LeaderEpoch::new(0), ..Stamp::default() };
//!     // When this resolves, the batch survives a loss of power.
//!     let appended = log.append_durably(&batch, stamp).await?;
//!
//!     let end = log.offsets().durable;
//!     let bytes = log.read(appended.base_offset, end, 64 * 1024, true).await?.to_vec();
//!     let batch = CheckedBatch::check(&bytes)?;
//!     let record = batch.records().and_then(|mut records| records.next()).transpose()?;
//!     assert_eq!(record.and_then(|record| record.value), Some(&b"hello, log"[..]));
//!
//!     // Without this, the next open reads the last segment to find where the log ends.
//!     log.close().await?;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })?;
//! // The log's flush task holds the ring, which runs the task: this lets go of both.
//! io.stop_tasks();
//! # Ok(())
//! # }
//! ```
//!
//! Inside a current-thread tokio runtime, make the ring with `UringIo::tokio` and spawn
//! `UringIo::drive` on it; all else is the same.
//!
//! # What can go wrong
//!
//! There is one error type per operation, in [`error`]; each variant says what holds after it.
//!
//! - **A loss of power.** Under [`FlushPolicy::EveryBatch`](log::FlushPolicy), the default, what
//!   [`Log::durable`](log::Log::durable) confirmed is on stable storage. Under
//!   [`FlushPolicy::Relaxed`](log::FlushPolicy) it survives the process only, and a loss of power
//!   takes what came after the last sync. In both cases opening the log again gives a prefix of
//!   what was appended; what is cut off is copied to a file beside the segment first, and
//!   [`RecoveryReport`](log::RecoveryReport) names it.
//! - **A write or sync that fails** is never tried again, since the kernel may have dropped the
//!   bytes and would report success. The log takes nothing more, and everybody who asks gets the
//!   first failure ([`AppendError::Failed`](error::AppendError::Failed)), until it is opened anew.
//!   What was durable before can still be read.
//! - **A full disk** is found when room is made, before anything has changed:
//!   [`AppendError::DiskFull`](error::AppendError::DiskFull). The log stays as it was, and the next
//!   append tries again. Want of memory or files for a new segment is answered alike, with
//!   [`AppendError::Refused`](error::AppendError::Refused).
//! - **Corruption.** A crash tears only what was in flight at the end of the last segment. Wrong
//!   bytes that no torn write can leave are reported
//!   ([`OpenError::Corrupt`](error::OpenError::Corrupt),
//!   [`ReadError::Corrupt`](error::ReadError::Corrupt)) with the file, the position and the
//!   [`Damage`](error::Damage); they are never served, and nothing is cut. Damage that looks like
//!   a torn write is cut as one, and kept in the file named above. A batch's leader epoch is
//!   outside of its checksum, as Kafka's format has it, and so is not guarded.
//! - **Memory** is bounded by [`ShardSettings`](shard::ShardSettings): at the bound, appends and
//!   cold reads wait, which is how a slow disk slows its producers. Every other bound is in
//!   [`limits`].
//! - **Two owners.** A folder belongs to one open log. Nothing here keeps a second one out; that
//!   is for the caller, who knows the data folder, to lock.
//!
//! # Features, and what is needed
//!
//! - `tokio` (on by default): `UringIo::tokio`, by which a current-thread tokio runtime, also
//!   tokio-uring's, drives the ring. Without it the crate depends on no runtime.
//!
//! Linux 6.1 or later, with io_uring allowed and a file system that takes `O_DIRECT`. The minimum
//! supported Rust version is 1.93.

// The words that everything else is said in.
pub mod epoch;
pub mod error;
pub mod limits;
pub mod offset;

// From here on, the modules stand in the order in which a batch crosses them.
pub mod batch;

pub mod producer;

pub mod shard;

pub mod log;

pub mod buffer;

mod cache;

mod segment;

pub mod io;

// What keeps a log in order between batches, and when it is opened and closed.
mod manifest;
mod recovery;
mod retention;
mod small_file;
mod truncate;
