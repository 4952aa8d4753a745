//! The thread itself.

use std::io;
use std::sync::Arc;

use ringlog_engine::error::OpenError;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::shard::{Shard, ShardSettings};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::ask::{Ask, Asks, ControlError, Parts};
use super::folders::{self, FolderError};
use super::reclaim::Reclaim;
use crate::config::{BrokerConfig, Endpoint};
use crate::controller::{
    AdminError, Controller, LocalQuorum, MetadataStore, Plan, QuorumError, StoreError,
};
use crate::limits::{CONTROL_BUFFER_BYTES, CONTROL_RING_ENTRIES};
use crate::metadata::{ClusterId, MetadataImage, TopicId};
use crate::shard::ShardCommand;
use crate::shard::storage::Disk;

/// What the control thread needs to start.
pub struct ControlStart {
    /// The broker's configuration.
    pub config: Arc<BrokerConfig>,
    /// What clients are told to connect to.
    pub advertised: Endpoint,
    /// The shards, in order.
    pub shards: Vec<mpsc::UnboundedSender<ShardCommand>>,
    /// What is asked of it.
    pub asks: Asks,
    /// Told once every shard serves what the metadata says, or why that cannot be.
    pub ready: oneshot::Sender<Result<Arc<MetadataImage>, StartError>>,
}

/// Why the control thread cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel gives no runtime or no ring.
    #[error("the control thread gets no io_uring or reactor from the kernel: {0}")]
    Kernel(#[from] io::Error),
    /// The metadata log does not open.
    #[error("the metadata log does not open: {0}")]
    Open(#[from] OpenError),
    /// The metadata log cannot be read or written.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// The broker does not fit its data folder.
    #[error(transparent)]
    Register(#[from] StoreError<AdminError>),
    /// A folder cannot be made, moved or read.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Runs the control thread to its end.
pub fn run(start: ControlStart) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = start.ready.send(Err(StartError::Kernel(error)));
            return;
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime, live(start));
}

async fn live(start: ControlStart) {
    let ControlStart { config, advertised, shards, asks, ready } = start;
    match Control::open(config, &advertised, shards).await {
        Ok(control) => {
            control.publish().await;
            // The broker may have given up on starting.
            let _ = ready.send(Ok(control.store.image()));
            control.serve(asks).await;
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
}

struct Control {
    config: Arc<BrokerConfig>,
    controller: Controller,
    store: MetadataStore<LocalQuorum<Disk>>,
    shards: Vec<mpsc::UnboundedSender<ShardCommand>>,
    reclaim: Reclaim,
}

impl Control {
    async fn open(
        config: Arc<BrokerConfig>,
        advertised: &Endpoint,
        shards: Vec<mpsc::UnboundedSender<ShardCommand>>,
    ) -> Result<Self, StartError> {
        let disk = UringIo::tokio(CONTROL_RING_ENTRIES)?;
        let driving = disk.drive();
        tokio::task::spawn_local(async move {
            if let Err(error) = driving.await {
                tracing::error!(%error, "the metadata's ring cannot be driven");
            }
        });
        let settings = ShardSettings {
            buffer_pool_bytes: CONTROL_BUFFER_BYTES,
            cache_bytes: 0,
            ..ShardSettings::default()
        };
        let storage = Shard::new(disk, settings);
        let (quorum, report) = LocalQuorum::open(&storage, &config.data_dir).await?;
        if let Some(cut) = &report.cut {
            let (at, bytes, kept) = (cut.position, cut.bytes, cut.saved.display());
            let why = &cut.damage;
            tracing::warn!(at, bytes, %why, %kept, "cut an unfinished end off the metadata log");
        }
        let store = MetadataStore::open(quorum).await?;
        let controller = Controller::new(BrokerConfig::clone(&config));
        let drawn = ClusterId::new(Uuid::new_v4());
        store.change(|image| controller.register_broker(image, advertised, drawn)).await?;
        let mut reclaim = Reclaim::default();
        folders::tidy(&config.data_dir, &store.image(), &mut reclaim)?;
        Ok(Self { config, controller, store, shards, reclaim })
    }

    /// Hands the newest image to every shard and waits until all of them serve it.
    async fn publish(&self) {
        let image = self.store.image();
        self.tell(|done| ShardCommand::Adopt { image: Arc::clone(&image), done }).await;
    }

    async fn tell(&self, command: impl Fn(oneshot::Sender<()>) -> ShardCommand) {
        let mut waiting = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let (sender, receiver) = oneshot::channel();
            if shard.send(command(sender)).is_ok() {
                waiting.push(receiver);
            }
        }
        for done in waiting {
            // A shard that has died takes the broker with it; nobody waits for it here.
            let _ = done.await;
        }
    }

    async fn serve(mut self, mut asks: Asks) {
        while let Some(ask) = asks.0.recv().await {
            match ask {
                Ask::CreateTopics { topics, validate_only, answer } => {
                    let plan = |image: &MetadataImage| {
                        self.controller.create_topics(image, &topics, validate_only, draw_topic_id)
                    };
                    let _ = answer.send(self.change(plan).await);
                }
                Ask::AutoCreate { names, answer } => {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let plan = |image: &MetadataImage| {
                        self.controller.auto_create(image, &names, draw_topic_id)
                    };
                    let _ = answer.send(self.change(plan).await);
                }
                Ask::DeleteTopics { topics, answer } => {
                    let plan =
                        |image: &MetadataImage| self.controller.delete_topics(image, &topics);
                    let deleted = self.change(plan).await;
                    for topic in deleted.iter().flatten().flatten() {
                        let dir = &self.config.data_dir;
                        if let Err(error) = folders::remove(dir, topic, &mut self.reclaim) {
                            tracing::error!(topic = &*topic.name, %error, "not removed yet");
                        }
                    }
                    let _ = answer.send(deleted);
                }
                Ask::CreatePartitions { topics, validate_only, answer } => {
                    let plan = |image: &MetadataImage| {
                        self.controller.create_partitions(image, &topics, validate_only)
                    };
                    let _ = answer.send(self.change(plan).await);
                }
                Ask::AlterTopicConfigs { topics, validate_only, answer } => {
                    let plan = |image: &MetadataImage| {
                        self.controller.alter_topic_configs(image, &topics, validate_only)
                    };
                    let _ = answer.send(self.change(plan).await);
                }
                Ask::ProducerIds { answer } => {
                    let allocated = self
                        .store
                        .change(|image| {
                            self.controller.allocate_producer_ids(image, self.config.node_id)
                        })
                        .await;
                    let _ = answer.send(allocated.map_err(|error| match error {
                        StoreError::Refused(error) => {
                            ControlError::Refused(error.to_string().into())
                        }
                        other => not_stored(&other),
                    }));
                }
                Ask::Stop { answer } => {
                    self.tell(|done| ShardCommand::Close { done }).await;
                    if let Err(error) = self.store.quorum().log().close().await {
                        tracing::error!(%error, "the metadata log was not closed cleanly");
                    }
                    let _ = answer.send(());
                    return;
                }
            }
        }
    }

    /// Decides, makes the folders, makes the records durable, and has every shard serve them.
    async fn change<T>(
        &self,
        plan: impl FnOnce(&MetadataImage) -> Plan<Vec<Result<T, AdminError>>>,
    ) -> Parts<T> {
        let before = self.store.image().version();
        let decided = self.store.change(|image| {
            let plan = plan(image);
            folders::create(&self.config.data_dir, image, &plan.records)?;
            Ok::<_, FolderError>(plan)
        });
        let answer = decided.await.map_err(|error| not_stored(&error))?;
        if self.store.image().version() != before {
            self.publish().await;
        }
        Ok(answer)
    }
}

fn draw_topic_id() -> TopicId {
    loop {
        if let Some(id) = TopicId::new(Uuid::new_v4()) {
            return id;
        }
    }
}

fn not_stored(error: &dyn std::error::Error) -> ControlError {
    tracing::error!(%error, "a change of the metadata was not stored");
    ControlError::NotStored(error.to_string().into())
}
