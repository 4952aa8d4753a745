//! The chapters of the manual; they hold no code.
//!
//! The model and a first example stand in the [crate's documentation](crate).

#[doc = include_str!("../docs/choosing-settings.md")]
pub mod choosing_settings {}

#[doc = include_str!("../docs/what-can-go-wrong.md")]
pub mod what_can_go_wrong {}

#[doc = include_str!("../docs/recipes.md")]
pub mod recipes {}

#[doc = concat!(
    "`cargo run --example work_queue`: a durable work queue.\n\n```ignore\n",
    include_str!("../examples/work_queue.rs"),
    "\n```"
)]
pub mod work_queue {}

#[doc = concat!(
    "`cargo run --example key_value`: a key-value store whose write-ahead log is the engine.\n\n```ignore\n",
    include_str!("../examples/key_value.rs"),
    "\n```"
)]
pub mod key_value {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
