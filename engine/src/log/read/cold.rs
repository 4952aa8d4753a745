//! Reads from segment files.

use std::path::PathBuf;

use bytes::Bytes;

use super::ReadLimits;
use super::ahead::Answer;
use super::gather::gather;
use crate::batch::BatchHeader;
use crate::entry::HEADER_BYTES_MAX;
use crate::error::{Damage, IoFailure, Operation, ReadError};
use crate::io::{Io, Rare};
use crate::limits::{BLOCK, READ_BYTES_MAX};
use crate::log::{Inner, Log, Slices};
use crate::offset::Offset;
use crate::segment::name::Kind;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::scan::plausible;
use crate::segment::sealed::Sealed;
use crate::segment::window::Window;

/// How often a cold read looks again after segments went away under it, or after a wrong index.
const TRIES: usize = 3;

/// The segment that a cold read reads, as it was when the read began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) base: Offset,
    pub(super) sealed: bool,
    /// Where the batches end that the file holds.
    pub(super) end: Offset,
    /// Where they end in the file, in bytes.
    pub(super) size: u64,
    pub(super) layout: u64,
    begin: Begin,
}

/// Where in the segment a cold read begins.
#[derive(Debug, Clone, Copy)]
enum Begin {
    /// The segment's indexes have to be asked.
    Unknown,
    /// At the segment's beginning.
    Start,
    /// At this position, where the batch with this last offset should be.
    Indexed(u64, i64),
    /// At this position, where the batch should be that begins with the offset sought.
    Cursor(u64),
}

impl Begin {
    fn by_index(index: &OffsetIndex, base: Offset, from: Offset) -> Self {
        match index.lookup(base, from) {
            Some(entry) => {
                Self::Indexed(u64::from(entry.position), base.plus(entry.relative).value())
            }
            None => Self::Start,
        }
    }
}

/// Why a cold read did not work.
enum Cold {
    Error(ReadError),
    /// The index pointed to something else: it is to be rebuilt.
    WrongIndex,
    /// Where an earlier read ended is something else: the index knows better.
    WrongPlace,
}

impl<I: Io> Log<I> {
    pub(super) async fn read_cold(
        &self,
        from: Offset,
        limits: ReadLimits,
    ) -> Result<Slices, ReadError> {
        let inner = &self.inner;
        let (mut tries, mut is_first) = (0, true);
        loop {
            if !std::mem::take(&mut is_first)
                && let Some(slices) = inner.read_cached(from, limits)
            {
                return Ok(slices);
            }
            let Some(spot) = inner.locate(from, limits.visible_end)? else {
                return Ok(Slices::default());
            };
            let limits = ReadLimits {
                visible_end: limits.visible_end.min(spot.end).min(self.offsets().durable),
                ..limits
            };
            let spot = match self.take_ahead(&spot, from, limits).await {
                Answer::Slices(slices) => return Ok(slices),
                Answer::At(position) => Spot { begin: Begin::Cursor(position), ..spot },
                Answer::Unknown => spot,
            };
            let read = self.read_segment(spot, from, limits).await;
            if inner.state.borrow().layout != spot.layout {
                // What it read may have been truncated or deleted meanwhile.
                inner.shard.io().reached(Rare::ReadBegunAnew);
                continue;
            }
            tries += 1;
            match read {
                Ok(slices) => return Ok(slices),
                Err(Cold::WrongPlace) if tries < TRIES => {
                    inner.shard.ahead().forget(inner.key(from));
                }
                Err(Cold::WrongIndex) if tries < TRIES => {
                    inner.shard.io().reached(Rare::IndexesRebuilt);
                    let rebuilt = inner.rebuild_indexes(spot.base).await;
                    if let Err(error) = rebuilt
                        && inner.state.borrow().layout == spot.layout
                    {
                        return Err(error);
                    }
                }
                Err(Cold::WrongIndex | Cold::WrongPlace) => {
                    let path = Kind::Log.path(&inner.dir, spot.base);
                    let damage = Damage::OffsetGap { expected: from, found: -1 };
                    return Err(ReadError::Corrupt { path, position: 0, damage });
                }
                Err(Cold::Error(error)) => return Err(error),
            }
        }
    }

    /// Reads what `spot` says, with one read of its file if the index is at hand.
    async fn read_segment(
        &self,
        spot: Spot,
        from: Offset,
        limits: ReadLimits,
    ) -> Result<Slices, Cold> {
        let (base, inner) = (spot.base, &self.inner);
        let begin = match spot.begin {
            Begin::Unknown => {
                let indexes = inner.load_indexes(base).await.map_err(Cold::Error)?;
                Begin::by_index(&indexes.offsets, base, from)
            }
            known => known,
        };
        let file = inner.segment_file(base).await.map_err(|failure| Cold::Error(failure.into()))?;
        // From the index's entry to the batch sought.
        let lead = match begin {
            Begin::Indexed(..) => inner.settings.borrow().index_interval_bytes,
            _ => 0,
        };
        let lead = usize::try_from(lead).unwrap_or(READ_BYTES_MAX);
        let usual = limits.max_bytes.saturating_add(lead).clamp(BLOCK, READ_BYTES_MAX);
        let path = Kind::Log.path(&inner.dir, base);
        let window = Window::new(&inner.shard, file);
        let mut reader = ColdReader { window, path, size: spot.size, usual };
        let mut position = match begin {
            Begin::Indexed(position, _) | Begin::Cursor(position) => position,
            Begin::Unknown | Begin::Start => 0,
        };
        let mut header = reader.header(position).await?;
        let begins_right = match begin {
            Begin::Indexed(_, last_offset) => header.last_offset() == last_offset,
            Begin::Cursor(_) => header.base_offset == from.value(),
            Begin::Unknown | Begin::Start => header.base_offset == base.value(),
        };
        if !begins_right || plausible(&header, spot.size - position).is_err() {
            return Err(match begin {
                Begin::Cursor(_) => Cold::WrongPlace,
                Begin::Indexed(..) if spot.sealed => Cold::WrongIndex,
                _ => {
                    let damage = Damage::OffsetGap { expected: base, found: header.base_offset };
                    reader.corrupt(position, damage)
                }
            });
        }
        // Skip to the batch that holds the offset.
        while header.last_offset() < from.value() {
            (position, header) = reader.after(position, &header).await?;
        }
        let total = reader.total(position, &header)?;
        if header.last_offset() < limits.visible_end.value() && !limits.allow(0, total) {
            return Ok(Slices::default());
        }
        reader.hold(position, total).await?;
        // More of what is in the window.
        let left = reader.size - position;
        let gathered = gather(reader.window.from(position), left, header.base_offset, limits);
        let gathered = gathered.map_err(|damage| reader.corrupt(position, damage))?;
        let bytes = reader.window.into_bytes(position, gathered.length);
        self.passed(&spot, from, position + gathered.length as u64, gathered.of_its_own());
        let mut slices = Slices::default();
        slices.push(bytes.unwrap_or_else(Bytes::new));
        Ok(slices)
    }
}

impl<I: Io> Inner<I> {
    /// Finds the segment and the place in it to begin at; `None` if no file holds anything of it
    /// that is visible.
    fn locate(&self, from: Offset, visible_end: Offset) -> Result<Option<Spot>, ReadError> {
        let state = self.state.borrow();
        let offsets = state.offsets;
        if from < offsets.start || from > offsets.durable {
            let (start, end) = (offsets.start, offsets.durable);
            return Err(ReadError::OutOfRange { from, start, end });
        }
        let active = &state.active.summary;
        if state.closed && active.size == 0 && state.sealed.is_empty() {
            return Err(ReadError::Closed);
        }
        if from >= visible_end.min(offsets.durable) {
            return Ok(None);
        }
        let layout = state.layout;
        let after = state.sealed.partition_point(|segment| segment.end <= from);
        if let Some(&Sealed { base, end, size, .. }) = state.sealed.get(after) {
            let indexes = self.shard.segments().indexes(self.key(base));
            let begin = match indexes {
                Some(indexes) => Begin::by_index(&indexes.offsets, base, from),
                None if from == base => Begin::Start,
                None => Begin::Unknown,
            };
            return Ok(Some(Spot { base, sealed: true, end, size, layout, begin }));
        }
        let (end, size) = Self::in_file(&state);
        if from >= end {
            return Ok(None);
        }
        let base = active.base;
        let begin = Begin::by_index(&active.offsets, base, from);
        Ok(Some(Spot { base, sealed: false, end, size, layout, begin }))
    }
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
            let left = usize::try_from(self.size - position).unwrap_or(READ_BYTES_MAX);
            let loaded = self.window.load(position, length, self.usual.min(left)).await;
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
        // The last entry may be shorter than the longest header.
        let left = usize::try_from(self.size.saturating_sub(position)).unwrap_or(usize::MAX);
        self.hold(position, HEADER_BYTES_MAX.min(left)).await?;
        let damage = Damage::NotABatch { length: 0, magic: 0 };
        let bytes = self.window.from(position);
        let bytes = &bytes[..bytes.len().min(left)];
        BatchHeader::read(bytes).ok_or_else(|| self.corrupt(position, damage))
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
}
