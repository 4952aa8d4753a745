//! A shard's life: start, serve, stop.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use ringlog_engine::error::OpenError;
use tokio::sync::{mpsc, oneshot};

use crate::config::BrokerConfig;
use crate::control::ControlHandle;
use crate::metadata::MetadataImage;

use super::Shard;
use super::clock::Clock;
use super::lent::Lent;
use super::mailbox::{Endpoint, Inbox, ShardId, Wait, Waits};
use super::message::{Call, Reply};
use super::storage::Disk;

/// What a shard's thread needs to start.
pub struct ShardStart {
    /// Which shard.
    pub id: ShardId,
    /// How many there are.
    pub shards: usize,
    /// The broker's configuration.
    pub config: Arc<BrokerConfig>,
    /// The cluster as it is at start; partitions come with the first [`ShardCommand::Adopt`].
    pub image: Arc<MetadataImage>,
    /// Its end of the mesh.
    pub endpoint: Endpoint<Call, Reply>,
    /// Where changes of the cluster's metadata are asked for.
    pub control: ControlHandle,
    /// What the control thread tells it.
    pub commands: mpsc::UnboundedReceiver<ShardCommand>,
}

/// What the control thread tells a shard.
pub enum ShardCommand {
    /// Serve what this image says, and nothing else.
    Adopt {
        /// The newer image.
        image: Arc<MetadataImage>,
        /// Told once every partition of the shard is open, or known not to open.
        done: oneshot::Sender<()>,
    },
    /// Close everything; nothing is asked of the shard after this.
    Close {
        /// Told when the logs are closed.
        done: oneshot::Sender<()>,
    },
}

/// Why a shard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The kernel gives no ring.
    #[error(
        "gets no io_uring from the kernel: {0} (is io_uring allowed here? see \
         /proc/sys/kernel/io_uring_disabled)"
    )]
    Kernel(#[from] io::Error),
    /// Its journal does not open.
    #[error("cannot open its journal: {0}")]
    Journal(#[from] OpenError),
}

/// Builds a shard on the thread that it will live on, whose tasks `disk` runs, and starts its
/// background work.
///
/// # Errors
///
/// [`ShardError`].
pub async fn run(disk: &Disk, start: ShardStart) -> Result<Rc<Shard>, ShardError> {
    let storage = super::journal::open(disk, &start.config, start.id).await?;
    disk.register_buffers(storage.pool());
    let (router, inbox, waits) = start.endpoint.open();
    let shard = Rc::new(Shard {
        id: start.id,
        shards: start.shards,
        clock: Clock::of(disk),
        storage,
        lent: Lent::default(),
        config: start.config,
        router,
        control: start.control,
        image: RefCell::new(start.image),
        partitions: RefCell::new(HashMap::default()),
        offline: RefCell::new(BTreeSet::new()),
        coordinators: RefCell::new(BTreeMap::new()),
        stopping: Cell::new(false),
        producer_ids: RefCell::new(0..0),
    });
    crate::task::spawn(Rc::clone(&shard).take_calls(inbox));
    crate::task::spawn(Rc::clone(&shard).take_waits(waits));
    crate::task::spawn(Rc::clone(&shard).take_commands(start.commands));
    crate::task::spawn(Rc::clone(&shard).keep_house());
    if shard.config.log_cleaner_enable {
        crate::task::spawn(Rc::clone(&shard).keep_clean());
    }
    Ok(shard)
}

impl Shard {
    /// Serves what other shards ask, each call in a task of its own, started in order.
    async fn take_calls(self: Rc<Self>, inbox: Inbox<Call, Reply>) {
        let ended = inbox
            .run(self.clock.disk(), |call, replier| {
                let shard = Rc::clone(&self);
                crate::task::spawn(async move { replier.reply(shard.serve(call).await) });
            })
            .await;
        if let Err(error) = ended {
            panic!("shard {} cannot hear the others: {error}", self.id.0);
        }
    }

    /// Serves the calls that may wait long, each until it is answered or not wanted any more.
    async fn take_waits(self: Rc<Self>, mut waits: Waits<Call, Reply>) {
        while let Some(Wait { call, mut answer }) = waits.recv().await {
            let shard = Rc::clone(&self);
            crate::task::spawn(async move {
                tokio::select! {
                    reply = shard.serve(call) => {
                        // Not wanted any more is as good as answered.
                        let _ = answer.send(reply);
                    }
                    () = answer.closed() => {}
                }
            });
        }
    }

    async fn take_commands(self: Rc<Self>, mut commands: mpsc::UnboundedReceiver<ShardCommand>) {
        while let Some(command) = commands.recv().await {
            let done = match command {
                ShardCommand::Adopt { image, done } => {
                    self.adopt(image).await;
                    done
                }
                ShardCommand::Close { done } => {
                    self.close().await;
                    done
                }
            };
            // The control thread may have stopped waiting.
            let _ = done.send(());
        }
    }
}
