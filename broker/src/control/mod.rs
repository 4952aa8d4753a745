//! The control thread: the one place where the cluster's metadata changes.
//!
//! It runs beside the shards on a thread of its own, may block, and is never waited for by the
//! data path. A change goes through it like this:
//!
//! ```text
//!  handler ── ControlHandle ──► decide (controller, pure) ─► folders ─► quorum: durable
//!     ▲                                                                     │
//!     └───────── answer ◄── every shard serves it ◄── new image published ◄─┘
//! ```
//!
//! Changes are made one at a time, and each is served by every shard before it is answered: a
//! client that has created a topic can write to it at once, and a topic that was deleted has left
//! its folder before another can come under its name.

mod ask;
mod folders;
mod reclaim;
mod thread;

pub use ask::{Asks, ControlError, ControlHandle, Parts, asks};
pub use folders::FolderError;
pub use thread::{ControlStart, StartError, run};
