//! Drives one coordinator: gives it its requests, appends its records, keeps its time.
//!
//! The coordinator itself is a pure state machine ([`crate::group`]) over one partition of
//! `__consumer_offsets`. This shell is its hands: an [`Effect::Append`] becomes a batch in that
//! partition and is reported back once it is committed; an [`Effect::Reply`] wakes the request
//! that waits for it; one timer sleeps until the coordinator's next deadline.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ringlog_engine::batch::{BatchBuilder, BatchError, BatchOptions, CheckedBatch, RecordError};
use ringlog_engine::error::{AppendError, ReadError};
use ringlog_engine::offset::Offset;
use tokio::sync::{Notify, oneshot};

use crate::group::{
    AppendFailure, AppendId, Coordinator, Effect, Effects, Moment, Record, ReplyToken, Request,
    Response, Settings, TopicName,
};
use crate::limits::REPLAY_BYTES;
use crate::partition::{Isolation, Partition, ProduceError, ValidationError};

use super::clock::Clock;
use crate::timer::yield_now;

/// Why a coordinator cannot take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// This broker does not lead the group's partition of `__consumer_offsets`.
    #[error("this broker does not coordinate the group")]
    NotCoordinator,
    /// The coordinator's partition cannot be read.
    #[error("the coordinator's log has failed")]
    Failed,
}

/// Why a coordinator could not read its partition.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// One coordinator and what it needs to act.
pub struct GroupShell {
    partition: Rc<Partition>,
    clock: Clock,
    coordinator: RefCell<Coordinator>,
    stopped: Cell<Option<Unavailable>>,
    waiting: RefCell<BTreeMap<ReplyToken, oneshot::Sender<Response>>>,
    next_token: Cell<u64>,
    /// Wakes the timer's task to look at the next deadline anew.
    something_happened: Notify,
}

impl GroupShell {
    /// Starts a coordinator over `partition`, which loads in the background.
    pub fn start(partition: Rc<Partition>, settings: Settings, clock: Clock) -> Rc<Self> {
        let shell = Rc::new(Self {
            partition,
            clock,
            coordinator: RefCell::new(Coordinator::new(settings)),
            stopped: Cell::new(None),
            waiting: RefCell::default(),
            next_token: Cell::new(0),
            something_happened: Notify::new(),
        });
        crate::task::spawn(Rc::clone(&shell).run());
        shell
    }

    /// Takes one request and waits for its answer, which may be long in coming.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], when the coordinator does not serve or stops before it answers.
    pub async fn call(self: &Rc<Self>, request: Request) -> Result<Response, Unavailable> {
        if let Some(why) = self.stopped.get() {
            return Err(why);
        }
        let token = ReplyToken(self.next_token.get());
        self.next_token.set(token.0 + 1);
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(token, sender);
        let effects = self.coordinator.borrow_mut().handle(self.now(), request, token);
        self.carry_out(effects);
        receiver.await.map_err(|_| self.stopped.get().unwrap_or(Unavailable::NotCoordinator))
    }

    /// Forgets the offsets of a deleted topic.
    pub fn topic_deleted(self: &Rc<Self>, topic: &TopicName) {
        if self.stopped.get().is_none() {
            let effects = self.coordinator.borrow_mut().topic_deleted(self.now(), topic);
            self.carry_out(effects);
        }
    }

    /// Ends the coordinator: those who wait are told that it is not here any more.
    pub fn stop(self: &Rc<Self>) {
        let effects = self.coordinator.borrow_mut().resign(self.now());
        self.carry_out(effects);
        self.stop_with(Unavailable::NotCoordinator);
    }

    fn stop_with(&self, why: Unavailable) {
        self.stopped.set(Some(why));
        self.waiting.borrow_mut().clear();
        self.something_happened.notify_one();
    }

    fn now(&self) -> Moment {
        Moment { elapsed: self.clock.elapsed(), wall: self.clock.wall() }
    }

    async fn run(self: Rc<Self>) {
        if let Err(error) = self.load().await {
            tracing::error!(partition = self.partition.name(), %error, "cannot load groups");
            self.stop_with(Unavailable::Failed);
            return;
        }
        if self.stopped.get().is_some() {
            return;
        }
        let effects = self.coordinator.borrow_mut().loaded(self.now());
        self.carry_out(effects);
        while self.stopped.get().is_none() {
            let deadline = self.coordinator.borrow().next_deadline();
            let due = async {
                match deadline {
                    Some(deadline) => {
                        let wait = deadline.saturating_sub(self.clock.elapsed());
                        self.clock.sleep(wait).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    let effects = self.coordinator.borrow_mut().tick(self.now());
                    self.carry_out(effects);
                }
                () = self.something_happened.notified() => {}
            }
        }
    }

    /// Replays the partition from its start to its watermark.
    async fn load(&self) -> Result<(), LoadError> {
        let mut at = self.partition.log_start();
        while at < self.partition.high_watermark() {
            let isolation = Isolation::ReadUncommitted;
            let slices = self.partition.read(at, isolation, REPLAY_BYTES, true).await?;
            for slice in slices {
                let mut rest: &[u8] = &slice;
                while !rest.is_empty() {
                    let (batch, after) = CheckedBatch::check_first_stored(rest)?;
                    at = self.replay(&batch)?.unwrap_or(at);
                    rest = after;
                }
            }
            // Loading is background work: the shard's connections come first.
            yield_now().await;
        }
        Ok(())
    }

    fn replay(&self, batch: &CheckedBatch<'_>) -> Result<Option<Offset>, LoadError> {
        let base_offset = batch.header().base_offset;
        let base = Offset::new(base_offset).unwrap_or_default();
        let Some(records) = batch.records() else {
            let partition = self.partition.name();
            tracing::warn!(partition, base_offset, "a compressed batch is not a coordinator's");
            return Ok(batch.header().end_offset());
        };
        for record in records {
            let record = record?;
            let offset = base.plus(u32::try_from(record.offset_delta).unwrap_or(0));
            let replayed = self.coordinator.borrow_mut().replay(record.key, record.value, offset);
            if let Err(error) = replayed {
                tracing::warn!(partition = self.partition.name(), %error, "record passed over");
            }
        }
        Ok(batch.header().end_offset())
    }

    fn carry_out(self: &Rc<Self>, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Append { id, records } => {
                    // Tasks start in the order of their spawning, and appends to a partition take
                    // turns in the order of their calls: so the records keep their order.
                    let shell = Rc::clone(self);
                    crate::task::spawn(async move { shell.append(id, &records).await });
                }
                Effect::Reply { token, response } => {
                    if let Some(waiting) = self.waiting.borrow_mut().remove(&token) {
                        // A connection that has closed no longer wants its answer.
                        let _ = waiting.send(response);
                    }
                }
            }
        }
        self.something_happened.notify_one();
    }

    async fn append(self: Rc<Self>, id: AppendId, records: &[Record]) {
        let outcome = self.store(records).await.map_err(|error| {
            let partition = self.partition.name();
            tracing::error!(partition, %error, "group records are not stored");
            match error {
                ProduceError::Invalid(ValidationError::Batch(BatchError::TooLarge { .. }))
                | ProduceError::Log(AppendError::BatchTooLarge { .. }) => AppendFailure::TooLarge,
                ProduceError::Gone => AppendFailure::NotLeader,
                _ => AppendFailure::Unavailable,
            }
        });
        let effects = self.coordinator.borrow_mut().persisted(self.now(), id, outcome);
        self.carry_out(effects);
    }

    async fn store(&self, records: &[Record]) -> Result<(), ProduceError> {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        for record in records {
            batch.push(self.clock.wall(), Some(&record.key), record.value.as_deref(), &[]);
        }
        let batch = batch.finish().map_err(ValidationError::from)?;
        let accepted = self.partition.append_own(&batch).await?;
        self.partition.committed(accepted.end).await
    }
}
