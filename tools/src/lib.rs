//! What `ringlogctl` is made of.
//!
//! - [`client`]: a small blocking Kafka client: connections, version negotiation, routing to
//!   leaders and coordinators, group membership. It talks to any Kafka-protocol broker.
//! - [`segment`]: reads the files of a data folder without a broker.
//! - [`simulate`]: the engine on a simulated disk that lies, judged by a model.
//! - [`cli`]: one file per command.
//!
//! And [`real_crash`], a rung of the test ladder: the engine under `kill -9` and losses of power.

#![expect(
    clippy::disallowed_methods,
    reason = "the tools are the outside world: they look at the real clock and may block"
)]

pub mod cli;
pub mod client;
pub mod real_crash;
pub mod segment;
pub mod simulate;
