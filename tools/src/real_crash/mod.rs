//! A real crash beside the simulated one: the engine on the kernel's io_uring, in a process that is
//! killed, on a disk that loses power.
//!
//! ```text
//!   this process                       a child, killed at a random moment
//!   ┌──────────────────┐   pipe        ┌──────────────────────────────┐
//!   │ models of logs   │◄── events ────│ work: appends, rolls, cuts   │── engine ──┐
//!   │                  │               └──────────────────────────────┘            ▼
//!   │ judge            │◄── report ────  a fresh child opens the logs         files, or a
//!   └──────────────────┘                 and tells what they hold            [`disk::Disk`]
//! ```
//!
//! The child tells of everything before it may matter: of a batch when it has its offsets, before
//! a byte of it is written, and of its durability when the engine has said so. What is in the pipe
//! outlives the child. So after each crash every log must hold a prefix of what was appended, byte
//! for byte at the same offsets, with everything that was acknowledged (`log.recovers_a_prefix`,
//! `log.keeps_acknowledged`).
//!
//! - Under `kill -9` the files lie on any file system, and logs are of both flush policies.
//! - Under a loss of power they lie on a [`disk::Disk`], and what was not synced is lost in part.

mod args;
pub mod disk;
mod event;
mod judge;
mod process;
pub mod random;
mod rounds;
mod work;

pub use args::{Child, Command, Rounds};
pub use judge::Violation;
pub use rounds::{Fault, Plan, RoundsError, Summary, run};
pub use work::{Task, WorkError, report, work};
