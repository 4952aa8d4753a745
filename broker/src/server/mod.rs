//! A whole broker in one process: folder, port, threads; started, and stopped again.
//!
//! [`Server::start`] takes a configuration and gives a [`RunningServer`] that serves clients.
//! The binary `ringlog` is this and a command line; tests start as many as they like.
//!
//! One thread per shard, named `shard-0`, `shard-1`, ... and pinned to a core each, and one named
//! `control`. A panic on any of them makes the whole broker stop ([`RunningServer::failed`]):
//! there is no state in which a part of it is dead and the rest looks well.

mod life;
mod thread;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{mpsc, oneshot};

pub use crate::data_dir::DataDirError;
pub use life::Failure;

use crate::config::{BrokerConfig, Endpoint};
use crate::control::{self, Asks, ControlHandle, ControlStart};
use crate::data_dir::DataDir;
use crate::limits::{CLOSED_WAIT_MS, STOP_WAIT_MS};
use crate::metadata::MetadataImage;
use crate::net::{self, BindError, ConnectionBudget, NetSettings, SocketBuffers};
use crate::shard::mailbox::{ShardId, mesh};
use crate::shard::{ShardCommand, ShardError, ShardStart};
use life::{Life, Phase};
use thread::ShardThread;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The name service does not know the host.
    #[error("cannot listen on {endpoint}: the host is not known: {source}")]
    UnknownHost {
        /// The address as configured.
        endpoint: Endpoint,
        /// The system's error.
        source: io::Error,
    },
    /// The host has no address.
    #[error("cannot listen on {endpoint}: the host has no address")]
    NoAddress {
        /// The address as configured.
        endpoint: Endpoint,
    },
    /// The port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A listener, eventfd or thread.
    #[error("the kernel gives no {what}: {source}")]
    Kernel {
        /// What was asked for.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A shard.
    #[error("shard {} {source}", shard.0)]
    Shard {
        /// The shard.
        shard: ShardId,
        /// Why not.
        source: ShardError,
    },
    /// The metadata, or what it needs.
    #[error(transparent)]
    Control(#[from] control::StartError),
    /// A thread ended while the broker was starting.
    #[error("{0}")]
    Failed(Arc<Failure>),
}

impl StartError {
    fn kernel(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Kernel { what, source }
    }
}

/// Starts brokers.
#[derive(Debug, Clone, Copy)]
pub struct Server;

impl Server {
    /// Starts a broker and returns when it serves clients: every log is open, and what was
    /// acknowledged before is there.
    ///
    /// Blocks; not for use inside an async task. Raises the process's limit of open files to the
    /// most that it may have, and serves fewer connections than configured where that limit would
    /// leave too few files to the logs ([`net::connections_max`]).
    ///
    /// # Errors
    ///
    /// [`StartError`]. Nothing runs, nothing is listened on and nothing is locked then.
    pub fn start(mut config: BrokerConfig) -> Result<RunningServer, StartError> {
        let files_max = raise_file_limit();
        let data_dir = DataDir::open(&config.data_dir)?;
        config.data_dir = data_dir.path().to_owned();
        let address = resolve(&config.listener)?;
        let buffers = SocketBuffers {
            receive_bytes: config.socket_receive_buffer_bytes,
            send_bytes: config.socket_send_buffer_bytes,
        };
        let listeners = net::bind(address, config.shards, buffers)?;
        let address = listeners
            .first()
            .map_or(Ok(address), TcpListener::local_addr)
            .map_err(StartError::kernel("address of a listener"))?;
        let advertised = config.advertised_on(address.port());
        let (control, asks) = control::asks();
        let mut server = RunningServer {
            address,
            advertised: advertised.clone(),
            config: Arc::new(config),
            life: Life::new(),
            control,
            shards: Vec::new(),
            control_thread: None,
            data_dir,
        };
        let commands = server.start_shards(listeners, files_max)?;
        server.start_control(asks, advertised, commands)?;
        if let Some(failure) = server.life.failure() {
            return Err(StartError::Failed(failure));
        }
        server.life.enter(Phase::Serving);
        Ok(server)
    }
}

fn resolve(endpoint: &Endpoint) -> Result<SocketAddr, StartError> {
    let addresses = endpoint
        .resolve()
        .map_err(|source| StartError::UnknownHost { endpoint: endpoint.clone(), source })?;
    // A name may have an address of each family. Clients that are told the name try both.
    let preferred = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    preferred.copied().ok_or_else(|| StartError::NoAddress { endpoint: endpoint.clone() })
}

/// Lets the process have as many files open as it may: each connection and each segment is one.
/// Says how many that are, or `None` if there is no limit.
fn raise_file_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let wanted = Rlimit { current: maximum, maximum };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            tracing::warn!(?current, ?maximum, %error, "the limit of open files stays as it is");
            return current;
        }
    }
    maximum
}

/// The connections that the broker serves, with a word if they are fewer than configured.
fn connection_budget(config: &BrokerConfig, files_max: Option<u64>) -> ConnectionBudget {
    let configured = config.max_connections;
    let max = net::connections_max(configured, files_max, crate::shard::journal::files(config));
    if max < configured {
        tracing::debug!(
            configured,
            connections_max = max,
            files_max,
            "serving fewer connections than max.connections, so that files are left to the logs; \
             raise the limit of open files (ulimit -n)"
        );
    }
    ConnectionBudget::new(max)
}

/// A broker that runs. Dropping it stops it, as [`RunningServer::stop`] does.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    advertised: Endpoint,
    config: Arc<BrokerConfig>,
    life: Life,
    control: ControlHandle,
    shards: Vec<JoinHandle<()>>,
    control_thread: Option<JoinHandle<()>>,
    /// Dropped last: the folder is locked while anything runs.
    data_dir: DataDir,
}

impl RunningServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients are told to connect to.
    #[must_use]
    pub fn advertised(&self) -> &Endpoint {
        &self.advertised
    }

    /// Its data folder, as an absolute path.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// What it runs with.
    #[must_use]
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// Resolves if the broker cannot go on. It still has to be stopped. Safe to drop.
    pub async fn failed(&self) -> Arc<Failure> {
        self.life.failed().await
    }

    /// Stops the broker: no more clients, no more requests, the answers that are owed, the logs
    /// closed. When this returns, all threads have ended, and the folder is free.
    ///
    /// Blocks; not for use inside an async task. Takes as long as the requests under way, and
    /// [`STOP_WAIT_MS`] twice at most if a client does not take its answers.
    ///
    /// # Errors
    ///
    /// What made the broker fail before, or on the way. Then some log may not be closed cleanly,
    /// which costs time at the next start and no data.
    pub fn stop(mut self) -> Result<(), Arc<Failure>> {
        self.end();
        self.life.failure().map_or(Ok(()), Err)
    }

    fn start_shards(
        &mut self,
        listeners: Vec<TcpListener>,
        files_max: Option<u64>,
    ) -> Result<Vec<mpsc::UnboundedSender<ShardCommand>>, StartError> {
        let config = &self.config;
        let endpoints = mesh(config.shards).map_err(StartError::kernel("eventfd"))?;
        let budget = connection_budget(config, files_max);
        let cores = thread::cores();
        let image = Arc::new(MetadataImage::default());
        let (started, starts) = std_mpsc::channel();
        let mut commands = Vec::with_capacity(config.shards);
        for (index, (endpoint, listener)) in endpoints.into_iter().zip(listeners).enumerate() {
            let (sender, receiver) = mpsc::unbounded_channel();
            commands.push(sender);
            let start = ShardStart {
                id: ShardId(index),
                shards: config.shards,
                config: Arc::clone(config),
                image: Arc::clone(&image),
                endpoint,
                control: self.control.clone(),
                commands: receiver,
            };
            let shard = ShardThread {
                start,
                // More shards than cores share them; pinned, they could not give way.
                core: if config.shards <= cores.len() { cores.get(index).copied() } else { None },
                listener,
                settings: NetSettings {
                    request_bytes_max: config.socket_request_max_bytes,
                    requests_open_max: config.connection_queued_max_requests,
                    idle_max: config.connections_max_idle,
                    closed_wait: Duration::from_millis(CLOSED_WAIT_MS),
                    stop_wait: Duration::from_millis(STOP_WAIT_MS),
                },
                budget: budget.clone(),
                life: self.life.clone(),
                started: started.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("shard-{index}"))
                .spawn(move || thread::run(shard))
                .map_err(StartError::kernel("thread"))?;
            self.shards.push(thread);
        }
        drop(started);
        // Ends when the last shard has said so, or has died.
        for (shard, outcome) in starts {
            outcome.map_err(|source| StartError::Shard { shard, source })?;
        }
        match self.life.failure() {
            Some(failure) => Err(StartError::Failed(failure)),
            None => Ok(commands),
        }
    }

    fn start_control(
        &mut self,
        asks: Asks,
        advertised: Endpoint,
        shards: Vec<mpsc::UnboundedSender<ShardCommand>>,
    ) -> Result<(), StartError> {
        let (ready, readiness) = oneshot::channel();
        let config = Arc::clone(&self.config);
        let start = ControlStart { config, advertised, shards, asks, ready };
        let life = self.life.clone();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| control::run(start))).is_err() {
                    life.fail(Failure::ControlPanicked);
                }
            })
            .map_err(StartError::kernel("thread"))?;
        self.control_thread = Some(thread);
        match readiness.blocking_recv() {
            Ok(started) => {
                started?;
                Ok(())
            }
            // The control thread ended without a word.
            Err(_) => {
                self.life.fail(Failure::ControlPanicked);
                Err(StartError::Failed(Arc::new(Failure::ControlPanicked)))
            }
        }
    }

    /// Ends whatever runs, in order. Once it has, doing it again does nothing.
    fn end(&mut self) {
        if self.control_thread.is_some() {
            self.life.enter(Phase::Draining);
            let (life, control, shards) = (&self.life, &self.control, self.shards.len());
            let waited = tokio::runtime::Builder::new_current_thread().build().map(|runtime| {
                runtime.block_on(async {
                    life.all_drained(shards).await;
                    control.stop().await;
                });
            });
            if let Err(error) = waited {
                tracing::error!(%error, "the logs are not closed cleanly");
            }
        }
        self.life.enter(Phase::Ended);
        // A panic was reported when it happened.
        for shard in self.shards.drain(..) {
            let _ = shard.join();
        }
        // Without the last handle to ask with, the control thread ends by itself.
        self.control = control::asks().0;
        if let Some(control) = self.control_thread.take() {
            let _ = control.join();
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.end();
    }
}
