//! Measures Kafka-protocol brokers from the outside, with as little of its own cost as possible.
//!
//! One thread drives many connections through epoll; requests are built once and sent again and
//! again with only their correlation id changed. Latency is the time from the moment at which a
//! request *should* have been sent to its answer, so that a stalled server cannot hide behind
//! requests that were never sent.
//!
//! | module | holds |
//! |---|---|
//! | [`cli`] | the command line
//! | [`scenario`] | a file for each subcommand: its settings, its runs, its verdict |
//! | [`load`] | one run: connections, readers, schedule, threads, tally |
//! | [`wire`] | the requests of the hot path by hand |
//! | [`peer`] | servers of our own to measure against |
//! | [`report`] | what is printed |
//! | [`histogram`] | latencies |
//! | [`page_cache`] | making the kernel forget files |
//! | [`child`] | a server that is started for a measurement |
//! | [`server_process`] | the server's CPU time and memory |
//! | [`admin`] | the topic: created, looked up |
//! | [`args`], [`affinity`], [`error`] | settings that scenarios share, cores, what goes wrong |

#![expect(
    clippy::disallowed_methods,
    reason = "a load generator is the outside world: it looks at the real clock"
)]

pub mod admin;
pub mod affinity;
pub mod args;
pub mod child;
pub mod cli;
pub mod error;
pub mod histogram;
pub mod load;
pub mod page_cache;
pub mod peer;
pub mod report;
pub mod scenario;
pub mod server_process;
pub mod wire;
