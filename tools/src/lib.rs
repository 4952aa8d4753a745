//! What `ringlogctl` is made of.
//!
//! - [`client`]: a small blocking Kafka client: connections, version negotiation, routing to
//!   leaders and coordinators, group membership. It talks to any Kafka-protocol broker.
//! - [`segment`]: reads the files of a data folder without a broker.
//! - [`cli`]: one file per command.

#![expect(
    clippy::disallowed_methods,
    reason = "the tools are the outside world: they look at the real clock and may block"
)]

pub mod cli;
pub mod client;
pub mod segment;
