//! The atomics between shards whose order matters, by one name.
//!
//! `tests/loom.rs` compiles the files that use these names against a model of them that tries every
//! interleaving and every stale value the memory model allows.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
