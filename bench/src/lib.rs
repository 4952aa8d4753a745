//! Measures Kafka-protocol brokers from the outside, with as little of its own cost as possible.
//!
//! One thread drives many connections through epoll; requests are built once and sent again and
//! again with only their correlation id changed. Latency is the time from the moment at which a
//! request *should* have been sent to its answer, so that a stalled server cannot hide behind
//! requests that were never sent.
//!
//! | module | holds |
//! |---|---|
//! | [`produce`] | the `produce` scenario: settings, threads, result |
//! | [`worker`] | one thread: connections, schedule, tally |
//! | [`connection`] | one socket: request templates, in-flight requests, answers |
//! | [`schedule`] | when open-loop requests are due |
//! | [`histogram`], [`offsets`] | what is counted and checked |
//! | [`server_cpu`] | the server's CPU time |
//! | [`report`] | what is printed |
//! | [`admin`] | the topic: created, looked up |

#![expect(
    clippy::disallowed_methods,
    reason = "a load generator is the outside world: it looks at the real clock"
)]

pub mod admin;
pub mod connection;
pub mod error;
pub mod histogram;
pub mod offsets;
pub mod produce;
pub mod report;
pub mod schedule;
pub mod server_cpu;
pub mod wire;
pub mod worker;
