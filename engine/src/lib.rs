//! A zero-copy append-only log on io_uring.

pub mod limits;
pub mod offset;
pub mod epoch;
pub mod error;

pub mod shard;
pub mod io;
pub mod buffer;
pub mod batch;
pub mod log;
pub mod producer;

mod cache;
mod manifest;
pub mod recovery;
mod retention;
mod segment;
mod small_file;
mod truncate;
