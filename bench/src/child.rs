//! A server that is started for a measurement, and ends with it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};

use crate::admin;
use crate::affinity;
use crate::error::BenchError;

/// Between two tries to reach it.
const RETRY: Duration = Duration::from_millis(1);

/// Waits until its standard input ends, as it does however this program ends, and kills a process.
/// What ends this program is not for the watch: it has work to do then.
const WATCH: &str = "trap '' INT TERM HUP; cat >/dev/null; kill -9 \"$1\"";

/// The server's process; killed when this is dropped, and also when this program is killed itself.
#[derive(Debug)]
pub struct ServerChild {
    line: String,
    child: Child,
    watch: Child,
}

impl ServerChild {
    /// Starts `command`, which people know as `line`, on core `cpu` if one is named.
    ///
    /// # Errors
    ///
    /// [`BenchError::Command`] if there is no such program, [`BenchError::System`] if there is no
    /// such core.
    pub fn start(
        line: &str,
        command: &mut Command,
        cpu: Option<usize>,
    ) -> Result<Self, BenchError> {
        command.stdin(Stdio::null());
        let child = pinned(cpu, || command.spawn())?;
        let mut child = child.map_err(|error| failure(line, error.to_string()))?;
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "sh", &child.id().to_string()]);
        // It is told nothing: that its input ends is all that it waits for.
        watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        match watch.spawn() {
            Ok(watch) => Ok(Self { line: line.to_owned(), child, watch }),
            Err(source) => {
                let _ = child.kill().and_then(|()| child.wait());
                Err(BenchError::System { what: "watch over a server", source })
            }
        }
    }

    /// The process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server answers a request for `topic`'s metadata at `bootstrap`.
    ///
    /// # Errors
    ///
    /// [`BenchError::Command`] if the process ended; what the last try met, if `patience` is over.
    pub fn wait_until_it_answers(
        &mut self,
        bootstrap: &str,
        topic: &str,
        patience: Duration,
    ) -> Result<(), BenchError> {
        let deadline = Instant::now() + patience;
        loop {
            let asked =
                admin::Server::connect(bootstrap).and_then(|mut server| server.metadata(topic));
            let Err(error) = asked else { return Ok(()) };
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(failure(&self.line, format!("it ended with {status}")));
            }
            if Instant::now() >= deadline {
                return Err(error);
            }
            thread::park_timeout(RETRY);
        }
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // The watch first: once the server is gone, its number may be another process's. All of
        // this fails only where they have ended already.
        for child in [&mut self.watch, &mut self.child] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for ServerChild {
    fn drop(&mut self) {
        self.end();
    }
}

/// Does `work`, which starts a process, so that the process is on core `cpu`, as `taskset` would.
/// A process inherits the cores of the thread that starts it, so that a thread of its own does.
///
/// # Errors
///
/// [`BenchError::System`] if there is no such core.
pub fn pinned<T: Send>(
    cpu: Option<usize>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, BenchError> {
    let worked =
        thread::scope(|scope| scope.spawn(move || affinity::pin(cpu).map(|()| work())).join());
    worked.map_err(|_| BenchError::Worker)?
}

fn failure(line: &str, what: String) -> BenchError {
    BenchError::Command { command: line.to_owned(), what }
}

/// A port of this machine that nobody else is given while this lives. A server can listen on it
/// meanwhile, as this does not.
#[derive(Debug)]
pub struct ReservedPort {
    _socket: OwnedFd,
    address: SocketAddr,
}

impl ReservedPort {
    /// A free port of the loopback address.
    ///
    /// # Errors
    ///
    /// [`BenchError::System`] if there is none.
    pub fn new() -> Result<Self, BenchError> {
        Self::reserve().map_err(|source| BenchError::System { what: "reserve a port", source })
    }

    fn reserve() -> io::Result<Self> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        // Servers bind with the one or the other; both must be set on every socket of the port.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        let address = getsockname(&socket)?.try_into()?;
        Ok(Self { _socket: socket, address })
    }

    /// Where a server may listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_child_runs_on_its_core_only_and_its_parent_stays_free() {
        let before = std::thread::available_parallelism().unwrap();
        let core = affinity::other_core(&[]).unwrap();
        let command = || Command::new("nproc").env_remove("OMP_NUM_THREADS").output();
        let output = pinned(Some(core), command).unwrap().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "1");
        assert_eq!(std::thread::available_parallelism().unwrap(), before);
    }

    #[test]
    fn a_server_does_not_outlive_the_program_that_started_it() {
        let mut command = Command::new("sleep");
        let mut server = ServerChild::start("sleep", command.arg("600"), None).unwrap();
        // All that this program holds of the watch is closed when it ends, in whichever way.
        drop(server.watch.stdin.take());
        assert_eq!(server.child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn a_child_that_ends_or_cannot_start_is_an_error_that_names_it() {
        let port = ReservedPort::new().unwrap();
        let mut child = ServerChild::start("false", &mut Command::new("false"), None).unwrap();
        let patience = Duration::from_secs(60);
        let address = port.address().to_string();
        let error = child.wait_until_it_answers(&address, "topic", patience).unwrap_err();
        assert!(error.to_string().contains("`false`"), "{error}");
        let missing = ServerChild::start("none", &mut Command::new("/none/such"), None);
        assert!(matches!(missing, Err(BenchError::Command { .. })));
    }

    #[test]
    fn a_reserved_port_can_be_listened_on_and_is_given_once() {
        let ports = [ReservedPort::new().unwrap(), ReservedPort::new().unwrap()];
        assert_ne!(ports[0].address(), ports[1].address());
        TcpListener::bind(ports[0].address()).unwrap();
    }
}
