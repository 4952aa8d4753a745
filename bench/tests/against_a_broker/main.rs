//! Every scenario for a fraction of a second against a broker in this process. What is asserted is
//! what must hold at any speed.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod all;
mod compare;
mod log;
mod restart;
mod support;
mod tail;
