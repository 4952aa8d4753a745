//! The network: listeners, connections, frames. It knows bytes and order, and nothing of what a
//! request means.
//!
//! [`serve`] runs the connections of one shard. For each frame it calls the broker behind it
//! ([`Service`]) in two steps: `accept` in the order of arrival, `finish` in the order of answers
//! (`connection.responses_in_request_order`). Everything between is bounded: a client that sends
//! more than is taken, or reads less than it is sent, waits.
//!
//! Architecture invariant: nothing here parses a request, and nothing here is shared between
//! shards except the count of connections.

pub mod frame;
mod large;

mod budget;
mod connection;
mod listener;
mod output;
mod queue;
mod receive;
mod registry;
mod service;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;

pub use budget::{Admission, ConnectionBudget, connections_max};
pub use large::LargeBuffers;
pub use listener::{BindError, SocketBuffers, bind};
pub use receive::ReceiveBuffer;
pub use registry::NetSettings;
pub use service::{Outcome, Service};

use ringlog_engine::io::uring::UringIo;

use listener::Closer;
use registry::Registry;

use crate::task;

/// Accepts clients on `listener` and serves them until `stop` resolves; then answers what was
/// taken in, for as long as [`NetSettings::stop_wait`] allows, and closes every connection.
///
/// Runs on a shard's thread, whose tasks `io` runs. When this returns, no request is under way.
///
/// # Errors
///
/// When the listener's descriptor cannot be duplicated; nothing is accepted then.
pub async fn serve<S: Service>(
    io: &UringIo,
    service: Rc<S>,
    listener: TcpListener,
    settings: NetSettings,
    budget: ConnectionBudget,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let closer = Closer::of(&listener)?;
    let registry = Registry::new(io, settings);
    let accepting = listener::accept(service, Rc::clone(&registry), listener, budget);
    let accepting = task::spawn_joined(accepting);
    tokio::select! {
        () = stop => {}
        () = registry.sweep() => {}
    }
    closer.close();
    // A panic in it has raised the alarm.
    let _ = accepting.await;
    registry.stop().await;
    Ok(())
}
