//! Makes a shard serve what the cluster's metadata says: opens, reconfigures and closes partitions.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringlog_engine::error::OpenError;
use ringlog_engine::log::{FlushPolicy, Log, LogSettings};

use crate::config::{BrokerConfig, ConfigError, TopicConfig};
use crate::controller::OFFSETS_TOPIC;
use crate::group::{Settings, TopicName};
use crate::limits::OPENS_IN_FLIGHT;
use crate::metadata::{MetadataImage, PartitionId, Topic};
use crate::partition::{Partition, PartitionKey};

use super::Shard;
use super::groups::GroupShell;
use super::mailbox::ShardId;

/// Where a partition's log lies in the data folder.
#[must_use]
fn log_dir(config: &BrokerConfig, topic: &str, partition: PartitionId) -> PathBuf {
    config.data_dir.join(format!("{topic}-{partition}"))
}

/// The engine's settings for one partition of a topic.
fn log_settings(broker: &BrokerConfig, topic: &TopicConfig) -> LogSettings {
    let deleting = topic.cleanup_policy.delete;
    // What is to be compacted by some age has to be sealed by then.
    let lag_max = topic.cleanup_policy.compact.then_some(topic.max_compaction_lag_ms);
    let segment_ms = lag_max.map_or(topic.segment_ms, |lag| lag.min(topic.segment_ms));
    LogSettings {
        segment_bytes: topic.segment_bytes,
        segment_age_max: Duration::from_millis(segment_ms),
        index_interval_bytes: topic.index_interval_bytes,
        retention_age_max: topic.retention_ms.filter(|_| deleting).map(Duration::from_millis),
        retention_bytes: topic.retention_bytes.filter(|_| deleting),
        batch_bytes_max: broker.batch_bytes_max(topic),
        durability: if topic.flushes_every_batch() {
            FlushPolicy::EveryBatch
        } else {
            let (messages, interval) = (topic.flush_messages, topic.flush_interval);
            FlushPolicy::Relaxed { messages, interval }
        },
        producer_expiry: broker.producer_id_expiration,
        ..LogSettings::default()
    }
}

fn group_settings(config: &BrokerConfig) -> Settings {
    let timeout = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    Settings {
        session_timeout_min_ms: timeout(config.group_min_session_timeout),
        session_timeout_max_ms: timeout(config.group_max_session_timeout),
        initial_rebalance_delay: config.group_initial_rebalance_delay,
        group_size_max: config.group_max_size,
        offset_metadata_max: config.offset_metadata_max_bytes,
        offsets_retention: config.offsets_retention,
        offsets_retention_check_interval: config.offsets_retention_check_interval,
        ..Settings::default()
    }
}

impl Shard {
    /// Serves what `image` says: after this every partition that the shard owns in it is open, or
    /// is known not to open, and no other is served.
    pub(super) async fn adopt(self: &Rc<Self>, image: Arc<MetadataImage>) {
        let old = self.image();
        for topic in old.topics() {
            if image.topic_by_id(topic.id).is_none() {
                self.drop_topic(topic).await;
            }
        }
        let mut opening = Vec::new();
        for topic in image.topics() {
            let known = old.topic_by_id(topic.id);
            if known.is_some_and(|known| Arc::ptr_eq(known, topic)) && self.has_all(topic) {
                continue;
            }
            let config = match TopicConfig::resolve(&self.config.topic_defaults, &topic.config) {
                Ok(config) => Rc::new(config),
                Err(error) => {
                    self.refuse_topic(topic, &error);
                    continue;
                }
            };
            for key in self.owned(topic) {
                match self.partition(key) {
                    Some(partition) => {
                        let settings = log_settings(&self.config, &config);
                        match partition.log().update_settings(settings) {
                            Ok(()) => partition.set_config(Rc::clone(&config)),
                            Err(error) => Self::refuse_settings(partition.name(), &error),
                        }
                    }
                    None => opening.push((Arc::clone(topic), key, Rc::clone(&config))),
                }
            }
        }
        self.open_all(opening).await;
        *self.image.borrow_mut() = image;
    }

    /// The keys of a topic's partitions that this shard owns.
    fn owned(&self, topic: &Topic) -> impl Iterator<Item = PartitionKey> {
        let id = topic.id;
        (0..topic.partition_count())
            .map(move |index| PartitionKey { topic: id, index: PartitionId(index) })
            .filter(|key| self.owner(*key) == self.id)
    }

    fn has_all(&self, topic: &Topic) -> bool {
        let partitions = self.partitions.borrow();
        let offline = self.offline.borrow();
        self.owned(topic).all(|key| partitions.contains_key(&key) || offline.contains(&key))
    }

    fn refuse_topic(&self, topic: &Topic, error: &ConfigError) {
        tracing::error!(topic = &*topic.name, %error, "the stored configuration is not valid");
        self.offline.borrow_mut().extend(self.owned(topic));
    }

    fn refuse_settings(partition: &str, error: &OpenError) {
        tracing::error!(partition, %error, "the topic's configuration does not fit the engine");
    }

    async fn open_all(
        self: &Rc<Self>,
        mut opening: Vec<(Arc<Topic>, PartitionKey, Rc<TopicConfig>)>,
    ) {
        while !opening.is_empty() {
            let rest = opening.split_off(OPENS_IN_FLIGHT.min(opening.len()));
            let batch = std::mem::replace(&mut opening, rest);
            let tasks: Vec<_> = batch
                .into_iter()
                .map(|(topic, key, config)| {
                    let shard = Rc::clone(self);
                    crate::task::spawn_joined(async move { shard.open(&topic, key, config).await })
                })
                .collect();
            for task in tasks {
                task.await.expect("opening a partition does not panic");
            }
        }
    }

    async fn open(self: Rc<Self>, topic: &Topic, key: PartitionKey, config: Rc<TopicConfig>) {
        let name = format!("{}-{}", topic.name, key.index);
        let dir = log_dir(&self.config, &topic.name, key.index);
        let settings = log_settings(&self.config, &config);
        let (log, report) = match Log::open(&self.storage, &dir, settings).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(partition = %name, %error, "the partition stays offline");
                self.offline.borrow_mut().insert(key);
                return;
            }
        };
        if let Some(cut) = &report.cut {
            let (at, bytes, kept) = (cut.position, cut.bytes, cut.saved.display());
            let why = &cut.damage;
            tracing::warn!(partition = %name, at, bytes, %why, %kept, "cut an unfinished end");
        }
        let epoch =
            topic.partition(key.index).map_or_else(Default::default, |known| known.leader_epoch);
        let clock = self.clock.clone();
        let me = self.config.node_id;
        let partition = Partition::lead(key, name, me, epoch, log, config, clock.clone());
        self.partitions.borrow_mut().insert(key, Rc::clone(&partition));
        if &*topic.name == OFFSETS_TOPIC {
            let shell = GroupShell::start(partition, group_settings(&self.config), clock);
            self.coordinators.borrow_mut().insert(key.index.0, shell);
        }
    }

    async fn drop_topic(self: &Rc<Self>, topic: &Topic) {
        for key in self.owned(topic) {
            self.offline.borrow_mut().remove(&key);
            let removed = self.partitions.borrow_mut().remove(&key);
            let Some(partition) = removed else { continue };
            partition.retire();
            // What could not be closed properly is deleted anyway, and must not come back.
            let closed = partition.log().close().await;
            let dir = partition.log().dir();
            if closed.is_err()
                && let Err(error) = self.storage.forget(dir).await
            {
                tracing::error!(partition = partition.name(), %error, "not forgotten");
            }
            if &*topic.name != OFFSETS_TOPIC {
                continue;
            }
            if let Some(shell) = self.coordinators.borrow_mut().remove(&key.index.0) {
                shell.stop();
            }
        }
        let coordinators: Vec<_> = self.coordinators.borrow().values().cloned().collect();
        for shell in coordinators {
            shell.topic_deleted(&TopicName::from(&*topic.name));
        }
    }

    /// Answers what waits for news (fetches, members of groups), because the broker is stopping and
    /// its connections are about to be closed.
    pub fn drain(&self) {
        self.stopping.set(true);
        for shell in self.coordinators.take().values() {
            shell.stop();
        }
        for partition in self.partitions.borrow().values() {
            partition.nudge();
        }
    }

    /// Ends everything on the shard: those who wait are told, and the logs are closed cleanly.
    pub(super) async fn close(self: &Rc<Self>) {
        self.drain();
        let partitions = self.partitions.take();
        for partition in partitions.values() {
            partition.retire();
        }
        for partition in partitions.values() {
            if let Err(error) = partition.log().close().await {
                tracing::error!(partition = partition.name(), %error, "not closed cleanly");
            }
        }
        let ShardId(id) = self.id;
        tracing::debug!(shard = id, partitions = partitions.len(), "closed");
    }
}
