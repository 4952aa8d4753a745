//! Reading: from the tail cache where the batches still are in memory, else from the file.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;

use crate::batch::{BatchHeader, HEADER_BYTES, checksum};
use crate::cache::Chunk;
use crate::error::{Damage, IoFailure, Operation, ReadError};
use crate::io::{Io, OpenMode};
use crate::limits::{BLOCK, READ_BYTES_MAX};
use crate::log::{Inner, Log, Slices};
use crate::offset::Offset;
use crate::segment::name::Kind;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::scan::plausible;
use crate::segment::sealed::Indexes;
use crate::segment::window::Window;

/// How often a cold read looks again after segments went away under it, or after a wrong index.
const TRIES: usize = 3;

/// Where a cold read begins.
struct Spot<F> {
    base: Offset,
    file: Option<F>,
    indexed: bool,
    sealed: bool,
    /// Bytes of the segment that may hold whole batches.
    size: u64,
    position: u64,
    /// The last offset of the batch there, if the index says.
    last_offset: Option<i64>,
    layout: u64,
}

/// Why a cold read did not work.
enum Cold {
    Error(ReadError),
    /// The index pointed to something else: it is to be rebuilt.
    WrongIndex,
}

impl<I: Io> Log<I> {
    /// Reads whole batches from memory: the first holds `from`, all end at or before
    /// `visible_end` and the durable end. `None` if they are not all in memory, or there are none; then
    /// [`Log::read`] knows more.
    ///
    /// At most `max_bytes`, except that `at_least_one` gives the first batch whatever its size.
    /// No system call; no allocation for up to four pieces, except once per buffer for what
    /// shares it.
    #[must_use]
    pub fn read_cached(
        &self,
        from: Offset,
        visible_end: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Option<Slices> {
        let slices = self.inner.read_cached(from, visible_end, max_bytes, at_least_one)?;
        self.inner.shard.cache().count_hit();
        Some(slices)
    }

    /// Reads whole batches, from memory or from disk: the first holds `from`, all end at or
    /// before `visible_end` and the durable end.
    ///
    /// Empty if `from` is at or above `visible_end`, or if the first batch is larger than
    /// `max_bytes` and `at_least_one` is not set. One call gives what is together in memory, or
    /// one read of a file of at most [`READ_BYTES_MAX`] bytes; it may be less than `max_bytes`
    /// though more follows.
    ///
    /// Batches from disk are checked: damage is an error, and never served. Safe to drop.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ReadError::OutOfRange`] below the log's start or above its durable end.
    pub async fn read(
        &self,
        from: Offset,
        visible_end: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Slices, ReadError> {
        if let Some(slices) = self.read_cached(from, visible_end, max_bytes, at_least_one) {
            return Ok(slices);
        }
        self.inner.shard.cache().count_miss();
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(spot) = self.inner.locate(from, visible_end)? else {
                return Ok(Slices::default());
            };
            let (layout, base) = (spot.layout, spot.base);
            let visible_end = visible_end.min(self.offsets().durable);
            let limits = (visible_end, max_bytes, at_least_one);
            match self.inner.read_cold(spot, from, limits).await {
                Ok(slices) => return Ok(slices),
                Err(Cold::WrongIndex) if tries < TRIES => {
                    let rebuilt = self.inner.rebuild_indexes(base).await;
                    if let Err(error) = rebuilt
                        && self.inner.state.borrow().layout == layout
                    {
                        return Err(error);
                    }
                }
                Err(Cold::WrongIndex) => {
                    let path = Kind::Log.path(&self.inner.dir, base);
                    let damage = Damage::OffsetGap { expected: from, found: -1 };
                    return Err(ReadError::Corrupt { path, position: 0, damage });
                }
                // What it read may have been truncated or deleted meanwhile.
                Err(Cold::Error(_))
                    if tries < TRIES && self.inner.state.borrow().layout != layout => {}
                Err(Cold::Error(error)) => return Err(error),
            }
        }
    }
}

impl<I: Io> Inner<I> {
    fn read_cached(
        &self,
        from: Offset,
        visible_end: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Option<Slices> {
        let state = self.state.borrow();
        let visible_end = visible_end.min(state.offsets.durable);
        if from < state.offsets.start || from >= visible_end {
            return None;
        }
        let chunks = self.chunks.borrow();
        let mut slices = Slices::default();
        let mut next = from;
        for chunk in chunks.holding(from) {
            if chunk.first_offset > next {
                break;
            }
            let active = (chunk.segment_base == state.active.summary.base)
                .then_some(&state.active.summary.offsets);
            let start = match active {
                _ if next == chunk.first_offset => chunk.data_position,
                Some(index) => index
                    .lookup(chunk.segment_base, next)
                    .map_or(0, |entry| u64::from(entry.position))
                    .max(chunk.data_position),
                None => chunk.data_position,
            };
            let first = walk_to(chunk, start, next)?;
            let room = max_bytes.saturating_sub(slices.len());
            let needs_one = at_least_one && slices.is_empty();
            let (end, whole) = walk_from(chunk, active, first, visible_end, room, needs_one);
            if end > first {
                slices.push(chunk.buffer.bytes(index_in(chunk, first)..index_in(chunk, end)));
            }
            if !whole {
                break;
            }
            next = chunk.end_offset;
        }
        (!slices.is_empty()).then_some(slices)
    }

    /// Finds the segment and the place in it to begin at; `None` if nothing is visible.
    fn locate(
        &self,
        from: Offset,
        visible_end: Offset,
    ) -> Result<Option<Spot<I::File>>, ReadError> {
        let state = self.state.borrow();
        let offsets = state.offsets;
        if from < offsets.start || from > offsets.durable {
            let (start, end) = (offsets.start, offsets.durable);
            return Err(ReadError::OutOfRange { from, start, end });
        }
        if state.closed && state.active.file.is_none() && state.sealed.is_empty() {
            return Err(ReadError::Closed);
        }
        if from >= visible_end.min(offsets.durable) {
            return Ok(None);
        }
        let after = state.sealed.partition_point(|segment| segment.end <= from);
        let mut spot = match state.sealed.get(after) {
            Some(segment) => Spot {
                base: segment.base,
                file: segment.file.clone(),
                indexed: segment.indexes.is_some(),
                sealed: true,
                size: segment.size,
                position: 0,
                last_offset: None,
                layout: state.layout,
            },
            None => Spot {
                base: state.active.summary.base,
                file: state.active.file.clone(),
                indexed: true,
                sealed: false,
                size: state.active.summary.size,
                position: 0,
                last_offset: None,
                layout: state.layout,
            },
        };
        let index = match state.sealed.get(after) {
            Some(segment) => segment.indexes.as_ref().map(|indexes| &indexes.offsets),
            None => Some(&state.active.summary.offsets),
        };
        if let Some(entry) = index.and_then(|index| index.lookup(spot.base, from)) {
            spot.position = u64::from(entry.position);
            spot.last_offset = Some(spot.base.plus(entry.relative).value());
        }
        Ok(Some(spot))
    }

    async fn read_cold(
        &self,
        mut spot: Spot<I::File>,
        from: Offset,
        (visible_end, max_bytes, at_least_one): (Offset, usize, bool),
    ) -> Result<Slices, Cold> {
        if !spot.indexed {
            let indexes = self.load_indexes(spot.base).await.map_err(Cold::Error)?;
            if let Some(entry) = indexes.offsets.lookup(spot.base, from) {
                spot.position = u64::from(entry.position);
                spot.last_offset = Some(spot.base.plus(entry.relative).value());
            }
        }
        let path = Kind::Log.path(&self.dir, spot.base);
        let file = match spot.file.take() {
            Some(file) => file,
            None => self.open_sealed(spot.base, &path).await.map_err(Cold::Error)?,
        };
        let interval =
            usize::try_from(self.settings.borrow().index_interval_bytes).unwrap_or(READ_BYTES_MAX);
        let usual = max_bytes.saturating_add(interval).clamp(BLOCK, READ_BYTES_MAX);
        let mut reader =
            ColdReader { window: Window::new(&self.shard, file), path, size: spot.size, usual };
        let mut position = spot.position;
        let mut header = reader.header(position).await?;
        let begins_right = match spot.last_offset {
            Some(last_offset) => header.last_offset() == last_offset,
            None => header.base_offset == spot.base.value(),
        };
        if !begins_right || plausible(&header, spot.size - position).is_err() {
            return Err(if spot.last_offset.is_some() && spot.sealed {
                Cold::WrongIndex
            } else {
                let expected = spot.base;
                let found = header.base_offset;
                reader.corrupt(position, Damage::OffsetGap { expected, found })
            });
        }
        // Skip to the batch that holds the offset.
        while header.last_offset() < from.value() {
            (position, header) = reader.after(position, &header).await?;
        }
        if header.last_offset() >= visible_end.value() {
            return Ok(Slices::default());
        }
        let first = position;
        let total = reader.total(first, &header)?;
        if total > max_bytes && !at_least_one {
            return Ok(Slices::default());
        }
        reader.hold(first, total).await?;
        reader.check(first, total, &header)?;
        let mut end = first + total as u64;
        // More of what is in the window.
        let mut expected = header.last_offset() + 1;
        while let Some(next) = BatchHeader::read(reader.window.from(end))
            && end + (HEADER_BYTES as u64) <= reader.size
            && next.last_offset() < visible_end.value()
            && next.base_offset == expected
        {
            let total = reader.total(end, &next)?;
            let length = usize::try_from(end - first).unwrap_or(usize::MAX);
            if length + total > max_bytes || reader.window.from(end).len() < total {
                break;
            }
            reader.check(end, total, &next)?;
            end += total as u64;
            expected = next.last_offset() + 1;
        }
        let length = usize::try_from(end - first).unwrap_or(0);
        let bytes = reader.window.into_bytes(first, length);
        let mut slices = Slices::default();
        slices.push(bytes.unwrap_or_else(Bytes::new));
        Ok(slices)
    }

    async fn open_sealed(&self, base: Offset, path: &Path) -> Result<I::File, ReadError> {
        let file = self.shard.io().open(path, OpenMode::ReadDirect).await;
        let file = file.map_err(IoFailure::of(Operation::Open, path))?;
        let mut state = self.state.borrow_mut();
        if let Some(segment) = state.sealed.iter_mut().find(|segment| segment.base == base) {
            segment.file = Some(file.clone());
        }
        Ok(file)
    }

    /// The indexes of a sealed segment, from memory, from their files, or rebuilt.
    pub(crate) async fn load_indexes(&self, base: Offset) -> Result<Rc<Indexes>, ReadError> {
        let (size, end, known) = {
            let state = self.state.borrow();
            let segment = state.sealed.iter().find(|segment| segment.base == base);
            let segment = segment.ok_or(ReadError::Closed)?;
            (segment.size, segment.end, segment.indexes.clone())
        };
        if let Some(indexes) = known {
            return Ok(indexes);
        }
        let loaded = crate::recovery::read_indexes(&self.shard, &self.dir, base, size, end).await?;
        let Some(indexes) = loaded else { return self.rebuild_indexes(base).await };
        Ok(self.keep_indexes(base, indexes))
    }

    /// Rebuilds the indexes of a sealed segment from its batches.
    async fn rebuild_indexes(&self, base: Offset) -> Result<Rc<Indexes>, ReadError> {
        let path = Kind::Log.path(&self.dir, base);
        let (size, file) = {
            let state = self.state.borrow();
            let segment = state.sealed.iter().find(|segment| segment.base == base);
            let segment = segment.ok_or(ReadError::Closed)?;
            (segment.size, segment.file.clone())
        };
        let file = match file {
            Some(file) => file,
            None => self.open_sealed(base, &path).await?,
        };
        let interval = self.settings.borrow().index_interval_bytes;
        let walked =
            crate::recovery::walk(&self.shard, &path, file, size, base, interval, |_, _| true)
                .await?;
        if let Some(damage) = walked.damage {
            return Err(ReadError::Corrupt { path, position: walked.summary.size, damage });
        }
        let mut summary = walked.summary;
        summary.add_time_entry();
        let indexes = Indexes { offsets: summary.offsets, times: summary.times };
        Ok(self.keep_indexes(base, indexes))
    }

    fn keep_indexes(&self, base: Offset, indexes: Indexes) -> Rc<Indexes> {
        let indexes = Rc::new(indexes);
        let mut state = self.state.borrow_mut();
        if let Some(segment) = state.sealed.iter_mut().find(|segment| segment.base == base) {
            segment.set_indexes(Rc::clone(&indexes));
        }
        indexes
    }
}

fn index_in(chunk: &Chunk, position: u64) -> usize {
    usize::try_from(position - chunk.position).unwrap_or(usize::MAX)
}

/// The position of the batch in `chunk` that holds `offset`, walking from `position`.
fn walk_to(chunk: &Chunk, mut position: u64, offset: Offset) -> Option<u64> {
    loop {
        let header = BatchHeader::read(chunk.from(position))?;
        if header.last_offset() >= offset.value() {
            return Some(position);
        }
        position += header.total_bytes()? as u64;
    }
}

/// Where the batches from `first` on end that fit into `room` and below `visible_end`, and
/// whether those are all of the chunk. The index, where there is one, saves most of the walk.
fn walk_from(
    chunk: &Chunk,
    index: Option<&OffsetIndex>,
    first: u64,
    visible_end: Offset,
    room: usize,
    needs_one: bool,
) -> (u64, bool) {
    let end = chunk.end_position();
    let fits = |position: u64| position - first <= room as u64;
    if chunk.end_offset <= visible_end && fits(end) {
        return (end, true);
    }
    let skip = index.and_then(|index| {
        let by_size = index.at_position(first.saturating_add(room as u64))?;
        let by_offset = index.lookup(chunk.segment_base, visible_end)?;
        Some(u64::from(by_size.position.min(by_offset.position)))
    });
    let mut position = skip.map_or(first, |skip| skip.max(first));
    while let Some(header) = BatchHeader::read(chunk.from(position)) {
        let Some(total) = header.total_bytes() else { break };
        let next = position + total as u64;
        let may = fits(next) || (needs_one && position == first);
        if !may || header.last_offset() >= visible_end.value() {
            break;
        }
        position = next;
    }
    (position, position == end)
}

/// A cold read's view of one segment.
struct ColdReader<I: Io> {
    window: Window<I>,
    path: PathBuf,
    size: u64,
    usual: usize,
}

impl<I: Io> ColdReader<I> {
    fn corrupt(&self, position: u64, damage: Damage) -> Cold {
        Cold::Error(ReadError::Corrupt { path: self.path.clone(), position, damage })
    }

    /// Makes sure that `length` bytes from `position` on are in memory.
    async fn hold(&mut self, position: u64, length: usize) -> Result<(), Cold> {
        if self.window.from(position).len() < length {
            let loaded = self.window.load(position, length, self.usual).await;
            loaded.map_err(|error| {
                Cold::Error(IoFailure::of(Operation::Read, &self.path)(error).into())
            })?;
        }
        let available = self.window.from(position).len();
        if available < length {
            let (needed, available) = (length as u64, available as u64);
            return Err(self.corrupt(position, Damage::Incomplete { needed, available }));
        }
        Ok(())
    }

    async fn header(&mut self, position: u64) -> Result<BatchHeader, Cold> {
        self.hold(position, HEADER_BYTES).await?;
        let damage = Damage::NotABatch { length: 0, magic: 0 };
        BatchHeader::read(self.window.from(position)).ok_or_else(|| self.corrupt(position, damage))
    }

    fn total(&self, position: u64, header: &BatchHeader) -> Result<usize, Cold> {
        plausible(header, self.size - position).map_err(|damage| self.corrupt(position, damage))
    }

    /// The batch after this one.
    async fn after(
        &mut self,
        position: u64,
        header: &BatchHeader,
    ) -> Result<(u64, BatchHeader), Cold> {
        let next = position + self.total(position, header)? as u64;
        let following = self.header(next).await?;
        let expected = header.end_offset().unwrap_or_default();
        if following.base_offset != expected.value() {
            let found = following.base_offset;
            return Err(self.corrupt(next, Damage::OffsetGap { expected, found }));
        }
        Ok((next, following))
    }

    /// Refuses a batch whose bytes do not give its checksum.
    fn check(&self, position: u64, total: usize, header: &BatchHeader) -> Result<(), Cold> {
        let actual = checksum(self.window.from(position).get(..total).unwrap_or(&[]));
        if actual == header.checksum {
            return Ok(());
        }
        let stated = header.checksum;
        Err(self.corrupt(position, Damage::Checksum { stated, actual }))
    }
}
