//! Sealing the active segment and beginning the next.

use std::rc::Rc;

use crate::error::{AppendError, IoFailure, MaintainError, Operation};
use crate::io::{File, Io};
use crate::log::epochs;
use crate::log::{Inner, Log};
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::producer::snapshot;
use crate::segment::active::Active;
use crate::segment::catalog::{self, Catalog, Entry};
use crate::segment::name::Kind;
use crate::segment::sealed::IndexSum;
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
    pub(crate) async fn seal(self: &Rc<Self>) -> Result<(), AppendError> {
        if !planted::active(Bug::SealWithoutDrain) {
            self.drain().await?;
        }
        self.ensure_name().await?;
        // Full disks and other shortages are noticed here, while nothing has changed yet.
        let indexes = self.save_beside().await.map_err(|failure| self.refused(failure))?;
        let done = Entry::of_summary(&self.state.borrow().active.summary, indexes);
        self.save_catalog(Some(done)).await.map_err(|failure| self.refused(failure))?;
        self.cut_to_size().await.map_err(|failure| self.fail(failure))?;
        self.state.borrow().writable()?;
        let synced = small_file::sync_dir(&self.shard, &self.dir).await;
        // The next try renames its own small files into place, and syncs those names.
        synced.map_err(|failure| self.unsynced(failure))?;
        let mut state = self.state.borrow_mut();
        assert!(state.tail.is_written(), "segment.sealed_never_changes: a write is on its way");
        let next = Active::new(state.offsets.end);
        let done = std::mem::replace(&mut state.active, next);
        assert_eq!(done.summary.end, state.offsets.end, "log.contiguous");
        state.aborted.seal(done.summary.base);
        state.sealed.push_back(self.keep_sealed(done.summary, indexes, done.file));
        state.tail.next_segment();
        Ok(())
    }

    /// Makes the active segment's name durable, unless it is: with a journal, batches do not wait
    /// for that.
    pub(crate) async fn ensure_name(&self) -> Result<(), AppendError> {
        let named = {
            let active = &self.state.borrow().active;
            active.named || active.file.is_none()
        };
        if !named {
            let synced = small_file::sync_dir_and_parent(&self.shard, &self.dir).await;
            synced.map_err(|failure| self.unsynced(failure))?;
            self.state.borrow_mut().active.named = true;
        }
        Ok(())
    }

    /// Writes what belongs beside the active segment's batches: indexes, whose checksum this gives,
    /// producers, epochs.
    pub(crate) async fn save_beside(&self) -> Result<Option<IndexSum>, IoFailure> {
        let (base, end, indexes, producers, aborted, epochs) = {
            let mut state = self.state.borrow_mut();
            state.active.summary.add_time_entry();
            let now = self.shard.io().now();
            let expiry = self.settings.borrow().producer_expiry;
            state.producers.expire(now, expiry);
            let (end, summary) = (state.offsets.end, &state.active.summary);
            // A segment without a file has no indexes either.
            let has_file = state.active.has_file();
            (
                summary.base,
                end,
                has_file.then(|| (summary.offsets.encode(), summary.times.encode())),
                snapshot::encode(&state.producers, end),
                state.aborted.to_save(),
                state.epochs.encode(),
            )
        };
        let (shard, dir) = (&self.shard, &self.dir);
        let mut sum = None;
        if let Some((offsets, times)) = indexes {
            sum = Some(IndexSum::of(&offsets, &times));
            small_file::replace(shard, dir, &Kind::Index.name(base), &offsets).await?;
            small_file::replace(shard, dir, &Kind::TimeIndex.name(base), &times).await?;
        }
        if let Some(aborted) = aborted {
            small_file::replace(shard, dir, &Kind::TxnIndex.name(base), &aborted).await?;
            self.state.borrow_mut().aborted.saved();
        }
        small_file::replace(shard, dir, &Kind::Snapshot.name(end), &producers).await?;
        small_file::replace(shard, dir, epochs::NAME, &epochs).await?;
        Ok(sum)
    }

    /// Writes the catalog of the sealed segments, and of one more that is complete. The caller has
    /// the turn.
    pub(crate) async fn save_catalog(&self, complete: Option<Entry>) -> Result<(), IoFailure> {
        let catalog = {
            let state = self.state.borrow();
            let sealed = state.sealed.iter().map(Entry::of_sealed);
            Catalog::from_iter(sealed.chain(complete)).encode()
        };
        small_file::replace(&self.shard, &self.dir, catalog::NAME, &catalog).await
    }

    /// Cuts the active segment's file to its batches and syncs it: all that was appended is on
    /// stable storage then.
    pub(crate) async fn cut_to_size(&self) -> Result<(), IoFailure> {
        let (base, size, has_file) = {
            let state = self.state.borrow();
            let active = &state.active;
            (active.summary.base, active.summary.size, active.has_file())
        };
        if !has_file {
            return Ok(());
        }
        let file = self.active_file().await?;
        let path = Kind::Log.path(&self.dir, base);
        self.state.borrow_mut().active.allocated = size;
        file.set_length(size).await.map_err(IoFailure::of(Operation::Cut, &path))?;
        if !planted::active(Bug::SealWithoutSync) {
            file.sync().await.map_err(IoFailure::of(Operation::Sync, &path))?;
        }
        self.note_synced();
        Ok(())
    }

    /// Notes that everything written is on stable storage.
    fn note_synced(&self) {
        let mut state = self.state.borrow_mut();
        if state.failure.is_some() {
            // Another sync failed meanwhile, and this one's success says nothing about its bytes.
            return;
        }
        let written: Offset = state.offsets.written;
        state.tail.all_settled();
        let offsets = crate::log::LogOffsets { durable: written, ..state.offsets };
        self.set_offsets(&mut state, offsets);
        drop(state);
        self.release_journal(written);
    }
}
