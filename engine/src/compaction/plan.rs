//! What is dirty, whether it is worth the work, and which segments are joined.

use super::CompactionSettings;
use crate::batch::{BatchHeader, HEADER_BYTES};
use crate::error::{CompactError, IoFailure, MaintainError, Operation};
use crate::io::{Io, OpenMode};
use crate::log::{Inner, Log};
use crate::offset::{Offset, Timestamp};
use crate::planted::{self, Bug};
use crate::segment::name::Kind;
use crate::segment::sealed::Sealed;
use crate::segment::window::Window;

/// How dirty a log is: what a caller with many logs compares to compact the dirtiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dirtiness {
    /// Below this, the log is clean.
    pub first_dirty: Offset,
    /// Up to here it may be compacted now.
    pub cleanable_end: Offset,
    /// Bytes of the segments below the first dirty one.
    pub clean_bytes: u64,
    /// Bytes of the segments from there on that may be compacted.
    pub cleanable_bytes: u64,
    /// Whether something in them is older than the longest lag allowed.
    pub is_overdue: bool,
}

impl Dirtiness {
    /// The share of cleanable bytes among all that a compaction reads, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    pub fn ratio(&self) -> f64 {
        let all = self.clean_bytes + self.cleanable_bytes;
        if all == 0 { 0.0 } else { self.cleanable_bytes as f64 / all as f64 }
    }

    /// Whether compacting is worthwhile.
    #[must_use]
    pub fn is_due(&self, settings: &CompactionSettings) -> bool {
        self.cleanable_bytes > 0
            && (self.is_overdue || self.ratio() >= settings.min_cleanable_ratio)
    }
}

/// A sealed segment that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) base: Offset,
    pub(super) end: Offset,
    pub(super) size: u64,
}

impl Segment {
    fn of(segment: &Sealed) -> Self {
        let &Sealed { base, end, size, .. } = segment;
        Self { base, end, size }
    }
}

/// The segments that a compaction reads, from the log's first on.
pub(super) struct Plan {
    segments: Vec<Segment>,
    /// The high watermark: what lies at or above may be cut off.
    pub(super) replicated: Offset,
}

impl Plan {
    /// Where the last segment ends; `None` if others have removed them all.
    pub(super) fn end(&self) -> Option<Offset> {
        self.segments.last().map(|segment| segment.end)
    }

    /// The segments that hold anything at `from` or later.
    pub(super) fn dirty(&self, from: Offset) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.end > from)
    }

    /// The segments that hold anything below `end`, joined as far as they fit into
    /// `segment_bytes` and into the offsets that one segment's index can say.
    pub(super) fn groups(&self, end: Offset, segment_bytes: u64) -> Vec<Vec<Segment>> {
        let mut groups: Vec<Vec<Segment>> = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.base < end) {
            let joined = groups.last_mut().filter(|group| {
                let bytes: u64 = group.iter().map(|other| other.size).sum();
                let base = group.first().map_or(segment.base, |first| first.base);
                bytes + segment.size <= segment_bytes
                    && segment.end.since(base) <= u64::from(i32::MAX.unsigned_abs())
            });
            match joined {
                Some(group) => group.push(*segment),
                None => groups.push(vec![*segment]),
            }
        }
        groups
    }
}

impl<I: Io> Log<I> {
    /// How dirty the log is, of what may be compacted below `up_to` (the high watermark).
    ///
    /// Costs no I/O, except for one block of a segment if there is a longest lag, once per
    /// segment.
    ///
    /// # Errors
    ///
    /// [`CompactError`]
    pub async fn dirtiness(
        &self,
        settings: &CompactionSettings,
        up_to: Offset,
    ) -> Result<Dirtiness, CompactError> {
        let now = self.inner.shard.io().now();
        let unstable = self.first_unstable_offset(up_to);
        let unstable = unstable.filter(|_| !planted::active(Bug::CompactPastUnstable));
        let bound = unstable.map_or(up_to, |unstable| unstable.min(up_to));
        let (mut dirtiness, oldest) = {
            let state = self.inner.state.borrow();
            let first = state.sealed.front().map_or(state.offsets.start, |first| first.base);
            let known = state.cleaner.first_dirty;
            let past_end = known > state.active.summary.end;
            let first_dirty = if past_end { first } else { known.max(first) };
            let mut dirtiness = Dirtiness {
                first_dirty,
                cleanable_end: first_dirty,
                clean_bytes: 0,
                cleanable_bytes: 0,
                is_overdue: false,
            };
            let mut oldest = None;
            for segment in &state.sealed {
                if segment.end <= first_dirty {
                    dirtiness.clean_bytes += segment.size;
                    continue;
                }
                let young = segment.latest().is_some_and(|(latest, _)| {
                    !settings.min_lag.is_zero()
                        && is_younger(latest, now, settings.min_lag)
                        && !planted::active(Bug::CompactWithoutLag)
                });
                if segment.end > bound || young {
                    break;
                }
                dirtiness.cleanable_bytes += segment.size;
                dirtiness.cleanable_end = segment.end;
                oldest.get_or_insert_with(|| Segment::of(segment));
            }
            (dirtiness, oldest)
        };
        if let (Some(max), Some(oldest)) = (settings.max_lag, oldest) {
            match self.inner.time_of(oldest.base, oldest.size).await {
                Ok(since) => dirtiness.is_overdue = !is_younger(since, now, max),
                // A retention or a truncation has taken it: it is not waiting any more.
                Err(_) if !self.inner.holds(&oldest) => {}
                Err(failure) => return Err(MaintainError::from(failure).into()),
            }
        }
        Ok(dirtiness)
    }
}

impl<I: Io> Inner<I> {
    /// The sealed segments up to `end`.
    pub(super) fn plan(&self, end: Offset) -> Plan {
        let state = self.state.borrow();
        let cleaned = state.sealed.iter().take_while(|segment| segment.end <= end);
        Plan { segments: cleaned.map(Segment::of).collect(), replicated: end }
    }

    /// Whether a segment is as it was.
    pub(super) fn holds(&self, segment: &Segment) -> bool {
        let state = self.state.borrow();
        let known = state.sealed.iter().find(|known| known.base == segment.base);
        known.is_some_and(|known| (known.end, known.size) == (segment.end, segment.size))
    }

    /// The time of a sealed segment's first batch, which its age counts from.
    async fn time_of(&self, base: Offset, size: u64) -> Result<Timestamp, IoFailure> {
        if let Some((known, time)) = self.state.borrow().cleaner.since
            && known == base
        {
            return Ok(time);
        }
        let path = Kind::Log.path(&self.dir, base);
        let file = self.shard.io().open(&path, OpenMode::ReadDirect).await;
        let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
        let mut window = Window::new(&self.shard, file);
        let usual = usize::try_from(size).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
        let loaded = window.load(0, usual, usual).await;
        loaded.map_err(IoFailure::of(Operation::Read, &path))?;
        let header = BatchHeader::read(window.from(0));
        let time = header.map_or(Timestamp::NONE, |header| header.max_timestamp);
        self.state.borrow_mut().cleaner.since = Some((base, time));
        Ok(time)
    }
}

/// Whether `time` lies less than `age` before `now`.
fn is_younger(time: Timestamp, now: Timestamp, age: std::time::Duration) -> bool {
    let passed = now.millis().saturating_sub(time.millis());
    u128::try_from(passed).map_or(true, |passed| passed < age.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(base: i64, end: i64, size: u64) -> Segment {
        let at = |value| Offset::new(value).unwrap();
        Segment { base: at(base), end: at(end), size }
    }

    fn bases(groups: &[Vec<Segment>]) -> Vec<Vec<i64>> {
        let bases = |group: &Vec<Segment>| group.iter().map(|s| s.base.value()).collect();
        groups.iter().map(bases).collect()
    }

    #[test]
    fn neighbours_are_joined_as_far_as_size_and_offsets_allow() {
        let far = i64::from(i32::MAX);
        let plan = Plan {
            segments: vec![
                segment(0, 10, 40),
                segment(10, 20, 60),
                segment(20, 30, 1),
                segment(30, 20 + far, 1),
                segment(20 + far, 21 + far, 1),
            ],
            replicated: Offset::ZERO,
        };
        let all = plan.groups(plan.end().unwrap(), 100);
        assert_eq!(bases(&all), [vec![0, 10], vec![20, 30], vec![20 + far]]);
        let some = plan.groups(Offset::new(21).unwrap(), 100);
        assert_eq!(bases(&some), [vec![0, 10], vec![20]]);
    }

    #[test]
    fn a_log_is_due_by_its_share_of_dirty_bytes_or_when_overdue() {
        let settings = CompactionSettings::default();
        let dirty = |clean_bytes, cleanable_bytes, is_overdue| Dirtiness {
            first_dirty: Offset::ZERO,
            cleanable_end: Offset::ZERO,
            clean_bytes,
            cleanable_bytes,
            is_overdue,
        };
        assert!(dirty(100, 100, false).is_due(&settings));
        assert!(!dirty(101, 100, false).is_due(&settings));
        assert!(dirty(101, 100, true).is_due(&settings));
        assert!(!dirty(0, 0, true).is_due(&settings));
    }
}
