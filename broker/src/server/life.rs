//! The life of a broker, as its threads see it.
//!
//! ```text
//! Starting ──► Serving ──► Draining ──► Ended
//!              every        answers      logs are closed,
//!              log is open  only         threads end
//! ```
//!
//! All shards drain before any of them closes its logs: a connection of one shard may owe an
//! answer that waits for a partition of another.

use std::sync::Arc;

use tokio::sync::watch;

use crate::shard::mailbox::ShardId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Starting,
    Serving,
    Draining,
    Ended,
}

/// Why a broker that ran cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A mistake of the program on a shard's thread.
    #[error("shard {} panicked, so the broker stops (what it panicked about is on stderr)", shard.0)]
    ShardPanicked {
        /// The shard.
        shard: ShardId,
    },
    /// A shard cannot go on.
    #[error("shard {} cannot accept clients: {source}", shard.0)]
    ShardStopped {
        /// The shard.
        shard: ShardId,
        /// The system's error.
        source: std::io::Error,
    },
    /// A mistake of the program on the control thread.
    #[error("the control thread panicked, so the broker stops (what about is on stderr)")]
    ControlPanicked,
}

#[derive(Debug, Default)]
struct Progress {
    drained: usize,
    failure: Option<Arc<Failure>>,
}

/// What a broker's threads tell each other. Cloning gives another handle.
#[derive(Debug, Clone)]
pub(super) struct Life {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    phase: watch::Sender<Phase>,
    progress: watch::Sender<Progress>,
}

impl Life {
    pub(super) fn new() -> Self {
        let phase = watch::Sender::new(Phase::Starting);
        let progress = watch::Sender::new(Progress::default());
        Self { shared: Arc::new(Shared { phase, progress }) }
    }

    /// Moves on to `phase`; never back.
    pub(super) fn enter(&self, phase: Phase) {
        self.shared.phase.send_if_modified(|now| {
            let later = *now < phase;
            *now = phase.max(*now);
            later
        });
    }

    /// Waits until the broker is in `phase` or a later one.
    pub(super) async fn reaches(&self, phase: Phase) {
        let mut phases = self.shared.phase.subscribe();
        // The sender lives as long as this handle.
        let _ = phases.wait_for(|now| *now >= phase).await;
    }

    /// A shard's connections are closed.
    pub(super) fn drained(&self) {
        self.shared.progress.send_modify(|progress| progress.drained += 1);
    }

    /// Something cannot go on. The first to say so is heard.
    pub(super) fn fail(&self, failure: Failure) {
        self.shared.progress.send_modify(|progress| {
            progress.failure.get_or_insert_with(|| Arc::new(failure));
        });
    }

    pub(super) fn failure(&self) -> Option<Arc<Failure>> {
        self.shared.progress.borrow().failure.clone()
    }

    pub(super) async fn failed(&self) -> Arc<Failure> {
        let mut progress = self.shared.progress.subscribe();
        loop {
            if let Some(failure) = progress.borrow_and_update().failure.clone() {
                return failure;
            }
            // The sender lives as long as this handle.
            let _ = progress.changed().await;
        }
    }

    /// Waits until `shards` shards have drained. A shard that failed counts: it never reports.
    pub(super) async fn all_drained(&self, shards: usize) {
        let mut progress = self.shared.progress.subscribe();
        let done = |now: &Progress| now.drained >= shards;
        // The sender lives as long as this handle.
        let _ = progress.wait_for(done).await;
    }
}
