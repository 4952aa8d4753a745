//! A shard's thread: its core, its runtime, its life.

use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::life::{Failure, Life, Phase};
use crate::dispatch::Dispatcher;
use crate::limits::{RUNTIME_COMPLETIONS, RUNTIME_ENTRIES};
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
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nobody listens any more if the start was given up.
            let _ = thread.started.send((id, Err(error.into())));
            return;
        }
    };
    runtime.block_on(async {
        let life = thread.life.clone();
        tokio::select! {
            () = serve(thread) => {}
            () = task::panicked() => {
                life.fail(Failure::ShardPanicked { shard: id });
                life.drained();
            }
        }
    });
}

async fn serve(thread: ShardThread) {
    let ShardThread { start, listener, settings, budget, life, started, .. } = thread;
    let id = start.id;
    let shard = match shard::run(start).await {
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
    if let Err(source) = net::serve(broker, listener, settings, budget, stop).await {
        life.fail(Failure::ShardStopped { shard: id, source });
    }
    life.drained();
    life.reaches(Phase::Ended).await;
}

/// A runtime whose ring does its work when the thread asks for it, where the kernel knows how.
fn runtime() -> io::Result<tokio_uring::Runtime> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(RUNTIME_COMPLETIONS);
    let mut builder = tokio_uring::builder();
    builder.entries(RUNTIME_ENTRIES).uring_builder(&ring);
    let mut cooperative = ring.clone();
    cooperative.setup_coop_taskrun();
    let mut preferred = tokio_uring::builder();
    preferred.entries(RUNTIME_ENTRIES).uring_builder(&cooperative);
    match tokio_uring::Runtime::new(&preferred) {
        // Kernels before 5.19 do not know the flag.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            tokio_uring::Runtime::new(&builder)
        }
        other => other,
    }
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
