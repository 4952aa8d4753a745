//! Sealing the active segment and beginning the next.

use crate::error::{AppendError, IoFailure, MaintainError, Operation};
use crate::io::{File, Io};
use crate::log::epochs;
use crate::log::{Inner, Log};
use crate::offset::Offset;
use crate::producer::snapshot;
use crate::segment::active::Active;
use crate::segment::name::Kind;
use crate::segment::sealed::Sealed;
use crate::small_file;

impl<I: Io> Log<I> {
    /// Seals the active segment, unless it is empty, and begins the next one, whose file is made
    /// by the next append.
    ///
    /// After `Ok` everything appended so far is on stable storage.
    ///
    /// # Errors
    ///
    /// [`MaintainError`]; the segment then goes on growing, unless the log failed.
    pub async fn roll(&self) -> Result<(), MaintainError> {
        let _turn = self.inner.turnstile.enter().await;
        self.inner.state.borrow().writable()?;
        if self.inner.state.borrow().active.summary.size > 0 {
            self.inner.seal().await?;
        }
        Ok(())
    }
}

impl<I: Io> Inner<I> {
    /// Seals the active segment: everything written, its small files beside it, its length exact,
    /// all of it synced. The caller has the turn.
    pub(crate) async fn seal(&self) -> Result<(), AppendError> {
        self.drain().await?;
        // Full disks and other shortages are noticed here, while nothing has changed yet.
        self.save_beside().await.map_err(|failure| self.refused(failure))?;
        self.cut_to_size().await.map_err(|failure| self.fail(failure))?;
        let synced = small_file::sync_dir(&self.shard, &self.dir).await;
        // The next try renames its own small files into place, and syncs those names.
        synced.map_err(|failure| self.unsynced(failure))?;
        let mut state = self.state.borrow_mut();
        let next = Active::new(state.offsets.end);
        let done = std::mem::replace(&mut state.active, next);
        assert_eq!(done.summary.end, state.offsets.end, "log.contiguous");
        let sealed = Sealed::new(done.summary, done.file);
        state.sealed.push_back(sealed);
        Ok(())
    }

    /// Writes what belongs beside the active segment's batches: indexes, producers, epochs.
    pub(crate) async fn save_beside(&self) -> Result<(), IoFailure> {
        let (base, end, indexes, producers, epochs) = {
            let mut state = self.state.borrow_mut();
            state.active.summary.add_time_entry();
            let now = self.shard.io().now();
            let expiry = self.settings.borrow().producer_expiry;
            state.producers.expire(now, expiry);
            let (end, summary) = (state.offsets.end, &state.active.summary);
            // A segment without a file has no indexes either.
            let file = state.active.file.as_ref();
            (
                summary.base,
                end,
                file.map(|_| (summary.offsets.encode(), summary.times.encode())),
                snapshot::encode(&state.producers, end),
                state.epochs.encode(),
            )
        };
        let (shard, dir) = (&self.shard, &self.dir);
        if let Some((offsets, times)) = indexes {
            small_file::replace(shard, dir, &Kind::Index.name(base), &offsets).await?;
            small_file::replace(shard, dir, &Kind::TimeIndex.name(base), &times).await?;
        }
        small_file::replace(shard, dir, &Kind::Snapshot.name(end), &producers).await?;
        small_file::replace(shard, dir, epochs::NAME, &epochs).await
    }

    /// Cuts the active segment's file to its batches and syncs it: all that was appended is on
    /// stable storage then.
    pub(crate) async fn cut_to_size(&self) -> Result<(), IoFailure> {
        let (base, size, file) = {
            let state = self.state.borrow();
            let active = &state.active;
            (active.summary.base, active.summary.size, active.file.clone())
        };
        let Some(file) = file else { return Ok(()) };
        let path = Kind::Log.path(&self.dir, base);
        self.state.borrow_mut().active.allocated = size;
        file.set_length(size).await.map_err(IoFailure::of(Operation::Cut, &path))?;
        file.sync().await.map_err(IoFailure::of(Operation::Sync, &path))?;
        self.note_synced();
        Ok(())
    }

    /// Notes that everything written is on stable storage.
    fn note_synced(&self) {
        let mut state = self.state.borrow_mut();
        let written: Offset = state.offsets.written;
        state.tail.synced = written;
        let offsets = crate::log::LogOffsets { durable: written, ..state.offsets };
        self.set_offsets(&mut state, offsets);
    }
}
