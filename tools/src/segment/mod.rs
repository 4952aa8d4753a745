//! The files of a data folder, read without a broker.
//!
//! [`SegmentScanner`] walks the batches of a `.log` file; [`index`] reads `.index` and
//! `.timeindex`; [`folder`] finds the files of a log; [`state`] checks the small files beside
//! them.

pub mod folder;
pub mod index;
mod scan;
pub mod state;

pub use scan::{EntryError, Rest, SegmentScanner, Step};
