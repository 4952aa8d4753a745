//! The engine on a lying disk: the first rung of the test ladder.
//!
//! A seed is a history (`history`, drawn by `swarm`): what is done to a few logs of one shard,
//! and what their disk does to them. The shipped engine runs it on its simulated disk (`run`,
//! `machine`, `actions`, `open`), and a model (`model`,
//! and `table` for logs that are compacted) judges everything it says. A history
//! that fails is made short (`shrink`), and the last line printed is the command that replays it.

mod actions;
mod args;
mod batches;
mod compaction;
mod engine;
mod exhaustive;
mod history;
mod machine;
mod model;
mod open;
mod panics;
#[cfg(feature = "planted")]
mod planted;
mod random;
mod report;
mod run;
mod shrink;
mod swarm;
mod table;

pub use args::main;

#[cfg(test)]
mod tests;
