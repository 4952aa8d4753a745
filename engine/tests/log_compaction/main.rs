//! Compaction against a model of Kafka's rules: random keys, tombstones, producers and
//! transactions, time that passes, and crashes after every single operation.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod beside;
mod crashes;
mod model;
mod rules;
#[path = "../support/mod.rs"]
mod support;
mod transactions;
