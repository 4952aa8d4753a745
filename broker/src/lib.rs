//! A log broker that speaks the Kafka protocol, on io_uring.
//!
//! The library is what the binary `ringlog` runs; tests and tools use parts of it. The modules are
//! declared in the order in which a request crosses them.

pub mod limits;

pub mod config;
pub mod server;

pub mod net;

pub mod dispatch;

pub mod protocol;

pub mod handlers;

pub mod shard;

pub mod partition;

pub mod compression;

pub mod group;

pub mod control;
pub mod controller;
pub mod metadata;

mod data_dir;
mod sync;
mod task;
mod timer;
