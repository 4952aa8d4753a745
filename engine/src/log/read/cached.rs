//! Reads from the tail cache.

use super::ReadLimits;
use crate::batch::BatchHeader;
use crate::cache::Chunk;
use crate::io::Io;
use crate::log::{Inner, Slices};
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::segment::offset_index::OffsetIndex;

impl<I: Io> Inner<I> {
    /// What of the read is in memory from its beginning on.
    pub(super) fn read_cached(&self, from: Offset, limits: ReadLimits) -> Option<Slices> {
        let state = self.state.borrow();
        let is_eager = planted::active(Bug::ReadPastDurable);
        let safe_end = if is_eager { state.offsets.end } else { state.offsets.durable };
        let visible_end = limits.visible_end.min(safe_end);
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
            let room = limits.max_bytes.saturating_sub(slices.len());
            let needs_one = limits.at_least_one && slices.is_empty();
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
