//! A shard's thread: its core, its ring, its life.

use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;

use ringlog_engine::io::uring::UringIo;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::life::{Failure, Life, Phase};
use crate::dispatch::Dispatcher;
use crate::limits::SHARD_RING_ENTRIES;
use crate::net::{self, ConnectionBudget, NetSettings};
use crate::shard::mailbox::ShardId;
use crate::shard::{self, ShardError, ShardStart};
use crate::task;

/// What a shard's thread is given.
pub(super) struct ShardThread {
    pub(super) start: ShardStart,
    pub(super) core: Option<usize>,
    pub(super) listener: TcpListener,
    pub(super) settings: NetSettings,
    pub(super) budget: ConnectionBudget,
    pub(super) life: Life,
    /// Told whether the shard is there.
    pub(super) started: mpsc::Sender<(ShardId, Result<(), ShardError>)>,
}

/// Runs a shard to its end. Whatever happens to it, it counts as drained afterwards.
pub(super) fn run(thread: ShardThread) {
    let (id, life) = (thread.start.id, thread.life.clone());
    if catch_unwind(AssertUnwindSafe(|| live(thread))).is_err() {
        life.fail(Failure::ShardPanicked { shard: id });
        life.drained();
    }
}

fn live(thread: ShardThread) {
    let id = thread.start.id;
    if let Some(core) = thread.core {
        pin(id, core);
    }
    let ring = match UringIo::plain(SHARD_RING_ENTRIES) {
        Ok(ring) => ring,
        Err(error) => {
            // Nobody listens any more if the start was given up.
            let _ = thread.started.send((id, Err(error.into())));
            return;
        }
    };
    ring.set_spin(thread.start.config.shard_spin);
    task::run(&ring, async {
        let life = thread.life.clone();
        tokio::select! {
            () = serve(&ring, thread) => {}
            () = task::panicked() => {
                life.fail(Failure::ShardPanicked { shard: id });
                life.drained();
            }
        }
    });
}

async fn serve(ring: &UringIo, thread: ShardThread) {
    let ShardThread { start, listener, settings, budget, life, started, .. } = thread;
    let id = start.id;
    let shard = match shard::run(ring, start).await {
        Ok(shard) => shard,
        Err(error) => {
            let _ = started.send((id, Err(error)));
            return;
        }
    };
    let _ = started.send((id, Ok(())));
    drop(started);
    life.reaches(Phase::Serving).await;
    let broker = Rc::new(Dispatcher(Rc::clone(&shard)));
    let stop = async {
        life.reaches(Phase::Draining).await;
        shard.drain();
    };
    if let Err(source) = net::serve(ring, broker, listener, settings, budget, stop).await {
        life.fail(Failure::ShardStopped { shard: id, source });
    }
    life.drained();
    life.reaches(Phase::Ended).await;
}

/// The cores that this process may use, lowest first; empty if the kernel does not say.
pub(super) fn cores() -> Vec<usize> {
    let Ok(mask) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|&core| mask.is_set(core)).collect()
}

fn pin(id: ShardId, core: usize) {
    let mut mask = CpuSet::new();
    mask.set(core);
    if let Err(error) = sched_setaffinity(None, &mask) {
        tracing::warn!(shard = id.0, core, %error, "a shard's thread is not pinned to its core");
    }
}
