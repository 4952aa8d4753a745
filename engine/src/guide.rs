//! The chapters of the manual; they hold no code.
//!
//! The model and a first example stand in the [crate's documentation](crate).

#[doc = include_str!("../docs/choosing-settings.md")]
pub mod choosing_settings {}

#[doc = include_str!("../docs/what-can-go-wrong.md")]
pub mod what_can_go_wrong {}

#[doc = include_str!("../docs/recipes.md")]
pub mod recipes {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
