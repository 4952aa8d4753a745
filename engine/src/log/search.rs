//! Finding batches by time.

use bytes::Bytes;

use crate::batch::BatchHeader;
use crate::error::ReadError;
use crate::io::Io;
use crate::limits::READ_BYTES_MAX;
use crate::log::Log;
use crate::offset::{Offset, Timestamp};

impl<I: Io> Log<I> {
    /// The first batch below `visible_end` whose largest timestamp is `time` or later; `None` if
    /// there is none. The record in it is for the caller to find, who can decompress.
    ///
    /// Costs the time index and about one index interval of data.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn find_timestamp(
        &self,
        time: Timestamp,
        visible_end: Offset,
    ) -> Result<Option<Bytes>, ReadError> {
        let mut from = self.offsets().start;
        while let Some((base, end)) = self.segment_at(from) {
            let (latest, skip_to) = if end.is_some() {
                let times = self.inner.checked_indexes(base).await?;
                let skip = times.times.last_before(time);
                (times.times.last().map(|entry| entry.timestamp), skip)
            } else {
                let state = self.inner.state.borrow();
                let summary = &state.active.summary;
                let latest = summary.latest.map(|(timestamp, _)| timestamp);
                (latest, summary.times.last_before(time))
            };
            if latest.is_some_and(|latest| latest >= time) {
                let skip_to = skip_to.map_or(from, |entry| base.plus(entry.relative).plus(1));
                let found = self.first_of(from.max(skip_to), visible_end, |header| {
                    header.max_timestamp >= time
                });
                if let Some(batch) = found.await? {
                    return Ok(Some(batch));
                }
            }
            match end {
                Some(end) if end < visible_end => from = end,
                _ => break,
            }
        }
        Ok(None)
    }

    /// The largest timestamp below `visible_end` and the first batch that has it; `None` if no
    /// batch has one.
    ///
    /// Costs the time indexes and about one index interval of data.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn max_timestamp(
        &self,
        visible_end: Offset,
    ) -> Result<Option<(Timestamp, Bytes)>, ReadError> {
        let start = self.offsets().start;
        let mut best: Option<(Timestamp, Offset)> = None;
        let mut from = start;
        while from < visible_end
            && let Some((base, end)) = self.segment_at(from)
        {
            let below = visible_end.since(base);
            let entry = if end.is_some() {
                self.inner.checked_indexes(base).await?.times.last_below(below)
            } else {
                self.inner.state.borrow().active.summary.times.last_below(below)
            };
            let known = entry
                .map(|entry| (entry.timestamp, base.plus(entry.relative)))
                .filter(|(_, last_offset)| *last_offset >= start);
            better(&mut best, known);
            // After the entry, a sealed segment that is wholly visible has nothing later.
            let whole = end.is_some_and(|end| end <= visible_end);
            if !whole || known.is_none() {
                let walk_from = known.map_or(from, |(_, last_offset)| last_offset.plus(1));
                let stop = end.map_or(visible_end, |end| end.min(visible_end));
                let walked = self.latest_in(walk_from.max(from), stop).await?;
                better(&mut best, walked);
            }
            match end {
                Some(end) => from = end,
                None => break,
            }
        }
        let Some((timestamp, last_offset)) = best else { return Ok(None) };
        let batch = self.first_of(last_offset, visible_end, |_| true).await?;
        Ok(batch.map(|batch| (timestamp, batch)))
    }

    /// The segment that holds `offset`: its base, and its end if it is sealed.
    fn segment_at(&self, offset: Offset) -> Option<(Offset, Option<Offset>)> {
        let state = self.inner.state.borrow();
        let after = state.sealed.partition_point(|segment| segment.end <= offset);
        if let Some(segment) = state.sealed.get(after) {
            return Some((segment.base, Some(segment.end)));
        }
        let summary = &state.active.summary;
        (summary.size > 0).then_some((summary.base, None))
    }

    /// The first batch from `from` on that `wanted` wants.
    async fn first_of(
        &self,
        mut from: Offset,
        visible_end: Offset,
        wanted: impl Fn(&BatchHeader) -> bool,
    ) -> Result<Option<Bytes>, ReadError> {
        while from < visible_end {
            let slices = self.read(from, visible_end, READ_BYTES_MAX, true).await?;
            let mut next = from;
            for piece in slices.iter() {
                for (header, range) in batches(piece) {
                    if wanted(&header) {
                        return Ok(Some(piece.slice(range)));
                    }
                    next = header.end_offset().unwrap_or(next);
                }
            }
            if next == from {
                break;
            }
            from = next;
        }
        Ok(None)
    }

    /// The largest timestamp in `from..end`, and the last offset of the first batch with it.
    async fn latest_in(
        &self,
        mut from: Offset,
        end: Offset,
    ) -> Result<Option<(Timestamp, Offset)>, ReadError> {
        let mut best = None;
        while from < end {
            let slices = self.read(from, end, READ_BYTES_MAX, true).await?;
            let mut next = from;
            for (header, _) in slices.iter().flat_map(|piece| batches(piece)) {
                let known = header.max_timestamp >= Timestamp::from_millis(0);
                let last_offset = Offset::new(header.last_offset());
                better(&mut best, last_offset.filter(|_| known).map(|o| (header.max_timestamp, o)));
                next = header.end_offset().unwrap_or(next);
            }
            if next == from {
                break;
            }
            from = next;
        }
        Ok(best)
    }
}

fn better(best: &mut Option<(Timestamp, Offset)>, other: Option<(Timestamp, Offset)>) {
    if let Some((timestamp, _)) = other
        && best.is_none_or(|(known, _)| known < timestamp)
    {
        *best = other;
    }
}

/// The batches of a piece, which is whole batches.
fn batches(piece: &[u8]) -> impl Iterator<Item = (BatchHeader, std::ops::Range<usize>)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = BatchHeader::read(piece.get(at..)?)?;
        let range = at..at + header.total_bytes()?;
        at = range.end;
        Some((header, range))
    })
}
