//! The end of a log: closed for now, or deleted for good.

use std::path::Path;

use crate::error::{AppendError, IoFailure, MaintainError, Operation};
use crate::io::Io;
use crate::log::Log;
use crate::manifest::{CleanEnd, Manifest};
use crate::offset::Offset;
use crate::reclaim::Remover;
use crate::shard::Shard;
use crate::small_file;

impl<I: Io> Log<I> {
    /// Closes the log: writes and syncs what was appended, cuts the active segment to its exact
    /// length, writes indexes and producers, and marks all of it as clean, so that the next open
    /// reads next to nothing. A log that nobody touched since it was opened costs nothing.
    ///
    /// Appends fail from now on with [`AppendError::Closed`], reads go on. A second close does
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`MaintainError`]; the log is closed all the same, and the next open recovers it.
    pub async fn close(&self) -> Result<(), MaintainError> {
        let _cleaning = self.inner.stop_cleaning().await;
        let _maintenance = self.inner.maintenance.enter().await;
        let _turn = self.inner.turnstile.enter().await;
        if self.inner.state.borrow().closed {
            return Ok(());
        }
        let result = self.settle().await;
        self.inner.see_through().await;
        {
            let mut state = self.inner.state.borrow_mut();
            state.closed = true;
            // What a failed close has left to the journal still has to be placed.
            if result.is_ok() {
                state.active.file = None;
            }
        }
        if let (Err(_), Some(journal)) = (&result, self.inner.shard.journal()) {
            // What is not in the segments is for the next open to put there, however long others
            // hold this log.
            journal.adopt(&self.inner);
        }
        self.inner.wake_everybody();
        result
    }

    async fn settle(&self) -> Result<(), MaintainError> {
        let inner = &self.inner;
        inner.state.borrow().writable()?;
        if !inner.state.borrow().changed {
            return Ok(());
        }
        inner.drain().await?;
        inner.ensure_name().await?;
        let indexes = inner.save_beside().await?;
        inner.cut_to_size().await.map_err(|failure| inner.fail(failure))?;
        inner.state.borrow().writable()?;
        inner.leave_journal().await?;
        let manifest = {
            let state = inner.state.borrow();
            let summary = &state.active.summary;
            // An active segment without a file leaves its predecessor the last one.
            let last = (!state.active.has_file()).then(|| state.sealed.back()).flatten();
            let (last_base, last_length, indexes) = match last {
                Some(last) => (last.base, last.size, last.indexes),
                None => (summary.base, summary.size, indexes),
            };
            let clean = CleanEnd {
                last_base,
                last_length,
                end: state.offsets.end,
                epoch: state.epochs.latest(),
                indexes,
            };
            Manifest { start: state.offsets.start, clean: Some(clean) }
        };
        inner.save_manifest(manifest).await?;
        inner.state.borrow_mut().changed = false;
        Ok(())
    }

    /// Closes the log and removes its folder with everything in it.
    ///
    /// Reads fail from now on with [`ReadError::Closed`](crate::error::ReadError::Closed). After a
    /// crash in the middle the folder may be there in part: finish with [`Log::remove`].
    ///
    /// # Errors
    ///
    /// [`MaintainError`]; call [`Log::remove`] to try again.
    pub async fn delete(self) -> Result<(), MaintainError> {
        let _cleaning = self.inner.stop_cleaning().await;
        let _maintenance = self.inner.maintenance.enter().await;
        let _turn = self.inner.turnstile.enter().await;
        // What is in flight is seen through; whether it got there does not matter any more.
        let _: Result<(), AppendError> = self.inner.drain().await;
        self.inner.see_through().await;
        self.inner.leave_journal().await?;
        {
            let mut state = self.inner.state.borrow_mut();
            state.closed = true;
            state.layout += 1;
            self.inner.forget_from(&state, Offset::ZERO);
            state.tail.give_up();
            state.sealed.clear();
            state.active.file = None;
            state.active.summary = crate::segment::active::Summary::new(state.offsets.end);
        }
        self.inner.shard.cache().cut(&self.inner.chunks, Offset::ZERO);
        self.inner.wake_everybody();
        // A reader may be putting rebuilt indexes into the folder; the next one sees that the layout
        // is another.
        let _rebuilding = self.inner.rebuilding.enter().await;
        Self::remove(&self.inner.shard, &self.inner.dir).await?;
        Ok(())
    }

    /// Removes the folder of a log that is not open, with everything in it. Fine if it is not
    /// there. Large files go step by step, so that others who write to the device need not wait for
    /// it: some 3 GB a second.
    ///
    /// # Errors
    ///
    /// [`IoFailure`]; what is left can be removed by another call.
    pub async fn remove(shard: &Shard<I>, dir: &Path) -> Result<(), IoFailure> {
        shard.settled(dir, None).await?;
        let io = shard.io();
        let entries = match io.list_dir(dir).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(IoFailure::of(Operation::List, dir)(error)),
        };
        let mut remover = Remover::new(io);
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let path = dir.join(&entry.name);
            let removed = remover.remove(&path, || true).await;
            removed.map_err(IoFailure::of(Operation::Remove, &path))?;
        }
        small_file::sync_dir(shard, dir).await?;
        io.remove_dir(dir).await.map_err(IoFailure::of(Operation::Remove, dir))?;
        match dir.parent() {
            Some(parent) => small_file::sync_dir(shard, parent).await,
            None => Ok(()),
        }
    }
}
