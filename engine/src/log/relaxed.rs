//! The mark of a log that may hold writes which no sync has covered.
//!
//! When a sync fails, the kernel forgets the bytes that it was for, and goes on showing them: read
//! back by the next open, they look as well written as all others, and the next sync says that they
//! are. So an open after a crash writes what may be such bytes once more (see
//! [`crate::recovery`]). Under [`FlushPolicy::EveryBatch`] these are the last writes in flight; under
//! [`FlushPolicy::Relaxed`] they may be all since the last checkpoint. Which of the two a log was
//! under since then, the empty file `ringlog.relaxed` says: its name is durable before the first write
//! that is not synced at once, and goes when the log has been opened under the other policy. It also
//! tells what a loss of power may have left of the log, whatever its policy is by then.

use std::path::Path;
use std::rc::Rc;

use crate::error::IoFailure;
use crate::io::{Io, OpenMode};
use crate::log::{FlushPolicy, Inner, LogSettings};
use crate::segment::store;
use crate::shard::Shard;
use crate::small_file;

/// The mark's file name.
pub(crate) const NAME: &str = "ringlog.relaxed";

/// Makes the mark, durably.
pub(crate) async fn mark<I: Io>(shard: &Shard<I>, dir: &Path) -> Result<(), IoFailure> {
    store::open(shard, &dir.join(NAME), OpenMode::WriteBuffered).await?;
    small_file::sync_dir(shard, dir).await
}

impl<I: Io> Inner<I> {
    /// Has the settings hold from here on; a relaxed policy as soon as the log is marked. As long as
    /// the mark cannot be made, every batch waits for the disk.
    pub(crate) fn apply(self: &Rc<Self>, mut settings: LogSettings) {
        let policy = settings.durability;
        let must_wait = policy != FlushPolicy::EveryBatch && !self.is_marked.get();
        let was_waiting = self.relaxing.replace(must_wait.then_some(policy)).is_some();
        if must_wait {
            settings.durability = FlushPolicy::EveryBatch;
        }
        *self.settings.borrow_mut() = settings;
        if must_wait && !was_waiting {
            let log = Rc::clone(self);
            self.shard.io().spawn(async move { log.relax().await });
        }
    }

    /// Marks the log, and has the policy hold that waits for it, if one still does.
    async fn relax(self: Rc<Self>) {
        // Nobody removes the folder meanwhile.
        let turn = self.turnstile.enter().await;
        if self.state.borrow().closed {
            return;
        }
        let marked = mark(&self.shard, &self.dir).await;
        drop(turn);
        self.is_marked.set(marked.is_ok());
        if let Some(policy) = self.relaxing.take()
            && marked.is_ok()
        {
            self.settings.borrow_mut().durability = policy;
            self.kick();
        }
    }
}
