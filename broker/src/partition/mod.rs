//! One partition, on the shard that owns it: its log, what its leader knows, and who waits.
//!
//! `state` is the pure part. This shell gives it what happens (an append, a finished write) and
//! carries out what follows (an answer, a wake-up).
//!
//! ```text
//!  append: take a turn ─► check the batch ─► check its sequence ─► make room ─► offsets given
//!                                                                                    │
//!  committed: ◄─ waiters woken ◄─ high watermark up ◄─ Leader::durable ◄─ log durable ┘
//! ```

mod state;
mod turn;
mod validate;
mod watch;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::compaction::{BatchCodec, CompactionSettings, Dirtiness};
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::error::{AppendError, CompactError, MaintainError, ReadError};
use ringlog_engine::log::{Log, Slices, Stamp};
use ringlog_engine::offset::{Offset, Timestamp};
use ringlog_engine::producer::{SequenceCheck, SequenceError};

use crate::config::{TimestampType, TopicConfig};
use crate::metadata::{BrokerId, PartitionId, TopicId};
use crate::shard::clock::Clock;
use crate::shard::storage::Disk;

pub use state::{EpochError, Isolation, Leader};
pub use validate::ValidationError;
pub use watch::Watcher;

use turn::Turns;
use watch::Watchers;

/// Names a partition for its whole life: a topic made anew under an old name has another id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    /// The topic.
    pub topic: TopicId,
    /// The partition's number in it.
    pub index: PartitionId,
}

/// Why records were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The batch is not as it must be.
    #[error(transparent)]
    Invalid(#[from] ValidationError),
    /// An idempotent producer's batch is out of its order.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The log could not take it, or could not make it durable.
    #[error(transparent)]
    Log(#[from] AppendError),
    /// Fewer replicas are in sync than the topic demands.
    #[error("{in_sync} replicas are in sync, min.insync.replicas is {required}")]
    NotEnoughReplicas {
        /// How many are in sync.
        in_sync: usize,
        /// How many must be.
        required: usize,
    },
    /// The partition is no longer here: deleted, or the broker stops.
    #[error("the partition is no longer served here")]
    Gone,
    /// Its log does not open.
    #[error("the partition's log cannot be opened")]
    Offline,
}

/// Records that have their offsets, and are not yet known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset after the last record: once the watermark is there, they are committed.
    pub end: Offset,
    /// The time of the append, if the topic stamps records with it.
    pub log_append_time: Option<Timestamp>,
    /// Where the log starts.
    pub log_start: Offset,
}

/// One partition.
pub struct Partition {
    key: PartitionKey,
    name: String,
    me: BrokerId,
    clock: Clock,
    log: Log<Disk>,
    leader: RefCell<Leader>,
    config: RefCell<Rc<TopicConfig>>,
    turns: Turns,
    watchers: Watchers,
    commits: RefCell<Vec<(Offset, Waker)>>,
    gone: Cell<bool>,
}

impl Partition {
    /// Serves an open log as its leader, alone in sync.
    ///
    /// `name` is `topic-index`, for messages.
    pub fn lead(
        key: PartitionKey,
        name: String,
        me: BrokerId,
        epoch: LeaderEpoch,
        log: Log<Disk>,
        config: Rc<TopicConfig>,
        clock: Clock,
    ) -> Rc<Self> {
        let leader = Leader::new(me, &[me], epoch, log.offsets().durable);
        let partition = Rc::new(Self {
            key,
            name,
            me,
            clock,
            log,
            leader: RefCell::new(leader),
            config: RefCell::new(config),
            turns: Turns::default(),
            watchers: Watchers::default(),
            commits: RefCell::default(),
            gone: Cell::new(false),
        });
        crate::task::spawn(Rc::clone(&partition).follow_own_disk());
        partition
    }

    /// Which partition this is.
    #[must_use]
    pub fn key(&self) -> PartitionKey {
        self.key
    }

    /// `topic-index`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The log itself.
    #[must_use]
    pub fn log(&self) -> &Log<Disk> {
        &self.log
    }

    /// The first offset that can be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.log.offsets().start
    }

    /// Everything below it is committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.leader.borrow().high_watermark()
    }

    /// Everything below it is committed and belongs to no open transaction.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        self.leader.borrow().last_stable_offset()
    }

    /// The end of what a reader of this isolation may see.
    #[must_use]
    pub fn visible_end(&self, isolation: Isolation) -> Offset {
        self.leader.borrow().visible_end(isolation)
    }

    /// The epoch of this leader.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader.borrow().epoch()
    }

    /// The leader epoch under which the record at `offset` was appended, or the next one will be.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        let epochs = self.log.epochs();
        let known = epochs.iter().rev().find(|known| known.start <= offset);
        known.map_or(self.leader_epoch(), |known| known.epoch)
    }

    /// Whether a request for `asked` is about the present reign.
    ///
    /// # Errors
    ///
    /// [`EpochError`] with both epochs.
    pub fn check_epoch(&self, asked: LeaderEpoch) -> Result<(), EpochError> {
        self.leader.borrow().check_epoch(asked)
    }

    /// Replaces the rules for new batches, when the topic's configuration has changed.
    pub fn set_config(&self, config: Rc<TopicConfig>) {
        *self.config.borrow_mut() = config;
    }

    /// Takes a batch as a producer sent it. After `Ok` it has its offsets and is being written;
    /// [`Partition::committed`] says when it is durable. After `Err` nothing has changed.
    ///
    /// Calls take effect in the order in which they were made. May wait for disk space, for a
    /// buffer, and between two chunks of a large compressed batch.
    ///
    /// # Errors
    ///
    /// [`ProduceError`]; a batch sent twice by an idempotent producer is no error, but gets the
    /// offsets of the first time.
    pub async fn append(
        &self,
        records: &[u8],
        zstd_allowed: bool,
        all_replicas: bool,
    ) -> Result<Accepted, ProduceError> {
        let _turn = self.turns.take().await;
        let config = Rc::clone(&self.config.borrow());
        self.ready_for(&config, all_replicas)?;
        let valid = validate::check(records, &config, zstd_allowed, self.clock.wall()).await?;
        let log_append_time = match config.timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(self.clock.wall()),
        };
        let stamp = Stamp {
            leader_epoch: self.leader_epoch(),
            log_append_time,
            max_timestamp: Some(valid.max_timestamp),
        };
        self.append_checked(&valid.batch, stamp).await
    }

    /// Takes a batch that this broker has built itself.
    ///
    /// # Errors
    ///
    /// As [`Partition::append`].
    pub async fn append_own(&self, batch: &[u8]) -> Result<Accepted, ProduceError> {
        let _turn = self.turns.take().await;
        let config = Rc::clone(&self.config.borrow());
        self.ready_for(&config, true)?;
        let batch = CheckedBatch::check(batch).map_err(ValidationError::from)?;
        let stamp = Stamp { leader_epoch: self.leader_epoch(), ..Stamp::default() };
        self.append_checked(&batch, stamp).await
    }

    fn ready_for(&self, config: &TopicConfig, all_replicas: bool) -> Result<(), ProduceError> {
        if self.gone.get() {
            return Err(ProduceError::Gone);
        }
        let in_sync = self.leader.borrow().in_sync_count();
        let required = usize::try_from(config.min_insync_replicas).unwrap_or(usize::MAX);
        if all_replicas && in_sync < required {
            return Err(ProduceError::NotEnoughReplicas { in_sync, required });
        }
        Ok(())
    }

    async fn append_checked(
        &self,
        batch: &CheckedBatch<'_>,
        stamp: Stamp,
    ) -> Result<Accepted, ProduceError> {
        if let SequenceCheck::Duplicate { base_offset, last_offset, log_append_time } =
            self.log.check_producer(batch.header(), self.clock.wall())?
        {
            // `produce.sequence_once`: what was taken before is acknowledged again, not taken.
            return Ok(Accepted {
                base_offset,
                end: last_offset.plus(1),
                log_append_time,
                log_start: self.log_start(),
            });
        }
        let reservation = self.log.reserve(batch.bytes().len()).await?;
        let appended = self.log.append(reservation, batch, stamp)?;
        Ok(Accepted {
            base_offset: appended.base_offset,
            end: appended.end_offset,
            log_append_time: stamp.log_append_time,
            log_start: self.log_start(),
        })
    }

    /// Resolves when every record below `end` is committed: on stable storage of every in-sync
    /// replica, as the topic's flush settings say.
    ///
    /// # Errors
    ///
    /// The first failure of the log, or [`ProduceError::Gone`]: then it is not known whether the
    /// records will be there after a restart.
    pub async fn committed(&self, end: Offset) -> Result<(), ProduceError> {
        poll_fn(|cx| {
            if self.high_watermark() >= end {
                return Poll::Ready(Ok(()));
            }
            if self.gone.get() {
                return Poll::Ready(Err(ProduceError::Gone));
            }
            if let Some(failure) = self.log.failure() {
                return Poll::Ready(Err(ProduceError::Log(AppendError::Failed(failure))));
            }
            self.commits.borrow_mut().push((end, cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    /// Reads whole batches from the one that holds `from`, up to what `isolation` may see.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: out of range, or the disk's fault.
    pub async fn read(
        &self,
        from: Offset,
        isolation: Isolation,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Slices, ReadError> {
        let end = self.visible_end(isolation);
        match self.log.read_cached(from, end, bytes_max, at_least_one) {
            Some(slices) => Ok(slices),
            None => {
                let read = self.log.read(from, end, bytes_max, at_least_one).await;
                // The files of a topic that was deleted meanwhile are being shortened.
                read.map_err(|error| if self.gone.get() { ReadError::Closed } else { error })
            }
        }
    }

    /// `watcher` fires when the watermark next moves, or when the partition goes.
    pub fn watch(&self, watcher: &Rc<Watcher>) {
        self.watchers.add(watcher);
    }

    /// Lets go of what the topic's retention says, below the watermark.
    pub async fn apply_retention(&self) {
        match self.log.apply_retention(self.clock.wall(), self.high_watermark()).await {
            Ok(report) if report.segments > 0 => {
                let (segments, start) = (report.segments, report.start);
                tracing::info!(partition = self.name, segments, %start, "old segments deleted");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(partition = self.name, %error, "retention failed"),
        }
    }

    /// How dirty the partition's log is, below the last stable offset; `None` if its topic is not
    /// compacted or nothing is to be done.
    pub async fn dirtiness(&self, settings: &CompactionSettings) -> Option<Dirtiness> {
        if !self.config.borrow().cleanup_policy.compact || self.gone.get() {
            return None;
        }
        let settings = self.compaction_settings(settings);
        match self.log.dirtiness(&settings, self.last_stable_offset()).await {
            Ok(dirtiness) => Some(dirtiness).filter(|dirtiness| dirtiness.is_due(&settings)),
            Err(error) => {
                self.compaction_failed(&error);
                None
            }
        }
    }

    /// Compacts the log below the last stable offset, with the topic's rules. Whether it went
    /// well.
    pub async fn compact(&self, settings: &CompactionSettings, codec: &dyn BatchCodec) -> bool {
        let settings = self.compaction_settings(settings);
        match self.log.compact(&settings, self.last_stable_offset(), codec).await {
            Ok(report) => {
                let (from, to) = (report.dirty_from, report.clean_to);
                let (bytes_before, bytes_after) = report.bytes;
                tracing::info!(
                    partition = self.name,
                    %from,
                    %to,
                    keys = report.keys,
                    bytes_before,
                    bytes_after,
                    "compacted"
                );
                if report.unreadable_batches > 0 {
                    let batches = report.unreadable_batches;
                    tracing::warn!(partition = self.name, batches, "compaction cannot read these");
                }
                true
            }
            Err(error) => {
                self.compaction_failed(&error);
                false
            }
        }
    }

    fn compaction_failed(&self, error: &CompactError) {
        // A partition that goes takes its compaction along.
        if !matches!(error, CompactError::Log(MaintainError::Closed)) {
            tracing::warn!(partition = self.name, %error, "compaction failed");
        }
    }

    fn compaction_settings(&self, shared: &CompactionSettings) -> CompactionSettings {
        let config = self.config.borrow();
        let lag_max = config.max_compaction_lag_ms;
        CompactionSettings {
            min_cleanable_ratio: config.min_cleanable_dirty_ratio,
            min_lag: Duration::from_millis(config.min_compaction_lag_ms),
            // Kafka's way to say that there is none.
            max_lag: (lag_max < i64::MAX.unsigned_abs()).then(|| Duration::from_millis(lag_max)),
            delete_retention: Duration::from_millis(config.delete_retention_ms),
            ..*shared
        }
    }

    /// Lets those who watch look again, though nothing has come.
    pub fn nudge(&self) {
        self.watchers.fire();
    }

    /// Stops serving: those who wait are told, and nothing is taken any more.
    pub fn retire(&self) {
        self.gone.set(true);
        self.wake_all();
    }

    /// Moves the watermark whenever this broker's own disk has more, until the log ends.
    async fn follow_own_disk(self: Rc<Self>) {
        loop {
            let durable = self.log.offsets().durable;
            if self.leader.borrow_mut().durable(self.me, durable) {
                self.wake_committed();
                self.watchers.fire();
            }
            if self.gone.get() {
                return;
            }
            match self.log.advanced(durable).await {
                Ok(()) => {}
                Err(AppendError::Failed(failure)) => {
                    tracing::error!(partition = %self.name, %failure, "log takes no more writes");
                    return self.wake_all();
                }
                // It was closed, and so nobody is to be told more.
                Err(_) => return self.wake_all(),
            }
        }
    }

    fn wake_committed(&self) {
        let watermark = self.high_watermark();
        self.commits.borrow_mut().retain(|(end, waker)| {
            let waits_on = *end > watermark;
            if !waits_on {
                waker.wake_by_ref();
            }
            waits_on
        });
    }

    fn wake_all(&self) {
        for (_, waker) in self.commits.take() {
            waker.wake();
        }
        self.watchers.fire();
    }
}
