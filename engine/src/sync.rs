//! The atomics and locks of the code that other threads reach, by one name.
//!
//! `tests/loom.rs` compiles the files that use these names against a model of them that tries every
//! interleaving and every stale value the memory model allows.

pub(crate) use std::sync::PoisonError;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// A lock for what threads without a part in a shard hand in. Never held across a call.
#[expect(clippy::disallowed_types, reason = "the way in for threads that own no part of this one")]
pub(crate) type Mutex<T> = std::sync::Mutex<T>;
