//! Listening: one socket a shard on one port, and the loop that accepts.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringListener;
use rustix::net::sockopt::set_socket_reuseport;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::budget::ConnectionBudget;
use super::connection;
use super::registry::Registry;
use super::service::Service;
use crate::limits::{ACCEPT_PAUSE_MS, LISTEN_BACKLOG, PORT_WAIT};

/// The sizes of the kernel's buffers of a connection; `None` is the kernel's own tuning.
#[derive(Debug, Clone, Copy, Default)]
pub struct SocketBuffers {
    /// `socket.receive.buffer.bytes`.
    pub receive_bytes: Option<usize>,
    /// `socket.send.buffer.bytes`.
    pub send_bytes: Option<usize>,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error(
        "cannot listen on {address}: another process does already; stop it, or choose another \
         port with --listen HOST:PORT"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// A port that only privileged processes may have.
    #[error("cannot listen on {address}: this user may not (ports below 1024 need a privilege)")]
    Forbidden {
        /// The address.
        address: SocketAddr,
    },
    /// An address of no interface of this machine.
    #[error("cannot listen on {address}: no interface of this machine has that address")]
    NotHere {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Failed {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

impl BindError {
    fn of(address: SocketAddr) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::PermissionDenied => Self::Forbidden { address },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address },
            _ => Self::Failed { address, source },
        }
    }
}

/// Listens on `address` with `count` sockets, between which the kernel shares out the clients.
/// Port 0 is drawn once, and all sockets are on it.
///
/// # Errors
///
/// [`BindError`]; nothing is listened on then. An address where *any* other process listens is an
/// error, also another broker of this kind, with which the kernel would otherwise share clients.
pub fn bind(
    address: SocketAddr,
    count: usize,
    buffers: SocketBuffers,
) -> Result<Vec<TcpListener>, BindError> {
    if address.port() != 0 {
        probe(address, buffers).map_err(BindError::of(address))?;
    }
    let mut listeners: Vec<TcpListener> = Vec::with_capacity(count);
    let mut bound = address;
    for _ in 0..count {
        let listen = || {
            let socket = socket(bound, true, buffers)?;
            socket.listen(LISTEN_BACKLOG)?;
            let listener = TcpListener::from(socket);
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        };
        let (listener, on) = listen().map_err(BindError::of(bound))?;
        bound = on;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Finds out, with a socket that shares its port with nobody, whether somebody listens there.
///
/// A broker that was killed holds its port for a moment longer: the kernel ends the accepts of its
/// rings after the process is gone. So a port in use is looked at again before it counts as that.
#[expect(clippy::disallowed_methods, reason = "the broker starts, and nobody is served yet")]
fn probe(address: SocketAddr, buffers: SocketBuffers) -> io::Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        match socket(address, false, buffers) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && waited < PORT_WAIT => {
                std::thread::sleep(PORT_WAIT / 50);
                waited += PORT_WAIT / 50;
            }
            probed => return probed.map(drop),
        }
    }
}

fn socket(address: SocketAddr, shared: bool, buffers: SocketBuffers) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    set_socket_reuseport(&socket, shared)?;
    // Accepted connections inherit these.
    socket.set_keepalive(true)?;
    if let Some(bytes) = buffers.receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = buffers.send_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Ends the accept loop on a listener from elsewhere on its thread.
pub(super) struct Closer(TcpListener);

impl Closer {
    pub(super) fn of(listener: &TcpListener) -> io::Result<Self> {
        listener.try_clone().map(Self)
    }

    /// No client is accepted any more, and the accept under way fails.
    pub(super) fn close(&self) {
        // Nothing to do about an error: a socket that cannot be shut down accepts no more either.
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}

/// Accepts clients until the listener is closed. Survives a process without file descriptors.
pub(super) async fn accept<S: Service>(
    service: Rc<S>,
    registry: Rc<Registry<S::Pending>>,
    listener: TcpListener,
    budget: ConnectionBudget,
) {
    let listener = UringListener::new(registry.io(), listener);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match budget.admit() {
                Some(admission) => {
                    connection::spawn(&service, &registry, stream, peer, admission);
                }
                None => {
                    if let Some(unsaid) = registry.turned_away.due(registry.io()) {
                        let max = budget.max();
                        tracing::warn!(
                            %peer,
                            unsaid,
                            "closed a connection: {max} are open, as many as max.connections and \
                             the limit of open files allow"
                        );
                    }
                }
            },
            Err(error) => match rustix::io::Errno::from_io_error(&error) {
                // What a listener that was shut down answers.
                Some(rustix::io::Errno::INVAL | rustix::io::Errno::BADF) => return,
                Some(
                    rustix::io::Errno::MFILE
                    | rustix::io::Errno::NFILE
                    | rustix::io::Errno::NOBUFS
                    | rustix::io::Errno::NOMEM,
                ) => {
                    if let Some(unsaid) = registry.turned_away.due(registry.io()) {
                        tracing::error!(%error, unsaid, "cannot accept a client now");
                    }
                    registry.io().sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
                // The client is gone already, or its network had an error: not the listener's.
                _ => tracing::debug!(%error, "a client was gone before it was accepted"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_port() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn all_sockets_are_on_the_port_that_was_drawn() {
        let listeners = bind(any_port(), 3, SocketBuffers::default()).expect("a free port");
        let ports: Vec<u16> =
            listeners.iter().map(|listener| listener.local_addr().expect("bound").port()).collect();
        assert_ne!(ports[0], 0);
        assert_eq!(ports, [ports[0]; 3]);
    }

    #[test]
    fn a_port_in_use_is_an_error_even_if_its_user_would_share_it() {
        let sharing = bind(any_port(), 2, SocketBuffers::default()).expect("a free port");
        let alone = TcpListener::bind(any_port()).expect("a free port");
        for address in [sharing[0].local_addr(), alone.local_addr()] {
            let address = address.expect("bound");
            let error = bind(address, 1, SocketBuffers::default()).expect_err("in use");
            assert!(matches!(error, BindError::InUse { address: named } if named == address));
        }
    }

    #[test]
    fn an_address_of_another_machine_is_told_apart() {
        let error = bind(SocketAddr::from(([192, 0, 2, 1], 0)), 1, SocketBuffers::default());
        assert!(matches!(error, Err(BindError::NotHere { .. })), "{error:?}");
    }
}
