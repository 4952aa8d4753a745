//! Servers within this process, to measure the generator and the host against.

pub mod device;
pub mod floor;
pub mod instant;
