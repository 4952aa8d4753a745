//! A log's way to the files and indexes of its segments, which are the shard's to keep.

use std::rc::Rc;

use crate::error::{IoFailure, ReadError};
use crate::io::{Io, OpenMode, Rare};
use crate::log::{Inner, State};
use crate::offset::Offset;
use crate::segment::active::Summary;
use crate::segment::lru::Key;
use crate::segment::name::Kind;
use crate::segment::sealed::{IndexSum, Indexes, Sealed};
use crate::segment::store;
use crate::small_file;

impl<I: Io> Inner<I> {
    /// What the shard finds something of this log by.
    pub(crate) const fn key(&self, offset: Offset) -> Key {
        Key { log: self.number, offset }
    }

    /// The file of a segment, for reading, if it is open.
    pub(crate) fn known_file(&self, base: Offset) -> Option<I::File> {
        let state = self.state.borrow();
        // Its name may still be that of the file that it replaces.
        let swapping = state.swapping.as_ref().filter(|(at, _)| *at == base).map(|(_, file)| file);
        let active = state.active.file.as_ref().filter(|_| state.active.summary.base == base);
        match active.or(swapping) {
            Some(file) => Some(file.clone()),
            None => self.shard.segments().file(self.key(base)),
        }
    }

    /// The file of a segment, for reading; opened if need be.
    pub(crate) async fn segment_file(&self, base: Offset) -> Result<I::File, IoFailure> {
        if let Some(file) = self.known_file(base) {
            return Ok(file);
        }
        let layout = self.state.borrow().layout;
        let file = self.open_segment(base, OpenMode::ReadDirect).await?;
        self.keep_read_file(base, &file, layout);
        Ok(file)
    }

    /// Opens a segment's file.
    async fn open_segment(&self, base: Offset, mode: OpenMode) -> Result<I::File, IoFailure> {
        store::open(&self.shard, &Kind::Log.path(&self.dir, base), mode).await
    }

    /// Leaves a segment's file to the shard's store, which closes others if there are too many.
    pub(crate) fn keep_file(&self, base: Offset, file: I::File, writable: bool) {
        if self.shard.segments().keep_file(self.key(base), file, writable) {
            self.shard.io().reached(Rare::FileClosed);
        }
    }

    /// Keeps a file open that was opened for reading when the log's layout was `layout`, unless
    /// it may have been removed since.
    pub(crate) fn keep_read_file(&self, base: Offset, file: &I::File, layout: u64) {
        let store = self.shard.segments();
        store.count_opened();
        if self.state.borrow().layout == layout {
            self.keep_file(base, file.clone(), false);
        }
    }

    /// The active segment's file, for writing; opened if need be. There must be one.
    pub(crate) async fn active_file(&self) -> Result<I::File, IoFailure> {
        let base = {
            let state = self.state.borrow();
            if let Some(file) = &state.active.file {
                return Ok(file.clone());
            }
            state.active.summary.base
        };
        let file = match self.shard.segments().take_writable(self.key(base)) {
            Some(file) => file,
            None => self.open_segment(base, OpenMode::WriteDirect).await?,
        };
        self.state.borrow_mut().active.file = Some(file.clone());
        Ok(file)
    }

    /// Leaves the active segment's file to the shard's store while the log is at rest, so that
    /// the files of idle logs are bounded like those of sealed segments.
    pub(crate) fn park_file(&self) {
        let state = &mut *self.state.borrow_mut();
        let rests = !self.turnstile.is_taken() && state.tail.is_at_rest(state.offsets.end);
        // A file that has no name yet is not one to be opened again.
        if rests
            && state.active.named
            && state.failure.is_none()
            && let Some(file) = state.active.file.take()
        {
            self.keep_file(state.active.summary.base, file, true);
        }
    }

    /// Seals what was the active segment: its file and indexes go to the shard's store.
    pub(crate) fn keep_sealed(
        &self,
        summary: Summary,
        sum: Option<IndexSum>,
        file: Option<I::File>,
    ) -> Sealed {
        let (sealed, key) = (Sealed::of(&summary, sum), self.key(summary.base));
        let store = self.shard.segments();
        if let Some(file) = file {
            self.keep_file(summary.base, file, false);
        }
        let indexes = Indexes { offsets: summary.offsets, times: summary.times };
        store.keep_indexes(key, Rc::new(indexes));
        sealed
    }

    /// Bytes of batches that a segment's file holds, and the segment's end if it is sealed; `None`
    /// if there is no such segment.
    pub(crate) fn placed(&self, base: Offset) -> Option<(u64, Option<Offset>)> {
        let state = self.state.borrow();
        if state.active.summary.base == base {
            return Some((Self::in_file(&state).1, None));
        }
        let at = state.sealed.binary_search_by_key(&base, |segment| segment.base).ok()?;
        state.sealed.get(at).map(|segment| (segment.size, Some(segment.end)))
    }

    /// Lets go of what the shard keeps of a segment, because its file goes or is another's now.
    pub(crate) fn forget_segment(&self, base: Offset) {
        self.shard.segments().forget(self.number, base);
    }

    /// Lets go of what the shard keeps of all that reaches above `end`.
    pub(crate) fn forget_from(&self, state: &State<I::File>, end: Offset) {
        self.shard.ahead().forget_log(self.number);
        self.forget_segment(state.active.summary.base);
        for segment in state.sealed.iter().rev().take_while(|segment| segment.end > end) {
            self.forget_segment(segment.base);
        }
    }

    /// The indexes of a sealed segment, from memory, from their files, or rebuilt. If nobody has
    /// checked the files yet, an entry may be wrong: in the offset index the batch that it points to
    /// says so, in the time index nothing does (see [`Inner::checked_indexes`]).
    pub(crate) async fn load_indexes(&self, base: Offset) -> Result<Rc<Indexes>, ReadError> {
        if let Some(indexes) = self.shard.segments().indexes(self.key(base)) {
            return Ok(indexes);
        }
        let (Sealed { size, end, indexes: known, .. }, layout) = self.sealed_segment(base)?;
        let loaded = crate::recovery::read_indexes(&self.shard, &self.dir, base, size, end).await?;
        let right = loaded.filter(|(_, sum)| known.is_none_or(|known| known == *sum));
        let Some((indexes, _)) = right else { return self.rebuild_indexes(base).await };
        Ok(self.keep_indexes(base, indexes, layout))
    }

    /// The indexes of a sealed segment, as its batches say: rebuilt if nobody has checked the files.
    pub(crate) async fn checked_indexes(&self, base: Offset) -> Result<Rc<Indexes>, ReadError> {
        match self.sealed_segment(base)?.0.indexes {
            Some(_) => self.load_indexes(base).await,
            None => self.rebuild_indexes(base).await,
        }
    }

    /// Rebuilds the indexes of a sealed segment from its batches, and puts them in the place of the
    /// files, as far as the system lets: what cannot be written is rebuilt again when it is needed.
    pub(crate) async fn rebuild_indexes(&self, base: Offset) -> Result<Rc<Indexes>, ReadError> {
        let (Sealed { size, .. }, layout) = self.sealed_segment(base)?;
        let path = Kind::Log.path(&self.dir, base);
        let file = self.segment_file(base).await?;
        let (from, interval) = (Summary::new(base), self.settings.borrow().index_interval_bytes);
        let walked =
            crate::recovery::walk(&self.shard, &path, file, size, from, interval, |_, _, _| true)
                .await?;
        if let Some(damage) = walked.damage {
            return Err(ReadError::Corrupt { path, position: walked.summary.size, damage });
        }
        let mut summary = walked.summary;
        summary.add_time_entry();
        let (offsets, times) = (summary.offsets.encode(), summary.times.encode());
        self.note_indexes(base, IndexSum::of(&offsets, &times), layout);
        let indexes = Indexes { offsets: summary.offsets, times: summary.times };
        let indexes = self.keep_indexes(base, indexes, layout);
        let _turn = self.rebuilding.enter().await;
        if self.state.borrow().layout == layout {
            let (shard, dir) = (&self.shard, &self.dir);
            for (kind, bytes) in [(Kind::Index, offsets), (Kind::TimeIndex, times)] {
                // Their checksum tells whether this got there.
                let _ = small_file::replace(shard, dir, &kind.name(base), &bytes).await;
            }
        }
        Ok(indexes)
    }

    /// Notes what the index files of a sealed segment should hold, unless it may be another one by
    /// now than when the log's layout was `layout`.
    fn note_indexes(&self, base: Offset, sum: IndexSum, layout: u64) {
        let mut state = self.state.borrow_mut();
        let at = state.sealed.binary_search_by_key(&base, |segment| segment.base);
        if state.layout == layout
            && let Some(segment) = at.ok().and_then(|at| state.sealed.get_mut(at))
        {
            segment.indexes = Some(sum);
        }
    }

    /// What is known of a sealed segment, and the layout that belongs to.
    fn sealed_segment(&self, base: Offset) -> Result<(Sealed, u64), ReadError> {
        let state = self.state.borrow();
        let segment = state.sealed.binary_search_by_key(&base, |segment| segment.base);
        let segment = segment.ok().and_then(|at| state.sealed.get(at)).ok_or(ReadError::Closed)?;
        Ok((segment.clone(), state.layout))
    }

    fn keep_indexes(&self, base: Offset, indexes: Indexes, layout: u64) -> Rc<Indexes> {
        let indexes = Rc::new(indexes);
        let store = self.shard.segments();
        store.count_loaded();
        if self.state.borrow().layout == layout {
            store.keep_indexes(self.key(base), Rc::clone(&indexes));
        }
        indexes
    }
}
