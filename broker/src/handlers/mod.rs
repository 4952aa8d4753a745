//! One file for each API. Here, and only here, what happened becomes an error code of Kafka's.

pub mod admin;
pub mod cluster;
pub mod data;
pub mod group;

mod codes;
mod topics;
