//! What end-to-end tests need: a broker in one line, a client that sends any request at any
//! version, and batches.
//!
//! A [`Broker`] runs in the test's own process; a [`Process`] is the real binary, which can be
//! killed. Both take a free port and a data folder of their own.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]

mod batches;
mod broker;
mod client;
mod process;
mod requests;

pub use batches::*;
pub use broker::{Broker, Folder, config};
pub use client::{Client, PATIENCE, answer};
pub use process::{Process, start_refused, start_refused_at};
pub use requests::*;

pub use ringlog_broker::compression::{Compression, compress, compress_batch};
pub use ringlog_broker::protocol::ErrorCode;
pub use ringlog_broker::protocol::codec::{Records, Request, Str};
pub use ringlog_broker::protocol::messages::*;
